//! Players in one namespace, a relay in the other, and the kernel's programs between them.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Instant;

use aya::programs::{SchedClassifier, TcAttachType};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};
use waylane_core::id::SessionId;
use waylane_core::wire::hop::ControlMessage;
use waylane_relay::{FastPathChoice, RelayCounters};
use waylane_runtime_linux::back_end;

use crate::logged::logged;
use crate::net::{Net, PLAYERS};
use crate::running::client::{Hop as _, data};
use crate::running::{Running, Socket};
use crate::serving::{config, player, start, two_players};

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

/// As containers refuse it; the workers then do it all.
#[test]
fn where_the_kernel_refuses_ebpf_the_workers_forward() {
    let net = Net::new();
    let (relay, log) = net.in_relay(|| {
        apply_filter(&without_ebpf()).unwrap();
        logged(|| start(FastPathChoice::Xdp, 0))
    });
    let told = "no fast path, the workers forward everything: ";
    assert_eq!(log.matches(told).count(), 1, "{log}");
    assert!(log.contains("Operation not permitted"), "{log}");
    net.in_world(|| {
        let ([near, far], clients) = two_players(&relay, 0);
        exchange(&near, &far, &datagrams(clients[1].session, 1, 0));
    });
    assert_eq!(relay.stop().counters().fast_path_percent(), 0);
}

/// Routes that go and come back, and a neighbour that becomes another.
#[test]
fn next_hops_are_the_kernels() {
    let net = Net::with_cards();
    let relay = net.in_relay(|| start(FastPathChoice::Xdp, 0));
    net.in_world(|| {
        let ([near, far], clients) = two_players(&relay, 0);
        let to_far = data(clients[1].session);
        exchange(&near, &far, core::slice::from_ref(&to_far));

        let before = relay.handle.counters();
        net.relay_ip("route del 198.18.0.0/15");
        until(|| {
            near.socket.send(&to_far).unwrap();
            drops(&relay.handle.counters())["send_unreachable"] > 0
        });
        assert_eq!(before.workers.send_failed.unreachable, 0);

        net.relay_ip(&format!("route add 198.18.0.0/15 via {}", PLAYERS[0][0]));
        let fast = relay.handle.counters().fast_path.forward.forwarded;
        until(|| {
            near.socket.send(&to_far).unwrap();
            relay.handle.counters().fast_path.forward.forwarded > fast
        });

        // The gateway is given another hardware address, and so is what it is known by.
        net.world_ip(&format!("link set {} address {OTHER_MAC}", net.world()));
        net.relay_ip(&format!(
            "neigh replace {} lladdr {OTHER_MAC} dev {} nud permanent",
            PLAYERS[0][0],
            net.interface()
        ));
        while far.socket.set_nonblocking(true).is_ok() && far.receive().is_some() {}
        let fast = relay.handle.counters().fast_path.forward.forwarded;
        until(|| {
            near.socket.send(&to_far).unwrap();
            far.receive().is_some() && relay.handle.counters().fast_path.forward.forwarded > fast
        });
    });
    relay.stop();
}

/// The rules that the relay reads again are the kernel's too.
#[test]
fn budgets_change_in_the_kernel() {
    let net = Net::with_cards();
    let relay = net.in_relay(|| start(FastPathChoice::Xdp, 0));
    net.in_world(|| {
        let ([near, _], clients) = two_players(&relay, 0);
        let mut config = config(FastPathChoice::Xdp, 0);
        (config.packets_per_second, config.burst_ms) = (1, 1000);
        relay.handle.reload(&config).unwrap();
        until(|| {
            near.socket.send(&data(clients[1].session)).unwrap();
            relay.handle.counters().fast_path.forward.over_budget > 0
        });
    });
    assert_eq!(relay.stop().counters().workers.forward.forwarded, 0);
}

