//! Scenarios: who plays, over what links, what is sent, and what goes wrong. They come from TOML
//! files (`docs/simulator.md`) or from a seed; running one answers with figures and with every
//! promise that did not hold.
//!
//! ```
//! use waylane_sim::scenario::Scenario;
//!
//! let scenario: Scenario = r#"
//!     duration = "5s"
//!     link = { delay = "10ms", loss = 5 }
//!     player = [{}, {}]
//!     send = [{ from = 0, to = 1, channel = 1, reliable = true, size = 40, rate = 5 }]
//! "#
//! .parse()?;
//! let outcome = scenario.run();
//! assert!(outcome.broken.is_empty(), "{:?}", outcome.broken);
//! assert_eq!(outcome.flows[0].delivered, 25);
//! # Ok::<(), waylane_sim::scenario::ScenarioError>(())
//! ```

mod check;
mod fault;
mod link;
mod oracle;
mod outcome;
mod random;
mod run;
mod units;

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};
use waylane_core::endpoint::{Config, SendRate};
use waylane_core::id::Reliability;

pub use fault::{FaultKind, FaultSpec};
pub use link::{LinkSpec, WaySpec};
pub use outcome::{FlowOutcome, LegOutcome, Outcome, Sample};
pub use units::{QueueSize, Rate, Span};

/// A whole scenario. Everything but `duration` and `player` can be left out.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What everything random comes from.
    #[serde(default = "one")]
    pub seed: u64,
    /// How long things are sent and go wrong.
    pub duration: Span,
    /// How long it may take after that, with nothing going wrong, until all has arrived.
    #[serde(default = "settle")]
    pub settle: Span,
    /// How many relays there are; all are in every player's directory.
    #[serde(default = "one_relay")]
    pub relays: usize,
    /// How fast a relay lets each session send; a relay's default, 96 Mbit/s, if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relay_rate: Option<Rate>,
    /// Every direction of every leg between a player and a relay.
    #[serde(default)]
    pub link: LinkSpec,
    /// The players, from number 0 on.
    pub player: Vec<PlayerSpec>,
    /// Legs that differ from `link`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leg: Vec<LegSpec>,
    /// What is sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub send: Vec<SendSpec>,
    /// What goes wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fault: Vec<FaultSpec>,
    /// Other people's flows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cross: Vec<CrossSpec>,
}

/// A player.
#[derive(Serialize, Deserialize, Clone, PartialEq, Default, Debug)]
#[serde(deny_unknown_fields)]
pub struct PlayerSpec {
    /// The number of its home relay.
    #[serde(default)]
    pub home: usize,
    /// Whether its address is an IPv6 one.
    #[serde(default)]
    pub ipv6: bool,
    /// How many times a second its program has its turn; at every event if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hz: Option<u32>,
    /// After what silence a NAT in front of it forgets its address; never if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nat: Option<Span>,
    /// It sends at least so fast, whatever the path seems to carry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_min: Option<Rate>,
    /// It never sends faster; the same as `rate_min` for always as fast as this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_max: Option<Rate>,
}

impl PlayerSpec {
    /// The configuration of its endpoint.
    fn config(&self) -> Config {
        let bytes = |rate: Rate| rate.0 / 8;
        let min = self.rate_min.map_or(0, bytes);
        let max = self.rate_max.map_or(SendRate::RATE_MAX, bytes);
        let mut config = Config::default();
        config.rate = if min == max {
            SendRate::Fixed { bytes_per_second: min }
        } else {
            SendRate::Adaptive { bytes_per_second_min: min, bytes_per_second_max: max }
        };
        config
    }
}

/// A leg that differs from the others.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub struct LegSpec {
    /// Whose.
    pub player: usize,
    /// To which relay; to all if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relay: Option<usize>,
    /// Which direction; both if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub way: Option<WaySpec>,
    /// How it behaves.
    pub link: LinkSpec,
}

/// Messages from one player to another. With `rate` so many a second, with `count` so many as fast
/// as they are taken, with neither as many as go.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub struct SendSpec {
    /// The sender.
    pub from: usize,
    /// The receiver.
    pub to: usize,
    /// The channel, 0 to 254; each is used by one `send` in each direction.
    #[serde(default)]
    pub channel: u8,
    /// Whether it is reliable.
    #[serde(default)]
    pub reliable: bool,
    /// Whether it is in order; if left out, what is reliable is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordered: Option<bool>,
    /// Bytes of a message, at least 12.
    pub size: usize,
    /// Messages a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// Messages in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<usize>,
    /// From when on.
    #[serde(default)]
    pub start: Span,
    /// Until when; until `duration` if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Span>,
}

