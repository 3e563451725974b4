//! A relay that a hundred thousand strangers say hello to: it answers, remembers none of them, and
//! forwards what its players send as before. Nothing here is timed; what is counted decides.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may stop at what should not happen")]

#[path = "../../relay/tests/running/mod.rs"]
mod running;

use core::net::Ipv4Addr;
use core::time::Duration;
use std::net::UdpSocket;
use std::thread;
use std::time::Instant;

use running::client::{Client, data};
use running::{Running, Socket};
use waylane_core::wire::hop::{ControlMessage, CookieReply, Hello};
use waylane_relay::{Config, RelayCounters};
use waylane_runtime_linux::back_end;

#[test]
fn a_flood_of_hellos_takes_no_memory_no_session_and_no_datagram() {
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
/// Fourteen bytes a stranger would be more.
const GROWTH_MAX: u64 = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(30);
