//! How far away a relay is: stateless probes, their round trips and losses (states.md, Measuring).

use core::time::Duration;

use super::RelaySlot;
use crate::crypto::Crypto;
use crate::endpoint::counters::Refusal;
use crate::time::{Instant, micros};
use crate::wire::hop::Probe;

/// What probes of one relay have told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measure {
    /// Of the probe that is not answered yet.
    nonce: [u8; 8],
    sent_at: Instant,
    next_at: Instant,
    latest_us: u32,
    rtt_us: u32,
    jitter_us: u32,
    /// The last eight probes, the latest lowest: set if it was lost.
    lost: u8,
    /// How many were answered, as far as that matters.
    answers: u8,
    /// So many more follow a second apart: something is to be found out.
    hurried: u8,
}

impl Measure {
    /// Nothing known, and nothing asked until [`hurry`](Self::hurry).
    pub(crate) const fn new() -> Self {
        Self {
            nonce: [0; 8],
            sent_at: Instant::FAR,
            next_at: Instant::FAR,
            latest_us: 0,
            rtt_us: 0,
            jitter_us: 0,
            lost: 0,
            answers: 0,
            hurried: 0,
        }
    }

    /// The smoothed round trip, once there is one.
    pub(crate) fn rtt(&self) -> Option<Duration> {
        (self.answers > 0).then(|| Duration::from_micros(self.rtt_us.into()))
    }

    /// The smoothed difference from one round trip to the next.
    pub(crate) const fn jitter(&self) -> Duration {
        Duration::from_micros(self.jitter_us as u64)
    }

    /// The share of the last eight probes that was lost, in 1/1024.
    pub(crate) const fn loss(&self) -> u32 {
        self.lost.count_ones() * 128
    }

    /// Whether enough is known to choose by.
    pub(crate) const fn is_settled(&self) -> bool {
        self.answers >= SETTLED
    }

    /// Whether the latest probes were all lost.
    pub(crate) const fn is_silent(&self) -> bool {
        self.lost & SILENT == SILENT
    }

    /// What it costs to be far away, in microseconds: the round trip, what it varies by, and half a
    /// round trip for each of the last eight probes lost beyond one, which may be chance.
    pub(crate) fn score(&self) -> Option<u64> {
        let rtt = micros(self.rtt()?);
        let lost = u64::from(self.lost.count_ones().saturating_sub(1));
        Some(rtt + u64::from(self.jitter_us) + lost * rtt / 2)
    }

    /// Probes soon, and a few times a second apart; `wait` spreads the clients of a relay.
    pub(crate) fn hurry(&mut self, now: Instant, wait: Duration) {
        self.hurried = HURRIED;
        self.next_at = self.next_at.min(now + wait);
    }

    /// The latest round trip, in microseconds.
    pub(crate) const fn latest_us(&self) -> u64 {
        self.latest_us as u64
    }

    /// Probes a few times soon, as the latest answer differs from those before; unless that is so
    /// because it was done a moment ago.
    pub(crate) fn look_again(&mut self, now: Instant) {
        if self.hurried == 0 {
            self.hurry(now, HURRIED_PAUSE);
        }
    }

    /// The relay does not answer, as was found out otherwise.
    pub(crate) fn fall_silent(&mut self) {
        self.lost |= SILENT;
    }

    /// Forgets what was found out over another network.
    pub(crate) fn forget(&mut self, now: Instant, wait: Duration) {
        *self = Self::new();
        self.hurry(now, wait);
    }

    /// Asks for no more.
    pub(crate) fn stop(&mut self) {
        *self = Self::new();
    }

    /// From now on probes are so far apart.
    pub(crate) fn keep_pace(&mut self, now: Instant, pause: Duration) {
        if self.next_at != Instant::FAR {
            self.next_at = self.next_at.min(now + pause);
        }
    }

    pub(crate) const fn next_at(&self) -> Instant {
        self.next_at
    }

    /// A probe leaves now, the next one about `pause` later; `random` spreads them by a tenth.
    fn send(&mut self, now: Instant, pause: Duration, nonce: [u8; 8], random: u8) -> bool {
        let lost = self.sent_at != Instant::FAR;
        if lost {
            self.lost = (self.lost << 1) | 1;
        }
        let pause = if self.hurried > 0 { HURRIED_PAUSE } else { pause };
        self.hurried = self.hurried.saturating_sub(1);
        self.next_at = now + pause * 9 / 10 + pause * u32::from(random) / 1280;
        (self.nonce, self.sent_at) = (nonce, now);
        lost
    }

    /// An answer came that had `waited` in this host; `false` if it answers nothing.
    fn take(&mut self, now: Instant, waited: Duration, nonce: [u8; 8]) -> bool {
        if self.sent_at == Instant::FAR || nonce != self.nonce {
            return false;
        }
        let elapsed = micros(now.since(self.sent_at).saturating_sub(waited));
        let sample = u32::try_from(elapsed).unwrap_or(u32::MAX);
        self.sent_at = Instant::FAR;
        if self.is_silent() {
            // It is back: what it was like before says little.
            *self = Self { next_at: self.next_at, ..Self::new() };
            self.hurry(now, HURRIED_PAUSE);
        }
        self.lost <<= 1;
        self.latest_us = sample;
        if self.answers == 0 {
            self.rtt_us = sample;
        } else {
            self.jitter_us = weigh(self.jitter_us, self.rtt_us.abs_diff(sample));
            self.rtt_us = weigh(self.rtt_us, sample);
        }
        self.answers = self.answers.saturating_add(1);
        true
    }
}

