//! What players keep of their rate while strangers flood a whole relay with hellos, and while
//! thousands come back to one that was restarted. On loopback: the relay on one core, all others on
//! the other one.
#![allow(clippy::unwrap_used, reason = "the clients are those of the tests")]

#[path = "../../core/tests/relay_support/client.rs"]
mod client;

use core::net::{Ipv4Addr, SocketAddr};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;
use std::io;
use std::net::UdpSocket;
use std::path::PathBuf;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use client::{Client, Hop, data};
use waylane_core::directory::RelayEntry;
use waylane_core::id::PublicKey;
use waylane_core::wire::hop::Hello;
use waylane_relay::{Config, Relay, RelayCounters, RelayHandle};
use waylane_runtime_linux::back_end;
use waylane_runtime_linux::io::pin;

use crate::load::prefer_us;

/// Both, so many times; `once` is a tenth of each.
pub(crate) fn compare(rounds: usize, once: bool) -> Result<(), String> {
    measure(rounds, if once { 10 } else { 1 }).map_err(|error| format!("strangers: {error}"))
}

fn measure(rounds: usize, part: u32) -> io::Result<()> {
    prefer_us();
    pin(1)?;
    let key_file = KeyFile::new();
    println!(
        "\n| players with {RATE} datagrams/s | forwarded/s before | meanwhile | ratio | of what was sent meanwhile | how long | the strangers |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: | --- |");
    for _ in 0..rounds {
        let relay = Running::start(&key_file, None)?;
        let mut players = players(&relay);
        let count = STRANGERS / part;
        let before = resident()?;
        let (row, control) = beside(&relay, &mut players, |_| say_hello(&relay, count))?;
        let hellos = control.owner.control.hellos;
        println!(
            "| {count} strangers say hello twice | {row} | {hellos} answered, {} found no room; memory grew by {} KiB |",
            control.workers.queue_full,
            resident()?.saturating_sub(before) >> 10
        );
        relay.stop();
    }
    for _ in 0..rounds {
        let relay = Running::start(&key_file, None)?;
        let (address, mut players) = (relay.address(), players(&relay));
        let mut many: Vec<Client> = (0..RETURNING / part).map(|n| joined(n, &relay)).collect();
        relay.stop();
        let relay = Running::start(&key_file, Some(address))?;
        for (player, way) in &mut players {
            let own = player.session;
            player.recover(way, own);
        }
        let binds = relay.handle.counters().owner.control.binds;
        let (row, control) = beside(&relay, &mut players, |started: Instant| {
            for (n, client) in (0..).zip(&mut many) {
                // Evenly over the five seconds, or as fast as it goes.
                let due = RETURN_TIME / part * n / (RETURNING / part);
                thread::park_timeout(due.saturating_sub(started.elapsed()));
                let own = client.session;
                client.recover(&mut Way::at(n, &relay), own);
            }
        })?;
        println!(
            "| {} come back after a restart | {row} | {} by tickets, {} by Diffie–Hellman |",
            many.len(),
            control.owner.control.resumes,
            control.owner.control.binds - binds
        );
        relay.stop();
    }
    Ok(())
}

/// A row of figures about the players' datagrams while nothing else happens and while `other` does;
/// and what the relay has counted meanwhile.
fn beside(
    relay: &Running,
    players: &mut [(Client, Way)],
    other: impl FnOnce(Instant),
) -> io::Result<(String, RelayCounters)> {
    let (stop, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    let rates = thread::scope(|scope| {
        scope.spawn(|| talk(players, &stop, &sent));
        let look =
            || (Instant::now(), relay.handle.counters().forwarded(), sent.load(Ordering::Relaxed));
        let per_second = |from: (Instant, u64, u64), to: (Instant, u64, u64)| {
            let seconds = (to.0 - from.0).as_secs_f64();
            ((to.1 - from.1) as f64 / seconds, (to.2 - from.2) as f64 / seconds, seconds)
        };
        thread::park_timeout(Duration::from_millis(300));
        let (first, end) = (look(), Instant::now() + BEFORE);
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            thread::park_timeout(left);
        }
        let second = look();
        other(second.0);
        let third = look();
        stop.store(true, Ordering::Relaxed);
        (per_second(first, second), per_second(second, third))
    });
    let ((before, _, _), (meanwhile, sent, seconds)) = rates;
    let row = format!(
        "{before:.0} | {meanwhile:.0} | {:.2} | {:.3} | {seconds:.1} s",
        meanwhile / before,
        meanwhile / sent
    );
    Ok((row, relay.handle.counters()))
}

