//! Channels keep what they promise, over bad links.
// Helpers here are parts of tests too; the lint knows only functions marked as such.
#![allow(clippy::unwrap_used)]

mod common;

use core::cell::RefCell;
use core::time::Duration;
use std::collections::BTreeMap;
use std::rc::Rc;

use common::{Shared, Stream, ms, reliable_game, secs};
use waylane_core::id::{ChannelId, Reliability};
use waylane_sim::{A, B, Driving, FRAME, Hand, Heard, Link, PlayerNo, R, Way, World};

/// 10 % loss, 5 % duplication, reordering and jitter.
fn bad() -> Link {
    Link::rough(ms(30), 0.10, 0.05)
}

/// One player polls by frame, the other at every event: both ways to drive are held to it.
fn connected(seed: u64, link: Link) -> World {
    let mut world = World::connected_pair(seed, link);
    world.set_driving(A, Driving::Frames(FRAME));
    world
}

fn stream_both_ways(world: &mut World, count: u64, largest: u64, limit: Duration) {
    let (to_b, to_a): (Shared, Shared) = Default::default();
    let (out_a, out_b) = (Stream { seed: 1, largest }, Stream { seed: 2, largest });
    let (id_a, id_b) = (world.id(A), world.id(B));
    let game_a =
        reliable_game(id_b, ChannelId(1), count, (out_a, to_b.clone()), (out_b, to_a.clone()));
    let game_b =
        reliable_game(id_a, ChannelId(1), count, (out_b, to_a.clone()), (out_a, to_b.clone()));
    world.set_app(A, Box::new(game_a));
    world.set_app(B, Box::new(game_b));
    let all = |progress: &Shared| {
        let progress = progress.borrow();
        assert!(progress.trouble.is_empty(), "{:?}", progress.trouble);
        progress.received == count
    };
    let done = world.run_until(limit, |_| all(&to_a) && all(&to_b));
    assert!(done, "at {:?}: {:?} {:?}", world.now(), to_a.borrow(), to_b.borrow());
    world.run_for(secs(5));
    assert!(all(&to_a) && all(&to_b), "nothing comes after the last message");
}

#[test]
fn ten_thousand_reliable_messages_each_way_arrive_once_whole_and_in_order() {
    let mut world = connected(1, bad());
    stream_both_ways(&mut world, 10_000, 65_536, secs(7200));
}

#[test]
fn reliable_streams_survive_many_worlds() {
    for seed in 100..130 {
        let mut world =
            connected(seed, Link::rough(ms(5 + seed % 60), 0.02 * (seed % 9) as f64, 0.1));
        stream_both_ways(&mut world, 200, 20_000, secs(1200));
    }
}

#[test]
fn ten_thousand_unreliable_messages_each_way_arrive_whole_and_at_most_once() {
    const COUNT: u64 = 10_000;
    let mut world = connected(2, bad());
    world.set_driving(B, Driving::Frames(FRAME));
    let received: [Rc<RefCell<Vec<Vec<u8>>>>; 2] = Default::default();
    let sent: [Rc<RefCell<u64>>; 2] = Default::default();
    let streams = [3, 4].map(|seed| Stream { seed, largest: 65_536 });
    for (n, (me, other)) in [(A, B), (B, A)].into_iter().enumerate() {
        let (received, sent) = (Rc::clone(&received[n]), Rc::clone(&sent[n]));
        let (stream, to) = (streams[n], world.id(other));
        world.set_app(
            me,
            Box::new(move |hand: &mut Hand<'_>| {
                for heard in hand.heard.drain(..) {
                    if let Heard::Message(_, ChannelId(0), data) = heard {
                        received.borrow_mut().push(data);
                    }
                }
                let mut sent = sent.borrow_mut();
                for _ in 0..3 {
                    if *sent < COUNT
                        && hand
                            .endpoint
                            .send_message(to, ChannelId(0), &stream.message(*sent))
                            .is_ok()
                    {
                        *sent += 1;
                    }
                }
            }),
        );
    }
    let done = world.run_until(secs(3600), |_| sent.iter().all(|sent| *sent.borrow() == COUNT));
    assert!(done, "{sent:?}");
    world.run_for(secs(10));
    for (received, stream) in [(&received[1], streams[0]), (&received[0], streams[1])] {
        let received = received.borrow();
        let mut small: BTreeMap<&[u8], i64> = BTreeMap::new();
        let originals: Vec<_> = (0..COUNT).map(|n| stream.message(n)).collect();
        for message in originals.iter().filter(|message| message.len() < 4) {
            *small.entry(message).or_default() += 1;
        }
        let mut seen = vec![false; COUNT as usize];
        for message in received.iter() {
            if let Some(n) = Stream::number(message) {
                assert!(!core::mem::replace(&mut seen[n as usize], true), "message {n} came twice");
                assert_eq!(message, &originals[n as usize], "message {n} is whole");
            } else {
                let left = small.get_mut(message.as_slice()).expect("it was sent");
                *left -= 1;
                assert!(*left >= 0, "a small message came twice");
            }
        }
        let single: Vec<_> =
            (0..COUNT as usize).filter(|n| (4..1000).contains(&originals[*n].len())).collect();
        let came = single.iter().filter(|n| seen[**n]).count();
        assert!(came * 100 > single.len() * 80, "{came} of {} in one packet came", single.len());
        assert!(came < single.len(), "loss must have taken some: nothing is retransmitted");
    }
}