impl<C: Crypto> RelaySlot<C> {
    pub(crate) fn measure(&self) -> &Measure {
        &self.measure
    }

    pub(crate) fn measure_mut(&mut self) -> &mut Measure {
        &mut self.measure
    }

    /// Writes a probe if one is due, the next one about `pause` later.
    pub(crate) fn poll_probe(
        &mut self,
        now: Instant,
        pause: Duration,
        crypto: &mut C,
        out: &mut [u8],
    ) -> Option<usize> {
        if self.measure.next_at > now {
            return None;
        }
        let mut random = [0; 9];
        crypto.random(&mut random);
        let [spread, nonce @ ..] = random;
        let lost = self.measure.send(now, pause, nonce, spread);
        if lost && self.measure.is_silent() {
            // Three in a row: a session there is asked whether it still lives; where there is none,
            // perhaps another of the relay's addresses answers.
            if self.bound.is_some() {
                self.ask(now);
            } else if self.attempt.is_none() {
                self.next_address();
            }
        }
        Probe { reply: false, nonce }.emit(out).ok()
    }

    pub(super) fn handle_probe_reply(
        &mut self,
        now: Instant,
        waited: Duration,
        bytes: &[u8],
    ) -> Result<(), Refusal> {
        let reply = Probe::parse(bytes).map_err(|_| Refusal::Malformed)?;
        let taken = self.measure.take(now, waited, reply.nonce);
        if !taken {
            return Err(Refusal::Unexpected);
        }
        // Who answers after its announced end is there again.
        self.draining.take_if(|draining| draining.until <= now);
        Ok(())
    }
}

const fn weigh(before: u32, sample: u32) -> u32 {
    let sum = before as u64 * 3 + sample as u64;
    (sum / 4) as u32
}

/// So many answers make an opinion.
const SETTLED: u8 = 2;
/// So many probes follow each other when something is to be found out.
const HURRIED: u8 = 4;
const HURRIED_PAUSE: Duration = Duration::from_millis(1000);
/// The latest three.
const SILENT: u8 = 0b111;

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(2);

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    #[test]
    fn round_trips_are_smoothed_and_time_in_the_host_is_taken_off() {
        let mut measure = Measure::new();
        assert_eq!((measure.rtt(), measure.score()), (None, None));
        measure.send(at(0), PAUSE, [1; 8], 0);
        assert!(!measure.take(at(40), Duration::ZERO, [2; 8]), "another nonce");
        assert!(measure.take(at(50), Duration::from_millis(10), [1; 8]));
        assert!(!measure.take(at(51), Duration::ZERO, [1; 8]), "a copy");
        assert_eq!(measure.rtt(), Some(Duration::from_millis(40)));
        measure.send(at(2000), PAUSE, [3; 8], 0);
        assert!(measure.take(at(2080), Duration::ZERO, [3; 8]));
        assert_eq!(measure.rtt(), Some(Duration::from_millis(50)));
        assert_eq!(measure.jitter(), Duration::from_millis(10));
        assert!(measure.is_settled());
    }

    #[test]
    fn what_is_not_answered_is_lost_and_costs() {
        let mut measure = Measure::new();
        measure.send(at(0), PAUSE, [1; 8], 0);
        measure.take(at(40), Duration::ZERO, [1; 8]);
        let before = measure.score().unwrap();
        for n in 1..=3 {
            assert!(!measure.is_silent());
            measure.send(at(n * 2000), PAUSE, [n as u8; 8], 0);
        }
        assert_eq!((measure.loss(), measure.score()), (256, Some(before * 3 / 2)));
        assert!(measure.send(at(9000), PAUSE, [9; 8], 0));
        assert!(measure.is_silent());
        assert!(measure.take(at(9080), Duration::ZERO, [9; 8]));
        assert_eq!((measure.loss(), measure.rtt()), (0, Some(Duration::from_millis(80))));
        assert!(!measure.is_settled(), "it begins anew");
    }

    #[test]
    fn probes_keep_their_pace_within_a_tenth_and_hurry_when_told() {
        let mut measure = Measure::new();
        assert_eq!(measure.next_at(), Instant::FAR);
        measure.hurry(at(0), Duration::from_millis(100));
        assert_eq!(measure.next_at(), at(100));
        for n in 0..HURRIED {
            measure.send(at(1000), PAUSE, [n; 8], 0);
            assert_eq!(measure.next_at(), at(1900));
        }
        for random in 0..=255 {
            measure.send(at(0), PAUSE, [0; 8], random);
            assert!((1800..2200).contains(&measure.next_at().as_millis()), "{measure:?}");
        }
        measure.send(at(0), Duration::from_secs(30), [0; 8], 128);
        measure.keep_pace(at(10), PAUSE);
        assert_eq!(measure.next_at(), at(2010));
    }
}
