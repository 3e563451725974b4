//! The owner's half of the sessions: one entry per slot, and the slots' states.

use core::time::Duration;

use super::circle::{Circle, CircleKey, Member};
use super::index::scale;
use super::list::{Linked, Links, List, NIL, Place};
use super::pending::HopKeys;
use super::wheel::{Spoke, Wheel};
use crate::time::Instant;

/// The owner's half of one slot.
pub struct Session {
    keys: HopKeys,
    /// Whose slot this is (while it is not free).
    pub(crate) key: KeyHash,
    /// First slot whose key falls into the bucket with this slot's number.
    chain_head: Place,
    /// Next slot in this slot's own key chain.
    chain_next: Place,
    received: Window,
    sent: u32,
    /// When the session ends unless it is kept alive, in [`Slots`]' seconds.
    deadline: u32,
    /// When it ends in any case.
    end: u32,
    pub(crate) source: Member,
    pub(crate) subject: Member,
    links: Links,
    spoke: Spoke,
    /// Index + 1 of the bind that waits for its proof here (0: none).
    pending: u16,
    pub(crate) state: State,
}

/// What a slot is used for; each but `Live` has a list of its own or the pending bind's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum State {
    Free,
    /// Given to a key whose bind is not proven yet.
    Reserved,
    Live,
    /// Ended by silence, or with its token; the peer is still to be told.
    Expired,
    /// Ended by another bind of the same key; the peer is still to be told.
    Replaced,
}

impl Session {
    /// A free slot.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            keys: HopKeys::NONE,
            key: KeyHash::NONE,
            chain_head: Place::NONE,
            chain_next: Place::NONE,
            received: Window::NEW,
            sent: 0,
            deadline: 0,
            end: u32::MAX,
            source: Member::NONE,
            subject: Member::NONE,
            links: Links::NONE,
            spoke: Spoke::NONE,
            pending: 0,
            state: State::Free,
        }
    }

    pub(crate) fn keys(&self) -> HopKeys {
        self.keys.clone()
    }

    /// New keys: both directions count from 0 again.
    pub(crate) fn set_keys(&mut self, keys: &HopKeys) {
        self.keys = keys.clone();
        self.received = Window::NEW;
        self.sent = 0;
    }

    /// What was received, and how many were sent, under the present keys.
    pub(crate) fn counters(&self) -> (Window, u32) {
        (self.received, self.sent)
    }

    pub(crate) fn set_counters(&mut self, received: Window, sent: u32) {
        (self.received, self.sent) = (received, sent);
    }

    pub(crate) fn is_new(&self, counter: u32) -> bool {
        self.received.is_new(counter)
    }

    pub(crate) fn mark(&mut self, counter: u32) {
        self.received.mark(counter);
    }

    /// The counter for the next control datagram to the peer; `None` when there is none left.
    pub(crate) fn next_counter(&mut self) -> Option<u32> {
        let counter = self.sent;
        self.sent = counter.checked_add(1)?;
        Some(counter)
    }

    pub(crate) fn pending(&self) -> Option<u32> {
        u32::from(self.pending).checked_sub(1)
    }

    pub(crate) fn set_pending(&mut self, pending: Option<u32>) {
        // Limits keep indices below 65,535.
        self.pending = pending.map_or(0, |index| (index + 1) as u16);
    }
}

impl Default for Session {
    fn default() -> Self {
        Self::new()
    }
}

impl Linked for Session {
    fn links(&self) -> Links {
        self.links
    }

    fn links_mut(&mut self) -> &mut Links {
        &mut self.links
    }
}

/// A peer's public key as the table keeps it: a keyed hash, too long to be met by chance.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct KeyHash(pub(crate) [u32; 3]);

impl KeyHash {
    pub(crate) const NONE: Self = Self([0; 3]);
}

/// The 32 control counters up to the largest seen, in 8 bytes: a control datagram comes every 15
/// seconds, and a session has no room for more.
#[derive(Clone, Copy)]
pub(crate) struct Window {
    /// One more than the largest number seen.
    end: u32,
    /// Bit n: number `end − 1 − n` was seen.
    seen: u32,
}

