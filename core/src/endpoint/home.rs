//! Which relay is home and which is standby: those that the local route names (states.md, Home).

use core::time::Duration;

use super::choice::{Patience, Rival};
use super::{ChosenAs, Endpoint, RelayPolicy, RelaySlot, is_much_better};
use crate::connection::{Peer, RelayIndex};
use crate::crypto::Crypto;
use crate::directory::RelayEntry;
use crate::id::RelayId;
use crate::memory::Lender;
use crate::route::{Epoch, Route, RouteRelay};
use crate::time::{Instant, micros};

/// Which relays serve, and what happens while they do not.
#[derive(Default)]
pub(super) struct Home {
    /// The relay that the route names first; before the first route, the one tried first.
    pub(super) relay: Option<RelayIndex>,
    /// The second best.
    pub(super) standby: Option<RelayIndex>,
    /// What becomes home as soon as there is a session.
    next: Option<RelayIndex>,
    home_rival: Rival,
    standby_rival: Rival,
    /// When the first choice by score is made; `None` once it was.
    choose_at: Option<Instant>,
    /// When a standby that went may be replaced.
    replace_at: Option<Instant>,
    /// When to try one more relay, while none is fit.
    try_next_at: Option<Instant>,
    /// When to leave relays where this player is a guest whom nobody visits.
    review_at: Option<Instant>,
    /// When the route that has changed is told.
    publish_at: Option<Instant>,
    published_at: Instant,
    /// Datagrams that had come when a near relay was probed last.
    datagrams_seen: u64,
}

impl Home {
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let Self { choose_at, replace_at, try_next_at, review_at, publish_at, .. } = *self;
        [choose_at, replace_at, try_next_at, review_at, publish_at].into_iter().flatten().min()
    }

    /// Whether this relay serves or is about to, so that it is measured often.
    fn is_near(&self, relay: RelayIndex) -> bool {
        [self.relay, self.standby, self.next].contains(&Some(relay))
            || self.home_rival.is(relay)
            || self.standby_rival.is(relay)
    }

    /// Another relay takes the place of this one. As home it is only a place to begin with, as
    /// before the first session.
    fn forget(&mut self, relay: RelayIndex) {
        self.standby = self.standby.filter(|standby| *standby != relay);
        self.next = self.next.filter(|next| *next != relay);
        (self.home_rival, self.standby_rival) = (Rival::default(), Rival::default());
    }
}

impl<C: Crypto, L: Lender> Endpoint<C, L> {
    /// A relay was added to the directory: the first becomes home until it is known which is best.
    pub(super) fn take_in_relay(&mut self, relay: RelayIndex) {
        let now = self.state.now;
        if self.state.home.relay.is_none() {
            self.want_relay(relay);
            self.state.home.relay = Some(relay);
            self.state.home.try_next_at = Some(now + TRY_NEXT);
            self.settle_home();
        }
        // One relay alone leaves no choice, and its keep-alives are enough.
        if relay.0 == 1 {
            self.state.home.choose_at = Some(now + FIRST_CHOICE);
            self.hurry_probes(RelayIndex(0));
        }
        if self.memory.relays().len() > 1 {
            self.hurry_probes(relay);
        }
    }

    /// The directory has a relay again, perhaps elsewhere.
    pub(super) fn renew_relay(&mut self, relay: RelayIndex, entry: &RelayEntry) {
        let now = self.state.now;
        let slot = self.relay_slot_mut(relay);
        let moved = slot.renew(entry);
        if core::mem::take(&mut slot.removed) {
            self.set_policy(relay, RelayPolicy::Allow);
            if self.memory.relays().len() > 1 {
                self.hurry_probes(relay);
            }
        } else if moved {
            let mut context = self.parts().context;
            context.relays[usize::from(relay.0)].restart(now, context.crypto);
        }
    }

