//! No player learns another's address, and nobody on the way reads a message.
// Helpers here are parts of tests too; the lint knows only functions marked as such.
#![allow(clippy::unwrap_used)]

mod common;

use core::cell::{Cell, RefCell};
use core::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use common::{contains, ms, secs};
use waylane_core::id::Reliability;
use waylane_core::route::Route;
use waylane_sim::{A, B, Endpoint, Family, Link, PlayerNo, PlayerSetup, R, World, watch_opened};

/// Every form in which an address might travel.
fn forms(address: SocketAddr) -> Vec<Vec<u8>> {
    let reversed = |bytes: &[u8]| bytes.iter().rev().copied().collect::<Vec<u8>>();
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut forms = vec![address.ip().to_string().into_bytes()];
    match address.ip() {
        IpAddr::V4(ip) => {
            let octets = ip.octets();
            forms.extend([octets.to_vec(), reversed(&octets)]);
            forms.extend([hex(&octets), hex(&octets).to_uppercase()].map(String::into_bytes));
            forms.push(u32::from(ip).to_string().into_bytes());
        }
        IpAddr::V6(ip) => {
            let octets = ip.octets();
            // The half that names the host is enough to give it away.
            forms.extend([octets[8..].to_vec(), reversed(&octets[8..])]);
            let pairs: Vec<u8> = octets.chunks(2).flat_map(|pair| [pair[1], pair[0]]).collect();
            let words: Vec<u8> =
                octets.chunks(4).flat_map(|word| word.iter().rev().copied()).collect();
            forms.extend([pairs[8..].to_vec(), words[8..].to_vec()]);
            forms.extend(
                [hex(&octets[8..]), hex(&octets[8..]).to_uppercase()].map(String::into_bytes),
            );
        }
    }
    forms
}

/// What must not be seen by whom.
#[derive(Default)]
struct Forbidden {
    addresses: [Vec<Vec<u8>>; 2],
    messages: Vec<Vec<u8>>,
    scanned: [usize; 2],
    opened: [usize; 2],
    found: Vec<String>,
}

impl Forbidden {
    fn address_of(&mut self, player: PlayerNo, world: &World) {
        self.addresses[player.0].extend(forms(world.address(player)));
    }

    fn scan(&mut self, player: PlayerNo, bytes: &[u8], opened: bool) {
        let other = 1 - player.0;
        for form in &self.addresses[other] {
            if contains(bytes, form) {
                self.found.push(format!("{player:?} sees the address {form:02x?} in {bytes:02x?}"));
            }
        }
        if opened {
            self.opened[player.0] += 1;
            return;
        }
        self.scanned[player.0] += 1;
        for message in &self.messages {
            if contains(bytes, &message[..12]) || contains(bytes, &message[message.len() - 12..]) {
                self.found.push(format!("{player:?} sends or receives {message:02x?} in clear"));
            }
        }
    }
}

fn a_whole_life(seed: u64, families: [Family; 2]) {
    let forbidden: Rc<RefCell<Forbidden>> = Rc::default();
    let who: Rc<Cell<Option<PlayerNo>>> = Rc::default();
    let (tapped, current, watched, reader) =
        (forbidden.clone(), who.clone(), forbidden.clone(), who);
    // What a player opens right after it received a datagram is what that datagram told it.
    let watch = move |text: &[u8]| {
        if let Some(player) = reader.get() {
            watched.borrow_mut().scan(player, text, true);
        }
    };
    watch_opened(watch, || {
        let mut world = World::pair_of(seed, Link::rough(ms(40), 0.05, 0.05), |player, setup| {
            setup.family = families[player.0];
        });
        world.set_tap(Box::new(move |sight| {
            current.set(Some(sight.player));
            tapped.borrow_mut().scan(sight.player, sight.bytes, false);
        }));
        let learn = |world: &World| {
            for player in [A, B] {
                forbidden.borrow_mut().address_of(player, world);
            }
        };
        learn(&world);
        assert!(world.bind(&[A, B]));
        world.introduce(A, B);
        for (player, other) in [(A, B), (B, A)] {
            world.open(player, other, 0, Reliability::Unreliable);
            world.open(player, other, 1, Reliability::Reliable);
        }
        for round in 0..60 {
            for (from, to) in [(A, B), (B, A)] {
                for channel in [0, 1] {
                    let mut message = vec![0; 32 + world.random().below(3000) as usize];
                    world.random().fill(&mut message);
                    forbidden.borrow_mut().messages = vec![message.clone()];
                    let _may_be_full = world.send(from, to, channel, &message);
                    world.flush(from);
                    world.run_for(ms(60));
                }
            }
            match round {
                10 => world.rebind(A),
                20 => world.restart_relay(R, ms(500)),
                30 => world.rebind(B),
                40 => world.with(A, Endpoint::rotate_session),
                50 => world.with(B, Endpoint::network_changed),
                _ => {}
            }
            learn(&world);
        }
        world.run_for(secs(40));
        let id = world.id(B);
        world.with(A, |a| a.disconnect_peer(id)).unwrap();
        world.with(B, Endpoint::shutdown);
        world.run_for(secs(5));
    });
    let forbidden = forbidden.borrow();
    assert!(forbidden.found.is_empty(), "{}", forbidden.found.join("\n"));
    assert!(forbidden.scanned.iter().all(|scanned| *scanned > 200), "{:?}", forbidden.scanned);
    assert!(forbidden.opened.iter().all(|opened| *opened > 100), "{:?}", forbidden.opened);
}

