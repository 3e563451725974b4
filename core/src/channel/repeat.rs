//! Small reliable data goes again in later packets that leave anyway, so that a lost packet costs a
//! tick and not a round trip.

use core::time::Duration;

use heapless::Vec;

use super::node::NodeKind;
use super::slot::State;
use super::write::write_bytes;
use super::{Channels, Node, Pools};
use crate::pool::NONE;
use crate::recovery::FrameList;
use crate::time::Instant;
use crate::wire::Writer;
use crate::wire::frame::{RangeOrder, ReliableRange};
use crate::wire::number::{Truncated, encode_len_within};

/// What one peer is owed again, oldest first.
#[derive(Clone, Debug)]
pub(super) struct Repeats {
    list: Vec<Repeat, REPEATS>,
    /// Bytes that may be repeated: half of all that leaves is earned, so that no more than half of it
    /// are repeats.
    credit: u16,
}

/// A range of a reliable stream that left and is not acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Repeat {
    slot: u16,
    len: u16,
    /// In so many more packets.
    times: u8,
    cause: Cause,
    waits: Waits,
    order: RangeOrder,
    /// The packet that held it last, in its low bits.
    packet: u16,
    /// When it left last, or for the second time if it waits.
    sent_at: Instant,
    start: u64,
}

/// Whether a range is given another chance when its acknowledgement is overdue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Waits {
    No,
    /// It has left once.
    First,
    Repeated,
}

/// Why a range is repeated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Cause {
    /// It is small.
    Small,
    /// The application asked for so many repeats, whatever share of what is sent they are.
    Asked,
    /// It was lost.
    Lost,
    /// It was lost and nothing follows it, or its acknowledgement is overdue: a packet may leave for
    /// it alone.
    Pressing,
}

impl Repeats {
    pub(super) const fn new() -> Self {
        Self { list: Vec::new(), credit: CREDIT_MAX }
    }

    /// Whether the next packet should hold some of it.
    pub(super) fn are_owed(&self) -> bool {
        self.list.iter().any(|repeat| repeat.times > 0)
    }

    /// `bytes` of a packet were written.
    pub(super) fn earn(&mut self, bytes: usize) {
        let earned = u16::try_from(bytes / 2).unwrap_or(CREDIT_MAX);
        self.credit = self.credit.saturating_add(earned).min(CREDIT_MAX);
    }

    /// Whether a packet may leave for repeats alone.
    pub(super) fn want_a_packet(&self) -> bool {
        let presses = |repeat: &Repeat| repeat.cause == Cause::Pressing && repeat.times > 0;
        self.list.iter().any(|repeat| presses(repeat) && repeat.len <= self.credit)
    }

    /// When the next acknowledgement is overdue, if they should take no longer than `wait`.
    fn overdue_at(&self, wait: Duration) -> Option<Instant> {
        let waiting = self.list.iter().filter(|repeat| repeat.waits != Waits::No);
        waiting.map(|repeat| repeat.sent_at + wait).min()
    }

    /// What is overdue by `now` leaves alone, and in the next packets, too.
    fn hurry(&mut self, now: Instant, wait: Duration) {
        for repeat in &mut self.list {
            if repeat.waits != Waits::No && repeat.sent_at + wait <= now {
                repeat.waits = Waits::No;
                repeat.cause = Cause::Pressing;
                repeat.times = OVERDUE_TIMES;
            }
        }
    }

    /// A range left that is to be repeated.
    pub(super) fn owe(&mut self, repeat: Repeat) {
        if repeat.times == 0 {
            return;
        }
        if self.list.is_full() {
            self.list.remove(0);
        }
        // Cannot fail: a full list has just lost one.
        let _ = self.list.push(repeat);
    }

    /// `start..end` of a channel's stream need not be repeated any more.
    pub(super) fn forget(&mut self, slot: u16, start: u64, end: u64) {
        if !self.list.is_empty() {
            self.list.retain(|repeat| {
                repeat.slot != slot || repeat.start >= end || start > repeat.start
            });
        }
    }

    /// Nothing of a channel need be repeated any more.
    pub(super) fn forget_all(&mut self, slot: u16) {
        self.list.retain(|repeat| repeat.slot != slot);
    }
}

impl Channels {
    /// Whether any small reliable message may have to leave again.
    #[must_use]
    pub fn owes_repeats(&self) -> bool {
        !self.repeats.list.is_empty()
    }

    /// When the acknowledgement of a small reliable message is overdue, if it should take no longer
    /// than `wait`.
    #[must_use]
    pub fn overdue_at(&self, wait: Duration) -> Option<Instant> {
        self.repeats.overdue_at(wait)
    }

    /// Lets small reliable messages whose acknowledgement is overdue leave again.
    pub fn hurry(&mut self, now: Instant, wait: Duration) {
        self.repeats.hurry(now, wait);
    }

    /// `len` bytes from `start` of a stream are in the present packet, and are owed again.
    pub(super) fn owe_again(
        &mut self,
        now: Instant,
        slot: u16,
        (start, len): (u64, u16),
        order: RangeOrder,
        (times, cause): (u8, Cause),
    ) {
        let waits = if cause == Cause::Small { Waits::First } else { Waits::No };
        let packet = self.packet as u16;
        let sent_at = now;
        self.repeats.owe(Repeat { slot, len, times, cause, waits, order, packet, sent_at, start });
    }

