//! A relay that a hundred thousand strangers say hello to, or that all its players come back to at
//! once: it forwards what those who are there send as before. Nothing here is timed; what is counted
//! decides.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may stop at what should not happen")]

#[path = "../../relay/tests/running/mod.rs"]
mod running;

use core::net::{Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::net::UdpSocket;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use running::client::{Client, data};
use running::{Running, Socket};
use waylane_core::wire::hop::{ControlMessage, CookieReply, Hello, NotBound};
use waylane_relay::{Config, RelayCounters};
use waylane_runtime_linux::back_end;

#[test]
fn a_flood_of_hellos_takes_no_memory_no_session_and_no_datagram() {
    let _alone = alone();
    let mut config = Config::dev();
    config.listen = vec!["127.0.0.1:0".parse().unwrap()];
    let relay = Running::start(&config, back_end).unwrap();
    let mut sockets = [Socket::new(&relay), Socket::new(&relay)];
    let mut players: [Client; 2] =
        core::array::from_fn(|n| sockets[n].bound(u8::try_from(n).unwrap()));
    let [a, b] = players.each_ref().map(|player| data(player.session));

    // Hello, Bind and a keep-alive of each.
    wait_for(&relay, |counters| counters.owner.control.consumed() == 6);
    let before = relay.handle.counters();
    let mut hello = [0; Hello::LEN];
    Hello { nonce: *b"flooding" }.emit(&mut hello).unwrap();
    let (mut sent, mut answered, mut early) = (before.received(), 0, 0);
    for turn in 0..TURNS {
        let strangers: Vec<UdpSocket> = (turn * EACH..(turn + 1) * EACH).map(stranger).collect();
        for stranger in &strangers {
            stranger.connect(relay.entry.addresses()[0]).unwrap();
            for _ in 0..2 {
                stranger.send(&hello).unwrap();
            }
        }
        // Between them the players talk to each other.
        for _ in 0..TALK {
            sockets[0].socket.send(&b).unwrap();
            sockets[1].socket.send(&a).unwrap();
        }
        sent += u64::from(2 * EACH + 2 * TALK);
        // So that nothing is lost on the way, which nobody could tell from what the relay drops.
        wait_for(&relay, |counters| counters.received() >= sent);
        for (socket, heard) in sockets.iter().zip([&a, &b]) {
            for _ in 0..TALK {
                assert_eq!(socket.receive().as_ref(), Some(heard), "in turn {turn}");
            }
        }
        // Right behind them, when there may be no room for one more hello.
        for (player, socket) in players.iter_mut().zip(&sockets) {
            socket.socket.send(&player.control(ControlMessage::KeepAlive { time: 3 })).unwrap();
            let said = socket.receive();
            let said = said.unwrap_or_else(|| panic!("{:?}", relay.handle.counters()));
            let ack = Some(ControlMessage::KeepAliveAck { time: 3 });
            assert_eq!(player.open(&said), ack, "the session is there");
            sent += 1;
        }
        answered += strangers.iter().filter(|stranger| has_cookie(stranger)).count();
        if turn == TURNS / 4 {
            early = resident();
        }
    }
    let grown = resident().saturating_sub(early);
    assert!(grown <= GROWTH_MAX, "memory grew by {grown} B");

    let after = relay.stop().counters();
    let control = after.owner.control;
    assert_eq!(after.received(), after.forwarded() + control.consumed() + after.dropped());
    assert_eq!(after.received(), sent, "no datagram was lost");
    assert_eq!(after.forwarded() - before.forwarded(), u64::from(2 * TALK * TURNS));
    let hellos = control.hellos - before.owner.control.hellos;
    assert_eq!(hellos + after.workers.queue_full, u64::from(2 * TURNS * EACH), "{after:?}");
    // Nobody of them has a session, or waits for one.
    assert_eq!((control.sessions_begun, control.binds), (2, 2));
    assert!(answered > 0, "strangers are answered");
}

/// In virtual time, and with 10,000 of them within 5 s: `core/tests/relay_limits.rs`.
#[test]
fn who_comes_back_after_a_restart_takes_nothing_from_those_who_are_there() {
    let _alone = alone();
    let key = format!("{}/returns-{}.key", env!("CARGO_TARGET_TMPDIR"), std::process::id());
    let mut config = Config::dev();
    config.listen = vec!["127.0.0.1:0".parse().unwrap()];
    config.key_file = Some(key.clone().into());
    let relay = Running::start(&config, back_end).unwrap();
    let mut players = [0, 1].map(|n| Client::at(SocketAddr::from(([127, 0, 0, 1], 0)), n));
    let mut absent: Vec<Client> = (0..RETURNING).map(absent).collect();
    for client in players.iter_mut().chain(&mut absent) {
        let mut socket = Socket::at(&relay, client.address.ip());
        client.address = socket.socket.local_addr().unwrap();
        client.bind(&mut socket, false);
        client.prove(&mut socket);
    }
    config.listen = relay.entry.addresses().to_vec();
    relay.stop();
    let relay = Running::start(&config, back_end).unwrap();
    std::fs::remove_file(key).unwrap();
    let mut sockets = [Socket::new(&relay), Socket::new(&relay)];
    let [a, b] = players.each_ref().map(|player| player.session);
    for (player, socket) in players.iter_mut().zip(&mut sockets) {
        player.address = socket.socket.local_addr().unwrap();
        player.recover(socket, b);
    }
    let before = relay.handle.counters().forwarded();
    // Each stage of theirs has the players' traffic behind it.
    let talk = || {
        for _ in 0..TALK {
            sockets[0].socket.send(&data(b)).unwrap();
            sockets[1].socket.send(&data(a)).unwrap();
        }
        for (socket, session) in sockets.iter().zip([a, b]) {
            for _ in 0..TALK {
                assert_eq!(socket.receive(), Some(data(session)));
            }
        }
    };
    for clients in absent.chunks_mut(AT_ONCE) {
        let lines: Vec<Socket> =
            clients.iter().map(|client| Socket::at(&relay, client.address.ip())).collect();
        let all = |say: &mut dyn FnMut(usize) -> Vec<u8>| -> Vec<Vec<u8>> {
            for (n, line) in lines.iter().enumerate() {
                line.socket.send(&say(n)).unwrap();
            }
            talk();
            lines.iter().map(|line| line.receive().expect("an answer")).collect()
        };
        let hints = all(&mut |_| data(a));
        let mut nonces = Vec::new();
        let resumed = all(&mut |n| {
            let cookie = NotBound::parse(&hints[n]).unwrap().cookie;
            let (datagram, nonce) = clients[n].resume_datagram(cookie, false);
            nonces.push(nonce);
            datagram
        });
        let sessions: Vec<_> = clients.iter().map(|client| client.session).collect();
        for ((client, nonce), resumed) in clients.iter_mut().zip(nonces).zip(resumed) {
            client.accept_resumed(nonce, resumed);
        }
        let acks = all(&mut |n| clients[n].control(ControlMessage::KeepAlive { time: 4 }));
        for ((client, ack), session) in clients.iter().zip(acks).zip(sessions) {
            assert_eq!(client.open(&ack), Some(ControlMessage::KeepAliveAck { time: 4 }));
            assert_eq!(client.session, session, "it is the one from before");
        }
    }
    let after = relay.stop().counters();
    let stages = 3 * (RETURNING as usize).div_ceil(AT_ONCE) as u64;
    assert_eq!(after.forwarded() - before, stages * 2 * u64::from(TALK), "nothing was lost");
    let control = after.owner.control;
    // Without a Diffie–Hellman for any of them.
    assert_eq!((control.binds, control.resumes), (0, u64::from(RETURNING) + 2), "{control:?}");
    assert_eq!(control.sessions_live, u64::from(RETURNING) + 2);
}

/// One test after the other: the memory that one looks at is the process's.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One of those who will come back, of a neighbourhood with 200 others.
fn absent(n: u32) -> Client {
    let address = Ipv4Addr::new(127, 80, u8::try_from(n / 200).unwrap(), (n % 200) as u8 + 1);
    Client::at(SocketAddr::from((address, 0)), u64::from(n) + 2)
}

/// A socket at the `n`th of 100,000 addresses.
fn stranger(n: u32) -> UdpSocket {
    let [_, high, middle, low] = n.to_be_bytes();
    let socket = UdpSocket::bind((Ipv4Addr::new(127, 64 + high, middle, low), 0)).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

/// Whether there is an answer by now.
fn has_cookie(stranger: &UdpSocket) -> bool {
    let mut bytes = [0; 2048];
    stranger.recv(&mut bytes).is_ok_and(|len| CookieReply::parse(&bytes[..len]).is_ok())
}

fn wait_for(relay: &Running, is_so: impl Fn(&RelayCounters) -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so(&relay.handle.counters()) {
        assert!(Instant::now() < end, "{:?}", relay.handle.counters());
        thread::yield_now();
    }
}

/// Bytes of memory this process has.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

/// Strangers in a turn, who say hello twice each: more than the relay lets wait.
const EACH: u32 = 320;
const TURNS: u32 = 100_000_u32.div_ceil(EACH);
/// What each player sends in a turn.
const TALK: u32 = 20;
/// As many as may bind at once.
const RETURNING: u32 = 1900;
const AT_ONCE: usize = 64;
/// Fourteen bytes a stranger would be more.
const GROWTH_MAX: u64 = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(30);
