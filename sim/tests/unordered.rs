//! Reliable channels without order, in virtual time.
// Helpers here are parts of tests too; the lint knows only functions marked as such.
#![allow(clippy::unwrap_used)]

use core::time::Duration;
use std::collections::BTreeSet;

use waylane_core::id::{ChannelId, Reliability};
use waylane_sim::{A, B, Heard, Link, PlayerNo, R, Way, World};

const KIND: Reliability = Reliability::ReliableUnordered;
const BOTH: [(PlayerNo, PlayerNo); 2] = [(A, B), (B, A)];

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A message of `len` bytes (at least 4) that says its number and is unlike any other.
fn numbered(number: u32, len: usize) -> Vec<u8> {
    let first = number.to_le_bytes();
    first.into_iter().chain((4..len).map(|n| (n as u32 ^ number.wrapping_mul(37)) as u8)).collect()
}

fn number_of(message: &[u8]) -> u32 {
    u32::from_le_bytes(message[..4].try_into().unwrap())
}

/// A pair with channel 2 open as `kind`.
fn world(seed: u64, link: Link, kind: Reliability) -> World {
    let mut world = World::connected_pair(seed, link);
    for (player, other) in BOTH {
        world.open(player, other, 2, kind);
    }
    world.run_for(secs(2));
    for player in [A, B] {
        world.take_heard(player);
    }
    world
}

/// Queues a message, waiting as long as there is no room.
fn say(world: &mut World, from: PlayerNo, to: PlayerNo, message: &[u8]) {
    let sent = world.run_until(secs(60), |world| world.send(from, to, 2, message).is_ok());
    assert!(sent, "stays full");
    world.flush(from);
}

#[test]
fn every_message_arrives_once_and_whole_at_heavy_loss() {
    let mut ahead = 0;
    for seed in 0..25 {
        let mut world = world(seed, Link::rough(ms(30), 0.1, 0.05), KIND);
        for number in 0..400 {
            let log = world.random().below(14);
            let len = 4 + world.random().below(1 << log) as usize;
            for (from, to) in BOTH {
                say(&mut world, from, to, &numbered(number, len));
            }
            let pause = ms(world.random().below(15));
            world.run_for(pause);
        }
        world.run_for(secs(20));
        for player in [A, B] {
            let messages = world.take_messages(player, 2);
            let numbers: Vec<_> = messages.iter().map(|message| number_of(message)).collect();
            for message in &messages {
                assert!(*message == numbered(number_of(message), message.len()), "seed {seed}");
            }
            let unique: BTreeSet<_> = numbers.iter().copied().collect();
            assert_eq!((numbers.len(), unique.len()), (400, 400), "seed {seed}");
            ahead += numbers.is_sorted_by(|a, b| a < b) as u32;
        }
    }
    assert_eq!(ahead, 0, "none of these waited for what was lost before");
}

#[test]
fn what_comes_after_a_loss_does_not_wait_for_it() {
    for (kind, waits) in [(Reliability::Reliable, true), (KIND, false)] {
        let mut world = world(1, Link::delayed(ms(30)), kind);
        let good = Link::delayed(ms(15));
        world.set_link(A, R, Way::Up, Link { cut: true, ..good });
        // Too long to be repeated before it is known to be lost.
        world.say(A, B, 2, &numbered(0, 300));
        world.run_for(ms(1));
        world.set_link(A, R, Way::Up, good);
        for number in 1..4 {
            world.say(A, B, 2, &numbered(number, 300));
            world.run_for(ms(1));
        }
        world.run_for(ms(31));
        let numbers = |world: &mut World| -> Vec<_> {
            world.take_messages(B, 2).iter().map(|message| number_of(message)).collect()
        };
        let expected = if waits { vec![] } else { vec![1, 2, 3] };
        assert_eq!(numbers(&mut world), expected, "{kind:?}");
        world.run_for(secs(2));
        let expected = if waits { vec![0, 1, 2, 3] } else { vec![0] };
        assert_eq!(numbers(&mut world), expected, "{kind:?}");
    }
}

#[test]
fn close_delivers_what_was_said_before_and_reopening_mixes_nothing() {
    for seed in 0..25 {
        let mut world = world(100 + seed, Link::rough(ms(20), 0.1, 0.1), KIND);
        let mut number = 0;
        for round in 0..6 {
            let first = number;
            while number < first + 20 {
                let len = 4 + world.random().below(3000) as usize;
                say(&mut world, A, B, &numbered(number, len));
                number += 1;
            }
            let pause = ms(world.random().below(60));
            world.run_for(pause);
            // Closed and opened again at once: what is said next belongs to the new opening.
            world.close(A, B, 2);
            world.open(A, B, 2, KIND);
            let closed = |heard: &Heard| matches!(heard, Heard::ChannelClosed(_, ChannelId(2)));
            let over = world.run_until(secs(60), |world| world.heard(B).iter().any(closed));
            assert!(over, "seed {seed} round {round}");
            let mut numbers: Vec<_> = world
                .take_heard(B)
                .iter()
                .filter_map(Heard::message)
                .map(|(_, message)| number_of(message))
                .collect();
            numbers.sort_unstable();
            assert_eq!(numbers, (first..number).collect::<Vec<_>>(), "seed {seed} round {round}");
            // A close waits for what was sent only if the other side is known to take it.
            world.open(B, A, 2, KIND);
            let opened = |heard: &Heard| matches!(heard, Heard::ChannelOpened(_, ChannelId(2)));
            let open = |world: &mut World| world.heard(A).iter().any(opened);
            assert!(world.run_until(secs(60), open), "seed {seed} round {round}");
            world.take_heard(A);
        }
    }
}

#[test]
fn a_slow_reader_of_one_channel_is_told_full_and_loses_nothing() {
    for seed in 0..5 {
        let mut world = world(200 + seed, Link::rough(ms(30), 0.1, 0.0), KIND);
        let id = world.id(B);
        let mut accepted = 0;
        while world.with(A, |a| a.send_message(id, ChannelId(2), &numbered(accepted, 1000))).is_ok()
        {
            accepted += 1;
        }
        world.flush(A);
        let writable = |heard: &Heard| matches!(heard, Heard::Writable(_, ChannelId(2)));
        assert!(world.run_until(secs(120), |world| world.heard(A).iter().any(writable)));
        world.run_for(secs(120));
        let heard = world.take_messages(B, 2);
        let numbers: BTreeSet<_> = heard.iter().map(|message| number_of(message)).collect();
        assert_eq!((heard.len(), numbers.len()), (accepted as usize, accepted as usize));
    }
}
