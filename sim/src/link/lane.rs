//! One direction of a leg in use: what it is doing, and what it has carried.

use core::time::Duration;

use waylane_core::time::{Instant, micros};

use super::Link;
use crate::random::Random;

/// One direction of a leg: its link, what passed, and the order it keeps. Usable alone, to measure
/// other transports on the links that Waylane is measured on.
#[derive(Clone, Debug, Default)]
pub struct Lane {
    /// What it does to datagrams; may change at any time.
    pub link: Link,
    /// What it has carried.
    pub traffic: Traffic,
    last_arrival: Instant,
    /// When the bottleneck has sent all it was given, in nanoseconds.
    free_at: u64,
    /// In the state in which everything is lost.
    bad: bool,
}

/// What one direction of a leg has carried.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Traffic {
    /// Datagrams handed to the link.
    pub datagrams: u64,
    /// Their UDP payload bytes.
    pub bytes: u64,
    /// Datagrams lost on the way, those that found a full queue apart.
    pub lost: u64,
    /// Datagrams that found the bottleneck's queue full.
    pub overflowed: u64,
    /// Datagrams that arrive twice.
    pub duplicated: u64,
    /// Datagrams held so that later ones overtake them.
    pub held: u64,
    /// Datagrams that arrive with a flipped bit.
    pub corrupted: u64,
    /// UDP payload bytes that arrive, each datagram counted once.
    pub arrived_bytes: u64,
    /// How long datagrams waited in the bottleneck's queue, all together.
    pub waited: Duration,
    /// How long one of them waited at most.
    pub waited_max: Duration,
}

/// A datagram's arrival.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arrival {
    /// When.
    pub at: Instant,
    /// The bit that is not as it was sent.
    pub flipped: Option<usize>,
}

impl Traffic {
    /// What was carried since it was `earlier`; the longest wait is that of the whole time.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            datagrams: self.datagrams - earlier.datagrams,
            bytes: self.bytes - earlier.bytes,
            lost: self.lost - earlier.lost,
            overflowed: self.overflowed - earlier.overflowed,
            duplicated: self.duplicated - earlier.duplicated,
            held: self.held - earlier.held,
            corrupted: self.corrupted - earlier.corrupted,
            arrived_bytes: self.arrived_bytes - earlier.arrived_bytes,
            waited: self.waited - earlier.waited,
            waited_max: self.waited_max,
        }
    }

    /// How long a datagram that found room in the bottleneck's queue waited there on average.
    #[must_use]
    pub fn waited_mean(&self) -> Duration {
        let queued = self.datagrams - self.overflowed;
        Duration::from_micros(micros(self.waited).checked_div(queued).unwrap_or_default())
    }
}

impl Lane {
    /// A lane that nothing has passed yet.
    #[must_use]
    pub fn of(link: Link) -> Self {
        Self { link, ..Self::default() }
    }

    /// When a datagram of `length` bytes sent `now` arrives: never, once or twice.
    pub fn send(
        &mut self,
        now: Instant,
        length: usize,
        random: &mut Random,
    ) -> [Option<Arrival>; 2] {
        let link = self.link;
        self.traffic.datagrams += 1;
        self.traffic.bytes += length as u64;
        if link.cut || link.mtu.is_some_and(|mtu| length > mtu) {
            self.traffic.lost += 1;
            return [None, None];
        }
        let lost = random.chance(link.loss) | self.is_in_burst(random);
        // What is lost has taken its time at the bottleneck: the air comes after the queue.
        let Some(sent) = self.pass_bottleneck(now, length) else {
            self.traffic.overflowed += 1;
            return [None, None];
        };
        if lost {
            self.traffic.lost += 1;
            return [None, None];
        }
        self.traffic.arrived_bytes += length as u64;
        let straight = self.last_arrival.max(sent + link.delay + up_to(link.jitter, random));
        let first = if random.chance(link.reorder) {
            self.traffic.held += 1;
            straight + self.hold(random)
        } else {
            self.last_arrival = straight;
            straight
        };
        let second = random.chance(link.duplicate).then(|| {
            self.traffic.duplicated += 1;
            straight + self.hold(random)
        });
        let flipped = random.chance(link.corrupt).then(|| {
            self.traffic.corrupted += 1;
            random.below(length as u64 * 8) as usize
        });
        [Some(Arrival { at: first, flipped }), second.map(|at| Arrival { at, flipped: None })]
    }

    /// The next step of the chain of Gilbert and Elliott.
    fn is_in_burst(&mut self, random: &mut Random) -> bool {
        let Some(burst) = self.link.burst else { return false };
        let length = burst.length.max(1.0);
        let leave = 1.0 / length;
        let enter = burst.loss / (length * (1.0 - burst.loss).max(f64::EPSILON));
        self.bad = if self.bad { !random.chance(leave) } else { random.chance(enter) };
        self.bad
    }

    /// When the last bit has left; `None` if the queue is full.
    fn pass_bottleneck(&mut self, now: Instant, length: usize) -> Option<Instant> {
        let Some(bottleneck) = self.link.bottleneck else { return Some(now) };
        let now = now.as_micros() * 1000;
        let waits = self.free_at.saturating_sub(now);
        let takes = bottleneck.nanos((length + HEADERS_LEN) as u64);
        if waits.saturating_add(takes) > bottleneck.queue_nanos().max(takes) {
            return None;
        }
        let waited = Duration::from_nanos(waits);
        self.traffic.waited += waited;
        self.traffic.waited_max = self.traffic.waited_max.max(waited);
        self.free_at = now + waits + takes;
        Some(Instant::from_micros(self.free_at.div_ceil(1000)))
    }

