//! How much may be in flight on a path: the seam and its first controllers.

use core::time::Duration;

use super::rtt::Rtt;
use crate::time::{Instant, micros};

/// Decides how much a path may carry. Told of everything that happens on it.
pub trait Controller {
    /// An ack-eliciting packet of `bytes` left; `in_flight` counts it.
    fn on_sent(&mut self, now: Instant, bytes: u64, in_flight: u64);
    /// Packets were newly acknowledged, told once for all that one acknowledgement names.
    fn on_ack(&mut self, sample: &AckSample<'_>);
    /// Packets were found lost, told once for all found together.
    fn on_loss(&mut self, sample: &LossSample);
    /// Bytes that may be in flight.
    fn window(&self) -> u64;
    /// Bytes per second at which packets should leave; `None` for no limit but the window.
    fn pacing_rate(&self) -> Option<u64>;
}

/// What one acknowledgement says about a path.
#[derive(Clone, Copy, Debug)]
pub struct AckSample<'a> {
    /// When it was read.
    pub now: Instant,
    /// Bytes newly acknowledged.
    pub bytes: u64,
    /// When the newest packet of them was sent.
    pub newest_sent_at: Instant,
    /// The path's round-trip times, this acknowledgement included.
    pub rtt: &'a Rtt,
    /// Bytes in flight before it.
    pub in_flight_before: u64,
    /// Bytes in flight after it, and after losses that it made known.
    pub in_flight: u64,
    /// Bytes delivered since the newest packet was sent, and…
    pub delivered: u64,
    /// …the time that took, by the slower of sending and acknowledging: together a sample of the
    /// path's delivery rate (draft-cheng-iccrg-delivery-rate-estimation §2).
    pub interval: Duration,
}

/// What a loss says about a path.
#[derive(Clone, Copy, Debug)]
pub struct LossSample {
    /// When it was found.
    pub now: Instant,
    /// Bytes lost.
    pub bytes: u64,
    /// When the newest lost packet was sent.
    pub newest_sent_at: Instant,
    /// Bytes in flight, without the lost ones.
    pub in_flight: u64,
    /// Nothing came through for so long that all earlier knowledge is void (RFC 9002 §7.6).
    pub persistent: bool,
}

/// The controllers there are.
#[derive(Clone, Copy, Debug)]
pub enum ControllerKind {
    /// Loss-based, RFC 9002 §7.
    NewReno(NewReno),
    /// A window that never moves.
    Fixed(Fixed),
}

impl Default for ControllerKind {
    fn default() -> Self {
        Self::NewReno(NewReno::new())
    }
}

impl Controller for ControllerKind {
    fn on_sent(&mut self, now: Instant, bytes: u64, in_flight: u64) {
        match self {
            Self::NewReno(c) => c.on_sent(now, bytes, in_flight),
            Self::Fixed(c) => c.on_sent(now, bytes, in_flight),
        }
    }

    fn on_ack(&mut self, sample: &AckSample<'_>) {
        match self {
            Self::NewReno(c) => c.on_ack(sample),
            Self::Fixed(c) => c.on_ack(sample),
        }
    }

    fn on_loss(&mut self, sample: &LossSample) {
        match self {
            Self::NewReno(c) => c.on_loss(sample),
            Self::Fixed(c) => c.on_loss(sample),
        }
    }

    fn window(&self) -> u64 {
        match self {
            Self::NewReno(c) => c.window(),
            Self::Fixed(c) => c.window(),
        }
    }

    fn pacing_rate(&self) -> Option<u64> {
        match self {
            Self::NewReno(c) => c.pacing_rate(),
            Self::Fixed(c) => c.pacing_rate(),
        }
    }
}

/// Slow start, additive growth, one halving per round trip with losses (RFC 9002 §7).
#[derive(Clone, Copy, Debug)]
pub struct NewReno {
    window: u64,
    threshold: u64,
    /// Bytes acknowledged towards the next step of additive growth.
    towards_step: u64,
    /// Losses of packets sent up to here are part of a reduction already made.
    recovery_start: Option<Instant>,
    smoothed_rtt: Option<Duration>,
}