    /// The place of a relay that was taken out of the directory and that nothing needs any more.
    pub(super) fn replace_removed(&mut self, id: RelayId, entry: &RelayEntry) -> Option<usize> {
        let unused =
            |index: &RelayIndex| {
                let slot = self.relay_slot(*index);
                slot.removed
                    && slot.is_idle()
                    && !self.memory.peers().iter().any(|peer| peer.refers_to(*index))
                    && !self.memory.requests().iter().any(|request| {
                        request.held.as_ref().is_some_and(|held| held.relay == *index)
                    })
            };
        let place = self.indices().find(unused)?;
        self.state.home.forget(place);
        self.relay_slot_mut(place).place(id, entry.clone());
        Some(usize::from(place.0))
    }

    /// Takes what the application wants of a relay.
    pub(super) fn set_policy(&mut self, relay: RelayIndex, policy: RelayPolicy) {
        let before = core::mem::replace(&mut self.relay_slot_mut(relay).policy, policy);
        if policy == RelayPolicy::Veto {
            self.relay_slot_mut(relay).measure_mut().stop();
            self.state.home.review_at = Some(self.state.now);
            self.with_peers(relay, Peer::on_relay_leaving);
        } else if before == RelayPolicy::Veto && self.memory.relays().len() > 1 {
            self.hurry_probes(relay);
        }
        self.settle_home();
    }

    /// Prefers this relay to all others.
    pub(super) fn prefer_home(&mut self, relay: RelayIndex) {
        for slot in self.memory.relays_mut() {
            if slot.policy == RelayPolicy::Prefer {
                slot.policy = RelayPolicy::Allow;
            }
        }
        self.set_policy(relay, RelayPolicy::Prefer);
    }

    /// Decides which relays serve and writes the route anew if they, or their sessions, have
    /// changed. Called whenever a session came or went, and when a relay was measured.
    pub(super) fn settle_home(&mut self) {
        self.choose_home();
        if self.memory.relays().len() > 1 {
            self.choose_standby();
        }
        if self.state.home.relay.is_some_and(|home| self.relay_slot(home).may_stay_home()) {
            self.state.home.try_next_at = None;
        }
        self.note_choice();
        self.renew_route();
        self.follow_home();
    }

    fn choose_home(&mut self) {
        let now = self.state.now;
        let fit = |index: &RelayIndex| self.relay_slot(*index).is_fit_for_home();
        let serves = |index: RelayIndex| (self.grade(self.relay_slot(index)).0, index);
        let fittest = self
            .indices()
            .filter(fit)
            .map(serves)
            .filter_map(|(grade, index)| Some((grade?, index)))
            .min_by_key(|(grade, index)| (*grade, index.0))
            .map(|(_, index)| index);
        let home = self.state.home.relay;
        // A home that is doubted is left if another one serves.
        let stays = home.filter(|index| {
            let slot = self.relay_slot(*index);
            slot.may_stay_home()
                && self.grade(slot).0.is_some()
                && (slot.proven_session().is_none() || slot.answers() || fittest.is_none())
        });
        let Some(home) = stays else {
            match fittest {
                Some(other) => self.move_home(other),
                // Kept if it is set: it is the pace at which further relays are tried.
                None => {
                    self.state.home.try_next_at.get_or_insert(now);
                }
            }
            return;
        };
        let mut rivalry = self.state.home.home_rival;
        let best = self.best(None, true).filter(|best| *best != home);
        // What was decided stays so while it is better.
        let decided = best.is_some() && self.state.home.next == best;
        let patience = if decided { Patience::None } else { self.patience() };
        let next = best.filter(|best| self.should_replace(home, *best, &mut rivalry, patience));
        self.state.home.home_rival = if best.is_some() { rivalry } else { Rival::default() };
        self.state.home.next = next;
        if let Some(next) = next {
            if self.relay_slot(next).is_fit_for_home() {
                self.move_home(next);
            } else {
                self.want_relay(next);
            }
        }
    }

