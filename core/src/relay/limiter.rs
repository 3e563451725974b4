//! How many unauthenticated datagrams a relay works for, in all and for one neighbourhood.

use super::address::Address;
use super::hash::HashKey;
use super::index::scale;
use crate::time::Instant;

/// A rate of answers: so many a second, so many at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    /// Answers a second.
    pub per_second: u32,
    /// Answers at once after a pause.
    pub burst: u32,
}

/// A rate for all sources together, and one for each IPv4 /24 or IPv6 /48.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AnswerRates {
    /// All sources together.
    pub total: Rate,
    /// One neighbourhood; neighbourhoods that hash alike share it.
    pub per_prefix: Rate,
}

/// Counts answers against [`AnswerRates`].
pub(crate) struct Limiter {
    rates: AnswerRates,
    key: HashKey,
    total: Bucket,
    prefixes: [Bucket; PREFIXES],
}

impl Limiter {
    pub(crate) fn new(now: Instant, rates: AnswerRates, key: HashKey) -> Self {
        let now = now_ms(now);
        let full = |rate: Rate| Bucket { tokens: rate.full(), at: now };
        Self { rates, key, total: full(rates.total), prefixes: [full(rates.per_prefix); PREFIXES] }
    }

    /// Other rates from now on.
    pub(crate) const fn set_rates(&mut self, rates: AnswerRates) {
        self.rates = rates;
    }

    /// Whether one more answer towards `address` is within the rates; counts it if so.
    pub(crate) fn allow(&mut self, now: Instant, address: Address) -> bool {
        let now = now_ms(now);
        let hash = self.key.hash(address.prefix()) as u32;
        let Some(prefix) = self.prefixes.get_mut(scale(hash, PREFIXES)) else { return false };
        // The neighbourhood first: a noisy one must not use up what is there for all.
        prefix.take(now, self.rates.per_prefix) && self.total.take(now, self.rates.total)
    }
}

/// Thousandths of answers left, and when that was.
#[derive(Clone, Copy)]
struct Bucket {
    tokens: u32,
    at: u32,
}

impl Bucket {
    fn take(&mut self, now: u32, rate: Rate) -> bool {
        let earned = now.wrapping_sub(self.at).saturating_mul(rate.per_second);
        self.at = now;
        self.tokens = self.tokens.saturating_add(earned).min(rate.full());
        match self.tokens.checked_sub(ONE) {
            Some(left) => {
                self.tokens = left;
                true
            }
            None => false,
        }
    }
}

impl Rate {
    const fn full(self) -> u32 {
        self.burst.saturating_mul(ONE)
    }
}

/// Milliseconds, wrapping.
fn now_ms(now: Instant) -> u32 {
    now.as_millis() as u32
}

const PREFIXES: usize = 256;
const ONE: u32 = 1000;

#[cfg(test)]
mod tests {
    use core::net::SocketAddr;

    use super::*;

    #[test]
    fn a_noisy_neighbourhood_leaves_the_others_their_answers() {
        let rates = AnswerRates {
            total: Rate { per_second: 100, burst: 20 },
            per_prefix: Rate { per_second: 10, burst: 5 },
        };
        let key = HashKey::from_bytes([7; 16]);
        let mut limiter = Limiter::new(Instant::ZERO, rates, key);
        let noisy = |n: u16| Address::from(SocketAddr::from(([192, 0, 2, n as u8], n)));
        let quiet = Address::from(SocketAddr::from(([198, 51, 100, 1], 9)));
        assert_eq!((0..1000).filter(|&n| limiter.allow(Instant::ZERO, noisy(n))).count(), 5);
        assert!(limiter.allow(Instant::ZERO, quiet));
        let later = Instant::from_millis(200);
        assert_eq!((0..1000).filter(|&n| limiter.allow(later, noisy(n))).count(), 2);
    }

    #[test]
    fn the_total_holds_over_all_neighbourhoods() {
        let rates = AnswerRates {
            total: Rate { per_second: 100, burst: 20 },
            per_prefix: Rate { per_second: 10, burst: 5 },
        };
        let mut limiter = Limiter::new(Instant::ZERO, rates, HashKey::from_bytes([7; 16]));
        let from = |n: u16| Address::from(SocketAddr::from(([10, (n >> 8) as u8, n as u8, 1], 5)));
        assert_eq!((0..1000).filter(|&n| limiter.allow(Instant::ZERO, from(n))).count(), 20);
    }
}
