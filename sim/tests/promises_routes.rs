//! Routes move a connection, and nobody's route moves a client off its directory. (That no client
//! ever sends to anything but its directory, every world checks at every datagram.)
// Helpers here are parts of tests too; the lint knows only functions marked as such.
#![allow(clippy::unwrap_used)]

mod common;

use core::cell::RefCell;
use std::rc::Rc;

use common::{Shared, Stream, ms, reliable_game, secs};
use waylane_core::endpoint::ConnectError;
use waylane_core::id::{ChannelId, Reliability};
use waylane_sim::{
    A, B, Driving, Endpoint, FRAME, Hand, Heard, Link, PlayerNo, PlayerSetup, RelayNo, Way, World,
};

const R2: RelayNo = RelayNo(1);

/// Two players and two relays that both know; both are at home at the first.
fn two_relays(seed: u64, link: Link) -> World {
    let mut world = World::new(seed);
    let relays = [world.add_relay(), world.add_relay()];
    for player in [A, B] {
        for relay in relays {
            world.set_leg(player, relay, link.half());
        }
        world.add_player(PlayerSetup::new(&relays));
    }
    assert!(world.bind(&[A, B]));
    world.introduce(A, B);
    for (player, other) in [(A, B), (B, A)] {
        world.open(player, other, 0, Reliability::Unreliable);
        world.open(player, other, 1, Reliability::Reliable);
    }
    assert!(
        world.run_until(secs(30), |world| world.is_connected(A, B) && world.is_connected(B, A))
    );
    world.run_for(secs(2));
    world
}

/// Runs a reliable stream each way and `during` in its middle; every message must come in order.
fn stream_through(world: &mut World, during: impl FnOnce(&mut World)) {
    const COUNT: u64 = 4000;
    let (to_b, to_a): (Shared, Shared) = Default::default();
    let (out_a, out_b) = (Stream { seed: 1, largest: 3000 }, Stream { seed: 2, largest: 3000 });
    let (id_a, id_b) = (world.id(A), world.id(B));
    world.take_heard(A);
    world.take_heard(B);
    let game_a =
        reliable_game(id_b, ChannelId(1), COUNT, (out_a, to_b.clone()), (out_b, to_a.clone()));
    let game_b =
        reliable_game(id_a, ChannelId(1), COUNT, (out_b, to_a.clone()), (out_a, to_b.clone()));
    world.set_app(A, Box::new(game_a));
    world.set_app(B, Box::new(game_b));
    world.set_driving(A, Driving::Frames(FRAME));
    let half = |progress: &Shared| progress.borrow().received * 3 > COUNT;
    assert!(world.run_until(secs(600), |_| half(&to_a) && half(&to_b)));
    assert!(to_a.borrow().received < COUNT || to_b.borrow().received < COUNT, "in the middle");
    during(world);
    let all = |progress: &Shared| {
        let progress = progress.borrow();
        assert!(progress.trouble.is_empty(), "{:?}", progress.trouble);
        progress.received == COUNT
    };
    assert!(world.run_until(secs(600), |_| all(&to_a) && all(&to_b)), "{to_a:?} {to_b:?}");
}

fn home_moves(world: &mut World, from: PlayerNo, tell: Option<PlayerNo>) {
    let id = world.id(from);
    let before = world.route(from);
    let second = world.relay(R2).id();
    world.with(from, |endpoint| endpoint.set_home(second)).unwrap();
    let moved = world.run_until(secs(20), |world| world.route(from) != before);
    assert!(moved, "the route names the new home");
    if let Some(other) = tell {
        let route = world.route(from);
        world.with(other, |endpoint| endpoint.update_peer(id, route.as_bytes())).unwrap();
    }
}

#[test]
fn update_peer_to_a_second_relay_in_the_middle_of_a_stream_loses_and_reorders_nothing() {
    for (seed, link) in [(1, Link::delayed(ms(40))), (2, Link::rough(ms(40), 0.05, 0.02))] {
        let mut world = two_relays(seed, link);
        stream_through(&mut world, |world| home_moves(world, B, Some(A)));
        world.run_for(secs(1));
        let datagrams = |world: &World| world.traffic(B, R2, Way::Down).datagrams;
        let before = datagrams(&world);
        for _ in 0..60 {
            world.say(A, B, 0, b"position");
            world.run_for(FRAME);
        }
        assert!(datagrams(&world) >= before + 50, "the stream uses the second relay now");
    }
}

#[test]
fn connected_peers_tell_each_other_of_a_new_home() {
    let mut world = two_relays(3, Link::delayed(ms(40)));
    stream_through(&mut world, |world| home_moves(world, B, None));
}

#[test]
fn both_may_move_at_once() {
    for seed in 10..20 {
        let mut world = two_relays(seed, Link::rough(ms(40), 0.05, 0.02));
        stream_through(&mut world, |world| {
            let second = world.relay(R2).id();
            world.with(A, |a| a.set_home(second)).unwrap();
            world.with(B, |b| b.set_home(second)).unwrap();
        });
    }
}

