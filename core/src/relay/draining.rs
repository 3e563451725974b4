//! A relay that is about to stop: whom to tell next, and how many at once.

use core::time::Duration;

use super::control::{Control, Reply};
use super::memory::Memory;
use super::sealing::seal_control;
use crate::crypto::Crypto;
use crate::id::SessionId;
use crate::time::Instant;
use crate::wire::hop::ControlMessage;

impl<C: Crypto, M: Memory> Control<C, M> {
    /// Tells every peer that the relay stops in `left`, over the next polls, and refuses new
    /// binds from now on.
    pub fn drain(&mut self, now: Instant, left: Duration) {
        self.draining = Some(Draining {
            until: now + left,
            next_slot: Some(0),
            allowed: DRAINS_AT_ONCE,
            tick: now,
        });
    }

    /// Tells the next live session that the relay stops.
    pub(super) fn say_draining(&mut self, now: Instant, out: &mut [u8]) -> Option<Reply> {
        let draining = self.draining.as_mut()?;
        let left_s = draining.left_s(now);
        let first = draining.take_turn()?;
        let alternatives = self.config.alternatives;
        let (mut registry, ..) = self.registry();
        let end = registry.sessions.len() as u32;
        let last = end.min(first.saturating_add(DRAIN_SCAN));
        let found = (first..last).find_map(|slot| {
            let (tag, address) = registry.live(slot)?;
            let session = registry.session(slot)?;
            let counter = session.next_counter()?;
            let message = ControlMessage::Drain { left_s, alternatives };
            let len = seal_control::<C>(
                &session.keys(),
                SessionId::new(slot, tag),
                counter,
                message,
                out,
            )?;
            Some((slot, Reply { to: address.to_socket_addr()?, len }))
        });
        let next = found.map_or(last, |(slot, _)| slot + 1);
        if let Some(draining) = &mut self.draining {
            draining.next_slot = (next < end).then_some(next);
            if found.is_none() {
                draining.allowed = 0;
            }
        }
        found.map(|(_, reply)| reply)
    }
}

/// The relay is about to stop.
pub(super) struct Draining {
    until: Instant,
    /// Whom to tell next; `None` when all know.
    next_slot: Option<u32>,
    /// How many may still be told before the next tick.
    allowed: u32,
    tick: Instant,
}

impl Draining {
    pub(super) fn tick(&mut self, now: Instant) {
        if now >= self.tick {
            self.allowed = DRAINS_AT_ONCE;
            self.tick = now + DRAIN_TICK;
        }
    }

    fn take_turn(&mut self) -> Option<u32> {
        self.allowed = self.allowed.checked_sub(1)?;
        self.next_slot
    }

    fn left_s(&self, now: Instant) -> u16 {
        u16::try_from(self.until.since(now).as_secs()).unwrap_or(u16::MAX)
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.next_slot.map(|_| self.tick)
    }
}

/// Peers told in one tick that the relay stops: 64,000 a second.
const DRAINS_AT_ONCE: u32 = 64;
const DRAIN_TICK: Duration = Duration::from_millis(1);
/// Slots looked at for the next peer to be told.
const DRAIN_SCAN: u32 = 4096;
