//! A host that a thousand peers play with: 20 times a second 100 unreliable bytes each way. Nothing
//! is sent by a system; only the host's own work is measured, by the clock of its thread's time.

use core::net::SocketAddr;
use core::time::Duration;
use std::sync::Arc;

use quinn_proto::ClientConfig;
use rustix::time::{ClockId, clock_gettime};
use waylane_benches::{Heap, Memory, UNRELIABLE, memory};
use waylane_core::channel::Scope;
use waylane_core::crypto::Secret;
use waylane_core::directory::RelayEntry;
use waylane_core::endpoint::{Config, Endpoint, Event};
use waylane_core::id::{PeerId, Reliability};
use waylane_core::limits::Limits;
use waylane_core::relay::{Control, REPLY_MAX, Rate, RelayConfig, Verdict};
use waylane_core::time::Instant;
use waylane_crypto::Seeded;
use waylane_crypto::ring::Ring;

use crate::node::{Node, Outbox};
use crate::peer::Channel;
use crate::quic::{OTHER, configs, epoch};

/// Prints the share of a core that each takes, several times in turn.
pub fn print(peers: usize) {
    println!("| {peers} peers, 20 Hz × 100 B both ways | waylane, % | quinn, % | ratio |");
    println!("| --- | ---: | ---: | ---: |");
    let (mut ours, mut theirs) = (Waylane::connected(peers), Quic::connected(peers));
    for round in 1..=ROUNDS {
        let [our, their] = [ours.share(peers), theirs.share(peers)].map(|share| share * 100.0);
        println!("| round {round} of {SECONDS} s | {our:.2} | {their:.2} | {:.2} |", our / their);
    }
}

/// A host and its peers, moved on by a millisecond at a time.
trait World {
    /// These peers send; so does the host, to all, if it is its turn; and what is due is done.
    /// Returns what the host took of its thread's time.
    fn millisecond(&mut self, senders: core::ops::Range<usize>, hosts_turn: bool) -> Duration;

    /// Messages that have arrived at the host and at its peers.
    fn heard(&self) -> [u64; 2];

    fn share(&mut self, peers: usize) -> f64 {
        let before = self.heard();
        let mut took = Duration::ZERO;
        for millisecond in 0..SECONDS * 1000 {
            let turn = millisecond % PERIOD;
            let of = |turn| peers * turn / PERIOD;
            took += self.millisecond(of(turn)..of(turn + 1), turn == 0);
        }
        let expected = (peers * SECONDS * 1000 / PERIOD) as u64;
        for (before, after) in before.into_iter().zip(self.heard()) {
            // Some are on their way at either end.
            assert!((after - before).abs_diff(expected) <= peers as u64, "{before} {after}");
        }
        took.as_secs_f64() / SECONDS as f64
    }
}

type Player = Endpoint<Ring<Seeded>, Heap>;

struct Waylane {
    now: Instant,
    host: Player,
    host_id: PeerId,
    players: Vec<Player>,
    ids: Vec<PeerId>,
    relay: Control<Ring<Seeded>, Memory>,
    /// What waits for the host.
    inbox: Outbox,
    /// Memory for what the host sends.
    out: Outbox,
    heard: [u64; 2],
    opened: usize,
}

impl Waylane {
    fn connected(peers: usize) -> Self {
        let now = Instant::ZERO;
        let mut config = RelayConfig::default();
        // One network may have an eighth of a relay's sessions.
        config.limits.sessions = 8 * (peers as u32 + 64);
        config.budget.packets_per_second = 1_000_000;
        config.budget.bytes_per_second = 1_000_000_000;
        (config.source, config.destination) = (config.budget, config.budget);
        // All players join at once.
        config.handshakes.sender = Rate { per_second: 10_000, burst: 10_000 };
        config.handshakes.destination = config.handshakes.sender;
        let crypto = |seed| Ring::with_random(Seeded::new(seed));
        let relay = Control::new(now, &config, Secret([9; 32]), crypto(1), memory(&config));
        let relay = relay.expect("the limits are in range");
        let entry =
            RelayEntry::new(*relay.public_key(), &[OTHER], "").expect("an entry has an address");
        let player = |number: usize, limits: Limits| {
            let mut config = Config::default();
            config.limits = limits;
            let mut player = Endpoint::new(now, &config, crypto(number as u64 + 2), &mut Heap)
                .expect("the configuration is good");
            player.add_relay(&entry).expect("the directory has room");
            player
        };
        let host = player(peers, Limits::for_peers(peers as u16));
        let players: Vec<_> = (0..peers).map(|number| player(number, only_the_host())).collect();
        let host_id = host.peer_id();
        let ids = players.iter().map(Player::peer_id).collect();
        let (inbox, out, heard, opened) = (Outbox::default(), Outbox::default(), [0; 2], 0);
        let mut world = Self { now, host, host_id, players, ids, relay, inbox, out, heard, opened };
        world.meet();
        world
    }