#[test]
fn a_rotated_session_loses_and_reorders_nothing() {
    let mut world = two_relays(4, Link::rough(ms(40), 0.05, 0.02));
    stream_through(&mut world, |world| {
        let before = world.route(B);
        world.with(B, Endpoint::rotate_session);
        assert!(world.run_until(secs(20), |world| world.route(B) != before));
    });
}

#[test]
fn a_dead_relay_is_left_for_one_that_both_know() {
    let mut world = two_relays(5, Link::delayed(ms(40)));
    world.say(A, B, 1, b"before");
    world.run_for(secs(1));
    // The application moves its home when it hears that the relay is lost, and publishes the route.
    world.stop_relay(RelayNo(0));
    let second = world.relay(R2).id();
    for (player, other) in [(A, B), (B, A)] {
        let before = world.route(player);
        world.with(player, |endpoint| endpoint.set_home(second)).unwrap();
        assert!(world.run_until(secs(20), |world| world.route(player) != before));
        let (id, route) = (world.id(player), world.route(player));
        world.with(other, |endpoint| endpoint.update_peer(id, route.as_bytes())).unwrap();
    }
    world.say(A, B, 1, b"after");
    world.run_for(secs(5));
    assert_eq!(world.take_messages(B, 1), [&b"before"[..], b"after"]);
}

#[test]
fn an_in_band_update_to_an_unknown_relay_moves_nothing() {
    let mut world = World::new(6);
    let (known, secret_one) = (world.add_relay(), world.add_relay());
    let victim = world.add_player(PlayerSetup::new(&[known]));
    let hostile = world.add_player(PlayerSetup::new(&[known, secret_one]));
    assert!(world.bind(&[victim, hostile]));
    world.introduce(victim, hostile);
    for (player, other) in [(victim, hostile), (hostile, victim)] {
        world.open(player, other, 1, Reliability::Reliable);
    }
    world.run_for(secs(2));
    let second = world.relay(secret_one).id();
    let before = world.route(hostile);
    world.with(hostile, |endpoint| endpoint.set_home(second)).unwrap();
    world.run_until(secs(20), |world| world.route(hostile) != before);
    world.run_for(secs(20));
    let (id, route) = (world.id(hostile), world.route(hostile));
    if !route.is_empty() && route != before {
        let names_only_the_second = world.endpoint(hostile).route().unwrap().relays().len() == 1;
        let answer = world.with(victim, |victim| victim.update_peer(id, route.as_bytes()));
        assert!(!names_only_the_second || answer == Err(ConnectError::UnknownRelay), "{answer:?}");
    }
    world.say(victim, hostile, 1, b"still through the relay I know");
    world.run_for(secs(5));
    assert_eq!(world.traffic(victim, secret_one, Way::Up).datagrams, 0);
}

#[test]
fn whatever_a_relay_says_clients_keep_to_their_directory() {
    let mut world = World::connected_pair(7, Link::delayed(ms(40)));
    let seen: Rc<RefCell<Vec<Vec<u8>>>> = Rc::default();
    let sink = Rc::clone(&seen);
    world.set_tap(Box::new(move |sight| {
        let mut seen = sink.borrow_mut();
        if seen.len() < 200 {
            seen.push(sight.bytes.to_vec());
        }
    }));
    world.with(A, Endpoint::network_changed);
    for _ in 0..60 {
        world.say(A, B, 0, b"position");
        world.run_for(FRAME);
    }
    // Every kind of relay message, with addresses of the attacker's in every place.
    let relay = world.relay(RelayNo(0)).address_for(world.address(A));
    let mut random = world.random().fork();
    for round in 0..20_000u32 {
        let kind = random.below(0x0c) as u8;
        let mut bytes = match random.below(3) {
            0 => {
                let seen = seen.borrow();
                seen[random.below(seen.len() as u64) as usize].clone()
            }
            _ => vec![0; random.below(400) as usize + 1],
        };
        if random.chance(0.5) {
            random.fill(&mut bytes);
        }
        bytes[0] = kind;
        let at = random.below(bytes.len() as u64) as usize;
        for (place, byte) in bytes[at..].iter_mut().zip([203, 0, 113, 66, 0x11, 0x51]) {
            *place = byte;
        }
        world.inject_to_player(A, relay, &bytes);
        if round % 100 == 0 {
            world.run_for(FRAME);
        }
    }
    world.run_for(secs(30));
    world.take_heard(B);
    world.say(A, B, 1, b"unharmed");
    world.run_for(secs(5));
    assert_eq!(world.take_messages(B, 1), [b"unharmed"]);
    assert!(world.take_heard(A).iter().all(|heard| !matches!(heard, Heard::PeerDisconnected(..))));
}

#[test]
fn apps_may_update_and_send_from_inside_a_callback() {
    let mut world = two_relays(8, Link::delayed(ms(40)));
    let id = world.id(A);
    world.set_app(
        B,
        Box::new(move |hand: &mut Hand<'_>| {
            for heard in hand.heard.drain(..) {
                if let Heard::Message(peer, channel, data) = heard {
                    assert_eq!(peer, id);
                    hand.endpoint.send_message(peer, channel, &data).unwrap();
                    hand.endpoint.flush();
                }
            }
        }),
    );
    world.say(A, B, 1, b"echo");
    world.run_for(secs(1));
    assert_eq!(world.take_messages(A, 1), [b"echo"]);
}
