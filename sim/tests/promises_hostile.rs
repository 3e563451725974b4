//! A million hostile datagrams into endpoints and a relay that are busy with their friends.
// Helpers here are parts of tests too; the lint knows only functions marked as such.
#![allow(clippy::unwrap_used)]

mod common;

use core::cell::RefCell;
use core::net::SocketAddr;
use std::rc::Rc;

use common::{Shared, Stream, ms, reliable_game};
use waylane_core::endpoint::Refusal;
use waylane_core::id::ChannelId;
use waylane_sim::{A, B, Driving, Endpoint, FRAME, Heard, Link, PlayerNo, R, Random, Way, World};

/// Datagrams seen on the wire: where they went, whence, and what they were.
#[derive(Default)]
struct Captured {
    to_relay: Vec<(SocketAddr, Vec<u8>)>,
    to_player: [Vec<(SocketAddr, Vec<u8>)>; 2],
}

impl Captured {
    const MOST: usize = 400;

    /// Keeps the first few, which are handshakes, and replaces the others by newer ones.
    fn keep(list: &mut Vec<(SocketAddr, Vec<u8>)>, n: usize, from: SocketAddr, bytes: &[u8]) {
        if list.len() < Self::MOST {
            list.push((from, bytes.to_vec()));
        } else {
            list[Self::MOST / 4 + n % (Self::MOST * 3 / 4)] = (from, bytes.to_vec());
        }
    }
}

/// One hostile datagram made of captured ones.
fn hostile(captured: &[(SocketAddr, Vec<u8>)], random: &mut Random) -> (SocketAddr, Vec<u8>) {
    let (from, mut bytes) = captured[random.below(captured.len() as u64) as usize].clone();
    match random.below(10) {
        0..=2 => {
            let most = if random.chance(0.2) { 1600 } else { 120 };
            bytes.resize(random.below(most) as usize, 0);
            random.fill(&mut bytes);
            if let (Some(first), true) = (bytes.first_mut(), random.chance(0.8)) {
                let kinds = [
                    1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 0x40, 0x41, 0x42, 0x80, 0x81, 0x83, 0x84,
                    0x87,
                ];
                *first = kinds[random.below(kinds.len() as u64) as usize];
            }
        }
        3..=4 => bytes.truncate(random.below(bytes.len() as u64 + 1) as usize),
        5..=8 => {
            for _ in 0..=random.below(3) {
                // The first bytes are where most decisions are made.
                let reach = if random.chance(0.5) { 40.min(bytes.len()) } else { bytes.len() };
                if reach > 0 {
                    bytes[random.below(reach as u64) as usize] ^= 1 << random.below(8);
                }
            }
        }
        _ => {}
    }
    (from, bytes)
}

