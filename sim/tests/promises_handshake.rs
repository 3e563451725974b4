//! Connections begin, end and begin again in every order and on bad links.
// Helpers here are parts of tests too; the lint knows only functions marked as such.
#![allow(clippy::unwrap_used)]

mod common;

use common::{ms, secs};
use waylane_core::endpoint::DisconnectReason;
use waylane_core::id::Reliability;
use waylane_sim::{A, B, Heard, Link, PlayerNo, R, Way, World};

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
