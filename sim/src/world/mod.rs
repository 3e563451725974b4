//! Players, relays and the links between them, in virtual time.

mod act;
mod drive;
mod look;
mod run;
mod travel;

use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;
use std::collections::BTreeMap;

use waylane_core::crypto::Secret;
use waylane_core::relay::RelayConfig;
use waylane_core::time::Instant;

use crate::cross::Cubic;
use crate::link::{Lane, Link};
use crate::player::{App, Driving, Player, PlayerSetup, Socket};
use crate::queue::Queue;
use crate::random::Random;
use crate::relay::Relay;
use crate::trace::Trace;

/// A player's number in its world.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PlayerNo(pub usize);

/// A relay's number in its world.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RelayNo(pub usize);

/// A cross-traffic flow's number in its world.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CrossNo(pub usize);

/// A direction of a leg.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// From the player to the relay.
    Up,
    /// From the relay to the player.
    Down,
}

/// A datagram as a player sees it: at the moment it sends or receives it.
#[derive(Debug)]
pub struct Sight<'a> {
    /// When.
    pub now: Instant,
    /// Who sees it.
    pub player: PlayerNo,
    /// Sent or received.
    pub way: Way,
    /// The player's address at that moment.
    pub address: SocketAddr,
    /// The other end as the player sees it.
    pub other: SocketAddr,
    /// The datagram.
    pub bytes: &'a [u8],
}

/// Looks at every datagram a player sends or receives.
pub type Tap = Box<dyn FnMut(&Sight<'_>)>;

/// A whole network in virtual time. The same seed and the same calls give the same world; two of
/// its invariants are checked all the time: a player sends to nothing but its directory, and a
/// relay answers nothing with more bytes than it was sent.
pub struct World {
    now: Instant,
    queue: Queue<Happening>,
    random: Random,
    trace: Trace,
    players: Vec<Player>,
    relays: Vec<Relay>,
    legs: BTreeMap<(PlayerNo, RelayNo), Leg>,
    cross: Vec<Cross>,
    tap: Option<Tap>,
    strays: Vec<(SocketAddr, Vec<u8>)>,
    spins: u32,
    overdue: u64,
    buffer: Vec<u8>,
}

impl World {
    /// An empty world.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            now: Instant::from_millis(1000),
            queue: Queue::new(),
            random: Random::new(seed),
            trace: Trace::new(),
            players: Vec::new(),
            relays: Vec::new(),
            legs: BTreeMap::new(),
            cross: Vec::new(),
            tap: None,
            strays: Vec::new(),
            spins: 0,
            overdue: 0,
            buffer: vec![0; DATAGRAMS_AT_ONCE * 1472],
        }
    }

    // ------------------------------------------------------------------ Building

    /// Adds a relay that starts at once.
    pub fn add_relay(&mut self) -> RelayNo {
        self.add_relay_with(|_| {})
    }

    /// Adds a relay whose configuration `change` has changed, and that starts at once.
    pub fn add_relay_with(&mut self, change: impl FnOnce(&mut RelayConfig)) -> RelayNo {
        let number = RelayNo(self.relays.len());
        let mut secret = Secret::default();
        self.random.fill(&mut secret.0);
        let host = u16::try_from(number.0 + 1).expect("a world has few relays");
        let v4 = SocketAddr::new(Ipv4Addr::from(0xc613_0000 | u32::from(host)).into(), RELAY_PORT);
        let v6 = SocketAddr::new(
            Ipv6Addr::new(0x2001, 0xdb8, 0x8000, 0, 0, 0, 0, host).into(),
            RELAY_PORT,
        );
        let random = self.random.fork();
        self.relays.push(Relay::new(secret, [v4, v6], random, self.now, change));
        self.plan_relay(number);
        number
    }

    /// Adds a player that starts at once, over perfect links.
    pub fn add_player(&mut self, setup: PlayerSetup) -> PlayerNo {
        let number = PlayerNo(self.players.len());
        let mut identity = Secret::default();
        self.random.fill(&mut identity.0);
        if let Some(given) = &setup.config.identity {
            identity = given.clone();
        }
        let address = self.draw_address(setup.family);
        self.players.push(Player {
            setup,
            identity,
            endpoint: None,
            address,
            socket: Socket::default(),
            heard: Vec::new(),
            qualities: Vec::new(),
            app: None,
            app_wakes_at: Instant::FAR,
            nat: None,
            sent_at: self.now,
            plan: 0,
            planned_at: Instant::FAR,
        });
        self.start_player(number);
        number
    }

    /// Sets both directions between a player and a relay.
    pub fn set_leg(&mut self, player: PlayerNo, relay: RelayNo, link: Link) {
        self.set_link(player, relay, Way::Up, link);
        self.set_link(player, relay, Way::Down, link);
    }

    /// Sets one direction between a player and a relay.
    pub fn set_link(&mut self, player: PlayerNo, relay: RelayNo, way: Way, link: Link) {
        self.legs.entry((player, relay)).or_default().lane(way).link = link;
    }

    /// Sets one direction between a player and a relay once `after` has passed.
    pub fn plan_link(
        &mut self,
        after: Duration,
        player: PlayerNo,
        relay: RelayNo,
        way: Way,
        link: Link,
    ) {
        self.queue.plan(self.now + after, Happening::LinkChanges { player, relay, way, link });
    }

    /// Puts a player behind a NAT that forgets its address after so long without a datagram from
    /// it: what comes then finds nobody, and the next that leaves has another address.
    pub fn set_nat(&mut self, player: PlayerNo, forgets_after: Option<Duration>) {
        self.players[player.0].nat = forgets_after;
    }

    /// Lets somebody else's bulk flow, controlled by CUBIC (RFC 9438), share one direction between
    /// a player and a relay once `after` has passed; an acknowledgement takes `returns` from its
    /// end to the flow's sender. Answers the flow's number.
    pub fn add_cross_flow(
        &mut self,
        after: Duration,
        player: PlayerNo,
        relay: RelayNo,
        way: Way,
        returns: Duration,
    ) -> CrossNo {
        let number = CrossNo(self.cross.len());
        let (flow, planned_at) = (Cubic::new(), self.now + after);
        self.cross.push(Cross { flow, player, relay, way, returns, planned_at });
        self.queue.plan(planned_at, Happening::CrossWakes { flow: number });
        number
    }

    /// Lets a flow of cross traffic send nothing more.
    pub fn end_cross_flow(&mut self, flow: CrossNo) {
        self.cross[flow.0].flow.end();
    }

    /// Lets `tap` see every datagram that a player sends or receives.
    pub fn set_tap(&mut self, tap: Tap) {
        self.tap = Some(tap);
    }

    /// Gives a player its game, which has its first turn at once.
    pub fn set_app(&mut self, player: PlayerNo, app: App) {
        self.players[player.0].app = Some(app);
        self.run_app(player);
        if self.players[player.0].setup.driving == Driving::Events {
            self.pump(player);
        }
    }

    /// Changes what drives a player.
    pub fn set_driving(&mut self, player: PlayerNo, driving: Driving) {
        self.players[player.0].setup.driving = driving;
        self.begin_driving(player);
    }
}

