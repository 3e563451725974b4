//! W6: what it takes until both have heard the other's first message.

use core::cell::RefCell;
use core::time::Duration;
use std::rc::Rc;

use waylane_core::id::{ChannelId, PeerId, Reliability};
use waylane_core::invite::{Invite, InviteSecret};
use waylane_core::time::Instant;

use super::path::{Path, bound};
use crate::pair::{A, B, R};
use crate::player::{Endpoint, Family, Hand, Heard};
use crate::world::{PlayerNo, Way, World};

/// How the two come to call each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Introduction {
    /// A was invited by B; B answers when A knocks.
    Invite,
    /// A knows B's route and calls; B, who knows A's, calls at the same time.
    Both,
}

/// What W6 has shown.
#[derive(Clone, Copy, Debug)]
pub struct OpenReport {
    /// Bytes of both players from the call to the later first message, without the relay's
    /// datagrams, without the payload of the messages.
    pub bytes: u64,
    /// Bytes of the datagrams between A and its relay until it is bound, both ways.
    pub bind_bytes: u64,
    /// Round trips until A's first message is at B.
    pub there: f64,
    /// Round trips until B's first message is at A.
    pub back: f64,
}

/// Two players with a relay each call each other, open a channel, and send a message as soon as
/// they may.
///
/// # Panics
/// If they do not hear each other within a minute.
#[must_use]
pub fn open(seed: u64, path: &Path, introduction: Introduction) -> OpenReport {
    let mut world = bound(seed, path, 2);
    let bind_bytes = world.traffic(A, R, Way::Up).bytes + world.traffic(A, R, Way::Down).bytes;
    world.run_for(Duration::from_secs(1));
    let starts = world.now();
    let heard: Rc<RefCell<[Option<Instant>; 2]>> = Rc::default();
    let bytes = Rc::new(RefCell::new(0));
    count_bytes(&mut world, Rc::clone(&bytes), Rc::clone(&heard));
    for player in [A, B] {
        world.take_heard(player);
        let (heard, to) = (Rc::clone(&heard), world.id(if player == A { B } else { A }));
        let mut sent = false;
        world.set_app(
            player,
            Box::new(move |hand| {
                let answers = introduction == Introduction::Invite && player == B;
                turn(hand, player, to, answers, &mut sent, &heard);
            }),
        );
    }
    match introduction {
        Introduction::Invite => {
            let (entry, route) =
                (world.relay(R).entry(Family::V4), world.endpoint(B).route().cloned());
            let route = route.expect("B is bound");
            let invite = Invite::new(&[entry], SECRET, route).expect("one entry");
            world.with(B, |b| b.set_accept_requests(Some(SECRET)));
            let to = world.id(B);
            world.with(A, |a| {
                a.accept_invite(&invite).expect("a good invite");
                say_first(a, to);
            });
        }
        Introduction::Both => {
            for (player, other) in [(A, B), (B, A)] {
                let (to, route) = (world.id(other), world.endpoint(other).route().cloned());
                let route = route.expect("the other is bound").to_string();
                world.with(player, |endpoint| {
                    endpoint.connect_peer(to, route.as_bytes()).expect("a good route");
                    say_first(endpoint, to);
                });
            }
        }
    }
    let both =
        world.run_until(Duration::from_secs(60), |_| heard.borrow().iter().all(Option::is_some));
    assert!(both, "seed {seed}: both hear each other");
    let round_trips = |at: Option<Instant>| {
        at.map_or(f64::NAN, |at| at.since(starts).as_secs_f64() / path.round_trip.as_secs_f64())
    };
    let [at_a, at_b] = *heard.borrow();
    let bytes = *bytes.borrow();
    OpenReport {
        bytes: bytes - 2 * PAYLOAD.len() as u64,
        bind_bytes,
        there: round_trips(at_b),
        back: round_trips(at_a),
    }
}

/// Notes when the first message came, answers a knock, and has nothing else to do.
fn turn(
    hand: &mut Hand<'_>,
    player: PlayerNo,
    to: PeerId,
    answers: bool,
    sent: &mut bool,
    heard: &RefCell<[Option<Instant>; 2]>,
) {
    for event in hand.heard.drain(..) {
        if let Heard::Message(..) = event {
            heard.borrow_mut()[player.0].get_or_insert(hand.now);
        } else if let Heard::PeerRequest(peer, route) = event
            && answers
            && peer == to
            && !*sent
        {
            *sent = true;
            let route = route.to_string();
            hand.endpoint.connect_peer(peer, route.as_bytes()).expect("a good route");
            say_first(hand.endpoint, to);
        }
    }
}

/// What an application says before it knows whether anybody listens.
fn say_first(endpoint: &mut Endpoint, to: PeerId) {
    endpoint.open_channel(to, ChannelId(0), Reliability::Reliable).expect("room");
    endpoint.send_message(to, ChannelId(0), &PAYLOAD).expect("room");
    endpoint.flush();
}

/// Counts what players send each other, up to the moment when both have heard something.
fn count_bytes(
    world: &mut World,
    bytes: Rc<RefCell<u64>>,
    heard: Rc<RefCell<[Option<Instant>; 2]>>,
) {
    world.set_tap(Box::new(move |sight| {
        let counts = sight.way == Way::Up && sight.bytes.first() >= Some(&FIRST_TO_PEERS);
        if counts && !heard.borrow().iter().all(Option::is_some) {
            *bytes.borrow_mut() += sight.bytes.len() as u64;
        }
    }));
}

const PAYLOAD: [u8; 16] = *b"the first words.";
const SECRET: InviteSecret = InviteSecret([0x5a; 16]);
/// Datagrams from peer to peer begin with this or more (wire.md §1).
const FIRST_TO_PEERS: u8 = 0x40;
