//! Opening and closing, by either side.

use super::limits::WINDOW_MIN;
use super::slot::{ChannelSlot, Due, Events, NO_SLOT, ReceiveHalf, State, first_credit};
use super::{ChannelOptions, Channels, CloseChannelError, OpenChannelError, Pools, RemoteOpen};
use crate::id::{ChannelId, Incarnation, Reliability};
use crate::wire::Writer;
use crate::wire::frame::{ChannelOpen, Frame};

impl Channels {
    /// Opens a channel on this side. Opening it again with the same reliability is fine, and
    /// changes the other options; while a close is under way, it is opened when that is done.
    ///
    /// # Errors
    /// [`OpenChannelError`].
    pub fn open(
        &mut self,
        pools: &mut Pools<'_>,
        channel: ChannelId,
        options: ChannelOptions,
    ) -> Result<(), OpenChannelError> {
        options.check()?;
        self.open_as(pools, channel, options.reliability)?;
        if let Some(slot) = self.slot_of(channel) {
            pools.slots[u32::from(slot)].prefer(&options);
        }
        Ok(())
    }

    fn open_as(
        &mut self,
        pools: &mut Pools<'_>,
        channel: ChannelId,
        reliability: Reliability,
    ) -> Result<(), OpenChannelError> {
        let Some(slot) = self.slot_of(channel) else {
            return self.open_new(pools, channel, reliability);
        };
        let state = &pools.slots[u32::from(slot)];
        match (state.state, state.reopen) {
            (State::Open | State::Ended, _) if state.reliability == reliability => Ok(()),
            (State::Open | State::Ended, _) => Err(OpenChannelError::AlreadyOpenOtherwise),
            (State::Draining | State::Closing, Some(reopen)) if reopen == reliability => Ok(()),
            (State::Draining | State::Closing, Some(_)) => {
                Err(OpenChannelError::AlreadyOpenOtherwise)
            }
            (State::Draining | State::Closing, None) => {
                if reliability.is_reliable() && !self.reserve_window(pools, slot) {
                    return Err(OpenChannelError::Full);
                }
                pools.slots[u32::from(slot)].reopen = Some(reliability);
                Ok(())
            }
        }
    }

    /// Closes a channel on both sides: what was queued before still arrives if the other side has
    /// the channel open, what arrives from now on is dropped.
    ///
    /// # Errors
    /// [`CloseChannelError::NotOpen`].
    pub fn close(
        &mut self,
        pools: &mut Pools<'_>,
        channel: ChannelId,
    ) -> Result<(), CloseChannelError> {
        let slot = self.slot_of(channel).ok_or(CloseChannelError::NotOpen)?;
        let state = &mut pools.slots[u32::from(slot)];
        match state.state {
            State::Open => self.start_close(pools, slot),
            State::Ended => self.free_slot(pools, slot),
            State::Draining | State::Closing => {
                state.reopen.take().ok_or(CloseChannelError::NotOpen)?;
                state.send.refused = 0;
                self.waiting.remove(&mut pools.slots, slot);
                self.release_window(pools, slot);
            }
        }
        Ok(())
    }

    /// Writes ChannelOpen frames of all open channels as far as they fit: hints for the handshake's
    /// answer, which save a round trip. They are sent again where their loss is noticed.
    pub fn write_opens(&mut self, pools: &mut Pools<'_>, writer: &mut Writer<'_>) {
        for number in 0..=u8::MAX {
            let channel = ChannelId(number);
            let Some(slot) = self.slot_of(channel) else { continue };
            let state = &mut pools.slots[u32::from(slot)];
            let frame = open_frame(state, self.incarnation(channel));
            if state.state != State::Open {
                continue;
            }
            if frame.emit(writer).is_err() {
                return;
            }
            state.announced = true;
        }
    }

    /// The other side restarted: what the application has open stays open, everything else starts
    /// afresh. All frame lists must have been handed back before.
    pub fn reset_streams(&mut self, pools: &mut Pools<'_>) {
        self.incarnations = [Incarnation(0); 256];
        self.remote = [RemoteOpen::NONE; 256];
        for number in 0..=u8::MAX {
            let Some(slot) = self.slot_of(ChannelId(number)) else { continue };
            self.clear_send(pools, slot);
            self.clear_receive(pools, slot);
            let ChannelSlot { state, reopen, reliability, .. } = pools.slots[u32::from(slot)];
            match (state, reopen) {
                (State::Open, _) => self.begin(pools, slot, reliability),
                (State::Draining | State::Closing, Some(reliability)) => {
                    self.begin(pools, slot, reliability);
                }
                (State::Draining | State::Closing, None) => self.free_slot(pools, slot),
                (State::Ended, _) => self.relist(pools, slot),
            }
        }
    }

