//! The soak, where the kernel forwards. Needs root, for namespaces and for eBPF; without it this
//! test fails. It is a program of its own, as the memory that it watches is the process's.
//!
//! Seven seconds for each hook; `WAYLANE_SOAK_SECONDS=60` makes it as many.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may stop at what should not happen")]

#[allow(dead_code, reason = "not all of it is used here")]
#[path = "fast_path/net.rs"]
mod net;
#[path = "../../relay/tests/running/mod.rs"]
mod running;
#[allow(dead_code, reason = "not all of it is used here")]
#[path = "fast_path/serving.rs"]
mod serving;
mod soaking;

use core::time::Duration;

use net::Net;
use serving::start;
use soaking::{Load, lasts, not_taken, soak};
use waylane_relay::FastPathChoice;

#[test]
fn overload_loses_no_session_no_memory_and_no_count() {
    under_load(FastPathChoice::Tc);
    under_load(FastPathChoice::Xdp);
}

fn under_load(choice: FastPathChoice) {
    let net = Net::with_cards();
    // Where the peers have their addresses.
    net.world_ip("route add local 198.19.0.0/16 dev lo");
    let relay = net.in_relay(|| start(choice, 0));
    let load = Load::new(&relay, [198, 19]);
    // What found no room at the relay's end of the link, and what found none in its sockets.
    let lost = || {
        let link = net.in_world(|| not_sent(net.world()));
        link + net.in_relay(|| not_taken(load.port()))
    };
    let soaked = net.in_world(|| soak(&format!("{choice:?}"), relay, &load, lost, lasts(EACH)));
    let received = soaked.counters.received();
    assert!(received <= soaked.sent && soaked.sent <= received + soaked.lost, "{soaked:?}");
    // All data between live sessions, but for what came while they moved.
    let fast = soaked.counters.fast_path.forward.forwarded;
    assert!(fast * 10 > soaked.counters.forwarded() * 9, "{soaked:?}");
}

/// What an interface of this namespace could not send.
fn not_sent(interface: &str) -> u64 {
    let table = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap();
    let mut rows = table.lines().filter_map(|line| line.trim().split_once(':'));
    let (_, row) = rows.find(|(name, _)| *name == interface).unwrap();
    // Eight columns of what was received, then packets, bytes, errors and drops of what was sent.
    row.split_whitespace().nth(11).unwrap().parse().unwrap()
}

const EACH: Duration = Duration::from_secs(7);
