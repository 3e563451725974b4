//! Filling a packet.

use super::lifecycle::open_frame;
use super::node::NodeKind;
use super::slot::Due;
use super::{Channels, Node, Pools};
use crate::pool::Metered;
use crate::protection::PacketWindow;
use crate::recovery::FrameList;
use crate::time::Instant;
use crate::wire::frame::Frame;
use crate::wire::{DATAGRAM_LEN_MAX, Writer};

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
        if self.write_alone(pools, permit.now, writer) {
            self.starved = 0;
            return;
        }
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
        let mut lowest = None;
        for list in [&self.unreliable, &self.reliable] {
            for slot in list.iter(&pools.slots) {
                let class = pools.slots[u32::from(slot)].class;
                if class >= least && lowest.is_none_or(|lowest| class < lowest) {
                    lowest = Some(class);
                }
            }
        }
        lowest
    }

    /// Lets the next channel have its turn when this one has had its share.
    pub(super) fn end_turn(&mut self, pools: &mut Pools<'_>, slot: u16, done: Done) {
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
pub(super) enum Done {
    /// Written, with its length.
    More,
    /// Written without its length: nothing can follow.
    Closed,
    /// Not written.
    Nothing,
}

/// Has `len` bytes of a frame's data written; there must be room.
pub(super) fn write_bytes(writer: &mut Writer<'_>, len: usize, write: impl FnOnce(&mut [u8])) {
    let place = writer.reserve(len);
    debug_assert!(place.is_ok(), "the frame was measured");
    if let Ok(place) = place {
        write(place);
    }
}

/// After so many packets without reliable data, some goes first.
const STARVED_MAX: u8 = 3;

/// New data of a channel that fills many packets, in bytes.
const MUCH: u64 = 16 * 1024;

/// From this loss on, in 1/1024 (5 %), small reliable data is repeated twice.
pub const HEAVY_LOSS: u32 = 51;

/// How far a stream can move on while a packet that left earlier still passes the replay window.
pub(super) const STRAGGLER_BYTES: u64 = PacketWindow::SIZE * DATAGRAM_LEN_MAX as u64;
