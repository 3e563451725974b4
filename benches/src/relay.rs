//! A relay with many sessions.

use core::net::SocketAddr;

use waylane_core::crypto::Secret;
use waylane_core::id::{PublicKey, SessionId};
use waylane_core::relay::{
    Control, Forwarder, HotEntry, IndexBucket, Pending, RelayConfig, RelayMemory, Session,
};
use waylane_core::time::Instant;
use waylane_crypto::Seeded;
use waylane_crypto::pure::Pure;

use crate::Heap;
use waylane_core::memory::Lender as _;

/// A relay's memory from the heap.
pub type Memory = RelayMemory<Box<[HotEntry]>, Box<[IndexBucket]>, Box<[Session]>, Box<[Pending]>>;

/// A relay with as many sessions as were asked for, and a datagram from each to another.
pub struct Sessions {
    control: Control<Pure<Seeded>, Memory>,
    /// In no order that caches like.
    datagrams: Vec<(SocketAddr, Vec<u8>)>,
}

impl Sessions {
    /// Inserts `count` sessions and prepares datagrams of `len` bytes between some of them.
    ///
    /// # Panics
    /// If the relay takes fewer.
    #[must_use]
    pub fn new(count: u32, len: usize) -> Self {
        let mut config = RelayConfig::default();
        // A table seven eighths full, as one that is sized well.
        config.limits.sessions = count + count / 7;
        let mut control = Control::new(
            Instant::ZERO,
            &config,
            Secret([9; 32]),
            Pure::with_random(Seeded::new(1)),
            memory(&config),
        )
        .expect("the limits are in range");
        let sessions: Vec<SessionId> = (0..count)
            .map(|n| {
                let inserted = control.insert(Instant::ZERO, &key(n), address(n));
                inserted.expect("the table has room")
            })
            .collect();
        let datagrams = (0..DATAGRAMS)
            .map(|n| {
                let from = scatter(n, count);
                let to = sessions[scatter(n + DATAGRAMS, count) as usize];
                (address(from), datagram(to, len))
            })
            .collect();
        Self { control, datagrams }
    }

    /// The relay's forwarder.
    #[must_use]
    pub fn forwarder(&self) -> Forwarder<'_> {
        self.control.forwarder()
    }

    /// Who sends what.
    #[must_use]
    pub fn datagrams(&self) -> &[(SocketAddr, Vec<u8>)] {
        &self.datagrams
    }
}

/// Memory for a relay of this configuration.
#[must_use]
pub fn memory(config: &RelayConfig) -> Memory {
    let sessions = config.limits.sessions as usize;
    RelayMemory {
        hot: Heap.lend(config.limits.hot_entries(), HotEntry::new),
        index: Heap.lend(config.limits.index_buckets(), IndexBucket::new),
        sessions: Heap.lend(sessions, Session::new),
        pending: Heap.lend(config.limits.pending as usize, Pending::new),
    }
}

/// A data datagram, as far as a relay looks.
fn datagram(to: SessionId, len: usize) -> Vec<u8> {
    let mut datagram = vec![0x80; len];
    datagram[1..8].copy_from_slice(&to.to_bytes());
    datagram
}

fn key(n: u32) -> PublicKey {
    let mut key = [1; 32];
    key[..4].copy_from_slice(&n.to_le_bytes());
    PublicKey(key)
}

/// One of 10.0.0.0/8.
fn address(n: u32) -> SocketAddr {
    let [_, a, b, c] = n.to_be_bytes();
    SocketAddr::from(([10, a, b, c], 27_960))
}

/// Some number below `count`; another one for every `n`, far from the last.
fn scatter(n: u32, count: u32) -> u32 {
    (u64::from(n) * 2_654_435_761 % u64::from(count)) as u32
}

/// So many that a million sessions are not all in the cache because they were used a moment ago;
/// as many for few sessions, so that reading the datagrams themselves costs the same.
const DATAGRAMS: u32 = 1 << 17;