impl NewReno {
    /// In slow start with [`INITIAL_WINDOW`].
    #[must_use]
    pub const fn new() -> Self {
        Self {
            window: INITIAL_WINDOW,
            threshold: u64::MAX,
            towards_step: 0,
            recovery_start: None,
            smoothed_rtt: None,
        }
    }

    fn in_slow_start(&self) -> bool {
        self.window < self.threshold
    }

    fn was_before_recovery(&self, sent_at: Instant) -> bool {
        self.recovery_start.is_some_and(|start| sent_at <= start)
    }

    /// RFC 9002 §7.8: a window that is not used says nothing about a larger one. In slow start half
    /// of it is use enough, as the window doubles while a round of it is on its way.
    fn was_used(&self, in_flight: u64) -> bool {
        let use_wanted = if self.in_slow_start() { self.window / 2 } else { self.window };
        in_flight.saturating_add(STEP) >= use_wanted
    }
}

impl Default for NewReno {
    fn default() -> Self {
        Self::new()
    }
}

impl Controller for NewReno {
    fn on_sent(&mut self, _now: Instant, _bytes: u64, _in_flight: u64) {}

    fn on_ack(&mut self, sample: &AckSample<'_>) {
        self.smoothed_rtt = Some(sample.rtt.smoothed());
        if self.was_before_recovery(sample.newest_sent_at)
            || !self.was_used(sample.in_flight_before)
        {
            return;
        }
        if self.in_slow_start() {
            self.window = self.window.saturating_add(sample.bytes).min(MAX_WINDOW);
            return;
        }
        self.towards_step = self.towards_step.saturating_add(sample.bytes);
        if self.towards_step >= self.window {
            self.towards_step -= self.window;
            self.window = self.window.saturating_add(STEP).min(MAX_WINDOW);
        }
    }

    fn on_loss(&mut self, sample: &LossSample) {
        if !self.was_before_recovery(sample.newest_sent_at) {
            self.recovery_start = Some(sample.now);
            self.window = (self.window / 2).max(MIN_WINDOW);
            self.threshold = self.window;
            self.towards_step = 0;
        }
        if sample.persistent {
            self.window = MIN_WINDOW;
            self.towards_step = 0;
            self.recovery_start = None;
        }
    }

    fn window(&self) -> u64 {
        self.window
    }

    /// RFC 9002 §7.7: a little more than the window in a round trip, so that pacing does not itself
    /// become the limit; twice in slow start, where the window doubles in one.
    fn pacing_rate(&self) -> Option<u64> {
        let rtt = micros(self.smoothed_rtt?).max(1);
        let quarters = if self.in_slow_start() { 8 } else { 5 };
        Some(self.window.saturating_mul(quarters * 250_000) / rtt)
    }
}

/// The same window and rate whatever happens: for links known beforehand, and for tests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fixed {
    /// Bytes in flight.
    pub window: u64,
    /// Bytes per second; `None` for no limit.
    pub rate: Option<u64>,
}

impl Controller for Fixed {
    fn on_sent(&mut self, _now: Instant, _bytes: u64, _in_flight: u64) {}

    fn on_ack(&mut self, _sample: &AckSample<'_>) {}

    fn on_loss(&mut self, _sample: &LossSample) {}

    fn window(&self) -> u64 {
        self.window
    }

    fn pacing_rate(&self) -> Option<u64> {
        self.rate
    }
}

/// One packet's worth, the unit of windows.
const STEP: u64 = 1200;

/// Window of a fresh path: a game's first state to a new player fits.
pub const INITIAL_WINDOW: u64 = 16 * STEP;

/// Windows do not fall below this: the real-time data of a game must never wait for a window.
pub const MIN_WINDOW: u64 = 4 * STEP;

/// Windows do not grow beyond this: 100 Mbit/s over 1.3 s, far above what a path here carries.
const MAX_WINDOW: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn ack(controller: &mut NewReno, sent_ms: u64, bytes: u64, in_flight_before: u64) {
        let mut rtt = Rtt::new();
        rtt.update(Instant::from_millis(1), Duration::from_millis(50), Default::default());
        controller.on_ack(&AckSample {
            now: Instant::from_millis(sent_ms + 50),
            bytes,
            newest_sent_at: Instant::from_millis(sent_ms),
            rtt: &rtt,
            in_flight_before,
            in_flight: in_flight_before - bytes,
            delivered: bytes,
            interval: Duration::from_millis(50),
        });
    }

