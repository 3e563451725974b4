//! Datagrams grow to what a path carries while bulk data flows, and shrink when it carries less.
// Helpers here are parts of tests too; the lint knows only functions marked as such.
#![allow(clippy::unwrap_used)]

use core::time::Duration;

use waylane_core::endpoint::Endpoint;
use waylane_core::id::Reliability;
use waylane_sim::{A, B, Bottleneck, Link, PlayerSetup, R, RelayNo, Way, World};

const ROUND_TRIP: Duration = Duration::from_millis(40);
const MESSAGE: usize = 16 * 1024;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// 10 Mbit/s, and what is longer than `mtu` vanishes.
fn link(mtu: Option<usize>) -> Link {
    let bottleneck = Some(Bottleneck::megabits(10, ms(100)));
    Link { bottleneck, mtu, ..Link::delayed(ROUND_TRIP / 2) }
}

fn pair(seed: u64, mtu: Option<usize>) -> World {
    World::connected_pair(seed, link(mtu))
}

fn set_mtu(world: &mut World, mtu: Option<usize>) {
    set_leg(world, R, link(mtu));
}

fn set_leg(world: &mut World, relay: RelayNo, link: Link) {
    for player in [A, B] {
        world.set_leg(player, relay, link.half());
    }
}

/// A transfer of numbered messages from A to B.
struct Transfer {
    next: u32,
    heard: u32,
}

impl Transfer {
    fn new() -> Self {
        Self { next: 0, heard: 0 }
    }

    /// Keeps the channel full for so long.
    fn run(&mut self, world: &mut World, duration: Duration) {
        let end = world.now() + duration;
        while world.now() < end {
            while world.send(A, B, 1, &self.message(self.next)).is_ok() {
                self.next += 1;
            }
            world.flush(A);
            world.run_for(ms(20));
            self.hear(world);
        }
    }

    /// Lets what was sent arrive; how long that took.
    fn finish(&mut self, world: &mut World) -> Duration {
        let began = world.now();
        while self.heard < self.next {
            assert!(world.now().since(began) < secs(120), "{} of {}", self.heard, self.next);
            world.run_for(ms(20));
            self.hear(world);
        }
        world.now().since(began)
    }

    /// Every message comes once, whole and in order.
    fn hear(&mut self, world: &mut World) {
        for message in world.take_messages(B, 1) {
            assert!(message == self.message(self.heard), "message {}", self.heard);
            self.heard += 1;
        }
    }

    fn message(&self, number: u32) -> Vec<u8> {
        number.to_le_bytes().into_iter().cycle().take(MESSAGE).collect()
    }
}

fn mtu(world: &World) -> usize {
    world.stats(A, B).unwrap().mtu
}

/// Datagrams from A to B that were lost on the way.
fn lost(world: &World) -> u64 {
    lost_over(world, R)
}

fn lost_over(world: &World, relay: RelayNo) -> u64 {
    world.traffic(A, relay, Way::Up).lost + world.traffic(B, relay, Way::Down).lost
}

/// Messages that arrive in twenty seconds, two seconds after the start.
fn carried(mtu: Option<usize>) -> u32 {
    let mut world = pair(1, mtu);
    let mut transfer = Transfer::new();
    transfer.run(&mut world, secs(2));
    let before = transfer.heard;
    transfer.run(&mut world, secs(20));
    transfer.heard - before
}

#[test]
fn bulk_data_goes_in_the_longest_datagrams_and_more_of_it_arrives() {
    let mut world = pair(2, None);
    assert_eq!(mtu(&world), 1200);
    Transfer::new().run(&mut world, secs(1));
    assert_eq!(mtu(&world), 1472);
    assert_eq!(lost(&world), 0);
    assert_eq!(world.stats(B, A).unwrap().mtu, 1200, "B has sent nothing but acks");

    let (long, short) = (carried(None), carried(Some(1200)));
    assert!(long * 1000 > short * 1008, "{long} and {short} messages");
}

