//! One relay of a world: core's control and forwarder, without a socket.

use core::net::SocketAddr;

use waylane_core::crypto::Crypto as _;
use waylane_core::crypto::Secret;
use waylane_core::directory::RelayEntry;
use waylane_core::fleet::SignedDirectory;
use waylane_core::id::{PublicKey, RelayId};
use waylane_core::relay::{
    Control, ControlCounters, Counters, HotEntry, IndexBucket, Pending, REPLY_MAX, RelayConfig,
    RelayLimits, RelayMemory, Session, Verdict,
};
use waylane_core::time::Instant;

use crate::crypto::SeededCrypto;
use crate::player::Family;
use crate::random::Random;

/// A relay as the world keeps it.
pub struct Relay {
    secret: Secret,
    public_key: PublicKey,
    addresses: [SocketAddr; 2],
    random: Random,
    config: RelayConfig,
    /// `None` while the relay's program does not run.
    control: Option<Control<SeededCrypto, Memory>>,
    /// The signed list that clients are given.
    list: Vec<u8>,
    forwarded: Counters,
    plan: u64,
    planned_at: Instant,
}

/// What a relay has counted since its start.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct RelayCounters {
    /// The data path.
    pub forwarder: Counters,
    /// The owner of the sessions.
    pub control: ControlCounters,
}

impl Relay {
    pub(crate) fn new(
        secret: Secret,
        addresses: [SocketAddr; 2],
        random: Random,
        now: Instant,
        change: impl FnOnce(&mut RelayConfig),
    ) -> Self {
        let mut config = RelayConfig {
            limits: RelayLimits { sessions: 256, pending: 64 },
            unix_seconds_at_start: UNIX_START,
            ..RelayConfig::default()
        };
        change(&mut config);
        let mut relay = Self {
            public_key: SeededCrypto::x25519_public(&secret),
            secret,
            addresses,
            random,
            config,
            control: None,
            list: Vec::new(),
            forwarded: Counters::default(),
            plan: 0,
            planned_at: Instant::FAR,
        };
        relay.start(now);
        relay
    }

    /// The relay's id.
    #[must_use]
    pub fn id(&self) -> RelayId {
        RelayId::from_key_hash(&SeededCrypto::sha256(&[&self.public_key.0]))
    }

    /// The relay's entry in the directory of a player with this kind of address.
    ///
    /// # Panics
    /// Never: the entry is a good one.
    #[must_use]
    pub fn entry(&self, family: Family) -> RelayEntry {
        let address = self.addresses[usize::from(family == Family::V6)];
        RelayEntry::new(self.public_key, &[address], "sim").expect("a good entry")
    }

    /// The relay's entry with both its addresses, the one of this kind first.
    ///
    /// # Panics
    /// Never: the entry is a good one.
    #[must_use]
    pub fn entry_with_both(&self, first: Family) -> RelayEntry {
        let mut addresses = self.addresses;
        if first == Family::V6 {
            addresses.reverse();
        }
        RelayEntry::new(self.public_key, &addresses, "sim").expect("a good entry")
    }

    /// Whether the relay's program runs.
    #[must_use]
    pub const fn is_running(&self) -> bool {
        self.control.is_some()
    }

    /// Where the relay is for whoever is at `other`.
    #[must_use]
    pub const fn address_for(&self, other: SocketAddr) -> SocketAddr {
        self.addresses[if other.is_ipv4() { 0 } else { 1 }]
    }

    pub(crate) fn is_at(&self, address: SocketAddr) -> bool {
        self.addresses.contains(&address)
    }

    pub(crate) fn counters(&self) -> RelayCounters {
        let control = self.control.as_ref().map(Control::counters).unwrap_or_default();
        RelayCounters { forwarder: self.forwarded, control }
    }

    pub(crate) fn start(&mut self, now: Instant) {
        let crypto = SeededCrypto::new(self.random.fork());
        let mut config = self.config;
        config.unix_seconds_at_start += now.as_millis() / 1000;
        let control =
            Control::new(now, &config, self.secret.clone(), crypto, memory(config.limits));
        self.control = Some(control.expect("a good configuration"));
        self.serve_directory(self.list.clone());
        self.forwarded = Counters::default();
    }

