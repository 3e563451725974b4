//! Two players and one relay: the world of most promises.

use core::time::Duration;

use waylane_core::channel::ChannelOptions;
use waylane_core::endpoint::{Config, PeerStats, SendError};
use waylane_core::id::{ChannelId, PeerId, Reliability};

use crate::link::Link;
use crate::player::{Driving, Family, Heard, PlayerSetup};
use crate::world::{PlayerNo, RelayNo, World};

/// The first player.
pub const A: PlayerNo = PlayerNo(0);
/// The second player.
pub const B: PlayerNo = PlayerNo(1);
/// The first relay.
pub const R: RelayNo = RelayNo(0);

impl PlayerSetup {
    /// A player with the default configuration that polls at every event, at an IPv4 address, with
    /// this directory.
    #[must_use]
    pub fn new(directory: &[RelayNo]) -> Self {
        Self {
            config: Config::default(),
            directory: directory.to_vec(),
            learns: Vec::new(),
            family: Family::V4,
            driving: Driving::Events,
        }
    }
}

impl World {
    /// Two players ([`A`] at an IPv4, [`B`] at an IPv6 address) and a relay ([`R`]) that both have
    /// in their directories; each direction from player to player behaves like `link`.
    #[must_use]
    pub fn pair(seed: u64, link: Link) -> Self {
        Self::pair_of(seed, link, |_, _| {})
    }

    /// As [`World::pair`], with the players' setups changed by `change` before they start.
    #[must_use]
    pub fn pair_of(
        seed: u64,
        link: Link,
        mut change: impl FnMut(PlayerNo, &mut PlayerSetup),
    ) -> Self {
        let mut world = Self::new(seed);
        let relay = world.add_relay();
        for (player, family) in [(A, Family::V4), (B, Family::V6)] {
            let mut setup = PlayerSetup { family, ..PlayerSetup::new(&[relay]) };
            change(player, &mut setup);
            // The first bind must travel the link too.
            world.set_leg(player, relay, link.half());
            world.add_player(setup);
        }
        world
    }

    /// A [`World::pair`] whose players are connected, with channel 0 unreliable and channel 1
    /// reliable open on both sides, and nothing left to take.
    ///
    /// # Panics
    /// If they do not connect within a minute.
    #[must_use]
    pub fn connected_pair(seed: u64, link: Link) -> Self {
        Self::connected_pair_of(seed, link, |_, _| {})
    }

    /// As [`World::connected_pair`], with the setups changed as in [`World::pair_of`].
    ///
    /// # Panics
    /// If they do not connect within a minute.
    #[must_use]
    pub fn connected_pair_of(
        seed: u64,
        link: Link,
        change: impl FnMut(PlayerNo, &mut PlayerSetup),
    ) -> Self {
        let mut world = Self::pair_of(seed, link, change);
        assert!(world.bind(&[A, B]), "seed {seed}: both players bind");
        world.introduce(A, B);
        for (player, other) in [(A, B), (B, A)] {
            world.open(player, other, 0, Reliability::Unreliable);
            world.open(player, other, 1, Reliability::Reliable);
        }
        let open = |world: &Self, player| {
            let opened = |heard: &&Heard| matches!(heard, Heard::ChannelOpened(..));
            world.heard(player).iter().filter(opened).count() == 2
        };
        let connected = world.run_until(MINUTE, |world| open(world, A) && open(world, B));
        assert!(connected, "seed {seed}: {:?} {:?}", world.heard(A), world.heard(B));
        world.run_for(Duration::from_secs(1));
        world.take_heard(A);
        world.take_heard(B);
        world
    }

    /// Runs until all of these have a route; answers whether that took less than a minute.
    pub fn bind(&mut self, players: &[PlayerNo]) -> bool {
        self.run_until(MINUTE, |world| {
            players.iter().all(|player| world.endpoint(*player).route().is_some())
        })
    }

    /// A player's id.
    #[must_use]
    pub fn id(&self, player: PlayerNo) -> PeerId {
        self.endpoint(player).peer_id()
    }

    /// A player's route as it would publish it.
    ///
    /// # Panics
    /// If the player has none yet.
    #[must_use]
    pub fn route(&self, player: PlayerNo) -> String {
        self.endpoint(player).route().expect("the player is bound").to_string()
    }

    /// Lets two players connect to each other's present routes.
    ///
    /// # Panics
    /// If a route is refused.
    pub fn introduce(&mut self, one: PlayerNo, other: PlayerNo) {
        self.connect(one, other);
        self.connect(other, one);
    }

    /// Lets `from` connect to the present route of `to`.
    ///
    /// # Panics
    /// If the route is refused.
    pub fn connect(&mut self, from: PlayerNo, to: PlayerNo) {
        let (id, route) = (self.id(to), self.route(to));
        self.with(from, |endpoint| endpoint.connect_peer(id, route.as_bytes()))
            .expect("a good route");
    }

    /// Whether `from` has a connection to `to`.
    #[must_use]
    pub fn is_connected(&self, from: PlayerNo, to: PlayerNo) -> bool {
        self.stats(from, to).is_some_and(|stats| stats.connected)
    }

    /// How the connection of `from` to `to` fares, if there is one.
    #[must_use]
    pub fn stats(&self, from: PlayerNo, to: PlayerNo) -> Option<PeerStats> {
        self.endpoint(from).peer_stats(self.id(to))
    }

    /// Lets `from` open a channel to `to`.
    ///
    /// # Panics
    /// If the endpoint refuses.
    pub fn open(
        &mut self,
        from: PlayerNo,
        to: PlayerNo,
        channel: u8,
        options: impl Into<ChannelOptions>,
    ) {
        let id = self.id(to);
        self.with(from, |endpoint| endpoint.open_channel(id, ChannelId(channel), options))
            .expect("room");
    }

    /// Lets `from` close a channel to `to`.
    ///
    /// # Panics
    /// If the endpoint refuses.
    pub fn close(&mut self, from: PlayerNo, to: PlayerNo, channel: u8) {
        let id = self.id(to);
        self.with(from, |endpoint| endpoint.close_channel(id, ChannelId(channel))).expect("open");
    }

    /// Queues a message from `from` to `to`; it leaves after [`World::flush`].
    ///
    /// # Errors
    /// As the endpoint's.
    pub fn send(
        &mut self,
        from: PlayerNo,
        to: PlayerNo,
        channel: u8,
        data: &[u8],
    ) -> Result<(), SendError> {
        let id = self.id(to);
        self.with(from, |endpoint| endpoint.send_message(id, ChannelId(channel), data))
    }

    /// Lets what a player has queued leave.
    pub fn flush(&mut self, player: PlayerNo) {
        self.with(player, waylane_core::endpoint::Endpoint::flush);
    }

    /// Queues a message and lets it leave.
    ///
    /// # Panics
    /// If the endpoint refuses it.
    pub fn say(&mut self, from: PlayerNo, to: PlayerNo, channel: u8, data: &[u8]) {
        self.send(from, to, channel, data).expect("room");
        self.flush(from);
    }

    /// Takes the messages a player has heard on a channel, in order, and leaves all else.
    pub fn take_messages(&mut self, player: PlayerNo, channel: u8) -> Vec<Vec<u8>> {
        let heard = self.heard_mut(player);
        let mut messages = Vec::new();
        heard.retain_mut(|heard| {
            let Heard::Message(_, ChannelId(on), data) = heard else { return true };
            if *on == channel {
                messages.push(core::mem::take(data));
            }
            *on != channel
        });
        messages
    }
}

const MINUTE: Duration = Duration::from_secs(60);
