//! Which way a connection's packets take: paths that routes name are validated, moved to, left.
//! When to leave the path in use is decided in `doubt` and `better`.

use super::path::{CHALLENGE_TRIES, Purpose, RelayIndex};
use super::{Context, Peer, Phase, Timer, settle};
use crate::crypto::Crypto;
use crate::id::{RelayId, SessionId};
use crate::recovery::{MAX_ACK_DELAY, PathIndex};
use crate::route::{Route, RouteRelay};

impl<C: Crypto> Peer<C> {
    /// The route names relays: see to it that those that serve are known paths, and that one of them
    /// is in use.
    pub(super) fn follow_route(&mut self, context: &mut Context<'_, C>, keep: Keep) {
        self.know_route(context);
        let Some(route) = &self.route else { return };
        let active = self.paths.active_path();
        let entry = |id: RelayId| route.relays().iter().find(|entry| entry.relay == id);
        let theirs = active.and_then(|path| entry(path.relay_id));
        let ours = active.is_some_and(|path| {
            let session = context.session(path.relay);
            context.route.is_some_and(|route| {
                let mut relays = route.relays().iter();
                relays.any(|ours| (ours.relay, Some(ours.session)) == (path.relay_id, session))
            })
        });
        let first = route.relays().iter().find(|entry| context.relay(entry.relay).is_some());
        // Their home moved away from the relay in use.
        let deserted = matches!(keep, Keep::Theirs { home }
            if active.is_some_and(|path| home == Some(path.relay_id))
                && first.is_some_and(|first| home != Some(first.relay)));
        let target = match theirs {
            Some(entry) if !deserted => *entry,
            Some(_) | None if ours && !deserted => return,
            Some(_) | None => match first {
                Some(first) => *first,
                None => return,
            },
        };
        if active.is_some_and(|path| (path.relay_id, path.remote) == (target.relay, target.session))
        {
            return;
        }
        if let Some(index) = self.path_to(context, target) {
            self.challenge(context, index, Purpose::Move, CHALLENGE_TRIES);
        }
    }

    /// Makes the relays that the other side's route names known paths, and has those that are new
    /// validated, which tells the other side our session there.
    pub(super) fn know_route(&mut self, context: &mut Context<'_, C>) {
        if self.phase != Phase::Connected {
            return;
        }
        let Some(route) = &self.route else { return };
        let known: heapless::Vec<RouteRelay, ROUTE_PATHS> = route
            .relays()
            .iter()
            .filter(|entry| context.relay(entry.relay).is_some())
            .take(ROUTE_PATHS)
            .copied()
            .collect();
        for entry in known {
            let Some(index) = self.path_to(context, entry) else { continue };
            if self.paths.get(index).is_some_and(|path| !path.validated) {
                self.challenge(context, index, Purpose::Validate, CHALLENGE_TRIES);
            }
        }
    }

    /// The path to a relay of the other side's route, if a session is there or may be had.
    fn path_to(&mut self, context: &mut Context<'_, C>, entry: RouteRelay) -> Option<PathIndex> {
        let relay = context.relay(entry.relay)?;
        // One place is left for connections that have no path at all.
        let wanted = context.want_guest(relay, 1);
        (wanted || context.session(relay).is_some())
            .then(|| self.ensure_path(context, relay, entry.relay, entry.session))
    }

    /// Challenges a path, at most so many times.
    pub(super) fn challenge(
        &mut self,
        context: &mut Context<'_, C>,
        index: PathIndex,
        purpose: Purpose,
        tries: u8,
    ) {
        let nonce = context.nonce();
        self.paths.challenge(index, nonce, purpose, tries, context.now);
        self.timers.set(Timer::Path, self.paths.poll_timeout());
    }

    /// The path's index; what was in flight on a path that had to give way is given up.
    pub(super) fn ensure_path(
        &mut self,
        context: &mut Context<'_, C>,
        relay: RelayIndex,
        relay_id: RelayId,
        session: SessionId,
    ) -> PathIndex {
        let (index, new) = self.paths.ensure(relay, relay_id, session);
        if new {
            if self.leaving == Some(index) {
                self.leaving = None;
                self.timers.stop(Timer::LeavePath);
            }
            self.choice.forget(index);
            self.abandon_path(context, index);
            self.recovery.reset_path(index, context.settings.controller);
            self.mtu.forget(index);
        }
        index
    }

