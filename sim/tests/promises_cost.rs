//! What a message costs on the wire.
// Helpers here are parts of tests too; the lint knows only functions marked as such.
#![allow(clippy::unwrap_used)]

mod common;

use core::cell::RefCell;
use std::rc::Rc;

use common::{ms, secs};
use waylane_core::id::{ChannelId, Reliability};
use waylane_sim::{A, B, Driving, FRAME, Hand, Link, R, Way, World};

#[test]
fn a_small_unreliable_message_alone_costs_at_most_thirty_bytes() {
    let mut world = World::connected_pair(1, Link::delayed(ms(40)));
    world.open(A, B, 9, Reliability::Unreliable);
    world.open(B, A, 9, Reliability::Unreliable);
    world.run_for(secs(2));
    let sizes: Rc<RefCell<Vec<usize>>> = Rc::default();
    let sink = Rc::clone(&sizes);
    world.set_tap(Box::new(move |sight| {
        if sight.player == A && sight.way == Way::Up {
            sink.borrow_mut().push(sight.bytes.len());
        }
    }));
    // Packet numbers grow on the way: the promise holds for more than the first.
    for n in 0..1000u32 {
        for channel in [0, 9] {
            sizes.borrow_mut().clear();
            world.say(A, B, channel, &[n as u8; 100]);
            let sizes = sizes.borrow().clone();
            assert_eq!(sizes.len(), 1, "one datagram");
            assert!(sizes[0] <= 130, "message {n} on channel {channel}: {} bytes", sizes[0]);
            world.run_for(ms(300));
        }
    }
    assert_eq!(world.take_messages(B, 0).len(), 1000);
    assert_eq!(world.take_messages(B, 9).len(), 1000);
}

#[test]
fn at_sixty_messages_a_second_acks_ride_along() {
    const TICKS: u64 = 60 * 60;
    for (seed, channel, link) in [
        (2, 0, Link::delayed(ms(60))),
        (3, 1, Link::delayed(ms(60))),
        (4, 0, Link { jitter: ms(10), ..Link::delayed(ms(90)) }),
        (5, 1, Link { loss: 0.01, jitter: ms(10), ..Link::delayed(ms(60)) }),
        (6, 0, Link::delayed(ms(2))),
    ] {
        let mut world = World::connected_pair(seed, link);
        for (me, other) in [(A, B), (B, A)] {
            let to = world.id(other);
            world.set_app(
                me,
                Box::new(move |hand: &mut Hand<'_>| {
                    hand.heard.clear();
                    hand.endpoint.send_message(to, ChannelId(channel), &[7; 60]).unwrap();
                }),
            );
            world.set_driving(me, Driving::Frames(FRAME));
        }
        world.run_for(secs(2));
        let before = [A, B].map(|player| world.traffic(player, R, Way::Up).datagrams);
        world.run_for(FRAME * TICKS as u32);
        for player in [A, B] {
            let datagrams = world.traffic(player, R, Way::Up).datagrams - before[player.0];
            assert!(
                datagrams * 10 <= TICKS * 11,
                "world {seed}, {player:?}: {datagrams} in {TICKS} ticks"
            );
            assert!(datagrams >= TICKS * 9 / 10, "{datagrams}");
        }
    }
}

#[test]
fn traffic_in_one_direction_is_acknowledged_sparingly() {
    let mut world = World::connected_pair(7, Link::delayed(ms(60)));
    let to = world.id(B);
    world.set_app(
        A,
        Box::new(move |hand: &mut Hand<'_>| {
            hand.heard.clear();
            hand.endpoint.send_message(to, ChannelId(0), &[7; 60]).unwrap();
        }),
    );
    world.set_driving(A, Driving::Frames(FRAME));
    world.set_driving(B, Driving::Frames(FRAME));
    world.run_for(secs(2));
    let before = world.traffic(B, R, Way::Up).datagrams;
    world.run_for(secs(60));
    let acks = world.traffic(B, R, Way::Up).datagrams - before;
    assert!(acks <= 60 * 66, "{acks} datagrams in answer to 3600");
}

#[test]
fn an_idle_pair_is_nearly_silent() {
    let mut world = World::connected_pair(8, Link::delayed(ms(60)));
    world.run_for(secs(10));
    let before = [A, B].map(|player| world.traffic(player, R, Way::Up).datagrams);
    world.run_for(secs(600));
    for player in [A, B] {
        let datagrams = world.traffic(player, R, Way::Up).datagrams - before[player.0];
        // Keep-alives to relay and peer, each every 15 s at most often, and acks for the peer's.
        assert!(datagrams <= 600 / 15 * 4, "{player:?}: {datagrams} datagrams in ten minutes");
    }
}
