//! What the network does to datagrams: one direction of one leg between a player and a relay.

use core::time::Duration;

use waylane_core::time::Instant;

use crate::random::Random;

/// How one direction of a link behaves. The default is perfect: no delay and no loss.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub struct Link {
    /// How long every datagram takes.
    pub delay: Duration,
    /// Added to the delay, uniform from zero to this; keeps the order of datagrams.
    pub jitter: Duration,
    /// The probability that a datagram is lost.
    pub loss: f64,
    /// The probability that a datagram arrives a second time, as late as a held one.
    pub duplicate: f64,
    /// The probability that a datagram is held and so overtaken by later ones.
    pub reorder: f64,
    /// How long a held datagram is late: uniform from zero to this.
    pub held: Duration,
    /// Everything is lost, without a draw.
    pub cut: bool,
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
            cut: false,
        }
    }

    /// One of two equal links that behave like `self` when they follow each other.
    #[must_use]
    pub fn half(self) -> Self {
        let half = |probability: f64| 1.0 - (1.0 - probability).max(0.0).sqrt();
        Self {
            delay: self.delay / 2,
            jitter: self.jitter / 2,
            loss: half(self.loss),
            duplicate: half(self.duplicate),
            reorder: half(self.reorder),
            held: self.held,
            cut: self.cut,
        }
    }
}

/// One direction of a leg: its link, what passed, and the order it keeps.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lane {
    pub(crate) link: Link,
    pub(crate) traffic: Traffic,
    last_arrival: Instant,
}

/// What one direction of a leg has carried.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Traffic {
    /// Datagrams handed to the link.
    pub datagrams: u64,
    /// Their UDP payload bytes.
    pub bytes: u64,
    /// Datagrams lost on the way.
    pub lost: u64,
    /// Datagrams that arrive twice.
    pub duplicated: u64,
    /// Datagrams held so that later ones overtake them.
    pub held: u64,
}

impl Lane {
    /// When a datagram of `length` bytes sent `now` arrives: never, once or twice.
    pub(crate) fn send(
        &mut self,
        now: Instant,
        length: usize,
        random: &mut Random,
    ) -> [Option<Instant>; 2] {
        let link = self.link;
        self.traffic.datagrams += 1;
        self.traffic.bytes += length as u64;
        if link.cut || random.chance(link.loss) {
            self.traffic.lost += 1;
            return [None, None];
        }
        let straight = self.last_arrival.max(now + link.delay + up_to(link.jitter, random));
        let first = if random.chance(link.reorder) {
            self.traffic.held += 1;
            straight + up_to(link.held, random)
        } else {
            self.last_arrival = straight;
            straight
        };
        let second = random.chance(link.duplicate).then(|| {
            self.traffic.duplicated += 1;
            straight + up_to(link.held, random)
        });
        [Some(first), second]
    }
}

fn up_to(most: Duration, random: &mut Random) -> Duration {
    Duration::from_micros(random.below(waylane_core::time::micros(most) + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrivals(link: Link) -> (Traffic, Vec<(u64, Instant)>) {
        let mut lane = Lane { link, ..Lane::default() };
        let mut random = Random::new(7);
        let mut all = Vec::new();
        for n in 0..10_000 {
            let sent = Instant::from_millis(n);
            all.extend(lane.send(sent, 100, &mut random).into_iter().flatten().map(|at| (n, at)));
        }
        all.sort_by_key(|&(_, at)| at);
        (lane.traffic, all)
    }

    #[test]
    fn a_perfect_link_only_delays() {
        let (traffic, all) = arrivals(Link::delayed(Duration::from_millis(30)));
        assert_eq!(traffic, Traffic { datagrams: 10_000, bytes: 1_000_000, ..Traffic::default() });
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
    fn loss_and_duplication_have_their_rates() {
        let (traffic, all) = arrivals(Link { loss: 0.1, duplicate: 0.05, ..Link::default() });
        assert!((900..1100).contains(&traffic.lost), "{traffic:?}");
        assert!((380..520).contains(&traffic.duplicated), "{traffic:?}");
        assert_eq!(all.len() as u64, 10_000 - traffic.lost + traffic.duplicated);
    }

    #[test]
    fn two_halves_make_a_whole() {
        let half = Link::rough(Duration::from_millis(40), 0.19, 0.05).half();
        assert_eq!(half.delay, Duration::from_millis(20));
        assert!(((1.0 - half.loss) * (1.0 - half.loss) - 0.81).abs() < 1e-12);
    }
}
