//! A bad link, to try things out.

use core::cmp::Reverse;
use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BinaryHeap;

use waylane_core::time::{Instant, micros};

/// A bad link in one direction, to try out how a game feels on it. All datagrams are treated
/// alike, those between the client and its relay included.
///
/// Percentages are of all datagrams, each drawn by itself from `seed`. The default is a perfect
/// link.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct LinkEmulation {
    /// Percent of datagrams that are lost.
    pub loss: f64,
    /// Percent of datagrams that arrive twice.
    pub duplicate: f64,
    /// Percent of datagrams that are held back so that later ones overtake them: by a random time
    /// up to `jitter` or 20 ms, whichever is longer.
    pub reorder: f64,
    /// How long every datagram takes.
    pub delay: Duration,
    /// How much longer it may take, drawn evenly from zero to this. Jitter alone does not change
    /// the order.
    pub jitter: Duration,
    /// Where the randomness starts: the same seed draws the same numbers.
    pub seed: u64,
}

impl LinkEmulation {
    /// Checks every value.
    ///
    /// # Errors
    /// Names the value that is no percentage, or the time beyond one minute.
    pub fn check(&self) -> Result<(), LinkEmulationError> {
        let percent = 0.0..=100.0;
        if !percent.contains(&self.loss) {
            Err(LinkEmulationError::Loss)
        } else if !percent.contains(&self.duplicate) {
            Err(LinkEmulationError::Duplicate)
        } else if !percent.contains(&self.reorder) {
            Err(LinkEmulationError::Reorder)
        } else if self.delay > TIME_MAX {
            Err(LinkEmulationError::Delay)
        } else if self.jitter > TIME_MAX {
            Err(LinkEmulationError::Jitter)
        } else {
            Ok(())
        }
    }
}

/// A value in [`LinkEmulation`] cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum LinkEmulationError {
    /// `loss` is not between 0 and 100.
    Loss,
    /// `duplicate` is not between 0 and 100.
    Duplicate,
    /// `reorder` is not between 0 and 100.
    Reorder,
    /// `delay` is longer than one minute.
    Delay,
    /// `jitter` is longer than one minute.
    Jitter,
}

impl fmt::Display for LinkEmulationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Loss => "the link's loss must be a percentage from 0 to 100",
            Self::Duplicate => "the link's duplicate must be a percentage from 0 to 100",
            Self::Reorder => "the link's reorder must be a percentage from 0 to 100",
            Self::Delay => "the link's delay must be at most one minute",
            Self::Jitter => "the link's jitter must be at most one minute",
        })
    }
}

impl core::error::Error for LinkEmulationError {}

/// Datagrams on their way over the emulated link.
#[derive(Debug)]
pub(crate) struct EmulatedLink {
    settings: LinkEmulation,
    random: SplitMix,
    held: BinaryHeap<Reverse<Held>>,
    /// What is not held back keeps its order: nothing is due before this.
    order: Instant,
    sequence: u64,
    /// Buffers to use again.
    spare: Vec<Vec<u8>>,
}

impl EmulatedLink {
    pub(crate) fn new(settings: LinkEmulation) -> Self {
        Self {
            settings,
            random: SplitMix(settings.seed),
            held: BinaryHeap::new(),
            order: Instant::ZERO,
            sequence: 0,
            spare: Vec::new(),
        }
    }

    /// Takes a datagram to or from `address`.
    pub(crate) fn offer(&mut self, now: Instant, address: SocketAddr, datagram: &[u8]) {
        if self.random.happens(self.settings.loss) {
            return;
        }
        let copies = 1 + usize::from(self.random.happens(self.settings.duplicate));
        for _ in 0..copies {
            let due = self.draw_due(now);
            self.hold(due, address, datagram);
        }
    }

    /// When the next datagram arrives.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.held.peek().map(|Reverse(held)| held.due)
    }

    /// The next datagram that has arrived by `now`. It stays until [`Self::remove`].
    pub(crate) fn peek(&self, now: Instant) -> Option<(SocketAddr, &[u8])> {
        let Reverse(held) = self.held.peek()?;
        (held.due <= now).then_some((held.address, &held.datagram[..]))
    }

    /// Removes the next datagram, for use in place; give it back by [`Self::recycle`].
    pub(crate) fn remove(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        self.held.pop().map(|Reverse(held)| (held.address, held.datagram))
    }

    pub(crate) fn recycle(&mut self, mut buffer: Vec<u8>) {
        buffer.clear();
        self.spare.push(buffer);
    }

    fn draw_due(&mut self, now: Instant) -> Instant {
        let due = now + self.settings.delay + self.random.up_to(self.settings.jitter);
        if self.random.happens(self.settings.reorder) {
            return due + self.random.up_to(self.settings.jitter.max(HELD_BACK));
        }
        self.order = self.order.max(due);
        self.order
    }

    fn hold(&mut self, due: Instant, address: SocketAddr, datagram: &[u8]) {
        if self.held.len() >= HELD_MAX {
            return;
        }
        let mut buffer = self.spare.pop().unwrap_or_default();
        buffer.extend_from_slice(datagram);
        self.sequence += 1;
        self.held.push(Reverse(Held { due, sequence: self.sequence, address, datagram: buffer }));
    }
}

