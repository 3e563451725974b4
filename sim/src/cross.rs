//! Cross traffic: one bulk flow of a loss-based transport, as a download beside a game is.

use core::time::Duration;
use std::collections::BTreeMap;

use waylane_core::time::{Instant, micros};

/// What a [`CrossFlow`](crate::World::add_cross_flow) has done.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct CrossCounters {
    /// Packets sent.
    pub sent: u64,
    /// Packets acknowledged.
    pub acknowledged: u64,
    /// Packets found lost.
    pub lost: u64,
    /// Payload bytes acknowledged.
    pub bytes: u64,
}

/// The sender of a flow that always has something to send: CUBIC (RFC 9438) with slow start that
/// leaves on delay as Linux does (RFC 9406), clocked by acks, loss found by three later acks. A lost
/// packet's bytes go with the next packet; only the rate matters here.
#[derive(Debug)]
pub(crate) struct Cubic {
    pub(crate) counters: CrossCounters,
    window: f64,
    threshold: f64,
    /// The window before the last reduction.
    window_max: f64,
    /// What a Reno flow would have by now (RFC 9438 §4.3).
    window_reno: f64,
    epoch: Option<Instant>,
    next: u64,
    flying: BTreeMap<u64, Instant>,
    largest_acked: Option<u64>,
    /// Losses of packets below this belong to a reduction made already.
    recovery: u64,
    smoothed: Option<Duration>,
    variation: Duration,
    round: Round,
    deadline: Instant,
    backoff: u32,
    ended: bool,
}

/// The least round trips of this round and the last, for leaving slow start.
#[derive(Debug)]
struct Round {
    end: u64,
    last: Duration,
    this: Duration,
    samples: u32,
}

impl Cubic {
    /// UDP payload that stands for a full packet: 1500 bytes with the headers a link charges.
    pub(crate) const PACKET_LEN: usize = 1472;
    /// Payload of a full TCP segment with time stamps.
    pub(crate) const PAYLOAD_LEN: u64 = 1448;

    pub(crate) fn new() -> Self {
        Self {
            counters: CrossCounters::default(),
            window: 10.0,
            threshold: f64::INFINITY,
            window_max: 0.0,
            window_reno: 0.0,
            epoch: None,
            next: 0,
            flying: BTreeMap::new(),
            largest_acked: None,
            recovery: 0,
            smoothed: None,
            variation: Duration::ZERO,
            round: Round { end: 0, last: Duration::MAX, this: Duration::MAX, samples: 0 },
            deadline: Instant::FAR,
            backoff: 0,
            ended: false,
        }
    }

    /// The number of the next packet, if one may leave now.
    pub(crate) fn send(&mut self, now: Instant) -> Option<u64> {
        if self.ended || self.flying.len() as f64 >= self.window.max(1.0).floor() {
            return None;
        }
        let number = self.next;
        self.next += 1;
        self.flying.insert(number, now);
        self.counters.sent += 1;
        self.deadline = now + self.timeout();
        Some(number)
    }

    /// Nothing more is sent.
    pub(crate) const fn end(&mut self) {
        self.ended = true;
    }

    /// When to call [`Cubic::on_timeout`].
    pub(crate) const fn deadline(&self) -> Instant {
        self.deadline
    }

    pub(crate) fn on_ack(&mut self, now: Instant, number: u64) {
        let Some(sent) = self.flying.remove(&number) else { return };
        self.counters.acknowledged += 1;
        self.counters.bytes += Self::PAYLOAD_LEN;
        self.backoff = 0;
        self.sample(number, now.since(sent));
        self.largest_acked = self.largest_acked.max(Some(number));
        if self.find_losses() {
            self.reduce();
        } else if number >= self.recovery {
            self.grow(now);
        }
        self.deadline = if self.flying.is_empty() { Instant::FAR } else { now + self.timeout() };
    }

    pub(crate) fn on_timeout(&mut self) {
        self.counters.lost += self.flying.len() as u64;
        self.flying.clear();
        self.reduce();
        self.window = 1.0;
        self.backoff = (self.backoff + 1).min(6);
        self.deadline = Instant::FAR;
    }

    fn timeout(&self) -> Duration {
        let smoothed = self.smoothed.unwrap_or(Duration::from_secs(1));
        (smoothed + self.variation * 4).max(LEAST_TIMEOUT) * (1 << self.backoff)
    }

