//! What can be done in a world.

use core::net::SocketAddr;
use core::time::Duration;

use waylane_core::endpoint::{Config, Endpoint as CoreEndpoint};
use waylane_core::time::Instant;

use super::{Happening, PlayerNo, RelayNo, UNIX_START, World};
use crate::crypto::SeededCrypto;
use crate::player::{Driving, Endpoint, Family, Heap};

impl World {
    /// Gives commands to a player's endpoint; what results leaves at once, or with the next frame
    /// if frames drive it.
    ///
    /// # Panics
    /// If the player does not run.
    pub fn with<T>(&mut self, player: PlayerNo, commands: impl FnOnce(&mut Endpoint) -> T) -> T {
        let by_events = self.players[player.0].setup.driving == Driving::Events;
        if by_events {
            self.expire(player);
        }
        let result = commands(self.players[player.0].endpoint.as_mut().expect("the player runs"));
        if by_events {
            self.pump(player);
        }
        result
    }

    /// Gives a player another source address, as a NAT that forgets does; the old one leads nowhere.
    pub fn rebind(&mut self, player: PlayerNo) {
        let address = self.draw_address(self.players[player.0].setup.family);
        self.players[player.0].address = address;
    }

    /// Takes a player to a network of the other kind of address, as from Wi-Fi to a mobile network
    /// that has IPv6 only: relays are no more to be had at their addresses of the old kind.
    pub fn change_family(&mut self, player: PlayerNo) {
        let family = &mut self.players[player.0].setup.family;
        *family = match *family {
            Family::V4 => Family::V6,
            Family::V6 => Family::V4,
        };
        self.rebind(player);
    }

    /// Ends a player's program without a word.
    pub fn stop_player(&mut self, player: PlayerNo) {
        let player = &mut self.players[player.0];
        player.endpoint = None;
        player.plan += 1;
        player.planned_at = Instant::FAR;
        player.socket.clear();
    }

    /// Starts a player's program anew, with the same key.
    ///
    /// # Panics
    /// If its configuration is not valid.
    pub fn start_player(&mut self, number: PlayerNo) {
        let random = self.random.fork();
        let player = &mut self.players[number.0];
        let mut config: Config = player.setup.config.clone();
        config.identity = Some(player.identity.clone());
        config.unix_micros = UNIX_START + self.now.as_micros();
        let mut endpoint =
            CoreEndpoint::new(self.now, &config, SeededCrypto::new(random), &mut Heap)
                .expect("a valid configuration");
        for relay in &player.setup.directory {
            let entry = self.relays[relay.0].entry(player.setup.family);
            endpoint.add_relay(&entry).expect("room in the directory");
            self.legs.entry((number, *relay)).or_default();
        }
        player.endpoint = Some(endpoint);
        player.heard.clear();
        self.begin_driving(number);
    }

    /// Ends a relay's program without a word.
    pub fn stop_relay(&mut self, relay: RelayNo) {
        self.relays[relay.0].stop();
    }

    /// Starts a relay's program anew: the same key, no state.
    pub fn start_relay(&mut self, relay: RelayNo) {
        self.relays[relay.0].start(self.now);
        self.plan_relay(relay);
    }

    /// Lets a relay give its clients this signed list of relays, in binary form, whoever signed it;
    /// none if it is none.
    pub fn serve_directory(&mut self, relay: RelayNo, list: &[u8]) {
        self.relays[relay.0].serve_directory(list.to_vec());
    }

    /// Stops a relay now and starts it again after `outage`.
    pub fn restart_relay(&mut self, relay: RelayNo, outage: Duration) {
        self.stop_relay(relay);
        self.queue.plan(self.now + outage, Happening::RelayStarts { relay });
    }

    /// Lets a relay announce that it stops in `left`; stopping it is up to the caller.
    pub fn drain_relay(&mut self, relay: RelayNo, left: Duration) {
        let sent = self.relays[relay.0].drain(self.now, left);
        self.relay_sends(relay, sent);
        self.plan_relay(relay);
    }

    /// Hands a datagram to a relay now, whoever it may come from.
    pub fn inject_to_relay(&mut self, relay: RelayNo, from: SocketAddr, bytes: &[u8]) {
        self.at_relay(relay, from, bytes.to_vec());
    }

    /// Hands a datagram to a player now, whoever it may come from.
    pub fn inject_to_player(&mut self, player: PlayerNo, from: SocketAddr, bytes: &[u8]) {
        self.at_player(player, from, bytes.to_vec());
    }
}
