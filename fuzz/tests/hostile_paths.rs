//! A peer with good keys that lies about paths and routes: what it forges, repeats or sends another
//! way moves nothing, and all of it is counted.
#![allow(clippy::unwrap_used, reason = "tests may; the lint only knows test functions")]

use core::time::Duration;

use waylane_core::channel::Scope;
use waylane_core::endpoint::{DisconnectReason, Event, Refusal};
use waylane_core::id::{RelayId, SessionId};
use waylane_core::route::Route;
use waylane_core::wire::Writer;
use waylane_core::wire::frame::{AckDelay, Frame, PathIntent};
use waylane_fuzz::mallory::Mallory;
use waylane_fuzz::world::{Flight, World};

#[test]
fn no_response_but_the_one_that_was_asked_for_moves_a_path() {
    let mut scene = Scene::new();
    let (first, second) = (scene.relay(0), scene.relay(1));
    // The victim is told to use the second relay, asks there, and waits.
    scene.mallory.challenges.clear();
    let route = scene.mallory.route([&scene.world.relays[1]]);
    let id = scene.mallory.id();
    scene.world.players[VICTIM].update_peer(id, &route).unwrap();
    scene.wait(ASKED_WITHIN);
    let asked = scene.mallory.challenges.iter().rev().find(|(relay, _)| *relay == second.0);
    let nonce = asked.expect("it asks").1;

    for n in 0..10 {
        scene.say(1, &response(second, [n; 8]));
    }
    assert_eq!(scene.take_refused(), [(Refusal::Path, 10)], "nonces that nobody gave out");
    scene.say(0, &response(second, nonce));
    scene.say(0, &response(first, nonce));
    assert_eq!(scene.take_refused(), [(Refusal::Path, 2)], "by another relay");
    scene.say(1, &response(first, nonce));
    scene.say(1, &response(RelayId(1), nonce));
    assert_eq!(scene.take_refused(), [(Refusal::Path, 2)], "of another relay");
    let good = scene.packet(&response(second, nonce));
    for at in SEALED..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        scene.arrive(1, bad);
    }
    assert_eq!(scene.take_refused(), [(Refusal::Forged, (good.len() - SEALED) as u64)]);
    assert_eq!(scene.path(), (first, 0), "nothing has moved");

    scene.arrive(1, good.clone());
    assert_eq!((scene.path(), scene.take_refused()), ((second, 1), vec![]), "this one counts");
    scene.arrive(1, good.clone());
    scene.arrive(0, good);
    assert_eq!(scene.take_refused(), [(Refusal::Replay, 2)]);
    scene.say(1, &response(second, nonce));
    assert_eq!(scene.take_refused(), [(Refusal::Path, 1)], "it was answered before");
    assert_eq!(scene.path(), (second, 1));
}

#[test]
fn no_challenge_moves_a_path_by_itself() {
    let mut scene = Scene::new();
    let (first, second) = (scene.relay(0), scene.relay(1));
    for intent in [PathIntent::Probe, PathIntent::Move, PathIntent::Moved] {
        scene.mallory.responses.clear();
        scene.say(0, &challenge(second, Mallory::SESSION, [1; 8], intent));
        scene.say(1, &challenge(first, Mallory::SESSION, [2; 8], intent));
        scene.say(1, &challenge(RelayId(1), Mallory::SESSION, [3; 8], intent));
        scene.say(0, &challenge(first, SessionId::NONE, [4; 8], intent));
        scene.wait(Duration::from_millis(300));
        assert_eq!(scene.take_refused(), [(Refusal::Path, 4)], "{intent:?}");
        assert_eq!(scene.mallory.responses, [], "{intent:?}: it is not answered either");

        let good = scene.packet(&challenge(second, Mallory::SESSION, [5; 8], intent));
        for at in SEALED..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            scene.arrive(1, bad);
        }
        assert_eq!(scene.take_refused(), [(Refusal::Forged, (good.len() - SEALED) as u64)]);
        scene.arrive(1, good.clone());
        scene.arrive(1, good.clone());
        scene.arrive(0, good);
        scene.wait(Duration::from_millis(300));
        assert_eq!(scene.take_refused(), [(Refusal::Replay, 2)], "{intent:?}");
        assert_eq!(scene.mallory.responses, [(second.0, [5; 8])], "{intent:?}: once");
        assert_eq!(scene.path(), (first, 0), "{intent:?}: no challenge of its own was answered");
    }
}