/// Each player sends to the next one, all together at [`RATE`], in turns of a millisecond.
fn talk(players: &[(Client, Way)], stop: &AtomicBool, sent: &AtomicU64) {
    let datagrams: Vec<_> = players.iter().map(|(player, _)| data(player.session)).collect();
    let (start, mut done) = (Instant::now(), 0_u64);
    while !stop.load(Ordering::Relaxed) {
        let due = start.elapsed().as_micros() as u64 * u64::from(RATE) / 1_000_000;
        // What was missed is missed: a burst of it would be another load.
        done = done.max(due.saturating_sub(u64::from(RATE) / 100));
        while done < due {
            let (from, to) = (done as usize % players.len(), (done as usize + 1) % players.len());
            if players[from].1.socket.send(&datagrams[to]).is_ok() {
                sent.fetch_add(1, Ordering::Relaxed);
            }
            done += 1;
        }
        thread::park_timeout(Duration::from_millis(1));
    }
}

fn say_hello(relay: &Running, count: u32) {
    let mut hello = [0; Hello::LEN];
    Hello { nonce: *b"flooding" }.emit(&mut hello).unwrap();
    for n in 0..count {
        let way = Way::at(n, relay);
        for _ in 0..2 {
            drop(way.socket.send(&hello));
        }
    }
}

fn players(relay: &Running) -> Vec<(Client, Way)> {
    let bound = |n| {
        let mut way = Way::at(STRANGERS + 256 * n, relay);
        let mut client = Client::at(way.address(), u64::from(STRANGERS + n));
        client.bind(&mut way, false);
        client.prove(&mut way);
        (client, way)
    };
    (0..PLAYERS).map(bound).collect()
}

/// The `n`th of the many; a relay takes some 200 a second of one neighbourhood.
fn joined(n: u32, relay: &Running) -> Client {
    let mut way = Way::at(n * 7 % STRANGERS, relay);
    let mut client = Client::at(way.address(), n.into());
    client.bind(&mut way, false);
    client.prove(&mut way);
    client
}

/// A whole relay in threads on the first core.
struct Running {
    entry: RelayEntry,
    handle: RelayHandle,
    thread: JoinHandle<io::Result<()>>,
}

impl Running {
    fn start(key_file: &KeyFile, at: Option<SocketAddr>) -> io::Result<Self> {
        let mut config = Config::dev();
        config.listen = vec![at.unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))];
        config.key_file = Some(key_file.0.clone());
        // Room for everybody from the second second on, and for as long as it takes.
        (config.keep_alive_s, config.lifetime_s) = (1, 3600);
        let (tell, told) = std::sync::mpsc::channel();
        let thread = thread::spawn(move || {
            pin(0)?;
            let mut relay = Relay::over(&config, back_end).map_err(io::Error::other)?;
            drop(tell.send((relay.entry().clone(), relay.handle())));
            relay.run()
        });
        let (entry, handle) = told.recv().map_err(io::Error::other)?;
        thread::park_timeout(Duration::from_secs(3));
        Ok(Self { entry, handle, thread })
    }

    fn address(&self) -> SocketAddr {
        self.entry.addresses()[0]
    }

    fn stop(self) {
        self.handle.stop();
        drop(self.thread.join());
    }
}

/// A socket at an address of its own.
struct Way {
    socket: UdpSocket,
    relay: PublicKey,
}

impl Way {
    fn at(n: u32, relay: &Running) -> Self {
        let [_, high, middle, low] = n.to_be_bytes();
        let own = Ipv4Addr::new(127, 64 + high, middle, low);
        let socket = UdpSocket::bind((own, 0)).unwrap();
        socket.connect(relay.address()).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        Self { socket, relay: *relay.entry.public_key() }
    }

    fn address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }
}

impl Hop for Way {
    fn relay_key(&self) -> PublicKey {
        self.relay
    }

    fn exchange(&mut self, _: SocketAddr, datagram: &[u8]) -> Option<Vec<u8>> {
        let mut bytes = [0; 2048];
        (0..TRIES).find_map(|_| {
            self.socket.send(datagram).ok()?;
            let len = self.socket.recv(&mut bytes).ok()?;
            Some(bytes[..len].to_vec())
        })
    }
}

/// A relay's key, for as long as this is kept.
struct KeyFile(PathBuf);

impl KeyFile {
    fn new() -> Self {
        let name = format!("waylane-bench-{}.key", std::process::id());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for KeyFile {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}

fn resident() -> io::Result<u64> {
    let text = std::fs::read_to_string("/proc/self/statm")?;
    let pages = text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.map(|pages| pages * 4096).ok_or_else(|| io::Error::other("no statm"))
}

const STRANGERS: u32 = 100_000;
const RETURNING: u32 = 10_000;
const RETURN_TIME: Duration = Duration::from_secs(5);
const PLAYERS: u32 = 16;
/// Of all players together, a second.
const RATE: u32 = 20_000;
const BEFORE: Duration = Duration::from_secs(3);
const TRIES: u32 = 20;