    fn meet(&mut self) {
        for number in 0..self.players.len() {
            self.wait(|world| {
                world.host.route().is_some() && world.players[number].route().is_some()
            });
            let [host, player] = [&self.host, &self.players[number]]
                .map(|end| end.route().expect("bound").to_string());
            let id = self.ids[number];
            let both =
                [(&mut self.host, id, player), (&mut self.players[number], self.host_id, host)];
            for (from, to, route) in both {
                from.connect_peer(to, route.as_bytes()).expect("a good route");
                from.open_channel(to, UNRELIABLE, Reliability::Unreliable).expect("room");
            }
            self.wait(|world| world.opened > number);
        }
    }

    fn wait(&mut self, done: impl Fn(&Self) -> bool) {
        for _ in 0..10_000 {
            if done(self) {
                return;
            }
            self.millisecond(0..0, false);
        }
        panic!("they do not meet: {} of {}", self.opened, self.players.len());
    }

    /// The host's part, which is measured.
    fn host(&mut self, its_turn: bool, out: &mut Outbox) {
        let mut bytes = [0; DATAGRAM_LEN];
        for (from, datagram) in self.inbox.iter() {
            // A system would have put it into the host's memory, too.
            bytes[..datagram.len()].copy_from_slice(datagram);
            let taken = self.host.handle_datagram(self.now, from, &mut bytes[..datagram.len()]);
            assert!(taken.is_ok() || self.opened < self.ids.len(), "refused: {taken:?}");
        }
        self.inbox.clear();
        if self.host.poll_timeout().is_some_and(|(due, _)| due <= self.now) {
            self.host.handle_timeout(self.now);
        }
        while let Some(event) = self.host.poll_event() {
            if let Event::Message { payload, .. } = event {
                payload.copy_to(&mut bytes);
                core::hint::black_box(&bytes);
                self.heard[0] += 1;
            } else if let Event::ChannelOpened { .. } = event {
                self.opened += 1;
            }
        }
        if its_turn {
            self.host.set_now(self.now);
            for id in &self.ids {
                self.host.send_message(*id, UNRELIABLE, &MESSAGE).expect("room");
            }
            self.host.flush();
        }
        while let Some(transmit) =
            self.host.poll_transmit(self.now, Scope::Everything, 1, &mut bytes)
        {
            out.push(transmit.to, &bytes[..transmit.len]);
        }
    }

    fn at_relay(&mut self, from: SocketAddr, bytes: &mut [u8]) {
        match self.relay.forwarder().forward(self.now, from, bytes) {
            Verdict::Forward { to } => self.arrives(to, bytes),
            Verdict::Control | Verdict::Unbound => {
                let mut out = [0; REPLY_MAX];
                if let Some(reply) = self.relay.handle(self.now, from, bytes, &mut out) {
                    self.arrives(reply.to, &mut out[..reply.len]);
                }
            }
            Verdict::Drop(why) => panic!("the relay drops: {why:?}"),
        }
    }

    fn arrives(&mut self, to: SocketAddr, bytes: &mut [u8]) {
        match number(to).checked_sub(1) {
            None => self.inbox.push(OTHER, bytes),
            Some(number) => {
                let taken = self.players[number].handle_datagram(self.now, OTHER, bytes);
                assert!(taken.is_ok() || self.opened < self.ids.len(), "refused: {taken:?}");
            }
        }
    }
}

impl World for Waylane {
    fn millisecond(&mut self, senders: core::ops::Range<usize>, hosts_turn: bool) -> Duration {
        self.now += Duration::from_millis(1);
        for player in &mut self.players[senders] {
            player.set_now(self.now);
            player.send_message(self.host_id, UNRELIABLE, &MESSAGE).expect("room");
            player.flush();
        }
        let mut bytes = [0; DATAGRAM_LEN];
        for number in 0..self.players.len() {
            let player = &mut self.players[number];
            if player.poll_timeout().is_some_and(|(due, _)| due <= self.now) {
                player.handle_timeout(self.now);
            }
            while let Some(transmit) =
                self.players[number].poll_transmit(self.now, Scope::Everything, 1, &mut bytes)
            {
                self.at_relay(address(number + 1), &mut bytes[..transmit.len]);
            }
            while let Some(event) = self.players[number].poll_event() {
                self.heard[1] += u64::from(matches!(event, Event::Message { .. }));
            }
        }
        let mut out = core::mem::take(&mut self.out);
        let start = thread_time();
        self.host(hosts_turn, &mut out);
        let took = thread_time() - start;
        for (_, datagram) in out.iter() {
            bytes[..datagram.len()].copy_from_slice(datagram);
            self.at_relay(address(0), &mut bytes[..datagram.len()]);
        }
        out.clear();
        self.out = out;
        self.relay.handle_timeout(self.now);
        let mut reply_bytes = [0; REPLY_MAX];
        while let Some(reply) = self.relay.poll_transmit(self.now, &mut reply_bytes) {
            self.arrives(reply.to, &mut reply_bytes[..reply.len]);
        }
        took
    }

