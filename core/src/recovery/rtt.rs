//! Round-trip times of one path (RFC 9002 §5).

use core::time::Duration;

use crate::time::{Instant, micros};

/// Time that packets and their acknowledgement spent at the ends of the path and not on it, as the
/// Ack frame tells it (wire.md §2). A caller that knows how long the acknowledgement lay in its own
/// host adds that to both.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct EndDelay {
    /// From the arrival of the newest acknowledged packet at the peer's host to the
    /// acknowledgement's sending.
    pub ack: Duration,
    /// The longest that one of the packets had waited there for the application's frame loop to
    /// read it: the newest may have come just in time.
    pub host: Duration,
}

/// The estimate of one path's round-trip time, in the caller's clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rtt {
    latest_us: u32,
    smoothed_us: u32,
    variation_us: u32,
    min_us: u32,
    jitter_us: u32,
    end_delay_us: u32,
    /// Added to the round trip before a packet counts as lost, in eighths of it.
    patience: u8,
    /// [`Instant::FAR`] before there is one.
    first_sample_at: Instant,
}

impl Rtt {
    /// No sample yet: [`INITIAL_RTT`] is assumed.
    #[must_use]
    pub const fn new() -> Self {
        Self::assuming(INITIAL_RTT)
    }

    /// No sample of data yet, but a guess, for example from the handshake.
    #[must_use]
    pub const fn assuming(guess: Duration) -> Self {
        let us = short(guess);
        Self {
            latest_us: us,
            smoothed_us: us,
            variation_us: us / 2,
            min_us: us,
            jitter_us: 0,
            end_delay_us: 0,
            patience: 1,
            first_sample_at: Instant::FAR,
        }
    }

    /// Takes in that a packet was acknowledged `elapsed` after it was sent.
    ///
    /// The newest packet's time at the ends is taken off wholly, from the minimum too: frame loops
    /// would else look like a longer path, or like a queue. (RFC 9002 §5.3 trusts less. A peer that
    /// claims too much only has itself sent more, or less.) [`pto`](Self::pto) allows for what was
    /// seen, of all packets.
    pub fn update(&mut self, now: Instant, elapsed: Duration, delay: EndDelay) {
        let longest = delay.ack.max(delay.host);
        let lately = self.end_delay_us - self.end_delay_us / 8;
        self.end_delay_us = lately.max(short(longest).min(MAX_END_DELAY_US));
        // No packet can have waited for longer than the whole took: such a claim counts for nothing.
        let at_ends = if delay.ack < elapsed { delay.ack } else { Duration::ZERO };
        let sample = short(elapsed - at_ends);
        if self.first_sample_at == Instant::FAR {
            self.first_sample_at = now;
            self.min_us = sample;
            self.latest_us = sample;
            self.smoothed_us = sample;
            self.variation_us = sample / 2;
            return;
        }
        self.min_us = self.min_us.min(sample);
        self.variation_us = weigh(self.variation_us, self.smoothed_us.abs_diff(sample), 4);
        self.jitter_us = weigh(self.jitter_us, self.latest_us.abs_diff(sample), 16);
        self.smoothed_us = weigh(self.smoothed_us, sample, 8);
        self.latest_us = sample;
    }

    /// How long packets and acknowledgements lately lay at the ends: the longest time, forgotten by
    /// an eighth with each sample.
    #[must_use]
    pub const fn end_delay(&self) -> Duration {
        Duration::from_micros(self.end_delay_us as u64)
    }

    /// The latest sample, without the time at the ends.
    #[must_use]
    pub const fn latest(&self) -> Duration {
        Duration::from_micros(self.latest_us as u64)
    }

    /// The exponentially weighted mean of samples.
    #[must_use]
    pub const fn smoothed(&self) -> Duration {
        Duration::from_micros(self.smoothed_us as u64)
    }

