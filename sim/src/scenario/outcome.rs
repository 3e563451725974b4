//! What a scenario has shown.

use core::time::Duration;

use waylane_core::time::Instant;

use super::Scenario;
use crate::link::Traffic;
use crate::workload::{Arrived, Samples};

/// What a scenario has shown. The same scenario shows the same on every machine.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The scenario's seed.
    pub seed: u64,
    /// The fingerprint of every datagram and every moment at which something happened.
    pub trace: u64,
    /// When sending began, on the world's clock.
    pub starts: Instant,
    /// One for each `send`, in its order.
    pub flows: Vec<FlowOutcome>,
    /// Both directions between each player and each relay.
    pub legs: Vec<LegOutcome>,
    /// What was going on, ten times a second.
    pub samples: Vec<Sample>,
    /// The promises that did not hold; none, unless something is wrong with Waylane.
    pub broken: Vec<String>,
}

/// What has become of a `send`.
#[derive(Clone, Debug)]
pub struct FlowOutcome {
    /// Messages taken by the sender's endpoint.
    pub sent: u64,
    /// Messages that arrived.
    pub delivered: u64,
    /// How long they took.
    pub latency: Samples,
    /// Payload that arrived while things were sent, in Mbit/s.
    pub megabits_per_second: f64,
    /// What arrived, in the order in which it did.
    pub messages: Vec<Arrived>,
}

/// What a leg has carried.
#[derive(Clone, Copy, Debug)]
pub struct LegOutcome {
    /// Whose.
    pub player: usize,
    /// To which relay.
    pub relay: usize,
    /// From the player to the relay.
    pub up: Traffic,
    /// From the relay to the player.
    pub down: Traffic,
}

/// A tenth of a second.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Sample {
    /// Its end, from the scenario's start.
    pub at: Duration,
    /// How long datagrams waited meanwhile at the bottleneck where they waited longest, on average.
    pub queue: Duration,
    /// Bytes that left all players meanwhile.
    pub bytes: u64,
}

impl Outcome {
    /// The command that shows the same again.
    #[must_use]
    pub fn replay(seed: u64) -> String {
        format!("waylane sim --random {seed}")
    }
}

impl FlowOutcome {
    pub(super) fn new(scenario: &Scenario, sent: u64, messages: Vec<Arrived>, end: u64) -> Self {
        let in_time = messages.iter().filter(|message| message.at.as_micros() <= end);
        let bytes: usize = in_time.map(|message| message.size).sum();
        Self {
            sent,
            delivered: messages.len() as u64,
            latency: messages.iter().map(|message| message.at.since(message.sent)).collect(),
            megabits_per_second: bytes as f64 * 8.0 / scenario.duration.0.as_secs_f64() / 1e6,
            messages,
        }
    }
}
