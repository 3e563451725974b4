//! Scenarios from seeds, which must keep every promise, and show the same each time.

use core::time::Duration;
use std::panic::catch_unwind;

use waylane_sim::scenario::{Outcome, Scenario};
use waylane_sim::{A, Bottleneck, Burst, Link, Way, World};

/// How many seeds: a few seconds' worth; `WAYLANE_SCENARIOS` says otherwise, and
/// `WAYLANE_SCENARIOS_FROM` where to begin.
const COUNT: u64 = 100;

#[test]
fn random_scenarios_keep_every_promise() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let from: u64 = number("WAYLANE_SCENARIOS_FROM").unwrap_or(0);
    let count = number("WAYLANE_SCENARIOS").unwrap_or(COUNT);
    let mut bad = Vec::new();
    for seed in from..from.saturating_add(count) {
        // A panic is a finding like any other: the seed must be told.
        let broken = match catch_unwind(|| Scenario::random(seed).run().broken) {
            Ok(broken) => broken,
            Err(_) => vec!["panicked, as told above".into()],
        };
        if !broken.is_empty() {
            bad.push(format!("{}: {broken:#?}", Outcome::replay(seed)));
        }
    }
    assert!(bad.is_empty(), "{} of {count}, from {from} on:\n{}", bad.len(), bad.join("\n"));
}

#[test]
fn a_scenario_shows_the_same_each_time() {
    for seed in 0..5 {
        let scenario = Scenario::random(seed);
        let (one, other) = (scenario.run(), scenario.run());
        assert_eq!(one.trace, other.trace, "seed {seed}");
        let read: Scenario = scenario.to_string().parse().unwrap_or_else(|why| panic!("{why}"));
        assert_eq!(read.run().trace, one.trace, "seed {seed}, written and read");
        assert_ne!(Scenario { seed: seed + 1, ..scenario }.run().trace, one.trace);
    }
}

/// Everything of a world that reckons with fractions: chance, links, CUBIC, random scenarios. What
/// players send may change with the protocol and is not pinned.
#[test]
fn a_seed_means_the_same_on_every_machine() {
    let link = Link {
        jitter: Duration::from_millis(5),
        loss: 0.01,
        burst: Some(Burst { loss: 0.01, length: 3.0 }),
        reorder: 0.02,
        held: Duration::from_millis(20),
        bottleneck: Some(Bottleneck::megabits(5, Duration::from_millis(50))),
        ..Link::delayed(Duration::from_millis(20))
    };
    let mut world = World::new(1);
    let relay = world.add_relay();
    world.set_leg(A, relay, link);
    let flow = world.add_cross_flow(Duration::ZERO, A, relay, Way::Down, Duration::from_millis(20));
    world.run_for(Duration::from_secs(30));
    assert!(world.cross_counters(flow).bytes > 1_000_000);
    assert_eq!(world.trace(), WORLD, "{:#018x}", world.trace());

    let text: String = (0..200).map(|seed| Scenario::random(seed).to_string()).collect();
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    assert_eq!(hash, SCENARIOS, "{hash:#018x}");
}

const WORLD: u64 = 0x2821_a10d_62e4_5d72;
const SCENARIOS: u64 = 0xdf17_a217_b332_78b5;

#[test]
fn the_examples_keep_every_promise() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios");
    let mut found = 0;
    for entry in std::fs::read_dir(folder).expect("the examples are there").flatten() {
        let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
        let scenario: Scenario = text.parse().unwrap_or_else(|why| panic!("{entry:?}: {why}"));
        let broken = scenario.run().broken;
        assert!(broken.is_empty(), "{entry:?}: {broken:?}");
        found += 1;
    }
    assert!(found > 0);
}

#[test]
fn what_does_not_hold_is_said() {
    let slow: Scenario = r#"
        duration = "1s"
        settle = "1s"
        link = { delay = "10ms", rate = "50k", loss = 5 }
        player = [{}, {}]
        send = [{ from = 0, to = 1, reliable = true, size = 250000, count = 1 }]
    "#
    .parse()
    .unwrap_or_else(|why| panic!("{why}"));
    let broken = slow.run().broken;
    assert!(broken.iter().any(|why| why.contains("0 of 1 reliable messages")), "{broken:?}");
    assert!(broken.iter().any(|why| why.contains("at rest holds")), "{broken:?}");
}

#[test]
fn who_only_listens_learns_late_that_its_relay_was_restarted() {
    for seed in [1068, 1_795_392_156_000_770] {
        let outcome = Scenario::random(seed).run();
        assert_eq!(outcome.broken, [""; 0], "seed {seed}");
    }
}

#[test]
fn a_home_lost_while_connecting_is_told_by_the_lobby() {
    // Losses come five at a time: a player loses its relay before all are connected.
    let outcome = Scenario::random(4058).run();
    assert_eq!(outcome.broken, [""; 0]);
}