impl Window {
    const NEW: Self = Self { end: 0, seen: 0 };

    pub(crate) fn to_words(self) -> [u32; 2] {
        [self.end, self.seen]
    }

    pub(crate) fn from_words([end, seen]: [u32; 2]) -> Self {
        Self { end, seen }
    }

    fn is_new(self, counter: u32) -> bool {
        match self.end.checked_sub(counter) {
            // The last number of all cannot be marked, so it is never new.
            None | Some(0) => counter != u32::MAX,
            Some(age) => self.seen.checked_shr(age - 1).is_some_and(|seen| seen & 1 == 0),
        }
    }

    fn mark(&mut self, counter: u32) {
        match self.end.checked_sub(counter) {
            None | Some(0) => {
                let ahead = counter.saturating_add(1) - self.end;
                self.seen = self.seen.checked_shl(ahead).unwrap_or(0) | 1;
                self.end = counter.saturating_add(1);
            }
            Some(age) => self.seen |= 1u32.checked_shl(age - 1).unwrap_or(0),
        }
    }
}

/// Which slots are free, live or ending, and which belong to a key.
pub(crate) struct Slots {
    started: Instant,
    lifetime: Duration,
    /// Slots from here on are the reserved part.
    reserved_from: u32,
    /// New peers get ordinary slots from this moment on.
    ordinary_from: Instant,
    free_ordinary: List,
    free_reserved: List,
    live: Wheel,
    ending: List,
    pub(crate) live_count: u32,
}

impl Slots {
    /// All of `sessions` free. Until `reserve_for` has passed, new keys get slots of the last
    /// eighth only: the others wait for the peers that held them before a restart.
    pub(crate) fn new(
        now: Instant,
        lifetime: Duration,
        reserve_for: Duration,
        sessions: &mut [Session],
    ) -> Self {
        let length = sessions.len() as u32;
        let mut slots = Self {
            started: now,
            lifetime,
            reserved_from: length - length / RESERVED_PART,
            ordinary_from: now + reserve_for,
            free_ordinary: List::EMPTY,
            free_reserved: List::EMPTY,
            live: Wheel::new(),
            ending: List::EMPTY,
            live_count: 0,
        };
        sessions.fill_with(Session::new);
        for slot in 0..length {
            slots.free_list(slot).push_back(sessions, slot);
        }
        slots
    }

