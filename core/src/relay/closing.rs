//! Changes to a running relay: other limits, and its end, at which nobody is left without a word.

use super::config::{RelayConfig, RelayConfigError};
use super::control::Control;
use super::memory::Memory;
use super::sessions::State;
use crate::crypto::Crypto;
use crate::time::Instant;

impl<C: Crypto, M: Memory> Control<C, M> {
    /// Goes on by the limits of `config`; sizes and times stay what they are. Forwarders are to be
    /// given [`forwarding`](Self::forwarding) anew.
    ///
    /// # Errors
    /// What is wrong with `config`; then nothing changes.
    pub fn reload(&mut self, _: Instant, config: &RelayConfig) -> Result<(), RelayConfigError> {
        config.check()?;
        self.config.budget = config.budget;
        self.config.destination = config.destination;
        self.config.total = config.total;
        self.config.handshakes = config.handshakes;
        Ok(())
    }

    /// Ends some of the sessions that are left; the next polls tell their peers. Returns whether
    /// there were any: to be called, and polled after each call, until there are none.
    pub fn close_some(&mut self) -> bool {
        let (mut registry, ..) = self.registry();
        for ended in 0..CLOSED_AT_ONCE {
            let Some(slot) = registry.lists.slots.first_live() else { return ended > 0 };
            registry.end(slot, Some(State::Expired));
        }
        true
    }
}

/// Few enough for the system's queue.
const CLOSED_AT_ONCE: u32 = 64;
