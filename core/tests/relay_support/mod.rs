//! A relay in virtual time.
#![allow(dead_code, unused_imports, reason = "not every test that includes it uses all of it")]

mod client;

use core::net::SocketAddr;
use core::time::Duration;

pub(crate) use client::{Client, Hop, Provider, address, data};
use waylane_core::crypto::Secret;
use waylane_core::id::{PublicKey, SessionId};
use waylane_core::relay::{
    Control, Counters, HotEntry, IndexBucket, Pending, REPLY_MAX, RelayConfig, RelayMemory,
    Session, Verdict,
};
use waylane_core::time::Instant;
use waylane_crypto::Seeded;

type Memory = RelayMemory<Box<[HotEntry]>, Box<[IndexBucket]>, Box<[Session]>, Box<[Pending]>>;

/// The relay under test. Every datagram goes through [`World::send`], which holds the promises
/// that must hold for each.
pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) control: Control<Provider, Memory>,
    pub(crate) counters: Counters,
    pub(crate) datagrams_in: u64,
    config: RelayConfig,
}

/// What came of one datagram.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    Forwarded(SocketAddr),
    Answered(Vec<u8>),
    Nothing,
}

impl World {
    pub(crate) fn new(config: RelayConfig) -> Self {
        Self::started(Instant::ZERO, config, 1)
    }

    /// A small relay that has been running longer than its reserved time.
    pub(crate) fn settled() -> Self {
        let mut world = Self::new(small());
        world.now += Duration::from_secs(31);
        world
    }

    /// The relay dies and comes back with its key and nothing else.
    pub(crate) fn restart(&mut self) {
        let seed = self.datagrams_in + 77;
        *self = Self::started(self.now, self.config, seed);
    }

    /// Another relay takes its place, with all its sessions.
    pub(crate) fn hand_over(&mut self) {
        let mut next = Self::started(self.now, self.config, self.datagrams_in + 99);
        next.control.take_handover_keys(self.now, &self.control.handover_keys());
        let mut after = None;
        while let Some((slot, record)) = self.control.handover_record(after) {
            assert!(next.control.take_handover_record(self.now, &record), "slot {slot}");
            after = Some(slot);
        }
        assert_eq!(next.live(), self.live());
        *self = next;
    }

    pub(crate) fn pass(&mut self, time: Duration) -> Vec<(SocketAddr, Vec<u8>)> {
        let until = self.now + time;
        let mut sent = Vec::new();
        loop {
            let due = self.control.poll_timeout().max(self.now);
            if due > until {
                break;
            }
            self.now = due;
            self.control.handle_timeout(self.now);
            sent.append(&mut self.poll());
        }
        self.now = until;
        sent
    }

    pub(crate) fn poll(&mut self) -> Vec<(SocketAddr, Vec<u8>)> {
        let mut out = [0; REPLY_MAX];
        let mut sent = Vec::new();
        while let Some(reply) = self.control.poll_transmit(self.now, &mut out) {
            sent.push((reply.to, out[..reply.len].to_vec()));
        }
        sent
    }

    pub(crate) fn send(&mut self, from: SocketAddr, datagram: &[u8]) -> Outcome {
        self.datagrams_in += 1;
        let verdict = self.control.forwarder().forward(self.now, from, datagram);
        self.counters.count(verdict, datagram.len());
        let outcome = match verdict {
            Verdict::Forward { to } => Outcome::Forwarded(to),
            Verdict::Drop(_) => Outcome::Nothing,
            Verdict::Control | Verdict::Unbound => {
                let mut out = [0; REPLY_MAX];
                let mut bytes = datagram.to_vec();
                match self.control.handle(self.now, from, &mut bytes, &mut out) {
                    Some(reply) => {
                        assert_eq!(reply.to, from, "an answer goes where the question came from");
                        assert!(reply.len <= datagram.len(), "the answer is longer");
                        Outcome::Answered(out[..reply.len].to_vec())
                    }
                    None => Outcome::Nothing,
                }
            }
        };
        self.assert_all_counted();
        outcome
    }

    pub(crate) fn answer(&mut self, from: SocketAddr, datagram: &[u8]) -> Vec<u8> {
        match self.send(from, datagram) {
            Outcome::Answered(bytes) => bytes,
            other @ (Outcome::Forwarded(_) | Outcome::Nothing) => {
                panic!("expected an answer, not {other:?}")
            }
        }
    }

    /// A data datagram from `from` for `to`, of a length that may be hinted at.
    pub(crate) fn send_data(&mut self, from: SocketAddr, to: SessionId) -> Outcome {
        self.send(from, &data(to))
    }

    pub(crate) fn live(&self) -> u64 {
        self.control.counters().sessions_live
    }

    /// in = forwarded + consumed + dropped by reason.
    fn assert_all_counted(&self) {
        let control = self.control.counters();
        assert_eq!(control.consumed() + control.dropped.total(), self.counters.control);
        let forward = self.counters;
        assert_eq!(forward.forwarded + forward.control + forward.dropped(), self.datagrams_in);
    }

    fn started(now: Instant, config: RelayConfig, seed: u64) -> Self {
        let limits = config.limits;
        let memory = Memory {
            hot: (0..limits.hot_entries()).map(|_| HotEntry::new()).collect(),
            index: (0..limits.index_buckets()).map(|_| IndexBucket::new()).collect(),
            sessions: (0..limits.sessions).map(|_| Session::new()).collect(),
            pending: (0..limits.pending).map(|_| Pending::new()).collect(),
        };
        // The wall clock goes on through a restart, as the virtual clock does.
        let unix = 1_700_000_000 + now.as_millis() / 1000;
        let config = RelayConfig { unix_seconds_at_start: unix, ..config };
        let crypto = Provider::with_random(Seeded::new(seed));
        let control = Control::new(now, &config, Secret([9; 32]), crypto, memory).unwrap();
        Self { now, control, counters: Counters::default(), datagrams_in: 0, config }
    }
}

impl Hop for World {
    fn relay_key(&self) -> PublicKey {
        *self.control.public_key()
    }

    fn exchange(&mut self, from: SocketAddr, datagram: &[u8]) -> Option<Vec<u8>> {
        match self.send(from, datagram) {
            Outcome::Answered(bytes) => Some(bytes),
            Outcome::Forwarded(_) | Outcome::Nothing => None,
        }
    }
}

pub(crate) fn small() -> RelayConfig {
    let mut config = RelayConfig::default();
    config.limits.sessions = 64;
    config.limits.pending = 8;
    config
}
