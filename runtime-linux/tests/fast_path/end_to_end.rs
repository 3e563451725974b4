//! Players in one namespace, a relay in the other, and the kernel's programs between them.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeMap;
use std::thread;
use std::time::Instant;

use waylane_core::id::SessionId;
use waylane_core::wire::hop::ControlMessage;
use waylane_relay::{Config, FastPathChoice, RelayCounters};
use waylane_runtime_linux::back_end;

use crate::net::{Net, PLAYERS, RELAY};
use crate::running::client::{Hop as _, data};
use crate::running::{Running, Socket};

#[test]
fn tc_forwards_ipv4() {
    everything_between_two_players(FastPathChoice::Tc, 0, Traffic::Whole);
}

#[test]
fn tc_forwards_ipv6() {
    everything_between_two_players(FastPathChoice::Tc, 1, Traffic::Whole);
}

#[test]
fn native_xdp_forwards_ipv4() {
    everything_between_two_players(FastPathChoice::Xdp, 0, Traffic::Whole);
}

#[test]
fn native_xdp_forwards_ipv6() {
    everything_between_two_players(FastPathChoice::Xdp, 1, Traffic::Whole);
}

#[test]
fn generic_xdp_serves_where_the_driver_refuses() {
    everything_between_two_players(FastPathChoice::Xdp, 0, Traffic::Jumbo);
    everything_between_two_players(FastPathChoice::Xdp, 1, Traffic::Jumbo);
}

#[test]
fn the_kernel_gets_what_a_neighbour_left_to_hardware() {
    everything_between_two_players(FastPathChoice::Tc, 0, Traffic::Offloaded);
    everything_between_two_players(FastPathChoice::Tc, 1, Traffic::Offloaded);
    everything_between_two_players(FastPathChoice::Xdp, 0, Traffic::Offloaded);
    everything_between_two_players(FastPathChoice::Xdp, 1, Traffic::Offloaded);
}

#[test]
fn off_is_off() {
    everything_between_two_players(FastPathChoice::Off, 0, Traffic::Whole);
}

/// How the players' packets look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Traffic {
    /// As a network card's.
    Whole,
    /// As a pair of interfaces': without checksums, which hardware would fill in.
    Offloaded,
    /// As a network card's, behind a link of long packets, for which the driver has no XDP.
    Jumbo,
}

fn everything_between_two_players(choice: FastPathChoice, family: usize, traffic: Traffic) {
    let mut net = Net::new();
    if traffic != Traffic::Offloaded {
        net.whole_checksums();
    }
    if traffic == Traffic::Jumbo {
        net.world_ip(&format!("link set {} mtu 9000", net.world()));
    } else {
        net.take_xdp();
    }
    let relay = net.in_relay(|| start(choice, family));
    // What has no checksum yet the worker does; all else is in the kernel, to the last datagram.
    let in_kernel = choice != FastPathChoice::Off && traffic != Traffic::Offloaded;
    net.in_world(|| {
        let [mut near, mut far] = PLAYERS[family].map(|own| player(&relay, own));
        let mut clients = [near.bound(1), far.bound(2)];
        let to = [clients[0].session, clients[1].session];
        let bound = relay.handle.counters();

        // Bytes and order, both ways, in sizes that change all the time.
        let mut sent = 0;
        for round in 0..20u32 {
            let there = datagrams(to[1], round, family);
            let back = datagrams(to[0], round + 1000, family);
            exchange(&near, &far, &there);
            exchange(&far, &near, &back);
            sent += (there.len() + back.len()) as u64;
        }
        let counters = settled(&relay, bound.forwarded() + sent);
        let fast = counters.fast_path.forwarded - bound.fast_path.forwarded;
        assert_eq!(counters.forwarded() - bound.forwarded(), sent);
        assert_eq!(fast, if in_kernel { sent } else { 0 }, "{counters:?}");

        // To itself, to nobody, and from nobody.
        near.socket.send(&data(to[0])).unwrap();
        let mut nobody = data(to[1]);
        nobody[4] ^= 1;
        near.socket.send(&nobody).unwrap();
        let stranger = player(&relay, PLAYERS[family][0]);
        stranger.socket.send(&data(to[1])).unwrap();
        let hint = stranger.receive().unwrap();
        assert!(hint.len() < 60, "a stranger is told that it has no session, and nothing else");
        exchange(&near, &far, &[data(to[1])]);

        // A session that moves is at its new address at once, and no longer at the old one.
        let moved = player(&relay, PLAYERS[family][0]);
        clients[1].address = moved.socket.local_addr().unwrap();
        let mut moved = moved;
        clients[1].recover(&mut moved, to[1]);
        exchange(&near, &moved, &datagrams(to[1], 7, family));
        far.socket.send(&data(to[0])).unwrap();
        assert!(
            far.receive().is_some_and(|hint| hint.len() < 60),
            "the old address is a stranger's"
        );
        nothing_comes(&near);

        // One that ends is nowhere.
        let unbind = clients[1].control(ControlMessage::Unbind);
        drop(moved.exchange(clients[1].address, &unbind));
        near.socket.send(&data(to[1])).unwrap();
        nothing_comes(&moved);
        let dropped = drops(&relay.handle.counters());
        assert_eq!((dropped["to_itself"], dropped["no_destination"]), (1, 2));
        assert_eq!(dropped["malformed"], 0);
    });
    let counters = relay.stop().counters();
    let done = counters.forwarded() + counters.owner.control.consumed();
    assert_eq!(counters.received(), done + counters.dropped(), "{counters:?}");
    let unbound = counters.workers.forward.unbound;
    assert!(unbound >= 2 && counters.fast_path.unbound == 0, "{counters:?}");
}

