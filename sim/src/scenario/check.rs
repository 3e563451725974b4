//! Whether a scenario makes sense.

use std::collections::BTreeSet;

use super::fault::{FaultKind, FaultSpec};
use super::link::LinkSpec;
use super::{Scenario, ScenarioError, SendSpec};
use crate::workload::Flow;

impl Scenario {
    /// Whether it can be run.
    ///
    /// # Errors
    /// What is wrong, for a person to read.
    pub fn check(&self) -> Result<(), ScenarioError> {
        ensure((1..=RELAYS_MAX).contains(&self.relays), || {
            format!("there are 1 to {RELAYS_MAX} relays")
        })?;
        let rates = 1_000_000..=1_000_000_000;
        ensure(self.relay_rate.is_none_or(|rate| rates.contains(&rate.0)), || {
            "relay_rate is 1M to 1G".into()
        })?;
        ensure((2..=PLAYERS_MAX).contains(&self.player.len()), || {
            format!("there are 2 to {PLAYERS_MAX} players")
        })?;
        check_link("link", &self.link)?;
        for (n, player) in self.player.iter().enumerate() {
            self.check_relay(&format!("player {n}"), player.home)?;
            let hz = player.hz.unwrap_or(60);
            ensure((1..=1000).contains(&hz), || format!("player {n}: hz is 1 to 1000"))?;
            let fits = player.config().check();
            fits.map_err(|why| ScenarioError(format!("player {n}: {why}")))?;
        }
        for (n, leg) in self.leg.iter().enumerate() {
            let what = format!("leg {n}");
            self.check_player(&what, leg.player)?;
            self.check_relay(&what, leg.relay.unwrap_or(0))?;
            check_link(&what, &leg.link)?;
        }
        self.check_sends()?;
        for (n, fault) in self.fault.iter().enumerate() {
            self.check_fault(&format!("fault {n}"), fault)?;
        }
        for (n, cross) in self.cross.iter().enumerate() {
            let what = format!("cross {n}");
            self.check_player(&what, cross.player)?;
            self.check_relay(&what, cross.relay)?;
        }
        Ok(())
    }

    fn check_sends(&self) -> Result<(), ScenarioError> {
        let mut used = BTreeSet::new();
        for (n, send) in self.send.iter().enumerate() {
            let what = format!("send {n}");
            self.check_player(&what, send.from)?;
            self.check_player(&what, send.to)?;
            check_send(&what, send)?;
            ensure(used.insert((send.from, send.to, send.channel)), || {
                format!("{what}: channel {} is used by another already", send.channel)
            })?;
            let same = |other: &&SendSpec| {
                (other.from, other.to, other.channel) == (send.to, send.from, send.channel)
            };
            let back = self.send.iter().find(same);
            ensure(back.is_none_or(|back| back.reliability() == send.reliability()), || {
                format!("{what}: channel {} is of another kind the other way", send.channel)
            })?;
        }
        Ok(())
    }

    fn check_fault(&self, what: &str, fault: &FaultSpec) -> Result<(), ScenarioError> {
        self.check_player(what, fault.player.unwrap_or(0))?;
        self.check_relay(what, fault.relay.unwrap_or(0))?;
        ensure(fault.at.0 + fault.lasts.0 <= self.duration.0, || {
            format!("{what} ends after the scenario's duration")
        })?;
        ensure(fault.kind.lasts() || fault.lasts.0.is_zero(), || {
            format!("{what} is over at once: it has no `lasts`")
        })?;
        ensure((fault.kind == FaultKind::Link) == fault.link.is_some(), || {
            format!("{what}: `link` goes with kind = \"link\"")
        })?;
        fault.link.map_or(Ok(()), |link| check_link(what, &link))
    }

    fn check_player(&self, what: &str, player: usize) -> Result<(), ScenarioError> {
        ensure(player < self.player.len(), || format!("{what}: there is no player {player}"))
    }

    fn check_relay(&self, what: &str, relay: usize) -> Result<(), ScenarioError> {
        ensure(relay < self.relays, || format!("{what}: there is no relay {relay}"))
    }
}

fn check_send(what: &str, send: &SendSpec) -> Result<(), ScenarioError> {
    ensure(send.from != send.to, || format!("{what}: a player does not send to itself"))?;
    ensure((Flow::SIZE_MIN..=SIZE_MAX).contains(&send.size), || {
        format!("{what}: size is {} to {SIZE_MAX} bytes", Flow::SIZE_MIN)
    })?;
    ensure(send.reliable || send.size <= UNRELIABLE_MAX, || {
        format!("{what}: the size of unreliable messages is at most {UNRELIABLE_MAX} bytes")
    })?;
    ensure(send.rate.is_none() || send.count.is_none(), || {
        format!("{what}: either rate or count")
    })?;
    ensure(send.rate.is_none_or(|rate| (0.01..=10_000.0).contains(&rate)), || {
        format!("{what}: rate is 0.01 to 10000 messages a second")
    })?;
    ensure(send.channel < PROBE_CHANNEL, || {
        format!("{what}: the last channel is {}", PROBE_CHANNEL - 1)
    })?;
    // Unreliable messages are dropped, not refused, so that as many as go would be endless.
    ensure(send.reliable || send.rate.is_some() || send.count.is_some(), || {
        format!("{what}: an unreliable flow has a rate or a count")
    })
}

fn check_link(what: &str, link: &LinkSpec) -> Result<(), ScenarioError> {
    link.fault().map_or(Ok(()), |fault| Err(ScenarioError(format!("{what}: {fault}"))))
}

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), ScenarioError> {
    if holds { Ok(()) } else { Err(ScenarioError(otherwise())) }
}

/// The channel on which the end of a scenario is tried out.
pub(super) const PROBE_CHANNEL: u8 = 255;
const RELAYS_MAX: usize = 8;
const PLAYERS_MAX: usize = 32;
const SIZE_MAX: usize = 256 * 1024;
const UNRELIABLE_MAX: usize = 64 * 1024;
