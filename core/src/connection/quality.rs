//! When a connection has become so much better or worse that the application should hear of it.

use core::time::Duration;

use crate::endpoint::ConnectionQuality;
use crate::time::{Instant, micros};

/// What the application was told last, and when it may be told again. In few bytes, as every peer
/// has it.
#[derive(Clone, Copy, Debug)]
pub(super) struct QualityWatch {
    next: Instant,
    /// Microseconds.
    rtt: u32,
    jitter: u32,
    /// [`u32::MAX`] for none.
    rate: u32,
    loss: u16,
    /// Whether the figures above are of anything.
    known: bool,
    news: bool,
}

impl QualityWatch {
    pub(super) const fn new() -> Self {
        let next = Instant::ZERO;
        Self { next, rtt: 0, jitter: 0, rate: 0, loss: 0, known: false, news: false }
    }

    pub(super) const fn has_news(&self) -> bool {
        self.news
    }

    /// What is to be told, once.
    pub(super) fn take(&mut self) -> Option<ConnectionQuality> {
        core::mem::take(&mut self.news).then(|| self.told())
    }

    /// Compares how it is `now` with what was told last. What it is like first is no change.
    pub(super) fn observe(&mut self, now: Instant, present: impl FnOnce() -> ConnectionQuality) {
        if now < self.next {
            return;
        }
        let present = present();
        self.next = now + PAUSE;
        let changed = self.known && differs(&self.told(), &present);
        if changed || !self.known {
            self.remember(&present);
            self.news |= changed;
        }
    }

    fn remember(&mut self, quality: &ConnectionQuality) {
        let time = |time| u32::try_from(micros(time)).unwrap_or(u32::MAX);
        let rate = |rate| u32::try_from(rate).unwrap_or(u32::MAX).min(u32::MAX - 1);
        self.rtt = time(quality.rtt);
        self.jitter = time(quality.jitter);
        self.rate = quality.rate.map_or(u32::MAX, rate);
        self.loss = u16::try_from(quality.loss).unwrap_or(u16::MAX);
        self.known = true;
    }

    fn told(&self) -> ConnectionQuality {
        ConnectionQuality {
            rtt: Duration::from_micros(self.rtt.into()),
            jitter: Duration::from_micros(self.jitter.into()),
            loss: self.loss.into(),
            rate: (self.rate != u32::MAX).then_some(self.rate.into()),
        }
    }
}

fn differs(told: &ConnectionQuality, present: &ConnectionQuality) -> bool {
    let times = [(told.rtt, present.rtt), (told.jitter, present.jitter)];
    let moved = |(before, after): (Duration, Duration)| {
        let (before, after) = (micros(before), micros(after));
        let apart = before.abs_diff(after);
        apart >= TIME_APART && apart >= before / 4
    };
    let rate = |quality: &ConnectionQuality| quality.rate.unwrap_or(u64::MAX / 2);
    let (slow, fast) = (rate(told).min(rate(present)), rate(told).max(rate(present)));
    times.into_iter().any(moved)
        || told.loss.abs_diff(present.loss) >= LOSS_APART
        || fast / 2 >= slow
}

/// Events of one peer are at least so far apart.
const PAUSE: Duration = Duration::from_secs(1);

/// Microseconds that times must differ by at least, besides a quarter.
const TIME_APART: u64 = 10_000;

/// Two percent points, in 1/1024.
const LOSS_APART: u32 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: ConnectionQuality = ConnectionQuality {
        rtt: Duration::from_millis(80),
        jitter: Duration::from_millis(4),
        loss: 10,
        rate: Some(1_000_000),
    };

    /// Whether going from [`BASE`] to `present` is told.
    fn told(present: ConnectionQuality) -> bool {
        let mut watch = QualityWatch::new();
        watch.observe(Instant::from_millis(0), || BASE);
        assert!(!watch.has_news());
        watch.observe(Instant::from_millis(1000), || present);
        watch.take() == Some(present)
    }

    #[test]
    fn material_changes_are_told_and_small_ones_are_not() {
        let ms = Duration::from_millis;
        assert!(!told(BASE));
        assert!(!told(ConnectionQuality { rtt: ms(99), jitter: ms(13), loss: 29, ..BASE }));
        assert!(!told(ConnectionQuality { rate: Some(1_999_999), ..BASE }));
        assert!(!told(ConnectionQuality { rate: Some(500_001), ..BASE }));
        assert!(told(ConnectionQuality { rtt: ms(100), ..BASE }));
        assert!(told(ConnectionQuality { rtt: ms(60), ..BASE }));
        assert!(told(ConnectionQuality { jitter: ms(14), ..BASE }));
        assert!(told(ConnectionQuality { loss: 30, ..BASE }));
        assert!(told(ConnectionQuality { rate: Some(2_000_000), ..BASE }));
        assert!(told(ConnectionQuality { rate: Some(500_000), ..BASE }));
        assert!(told(ConnectionQuality { rate: None, ..BASE }));
    }

    #[test]
    fn one_a_second_at_most_and_slow_drift_counts() {
        let mut watch = QualityWatch::new();
        let at = |loss| ConnectionQuality { loss, ..BASE };
        let mut told = 0;
        for ms in 0..10_000_u32 {
            watch.observe(Instant::from_millis(u64::from(ms)), || at((ms % 2) * 100));
            told += u32::from(watch.take().is_some());
        }
        assert!(told <= 10, "{told}");
        // A little every second adds up.
        let mut watch = QualityWatch::new();
        let mut told = 0;
        for second in 0..10_u32 {
            watch.observe(Instant::from_millis(u64::from(second) * 1000), || at(second * 10));
            told += u32::from(watch.take().is_some());
        }
        assert_eq!(told, 4);
    }
}
