//! Filling a packet.

use super::chain::Chain;
use super::lifecycle::open_frame;
use super::limits::PREFIX_MAX;
use super::node::NodeKind;
use super::repeat::{Cause, REPEAT_MAX};
use super::send::QueueHeader;
use super::slot::{ChannelSlot, Due, SendHalf, SlotList};
use super::{Block, Channels, Node, Pools};
use crate::id::{Incarnation, Reliability};
use crate::pool::{Metered, NONE, Pool};
use crate::protection::PacketWindow;
use crate::recovery::FrameList;
use crate::time::Instant;
use crate::wire::frame::{Fragment, Frame, RangeOrder, ReliableRange, UnreliableMessage};
use crate::wire::{DATAGRAM_LEN_MAX, Reader, Writer};

/// What may be written.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Scope {
    /// What the protocol itself has to say: no application data.
    Protocol,
    /// Everything that was flushed, too.
    Everything,
}

/// What may go into one packet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Allowed {
    /// Nothing but acknowledgements.
    Nothing,
    /// What the protocol has to say.
    Protocol,
    /// Real-time data, too: unreliable messages and small reliable ones.
    Urgent,
    /// All that was flushed.
    Everything,
}

/// What the path allows one packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Permit {
    /// The most that may go in.
    pub what: Allowed,
    /// The share of packets lately lost, in 1/1024.
    pub loss: u32,
    /// When it leaves: what had to leave before is dropped.
    pub now: Instant,
}

/// What was written into a packet.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Written {
    /// Something that the other side acknowledges.
    pub ack_eliciting: bool,
    /// Application data.
    pub application: bool,
    /// Something that must arrive.
    pub reliable: bool,
}

impl Channels {
    /// Whether there is something to write.
    #[must_use]
    #[inline]
    pub fn wants_to_send(&self, scope: Scope) -> bool {
        !self.control.is_empty() || (matches!(scope, Scope::Everything) && self.has_data_to_send())
    }

    /// Whether there is application data to write.
    #[must_use]
    #[inline]
    pub fn has_data_to_send(&self) -> bool {
        !self.unreliable.is_empty() || !self.reliable.is_empty() || self.repeats.want_a_packet()
    }

    /// Whether there is application data that does not wait for the path.
    #[must_use]
    pub fn wants_to_send_urgently(&self, pools: &Pools<'_>) -> bool {
        let is_small = |slot: &u16| pools.slots[u32::from(*slot)].is_small(pools.nodes.items());
        !self.unreliable.is_empty()
            || self.repeats.want_a_packet()
            || self.reliable.iter(&pools.slots).any(|slot| is_small(&slot))
    }

    /// Whether some reliable channel has so much to send that it fills many packets.
    #[must_use]
    pub fn has_much_to_send(&self, pools: &Pools<'_>) -> bool {
        let new_bytes = |slot: u16| pools.slots[u32::from(slot)].send.new_bytes();
        self.reliable.iter(&pools.slots).any(|slot| new_bytes(slot) >= MUCH)
    }

    /// Writes the last frames of a packet: control, then class by class unreliable messages, small
    /// reliable data, and bulk data, channels of a class taking turns; what is repeated goes before
    /// the first bulk data. What must be known when the packet's fate is goes into `list`.
    ///
    /// Nothing may come of it although [`Channels::wants_to_send`]: if there is too little room, or
    /// no record for new data until packets under way are acknowledged or lost.
    pub fn write(
        &mut self,
        pools: &mut Pools<'_>,
        permit: Permit,
        writer: &mut Writer<'_>,
        list: &mut FrameList,
    ) -> Written {
        let start = writer.position();
        self.room_max = self.room_max.max(u16::try_from(writer.remaining()).unwrap_or(u16::MAX));
        self.packet = self.packet.wrapping_add(1);
        let listed = list.0;
        if permit.what >= Allowed::Protocol {
            self.write_control(pools, writer, list);
        }
        let control_end = writer.position();
        if permit.what >= Allowed::Urgent {
            self.write_data(pools, permit, writer, list);
        }
        self.repeats.earn(writer.position() - start);
        Written {
            ack_eliciting: writer.position() > start,
            application: writer.position() > control_end,
            reliable: list.0 != listed,
        }
    }

