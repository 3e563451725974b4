//! Whole relays over this system's back ends: with several workers, and where much is refused.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may stop at what should not happen")]

mod logged;
#[path = "../../relay/tests/running/mod.rs"]
mod running;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use logged::logged;
use running::client::{Client, data};
use running::{Running, Socket};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter,
};
#[cfg(not(feature = "ebpf"))]
use waylane_relay::FastPathChoice;
use waylane_relay::{Config, IoChoice};
use waylane_runtime_linux::back_end;

#[test]
fn workers_serve_everybody_whoever_bound_where() {
    let _alone = alone();
    for io in [IoChoice::Auto, IoChoice::Uring, IoChoice::Mmsg, IoChoice::Std] {
        for listen in ["127.0.0.1:0", "[::1]:0"] {
            let mut config = dev(listen, io);
            (config.workers, config.pin) = (3, true);
            if let Some(relay) = Running::start(&config, back_end) {
                everybody_hears_everybody(&relay);
                let counters = relay.stop().counters();
                let done = counters.forwarded() + counters.owner.control.consumed();
                assert_eq!(counters.workers.received, done + counters.dropped(), "{counters:?}");
            }
        }
    }
}

#[test]
fn what_a_container_refuses_is_said_once_and_done_without() {
    let _alone = alone();
    // io_uring, bpf, segmentation, huge pages and merging: as strict containers are.
    let ((), log) = thread::spawn(|| {
        // The relay's threads inherit the filter, as the container's would.
        apply_filter(&strict()).unwrap();
        logged(|| {
            for io in [IoChoice::Uring, IoChoice::Auto] {
                let relay = Running::start(&dev("127.0.0.1:0", io), back_end).unwrap();
                everybody_hears_everybody(&relay);
                relay.stop();
            }
        })
    })
    .join()
    .unwrap();
    for (words, times) in [
        ("uring is not to be had here: Operation not permitted", 2),
        ("sockets by mmsg, the others are refused", 2),
        ("the system does not segment", 1),
        ("tables in ordinary pages", 2),
    ] {
        assert_eq!(log.matches(words).count(), times, "{words:?} in:\n{log}");
    }
}

#[cfg(not(feature = "ebpf"))]
#[test]
fn a_fast_path_that_is_not_built_in_is_an_error_only_where_it_is_asked_for() {
    let _alone = alone();
    for choice in [FastPathChoice::Xdp, FastPathChoice::Tc] {
        let mut config = dev("127.0.0.1:0", IoChoice::Std);
        config.fast_path = choice;
        let Err(error) = waylane_relay::Relay::over(&config, back_end) else { panic!("it starts") };
        assert!(error.to_string().contains("--features ebpf"), "{error}");
    }
    for choice in [FastPathChoice::Auto, FastPathChoice::Off] {
        let mut config = dev("127.0.0.1:0", IoChoice::Std);
        config.fast_path = choice;
        waylane_relay::Relay::over(&config, back_end).unwrap();
    }
}

/// Waits until no other test starts relays: while one thread listens to what is logged, another
/// that comes to a place in the code first has `tracing` take it for one that nobody listens to.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn everybody_hears_everybody(relay: &Running) {
    let mut sockets: Vec<Socket> = (0..5).map(|_| Socket::new(relay)).collect();
    let mut clients: Vec<Client> =
        sockets.iter_mut().zip(1..).map(|(socket, n)| socket.bound(n)).collect();
    all_to_all(&sockets, &clients);
    // Each goes on from another port, which may be another worker's.
    let mut moved: Vec<Socket> = (0..5).map(|_| Socket::new(relay)).collect();
    for (client, socket) in clients.iter_mut().zip(&mut moved) {
        let session = client.session;
        client.address = socket.socket.local_addr().unwrap();
        assert!(client.recover(socket, session) <= 3);
        assert_eq!(client.session, session);
    }
    all_to_all(&moved, &clients);
}

fn all_to_all(sockets: &[Socket], clients: &[Client]) {
    for (to, heard) in clients.iter().zip(sockets) {
        for (from, socket) in sockets.iter().enumerate() {
            if socket.socket.local_addr().unwrap() == heard.socket.local_addr().unwrap() {
                continue;
            }
            let mut datagram = data(to.session);
            datagram[20] = from as u8;
            socket.socket.send(&datagram).unwrap();
            assert_eq!(heard.receive(), Some(datagram));
        }
    }
}

fn dev(listen: &str, io: IoChoice) -> Config {
    let mut config = Config::dev();
    config.listen = vec![listen.parse().unwrap()];
    config.io = io;
    config
}

/// Refuses what strict containers do.
fn strict() -> BpfProgram {
    let option = |level: i32, option: i32| {
        let is = |n, value: i32| {
            let op = SeccompCmpOp::Eq;
            SeccompCondition::new(n, SeccompCmpArgLen::Dword, op, value as u64).unwrap()
        };
        SeccompRule::new(vec![is(1, level), is(2, option)]).unwrap()
    };
    let options =
        vec![option(libc::SOL_UDP, libc::UDP_SEGMENT), option(libc::SOL_UDP, libc::UDP_GRO)];
    let rules = BTreeMap::from([
        (libc::SYS_io_uring_setup, vec![]),
        (libc::SYS_bpf, vec![]),
        (libc::SYS_madvise, vec![]),
        (libc::SYS_setsockopt, options),
    ]);
    let refuse = SeccompAction::Errno(libc::EPERM as u32);
    let arch = std::env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch).unwrap();
    filter.try_into().unwrap()
}
