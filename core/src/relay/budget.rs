//! What may be sent through the relay, and the one kind of bucket that all limits of the data path
//! are counted by.
//!
//! A bucket is one word: the moment until which what was taken is paid for, in ticks of 1/16 µs on
//! a wrapping clock (the generic cell rate algorithm, ITU-T I.371). Each datagram moves it on by
//! its price, and one that would move it further ahead of now than the burst is too much:
//!
//! ```text
//! ahead = until - now                          wrapping
//! ahead = 0 if ahead > burst + SLACK           in the past: the bucket is full
//! too much if ahead + price > burst
//! until = now + ahead + price
//! ```
//!
//! A byte's price has ten more bits: `price = (length * byte + 512) >> 10`.

use super::limiter::Rate;
use crate::time::Instant;

/// A budget of packets and of bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Budget {
    /// Packets per second.
    pub packets_per_second: u32,
    /// Bytes per second of UDP payload.
    pub bytes_per_second: u32,
    /// How many milliseconds of budget may be saved up.
    pub burst_ms: u32,
}

impl Budget {
    /// Whether every datagram fits the burst, and the burst the clock: at most 10 s.
    #[must_use]
    pub const fn is_valid(&self) -> bool {
        let Price { packet, byte, burst } = Price::of(self);
        let fits_clock = self.burst_ms <= BURST_MS_MAX;
        fits_clock && packet <= burst && bytes_price(byte, LARGEST_DATAGRAM) <= burst
    }
}

impl Default for Budget {
    /// What a sender gets: 10,000 packets and 12 MB a second, a quarter of a second saved up.
    fn default() -> Self {
        Self { packets_per_second: 10_000, bytes_per_second: 12_000_000, burst_ms: 250 }
    }
}

/// A [`Budget`] in ticks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Price {
    /// Of one packet.
    pub packet: u32,
    /// Of 1024 bytes.
    pub byte: u32,
    /// How far ahead of now a bucket may be paid for.
    pub burst: u32,
}

impl Price {
    /// What a packet and 1024 bytes cost under `budget`, rounded to whole ticks: within 10 % up to
    /// 3,000,000 packets a second.
    #[must_use]
    pub const fn of(budget: &Budget) -> Self {
        Self {
            packet: price(TICKS_PER_SECOND, budget.packets_per_second),
            byte: price(TICKS_PER_SECOND * BYTES, budget.bytes_per_second),
            burst: budget.burst_ms.saturating_mul(TICKS_PER_MS),
        }
    }

    /// What a packet and 1024 bytes cost at rates of one's own (0: the relay's), with this burst:
    /// never so much that a datagram would not fit the burst.
    pub(crate) fn own(packets_per_second: u32, bytes_per_second: u32, burst: u32) -> (u32, u32) {
        let most = u64::from(burst) * BYTES / u64::from(LARGEST_DATAGRAM);
        let of = |rate: u32, whole, most: u64| match rate {
            0 => 0,
            _ => u64::from(price(whole, rate)).min(most) as u32,
        };
        (
            of(packets_per_second, TICKS_PER_SECOND, u64::from(burst)),
            of(bytes_per_second, TICKS_PER_SECOND * BYTES, most),
        )
    }

    /// No limit.
    pub(crate) const FREE: Self = Self { packet: 0, byte: 0, burst: 0 };

    /// What a packet of `length` bytes costs, as packet and as bytes.
    pub(crate) const fn of_packet(&self, length: u32) -> (u32, u32) {
        (self.packet, bytes_price(self.byte, length))
    }
}

/// A [`Rate`] in ticks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RatePrice {
    /// Of one datagram.
    pub one: u32,
    /// How far ahead of now a bucket may be paid for.
    pub burst: u32,
}

impl RatePrice {
    /// What one datagram costs under `rate`, rounded to whole ticks.
    #[must_use]
    pub const fn of(rate: Rate) -> Self {
        let one = price(TICKS_PER_SECOND, rate.per_second);
        let burst = one.saturating_mul(rate.burst);
        let most = BURST_MS_MAX * TICKS_PER_MS;
        Self { one, burst: if burst > most { most } else { burst } }
    }

    /// No limit.
    pub(crate) const FREE: Self = Self { one: 0, burst: 0 };

    /// The one of the two by which less may be sent.
    pub(crate) const fn dearer(self, other: Self) -> Self {
        if other.one > self.one { other } else { self }
    }

    /// Whether at least one fits the burst, and the burst the clock.
    pub(crate) const fn is_valid(rate: Rate) -> bool {
        let most = (BURST_MS_MAX / 1000).saturating_mul(rate.per_second);
        rate.burst >= 1 && rate.burst <= most
    }
}