/// XDP has room for one program only, so the relay before has to make place.
#[test]
fn an_upgrade_hands_the_hook_over_and_loses_nothing() {
    for choice in [FastPathChoice::Xdp, FastPathChoice::Tc] {
        let net = Net::with_cards();
        let directory = tempfile::tempdir().unwrap();
        let mut config = config(choice, 0);
        config.handover_socket = Some(directory.path().join("handover"));
        let start = || net.in_relay(|| Running::start(&config, back_end).unwrap());
        let first = start();
        net.in_world(|| {
            let ([near, far], clients) = two_players(&first, 0);
            let session = clients[1].session;
            let stop = AtomicBool::new(false);
            let last = thread::scope(|scope| {
                let sent = scope.spawn(|| {
                    for n in 0..MOST {
                        let last = stop.load(Ordering::Relaxed) || n + 1 == MOST;
                        near.socket.send(&numbered(session, n, last)).unwrap();
                        if last {
                            return n + 1;
                        }
                        thread::park_timeout(Duration::from_micros(300));
                    }
                    MOST
                });
                // What waited in a socket may be behind what the kernel then forwards.
                let received = scope.spawn(|| {
                    let (mut numbers, mut sent) = (BTreeSet::new(), usize::MAX);
                    while numbers.len() < sent {
                        let datagram = far.receive().expect("nothing is lost");
                        let n = u32::from_le_bytes(datagram[8..12].try_into().unwrap());
                        assert!(numbers.insert(n), "{n} came twice");
                        if datagram[12] == 1 {
                            sent = n as usize + 1;
                        }
                    }
                    numbers.len() as u32
                });
                let serves = |relay: &Running| {
                    until(|| relay.handle.counters().fast_path.forward.forwarded > 100);
                };
                serves(&first);
                let second = start();
                first.thread.join().unwrap();
                serves(&second);
                let third = start();
                second.thread.join().unwrap();
                serves(&third);
                assert_eq!(programs(&net), [choice], "not what comes next below it");
                stop.store(true, Ordering::Relaxed);
                assert_eq!(received.join().unwrap(), sent.join().unwrap());
                third
            });
            let counters = last.stop().counters();
            assert_eq!(counters.workers.forward.unbound, 0, "{counters:?}");
        });
    }
}

#[test]
fn a_relay_that_is_killed_leaves_no_program_behind() {
    for (choice, name) in [(FastPathChoice::Xdp, "xdp"), (FastPathChoice::Tc, "tc")] {
        let net = Net::with_cards();
        let mut relay = net.in_relay(|| {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(["--exact", "end_to_end::a_relay_to_be_killed", "--ignored"]);
            command.env(TO_BE_KILLED, name).stdout(Stdio::null()).spawn().unwrap()
        });
        until(|| programs(&net) == [choice]);
        // SIGKILL: it has no time for anything.
        relay.kill().unwrap();
        relay.wait().unwrap();
        until(|| programs(&net).is_empty());
    }
}

#[test]
#[ignore = "the test above starts it as a process of its own, and kills it"]
fn a_relay_to_be_killed() {
    let choice = match &*std::env::var(TO_BE_KILLED).expect("which fast path") {
        "xdp" => FastPathChoice::Xdp,
        _ => FastPathChoice::Tc,
    };
    start(choice, 0).thread.join().unwrap();
}

/// What is attached at the relay's interface.
fn programs(net: &Net) -> Vec<FastPathChoice> {
    let shown = net.shown();
    let xdp = shown.contains("\"xdp\"").then_some(FastPathChoice::Xdp);
    let at_tc = net.in_relay(|| SchedClassifier::query_tcx(net.interface(), TcAttachType::Ingress));
    let tc = (!at_tc.unwrap().1.is_empty()).then_some(FastPathChoice::Tc);
    xdp.into_iter().chain(tc).collect()
}

fn numbered(to: SessionId, n: u32, last: bool) -> Vec<u8> {
    let mut datagram = data(to);
    datagram[8..12].copy_from_slice(&n.to_le_bytes());
    datagram[12] = u8::from(last);
    datagram
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
        let ([near, far], mut clients) = two_players(&relay, family);
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
        let fast = counters.fast_path.forward.forwarded - bound.fast_path.forward.forwarded;
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
    assert!(unbound >= 2 && counters.fast_path.forward.unbound == 0, "{counters:?}");
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

/// Does it until it is so; what the kernel is told takes some milliseconds to be copied.
fn until(mut is_so: impl FnMut() -> bool) {
    let give_up = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < give_up, "it does not come to be so");
        thread::yield_now();
    }
}

/// Refuses eBPF as containers do.
fn without_ebpf() -> BpfProgram {
    let rules = BTreeMap::from([(libc::SYS_bpf, vec![])]);
    let refuse = SeccompAction::Errno(libc::EPERM as u32);
    let arch = std::env::consts::ARCH.try_into().unwrap();
    SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch).unwrap().try_into().unwrap()
}

/// A minute's, so that a test that fails ends.
const MOST: u32 = 200_000;
const TO_BE_KILLED: &str = "WAYLANE_TEST_FAST_PATH";
const OTHER_MAC: &str = "02:00:00:00:00:77";

fn drops(counters: &RelayCounters) -> BTreeMap<&'static str, u64> {
    counters.drops().collect()
}
