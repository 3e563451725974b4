//! A relay's statistics, as they are counted and as they are shown.

use core::sync::atomic::{AtomicU64, Ordering};

use waylane_core::relay::Counters;

use crate::fast_path::FastPathCounters;
use crate::histogram::{Histogram, Shown};
use crate::io::{RUN_BUCKETS, SendFailures, Sent};
use crate::owner::OwnerCounters;

/// What became of every datagram so far: each one received was forwarded, is counted in
/// [`ControlCounters::consumed`](waylane_core::relay::ControlCounters::consumed), was dropped for one of the reasons in [`drops`](Self::drops),
/// or still waits for the owner of the sessions.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct RelayCounters {
    /// What the workers did, all together.
    pub workers: WorkerCounters,
    /// What the owner of the sessions did.
    pub owner: OwnerCounters,
    /// How the workers' work was spread.
    pub spread: Spread,
    /// What the kernel forwarded and dropped by itself; no worker received any of it.
    pub fast_path: FastPathCounters,
}

/// How the work of one worker, or of all, was spread.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Spread {
    /// Datagrams received at once: a batch each.
    pub batches: Histogram<BATCH_BUCKETS>,
    /// Datagrams that the system took as one: it cuts what is longer than 1 (GSO).
    pub runs: Histogram<RUN_BUCKETS>,
    /// Microseconds from a batch's receipt until all of it was sent, handed over or dropped.
    pub residence_us: Histogram<RESIDENCE_BUCKETS>,
}

/// What became of what one worker received.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct WorkerCounters {
    /// Datagrams received.
    pub received: u64,
    /// Their UDP payload bytes.
    pub received_bytes: u64,
    /// Of these, what the forwarder decided; forwarded are those that the system took, and
    /// `control` those that the owner was handed.
    pub forward: Counters,
    /// Control datagrams for which the owner had no room.
    pub queue_full: u64,
    /// Datagrams to be forwarded that the system did not take for sending.
    pub send_failed: SendFailures,
}

impl RelayCounters {
    /// Every reason for which datagrams are dropped, and how many were.
    pub fn drops(&self) -> impl Iterator<Item = (&'static str, u64)> {
        // Where it was dropped is no matter.
        let mut both = self.workers;
        both.add(&WorkerCounters { forward: self.fast_path.forward, ..WorkerCounters::default() });
        let (forward, control) = (both.forward, self.owner.control.dropped);
        let failed = self.workers.send_failed;
        [
            ("unbound", forward.unbound),
            ("malformed", forward.malformed + control.malformed),
            ("over_budget", forward.over_budget),
            ("source_over_budget", forward.source_over_budget),
            ("destination_over_budget", forward.destination_over_budget),
            ("handshakes_over_budget", forward.handshakes_over_budget),
            ("source_handshakes_over_budget", forward.source_handshakes_over_budget),
            ("destination_handshakes_over_budget", forward.destination_handshakes_over_budget),
            ("total_over_budget", forward.total_over_budget),
            ("total_handshakes_over_budget", forward.total_handshakes_over_budget),
            ("no_destination", forward.no_destination),
            ("to_itself", forward.to_itself),
            ("queue_full", self.workers.queue_full),
            ("wrong_direction", control.wrong_direction),
            ("unknown_source", control.unknown_source),
            ("forged", control.forged),
            ("replayed", control.replayed),
            ("rate_limited", control.rate_limited),
            ("index_full", control.index_full),
            ("send_oversize", failed.oversize),
            ("send_no_buffer", failed.no_buffer),
            ("send_unreachable", failed.unreachable),
            ("send_failed", failed.other),
        ]
        .into_iter()
    }

    /// Datagrams dropped, for whatever reason.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.drops().map(|(_, count)| count).sum()
    }

    /// Datagrams received, by the workers or by the kernel's fast path.
    #[must_use]
    pub const fn received(&self) -> u64 {
        let fast_path = &self.fast_path.forward;
        self.workers.received + fast_path.forwarded + fast_path.dropped()
    }

    /// Their UDP payload bytes.
    #[must_use]
    pub const fn received_bytes(&self) -> u64 {
        self.workers.received_bytes + self.fast_path.received_bytes
    }

    /// Datagrams sent on: those that the system took.
    #[must_use]
    pub const fn forwarded(&self) -> u64 {
        self.workers.forward.forwarded + self.fast_path.forward.forwarded
    }

    /// How many of a hundred datagrams sent on were so by the kernel's fast path.
    #[must_use]
    pub const fn fast_path_percent(&self) -> u64 {
        match self.forwarded() {
            0 => 0,
            all => self.fast_path.forward.forwarded.saturating_mul(100) / all,
        }
    }
}

impl Spread {
    /// Adds another worker's.
    pub(crate) fn add(&mut self, other: &Self) {
        self.batches.add(&other.batches);
        self.runs.add(&other.runs);
        self.residence_us.add(&other.residence_us);
    }
}

