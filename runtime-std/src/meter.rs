//! How many bytes a second go each way.

use core::time::Duration;

use waylane_core::id::PeerId;
use waylane_core::time::Instant;

/// Bytes sent to and received from a peer, since the connection began or in a second.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Bytes {
    pub(crate) sent: u64,
    pub(crate) received: u64,
}

/// The rates of all peers, measured over about a second each.
#[derive(Debug)]
pub(crate) struct Meters {
    /// Its capacity, from the start, is the number of peers there can be.
    rows: Vec<Meter>,
    last: Instant,
}

impl Meters {
    pub(crate) fn new(peers_max: usize) -> Self {
        Self { rows: Vec::with_capacity(peers_max), last: Instant::ZERO }
    }

    /// Begins to measure a peer, from zero.
    pub(crate) fn add(&mut self, peer: PeerId) {
        let known = self.rows.iter().any(|row| row.peer == peer);
        if !known && self.rows.len() < self.rows.capacity() {
            self.rows.push(Meter { peer, total: Bytes::default(), rate: Bytes::default() });
        }
    }

    pub(crate) fn remove(&mut self, peer: PeerId) {
        self.rows.retain(|row| row.peer != peer);
    }

    /// Bytes per second to and from a peer.
    pub(crate) fn rate(&self, peer: PeerId) -> Bytes {
        self.rows.iter().find(|row| row.peer == peer).map(|row| row.rate).unwrap_or_default()
    }

    /// Looks at every peer's `total` if it is time to; one without a total is gone.
    pub(crate) fn sample(&mut self, now: Instant, total: impl Fn(PeerId) -> Option<Bytes>) {
        let elapsed = now.since(self.last);
        if elapsed < INTERVAL {
            return;
        }
        self.last = now;
        self.rows
            .retain_mut(|row| total(row.peer).map(|total| row.advance(total, elapsed)).is_some());
    }
}

#[derive(Debug)]
struct Meter {
    peer: PeerId,
    total: Bytes,
    rate: Bytes,
}

impl Meter {
    fn advance(&mut self, total: Bytes, elapsed: Duration) {
        // A connection that began anew counts from zero again.
        let per_second = |now: u64, before: u64| {
            (now.saturating_sub(before) as f64 / elapsed.as_secs_f64()) as u64
        };
        self.rate = Bytes {
            sent: per_second(total.sent, self.total.sent),
            received: per_second(total.received, self.total.received),
        };
        self.total = total;
    }
}

const INTERVAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_those_of_the_last_interval() {
        let peer = PeerId::new(7).unwrap();
        let mut meters = Meters::new(2);
        meters.add(peer);
        let at = |sent, received| move |_| Some(Bytes { sent, received });
        meters.sample(Instant::from_millis(2000), at(1000, 400));
        assert_eq!(meters.rate(peer), Bytes { sent: 500, received: 200 });
        meters.sample(Instant::from_millis(2900), at(5000, 400));
        assert_eq!(meters.rate(peer), Bytes { sent: 500, received: 200 });
        meters.sample(Instant::from_millis(4000), at(7000, 400));
        assert_eq!(meters.rate(peer), Bytes { sent: 3000, received: 0 });
        meters.sample(Instant::from_millis(6000), |_| None);
        assert_eq!(meters.rate(peer), Bytes::default());
    }

    #[test]
    fn there_are_never_more_rows_than_at_the_start() {
        let mut meters = Meters::new(3);
        let most = meters.rows.capacity();
        for n in 1..100 {
            meters.add(PeerId::new(n).unwrap());
        }
        assert_eq!(meters.rows.capacity(), most);
        meters.remove(PeerId::new(1).unwrap());
        assert_eq!(meters.rows.len(), most - 1);
    }
}