    /// The slots of `key`, in whatever state.
    pub(crate) fn of_key<'s>(
        &self,
        sessions: &'s [Session],
        key: KeyHash,
    ) -> impl Iterator<Item = u32> + use<'s> {
        let head = sessions.get(chain(sessions, key)).map_or(NIL, |s| s.chain_head.get());
        let next = move |slot: &u32| {
            sessions.get(*slot as usize).map(|s| s.chain_next.get()).filter(|&n| n != NIL)
        };
        core::iter::successors(Some(head).filter(|&n| n != NIL), next)
            .filter(move |&slot| sessions.get(slot as usize).is_some_and(|s| s.key == key))
    }

    /// A free slot for a key that asks for none in particular: the one longest free.
    pub(crate) fn pick(&self, now: Instant) -> Option<u32> {
        if now < self.ordinary_from {
            return self.free_reserved.front();
        }
        self.free_ordinary.front().or(self.free_reserved.front())
    }

    /// Gives the free `slot` to `key`, and counts it to these circles.
    pub(crate) fn reserve(
        &mut self,
        sessions: &mut [Session],
        slot: u32,
        key: KeyHash,
        source: CircleKey,
        subject: CircleKey,
    ) {
        self.free_list(slot).remove(sessions, slot);
        let bucket = chain(sessions, key);
        let head = sessions
            .get_mut(bucket)
            .map_or(Place::NONE, |s| core::mem::replace(&mut s.chain_head, Place::of(slot)));
        if let Some(session) = sessions.get_mut(slot as usize) {
            session.key = key;
            session.chain_next = head;
            session.state = State::Reserved;
        }
        Circle::Source.join(sessions, slot, source);
        Circle::Subject.join(sessions, slot, subject);
    }

    /// Makes the reserved or live `slot` live until its lifetime has passed from now, or its token.
    pub(crate) fn keep_alive(&mut self, now: Instant, sessions: &mut [Session], slot: u32) {
        let deadline = self.seconds_up(now + self.lifetime);
        let Some(session) = sessions.get_mut(slot as usize) else { return };
        session.deadline = deadline.min(session.end);
        if session.state == State::Live {
            let spoke = session.spoke;
            self.live.remove(sessions, slot, spoke);
        } else {
            session.state = State::Live;
            self.live_count += 1;
        }
        self.put_back(sessions, slot);
    }

    /// From when on the session in `slot` is over whatever it does.
    pub(crate) fn set_end(&self, sessions: &mut [Session], slot: u32, end: Instant) {
        let end = if end == Instant::FAR { u32::MAX } else { self.seconds_up(end) };
        if let Some(session) = sessions.get_mut(slot as usize) {
            session.end = end;
        }
    }

    /// Takes the next live session whose turn to be looked at has come; it is to be
    /// [put back](Self::put_back) or ended.
    pub(crate) fn look(&mut self, now: Instant, sessions: &mut [Session]) -> Option<Look> {
        let second = self.second(now);
        let slot = self.live.pop(sessions, second)?;
        let session = sessions.get_mut(slot as usize)?;
        let over = session.deadline <= second;
        let why = if session.end <= second { Over::Token } else { Over::Silence };
        Some(Look { slot, over: over.then_some(why) })
    }

    /// Puts a live session that was looked at back.
    pub(crate) fn put_back(&mut self, sessions: &mut [Session], slot: u32) {
        let Some(deadline) = sessions.get(slot as usize).map(|s| s.deadline) else { return };
        let spoke = self.live.insert(sessions, slot, deadline);
        if let Some(session) = sessions.get_mut(slot as usize) {
            session.spoke = spoke;
        }
    }

    /// When the next live session is to be looked at.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let second = self.live.next()?;
        Some(self.started + Duration::from_secs(u64::from(second)))
    }

    /// Other lifetimes from now on; sessions live as long as they were told last.
    pub(crate) const fn set_lifetime(&mut self, lifetime: Duration) {
        self.lifetime = lifetime;
    }

    /// Ends the live `slot`; `farewell` says what its peer is still to be told.
    pub(crate) fn end(&mut self, sessions: &mut [Session], slot: u32, farewell: Option<State>) {
        let Some(spoke) = sessions.get(slot as usize).map(|s| s.spoke) else { return };
        self.live.remove(sessions, slot, spoke);
        self.live_count -= 1;
        match farewell {
            Some(state) => {
                if let Some(session) = sessions.get_mut(slot as usize) {
                    session.state = state;
                }
                self.ending.push_back(sessions, slot);
            }
            None => self.release(sessions, slot),
        }
    }

    /// A live session, if there is one.
    pub(crate) fn first_live(&self) -> Option<u32> {
        self.live.front()
    }

    /// When the session in `slot` ends in any case.
    pub(crate) fn end_of(&self, sessions: &[Session], slot: u32) -> Instant {
        match sessions.get(slot as usize).map_or(u32::MAX, |session| session.end) {
            u32::MAX => Instant::FAR,
            second => self.started + Duration::from_secs(u64::from(second)),
        }
    }

    /// New keys get ordinary slots from `now` on.
    pub(crate) fn give_ordinary_from(&mut self, now: Instant) {
        self.ordinary_from = now;
    }

    /// The first slot whose peer is still to be told that its session has ended.
    pub(crate) fn ending(&self) -> Option<u32> {
        self.ending.front()
    }

    /// Frees the ending `slot`.
    pub(crate) fn forget(&mut self, sessions: &mut [Session], slot: u32) {
        self.ending.remove(sessions, slot);
        self.release(sessions, slot);
    }

    /// Frees a slot that stands in no list.
    pub(crate) fn release(&mut self, sessions: &mut [Session], slot: u32) {
        let Some(key) = sessions.get(slot as usize).map(|s| s.key) else { return };
        self.unchain(sessions, slot, key);
        Circle::Source.leave(sessions, slot);
        Circle::Subject.leave(sessions, slot);
        if let Some(session) = sessions.get_mut(slot as usize) {
            session.set_keys(&HopKeys::NONE);
            session.key = KeyHash::NONE;
            session.state = State::Free;
            session.end = u32::MAX;
        }
        self.free_list(slot).push_back(sessions, slot);
    }

    fn unchain(&self, sessions: &mut [Session], slot: u32, key: KeyHash) {
        let next = sessions
            .get_mut(slot as usize)
            .map_or(Place::NONE, |s| core::mem::replace(&mut s.chain_next, Place::NONE));
        let bucket = chain(sessions, key);
        let Some(head) = sessions.get_mut(bucket) else { return };
        if head.chain_head.get() == slot {
            head.chain_head = next;
            return;
        }
        let mut at = head.chain_head.get();
        while let Some(session) = sessions.get_mut(at as usize) {
            if session.chain_next.get() == slot {
                session.chain_next = next;
                return;
            }
            at = session.chain_next.get();
        }
    }

    fn free_list(&mut self, slot: u32) -> &mut List {
        if slot < self.reserved_from { &mut self.free_ordinary } else { &mut self.free_reserved }
    }

    /// Whole seconds from the start to `now`, rounded down.
    fn second(&self, now: Instant) -> u32 {
        u32::try_from(now.since(self.started).as_secs()).unwrap_or(u32::MAX)
    }

    /// Whole seconds from the start to `at`, rounded up: a session never ends early.
    fn seconds_up(&self, at: Instant) -> u32 {
        u32::try_from(at.since(self.started).as_micros().div_ceil(1_000_000)).unwrap_or(u32::MAX)
    }
}