/// Ordered by due time, then by arrival.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Held {
    due: Instant,
    sequence: u64,
    address: SocketAddr,
    datagram: Vec<u8>,
}

/// Steele, Lea and Flood's generator: good enough for dice, and the same everywhere.
#[derive(Debug)]
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn happens(&mut self, percent: f64) -> bool {
        // The upper 53 bits are an exact f64 in [0, 1).
        let drawn = (self.next() >> 11) as f64 / (1u64 << 53) as f64;
        drawn * 100.0 < percent
    }

    fn up_to(&mut self, most: Duration) -> Duration {
        Duration::from_micros(self.next() % (micros(most) + 1))
    }
}

const TIME_MAX: Duration = Duration::from_secs(60);
const HELD_BACK: Duration = Duration::from_millis(20);
/// A real queue ends somewhere too.
const HELD_MAX: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;

    const SOMEWHERE: SocketAddr = SocketAddr::new(core::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9);

    /// One datagram a millisecond; what arrived, in the order of arrival, with the time it took.
    fn run(settings: LinkEmulation, datagrams: u32) -> Vec<(u32, Duration)> {
        let mut link = EmulatedLink::new(settings);
        let mut arrived = Vec::new();
        for tick in 0..u64::from(datagrams) + 200 {
            let now = Instant::from_millis(tick);
            if tick < u64::from(datagrams) {
                link.offer(now, SOMEWHERE, &(tick as u32).to_le_bytes());
            }
            while link.peek(now).is_some() {
                let (_, datagram) = link.remove().unwrap();
                let number = u32::from_le_bytes(datagram[..].try_into().unwrap());
                arrived.push((number, now.since(Instant::from_millis(number.into()))));
                link.recycle(datagram);
            }
        }
        assert_eq!(link.next_due(), None);
        arrived
    }

    #[test]
    fn a_perfect_link_changes_nothing() {
        let arrived = run(LinkEmulation::default(), 100);
        assert!(arrived.iter().copied().eq((0..100).map(|n| (n, Duration::ZERO))));
    }

    #[test]
    fn loss_and_duplication_come_in_the_asked_share() {
        let lost = 10_000 - run(LinkEmulation { loss: 20.0, ..Default::default() }, 10_000).len();
        assert!((1800..2200).contains(&lost), "{lost}");
        let doubled =
            run(LinkEmulation { duplicate: 5.0, ..Default::default() }, 10_000).len() - 10_000;
        assert!((400..600).contains(&doubled), "{doubled}");
        assert_eq!(run(LinkEmulation { loss: 100.0, ..Default::default() }, 100), []);
    }

    #[test]
    fn delay_and_jitter_keep_the_order() {
        let settings = LinkEmulation {
            delay: Duration::from_millis(30),
            jitter: Duration::from_millis(10),
            ..Default::default()
        };
        let arrived = run(settings, 1000);
        assert_eq!(arrived.len(), 1000);
        assert!(arrived.is_sorted_by_key(|(number, _)| *number));
        for (_, took) in arrived {
            assert!((30..=41).contains(&took.as_millis()), "{took:?}");
        }
    }

    #[test]
    fn reordered_datagrams_are_overtaken() {
        let arrived = run(LinkEmulation { reorder: 10.0, ..Default::default() }, 1000);
        assert_eq!(arrived.len(), 1000);
        let overtaken = arrived.windows(2).filter(|pair| pair[0].0 > pair[1].0).count();
        assert!((50..150).contains(&overtaken), "{overtaken}");
    }

    #[test]
    fn the_same_seed_draws_the_same() {
        let settings = LinkEmulation { loss: 50.0, reorder: 50.0, seed: 7, ..Default::default() };
        assert_eq!(run(settings, 200), run(settings, 200));
        assert_ne!(run(settings, 200), run(LinkEmulation { seed: 8, ..settings }, 200));
    }

    #[test]
    fn values_that_make_no_sense_are_named() {
        let check = |settings: LinkEmulation| settings.check().unwrap_err();
        assert_eq!(
            check(LinkEmulation { loss: -1.0, ..Default::default() }),
            LinkEmulationError::Loss
        );
        assert_eq!(
            check(LinkEmulation { duplicate: f64::NAN, ..Default::default() }),
            LinkEmulationError::Duplicate
        );
        assert_eq!(
            check(LinkEmulation { reorder: 100.5, ..Default::default() }),
            LinkEmulationError::Reorder
        );
        assert_eq!(
            check(LinkEmulation { delay: Duration::MAX, ..Default::default() }),
            LinkEmulationError::Delay
        );
        assert_eq!(
            check(LinkEmulation { jitter: Duration::from_secs(61), ..Default::default() }),
            LinkEmulationError::Jitter
        );
    }
}
