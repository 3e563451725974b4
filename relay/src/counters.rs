//! A relay's statistics, as they are counted and as they are shown.

use core::sync::atomic::{AtomicU64, Ordering};

use waylane_core::relay::Counters;

use crate::io::{SendFailures, Sent};
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
}

/// What became of what one worker received.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct WorkerCounters {
    /// Datagrams received.
    pub received: u64,
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
        let (forward, control) = (self.workers.forward, self.owner.control.dropped);
        let failed = self.workers.send_failed;
        [
            ("unbound", forward.unbound),
            ("malformed", forward.malformed + control.malformed),
            ("over_budget", forward.over_budget),
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

    /// Datagrams sent on: those that the system took.
    #[must_use]
    pub const fn forwarded(&self) -> u64 {
        self.workers.forward.forwarded
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
        let Self { received, forward, queue_full, send_failed } = self;
        [
            received,
            queue_full,
            forward.forwarded,
            forward.forwarded_bytes,
            forward.control,
            forward.unbound,
            forward.malformed,
            forward.over_budget,
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
            queue_full,
            forwarded,
            forwarded_bytes,
            control,
            unbound,
            malformed,
            over_budget,
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
            no_destination,
            to_itself,
        };
        let send_failed = SendFailures { oversize, no_buffer, unreachable, other };
        Self { received, forward, queue_full, send_failed }
    }
}

/// A worker's counters where other threads may read them: stored after each batch, never locked.
#[derive(Default, Debug)]
#[repr(align(128))] // Lines of its own: nobody else's stores slow the worker's.
pub(crate) struct Published([AtomicU64; COUNTERS]);

impl Published {
    pub(crate) fn store(&self, counters: &WorkerCounters) {
        for (shown, count) in self.0.iter().zip(counters.to_array()) {
            shown.store(count, Ordering::Relaxed);
        }
    }

    pub(crate) fn load(&self) -> WorkerCounters {
        let mut array = [0; COUNTERS];
        for (count, shown) in array.iter_mut().zip(&self.0) {
            *count = shown.load(Ordering::Relaxed);
        }
        WorkerCounters::from_array(array)
    }
}

const COUNTERS: usize = 14;

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
