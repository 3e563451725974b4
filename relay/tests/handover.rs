//! A relay gives its place to the next one: nothing is lost, and nobody notices.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test may stop at what should not happen")]

mod running;

use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::io::{IoSlice, Read as _, Write as _};

use std::net::UdpSocket;
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use running::client::data;
use running::{Running, Socket};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use waylane_core::wire::hop::ControlMessage;
use waylane_relay::{BackEnd, Config, Relay, StartError};

#[test]
fn sessions_and_their_keys_go_on_in_the_next_relay() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path());
    let first = Running::start(&config, BackEnd::portable).unwrap();
    let (mut a, mut b) = (Socket::new(&first), Socket::new(&first));
    let (mut alice, mut bob) = (a.bound(1), b.bound(2));
    alice.prove(&mut a);
    // Alice's keys come from a Bind, Bob's from a Resume.
    let cookie = bob.cookie(&mut b);
    bob.resume(&mut b, cookie).unwrap();
    bob.prove(&mut b);
    let used = alice.control(ControlMessage::KeepAlive { time: 9 });
    a.socket.send(&used).unwrap();
    a.receive().unwrap();

    let second = Running::start(&config, BackEnd::portable).unwrap();
    // The first one ends by itself, and says nothing to anybody.
    first.thread.join().unwrap();
    assert_eq!(second.entry.public_key(), first.entry.public_key());
    let datagram = data(bob.session);
    a.socket.send(&datagram).unwrap();
    assert_eq!(b.receive(), Some(datagram), "the ids are what they were");
    // Counters go on: what was used before is not taken again, and the next is.
    a.socket.send(&used).unwrap();
    assert!(alice.keeps_alive(&mut a) && bob.keeps_alive(&mut b));
    // Who comes now gets a session of its own, and the third relay takes over three.
    let mut c = Socket::new(&second);
    let carol = c.bound(3);
    let third = Running::start(&config, BackEnd::portable).unwrap();
    second.thread.join().unwrap();
    assert_eq!(second.handle.counters().owner.control.dropped.replayed, 1);
    let datagram = data(carol.session);
    b.socket.send(&datagram).unwrap();
    assert_eq!(c.receive(), Some(datagram));
    assert_eq!(third.stop().counters().owner.control.sessions_live, 3);
}

#[test]
fn traffic_at_a_rate_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path());
    let first = Running::start(&config, BackEnd::portable).unwrap();
    let (mut a, mut b) = (Socket::new(&first), Socket::new(&first));
    a.bound(1);
    let bob = b.bound(2);
    let stop = AtomicBool::new(false);
    let relay = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut datagram = data(bob.session);
            let mut send = |n: u32| {
                datagram[8..12].copy_from_slice(&n.to_le_bytes());
                a.socket.send(&datagram).unwrap();
            };
            let mut n = 0;
            while !stop.load(Ordering::Relaxed) && n < MOST {
                send(n);
                n += 1;
                std::thread::park_timeout(Duration::from_micros(200));
            }
            send(LAST);
        });
        let received = scope.spawn(|| {
            for n in 0.. {
                let received = b.receive().expect("nothing is lost");
                let number = u32::from_le_bytes(received[8..12].try_into().unwrap());
                if number == LAST {
                    return n;
                }
                assert_eq!(number, n, "none is lost, doubled or overtaken");
            }
            0
        });
        let mut relay = first;
        for _ in 0..5 {
            let next = Running::start(&config, BackEnd::portable).unwrap();
            relay.thread.join().unwrap();
            relay = next;
        }
        stop.store(true, Ordering::Relaxed);
        assert!(received.join().unwrap() > 100);
        relay
    });
    relay.stop();
}

