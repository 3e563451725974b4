//! Lists of relays that a fleet signs: who is believed, what a client makes of one, and that moving
//! from one list to the next costs nobody anything.
// Helpers here are parts of tests too; the lint knows only functions marked as such.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "common/pair_game.rs"]
mod pair_game;

use core::cell::RefCell;
use core::net::{Ipv6Addr, SocketAddr};
use std::rc::Rc;

use common::{ms, secs};
use pair_game::Game;
use waylane_core::crypto::Secret;
use waylane_core::directory::RelayEntry;
use waylane_core::endpoint::{Refusal, RelayState, SetDirectoryError};
use waylane_core::fleet::{SignedDirectory, SignedDirectoryError};
use waylane_core::id::RelayId;
use waylane_core::invite::{Invite, InviteSecret};
use waylane_core::wire::hop::DirectoryPage;
use waylane_crypto::FleetSigner;
use waylane_sim::{
    A, B, Endpoint, Family, Heard, Link, PlayerNo, PlayerSetup, RelayNo, Way, World,
};

const ME: PlayerNo = PlayerNo(0);

fn signer() -> FleetSigner {
    FleetSigner::from_secret(&Secret([7; 32]))
}

fn signed_by(signer: &FleetSigner, sequence: u64, entries: &[RelayEntry]) -> Vec<u8> {
    let mut out = [0; SignedDirectory::LEN_MAX];
    signer.sign(sequence, entries, &mut out).unwrap().as_bytes().to_vec()
}

/// A list of the relays with these numbers.
fn list(world: &World, sequence: u64, relays: &[usize]) -> Vec<u8> {
    let entries: Vec<_> =
        relays.iter().map(|n| world.relay(RelayNo(*n)).entry(Family::V4)).collect();
    signed_by(&signer(), sequence, &entries)
}

/// A player who knows the fleet's key and the first `known` of so many relays, all as far away.
fn setup(known: usize, relays: &[RelayNo]) -> PlayerSetup {
    let (directory, learns) = relays.split_at(known);
    let mut setup = PlayerSetup { learns: learns.to_vec(), ..PlayerSetup::new(directory) };
    setup.config.fleet_key = Some(signer().public());
    setup
}

fn world_of(seed: u64, known: usize, relays: usize) -> World {
    world_with(seed, known, relays, |_| {})
}

fn world_with(
    seed: u64,
    known: usize,
    relays: usize,
    change: impl FnOnce(&mut PlayerSetup),
) -> World {
    let mut world = World::new(seed);
    let relays: Vec<RelayNo> = (0..relays).map(|_| world.add_relay()).collect();
    for relay in &relays {
        world.set_leg(ME, *relay, Link::delayed(ms(20)));
    }
    let mut setup = setup(known, &relays);
    change(&mut setup);
    world.add_player(setup);
    assert!(world.bind(&[ME]));
    world
}

fn take(world: &mut World, player: PlayerNo, list: &[u8]) -> Result<bool, SetDirectoryError> {
    world.with(player, |endpoint| endpoint.set_signed_directory(list))
}

fn number(world: &World, relay: RelayId) -> usize {
    (0..12).find(|n| world.relay(RelayNo(*n)).id() == relay).unwrap()
}

/// Numbers of the relays in the directory.
fn directory(world: &World) -> Vec<usize> {
    let mut all: Vec<_> =
        world.endpoint(ME).relays().map(|status| number(world, status.id)).collect();
    all.sort_unstable();
    all
}

/// Numbers of the relays that the route names.
fn named(world: &World, player: PlayerNo) -> Vec<usize> {
    let route = world.endpoint(player).route().unwrap();
    let mut all: Vec<_> = route.relays().iter().map(|entry| number(world, entry.relay)).collect();
    all.sort_unstable();
    all
}

fn sent_to(world: &World, player: PlayerNo, relay: usize) -> u64 {
    world.traffic(player, RelayNo(relay), Way::Up).datagrams
}