    fn write_control(
        &mut self,
        pools: &mut Pools<'_>,
        writer: &mut Writer<'_>,
        list: &mut FrameList,
    ) {
        while let Some(slot) = self.control.first() {
            let Due { open, credit, .. } = pools.slots[u32::from(slot)].due;
            let written = if open {
                self.write_open(pools, slot, writer, list)
            } else if credit {
                self.write_credit(pools, slot, writer, list)
            } else {
                self.write_close(pools, slot, writer, list)
            };
            if !written {
                return;
            }
            self.relist(pools, slot);
        }
    }

    fn write_open(
        &mut self,
        pools: &mut Pools<'_>,
        slot: u16,
        writer: &mut Writer<'_>,
        list: &mut FrameList,
    ) -> bool {
        let state = &pools.slots[u32::from(slot)];
        let frame = open_frame(state, self.incarnation(state.channel));
        let written = self.write_tracked(pools, slot, (NodeKind::Open, 0), &frame, writer, list);
        let state = &mut pools.slots[u32::from(slot)];
        state.due.open &= !written;
        state.announced |= written;
        written
    }

    fn write_credit(
        &mut self,
        pools: &mut Pools<'_>,
        slot: u16,
        writer: &mut Writer<'_>,
        list: &mut FrameList,
    ) -> bool {
        let limit = self.grantable(pools, slot);
        let channel = pools.slots[u32::from(slot)].channel;
        let frame = Frame::Credit { channel, incarnation: self.incarnation(channel), limit };
        let kind = (NodeKind::Credit, limit);
        let written = self.write_tracked(pools, slot, kind, &frame, writer, list);
        if written {
            let state = &mut pools.slots[u32::from(slot)];
            state.due.credit = false;
            state.receive.granted = limit;
        }
        written
    }

    fn write_close(
        &mut self,
        pools: &mut Pools<'_>,
        slot: u16,
        writer: &mut Writer<'_>,
        list: &mut FrameList,
    ) -> bool {
        let channel = pools.slots[u32::from(slot)].channel;
        let frame = Frame::ChannelClose { channel, incarnation: self.incarnation(channel) };
        let written = self.write_tracked(pools, slot, (NodeKind::Close, 0), &frame, writer, list);
        pools.slots[u32::from(slot)].due.close &= !written;
        written
    }

    /// Writes a control frame and remembers that this packet carries it.
    fn write_tracked(
        &mut self,
        pools: &mut Pools<'_>,
        slot: u16,
        (kind, start): (NodeKind, u64),
        frame: &Frame<'_>,
        writer: &mut Writer<'_>,
        list: &mut FrameList,
    ) -> bool {
        let before = writer.position();
        if frame.emit(writer).is_err() {
            return false;
        }
        let channel = pools.slots[u32::from(slot)].channel;
        let incarnation = self.incarnation(channel).0;
        let Some(node) = self.take_sent(pools) else {
            writer.roll_back(before);
            return false;
        };
        let slot = u16::from(channel.0);
        pools.nodes[node] = Node { next: list.0, slot, kind, incarnation, start, ..Node::new() };
        list.0 = node;
        true
    }

    fn write_data(
        &mut self,
        pools: &mut Pools<'_>,
        permit: Permit,
        writer: &mut Writer<'_>,
        list: &mut FrameList,
    ) {
        let start = writer.position();
        let bulk = permit.what == Allowed::Everything;
        let mut served = !bulk || self.reliable.is_empty();
        let mut class = self.class_from(pools, 0);
        while let Some(at) = class {
            if let Some(below) = at.checked_sub(1) {
                self.write_repeats(pools, permit.now, below, writer, list);
            }
            // A lower class may keep a higher one waiting, unreliable messages not their own.
            let waiting = if served { None } else { self.next_reliable(pools, at, true) };
            if let Some(slot) = waiting.filter(|_| self.starved >= STARVED_MAX) {
                self.starved = 0;
                served = true;
                if self.write_reliable(pools, slot, permit, true, writer, list) == Done::Closed {
                    return;
                }
            }
            if self.write_unreliables(pools, at, permit, start, writer) == Done::Closed {
                let counted = self.starved.saturating_add(1);
                self.starved = if served || waiting.is_none() { 0 } else { counted };
                return;
            }
            let before = writer.position();
            if self.write_reliables(pools, at, permit, false, writer, list) == Done::Closed {
                return;
            }
            self.write_repeats(pools, permit.now, at, writer, list);
            if bulk && self.write_reliables(pools, at, permit, true, writer, list) == Done::Closed {
                return;
            }
            served |= writer.position() > before;
            class = self.class_from(pools, at.saturating_add(1));
        }
        self.starved = 0;
        if writer.position() > 0 || self.repeats.want_a_packet() {
            self.write_repeats(pools, permit.now, u8::MAX, writer, list);
        }
    }

