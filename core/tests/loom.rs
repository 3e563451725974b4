//! The relay's shared tables in every order in which threads can run: `cargo xtask ci loom`.
//!
//! The owner makes, moves, ends and reuses sessions while forwarders look them up. Whatever a
//! forwarder sees, it forwards under a session id only to an address that this session had.
//!
//! Each model fails when the code is weakened; tried by hand were:
//! - `HotEntry::live` without its second look, its fence, or `Acquire` on its first load, or with
//!   an odd sequence number taken for even; `HotEntry::write` without its fence, without the odd
//!   number, or with a relaxed last store: the moving session and the reused slot fail.
//! - `HotEntry::retire` that does nothing: the reused slot fails.
//! - `AddressIndex::find` that trusts its fingerprint and does not compare the hot entry's address:
//!   the sender fails.
//! - `HotEntry::charge` that does not store the packets left: the racing workers fail.
//!
//! None failed when `HotEntry::publish` stored the tag outside the sequence lock.
#![cfg(loom)]
// Helpers here are parts of tests too; the lint knows only functions marked as such.
#![allow(clippy::unwrap_used)]

use core::net::SocketAddr;
use core::time::Duration;
use std::sync::Arc;

use loom::thread;
use waylane_core::crypto::{Crypto, OpenError, Secret, Suite, Suites};
use waylane_core::id::{PublicKey, SessionId};
use waylane_core::relay::{
    Budget, Control, DropReason, Forwarder, Forwarding, HotEntry, IndexBucket, Pending, REPLY_MAX,
    RelayConfig, RelayLimits, RelayMemory, Session, Tables, Verdict,
};
use waylane_core::time::Instant;

#[test]
fn a_moving_session_is_met_at_its_old_or_new_address() {
    explore(|| {
        let mut world = World::new(Budget::default());
        let sender = world.insert(SENDER, address(SENDER));
        let session = world.insert(PLAYER, address(PLAYER));
        let reader = world.reader();
        let forwarder = thread::spawn(move || {
            let verdict = reader.forward(address(SENDER), session);
            assert!(
                [address(PLAYER), elsewhere(PLAYER)].map(forward).contains(&verdict)
                    || verdict == NOBODY_THERE,
                "{verdict:?}"
            );
        });
        assert_eq!(world.insert(PLAYER, elsewhere(PLAYER)), session);
        forwarder.join().unwrap();
        assert_eq!(world.reader().forward(address(SENDER), session), forward(elsewhere(PLAYER)));
        assert_eq!(world.reader().forward(elsewhere(PLAYER), sender), forward(address(SENDER)));
        assert_eq!(world.reader().forward(address(PLAYER), sender), Verdict::Unbound);
    });
}

#[test]
fn a_sender_is_known_as_itself_or_not_at_all() {
    explore(|| {
        let mut world = World::new(Budget::default());
        let other = world.insert(SENDER, address(SENDER));
        let session = world.insert(PLAYER, address(PLAYER));
        let reader = world.reader();
        let forwarder = thread::spawn(move || {
            // The latecomer takes the place in the index that the player leaves.
            let verdict = reader.forward(address(LATECOMER), session);
            let met = [forward(elsewhere(PLAYER)), NOBODY_THERE, Verdict::Unbound];
            assert!(met.contains(&verdict), "{verdict:?}");
        });
        world.insert(PLAYER, elsewhere(PLAYER));
        let latecomer = world.insert(LATECOMER, address(LATECOMER));
        forwarder.join().unwrap();
        assert_eq!(world.reader().forward(address(PLAYER), other), Verdict::Unbound);
        assert_eq!(world.reader().forward(address(LATECOMER), latecomer), TO_ITSELF);
    });
}

