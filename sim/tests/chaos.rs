//! Whole worlds under faults: whatever happens short of the idle time-out, no connection breaks, no
//! reliable message is lost, doubled or reordered, and when the faults end everything converges.
// Helpers here are parts of tests too; the lint knows only functions marked as such.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm)]

mod common;

use core::cell::RefCell;
use core::time::Duration;
use std::collections::BTreeMap;
use std::rc::Rc;

use common::{ms, secs};
use waylane_core::id::{ChannelId, PeerId, Reliability};
use waylane_sim::{
    Driving, Endpoint, FRAME, Family, Hand, Heard, Link, PlayerNo, PlayerSetup, RelayNo, Way, World,
};

const PLAYERS: usize = 3;
const RELAYS: usize = 3;

/// What one player knows of the stream to and from another.
#[derive(Default, Clone, Copy, Debug)]
struct Stream {
    said: u32,
    heard: u32,
    unreliable: u32,
}

#[derive(Default)]
struct Notes {
    streams: BTreeMap<PeerId, Stream>,
    route: Option<String>,
    trouble: Vec<String>,
    quiet: bool,
}

type Shared = Rc<RefCell<Notes>>;

struct Chaos {
    seed: u64,
    world: World,
    notes: Vec<Shared>,
    log: Vec<String>,
}

impl Chaos {
    fn new(seed: u64) -> Self {
        let mut world = World::new(seed);
        let relays: Vec<_> = (0..RELAYS).map(|_| world.add_relay()).collect();
        for n in 0..PLAYERS {
            for relay in &relays {
                world.set_leg(PlayerNo(n), *relay, leg(seed));
            }
            let mut setup = PlayerSetup::new(&relays);
            setup.family = if n % 2 == 0 { Family::V4 } else { Family::V6 };
            world.add_player(setup);
        }
        let players: Vec<_> = (0..PLAYERS).map(PlayerNo).collect();
        assert!(world.bind(&players));
        let notes: Vec<Shared> = players.iter().map(|_| Shared::default()).collect();
        let mut chaos = Self { seed, world, notes, log: Vec::new() };
        for (from, to) in pairs() {
            chaos.world.connect(from, to);
            chaos.world.open(from, to, 0, Reliability::Unreliable);
            chaos.world.open(from, to, 1, Reliability::Reliable);
            let id = chaos.world.id(to);
            chaos.notes[from.0].borrow_mut().streams.insert(id, Stream::default());
        }
        let all = |world: &mut World| pairs().all(|(from, to)| world.is_connected(from, to));
        assert!(chaos.world.run_until(secs(30), all), "seed {seed}");
        for player in players {
            let game = game(Rc::clone(&chaos.notes[player.0]));
            chaos.world.take_heard(player);
            chaos.world.set_driving(player, Driving::Frames(FRAME));
            chaos.world.set_app(player, Box::new(game));
        }
        chaos
    }

    /// Lets time pass; routes that changed reach the others through the lobby.
    fn run_for(&mut self, duration: Duration) {
        let end = self.world.now() + duration;
        while self.world.now() < end {
            self.world.run_for(ms(200).min(end.since(self.world.now())));
            for (from, to) in pairs() {
                let route = self.notes[from.0].borrow().route.clone();
                if let Some(route) = route {
                    let id = self.world.id(from);
                    self.world.with(to, |to| to.update_peer(id, route.as_bytes())).ok();
                }
            }
            for notes in &self.notes {
                let mut notes = notes.borrow_mut();
                notes.route = None;
                assert!(
                    notes.trouble.is_empty(),
                    "seed {}: {:?}\n{:#?}",
                    self.seed,
                    notes.trouble,
                    self.log
                );
            }
        }
    }

    fn fault(&mut self) {
        let random = self.world.random();
        let player = PlayerNo(random.below(PLAYERS as u64) as usize);
        let relay = RelayNo(random.below(RELAYS as u64) as usize);
        let (kind, length) = (random.below(11), ms(random.below(7000)));
        self.log
            .push(format!("{:?}: fault {kind} {player:?} {relay:?} {length:?}", self.world.now()));
        match kind {
            0 => self.world.rebind(player),
            1 => {
                self.world.rebind(player);
                self.world.with(player, Endpoint::network_changed);
            }
            2 => {
                self.world.restart_relay(relay, length);
                self.run_for(length);
            }
            3 => {
                let id = self.world.relay(relay).id();
                self.world.with(player, |endpoint| endpoint.set_home(id)).unwrap();
            }
            4 => self.world.with(player, Endpoint::rotate_session),
            5 => self.world.with(player, Endpoint::network_changed),
            6 => {
                self.world.set_driving(player, Driving::Frozen);
                self.run_for(length);
                self.world.set_driving(player, Driving::Frames(FRAME));
            }
            7 => {
                let way = if length.as_micros() % 2 == 0 { Way::Up } else { Way::Down };
                self.world.set_link(player, relay, way, Link { cut: true, ..Link::default() });
                self.run_for(length);
                self.world.set_leg(player, relay, leg(self.seed));
            }
            8 => {
                for relay in (0..RELAYS).map(RelayNo) {
                    self.world.set_leg(player, relay, Link::rough(ms(60), 0.4, 0.3));
                }
                self.run_for(length);
                for relay in (0..RELAYS).map(RelayNo) {
                    self.world.set_leg(player, relay, leg(self.seed));
                }
            }
            9 => {
                self.world.stop_relay(relay);
                for player in (0..PLAYERS).map(PlayerNo) {
                    self.world.rebind(player);
                }
                self.world.start_relay(relay);
            }
            _ => {
                for player in (0..PLAYERS).map(PlayerNo) {
                    let id = self.world.relay(relay).id();
                    self.world.with(player, |endpoint| endpoint.set_home(id)).unwrap();
                }
            }
        }
        let pause = ms(500 + self.world.random().below(4000));
        self.run_for(pause);
    }

