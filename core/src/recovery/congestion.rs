//! How much may be in flight on a path: the seam and its first controllers.

use core::time::Duration;

use super::rtt::Rtt;
use super::steered::{RateBounds, Steered};
use crate::time::Instant;

/// Decides how much a path may carry. Told of everything that happens on it.
pub trait Controller {
    /// Packets were newly acknowledged, told once for all that one acknowledgement names.
    fn on_ack(&mut self, sample: &AckSample<'_>);
    /// Packets were found lost, told once for all found together.
    fn on_loss(&mut self, sample: &LossSample);
    /// Packets of `bytes` that were told as lost turn out to have arrived.
    fn on_spurious_loss(&mut self, bytes: u64);
    /// Bytes that may be in flight.
    fn window(&self) -> u64;
    /// Bytes per second at which packets should leave; `None` for no limit but the window.
    fn pacing_rate(&self) -> Option<u64>;
    /// How long a packet now waits in the path's queues, as far as that can be told.
    fn queue_delay(&self) -> Duration;
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
    /// The round trip of the newest packet, if this acknowledgement gives one.
    pub round_trip: Option<Duration>,
    /// The path's round-trip times, this acknowledgement included.
    pub rtt: &'a Rtt,
    /// Bytes delivered since the newest packet was sent, and…
    pub delivered: u64,
    /// …the time that took, by the slower of sending and acknowledging: together a sample of the
    /// path's delivery rate (draft-cheng-iccrg-delivery-rate-estimation §2).
    pub interval: Duration,
    /// Whether there was too little to send to fill the path then.
    pub app_limited: bool,
}

/// What a loss says about a path.
#[derive(Clone, Copy, Debug)]
pub struct LossSample {
    /// When it was found.
    pub now: Instant,
    /// Bytes lost.
    pub bytes: u64,
    /// Nothing came through for so long that all earlier knowledge is void (RFC 9002 §7.6).
    pub persistent: bool,
}

/// The controllers there are.
#[derive(Clone, Copy, Debug)]
pub enum ControllerKind {
    /// A model of the path, steered by delay.
    Steered(Steered),
    /// A window that never moves.
    Fixed(Fixed),
}

impl ControllerKind {
    /// Steered, for a path of which nothing is known.
    pub const NEW: Self = Self::Steered(Steered::new(RateBounds::NONE));
}

impl Default for ControllerKind {
    fn default() -> Self {
        Self::NEW
    }
}

impl Controller for ControllerKind {
    fn on_ack(&mut self, sample: &AckSample<'_>) {
        match self {
            Self::Steered(c) => c.on_ack(sample),
            Self::Fixed(c) => c.on_ack(sample),
        }
    }

    fn on_loss(&mut self, sample: &LossSample) {
        match self {
            Self::Steered(c) => c.on_loss(sample),
            Self::Fixed(c) => c.on_loss(sample),
        }
    }

    fn on_spurious_loss(&mut self, bytes: u64) {
        match self {
            Self::Steered(c) => c.on_spurious_loss(bytes),
            Self::Fixed(c) => c.on_spurious_loss(bytes),
        }
    }

    fn window(&self) -> u64 {
        match self {
            Self::Steered(c) => c.window(),
            Self::Fixed(c) => c.window(),
        }
    }

    fn pacing_rate(&self) -> Option<u64> {
        match self {
            Self::Steered(c) => c.pacing_rate(),
            Self::Fixed(c) => c.pacing_rate(),
        }
    }

    fn queue_delay(&self) -> Duration {
        match self {
            Self::Steered(c) => c.queue_delay(),
            Self::Fixed(c) => c.queue_delay(),
        }
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
    fn on_ack(&mut self, _sample: &AckSample<'_>) {}

    fn on_loss(&mut self, _sample: &LossSample) {}

    fn on_spurious_loss(&mut self, _bytes: u64) {}

    fn window(&self) -> u64 {
        self.window
    }

    fn pacing_rate(&self) -> Option<u64> {
        self.rate
    }

    fn queue_delay(&self) -> Duration {
        Duration::ZERO
    }
}

/// One packet's worth, the unit of windows.
pub(super) const STEP: u64 = 1200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixed_window_stays() {
        let mut kind = ControllerKind::Fixed(Fixed { window: 7, rate: Some(9) });
        kind.on_loss(&LossSample { now: Instant::ZERO, bytes: 1, persistent: true });
        assert_eq!((kind.window(), kind.pacing_rate()), (7, Some(9)));
    }
}
