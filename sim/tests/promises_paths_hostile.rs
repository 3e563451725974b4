//! What an onlooker, or a relay, forges, repeats or sends another way moves no path. (What a peer
//! with good keys may try is tried in `fuzz/tests/hostile_paths.rs`.)
// Helpers here are parts of tests too; the lint knows only functions marked as such.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "common/pair_game.rs"]
mod pair_game;

use core::cell::RefCell;
use core::net::SocketAddr;
use std::rc::Rc;

use common::{ms, secs};
use pair_game::{HOPS, Match, R1, R2, game_over, seeds};
use waylane_core::endpoint::Refusal;
use waylane_core::wire::frame::{Frame, Frames};
use waylane_sim::{A, B, Driving, Link, PlayerNo, RelayNo, Way, watch_opened};

/// Packets with frames that say something of paths or routes.
#[derive(Default)]
struct Overheard {
    /// What is being handed to a player: it is opened next, if it is at all.
    latest: Option<Packet>,
    packets: Vec<Packet>,
    frames: Frequency,
    /// What this player sends to this relay.
    up: Option<(PlayerNo, SocketAddr, Vec<Vec<u8>>)>,
}

#[derive(Clone)]
struct Packet {
    to: PlayerNo,
    from: SocketAddr,
    bytes: Vec<u8>,
}

/// The relay that each player uses, how often that has changed, and responses that came late.
type History = ([RelayNo; 2], u32, [u64; 2]);

/// How often such frames were opened.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Frequency {
    challenges: u64,
    responses: u64,
    updates: u64,
}

/// Plays with an ear on every packet that a player of the game opens.
fn overhearing(play: impl FnOnce(&mut Match, &RefCell<Overheard>), seed: u64) {
    let overheard: Rc<RefCell<Overheard>> = Rc::default();
    let (seen, opened) = (Rc::clone(&overheard), Rc::clone(&overheard));
    let watch = move |text: &[u8]| {
        let mut opened = opened.borrow_mut();
        let Some(packet) = opened.latest.take() else { return };
        let before = opened.frames;
        for frame in Frames::new(text).flatten() {
            let frames = &mut opened.frames;
            frames.challenges += u64::from(matches!(frame, Frame::PathChallenge { .. }));
            frames.responses += u64::from(matches!(frame, Frame::PathResponse { .. }));
            frames.updates += u64::from(matches!(frame, Frame::RouteUpdate { .. }));
        }
        if opened.frames != before {
            opened.packets.push(packet);
        }
    };
    watch_opened(watch, || {
        let mut game = game_over(seed, 2, Driving::Events);
        game.world.set_tap(Box::new(move |sight| {
            let mut seen = seen.borrow_mut();
            let data = sight.bytes.first().is_some_and(|first| *first >= 0x80);
            let (to, from, bytes) = (sight.player, sight.other, sight.bytes.to_vec());
            if sight.way == Way::Down {
                seen.latest = data.then_some(Packet { to, from, bytes });
            } else if let Some((player, relay, sent)) = &mut seen.up
                && (sight.player, sight.other) == (*player, *relay)
            {
                sent.push(bytes);
            }
        }));
        game.run(secs(8));
        play(&mut game, &overheard);
        game.finish();
    });
}

/// What becomes of two players who change their homes; with `attack`, every packet
/// that says something of paths comes again twice, and with each of its bytes changed once.
fn moves_under(seed: u64, attack: bool) -> Vec<History> {
    let mut history = Vec::new();
    let play = |game: &mut Match, overheard: &RefCell<Overheard>| {
        overheard.take();
        let refused =
            |game: &Match, player, reason| game.world.endpoint(player).counters().refused(reason);
        let (mut expected, mut heard) = ([[0; 2]; 2], Frequency::default());
        for n in 0..6 {
            let (player, relay) = ([A, B][n / 2 % 2], [R2, R1][n % 2]);
            let id = game.world.relay(relay).id();
            game.world.with(player, |me| me.set_home(id)).unwrap();
            for _ in 0..600 {
                game.run(ms(5));
                let Overheard { packets, frames, .. } = overheard.take();
                heard.challenges += frames.challenges;
                heard.responses += frames.responses;
                heard.updates += frames.updates;
                for Packet { to, from, bytes } in packets.into_iter().filter(|_| attack) {
                    for _ in 0..2 {
                        game.world.inject_to_player(to, from, &bytes);
                    }
                    expected[to.0][0] += 2;
                    for forged in forgeries(&bytes) {
                        game.world.inject_to_player(to, from, &forged);
                        expected[to.0][1] += 1;
                    }
                }
            }
            // A response that comes when its challenge was given up is one that nobody asked for.
            let late = [A, B].map(|player| refused(game, player, Refusal::Path));
            history.push(([A, B].map(|player| game.relay_in_use(player)), game.switches(), late));
        }
        let Frequency { challenges, responses, updates } = heard;
        assert!(challenges.min(responses) > 20 && updates >= 4, "{heard:?}");
        for player in [A, B] {
            let counted =
                [Refusal::Replay, Refusal::Forged].map(|reason| refused(game, player, reason));
            assert_eq!(counted, expected[player.0], "seed {seed}: each is counted");
            assert_eq!(game.lost(player), 0, "seed {seed}");
        }
    };
    overhearing(play, seed);
    history
}

