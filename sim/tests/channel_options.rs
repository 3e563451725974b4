//! What channels may be asked for, in virtual time.
// Helpers here are parts of tests too; the lint knows only functions marked as such.
#![allow(clippy::unwrap_used)]

use core::time::Duration;

use waylane_core::channel::ChannelOptions;
use waylane_core::endpoint::OpenChannelError;
use waylane_core::id::{ChannelId, Reliability};
use waylane_sim::{A, B, Link, World};

/// The time from sending to hearing on channel 2, every 10 ms, while `bulk` bytes are under way on
/// channel 1.
fn latencies(seed: u64, reliability: Reliability, bulk: usize) -> Vec<Duration> {
    let mut world = World::connected_pair(seed, Link::delayed(Duration::from_millis(20)));
    for (player, other) in [(A, B), (B, A)] {
        world.open(player, other, 2, reliability);
    }
    world.run_for(Duration::from_secs(1));
    if bulk > 0 {
        world.say(A, B, 1, &vec![7; bulk]);
    }
    let mut latencies = Vec::new();
    for number in 0..40_u8 {
        let begun = world.now();
        world.say(A, B, 2, &[number; 100]);
        let mut heard = Vec::new();
        let limit = Duration::from_secs(5);
        let arrived = world.run_until(limit, |world| {
            heard.append(&mut world.take_messages(B, 2));
            !heard.is_empty()
        });
        assert!(arrived && heard == [vec![number; 100]], "{number}");
        latencies.push(world.now().since(begun));
        world.run_for(Duration::from_millis(10));
    }
    latencies
}

#[test]
fn a_largest_message_delays_no_other_channel() {
    for reliability in [Reliability::Unreliable, Reliability::Reliable] {
        let alone = latencies(1, reliability, 0);
        let beside = latencies(1, reliability, 256 * 1024);
        let (alone, beside) = (alone.iter().max().unwrap(), beside.iter().max().unwrap());
        // A full packet at 10 Mbit/s.
        let packet = Duration::from_millis(1);
        assert!(*beside <= *alone + packet, "{reliability:?}: {beside:?}, alone {alone:?}");
    }
}

#[test]
fn what_cannot_be_says_what_to_do() {
    let mut world = World::connected_pair(1, Link::default());
    let id = world.id(B);
    let mut open = |options: ChannelOptions| {
        world.with(A, |endpoint| endpoint.open_channel(id, ChannelId(9), options))
    };
    let fine = ChannelOptions { class: 0, weight: 255, ..Reliability::Reliable.into() };
    let error = open(ChannelOptions { weight: 0, ..fine }).unwrap_err();
    assert_eq!(
        (error, error.to_string().as_str()),
        (OpenChannelError::Weight, "the weight is 0; give 1 to 255")
    );
    let error = open(ChannelOptions { redundancy: Some(4), ..fine }).unwrap_err();
    assert_eq!(
        (error, error.to_string().as_str()),
        (OpenChannelError::Redundancy, "the redundancy is above 3; give 0 to 3, or none")
    );
    open(fine).unwrap();
}
