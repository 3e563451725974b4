//! Running a scenario: connect, send while things go wrong, calm down, look whether all is well.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use waylane_core::id::{ChannelId, Reliability};
use waylane_core::relay::RelayConfig;
use waylane_core::time::Instant;

use super::check::PROBE_CHANNEL;
use super::link::{LinkSpec, WaySpec};
use super::outcome::{FlowOutcome, LegOutcome, Outcome, Sample};
use super::{Scenario, SendSpec};
use crate::player::{Driving, Family, Heard, PlayerSetup};
use crate::workload::{Flow, Load, SharedJournal, play};
use crate::world::{CrossNo, PlayerNo, RelayNo, Tap, Way, World};

impl Scenario {
    /// Runs it.
    ///
    /// # Panics
    /// If [`Scenario::check`] would refuse it.
    #[must_use]
    pub fn run(&self) -> Outcome {
        self.run_seen_by(None)
    }

    /// Runs it while `tap` looks at every datagram that a player sends or receives.
    ///
    /// # Panics
    /// If [`Scenario::check`] would refuse it.
    #[must_use]
    pub fn run_seen_by(&self, tap: Option<Tap>) -> Outcome {
        self.check().expect("a scenario that can be run");
        let mut running = Running::new(self);
        if let Some(tap) = tap {
            running.world.set_tap(tap);
        }
        if running.connect() {
            running.send();
            running.go_wrong();
            running.calm_down();
            running.look_after();
        }
        running.outcome()
    }
}

/// A scenario on its way.
pub(super) struct Running<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) world: World,
    pub(super) journals: Vec<SharedJournal>,
    /// When sending began.
    pub(super) starts: Instant,
    pub(super) broken: Vec<String>,
    samples: Vec<Sample>,
    /// Faults that last, by their number.
    pub(super) active: BTreeSet<usize>,
    cross: Vec<CrossNo>,
}

impl<'a> Running<'a> {
    fn new(scenario: &'a Scenario) -> Self {
        let mut world = World::new(scenario.seed);
        let budget = |config: &mut RelayConfig| {
            let Some(rate) = scenario.relay_rate else { return };
            let budget = &mut config.budget;
            budget.bytes_per_second = u32::try_from(rate.0 / 8).unwrap_or(u32::MAX);
            budget.packets_per_second = budget.bytes_per_second / PACKET_LEN;
        };
        let relays: Vec<_> = (0..scenario.relays).map(|_| world.add_relay_with(budget)).collect();
        let mut running = Self {
            scenario,
            starts: world.now(),
            world,
            journals: scenario.player.iter().map(|_| SharedJournal::default()).collect(),
            broken: Vec::new(),
            samples: Vec::new(),
            active: BTreeSet::new(),
            cross: Vec::new(),
        };
        running.set_links(|link| link);
        for (n, player) in scenario.player.iter().enumerate() {
            let mut directory = relays.clone();
            directory.rotate_left(player.home);
            let family = if player.ipv6 { Family::V6 } else { Family::V4 };
            let setup =
                PlayerSetup { family, config: player.config(), ..PlayerSetup::new(&directory) };
            running.world.add_player(setup);
            running.world.set_nat(PlayerNo(n), player.nat.map(|nat| nat.0));
        }
        running
    }

    /// Everybody is bound, and connected to whom it sends to, channels open; false if it takes a
    /// minute.
    fn connect(&mut self) -> bool {
        if !self.world.bind(&self.players().collect::<Vec<_>>()) {
            self.broken.push("not everybody is bound within a minute".into());
            return false;
        }
        for (one, other) in self.pairs() {
            self.world.introduce(one, other);
        }
        let channels = self.channels();
        for ((from, to, channel), reliability) in &channels {
            self.world.open(*from, *to, *channel, *reliability);
        }
        let opened = |world: &World| -> usize {
            let opened = |heard: &&Heard| matches!(heard, Heard::ChannelOpened(..));
            let all = (0..world.players()).map(PlayerNo);
            all.map(|player| world.heard(player).iter().filter(opened).count()).sum()
        };
        let limit = self.world.now() + MINUTE;
        while opened(&self.world) < channels.len() && self.world.now() < limit {
            self.world.run_for(TICK);
            // Links may be so bad that a player loses its home meanwhile.
            self.tell_present_routes();
        }
        let connected = opened(&self.world) >= channels.len();
        if !connected {
            self.broken.push("not everybody is connected within a minute".into());
        }
        connected
    }

