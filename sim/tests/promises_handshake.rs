//! Connections begin, end and begin again in every order and on bad links.
// Helpers here are parts of tests too; the lint knows only functions marked as such.
#![allow(clippy::unwrap_used)]

mod common;

use core::cell::RefCell;
use std::rc::Rc;

use common::{ms, secs};
use waylane_core::endpoint::DisconnectReason;
use waylane_core::id::{ChannelId, Reliability};
use waylane_core::invite::{Invite, InviteSecret};
use waylane_sim::workload::{Introduction, Path, open};
use waylane_sim::{A, B, Family, Heard, Link, PlayerNo, R, Way, World};

const SECRET: InviteSecret = InviteSecret([0x5a; 16]);

fn connects_and_talks(world: &mut World, seed: u64) {
    let done =
        world.run_until(secs(60), |world| world.is_connected(A, B) && world.is_connected(B, A));
    assert!(done, "seed {seed}: {:?} {:?}", world.heard(A), world.heard(B));
    talks(world, seed);
}

fn talks(world: &mut World, seed: u64) {
    for (from, to) in [(A, B), (B, A)] {
        world.open(from, to, 1, Reliability::Reliable);
    }
    for n in 0..10u8 {
        for (from, to) in [(A, B), (B, A)] {
            world.say(from, to, 1, &[n, from.0 as u8]);
        }
        world.run_for(ms(50));
    }
    for (from, to) in [(A, B), (B, A)] {
        let expected: Vec<_> = (0..10).map(|n| vec![n, from.0 as u8]).collect();
        let mut messages = Vec::new();
        let all = world.run_until(secs(60), |world| {
            messages.extend(world.take_messages(to, 1));
            messages.len() >= 10
        });
        assert!(all && messages == expected, "seed {seed}, {from:?} to {to:?}: {messages:?}");
    }
}

/// A knocks at B with an invite; returns when B has been told.
fn knocks(world: &mut World) {
    let entry = world.relay(R).entry(Family::V4);
    let route = world.endpoint(B).route().cloned().unwrap();
    let invite = Invite::new(&[entry], SECRET, route).unwrap();
    world.with(B, |b| b.set_accept_requests(Some(SECRET)));
    let id = world.id(B);
    world.with(A, |a| {
        a.accept_invite(&invite).unwrap();
        a.open_channel(id, ChannelId(1), Reliability::Reliable).unwrap();
    });
    let told = |heard: &Heard| matches!(heard, Heard::PeerRequest(..));
    assert!(world.run_until(secs(60), |world| world.heard(B).iter().any(told)));
}

/// In one go, so that nothing leaves in between.
fn connects_and_says(world: &mut World, from: PlayerNo, to: PlayerNo, messages: &[Vec<u8>]) {
    let (id, route) = (world.id(to), world.route(to));
    world.with(from, |endpoint| {
        endpoint.connect_peer(id, route.as_bytes()).unwrap();
        endpoint.open_channel(id, ChannelId(1), Reliability::Reliable).unwrap();
        for message in messages {
            endpoint.send_message(id, ChannelId(1), message).unwrap();
        }
        endpoint.flush();
    });
}

fn hears_all(world: &mut World, player: PlayerNo, expected: &[Vec<u8>], seed: u64) {
    let mut messages = Vec::new();
    world.run_until(secs(60), |world| {
        messages.extend(world.take_messages(player, 1));
        messages.len() >= expected.len()
    });
    world.run_for(secs(5));
    messages.extend(world.take_messages(player, 1));
    assert!(messages == expected, "seed {seed}, {player:?}: {messages:?}");
}

#[test]
fn first_words_need_few_bytes_and_round_trips() {
    for (introduction, most, there) in
        [(Introduction::Invite, 400, 1.51), (Introduction::Both, 820, 1.01)]
    {
        let report = open(0, &Path::of(ms(40)), introduction);
        assert!(report.bytes <= most, "{introduction:?}: {report:?}");
        assert!(report.there < there && report.back < 1.01, "{introduction:?}: {report:?}");
    }
}