/// A live session whose turn has come.
pub(crate) struct Look {
    pub(crate) slot: u32,
    /// Why it is over, if it is.
    pub(crate) over: Option<Over>,
}

/// Why a session is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Over {
    /// It was silent for its lifetime.
    Silence,
    /// Its token expired a while ago.
    Token,
}

/// The bucket of `key`'s chain.
fn chain(sessions: &[Session], KeyHash([word, ..]): KeyHash) -> usize {
    scale(word, sessions.len())
}

/// One slot in eight is of the reserved part.
const RESERVED_PART: u32 = 8;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;
    use crate::relay::SESSION_BYTES;

    #[test]
    fn a_session_costs_at_most_192_bytes() {
        const { assert!(size_of::<Session>() <= 112) };
        const { assert!(SESSION_BYTES <= 192) };
    }

    proptest! {
        #[test]
        fn the_window_agrees_with_a_set(steps in prop::collection::vec(-40i64..40, 1..200)) {
            let mut window = Window::NEW;
            let mut seen = HashSet::new();
            let mut largest = 0i64;
            for step in steps {
                let counter = (largest + step).max(0);
                let new = !seen.contains(&counter) && (seen.is_empty() || counter > largest - 32);
                prop_assert_eq!(window.is_new(counter as u32), new);
                if new {
                    window.mark(counter as u32);
                    seen.insert(counter);
                    largest = largest.max(counter);
                }
            }
        }
    }

    #[test]
    fn the_last_counter_is_never_new() {
        let mut window = Window::NEW;
        assert!(!window.is_new(u32::MAX));
        assert!(window.is_new(u32::MAX - 1));
        window.mark(u32::MAX - 1);
        assert!(!window.is_new(u32::MAX - 1));
        assert!(!window.is_new(u32::MAX));
        assert!(window.is_new(u32::MAX - 2));
    }
}