#[test]
fn forged_and_repeated_challenges_responses_and_routes_change_nothing() {
    for seed in seeds().take(4) {
        let history = moves_under(seed, false);
        assert!(history.last().unwrap().1 >= 2, "seed {seed}: there is something to disturb");
        assert_eq!(moves_under(seed, true), history, "seed {seed}");
    }
}

#[test]
fn challenges_and_responses_that_come_by_another_relay_move_nothing() {
    let mut taken = Frequency::default();
    for seed in seeds().take(4) {
        for (from, to) in [(A, B), (B, A)] {
            overhearing(
                |game, overheard| {
                    let frames = misdirect(game, overheard, from, to);
                    taken.challenges += frames.challenges;
                    taken.responses += frames.responses;
                },
                seed,
            );
        }
    }
    assert!(taken.challenges > 10 && taken.responses > 10, "{taken:?}");
}

/// Everything that one sends by the relay in use comes to the other by another, as a relay might do
/// it; answers what was in it.
fn misdirect(
    game: &mut Match,
    overheard: &RefCell<Overheard>,
    from: PlayerNo,
    to: PlayerNo,
) -> Frequency {
    let relay = game.relay_in_use(from);
    let other = if relay == R1 { R2 } else { R1 };
    let entry = game.world.relay(relay).address_for(game.world.address(from));
    let exit = game.world.relay(other).address_for(game.world.address(to));
    let switches = game.switches();
    let refused = |game: &Match| game.world.endpoint(to).counters().refused(Refusal::Path);
    overheard.borrow_mut().up = Some((from, entry, Vec::new()));
    game.world.set_link(to, relay, Way::Down, Link { cut: true, ..Link::delayed(HOPS) });
    let mut came = Frequency::default();
    for _ in 0..2000 {
        game.run(ms(5));
        let sent = overheard.borrow_mut().up.as_mut().map(|(.., sent)| core::mem::take(sent));
        for bytes in sent.into_iter().flatten() {
            overheard.borrow_mut().frames = Frequency::default();
            let before = refused(game);
            game.world.inject_to_player(to, exit, &bytes);
            let frames = overheard.borrow().frames;
            let counted = refused(game) - before;
            assert_eq!(counted, frames.challenges + frames.responses, "each is counted");
            came.challenges += frames.challenges;
            came.responses += frames.responses;
        }
    }
    // The way that does not answer may be left for the one that does, but not again and again.
    assert!(game.switches() <= switches + 1, "{}", game.switches());
    game.world.set_link(to, relay, Way::Down, Link::delayed(HOPS));
    came
}

/// The packet with each byte of what is sealed changed, under a number that has not come yet: else
/// it would be refused as a repetition.
fn forgeries(packet: &[u8]) -> impl Iterator<Item = Vec<u8>> + use<'_> {
    // wire.md §1.1.
    let sealed = 11 + usize::from(packet[0] & 0b11);
    (sealed..packet.len()).map(move |at| {
        let mut forged = packet.to_vec();
        forged[at] ^= 0x10;
        let mut carry = 64;
        for byte in forged[10..sealed].iter_mut().rev() {
            let sum = u16::from(*byte) + carry;
            (*byte, carry) = (sum as u8, sum >> 8);
        }
        forged
    })
}
