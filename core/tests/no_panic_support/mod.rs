//! Three endpoints, a relay, and datagrams on their way, all at a test's mercy.

mod open;
pub(crate) mod values;
pub(crate) mod wire;

use core::cell::Cell;
use core::net::SocketAddr;
use core::ops::AddAssign;
use core::time::Duration;

pub(crate) use open::Open;
use waylane_core::channel::Scope;
use waylane_core::crypto::{Crypto, Secret};
use waylane_core::directory::RelayEntry;
use waylane_core::endpoint::{Config, Endpoint, Event};
use waylane_core::id::{ChannelId, PeerId, PublicKey, RelayId, Reliability};
use waylane_core::invite::{Invite, InviteSecret};
use waylane_core::limits::Limits;
use waylane_core::relay::{
    Control, Counters, Forwarder, HotEntry, IndexBucket, Pending, Prices, REPLY_MAX, RelayConfig,
    RelayMemory, Session, Tables, Verdict,
};
use waylane_core::route::Route;
use waylane_core::time::Instant;
use waylane_sim::Heap;

/// See the module.
pub(crate) struct World<C: Crypto> {
    pub(crate) now: Instant,
    pub(crate) met: Met,
    players: Vec<Endpoint<C, Heap>>,
    relay: Control<C, Memory>,
    entry: RelayEntry,
    on_the_way: Vec<Datagram>,
    /// What was once sent: to be broken and sent again.
    seen: Vec<Datagram>,
}

/// What happened in a storm.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Met {
    pub(crate) connected: u64,
    pub(crate) messages: u64,
    /// Peers lost, whoever is to blame.
    pub(crate) lost: u64,
    /// Datagrams that a relay sent on.
    pub(crate) forwarded: u64,
    /// Datagrams that an endpoint or the relay would not have.
    pub(crate) refused: u64,
}

/// Small pools, so that they run empty.
pub(crate) fn config() -> Config {
    let mut limits = Limits::for_peers(3);
    limits.relays = 2;
    limits.requests = 2;
    limits.sent_packets = 64;
    limits.channels.message_reliable_max = 5000;
    limits.channels.message_unreliable_max = 5000;
    limits.channels.send_blocks.shared = 64;
    limits.channels.receive_blocks.shared = 64;
    limits.channels.slots.shared = 8;
    let mut config = Config::default();
    config.limits = limits;
    config
}

/// So few sessions that they run out.
pub(crate) fn relay_config() -> RelayConfig {
    let mut config = RelayConfig::default();
    config.limits.sessions = 8;
    config.limits.pending = 2;
    config
}

impl<C: Crypto> World<C> {
    pub(crate) fn new(
        seed: u64,
        config: &Config,
        relay_config: &RelayConfig,
        crypto: impl Fn(u64) -> C,
    ) -> Self {
        let limits = relay_config.limits;
        let memory = Memory {
            hot: (0..limits.hot_entries()).map(|_| HotEntry::new()).collect(),
            index: (0..limits.index_buckets()).map(|_| IndexBucket::new()).collect(),
            sessions: (0..limits.sessions).map(|_| Session::new()).collect(),
            pending: (0..limits.pending).map(|_| Pending::new()).collect(),
        };
        let crypto = |n| crypto(seed << 8 | n);
        let identity = Secret([9; 32]);
        let relay = Control::new(Instant::ZERO, relay_config, identity, crypto(9), memory).unwrap();
        // After two keep-alives the relay hands out every slot, not only the reserved ones.
        let now = Instant::ZERO + relay_config.keep_alive * 2;
        let entry = RelayEntry::new(*relay.public_key(), &[RELAY.into()], "eu").unwrap();
        let players = (0..PLAYERS).map(|n| {
            let mut config = config.clone();
            config.identity = Some(Secret([n as u8 + 1; 32]));
            let mut player = Endpoint::new(now, &config, crypto(n), &mut Heap).unwrap();
            player.add_relay(&entry).unwrap();
            player
        });
        Self {
            now,
            met: Met::default(),
            players: players.collect(),
            relay,
            entry,
            on_the_way: Vec::new(),
            seen: Vec::new(),
        }
    }

