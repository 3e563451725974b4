//! One turn of a worker's loop, over any [`Io`].

use core::sync::atomic::Ordering;
use core::time::Duration;
use std::io;
use std::sync::Arc;

use waylane_core::crypto::Crypto;
use waylane_core::relay::{Forwarder, Verdict};
use waylane_core::time::Instant;

use crate::counters::{Published, Spread, WorkerCounters};
use crate::group::Grouping;
use crate::io::{Io, Outgoing, Sent, Waker};
use crate::owner::Owner;
use crate::queue::{Sender, ToOwner};
use crate::rules::Following;
use crate::tables::SharedTables;

/// Forwards what comes by one back end, and hands the rest to the owner of the sessions.
pub struct Worker<I> {
    io: I,
    tables: SharedTables,
    rules: Following,
    to_owner: ToOwner,
    grouping: Grouping,
    counters: WorkerCounters,
    published: Arc<Published>,
}

impl<I: Io> Worker<I> {
    /// A worker for the sessions of `owner`.
    pub fn new<C: Crypto>(owner: &Owner<C>, io: I) -> Self {
        let parts = owner.worker_parts();
        Self {
            io,
            tables: parts.tables,
            rules: Following::new(parts.rules),
            to_owner: parts.to_owner,
            grouping: Grouping::new(CHUNK),
            counters: WorkerCounters::default(),
            published: Arc::default(),
        }
    }

    /// Makes ready to be used on this thread.
    ///
    /// # Errors
    /// The back end's.
    pub fn start(&mut self) -> io::Result<()> {
        self.io.start()
    }

    /// Receives a batch, waiting at most `wait`, and does all it asks for. `clock` is read twice:
    /// after the wait, and when all is done.
    ///
    /// # Errors
    /// The back end's, when it can receive no more.
    pub fn turn(&mut self, wait: Duration, clock: impl Fn() -> Instant) -> io::Result<()> {
        let count = self.io.receive(wait)?;
        self.published.turns.fetch_add(1, Ordering::Relaxed);
        if count > 0 {
            self.serve(count, clock);
        }
        Ok(())
    }

    /// Does all that is asked for by what the back end holds already, and takes nothing more.
    ///
    /// # Errors
    /// As of [`turn`](Self::turn).
    pub fn finish(&mut self, clock: impl Fn() -> Instant) -> io::Result<()> {
        loop {
            match self.io.finish()? {
                0 => return Ok(()),
                count => self.serve(count, &clock),
            }
        }
    }

    fn serve(&mut self, count: usize, clock: impl Fn() -> Instant) {
        let now = clock();
        self.counters.received += count as u64;
        let mut first = 0;
        while first < count {
            let end = count.min(first + CHUNK);
            self.forward(now, first, end);
            first = end;
        }
        let shown = &self.published;
        shown.store(&self.counters);
        shown.batches.record(count as u64);
        shown.residence_us.record(clock().as_micros().saturating_sub(now.as_micros()));
    }

    /// What happened so far.
    #[must_use]
    pub const fn counters(&self) -> &WorkerCounters {
        &self.counters
    }

    /// How its work was spread.
    #[must_use]
    pub fn spread(&self) -> Spread {
        self.published.spread()
    }

    /// Where its counters can be read from other threads, as of the latest turn.
    pub(crate) fn published(&self) -> Arc<Published> {
        Arc::clone(&self.published)
    }

    /// Ends its wait from another thread.
    pub(crate) fn waker(&self) -> Waker {
        self.io.waker()
    }

    fn forward(&mut self, now: Instant, first: usize, end: usize) {
        let forwarder = Forwarder::new(self.tables.tables(), self.rules.latest());
        // A table of a million sessions misses the caches and the pages known to the processor. It
        // waits for several pages at once only if little lies between: so the destinations, each
        // another one, are asked for in a loop of their own, before the hashes are computed.
        for index in first..end {
            if let Some((_, bytes)) = self.io.datagram(index)
                && let Some(line) = forwarder.destination_line(bytes)
            {
                self.io.prefetch(line);
            }
        }
        for index in first..end {
            if let Some((from, _)) = self.io.datagram(index) {
                for line in forwarder.sender_lines(from) {
                    self.io.prefetch(line);
                }
            }
        }
        for index in first..end {
            let Some((from, bytes)) = self.io.datagram(index) else { continue };
            self.counters.received_bytes += bytes.len() as u64;
            let verdict = forwarder.forward(now, from, bytes);
            match verdict {
                Verdict::Forward { to } => {
                    let outgoing = Outgoing { index, len: bytes.len(), to };
                    self.grouping.push(from, outgoing);
                }
                Verdict::Control => {
                    let is_known = forwarder.has_session(from);
                    let sender = if is_known { Sender::Session } else { Sender::Newcomer };
                    self.counters.hand_over(self.to_owner.hand_over(sender, from, bytes));
                }
                Verdict::Unbound => {
                    self.counters.forward.count(verdict, bytes.len());
                    let _ = self.to_owner.hand_over(Sender::Stranger, from, bytes);
                }
                Verdict::Drop(_) => self.counters.forward.count(verdict, bytes.len()),
            }
        }
        let outgoing = self.grouping.take();
        if !outgoing.is_empty() {
            let mut sent = Sent::default();
            self.io.send(outgoing, &mut sent);
            self.counters.add_sent(&sent);
            self.published.runs.add(&sent.runs);
        }
    }
}

/// Datagrams grouped together: more find more neighbours, fewer leave sooner.
const CHUNK: usize = 256;