#[test]
fn an_unreliable_message_is_never_retransmitted_and_a_reliable_one_is() {
    let mut world = World::connected_pair(3, Link::delayed(ms(30)));
    let good = Link::delayed(ms(15));
    world.set_link(A, R, Way::Up, Link { cut: true, ..good });
    world.say(A, B, 0, b"unreliable");
    world.say(A, B, 1, b"reliable");
    world.run_for(ms(1));
    world.set_link(A, R, Way::Up, good);
    world.run_for(secs(20));
    assert_eq!(world.take_messages(B, 1), [b"reliable"]);
    assert_eq!(world.take_messages(B, 0), Vec::<Vec<u8>>::new());
}

#[test]
fn all_256_channels_carry_at_once() {
    let mut world = World::connected_pair(4, Link::rough(ms(30), 0.05, 0.02));
    for channel in 2..=255 {
        let reliability =
            if channel % 4 == 0 { Reliability::Unreliable } else { Reliability::Reliable };
        world.open(A, B, channel, reliability);
        world.open(B, A, channel, reliability);
    }
    world.run_for(secs(5));
    for round in 0..10u8 {
        for channel in 0..=255 {
            world.send(A, B, channel, &[channel, round]).unwrap();
            world.send(B, A, channel, &[round, channel]).unwrap();
        }
        world.flush(A);
        world.flush(B);
        world.run_for(ms(100));
    }
    world.run_for(secs(20));
    for channel in 0..=255 {
        let reliable = channel == 1 || channel > 1 && channel % 4 != 0;
        for (player, turned) in [(B, false), (A, true)] {
            let expected =
                (0..10u8).map(|round| if turned { [round, channel] } else { [channel, round] });
            let messages = world.take_messages(player, channel);
            if reliable {
                assert_eq!(messages, expected.collect::<Vec<_>>(), "channel {channel}");
            } else {
                assert!(
                    messages.iter().all(|message| expected.clone().any(|e| e[..] == message[..]))
                );
                assert!(!messages.is_empty());
            }
        }
    }
}

#[test]
fn a_channel_blocked_by_loss_does_not_delay_another() {
    let mut world = World::connected_pair(5, Link::delayed(ms(30)));
    world.open(A, B, 2, Reliability::Reliable);
    world.open(B, A, 2, Reliability::Reliable);
    world.run_for(secs(1));
    let good = Link::delayed(ms(15));
    world.set_link(A, R, Way::Up, Link { cut: true, ..good });
    // Too long to be repeated before it is known to be lost.
    let lost = [7; 300];
    world.say(A, B, 1, &lost);
    world.run_for(ms(1));
    world.set_link(A, R, Way::Up, good);
    world.say(A, B, 2, b"not delayed");
    world.run_for(ms(31));
    assert_eq!(world.take_messages(B, 2), [b"not delayed"]);
    assert_eq!(world.take_messages(B, 1), Vec::<Vec<u8>>::new());
    world.run_for(secs(2));
    assert_eq!(world.take_messages(B, 1), [lost]);
}

#[test]
fn a_large_message_leaves_room_for_small_ones_on_another_channel() {
    let mut world = World::connected_pair(6, Link::rough(ms(30), 0.02, 0.0));
    world.open(A, B, 2, Reliability::Reliable);
    world.open(B, A, 2, Reliability::Reliable);
    world.run_for(secs(1));
    let large = vec![9; 200_000];
    world.say(A, B, 2, &large);
    let start = world.now();
    world.say(A, B, 1, b"small");
    assert!(world.run_until(secs(30), |world| {
        world.heard(B).iter().any(|heard| heard.message() == Some((ChannelId(1), b"small")))
    }));
    assert!(world.now().since(start) < secs(1), "{:?}", world.now().since(start));
    assert!(world.run_until(secs(120), |world| {
        world.heard(B).iter().any(|heard| {
            heard.message().is_some_and(|(on, data)| on == ChannelId(2) && data == large)
        })
    }));
}