    /// Writes the ranges that are owed again, of channels up to `class`, as far as they fit.
    pub(super) fn write_repeats(
        &mut self,
        pools: &mut Pools<'_>,
        now: Instant,
        class: u8,
        writer: &mut Writer<'_>,
        list: &mut FrameList,
    ) {
        let mut at = 0;
        while let Some(repeat) = self.repeats.list.get(at).copied() {
            let packet = self.packet as u16;
            let due = repeat.times > 0
                && repeat.packet != packet
                && pools.slots[u32::from(repeat.slot)].class <= class
                && (repeat.cause == Cause::Asked || repeat.len <= self.repeats.credit);
            if !due || !self.write_repeat(pools, repeat, writer, list) {
                at += 1;
                continue;
            }
            self.repeats.credit = self.repeats.credit.saturating_sub(repeat.len);
            if repeat.times == 1 && repeat.waits == Waits::No {
                self.repeats.list.remove(at);
            } else if let Some(repeat) = self.repeats.list.get_mut(at) {
                repeat.times -= 1;
                repeat.packet = packet;
                if repeat.waits == Waits::First {
                    repeat.waits = Waits::Repeated;
                    repeat.sent_at = now;
                }
                at += 1;
            }
        }
    }

    fn write_repeat(
        &mut self,
        pools: &mut Pools<'_>,
        repeat: Repeat,
        writer: &mut Writer<'_>,
        list: &mut FrameList,
    ) -> bool {
        let Repeat { slot, start, order, .. } = repeat;
        let len = usize::from(repeat.len);
        let state = &pools.slots[u32::from(slot)];
        let incarnation = self.incarnation(state.channel);
        let channel = state.channel;
        let frame = ReliableRange {
            channel,
            incarnation_low: incarnation.low_bits(),
            order,
            offset: self.offset(pools, slot, start, order),
            data: &[],
        };
        if frame.data_room(writer.remaining(), false).is_none_or(|room| room < len) {
            return false;
        }
        let Some(node) = self.take_sent(pools) else { return false };
        let written = frame.emit_head(writer, len, false);
        debug_assert!(written.is_ok(), "the frame was measured");
        let send = &mut pools.slots[u32::from(slot)].send;
        write_bytes(writer, len, |place| send.copy_again(&pools.send, start, place));
        pools.nodes[node] = Node {
            next: list.0,
            slot: u16::from(channel.0),
            kind: NodeKind::Repeat,
            incarnation: incarnation.0,
            start,
            len: u32::from(repeat.len),
            ..Node::new()
        };
        list.0 = node;
        true
    }

    /// The offset as a frame of this channel says it now.
    ///
    /// A packet that counts as lost may still arrive when newer ones have moved the other side's
    /// expectation on, as long as its replay window lets it in.
    pub(super) fn offset(
        &self,
        pools: &Pools<'_>,
        slot: u16,
        start: u64,
        order: RangeOrder,
    ) -> Truncated {
        let send = &pools.slots[u32::from(slot)].send;
        let low = send.released(pools.nodes.items());
        let high = send.sent.saturating_add(super::write::STRAGGLER_BYTES);
        let len = encode_len_within(start, low, high).max(order.offset_len_min());
        Truncated::new(start, len)
    }

    /// A repeated range arrived: the first copy, wherever it is, need not.
    pub(super) fn on_repeat_acked(&mut self, pools: &mut Pools<'_>, repeat: &Node) {
        let in_use = |state| matches!(state, State::Open | State::Draining);
        let Some(slot) = self.slot_in_state(pools, repeat, in_use) else { return };
        self.repeats.forget(slot, repeat.start, repeat.end());
        let mut next = pools.slots[u32::from(slot)].send.ranges_head;
        let mut helped = false;
        while next != NONE && pools.nodes[next].start < repeat.end() {
            let index = next;
            let node = pools.nodes[index];
            next = node.after;
            if node.start < repeat.start || node.end() > repeat.end() {
                continue;
            }
            helped = true;
            if node.kind == NodeKind::Lost {
                self.unlink_lost(pools, slot, index);
            }
            pools.slots[u32::from(slot)].send.unlink(&mut pools.nodes, index);
            if node.kind == NodeKind::Lost {
                self.give_sent(pools, index);
            } else {
                // Its packet still holds it.
                pools.nodes[index].kind = NodeKind::Detached;
            }
        }
        if helped {
            self.counters.repeats_used += 1;
            self.release_sent(pools, slot);
            self.relist(pools, slot);
            self.check_drained(pools, slot);
        }
    }

    fn unlink_lost(&mut self, pools: &mut Pools<'_>, slot: u16, index: u32) {
        let after = pools.nodes[index].next;
        let mut before = NONE;
        let mut here = pools.slots[u32::from(slot)].send.lost_head;
        while here != NONE && here != index {
            before = here;
            here = pools.nodes[here].next;
        }
        let send = &mut pools.slots[u32::from(slot)].send;
        if before == NONE {
            send.lost_head = after;
        } else {
            pools.nodes[before].next = after;
        }
        if send.lost_tail == index {
            send.lost_tail = before;
        }
    }
}

/// An overdue range leaves in so many packets: the losses that swallowed the others may go on.
const OVERDUE_TIMES: u8 = 2;

/// Ranges owed at a time: more small messages than this in one packet's time are a flow.
const REPEATS: usize = 8;

/// The longest range that is repeated.
pub(super) const REPEAT_MAX: usize = 256;

/// Bytes repeated in a row.
const CREDIT_MAX: u16 = 4096;
