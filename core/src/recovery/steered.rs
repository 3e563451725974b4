//! Congestion control by a model of the path, steered by delay.
//!
//! In the family of BBR (draft-ietf-ccwg-bbr) and Copa (NSDI 2018): the rate follows the highest
//! delivery rate of the latest round trips, times a gain that keeps a small queue. Loss alone says
//! little on wireless links, and reordering nothing; so losses are made up for, up to a share, and
//! are a reason to send less only when they are heavy while somebody else keeps the queue full. What
//! was learnt is kept while the application sends less than it could.

use core::time::Duration;

use super::congestion::{AckSample, Controller, LossSample, STEP};
use crate::time::{Instant, micros};

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Steered {
    mode: Mode,
    bounds: RateBounds,
    /// Highest delivery rate of each of the latest rounds in which there was enough to send, bytes
    /// per second, newest first.
    rates: [u32; RATE_ROUNDS],
    /// The latest round-trip samples in µs.
    samples: [u32; SAMPLES],
    next_sample: u8,
    /// How much a sample differs from the one before, smoothed, in µs. A queue that grows hardly
    /// shows here, unlike in the deviation from the mean.
    jitter: u32,
    minimum: Minimum,
    round: Round,
    /// Rounds in a row in which the queue stayed, while cruising below the path's rate.
    crowded: u8,
    /// Rounds of start-up without growth, or in which much was lost.
    stagnant: u8,
    /// What start-up has reached so far.
    plateau: u32,
    /// Smoothed share of packets lost, in 1/1024.
    loss: u32,
    /// Bytes per second.
    rate: u32,
    window: u32,
}

/// What the rate never leaves, in bytes per second.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RateBounds {
    /// Sent whatever the path seems to carry.
    pub min: u64,
    /// Never exceeded.
    pub max: u64,
}

impl RateBounds {
    /// As the path allows.
    pub const NONE: Self = Self { min: 0, max: RATE_MAX };

    const fn apply(self, rate: u64) -> u64 {
        let rate = if rate < self.min { self.min } else { rate };
        if rate > self.max { self.max } else { rate }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    /// The rate more than doubles each round trip until delay shows or it grows no more.
    StartUp,
    /// The queue is kept small.
    Cruise,
    /// The queue is let run empty, to see the minimum round trip again.
    Drain { until: Instant },
    /// Somebody else keeps the queue full: delay says nothing, so a share is held by probing.
    Compete { phase: u8 },
}

/// The smallest round trip of the latest ten seconds or so.
#[derive(Clone, Copy, Debug)]
struct Minimum {
    /// In the present span, µs.
    now: u32,
    /// In the span before.
    before: u32,
    span_began: Instant,
    /// Whether the queue was just let run empty to see it.
    looking: bool,
}

/// One round trip: from the sending of a packet to its acknowledgement.
#[derive(Clone, Copy, Debug)]
struct Round {
    began: Instant,
    acked: u32,
    lost: u32,
    queue_min: u32,
    /// Whether some sample was taken while there was enough to send.
    informed: bool,
}

impl Steered {
    /// A path of which nothing is known.
    #[must_use]
    pub const fn new(bounds: RateBounds) -> Self {
        Self {
            mode: Mode::StartUp,
            bounds,
            rates: [0; RATE_ROUNDS],
            samples: [u32::MAX; SAMPLES],
            next_sample: 0,
            jitter: 0,
            minimum: Minimum {
                now: u32::MAX,
                before: u32::MAX,
                span_began: Instant::ZERO,
                looking: false,
            },
            round: Round::new(Instant::ZERO),
            crowded: 0,
            stagnant: 0,
            plateau: 0,
            loss: 0,
            rate: bounds.apply(INITIAL_RATE) as u32,
            window: INITIAL_WINDOW as u32,
        }
    }

    /// The highest delivery rate lately seen, bytes per second; 0 if there is none.
    #[must_use]
    pub fn delivery_rate(&self) -> u64 {
        u64::from(self.best_rate())
    }

