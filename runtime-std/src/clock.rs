//! The one place where the client reads clocks.

use core::time::Duration;
use std::time::{SystemTime, UNIX_EPOCH};

use waylane_core::time::{Instant, micros};

/// Core's clock: microseconds since the manager's start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: std::time::Instant,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { start: std::time::Instant::now() }
    }

    pub(crate) fn now(self) -> Instant {
        Instant::from_micros(micros(self.start.elapsed()))
    }

    /// The moment on the system's monotonic clock; `None` for [`Instant::FAR`] and for moments the
    /// system cannot express.
    pub(crate) fn to_std(self, instant: Instant) -> Option<std::time::Instant> {
        if instant == Instant::FAR {
            return None;
        }
        self.start.checked_add(instant.since(Instant::ZERO))
    }
}

/// Wall-clock time in microseconds since 1970; 0 if the machine believes to be before that.
pub(crate) fn unix_micros() -> u64 {
    micros(wall_clock())
}

/// Wall-clock time since 1970; zero if the machine believes to be before that.
pub(crate) fn wall_clock() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_clocks_agree() {
        let clock = Clock::new();
        let then = clock.to_std(Instant::from_millis(1500)).unwrap();
        assert_eq!(then - clock.start, Duration::from_millis(1500));
        assert_eq!(clock.to_std(Instant::FAR), None);
        let before = clock.now();
        assert!(clock.now() >= before);
    }
}
