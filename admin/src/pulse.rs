//! Whether every thread of a relay goes on.

use core::time::Duration;
use std::time::Instant;

use waylane_relay::RelayState;

/// What was seen of the threads' turns when somebody asked.
#[derive(Default)]
pub(crate) struct Pulse {
    /// Each thread's turns, and since when it has had as many.
    threads: Vec<(u64, Instant)>,
}

impl Pulse {
    /// Whether no thread has stood still for [`STILL`], as far as has been seen: who asks once learns
    /// nothing, who asks again does. `turns` are as
    /// [`RelayHandle::turns`](waylane_relay::RelayHandle::turns) has them.
    pub(crate) fn beats(&mut self, now: Instant, state: RelayState, turns: &[u64]) -> bool {
        // Before and after it runs a relay has no threads that could.
        if !matches!(state, RelayState::Serving | RelayState::Draining) {
            self.threads.clear();
            return true;
        }
        self.threads.resize(turns.len(), (u64::MAX, now));
        let threads = self.threads.iter_mut().zip(turns);
        threads.fold(true, |beats, ((seen, since), &turns)| {
            if *seen != turns {
                (*seen, *since) = (turns, now);
            }
            beats && now.duration_since(*since) < STILL
        })
    }
}

/// A thread takes a turn each second at least. The owner of the sessions takes longer while a next
/// relay that does not get on takes over, some 10 s at most.
pub(crate) const STILL: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_stands_still_is_noticed_whichever_it_is() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        for hung in 0..3 {
            let mut pulse = Pulse::default();
            let mut turns = [7, 8, 9];
            for second in 0..60 {
                assert!(pulse.beats(at(second), RelayState::Serving, &turns), "{second} s");
                turns.iter_mut().for_each(|turns| *turns += 1);
            }
            let stopped_at = turns[hung];
            for second in 60..90 {
                turns.iter_mut().for_each(|turns| *turns += 1);
                turns[hung] = stopped_at;
                let beats = pulse.beats(at(second), RelayState::Draining, &turns);
                assert_eq!(beats, second < 75, "{hung} after {second} s");
            }
            turns[hung] += 1;
            assert!(pulse.beats(at(90), RelayState::Serving, &turns), "it goes on again");
        }
    }

    #[test]
    fn what_does_not_run_does_not_hang_and_a_first_look_tells_nothing() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut pulse = Pulse::default();
        for second in 0..60 {
            assert!(pulse.beats(at(second), RelayState::Starting, &[0, 0]));
        }
        assert!(pulse.beats(at(60), RelayState::Serving, &[0, 0]));
        assert!(pulse.beats(at(74), RelayState::Serving, &[0, 0]));
        assert!(!pulse.beats(at(75), RelayState::Serving, &[0, 0]));
        assert!(pulse.beats(at(76), RelayState::Stopped, &[0, 0]));
    }
}
