//! What arrives: which channel it is for, and whether it still counts.

use core::cmp::Ordering;

use super::slot::State;
use super::{Channels, Pools, ProtocolViolation, RemoteOpen};
use crate::id::{ChannelId, Incarnation, Reliability};
use crate::wire::frame::{ChannelOpen, Frame, RangeOrder, ReliableRange, UnreliableMessage};

/// What became of a frame that broke no rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Accepted {
    /// Whether the packet may be acknowledged. Otherwise the frame was refused for now, and the
    /// other side sends it again when it takes the packet for lost.
    pub ack: bool,
}

impl Channels {
    /// Takes one frame of an opened packet. Frames that are not about channels have no effect.
    ///
    /// # Errors
    /// [`ProtocolViolation`]: the connection cannot go on.
    pub fn handle_frame(
        &mut self,
        pools: &mut Pools<'_>,
        frame: &Frame<'_>,
    ) -> Result<Accepted, ProtocolViolation> {
        let ack = match frame {
            Frame::ChannelOpen(open) => self.handle_open(pools, open)?,
            Frame::ChannelClose { channel, incarnation } => {
                self.handle_close(pools, *channel, *incarnation)?
            }
            Frame::Credit { channel, incarnation, limit } => {
                self.handle_credit(pools, *channel, *incarnation, *limit)?
            }
            Frame::Reliable(range) => self.handle_reliable(pools, range)?,
            Frame::Unreliable(message) => {
                self.handle_unreliable(pools, message)?;
                true
            }
            Frame::Padding { .. }
            | Frame::Ping
            | Frame::PathChallenge { .. }
            | Frame::PathResponse { .. }
            | Frame::RouteUpdate { .. }
            | Frame::Disconnect(_)
            | Frame::Ack(_) => true,
        };
        Ok(Accepted { ack })
    }

    fn handle_open(
        &mut self,
        pools: &mut Pools<'_>,
        open: &ChannelOpen,
    ) -> Result<bool, ProtocolViolation> {
        let ChannelOpen { channel, reliability, incarnation, credit } = *open;
        if !self.reach(pools, channel, incarnation)? {
            return Ok(true);
        }
        let Some(slot) = self.live_slot(pools, channel) else {
            let remote = &mut self.remote[usize::from(channel.0)];
            let before = remote.get().unwrap_or((reliability, 0));
            if before.0 != reliability {
                return Err(ProtocolViolation::Reliability);
            }
            *remote = RemoteOpen::new(reliability, credit.max(before.1));
            return Ok(true);
        };
        let state = &mut pools.slots[u32::from(slot)];
        state.send.credit = state.send.credit.max(credit);
        match state.remote {
            None => self.remote_opened(pools, slot, reliability),
            Some(before) if before != reliability => return Err(ProtocolViolation::Reliability),
            Some(_) => self.relist(pools, slot),
        }
        Ok(true)
    }

    fn handle_close(
        &mut self,
        pools: &mut Pools<'_>,
        channel: ChannelId,
        incarnation: Incarnation,
    ) -> Result<bool, ProtocolViolation> {
        if self.reach(pools, channel, incarnation)? {
            self.close_by_remote(pools, channel);
        }
        Ok(true)
    }

    fn handle_credit(
        &mut self,
        pools: &mut Pools<'_>,
        channel: ChannelId,
        incarnation: Incarnation,
        limit: u64,
    ) -> Result<bool, ProtocolViolation> {
        if !self.reach(pools, channel, incarnation)? {
            return Ok(true);
        }
        if let Some(slot) = self.live_slot(pools, channel) {
            let send = &mut pools.slots[u32::from(slot)].send;
            send.credit = send.credit.max(limit);
            self.relist(pools, slot);
        } else {
            let remote = &mut self.remote[usize::from(channel.0)];
            if let Some((reliability, credit)) = remote.get().filter(|(r, _)| r.is_reliable()) {
                *remote = RemoteOpen::new(reliability, credit.max(limit));
            }
        }
        Ok(true)
    }

    fn handle_reliable(
        &mut self,
        pools: &mut Pools<'_>,
        range: &ReliableRange<'_>,
    ) -> Result<bool, ProtocolViolation> {
        let ReliableRange { channel, incarnation_low, order, offset, data } = *range;
        let reliability = match order {
            RangeOrder::Ordered => Reliability::Reliable,
            RangeOrder::AtMessage | RangeOrder::WithinMessage => Reliability::ReliableUnordered,
        };
        let slot = self.data_slot(pools, channel, incarnation_low, reliability);
        let Some(slot) = slot else { return Ok(true) };
        let start = offset.expand(pools.slots[u32::from(slot)].receive.contiguous);
        match order {
            RangeOrder::Ordered => self.receive_range(pools, slot, start, data),
            RangeOrder::AtMessage => self.receive_unordered(pools, slot, start, true, data),
            RangeOrder::WithinMessage => self.receive_unordered(pools, slot, start, false, data),
        }
    }

