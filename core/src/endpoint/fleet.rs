//! The signed list of relays that the directory follows (states.md, Directory).

use core::time::Duration;

use super::{Endpoint, Refusal, SetDirectoryError};
use crate::connection::{RelayIndex, backoff};
use crate::crypto::Crypto;
use crate::fleet::{FleetKey, SignedDirectory, SignedDirectoryError};
use crate::id::RelayId;
use crate::limits::RELAYS_MAX;
use crate::memory::Lender;
use crate::time::Instant;
use crate::wire::hop::{ControlMessage, DirectoryPage};

/// Whose lists are believed, which is in force, and how far the next one has come.
#[derive(Clone, Copy)]
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
    /// The home that is asked for its list.
    source: Option<RelayId>,
    /// When it is asked next.
    ask_at: Instant,
    /// How often it was asked since it has answered last.
    tries: u8,
    /// How often it is asked at most before the next pause, whatever it answers.
    asks_left: u8,
    /// What of a newer list has come.
    coming: Option<Coming>,
    /// The application has not been told of the list in force.
    news: bool,
}

/// A list of which not all is here yet.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Coming {
    sequence: u64,
    len: usize,
    have: usize,
}

impl Fleet {
    pub(super) const fn new(key: Option<FleetKey>) -> Self {
        Self {
            key,
            sequence: 0,
            len: 0,
            upper: false,
            fit_at: Instant::FAR,
            source: None,
            ask_at: Instant::FAR,
            tries: 0,
            asks_left: 0,
            coming: None,
            news: false,
        }
    }

    /// Whether a signed list is in force.
    pub(super) const fn has_list(&self) -> bool {
        self.sequence != 0
    }

    pub(super) fn poll_timeout(&self) -> Instant {
        self.fit_at.min(self.ask_at)
    }

    /// Whether the home is to be asked now.
    pub(super) fn wants_transmit(&self, now: Instant) -> bool {
        self.ask_at <= now
    }

    pub(super) const fn has_news(&self) -> bool {
        self.news
    }

    /// The list in force, if the application has not been told of it.
    pub(super) fn take_news(&mut self) -> Option<u64> {
        core::mem::take(&mut self.news).then_some(self.sequence)
    }

    /// Nobody is asked for anything any more.
    pub(super) fn stop(&mut self) {
        *self = Self { source: None, ask_at: Instant::FAR, fit_at: Instant::FAR, ..*self };
    }

    /// Asks from the start, at this time.
    fn ask_from(&mut self, at: Instant) {
        (self.ask_at, self.tries, self.asks_left, self.coming) = (at, 0, ASKS_MAX, None);
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
        // What has come of another list lies where this one is written.
        self.state.fleet.coming = None;
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

    /// The sequence number of the signed list in force; `None` if there is none.
    #[must_use]
    pub fn directory_sequence(&self) -> Option<u64> {
        Some(self.state.fleet.sequence).filter(|sequence| *sequence != 0)
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

    /// A home that has not been asked for its list is asked soon.
    pub(super) fn follow_home(&mut self) {
        let Some(home) = self.state.home.relay.filter(|_| self.state.fleet.key.is_some()) else {
            return;
        };
        let slot = self.relay_slot(home);
        let id = slot.proven_session().and_then(|_| slot.id());
        if id.is_some() && id != self.state.fleet.source {
            // Those who come together, from a relay that died, do not ask together.
            let at = self.state.now + self.random_wait(SPREAD);
            self.state.fleet.source = id;
            self.state.fleet.ask_from(at);
        }
    }

    /// Writes a question about the home's list, if one is due.
    pub(super) fn transmit_directory_ask(&mut self, out: &mut [u8]) -> Option<(RelayIndex, usize)> {
        let now = self.state.now;
        if !self.state.fleet.wants_transmit(now) {
            return None;
        }
        let Fleet { source, tries, asks_left, coming, .. } = self.state.fleet;
        if tries >= TRIES_MAX || asks_left == 0 {
            self.pause_asking();
            return None;
        }
        let (sequence, offset, room) = coming.map_or((0, 0, 0), |list| {
            (list.sequence, list.have as u16, (list.len - list.have).min(DirectoryPage::BYTES_MAX))
        });
        let ask = ControlMessage::DirectoryAsk { sequence, offset, room: room as u16 };
        let home = self.state.home.relay.filter(|home| self.relay_slot(*home).id() == source);
        let written = home
            .and_then(|home| Some((home, self.relay_slot_mut(home).poll_directory_ask(ask, out)?)));
        let fleet = &mut self.state.fleet;
        if written.is_none() {
            // Without a session just now, or no home any more: another one is followed by itself.
            fleet.ask_from(now + SPREAD);
            return None;
        }
        fleet.ask_at = now + backoff(tries);
        fleet.tries += 1;
        fleet.asks_left -= 1;
        written
    }

    /// The home has answered about its list.
    pub(super) fn handle_directory_page(
        &mut self,
        relay: RelayIndex,
        page: &[u8],
    ) -> Result<(), Refusal> {
        let page = DirectoryPage::parse(page).map_err(|_| Refusal::Malformed)?;
        let now = self.state.now;
        let room = self.next_list_mut().len();
        let Fleet { source, tries, sequence, coming, .. } = self.state.fleet;
        if tries == 0 || self.relay_slot(relay).id() != source {
            return Err(Refusal::Unexpected);
        }
        if page.sequence <= sequence {
            self.pause_asking();
            return Ok(());
        }
        let len = usize::from(page.list_len);
        let Some(list) = coming.filter(|list| (list.sequence, list.len) == (page.sequence, len))
        else {
            if len > room {
                self.pause_asking();
                return Err(Refusal::Directory);
            }
            let fleet = &mut self.state.fleet;
            fleet.coming = Some(Coming { sequence: page.sequence, len, have: 0 });
            (fleet.ask_at, fleet.tries) = (now, 0);
            return Ok(());
        };
        if usize::from(page.offset) != list.have || page.bytes.is_empty() {
            // The answer to a question that was repeated meanwhile.
            return Err(Refusal::Unexpected);
        }
        let have = list.have + page.bytes.len();
        if let Some(into) = self.next_list_mut().get_mut(list.have..have) {
            into.copy_from_slice(page.bytes);
        }
        if have < len {
            let fleet = &mut self.state.fleet;
            fleet.coming = Some(Coming { have, ..list });
            (fleet.ask_at, fleet.tries) = (now, 0);
            return Ok(());
        }
        self.pause_asking();
        self.state.fleet.news |= self.take_list(len).map_err(|_| Refusal::Directory)?;
        Ok(())
    }

    /// The home is asked again after a while.
    fn pause_asking(&mut self) {
        let at = self.state.now + PAUSE + self.random_wait(PAUSE_SPREAD);
        self.state.fleet.ask_from(at);
    }

    pub(super) fn handle_fleet_timeout(&mut self, now: Instant) {
        if self.state.fleet.fit_at <= now {
            self.fit_list();
        }
    }
}

/// A home is asked for its list within this, at a random time.
const SPREAD: Duration = Duration::from_secs(10);
/// And again after this,
const PAUSE: Duration = Duration::from_secs(540);
/// and a random time below this: every ten minutes.
const PAUSE_SPREAD: Duration = Duration::from_secs(120);
/// Questions in a row that find no answer, before the next pause.
const TRIES_MAX: u8 = 5;
/// Questions before the next pause: the longest list takes nine, and some are lost.
const ASKS_MAX: u8 = 32;
/// Relays that find no room are tried again this often: as often as unneeded ones are left.
const FIT_AGAIN: Duration = Duration::from_secs(5);
