//! Two players, two relays and a network that does what it is told, over the toy provider.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::VecDeque;

use waylane_core::channel::Scope;
use waylane_core::crypto::{Crypto as _, Secret};
use waylane_core::directory::RelayEntry;
use waylane_core::endpoint::{Config, Endpoint};
use waylane_core::id::{PeerId, RelayId};
use waylane_core::limits::Limits;
use waylane_core::memory::Lender;
use waylane_core::pool::Quota;
use waylane_core::relay::{
    Control, Counters, HotEntry, IndexBucket, Pending, REPLY_MAX, RelayConfig, RelayLimits,
    RelayMemory, Session, Verdict,
};
use waylane_core::time::Instant;

use crate::toy::Toy;

/// A player's endpoint.
pub type Player = Endpoint<Toy, Heap>;

/// Everything, and the present moment.
pub struct World {
    /// The present moment.
    pub now: Instant,
    /// The players' endpoints.
    pub players: [Player; 2],
    /// The relays.
    pub relays: [Relay; 2],
    /// What was sent and has not arrived, the oldest first.
    pub flight: VecDeque<Flight>,
    /// The last datagrams sent, to be sent again.
    pub past: VecDeque<Flight>,
    addresses: [SocketAddr; 2],
    moves: u16,
    starts: u64,
    out: Vec<u8>,
}

/// A datagram on its way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Flight {
    /// Where it comes from.
    pub from: SocketAddr,
    /// Where it goes to.
    pub to: SocketAddr,
    /// What it is.
    pub bytes: Vec<u8>,
}

/// Where a datagram arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arrival {
    /// At a player, who may now have events.
    Player(usize),
    /// At a relay.
    Relay,
    /// Nowhere.
    Lost,
}

impl World {
    /// Relays that run for a while, and players who have just started.
    ///
    /// # Panics
    /// Never: the configuration is a good one.
    #[must_use]
    pub fn new() -> Self {
        // Past the time for which a relay keeps most slots for those of before.
        let now = Instant::from_millis(100_000);
        let relays = [0, 1].map(|n| Relay::new(n, Instant::ZERO));
        let players = [0, 1].map(|n| player(n, 0, now, &relays));
        Self {
            now,
            players,
            relays,
            flight: VecDeque::new(),
            past: VecDeque::new(),
            addresses: [address(0, 0), address(1, 0)],
            moves: 0,
            starts: 0,
            out: vec![0; 4 * 1472],
        }
    }

    /// Where a player is at present.
    #[must_use]
    pub const fn address(&self, player: usize) -> SocketAddr {
        self.addresses[player]
    }

    /// The id of the player that this one is connected to, if to any.
    #[must_use]
    pub fn other_id(&self, player: usize) -> PeerId {
        self.players[1 - player].peer_id()
    }

    /// Gives a player another address, as a network does; the old one leads nowhere.
    pub fn move_player(&mut self, player: usize) {
        self.moves += 1;
        self.addresses[player] = address(player, self.moves);
    }

    /// Ends a player's program without a word and starts it again with the same key.
    pub fn restart_player(&mut self, number: usize) {
        self.starts += 1;
        self.players[number] = player(number, self.starts, self.now, &self.relays);
    }

    /// Lets a player write what it has to send; answers how many datagrams that were.
    ///
    /// # Panics
    /// If it sends to anything but its directory, or for ever.
    pub fn transmit(&mut self, player: usize, scope: Scope, at_most: usize, room: usize) -> usize {
        let room = room.clamp(1472, self.out.len());
        let mut datagrams = 0;
        loop {
            let out = &mut self.out[..room];
            let endpoint = &mut self.players[player];
            let Some(sent) = endpoint.poll_transmit(self.now, scope, at_most, out) else { break };
            assert!(
                self.relays.iter().any(|relay| relay.address == sent.to),
                "{} is not in the directory",
                sent.to
            );
            assert!(sent.len > 0 && sent.len <= room);
            let size = sent.segment_size.unwrap_or(sent.len);
            assert!(sent.len.div_ceil(size) <= at_most.max(1), "more datagrams than asked for");
            for bytes in self.out[..sent.len].chunks(size) {
                assert!(bytes.len() <= 1472);
                datagrams += 1;
                let (from, bytes) = (self.addresses[player], bytes.to_vec());
                remember(&mut self.past, Flight { from, to: sent.to, bytes: bytes.clone() });
                self.flight.push_back(Flight { from, to: sent.to, bytes });
            }
            assert!(datagrams < TRANSMIT_MAX, "sends for ever");
        }
        datagrams
    }