#[test]
fn paths_that_only_the_other_side_names_are_few_and_cost_little() {
    let mut scene = Scene::new();
    let first = scene.relay(0);
    scene.wait(Duration::from_secs(1));
    scene.mallory.challenges.clear();
    let sent = scene.world.players[VICTIM].counters().datagrams_out;
    for n in 0..200_u32 {
        let session = SessionId::new(n + 100, Mallory::SESSION.tag());
        scene.say(0, &challenge(first, session, [n as u8; 8], PathIntent::Move));
        scene.wait(Duration::from_millis(10));
    }
    let refused = scene.take_refused();
    let [(Refusal::Path, refused)] = refused[..] else { panic!("{refused:?}") };
    // One new path every 250 ms, in two seconds.
    assert!((190..200).contains(&refused), "{refused} of 200");
    let asked = scene.mallory.challenges.len();
    assert!(asked <= 3 * (200 - refused as usize), "{asked} challenges");
    let sent = scene.world.players[VICTIM].counters().datagrams_out - sent;
    assert!(sent < 300, "{sent} datagrams for 200");
    assert_eq!(scene.path(), (first, 0));
}

#[test]
fn no_route_but_a_newer_one_is_followed() {
    let mut scene = Scene::new();
    let first = scene.relay(0);
    let old = scene.mallory.route([&scene.world.relays[1]]);
    let new = scene.mallory.route(&scene.world.relays);
    scene.say(0, &update(&new));
    assert_eq!(scene.take_refused(), []);
    for n in 1..=5 {
        scene.say(n % 2, &update(&old));
        scene.say(n % 2, &update(&new));
    }
    assert_eq!(scene.take_refused(), [(Refusal::StaleRoute, 10)]);
    let newer = scene.mallory.route([&scene.world.relays[1]]);
    let good = scene.packet(&update(&newer));
    for at in SEALED..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        scene.arrive(0, bad);
    }
    assert_eq!(scene.take_refused(), [(Refusal::Forged, (good.len() - SEALED) as u64)]);
    scene.mallory.challenges.clear();
    scene.arrive(0, good.clone());
    scene.wait(ASKED_WITHIN);
    assert_eq!(scene.take_refused(), []);
    assert_ne!(scene.mallory.challenges, [], "a newer one is followed, once it answers");
    scene.arrive(0, good.clone());
    scene.arrive(1, good);
    assert_eq!(scene.take_refused(), [(Refusal::Replay, 2)]);
    assert_eq!(scene.path(), (first, 0));
}

#[test]
fn a_route_of_somebody_else_ends_the_connection_and_moves_nothing() {
    let mut scene = Scene::new();
    let id = scene.mallory.id();
    let mut route = [0; Route::LEN_MAX];
    let len = scene.world.players[1].route().unwrap().encode(&mut route).unwrap();
    // The application is told so.
    scene.world.players[VICTIM].update_peer(id, &route[..len]).unwrap_err();
    assert_eq!(scene.path(), (scene.relay(0), 0));
    scene.say(0, &update(&route[..len]));
    assert_eq!(scene.take_refused(), [(Refusal::Protocol, 1)]);
    let parted = Event::PeerDisconnected { peer: id, reason: DisconnectReason::ProtocolError };
    assert_eq!(scene.parted, [format!("{parted:?}")]);
}

/// The victim, connected with Mallory over the first relay, and with a session at both.
struct Scene {
    world: World,
    mallory: Mallory,
    refused: [u64; Refusal::ALL.len()],
    parted: Vec<String>,
}

impl Scene {
    fn new() -> Self {
        let world = World::new();
        let victim = world.players[VICTIM].public_key();
        let mallory = Mallory::new(victim, SessionId::NONE);
        let mut scene =
            Self { world, mallory, refused: [0; Refusal::ALL.len()], parted: Vec::new() };
        scene.wait(Duration::from_secs(5));
        let route = scene.world.players[VICTIM].route().unwrap();
        assert_eq!(route.relays().len(), 2, "home and standby");
        assert_eq!(route.relays()[0].relay, scene.relay(0));
        scene.mallory = Mallory::new(victim, route.relays()[0].session);
        let datagram = scene.mallory.initiation(1, 60_000, b"");
        let (id, route) = (scene.mallory.id(), scene.mallory.route(&scene.world.relays));
        scene.world.players[VICTIM].connect_peer(id, &route).unwrap();
        scene.arrive(0, datagram);
        scene.wait(Duration::from_millis(100));
        scene.say(0, &PING);
        assert!(scene.world.players[VICTIM].peer_stats(id).unwrap().connected);
        scene.wait(Duration::from_millis(100));
        scene.take_refused();
        assert_eq!(scene.path(), (scene.relay(0), 0));
        scene
    }