#[test]
fn nobody_loses_anything_when_a_list_names_other_relays() {
    for seed in pair_game::seeds() {
        let mut world = World::new(seed);
        let relays: Vec<RelayNo> = (0..4).map(|_| world.add_relay()).collect();
        for player in [A, B] {
            for relay in &relays {
                world.set_leg(player, *relay, Link::delayed(pair_game::HOPS));
            }
            world.add_player(setup(2, &relays));
        }
        assert!(world.bind(&[A, B]));
        world.run_for(secs(5));
        let game = Game::between(&mut world, A, B);
        world.run_for(secs(10));
        let list = list(&world, 1, &[2, 3]);
        // One of the two hears of it some time after the other.
        assert_eq!(take(&mut world, A, &list), Ok(true));
        world.run_for(ms(seed * 700));
        assert_eq!(take(&mut world, B, &list), Ok(true));
        world.run_for(secs(40));
        for player in [A, B] {
            assert_eq!(named(&world, player), [2, 3], "seed {seed}");
            assert_eq!(game.lost(world.now(), player), 0, "seed {seed}");
        }
        let before = [A, B].map(|player| [0, 1].map(|relay| sent_to(&world, player, relay)));
        world.run_for(secs(60));
        let after = [A, B].map(|player| [0, 1].map(|relay| sent_to(&world, player, relay)));
        assert_eq!(before, after, "relays that are not in the list are sent nothing any more");
        for relay in [0, 1] {
            assert_eq!(world.relay_counters(RelayNo(relay)).control.sessions_live, 0);
        }
        game.finish(&mut world);
    }
}

#[test]
fn a_relay_outside_the_list_serves_until_one_of_the_list_does() {
    let mut world = world_of(1, 1, 2);
    world.stop_relay(RelayNo(1));
    let list = list(&world, 1, &[1]);
    assert_eq!(take(&mut world, ME, &list), Ok(true));
    assert_eq!(directory(&world), [1]);
    world.run_for(secs(60));
    assert_eq!(named(&world, ME), [0], "better than none");
    world.start_relay(RelayNo(1));
    assert!(world.run_until(secs(10), |world| named(world, ME) == [1]));
    world.run_for(secs(20));
    let sent = sent_to(&world, ME, 0);
    world.run_for(secs(60));
    assert_eq!(sent_to(&world, ME, 0), sent, "and left then");

    // Where there is no session yet there is nothing to wait for.
    let mut world = World::new(2);
    let relays = [world.add_relay(), world.add_relay()];
    world.stop_relay(relays[0]);
    world.add_player(setup(1, &relays));
    let list = self::list(&world, 1, &[1]);
    let before = sent_to(&world, ME, 0);
    assert_eq!(take(&mut world, ME, &list), Ok(true));
    assert!(world.run_until(secs(5), |world| world.endpoint(ME).route().is_some()));
    assert_eq!((named(&world, ME), sent_to(&world, ME, 0)), (vec![1], before));
}

