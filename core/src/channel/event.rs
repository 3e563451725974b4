//! What the application is told.

use super::slot::{Events, NO_SLOT, State};
use super::{Channels, Payload, Pools};
use crate::id::ChannelId;

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

    /// Gives back what the last event lent and says for certain whether there is another.
    pub fn prepare_event(&mut self, pools: &mut Pools<'_>) -> bool {
        self.settle(pools);
        self.find_room(pools);
        !self.ready.is_empty()
    }

    /// The next event. A message's bytes are given back with the next call, so that calling until
    /// `None` leaves nothing behind. Channels take turns; within one, messages come before Closed.
    pub fn poll_event<'a>(&mut self, mut pools: Pools<'a>) -> Option<ChannelEvent<'a>> {
        self.prepare_event(&mut pools);
        self.next_event(pools)
    }

    /// As [`Channels::poll_event`], right after [`Channels::prepare_event`].
    pub(crate) fn next_event<'a>(&mut self, mut pools: Pools<'a>) -> Option<ChannelEvent<'a>> {
        let slot = self.ready.first()?;
        let state = &mut pools.slots[u32::from(slot)];
        let channel = state.channel;
        let Events { opened, mismatch, writable, .. } = state.events;
        if opened {
            state.events.opened = false;
            self.relist(&mut pools, slot);
            return Some(ChannelEvent::Opened { channel });
        }
        if mismatch {
            state.events.mismatch = false;
            self.relist(&mut pools, slot);
            return Some(ChannelEvent::Mismatch { channel });
        }
        if state.receive.whole > 0 {
            let (block, at, len) = self.lend(&mut pools, slot);
            if pools.slots[u32::from(slot)].has_event() {
                self.ready.rotate(&mut pools.slots, slot);
            } else {
                self.ready.remove(&mut pools.slots, slot);
            }
            let payload = Payload::new(pools.receive.into_items(), block, at, len);
            return Some(ChannelEvent::Message { channel, payload });
        }
        if writable {
            state.events.writable = false;
            self.relist(&mut pools, slot);
            return Some(ChannelEvent::Writable { channel });
        }
        debug_assert!(state.state == State::Ended, "nothing else makes a channel ready");
        self.free_slot(&mut pools, slot);
        Some(ChannelEvent::Closed { channel })
    }
}
