//! Which relays a player takes: measured, chosen by score and by what the application wants, at a
//! cost that has a bound.
// Helpers here are parts of tests too; the lint knows only functions marked as such.
#![allow(clippy::unwrap_used)]

mod common;

use core::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use common::{ms, secs};
use waylane_core::directory::RelayEntry;
use waylane_core::endpoint::{AddRelayError, ChosenAs, RelayPolicy, RelayState, RelayStatus};
use waylane_core::id::{PublicKey, RelayId};
use waylane_core::wire::hop::Alternatives;
use waylane_sim::{A, B, Heard, Link, PlayerNo, PlayerSetup, RelayNo, Way, World};

const ME: PlayerNo = PlayerNo(0);

/// One player and relays so many milliseconds of round trip away.
fn world_of(seed: u64, round_trips: &[u64]) -> World {
    world_with(seed, round_trips, |_| {})
}

fn world_with(seed: u64, round_trips: &[u64], change: impl FnOnce(&mut PlayerSetup)) -> World {
    let mut world = World::new(seed);
    let relays: Vec<RelayNo> = round_trips.iter().map(|_| world.add_relay()).collect();
    for (relay, round_trip) in relays.iter().zip(round_trips) {
        world.set_leg(ME, *relay, Link::delayed(ms(*round_trip) / 2));
    }
    let mut setup = PlayerSetup::new(&relays);
    change(&mut setup);
    assert_eq!(world.add_player(setup), ME);
    world
}

fn id(world: &World, relay: usize) -> RelayId {
    world.relay(RelayNo(relay)).id()
}

fn status(world: &World, relay: usize) -> RelayStatus<'_> {
    world.endpoint(ME).relays().find(|status| status.id == id(world, relay)).unwrap()
}

/// Numbers of the relays that the route names.
fn named(world: &World) -> Vec<usize> {
    let route = world.endpoint(ME).route().unwrap();
    let number = |relay: RelayId| (0..8).find(|n| id(world, *n) == relay).unwrap();
    route.relays().iter().map(|entry| number(entry.relay)).collect()
}

#[test]
fn the_nearest_becomes_home_and_the_second_standby() {
    for seed in 0..20 {
        let mut world = world_of(seed, &[80, 60, 20, 40]);
        assert!(world.bind(&[ME]), "with the first of the directory, at once");
        assert_eq!(named(&world), [0]);
        world.run_for(secs(10));
        assert_eq!(named(&world), [2, 3], "seed {seed}");
        let rtt = |n| status(&world, n).rtt.unwrap();
        for (n, expected) in [(0, 80), (1, 60), (2, 20), (3, 40)] {
            assert_eq!(rtt(n), ms(expected));
        }
        let why: Vec<_> = (0..4).map(|n| status(&world, n).chosen_as).collect();
        let expected = [ChosenAs::NotBest, ChosenAs::NotBest, ChosenAs::Home, ChosenAs::Standby];
        assert_eq!(why, expected);
        world.run_for(secs(20));
        let bound = |n| status(&world, n).state == RelayState::Bound;
        assert_eq!([0, 1, 2, 3].map(bound), [false, false, true, true], "the first is left");
    }
}

#[test]
fn a_relay_that_becomes_much_better_is_taken_and_a_tie_is_not() {
    let mut world = world_of(1, &[40, 44, 50]);
    world.run_for(secs(30));
    assert_eq!(named(&world), [0, 1], "a tenth is no reason");
    world.set_leg(ME, RelayNo(2), Link::delayed(ms(10)));
    assert!(world.run_until(secs(60), |world| named(world) == [2, 0]), "{:?}", named(&world));

    // A tie with jitter, for an hour.
    let mut world = world_of(2, &[40, 40, 40]);
    for relay in 0..3 {
        let link = Link { jitter: ms(4), ..Link::delayed(ms(18)) };
        world.set_leg(ME, RelayNo(relay), link);
    }
    world.run_for(secs(60));
    world.take_heard(ME);
    world.run_for(secs(3600));
    let routes = world.take_heard(ME);
    let routes = routes.iter().filter(|heard| matches!(heard, Heard::RouteUpdate(_)));
    assert!(routes.count() <= 6, "at most now and then");
}