    fn relay(&self, number: usize) -> RelayId {
        self.world.relays[number].id
    }

    /// The relay through which the victim sends to Mallory, and how often that has changed.
    fn path(&self) -> (RelayId, u32) {
        let stats = self.world.players[VICTIM].peer_stats(self.mallory.id()).unwrap();
        (stats.relay.unwrap(), stats.path_switches)
    }

    /// What the victim has refused since this was asked last.
    fn take_refused(&mut self) -> Vec<(Refusal, u64)> {
        let counters = self.world.players[VICTIM].counters();
        let before = core::mem::replace(
            &mut self.refused,
            Refusal::ALL.map(|reason| counters.refused(reason)),
        );
        let news = self.refused.iter().zip(before).map(|(now, before)| now - before);
        Refusal::ALL.into_iter().zip(news).filter(|(_, count)| *count > 0).collect()
    }

    /// The next packet, of these frames.
    fn packet(&mut self, frames: &[u8]) -> Vec<u8> {
        self.mallory.packet(frames, 0, false).unwrap()
    }

    /// A packet of these frames comes by this relay.
    fn say(&mut self, relay: usize, frames: &[u8]) {
        let packet = self.packet(frames);
        self.arrive(relay, packet);
    }

    /// As if a relay had forwarded it.
    fn arrive(&mut self, relay: usize, bytes: Vec<u8>) {
        let (from, to) = (self.world.relays[relay].address, self.world.address(VICTIM));
        self.world.arrive(Flight { from, to, bytes });
        self.turn();
    }

    fn wait(&mut self, duration: Duration) {
        let end = self.world.now + duration;
        while self.world.now < end {
            self.world.now += Duration::from_millis(1);
            for _ in 0..self.world.flight.len() {
                let flight = self.world.flight.pop_front().unwrap();
                let is_mallorys = flight.bytes.first().is_some_and(|kind| *kind >= 0x40)
                    && flight.bytes.get(4..8) == Some(&Mallory::SESSION.to_bytes()[3..]);
                if is_mallorys {
                    self.mallory.hear(&flight.bytes, flight.to, &self.world.relays);
                } else {
                    self.world.arrive(flight);
                }
            }
            self.turn();
        }
    }

    fn turn(&mut self) {
        self.world.relays_time_out();
        for player in 0..2 {
            self.world.players[player].handle_timeout(self.world.now);
            while let Some(event) = self.world.players[player].poll_event() {
                if let Event::PeerDisconnected { .. } = event {
                    self.parted.push(format!("{event:?}"));
                }
            }
            self.world.transmit(player, Scope::Everything, 1, 1472);
        }
    }
}

fn response(relay: RelayId, nonce: [u8; 8]) -> Vec<u8> {
    let delay = AckDelay::from_duration(Duration::ZERO);
    written(|writer| Frame::PathResponse { relay, nonce, delay }.emit(writer).unwrap())
}

fn challenge(relay: RelayId, session: SessionId, nonce: [u8; 8], intent: PathIntent) -> Vec<u8> {
    written(|writer| Frame::PathChallenge { relay, session, nonce, intent }.emit(writer).unwrap())
}

fn update(route: &[u8]) -> Vec<u8> {
    written(|writer| Frame::RouteUpdate { route }.emit(writer).unwrap())
}

fn written(write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut out = [0; 400];
    let mut writer = Writer::new(&mut out);
    write(&mut writer);
    writer.written().to_vec()
}

const VICTIM: usize = 0;
/// The longest pause between two challenges of a path.
const ASKED_WITHIN: Duration = Duration::from_millis(2100);
const PING: [u8; 1] = [1];
/// Where what is encrypted begins in a packet of Mallory's.
const SEALED: usize = 14;