    fn heard(&self) -> [u64; 2] {
        self.heard
    }
}

struct Quic {
    now: std::time::Instant,
    host: Node,
    players: Vec<Node>,
    inbox: Outbox,
}

impl Quic {
    fn connected(peers: usize) -> Self {
        let (client, server) = configs(false);
        let players = (0..peers).map(|number| Node::new(number as u64 + 1, None)).collect();
        let (host, inbox) = (Node::new(0, Some(Arc::new(server))), Outbox::default());
        let mut world = Self { now: epoch(), host, players, inbox };
        for number in 0..peers {
            world.call(number, client.clone());
        }
        // Paths are found.
        for millisecond in 0..2000 {
            let turn = millisecond % PERIOD;
            let of = |turn| peers * turn / PERIOD;
            world.millisecond(of(turn)..of(turn + 1), turn == 0);
        }
        world
    }

    fn call(&mut self, number: usize, client: ClientConfig) {
        self.players[number].connect(self.now, client, OTHER);
        for _ in 0..1000 {
            self.millisecond(0..0, false);
            let connected =
                [self.host.connected as usize, number + self.players[number].connected as usize];
            if connected == [number + 1; 2] {
                return;
            }
        }
        panic!("they do not meet");
    }

    /// The host's part, which is measured.
    fn host(&mut self, its_turn: bool) {
        for (from, datagram) in self.inbox.iter() {
            self.host.handle(self.now, from, datagram);
        }
        self.inbox.clear();
        self.host.wake(self.now);
        if its_turn {
            for number in 0..self.players.len() {
                self.host.send(number, Channel::Unreliable, &MESSAGE);
            }
        }
        self.host.settle(self.now);
    }
}

impl World for Quic {
    fn millisecond(&mut self, senders: core::ops::Range<usize>, hosts_turn: bool) -> Duration {
        self.now += Duration::from_millis(1);
        for player in &mut self.players[senders] {
            player.send(0, Channel::Unreliable, &MESSAGE);
        }
        for (number, player) in self.players.iter_mut().enumerate() {
            player.wake(self.now);
            player.settle(self.now);
            for (_, datagram) in player.out.iter() {
                self.inbox.push(address(number + 1), datagram);
            }
            player.out.clear();
        }
        let start = thread_time();
        self.host(hosts_turn);
        let took = thread_time() - start;
        for (to, datagram) in self.host.out.iter() {
            self.players[number(to) - 1].handle(self.now, OTHER, datagram);
        }
        self.host.out.clear();
        took
    }

    fn heard(&self) -> [u64; 2] {
        let players = self.players.iter().map(|player| player.heard).sum::<u64>();
        [self.host.heard / 100, players / 100]
    }
}

/// What is promised to one peer and nothing to share: by default a thousand players would take 18 GB.
fn only_the_host() -> Limits {
    let mut limits = Limits::for_peers(1);
    limits.sent_packets = 256;
    let channels = &mut limits.channels;
    for quota in [
        &mut channels.send_blocks,
        &mut channels.receive_blocks,
        &mut channels.sent_nodes,
        &mut channels.range_nodes,
        &mut channels.slots,
    ] {
        quota.shared = 0;
    }
    limits
}

fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The host's is number 0. One of 10.0.0.0/8.
fn address(number: usize) -> SocketAddr {
    let [_, a, b, c] = (number as u32).to_be_bytes();
    SocketAddr::from(([10, a, b, c], 27_960))
}

fn number(address: SocketAddr) -> usize {
    match address {
        SocketAddr::V4(address) => {
            let [_, a, b, c] = address.ip().octets();
            u32::from_be_bytes([0, a, b, c]) as usize
        }
        SocketAddr::V6(_) => panic!("all have the older kind"),
    }
}

/// Milliseconds from one message to a peer's next.
const PERIOD: usize = 50;
const SECONDS: usize = 10;
const ROUNDS: usize = 3;
const MESSAGE: [u8; 100] = [7; 100];
const DATAGRAM_LEN: usize = 1472;