    /// Hands a datagram to whoever is where it goes to.
    pub fn arrive(&mut self, flight: Flight) -> Arrival {
        let Flight { from, to, mut bytes } = flight;
        if let Some(n) = self.relays.iter().position(|relay| relay.address == to) {
            let sent = self.relays[n].receive(self.now, from, bytes);
            self.relay_sends(sent);
            return Arrival::Relay;
        }
        match self.addresses.iter().position(|address| *address == to) {
            Some(player) => {
                let endpoint = &mut self.players[player];
                let before = endpoint.counters().datagrams_in;
                // Refusals are what is expected of most of what a fuzzer sends.
                let _ = endpoint.handle_datagram(self.now, from, &mut bytes);
                assert_eq!(endpoint.counters().datagrams_in, before + 1);
                Arrival::Player(player)
            }
            None => Arrival::Lost,
        }
    }

    /// Lets the relays do what is due.
    pub fn relays_time_out(&mut self) {
        for n in 0..2 {
            let sent = self.relays[n].handle_timeout(self.now);
            self.relay_sends(sent);
        }
    }

    /// Lets a relay announce that it stops.
    pub fn drain(&mut self, relay: usize, left: Duration) {
        self.relays[relay].control.drain(self.now, left);
        self.relays_time_out();
    }