    /// The mean deviation from the smoothed value.
    #[must_use]
    pub const fn variation(&self) -> Duration {
        Duration::from_micros(self.variation_us as u64)
    }

    /// The smallest sample.
    #[must_use]
    pub const fn min(&self) -> Duration {
        Duration::from_micros(self.min_us as u64)
    }

    /// The mean difference between one sample and the next, smoothed as in RFC 3550 §6.4.1.
    #[must_use]
    pub const fn jitter(&self) -> Duration {
        Duration::from_micros(self.jitter_us as u64)
    }

    /// When the first sample came in; `None` while everything here is a guess.
    #[must_use]
    pub fn first_sample_at(&self) -> Option<Instant> {
        (self.first_sample_at != Instant::FAR).then_some(self.first_sample_at)
    }

    /// How long to wait for an acknowledgement before probing (RFC 9002 §6.2.1), allowing for the
    /// peer's promised `max_ack_delay` or what its frame loop lately made of it.
    #[must_use]
    pub fn pto(&self, max_ack_delay: Duration) -> Duration {
        Duration::from_micros(self.pto_us(micros(max_ack_delay)))
    }

    /// The same in microseconds.
    pub(super) fn pto_us(&self, max_ack_delay_us: u64) -> u64 {
        let variation = (u64::from(self.variation_us) * 4).max(micros(GRANULARITY));
        let ends = u64::from(self.end_delay_us).max(max_ack_delay_us);
        (u64::from(self.smoothed_us) + variation).saturating_add(ends)
    }

    /// How much later than a later packet's a packet's sending may lie back before it counts as
    /// lost: 9/8 of the round trip (RFC 9002 §6.1.2), more where that proved too hasty.
    #[must_use]
    pub fn loss_delay(&self) -> Duration {
        let rtt = u64::from(self.latest_us.max(self.smoothed_us));
        let patience = rtt / 8 * u64::from(self.patience);
        Duration::from_micros(rtt + patience).max(GRANULARITY)
    }

    /// A packet that counted as lost after [`loss_delay`](Self::loss_delay) arrived.
    pub fn on_hasty_loss(&mut self) {
        self.patience = (self.patience + 1).min(PATIENCE_MAX);
    }
}

impl Default for Rtt {
    fn default() -> Self {
        Self::new()
    }
}

/// Microseconds, of which an hour's worth fits: every peer has these for each path.
const fn short(duration: Duration) -> u32 {
    let us = micros(duration);
    if us > u32::MAX as u64 { u32::MAX } else { us as u32 }
}

/// Moves `mean` by 1/`parts` towards `sample`.
fn weigh(mean: u32, sample: u32, parts: u32) -> u32 {
    (mean - mean / parts).saturating_add(sample / parts)
}

/// Round-trip time before any sample. RFC 9002 takes 333 ms; game players are put together nearby,
/// and a first probe too early costs one small packet.
pub const INITIAL_RTT: Duration = Duration::from_millis(200);

/// Timers do not promise more than this (RFC 9002 §6.1.2).
pub const GRANULARITY: Duration = Duration::from_millis(1);

/// Packets are not waited for longer than 1.5 round trips.
const PATIENCE_MAX: u8 = 4;

