//! Scenarios from a seed.

use std::collections::BTreeMap;

use super::fault::{FaultKind, FaultSpec};
use super::link::{LinkSpec, WaySpec};
use super::units::{QueueSize, Rate, Span};
use super::{CrossSpec, LegSpec, PlayerSpec, Scenario, SendSpec};
use crate::random::Random;

impl Scenario {
    /// A scenario of a few players and seconds that nobody has thought of. What it sends fits its
    /// links, and what goes wrong is shorter than the idle time-out: everything must hold.
    #[must_use]
    pub fn random(seed: u64) -> Self {
        // The world draws from the seed too, and must not draw the same.
        let mut random = Random::new(seed ^ 0x5ce7_a210_5ce7_a210);
        let random = &mut random;
        let relays = one_to(random, 3);
        let duration = Span::from_millis(2000 + random.below(8000));
        let players = 2 + random.below(3) as usize;
        let mut scenario = Self {
            seed,
            duration,
            settle: Span::from_secs(90),
            relays,
            relay_rate: None,
            link: link(random),
            player: (0..players).map(|_| player(random, relays)).collect(),
            leg: Vec::new(),
            send: Vec::new(),
            fault: Vec::new(),
            cross: Vec::new(),
        };
        for player in 0..players {
            if random.chance(0.3) {
                let way = way(random);
                scenario.leg.push(LegSpec { player, relay: None, way, link: link(random) });
            }
        }
        for from in 0..players {
            for to in (0..players).filter(|to| *to != from) {
                sends(random, from, to, &mut scenario.send);
            }
        }
        for _ in 0..random.below(5) {
            scenario.fault.push(fault(random, &scenario));
        }
        if random.chance(0.15) {
            let player = random.below(players as u64) as usize;
            let way = if random.chance(0.5) { WaySpec::Up } else { WaySpec::Down };
            let (returns, start) = (millis(random, 60), Span::default());
            scenario.cross.push(CrossSpec { player, relay: 0, way, returns, start });
            // It takes what there is, so there must be an end to it.
            let narrow = LinkSpec { rate: Some(Rate(5_000_000)), ..scenario.link };
            scenario.leg.push(LegSpec { player, relay: None, way: None, link: narrow });
        }
        reorder(random, &mut scenario);
        scenario
    }
}

fn link(random: &mut Random) -> LinkSpec {
    let delay = Span::from_millis(random.log_uniform(60));
    let mut link = LinkSpec { delay, ..LinkSpec::default() };
    if random.chance(0.5) {
        link.jitter = millis(random, 20);
    }
    if random.chance(0.6) {
        link.loss = percent(random, 5);
    }
    if random.chance(0.2) {
        link.burst_loss = percent(random, 4);
        link.burst_length = 1.0 + random.below(6) as f64;
    }
    if random.chance(0.3) {
        link.duplicate = percent(random, 5);
    }
    if random.chance(0.4) {
        (link.reorder, link.held) = (percent(random, 5), millis(random, 60));
    }
    if random.chance(0.2) {
        link.corrupt = percent(random, 2);
    }
    if random.chance(0.5) {
        link.rate = Some(Rate(1_000_000 * random.log_uniform(100)));
        let queue = Span::from_millis(30 + random.below(200));
        link.queue = random.chance(0.8).then_some(QueueSize::Time(queue));
    }
    if random.chance(0.2) {
        link.mtu = Some(1200 + random.below(273) as usize);
    }
    link
}

fn player(random: &mut Random, relays: usize) -> PlayerSpec {
    let hz = [None, None, Some(20), Some(30), Some(60), Some(60)];
    PlayerSpec {
        home: random.below(relays as u64) as usize,
        ipv6: random.chance(0.5),
        hz: hz[random.below(hz.len() as u64) as usize],
        nat: random.chance(0.15).then(|| Span::from_millis(2000 + random.below(20_000))),
        ..PlayerSpec::default()
    }
}

/// A stream of the game's state, small reliable messages, and sometimes a lot at once.
fn sends(random: &mut Random, from: usize, to: usize, sends: &mut Vec<SendSpec>) {
    let plain = SendSpec {
        from,
        to,
        channel: 0,
        reliable: false,
        ordered: None,
        size: 12,
        rate: None,
        count: None,
        start: Span::default(),
        end: None,
    };
    if random.chance(0.7) {
        let size = 12 + random.log_uniform(190) as usize;
        sends.push(SendSpec { size, rate: Some(random.log_uniform(60) as f64), ..plain.clone() });
    }
    if random.chance(0.7) {
        let (size, rate) = (12 + random.log_uniform(500) as usize, random.log_uniform(12));
        let rate = Some(rate as f64);
        sends.push(SendSpec { channel: 1, reliable: true, size, rate, ..plain.clone() });
    }
    if random.chance(0.3) {
        let size = 12 + random.log_uniform(100_000) as usize;
        let count = one_to(random, (150_000 / size).clamp(1, 300) as u64);
        let (channel, reliable, count) = (2, true, Some(count));
        sends.push(SendSpec { channel, reliable, size, count, ..plain });
    }
}

/// Some channels are of the other order than their kind mostly is, both ways alike.
fn reorder(random: &mut Random, scenario: &mut Scenario) {
    let mut others = BTreeMap::new();
    for send in &mut scenario.send {
        let pair = (send.from.min(send.to), send.from.max(send.to), send.channel);
        let other = *others.entry(pair).or_insert_with(|| random.chance(0.3));
        send.ordered = other.then_some(!send.reliable);
    }
}

fn fault(random: &mut Random, scenario: &Scenario) -> FaultSpec {
    let kinds = [
        FaultKind::Cut,
        FaultKind::Link,
        FaultKind::Rebind,
        FaultKind::NetworkChanged,
        FaultKind::RestartRelay,
        FaultKind::Freeze,
        FaultKind::SetHome,
        FaultKind::RotateSession,
    ];
    let kind = kinds[random.below(kinds.len() as u64) as usize];
    let millis = scenario.duration.0.as_millis() as u64;
    let at = random.below(millis);
    let lasts = if kind.lasts() { random.below((millis - at).min(5000)) } else { 0 };
    let rough = LinkSpec { loss: 30.0, reorder: 10.0, held: Span::from_millis(50), ..link(random) };
    FaultSpec {
        at: Span::from_millis(at),
        kind,
        player: random.chance(0.8).then(|| random.below(scenario.player.len() as u64) as usize),
        relay: random.chance(0.8).then(|| random.below(scenario.relays as u64) as usize),
        way: way(random),
        lasts: Span::from_millis(lasts),
        link: (kind == FaultKind::Link).then_some(rough),
    }
}

fn way(random: &mut Random) -> Option<WaySpec> {
    match random.below(4) {
        0 => Some(WaySpec::Up),
        1 => Some(WaySpec::Down),
        _ => None,
    }
}

fn one_to(random: &mut Random, most: u64) -> usize {
    1 + random.below(most) as usize
}

fn millis(random: &mut Random, most: u64) -> Span {
    Span::from_millis(random.below(most + 1))
}

/// In tenths, so that it is written as it is.
fn percent(random: &mut Random, most: u64) -> f64 {
    random.below(most * 10 + 1) as f64 / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_scenarios_make_sense_and_survive_being_written() {
        for seed in 0..2000 {
            let scenario = Scenario::random(seed);
            assert_eq!(scenario.check(), Ok(()), "seed {seed}");
            let text = scenario.to_string();
            assert_eq!(text.parse(), Ok(scenario), "seed {seed}: {text}");
        }
    }
}