    pub(crate) fn wait(&mut self, time: Duration) {
        self.now += time;
    }

    /// Lets everybody bind, and introduces two of them to each other.
    pub(crate) fn settle(&mut self, dice: &Dice) {
        self.pass();
        let one = dice.below(PLAYERS) as usize;
        let other = (one + 1) % self.players.len();
        for (from, to) in [(one, other), (other, one)] {
            let (id, Some(route)) = (self.players[to].peer_id(), self.players[to].route()) else {
                continue;
            };
            let route = encoded(route);
            let from = &mut self.players[from];
            let _may_be_full = from.connect_peer(id, &route);
            for (channel, reliability) in [
                (0, Reliability::Unreliable),
                (1, Reliability::Reliable),
                (2, Reliability::ReliableUnordered),
            ] {
                let _may_mismatch = from.open_channel(id, ChannelId(channel), reliability);
                let _may_be_full = from.send_message(id, ChannelId(channel), b"hello");
            }
        }
        self.pass();
    }

    /// What a well-behaved driver does, and whole delivery.
    pub(crate) fn turn(&mut self) {
        self.deliver_all();
        self.relay.handle_timeout(self.now);
        let mut out = [0; REPLY_MAX];
        for _ in 0..100 {
            let Some(reply) = self.relay.poll_transmit(self.now, &mut out) else { break };
            self.send(RELAY.into(), reply.to, &out[..reply.len]);
        }
        for n in 0..self.players.len() {
            self.players[n].handle_timeout(self.now);
            self.drain_events(n);
            self.players[n].flush();
            for _ in 0..100 {
                if !self.poll(n, Scope::Everything, 4, 4 * 1472) {
                    break;
                }
            }
        }
    }

    /// A verb with arguments of any kind.
    pub(crate) fn verb(&mut self, dice: &Dice) {
        let who = dice.below(PLAYERS) as usize;
        let peer = self.some_peer(dice);
        let route = self.some_route(dice);
        let channel = some_channel(dice);
        let relay = self.some_relay(dice);
        let invite = self.some_invite(dice);
        let player = &mut self.players[who];
        let reliability = dice.pick([
            Reliability::Reliable,
            Reliability::ReliableUnordered,
            Reliability::Unreliable,
            Reliability::UnreliableSequenced,
        ]);
        match dice.below(16) {
            0 => ignore(player.connect_peer(peer, &route)),
            1 => ignore(player.update_peer(peer, &route)),
            2..=4 => ignore(player.open_channel(peer, channel, reliability)),
            5 => ignore(player.close_channel(peer, channel)),
            6 => ignore(player.disconnect_peer(peer)),
            7 => player.flush(),
            8 => player.set_accept_requests(dice.pick([None, Some(SECRET)]).map(InviteSecret)),
            9 => ignore(player.set_home(relay)),
            10 => player.rotate_session(),
            11 => player.network_changed(),
            12 => ignore(invite.map(|invite| player.accept_invite(&invite))),
            13 => {
                player.set_now(self.now);
                let _ = (player.peer_stats(peer), player.route(), player.home());
                assert!(player.relays().count() <= 64);
            }
            14 => {
                let addresses = [dice.address(), dice.address()];
                let key = PublicKey(dice.bytes32());
                let entry = RelayEntry::new(key, &addresses[..dice.below(3) as usize], "us");
                ignore(entry.map(|entry| player.add_relay(&entry)));
            }
            _ => {
                if dice.below(40) == 0 {
                    player.shutdown();
                }
            }
        }
    }

    /// A message of any length on any channel to anybody.
    pub(crate) fn say(&mut self, dice: &Dice) {
        let peer = self.some_peer(dice);
        let longest = if dice.below(20) == 0 { 100_000 } else { 3000 };
        let len = dice.pick([0, 1, 100, dice.below(longest)]);
        let player = &mut self.players[dice.below(PLAYERS) as usize];
        ignore(player.send_message(peer, some_channel(dice), &vec![7; len as usize]));
        if dice.below(2) == 0 {
            player.flush();
        }
    }