    fn lose(controller: &mut NewReno, now_ms: u64, sent_ms: u64, persistent: bool) {
        controller.on_loss(&LossSample {
            now: Instant::from_millis(now_ms),
            bytes: STEP,
            newest_sent_at: Instant::from_millis(sent_ms),
            in_flight: 0,
            persistent,
        });
    }

    #[test]
    fn slow_start_doubles_a_used_window() {
        let mut reno = NewReno::new();
        ack(&mut reno, 0, INITIAL_WINDOW, INITIAL_WINDOW);
        assert_eq!(reno.window(), 2 * INITIAL_WINDOW);
        ack(&mut reno, 60, STEP, 4 * STEP);
        assert_eq!(reno.window(), 2 * INITIAL_WINDOW, "unused windows do not grow");
    }

    #[test]
    fn losses_of_one_round_trip_halve_once() {
        let mut reno = NewReno::new();
        lose(&mut reno, 100, 50, false);
        lose(&mut reno, 110, 60, false);
        lose(&mut reno, 150, 100, false);
        assert_eq!(reno.window(), INITIAL_WINDOW / 2);
        ack(&mut reno, 100, INITIAL_WINDOW, INITIAL_WINDOW);
        assert_eq!(reno.window(), INITIAL_WINDOW / 2, "sent before the reduction");
        lose(&mut reno, 200, 101, false);
        assert_eq!(reno.window(), INITIAL_WINDOW / 4);
        for n in 0..10 {
            lose(&mut reno, 300 + 10 * n, 299 + 10 * n, false);
        }
        assert_eq!(reno.window(), MIN_WINDOW);
    }

    #[test]
    fn after_a_loss_growth_is_one_packet_a_round_trip() {
        let mut reno = NewReno::new();
        lose(&mut reno, 100, 50, false);
        let window = reno.window();
        for packet in 0..window / STEP - 1 {
            ack(&mut reno, 101 + packet, STEP, window);
            assert_eq!(reno.window(), window);
        }
        ack(&mut reno, 140, STEP, window);
        assert_eq!(reno.window(), window + STEP);
    }

    #[test]
    fn persistent_congestion_starts_from_the_floor() {
        let mut reno = NewReno::new();
        lose(&mut reno, 1000, 900, true);
        assert_eq!(reno.window(), MIN_WINDOW);
        ack(&mut reno, 950, MIN_WINDOW, MIN_WINDOW);
        assert_eq!(reno.window(), 2 * MIN_WINDOW, "slow start up to the old half");
    }

    #[test]
    fn the_window_is_paced_over_less_than_a_round_trip() {
        let mut reno = NewReno::new();
        assert_eq!(reno.pacing_rate(), None);
        ack(&mut reno, 0, STEP, STEP);
        assert_eq!(reno.pacing_rate(), Some(2 * INITIAL_WINDOW * 20), "slow start: twice");
        lose(&mut reno, 100, 50, false);
        assert_eq!(reno.pacing_rate(), Some(INITIAL_WINDOW / 2 * 20 * 5 / 4));
    }

    #[test]
    fn a_fixed_window_stays() {
        let mut kind = ControllerKind::Fixed(Fixed { window: 7, rate: Some(9) });
        kind.on_loss(&LossSample {
            now: Instant::ZERO,
            bytes: 1,
            newest_sent_at: Instant::ZERO,
            in_flight: 0,
            persistent: true,
        });
        assert_eq!((kind.window(), kind.pacing_rate()), (7, Some(9)));
    }
}
