//! Instructions for a message, by callgrind: the difference between few and many repetitions, so
//! that preparing does not count.

use core::time::Duration;
use std::process::Command;
use std::sync::Arc;

use waylane_benches::{RELIABLE, Sessions, UNRELIABLE, World};
use waylane_crypto::Seeded;
use waylane_crypto::ring::Ring;

use crate::node::Node;
use crate::peer::Channel;
use crate::quic::{OTHER, configs, epoch};

/// Prints a row for each kind of message, Waylane and quinn side by side: whole milliseconds in
/// which the messages are sent, and what that is for each message beyond a millisecond in which
/// none is.
///
/// # Errors
/// When valgrind is missing or says nothing.
pub fn print() -> Result<(), String> {
    println!("| 100 B | waylane | quinn | ratio | waylane, each | quinn, each | ratio |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: |");
    let idle = [measure("waylane", "unreliable", 0)?, measure("quinn", "unreliable", 0)?];
    println!("| idle | {} | {} | | | | |", idle[0], idle[1]);
    for (channel, count) in
        [("unreliable", 1), ("unreliable", 12), ("reliable", 1), ("reliable", 12)]
    {
        let ours = measure("waylane", channel, count)?;
        let theirs = measure("quinn", channel, count)?;
        let each = |all: u64, idle: u64| all.saturating_sub(idle) / u64::from(count);
        let (our, their) = (each(ours, idle[0]), each(theirs, idle[1]));
        println!(
            "| {channel}, {count} per flush | {ours} | {theirs} | {:.2} | {our} | {their} | {:.2} |",
            ours as f64 / theirs as f64,
            our as f64 / their as f64,
        );
    }
    let relay = measure("relay", "unreliable", 1)?;
    println!("| a relay's part, each datagram | {relay} | | | | | |");
    Ok(())
}

/// Does it `times` times; `None` if there is no such scenario.
#[must_use]
pub fn repeat(library: &str, channel: &str, count: u32, times: u32) -> Option<()> {
    let channel = match channel {
        "unreliable" => Channel::Unreliable,
        "reliable" => Channel::Reliable,
        _ => return None,
    };
    match library {
        "waylane" => waylane(channel, count, times),
        "quinn" => quinn(channel, count, times),
        "relay" => relay(times),
        _ => return None,
    }
    Some(())
}

/// Both ends, the relay between them, acknowledgements, and a millisecond passing.
fn waylane(channel: Channel, count: u32, times: u32) {
    let channel = if channel == Channel::Reliable { RELIABLE } else { UNRELIABLE };
    let mut world = World::connected(|seed| Ring::with_random(Seeded::new(seed)));
    for _ in 0..times {
        assert_eq!(world.exchange(channel, count as usize, 100), u64::from(count));
    }
}

/// One datagram of a message after another, of a thousand sessions.
fn relay(times: u32) {
    let sessions = Sessions::new(1000, 130);
    let forwarder = sessions.forwarder();
    let mut now = waylane_core::time::Instant::ZERO;
    for (from, bytes) in sessions.datagrams().iter().cycle().take(times as usize) {
        now += Duration::from_micros(10);
        core::hint::black_box(forwarder.forward(now, *from, bytes));
    }
}

/// Both ends, acknowledgements, and a millisecond passing.
fn quinn(channel: Channel, count: u32, times: u32) {
    let (client, server) = configs(false);
    let mut now = epoch();
    let mut ends = [Node::new(1, None), Node::new(2, Some(Arc::new(server)))];
    ends[0].connect(now, client, OTHER);
    // The handshake, without delay.
    carry(&mut ends, now);
    assert!(ends.iter().all(|end| end.connected == 1), "they connect");
    let mut exchange = |channel, count, len: usize| {
        for _ in 0..count {
            ends[0].send(0, channel, &[7; 1000][..len]);
        }
        carry(&mut ends, now);
        now += Duration::from_millis(1);
        for end in &mut ends {
            end.wake(now);
        }
        carry(&mut ends, now);
        core::mem::take(&mut ends[1].heard)
    };
    for _ in 0..200 {
        exchange(Channel::Reliable, 4, 1000);
        for _ in 0..10 {
            exchange(Channel::Reliable, 0, 0);
        }
    }
    let framed = if channel == Channel::Reliable { 102 } else { 100 };
    for _ in 0..times {
        assert_eq!(exchange(channel, count, 100), u64::from(count) * framed);
    }
}

/// Moves datagrams until there are none.
fn carry(ends: &mut [Node; 2], now: std::time::Instant) {
    loop {
        for end in ends.iter_mut() {
            end.settle(now);
        }
        if ends.iter().all(|end| end.out.is_empty()) {
            return;
        }
        for from in [0, 1] {
            let out = core::mem::take(&mut ends[from].out);
            for (_, datagram) in out.iter() {
                ends[1 - from].handle(now, OTHER, datagram);
            }
            ends[from].out.recycle(out);
        }
    }
}

fn measure(library: &str, channel: &str, count: u32) -> Result<u64, String> {
    let few = instructions(library, channel, count, FEW)?;
    let many = instructions(library, channel, count, MANY)?;
    Ok(many.saturating_sub(few) / u64::from(MANY - FEW))
}

fn instructions(library: &str, channel: &str, count: u32, times: u32) -> Result<u64, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args(["repeat", library, channel, &count.to_string(), &times.to_string()])
        .output()
        .map_err(|error| format!("valgrind: {error}; see scripts/install-valgrind.sh"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    let collected = text.split_once("Collected : ").and_then(|(_, rest)| rest.lines().next());
    let collected = collected.and_then(|number| number.trim().parse().ok());
    collected.ok_or_else(|| format!("callgrind says no number: {text}"))
}

const FEW: u32 = 100;
const MANY: u32 = 1100;
