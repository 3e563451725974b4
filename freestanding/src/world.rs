//! The two players, the relay, and the link between them, in virtual time.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;

use waylane_core::channel::{ChannelLimits, Scope};
use waylane_core::crypto::{Crypto as _, Secret};
use waylane_core::directory::RelayEntry;
use waylane_core::endpoint::{Config, Endpoint};
use waylane_core::limits::Limits;
use waylane_core::memory::Lender as _;
use waylane_core::pool::Quota;
use waylane_core::relay::{
    Control, HotEntry, IndexBucket, Pending, REPLY_MAX, RelayConfig, RelayLimits, RelayMemory,
    Session, Verdict,
};
use waylane_core::time::Instant;
use waylane_crypto::Seeded;
use waylane_crypto::pure::Pure;

use crate::arena::{Arena, Lent};
use crate::platform::println;

/// The provider: pure Rust, and randomness from a seed. A product takes its randomness from the
/// chip's generator by an implementation of `waylane_crypto::Random`.
type Provider = Pure<Seeded>;

/// A player's endpoint in static memory.
pub(crate) type Player = Endpoint<Provider, Arena>;

type Relay =
    Control<Provider, RelayMemory<Lent<HotEntry>, Lent<IndexBucket>, Lent<Session>, Lent<Pending>>>;

/// Everything there is.
pub(crate) struct World {
    /// The clock. A product reads a timer.
    pub(crate) now: Instant,
    pub(crate) players: [Player; 2],
    /// Datagrams that reached the relay, and how many of them the link lost afterwards.
    pub(crate) carried: u32,
    pub(crate) lost: u32,
    /// Whether the link loses datagrams.
    pub(crate) lossy: bool,
    relay: Relay,
}

impl World {
    /// Both players know the relay; nothing has been sent.
    pub(crate) fn new(arena: &mut Arena) -> Result<Self, &'static str> {
        let now = Instant::ZERO;
        let before = arena.left();
        let relay = relay(now, arena)?;
        say("relay", before - arena.left(), size_of::<Relay>());
        let entry = RelayEntry::new(*relay.public_key(), &[RELAY_ADDRESS], "");
        let entry = entry.map_err(|_| "the directory's entry")?;
        let before = arena.left();
        let mut player = |seed| {
            let mut config = Config::default();
            config.limits = LIMITS;
            let crypto = Provider::with_random(Seeded::new(seed));
            let mut player =
                Endpoint::new(now, &config, crypto, arena).map_err(|_| "the limits")?;
            player.add_relay(&entry).map_err(|_| "the directory")?;
            Ok(player)
        };
        let players = [player(1)?, player(2)?];
        say("two players", before - arena.left(), 2 * size_of::<Player>());
        Ok(Self { now, players, carried: 0, lost: 0, lossy: false, relay })
    }

    /// Moves datagrams until everybody waits for time to pass, then lets it pass up to the next
    /// deadline, at most to `until`.
    pub(crate) fn step(&mut self, until: Instant) {
        while self.carry() {}
        let deadlines = self.players.iter().filter_map(Player::poll_timeout).map(|(at, _)| at);
        let next = deadlines.chain([self.relay.poll_timeout(), until]).min().unwrap_or(until);
        // A deadline that is due already must still let the clock move.
        self.now = next.clamp(self.now + Duration::from_micros(1), until);
        for player in &mut self.players {
            player.handle_timeout(self.now);
        }
        self.relay.handle_timeout(self.now);
    }

    /// One turn of everybody's sending; answers whether anything was sent.
    fn carry(&mut self) -> bool {
        let mut bytes = [0; DATAGRAM_LEN];
        let mut any = false;
        for (index, from) in PLAYER_ADDRESSES.into_iter().enumerate() {
            let sent =
                self.players[index].poll_transmit(self.now, Scope::Everything, 1, &mut bytes);
            if let Some(transmit) = sent {
                any = true;
                self.at_relay(from, &mut bytes[..transmit.len]);
            }
        }
        let mut out = [0; REPLY_MAX];
        while let Some(reply) = self.relay.poll_transmit(self.now, &mut out) {
            any = true;
            self.at_player(reply.to, &mut out[..reply.len]);
        }
        any
    }

    /// What a relay does with a datagram: send it on unchanged, or look at it itself.
    fn at_relay(&mut self, from: SocketAddr, bytes: &mut [u8]) {
        match self.relay.forwarder().forward(self.now, from, bytes) {
            Verdict::Forward { to } => {
                self.carried += 1;
                if self.lossy && self.carried.is_multiple_of(7) {
                    self.lost += 1;
                } else {
                    self.at_player(to, bytes);
                }
            }
            Verdict::Control | Verdict::Unbound => {
                let mut out = [0; REPLY_MAX];
                if let Some(reply) = self.relay.handle(self.now, from, bytes, &mut out) {
                    self.at_player(reply.to, &mut out[..reply.len]);
                }
            }
            Verdict::Drop(_) => {}
        }
    }

    fn at_player(&mut self, to: SocketAddr, bytes: &mut [u8]) {
        let mut players = self.players.iter_mut().zip(PLAYER_ADDRESSES);
        if let Some((player, _)) = players.find(|(_, address)| *address == to) {
            // A refusal is counted by the endpoint, not a failure.
            player.handle_datagram(self.now, RELAY_ADDRESS, bytes).ok();
        }
    }
}

/// What memory is used for.
fn say(what: &str, lent: usize, itself: usize) {
    println!("{what}: {lent} bytes lent, {itself} bytes in itself");
}

fn relay(now: Instant, arena: &mut Arena) -> Result<Relay, &'static str> {
    let limits = RelayLimits { sessions: 32, pending: 4 };
    let sessions = limits.sessions as usize;
    let memory = RelayMemory {
        hot: arena.lend(limits.hot_entries(), HotEntry::new),
        index: arena.lend(limits.index_buckets(), IndexBucket::new),
        sessions: arena.lend(sessions, Session::new),
        pending: arena.lend(limits.pending as usize, Pending::new),
    };
    let mut crypto = Provider::with_random(Seeded::new(3));
    let mut secret = Secret::default();
    crypto.random(&mut secret.0);
    let config = RelayConfig { limits, ..RelayConfig::default() };
    Control::new(now, &config, secret, crypto, memory).map_err(|_| "the relay's limits")
}

/// Two peers, messages up to 4 KiB, and buffers for a few of them.
pub(crate) const LIMITS: Limits = {
    let mut limits = Limits::for_peers(2);
    limits.relays = 2;
    limits.requests = 2;
    limits.sent_packets = 64;
    limits.channels = ChannelLimits {
        message_reliable_max: 4096,
        message_unreliable_max: 1024,
        send_blocks: Quota { guaranteed: 16, shared: 8, peer_max: 24 },
        receive_blocks: Quota { guaranteed: 8, shared: 16, peer_max: 24 },
        sent_nodes: Quota { guaranteed: 32, shared: 64, peer_max: 96 },
        range_nodes: Quota { guaranteed: 16, shared: 16, peer_max: 32 },
        slots: Quota { guaranteed: 2, shared: 2, peer_max: 4 },
        window_initial: 4,
        window_max: 16,
        ..limits.channels
    };
    limits
};

const RELAY_ADDRESS: SocketAddr = address(1);
const PLAYER_ADDRESSES: [SocketAddr; 2] = [address(2), address(3)];
const DATAGRAM_LEN: usize = 1472;

/// An address of the network kept for documentation (RFC 5737).
const fn address(host: u8) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, host)), 27_960)
}