#[test]
fn a_path_that_carries_less_gets_what_it_carries() {
    for (carried, found) in [(1452, 1452), (1300, 1292), (1200, 1200)] {
        let mut world = pair(3, Some(carried));
        let mut transfer = Transfer::new();
        transfer.run(&mut world, secs(10));
        let last = transfer.finish(&mut world);
        assert_eq!(mtu(&world), found);
        assert!((3..=15).contains(&lost(&world)), "{carried}: {} probes", lost(&world));
        let stats = world.stats(A, B).unwrap();
        assert_eq!(stats.packets_lost, 0, "nothing but probes, which are no losses");
        let whole = Duration::from_secs_f64(f64::from(transfer.heard) * MESSAGE as f64 / 1.25e6);
        let took = secs(10) + last;
        assert!(took < whole * 112 / 100, "{carried}: {took:?} for {whole:?} at the link's rate");
    }
}

#[test]
fn a_path_that_becomes_a_black_hole_is_noticed_at_once() {
    for (narrow, found) in [(1300, 1292), (1200, 1200)] {
        let mut world = pair(4, None);
        let mut transfer = Transfer::new();
        transfer.run(&mut world, secs(2));
        assert_eq!(mtu(&world), 1472);
        set_mtu(&mut world, Some(narrow));
        transfer.run(&mut world, ms(500));
        assert_eq!(mtu(&world), 1200);
        let before = transfer.heard;
        transfer.run(&mut world, secs(2));
        let delivered = (transfer.heard - before) as usize * MESSAGE;
        assert!(delivered > 1_800_000, "{delivered} bytes in 2 s");

        // It is searched again, not at once.
        transfer.finish(&mut world);
        world.run_for(secs(50));
        transfer.run(&mut world, secs(1));
        assert_eq!(mtu(&world), 1200);
        world.run_for(secs(10));
        transfer.run(&mut world, secs(2));
        assert_eq!(mtu(&world), found);
        transfer.finish(&mut world);
    }
}

#[test]
fn the_last_packets_of_a_transfer_fall_into_no_black_hole() {
    for length in [500, 1400, 2000, 4000] {
        let mut world = pair(5, None);
        let mut transfer = Transfer::new();
        transfer.run(&mut world, secs(1));
        transfer.finish(&mut world);
        set_mtu(&mut world, Some(1200));
        world.say(A, B, 1, &vec![7; length]);
        let began = world.now();
        let heard = |world: &mut World| !world.take_messages(B, 1).is_empty();
        assert!(world.run_until(secs(1), heard), "{length} bytes");
        let took = world.now().since(began);
        assert!(took < ms(350), "{length} bytes: {took:?}");
    }
}

#[test]
fn a_game_sends_no_probes() {
    let mut world = pair(6, Some(1200));
    for n in 0..600_u32 {
        world.send(A, B, 0, &[n as u8; 100]).unwrap();
        if n % 20 == 0 {
            world.send(A, B, 1, &[n as u8; 4000]).unwrap();
        }
        world.flush(A);
        world.run_for(ms(16));
    }
    world.run_for(secs(1));
    assert_eq!((mtu(&world), lost(&world)), (1200, 0));
    assert_eq!(world.take_messages(B, 0).len(), 600);
    assert_eq!(world.take_messages(B, 1).len(), 30);
}

#[test]
fn another_network_is_searched_anew() {
    let mut world = pair(7, None);
    let mut transfer = Transfer::new();
    transfer.run(&mut world, secs(1));
    assert_eq!(mtu(&world), 1472);
    set_mtu(&mut world, Some(1400));
    world.rebind(A);
    world.with(A, Endpoint::network_changed);
    assert_eq!(mtu(&world), 1200);
    transfer.run(&mut world, secs(3));
    assert_eq!(mtu(&world), 1372);
    transfer.finish(&mut world);
}

const R2: RelayNo = RelayNo(1);