    /// Whether a path can be used as far as this side knows.
    pub(super) fn is_usable(&self, context: &Context<'_, C>, index: PathIndex) -> bool {
        self.paths.get(index).is_some_and(|path| {
            path.validated
                && context
                    .relays
                    .get(usize::from(path.relay.0))
                    .is_some_and(|slot| slot.may_serve() && slot.session().is_some())
        })
    }

    pub(super) fn move_to(&mut self, context: &mut Context<'_, C>, index: PathIndex, left: Left) {
        self.choice.on_moved();
        self.timers.stop(Timer::Refuge);
        let before = self.paths.active();
        let Some(old) = self.paths.activate(index) else {
            self.path_moves += u32::from(before.is_none());
            return;
        };
        self.path_moves += 1;
        self.give_up_left_path(context);
        let measured = self.paths.get(index).and_then(super::path::Path::rtt);
        let guess = measured.unwrap_or_else(|| self.recovery.rtt(old).smoothed());
        let wait = self.recovery.rtt(old).pto(MAX_ACK_DELAY);
        self.recovery.set_initial_rtt(index, guess);
        match left {
            // What is on its way there still may arrive and be acknowledged over the new path.
            Left::Working => {
                self.leaving = Some(old);
                self.timers.set(Timer::LeavePath, context.now + wait);
            }
            Left::Dead => self.abandon_path(context, old),
        }
        self.set_recovery_timer();
        self.owed.ping = true;
    }

    /// Moves to a path that has answered, and has the other side follow.
    pub(super) fn switch_to(&mut self, context: &mut Context<'_, C>, index: PathIndex, left: Left) {
        self.move_to(context, index, left);
        self.challenge(context, index, Purpose::Move, CHALLENGE_TRIES);
    }

    /// A challenge of ours was answered.
    pub(super) fn on_path_response(
        &mut self,
        context: &mut Context<'_, C>,
        index: PathIndex,
        purpose: Purpose,
    ) {
        if purpose == Purpose::Move && self.paths.active() != Some(index) {
            let left = if self.choice.is_doubting() { Left::Dead } else { Left::Working };
            self.move_to(context, index, left);
            // Of two moves at once the last answer wins; it must not strand us on a path that
            // neither route names.
            self.follow_route(context, Keep::Either);
        } else {
            self.on_doubt_answered(context, index);
        }
        self.timers.set(Timer::Path, self.paths.poll_timeout());
    }

    /// Gives up paths that do not answer; challenges that are due are sent by the next transmit,
    /// which sets the timer again.
    pub(super) fn on_path_timer(&mut self, context: &mut Context<'_, C>) {
        while let Some(index) = self.paths.take_unanswered(context.now) {
            if self.paths.get(index).is_none() {
                self.abandon_path(context, index);
                self.choice.forget(index);
                self.follow_route(context, Keep::Either);
            }
        }
        if self.paths.due(context.now).is_none() {
            self.timers.set(Timer::Path, self.paths.poll_timeout());
        }
    }

    pub(super) fn give_up_left_path(&mut self, context: &mut Context<'_, C>) {
        if let Some(left) = self.leaving.take()
            && Some(left) != self.paths.active()
        {
            self.abandon_path(context, left);
        }
        self.timers.stop(Timer::LeavePath);
    }

    pub(super) fn abandon_path(&mut self, context: &mut Context<'_, C>, index: PathIndex) {
        let Self { recovery, channels, owed, received, mtu, .. } = self;
        let pools = &mut context.pools;
        recovery.abandon_path(index, &mut context.sent, &mut |outcome, packet| {
            settle(channels, received, owed, mtu, pools, outcome, packet);
        });
        self.set_recovery_timer();
    }
}

/// Which paths [`Peer::follow_route`] is content with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Keep {
    /// One that either side's route names, so that two players with different homes do not send
    /// each other to and fro; but not one through the relay that was `home` in the other side's
    /// route before, if it no longer is.
    Theirs { home: Option<RelayId> },
    /// One that either side's route names.
    Either,
}

/// What becomes of what is in flight on a path that is left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Left {
    /// It may still arrive: it is waited for.
    Working,
    /// It goes again at once.
    Dead,
}

/// The relay that a route names first.
pub(super) fn home_of(route: &Route) -> Option<RelayId> {
    route.relays().first().map(|entry| entry.relay)
}

/// So many relays of the other side's route become paths: its home and its standby.
pub(super) const ROUTE_PATHS: usize = 2;