#[test]
fn a_reused_slot_is_never_forwarded_to_under_its_old_tag() {
    explore(|| {
        let mut world = World::new(Budget::default());
        // The one that will be silent for longest, then everybody else, so that no slot is free.
        let old = world.insert(PLAYER, address(PLAYER));
        world.now += Duration::from_secs(1);
        for n in (0..SESSIONS as u8 - 1).map(|n| SENDER + n) {
            world.insert(n, address(n));
        }
        let reader = world.reader();
        let next = SessionId::new(old.slot(), tag(NEWCOMER));
        let forwarder = thread::spawn(move || {
            let verdict = reader.forward(address(SENDER), old);
            assert!([forward(address(PLAYER)), NOBODY_THERE].contains(&verdict), "{verdict:?}");
            let verdict = reader.forward(address(SENDER), next);
            assert!([forward(address(NEWCOMER)), NOBODY_THERE].contains(&verdict), "{verdict:?}");
        });
        world.end_the_silent();
        assert_eq!(world.insert(NEWCOMER, address(NEWCOMER)), next);
        forwarder.join().unwrap();
        assert_eq!(world.reader().forward(address(SENDER), old), NOBODY_THERE);
        assert_eq!(world.reader().forward(address(SENDER), next), forward(address(NEWCOMER)));
    });
}

#[test]
fn racing_workers_spend_no_more_than_a_burst_each() {
    explore(|| {
        // One packet a burst.
        let budget = Budget { packets_per_second: 1000, bytes_per_second: 12_000_000, burst_ms: 1 };
        let mut world = World::new(budget);
        world.insert(SENDER, address(SENDER));
        let session = world.insert(PLAYER, address(PLAYER));
        let spend = move |reader: &Reader| {
            let verdicts = [(); 2].map(|()| reader.forward(address(SENDER), session));
            assert_eq!(verdicts[1], Verdict::Drop(DropReason::OverBudget), "one worker, one burst");
            usize::from(verdicts[0] == forward(address(PLAYER)))
        };
        let reader = world.reader();
        let other = thread::spawn(move || spend(&reader));
        let sent = spend(&world.reader()) + other.join().unwrap();
        assert!((1..=2).contains(&sent), "{sent} packets");
        assert_eq!(spend(&world.reader()), 0, "nothing is left");
    });
}

/// Runs `model` in every order with at most [`PREEMPTIONS`].
fn explore(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS);
    builder.max_branches = 100_000;
    // The largest model has more orders than CI has time for: it looks at those that it gets to.
    builder.max_duration = Some(Duration::from_secs(20));
    let model = std::sync::Arc::new(model);
    builder.check(move || {
        let model = std::sync::Arc::clone(&model);
        // The model's own thread has 32 KiB of stack, too little for an owner of sessions.
        let roomy = thread::Builder::new().stack_size(STACK_WORDS);
        roomy.spawn(move || model()).unwrap().join().unwrap();
    });
}

fn address(n: u8) -> SocketAddr {
    SocketAddr::from(([n, n, n, n], u16::from_be_bytes([n, n])))
}

/// Where `n` moves to: no word of it is one of another address.
fn elsewhere(n: u8) -> SocketAddr {
    SocketAddr::from(([!n; 16], u16::from_be_bytes([!n, !n])))
}

const fn forward(to: SocketAddr) -> Verdict {
    Verdict::Forward { to }
}

/// The tag that [`Mirror`] leads to.
const fn tag(n: u8) -> u32 {
    u32::from_le_bytes([n; 4])
}

const TO_ITSELF: Verdict = Verdict::Drop(DropReason::ToItself);
const NOBODY_THERE: Verdict = Verdict::Drop(DropReason::NoDestination);

/// 256 KiB on machines of 64 bits.
const STACK_WORDS: usize = 0x8000;

/// Switches between threads that no thread asked for: what a torn read needs is one, and one more
/// to be seen.
const PREEMPTIONS: usize = 2;

const PLAYER: u8 = 1;
const NEWCOMER: u8 = 2;
/// One whose address hashes to where [`PLAYER`]'s does.
const LATECOMER: u8 = 12;
/// The first of those who stay.
const SENDER: u8 = 3;

/// The fewest that a relay can have.
const SESSIONS: u32 = 8;