#[test]
fn only_what_the_fleet_has_signed_is_taken_and_only_if_it_is_newer() {
    let mut world = world_of(3, 1, 3);
    let good = list(&world, 5, &[0, 1]);
    let entries = [world.relay(RelayNo(2)).entry(Family::V4)];
    let foreign = signed_by(&FleetSigner::from_secret(&Secret([8; 32])), 9, &entries);
    assert_eq!(take(&mut world, ME, &foreign), Err(SetDirectoryError::Signature));
    for at in 0..good.len() {
        let mut forged = good.clone();
        forged[at] ^= 1;
        assert!(take(&mut world, ME, &forged).is_err(), "byte {at}");
        assert!(take(&mut world, ME, &good[..at]).is_err(), "{at} bytes");
    }
    let long = [&good[..], &[0]].concat();
    let too_long = SetDirectoryError::List(SignedDirectoryError::TooLong);
    assert_eq!(take(&mut world, ME, &long), Err(too_long));
    assert_eq!(
        take(&mut world, ME, b""),
        Err(SetDirectoryError::List(SignedDirectoryError::Truncated))
    );
    assert_eq!(directory(&world), [0]);
    assert!(world.endpoint(ME).signed_directory().is_none());

    assert_eq!(take(&mut world, ME, &good), Ok(true));
    assert_eq!(directory(&world), [0, 1]);
    for (sequence, taken) in [(5, false), (4, false), (1, false), (6, true), (5, false)] {
        let list = list(&world, sequence, &[2]);
        assert_eq!(take(&mut world, ME, &list), Ok(taken), "{sequence}");
        let known = if taken || directory(&world) == [2] { vec![2] } else { vec![0, 1] };
        assert_eq!(directory(&world), known);
    }
    let text = world.endpoint(ME).signed_directory().unwrap().to_string();
    assert_eq!(world.endpoint(ME).signed_directory().unwrap().sequence(), 6);

    // What was kept is taken at the next start, and nothing is without a key.
    world.start_player(ME);
    assert_eq!(take(&mut world, ME, text.as_bytes()), Ok(true));
    let mut keyless = world_with(4, 1, 3, |setup| setup.config.fleet_key = None);
    assert_eq!(take(&mut keyless, ME, &good), Err(SetDirectoryError::NoFleetKey));
}

#[test]
fn what_the_application_adds_and_what_invites_name_stays() {
    let mut world = world_of(5, 1, 5);
    let entry = |world: &World, n| world.relay(RelayNo(n)).entry(Family::V4);
    let first = list(&world, 1, &[1]);
    assert_eq!(take(&mut world, ME, &first), Ok(true));
    let by_hand = entry(&world, 2);
    world.with(ME, |endpoint| endpoint.add_relay(&by_hand)).unwrap();
    // A host at home at a relay of its own.
    let host = world.add_player(PlayerSetup::new(&[RelayNo(3)]));
    assert!(world.bind(&[host]));
    let route = world.endpoint(host).route().unwrap().clone();
    let invite = Invite::new(&[entry(&world, 3)], InviteSecret([1; 16]), route).unwrap();
    world.with(ME, |endpoint| endpoint.accept_invite(&invite)).unwrap();
    assert_eq!(directory(&world), [1, 2, 3]);
    let second = list(&world, 2, &[4]);
    assert_eq!(take(&mut world, ME, &second), Ok(true));
    assert_eq!(directory(&world), [2, 3, 4], "the first was there to begin with only");
    let gone = by_hand_id(&world, 2);
    world.with(ME, |endpoint| endpoint.remove_relay(gone)).unwrap();
    assert_eq!(directory(&world), [3, 4]);
}

fn by_hand_id(world: &World, relay: usize) -> RelayId {
    world.relay(RelayNo(relay)).id()
}

#[test]
fn a_full_directory_changes_over_to_a_list_of_others() {
    let mut world = world_with(6, 3, 6, |setup| setup.config.limits.relays = 3);
    world.run_for(secs(20));
    let list = list(&world, 1, &[3, 4, 5]);
    assert_eq!(take(&mut world, ME, &list), Ok(true));
    world.run_for(secs(60));
    assert_eq!(directory(&world), [3, 4, 5]);
    assert!(named(&world, ME).iter().all(|n| *n > 2), "{:?}", named(&world, ME));
    let bound = |endpoint: &Endpoint| {
        endpoint.relays().filter(|status| status.state == RelayState::Bound).count()
    };
    assert_eq!(bound(world.endpoint(ME)), 2);
    let many = self::list(&world, 2, &[0, 1, 2, 3]);
    assert_eq!(take(&mut world, ME, &many), Err(SetDirectoryError::TooLarge));
}

