//! A relay that is sent more than it can take, by peers that come, go and move and by others that
//! mean it ill: it loses no session, grows by nothing, and can account for every datagram.
//!
//! Twenty seconds for all back ends together; `WAYLANE_SOAK_SECONDS=60` makes it as many for each.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may stop at what should not happen")]

#[path = "soaking/peers.rs"]
mod peers;
#[path = "../../relay/tests/running/mod.rs"]
mod running;

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;
use std::thread;
use std::time::Instant;

use peers::{Guests, Load, Players};
use running::Running;
use waylane_relay::{Config, IoChoice, RelayCounters};
use waylane_runtime_linux::back_end;

#[test]
fn overload_loses_no_session_no_memory_and_no_count() {
    let seconds = std::env::var("WAYLANE_SOAK_SECONDS").ok();
    let each = seconds.map_or(TOGETHER / 3, |n| Duration::from_secs(n.parse().unwrap()));
    for io in [IoChoice::Mmsg, IoChoice::Uring, IoChoice::Std] {
        let mut config = Config::dev();
        config.listen = vec!["127.0.0.1:0".parse().unwrap()];
        // So small that what the workers do not take at once is lost.
        (config.io, config.workers, config.socket_buffer) = (io, 2, 64 << 10);
        soak(&config, each);
    }
}

fn soak(config: &Config, lasts: Duration) {
    let relay = Running::start(config, back_end).unwrap();
    let load = Load::new(&relay);
    let mut players: Vec<Players> = (0..2).map(|n| Players::bound(&load, n)).collect();
    let everybody: Vec<_> = players.iter().flat_map(Players::sessions).collect();
    let mut guests = Guests::new(&load);

    let stop = AtomicBool::new(false);
    let (early, late) = thread::scope(|scope| {
        for players in &mut players {
            scope.spawn(|| players.play(&everybody, &stop));
        }
        scope.spawn(|| guests.come_and_go(&stop));
        // However a thread ends, the others must not go on for ever.
        let _stops = Stops(&stop);
        sleep_until(Instant::now() + lasts / 3);
        let early = resident();
        sleep_until(Instant::now() + lasts * 2 / 3);
        (early, resident())
    });

    let dropped = settled(&relay, &load.sent);
    for players in &mut players {
        players.assert_still_there();
    }
    let lost = settled(&relay, &load.sent);
    let counters = relay.stop().counters();
    assert_accounted(&counters);
    assert_eq!(counters.workers.received + lost, load.sent.load(Ordering::Relaxed));
    assert!(dropped > 0, "it was no overload: {counters:?}");
    assert!(guests.came > 0 && players.iter().all(|players| players.moves > 0));
    let drops: Vec<&str> = counters.drops().filter(|(_, n)| *n > 0).map(|(name, _)| name).collect();
    for reason in ["unbound", "malformed", "no_destination", "to_itself", "forged", "replayed"] {
        assert!(drops.contains(&reason), "nothing was dropped as {reason}: {counters:?}");
    }
    let grown = late.saturating_sub(early);
    println!(
        "{:?}: sent {}, received {}, forwarded {}, dropped {}, guests {}, grown by {grown} B",
        config.io,
        load.sent.load(Ordering::Relaxed),
        counters.workers.received,
        counters.forwarded(),
        counters.dropped(),
        guests.came,
    );
    assert!(grown <= GROWTH_MAX, "memory grew from {early} to {late} B");
}

/// Waits until every datagram sent so far has been dealt with; returns how many found no room in
/// the relay's sockets.
fn settled(relay: &Running, sent: &AtomicU64) -> u64 {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let counters = relay.handle.counters();
        let lost = not_taken(relay.entry.addresses()[0].port());
        let all = counters.workers.received + lost == sent.load(Ordering::Relaxed);
        if all && is_accounted(&counters) {
            return lost;
        }
        let sent = sent.load(Ordering::Relaxed);
        assert!(Instant::now() < end, "sent {sent}, found no room {lost}, {counters:?}");
        thread::park_timeout(Duration::from_millis(5));
    }
}

fn assert_accounted(counters: &RelayCounters) {
    assert!(is_accounted(counters), "{counters:?}");
}

fn is_accounted(counters: &RelayCounters) -> bool {
    let consumed = counters.owner.control.consumed();
    counters.workers.received == counters.forwarded() + consumed + counters.dropped()
}

/// What the kernel has dropped at the sockets of this port, because they were full.
fn not_taken(port: u16) -> u64 {
    let table = std::fs::read_to_string("/proc/net/udp").unwrap();
    let port = format!(":{port:04X}");
    let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row[1].ends_with(&port) && row[2].ends_with(":0000"))
        .map(|row| row.last().unwrap().parse::<u64>().unwrap())
        .sum()
}

/// Bytes of memory this process has.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

fn sleep_until(end: Instant) {
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        thread::park_timeout(left);
    }
}

struct Stops<'s>(&'s AtomicBool);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

const TOGETHER: Duration = Duration::from_secs(20);
/// A leak of three bytes a datagram would be more, and what the allocator does with the guests'
/// memory is less.
const GROWTH_MAX: u64 = 1 << 20;