/// Both directions between a player and a relay.
#[derive(Default)]
struct Leg {
    up: Lane,
    down: Lane,
}

impl Leg {
    const fn lane(&mut self, way: Way) -> &mut Lane {
        match way {
            Way::Up => &mut self.up,
            Way::Down => &mut self.down,
        }
    }
}

/// A flow of cross traffic and where it goes.
struct Cross {
    flow: Cubic,
    player: PlayerNo,
    relay: RelayNo,
    way: Way,
    returns: Duration,
    planned_at: Instant,
}

/// What can be planned.
#[derive(Debug)]
enum Happening {
    ReachesRelay { relay: RelayNo, from: SocketAddr, bytes: Vec<u8> },
    ReachesAddress { to: SocketAddr, from: SocketAddr, bytes: Vec<u8> },
    PlayerWakes { player: PlayerNo, plan: u64 },
    RelayWakes { relay: RelayNo, plan: u64 },
    RelayStarts { relay: RelayNo },
    LinkChanges { player: PlayerNo, relay: RelayNo, way: Way, link: Link },
    CrossAcked { flow: CrossNo, packet: u64 },
    CrossWakes { flow: CrossNo },
}

const RELAY_PORT: u16 = 4433;
const DATAGRAMS_AT_ONCE: usize = 8;
/// More happenings than this at one moment mean that something wakes itself for ever.
const SPINS_MAX: u32 = 100_000;
const STRAYS_MAX: usize = 4096;
/// The wall clock at the world's start: in November 2023.
const UNIX_START: u64 = 1_700_000_000_000_000;