#[test]
fn a_list_that_names_a_relay_elsewhere_moves_it() {
    let mut world = world_of(7, 1, 1);
    let both = world.relay(RelayNo(0)).entry_with_both(Family::V6);
    let list = signed_by(&signer(), 1, &[both]);
    assert_eq!(take(&mut world, ME, &list), Ok(true));
    world.run_for(secs(60));
    assert_eq!(named(&world, ME), [0]);
    assert_eq!(world.endpoint(ME).directory().next().unwrap().addresses().len(), 2);
}

/// The questions for its list that a relay has answered.
fn asked(world: &World, relay: usize) -> u64 {
    world.relay_counters(RelayNo(relay)).control.directory_asks
}

fn refused(world: &World) -> u64 {
    world.endpoint(ME).counters().refused(Refusal::Directory)
}

/// A list of these relays in which each takes as many bytes as it can.
fn long_list(world: &World, signer: &FleetSigner, sequence: u64, relays: usize) -> Vec<u8> {
    let entries: Vec<_> = (0..relays)
        .map(|n| {
            let entry = world.relay(RelayNo(n)).entry_with_both(Family::V4);
            let mut addresses = entry.addresses().to_vec();
            addresses.extend([1, 2].map(|port| {
                SocketAddr::from((Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9), port))
            }));
            RelayEntry::new(*entry.public_key(), &addresses, &"r".repeat(32)).unwrap()
        })
        .collect();
    signed_by(signer, sequence, &entries)
}

#[test]
fn a_client_takes_the_newest_list_that_its_home_has() {
    let mut world = world_of(8, 1, 3);
    let first = list(&world, 5, &[1, 2]);
    world.serve_directory(RelayNo(0), &first);
    let next = list(&world, 7, &[0, 2]);
    let older = list(&world, 6, &[1]);
    world.run_for(secs(60));
    assert_eq!(directory(&world), [1, 2]);
    assert_eq!(named(&world, ME), [1, 2]);
    let told = |heard: &Heard| matches!(heard, Heard::DirectoryUpdate(5));
    assert!(world.take_heard(ME).iter().any(told));
    assert_eq!(world.endpoint(ME).signed_directory().unwrap().as_bytes(), first);
    // Which there is, and one page.
    assert_eq!((asked(&world, 0), refused(&world)), (2, 0));

    // The same list again, and an older one, are not fetched; a newer one is, from any relay.
    for relay in [1, 2] {
        world.serve_directory(RelayNo(relay), if relay == 1 { &first } else { &older });
    }
    world.run_for(secs(1300));
    let home = number(&world, world.endpoint(ME).home().unwrap());
    world.serve_directory(RelayNo(home), &next);
    let before = [0, 1, 2].map(|relay| asked(&world, relay)).iter().sum::<u64>();
    assert!(before <= 2 + 4, "every ten minutes, and a new home at once: {before}");
    assert!(
        world.run_until(secs(660), |world| directory(world) == [0, 2]),
        "{:?}",
        directory(&world)
    );
    assert_eq!(world.endpoint(ME).directory_sequence(), Some(7));
    assert_eq!(refused(&world), 0);
}

#[test]
fn who_knows_no_fleet_asks_for_nothing() {
    let mut world = world_with(9, 1, 2, |setup| setup.config.fleet_key = None);
    let list = list(&world, 5, &[1]);
    world.serve_directory(RelayNo(0), &list);
    world.run_for(secs(1500));
    assert_eq!((asked(&world, 0), directory(&world)), (0, vec![0]));
}

