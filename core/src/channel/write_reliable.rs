//! Filling a packet with ranges of reliable streams.

use super::limits::PREFIX_MAX;
use super::node::NodeKind;
use super::repeat::{Cause, REPEAT_MAX};
use super::slot::SendHalf;
use super::write::{Done, HEAVY_LOSS, Permit, write_bytes};
use super::{Block, Channels, Node, Pools};
use crate::id::Reliability;
use crate::pool::{NONE, Pool};
use crate::recovery::FrameList;
use crate::wire::frame::{RangeOrder, ReliableRange};
use crate::wire::{Reader, Writer};

impl Channels {
    /// Writes ranges of a class's reliable channels, small or bulk, as far as they fit.
    pub(super) fn write_reliables(
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

    pub(super) fn next_reliable(&self, pools: &Pools<'_>, class: u8, bulk: bool) -> Option<u16> {
        self.reliable.iter(&pools.slots).find(|slot| {
            let state = &pools.slots[u32::from(*slot)];
            state.class == class
                && state.passed != self.packet
                && (bulk || state.is_small(pools.nodes.items()))
        })
    }

    /// Writes a range of a reliable channel: what was lost, then what is new. `others` says that
    /// there is more to come in this packet than reliable data.
    pub(super) fn write_reliable(
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
        let send = &mut state.send;
        write_bytes(writer, len, |place| {
            if first_time {
                send.chain.copy_to(&pools.send, start, place);
            } else {
                send.copy_again(&pools.send, start, place);
            }
        });
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
}

impl SendHalf {
    /// Copies what left before to `place`, far behind what is new or not.
    pub(super) fn copy_again(&mut self, pool: &Pool<'_, Block>, start: u64, place: &mut [u8]) {
        self.chain.peek(pool, &mut self.again, start, place);
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

/// Ranges shorter than this are not worth their heads, unless nothing else is left.
const RANGE_MIN: usize = 16;

/// Records that new data leaves for control frames and for splitting lost ranges: the former make
/// the other side go on, the latter must not wait for a packet as large as the lost one was.
const NODES_ASIDE: u32 = 4;