type Memory = RelayMemory<Arc<[HotEntry]>, Arc<[IndexBucket]>, Box<[Session]>, Box<[Pending]>>;

/// The owner.
struct World {
    now: Instant,
    control: Control<Mirror, Memory>,
    hot: Arc<[HotEntry]>,
    index: Arc<[IndexBucket]>,
}

impl World {
    fn new(budget: Budget) -> Self {
        let limits = RelayLimits { sessions: SESSIONS, pending: 2 };
        let hot: Arc<[_]> = (0..limits.hot_entries()).map(|_| HotEntry::new()).collect();
        let index: Arc<[_]> = (0..limits.index_buckets()).map(|_| IndexBucket::new()).collect();
        let memory = Memory {
            hot: hot.clone(),
            index: index.clone(),
            sessions: (0..SESSIONS).map(|_| Session::new()).collect(),
            pending: (0..limits.pending).map(|_| Pending::new()).collect(),
        };
        let config = RelayConfig { limits, budget, ..RelayConfig::default() };
        let now = Instant::ZERO;
        let control = Control::new(now, &config, Secret([9; 32]), Mirror, memory).unwrap();
        Self { now, control, hot, index }
    }

    /// Makes the session of `n` live at `at`, or moves it there.
    fn insert(&mut self, n: u8, at: SocketAddr) -> SessionId {
        let session = self.control.insert(self.now, &PublicKey([n; 32]), at).unwrap();
        assert_eq!(session.tag(), tag(n));
        session
    }

    /// Passes the first session's lifetime, and frees its slot.
    fn end_the_silent(&mut self) {
        self.now = self.control.poll_timeout();
        self.control.handle_timeout(self.now);
        while self.control.poll_transmit(self.now, &mut [0; REPLY_MAX]).is_some() {}
    }

    fn reader(&self) -> Reader {
        let forwarding = self.control.forwarding();
        Reader { now: self.now, hot: self.hot.clone(), index: self.index.clone(), forwarding }
    }
}

/// A worker.
struct Reader {
    now: Instant,
    hot: Arc<[HotEntry]>,
    index: Arc<[IndexBucket]>,
    forwarding: Forwarding,
}

impl Reader {
    fn forward(&self, from: SocketAddr, to: SessionId) -> Verdict {
        let mut datagram = [0; 100];
        datagram[0] = 0x80;
        datagram[1..8].copy_from_slice(&to.to_bytes());
        let tables = Tables { hot: &self.hot, index: &self.index };
        Forwarder::new(tables, self.forwarding).forward(self.now, from, &datagram)
    }
}

/// No cryptography: a hash is its last input's last byte, so that tests know every tag.
struct Mirror;

impl Crypto for Mirror {
    type SealKey = ();
    type OpenKey = ();

    fn random(&mut self, out: &mut [u8]) {
        out.fill(7);
    }

    fn suites(&self) -> Suites {
        Suites::ALL
    }

    fn sha256(parts: &[&[u8]]) -> [u8; 32] {
        [*parts.last().and_then(|part| part.last()).unwrap_or(&0); 32]
    }

    fn hmac_sha256(_: &[u8], parts: &[&[u8]]) -> [u8; 32] {
        Self::sha256(parts)
    }

    fn x25519_public(secret: &Secret) -> PublicKey {
        PublicKey(secret.0)
    }

    fn x25519(_: &Secret, public: &PublicKey) -> Option<Secret> {
        Some(Secret(public.0))
    }

    fn ed25519_verify(_: &[u8; 32], _: &[u8], _: &[u8; 64]) -> bool {
        false
    }

    fn seal_key(_: Suite, _: &Secret) {}

    fn open_key(_: Suite, _: &Secret) {}

    fn seal((): &(), _: u64, _: &[u8], _: &mut [u8]) {}

    fn open((): &(), _: u64, _: &[u8], _: &mut [u8]) -> Result<(), OpenError> {
        Ok(())
    }
}