/// A relay that drains has a wish; what the application wants, and the directory, come before it.
#[test]
fn who_is_drained_goes_where_the_relay_says_among_those_it_knows() {
    for seed in 0..20 {
        for (wish, policy, expected) in [
            (&[][..], RelayPolicy::Allow, [NEAR, FAR]),
            (&[OUTSIDE, FAR][..], RelayPolicy::Allow, [FAR, NEAR]),
            (&[OUTSIDE][..], RelayPolicy::Allow, [NEAR, FAR]),
            (&[FAR, NEAR][..], RelayPolicy::Allow, [FAR, NEAR]),
            (&[NEAR, FAR][..], RelayPolicy::Allow, [NEAR, FAR]),
            // The application does not want it.
            (&[FAR][..], RelayPolicy::Veto, [NEAR, FARTHEST]),
        ] {
            let mut world = World::new(seed);
            for _ in [NEAR, FAR, FARTHEST, OUTSIDE] {
                world.add_relay();
            }
            let mut alternatives = Alternatives::NONE;
            wish.iter().for_each(|relay| alternatives.push(id(&world, *relay)).unwrap());
            let drains = world.add_relay_with(|config| config.alternatives = alternatives);
            for (relay, round_trip) in [(drains.0, 20), (NEAR, 40), (FAR, 60), (FARTHEST, 80)] {
                world.set_leg(ME, RelayNo(relay), Link::delayed(ms(round_trip) / 2));
            }
            let directory = [drains, RelayNo(NEAR), RelayNo(FAR), RelayNo(FARTHEST)];
            assert_eq!(world.add_player(PlayerSetup::new(&directory)), ME);
            let far = id(&world, FAR);
            world.with(ME, |endpoint| endpoint.set_relay_policy(far, policy)).unwrap();
            world.run_for(secs(10));
            assert_eq!(named(&world), [drains.0, NEAR]);

            world.drain_relay(drains, secs(30));
            world.run_for(secs(5));
            assert_eq!(named(&world)[0], expected[0], "seed {seed}, {wish:?}, {policy:?}");
            world.run_for(secs(25));
            assert_eq!(named(&world), expected, "seed {seed}, {wish:?}, {policy:?}");
            let outside = world.traffic(ME, RelayNo(OUTSIDE), Way::Up);
            assert_eq!(outside.datagrams, 0, "nobody has asked it anything");

            // When it is back its wish is forgotten: the nearest serves again.
            world.stop_relay(drains);
            world.start_relay(drains);
            assert!(world.run_until(secs(90), |world| named(world) == [drains.0, NEAR]));
        }
    }
}

const NEAR: usize = 0;
const FAR: usize = 1;
const FARTHEST: usize = 2;
const OUTSIDE: usize = 3;

#[test]
fn the_application_is_in_control() {
    let mut world = world_of(3, &[20, 40, 60]);
    world.run_for(secs(10));
    assert_eq!(named(&world), [0, 1]);
    let policy = |world: &mut World, relay, policy| {
        let relay = id(world, relay);
        world.with(ME, |endpoint| endpoint.set_relay_policy(relay, policy)).unwrap();
    };
    policy(&mut world, 2, RelayPolicy::Prefer);
    world.run_for(secs(5));
    assert_eq!(named(&world), [2, 0], "preferred before any score");
    assert_eq!(status(&world, 1).chosen_as, ChosenAs::NotPreferred);
    policy(&mut world, 2, RelayPolicy::Allow);
    policy(&mut world, 0, RelayPolicy::Veto);
    world.run_for(secs(20));
    assert_eq!(named(&world), [1, 2]);
    assert_eq!(status(&world, 0).chosen_as, ChosenAs::Vetoed);
    assert_eq!(status(&world, 0).state, RelayState::Idle, "and left");
    let sent = world.traffic(ME, RelayNo(0), Way::Up).datagrams;
    world.run_for(secs(120));
    assert_eq!(world.traffic(ME, RelayNo(0), Way::Up).datagrams, sent, "nor asked for anything");
    policy(&mut world, 2, RelayPolicy::Require);
    world.run_for(secs(20));
    assert_eq!(named(&world), [2], "no other may serve");
    assert_eq!(status(&world, 1).chosen_as, ChosenAs::NotPreferred);
    assert!(world.with(ME, |me| me.set_relay_policy(RelayId(1), RelayPolicy::Veto)).is_err());
}

#[test]
fn distance_and_region_count_before_score() {
    let limit = |setup: &mut PlayerSetup| setup.config.relays.ping_max = Some(ms(50));
    let mut world = world_with(4, &[100, 60, 200], limit);
    world.run_for(secs(10));
    assert_eq!(named(&world), [1, 0], "no nearer one serves");
    assert_eq!(status(&world, 2).chosen_as, ChosenAs::TooFar);
    let region = |setup: &mut PlayerSetup| {
        setup.config.relays.region = Some("elsewhere".try_into().unwrap());
    };
    let mut world = world_with(5, &[40, 80], region);
    world.run_for(secs(10));
    assert_eq!(named(&world), [0, 1], "all are of one region, so it makes no difference");
}

#[test]
fn a_home_that_dies_is_replaced_by_the_standby_within_two_seconds_of_being_missed() {
    let mut world = world_of(6, &[20, 40, 60]);
    world.run_for(secs(30));
    world.take_heard(ME);
    world.stop_relay(RelayNo(0));
    // Three probes, 4 s apart, and a second of doubt.
    assert!(world.run_until(secs(20), |world| named(world)[0] == 1));
    world.run_for(secs(8));
    assert_eq!(named(&world), [1, 2]);
    assert_eq!(status(&world, 0).chosen_as, ChosenAs::Silent);
    world.start_relay(RelayNo(0));
    assert!(world.run_until(secs(60), |world| named(world) == [0, 1]), "and taken back");
}