    /// One of the datagrams seen, changed in some way, or at another time or place.
    pub(crate) fn deliver_broken(&mut self, dice: &Dice) {
        if self.seen.is_empty() {
            return;
        }
        // Mostly a young one: the old ones are replays.
        let age = dice.pick([1, 4, 100]).min(self.seen.len() as u64);
        let at = self.seen.len() - 1 - dice.below(age) as usize;
        let (mut from, mut to, mut bytes) = self.seen[at].clone();
        for _ in 0..dice.below(5) {
            if let Some(len) = (bytes.len() as u64).checked_sub(1).filter(|len| *len > 0) {
                let at = dice.below(len) as usize;
                bytes[at] = dice.pick([dice.below(256) as u8, 0, 0xff, bytes[at] ^ 1]);
            }
        }
        match dice.below(6) {
            0 => bytes.truncate(dice.below(bytes.len() as u64 + 1) as usize),
            1 => bytes.extend(dice.bytes(64)),
            2 => from = dice.address(),
            3 => to = address(dice.below(PLAYERS)),
            _ => {}
        }
        self.deliver(from, to, &mut bytes);
    }

    /// Bytes that nobody sent, from anywhere.
    pub(crate) fn deliver_noise(&mut self, dice: &Dice) {
        let longest = dice.pick([0, 8, 40, 300, 1472, 3000]);
        let mut bytes = dice.bytes(longest);
        if let Some(kind) = bytes.first_mut() {
            *kind = dice.pick([*kind & 0x0f, 0x40 | (*kind & 3), 0x80 | (*kind & 7), *kind]);
        }
        let from = dice.pick([RELAY.into(), address(dice.below(PLAYERS)), dice.address()]);
        let to = dice.pick([RELAY.into(), address(dice.below(PLAYERS))]);
        self.deliver(from, to, &mut bytes);
    }

    /// Polls with odd buffers and counts, in no order.
    pub(crate) fn poll_oddly(&mut self, dice: &Dice) {
        let n = dice.below(PLAYERS) as usize;
        let datagrams_max = dice.pick([0, 1, 2, 64, usize::MAX]);
        let len = dice.pick([0, 1, 24, 279, 280, 1199, 1200, 1472, 65_536, dice.below(3000)]);
        let scope = dice.pick([Scope::Everything, Scope::Protocol]);
        match dice.below(4) {
            0 => ignore(self.players[n].poll_event().map(|event| format!("{event:?}"))),
            1 => {
                let _ = self.players[n].poll_timeout();
                self.players[n].handle_timeout(self.now);
            }
            _ => ignore(self.poll(n, scope, datagrams_max, len as usize)),
        }
    }

    /// What the relay's owner may do at any time.
    pub(crate) fn relay_oddly(&mut self, dice: &Dice) {
        let time = dice.pick([0, 1, 10_000_000, u64::MAX]);
        match dice.below(12) {
            11 => self.forward_oddly(dice),
            0 if dice.below(40) == 0 => self.relay.drain(self.now, Duration::from_micros(time)),
            1 if dice.below(40) == 0 => self.relay.drain(self.now, Duration::MAX),
            2..=3 => {
                let key = PublicKey([dice.below(12) as u8; 32]);
                let at = dice.pick([address(dice.below(PLAYERS)), dice.address()]);
                ignore(self.relay.insert(self.now, &key, at));
            }
            4..=6 => self.relay.handle_timeout(self.now),
            _ => {
                let _ = (self.relay.poll_timeout(), self.relay.counters());
                let mut out = [0; REPLY_MAX];
                if let Some(reply) = self.relay.poll_transmit(self.now, &mut out) {
                    self.send(RELAY.into(), reply.to, &out[..reply.len]);
                }
            }
        }
    }

    /// A forwarder over tables that are not those of its owner, and on any clock: each worker has
    /// its own.
    fn forward_oddly(&self, dice: &Dice) {
        let [hot, index] = [(); 2].map(|()| dice.below(9) as usize);
        let hot: Vec<_> = (0..hot).map(|_| HotEntry::new()).collect();
        let index: Vec<_> = (0..index).map(|_| IndexBucket::new()).collect();
        let mut forwarding = self.relay.forwarding();
        forwarding.prices = Prices::from_words([(); Prices::WORDS].map(|()| dice.word()));
        let tables = Tables { hot: &hot, index: &index };
        let forwarders = [Forwarder::new(tables, forwarding), self.relay.forwarder()];
        let mut counters = Counters::default();
        for (_, _, bytes) in self.seen.iter().rev().take(4) {
            let now = Instant::from_micros(dice.extreme());
            let from = dice.pick([address(dice.below(PLAYERS)), dice.address()]);
            counters.count(dice.pick(forwarders).forward(now, from, bytes), bytes.len());
        }
        assert!(counters.dropped() + counters.control + counters.forwarded <= 4);
    }

