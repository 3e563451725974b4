//! Guests at others' relays: admitted and budgeted like everybody, and no more than allowed.
// Helpers here are parts of tests too; the lint knows only functions marked as such.
#![allow(clippy::unwrap_used)]

mod common;

use common::{ms, secs};
use waylane_core::crypto::Secret;
use waylane_core::endpoint::{RelayPolicy, RelayRefusedReason, RelayState};
use waylane_core::id::Reliability;
use waylane_core::relay::{RelayConfig, TokenRules};
use waylane_core::token::{Claims, Region, Token, TokenKeys};
use waylane_crypto::TokenSigner;
use waylane_sim::{A, B, FRAME, Heard, Link, PlayerNo, PlayerSetup, RelayNo, World};

const HOME: RelayNo = RelayNo(0);
/// Where B is at home, and A comes as a guest.
const ELSEWHERE: RelayNo = RelayNo(1);

/// Each is at home where the other is not, and nowhere else; B has a token.
fn strangers(seed: u64, change: impl FnOnce(&mut RelayConfig)) -> World {
    let mut world = World::new(seed);
    let relays = [world.add_relay(), world.add_relay_with(change)];
    for home in relays {
        let mut setup = PlayerSetup::new(&relays);
        setup.config.token = (home == ELSEWHERE).then(token);
        let player = world.add_player(setup);
        require(&mut world, player, home);
    }
    assert!(world.bind(&[A, B]));
    world.run_for(secs(5));
    world.take_heard(A);
    world
}

fn require(world: &mut World, player: PlayerNo, home: RelayNo) {
    let home = world.relay(home).id();
    world.with(player, |me| me.set_relay_policy(home, RelayPolicy::Require)).unwrap();
}

/// Whether A has a session at B's home, as a guest.
fn is_guest(world: &World) -> bool {
    let id = world.relay(ELSEWHERE).id();
    let status = world.endpoint(A).relays().find(|status| status.id == id).unwrap();
    assert!(status.guest || status.state == RelayState::Idle, "{status:?}");
    status.state == RelayState::Bound
}

/// Why A was refused there, if it was.
fn refusal(world: &mut World) -> Option<RelayRefusedReason> {
    let there = world.relay(ELSEWHERE).id();
    world.take_heard(A).iter().find_map(|heard| {
        if let Heard::RelayRefused(relay, reason) = heard {
            (*relay == there).then_some(*reason)
        } else {
            None
        }
    })
}

fn live(world: &World) -> u32 {
    world.relay_counters(ELSEWHERE).control.sessions_live as u32
}

#[test]
fn a_guest_shows_the_token_that_everybody_shows() {
    let keys = TokenKeys::new(&[signer().public()]).unwrap();
    let rules = TokenRules { keys, bearer: true, region: Region::NONE };
    let mut world = strangers(1, |config| config.tokens = Some(rules));
    world.introduce(A, B);
    world.run_for(secs(10));
    assert_eq!(refusal(&mut world), Some(RelayRefusedReason::Token));
    assert_eq!((is_guest(&world), live(&world)), (false, 1));
    assert!(world.is_connected(A, B), "over A's home, where B is the guest");

    world.with(A, |me| me.set_token(Some(token())));
    world.run_for(secs(10));
    assert_eq!((is_guest(&world), live(&world)), (true, 2));
}

#[test]
fn a_guest_spends_a_budget_like_everybodys() {
    // Enough for what the protocol says, and not for a game.
    let mut world = strangers(3, |config| config.budget.packets_per_second = 20);
    // The way over A's home is too long to be taken.
    world.set_leg(B, HOME, Link::delayed(ms(100)));
    world.introduce(A, B);
    for (from, to) in [(A, B), (B, A)] {
        world.open(from, to, 0, Reliability::Unreliable);
    }
    world.run_for(secs(2));
    let dropped = |world: &World| world.relay_counters(ELSEWHERE).forwarder.over_budget;
    assert!(is_guest(&world) && dropped(&world) == 0);
    for _ in 0..180 {
        world.say(A, B, 0, b"position");
        world.run_for(FRAME);
    }
    assert!(dropped(&world) > 20, "{} dropped", dropped(&world));
}

#[test]
fn a_player_has_eight_sessions_at_most() {
    const OTHERS: usize = 12;
    let mut world = World::new(4);
    let relays: Vec<_> = (0..OTHERS + 1).map(|_| world.add_relay()).collect();
    let mut setup = PlayerSetup::new(&relays);
    setup.config.limits.relays = relays.len() as u8;
    let me = world.add_player(setup.clone());
    let others: Vec<_> = relays[1..]
        .iter()
        .map(|home| {
            let other = world.add_player(setup.clone());
            require(&mut world, other, *home);
            other
        })
        .collect();
    assert!(world.bind(&[me]) && world.bind(&others));
    world.run_for(secs(5));
    for other in &others {
        world.introduce(me, *other);
    }
    let mut most = 0;
    for _ in 0..300 {
        world.run_for(ms(100));
        let held = world.endpoint(me).relays().filter(|status| status.state != RelayState::Idle);
        most = most.max(held.count());
    }
    assert_eq!(most, 8);
    let connected = others.iter().filter(|other| world.is_connected(me, **other)).count();
    assert_eq!(connected, OTHERS, "the others come as guests to where I am");
}

fn token() -> Token {
    signer().issue(&Claims::until(u64::MAX))
}

fn signer() -> TokenSigner {
    TokenSigner::from_secret(&Secret([1; 32]))
}