#[test]
fn what_follows_an_answer_is_little_until_the_other_is_heard() {
    let mut world = World::pair(30, Link::delayed(ms(60)));
    assert!(world.bind(&[A, B]));
    let sizes = Rc::new(RefCell::new([0; 3]));
    let seen = Rc::clone(&sizes);
    world.set_tap(Box::new(move |sight| {
        let kind = match sight.bytes[0] {
            0x41 => 0,
            0x42 => 1,
            0x80.. => 2,
            _ => return,
        };
        match (kind, sight.player, sight.way) {
            (0, A, Way::Up) => seen.borrow_mut()[0] = sight.bytes.len(),
            (1 | 2, B, Way::Up) => seen.borrow_mut()[kind] += sight.bytes.len(),
            _ => {}
        }
    }));
    knocks(&mut world);
    world.set_link(A, R, Way::Up, Link { cut: true, ..Link::default() });
    let words: Vec<_> = (0..100).map(|n| vec![n; 10]).collect();
    connects_and_says(&mut world, B, A, &words);
    world.run_for(secs(20));
    let [asked, answered, ahead] = *sizes.borrow();
    assert!(answered <= asked && ahead > 200, "{asked} {answered} {ahead}");
    assert!(answered + ahead <= 3 * asked, "{asked} {answered} {ahead}");
    assert!(!world.is_connected(B, A));
    assert!(!world.heard(B).iter().any(|heard| matches!(heard, Heard::PeerConnected(_))));

    world.set_link(A, R, Way::Up, Link::delayed(ms(30)));
    hears_all(&mut world, A, &words, 30);
    assert!(world.is_connected(B, A));
}

#[test]
fn what_followed_an_answer_to_nobody_goes_again() {
    for seed in 40..60 {
        let mut world = World::pair(seed, Link::delayed(ms(60)));
        assert!(world.bind(&[A, B]));
        knocks(&mut world);
        // Until A stops; the answer is still on its way then.
        let pause = ms(world.random().below(55));
        let words: Vec<_> = (0..30).map(|n| vec![n; 10]).collect();
        connects_and_says(&mut world, B, A, &words);
        world.run_for(pause);
        world.stop_player(A);
        world.run_for(ms(700));
        world.start_player(A);
        assert!(world.bind(&[A]), "seed {seed}");
        connects_and_says(&mut world, A, B, &words);
        hears_all(&mut world, A, &words, seed);
        hears_all(&mut world, B, &words, seed);
        let over = |heard: &Heard| matches!(heard, Heard::PeerDisconnected(..));
        assert!(!world.heard(B).iter().any(over), "seed {seed}: {:?}", world.heard(B));
    }
}

#[test]
fn what_is_said_while_connecting_arrives_once_on_a_bad_link() {
    for seed in 60..160 {
        let mut world = World::pair(seed, Link::rough(ms(60), 0.2, 0.2));
        assert!(world.bind(&[A, B]), "seed {seed}");
        let words: Vec<_> = (0..30).map(|n| vec![n; 1 + 7 * usize::from(n)]).collect();
        if seed % 2 == 0 {
            knocks(&mut world);
        } else {
            connects_and_says(&mut world, A, B, &words);
            let pause = ms(world.random().below(300));
            world.run_for(pause);
        }
        connects_and_says(&mut world, B, A, &words);
        if seed % 2 == 0 {
            connects_and_says(&mut world, A, B, &words);
        }
        hears_all(&mut world, A, &words, seed);
        hears_all(&mut world, B, &words, seed);
    }
}

#[test]
fn any_order_connects_in_the_end_on_a_bad_link() {
    for seed in 0..150 {
        let mut world = World::pair(seed, Link::rough(ms(60), 0.2, 0.2));
        assert!(world.bind(&[A, B]), "seed {seed}");
        let pause = ms(world.random().below(1500));
        if world.random().chance(0.5) {
            world.connect(A, B);
            world.run_for(pause);
            world.connect(B, A);
        } else {
            world.connect(B, A);
            world.run_for(pause);
            world.connect(A, B);
        }
        connects_and_talks(&mut world, seed);
    }
}

#[test]
fn at_once_connects_once_on_a_bad_link() {
    for seed in 200..350 {
        let mut world = World::pair(seed, Link::rough(ms(60), 0.1, 0.3));
        assert!(world.bind(&[A, B]), "seed {seed}");
        world.introduce(A, B);
        connects_and_talks(&mut world, seed);
        world.run_for(secs(20));
        for player in [A, B] {
            let heard = world.take_heard(player);
            let connected =
                heard.iter().filter(|heard| matches!(heard, Heard::PeerConnected(_))).count();
            let lost =
                heard.iter().filter(|heard| matches!(heard, Heard::PeerDisconnected(..))).count();
            assert_eq!((connected, lost), (1, 0), "seed {seed} {player:?}: {heard:?}");
        }
    }
}

