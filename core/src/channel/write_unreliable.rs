//! Filling a packet with unreliable messages.

use super::send::QueueHeader;
use super::slot::ChannelSlot;
use super::write::{Done, Permit, write_bytes};
use super::{Channels, Pools};
use crate::id::{Incarnation, Reliability};
use crate::time::Instant;
use crate::wire::Writer;
use crate::wire::frame::{Fragment, UnreliableMessage};

impl Channels {
    /// Writes all that there is to send if it is whole messages of one unreliable channel, and nothing
    /// is to be decided about any of them; `false` if something is left for who decides.
    pub(super) fn write_alone(
        &mut self,
        pools: &mut Pools<'_>,
        now: Instant,
        writer: &mut Writer<'_>,
    ) -> bool {
        let others = !self.reliable.is_empty() || self.owes_repeats();
        let Some(slot) = self.unreliable.first() else { return false };
        if others
            || self.unreliable.has_several()
            || !self.write_run(pools, slot, now, true, writer)
        {
            return false;
        }
        self.unreliable.remove(&mut pools.slots, slot);
        self.release_sent(pools, slot);
        self.check_drained(pools, slot);
        true
    }

    /// Writes a class's unreliable messages as far as they fit.
    pub(super) fn write_unreliables(
        &mut self,
        pools: &mut Pools<'_>,
        class: u8,
        permit: Permit,
        packet_start: usize,
        writer: &mut Writer<'_>,
    ) -> Done {
        let packet = self.packet;
        loop {
            let next = self.unreliable.iter(&pools.slots).find(|slot| {
                let state = &pools.slots[u32::from(*slot)];
                state.class == class && state.passed != packet
            });
            let Some(slot) = next else { return Done::More };
            if !self.unreliable.has_several() {
                self.write_run(pools, slot, permit.now, false, writer);
            }
            let front = QueueHeader::read(&mut pools.slots[u32::from(slot)].send, &pools.send);
            if front.is_expired(permit.now) {
                self.drop_expired(pools, slot, permit.now);
                continue;
            }
            let fresh = writer.position() == packet_start;
            let done = self.write_unreliable(pools, slot, front.len, fresh, writer);
            self.end_turn(pools, slot, done);
            let left = pools.slots[u32::from(slot)].has_data_to_send();
            if !left {
                self.unreliable.remove(&mut pools.slots, slot);
            }
            // The blocks are given back together, when the channel's part in the packet is over.
            if !left || done != Done::More || self.unreliable.has_several() {
                self.release_sent(pools, slot);
                if done != Done::Nothing {
                    self.check_drained(pools, slot);
                }
            }
            if done == Done::Closed {
                return done;
            }
        }
    }

    /// Writes messages of the only channel that has unreliable ones as long as nothing is to be
    /// decided: each fits whole, and with its length if it is not the last of a packet that holds
    /// nothing behind them (`alone`). Answers whether that one was written, too.
    fn write_run(
        &self,
        pools: &mut Pools<'_>,
        slot: u16,
        now: Instant,
        alone: bool,
        writer: &mut Writer<'_>,
    ) -> bool {
        let state = &mut pools.slots[u32::from(slot)];
        let channel = state.channel;
        let incarnation = self.incarnations[usize::from(channel.0)].low_bits();
        let sequenced = state.reliability == Reliability::UnreliableSequenced;
        let send = &mut state.send;
        if send.fragment_at > 0 || sequenced {
            return false;
        }
        while send.sent < send.flushed {
            let chunk = send.chain.chunk(&pools.send, send.sent);
            let (front, bytes) = match chunk.split_first_chunk() {
                Some((header, bytes)) => (QueueHeader::from_bytes(*header), bytes),
                None => (QueueHeader::read(send, &pools.send), &[][..]),
            };
            let body = send.sent + QueueHeader::LEN as u64;
            let end = body + front.len as u64;
            let last = end == send.flushed;
            if (last && !alone) || front.is_expired(now) {
                return false;
            }
            let place = if last {
                UnreliableMessage::emit_around_last(writer, channel, incarnation, front.len)
            } else {
                UnreliableMessage::emit_around(writer, channel, incarnation, front.len)
            };
            let Ok(data) = place else { return false };
            match bytes.get(..front.len) {
                Some(bytes) => data.copy_from_slice(bytes),
                None => send.chain.copy_to(&pools.send, body, data),
            }
            send.sent = end;
            state.announced = true;
        }
        true
    }

    /// Writes the next message of a channel, of `total` bytes, or the next part of it.
    fn write_unreliable(
        &mut self,
        pools: &mut Pools<'_>,
        slot: u16,
        total: usize,
        fresh: bool,
        writer: &mut Writer<'_>,
    ) -> Done {
        let several =
            self.unreliable.has_several() || !self.reliable.is_empty() || self.repeats.are_owed();
        let state = &mut pools.slots[u32::from(slot)];
        let at = state.send.fragment_at as usize;
        let body = state.send.sent + (QueueHeader::LEN + at) as u64;
        let left = total - at;
        let more = several || body + (left as u64) < state.send.flushed;

        let room = writer.remaining();
        let mut frame = message_frame(state, self.incarnations[usize::from(state.channel.0)]);
        let room_max = usize::from(self.room_max);
        let never_fits = |frame: &UnreliableMessage<'_>| frame.overhead(0, true) + total > room_max;
        let fits = frame.data_room(room, true).is_some_and(|data| total <= data);
        if at > 0 || (!fits && (fresh || never_fits(&frame))) {
            let number = state.send.number;
            frame.fragment = Some(Fragment { number, total: total as u64, offset: at as u64 });
        } else if !fits {
            return Done::Nothing;
        }
        let Some(data_room) = frame.data_room(room, true) else { return Done::Nothing };
        if data_room < left.min(FRAGMENT_MIN) {
            return Done::Nothing;
        }
        let len = left.min(data_room);
        let with_length = frame.data_room(room, false).unwrap_or(0);
        let last = !more || len > with_length;
        if frame.emit_head(writer, len, last).is_err() {
            return Done::Nothing;
        }
        let chain = &mut state.send.chain;
        write_bytes(writer, len, |place| chain.copy_to(&pools.send, body, place));

        state.announced = true;
        if len < left {
            state.send.fragment_at = (at + len) as u32;
        } else {
            state.send.fragment_at = 0;
            state.send.sent = body + len as u64;
            if frame.fragment.is_some() || frame.sequence.is_some() {
                state.send.number = state.send.number.wrapping_add(1);
            }
        }
        if last { Done::Closed } else { Done::More }
    }
}

/// A frame for the message at the front of an unreliable channel, without its data.
fn message_frame<'a>(state: &ChannelSlot, incarnation: Incarnation) -> UnreliableMessage<'a> {
    let sequenced = state.reliability == Reliability::UnreliableSequenced;
    UnreliableMessage {
        channel: state.channel,
        incarnation_low: incarnation.low_bits(),
        sequence: sequenced.then_some(state.send.number),
        fragment: None,
        data: &[],
    }
}

/// Fragments shorter than this are not worth their heads, unless nothing else is left.
const FRAGMENT_MIN: usize = 64;