    fn sample(&mut self, number: u64, sample: Duration) {
        let Some(smoothed) = self.smoothed else {
            self.smoothed = Some(sample);
            self.variation = sample / 2;
            return;
        };
        self.variation = (self.variation * 3 + smoothed.abs_diff(sample)) / 4;
        self.smoothed = Some((smoothed * 7 + sample) / 8);
        let round = &mut self.round;
        if number >= round.end {
            *round = Round { end: self.next, last: round.this, this: Duration::MAX, samples: 0 };
        }
        round.this = round.this.min(sample);
        round.samples += 1;
        if self.window < self.threshold && round.samples >= 8 && round.last != Duration::MAX {
            let margin =
                (round.last / 8).clamp(Duration::from_millis(4), Duration::from_millis(16));
            if round.this >= round.last + margin {
                self.threshold = self.window;
            }
        }
    }

    fn find_losses(&mut self) -> bool {
        let Some(largest) = self.largest_acked else { return false };
        let mut reduces = false;
        while let Some((&number, _)) = self.flying.first_key_value() {
            if number + 3 > largest {
                break;
            }
            self.flying.remove(&number);
            self.counters.lost += 1;
            reduces |= number >= self.recovery;
        }
        reduces
    }

    fn reduce(&mut self) {
        // Fast convergence (RFC 9438 §4.7).
        let converges = self.window < self.window_max;
        self.window_max = if converges { self.window * (1.0 + BETA) / 2.0 } else { self.window };
        self.window = (self.window * BETA).max(2.0);
        self.threshold = self.window;
        self.epoch = None;
        self.recovery = self.next;
    }

    fn grow(&mut self, now: Instant) {
        if self.window < self.threshold {
            self.window += 1.0;
            return;
        }
        let epoch = *self.epoch.get_or_insert_with(|| {
            self.window_reno = self.window;
            self.window_max = self.window_max.max(self.window);
            now
        });
        let round_trip = self.smoothed.unwrap_or_default();
        let seconds = (micros(now.since(epoch)) + micros(round_trip)) as f64 / 1e6;
        // The system's own functions differ in the last bit from one to the other.
        let k = libm::cbrt((self.window_max * (1.0 - BETA)) / C);
        let since = seconds - k;
        let target = C * (since * since * since) + self.window_max;
        let target = target.clamp(self.window, self.window * 1.5);
        self.window_reno += 3.0 * (1.0 - BETA) / (1.0 + BETA) / self.window;
        self.window += (target - self.window) / self.window;
        self.window = self.window.max(self.window_reno);
    }
}

/// RFC 9438 §4.6 and §4.1.
const BETA: f64 = 0.7;
const C: f64 = 0.4;
/// Linux's.
const LEAST_TIMEOUT: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;
    use crate::link::{Bottleneck, Lane, Link};
    use crate::random::Random;

    /// One flow alone over 10 Mbit/s, 40 ms, a queue of 100 ms; how much of the link it gets.
    fn alone(loss: f64) -> (f64, Cubic) {
        let bottleneck = Some(Bottleneck::megabits(10, Duration::from_millis(100)));
        let link = Link { bottleneck, loss, ..Link::delayed(Duration::from_millis(40)) };
        let mut lane = Lane::of(link);
        let mut random = Random::new(1);
        let mut flow = Cubic::new();
        let mut acks = VecDeque::new();
        let (mut now, end) = (Instant::ZERO, Instant::from_millis(30_000));
        while now < end {
            while let Some(number) = flow.send(now) {
                let [first, _] = lane.send(now, Cubic::PACKET_LEN, &mut random);
                acks.extend(first.map(|arrival| (arrival.at, number)));
            }
            match acks.front() {
                Some(&(at, number)) if at <= flow.deadline() => {
                    now = at;
                    acks.pop_front();
                    flow.on_ack(now, number);
                }
                _ => {
                    now = flow.deadline();
                    flow.on_timeout();
                }
            }
        }
        (flow.counters.bytes as f64 * 8.0 / 30.0 / 10e6, flow)
    }

    #[test]
    fn alone_it_fills_the_link_and_its_queue() {
        let (share, flow) = alone(0.0);
        assert!(share > 0.93, "{share}");
        assert!(flow.counters.lost > 0, "it goes until the queue is full");
    }

    #[test]
    fn random_loss_slows_it_down() {
        let (share, _) = alone(0.02);
        assert!((0.1..0.6).contains(&share), "{share}");
    }
}