    /// The same, or what arrived within this round trip if that was faster: behind patient
    /// acknowledgements a rate is long in showing.
    fn arriving(&self) -> u64 {
        let round_trip = u64::from(self.minimum.get()).max(1);
        self.delivery_rate().max(u64::from(self.round.acked) * 1_000_000 / round_trip)
    }

    fn best_rate(&self) -> u32 {
        self.rates.iter().copied().max().unwrap_or(0)
    }

    /// How long a packet now waits in the path's queues, in µs, if they were ever seen empty.
    fn queue(&self) -> u32 {
        self.waited(SAMPLES)
    }

    /// The same by the latest `samples` samples.
    fn waited(&self, samples: usize) -> u32 {
        let newest = usize::from(self.next_sample);
        let sample = |back: usize| self.samples[newest.wrapping_sub(back) % SAMPLES];
        let lately = (1..=samples).map(sample).min().unwrap_or(u32::MAX);
        if lately == u32::MAX { 0 } else { lately.saturating_sub(self.minimum.get()) }
    }

    /// How much the path's queue grew in start-up, in µs, by what cannot be anything else: the
    /// minimum may be that of a short packet, and samples differ.
    fn growth(&self, limit: u32) -> u32 {
        let packet =
            (STEP * 1_000_000).checked_div(self.arriving()).unwrap_or(0).min(u64::from(QUEUE_HIGH));
        // Where samples hardly differ, the latest two tell enough.
        let samples = if self.jitter < limit / 8 { 2 } else { SAMPLES };
        self.waited(samples).saturating_sub(self.jitter).saturating_sub(packet as u32)
    }

    fn on_round_trip(&mut self, now: Instant, sample: Duration) {
        let sample = u32::try_from(micros(sample)).unwrap_or(u32::MAX - 1);
        let last = self.samples[usize::from(self.next_sample).wrapping_sub(1) % SAMPLES];
        if last != u32::MAX {
            self.jitter = self.jitter - self.jitter / 16 + sample.abs_diff(last) / 16;
        }
        self.samples[usize::from(self.next_sample) % SAMPLES] = sample;
        self.next_sample = self.next_sample.wrapping_add(1);
        if self.minimum.take(now, sample) {
            // At half the rate the queue is gone after twice its length.
            let pause = Duration::from_micros(u64::from(self.queue()) * 2).max(DRAIN_MIN);
            if self.mode == Mode::Cruise {
                self.mode = Mode::Drain { until: now + pause };
            }
        }
        self.round.queue_min = self.round.queue_min.min(self.queue());
    }

    fn on_delivery(&mut self, sample: &AckSample<'_>) {
        let interval = micros(sample.interval);
        if interval == 0 || sample.delivered == 0 {
            return;
        }
        let rate = sample.delivered.saturating_mul(1_000_000) / interval;
        if !sample.app_limited || rate > self.delivery_rate() {
            self.rates[0] = self.rates[0].max(u32::try_from(rate).unwrap_or(u32::MAX));
            self.round.informed |= !sample.app_limited;
        }
    }

    fn end_round(&mut self, now: Instant) {
        let Round { acked, lost, queue_min, informed, .. } = self.round;
        self.round = Round::new(now);
        let share =
            (u64::from(lost) * 1024).checked_div(u64::from(acked) + u64::from(lost)).unwrap_or(0);
        self.loss = (self.loss * 3 + share as u32) / 4;
        if !informed {
            // Who is called too rarely never has enough to send: growth says nothing then, and a
            // full queue may be somebody else's, but so much loss is not the link's alone.
            if self.mode == Mode::StartUp
                && share > START_UP_LOSS
                && lost > INITIAL_WINDOW as u32 / 2
            {
                self.stagnate();
            }
            return;
        }
        let queue_min = if queue_min == u32::MAX { 0 } else { queue_min };
        match self.mode {
            Mode::StartUp => {
                let reached = self.best_rate();
                if reached > self.plateau.saturating_add(self.plateau / 4) {
                    self.plateau = reached;
                    self.stagnant = 0;
                } else {
                    self.stagnate();
                }
            }
            Mode::Cruise => {
                self.crowded = if queue_min > QUEUE_HIGH { self.crowded + 1 } else { 0 };
                if self.crowded >= CROWDED_ROUNDS {
                    self.mode = Mode::Compete { phase: 0 };
                }
            }
            Mode::Drain { .. } => {}
            Mode::Compete { phase } => {
                self.mode = Mode::Compete { phase: (phase + 1) % COMPETE_GAINS.len() as u8 };
                if queue_min < QUEUE_LOW {
                    self.crowded = 0;
                    self.mode = Mode::Cruise;
                }
                if share > HEAVY_LOSS {
                    self.rates = self.rates.map(|rate| rate - rate / 8);
                }
            }
        }
        self.rates.rotate_right(1);
        self.rates[0] = 0;
    }

