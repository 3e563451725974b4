//! Filling a packet.

use super::chain::Chain;
use super::lifecycle::open_frame;
use super::node::NodeKind;
use super::slot::{ChannelSlot, Due};
use super::{Block, Channels, Node, Pools};
use crate::id::Incarnation;
use crate::pool::{Metered, NONE, Pool};
use crate::protection::PacketWindow;
use crate::recovery::FrameList;
use crate::wire::frame::{Fragment, Frame, ReliableRange, UnreliableMessage};
use crate::wire::number::{Truncated, encode_len_within};
use crate::wire::{DATAGRAM_LEN_MAX, Writer};

/// What may be written.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Scope {
    /// What the protocol itself has to say: no application data.
    Protocol,
    /// Everything that was flushed, too.
    Everything,
}

/// What was written into a packet.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Written {
    /// Something that the other side acknowledges.
    pub ack_eliciting: bool,
    /// Application data.
    pub application: bool,
}

impl Channels {
    /// Whether there is something to write.
    #[must_use]
    pub const fn wants_to_send(&self, scope: Scope) -> bool {
        let data = !self.unreliable.is_empty() || !self.reliable.is_empty();
        !self.control.is_empty() || (matches!(scope, Scope::Everything) && data)
    }

    /// Writes the last frames of a packet: control, then unreliable messages, then reliable data,
    /// channels taking turns. What must be known when the packet's fate is goes into `list`.
    ///
    /// Nothing may come of it although [`Channels::wants_to_send`]: if there is too little room, or
    /// no record for new data until packets under way are acknowledged or lost.
    pub fn write(
        &mut self,
        pools: &mut Pools<'_>,
        scope: Scope,
        writer: &mut Writer<'_>,
        list: &mut FrameList,
    ) -> Written {
        let start = writer.position();
        self.room_max = self.room_max.max(u16::try_from(writer.remaining()).unwrap_or(u16::MAX));
        self.write_control(pools, writer, list);
        let control_end = writer.position();
        if scope == Scope::Everything {
            self.write_data(pools, writer, list);
        }
        Written {
            ack_eliciting: writer.position() > start,
            application: writer.position() > control_end,
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

    fn write_data(&mut self, pools: &mut Pools<'_>, writer: &mut Writer<'_>, list: &mut FrameList) {
        let reliable_waits = !self.reliable.is_empty();
        let before = writer.position();
        if let Some(slot) = self.reliable.first().filter(|_| self.starved >= STARVED_MAX) {
            self.starved = 0;
            let others = !self.unreliable.is_empty();
            if self.write_reliable(pools, slot, others, writer, list) == Done::Closed {
                return;
            }
        }
        let started = writer.position();
        let closed = self.write_unreliables(pools, writer, before);
        if !closed {
            self.write_reliables(pools, writer, list);
        } else if reliable_waits && started == before {
            self.starved = self.starved.saturating_add(1);
        }
    }

    /// Writes unreliable messages as far as they fit; `true` if the packet is closed.
    fn write_unreliables(
        &mut self,
        pools: &mut Pools<'_>,
        writer: &mut Writer<'_>,
        packet_start: usize,
    ) -> bool {
        let mut skipped_first = None;
        while let Some(slot) = self.unreliable.first() {
            if skipped_first == Some(slot) {
                return false;
            }
            let fresh = writer.position() == packet_start;
            let done = self.write_unreliable(pools, slot, fresh, writer);
            self.unreliable.rotate(&mut pools.slots, slot);
            self.relist(pools, slot);
            match done {
                Done::More => {
                    self.check_drained(pools, slot);
                    skipped_first = None;
                }
                Done::Closed => {
                    self.check_drained(pools, slot);
                    return true;
                }
                Done::Nothing => skipped_first = skipped_first.or(Some(slot)),
            }
        }
        false
    }

    /// Writes the next message of a channel, or the next part of it.
    fn write_unreliable(
        &mut self,
        pools: &mut Pools<'_>,
        slot: u16,
        fresh: bool,
        writer: &mut Writer<'_>,
    ) -> Done {
        let several = self.unreliable.has_several() || !self.reliable.is_empty();
        let state = &mut pools.slots[u32::from(slot)];
        let mut header = [0; QUEUE_HEADER];
        state.send.chain.copy_to(&pools.send, state.send.sent, &mut header);
        let total = u32::from_le_bytes(header) as usize;
        let at = state.send.fragment_at as usize;
        let body = state.send.sent + (QUEUE_HEADER + at) as u64;
        let left = total - at;
        let more = several || body + (left as u64) < state.send.flushed;

        let room = writer.remaining();
        let mut frame = message_frame(state, self.incarnations[usize::from(state.channel.0)]);
        let never_fits = frame.overhead(total, true) + total > usize::from(self.room_max);
        let fits = frame.data_room(room, true).is_some_and(|data| total <= data);
        if at > 0 || (!fits && (fresh || never_fits)) {
            let number = state.send.fragment_number;
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
            if frame.fragment.is_some() {
                state.send.fragment_number = state.send.fragment_number.wrapping_add(1);
            }
            self.release_sent(pools, slot);
        }
        if last { Done::Closed } else { Done::More }
    }

    /// Writes ranges of reliable channels as far as they fit.
    fn write_reliables(
        &mut self,
        pools: &mut Pools<'_>,
        writer: &mut Writer<'_>,
        list: &mut FrameList,
    ) {
        self.starved = 0;
        let mut skipped_first = None;
        while let Some(slot) = self.reliable.first() {
            if skipped_first == Some(slot) {
                return;
            }
            match self.write_reliable(pools, slot, false, writer, list) {
                Done::More => skipped_first = None,
                Done::Closed => return,
                // Without records for new data, another channel may still send again what is lost.
                Done::Nothing => skipped_first = skipped_first.or(Some(slot)),
            }
        }
    }

    /// Writes a range of a reliable channel: what was lost, then what is new.
    fn write_reliable(
        &mut self,
        pools: &mut Pools<'_>,
        slot: u16,
        others: bool,
        writer: &mut Writer<'_>,
        list: &mut FrameList,
    ) -> Done {
        let others = others || self.reliable.has_several();
        self.reliable.rotate(&mut pools.slots, slot);
        let state = &pools.slots[u32::from(slot)];
        let send = &state.send;
        let (start, wanted) = match send.lost_head {
            NONE => (send.sent, send.new_bytes()),
            lost => (pools.nodes[lost].start, u64::from(pools.nodes[lost].len)),
        };
        let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
        // A packet that counts as lost may still arrive when newer ones have moved the other side's
        // expectation on, as long as its replay window lets it in.
        let low = send.released(pools.nodes.items());
        let high = send.sent.saturating_add(STRAGGLER_BYTES);
        let frame = ReliableRange {
            channel: state.channel,
            incarnation_low: self.incarnation(state.channel).low_bits(),
            offset: Truncated::new(start, encode_len_within(start, low, high)),
            data: &[],
        };
        let room = writer.remaining();
        let Some(data_room) = frame.data_room(room, true) else { return Done::Nothing };
        if data_room < wanted.min(RANGE_MIN) {
            return Done::Nothing;
        }
        let len = wanted.min(data_room);
        let more_after_lost = |lost: u32| pools.nodes[lost].next != NONE || send.new_bytes() > 0;
        let follows =
            others || len < wanted || (send.lost_head != NONE && more_after_lost(send.lost_head));
        let with_length = frame.data_room(room, false).unwrap_or(0);
        let last = !follows || len > with_length;

        let before = writer.position();
        if frame.emit_head(writer, len, last).is_err() {
            return Done::Nothing;
        }
        if !self.track_range(pools, slot, start, len as u32, list) {
            writer.roll_back(before);
            return Done::Nothing;
        }
        let state = &mut pools.slots[u32::from(slot)];
        state.announced = true;
        copy(&mut state.send.chain, &pools.send, start, len, writer);
        self.relist(pools, slot);
        if last { Done::Closed } else { Done::More }
    }

    /// Remembers that this packet carries `len` bytes from `start` of a reliable stream, which are
    /// the front of its first lost range or of what is new; `false` if there is no record for it.
    fn track_range(
        &mut self,
        pools: &mut Pools<'_>,
        slot: u16,
        start: u64,
        len: u32,
        list: &mut FrameList,
    ) -> bool {
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
            pools.nodes[node] = Node { slot, start, len, ..Node::new() };
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
        } else {
            send.link_before(&mut pools.nodes, node, lost);
            let rest = &mut pools.nodes[lost];
            rest.start += u64::from(len);
            rest.len -= len;
        }
        let record = &mut pools.nodes[node];
        record.kind = NodeKind::Sent;
        record.next = list.0;
        list.0 = node;
        true
    }

    fn take_sent(&mut self, pools: &mut Pools<'_>) -> Option<u32> {
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
fn message_frame(state: &ChannelSlot, incarnation: Incarnation) -> UnreliableMessage<'static> {
    UnreliableMessage {
        channel: state.channel,
        incarnation_low: incarnation.low_bits(),
        fragment: None,
        data: &[],
    }
}

/// Writes a frame's data; there must be room.
fn copy(
    chain: &mut Chain,
    pool: &Pool<'_, Block>,
    start: u64,
    len: usize,
    writer: &mut Writer<'_>,
) {
    chain.read(pool, start, len, |chunk| {
        let written = writer.bytes(chunk);
        debug_assert!(written.is_ok(), "the frame was measured");
    });
}

/// The length in front of each queued unreliable message.
const QUEUE_HEADER: usize = 4;

/// Fragments and ranges shorter than this are not worth their heads, unless nothing else is left.
const FRAGMENT_MIN: usize = 64;
const RANGE_MIN: usize = 16;

/// Records that new data leaves for control frames and for splitting lost ranges: the former make
/// the other side go on, the latter must not wait for a packet as large as the lost one was.
const NODES_ASIDE: u32 = 4;

/// After so many packets without reliable data, some goes first.
const STARVED_MAX: u8 = 3;

/// How far a stream can move on while a packet that left earlier still passes the replay window.
const STRAGGLER_BYTES: u64 = PacketWindow::SIZE * DATAGRAM_LEN_MAX as u64;
