//! Who pays for what a session sends: itself, or one session for all of its subject; and for those
//! of one source an account besides.
//!
//! A source needs one only where several of its sessions pay for themselves: who is alone there has
//! its own buckets, and the dearer of both prices. The sessions of a subject count to the source of
//! the one that pays: what they send through another source's account is no more than their subject
//! could send there anyway.

use super::circle::{Circle, CircleKey};
use super::hot::{HotEntry, Payer};
use super::index::scale;
use super::pending::Terms;
use super::registry::Registry;
use super::sessions::State;
use crate::time::Instant;

impl Registry<'_> {
    /// Gives the live session in `slot` what its bind was granted.
    pub(super) fn settle(&mut self, now: Instant, slot: u32, terms: &Terms) {
        let before = Circle::Subject.key_of(self.sessions, slot);
        if Circle::Source.key_of(self.sessions, slot) != terms.source {
            self.leave_account(slot);
            Circle::Source.leave(self.sessions, slot);
            Circle::Source.join(self.sessions, slot, terms.source);
        }
        if before != terms.subject {
            Circle::Subject.leave(self.sessions, slot);
            Circle::Subject.join(self.sessions, slot, terms.subject);
            self.name_payer(now, before);
            self.pay(now, slot, None);
        }
        if terms.subject == CircleKey::NONE {
            self.pay(now, slot, None);
        }
        self.name_payer(now, terms.subject);
        // The subject's latest token says what all of its sessions share.
        self.set_prices(slot, terms);
        for member in Circle::Subject.members(self.sessions, terms.subject) {
            self.set_prices(member, terms);
        }
    }

    /// Lets one of the subject's live sessions pay for what all of them send: the one that does,
    /// or else any.
    pub(super) fn name_payer(&self, now: Instant, subject: CircleKey) {
        let members = || self.live_members(Circle::Subject, subject);
        let named = members().find_map(|slot| match self.hot(slot)?.payer() {
            Payer::Instead(payer) => Some(payer),
            Payer::Itself | Payer::Besides(_) => None,
        });
        let named = named.filter(|payer| members().any(|slot| slot == *payer));
        let Some(payer) = named.or_else(|| members().last()) else { return };
        for slot in members() {
            self.pay(now, slot, (slot != payer).then_some(payer));
        }
    }

    /// Takes the session in `slot` out of its source's account; who is then alone there needs none
    /// either.
    pub(super) fn leave_account(&self, slot: u32) {
        if !self.drop_account(slot) {
            return;
        }
        let source = Circle::Source.key_of(self.sessions, slot);
        let mut others = self.own_payers(source).filter(|other| *other != slot);
        if let (Some(last), None) = (others.next(), others.next()) {
            self.drop_account(last);
        }
    }

    /// The account that pays besides the session in `slot`.
    pub(super) fn account_of(&self, slot: u32) -> Option<&HotEntry> {
        match self.hot(slot)?.payer() {
            Payer::Besides(account) => self.hot(account),
            Payer::Itself | Payer::Instead(_) => None,
        }
    }

    pub(super) fn hot(&self, slot: u32) -> Option<&HotEntry> {
        self.tables.hot.get(slot as usize)
    }

    /// Lets the session in the slot `instead` pay for the one in `slot`, or it for itself.
    fn pay(&self, now: Instant, slot: u32, instead: Option<u32>) {
        let Some(hot) = self.hot(slot) else { return };
        if let Some(payer) = instead {
            self.leave_account(slot);
            hot.set_payer(Payer::Instead(payer));
            return;
        }
        match hot.payer() {
            Payer::Besides(_) => return,
            Payer::Itself => {}
            Payer::Instead(_) => hot.set_payer(Payer::Itself),
        }
        let source = Circle::Source.key_of(self.sessions, slot);
        let Some(other) = self.own_payers(source).find(|other| *other != slot) else { return };
        let shared = match self.hot(other).map(HotEntry::payer) {
            Some(Payer::Besides(account)) => Some(account),
            _ => self.pick_account(source),
        };
        let Some(account) = shared else { return };
        for slot in [slot, other] {
            self.take_account(now, slot, account);
        }
    }

    /// Lets the account pay besides the session in `slot`, unless one does.
    fn take_account(&self, now: Instant, slot: u32, account: u32) {
        if let (Some(hot), Some(entry)) = (self.hot(slot), self.hot(account))
            && hot.payer() == Payer::Itself
        {
            // It may have lain unused while the clock went round.
            entry.freshen_account(now);
            entry.set_users(entry.users().saturating_add(1));
            hot.set_payer(Payer::Besides(account));
        }
    }

    /// Whether there was one.
    fn drop_account(&self, slot: u32) -> bool {
        let Some(account) = self.account_of(slot) else { return false };
        account.set_users(account.users().saturating_sub(1));
        if let Some(hot) = self.hot(slot) {
            hot.set_payer(Payer::Itself);
        }
        true
    }

    /// An account that nobody else has, if there is one among those that this source may have; or
    /// else the least used of them.
    fn pick_account(&self, source: CircleKey) -> Option<u32> {
        let first = self.sessions.len();
        let count = self.tables.hot.len().checked_sub(first + 1)?;
        let start = scale((source.get() >> 16) as u32, count);
        let place = |n| if start + n < count { start + n } else { start + n - count };
        let accounts = || (0..count.min(CHOICES)).map(|n| (first + place(n)) as u32);
        let users = |account: &u32| self.hot(*account).map_or(u32::MAX, HotEntry::users);
        accounts().find(|account| users(account) == 0).or_else(|| accounts().min_by_key(users))
    }

    /// The live sessions of a source for which no other one pays.
    fn own_payers(&self, source: CircleKey) -> impl Iterator<Item = u32> + use<'_> {
        let pays = |slot: &u32| {
            !matches!(self.hot(*slot).map(HotEntry::payer), None | Some(Payer::Instead(_)))
        };
        self.live_members(Circle::Source, source).filter(pays)
    }

    fn live_members(&self, circle: Circle, key: CircleKey) -> impl Iterator<Item = u32> + use<'_> {
        let is_live = |slot: &u32| {
            self.sessions.get(*slot as usize).is_some_and(|session| session.state == State::Live)
        };
        circle.members(self.sessions, key).filter(is_live)
    }

    fn set_prices(&self, slot: u32, terms: &Terms) {
        if let Some(hot) = self.hot(slot) {
            hot.set_prices(terms.packet_price, terms.byte_price);
        }
    }
}

/// Accounts that a source may have.
const CHOICES: usize = 64;