    /// A round of start-up led nowhere.
    fn stagnate(&mut self) {
        self.stagnant += 1;
        if self.stagnant >= STAGNANT_ROUNDS {
            self.mode = Mode::Cruise;
        }
    }

    fn steer(&mut self, sample: &AckSample<'_>) {
        let queue = self.queue();
        let limit = (self.minimum.get() / 100 * 15).max(QUEUE_LOW);
        let grown = self.growth(limit);
        let clear = grown < limit / 4;
        if let Mode::Drain { until } = self.mode
            && (sample.now >= until || queue < QUEUE_LOW / 4)
        {
            self.mode = Mode::Cruise;
        }
        let rate = self.delivery_rate();
        let round_trip = u64::from(self.minimum.get().min(10_000_000)).max(1);
        let fresh = INITIAL_WINDOW.saturating_mul(1_000_000) / round_trip;
        // What a game sends fills no queue: if there is one, it is somebody else's.
        let much = !sample.app_limited || self.arriving() > fresh;
        if self.mode == Mode::StartUp && grown > limit && much {
            self.mode = Mode::Cruise;
        }
        // Until a round trip has shown more: as much as a fresh path is given, or as fast as that
        // was sent, if it went through without a queue.
        let initial = match self.mode {
            Mode::StartUp if self.plateau > 0 => 0,
            Mode::StartUp if clear => fresh.max(INITIAL_RATE),
            Mode::StartUp => fresh,
            Mode::Cruise | Mode::Drain { .. } | Mode::Compete { .. } => 0,
        };
        let wanted = match self.mode {
            Mode::StartUp => {
                let gain = if clear { START_UP_GAIN } else { CAREFUL_GAIN };
                (rate.max(initial.min(fresh)).saturating_mul(gain) / 16).max(initial)
            }
            Mode::Cruise if queue > 2 * QUEUE_HIGH && self.crowded > 0 => rate / 4 * 3,
            Mode::Cruise if queue > QUEUE_HIGH => self.made_up(rate - rate / 10),
            Mode::Cruise if queue < QUEUE_LOW => self.made_up(rate + rate / 10),
            Mode::Cruise => self.made_up(rate),
            Mode::Drain { .. } => rate / 2,
            Mode::Compete { phase } => {
                let gain = COMPETE_GAINS[usize::from(phase) % COMPETE_GAINS.len()];
                rate.saturating_mul(gain) / 16
            }
        };
        let least = 2 * STEP * 1_000_000 / round_trip.max(LEAST_OVER);
        self.rate = self.bounds.apply(wanted.max(least)).min(RATE_MAX) as u32;
        let content = rate.max(initial / 2).max(self.bounds.min);
        self.window = self.content(content, clear, sample) as u32;
    }

    /// What may be in flight: what the path holds at this rate, a queue, and what lies at the ends.
    fn content(&self, rate: u64, clear: bool, sample: &AckSample<'_>) -> u64 {
        let round_trip = u64::from(self.minimum.get().min(10_000_000)).max(1);
        let (time, slack) = match self.mode {
            Mode::StartUp if clear => (round_trip * 5 / 2, 8 * STEP),
            Mode::StartUp => (round_trip * 5 / 4, 8 * STEP),
            Mode::Cruise => (round_trip + u64::from(QUEUE_HIGH), 3 * STEP),
            Mode::Drain { .. } => (round_trip, 2 * STEP),
            Mode::Compete { .. } => (round_trip * 2, 12 * STEP),
        };
        let time = time + micros(sample.rtt.end_delay());
        let content = self.made_up(rate).saturating_mul(time) / 1_000_000;
        content.saturating_add(slack).min(WINDOW_MAX)
    }