    /// What the other side was said to have open it has not: it restarted before anything of it was
    /// heard. What was sent to it goes again; all frame lists must have been handed back before.
    pub fn forget_remote(&mut self, pools: &mut Pools<'_>) {
        self.remote = [RemoteOpen::NONE; 256];
        for number in 0..=u8::MAX {
            let Some(slot) = self.slot_of(ChannelId(number)) else { continue };
            self.repeats.forget_all(slot);
            let state = &mut pools.slots[u32::from(slot)];
            state.remote = None;
            state.send.credit = 0;
            state.events = Events { opened: false, mismatch: false, ..state.events };
            self.relist(pools, slot);
            self.check_drained(pools, slot);
        }
    }

    /// The peer is gone: gives everything back and closes all channels. All frame lists must have
    /// been handed back before.
    pub fn release(&mut self, pools: &mut Pools<'_>) {
        for number in 0..=u8::MAX {
            if let Some(slot) = self.slot_of(ChannelId(number)) {
                self.free_slot(pools, slot);
            }
        }
        *self = Self { counters: self.counters, accounts: self.accounts, ..Self::new() };
    }

    /// Goes on with a close when nothing queued before it is left.
    #[inline]
    pub(super) fn check_drained(&mut self, pools: &mut Pools<'_>, slot: u16) {
        if pools.slots[u32::from(slot)].state == State::Draining {
            self.close_if_drained(pools, slot);
        }
    }

    fn close_if_drained(&mut self, pools: &mut Pools<'_>, slot: u16) {
        let state = &pools.slots[u32::from(slot)];
        if !state.send.is_drained() && state.agreed() {
            return;
        }
        if !state.announced {
            // The other side has never heard of this opening: there is nothing to close there.
            let remote = state.remote.map(|reliability| (reliability, state.send.credit));
            self.remote[usize::from(state.channel.0)] =
                remote.map_or(RemoteOpen::NONE, |(r, credit)| RemoteOpen::new(r, credit));
            self.end_slot(pools, slot);
            return;
        }
        self.clear_send(pools, slot);
        let state = &mut pools.slots[u32::from(slot)];
        state.state = State::Closing;
        state.due = Due { close: true, ..Due::default() };
        self.relist(pools, slot);
    }

    /// Both sides know that the incarnation is over.
    pub(super) fn finish_close(&mut self, pools: &mut Pools<'_>, slot: u16) {
        let channel = pools.slots[u32::from(slot)].channel;
        self.advance(channel);
        self.end_slot(pools, slot);
    }

    /// The other side has closed the channel's present incarnation.
    pub(super) fn close_by_remote(&mut self, pools: &mut Pools<'_>, channel: ChannelId) {
        let Some(slot) = self.live_slot(pools, channel) else {
            self.advance(channel);
            return;
        };
        if pools.slots[u32::from(slot)].state != State::Open {
            self.finish_close(pools, slot);
            return;
        }
        self.advance(channel);
        self.clear_send(pools, slot);
        self.give_up_fragments(pools, slot);
        self.waiting.remove(&mut pools.slots, slot);
        self.stuck.remove(&mut pools.slots, slot);
        let state = &mut pools.slots[u32::from(slot)];
        state.state = State::Ended;
        state.due = Due::default();
        state.events = Events { opened: state.events.opened, closed: true, ..Events::default() };
        self.relist(pools, slot);
    }

    /// The other side has, or is known to have, opened the channel with `reliability`.
    pub(super) fn remote_opened(
        &mut self,
        pools: &mut Pools<'_>,
        slot: u16,
        reliability: Reliability,
    ) {
        let state = &mut pools.slots[u32::from(slot)];
        state.remote = Some(reliability);
        if state.state == State::Open {
            if state.agreed() {
                state.events.opened = true;
            } else {
                state.events.mismatch = true;
            }
        }
        self.relist(pools, slot);
        self.check_drained(pools, slot);
    }

    /// Gives a channel's slot back, whatever its state.
    pub(super) fn free_slot(&mut self, pools: &mut Pools<'_>, slot: u16) {
        self.clear_send(pools, slot);
        self.clear_receive(pools, slot);
        self.release_window(pools, slot);
        for list in [
            &mut self.control,
            &mut self.unreliable,
            &mut self.reliable,
            &mut self.queued,
            &mut self.ready,
            &mut self.waiting,
            &mut self.stuck,
        ] {
            list.remove(&mut pools.slots, slot);
        }
        let channel = pools.slots[u32::from(slot)].channel;
        self.slots[usize::from(channel.0)] = NO_SLOT;
        pools.slots.give(u32::from(slot));
        self.accounts.slots.release(&mut pools.shares.slots, 1);
    }

