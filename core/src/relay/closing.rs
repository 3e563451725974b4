//! Changes to a running relay: other limits, and its end, at which nobody is left without a word.

use super::config::{RelayConfig, RelayConfigError};
use super::control::Control;
use super::events::SessionChange;
use super::memory::Memory;
use crate::crypto::Crypto;
use crate::time::Instant;

impl<C: Crypto, M: Memory> Control<C, M> {
    /// Takes other settings while sessions go on: budgets, rates, lifetimes, whose tokens count.
    /// Forwarders are to be given [`forwarding`](Self::forwarding) anew. What the settings say about
    /// the clock is not looked at.
    ///
    /// # Errors
    /// What is wrong with `config`; [`RelayConfigError::Memory`] if it asks for tables of other
    /// sizes. Nothing has changed then.
    pub fn reload(&mut self, config: &RelayConfig) -> Result<(), RelayConfigError> {
        config.check()?;
        if config.limits != self.config.limits {
            return Err(RelayConfigError::Memory);
        }
        self.answers.set_rates(config.answers);
        self.binds.set_rates(config.binds);
        self.registry().0.lists.slots.set_lifetime(config.lifetime);
        let unix_seconds_at_start = self.config.unix_seconds_at_start;
        self.config = RelayConfig { unix_seconds_at_start, ..*config };
        Ok(())
    }

    /// Ends some of the sessions that are left; the next polls tell their peers. Returns whether
    /// there were any: to be called, and polled after each call, until there are none.
    pub fn close_some(&mut self, now: Instant) -> bool {
        let (mut registry, ..) = self.registry();
        for ended in 0..CLOSED_AT_ONCE {
            let Some(slot) = registry.lists.slots.first_live() else { return ended > 0 };
            registry.end(now, slot, SessionChange::Expired);
        }
        true
    }
}

/// Few enough for the system's queue.
const CLOSED_AT_ONCE: u32 = 64;