    /// `rate`, so much higher that as much arrives in spite of losses.
    fn made_up(&self, rate: u64) -> u64 {
        let arriving = 1024 - u64::from(self.loss.min(MADE_UP_LOSS));
        rate.saturating_mul(1024) / arriving
    }
}

impl Controller for Steered {
    fn on_ack(&mut self, sample: &AckSample<'_>) {
        if let Some(round_trip) = sample.round_trip {
            self.on_round_trip(sample.now, round_trip);
        }
        self.round.acked = self.round.acked.saturating_add(short(sample.bytes));
        self.on_delivery(sample);
        if sample.newest_sent_at >= self.round.began {
            self.end_round(sample.now);
            self.on_delivery(sample);
        }
        self.steer(sample);
    }

    fn on_loss(&mut self, sample: &LossSample) {
        self.round.lost = self.round.lost.saturating_add(short(sample.bytes));
        if sample.persistent {
            // Whatever comes after such a silence may be another path: learn it anew.
            self.rates = self.rates.map(|rate| rate / 4);
            self.mode = Mode::StartUp;
            self.plateau = self.best_rate();
            self.stagnant = 0;
        }
    }

    fn on_spurious_loss(&mut self, bytes: u64) {
        self.round.lost = self.round.lost.saturating_sub(short(bytes));
    }

    fn window(&self) -> u64 {
        u64::from(self.window)
    }

    fn pacing_rate(&self) -> Option<u64> {
        Some(u64::from(self.rate))
    }

    fn queue_delay(&self) -> Duration {
        Duration::from_micros(u64::from(self.queue()))
    }
}

impl Minimum {
    fn get(&self) -> u32 {
        self.now.min(self.before)
    }

    /// Takes in a sample; `true` if it is time to look for the minimum, since the present span has
    /// not seen it again and it will soon be forgotten.
    fn take(&mut self, now: Instant, sample: u32) -> bool {
        self.now = self.now.min(sample);
        if now.since(self.span_began) < MINIMUM_SPAN {
            return false;
        }
        if !self.looking && self.now > self.before.saturating_add(QUEUE_LOW / 4) {
            self.looking = true;
            self.span_began = now - (MINIMUM_SPAN - MINIMUM_LOOK);
            return true;
        }
        *self = Self { now: sample, before: self.now, span_began: now, looking: false };
        false
    }
}

impl Round {
    const fn new(began: Instant) -> Self {
        Self { began, acked: 0, lost: 0, queue_min: u32::MAX, informed: false }
    }
}

/// As many as a count of a round trip holds.
fn short(bytes: u64) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// Window of a fresh path: a game's first state to a new player fits.
pub const INITIAL_WINDOW: u64 = 16 * STEP;

/// Before the first round trip is measured, [`INITIAL_WINDOW`] leaves within 25 ms.
const INITIAL_RATE: u64 = INITIAL_WINDOW * 40;

/// 10 Gbit/s, in bytes per second.
pub const RATE_MAX: u64 = 1_250_000_000;
const WINDOW_MAX: u64 = 64 << 20;

/// Gains of start-up, in 1/16: a gain of G² ln G / (G - 1) makes G times as much in a round trip,
/// here 2.3 times; at the first sign of a queue little more than what arrives.
const START_UP_GAIN: u64 = 54;
const CAREFUL_GAIN: u64 = 18;

/// Two packets leave in a round trip, but in no less than this, µs.
const LEAST_OVER: u64 = 50_000;

/// The delivery rate is the highest of so many rounds.
const RATE_ROUNDS: usize = 8;
const SAMPLES: usize = 4;

/// The queue is kept between these, in µs.
const QUEUE_LOW: u32 = 3_000;
const QUEUE_HIGH: u32 = 8_000;

/// The minimum round trip is that of the present and the last span.
const MINIMUM_SPAN: Duration = Duration::from_secs(5);

/// How long a minimum that is looked for stays known.
const MINIMUM_LOOK: Duration = Duration::from_millis(500);

/// The shortest time for letting the queue run empty.
const DRAIN_MIN: Duration = Duration::from_millis(10);

/// After so many rounds without growth by a quarter, start-up is over.
const STAGNANT_ROUNDS: u8 = 3;

/// Of what was sent in such a round this was lost, in 1/1024, and half of a first window at least.
const START_UP_LOSS: u64 = 410;

/// The queue does not go away for so many rounds though we send less: somebody else fills it.
const CROWDED_ROUNDS: u8 = 6;

/// Gains against another's full queue, in 1/16.
const COMPETE_GAINS: [u64; 8] = [20, 16, 16, 16, 16, 16, 16, 12];

/// Losses of more than this with a full queue are a reason to send less, in 1/1024.
const HEAVY_LOSS: u64 = 102;

/// Losses are made up for up to this share, in 1/1024.
const MADE_UP_LOSS: u32 = 154;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recovery::Rtt;