    fn converges(&mut self) {
        for (player, relay) in (0..PLAYERS).flat_map(|p| (0..RELAYS).map(move |r| (p, r))) {
            self.world.set_leg(PlayerNo(player), RelayNo(relay), Link::delayed(ms(20)));
        }
        self.run_for(secs(20));
        self.notes.iter().for_each(|notes| notes.borrow_mut().quiet = true);
        self.run_for(secs(20));
        for (from, to) in pairs() {
            let (from_id, to_id) = (self.world.id(from), self.world.id(to));
            let said = self.notes[from.0].borrow().streams[&to_id].said;
            let heard = self.notes[to.0].borrow().streams[&from_id].heard;
            assert_eq!(said, heard, "seed {}: {from:?} to {to:?}\n{:#?}", self.seed, self.log);
            assert!(said > 500, "{said}");
        }
        // And now everything is quick again.
        for (from, to) in pairs() {
            let from_id = self.world.id(from);
            let before = self.notes[to.0].borrow().streams[&from_id].unreliable;
            self.world.say(from, to, 0, b"quick");
            self.world.run_for(ms(100));
            let after = self.notes[to.0].borrow().streams[&from_id].unreliable;
            assert_eq!(
                after,
                before + 1,
                "seed {}: {from:?} to {to:?}\n{:#?}",
                self.seed,
                self.log
            );
        }
    }
}

fn pairs() -> impl Iterator<Item = (PlayerNo, PlayerNo)> {
    (0..PLAYERS)
        .flat_map(|from| (0..PLAYERS).map(move |to| (PlayerNo(from), PlayerNo(to))))
        .filter(|(from, to)| from != to)
}

fn leg(seed: u64) -> Link {
    Link::rough(ms(10 + seed % 20), 0.02, 0.02)
}

/// Says a numbered message to everybody on each channel every other frame.
fn game(notes: Shared) -> impl FnMut(&mut Hand<'_>) {
    let mut frame = 0u32;
    move |hand| {
        let mut notes = notes.borrow_mut();
        let now = hand.now;
        for heard in hand.heard.drain(..) {
            match heard {
                Heard::Message(peer, ChannelId(1), data) => {
                    let stream = notes.streams.get_mut(&peer).expect("a peer of ours");
                    let expected = stream.heard;
                    stream.heard += 1;
                    if data[..4] != expected.to_le_bytes() {
                        notes
                            .trouble
                            .push(format!("{now:?}: {:?} in place of {expected}", &data[..4]));
                    }
                }
                Heard::Message(peer, ..) => {
                    notes.streams.get_mut(&peer).expect("a peer of ours").unreliable += 1;
                }
                Heard::RouteUpdate(route) => notes.route = Some(route.to_string()),
                Heard::PeerDisconnected(..)
                | Heard::PeerConnected(_)
                | Heard::ChannelClosed(..) => {
                    notes.trouble.push(format!("{now:?}: {heard:?}"));
                }
                _ => {}
            }
        }
        frame += 1;
        if notes.quiet || frame.is_multiple_of(2) {
            return;
        }
        for (peer, stream) in &mut notes.streams {
            let mut message = stream.said.to_le_bytes().to_vec();
            message.resize(4 + (stream.said * 37 % 300) as usize, 7);
            hand.endpoint.send_message(*peer, ChannelId(0), &message).ok();
            if hand.endpoint.send_message(*peer, ChannelId(1), &message).is_ok() {
                stream.said += 1;
            }
        }
    }
}

#[test]
fn faults_break_nothing_and_everything_converges() {
    for seed in 0..12 {
        let mut chaos = Chaos::new(seed);
        for _ in 0..20 {
            chaos.fault();
        }
        chaos.converges();
    }
}