/// What the bucket `until` becomes when `price` is taken out of it; `None` if that is too much.
pub(crate) fn take(now: u32, until: u32, price: u32, burst: u32) -> Option<u32> {
    let ahead = until.wrapping_sub(now);
    let ahead = if ahead > burst.saturating_add(SLACK) { 0 } else { ahead };
    let after = ahead.checked_add(price).filter(|&after| after <= burst)?;
    Some(now.wrapping_add(after))
}

/// The bucket `until` if anything of it is still to be paid for, else a full one: for buckets that
/// are used so rarely that the clock may go round.
pub(crate) fn freshen(now: u32, until: u32) -> u32 {
    if until.wrapping_sub(now) > BURST_MS_MAX * TICKS_PER_MS { now } else { until }
}

/// The buckets' clock: 1/16 µs, wrapping after 268 s.
pub(crate) fn ticks(now: Instant) -> u32 {
    now.as_micros().wrapping_mul(TICKS_PER_SECOND / 1_000_000) as u32
}

const fn price(whole: u64, per_second: u32) -> u32 {
    if per_second == 0 {
        return u32::MAX;
    }
    let per_second = per_second as u64;
    let rounded = (whole + per_second / 2) / per_second;
    if rounded > u32::MAX as u64 {
        u32::MAX
    } else if rounded == 0 {
        1
    } else {
        rounded as u32
    }
}

const fn bytes_price(byte: u32, length: u32) -> u32 {
    let price = (length as u64 * byte as u64 + BYTES / 2) / BYTES;
    if price > u32::MAX as u64 { u32::MAX } else { price as u32 }
}

const TICKS_PER_SECOND: u64 = 16_000_000;
const TICKS_PER_MS: u32 = 16_000;
/// Bytes' prices are of so many.
const BYTES: u64 = 1024;
/// The clock must tell "ahead" from "past" with room to spare.
const BURST_MS_MAX: u32 = 10_000;
/// How much older than another's a worker's reading of the clock may be: 1 s.
const SLACK: u32 = 16_000_000;
const LARGEST_DATAGRAM: u32 = 1472;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn prices_are_pinned() {
        let price = Price::of(&Budget::default());
        assert_eq!(price, Price { packet: 1600, byte: 1365, burst: 4_000_000 });
        assert_eq!(price.of_packet(1200), (1600, 1600));
        assert_eq!(price.of_packet(28), (1600, 37));
        let ten = RatePrice::of(Rate { per_second: 10, burst: 100 });
        assert_eq!(ten, RatePrice { one: 1_600_000, burst: 160_000_000 });
        assert_eq!(ticks(Instant::from_micros(3)), 48);
    }

    #[test]
    fn a_rates_burst_is_ten_seconds_worth_at_most() {
        for per_second in [1, 3, 6, 7, 10, 900_000] {
            for (seconds, fits) in [(0, false), (1, true), (10, true), (11, false)] {
                let rate = Rate { per_second, burst: per_second * seconds };
                assert_eq!(RatePrice::is_valid(rate), fits, "{rate:?}");
                assert!(RatePrice::of(rate).burst <= 160_000_000);
            }
        }
    }

    #[test]
    fn a_bucket_is_full_again_after_a_pause_of_any_length() {
        // Except within the burst and a second of the clock's whole turn, which the owner's look
        // at each session makes impossible.
        let price = Price::of(&Budget::default());
        for seconds in [0, 1, 100, 133, 135, 200, 266, 269, 400, 10_000] {
            let now = ticks(Instant::from_millis(seconds * 1000));
            assert!(
                take(now, 0, price.burst, price.burst).is_some() == (seconds != 268),
                "{seconds}"
            );
        }
    }

    #[test]
    fn a_clock_that_is_behind_gets_no_second_burst() {
        let burst = 16_000;
        let now = 5_000_000u32;
        let until = take(now, 0, burst, burst).unwrap();
        for behind in [1, 100, 16_000, 1_000_000] {
            assert_eq!(take(now - behind, until, 1, burst), None, "{behind}");
        }
    }

    #[test]
    fn rarely_used_buckets_are_kept_fresh() {
        for (now, until, fresh) in [(100, 50, 100), (100, 200, 200), (5, u32::MAX, 5)] {
            assert_eq!(freshen(now, until), fresh);
        }
    }

    proptest! {
        /// Whatever is asked for when, what is granted stays below rate and burst.
        #[test]
        fn never_more_than_rate_and_burst(
            start in any::<u32>(),
            price in 1u32..1_000_000,
            packets in 1u32..50,
            steps in prop::collection::vec(0u32..2_000_000, 1..200),
        ) {
            let burst = price * packets;
            let (mut until, mut elapsed, mut granted) = (start, 0u64, 0u64);
            for step in steps {
                elapsed += u64::from(step);
                let now = start.wrapping_add(elapsed as u32);
                if let Some(after) = take(now, until, price, burst) {
                    until = after;
                    granted += 1;
                }
                prop_assert!(granted * u64::from(price) <= elapsed + u64::from(burst));
            }
        }
    }
}