#[test]
fn a_million_hostile_datagrams_harm_nothing_and_are_counted() {
    const DATAGRAMS: u64 = 1_000_000;
    const MESSAGES: u64 = 2000;
    let mut world = World::pair(1, Link::delayed(ms(20)));
    let captured: Rc<RefCell<Captured>> = Rc::default();
    let sink = Rc::clone(&captured);
    let mut seen = 0;
    world.set_tap(Box::new(move |sight| {
        let mut captured = sink.borrow_mut();
        seen += 1;
        match sight.way {
            // Whence is filled in when it is used: a player's address may change.
            Way::Up => Captured::keep(
                &mut captured.to_relay,
                seen,
                SocketAddr::new([0; 4].into(), sight.player.0 as u16),
                sight.bytes,
            ),
            Way::Down => Captured::keep(
                &mut captured.to_player[sight.player.0],
                seen,
                sight.other,
                sight.bytes,
            ),
        }
    }));
    assert!(world.bind(&[A, B]));
    world.introduce(A, B);
    world.open(A, B, 1, waylane_core::id::Reliability::Reliable);
    world.open(B, A, 1, waylane_core::id::Reliability::Reliable);
    world.run_for(ms(500));
    for player in [A, B] {
        world.with(player, Endpoint::network_changed);
    }
    world.run_for(ms(500));
    world.take_heard(A);
    world.take_heard(B);

    let (to_b, to_a): (Shared, Shared) = Default::default();
    let (out_a, out_b) = (Stream { seed: 1, largest: 700 }, Stream { seed: 2, largest: 700 });
    let (id_a, id_b) = (world.id(A), world.id(B));
    let game_a =
        reliable_game(id_b, ChannelId(1), MESSAGES, (out_a, to_b.clone()), (out_b, to_a.clone()));
    let game_b =
        reliable_game(id_a, ChannelId(1), MESSAGES, (out_b, to_a.clone()), (out_a, to_b.clone()));
    world.set_app(A, Box::new(game_a));
    world.set_app(B, Box::new(game_b));
    world.set_driving(A, Driving::Frames(FRAME));
    world.run_for(ms(100));

    let mut random = Random::new(77);
    let relay_before = world.relay_counters(R);
    let refused = |world: &World, player| {
        let counters = world.endpoint(player).counters();
        Refusal::ALL.map(|reason| counters.refused(reason))
    };
    let before = [A, B].map(|player| refused(&world, player));
    let (mut into_relay, mut into_players) = (0u64, 0u64);
    for n in 0..DATAGRAMS {
        if n % 1000 == 0 {
            world.run_for(FRAME);
            world.take_strays();
        }
        let target = random.below(3);
        let stranger = SocketAddr::new(
            [203, 0, 113, random.below(256) as u8].into(),
            random.next_u64() as u16 | 1,
        );
        if target == 2 {
            let (from, bytes) = hostile(&captured.borrow().to_relay, &mut random);
            // A spoofed source may spend that player's budget, so most come from elsewhere.
            let from = if random.chance(0.1) {
                world.address(PlayerNo(from.port().into()))
            } else {
                stranger
            };
            into_relay += 1;
            world.inject_to_relay(R, from, &bytes);
        } else {
            let player = PlayerNo(target as usize);
            let (from, bytes) = hostile(&captured.borrow().to_player[player.0], &mut random);
            into_players += 1;
            world.inject_to_player(
                player,
                if random.chance(0.9) { from } else { stranger },
                &bytes,
            );
        }
    }
    assert_eq!(into_relay + into_players, DATAGRAMS);

    // Unharmed: everything said meanwhile is there, nobody was reported lost.
    let all = |progress: &Shared| {
        let progress = progress.borrow();
        assert!(progress.trouble.is_empty(), "{:?}", progress.trouble);
        progress.received == MESSAGES
    };
    assert!(world.run_until(common::secs(120), |_| all(&to_a) && all(&to_b)), "{to_a:?} {to_b:?}");
    for player in [A, B] {
        assert!(
            world.heard(player).iter().all(|heard| !matches!(heard, Heard::PeerDisconnected(..)))
        );
        let counters = world.endpoint(player).counters();
        let after = refused(&world, player);
        let by_reason: u64 =
            after.iter().zip(before[player.0]).map(|(after, before)| after - before).sum();
        assert_eq!(counters.refused_in_all(), after.iter().sum::<u64>());
        // Of those put in, all but replays of harmless relay messages must be refused.
        assert!(by_reason > into_players * 4 / 10, "{by_reason} of about {}", into_players / 2);
        for reason in [
            Refusal::UnknownSource,
            Refusal::Malformed,
            Refusal::Replay,
            Refusal::Forged,
            Refusal::UnknownConnection,
        ] {
            assert!(
                counters.refused(reason) > 100,
                "{player:?}: {reason}: {}",
                counters.refused(reason)
            );
        }
    }
    let relay = world.relay_counters(R);
    let (data, control) = (relay.forwarder, relay.control);
    let sum = data.forwarded + data.control + data.dropped();
    let sum_before = relay_before.forwarder.forwarded
        + relay_before.forwarder.control
        + relay_before.forwarder.dropped();
    assert!(sum - sum_before >= into_relay);
    assert_eq!(
        control.consumed() + control.dropped.total(),
        data.control,
        "each control datagram is counted once"
    );
    assert_eq!(control.sessions_live, 2);
}