    /// Hands everybody's present route to everybody else's endpoint.
    fn tell_present_routes(&mut self) {
        for (one, other) in self.pairs() {
            for (from, to) in [(one, other), (other, one)] {
                if self.world.endpoint(from).route().is_some() {
                    let (id, route) = (self.world.id(from), self.world.route(from));
                    // A route that is refused is one that the other has already.
                    self.world.with(to, |to| to.update_peer(id, route.as_bytes())).ok();
                }
            }
        }
    }

    /// Begins to send.
    fn send(&mut self) {
        self.starts = self.world.now();
        for player in self.players() {
            self.world.take_heard(player);
            self.drive(player);
            let sends = self.scenario.send.iter().filter(|send| send.from == player.0);
            let flows = sends.map(|send| self.flow(send)).collect();
            self.world.set_app(player, play(flows, Rc::clone(&self.journals[player.0])));
        }
        for cross in &self.scenario.cross {
            let (player, relay) = (PlayerNo(cross.player), RelayNo(cross.relay));
            let (way, returns) = (cross.way.into(), cross.returns.0);
            self.cross.push(self.world.add_cross_flow(cross.start.0, player, relay, way, returns));
        }
    }

    /// Lets the scenario's duration pass, with its faults.
    fn go_wrong(&mut self) {
        let faults = self.scenario.fault.iter().enumerate();
        let mut steps: Vec<_> = faults
            .flat_map(|(n, fault)| {
                let ends = fault.kind.lasts().then_some((fault.at.0 + fault.lasts.0, n, false));
                [Some((fault.at.0, n, true)), ends].into_iter().flatten()
            })
            .collect();
        steps.sort_by_key(|(at, ..)| *at);
        for (at, fault, begins) in steps {
            self.run_to(self.starts + at);
            self.step(fault, begins);
        }
        self.run_to(self.starts + self.scenario.duration.0);
    }

    /// Nothing goes wrong any more; everything that is reliable must arrive.
    fn calm_down(&mut self) {
        self.set_links(LinkSpec::calmed);
        for player in self.players() {
            self.world.set_nat(player, None);
        }
        for flow in &self.cross {
            self.world.end_cross_flow(*flow);
        }
        let limit = self.world.now() + self.scenario.settle.0;
        while !self.has_all_arrived() && self.world.now() < limit {
            self.run_to(self.world.now() + TICK);
        }
    }

    /// Lets time pass up to `end`; routes that change reach the others through the lobby.
    pub(super) fn run_to(&mut self, end: Instant) {
        while self.world.now() < end {
            let before = self.traffic();
            self.world.run_for(TICK.min(end.since(self.world.now())));
            self.tell_routes();
            self.sample(&before);
        }
    }

    pub(super) fn players(&self) -> impl Iterator<Item = PlayerNo> + use<> {
        (0..self.scenario.player.len()).map(PlayerNo)
    }

    pub(super) fn relays(&self) -> impl Iterator<Item = RelayNo> + use<> {
        (0..self.scenario.relays).map(RelayNo)
    }

    /// Who talks to whom, each pair once.
    pub(super) fn pairs(&self) -> Vec<(PlayerNo, PlayerNo)> {
        let ordered =
            |send: &SendSpec| (PlayerNo(send.from.min(send.to)), PlayerNo(send.from.max(send.to)));
        let pairs: BTreeSet<_> = self.scenario.send.iter().map(ordered).collect();
        pairs.into_iter().collect()
    }

    /// What is on legs, in the order of [`Running::legs`].
    pub(super) fn traffic(&self) -> Vec<LegOutcome> {
        let leg = |(player, relay): (PlayerNo, RelayNo)| LegOutcome {
            player: player.0,
            relay: relay.0,
            up: self.world.traffic(player, relay, Way::Up),
            down: self.world.traffic(player, relay, Way::Down),
        };
        self.legs().map(leg).collect()
    }

    /// What has arrived of a `send`, and how much was sent.
    pub(super) fn progress(&self, send: &SendSpec) -> (u64, u64) {
        let (from, channel) = (self.world.id(PlayerNo(send.from)), ChannelId(send.channel));
        let sent = &self.journals[send.from].borrow().sent;
        let sent = sent.get(&(self.world.id(PlayerNo(send.to)), channel));
        let journal = self.journals[send.to].borrow();
        (sent.copied().unwrap_or_default(), journal.arrived_on(from, channel))
    }