    /// The next moment at which anybody has something to do.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let players = self.players.iter().filter_map(|p| Some(p.poll_timeout()?.0));
        let relays = self.relays.iter().map(|relay| relay.control.poll_timeout());
        players.chain(relays).min().filter(|at| *at != Instant::FAR)
    }

    fn relay_sends(&mut self, sent: Vec<Flight>) {
        for flight in sent {
            remember(&mut self.past, flight.clone());
            self.flight.push_back(flight);
        }
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

/// A relay.
pub struct Relay {
    /// Where it is.
    pub address: SocketAddr,
    /// What a directory says of it.
    pub entry: RelayEntry,
    /// Its id.
    pub id: RelayId,
    control: Control<Toy, RelaySlices>,
    forwarded: Counters,
    number: u8,
    starts: u64,
    datagrams_in: u64,
}

impl Relay {
    fn new(number: u8, now: Instant) -> Self {
        let address = SocketAddr::from(([192, 0, 2, number + 1], 4433));
        let control = control(number, 0, now);
        let entry = RelayEntry::new(*control.public_key(), &[address], "").expect("a good entry");
        let id = RelayId::from_key_hash(&Toy::sha256(&[&control.public_key().0]));
        let forwarded = Counters::default();
        Self { address, entry, id, control, forwarded, number, starts: 0, datagrams_in: 0 }
    }

    /// It dies and comes back with its key and nothing else.
    pub fn restart(&mut self, now: Instant) {
        self.starts += 1;
        self.control = control(self.number, self.starts, now);
        self.forwarded = Counters::default();
        self.datagrams_in = 0;
    }

    fn receive(&mut self, now: Instant, from: SocketAddr, mut bytes: Vec<u8>) -> Vec<Flight> {
        self.datagrams_in += 1;
        let mut sent = Vec::new();
        let verdict = self.control.forwarder().forward(now, from, &bytes);
        self.forwarded.count(verdict, bytes.len());
        match verdict {
            Verdict::Forward { to } => sent.push(Flight { from: self.address, to, bytes }),
            Verdict::Control | Verdict::Unbound => {
                let mut out = [0; REPLY_MAX];
                let len = bytes.len();
                if let Some(reply) = self.control.handle(now, from, &mut bytes, &mut out) {
                    assert!(reply.to == from && reply.len <= len, "an answer longer than asked");
                    let bytes = out[..reply.len].to_vec();
                    sent.push(Flight { from: self.address, to: from, bytes });
                }
            }
            Verdict::Drop(_) => {}
        }
        let Counters { forwarded, control, .. } = self.forwarded;
        assert_eq!(forwarded + control + self.forwarded.dropped(), self.datagrams_in);
        self.poll(now, &mut sent);
        sent
    }

    fn handle_timeout(&mut self, now: Instant) -> Vec<Flight> {
        let mut sent = Vec::new();
        self.control.handle_timeout(now);
        self.poll(now, &mut sent);
        sent
    }

    fn poll(&mut self, now: Instant, sent: &mut Vec<Flight>) {
        let mut out = [0; REPLY_MAX];
        while let Some(reply) = self.control.poll_transmit(now, &mut out) {
            let bytes = out[..reply.len].to_vec();
            sent.push(Flight { from: self.address, to: reply.to, bytes });
            assert!(sent.len() < TRANSMIT_MAX, "sends for ever");
        }
    }
}

/// Lends from the heap.
#[derive(Clone, Copy, Default, Debug)]
pub struct Heap;

impl Lender for Heap {
    type Slice<T> = Box<[T]>;

    fn lend<T>(&mut self, len: usize, make: fn() -> T) -> Box<[T]> {
        (0..len).map(|_| make()).collect()
    }
}

/// Slices of a relay on the heap.
pub type RelaySlices =
    RelayMemory<Box<[HotEntry]>, Box<[IndexBucket]>, Box<[Session]>, Box<[Pending]>>;

/// A relay's memory of these sizes.
#[must_use]
pub fn relay_memory(limits: RelayLimits) -> RelaySlices {
    let sessions = limits.sessions as usize;
    RelayMemory {
        hot: (0..limits.hot_entries()).map(|_| HotEntry::new()).collect(),
        index: (0..limits.index_buckets()).map(|_| IndexBucket::new()).collect(),
        sessions: (0..sessions).map(|_| Session::new()).collect(),
        pending: (0..limits.pending).map(|_| Pending::new()).collect(),
    }
}

/// How long a silent connection lives, and how long one may take to begin: short, so that little
/// time has to pass.
pub const TIMEOUT: Duration = Duration::from_secs(6);

/// The largest message of either kind: several packets, few blocks.
pub const MESSAGE_MAX: usize = 3000;

/// Room for two peers and so little of everything else that it runs out.
fn limits() -> Limits {
    let mut limits = Limits::for_peers(2);
    limits.relays = 3;
    limits.requests = 2;
    limits.sent_packets = 40;
    let channels = &mut limits.channels;
    channels.message_reliable_max = MESSAGE_MAX as u32;
    channels.message_unreliable_max = MESSAGE_MAX as u32;
    channels.send_blocks = Quota { guaranteed: 10, shared: 12, peer_max: 20 };
    channels.receive_blocks = Quota { guaranteed: 12, shared: 20, peer_max: 28 };
    channels.sent_nodes = Quota { guaranteed: 12, shared: 24, peer_max: 32 };
    channels.range_nodes = Quota { guaranteed: 4, shared: 8, peer_max: 10 };
    channels.slots = Quota { guaranteed: 3, shared: 4, peer_max: 6 };
    channels.window_initial = 6;
    channels.window_max = 16;
    limits
}

fn player(number: usize, start: u64, now: Instant, relays: &[Relay; 2]) -> Player {
    let mut config = Config::default();
    config.identity = Some(Secret([number as u8 + 1; 32]));
    // A program takes a while to start: its clock is ahead of what the one before it wrote.
    config.unix_micros = UNIX_MICROS + now.as_micros() + start * 1_000_000;
    config.idle_timeout = TIMEOUT;
    config.connect_timeout = TIMEOUT;
    config.limits = limits();
    let crypto = Toy::new(1000 + 2 * start + number as u64);
    let mut endpoint = Endpoint::new(now, &config, crypto, &mut Heap).expect("good limits");
    // Each has another home.
    for relay in [&relays[number], &relays[1 - number]] {
        endpoint.add_relay(&relay.entry).expect("room in the directory");
    }
    endpoint
}

fn control(number: u8, start: u64, now: Instant) -> Control<Toy, RelaySlices> {
    let config = RelayConfig {
        limits: RelayLimits { sessions: 16, pending: 3 },
        unix_seconds_at_start: UNIX_MICROS / 1_000_000 + now.as_millis() / 1000,
        ..RelayConfig::default()
    };
    let secret = Secret([number + 0x81; 32]);
    let crypto = Toy::new(5000 + 2 * start + u64::from(number));
    Control::new(now, &config, secret, crypto, relay_memory(config.limits)).expect("good sizes")
}

fn address(player: usize, moves: u16) -> SocketAddr {
    SocketAddr::from(([198, 51, 100, player as u8 + 1], 5000 + moves))
}

fn remember(past: &mut VecDeque<Flight>, flight: Flight) {
    if past.len() == PAST {
        past.pop_front();
    }
    past.push_back(flight);
}

const PAST: usize = 64;
const TRANSMIT_MAX: usize = 500;
const UNIX_MICROS: u64 = 1_700_000_000_000_000;
