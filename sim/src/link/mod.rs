//! What the network does to datagrams: one direction of one leg between a player and a relay.

mod lane;

use core::time::Duration;

pub use lane::{Arrival, Lane, Traffic};

/// How one direction of a link behaves. The default is perfect: no delay and no loss.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub struct Link {
    /// How long every datagram takes.
    pub delay: Duration,
    /// Added to the delay, uniform from zero to this; keeps the order of datagrams.
    pub jitter: Duration,
    /// The probability that a datagram is lost, whatever happened to the one before.
    pub loss: f64,
    /// Losses that come together, beside the independent ones.
    pub burst: Option<Burst>,
    /// The probability that a datagram arrives a second time, as late as a held one.
    pub duplicate: f64,
    /// The probability that a datagram is held and so overtaken by later ones.
    pub reorder: f64,
    /// How long a held datagram is late at most.
    pub held: Duration,
    /// How long a held datagram is late at least; uniform between the two.
    pub held_least: Duration,
    /// The probability that one bit of a datagram is flipped.
    pub corrupt: f64,
    /// What limits the rate; `None`: nothing does.
    pub bottleneck: Option<Bottleneck>,
    /// Datagrams of more bytes vanish without a word: a black hole.
    pub mtu: Option<usize>,
    /// Everything is lost, without a draw.
    pub cut: bool,
}

/// Losses that come together (Gilbert 1960, Elliott 1963): in the bad state everything is lost.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Burst {
    /// The share of datagrams lost in the long run.
    pub loss: f64,
    /// How many are lost in a row, on average.
    pub length: f64,
}

/// The narrowest place of a link, shared by all that goes through it. It carries each datagram's
/// IPv4 and UDP headers too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bottleneck {
    /// Its rate.
    pub bits_per_second: u64,
    /// What waits at most; what comes then is dropped.
    pub queue: QueueMax,
}

/// How much a queue holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum QueueMax {
    /// This many bytes, headers included.
    Bytes(u64),
    /// What is sent in this time.
    Time(Duration),
}

impl Link {
    /// A link that only takes time.
    #[must_use]
    pub fn delayed(delay: Duration) -> Self {
        Self { delay, ..Self::default() }
    }

    /// A link of this delay that loses, doubles, reorders and jitters: the mix of the promises.
    #[must_use]
    pub fn rough(delay: Duration, loss: f64, duplicate: f64) -> Self {
        Self {
            delay,
            jitter: delay / 4,
            loss,
            duplicate,
            reorder: 0.05,
            held: delay.max(Duration::from_millis(5)),
            ..Self::default()
        }
    }

    /// One of two equal links that behave like `self` when they follow each other. A bottleneck
    /// stays on both: the second is never the narrower one.
    #[must_use]
    pub fn half(self) -> Self {
        let half = |probability: f64| 1.0 - (1.0 - probability).max(0.0).sqrt();
        Self {
            delay: self.delay / 2,
            jitter: self.jitter / 2,
            loss: half(self.loss),
            burst: self.burst.map(|burst| Burst { loss: half(burst.loss), ..burst }),
            duplicate: half(self.duplicate),
            reorder: half(self.reorder),
            corrupt: half(self.corrupt),
            ..self
        }
    }
}

impl Bottleneck {
    /// A bottleneck of so many Mbit/s whose queue holds what is sent in `queue`.
    #[must_use]
    pub const fn megabits(megabits_per_second: u64, queue: Duration) -> Self {
        Self { bits_per_second: megabits_per_second * 1_000_000, queue: QueueMax::Time(queue) }
    }

    /// How long it takes to send `bytes`, headers included.
    pub(crate) const fn nanos(self, bytes: u64) -> u64 {
        if self.bits_per_second == 0 {
            return u64::MAX;
        }
        let nanos = bytes as u128 * 8_000_000_000 / self.bits_per_second as u128;
        if nanos > u64::MAX as u128 { u64::MAX } else { nanos as u64 }
    }

    /// How long the queue is at most.
    pub(crate) const fn queue_nanos(self) -> u64 {
        match self.queue {
            QueueMax::Bytes(bytes) => self.nanos(bytes),
            QueueMax::Time(time) => waylane_core::time::micros(time).saturating_mul(1000),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_halves_make_a_whole() {
        let half = Link::rough(Duration::from_millis(40), 0.19, 0.05).half();
        assert_eq!(half.delay, Duration::from_millis(20));
        assert!(((1.0 - half.loss) * (1.0 - half.loss) - 0.81).abs() < 1e-12);
    }

    #[test]
    fn bytes_and_time_are_two_ways_to_say_how_long_a_queue_is() {
        let by_time = Bottleneck::megabits(10, Duration::from_millis(100));
        let by_bytes = Bottleneck { queue: QueueMax::Bytes(125_000), ..by_time };
        assert_eq!(by_time.queue_nanos(), 100_000_000);
        assert_eq!(by_bytes.queue_nanos(), 100_000_000);
        assert_eq!(by_time.nanos(1250), 1_000_000);
    }
}