#[test]
fn a_list_of_many_pages_comes_through_a_link_that_loses_much() {
    for seed in 0..10 {
        let mut world = world_of(seed, 1, 12);
        let list = long_list(&world, &signer(), 3, 12);
        assert!(list.len() > DirectoryPage::BYTES_MAX);
        world.serve_directory(RelayNo(0), &list);
        world.set_leg(ME, RelayNo(0), Link::rough(ms(20), 0.3, 0.1));
        let longest: Rc<RefCell<usize>> = Rc::default();
        let sink = Rc::clone(&longest);
        world.set_tap(Box::new(move |sight| {
            let mut longest = sink.borrow_mut();
            *longest = sight.bytes.len().max(*longest);
        }));
        let taken =
            world.run_until(secs(2000), |world| world.endpoint(ME).directory_sequence() == Some(3));
        assert!(
            taken,
            "seed {seed}: {} asked, {:?}",
            asked(&world, 0),
            world.endpoint(ME).counters()
        );
        assert_eq!(world.endpoint(ME).signed_directory().unwrap().as_bytes(), list);
        assert_eq!((*longest.borrow(), refused(&world)), (1200, 0), "seed {seed}");
    }
}

#[test]
fn what_a_relay_should_not_have_served_is_counted_and_not_asked_for_again_soon() {
    let foreign = FleetSigner::from_secret(&Secret([8; 32]));
    for (relays, signer) in [(12, &foreign), (12, &signer())] {
        // Forged; and more relays than there is room for.
        let mut world = world_with(10, 1, 12, |setup| {
            setup.config.limits.relays = if signer.public() == foreign.public() { 16 } else { 11 };
        });
        let list = long_list(&world, signer, 3, relays);
        world.serve_directory(RelayNo(0), &list);
        world.run_for(secs(500));
        assert_eq!(refused(&world), 1);
        assert_eq!(directory(&world), [0]);
        assert!(asked(&world, 0) <= 3, "{}", asked(&world, 0));
        world.run_for(secs(550));
        assert_eq!(refused(&world), 2, "asked again, as it may be another one by then");
    }
    // A relay that has another list each time keeps nobody busy.
    let mut world = world_of(11, 1, 2);
    let entries = [world.relay(RelayNo(1)).entry(Family::V4)];
    for n in 0..4000 {
        world.serve_directory(RelayNo(0), &signed_by(&foreign, 1 + n, &entries));
        world.run_for(ms(15));
    }
    assert!((10..=32).contains(&asked(&world, 0)), "{}", asked(&world, 0));
    assert_eq!(directory(&world), [0]);
}

#[test]
fn asking_costs_next_to_nothing() {
    const SPAN: u64 = 3600;
    for relays in [1, 2, 12] {
        let mut world = world_of(12, relays, relays);
        let list = long_list(&world, &signer(), 3, relays);
        for relay in 0..relays {
            world.serve_directory(RelayNo(relay), &list);
        }
        world.run_for(secs(60));
        assert_eq!(world.endpoint(ME).directory_sequence(), Some(3));
        let bytes: Rc<RefCell<u64>> = Rc::default();
        let sink = Rc::clone(&bytes);
        world.set_tap(Box::new(move |sight| *sink.borrow_mut() += sight.bytes.len() as u64));
        world.run_for(secs(SPAN));
        let rate = *bytes.borrow() as f64 / SPAN as f64;
        println!("{relays} relays: {rate:.1} B/s");
        assert!(rate <= 60.0, "{relays} relays: {rate} B/s");
        let asked: u64 = (0..relays).map(|relay| asked(&world, relay)).sum();
        assert!((5..=12).contains(&asked), "about every ten minutes: {asked}");
    }
}

#[test]
fn those_who_come_at_once_do_not_ask_at_once() {
    const PLAYERS: usize = 30;
    let mut world = World::new(13);
    let relay = world.add_relay();
    for n in 0..PLAYERS {
        world.set_leg(PlayerNo(n), relay, Link::delayed(ms(20)));
        world.add_player(setup(1, &[relay]));
    }
    let (mut before, mut most) = (0, 0);
    for _ in 0..120 {
        world.run_for(ms(100));
        most = most.max(asked(&world, 0) - before);
        before = asked(&world, 0);
    }
    assert_eq!(before, PLAYERS as u64);
    assert!(most <= 5, "{most} in a tenth of a second");
}
