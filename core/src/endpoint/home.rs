//! Which relay is home: the one the local route names (states.md, Home).

use core::time::Duration;

use super::{Endpoint, RelaySlot};
use crate::connection::RelayIndex;
use crate::crypto::Crypto;
use crate::memory::Lender;
use crate::route::{Epoch, Route, RouteRelay};
use crate::time::Instant;

/// Which relay is home, and what happens while it is not there.
#[derive(Default)]
pub(super) struct Home {
    /// The relay in the route; before the first route, the one tried first.
    pub(super) relay: Option<RelayIndex>,
    /// The application wants this one, as soon as a session is there.
    preferred: Option<RelayIndex>,
    /// When to try one more relay, while none is fit.
    try_next_at: Option<Instant>,
    /// When to leave relays where this player is a guest whom nobody visits.
    review_at: Option<Instant>,
}

impl Home {
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.try_next_at.into_iter().chain(self.review_at).min()
    }
}

impl<C: Crypto, L: Lender> Endpoint<C, L> {
    /// Makes a relay home as soon as a session is there.
    pub(super) fn prefer_home(&mut self, relay: RelayIndex) {
        self.want_relay(relay);
        let now = self.state.now;
        let home = &mut self.state.home;
        if home.relay.is_none() {
            home.relay = Some(relay);
            home.try_next_at = Some(now + TRY_NEXT);
        } else {
            home.preferred = Some(relay);
        }
        self.settle_home();
    }

    /// Decides which relay is home and writes the route anew if that, or its session, has changed.
    /// Called whenever a session came or went.
    pub(super) fn settle_home(&mut self) {
        let fit = |relay: &RelayIndex| self.memory.relays()[usize::from(relay.0)].is_fit_for_home();
        let stays = |relay: &RelayIndex| self.memory.relays()[usize::from(relay.0)].may_stay_home();
        let Home { relay, preferred, .. } = self.state.home;
        let any = || (0..self.memory.relays().len()).map(|n| RelayIndex(n as u8)).find(fit);
        let now = self.state.now;
        if let Some(home) = preferred.filter(fit) {
            (self.state.home.relay, self.state.home.preferred) = (Some(home), None);
        } else if relay.filter(stays).is_none() {
            match any() {
                Some(other) => self.state.home.relay = Some(other),
                None => {
                    // Kept if it is set: it is the pace at which further relays are tried.
                    self.state.home.try_next_at.get_or_insert(now);
                }
            }
        }
        if self.state.home.relay.is_some_and(|home| self.relay_slot(home).may_stay_home()) {
            self.state.home.try_next_at = None;
        }
        self.renew_route();
    }

    /// While no relay is fit to be home, one more is tried each time.
    pub(super) fn handle_home_timeout(&mut self, now: Instant) {
        if self.state.home.try_next_at.is_some_and(|at| at <= now) {
            let next = self
                .memory
                .relays()
                .iter()
                .position(|slot| slot.id().is_some() && !slot.is_wanted());
            self.state.home.try_next_at = next.map(|_| now + TRY_NEXT);
            if let Some(next) = next {
                self.want_relay(RelayIndex(next as u8));
            }
        }
        self.review_guests(now);
    }

    fn want_relay(&mut self, relay: RelayIndex) {
        let parts = self.parts();
        let (now, crypto) = (parts.context.now, parts.context.crypto);
        parts.context.relays[usize::from(relay.0)].want(now, crypto);
    }

    fn relay_slot(&self, relay: RelayIndex) -> &RelaySlot<C> {
        &self.memory.relays()[usize::from(relay.0)]
    }

    fn renew_route(&mut self) {
        let Some(slot) = self.state.home.relay.map(|home| self.relay_slot(home)) else { return };
        let (Some(relay), Some(session)) = (slot.id(), slot.proven_session()) else { return };
        let entry = RouteRelay { relay, session };
        if self.state.route.as_ref().is_some_and(|route| route.relays() == [entry]) {
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
        if route.push_relay(entry).is_err() {
            return;
        }
        self.state.route = Some(route);
        self.state.route_news = true;
        for slot in 0..self.memory.peers().len() {
            self.with_peer(slot, |peer, _| peer.owe_route());
        }
    }

    /// Leaves relays that are not home and that no connection needs.
    fn review_guests(&mut self, now: Instant) {
        let home = &self.state.home;
        let (relay, preferred) = (home.relay, home.preferred);
        let due = home.review_at.is_some_and(|at| at <= now);
        let waiting = home.review_at.filter(|at| *at > now);
        let searching = !relay.is_some_and(|home| self.relay_slot(home).may_stay_home());
        let parts = self.parts();
        let mut guests = false;
        for (n, slot) in parts.context.relays.iter_mut().enumerate() {
            let index = RelayIndex(n as u8);
            let stays = searching || relay == Some(index) || preferred == Some(index);
            let Some(id) = slot.id().filter(|_| slot.is_wanted()) else { continue };
            if due && !stays && !parts.peers.iter().any(|peer| peer.needs_relay(index, id)) {
                slot.leave();
            } else {
                guests |= relay != Some(index);
            }
        }
        self.state.home.review_at = waiting.or_else(|| guests.then(|| now + REVIEW));
    }
}

/// While no relay is fit to be home, one more is tried this often.
const TRY_NEXT: Duration = Duration::from_millis(1500);
/// Guest sessions that no connection needs are left within twice this.
const REVIEW: Duration = Duration::from_secs(5);
