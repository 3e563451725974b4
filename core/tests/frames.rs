//! Applications that call sixty times a second see the same path as those that call at every event.
// Helpers here are parts of tests too; the lint knows only functions marked as such.
#![allow(clippy::unwrap_used)]

use core::time::Duration;

use waylane_core::endpoint::PeerStats;
use waylane_sim::{A, B, Bottleneck, Driving, FRAME, Link, World};

const ROUND_TRIP: Duration = Duration::from_millis(40);

/// What both know of each other after ten seconds of a game's state both ways.
fn after_game(seed: u64, driving: Driving) -> [PeerStats; 2] {
    let mut world = World::connected_pair_of(seed, Link::delayed(ROUND_TRIP / 2), |_, setup| {
        setup.driving = driving;
    });
    for tick in 0..600 {
        for (from, to) in [(A, B), (B, A)] {
            world.say(from, to, 0, &[1; 100]);
            if tick % 10 == 0 {
                world.say(from, to, 1, &[2; 40]);
            }
        }
        world.run_for(FRAME);
    }
    [world.stats(A, B).unwrap(), world.stats(B, A).unwrap()]
}

#[test]
fn frames_are_not_taken_for_distance() {
    for seed in 1..=9 {
        for driving in [Driving::Events, Driving::Frames(FRAME)] {
            for stats in after_game(seed, driving) {
                for round_trip in [stats.rtt_min, stats.rtt] {
                    let off = round_trip.abs_diff(ROUND_TRIP);
                    assert!(off < Duration::from_millis(2), "{seed}, {driving:?}: {stats:?}");
                }
            }
        }
    }
}

#[test]
fn a_server_of_twenty_ticks_a_second_gets_what_its_credit_allows() {
    let bottleneck = Some(Bottleneck::megabits(10, Duration::from_millis(100)));
    let link = Link { bottleneck, ..Link::delayed(ROUND_TRIP / 2) };
    let tick = Duration::from_millis(50);
    let mut world = World::connected_pair(1, link);
    world.set_driving(A, Driving::Frames(tick));
    let message = [0; 16 * 1024];
    let mut heard = 0;
    for second in 0..20 {
        for _ in 0..20 {
            while world.send(A, B, 1, &message).is_ok() {}
            world.flush(A);
            world.run_for(tick);
            heard += world.take_messages(B, 1).len() * usize::from(second >= 5);
        }
    }
    let share = heard as f64 * message.len() as f64 / (15.0 * 1.25e6);
    // 33 of each 50 milliseconds.
    assert!(share > 0.5, "{share}");
}