#[test]
fn no_datagram_holds_the_other_players_address_or_a_message_in_clear() {
    a_whole_life(1, [Family::V4, Family::V6]);
    a_whole_life(2, [Family::V4, Family::V4]);
    a_whole_life(3, [Family::V6, Family::V6]);
}

/// Everything that an application can read of relays, paths and routes.
fn readable(world: &World, me: PlayerNo, other: PlayerNo) -> Vec<u8> {
    let endpoint = world.endpoint(me);
    let route = endpoint.route().unwrap();
    let mut bytes = [0; Route::LEN_MAX];
    let len = route.encode(&mut bytes).unwrap();
    let mut all = bytes[..len].to_vec();
    all.extend(format!("{route} {route:?} {:?}", world.stats(me, other)).bytes());
    all.extend(endpoint.relays().flat_map(|status| format!("{status:?}").into_bytes()));
    all.extend(format!("{:?} {:?}", endpoint.counters(), world.heard(me)).bytes());
    all
}

#[test]
fn no_route_statistic_or_event_holds_a_players_address() {
    for (seed, families) in [(4, [Family::V4; 2]), (5, [Family::V4, Family::V6])] {
        let mut world = World::new(seed);
        let relays = [world.add_relay(), world.add_relay()];
        for family in families {
            world.add_player(PlayerSetup { family, ..PlayerSetup::new(&relays) });
        }
        assert!(world.bind(&[A, B]));
        world.introduce(A, B);
        world.open(A, B, 1, Reliability::Reliable);
        world.open(B, A, 1, Reliability::Reliable);
        let mut addresses = Vec::new();
        for round in 0..24 {
            let relay = world.relay(relays[round / 4 % 2]).id();
            match round % 6 {
                1 => world.rebind(A),
                3 => world.restart_relay(relays[0], ms(500)),
                5 => world.with(B, Endpoint::network_changed),
                _ => {
                    let mover = if round % 4 == 0 { A } else { B };
                    world.with(mover, |me| me.set_home(relay)).unwrap();
                }
            }
            world.say(A, B, 1, b"hello");
            addresses.extend([A, B].map(|player| world.address(player)));
            world.run_for(secs(3));
            for (me, other) in [(A, B), (B, A)] {
                let readable = readable(&world, me, other);
                for form in addresses.iter().flat_map(|address| forms(*address)) {
                    assert!(!contains(&readable, &form), "{form:02x?} in {readable:?}");
                }
            }
        }
        assert!(world.stats(A, B).unwrap().path_switches > 2);
    }
}

#[test]
fn the_scan_finds_what_it_looks_for() {
    for text in ["198.18.7.9:5000", "[2001:db8:1::1234:5678:9abc]:5000"] {
        let address: SocketAddr = text.parse().unwrap();
        for form in forms(address) {
            let mut datagram = vec![0xaa; 100];
            datagram.splice(40..40, form.clone());
            assert!(contains(&datagram, &form));
            assert!(!contains(&[0xaa; 100], &form));
        }
    }
}
