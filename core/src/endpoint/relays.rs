//! The directory's relays, lent for one call.

use core::ops::{Deref, DerefMut};

use super::RelaySlot;
use crate::crypto::Crypto;
use crate::time::Instant;

/// A slice of relays that notices when one may have been changed: until when they all rest is then
/// not known any more.
pub(crate) struct Relays<'a, C: Crypto> {
    slots: &'a mut [RelaySlot<C>],
    rest_until: &'a mut Instant,
}

impl<'a, C: Crypto> Relays<'a, C> {
    pub(crate) const fn new(slots: &'a mut [RelaySlot<C>], rest_until: &'a mut Instant) -> Self {
        Self { slots, rest_until }
    }

    /// A relay by its place, of which nothing is changed but what was sent there.
    pub(crate) fn at_rest(&mut self, place: usize) -> &mut RelaySlot<C> {
        &mut self.slots[place]
    }
}

impl<C: Crypto> Deref for Relays<'_, C> {
    type Target = [RelaySlot<C>];

    fn deref(&self) -> &[RelaySlot<C>] {
        self.slots
    }
}

impl<C: Crypto> DerefMut for Relays<'_, C> {
    fn deref_mut(&mut self) -> &mut [RelaySlot<C>] {
        *self.rest_until = Instant::ZERO;
        self.slots
    }
}