    pub(super) fn has_all_arrived(&self) -> bool {
        self.scenario.send.iter().filter(|send| send.reliable).all(|send| {
            let (sent, arrived) = self.progress(send);
            sent == arrived
        })
    }

    pub(super) fn legs(&self) -> impl Iterator<Item = (PlayerNo, RelayNo)> + use<> {
        let relays = self.scenario.relays;
        self.players().flat_map(move |player| (0..relays).map(move |n| (player, RelayNo(n))))
    }

    /// The channels to open, from both of their sides, with one to try the end of the scenario.
    fn channels(&self) -> BTreeMap<(PlayerNo, PlayerNo, u8), Reliability> {
        let mut channels = BTreeMap::new();
        for send in &self.scenario.send {
            let (from, to) = (PlayerNo(send.from), PlayerNo(send.to));
            for (one, other) in [(from, to), (to, from)] {
                channels.insert((one, other, send.channel), send.reliability());
                channels.insert((one, other, PROBE_CHANNEL), Reliability::Unreliable);
            }
        }
        channels
    }

    fn flow(&self, send: &SendSpec) -> Flow {
        let load = match (send.rate, send.count) {
            (Some(rate), _) => {
                Load::Steady { size: send.size, every: Duration::from_secs_f64(1.0 / rate) }
            }
            (None, Some(count)) => Load::Once(vec![send.size; count]),
            (None, None) => Load::Bulk(send.size),
        };
        let end = send.end.unwrap_or(self.scenario.duration).0.min(self.scenario.duration.0);
        Flow {
            to: self.world.id(PlayerNo(send.to)),
            channel: ChannelId(send.channel),
            load,
            starts: self.starts + send.start.0,
            ends: self.starts + end,
        }
    }

    pub(super) fn drive(&mut self, player: PlayerNo) {
        let driving = match self.scenario.player[player.0].hz {
            Some(hz) => Driving::Frames(Duration::from_secs(1) / hz),
            None => Driving::Events,
        };
        self.world.set_driving(player, driving);
    }

    /// What the scenario says of a direction of a leg; what is said last holds.
    pub(super) fn spec(&self, player: usize, relay: usize, way: WaySpec) -> LinkSpec {
        let mut legs = self.scenario.leg.iter().rev();
        let leg = legs.find(|leg| {
            leg.player == player
                && leg.relay.is_none_or(|n| n == relay)
                && leg.way.is_none_or(|other| other == way)
        });
        leg.map_or(self.scenario.link, |leg| leg.link)
    }

    fn tell_routes(&mut self) {
        for (one, other) in self.pairs() {
            for (from, to) in [(one, other), (other, one)] {
                let route = self.journals[from.0].borrow().route.clone();
                if let Some(route) = route {
                    let id = self.world.id(from);
                    // A route that is refused is one that the other has already.
                    self.world.with(to, |to| to.update_peer(id, route.as_bytes())).ok();
                }
            }
        }
        for journal in &self.journals {
            journal.borrow_mut().route = None;
        }
    }

    fn sample(&mut self, before: &[LegOutcome]) {
        let (mut queue, mut bytes) = (Duration::ZERO, 0);
        for (now, before) in self.traffic().iter().zip(before) {
            let (up, down) = (now.up.since(&before.up), now.down.since(&before.down));
            queue = queue.max(up.waited_mean()).max(down.waited_mean());
            bytes += up.bytes;
        }
        let at = self.world.now().since(self.starts);
        self.samples.push(Sample { at, queue, bytes });
    }

    fn outcome(mut self) -> Outcome {
        let end = (self.starts + self.scenario.duration.0).as_micros();
        let flows = self.scenario.send.iter().map(|send| {
            let (from, channel) = (self.world.id(PlayerNo(send.from)), ChannelId(send.channel));
            let journal = self.journals[send.to].borrow();
            let messages = journal.on(channel).filter(|message| message.from == from);
            let messages = messages.copied().collect();
            FlowOutcome::new(self.scenario, self.progress(send).0, messages, end)
        });
        let flows = flows.collect();
        Outcome {
            seed: self.scenario.seed,
            trace: self.world.trace(),
            starts: self.starts,
            flows,
            legs: self.traffic(),
            samples: core::mem::take(&mut self.samples),
            broken: self.broken,
        }
    }
}

/// A relay counts packets too: there may be as many as of this length.
const PACKET_LEN: u32 = 600;
const MINUTE: Duration = Duration::from_secs(60);
const TICK: Duration = Duration::from_millis(100);