impl SendSpec {
    /// What its channel promises.
    #[must_use]
    pub fn reliability(&self) -> Reliability {
        match (self.reliable, self.ordered.unwrap_or(self.reliable)) {
            (false, false) => Reliability::Unreliable,
            (false, true) => Reliability::UnreliableSequenced,
            (true, true) => Reliability::Reliable,
            (true, false) => Reliability::ReliableUnordered,
        }
    }
}

/// Somebody else's bulk flow, controlled by CUBIC, in one direction of a leg.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub struct CrossSpec {
    /// Whose leg.
    pub player: usize,
    /// To which relay.
    #[serde(default)]
    pub relay: usize,
    /// In which direction.
    pub way: WaySpec,
    /// How long its acknowledgements take from the leg's end to its sender.
    pub returns: Span,
    /// From when on.
    #[serde(default)]
    pub start: Span,
}

/// What is wrong with a scenario, for a person to read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScenarioError(pub(crate) String);

impl FromStr for Scenario {
    type Err = ScenarioError;

    fn from_str(text: &str) -> Result<Self, ScenarioError> {
        let scenario: Self =
            toml::from_str(text).map_err(|error| ScenarioError(error.to_string()))?;
        scenario.check()?;
        Ok(scenario)
    }
}

impl fmt::Display for Scenario {
    /// As TOML.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&toml::to_string(self).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.trim_end())
    }
}

impl core::error::Error for ScenarioError {}

const fn one() -> u64 {
    1
}

const fn one_relay() -> usize {
    1
}

const fn settle() -> Span {
    Span::from_secs(30)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_is_read_and_written() {
        let text = r#"
            seed = 7
            duration = "10s"
            relay_rate = "200M"
            link = { delay = "10ms", loss = 2.5, burst_loss = 1, burst_length = 4, rate = "2M", queue = "64kB" }
            player = [{}, { home = 1, ipv6 = true, hz = 60, nat = "30s", rate_min = "100k", rate_max = "2M" }]
            relays = 2
            [[leg]]
            player = 0
            relay = 1
            way = "up"
            link = { rate = "300k", queue = "100ms", mtu = 1300 }
            [[send]]
            from = 0
            to = 1
            size = 100
            rate = 60
            [[fault]]
            at = "1s"
            kind = "cut"
            player = 0
            lasts = "500ms"
            [[cross]]
            player = 0
            way = "down"
            returns = "30ms"
        "#;
        let scenario: Scenario = text.parse().unwrap();
        assert_eq!(scenario.to_string().parse(), Ok(scenario.clone()));
        assert_eq!(scenario.settle, Span::from_secs(30));
        assert_eq!(scenario.leg[0].link.rate, Some(Rate(300_000)));
    }

    #[test]
    fn what_is_unknown_or_wrong_is_refused_with_a_word_why() {
        let refused = |text: &str| text.parse::<Scenario>().unwrap_err().to_string();
        let base = "duration = \"1s\"\nplayer = [{}, {}]\n";
        for (more, word) in [
            ("speed = 3", "speed"),
            ("link = { los = 3 }", "los"),
            ("link = { loss = 101 }", "loss"),
            ("link = { delay = \"3 lightyears\" }", "lightyears"),
            ("link = { rate = \"-1\" }", "-1"),
            ("link = { queue = \"10ms\" }", "rate"),
            ("link = { burst_loss = 5 }", "burst_length"),
            ("leg = [{ player = 2, link = {} }]", "player 2"),
            ("send = [{ from = 0, to = 0, size = 100 }]", "itself"),
            ("send = [{ from = 0, to = 1, size = 5 }]", "size"),
            ("send = [{ from = 0, to = 1, size = 20, rate = 1, count = 1 }]", "rate"),
            ("send = [{ from = 0, to = 1, size = 20, channel = 255 }]", "channel"),
            ("fault = [{ at = \"0s\", kind = \"earthquake\" }]", "earthquake"),
            ("fault = [{ at = \"900ms\", kind = \"cut\", lasts = \"200ms\" }]", "ends"),
            ("relays = 0", "relay"),
            ("relay_rate = \"100k\"", "1M"),
        ] {
            let why = refused(&format!("{base}{more}"));
            assert!(why.contains(word), "{more}: {why}");
        }
        assert!(refused("player = [{}, {}]").contains("duration"));
        for (player, word) in
            [("rate_max = \"1k\"", "10000 to"), ("rate_min = \"2M\", rate_max = \"1M\"", "above")]
        {
            let why = refused(&format!("duration = \"1s\"\nplayer = [{{}}, {{ {player} }}]"));
            assert!(why.contains("player 1") && why.contains(word), "{player}: {why}");
        }
    }
}