/// A relay at an address of this namespace.
pub(crate) fn start(choice: FastPathChoice, family: usize) -> Running {
    // What it chose stands in a failed test's output.
    drop(tracing_subscriber::fmt().with_test_writer().try_init());
    let mut config = Config::dev();
    config.mode = waylane_relay::Mode::Open;
    config.listen = vec![SocketAddr::new(RELAY[family].parse().unwrap(), 0)];
    config.key_file = Some(std::env::temp_dir().join(format!("waylane-{}", std::process::id())));
    config.fast_path = choice;
    config.sessions = 1000;
    Running::start(&config, back_end).unwrap()
}

/// A player's socket at `own`.
fn player(relay: &Running, own: &str) -> Socket {
    Socket::at(relay, own.parse().unwrap())
}

/// Some datagrams of all sizes that differ in every byte they may.
fn datagrams(to: SessionId, seed: u32, family: usize) -> Vec<Vec<u8>> {
    let longest = [1472, 1452][family];
    (0..8)
        .map(|n| {
            let number = seed * 8 + n;
            let len = 28 + (number as usize * 211) % (longest - 28);
            let mut datagram: Vec<u8> =
                (0..len).map(|i| (i as u32).wrapping_mul(number + 3) as u8).collect();
            datagram[0] = 0x80 + (number % 8) as u8;
            datagram[1..8].copy_from_slice(&to.to_bytes());
            datagram
        })
        .collect()
}

fn exchange(from: &Socket, to: &Socket, datagrams: &[Vec<u8>]) {
    for datagram in datagrams {
        from.socket.send(datagram).unwrap();
    }
    for (number, datagram) in datagrams.iter().enumerate() {
        let came = to.receive();
        let told = came.as_ref().map(Vec::len);
        let len = datagram.len();
        assert!(came.as_ref() == Some(datagram), "number {number}, {len} bytes: {told:?} came");
    }
}

/// Whatever was sent before has been answered for, and nothing of it comes here.
fn nothing_comes(socket: &Socket) {
    socket.socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert_eq!(socket.receive(), None);
    socket.socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
}

/// The counters, once a worker has shown that so many are forwarded: it does so after it has sent.
fn settled(relay: &Running, forwarded: u64) -> RelayCounters {
    let give_up = Instant::now() + Duration::from_secs(5);
    loop {
        let counters = relay.handle.counters();
        if counters.forwarded() >= forwarded || Instant::now() > give_up {
            return counters;
        }
        thread::yield_now();
    }
}

fn drops(counters: &RelayCounters) -> BTreeMap<&'static str, u64> {
    counters.drops().collect()
}