/// A peer's stall longer than this does not lengthen later probe time-outs any more.
const MAX_END_DELAY_US: u32 = 250_000;

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn after(rtt: &mut Rtt, elapsed: Duration, ack: Duration, host: Duration) {
        rtt.update(Instant::from_millis(1000), elapsed, EndDelay { ack, host });
    }

    #[test]
    fn the_first_sample_replaces_the_guess() {
        let mut rtt = Rtt::new();
        assert_eq!(rtt.pto(25 * MS), 200 * MS + 400 * MS + 25 * MS);
        assert_eq!(rtt.first_sample_at(), None);
        after(&mut rtt, 40 * MS, 10 * MS, Duration::ZERO);
        assert_eq!((rtt.smoothed(), rtt.variation(), rtt.min()), (30 * MS, 15 * MS, 30 * MS));
        assert_eq!(rtt.first_sample_at(), Some(Instant::from_millis(1000)));
    }

    #[test]
    fn time_at_the_ends_is_not_taken_for_the_path() {
        let mut rtt = Rtt::new();
        after(&mut rtt, 40 * MS, Duration::ZERO, Duration::ZERO);
        after(&mut rtt, 80 * MS, 40 * MS, 16 * MS);
        assert_eq!((rtt.latest(), rtt.smoothed(), rtt.min()), (40 * MS, 40 * MS, 40 * MS));
        assert_eq!(rtt.variation(), 15 * MS);
        assert_eq!(rtt.jitter(), Duration::ZERO);
        assert_eq!(rtt.end_delay(), 40 * MS);
    }

    #[test]
    fn a_claim_longer_than_the_whole_counts_for_nothing() {
        let mut rtt = Rtt::new();
        after(&mut rtt, 40 * MS, Duration::ZERO, Duration::ZERO);
        after(&mut rtt, 56 * MS, 56 * MS, Duration::ZERO);
        assert_eq!(rtt.latest(), 56 * MS);
        after(&mut rtt, 56 * MS, Duration::MAX, Duration::MAX);
        assert_eq!((rtt.latest(), rtt.min()), (56 * MS, 40 * MS));
    }

    #[test]
    fn a_hasty_loss_makes_patient() {
        let mut rtt = Rtt::new();
        after(&mut rtt, 40 * MS, Duration::ZERO, Duration::ZERO);
        assert_eq!(rtt.loss_delay(), 45 * MS);
        for _ in 0..9 {
            rtt.on_hasty_loss();
        }
        assert_eq!(rtt.loss_delay(), 60 * MS);
    }

    #[test]
    fn frame_loops_in_step_are_not_taken_for_distance() {
        let mut rtt = Rtt::new();
        after(&mut rtt, 20_040 * MS, 20_005 * MS, 20_000 * MS);
        assert_eq!((rtt.smoothed(), rtt.min()), (35 * MS, 35 * MS), "a stalled peer is not far");
        for _ in 0..50 {
            after(&mut rtt, 50 * MS, 16 * MS, 15 * MS);
        }
        assert_eq!(rtt.min(), 34 * MS);
        assert!(rtt.smoothed() < 35 * MS);
    }

    #[test]
    fn jitter_follows_differences_between_samples() {
        let mut rtt = Rtt::new();
        for n in 0..200 {
            let elapsed = if n % 2 == 0 { 40 * MS } else { 48 * MS };
            after(&mut rtt, elapsed, Duration::ZERO, Duration::ZERO);
        }
        assert!(rtt.jitter().abs_diff(8 * MS) < MS, "{:?}", rtt.jitter());
    }

    #[test]
    fn probes_wait_for_a_slow_frame_loop_and_forget_it() {
        let mut rtt = Rtt::new();
        after(&mut rtt, 40 * MS, Duration::ZERO, Duration::ZERO);
        after(&mut rtt, 100 * MS, 58 * MS, 33 * MS);
        let slow = rtt.pto(25 * MS);
        assert_eq!(slow, rtt.smoothed() + 4 * rtt.variation() + 58 * MS);
        for _ in 0..100 {
            after(&mut rtt, 40 * MS, Duration::ZERO, Duration::ZERO);
        }
        assert!(rtt.pto(25 * MS) < 70 * MS);
    }

    #[test]
    fn huge_samples_saturate() {
        let mut rtt = Rtt::assuming(Duration::MAX);
        after(&mut rtt, Duration::MAX, Duration::ZERO, Duration::ZERO);
        after(&mut rtt, Duration::MAX, Duration::ZERO, Duration::ZERO);
        assert!(rtt.pto(Duration::MAX) >= rtt.smoothed());
        assert!(rtt.loss_delay() >= rtt.smoothed());
    }
}