    fn open_new(
        &mut self,
        pools: &mut Pools<'_>,
        channel: ChannelId,
        reliability: Reliability,
    ) -> Result<(), OpenChannelError> {
        if !self.accounts.slots.reserve(&mut pools.shares.slots, 1) {
            return Err(OpenChannelError::Full);
        }
        let Some(slot) = pools.slots.take() else {
            self.accounts.slots.release(&mut pools.shares.slots, 1);
            return Err(OpenChannelError::Full);
        };
        pools.slots[slot] = ChannelSlot::open(channel, reliability);
        let slot = slot as u16;
        if reliability.is_reliable() && !self.reserve_window(pools, slot) {
            pools.slots.give(u32::from(slot));
            self.accounts.slots.release(&mut pools.shares.slots, 1);
            return Err(OpenChannelError::Full);
        }
        self.slots[usize::from(channel.0)] = slot;
        self.begin(pools, slot, reliability);
        Ok(())
    }

    /// Begins an incarnation in a slot whose streams are empty.
    fn begin(&mut self, pools: &mut Pools<'_>, slot: u16, reliability: Reliability) {
        let old = pools.slots[u32::from(slot)];
        let channel = old.channel;
        for list in [&mut self.control, &mut self.unreliable, &mut self.reliable, &mut self.ready] {
            list.remove(&mut pools.slots, slot);
        }
        let state = &mut pools.slots[u32::from(slot)];
        state.restart(reliability);
        state.send.refused = old.send.refused;
        state.events.writable = old.events.writable;
        state.receive = ReceiveHalf::with_window(old.receive.window);
        state.due.open = true;
        if reliability.is_reliable() {
            self.widen_first_window(pools, slot);
        } else {
            self.release_window(pools, slot);
        }
        let remote = core::mem::replace(&mut self.remote[usize::from(channel.0)], RemoteOpen::NONE);
        if let Some((remote, credit)) = remote.get() {
            pools.slots[u32::from(slot)].send.credit = credit;
            self.remote_opened(pools, slot, remote);
        }
        self.relist(pools, slot);
    }

    /// The application closes an open channel.
    fn start_close(&mut self, pools: &mut Pools<'_>, slot: u16) {
        self.clear_receive(pools, slot);
        self.release_window(pools, slot);
        self.waiting.remove(&mut pools.slots, slot);
        let state = &mut pools.slots[u32::from(slot)];
        state.state = State::Draining;
        state.events = Events::default();
        state.send.refused = 0;
        if state.agreed() && state.reliability.is_reliable() {
            // What arrives is thrown away, so it may arrive: the other side's close, if it comes
            // to that as well, must not wait for credit.
            state.due.credit = true;
        }
        self.relist(pools, slot);
        self.check_drained(pools, slot);
    }

    /// The slot's incarnation is over here, and so is the slot, unless it is to be opened again.
    fn end_slot(&mut self, pools: &mut Pools<'_>, slot: u16) {
        self.clear_send(pools, slot);
        self.clear_receive(pools, slot);
        match pools.slots[u32::from(slot)].reopen {
            Some(reliability) => self.begin(pools, slot, reliability),
            None => self.free_slot(pools, slot),
        }
    }

    fn advance(&mut self, channel: ChannelId) {
        let index = usize::from(channel.0);
        self.incarnations[index] = self.incarnations[index].next();
        self.remote[index] = RemoteOpen::NONE;
    }

    /// Reserves the smallest window for a slot that has none.
    fn reserve_window(&mut self, pools: &mut Pools<'_>, slot: u16) -> bool {
        let reserved = self.accounts.receive.reserve(&mut pools.shares.receive, WINDOW_MIN);
        if reserved {
            pools.slots[u32::from(slot)].receive.window = WINDOW_MIN;
        }
        reserved
    }

    fn release_window(&mut self, pools: &mut Pools<'_>, slot: u16) {
        let receive = &mut pools.slots[u32::from(slot)].receive;
        let window = core::mem::take(&mut receive.window);
        self.accounts.receive.release(&mut pools.shares.receive, window);
    }

    /// The first window is wide while memory is plenty: later channels must find some, too.
    fn widen_first_window(&mut self, pools: &mut Pools<'_>, slot: u16) {
        let spare = self.spare_for_windows(pools) / 16;
        let receive = &mut pools.slots[u32::from(slot)].receive;
        let more = pools.limits.window_initial.saturating_sub(receive.window).min(spare);
        if self.accounts.receive.reserve(&mut pools.shares.receive, more) {
            receive.window += more;
        }
        receive.granted = first_credit(receive.window);
    }
}

/// The frame that tells the other side that the channel is open here.
pub(super) fn open_frame(state: &ChannelSlot, incarnation: Incarnation) -> Frame<'static> {
    let credit = if state.reliability.is_reliable() { state.receive.granted } else { 0 };
    let ChannelSlot { channel, reliability, .. } = *state;
    Frame::ChannelOpen(ChannelOpen { channel, reliability, incarnation, credit })
}