    /// A second in which all goes well.
    fn pass(&mut self) {
        for _ in 0..50 {
            self.turn();
            self.wait(Duration::from_millis(20));
        }
    }

    fn poll(&mut self, n: usize, scope: Scope, datagrams_max: usize, len: usize) -> bool {
        let mut out = vec![0; len];
        let Some(transmit) =
            self.players[n].poll_transmit(self.now, scope, datagrams_max, &mut out)
        else {
            return false;
        };
        assert!(0 < transmit.len && transmit.len <= len, "{transmit:?}");
        let size = transmit.segment_size.unwrap_or(transmit.len);
        let datagrams = out[..transmit.len].chunks(size);
        assert!(datagrams.len() <= datagrams_max.max(1), "{transmit:?}");
        for datagram in datagrams {
            assert!(datagram.len() <= 1472, "{transmit:?}");
            self.send(address(n as u64), transmit.to, datagram);
        }
        true
    }

    fn deliver_all(&mut self) {
        for (from, to, mut bytes) in core::mem::take(&mut self.on_the_way) {
            self.deliver(from, to, &mut bytes);
        }
    }

    fn drain_events(&mut self, n: usize) {
        for _ in 0..1000 {
            match self.players[n].poll_event() {
                Some(Event::PeerConnected { .. }) => self.met.connected += 1,
                Some(Event::PeerDisconnected { .. }) => self.met.lost += 1,
                Some(Event::Message { .. }) => self.met.messages += 1,
                Some(_) => {}
                None => return,
            }
        }
        panic!("more events than there can be");
    }

    fn send(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let datagram = (from, to, bytes.to_vec());
        if self.seen.len() == SEEN_MAX {
            self.seen.drain(..SEEN_MAX / 2);
        }
        self.seen.push(datagram.clone());
        self.on_the_way.push(datagram);
    }

    fn deliver(&mut self, from: SocketAddr, to: SocketAddr, bytes: &mut [u8]) {
        if to != RELAY.into() {
            if let Some(n) = (0..PLAYERS).find(|&n| address(n) == to) {
                let taken = self.players[n as usize].handle_datagram(self.now, from, bytes);
                self.met.refused += u64::from(taken.is_err());
            }
            return;
        }
        match self.relay.forwarder().forward(self.now, from, bytes) {
            Verdict::Forward { to } => {
                self.met.forwarded += 1;
                self.send(RELAY.into(), to, bytes);
            }
            Verdict::Drop(_) => self.met.refused += 1,
            Verdict::Control | Verdict::Unbound => {
                let mut out = [0; REPLY_MAX];
                if let Some(reply) = self.relay.handle(self.now, from, bytes, &mut out) {
                    self.send(RELAY.into(), reply.to, &out[..reply.len]);
                }
            }
        }
    }

    fn some_peer(&self, dice: &Dice) -> PeerId {
        match dice.below(8) {
            0 => PeerId::new(1 + dice.below(100)).unwrap(),
            _ => self.players[dice.below(PLAYERS) as usize].peer_id(),
        }
    }

    fn some_relay(&self, dice: &Dice) -> RelayId {
        let known = self.players[0].home().unwrap_or(RelayId(0));
        dice.pick([known, RelayId(dice.below(256))])
    }

    /// A true route, perhaps broken, or no route at all.
    fn some_route(&self, dice: &Dice) -> Vec<u8> {
        let route = self.players[dice.below(PLAYERS) as usize].route();
        let mut bytes = match (route, dice.below(8)) {
            (Some(route), 0) => route.to_string().into_bytes(),
            (Some(route), 1..7) => encoded(route),
            _ => dice.bytes(400),
        };
        if dice.below(2) == 0 && !bytes.is_empty() {
            let at = dice.below(bytes.len() as u64) as usize;
            bytes[at] = dice.below(256) as u8;
        }
        bytes
    }

