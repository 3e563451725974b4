//! What can be seen of a world.

use core::net::SocketAddr;

use waylane_core::endpoint::ConnectionQuality;
use waylane_core::id::PeerId;
use waylane_core::time::Instant;

use super::{CrossNo, PlayerNo, RelayNo, Way, World};
use crate::cross::CrossCounters;
use crate::link::Traffic;
use crate::player::{Endpoint, Heard};
use crate::random::Random;
use crate::relay::{Relay, RelayCounters};

impl World {
    /// The present moment.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// The world's own randomness, for scripts that need some.
    pub const fn random(&mut self) -> &mut Random {
        &mut self.random
    }

    /// The fingerprint of everything that has moved so far.
    #[must_use]
    pub const fn trace(&self) -> u64 {
        self.trace.hash()
    }

    /// How many players there are.
    #[must_use]
    pub const fn players(&self) -> usize {
        self.players.len()
    }

    /// A player's endpoint.
    ///
    /// # Panics
    /// If the player does not run.
    #[must_use]
    pub fn endpoint(&self, player: PlayerNo) -> &Endpoint {
        self.players[player.0].endpoint.as_ref().expect("the player runs")
    }

    /// Where a player's datagrams come from at present.
    #[must_use]
    pub fn address(&self, player: PlayerNo) -> SocketAddr {
        self.players[player.0].address
    }

    /// Datagrams that found the player's socket buffer full.
    #[must_use]
    pub fn overflowed(&self, player: PlayerNo) -> u64 {
        self.players[player.0].socket.overflowed
    }

    /// A relay.
    #[must_use]
    pub fn relay(&self, relay: RelayNo) -> &Relay {
        &self.relays[relay.0]
    }

    /// What a relay has counted since its start.
    #[must_use]
    pub fn relay_counters(&self, relay: RelayNo) -> RelayCounters {
        self.relays[relay.0].counters()
    }

    /// What one direction between a player and a relay has carried.
    #[must_use]
    pub fn traffic(&self, player: PlayerNo, relay: RelayNo, way: Way) -> Traffic {
        self.legs.get(&(player, relay)).map_or_else(Traffic::default, |leg| match way {
            Way::Up => leg.up.traffic,
            Way::Down => leg.down.traffic,
        })
    }

    /// How often an endpoint that had just been woken and done what was due named a deadline
    /// already past.
    #[must_use]
    pub const fn overdue(&self) -> u64 {
        self.overdue
    }

    /// What a flow of cross traffic has done.
    #[must_use]
    pub fn cross_counters(&self, flow: CrossNo) -> CrossCounters {
        self.cross[flow.0].flow.counters
    }

    /// Events that nobody has taken yet, without taking them.
    #[must_use]
    pub fn heard(&self, player: PlayerNo) -> &[Heard] {
        &self.players[player.0].heard
    }

    /// Takes all events heard so far.
    pub fn take_heard(&mut self, player: PlayerNo) -> Vec<Heard> {
        core::mem::take(&mut self.players[player.0].heard)
    }

    /// Takes what was told of the quality of a player's connections, which is kept apart.
    pub fn take_qualities(&mut self, player: PlayerNo) -> Vec<(PeerId, ConnectionQuality)> {
        core::mem::take(&mut self.players[player.0].qualities)
    }

    pub(crate) fn heard_mut(&mut self, player: PlayerNo) -> &mut Vec<Heard> {
        &mut self.players[player.0].heard
    }

    /// Takes what relays have sent to addresses at which no player is.
    pub fn take_strays(&mut self) -> Vec<(SocketAddr, Vec<u8>)> {
        core::mem::take(&mut self.strays)
    }
}
