//! The rates that a configuration sets are those at which data leaves.
// Helpers here are parts of tests too; the lint knows only functions marked as such.
#![allow(clippy::unwrap_used)]

use core::time::Duration;

use waylane_core::endpoint::SendRate;
use waylane_sim::{A, B, Bottleneck, Link, R, Way, World};

const ROUND_TRIP: Duration = Duration::from_millis(40);

fn megabits(rate: u64) -> Link {
    let bottleneck = Some(Bottleneck::megabits(rate, Duration::from_millis(100)));
    Link { bottleneck, ..Link::delayed(ROUND_TRIP / 2) }
}

/// Bytes a second that A sends with this rate over such a path, from the first second to the fifth
/// of a transfer.
fn sent(rate: SendRate, link: Link) -> f64 {
    let mut world = World::connected_pair_of(1, link, |_, setup| setup.config.rate = rate);
    let mut before = 0;
    for second in 0..5 {
        if second == 1 {
            before = world.traffic(A, R, Way::Up).bytes;
        }
        let end = world.now() + Duration::from_secs(1);
        while world.now() < end {
            while world.send(A, B, 1, &[1; 16 * 1024]).is_ok() {}
            world.flush(A);
            world.run_for(Duration::from_millis(20));
            world.take_messages(B, 1);
        }
    }
    (world.traffic(A, R, Way::Up).bytes - before) as f64 / 4.0
}

fn within(rate: SendRate) -> f64 {
    sent(rate, megabits(10))
}

#[test]
fn without_bounds_the_path_is_the_limit() {
    let rate = within(SendRate::ADAPTIVE);
    assert!((1_100_000.0..1_260_000.0).contains(&rate), "{rate}");
}

#[test]
fn a_maximum_is_not_exceeded() {
    let rate =
        within(SendRate::Adaptive { bytes_per_second_min: 0, bytes_per_second_max: 200_000 });
    assert!((190_000.0..202_000.0).contains(&rate), "{rate}");
}

#[test]
fn a_minimum_is_kept_though_the_path_carries_less() {
    let adaptive = |min| SendRate::Adaptive {
        bytes_per_second_min: min,
        bytes_per_second_max: SendRate::RATE_MAX,
    };
    let rate = sent(adaptive(0), megabits(1));
    assert!(rate < 140_000.0, "{rate}");
    let rate = sent(adaptive(200_000), megabits(1));
    assert!(rate > 190_000.0, "{rate}");
}

#[test]
fn a_fixed_rate_is_kept_whatever_the_path_does() {
    let fixed = SendRate::Fixed { bytes_per_second: 300_000 };
    for (link, case) in [(megabits(10), "wide"), (megabits(1), "narrow")] {
        let rate = sent(fixed, link);
        assert!((290_000.0..303_000.0).contains(&rate), "{case}: {rate}");
    }
}

#[test]
fn a_fixed_rate_above_the_initial_window_needs_no_start() {
    let time = |rate| {
        let link = Link::delayed(ROUND_TRIP / 2);
        let mut world = World::connected_pair_of(1, link, |_, setup| setup.config.rate = rate);
        world.say(A, B, 1, &[1; 60_000]);
        let began = world.now();
        let done = |world: &mut World| !world.heard(B).is_empty();
        assert!(world.run_until(Duration::from_secs(10), done));
        world.now().since(began)
    };
    let fixed = time(SendRate::Fixed { bytes_per_second: 20_000_000 });
    // Half a round trip, and 3 ms of sending.
    assert!(fixed < Duration::from_millis(26), "{fixed:?}");
    assert!(time(SendRate::ADAPTIVE) > fixed * 2);
}