    fn some_invite(&self, dice: &Dice) -> Option<Invite> {
        let route = self.players[dice.below(PLAYERS) as usize].route()?.clone();
        Invite::new(core::slice::from_ref(&self.entry), InviteSecret(SECRET), route).ok()
    }
}

impl AddAssign for Met {
    fn add_assign(&mut self, other: Self) {
        self.connected += other.connected;
        self.messages += other.messages;
        self.lost += other.lost;
        self.forwarded += other.forwarded;
        self.refused += other.refused;
    }
}

/// The source of every choice: SplitMix64.
pub(crate) struct Dice(Cell<u64>);

impl Dice {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(Cell::new(seed))
    }

    /// 0 to `end` − 1.
    pub(crate) fn below(&self, end: u64) -> u64 {
        self.0.set(self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15));
        let mut z = self.0.get();
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end.max(1)
    }

    #[expect(clippy::needless_pass_by_value, reason = "its callers write the choices down there")]
    pub(crate) fn pick<T: Clone, const N: usize>(&self, from: [T; N]) -> T {
        from[self.below(N as u64) as usize].clone()
    }

    /// At most `longest` of them.
    fn bytes(&self, longest: u64) -> Vec<u8> {
        (0..self.below(longest + 1)).map(|_| self.below(256) as u8).collect()
    }

    fn bytes32(&self) -> [u8; 32] {
        core::array::from_fn(|_| self.below(256) as u8)
    }

    /// Somewhere in `bytes`, if there is anywhere.
    fn place(&self, bytes: &[u8]) -> Option<usize> {
        (!bytes.is_empty()).then(|| self.below(bytes.len() as u64) as usize)
    }

    /// Mostly one at an end of the range, or beside a power of two.
    fn extreme(&self) -> u64 {
        let power = 1 << self.below(64);
        let any = self.below(u64::MAX) >> self.below(64);
        self.pick([0, 1, u64::MAX, u64::MAX - 1, power, power - 1, power + 1, any, any])
    }

    fn word(&self) -> u32 {
        let power = 1 << self.below(32);
        let any = (self.below(1 << 32) >> self.below(32)) as u32;
        self.pick([0, 1, u32::MAX, u32::MAX - 1, power, power - 1, any, any])
    }

    fn duration(&self) -> Duration {
        let some = Duration::from_micros(self.extreme());
        self.pick([some, some, Duration::ZERO, Duration::MAX, Duration::from_millis(20)])
    }

    /// Of either family, sometimes a senseless one.
    fn address(&self) -> SocketAddr {
        let ip = self.below(1 << 32) as u32;
        let port = self.pick([0, 1, 4433, u16::MAX]);
        if self.below(2) == 0 {
            (self.pick([ip, 0, u32::MAX]).to_be_bytes(), port).into()
        } else {
            (u128::from(ip).to_be_bytes(), port).into()
        }
    }
}

type Memory = RelayMemory<Box<[HotEntry]>, Box<[IndexBucket]>, Box<[Session]>, Box<[Pending]>>;

/// From, to, bytes.
type Datagram = (SocketAddr, SocketAddr, Vec<u8>);

/// Every answer is as good as any other.
fn ignore<T>(_: T) {}

fn encoded(route: &Route) -> Vec<u8> {
    let mut bytes = vec![0; route.encoded_len()];
    route.encode(&mut bytes).unwrap();
    bytes
}

/// Mostly one of those that are open.
fn some_channel(dice: &Dice) -> ChannelId {
    ChannelId(dice.pick([0, 1, dice.below(5) as u8, dice.below(256) as u8]))
}

fn address(player: u64) -> SocketAddr {
    ([198, 51, 100, player as u8 + 1], 1000).into()
}

const PLAYERS: u64 = 3;
const RELAY: ([u8; 4], u16) = ([192, 0, 2, 1], 4433);
const SECRET: [u8; 16] = [5; 16];
const SEEN_MAX: usize = 400;