#[test]
fn a_restarted_peer_is_met_again_on_a_bad_link() {
    for seed in 400..440 {
        let mut world = World::connected_pair(seed, Link::rough(ms(60), 0.1, 0.1));
        for round in 0..3 {
            let (gone, other) = if world.random().chance(0.5) { (A, B) } else { (B, A) };
            // Something is always under way.
            for _ in 0..5 {
                let _may_be_full = world.send(other, gone, 1, &[99; 3000]);
                world.flush(other);
            }
            world.stop_player(gone);
            let pause = ms(world.random().below(20_000));
            world.run_for(pause);
            world.start_player(gone);
            assert!(world.bind(&[gone]), "seed {seed}");
            world.take_heard(other);
            world.introduce(gone, other);
            let met = world.run_until(secs(60), |world| {
                world.is_connected(gone, other)
                    && world
                        .heard(other)
                        .iter()
                        .any(|heard| matches!(heard, Heard::PeerConnected(_)))
            });
            assert!(
                met,
                "seed {seed} round {round}: {:?} {:?}",
                world.heard(gone),
                world.heard(other)
            );
            let heard = world.take_heard(other);
            let first = heard.iter().find(|heard| {
                matches!(heard, Heard::PeerConnected(_) | Heard::PeerDisconnected(..))
            });
            assert!(
                matches!(first, Some(Heard::PeerDisconnected(_, DisconnectReason::Restarted))),
                "seed {seed}: the old connection ends before the new one begins: {heard:?}"
            );
            // Messages sent to the peer that was, never reach the one that is.
            for (from, to) in [(A, B), (B, A)] {
                world.open(from, to, 1, Reliability::Reliable);
            }
            world.run_for(secs(5));
            assert!(
                world.take_messages(gone, 1).iter().all(|message| message.len() < 3000),
                "seed {seed}"
            );
            world.take_heard(A);
            world.take_heard(B);
            talks(&mut world, seed);
        }
    }
}

#[test]
fn disconnect_and_reconnect_on_a_bad_link() {
    for seed in 500..540 {
        let mut world = World::connected_pair(seed, Link::rough(ms(60), 0.1, 0.1));
        for _ in 0..4 {
            let (leaver, other) = if world.random().chance(0.5) { (A, B) } else { (B, A) };
            let id = world.id(other);
            world.with(leaver, |endpoint| endpoint.disconnect_peer(id)).unwrap();
            let pause = ms(world.random().below(400));
            world.run_for(pause);
            // The other may have heard of it by now or not: it connects again either way.
            let over = |heard: &Heard| matches!(heard, Heard::PeerDisconnected(..));
            world.run_until(secs(40), |world| world.heard(other).iter().any(over));
            world.introduce(leaver, other);
            connects_and_talks(&mut world, seed);
            world.take_heard(A);
            world.take_heard(B);
        }
    }
}

#[test]
fn a_blackout_shorter_than_the_idle_timeout_is_survived() {
    for seed in 600..610 {
        let mut world = World::connected_pair(seed, Link::delayed(ms(60)));
        let legs = [(A, Way::Up), (A, Way::Down), (B, Way::Up), (B, Way::Down)];
        for n in 0..20u8 {
            world.say(A, B, 1, &[n]);
            if n == 10 {
                for (player, way) in legs {
                    world.set_link(player, R, way, Link { cut: true, ..Link::default() });
                }
                world.run_for(secs(20));
                for (player, way) in legs {
                    world.set_link(player, R, way, Link::delayed(ms(30)));
                }
            }
            world.run_for(ms(100));
        }
        world.run_for(secs(15));
        let expected: Vec<_> = (0..20).map(|n| vec![n]).collect();
        assert_eq!(world.take_messages(B, 1), expected);
        assert!(!world.heard(A).iter().any(|heard| matches!(heard, Heard::PeerDisconnected(..))));
    }
}

#[test]
fn keys_change_within_the_hour_and_nothing_is_lost() {
    let mut world = World::connected_pair(700, Link::rough(ms(60), 0.02, 0.02));
    let phases = std::rc::Rc::new(core::cell::Cell::new([false; 2]));
    let seen = std::rc::Rc::clone(&phases);
    world.set_tap(Box::new(move |sight| {
        if sight.bytes[0] & 0x80 != 0 {
            let mut phases = seen.get();
            phases[usize::from(sight.bytes[0] & 4 != 0)] = true;
            seen.set(phases);
        }
    }));
    let mut said = Vec::new();
    for n in 0..660u32 {
        for (from, to) in [(A, B), (B, A)] {
            world.say(from, to, 1, &n.to_le_bytes());
        }
        said.push(n.to_le_bytes().to_vec());
        world.run_for(secs(6));
    }
    world.run_for(secs(10));
    assert_eq!(world.take_messages(A, 1), said);
    assert_eq!(world.take_messages(B, 1), said);
    assert_eq!(phases.get(), [true; 2], "both key phases were used");
}

#[test]
fn the_same_seed_gives_the_same_world() {
    let trace = |seed| {
        let mut world = World::connected_pair(seed, Link::rough(ms(60), 0.1, 0.1));
        talks(&mut world, seed);
        world.rebind(PlayerNo(0));
        world.restart_relay(R, ms(300));
        talks(&mut world, seed);
        (world.trace(), world.now())
    };
    assert_eq!(trace(800), trace(800));
    assert_ne!(trace(800).0, trace(801).0);
}
