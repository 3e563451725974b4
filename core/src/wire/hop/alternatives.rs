//! The relays that a relay names when it is about to stop.

use crate::id::RelayId;
use crate::wire::{Full, ParseError, Reader, Writer};

/// Relays to go to instead, the best first: names only. A client goes to none that is not in its
/// own directory.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Alternatives {
    relays: [RelayId; Self::MAX],
    len: u8,
}

impl Alternatives {
    /// As many at most.
    pub const MAX: usize = 4;
    /// None.
    pub const NONE: Self = Self { relays: [RelayId(0); Self::MAX], len: 0 };
    /// Bytes at most.
    pub const LEN_MAX: usize = Self::MAX * 8;

    /// One more, behind those before it.
    ///
    /// # Errors
    /// [`Full`] beyond [`MAX`](Self::MAX).
    pub fn push(&mut self, relay: RelayId) -> Result<(), Full> {
        *self.relays.get_mut(usize::from(self.len)).ok_or(Full)? = relay;
        self.len += 1;
        Ok(())
    }

    /// All of them, in their order.
    #[must_use]
    pub fn as_slice(&self) -> &[RelayId] {
        self.relays.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// Those that the rest of a message holds.
    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        let mut relays = Self::NONE;
        while !reader.is_empty() {
            relays.push(RelayId(reader.u64()?)).map_err(|_| ParseError::Trailing)?;
        }
        Ok(relays)
    }

    pub(super) fn emit(&self, writer: &mut Writer<'_>) -> Result<(), Full> {
        self.as_slice().iter().try_for_each(|relay| writer.u64(relay.0))
    }
}