    /// Make before break: only to a relay at which there is a session.
    fn move_home(&mut self, to: RelayIndex) {
        let now = self.state.now;
        let wait = self.random_wait(REPLACE_SPREAD);
        let grade = |index: Option<RelayIndex>| {
            index.and_then(|index| self.grade(self.relay_slot(index)).0)
        };
        let Home { relay: before, standby, choose_at, .. } = self.state.home;
        if before == Some(to) {
            return;
        }
        // The home before is the natural standby, unless the one there is better.
        let (old, held) = (grade(before), grade(standby.filter(|standby| *standby != to)));
        let replaces = old.is_some_and(|old| held.is_none_or(|held| old < held));
        let home = &mut self.state.home;
        (home.relay, home.next, home.home_rival) = (Some(to), None, Rival::default());
        if choose_at.is_none() && (replaces || standby == Some(to)) {
            home.standby = before;
        }
        // Many may have lost the same relay: they do not all ask at the same next one at once.
        home.replace_at.get_or_insert(now + wait);
    }

    fn choose_standby(&mut self) {
        if self.state.home.choose_at.is_some() {
            return;
        }
        let home = self.state.home.next.or(self.state.home.relay);
        let may_return = |index: &RelayIndex| {
            let (grade, why) = self.grade(self.relay_slot(*index));
            grade.is_some() || why == ChosenAs::Silent
        };
        let standby = self.state.home.standby.filter(may_return);
        self.state.home.standby = standby;
        let serves = standby.filter(|index| {
            Some(*index) != home && self.grade(self.relay_slot(*index)).0.is_some()
        });
        let best = self.best(home, true).filter(|best| Some(*best) != standby);
        let Some(best) = best else {
            self.state.home.standby_rival = Rival::default();
            return;
        };
        let replaces = match serves {
            None => self.state.home.replace_at.is_none(),
            Some(standby) => {
                let mut rivalry = self.state.home.standby_rival;
                let replaces = self.should_replace(standby, best, &mut rivalry, Patience::Some);
                self.state.home.standby_rival = rivalry;
                replaces
            }
        };
        if replaces {
            self.state.home.standby = Some(best);
            self.state.home.standby_rival = Rival::default();
            self.want_relay(best);
        }
    }

    /// What is due: the first choice, a new standby, one more relay while none is fit, the route.
    pub(super) fn handle_home_timeout(&mut self, now: Instant) {
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if is_due(self.state.home.choose_at) {
            self.choose_home();
            self.state.home.choose_at = None;
            self.settle_home();
        }
        if is_due(self.state.home.replace_at) {
            self.state.home.replace_at = None;
            self.settle_home();
        }
        if is_due(self.state.home.try_next_at) {
            let next = self
                .indices()
                .filter(|index| !self.relay_slot(*index).is_wanted())
                .filter_map(|index| Some((self.grade(self.relay_slot(index)).0?, index)))
                .min_by_key(|(grade, index)| (*grade, index.0))
                .map(|(_, index)| index);
            self.state.home.try_next_at = next.map(|_| now + TRY_NEXT);
            if let Some(next) = next {
                self.want_relay(next);
            }
        }
        if is_due(self.state.home.publish_at) {
            self.renew_route();
        }
        self.review_guests(now);
    }

    /// Writes a probe that is due; answers to whom, and its length.
    pub(super) fn transmit_probe(&mut self, out: &mut [u8]) -> Option<(RelayIndex, usize)> {
        let now = self.state.now;
        let due =
            self.indices().find(|index| self.relay_slot(*index).measure().next_at() <= now)?;
        let pause = self.probe_pause(due);
        let mut context = self.parts().context;
        let slot = context.relays.get_mut(usize::from(due.0))?;
        let len = slot.poll_probe(now, pause, context.crypto, out)?;
        Some((due, len))
    }

    /// Every probe and its answer have 32 bytes: idle, the two near relays and all far ones together
    /// cost at most 48 bytes a second, both ways counted.
    fn probe_pause(&mut self, relay: RelayIndex) -> Duration {
        if !self.state.home.is_near(relay) {
            let far = self.indices().filter(|index| !self.state.home.is_near(*index)).count();
            return FAR_PAUSE.max(FAR_SHARE * far as u32);
        }
        let seen = self.state.counters.datagrams_in;
        let before = core::mem::replace(&mut self.state.home.datagrams_seen, seen);
        if seen - before >= BUSY { BUSY_PAUSE } else { IDLE_PAUSE }
    }