    /// A controller on a path of 40 ms, fed an acknowledgement every 4 ms.
    struct Path {
        steered: Steered,
        rtt: Rtt,
        now: Instant,
    }

    impl Path {
        fn new() -> Self {
            let steered = Steered::new(RateBounds::NONE);
            Self { steered, rtt: Rtt::new(), now: Instant::from_millis(1000) }
        }

        /// So many milliseconds in which `rate` bytes per second arrive, after so long a queue.
        fn deliver(&mut self, ms: u64, rate: u64, queue_ms: u64, app_limited: bool) {
            for _ in 0..ms / 4 {
                self.now += Duration::from_millis(4);
                let round_trip = Duration::from_millis(40 + queue_ms);
                self.rtt.update(self.now, round_trip, crate::recovery::EndDelay::default());
                self.steered.on_ack(&AckSample {
                    now: self.now,
                    bytes: rate * 4 / 1000,
                    newest_sent_at: self.now - round_trip,
                    round_trip: Some(round_trip),
                    rtt: &self.rtt,
                    delivered: rate * 40 / 1000,
                    interval: Duration::from_millis(40),
                    app_limited,
                });
            }
        }

        fn lose(&mut self, bytes: u64, persistent: bool) {
            self.steered.on_loss(&LossSample { now: self.now, bytes, persistent });
        }

        fn rate(&self) -> u64 {
            self.steered.pacing_rate().unwrap()
        }
    }

    /// 10 Mbit/s.
    const FULL: u64 = 1_250_000;

    /// Past start-up on a path that carries [`FULL`].
    fn cruising() -> Path {
        let mut path = Path::new();
        path.deliver(200, FULL, 0, false);
        path.deliver(80, FULL, 30, false);
        path.deliver(80, FULL, 5, false);
        assert_eq!(path.steered.mode, Mode::Cruise);
        path
    }

    #[test]
    fn start_up_more_than_doubles_what_arrives() {
        let mut path = Path::new();
        assert_eq!(path.rate(), INITIAL_RATE);
        path.deliver(80, 500_000, 0, false);
        assert_eq!((path.steered.mode, path.rate()), (Mode::StartUp, 500_000 * START_UP_GAIN / 16));
        assert!(path.steered.window() >= 2 * 500_000 * 40 / 1000);
    }

    #[test]
    fn start_up_ends_by_delay_not_by_loss() {
        let mut path = Path::new();
        for rate in [500_000, 1_000_000, 2_000_000] {
            path.deliver(40, rate, 0, false);
            path.lose(2 * STEP, false);
        }
        assert_eq!(path.steered.mode, Mode::StartUp);
        path.deliver(40, 2_000_000, 20, false);
        assert_eq!(path.steered.mode, Mode::Cruise);
    }

