//! A relay under more than it can take, and what is to hold of it.

mod peers;

use core::net::Ipv4Addr;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;
use std::thread;
use std::time::Instant;

pub(crate) use peers::Load;
use peers::{Guests, Players};
use waylane_admin::{Admin, Scrape, fetch};
use waylane_relay::RelayCounters;

use crate::running::Running;

/// How long: as the environment says, or this long.
pub(crate) fn lasts(otherwise: Duration) -> Duration {
    let seconds = std::env::var("WAYLANE_SOAK_SECONDS").ok();
    seconds.map_or(otherwise, |n| Duration::from_secs(n.parse().unwrap()))
}

/// How many datagrams a relay was sent, and what became of them.
#[derive(Debug)]
pub(crate) struct Soaked {
    pub(crate) sent: u64,
    /// What never reached it.
    pub(crate) lost: u64,
    pub(crate) counters: RelayCounters,
}

/// Puts `relay` under `load`, of which `lost` tells what never reached it: no less than that.
pub(crate) fn soak(
    name: &str,
    relay: Running,
    load: &Load,
    lost: impl Fn() -> u64,
    lasts: Duration,
) -> Soaked {
    let mut players: Vec<Players> = (0..2).map(|n| Players::bound(load, n)).collect();
    let everybody: Vec<_> = players.iter().flat_map(Players::sessions).collect();
    let mut guests = Guests::new(load);

    let page = Page::of(&relay);
    let stop = AtomicBool::new(false);
    let (early, late) = thread::scope(|scope| {
        for players in &mut players {
            scope.spawn(|| players.play(&everybody, &stop));
        }
        scope.spawn(|| guests.come_and_go(&stop));
        // However a thread ends, the others must not go on for ever.
        let _stops = Stops(&stop);
        page.watch(Instant::now() + lasts / 3);
        let early = resident();
        page.watch(Instant::now() + lasts * 2 / 3);
        (early, resident())
    });

    settled(&relay, &lost, &load.sent);
    for players in &mut players {
        players.assert_still_there();
    }
    let lost = settled(&relay, &lost, &load.sent);
    page.adds_up(&relay.handle.counters());
    let counters = relay.stop().counters();
    assert_accounted(&counters);
    assert!(guests.came > 0 && players.iter().all(|players| players.moves > 0));
    let drops: Vec<&str> = counters.drops().filter(|(_, n)| *n > 0).map(|(name, _)| name).collect();
    for reason in ["unbound", "malformed", "no_destination", "to_itself", "forged", "replayed"] {
        assert!(drops.contains(&reason), "nothing was dropped as {reason}: {counters:?}");
    }
    let sent = load.sent.load(Ordering::Relaxed);
    let grown = late.saturating_sub(early);
    println!(
        "{name}: sent {sent}, received {}, forwarded {}, dropped {}, guests {}, grown by {grown} B",
        counters.received(),
        counters.forwarded(),
        counters.dropped(),
        guests.came,
    );
    assert!(grown <= GROWTH_MAX, "memory grew from {early} to {late} B");
    Soaked { sent, lost, counters }
}

/// Waits until every datagram sent so far has been dealt with; returns how many found no room in
/// the relay's sockets.
fn settled(relay: &Running, lost: impl Fn() -> u64, sent: &AtomicU64) -> u64 {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let counters = relay.handle.counters();
        let lost = lost();
        let all = counters.received() + lost >= sent.load(Ordering::Relaxed);
        if all && is_accounted(&counters) {
            return lost;
        }
        let sent = sent.load(Ordering::Relaxed);
        assert!(Instant::now() < end, "sent {sent}, found no room {lost}, {counters:?}");
        thread::park_timeout(Duration::from_millis(5));
    }
}

/// What the relay's operator sees of it.
struct Page(Admin);

impl Page {
    fn of(relay: &Running) -> Self {
        Self(Admin::serve((Ipv4Addr::LOCALHOST, 0).into(), relay.handle.clone()).unwrap())
    }

    fn read(&self) -> Scrape {
        Scrape::parse(&fetch(self.0.address(), "/metrics").unwrap()).unwrap()
    }

    /// Reads it again and again until `end`: no count goes back.
    fn watch(&self, end: Instant) {
        let mut before = self.read();
        while Instant::now() < end {
            thread::park_timeout(BETWEEN_LOOKS);
            let now = self.read();
            for name in now.names().filter(|name| name.contains("_total")) {
                assert!(now.get(name) >= before.get(name), "{name} went back");
            }
            before = now;
        }
    }

    /// Every datagram is in it once, as the relay has counted them.
    fn adds_up(&self, counters: &RelayCounters) {
        let page = self.read();
        let [received, forwarded, consumed, dropped] =
            ["received", "forwarded", "consumed", "dropped"]
                .map(|what| page.get(&format!("waylane_{what}_packets_total")));
        assert_eq!(received, forwarded + consumed + dropped, "{page:?}");
        assert_eq!(received, counters.received() as f64, "{page:?}");
        let bytes = page.get("waylane_received_bytes_total");
        assert!(bytes >= page.get("waylane_forwarded_bytes_total"), "{page:?}");
    }
}

fn assert_accounted(counters: &RelayCounters) {
    assert!(is_accounted(counters), "{counters:?}");
}

fn is_accounted(counters: &RelayCounters) -> bool {
    let consumed = counters.owner.control.consumed();
    counters.received() == counters.forwarded() + consumed + counters.dropped()
}

/// What the kernel has dropped at the sockets of this port, because they were full.
pub(crate) fn not_taken(port: u16) -> u64 {
    // Of this thread's namespace.
    let table = std::fs::read_to_string("/proc/thread-self/net/udp").unwrap();
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

struct Stops<'s>(&'s AtomicBool);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A leak of three bytes a datagram would be more, and what the allocator does with the guests'
/// memory is less.
const GROWTH_MAX: u64 = 1 << 20;
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);