    /// The lowest class from `least` on in which a channel has something to send.
    fn class_from(&self, pools: &Pools<'_>, least: u8) -> Option<u8> {
        let lowest = |list: &SlotList| {
            let classes = list.iter(&pools.slots).map(|slot| pools.slots[u32::from(slot)].class);
            classes.filter(|class| *class >= least).min()
        };
        match (lowest(&self.unreliable), lowest(&self.reliable)) {
            (Some(unreliable), Some(reliable)) => Some(unreliable.min(reliable)),
            (unreliable, reliable) => unreliable.or(reliable),
        }
    }

    /// Writes a class's unreliable messages as far as they fit.
    fn write_unreliables(
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
                self.write_run(pools, slot, permit.now, writer);
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

    /// Lets the next channel have its turn when this one has had its share.
    fn end_turn(&mut self, pools: &mut Pools<'_>, slot: u16, done: Done) {
        let packet = self.packet;
        let state = &mut pools.slots[u32::from(slot)];
        if done == Done::Nothing {
            state.passed = packet;
            return;
        }
        state.turns += 1;
        if state.turns < state.weight {
            return;
        }
        state.turns = 0;
        let list =
            if state.reliability.is_reliable() { &mut self.reliable } else { &mut self.unreliable };
        list.rotate(&mut pools.slots, slot);
    }

    /// Writes messages of the only channel that has unreliable ones as long as nothing is to be
    /// decided: each fits whole and with its length, and is not the last.
    fn write_run(&self, pools: &mut Pools<'_>, slot: u16, now: Instant, writer: &mut Writer<'_>) {
        let state = &mut pools.slots[u32::from(slot)];
        let channel = state.channel;
        let incarnation = self.incarnations[usize::from(channel.0)].low_bits();
        let sequenced = state.reliability == Reliability::UnreliableSequenced;
        let send = &mut state.send;
        if send.fragment_at > 0 || sequenced {
            return;
        }
        while send.sent < send.flushed {
            let chunk = send.chain.chunk(&pools.send, send.sent);
            let (front, bytes) = match chunk.split_first_chunk() {
                Some((header, bytes)) => (QueueHeader::from_bytes(*header), bytes),
                None => (QueueHeader::read(send, &pools.send), &[][..]),
            };
            let body = send.sent + QueueHeader::LEN as u64;
            let end = body + front.len as u64;
            if end == send.flushed || front.is_expired(now) {
                return;
            }
            let place = UnreliableMessage::emit_around(writer, channel, incarnation, front.len);
            let Ok(data) = place else { return };
            match bytes.get(..front.len) {
                Some(bytes) => data.copy_from_slice(bytes),
                None => send.chain.copy_to(&pools.send, body, data),
            }
            send.sent = end;
            state.announced = true;
        }
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
        copy(&mut state.send.chain, &pools.send, body, len, writer);

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

    /// Writes ranges of a class's reliable channels, small or bulk, as far as they fit.
    fn write_reliables(
        &mut self,
        pools: &mut Pools<'_>,
        class: u8,
        permit: Permit,
        bulk: bool,
        writer: &mut Writer<'_>,
        list: &mut FrameList,
    ) -> Done {
        // Without records for new data, another channel may still send again what is lost.
        while let Some(slot) = self.next_reliable(pools, class, bulk) {
            if self.write_reliable(pools, slot, permit, false, writer, list) == Done::Closed {
                return Done::Closed;
            }
        }
        Done::More
    }

    fn next_reliable(&self, pools: &Pools<'_>, class: u8, bulk: bool) -> Option<u16> {
        self.reliable.iter(&pools.slots).find(|slot| {
            let state = &pools.slots[u32::from(*slot)];
            state.class == class
                && state.passed != self.packet
                && (bulk || state.is_small(pools.nodes.items()))
        })
    }

    /// Writes a range of a reliable channel: what was lost, then what is new. `others` says that
    /// there is more to come in this packet than reliable data.
    fn write_reliable(
        &mut self,
        pools: &mut Pools<'_>,
        slot: u16,
        permit: Permit,
        others: bool,
        writer: &mut Writer<'_>,
        list: &mut FrameList,
    ) -> Done {
        let others = (others && !self.unreliable.is_empty())
            || self.repeats.are_owed()
            || self.reliable.has_several();
        let done = self.write_range(pools, slot, permit, others, writer, list);
        self.end_turn(pools, slot, done);
        self.relist(pools, slot);
        done
    }

    fn write_range(
        &mut self,
        pools: &mut Pools<'_>,
        slot: u16,
        permit: Permit,
        others: bool,
        writer: &mut Writer<'_>,
        list: &mut FrameList,
    ) -> Done {
        let state = &pools.slots[u32::from(slot)];
        let send = &state.send;
        let first_time = send.lost_head == NONE;
        let (start, wanted, lead) = match send.lost_head {
            NONE => (send.sent, send.new_bytes(), send.lead),
            lost => {
                let Node { start, len, lead, .. } = pools.nodes[lost];
                (start, u64::from(len), lead)
            }
        };
        let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
        let (order, part) = if state.reliability == Reliability::Reliable {
            (RangeOrder::Ordered, wanted)
        } else if lead == 0 {
            (RangeOrder::AtMessage, wanted)
        } else {
            // wire.md §2: what begins within a message belongs to that alone.
            (RangeOrder::WithinMessage, wanted.min(lead as usize))
        };
        let frame = ReliableRange {
            channel: state.channel,
            incarnation_low: self.incarnation(state.channel).low_bits(),
            order,
            offset: self.offset(pools, slot, start, order),
            data: &[],
        };
        let room = writer.remaining();
        let Some(data_room) = frame.data_room(room, true) else { return Done::Nothing };
        if data_room < part.min(RANGE_MIN) {
            return Done::Nothing;
        }
        let len = part.min(data_room);
        let more_after_lost = |lost: u32| pools.nodes[lost].next != NONE || send.new_bytes() > 0;
        let follows =
            others || len < wanted || (send.lost_head != NONE && more_after_lost(send.lost_head));
        let with_length = frame.data_room(room, false).unwrap_or(0);
        let last = !follows || len > with_length;

        let before = writer.position();
        if frame.emit_head(writer, len, last).is_err() {
            return Done::Nothing;
        }
        let lead_after = if order == RangeOrder::Ordered {
            0
        } else {
            let send = &mut pools.slots[u32::from(slot)].send;
            lead_behind(send, &pools.send, (start, len as u32), lead)
        };
        let range = Node { slot, start, len: len as u32, lead, ..Node::new() };
        if !self.track_range(pools, range, lead_after, list) {
            writer.roll_back(before);
            return Done::Nothing;
        }
        let state = &mut pools.slots[u32::from(slot)];
        state.announced = true;
        if first_time {
            copy(&mut state.send.chain, &pools.send, start, len, writer);
        } else {
            copy_again(&mut state.send, &pools.send, start, len, writer);
        }
        if first_time && len <= REPEAT_MAX && state.is_small(pools.nodes.items()) {
            let usual = if permit.loss >= HEAVY_LOSS { 2 } else { 1 };
            let (times, cause) = match state.redundancy {
                Some(times) => (times, Cause::Asked),
                None => (usual, Cause::Small),
            };
            self.owe_again(permit.now, slot, (start, len as u16), order, (times, cause));
        } else if !first_time && state.redundancy != Some(0) {
            // Another loss would cost another round trip, which everything behind it waits for. At
            // the end of the data there is room for it anyway.
            let last = state.send.new_bytes() == 0;
            if last || permit.loss < HEAVY_LOSS {
                let cause = if last { Cause::Pressing } else { Cause::Lost };
                self.owe_again(permit.now, slot, (start, len as u16), order, (1, cause));
            }
        }
        if last { Done::Closed } else { Done::More }
    }

    /// Remembers that this packet carries `range` of a reliable stream, which is the front of its
    /// first lost range or of what is new, and what leads what is left of that; `false` if there is
    /// no record for it.
    fn track_range(
        &mut self,
        pools: &mut Pools<'_>,
        range: Node,
        lead_after: u32,
        list: &mut FrameList,
    ) -> bool {
        let Node { slot, len, .. } = range;
        let send = &pools.slots[u32::from(slot)].send;
        let lost = send.lost_head;
        let whole_lost = lost != NONE && pools.nodes[lost].len == len;
        let node = if whole_lost {
            lost
        } else {
            let left = self.accounts.sent.available(&pools.shares.sent);
            if lost == NONE && left <= NODES_ASIDE {
                return false;
            }
            let Some(node) = self.take_sent(pools) else { return false };
            pools.nodes[node] = range;
            node
        };
        let send = &mut pools.slots[u32::from(slot)].send;
        if whole_lost {
            send.lost_head = pools.nodes[lost].next;
            if send.lost_head == NONE {
                send.lost_tail = NONE;
            }
        } else if lost == NONE {
            send.link_last(&mut pools.nodes, node);
            send.sent += u64::from(len);
            send.lead = lead_after;
        } else {
            send.link_before(&mut pools.nodes, node, lost);
            let rest = &mut pools.nodes[lost];
            rest.start += u64::from(len);
            rest.len -= len;
            rest.lead = lead_after;
        }
        let record = &mut pools.nodes[node];
        record.kind = NodeKind::Sent;
        record.next = list.0;
        list.0 = node;
        true
    }

    pub(super) fn take_sent(&mut self, pools: &mut Pools<'_>) -> Option<u32> {
        Metered {
            pool: &mut pools.nodes,
            account: &mut self.accounts.sent,
            share: &mut pools.shares.sent,
        }
        .take()
    }
}

/// How the writing of one message frame ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Done {
    /// Written, with its length.
    More,
    /// Written without its length: nothing can follow.
    Closed,
    /// Not written.
    Nothing,
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

/// Writes a frame's data; there must be room.
pub(super) fn copy(
    chain: &mut Chain,
    pool: &Pool<'_, Block>,
    start: u64,
    len: usize,
    writer: &mut Writer<'_>,
) {
    let place = writer.reserve(len);
    debug_assert!(place.is_ok(), "the frame was measured");
    if let Ok(place) = place {
        chain.copy_to(pool, start, place);
    }
}

/// Writes data that left before, far behind what is new or not; there must be room.
pub(super) fn copy_again(
    send: &mut SendHalf,
    pool: &Pool<'_, Block>,
    start: u64,
    len: usize,
    writer: &mut Writer<'_>,
) {
    let place = writer.reserve(len);
    debug_assert!(place.is_ok(), "the frame was measured");
    if let Ok(place) = place {
        send.chain.peek(pool, &mut send.again, start, place);
    }
}

/// Bytes behind a range of an unordered stream that belong to a message begun in it or before; `lead`
/// are those from its start on.
fn lead_behind(
    send: &mut SendHalf,
    pool: &Pool<'_, Block>,
    (start, len): (u64, u32),
    lead: u32,
) -> u32 {
    if let Some(left) = lead.checked_sub(len) {
        return left;
    }
    let (mut at, end) = (start + u64::from(lead), start + u64::from(len));
    let mut place = send.chain.place_of(pool, at);
    while at < end {
        let mut prefix = [0; PREFIX_MAX as usize];
        let queued = (send.end - at).min(prefix.len() as u64) as usize;
        let prefix = prefix.get_mut(..queued).unwrap_or_default();
        send.chain.peek(pool, &mut place, at, prefix);
        let mut reader = Reader::new(prefix);
        let len = reader.varint();
        debug_assert!(len.is_ok(), "what is queued is messages behind their lengths");
        at += (prefix.len() - reader.len()) as u64 + len.unwrap_or(0);
    }
    (at - end) as u32
}

/// Fragments and ranges shorter than this are not worth their heads, unless nothing else is left.
const FRAGMENT_MIN: usize = 64;
const RANGE_MIN: usize = 16;

/// Records that new data leaves for control frames and for splitting lost ranges: the former make
/// the other side go on, the latter must not wait for a packet as large as the lost one was.
const NODES_ASIDE: u32 = 4;

/// After so many packets without reliable data, some goes first.
const STARVED_MAX: u8 = 3;

/// New data of a channel that fills many packets, in bytes.
const MUCH: u64 = 16 * 1024;

/// From this loss on, in 1/1024 (5 %), small reliable data is repeated twice.
pub const HEAVY_LOSS: u32 = 51;

/// How far a stream can move on while a packet that left earlier still passes the replay window.
pub(super) const STRAGGLER_BYTES: u64 = PacketWindow::SIZE * DATAGRAM_LEN_MAX as u64;
