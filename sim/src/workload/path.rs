//! What lies between the players of a workload.

use core::time::Duration;

use waylane_core::endpoint::Config;
use waylane_core::id::Reliability;
use waylane_core::limits::Limits;
use waylane_core::relay::RelayConfig;

use crate::link::{Bottleneck, Burst, Link};
use crate::pair::{A, B, R};
use crate::player::{Driving, FRAME, Family, Heard, PlayerSetup};
use crate::world::{PlayerNo, World};

/// What lies between two players, in each direction.
#[derive(Clone, Copy, Debug)]
pub struct Path {
    /// There and back, without jitter or queues.
    pub round_trip: Duration,
    /// Each direction takes its half of the round trip plus or minus at most this, uniform, and in
    /// order.
    pub jitter: Duration,
    /// The share of datagrams lost on the way from one player to the other.
    pub loss: f64,
    /// Losses that come together.
    pub burst: Option<Burst>,
    /// The share of datagrams held.
    pub reorder: f64,
    /// How long they are held.
    pub held: Duration,
    /// What limits the rate.
    pub bottleneck: Option<Bottleneck>,
}

/// How often the players' programs have their turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pace {
    /// Whenever a datagram arrives or a deadline is due.
    Events,
    /// 60 times a second.
    Frames,
}

impl Path {
    /// A path that only takes time.
    #[must_use]
    pub const fn of(round_trip: Duration) -> Self {
        Self {
            round_trip,
            jitter: Duration::ZERO,
            loss: 0.0,
            burst: None,
            reorder: 0.0,
            held: Duration::ZERO,
            bottleneck: None,
        }
    }

    /// One direction of it as a single link, for two who speak without a relay.
    #[must_use]
    pub fn direct(&self) -> Link {
        let delay = (self.round_trip / 2).saturating_sub(self.jitter);
        Link { delay, ..self.rough_leg() }
    }

    /// The leg on which nothing but time passes.
    fn plain_leg(&self) -> Link {
        Link::delayed(self.round_trip / 4)
    }

    /// The leg that has everything.
    fn rough_leg(&self) -> Link {
        Link {
            delay: (self.round_trip / 4).saturating_sub(self.jitter),
            jitter: self.jitter * 2,
            loss: self.loss,
            burst: self.burst,
            reorder: self.reorder,
            held: self.held,
            held_least: self.held,
            bottleneck: self.bottleneck,
            ..Link::default()
        }
    }
}

/// A relay and the players, bound. All but [`B`] have plain legs: what lies on the path lies between
/// the relay and B.
pub(super) fn bound(seed: u64, path: &Path, players: usize) -> World {
    let mut world = World::new(seed);
    let relay = world.add_relay_with(budget_for_bulk);
    for number in (0..players).map(PlayerNo) {
        let leg = if number == B { path.rough_leg() } else { path.plain_leg() };
        world.set_leg(number, relay, leg);
        let mut config = Config::default();
        config.limits = Limits::for_peers(4);
        let family = if number == B { Family::V6 } else { Family::V4 };
        world.add_player(PlayerSetup { config, family, ..PlayerSetup::new(&[relay]) });
    }
    let all: Vec<_> = (0..players).map(PlayerNo).collect();
    assert!(world.bind(&all), "seed {seed}: everybody binds");
    world
}

/// [`bound`], and everybody is connected to [`B`], with channel 0 unreliable and channel 1 reliable
/// just opened on both sides.
pub(super) fn connected(seed: u64, path: &Path, players: usize, pace: Pace) -> World {
    let mut world = bound(seed, path, players);
    let others: Vec<_> = (0..players).map(PlayerNo).filter(|player| *player != B).collect();
    for other in &others {
        world.introduce(*other, B);
        for (from, to) in [(*other, B), (B, *other)] {
            world.open(from, to, 0, Reliability::Unreliable);
            world.open(from, to, 1, Reliability::Reliable);
        }
    }
    let opened = |world: &World, player| {
        let opened = |heard: &&Heard| matches!(heard, Heard::ChannelOpened(..));
        world.heard(player).iter().filter(opened).count()
    };
    let ready = world.run_until(Duration::from_secs(60), |world| {
        opened(world, B) == 2 * others.len()
            && others.iter().all(|other| opened(world, *other) == 2)
    });
    assert!(ready, "seed {seed}: everybody connects: {:?} {:?}", world.heard(A), world.heard(B));
    for player in (0..players).map(PlayerNo) {
        world.take_heard(player);
        if pace == Pace::Frames {
            world.set_driving(player, Driving::Frames(FRAME));
        }
    }
    assert!(world.relay(R).is_running());
    world
}

/// What a session may send by default is below 100 Mbit/s; here the link is to be the limit.
fn budget_for_bulk(config: &mut RelayConfig) {
    config.budget.packets_per_second *= 4;
    config.budget.bytes_per_second *= 4;
    (config.source, config.destination) = (config.budget, config.budget);
}
