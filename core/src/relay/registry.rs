//! All tables together: what a bind, its proof, a move and an end do to them.

use super::address::Address;
use super::budget::ticks;
use super::circle::{Circle, CircleKey};
use super::events::{Events, SessionChange};
use super::index::AddressIndex;
use super::list::List;
use super::memory::{Parts, Tables};
use super::pending::{HopKeys, Pending};
use super::sessions::{KeyHash, Over, Session, Slots, State};
use crate::id::SessionId;
use crate::time::Instant;

/// The owner's view of the tables for one call. It alone keeps them in step: a live slot has its
/// hot entry published and its address in the index; no other slot has.
pub(crate) struct Registry<'m> {
    pub(crate) tables: Tables<'m>,
    pub(crate) index: AddressIndex<'m>,
    pub(crate) sessions: &'m mut [Session],
    pub(crate) pending: &'m mut [Pending],
    pub(crate) lists: &'m mut Lists,
}

/// The lists through the tables.
pub(crate) struct Lists {
    pub(crate) slots: Slots,
    free: List,
    /// Unproven binds, oldest first.
    waiting: List,
    /// Replaced keys and addresses, to be told.
    farewells: List,
    pub(crate) events: Events,
}

impl Lists {
    pub(crate) fn new(slots: Slots, parts: &mut Parts<'_>) -> Self {
        let mut free = List::EMPTY;
        parts.pending.fill_with(Pending::new);
        for index in 0..parts.pending.len() as u32 {
            free.push_back(parts.pending, index);
        }
        Self { slots, free, waiting: List::EMPTY, farewells: List::EMPTY, events: Events::new() }
    }

    pub(crate) fn has_farewells(&self) -> bool {
        self.farewells.front().is_some() || self.slots.ending().is_some()
    }

    /// When the oldest unproven bind is given up.
    pub(crate) fn pending_deadline(&self, pending: &[Pending]) -> Option<Instant> {
        Some(pending.get(self.waiting.front()? as usize)?.until)
    }
}

