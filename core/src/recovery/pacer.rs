//! When the next packet may leave, so that a rate becomes an even stream (RFC 9002 §7.7).

use core::time::Duration;

use crate::time::{Instant, micros};

/// One path's credit.
///
/// Bursts are of two packets or what a millisecond carries. A caller that comes later than it was
/// asked to (an application that calls only once a frame) finds the credit of the time since, up to
/// [`LATENESS_MAX_US`] and [`BURST_MAX`], and when it begins anew after a pause, as much as it has lately been late.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pacer {
    /// In bytes × [`SCALE`]; negative after data that did not wait.
    credit: i64,
    filled_at: Instant,
    /// How late the caller lately came, in µs.
    lateness: u32,
    /// Whether credit was lost because the caller came so late: what leaves says nothing about the
    /// path.
    cut: bool,
}

impl Pacer {
    pub(super) const fn new() -> Self {
        Self { credit: 0, filled_at: Instant::ZERO, lateness: 0, cut: false }
    }

    /// Whether a packet of `bytes` may leave now at `rate` bytes per second; if not, when.
    pub(super) fn admit(&mut self, now: Instant, rate: u64, bytes: u64) -> Result<(), Instant> {
        self.fill(now, rate, bytes);
        if self.credit >= scaled(bytes) {
            return Ok(());
        }
        // A millisecond's worth at a time, so that fast paths are not woken for each packet.
        let quantum = carried(rate, QUANTUM_US).max(scaled(bytes));
        let missing = quantum.saturating_sub(self.credit).unsigned_abs();
        let wait = Duration::from_micros(missing.div_ceil(rate.max(1))).min(LONGEST_WAIT);
        Err(now + wait)
    }

    /// The caller came so much later than it was asked to.
    pub(super) fn on_late(&mut self, late: Duration) {
        let late = micros(late).min(LATENESS_MAX_US) as u32;
        self.lateness = late.max(self.lateness - self.lateness / 8);
    }

    /// Whether the caller lately came too late for the rate.
    pub(super) const fn is_cut(&self) -> bool {
        self.cut
    }

    /// A packet of `bytes` left.
    pub(super) fn spend(&mut self, bytes: u64) {
        self.credit = self.credit.saturating_sub(scaled(bytes)).max(-scaled(DEBT_MAX));
    }

    fn fill(&mut self, now: Instant, rate: u64, bytes: u64) {
        let passed = now.micros_since(self.filled_at);
        self.filled_at = now;
        let allowance = (QUANTUM_US + u64::from(self.lateness)).min(LATENESS_MAX_US);
        let most = carried(rate, allowance).min(scaled(BURST_MAX)).max(scaled(2 * bytes));
        let earned = self.credit.saturating_add(carried(rate, passed));
        if passed > 0 {
            self.cut = allowance == LATENESS_MAX_US && earned > most;
        }
        self.credit = earned.min(most);
    }
}

/// What `rate` bytes per second come to in so many microseconds, in units of the credit.
fn carried(rate: u64, micros: u64) -> i64 {
    i64::try_from(rate.saturating_mul(micros)).unwrap_or(i64::MAX)
}

/// `value` in units of the credit: byte × µs per second, so that nothing is lost by rounding.
const fn scaled(value: u64) -> i64 {
    (value as i64).saturating_mul(SCALE)
}

const SCALE: i64 = 1_000_000;
const QUANTUM_US: u64 = 1_000;

/// Credit of a longer time is lost: twice a frame at 60 Hz.
const LATENESS_MAX_US: u64 = 33_000;

/// More never leaves at once, or it overflows the sockets that it arrives in: over loopback a burst
/// of all that six milliseconds carry lost a tenth of its packets.
const BURST_MAX: u64 = 512 * 1024;

/// What did not wait is made up for, up to this many bytes.
const DEBT_MAX: u64 = 16 * 1024;

const LONGEST_WAIT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 1200;

    /// Sends as much as may leave at `now`; answers how many packets, and when to come again.
    fn burst(pacer: &mut Pacer, now: Instant, rate: u64) -> (u64, Instant) {
        let mut packets = 0;
        loop {
            match pacer.admit(now, rate, SIZE) {
                Ok(()) => pacer.spend(SIZE),
                Err(at) => return (packets, at),
            }
            packets += 1;
        }
    }

    #[test]
    fn who_comes_when_asked_sends_an_even_stream() {
        for rate in [10_000, 1_200_000, 125_000_000] {
            let mut pacer = Pacer::new();
            let start = Instant::from_millis(5000);
            let (mut now, mut sent, end) = (start, 0, start + Duration::from_secs(4));
            while now < end {
                let (packets, at) = burst(&mut pacer, now, rate);
                assert!(packets <= 2.max(1 + rate / 1000 / SIZE), "{packets} at once at {rate}");
                assert!(at > now);
                sent += packets * SIZE;
                now = at;
            }
            assert!(sent.abs_diff(4 * rate) <= 4 * rate / 50 + 2 * SIZE, "{sent} at {rate}");
        }
    }

    #[test]
    fn who_comes_once_a_frame_gets_its_bandwidth_too() {
        let mut pacer = Pacer::new();
        let start = Instant::from_millis(5000);
        let sent: u64 = (0..240)
            .scan(start, |asked, frame| {
                let now = start + Duration::from_micros(16_667) * frame;
                pacer.on_late(now.since(*asked));
                let (packets, at) = burst(&mut pacer, now, 1_200_000);
                *asked = at;
                Some(packets * SIZE)
            })
            .sum();
        assert!(sent >= 4_700_000, "{sent}");
    }

    #[test]
    fn who_comes_late_at_a_high_rate_overflows_no_socket() {
        let mut pacer = Pacer::new();
        let start = Instant::from_millis(5000);
        pacer.on_late(Duration::from_millis(30));
        let sent = burst(&mut pacer, start, 1_000_000_000).0 * SIZE;
        assert!(sent <= BURST_MAX && sent > BURST_MAX - SIZE, "{sent}");
    }

    #[test]
    fn a_pause_earns_two_packets() {
        let mut pacer = Pacer::new();
        burst(&mut pacer, Instant::from_millis(5000), 120_000);
        assert_eq!(burst(&mut pacer, Instant::from_millis(9000), 120_000).0, 2);
    }

    #[test]
    fn what_did_not_wait_is_paid_back() {
        let mut pacer = Pacer::new();
        let now = Instant::from_millis(5000);
        burst(&mut pacer, now, 1_200_000);
        for _ in 0..4 {
            pacer.spend(SIZE);
        }
        assert_eq!(pacer.admit(now, 1_200_000, SIZE), Err(now + Duration::from_millis(5)));
    }
}
