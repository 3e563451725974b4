//! How sizes are spread: counts by powers of two.

use core::sync::atomic::{AtomicU64, Ordering};

/// How many values were at most 1, 2, 4 and so on; what is larger than the last power stands in the
/// last bucket. Each value is in one bucket only.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Histogram<const N: usize> {
    /// Bucket n: values above 2^(n − 1), up to 2^n.
    pub buckets: [u64; N],
    /// Sum of all values.
    pub sum: u64,
}

impl<const N: usize> Histogram<N> {
    /// Counts a value.
    pub const fn record(&mut self, value: u64) {
        let bucket = bucket(value, N);
        if bucket < N {
            self.buckets[bucket] += 1;
        }
        self.sum += value;
    }

    /// How many values were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Adds another one's counts.
    pub fn add(&mut self, other: &Self) {
        for (sum, other) in self.buckets.iter_mut().zip(other.buckets) {
            *sum += other;
        }
        self.sum += other.sum;
    }
}

impl<const N: usize> Default for Histogram<N> {
    fn default() -> Self {
        Self { buckets: [0; N], sum: 0 }
    }
}

/// A histogram that one thread counts in and others read: no lock, and no locked instruction.
#[derive(Debug)]
pub(crate) struct Shown<const N: usize> {
    buckets: [AtomicU64; N],
    sum: AtomicU64,
}

impl<const N: usize> Shown<N> {
    /// Counts a value. By one thread only: another one's counts would be lost.
    pub(crate) fn record(&self, value: u64) {
        if let Some(count) = self.buckets.get(bucket(value, N)) {
            increase(count, 1);
        }
        increase(&self.sum, value);
    }

    /// Counts all that `other` has. By the same thread only.
    pub(crate) fn add(&self, other: &Histogram<N>) {
        for (count, &more) in self.buckets.iter().zip(&other.buckets) {
            if more > 0 {
                increase(count, more);
            }
        }
        increase(&self.sum, other.sum);
    }

    pub(crate) fn load(&self) -> Histogram<N> {
        Histogram {
            buckets: self.buckets.each_ref().map(|count| count.load(Ordering::Relaxed)),
            sum: self.sum.load(Ordering::Relaxed),
        }
    }
}

impl<const N: usize> Default for Shown<N> {
    fn default() -> Self {
        Self { buckets: [const { AtomicU64::new(0) }; N], sum: AtomicU64::new(0) }
    }
}

/// The one writer needs no more than a load and a store.
fn increase(count: &AtomicU64, by: u64) {
    count.store(count.load(Ordering::Relaxed) + by, Ordering::Relaxed);
}

const fn bucket(value: u64, buckets: usize) -> usize {
    let log = u64::BITS - value.saturating_sub(1).leading_zeros();
    let last = buckets.saturating_sub(1);
    if (log as usize) < last { log as usize } else { last }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_is_in_the_bucket_of_the_next_power_of_two() {
        for (value, bucket) in [(0, 0), (1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (8, 3), (9, 4)] {
            let mut histogram = Histogram::<5>::default();
            histogram.record(value);
            assert_eq!(histogram.buckets[bucket], 1, "{value}: {histogram:?}");
        }
        let mut histogram = Histogram::<5>::default();
        histogram.record(u64::MAX);
        assert_eq!(histogram.buckets, [0, 0, 0, 0, 1]);
    }

    #[test]
    fn what_is_shown_is_what_was_counted() {
        let (shown, mut plain) = (Shown::<6>::default(), Histogram::default());
        for value in 0..100 {
            shown.record(value);
            plain.record(value);
        }
        assert_eq!(shown.load(), plain);
        assert_eq!((plain.count(), plain.sum), (100, 4950));
        shown.add(&plain);
        plain.add(&plain.clone());
        assert_eq!(shown.load(), plain);
    }
}
