//! What the application is told.

use super::slot::{Events, NO_SLOT, State};
use super::{Block, ChannelSlot, Channels, Payload, Pools};
use crate::id::{ChannelId, Reliability};
use crate::pool::Pool;

/// Something happened on a channel.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum ChannelEvent<'a> {
    /// Both sides have the channel open the same way.
    Opened {
        /// Which channel.
        channel: ChannelId,
    },
    /// The other side has closed the channel; it is closed here, too.
    Closed {
        /// Which channel.
        channel: ChannelId,
    },
    /// The other side has the channel open with the other reliability: nothing is carried until
    /// one side closes it.
    Mismatch {
        /// Which channel.
        channel: ChannelId,
    },
    /// There is room for the message that was refused last.
    Writable {
        /// Which channel.
        channel: ChannelId,
    },
    /// A message.
    Message {
        /// Which channel.
        channel: ChannelId,
        /// Its bytes.
        payload: Payload<'a>,
    },
}

impl Channels {
    /// Whether [`Channels::poll_event`] is worth a call; now and then it is not.
    #[must_use]
    pub const fn has_events(&self) -> bool {
        !self.ready.is_empty() || !self.waiting.is_empty() || self.lent != NO_SLOT
    }

    /// The next event. A message's bytes are given back with the next call, so that calling until
    /// `None` leaves nothing behind. Channels take turns; within one, messages come before Closed.
    pub fn poll_event<'a>(&mut self, mut pools: Pools<'a>) -> Option<ChannelEvent<'a>> {
        let event = self.take_event(&mut pools)?;
        Some(event.lend(pools.receive.into_items()))
    }

    /// The next event if it is a message of the only channel that has events, and nothing is to be
    /// given back before: so it is with most messages, where there are many.
    #[inline]
    pub(crate) fn take_message(
        &mut self,
        slots: &mut Pool<'_, ChannelSlot>,
        blocks: &[Block],
    ) -> Option<TakenMessage> {
        let slot = self.ready.first().filter(|_| !self.ready.has_several())?;
        let state = &mut slots[u32::from(slot)];
        let Events { opened, mismatch, .. } = state.events;
        let stream = match state.reliability {
            Reliability::Unreliable | Reliability::UnreliableSequenced => false,
            Reliability::Reliable if state.state == State::Open && self.completing != slot => true,
            Reliability::Reliable | Reliability::ReliableUnordered => return None,
        };
        let others = !self.waiting.is_empty() || (self.lent != slot && self.lent != NO_SLOT);
        if opened || mismatch || others {
            return None;
        }
        let (block, at, len) = state.receive.take_in_first(blocks, self.lent == slot, stream)?;
        let message = TakenMessage { channel: state.channel, block, at, len };
        self.lent = slot;
        if !state.has_event() {
            self.ready.remove(slots, slot);
        }
        Some(message)
    }

    /// Takes back the message lent last where that leaves nothing else to do or to tell, as mostly it
    /// does when messages are few; `false` if not, and then nothing has happened.
    #[inline]
    pub(crate) fn take_back(&mut self, pools: Pools<'_>) -> bool {
        if self.lent == NO_SLOT || !self.ready.is_empty() || !self.waiting.is_empty() {
            return false;
        }
        // By value and apart: what is lent on as a whole has to be laid out in memory first.
        let Pools { mut slots, mut receive, shares, .. } = pools;
        let state = &mut slots[u32::from(self.lent)];
        let half = &mut state.receive;
        match state.reliability {
            Reliability::Unreliable | Reliability::UnreliableSequenced => {
                half.consumed = half.lent_end;
                let freed = half.settle_queue(&mut receive);
                self.keeps = true;
                self.accounts.receive.release(&mut shares.receive, freed);
            }
            Reliability::Reliable if state.state == State::Open && self.completing != self.lent => {
                if !half.settles_simply() {
                    return false;
                }
                half.consumed = half.lent_end;
            }
            Reliability::Reliable | Reliability::ReliableUnordered => return false,
        }
        self.lent = NO_SLOT;
        true
    }

    /// As [`Channels::poll_event`], but does not yet lend a message's bytes.
    pub(crate) fn take_event(&mut self, pools: &mut Pools<'_>) -> Option<TakenEvent> {
        self.settle(pools);
        if !self.waiting.is_empty() {
            self.find_room(pools);
        }
        let slot = self.ready.first()?;
        let state = &mut pools.slots[u32::from(slot)];
        let channel = state.channel;
        let Events { opened, mismatch, writable, .. } = state.events;
        if opened {
            state.events.opened = false;
            self.relist(pools, slot);
            return Some(TakenEvent::Whole(ChannelEvent::Opened { channel }));
        }
        if mismatch {
            state.events.mismatch = false;
            self.relist(pools, slot);
            return Some(TakenEvent::Whole(ChannelEvent::Mismatch { channel }));
        }
        if state.receive.whole > 0 {
            let (block, at, len) = self.lend(pools, slot);
            let message = TakenMessage { channel, block, at, len };
            if pools.slots[u32::from(slot)].has_event() {
                self.ready.rotate(&mut pools.slots, slot);
            } else {
                self.ready.remove(&mut pools.slots, slot);
            }
            return Some(TakenEvent::Message(message));
        }
        if writable {
            state.events.writable = false;
            self.relist(pools, slot);
            return Some(TakenEvent::Whole(ChannelEvent::Writable { channel }));
        }
        debug_assert!(state.state == State::Ended, "nothing else makes a channel ready");
        self.free_slot(pools, slot);
        Some(TakenEvent::Whole(ChannelEvent::Closed { channel }))
    }
}

/// An event without the bytes that it lends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum TakenEvent {
    /// Lends nothing.
    Whole(ChannelEvent<'static>),
    Message(TakenMessage),
}

/// A message of `len` bytes that begins at byte `at` of `block`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TakenMessage {
    channel: ChannelId,
    block: u32,
    at: usize,
    len: usize,
}

impl TakenEvent {
    /// The event, as `blocks` hold its bytes.
    #[inline]
    pub(crate) fn lend(self, blocks: &[Block]) -> ChannelEvent<'_> {
        match self {
            Self::Whole(event) => event,
            Self::Message(message) => {
                let (channel, payload) = message.lend(blocks);
                ChannelEvent::Message { channel, payload }
            }
        }
    }
}

impl TakenMessage {
    /// The message's channel and bytes, which `blocks` hold.
    #[inline]
    pub(crate) fn lend(self, blocks: &[Block]) -> (ChannelId, Payload<'_>) {
        (self.channel, Payload::new(blocks, self.block, self.at, self.len))
    }
}
