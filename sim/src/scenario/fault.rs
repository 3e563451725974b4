//! What goes wrong.

use serde::{Deserialize, Serialize};

use super::link::{LinkSpec, WaySpec};
use super::run::Running;
use super::units::Span;
use crate::link::Link;
use crate::player::{Driving, Endpoint};
use crate::world::{PlayerNo, RelayNo};

/// Something that goes wrong at a moment, or for a while.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub struct FaultSpec {
    /// When, from the scenario's start.
    pub at: Span,
    /// What.
    pub kind: FaultKind,
    /// To whom; to everybody if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub player: Option<usize>,
    /// To which relay or on the way to which; to all if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relay: Option<usize>,
    /// In which direction; in both if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub way: Option<WaySpec>,
    /// For how long, where it lasts.
    #[serde(default)]
    pub lasts: Span,
    /// How the link behaves meanwhile, of `kind = "link"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<LinkSpec>,
}

/// What can go wrong.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// Nothing gets through for a while.
    Cut,
    /// The link behaves otherwise for a while.
    Link,
    /// A NAT gives the player another address.
    Rebind,
    /// The same, and the system says so.
    NetworkChanged,
    /// The relay stops and starts anew after a while, without state.
    RestartRelay,
    /// The player's program has no turn for a while.
    Freeze,
    /// The player makes the relay its home.
    SetHome,
    /// The player asks for other session ids.
    RotateSession,
}

impl FaultKind {
    /// Whether it goes on for a while.
    #[must_use]
    pub const fn lasts(self) -> bool {
        matches!(self, Self::Cut | Self::Link | Self::RestartRelay | Self::Freeze)
    }
}

impl Running<'_> {
    /// Lets a fault begin or, if it lasts, end.
    pub(super) fn step(&mut self, number: usize, begins: bool) {
        let fault = self.scenario.fault[number];
        if begins && fault.kind.lasts() {
            self.active.insert(number);
        } else {
            self.active.remove(&number);
        }
        let concerns = |player: &PlayerNo| fault.player.is_none_or(|n| n == player.0);
        let players: Vec<_> = self.players().filter(concerns).collect();
        let concerns = |relay: &RelayNo| fault.relay.is_none_or(|n| n == relay.0);
        let relays: Vec<_> = self.relays().filter(concerns).collect();
        match fault.kind {
            FaultKind::Cut | FaultKind::Link => self.set_links(|link| link),
            FaultKind::RestartRelay if begins => {
                relays.into_iter().for_each(|relay| self.world.stop_relay(relay));
            }
            FaultKind::RestartRelay => {
                relays.into_iter().for_each(|relay| self.world.start_relay(relay));
            }
            FaultKind::Freeze if begins => {
                players.into_iter().for_each(|p| self.world.set_driving(p, Driving::Frozen));
            }
            FaultKind::Freeze => players.into_iter().for_each(|player| self.drive(player)),
            FaultKind::Rebind => players.into_iter().for_each(|p| self.world.rebind(p)),
            FaultKind::NetworkChanged => {
                for player in players {
                    self.world.rebind(player);
                    self.world.with(player, Endpoint::network_changed);
                }
            }
            FaultKind::RotateSession => {
                players.into_iter().for_each(|p| self.world.with(p, Endpoint::rotate_session));
            }
            FaultKind::SetHome => {
                let home = relays.first().map(|relay| self.world.relay(*relay).id());
                for (player, home) in players.into_iter().zip(home.into_iter().cycle()) {
                    // Every relay is in every directory.
                    self.world.with(player, |endpoint| endpoint.set_home(home)).ok();
                }
            }
        }
    }

    /// Sets every link as it is now to be: what the scenario says after `change`, and what the
    /// faults that last make of it.
    pub(super) fn set_links(&mut self, change: impl Fn(LinkSpec) -> LinkSpec) {
        for (player, relay) in self.legs() {
            for way in [WaySpec::Up, WaySpec::Down] {
                let calm = Link::from(change(self.spec(player.0, relay.0, way)));
                let active = self.active.iter().map(|number| &self.scenario.fault[*number]);
                let link = active
                    .filter(|fault| fault.is_on(player.0, relay.0, way))
                    .fold(calm, |link, fault| fault.change(link));
                self.world.set_link(player, relay, way.into(), link);
            }
        }
    }
}

impl FaultSpec {
    fn is_on(&self, player: usize, relay: usize, way: WaySpec) -> bool {
        self.player.is_none_or(|n| n == player)
            && self.relay.is_none_or(|n| n == relay)
            && self.way.is_none_or(|other| other == way)
    }

    fn change(&self, link: Link) -> Link {
        match self.link {
            Some(spec) => Link { cut: link.cut, ..spec.into() },
            None => Link { cut: link.cut || self.kind == FaultKind::Cut, ..link },
        }
    }
}