/// Two relays that both players know, the second of which carries 1,300 bytes; they are connected
/// over the first.
fn pair_over_two(seed: u64) -> World {
    let mut world = World::new(seed);
    let relays = [world.add_relay(), world.add_relay()];
    set_leg(&mut world, R, link(None));
    set_leg(&mut world, R2, link(Some(1300)));
    for _ in [A, B] {
        world.add_player(PlayerSetup::new(&relays));
    }
    assert!(world.bind(&[A, B]));
    world.introduce(A, B);
    for (player, other) in [(A, B), (B, A)] {
        world.open(player, other, 1, Reliability::Reliable);
    }
    move_to(&mut world, R);
    world.run_for(secs(5));
    world
}

/// Both make this relay their home, and send over it.
fn move_to(world: &mut World, relay: RelayNo) {
    let id = world.relay(relay).id();
    for player in [A, B] {
        world.with(player, |me| me.set_home(id)).unwrap();
    }
    let over = |world: &World, a, b| world.stats(a, b).is_some_and(|stats| stats.relay == Some(id));
    let moved = |world: &mut World| over(world, A, B) && over(world, B, A);
    assert!(world.run_until(secs(20), moved), "over {relay:?}");
}

#[test]
fn each_path_keeps_what_was_found_on_it() {
    let mut world = pair_over_two(8);
    let mut transfer = Transfer::new();
    transfer.run(&mut world, secs(1));
    assert_eq!((mtu(&world), lost(&world)), (1472, 0));
    move_to(&mut world, R2);
    assert_eq!(mtu(&world), 1200, "nothing is known of the second path");
    transfer.run(&mut world, secs(3));
    assert_eq!(mtu(&world), 1292);
    let searched = lost_over(&world, R2);
    assert!((12..=15).contains(&searched), "{searched} probes");
    for (relay, found) in [(R, 1472), (R2, 1292), (R, 1472), (R2, 1292)] {
        move_to(&mut world, relay);
        assert_eq!(mtu(&world), found, "at once");
        transfer.run(&mut world, secs(3));
        assert_eq!(mtu(&world), found);
    }
    assert_eq!((lost(&world), lost_over(&world, R2)), (0, searched), "no path is searched again");
    assert_eq!(world.stats(A, B).unwrap().packets_lost, 0);
    transfer.finish(&mut world);
}

#[test]
fn a_path_that_fell_silent_keeps_its_length() {
    let mut world = pair_over_two(9);
    let mut transfer = Transfer::new();
    transfer.run(&mut world, secs(1));
    assert_eq!(mtu(&world), 1472);
    // What is in flight on it is given up, which is no black hole.
    set_leg(&mut world, R, Link { cut: true, ..link(None) });
    transfer.run(&mut world, secs(1));
    assert_eq!(world.stats(A, B).unwrap().relay, Some(world.relay(R2).id()));
    assert!(mtu(&world) < 1472);
    set_leg(&mut world, R, link(None));
    let dropped = lost(&world);
    move_to(&mut world, R);
    assert_eq!(mtu(&world), 1472);
    transfer.run(&mut world, secs(2));
    assert_eq!((mtu(&world), lost(&world)), (1472, dropped));
    transfer.finish(&mut world);
}

#[test]
fn a_black_hole_is_remembered_while_another_path_is_used() {
    let mut world = pair_over_two(10);
    let mut transfer = Transfer::new();
    transfer.run(&mut world, secs(1));
    set_mtu(&mut world, Some(1200));
    transfer.run(&mut world, secs(1));
    assert_eq!(mtu(&world), 1200);
    let swallowed = lost(&world);
    // The second is the longer one, so that the first stays in use whatever its queue.
    set_leg(&mut world, R2, Link { delay: ROUND_TRIP, ..link(Some(1300)) });
    move_to(&mut world, R2);
    transfer.run(&mut world, secs(2));
    move_to(&mut world, R);
    transfer.run(&mut world, secs(20));
    assert_eq!((mtu(&world), lost(&world)), (1200, swallowed), "a minute has not passed");
    transfer.run(&mut world, secs(40));
    assert!(lost(&world) > swallowed, "then it is searched");
    transfer.finish(&mut world);
}