impl Registry<'_> {
    /// The live session in `slot`, its tag and address.
    pub(crate) fn live(&self, slot: u32) -> Option<(u32, Address)> {
        self.tables.hot.get(slot as usize)?.live()
    }

    pub(crate) fn session(&mut self, slot: u32) -> Option<&mut Session> {
        self.sessions.get_mut(slot as usize)
    }

    /// The bind that waits for its proof in `slot`.
    pub(crate) fn pending_of(&self, slot: u32) -> Option<&Pending> {
        let index = self.sessions.get(slot as usize)?.pending()?;
        self.pending.get(index as usize)
    }

    /// The unproven bind of `key` that answered this very request.
    pub(crate) fn answered(
        &self,
        key: KeyHash,
        from: Address,
        request: &[u8; 16],
    ) -> Option<&Pending> {
        self.lists
            .slots
            .of_key(self.sessions, key)
            .filter_map(|slot| self.pending_of(slot))
            .find(|pending| pending.address == from && pending.request == *request)
    }

    /// A slot for a bind: the `wanted` one (whose tag was checked) if it is free or the key's, else
    /// the key's present one, else a new one; never `avoid`, nor the present one if anything is to
    /// be avoided.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn slot_for(&mut self, now: Instant, claim: &Claim) -> Result<u32, NoSlot> {
        let Claim { key, wanted, avoid, .. } = *claim;
        self.check_circles(claim)?;
        if let Some(slot) = wanted
            && self.take_wanted(slot, claim)
        {
            return Ok(slot);
        }
        let present = self.find_slot(key, State::Live);
        let reserved = self.find_slot(key, State::Reserved);
        match avoid {
            None => {
                if let Some(slot) = present.or(reserved) {
                    return Ok(slot);
                }
            }
            Some(Avoid(avoid)) => {
                if let Some(slot) = reserved {
                    if avoid != Some(slot) {
                        return Ok(slot);
                    }
                    // One unproven slot a key: who keeps asking for others does not fill the table.
                    self.drop_pending_of(slot);
                }
            }
        }
        let slot = self.lists.slots.pick(now).ok_or(NoSlot::Full)?;
        self.reserve(slot, claim);
        Ok(slot)
    }

    /// Whether the claim's source and subject may have one more session. Who has one already is
    /// not counted twice, however it comes back.
    fn check_circles(&self, claim: &Claim) -> Result<(), NoSlot> {
        let mut own = self.lists.slots.of_key(self.sessions, claim.key);
        let counts_to = |circle: Circle, slot, key| circle.key_of(self.sessions, slot) == key;
        let is_new = own.next().is_none();
        // Walks at most as far as the limit: no farther for one who exceeds it by far.
        let is_full = |circle: Circle, key, limit: u32| {
            key != CircleKey::NONE
                && circle.members(self.sessions, key).take(limit as usize).count() >= limit as usize
        };
        if is_new && is_full(Circle::Source, claim.source, claim.source_max) {
            return Err(NoSlot::Source);
        }
        let mut own = self.lists.slots.of_key(self.sessions, claim.key);
        let is_counted = own.any(|slot| counts_to(Circle::Subject, slot, claim.subject));
        if !is_counted && is_full(Circle::Subject, claim.subject, claim.subject_max) {
            return Err(NoSlot::Subject);
        }
        Ok(())
    }

    fn reserve(&mut self, slot: u32, claim: &Claim) {
        let Claim { key, source, subject, .. } = *claim;
        self.lists.slots.reserve(self.sessions, slot, key, source, subject);
    }

    /// Puts a bind into `slot`, which belongs to its key, in place of an earlier one there. When
    /// the pool is full, the oldest unproven bind of all gives way.
    pub(crate) fn add_pending(&mut self, slot: u32, fill: impl FnOnce(&mut Pending)) {
        if let Some(earlier) = self.sessions.get(slot as usize).and_then(Session::pending) {
            self.lists.waiting.remove(self.pending, earlier);
            self.free_pending(earlier);
        }
        if self.lists.free.front().is_none() {
            self.make_room();
        }
        let Some(index) = self.lists.free.pop_front(self.pending) else { return };
        if let Some(pending) = self.pending.get_mut(index as usize) {
            fill(pending);
            pending.slot = slot;
        }
        self.lists.waiting.push_back(self.pending, index);
        if let Some(session) = self.session(slot) {
            session.set_pending(Some(index));
        }
    }

    /// Gives up the unproven binds whose time is over.
    pub(crate) fn expire_pending(&mut self, now: Instant) -> u64 {
        let mut given_up = 0;
        while let Some(index) = self.lists.waiting.front() {
            let Some(pending) = self.pending.get(index as usize).filter(|p| p.until <= now) else {
                break;
            };
            let slot = pending.slot;
            self.drop_pending_of(slot);
            given_up += 1;
        }
        given_up
    }

    /// The bind in `slot` is proven by a control datagram: its keys and address become the
    /// session's, and whoever had the session, the key or the address before loses it.
    ///
    /// # Errors
    /// [`Unproven`] if the address has no place in the index, or nothing waits; all stays as it was.
    pub(crate) fn prove(&mut self, now: Instant, slot: u32) -> Result<Proven, Unproven> {
        let Some(index) = self.sessions.get(slot as usize).and_then(Session::pending) else {
            return Err(Unproven);
        };
        let Some(pending) = self.pending.get(index as usize) else { return Err(Unproven) };
        let (address, key, tag) = (pending.address, pending.key, pending.tag);
        let keys = pending.keys.clone();
        let terms = pending.terms;

        if let Some((other, _)) = self.index.find(self.tables.hot, address)
            && other != slot
        {
            // Whoever sends from there now has shown it; the one before cannot be told there.
            self.end(now, other, SessionChange::Left);
        }
        let before = self.live(slot);
        if before.is_none_or(|(_, at)| at != address) && !self.index.insert(address, slot) {
            return Err(Unproven);
        }
        if let Some(other) = self.find_slot(key, State::Live).filter(|&other| other != slot) {
            let told = self.live(other).is_some_and(|(_, at)| at != address);
            let why = if told { SessionChange::Replaced } else { SessionChange::Left };
            self.end(now, other, why);
        }
        let old = self.session(slot).map(|session| {
            let old = (session.keys(), session.next_counter());
            session.set_keys(&keys);
            session.set_pending(None);
            old
        });
        self.lists.waiting.remove(self.pending, index);
        let proven = match before {
            Some((_, at)) if at != address => {
                self.move_to(slot, at, address);
                self.leave_farewell(index, at, old);
                Proven::Moved
            }
            Some(_) => {
                self.free_pending(index);
                Proven::Rekeyed
            }
            None => {
                if let Some(hot) = self.tables.hot.get(slot as usize) {
                    hot.publish(ticks(now), tag, address);
                }
                self.free_pending(index);
                let session = SessionId::new(slot, tag);
                self.lists.events.note(session, address, SessionChange::Begun);
                Proven::New
            }
        };
        self.lists.slots.set_end(self.sessions, slot, terms.end);
        self.keep_alive(now, slot);
        self.settle(now, slot, &terms);
        Ok(proven)
    }

    /// Looks at the next live session whose turn has come, and ends it if it is over.
    pub(crate) fn look(&mut self, now: Instant) -> Option<Option<Over>> {
        let look = self.lists.slots.look(now, self.sessions)?;
        self.lists.slots.put_back(self.sessions, look.slot);
        match look.over {
            Some(Over::Silence) => self.end(now, look.slot, SessionChange::Expired),
            Some(Over::Token) => self.end(now, look.slot, SessionChange::TokenExpired),
            None => self.freshen(now, look.slot),
        }
        Some(look.over)
    }

    /// Makes the live session in `slot` last for its lifetime from now.
    pub(crate) fn keep_alive(&mut self, now: Instant, slot: u32) {
        self.lists.slots.keep_alive(now, self.sessions, slot);
        self.freshen(now, slot);
    }

    fn freshen(&self, now: Instant, slot: u32) {
        if let Some(hot) = self.hot(slot) {
            hot.freshen(ticks(now));
        }
        let accounts = [self.account_of(slot), self.tables.hot.last()];
        accounts.into_iter().flatten().for_each(|account| account.freshen_account(now));
    }

    /// Ends the live session in `slot`: out of the tables at once, told later.
    pub(crate) fn end(&mut self, now: Instant, slot: u32, why: SessionChange) {
        let Some((tag, address)) = self.live(slot) else { return };
        let session = SessionId::new(slot, tag);
        self.lists.events.note(session, address, why);
        self.drop_pending_of(slot);
        if let Some(hot) = self.tables.hot.get(slot as usize) {
            hot.retire();
        }
        self.index.remove(address, slot);
        let subject = Circle::Subject.key_of(self.sessions, slot);
        self.leave_account(slot);
        Circle::Source.leave(self.sessions, slot);
        Circle::Subject.leave(self.sessions, slot);
        self.lists.slots.end(self.sessions, slot, why.farewell());
        self.name_payer(now, subject);
    }

    /// The next peer to be told that another took over, with the keys and address it had.
    pub(crate) fn next_farewell(&mut self) -> Option<Farewell> {
        let index = self.lists.farewells.pop_front(self.pending)?;
        let pending = self.pending.get(index as usize)?;
        let farewell = Farewell {
            session: SessionId::new(pending.slot, pending.tag),
            address: pending.address,
            keys: pending.keys.clone(),
            counter: pending.counter,
        };
        self.free_pending(index);
        Some(farewell)
    }

    fn find_slot(&self, key: KeyHash, state: State) -> Option<u32> {
        let has_state =
            |&slot: &u32| self.sessions.get(slot as usize).is_some_and(|s| s.state == state);
        self.lists.slots.of_key(self.sessions, key).find(has_state)
    }

    /// Takes `slot` for the claim's key if it is free or the key's already.
    fn take_wanted(&mut self, slot: u32, claim: &Claim) -> bool {
        let Some(session) = self.sessions.get(slot as usize) else { return false };
        match session.state {
            State::Live | State::Reserved => return session.key == claim.key,
            State::Free => {}
            State::Expired | State::Replaced => {
                if session.key != claim.key {
                    return false;
                }
                self.lists.slots.forget(self.sessions, slot);
            }
        }
        self.reserve(slot, claim);
        true
    }

    /// Gives up the bind in `slot`; a slot that was only reserved for it becomes free.
    fn drop_pending_of(&mut self, slot: u32) {
        let Some(session) = self.sessions.get_mut(slot as usize) else { return };
        let Some(index) = session.pending() else { return };
        session.set_pending(None);
        let reserved = session.state == State::Reserved;
        self.lists.waiting.remove(self.pending, index);
        self.free_pending(index);
        if reserved {
            self.lists.slots.release(self.sessions, slot);
        }
    }

    fn make_room(&mut self) {
        if let Some(oldest) = self.lists.waiting.front() {
            let slot = self.pending.get(oldest as usize).map(|p| p.slot);
            if let Some(slot) = slot {
                self.drop_pending_of(slot);
            }
        } else if let Some(index) = self.lists.farewells.pop_front(self.pending) {
            self.free_pending(index);
        }
    }

    /// Frees an entry that stands in no list, and wipes its keys.
    fn free_pending(&mut self, index: u32) {
        if let Some(pending) = self.pending.get_mut(index as usize) {
            pending.keys = HopKeys::NONE;
        }
        self.lists.free.push_back(self.pending, index);
    }

    fn move_to(&mut self, slot: u32, from: Address, to: Address) {
        // Entered under the new address before: at no moment is the session nowhere.
        if let Some(hot) = self.tables.hot.get(slot as usize) {
            hot.move_to(to);
        }
        self.index.remove(from, slot);
    }

    /// Turns the proven bind's entry into the farewell to whom it replaced.
    fn leave_farewell(
        &mut self,
        index: u32,
        address: Address,
        old: Option<(HopKeys, Option<u32>)>,
    ) {
        let (Some(pending), Some((keys, Some(counter)))) =
            (self.pending.get_mut(index as usize), old)
        else {
            self.free_pending(index);
            return;
        };
        pending.address = address;
        pending.keys = keys;
        pending.counter = counter;
        self.lists.farewells.push_back(self.pending, index);
    }
}

