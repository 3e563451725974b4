//! What channels may be asked for, in virtual time.
// Helpers here are parts of tests too; the lint knows only functions marked as such.
#![allow(clippy::unwrap_used)]

use core::time::Duration;

use waylane_core::channel::ChannelOptions;
use waylane_core::endpoint::{OpenChannelError, SendError};
use waylane_core::id::{ChannelId, Reliability};
use waylane_sim::{A, B, Link, R, World};

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

#[test]
fn what_expires_while_the_link_is_down_is_not_sent_when_it_is_up_again() {
    let ms = Duration::from_millis;
    let mut world = World::connected_pair(3, Link::delayed(ms(20)));
    let id = world.id(B);
    let expire = |world: &mut World, channel, data: &[u8], within| {
        world.with(A, |endpoint| {
            endpoint.send_message_expiring(id, ChannelId(channel), data, within)
        })
    };
    let error = expire(&mut world, 1, b"x", ms(50)).unwrap_err();
    assert_eq!(error, SendError::CannotExpire);
    // Queued, and not flushed in time.
    expire(&mut world, 0, b"stale", ms(50)).unwrap();
    expire(&mut world, 0, b"fresh", ms(500)).unwrap();
    world.run_for(ms(100));
    world.flush(A);
    world.run_for(ms(100));
    assert_eq!(world.take_messages(B, 0), [b"fresh"]);
    assert_eq!(world.stats(A, B).unwrap().channels.counters.expired, 1);
}

#[test]
fn a_sequenced_channel_only_goes_forward() {
    let ms = Duration::from_millis;
    let link = Link { reorder: 0.4, held: ms(30), ..Link::delayed(ms(20)) };
    let mut world = World::connected_pair(4, link);
    for (player, other) in [(A, B), (B, A)] {
        world.open(player, other, 2, Reliability::UnreliableSequenced);
    }
    world.run_for(Duration::from_secs(1));
    for number in 0..500_u32 {
        world.say(A, B, 2, &number.to_le_bytes());
        world.run_for(ms(5));
    }
    world.run_for(Duration::from_secs(1));
    let heard = world.take_messages(B, 2);
    let outdated = world.stats(B, A).unwrap().channels.counters.outdated;
    assert!(heard.is_sorted_by_key(|bytes| u32::from_le_bytes(bytes[..].try_into().unwrap())));
    assert!(outdated > 50 && heard.len() > 50, "{outdated} outdated of {}", heard.len());
    assert_eq!(heard.len() as u64 + outdated, 500, "each is delivered or counted");
}

#[test]
fn a_change_of_the_connection_is_told_and_the_figures_are_right() {
    let ms = Duration::from_millis;
    let mut world = World::connected_pair(5, Link::delayed(ms(20)));
    let talk = |world: &mut World, count: u32| {
        for number in 0..count {
            world.say(A, B, 0, &number.to_le_bytes());
            world.say(A, B, 1, &number.to_le_bytes());
            world.run_for(ms(16));
        }
    };
    talk(&mut world, 300);
    world.take_qualities(A);
    talk(&mut world, 300);
    assert_eq!(world.take_qualities(A), [], "nothing changed");
    let stats = world.stats(A, B).unwrap();
    assert!(stats.rtt >= ms(40) && stats.rtt <= ms(60), "{:?}", stats.rtt);
    assert!(stats.loss == 0 && stats.packets_spurious == 0 && stats.rate.is_some());
    assert!(stats.queue_delay <= ms(10), "{:?}", stats.queue_delay);

    let lossy = Link { loss: 0.1, ..Link::delayed(ms(50)) };
    for player in [A, B] {
        world.set_leg(player, R, lossy);
    }
    let begun = world.now();
    talk(&mut world, 600);
    let told = world.take_qualities(A);
    let seconds = world.now().since(begun).as_secs() as usize;
    assert!((1..=seconds + 1).contains(&told.len()), "{} in {seconds} s", told.len());
    let (peer, last) = told.last().unwrap();
    assert_eq!(*peer, world.id(B));
    assert!(last.rtt > ms(100) && last.loss > 40, "{last:?}");
    let stats = world.stats(A, B).unwrap();
    assert!(stats.loss > 40 && stats.channels.counters.repeats_used > 0, "{stats:?}");

    // What waits for an acknowledgement has an age.
    world.say(A, B, 1, &[7; 1000]);
    world.run_for(ms(60));
    let id = world.id(B);
    let queue = world.endpoint(A).channel_queue(id, ChannelId(1)).unwrap();
    assert!(queue.bytes >= 1000 && queue.oldest.unwrap() >= ms(59), "{queue:?}");
    assert_eq!(world.endpoint(A).channel_queue(id, ChannelId(77)), None);
}