    /// A relay was measured: what that means for the choice.
    pub(super) fn on_measured(&mut self, relay: RelayIndex) {
        self.settle_home();
        let now = self.state.now;
        let serving = self.state.home.standby.or(self.state.home.relay);
        let held = serving.and_then(|index| self.relay_slot(index).measure().score());
        let near = self.state.home.is_near(relay);
        let measure = self.relay_slot_mut(relay).measure_mut();
        if near {
            measure.keep_pace(now, IDLE_PAUSE);
        } else if held.is_some_and(|held| is_much_better(measure.latest_us(), held)) {
            measure.look_again(now);
        }
    }

    /// The way to every relay may have changed.
    pub(super) fn measure_anew(&mut self) {
        let now = self.state.now;
        for index in 0..self.memory.relays().len() {
            let relay = RelayIndex(index as u8);
            let wait = self.random_wait(SPREAD);
            if self.relay_slot(relay).measure().next_at() != Instant::FAR {
                self.relay_slot_mut(relay).measure_mut().forget(now, wait);
            }
        }
    }

    pub(super) fn hurry_probes(&mut self, relay: RelayIndex) {
        let (now, wait) = (self.state.now, self.random_wait(SPREAD));
        let slot = self.relay_slot_mut(relay);
        if !slot.removed {
            slot.measure_mut().hurry(now, wait);
        }
    }

    fn patience(&self) -> Patience {
        match self.state.home.choose_at {
            None => Patience::Some,
            Some(at) if at <= self.state.now => Patience::None,
            Some(_) => Patience::Endless,
        }
    }

    /// Some time below `most`.
    pub(super) fn random_wait(&mut self, most: Duration) -> Duration {
        let mut random = [0; 2];
        self.state.crypto.random(&mut random);
        let most = micros(most) / 1000;
        Duration::from_millis((most * u64::from(u16::from_le_bytes(random))) >> 16)
    }

    fn want_relay(&mut self, relay: RelayIndex) {
        let mut context = self.parts().context;
        context.relays[usize::from(relay.0)].want(context.now, context.crypto);
    }

    pub(super) fn indices(&self) -> impl Iterator<Item = RelayIndex> + use<C, L> {
        (0..self.memory.relays().len()).map(|n| RelayIndex(n as u8))
    }

    pub(super) fn relay_slot(&self, relay: RelayIndex) -> &RelaySlot<C> {
        &self.memory.relays()[usize::from(relay.0)]
    }

    pub(super) fn relay_slot_mut(&mut self, relay: RelayIndex) -> &mut RelaySlot<C> {
        &mut self.memory.relays_mut()[usize::from(relay.0)]
    }

    /// What the route should name now: home, and standby if it serves.
    fn route_relays(&self) -> Option<heapless::Vec<RouteRelay, 2>> {
        let entry = |index: RelayIndex| {
            let slot = self.relay_slot(index);
            Some(RouteRelay { relay: slot.id()?, session: slot.proven_session()? })
        };
        let mut relays = heapless::Vec::new();
        relays.push(entry(self.state.home.relay?)?).ok()?;
        let standby = self.state.home.standby.filter(|index| Some(*index) != self.state.home.relay);
        let standby = standby.filter(|index| self.relay_slot(*index).is_fit_for_home());
        if let Some(standby) = standby.and_then(entry) {
            relays.push(standby).ok()?;
        }
        Some(relays)
    }

    fn renew_route(&mut self) {
        self.state.home.publish_at = None;
        let Some(relays) = self.route_relays() else { return };
        if self.state.route.as_ref().is_some_and(|route| *route.relays() == *relays) {
            return;
        }
        let due = self.state.home.published_at + PUBLISH_PAUSE;
        if self.state.route.is_some() && due > self.state.now {
            self.state.home.publish_at = Some(due);
            return;
        }
        let clock = self.state.unix_micros.saturating_add(self.state.now.as_micros()) / 1000;
        let clock = Epoch::new(clock).unwrap_or(Epoch::MAX);
        self.state.epoch = clock.max(self.state.epoch.next().unwrap_or(Epoch::MAX));
        let mut route = Route::new(
            *self.state.identity.public(),
            self.state.settings.application,
            self.state.settings.suites,
            self.state.epoch,
        );
        for entry in relays {
            if route.push_relay(entry).is_err() {
                return;
            }
        }
        self.state.home.published_at = self.state.now;
        self.state.route = Some(route);
        self.state.route_news = true;
        for slot in 0..self.memory.peers().len() {
            self.with_peer(slot, |peer, _| peer.owe_route());
        }
    }