#[test]
fn a_record_of_another_format_costs_no_more_than_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path());
    let first = Running::start(&config, BackEnd::portable).unwrap();
    let mut socket = Socket::new(&first);
    let mut client = socket.bound(1);
    let session = client.session;

    // As a relay of another format would ask: it is given the sockets, and no sessions.
    let mut next = UnixStream::connect(config.handover_socket.as_ref().unwrap()).unwrap();
    next.write_all(&hello(9999, &first.entry.public_key().0)).unwrap();
    let mut reply = [0; 10];
    next.read_exact(&mut reply).unwrap();
    assert_eq!((reply[0], reply[9]), (1, 1), "sockets only, of one worker");
    // With its go the first one ends.
    next.write_all(&[1]).unwrap();
    first.thread.join().unwrap();
    drop(next);

    // And as it would find a relay of another format before it: it serves on its sockets, and
    // clients come back to their ids.
    let path = config.handover_socket.clone().unwrap();
    std::fs::remove_file(&path).unwrap();
    let waiting = UnixListener::bind(&path).unwrap();
    let inherited = UdpSocket::bind(socket.socket.peer_addr().unwrap()).unwrap();
    let old = std::thread::spawn(move || {
        let (mut stream, _) = waiting.accept().unwrap();
        stream.read_exact(&mut [0; 44]).unwrap();
        stream.write_all(&[1]).unwrap();
        stream.write_all(&[0; 8]).unwrap();
        stream.write_all(&[1]).unwrap();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let fds = [inherited.as_fd()];
        assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
        sendmsg(&stream, &[IoSlice::new(&[1])], &mut control, SendFlags::empty()).unwrap();
        stream.read_exact(&mut [0]).unwrap();
        stream.write_all(&[0; 2]).unwrap();
    });
    let second = Running::start(&config, BackEnd::portable).unwrap();
    old.join().unwrap();
    assert!(client.recover(&mut socket, session) <= 3, "round trips");
    assert_eq!(client.session, session);
    second.stop();
}

#[test]
fn who_breaks_off_or_is_another_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path());
    let path = config.handover_socket.clone().unwrap();
    let relay = Running::start(&config, BackEnd::portable).unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "for its own user only");
    let (mut a, mut b) = (Socket::new(&relay), Socket::new(&relay));
    let (mut alice, bob) = (a.bound(1), b.bound(2));

    let key = relay.entry.public_key().0;
    let mut another = UnixStream::connect(&path).unwrap();
    another.write_all(&hello(1, &[7; 32])).unwrap();
    let mut reply = Vec::new();
    another.read_to_end(&mut reply).unwrap();
    assert_eq!(reply, [0], "nothing for who is another relay");
    for first_words in
        [&b"GET / HTTP/1.1\r\nHost: relay\r\nAccept: everything at all\r\n\r\n"[..], b"way"]
    {
        let mut stranger = UnixStream::connect(&path).unwrap();
        stranger.write_all(first_words).unwrap();
    }
    // Before its go, and after it was given everything.
    let mut next = UnixStream::connect(&path).unwrap();
    next.write_all(&hello(1, &key)).unwrap();
    next.read_exact(&mut [0]).unwrap();
    drop(next);

    assert!(alice.keeps_alive(&mut a));
    let datagram = data(bob.session);
    a.socket.send(&datagram).unwrap();
    assert_eq!(b.receive(), Some(datagram));

    let mut other = config;
    other.key_file = Some(directory.path().join("another.key"));
    let refused = Relay::over(&other, BackEnd::portable).err().unwrap();
    assert!(matches!(refused, StartError::Handover(_)), "{refused}");
    assert!(refused.to_string().contains("another key"), "{refused}");
    relay.stop();
}

fn hello(format: u32, key: &[u8; 32]) -> Vec<u8> {
    [&b"waylane\x01"[..], &format.to_le_bytes(), key].concat()
}

fn config(directory: &Path) -> Config {
    let mut config = Config::dev();
    // The second relay is given the sockets, so that the port may be any.
    config.listen = vec!["127.0.0.1:0".parse().unwrap()];
    config.key_file = Some(directory.join("relay.key"));
    config.handover_socket = Some(directory.join("handover"));
    config
}

const LAST: u32 = u32::MAX;
/// A minute's, so that a test that fails ends.
const MOST: u32 = 300_000;
