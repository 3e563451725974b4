//! The real program with the kernel's fast path, between two network namespaces: a relay in one,
//! the demo's players in the other. Needs root and iproute2; without them these tests fail.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, too")]

#[allow(dead_code, reason = "not all of it is used here")]
#[path = "program/running.rs"]
mod running;

use core::sync::atomic::{AtomicU32, Ordering};
use std::process::Command;

use running::{Running, command, scratch};
use serde_json::Value;

#[test]
fn auto_serves_real_clients_by_what_a_pair_of_interfaces_can() {
    serves("auto", Link::Pair, "fast path by tc at ");
}

#[test]
fn tc_serves_real_clients() {
    serves("tc", Link::Pair, "fast path by tc at ");
}

#[test]
fn xdp_serves_real_clients() {
    serves("xdp", Link::LongPackets, "fast path by generic XDP at ");
}

#[test]
fn off_serves_real_clients() {
    serves("off", Link::Pair, "workers workers=2");
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Link {
    Pair,
    /// At an end whose other end has these, the driver has no XDP.
    LongPackets,
}

fn serves(fast_path: &str, link: Link, says: &str) {
    let net = Net::new(link);
    for (address, announced) in
        [("198.18.0.1:0", "@198.18.0.1:"), ("[2001:2::1]:0", "@[2001:2::1]:")]
    {
        let key = scratch(&format!("fast-{fast_path}.key"));
        let key = key.to_str().unwrap();
        let flags = ["--mode=open", "--workers=2", "--key-file", key, "--listen", address];
        let fast_path = ["--fast-path", fast_path, "--interface", &net.relay];
        let mut relay = Running::of(net.inside(&net.relay, &["relay"], &flags, &fast_path));
        relay.err.with(says);
        let entry = relay.out.with(announced);
        let demo = ["--json", "--seconds=2", "--relay", entry.trim()];
        let output = net.inside(&net.world, &["demo"], &demo, &[]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}\n{}", relay.err);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        for player in report["players"].as_array().unwrap() {
            assert_eq!(player["channels"]["1"]["messages_received"], 14, "{report}");
            assert_eq!(player["channels"]["0"]["messages_received"], 120, "{report}");
        }
    }
}

/// Two namespaces with a pair of interfaces between them; gone when this is dropped.
struct Net {
    relay: String,
    world: String,
}

impl Net {
    fn new(link: Link) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let mark = format!("{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let net = Self { relay: format!("cr{mark}"), world: format!("cw{mark}") };
        let Self { relay, world } = &net;
        ip(&format!("netns add {relay}"));
        ip(&format!("netns add {world}"));
        ip(&format!("link add {relay} netns {relay} type veth peer name {world} netns {world}"));
        if link == Link::LongPackets {
            ip(&format!("-n {world} link set {world} mtu 9000"));
        }
        for (name, own4, own6) in
            [(relay, "198.18.0.1", "2001:2::1"), (world, "198.18.0.2", "2001:2::2")]
        {
            ip(&format!("-n {name} link set lo up"));
            ip(&format!("-n {name} link set {name} up"));
            ip(&format!("-n {name} addr add {own4}/30 dev {name}"));
            ip(&format!("-n {name} addr add {own6}/64 dev {name} nodad"));
        }
        net
    }

    /// The program, in a namespace.
    fn inside(&self, namespace: &str, verb: &[&str], some: &[&str], more: &[&str]) -> Command {
        let mut ip = Command::new("ip");
        ip.args(["netns", "exec", namespace]).arg(command(&[]).get_program());
        ip.args([verb, some, more].concat());
        ip
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for name in [&self.relay, &self.world] {
            drop(Command::new("ip").args(["netns", "del", name]).status());
        }
    }
}

fn ip(line: &str) {
    let output = Command::new("ip").args(line.split(' ')).output().unwrap();
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {line}: {why}(this test needs root and iproute2)");
}
