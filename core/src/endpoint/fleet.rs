//! The signed list of relays that the directory follows (states.md, Directory).

use core::time::Duration;

use super::{Endpoint, SetDirectoryError};
use crate::crypto::Crypto;
use crate::fleet::{FleetKey, SignedDirectory, SignedDirectoryError};
use crate::id::RelayId;
use crate::limits::RELAYS_MAX;
use crate::memory::Lender;
use crate::time::Instant;

/// Whose lists are believed, and which is in force.
pub(super) struct Fleet {
    key: Option<FleetKey>,
    /// Of the list in force; 0: there is none.
    sequence: u64,
    /// Its length.
    len: usize,
    /// Which half of the memory for lists holds it; the other half is for the next one.
    upper: bool,
    /// When relays of the list that found no room are tried again.
    fit_at: Instant,
}

impl Fleet {
    pub(super) const fn new(key: Option<FleetKey>) -> Self {
        Self { key, sequence: 0, len: 0, upper: false, fit_at: Instant::FAR }
    }

    /// Whether a signed list is in force.
    pub(super) const fn has_list(&self) -> bool {
        self.sequence != 0
    }

    pub(super) const fn poll_timeout(&self) -> Instant {
        self.fit_at
    }
}

impl<C: Crypto, L: Lender> Endpoint<C, L> {
    /// Takes a list of relays that the fleet has signed, in binary or text form. It replaces what
    /// the directory held before the first list and what earlier lists named: relays that it does
    /// not name are left as soon as one that it names serves. What the application adds while a list
    /// is in force stays, and so do the relays of invites.
    ///
    /// Answers whether the list is in force now; it is not if it is as old as the present one, or
    /// older, which changes nothing.
    ///
    /// # Errors
    /// [`SetDirectoryError`]; nothing has changed then.
    pub fn set_signed_directory(&mut self, list: &[u8]) -> Result<bool, SetDirectoryError> {
        if self.state.fleet.key.is_none() {
            return Err(SetDirectoryError::NoFleetKey);
        }
        let len = SignedDirectory::to_binary(list, self.next_list_mut()).map_err(|error| {
            if error == SignedDirectoryError::TooLong {
                SetDirectoryError::TooLarge
            } else {
                SetDirectoryError::List(error)
            }
        })?;
        self.take_list(len)
    }

    /// The signed list in force, to be kept for the next start; `None` if there is none.
    #[must_use]
    pub fn signed_directory(&self) -> Option<SignedDirectory<'_>> {
        let Fleet { upper, len, sequence, .. } = self.state.fleet;
        let (lower_half, upper_half) = self.memory.lists();
        let half = if upper { upper_half } else { lower_half };
        if sequence == 0 { None } else { SignedDirectory::parse(half.get(..len)?).ok() }
    }

    /// Where the next list is written.
    fn next_list_mut(&mut self) -> &mut [u8] {
        let (lower, upper) = self.memory.lists_mut();
        if self.state.fleet.upper { lower } else { upper }
    }

    /// Follows the list that was written where the next one is, if it is good and newer.
    fn take_list(&mut self, len: usize) -> Result<bool, SetDirectoryError> {
        let key = self.state.fleet.key.ok_or(SetDirectoryError::NoFleetKey)?;
        let relays = usize::from(self.state.limits.relays);
        let bytes = self.next_list_mut().get(..len).unwrap_or_default();
        let list = SignedDirectory::parse(bytes).map_err(SetDirectoryError::List)?;
        if !list.is_signed_by::<C>(&key) {
            return Err(SetDirectoryError::Signature);
        }
        if list.len() > relays {
            return Err(SetDirectoryError::TooLarge);
        }
        let sequence = list.sequence();
        let fleet = &mut self.state.fleet;
        if sequence <= fleet.sequence {
            return Ok(false);
        }
        (fleet.sequence, fleet.len, fleet.upper) = (sequence, len, !fleet.upper);
        self.follow_list();
        Ok(true)
    }

    /// Makes the directory what the list says.
    fn follow_list(&mut self) {
        let ids: heapless::Vec<RelayId, { RELAYS_MAX as usize }> = self
            .signed_directory()
            .into_iter()
            .flat_map(|list| list.entries())
            .map(|entry| RelayId::from_key_hash(&C::sha256(&[&entry.public_key().0])))
            .collect();
        for relay in self.indices() {
            let slot = self.relay_slot(relay);
            let listed = slot.id().is_some_and(|id| ids.contains(&id));
            if !listed && !slot.removed && !slot.stays {
                self.unlist(relay);
            }
        }
        self.settle_home();
        self.fit_list();
    }

    /// Takes in those relays of the list that are not in the directory. Relays that have to be left
    /// first may hold the room they need: then it is tried again.
    fn fit_list(&mut self) {
        self.state.fleet.fit_at = Instant::FAR;
        let mut number = 0;
        while let Some(entry) = self.signed_directory().and_then(|list| list.entries().nth(number))
        {
            if self.learn_relay(&entry).is_err() {
                self.state.fleet.fit_at = self.state.now + FIT_AGAIN;
            }
            number += 1;
        }
        self.settle_home();
    }

    pub(super) fn handle_fleet_timeout(&mut self, now: Instant) {
        if self.state.fleet.fit_at <= now {
            self.fit_list();
        }
    }
}

/// Relays that find no room are tried again this often: as often as unneeded ones are left.
const FIT_AGAIN: Duration = Duration::from_secs(5);
