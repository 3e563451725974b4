//! Players, relays and the links between them, in virtual time.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;
use std::collections::BTreeMap;

use waylane_core::channel::Scope;
use waylane_core::crypto::Secret;
use waylane_core::endpoint::{Config, Endpoint as CoreEndpoint};
use waylane_core::relay::RelayConfig;
use waylane_core::time::Instant;

use crate::cross::{CrossCounters, Cubic};
use crate::crypto::SeededCrypto;
use crate::link::{Arrival, Lane, Link, Traffic};
use crate::player::{
    App, Driving, Endpoint, Family, Hand, Heap, Heard, Player, PlayerSetup, Socket,
};
use crate::queue::Queue;
use crate::random::Random;
use crate::relay::{Relay, RelayCounters};
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
            app: None,
            app_wakes_at: Instant::FAR,
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

    // ------------------------------------------------------------------ Looking

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

    pub(crate) fn heard_mut(&mut self, player: PlayerNo) -> &mut Vec<Heard> {
        &mut self.players[player.0].heard
    }

    /// Takes what relays have sent to addresses at which no player is.
    pub fn take_strays(&mut self) -> Vec<(SocketAddr, Vec<u8>)> {
        core::mem::take(&mut self.strays)
    }

    // ------------------------------------------------------------------ Acting

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

    // ------------------------------------------------------------------ Running

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

    fn begin_driving(&mut self, number: PlayerNo) {
        let player = &mut self.players[number.0];
        player.plan += 1;
        player.planned_at = Instant::FAR;
        if player.endpoint.is_none() {
            return;
        }
        match player.setup.driving {
            Driving::Events => {
                self.drain_socket(number);
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

    fn wake(&mut self, number: PlayerNo) {
        self.players[number.0].planned_at = Instant::FAR;
        match self.players[number.0].setup.driving {
            Driving::Events => {
                self.expire(number);
                if self.players[number.0].app_wakes_at <= self.now {
                    self.run_app(number);
                }
                self.pump(number);
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
    fn pump(&mut self, number: PlayerNo) {
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

    fn plan_relay(&mut self, number: RelayNo) {
        if let Some((at, plan)) = self.relays[number.0].next_wake(self.now) {
            self.queue.plan(at, Happening::RelayWakes { relay: number, plan });
        }
    }

    /// What is due, if anything; a command after it finds the endpoint's clock right.
    fn expire(&mut self, number: PlayerNo) {
        if let Some(endpoint) = &mut self.players[number.0].endpoint {
            endpoint.handle_timeout(self.now);
        }
    }

    fn drain_events(&mut self, number: PlayerNo) -> bool {
        let player = &mut self.players[number.0];
        let Some(endpoint) = &mut player.endpoint else { return false };
        let before = player.heard.len();
        while let Some(event) = endpoint.poll_event() {
            player.heard.push(Heard::from(event));
        }
        player.heard.len() > before
    }

    fn run_app(&mut self, number: PlayerNo) {
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

    fn drain_socket(&mut self, number: PlayerNo) {
        while let Some((from, bytes)) = self.players[number.0].socket.pop() {
            self.handle(number, from, bytes);
        }
    }

    fn at_player(&mut self, number: PlayerNo, from: SocketAddr, bytes: Vec<u8>) {
        let player = &mut self.players[number.0];
        if player.endpoint.is_none() {
            return;
        }
        if player.setup.driving == Driving::Events {
            self.handle(number, from, bytes);
            self.pump(number);
        } else {
            player.socket.push(from, bytes);
        }
    }

    fn handle(&mut self, number: PlayerNo, from: SocketAddr, mut bytes: Vec<u8>) {
        self.trace.number(number.0 as u64);
        self.trace.bytes(&bytes);
        self.see(number, Way::Down, from, &bytes);
        let Some(endpoint) = &mut self.players[number.0].endpoint else { return };
        let before = *endpoint.counters();
        let verdict = endpoint.handle_datagram(self.now, from, &mut bytes);
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

    fn player_sends(&mut self, number: PlayerNo, to: SocketAddr, bytes: &[u8]) {
        assert!(bytes.len() <= 1472, "a datagram of {} bytes", bytes.len());
        self.see(number, Way::Up, to, bytes);
        let player = &self.players[number.0];
        let relay =
            player.setup.directory.iter().copied().find(|relay| self.relays[relay.0].is_at(to));
        let relay = relay.expect("a client sends to nothing but its directory");
        let from = player.address;
        self.travel(number, relay, Way::Up, bytes, |bytes| Happening::ReachesRelay {
            relay,
            from,
            bytes,
        });
    }

    fn at_relay(&mut self, number: RelayNo, from: SocketAddr, bytes: Vec<u8>) {
        self.trace.number(number.0 as u64);
        self.trace.bytes(&bytes);
        let sent = self.relays[number.0].receive(self.now, from, bytes);
        self.relay_sends(number, sent);
        self.plan_relay(number);
    }

    fn relay_sends(&mut self, number: RelayNo, sent: Vec<(SocketAddr, Vec<u8>)>) {
        for (to, bytes) in sent {
            let from = self.relays[number.0].address_for(to);
            // The leg is the one of whoever is at the address now; where they are when it arrives
            // is another question.
            let Some(player) = self.players.iter().position(|player| player.address == to) else {
                if self.strays.len() < STRAYS_MAX {
                    self.strays.push((to, bytes));
                }
                continue;
            };
            self.travel(PlayerNo(player), number, Way::Down, &bytes, |bytes| {
                Happening::ReachesAddress { to, from, bytes }
            });
        }
    }

    fn travel(
        &mut self,
        player: PlayerNo,
        relay: RelayNo,
        way: Way,
        bytes: &[u8],
        arrival: impl Fn(Vec<u8>) -> Happening,
    ) {
        let lane = self.legs.entry((player, relay)).or_default().lane(way);
        let arrivals = lane.send(self.now, bytes.len(), &mut self.random);
        for Arrival { at, flipped } in arrivals.into_iter().flatten() {
            let mut bytes = bytes.to_vec();
            if let Some(bit) = flipped {
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            self.queue.plan(at, arrival(bytes));
        }
    }

    /// What a flow of cross traffic may send now; its next deadline is planned.
    fn cross_sends(&mut self, number: CrossNo) {
        let cross = &mut self.cross[number.0];
        let lane = self.legs.entry((cross.player, cross.relay)).or_default().lane(cross.way);
        while let Some(packet) = cross.flow.send(self.now) {
            let [first, _] = lane.send(self.now, Cubic::PACKET_LEN, &mut self.random);
            if let Some(arrival) = first {
                let acked = Happening::CrossAcked { flow: number, packet };
                self.queue.plan(arrival.at + cross.returns, acked);
            }
        }
        // A later deadline waits for the wake-up that is planned already.
        let deadline = cross.flow.deadline();
        if deadline < cross.planned_at {
            cross.planned_at = deadline;
            self.queue.plan(deadline, Happening::CrossWakes { flow: number });
        }
    }

    fn see(&mut self, player: PlayerNo, way: Way, other: SocketAddr, bytes: &[u8]) {
        if let Some(tap) = &mut self.tap {
            tap(&Sight { now: self.now, player, way, other, bytes });
        }
    }

    /// An address that nobody had before; its bytes are not small numbers that turn up anyway.
    fn draw_address(&mut self, family: Family) -> SocketAddr {
        let bits = self.random.next_u64();
        let ip = match family {
            Family::V4 => IpAddr::V4(Ipv4Addr::from(0xc612_0000 | (bits as u32 & 0xffff))),
            Family::V6 => {
                let low = u128::from(bits) | 0x2001_0db8_0000_0000_u128 << 64;
                IpAddr::V6(Ipv6Addr::from(low | u128::from(self.random.below(1 << 15)) << 80))
            }
        };
        let address = SocketAddr::new(ip, 1024 + self.random.below(60_000) as u16);
        let taken = self.players.iter().any(|player| player.address == address);
        if taken { self.draw_address(family) } else { address }
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