    /// Takes an unreliable message, or a fragment of one.
    ///
    /// # Errors
    /// [`ProtocolViolation`]: the connection cannot go on.
    #[inline]
    pub fn handle_unreliable(
        &mut self,
        pools: &mut Pools<'_>,
        message: &UnreliableMessage<'_>,
    ) -> Result<(), ProtocolViolation> {
        let UnreliableMessage { channel, incarnation_low, sequence, fragment, data } = *message;
        let reliability = match sequence {
            None => Reliability::Unreliable,
            Some(_) => Reliability::UnreliableSequenced,
        };
        let slot = self.data_slot(pools, channel, incarnation_low, reliability);
        let Some(slot) = slot else { return Ok(()) };
        let receive = &pools.slots[u32::from(slot)].receive;
        if sequence.is_some_and(|number| !receive.is_news(number)) {
            self.counters.outdated += 1;
            return Ok(());
        }
        if let Some(fragment) = fragment {
            return self.receive_fragment(pools, slot, fragment, data);
        }
        if data.len() > pools.limits.message_unreliable_max as usize {
            return Err(ProtocolViolation::MessageTooLarge);
        }
        if self.receive_whole(pools, slot, data) {
            if let Some(number) = sequence {
                pools.slots[u32::from(slot)].receive.newest = number;
            }
        } else {
            self.counters.no_memory += 1;
        }
        Ok(())
    }

    /// The slot that takes the data of this channel and incarnation; `None` if it is to be dropped.
    /// Such data counts as the other side's open.
    #[inline]
    fn data_slot(
        &mut self,
        pools: &mut Pools<'_>,
        channel: ChannelId,
        incarnation_low: u8,
        reliability: Reliability,
    ) -> Option<u16> {
        let current = incarnation_low == self.incarnation(channel).low_bits();
        if current && let Some(slot) = self.slot_of(channel) {
            let state = &pools.slots[u32::from(slot)];
            let open = state.state == State::Open && state.reliability == reliability;
            if open && state.agreed() {
                return Some(slot);
            }
        }
        self.data_slot_to_be(pools, channel, current, reliability)
    }

    /// As [`Channels::data_slot`], where the channel is not simply open on both sides.
    #[inline(never)]
    fn data_slot_to_be(
        &mut self,
        pools: &mut Pools<'_>,
        channel: ChannelId,
        current: bool,
        reliability: Reliability,
    ) -> Option<u16> {
        if !current {
            self.counters.stale += 1;
            return None;
        }
        let slot = self.live_slot(pools, channel);
        let Some(slot) = slot.filter(|s| pools.slots[u32::from(*s)].reliability == reliability)
        else {
            self.counters.not_open += 1;
            return None;
        };
        let state = &pools.slots[u32::from(slot)];
        match state.remote {
            None => self.remote_opened(pools, slot, reliability),
            Some(remote) if remote == reliability => {}
            Some(_) => {
                self.counters.not_open += 1;
                return None;
            }
        }
        let open = pools.slots[u32::from(slot)].state == State::Open;
        open.then_some(slot)
    }

    /// Compares a control frame's incarnation with ours; `true` if it is about the present one.
    ///
    /// The next one can only have begun because the other side has our close: its acknowledgement
    /// is still on its way.
    fn reach(
        &mut self,
        pools: &mut Pools<'_>,
        channel: ChannelId,
        incarnation: Incarnation,
    ) -> Result<bool, ProtocolViolation> {
        let ahead = incarnation.0.wrapping_sub(self.incarnation(channel).0) as i8;
        match ahead.cmp(&0) {
            Ordering::Less => {
                self.counters.stale += 1;
                return Ok(false);
            }
            Ordering::Equal => return Ok(true),
            Ordering::Greater => {}
        }
        let slot = self.live_slot(pools, channel);
        let closing = slot.filter(|s| pools.slots[u32::from(*s)].state == State::Closing);
        let (Some(slot), 1) = (closing, ahead) else {
            return Err(ProtocolViolation::Incarnation);
        };
        self.finish_close(pools, slot);
        Ok(true)
    }
}
