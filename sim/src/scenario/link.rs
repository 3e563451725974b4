//! How a scenario says what a link does.

use serde::{Deserialize, Serialize};

use super::units::{QueueSize, Rate, Span};
use crate::link::{Bottleneck, Burst, Link, QueueMax};
use crate::world::Way;

/// One direction of a leg; all shares are percentages. What is left out does not happen.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Default, Debug)]
#[serde(deny_unknown_fields, default)]
pub struct LinkSpec {
    /// How long every datagram takes.
    pub delay: Span,
    /// Added to the delay, up to this much, keeping the order.
    #[serde(skip_serializing_if = "is_default")]
    pub jitter: Span,
    /// Lost, each by itself.
    #[serde(skip_serializing_if = "is_default")]
    pub loss: f64,
    /// Lost in bursts.
    #[serde(skip_serializing_if = "is_default")]
    pub burst_loss: f64,
    /// Datagrams in such a burst, on average.
    #[serde(skip_serializing_if = "is_default")]
    pub burst_length: f64,
    /// Arriving twice.
    #[serde(skip_serializing_if = "is_default")]
    pub duplicate: f64,
    /// Held, so that others overtake them.
    #[serde(skip_serializing_if = "is_default")]
    pub reorder: f64,
    /// How long they are held at most.
    #[serde(skip_serializing_if = "is_default")]
    pub held: Span,
    /// How long they are held at least.
    #[serde(skip_serializing_if = "is_default")]
    pub held_least: Span,
    /// Arriving with a flipped bit.
    #[serde(skip_serializing_if = "is_default")]
    pub corrupt: f64,
    /// Bits per second, IPv4 and UDP headers included.
    #[serde(skip_serializing_if = "is_default")]
    pub rate: Option<Rate>,
    /// What waits for that at most; 100 ms if left out.
    #[serde(skip_serializing_if = "is_default")]
    pub queue: Option<QueueSize>,
    /// Longer datagrams vanish.
    #[serde(skip_serializing_if = "is_default")]
    pub mtu: Option<usize>,
}

/// A direction of a leg.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
pub enum WaySpec {
    /// From the player to the relay.
    Up,
    /// From the relay to the player.
    Down,
}

impl LinkSpec {
    /// The same without anything that goes wrong by chance: time, rate and size stay.
    #[must_use]
    pub fn calmed(self) -> Self {
        Self {
            delay: self.delay,
            jitter: self.jitter,
            rate: self.rate,
            queue: self.queue,
            mtu: self.mtu,
            ..Self::default()
        }
    }

    /// What is wrong with it, if anything is.
    pub(super) fn fault(&self) -> Option<String> {
        let shares = [
            ("loss", self.loss),
            ("burst_loss", self.burst_loss),
            ("duplicate", self.duplicate),
            ("reorder", self.reorder),
            ("corrupt", self.corrupt),
        ];
        for (name, share) in shares {
            if !(0.0..=100.0).contains(&share) {
                return Some(format!("{name} is a percentage, 0 to 100, not {share}"));
            }
        }
        if self.queue.is_some() && self.rate.is_none() {
            return Some("a queue needs a rate".into());
        }
        if self.burst_loss > 0.0 && (self.burst_length.is_nan() || self.burst_length < 1.0) {
            return Some("burst_loss needs a burst_length of 1 or more".into());
        }
        if self.mtu.is_some_and(|mtu| mtu < MTU_MIN) {
            return Some(format!("no mtu is below {MTU_MIN} bytes of UDP payload"));
        }
        None
    }
}

impl From<LinkSpec> for Link {
    fn from(spec: LinkSpec) -> Self {
        let share = |percent: f64| percent / 100.0;
        let queue = spec.queue.unwrap_or(QueueSize::Time(Span::from_millis(100)));
        let queue = match queue {
            QueueSize::Time(span) => QueueMax::Time(span.0),
            QueueSize::Bytes(bytes) => QueueMax::Bytes(bytes),
        };
        let bottleneck = spec.rate.map(|rate| Bottleneck { bits_per_second: rate.0, queue });
        let bursts = spec.burst_loss > 0.0;
        let burst = Burst { loss: share(spec.burst_loss), length: spec.burst_length };
        Self {
            delay: spec.delay.0,
            jitter: spec.jitter.0,
            loss: share(spec.loss),
            burst: bursts.then_some(burst),
            duplicate: share(spec.duplicate),
            reorder: share(spec.reorder),
            held: spec.held.0.max(spec.held_least.0),
            held_least: spec.held_least.0,
            corrupt: share(spec.corrupt),
            bottleneck,
            mtu: spec.mtu,
            cut: false,
        }
    }
}

impl From<WaySpec> for Way {
    fn from(way: WaySpec) -> Self {
        match way {
            WaySpec::Up => Self::Up,
            WaySpec::Down => Self::Down,
        }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Every path carries datagrams of this many bytes (states.md).
const MTU_MIN: usize = 1200;