/// Five messages on each channel, each of which says its round. While a close is under way, the
/// next opening answers `Full`, and `Writable` when it has begun.
fn say_round(world: &mut World, from: PlayerNo, to: PlayerNo, round: u8) {
    for channel in [0, 1] {
        for n in 0..5 {
            if world.send(from, to, channel, &[round, n]).is_err() {
                let writable =
                    |heard: &Heard| matches!(heard, Heard::Writable(_, on) if on.0 == channel);
                assert!(world.run_until(secs(60), |world| world.heard(from).iter().any(writable)));
                world.send(from, to, channel, &[round, n]).unwrap();
            }
        }
        world.flush(from);
    }
}

fn open_both(world: &mut World, from: PlayerNo, to: PlayerNo) {
    world.open(from, to, 0, Reliability::Unreliable);
    world.open(from, to, 1, Reliability::Reliable);
}

#[test]
fn close_and_reopen_never_mix_old_data_into_new() {
    for seed in 0..60 {
        let mut world = World::connected_pair(200 + seed, Link::rough(ms(20), 0.1, 0.1));
        for round in 1..=8u8 {
            let closer = if world.random().chance(0.5) { A } else { B };
            let other = if closer == A { B } else { A };
            say_round(&mut world, closer, other, round);
            say_round(&mut world, other, closer, round);
            let pause = ms(world.random().below(60));
            world.run_for(pause);
            for heard in world.take_heard(closer) {
                assert!(
                    heard.message().is_none_or(|(_, data)| data[0] == round),
                    "seed {seed}: {heard:?}"
                );
            }

            // Closed and opened again at once; what is said now belongs to the new opening.
            for channel in [0, 1] {
                world.close(closer, other, channel);
            }
            open_both(&mut world, closer, other);
            say_round(&mut world, closer, other, round + 100);

            // The other side hears all that was said before, and then that it is over.
            let closed = |heard: &&Heard| matches!(heard, Heard::ChannelClosed(..));
            let both = |world: &mut World| world.heard(other).iter().filter(closed).count() == 2;
            assert!(
                world.run_until(secs(60), both),
                "seed {seed} round {round}: {:?}",
                world.heard(other)
            );
            let heard = world.take_heard(other);
            let messages = |channel| {
                heard.iter().filter_map(Heard::message).filter(move |(on, _)| on.0 == channel)
            };
            assert!(messages(0).all(|(_, data)| data[0] == round), "seed {seed}: {heard:?}");
            let reliable: Vec<_> = messages(1).map(|(_, data)| data.to_vec()).collect();
            let expected: Vec<_> = (0..5).map(|n| vec![round, n]).collect();
            assert_eq!(reliable, expected, "seed {seed} round {round}");
            let pause = ms(world.random().below(200));
            world.run_for(pause);
            assert!(world.take_heard(other).is_empty(), "nothing comes on a closed channel");

            open_both(&mut world, other, closer);
            say_round(&mut world, other, closer, round + 100);
            world.run_for(secs(10));
            for player in [A, B] {
                let expected: Vec<_> = (0..5).map(|n| vec![round + 100, n]).collect();
                assert_eq!(world.take_messages(player, 1), expected, "seed {seed} round {round}");
                let unreliable = world.take_messages(player, 0);
                assert!(
                    unreliable.iter().all(|data| data[0] == round + 100),
                    "seed {seed}: {unreliable:?}"
                );
                let rest = world.take_heard(player);
                let fine = |heard: &Heard| {
                    !matches!(
                        heard,
                        Heard::Message(..) | Heard::ChannelClosed(..) | Heard::PeerDisconnected(..)
                    )
                };
                assert!(rest.iter().all(fine), "seed {seed}: {rest:?}");
            }
        }
    }
}

#[test]
fn full_is_an_answer_and_writable_follows() {
    let mut world = World::connected_pair(7, Link::delayed(ms(30)));
    for (channel, size) in [(1, 1000), (0, 1000)] {
        let id = world.id(B);
        let mut accepted = 0;
        while world.with(A, |a| a.send_message(id, ChannelId(channel), &vec![7; size])).is_ok() {
            accepted += 1;
            assert!(accepted < 1_000_000, "queues have an end");
        }
        assert!(accepted > 20, "{accepted}");
        let writable = |heard: &Heard| matches!(heard, Heard::Writable(_, on) if on.0 == channel);
        assert!(!world.heard(A).iter().any(writable));
        world.flush(A);
        assert!(
            world.run_until(secs(60), |world| world.heard(A).iter().any(writable)),
            "channel {channel}"
        );
        world.send(A, B, channel, &vec![8; size]).expect("writable means room");
        world.flush(A);
        world.run_for(secs(60));
        // So much at once is more than the relay's budget: unreliable messages may be lost.
        world.send(A, B, channel, &vec![9; size]).expect("all has left");
        world.flush(A);
        world.run_for(secs(1));
        let messages = world.take_messages(B, channel);
        if channel == 1 {
            assert_eq!(messages.len(), accepted + 2);
            assert_eq!(messages[accepted], vec![8; size]);
        }
        assert_eq!(messages.last().unwrap(), &vec![9; size]);
        world.take_heard(A);
    }
}
