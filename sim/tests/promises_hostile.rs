//! A million hostile datagrams into endpoints and a relay that are busy with their friends.
// Helpers here are parts of tests too; the lint knows only functions marked as such.
#![allow(clippy::unwrap_used)]

mod common;

use core::cell::RefCell;
use core::net::SocketAddr;
use std::collections::BTreeSet;
use std::rc::Rc;

use common::{ms, secs};
use waylane_core::endpoint::Refusal;
use waylane_core::id::{ChannelId, Reliability};
use waylane_sim::{
    A, B, Driving, Endpoint, FRAME, Hand, Heard, Link, PlayerNo, R, Random, Way, World,
};

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
    // The handshakes, which came first, are worth as much as all that came later.
    let reach = if random.chance(0.5) { captured.len().min(16) } else { captured.len() };
    let (from, mut bytes) = captured[random.below(reach as u64) as usize].clone();
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

/// Both players send a numbered message on each channel in each frame, and note what they hear.
fn play(world: &mut World) -> [Rc<RefCell<Note>>; 2] {
    let notes: [Rc<RefCell<Note>>; 2] = Default::default();
    for (me, other) in [(A, B), (B, A)] {
        let (note, to) = (Rc::clone(&notes[me.0]), world.id(other));
        world.set_driving(me, Driving::Frames(FRAME));
        world.set_app(
            me,
            Box::new(move |hand: &mut Hand<'_>| {
                let mut note = note.borrow_mut();
                for heard in hand.heard.iter() {
                    if let Some((channel, data)) = heard.message() {
                        let number = u32::from_le_bytes(*data.first_chunk().unwrap());
                        note.heard[usize::from(channel.0)].push(number);
                    }
                }
                hand.heard.retain(|heard| heard.message().is_none());
                if note.quiet {
                    return;
                }
                let number = note.said.to_le_bytes().repeat(20);
                for channel in [0, 1] {
                    hand.endpoint.send_message(to, ChannelId(channel), &number).unwrap();
                }
                note.said += 1;
            }),
        );
    }
    notes
}

/// What a player has said and heard, by channel.
#[derive(Default)]
struct Note {
    said: u32,
    heard: [Vec<u32>; 2],
    quiet: bool,
}

#[test]
fn a_million_hostile_datagrams_harm_nothing_and_are_counted() {
    const DATAGRAMS: u64 = 1_000_000;
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
    for (from, to) in [(A, B), (B, A)] {
        world.open(from, to, 0, Reliability::Unreliable);
        world.open(from, to, 1, Reliability::Reliable);
    }
    world.run_for(ms(500));
    for player in [A, B] {
        world.with(player, Endpoint::network_changed);
    }
    world.run_for(ms(500));
    world.take_heard(A);
    world.take_heard(B);

    let notes = play(&mut world);
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
    world.run_for(ms(300));
    notes.iter().for_each(|note| note.borrow_mut().quiet = true);
    world.run_for(secs(10));
    for (player, other) in [(A, B), (B, A)] {
        let (note, said) = (notes[player.0].borrow(), notes[other.0].borrow().said);
        assert!(said > 1000);
        assert_eq!(note.heard[1], (0..said).collect::<Vec<_>>(), "reliable to {player:?}");
        // Who can send from a player's own address can make it renew its session: a moment's data.
        let heard = &note.heard[0];
        // (One that was missed so may come late, when it is replayed.)
        let once: BTreeSet<_> = heard.iter().collect();
        assert_eq!(once.len(), heard.len(), "unreliable messages come at most once");
        assert!(heard.len() as u32 * 100 >= said * 99, "{} of {said} to {player:?}", heard.len());
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
            Refusal::BadMac,
            Refusal::Version,
            Refusal::Unexpected,
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