    #[test]
    fn start_up_of_who_is_called_too_rarely_ends_by_heavy_loss() {
        let mut path = Path::new();
        for _ in 0..2 {
            path.lose(20 * STEP, false);
            path.deliver(44, 125_000, 0, true);
        }
        assert_eq!(path.steered.mode, Mode::StartUp);
        path.lose(20 * STEP, false);
        path.deliver(44, 125_000, 0, true);
        assert_eq!(path.steered.mode, Mode::Cruise);
    }

    #[test]
    fn the_time_of_long_packets_on_a_slow_line_ends_no_start_up() {
        let mut path = Path::new();
        path.deliver(4, 2_000, 0, true);
        path.deliver(200, 120_000, 9, false);
        assert_eq!(path.steered.mode, Mode::StartUp, "1200 bytes take 10 ms at this rate");
        path.deliver(20, 120_000, 20, false);
        assert_eq!(path.steered.mode, Mode::Cruise);
    }

    #[test]
    fn the_queue_is_kept_between_its_bounds() {
        let mut path = cruising();
        assert_eq!(path.rate(), FULL, "neither long nor short");
        path.deliver(20, FULL, 0, false);
        assert_eq!(path.rate(), FULL + FULL / 10);
        path.deliver(20, FULL, 12, false);
        assert_eq!(path.rate(), FULL - FULL / 10);
        path.deliver(20, FULL, 40, false);
        assert_eq!(path.rate(), FULL - FULL / 10, "the window alone may do it");
        path.deliver(200, FULL, 40, false);
        assert_eq!(path.rate(), FULL / 4 * 3, "but not for long");
    }

    #[test]
    fn losses_without_delay_are_made_up_for() {
        let mut path = cruising();
        for _ in 0..20 {
            path.lose(FULL * 4 / 100, false);
            path.deliver(40, FULL, 5, false);
        }
        assert!(path.rate() > FULL && path.rate() < FULL * 12 / 10, "{}", path.rate());
        path.deliver(2000, FULL, 5, false);
        assert_eq!(path.rate(), FULL);
    }

    #[test]
    fn a_loss_that_was_none_counts_for_nothing() {
        let mut path = cruising();
        for _ in 0..20 {
            path.lose(5 * STEP, false);
            path.steered.on_spurious_loss(5 * STEP);
            path.deliver(40, FULL, 5, false);
        }
        assert_eq!(path.rate(), FULL);
    }

    #[test]
    fn what_was_learnt_stays_while_little_is_sent() {
        let mut path = cruising();
        path.deliver(3000, 10_000, 0, true);
        assert!(path.rate() >= FULL, "{}", path.rate());
        path.deliver(600, 200_000, 0, false);
        assert!(path.rate() < FULL / 4, "but not when it is known to be wrong");
    }

    #[test]
    fn who_does_not_get_the_queue_down_competes() {
        let mut path = cruising();
        path.deliver(1000, FULL / 2, 60, false);
        assert!(matches!(path.steered.mode, Mode::Compete { .. }), "{:?}", path.steered.mode);
        path.deliver(200, FULL, 0, false);
        assert_eq!(path.steered.mode, Mode::Cruise);
    }

    #[test]
    fn an_old_minimum_is_looked_for_again() {
        let mut path = cruising();
        let mut drained = false;
        for _ in 0..500 {
            path.deliver(20, FULL, 5, false);
            drained |= matches!(path.steered.mode, Mode::Drain { .. });
        }
        assert!(drained);
        path.deliver(10_000, FULL, 5, false);
        assert_eq!(path.steered.queue(), 0, "the path has become longer");
    }

    #[test]
    fn a_long_silence_begins_anew() {
        let mut path = cruising();
        path.lose(STEP, true);
        path.deliver(4, 10_000, 0, true);
        assert_eq!(path.steered.mode, Mode::StartUp);
        assert!(path.rate() < FULL);
    }

    #[test]
    fn the_rate_stays_within_its_bounds() {
        let mut path = Path::new();
        path.steered = Steered::new(RateBounds { min: 700_000, max: 800_000 });
        path.deliver(40, FULL, 0, false);
        assert_eq!(path.rate(), 800_000);
        path.deliver(2000, 10_000, 50, false);
        assert_eq!(path.rate(), 700_000);
    }
}