    /// Gives clients this signed list from now on, whoever signed it.
    pub(crate) fn serve_directory(&mut self, list: Vec<u8>) {
        self.list = list;
        if let Some(control) = &mut self.control {
            control.set_directory(SignedDirectory::parse(&self.list).ok().as_ref());
        }
    }

    pub(crate) fn stop(&mut self) {
        self.control = None;
        self.planned_at = Instant::FAR;
        self.plan += 1;
    }

    /// Tells everybody that the relay stops.
    pub(crate) fn drain(
        &mut self,
        now: Instant,
        left: core::time::Duration,
    ) -> Vec<(SocketAddr, Vec<u8>)> {
        if let Some(control) = &mut self.control {
            control.drain(now, left);
        }
        self.pending_sends(now)
    }

    /// What leaves because `bytes` came from `from`: the datagram itself, or at most one answer,
    /// never longer than what came.
    pub(crate) fn receive(
        &mut self,
        now: Instant,
        from: SocketAddr,
        mut bytes: Vec<u8>,
    ) -> Vec<(SocketAddr, Vec<u8>)> {
        let Some(control) = &mut self.control else { return Vec::new() };
        let verdict = control.forwarder().forward(now, from, &bytes);
        self.forwarded.count(verdict, bytes.len());
        let mut sent = Vec::new();
        match verdict {
            Verdict::Forward { to } => sent.push((to, bytes)),
            Verdict::Control | Verdict::Unbound => {
                let length = bytes.len();
                let mut out = [0; REPLY_MAX];
                if let Some(reply) = control.handle(now, from, &mut bytes, &mut out) {
                    assert!(reply.len <= length, "a reply of {} bytes to {length}", reply.len);
                    assert_eq!(reply.to, from, "a relay answers who asked");
                    sent.push((reply.to, out[..reply.len].to_vec()));
                }
                sent.extend(self.pending_sends(now));
            }
            Verdict::Drop(_) => {}
        }
        sent
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Vec<(SocketAddr, Vec<u8>)> {
        self.planned_at = Instant::FAR;
        if let Some(control) = &mut self.control {
            control.handle_timeout(now);
        }
        self.pending_sends(now)
    }

    pub(crate) const fn plan(&self) -> u64 {
        self.plan
    }

    /// When to call [`Relay::handle_timeout`], and under which plan, if that is not planned yet.
    pub(crate) fn next_wake(&mut self, now: Instant) -> Option<(Instant, u64)> {
        let at = self.control.as_ref()?.poll_timeout();
        let at = if at == Instant::FAR { at } else { at.max(now) };
        if at == self.planned_at {
            return None;
        }
        self.planned_at = at;
        self.plan += 1;
        (at != Instant::FAR).then_some((at, self.plan))
    }

    fn pending_sends(&mut self, now: Instant) -> Vec<(SocketAddr, Vec<u8>)> {
        let mut sent = Vec::new();
        let mut out = [0; REPLY_MAX];
        if let Some(control) = &mut self.control {
            while let Some(reply) = control.poll_transmit(now, &mut out) {
                sent.push((reply.to, out[..reply.len].to_vec()));
            }
        }
        sent
    }
}

type Memory = RelayMemory<Box<[HotEntry]>, Box<[IndexBucket]>, Box<[Session]>, Box<[Pending]>>;

fn memory(limits: RelayLimits) -> Memory {
    let sessions = limits.sessions as usize;
    RelayMemory {
        hot: (0..limits.hot_entries()).map(|_| HotEntry::new()).collect(),
        index: (0..limits.index_buckets()).map(|_| IndexBucket::new()).collect(),
        sessions: (0..sessions).map(|_| Session::new()).collect(),
        pending: (0..limits.pending).map(|_| Pending::new()).collect(),
    }
}

/// The wall clock at the world's start: in November 2023.
const UNIX_START: u64 = 1_700_000_000;
