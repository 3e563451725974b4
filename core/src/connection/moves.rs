//! Which way a connection's packets take: paths that routes name are validated, moved to, left.

use super::mtu::PathMtu;
use super::path::{CHALLENGE_TRIES, Path, RelayIndex};
use super::{Context, Peer, Timer, settle};
use crate::crypto::Crypto;
use crate::id::{RelayId, SessionId};
use crate::recovery::{MAX_ACK_DELAY, PathIndex};
use crate::route::Route;
use crate::wire::frame::PathIntent;

impl<C: Crypto> Peer<C> {
    /// The route names relays: see to it that there is a path through the first that is usable.
    pub(super) fn follow_route(&mut self, context: &mut Context<'_, C>, keep: Keep) {
        let Some(route) = &self.route else { return };
        let active = self.paths.active().and_then(|index| self.paths.get(index)).copied();
        let keeps = active.is_some_and(|path| {
            let named = |route: &Route, session| {
                let mut relays = route.relays().iter();
                relays.any(|entry| (entry.relay, Some(entry.session)) == (path.relay_id, session))
            };
            let ours =
                || context.route.is_some_and(|ours| named(ours, context.session(path.relay)));
            match keep {
                Keep::Theirs => named(route, Some(path.remote)),
                Keep::Either => named(route, Some(path.remote)) || ours(),
                Keep::Nothing => false,
            }
        });
        if keeps {
            return;
        }
        let known = route.relays().iter().find_map(|entry| {
            context.relay(entry.relay).map(|relay| (relay, entry.relay, entry.session))
        });
        if let Some((relay, relay_id, session)) = known {
            if let Some(slot) = context.relays.get_mut(usize::from(relay.0)) {
                slot.want(context.now, context.crypto);
            }
            let index = self.ensure_path(context, relay, relay_id, session);
            if let Some(path) = self.paths.get(index).copied() {
                self.validate_path(context, &path, PathIntent::Move, CHALLENGE_TRIES);
            }
        }
    }

    /// Challenges a path, at most so many times.
    pub(super) fn validate_path(
        &mut self,
        context: &mut Context<'_, C>,
        path: &Path,
        intent: PathIntent,
        tries: u8,
    ) {
        let Some(index) = self.paths.find(path.relay, path.remote) else { return };
        let nonce = context.nonce();
        self.paths.challenge(index, nonce, intent == PathIntent::Move, tries, context.now);
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
            self.abandon_path(context, index);
            self.recovery.reset_path(index, context.settings.controller);
        }
        index
    }

    pub(super) fn move_to(&mut self, context: &mut Context<'_, C>, index: PathIndex) {
        if self.paths.active() != Some(index) {
            self.mtu = PathMtu::new(index);
        }
        let Some(left) = self.paths.activate(index) else { return };
        // What is on its way there still may arrive and be acknowledged over the new path.
        self.give_up_left_path(context);
        let wait = self.recovery.rtt(left).pto(MAX_ACK_DELAY);
        self.recovery.set_initial_rtt(index, self.recovery.rtt(left).smoothed());
        self.set_recovery_timer();
        self.leaving = Some(left);
        self.timers.set(Timer::LeavePath, context.now + wait);
        self.owed.ping = true;
    }

    /// Gives up paths that do not answer; challenges that are due are sent by the next transmit,
    /// which sets the timer again.
    pub(super) fn on_path_timer(&mut self, context: &mut Context<'_, C>) {
        while let Some(index) = self.paths.take_unanswered(context.now) {
            if self.paths.active() != Some(index) {
                self.abandon_path(context, index);
            }
            self.follow_route(context, Keep::Either);
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
    /// One that the other side's route names: what a new route asks for.
    Theirs,
    /// One that either side's route names, so that two players with different homes do not send
    /// each other to and fro.
    Either,
    /// None: find out whether the other side is still where its route says.
    Nothing,
}