    /// Takes a relay out of the directory that is left once another one serves, and until then by
    /// nobody who has no other way.
    pub(super) fn unlist(&mut self, relay: RelayIndex) {
        let now = self.state.now;
        let slot = self.relay_slot_mut(relay);
        slot.removed = true;
        slot.measure_mut().stop();
        if slot.session().is_none() {
            slot.leave();
        }
        self.state.home.review_at.get_or_insert(now + REVIEW);
        self.with_peers(relay, Peer::on_relay_leaving);
    }

    /// Leaves relays that neither serve nor are needed by a connection.
    fn review_guests(&mut self, now: Instant) {
        let home = &self.state.home;
        let due = match home.review_at {
            Some(at) if at > now => return,
            at => at.is_some(),
        };
        let kept = [home.relay, home.standby, home.next];
        let searching = !home.relay.is_some_and(|home| self.relay_slot(home).may_stay_home());
        let mut parts = self.parts();
        let mut guests = false;
        for n in 0..parts.context.relays.len() {
            let slot = &parts.context.relays[n];
            let index = RelayIndex(n as u8);
            let Some(id) = slot.id().filter(|_| slot.is_wanted()) else { continue };
            let vetoed = slot.is_vetoed();
            let guest = slot.removed || vetoed || !kept.contains(&Some(index));
            if due {
                let stays = !vetoed && (searching || kept.contains(&Some(index)));
                let needed = |peer: &Peer<C>| {
                    if vetoed { peer.uses_relay(index) } else { peer.needs_relay(index, id) }
                };
                let needed = stays || parts.peers.iter().any(needed);
                // What others still send by way of a relay that they are leaving, too, is waited
                // for.
                let last = !slot.removed || vetoed || slot.parting;
                let slot = &mut parts.context.relays[n];
                slot.parting = !needed;
                if !needed && last {
                    slot.leave();
                    continue;
                }
            }
            guests |= guest;
        }
        self.state.home.review_at = guests.then(|| now + REVIEW);
    }

    /// The relay that the route names first.
    #[must_use]
    pub fn home(&self) -> Option<RelayId> {
        self.relay_slot(self.state.home.relay?).id()
    }

    /// The relay that the route names second, once one is chosen.
    #[must_use]
    pub fn standby(&self) -> Option<RelayId> {
        self.relay_slot(self.state.home.standby?).id()
    }
}

/// While no relay is fit to be home, one more is tried this often.
const TRY_NEXT: Duration = Duration::from_millis(1500);
/// Guest sessions that no connection needs are left within twice this.
const REVIEW: Duration = Duration::from_secs(5);
/// The first choice by score waits for this: every relay has been probed a few times then.
const FIRST_CHOICE: Duration = Duration::from_millis(2500);
/// First probes are spread over this.
const SPREAD: Duration = Duration::from_millis(250);
/// A relay in place of one that went is asked for a session within this, at a random time.
const REPLACE_SPREAD: Duration = Duration::from_secs(2);
/// Routes follow each other at least so far apart.
const PUBLISH_PAUSE: Duration = Duration::from_millis(500);

/// Home and standby are probed this often while data arrives,
const BUSY_PAUSE: Duration = Duration::from_secs(2);
/// which so many datagrams between two probes show;
const BUSY: u64 = 10;
/// this often otherwise;
const IDLE_PAUSE: Duration = Duration::from_secs(4);
/// all others this often,
const FAR_PAUSE: Duration = Duration::from_secs(30);
/// or if they are many, one of them after each such time.
const FAR_SHARE: Duration = Duration::from_secs(4);
