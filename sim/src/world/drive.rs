//! How players and relays have their turn.

use core::net::SocketAddr;
use core::time::Duration;

use waylane_core::channel::Scope;
use waylane_core::endpoint::Event;
use waylane_core::time::Instant;

use super::{DATAGRAMS_AT_ONCE, Happening, PlayerNo, RelayNo, Way, World};
use crate::player::{Driving, Endpoint, Hand, Heard};

impl World {
    pub(super) fn begin_driving(&mut self, number: PlayerNo) {
        let player = &mut self.players[number.0];
        player.plan += 1;
        player.planned_at = Instant::FAR;
        if player.endpoint.is_none() {
            return;
        }
        match player.setup.driving {
            Driving::Events => {
                self.drain_socket(number);
                self.expire(number);
                self.pump(number);
            }
            Driving::Frames(period) => {
                let phase =
                    Duration::from_micros(self.random.below(waylane_core::time::micros(period)));
                self.plan_player(number, self.now + phase);
            }
            Driving::Frozen => {}
        }
    }

    pub(super) fn wake(&mut self, number: PlayerNo) {
        self.players[number.0].planned_at = Instant::FAR;
        match self.players[number.0].setup.driving {
            Driving::Events => {
                self.expire(number);
                if self.players[number.0].app_wakes_at <= self.now {
                    self.run_app(number);
                }
                self.pump(number);
                // What was due is done; a deadline that stays where it was would turn for ever.
                let next =
                    self.players[number.0].endpoint.as_ref().and_then(Endpoint::poll_timeout);
                self.overdue += u64::from(next.is_some_and(|(at, _)| at < self.now));
            }
            Driving::Frames(period) => {
                self.frame(number);
                self.plan_player(number, self.now + period);
            }
            Driving::Frozen => {}
        }
    }

    /// One frame of a game: `run_callbacks`, the game's own work, `flush`.
    fn frame(&mut self, number: PlayerNo) {
        self.drain_socket(number);
        self.expire(number);
        self.drain_events(number);
        self.transmit(number, Scope::Protocol);
        self.run_app(number);
        if let Some(endpoint) = &mut self.players[number.0].endpoint {
            endpoint.flush();
        }
        self.transmit(number, Scope::Everything);
    }

    /// Everything an endpoint has to say and to send, until it is quiet.
    pub(super) fn pump(&mut self, number: PlayerNo) {
        loop {
            if self.drain_events(number) {
                self.run_app(number);
            }
            if !self.transmit(number, Scope::Everything) {
                break;
            }
        }
        let player = &self.players[number.0];
        let Some(endpoint) = &player.endpoint else { return };
        let at = endpoint.poll_timeout().map_or(Instant::FAR, |(at, _)| at);
        let at = at.min(player.app_wakes_at);
        let at = if at == Instant::FAR { at } else { at.max(self.now) };
        if at != player.planned_at {
            self.plan_player(number, at);
        }
    }

    fn plan_player(&mut self, number: PlayerNo, at: Instant) {
        let player = &mut self.players[number.0];
        player.plan += 1;
        player.planned_at = at;
        if at != Instant::FAR {
            self.queue.plan(at, Happening::PlayerWakes { player: number, plan: player.plan });
        }
    }

    pub(super) fn plan_relay(&mut self, number: RelayNo) {
        if let Some((at, plan)) = self.relays[number.0].next_wake(self.now) {
            self.queue.plan(at, Happening::RelayWakes { relay: number, plan });
        }
    }

    /// What is due, if anything; a command after it finds the endpoint's clock right.
    pub(super) fn expire(&mut self, number: PlayerNo) {
        if let Some(endpoint) = &mut self.players[number.0].endpoint {
            endpoint.handle_timeout(self.now);
        }
    }

    fn drain_events(&mut self, number: PlayerNo) -> bool {
        let player = &mut self.players[number.0];
        let Some(endpoint) = &mut player.endpoint else { return false };
        let before = player.heard.len();
        while let Some(event) = endpoint.poll_event() {
            // Apart, as it comes at any time and asks for nothing.
            if let Event::ConnectionQuality { peer, quality } = event {
                player.qualities.push((peer, quality));
            } else {
                player.heard.push(Heard::from(event));
            }
        }
        player.heard.len() > before
    }

    pub(super) fn run_app(&mut self, number: PlayerNo) {
        let player = &mut self.players[number.0];
        if let (Some(app), Some(endpoint)) = (&mut player.app, &mut player.endpoint) {
            player.app_wakes_at = Instant::FAR;
            app(&mut Hand {
                now: self.now,
                endpoint,
                heard: &mut player.heard,
                wakes_at: &mut player.app_wakes_at,
            });
        }
    }

    pub(super) fn drain_socket(&mut self, number: PlayerNo) {
        while let Some((arrived, from, bytes)) = self.players[number.0].socket.pop() {
            self.handle(number, self.now.since(arrived), from, bytes);
        }
    }

    pub(super) fn at_player(&mut self, number: PlayerNo, from: SocketAddr, bytes: Vec<u8>) {
        let player = &mut self.players[number.0];
        if player.endpoint.is_none() || player.has_nat_forgotten(self.now) {
            return;
        }
        if player.setup.driving == Driving::Events {
            self.handle(number, Duration::ZERO, from, bytes);
            self.pump(number);
        } else {
            player.socket.push(self.now, from, bytes);
        }
    }

    fn handle(&mut self, number: PlayerNo, waited: Duration, from: SocketAddr, mut bytes: Vec<u8>) {
        self.trace.number(number.0 as u64);
        self.trace.bytes(&bytes);
        self.see(number, Way::Down, from, &bytes);
        let Some(endpoint) = &mut self.players[number.0].endpoint else { return };
        let before = *endpoint.counters();
        let verdict = endpoint.handle_waiting_datagram(self.now, waited, from, &mut bytes);
        let after = endpoint.counters();
        assert_eq!(after.datagrams_in, before.datagrams_in + 1, "every datagram is counted");
        if let Err(reason) = verdict {
            assert!(after.refused(reason) > before.refused(reason), "every refusal is counted");
        }
    }

    /// Sends what the endpoint has; answers whether that was anything.
    fn transmit(&mut self, number: PlayerNo, scope: Scope) -> bool {
        let mut any = false;
        let mut buffer = core::mem::take(&mut self.buffer);
        while let Some(endpoint) = &mut self.players[number.0].endpoint {
            let Some(transmit) =
                endpoint.poll_transmit(self.now, scope, DATAGRAMS_AT_ONCE, &mut buffer)
            else {
                break;
            };
            any = true;
            let segment = transmit.segment_size.unwrap_or(transmit.len);
            assert!(segment > 0 && transmit.len <= buffer.len(), "a transmit lies in the buffer");
            for datagram in buffer[..transmit.len].chunks(segment) {
                self.player_sends(number, transmit.to, datagram);
            }
        }
        self.buffer = buffer;
        any
    }
}
