//! One turn of the relay's loop, over any [`Io`].

use core::time::Duration;
use std::io;

use waylane_core::crypto::{Crypto, Secret};
use waylane_core::relay::{
    Control, Counters, HotEntry, IndexBucket, Pending, REPLY_MAX, RelayConfig, RelayConfigError,
    RelayMemory, Session, Verdict,
};
use waylane_core::time::Instant;

use crate::counters::RelayCounters;
use crate::io::{Batch, Io, Outgoing};

/// A relay over `I`: the sessions' owner and one forwarder, in one thread.
pub struct Worker<I, C: Crypto> {
    io: I,
    control: Control<C, Memory>,
    batch: Batch,
    outgoing: Vec<Outgoing>,
    counters: Counters,
    received: u64,
    send_failed: u64,
}

type Memory = RelayMemory<Box<[HotEntry]>, Box<[IndexBucket]>, Box<[Session]>, Box<[Pending]>>;

impl<I: Io, C: Crypto> Worker<I, C> {
    /// A worker with all its memory, for a relay whose static key is `secret`.
    ///
    /// # Errors
    /// What is wrong with `config`.
    pub fn new(
        now: Instant,
        config: &RelayConfig,
        secret: Secret,
        crypto: C,
        io: I,
    ) -> Result<Self, RelayConfigError> {
        config.check()?;
        let limits = config.limits;
        let memory = Memory {
            hot: (0..limits.sessions).map(|_| HotEntry::new()).collect(),
            index: (0..limits.index_buckets()).map(|_| IndexBucket::new()).collect(),
            sessions: (0..limits.sessions).map(|_| Session::new()).collect(),
            pending: (0..limits.pending).map(|_| Pending::new()).collect(),
        };
        Ok(Self {
            io,
            control: Control::new(now, config, secret, crypto, memory)?,
            batch: Batch::new(BATCH),
            outgoing: Vec::with_capacity(BATCH),
            counters: Counters::default(),
            received: 0,
            send_failed: 0,
        })
    }

    /// Receives a batch, waiting at most `wait`, and does all it asks for and all that is due.
    /// `clock` is read once, after the wait.
    ///
    /// # Errors
    /// The back end's, when it can receive no more.
    pub fn turn(&mut self, wait: Duration, clock: impl FnOnce() -> Instant) -> io::Result<()> {
        self.batch.clear();
        self.io.receive(wait, &mut self.batch)?;
        let now = clock();
        self.received += self.batch.len() as u64;
        for index in 0..self.batch.len() {
            self.decide(now, index);
        }
        self.send();
        self.control.handle_timeout(now);
        while self.speak(now) {}
        Ok(())
    }

    /// When a turn is due at the latest.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.control.poll_timeout()
    }

    /// Tells every peer that the relay stops in `left`, and takes no new ones.
    pub fn drain(&mut self, now: Instant, left: Duration) {
        self.control.drain(now, left);
    }

    /// What happened so far.
    #[must_use]
    pub fn counters(&self) -> RelayCounters {
        RelayCounters {
            received: self.received,
            forward: self.counters,
            control: self.control.counters(),
            send_failed: self.send_failed,
        }
    }

    /// The back end.
    pub const fn io(&self) -> &I {
        &self.io
    }

    fn decide(&mut self, now: Instant, index: usize) {
        let Some((from, bytes)) = self.batch.datagram_mut(index) else { return };
        let verdict = self.control.forwarder().forward(now, from, bytes);
        self.counters.count(verdict, bytes.len());
        match verdict {
            Verdict::Forward { to } => {
                self.outgoing.push(Outgoing { buffer: index, len: bytes.len(), to });
            }
            Verdict::Control | Verdict::Unbound => {
                let mut out = [0; REPLY_MAX];
                if let Some(reply) = self.control.handle(now, from, bytes, &mut out) {
                    // A reply is never longer than what it answers, so it fits in its place.
                    bytes[..reply.len].copy_from_slice(&out[..reply.len]);
                    self.outgoing.push(Outgoing { buffer: index, len: reply.len, to: reply.to });
                }
            }
            Verdict::Drop(_) => {}
        }
    }

    /// Sends a batch of what nobody asked for; `false` when there is no more.
    fn speak(&mut self, now: Instant) -> bool {
        let mut out = [0; REPLY_MAX];
        for buffer in 0..self.batch.capacity() {
            let Some(reply) = self.control.poll_transmit(now, &mut out) else { break };
            if let Some(space) = self.batch.buffer_mut(buffer) {
                space[..reply.len].copy_from_slice(&out[..reply.len]);
                self.outgoing.push(Outgoing { buffer, len: reply.len, to: reply.to });
            }
        }
        let more = !self.outgoing.is_empty();
        self.send();
        more
    }

    fn send(&mut self) {
        if !self.outgoing.is_empty() {
            self.send_failed += self.io.send(&self.batch, &self.outgoing) as u64;
            self.outgoing.clear();
        }
    }
}

/// Datagrams taken in one turn.
const BATCH: usize = 64;