impl WorkerCounters {
    /// Counts a control datagram, which the owner had room for or not.
    pub(crate) const fn hand_over(&mut self, taken: bool) {
        if taken {
            self.forward.control += 1;
        } else {
            self.queue_full += 1;
        }
    }

    /// Counts what was sent.
    pub(crate) const fn add_sent(&mut self, sent: &Sent) {
        self.forward.forwarded += sent.datagrams;
        self.forward.forwarded_bytes += sent.bytes;
        let (sum, failed) = (&mut self.send_failed, &sent.failed);
        sum.oversize += failed.oversize;
        sum.no_buffer += failed.no_buffer;
        sum.unreachable += failed.unreachable;
        sum.other += failed.other;
    }

    /// Adds another worker's.
    pub(crate) fn add(&mut self, other: &Self) {
        let mut sum = self.to_array();
        for (sum, other) in sum.iter_mut().zip(other.to_array()) {
            *sum += other;
        }
        *self = Self::from_array(sum);
    }

    const fn to_array(self) -> [u64; COUNTERS] {
        let Self { received, received_bytes, forward, queue_full, send_failed } = self;
        [
            received,
            received_bytes,
            queue_full,
            forward.forwarded,
            forward.forwarded_bytes,
            forward.control,
            forward.unbound,
            forward.malformed,
            forward.over_budget,
            forward.source_over_budget,
            forward.destination_over_budget,
            forward.handshakes_over_budget,
            forward.source_handshakes_over_budget,
            forward.destination_handshakes_over_budget,
            forward.total_over_budget,
            forward.total_handshakes_over_budget,
            forward.no_destination,
            forward.to_itself,
            send_failed.oversize,
            send_failed.no_buffer,
            send_failed.unreachable,
            send_failed.other,
        ]
    }

    const fn from_array(array: [u64; COUNTERS]) -> Self {
        let [
            received,
            received_bytes,
            queue_full,
            forwarded,
            forwarded_bytes,
            control,
            unbound,
            malformed,
            over_budget,
            source_over_budget,
            destination_over_budget,
            handshakes_over_budget,
            source_handshakes_over_budget,
            destination_handshakes_over_budget,
            total_over_budget,
            total_handshakes_over_budget,
            no_destination,
            to_itself,
            oversize,
            no_buffer,
            unreachable,
            other,
        ] = array;
        let forward = Counters {
            forwarded,
            forwarded_bytes,
            control,
            unbound,
            malformed,
            over_budget,
            source_over_budget,
            destination_over_budget,
            handshakes_over_budget,
            source_handshakes_over_budget,
            destination_handshakes_over_budget,
            total_over_budget,
            total_handshakes_over_budget,
            no_destination,
            to_itself,
        };
        let send_failed = SendFailures { oversize, no_buffer, unreachable, other };
        Self { received, received_bytes, forward, queue_full, send_failed }
    }
}

/// A worker's counters where other threads may read them: stored after each batch, never locked.
#[derive(Default, Debug)]
#[repr(align(128))] // Lines of its own: nobody else's stores slow the worker's.
pub(crate) struct Published {
    counters: [AtomicU64; COUNTERS],
    /// Turns of the worker: they go on as long as it does.
    pub(crate) turns: AtomicU64,
    pub(crate) batches: Shown<BATCH_BUCKETS>,
    pub(crate) runs: Shown<RUN_BUCKETS>,
    pub(crate) residence_us: Shown<RESIDENCE_BUCKETS>,
}

impl Published {
    pub(crate) fn store(&self, counters: &WorkerCounters) {
        for (shown, count) in self.counters.iter().zip(counters.to_array()) {
            shown.store(count, Ordering::Relaxed);
        }
    }

    pub(crate) fn load(&self) -> WorkerCounters {
        let mut array = [0; COUNTERS];
        for (count, shown) in array.iter_mut().zip(&self.counters) {
            *count = shown.load(Ordering::Relaxed);
        }
        WorkerCounters::from_array(array)
    }

    pub(crate) fn spread(&self) -> Spread {
        Spread {
            batches: self.batches.load(),
            runs: self.runs.load(),
            residence_us: self.residence_us.load(),
        }
    }
}

const COUNTERS: usize = 22;
/// Up to 2,048 datagrams, and more.
const BATCH_BUCKETS: usize = 13;
/// Up to 65 ms, and more.
const RESIDENCE_BUCKETS: usize = 18;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_is_published_and_added() {
        let numbers: [u64; COUNTERS] = core::array::from_fn(|n| n as u64 + 1);
        let counters = WorkerCounters::from_array(numbers);
        let published = Published::default();
        published.store(&counters);
        assert_eq!(published.load(), counters);
        let mut sum = counters;
        sum.add(&counters);
        assert_eq!(sum.to_array(), numbers.map(|n| 2 * n));
    }
}
