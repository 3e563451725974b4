//! The datagrams sent last, so that a hint about one of them is believed.

use crate::wire::hop;

/// Fingerprints of the last datagrams sent.
pub(super) struct Recent {
    prints: [u64; Self::LEN],
    at: usize,
}

impl Default for Recent {
    fn default() -> Self {
        Self { prints: [0; Self::LEN], at: 0 }
    }
}

impl Recent {
    /// Enough for the datagrams of a game in one round trip; a later one gets a hint of its own.
    const LEN: usize = 32;

    pub(super) fn add(&mut self, datagram: &[u8]) {
        if let Some(print) = Self::print(datagram) {
            self.prints[self.at % Self::LEN] = print;
            self.at = (self.at + 1) % Self::LEN;
        }
    }

    pub(super) fn holds(&self, echo: &hop::Echo) -> bool {
        Self::print(echo).is_some_and(|print| print != 0 && self.prints.contains(&print))
    }

    /// The last 8 bytes of a datagram, mostly of a tag: nobody guesses them.
    fn print(datagram: &[u8]) -> Option<u64> {
        Some(u64::from_le_bytes(*datagram.last_chunk()?))
    }
}