#[test]
fn routes_are_told_at_most_twice_a_second() {
    let mut world = world_of(7, &[20, 40]);
    world.run_for(secs(10));
    world.take_heard(ME);
    for n in 0..40 {
        let relay = id(&world, n % 2);
        world.with(ME, |endpoint| endpoint.set_home(relay)).unwrap();
        world.run_for(ms(100));
    }
    let heard = world.take_heard(ME);
    let epochs: Vec<_> =
        heard
            .iter()
            .filter_map(|heard| {
                if let Heard::RouteUpdate(route) = heard { Some(route.epoch) } else { None }
            })
            .collect();
    assert!((1..=9).contains(&epochs.len()), "{epochs:?}");
    assert!(epochs.is_sorted());
}

/// Datagrams and bytes that `relays` relays cost a player who does nothing, a second, both ways.
fn idle_bytes(relays: usize) -> f64 {
    const SPAN: u64 = 600;
    let mut world = world_of(8, &vec![40; relays]);
    let bytes: Rc<RefCell<BTreeMap<bool, u64>>> = Rc::default();
    world.run_for(secs(60));
    let sink = Rc::clone(&bytes);
    world.set_tap(Box::new(move |sight| {
        *sink.borrow_mut().entry(sight.way == Way::Up).or_default() += sight.bytes.len() as u64;
    }));
    world.run_for(secs(SPAN));
    let bytes = bytes.borrow();
    bytes.values().sum::<u64>() as f64 / SPAN as f64
}

#[test]
fn home_standby_and_measuring_cost_at_most_60_bytes_a_second() {
    for relays in [1, 2, 3, 8, 16] {
        let bytes = idle_bytes(relays);
        println!("{relays} relays: {bytes:.1} B/s");
        assert!(bytes <= 60.0, "{relays} relays: {bytes} B/s");
        assert!(bytes > 4.0, "keep-alives at least: {bytes}");
    }
}

#[test]
fn a_guest_session_adds_at_most_5_bytes_a_second() {
    const SPAN: u64 = 600;
    let mut world = World::new(9);
    let relays: Vec<_> = (0..2).map(|_| world.add_relay()).collect();
    for home in &relays {
        let player = world.add_player(PlayerSetup::new(&relays));
        let home = world.relay(*home).id();
        world.with(player, |me| me.set_relay_policy(home, RelayPolicy::Require)).unwrap();
    }
    assert!(world.bind(&[A, B]));
    world.run_for(secs(10));
    world.introduce(A, B);
    world.run_for(secs(10));
    assert!(status(&world, 1).guest && status(&world, 1).state == RelayState::Bound);
    let guest_at = world.relay(relays[1]).address_for(world.address(A));
    // All but what goes from player to player, and what measures.
    let bytes: Rc<RefCell<u64>> = Rc::default();
    let sink = Rc::clone(&bytes);
    world.set_tap(Box::new(move |sight| {
        if sight.player == A && sight.other == guest_at && sight.bytes[0] < 0x0a {
            *sink.borrow_mut() += sight.bytes.len() as u64;
        }
    }));
    world.run_for(secs(SPAN));
    let bytes = *bytes.borrow() as f64 / SPAN as f64;
    assert!((1.0..=5.0).contains(&bytes), "{bytes} B/s");
}

#[test]
fn a_relay_taken_out_of_the_directory_makes_room_for_another() {
    let room_for_two = |setup: &mut PlayerSetup| setup.config.limits.relays = 2;
    let mut world = World::new(10);
    let relays: Vec<_> = (0..2).map(|_| world.add_relay()).collect();
    for relay in &relays {
        world.set_leg(ME, *relay, Link::delayed(ms(20)));
    }
    let mut setup = PlayerSetup::new(&relays);
    room_for_two(&mut setup);
    world.add_player(setup);
    world.run_for(secs(10));
    assert_eq!(named(&world), [0, 1]);
    let first = id(&world, 0);
    // The same place with another key.
    let address = world.relay(relays[0]).address_for(world.address(ME));
    let third = RelayEntry::new(PublicKey([5; 32]), &[address], "").unwrap();
    let full = world.with(ME, |me| me.add_relay(&third));
    assert_eq!(full, Err(AddRelayError::Full));
    world.with(ME, |me| me.remove_relay(first)).unwrap();
    assert!(world.with(ME, |me| me.remove_relay(first)).is_err(), "it is not there any more");
    world.run_for(secs(20));
    assert_eq!(named(&world), [1]);
    let known = world.endpoint(ME).relays().count();
    assert_eq!((known, world.endpoint(ME).directory().count()), (1, 1));
    let sent = world.traffic(ME, RelayNo(0), Way::Up).datagrams;
    world.run_for(secs(60));
    assert_eq!(world.traffic(ME, RelayNo(0), Way::Up).datagrams, sent, "nothing goes there");
    world.with(ME, |me| me.add_relay(&third)).unwrap();
    world.run_for(secs(1));
    assert!(world.endpoint(ME).directory().any(|entry| *entry == third));
    assert!(world.traffic(ME, RelayNo(0), Way::Up).datagrams > sent, "it is measured");
}