/// Who asks for a slot, and which.
#[derive(Clone, Copy)]
pub(crate) struct Claim {
    pub(crate) key: KeyHash,
    pub(crate) wanted: Option<u32>,
    pub(crate) avoid: Option<Avoid>,
    pub(crate) source: CircleKey,
    pub(crate) subject: CircleKey,
    /// How many sessions the source may have.
    pub(crate) source_max: u32,
    /// How many sessions the subject may have.
    pub(crate) subject_max: u32,
}

/// Why nobody gets a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NoSlot {
    /// All are taken.
    Full,
    /// The source has as many as it may.
    Source,
    /// The subject has as many as it may.
    Subject,
}

/// The bind asks for another slot than this one and than its present one.
#[derive(Clone, Copy)]
pub(crate) struct Avoid(pub(crate) Option<u32>);

/// Who is to be told that another took over: the keys and address it had.
pub(crate) struct Farewell {
    pub(crate) session: SessionId,
    pub(crate) address: Address,
    pub(crate) keys: HopKeys,
    pub(crate) counter: u32,
}

/// What a proof changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Proven {
    /// A new session.
    New,
    /// New keys at the same address.
    Rekeyed,
    /// New keys and another address.
    Moved,
}

/// Both of the address's buckets are full, or no bind waits in the slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Unproven;
