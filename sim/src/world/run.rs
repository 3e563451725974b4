//! What happens, one thing after the other.

use core::time::Duration;

use waylane_core::time::Instant;

use super::{Happening, PlayerNo, SPINS_MAX, World};

impl World {
    /// Lets `duration` pass.
    pub fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.queue.next_at().is_some_and(|at| at <= end) {
            self.step();
        }
        self.now = end;
    }

    /// Runs until `done` says so, looking after everything that happens, but no longer than
    /// `limit`; answers whether it was done.
    pub fn run_until(&mut self, limit: Duration, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        let end = self.now + limit;
        loop {
            if done(self) {
                return true;
            }
            if self.queue.next_at().is_none_or(|at| at > end) {
                self.now = end;
                return done(self);
            }
            self.step();
        }
    }

    /// Lets the next thing happen, whenever it is; answers whether there was one.
    pub fn step(&mut self) -> bool {
        let Some((at, happening)) = self.queue.pop() else { return false };
        self.spins = if at > self.now { 0 } else { self.spins + 1 };
        assert!(self.spins < SPINS_MAX, "something happens for ever at {at:?}: {happening:?}");
        self.now = at;
        self.trace.number(at.as_micros());
        match happening {
            Happening::ReachesRelay { relay, from, bytes } => self.at_relay(relay, from, bytes),
            Happening::ReachesAddress { to, from, bytes } => {
                if let Some(player) = self.players.iter().position(|player| player.address == to) {
                    self.at_player(PlayerNo(player), from, bytes);
                }
            }
            Happening::PlayerWakes { player, plan } => {
                if self.players[player.0].plan == plan {
                    self.wake(player);
                }
            }
            Happening::RelayWakes { relay, plan } => {
                if self.relays[relay.0].plan() == plan {
                    let sent = self.relays[relay.0].handle_timeout(self.now);
                    self.relay_sends(relay, sent);
                    self.plan_relay(relay);
                }
            }
            Happening::RelayStarts { relay } => self.start_relay(relay),
            Happening::LinkChanges { player, relay, way, link } => {
                self.set_link(player, relay, way, link);
            }
            Happening::CrossAcked { flow, packet } => {
                self.cross[flow.0].flow.on_ack(at, packet);
                self.cross_sends(flow);
            }
            Happening::CrossWakes { flow } => {
                let cross = &mut self.cross[flow.0];
                cross.planned_at = Instant::FAR;
                if cross.flow.deadline() <= at {
                    cross.flow.on_timeout();
                }
                self.cross_sends(flow);
            }
        }
        true
    }
}
