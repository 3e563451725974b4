//! Whether the other side is still heard as often as it was: the quickest sign of a dead path.

use core::time::Duration;

use crate::time::{Instant, micros};

/// When packets of the other side come. In few bytes, as every peer has it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hearing {
    last_at: Instant,
    /// The mean pause between packets, in microseconds.
    pause_us: u32,
}

impl Hearing {
    pub(super) const fn new() -> Self {
        Self { last_at: Instant::ZERO, pause_us: PAUSE_MAX_US }
    }

    /// A packet came.
    pub(super) fn on_packet(&mut self, now: Instant) {
        let pause = micros(now.since(self.last_at)).min(PAUSE_MAX_US as u64) as u32;
        self.pause_us = self.pause_us - self.pause_us / 16 + pause / 16;
        self.last_at = now;
    }

    /// When it is time to wonder about the silence since, sooner if there is another path; `None` if
    /// packets come too rarely for silence to say anything.
    pub(super) fn wonders_at(&self, has_several: bool) -> Option<Instant> {
        let pause = Duration::from_micros(self.pause_us.into());
        let least = if has_several { SILENCE_MIN } else { SILENCE_MIN_ALONE };
        (pause <= STEADY_PAUSE).then(|| self.last_at + (pause * 3 + MARGIN).max(least))
    }
}

/// Longer pauses count as this long, so that they are soon forgotten.
const PAUSE_MAX_US: u32 = 1_000_000;
/// Who sends less often than this is not missed so soon: probe time-outs and keep-alives tell.
const STEADY_PAUSE: Duration = Duration::from_millis(200);
/// What is waited for besides three mean pauses: a frame and some jitter.
const MARGIN: Duration = Duration::from_millis(25);
/// Bulk data pauses for this long without a reason.
const SILENCE_MIN: Duration = Duration::from_millis(50);
/// Without another path nothing can be done about a burst of losses, which this outlasts.
const SILENCE_MIN_ALONE: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    /// Packets every `pause` ms; answers how long after the last one it wonders.
    fn wonders_after(pauses: impl IntoIterator<Item = u64>) -> Option<u64> {
        let mut hearing = Hearing::new();
        let mut ms = 5000;
        for pause in pauses {
            ms += pause;
            hearing.on_packet(Instant::from_millis(ms));
        }
        assert!(hearing.wonders_at(false) >= hearing.wonders_at(true));
        Some(hearing.wonders_at(true)?.as_millis() - ms)
    }

    #[test]
    fn silence_is_noticed_by_how_often_packets_came() {
        let after = |pause, count| wonders_after(core::iter::repeat_n(pause, count));
        assert!((70..80).contains(&after(16, 200).unwrap()), "60 a second: {:?}", after(16, 200));
        assert!((170..180).contains(&after(50, 200).unwrap()));
        assert_eq!(after(1, 500), Some(50));
        assert_eq!(after(300, 500), None);
        assert_eq!(after(16, 3), None, "too few yet");
        let after_a_break = [16; 200].into_iter().chain([20_000]).chain([16; 60]);
        assert!(wonders_after(after_a_break).unwrap() < 100);
    }
}