    fn hold(&self, random: &mut Random) -> Duration {
        let least = self.link.held_least.min(self.link.held);
        least + up_to(self.link.held - least, random)
    }
}

fn up_to(most: Duration, random: &mut Random) -> Duration {
    Duration::from_micros(random.below(micros(most) + 1))
}

/// IPv4 without options, and UDP.
const HEADERS_LEN: usize = 28;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::{Bottleneck, Burst};

    fn arrivals(link: Link) -> (Traffic, Vec<(u64, Instant)>) {
        let mut lane = Lane::of(link);
        let mut random = Random::new(7);
        let mut all = Vec::new();
        for n in 0..10_000 {
            let sent = Instant::from_millis(n);
            let arrivals = lane.send(sent, 100, &mut random).into_iter().flatten();
            all.extend(arrivals.map(|arrival| (n, arrival.at)));
        }
        all.sort_by_key(|&(_, at)| at);
        (lane.traffic, all)
    }

    #[test]
    fn a_perfect_link_only_delays() {
        let (traffic, all) = arrivals(Link::delayed(Duration::from_millis(30)));
        let bytes = 1_000_000;
        let expected =
            Traffic { datagrams: 10_000, bytes, arrived_bytes: bytes, ..Traffic::default() };
        assert_eq!(traffic, expected);
        assert!(all.iter().all(|&(n, at)| at == Instant::from_millis(n + 30)));
    }

    #[test]
    fn jitter_keeps_the_order_and_reordering_does_not() {
        let jittery = Link { jitter: Duration::from_millis(20), ..Link::default() };
        let (_, all) = arrivals(jittery);
        assert!(all.is_sorted_by_key(|&(n, _)| n));
        let (traffic, all) =
            arrivals(Link { reorder: 0.1, held: Duration::from_millis(20), ..jittery });
        assert!(!all.is_sorted_by_key(|&(n, _)| n));
        assert!((900..1100).contains(&traffic.held));
    }

    #[test]
    fn a_held_datagram_is_late_by_at_least_what_was_asked() {
        let held = Duration::from_millis(20);
        let link = Link { reorder: 0.1, held, held_least: held, ..Link::default() };
        let (traffic, all) = arrivals(link);
        let late = all.iter().filter(|&&(n, at)| at == Instant::from_millis(n) + held).count();
        assert_eq!(late as u64, traffic.held);
        assert!(all.iter().all(|&(n, at)| [0, 20].contains(&(at.as_millis() - n))));
    }

    #[test]
    fn loss_and_duplication_have_their_rates() {
        let (traffic, all) = arrivals(Link { loss: 0.1, duplicate: 0.05, ..Link::default() });
        assert!((900..1100).contains(&traffic.lost), "{traffic:?}");
        assert!((380..520).contains(&traffic.duplicated), "{traffic:?}");
        assert_eq!(all.len() as u64, 10_000 - traffic.lost + traffic.duplicated);
    }

    #[test]
    fn losses_come_in_bursts_of_the_asked_length() {
        let burst = Some(Burst { loss: 0.05, length: 4.0 });
        let (traffic, all) = arrivals(Link { burst, ..Link::default() });
        assert!((400..600).contains(&traffic.lost), "{traffic:?}");
        let bursts = all.windows(2).filter(|pair| pair[1].0 > pair[0].0 + 1).count() as u64;
        assert!((3..=5).contains(&(traffic.lost / bursts)), "{} in {bursts}", traffic.lost);
    }

    #[test]
    fn a_bottleneck_passes_its_rate_and_its_queue_is_as_long_as_it_may_be() {
        // 128 bytes a millisecond are 1.024 Mbit/s: twice what passes.
        let bottleneck =
            Bottleneck { bits_per_second: 512_000, ..Bottleneck::megabits(1, RTT * 2) };
        let (traffic, all) = arrivals(Link { bottleneck: Some(bottleneck), ..Link::default() });
        assert!((4950..5010).contains(&traffic.overflowed), "{traffic:?}");
        assert!((90..=100).contains(&traffic.waited_max.as_millis()), "{traffic:?}");
        assert!((90..=100).contains(&traffic.waited_mean().as_millis()), "{traffic:?}");
        let spaced = all.windows(2).all(|pair| pair[1].1.since(pair[0].1).as_micros() == 2000);
        assert!(spaced, "each takes 2 ms");
        assert_eq!(traffic.arrived_bytes, all.len() as u64 * 100);
    }

    #[test]
    fn a_black_hole_takes_what_is_too_long_and_corruption_flips_a_bit() {
        let (traffic, all) = arrivals(Link { mtu: Some(99), ..Link::default() });
        assert!(all.is_empty() && traffic.lost == 10_000);
        let (traffic, all) = arrivals(Link { mtu: Some(100), corrupt: 0.1, ..Link::default() });
        assert!(all.len() == 10_000 && (900..1100).contains(&traffic.corrupted));
    }

    const RTT: Duration = Duration::from_millis(50);
}
