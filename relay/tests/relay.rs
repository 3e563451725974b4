//! A whole relay on loopback: what it starts with, forwards, remembers and says at the end.
#![allow(clippy::unwrap_used, reason = "a test may stop at what should not happen")]

mod running;

use core::time::Duration;
use std::fs;
use std::net::UdpSocket;

use running::client::{Client, Hop as _, data};
use running::{Running, Socket};
use waylane_core::crypto::Secret;
use waylane_core::id::PublicKey;
use waylane_core::token::Claims;
use waylane_core::wire::hop::{ControlMessage, Probe, Refused, RefusedReason};
use waylane_crypto::TokenSigner;
use waylane_relay::{BackEnd, Config, IoChoice, Mode, Relay, RelayState, StartError};

#[test]
fn two_sockets_exchange_a_datagram() {
    for listen in ["127.0.0.1:0", "[::1]:0"] {
        let Some(relay) = Running::start(&dev(listen), BackEnd::portable) else { continue };
        let mut a = Socket::new(&relay);
        let mut b = Socket::new(&relay);
        let (alice, bob) = (a.bound(1), b.bound(2));
        let datagram = data(bob.session);
        a.socket.send(&datagram).unwrap();
        assert_eq!(b.receive(), Some(datagram));
        let datagram = data(alice.session);
        b.socket.send(&datagram).unwrap();
        assert_eq!(a.receive(), Some(datagram));

        let counters = relay.stop().counters();
        assert_eq!(counters.forwarded(), 2);
        assert_eq!(counters.drops().map(|(_, count)| count).sum::<u64>(), 0);
        assert_eq!(counters.spread.batches.sum, counters.workers.received);
        assert_eq!(counters.spread.runs.buckets[0], 2);
    }
}

#[test]
fn a_restart_with_the_same_key_keeps_entry_and_sessions() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = dev("127.0.0.1:0");
    config.key_file = Some(directory.path().join("relay.key"));
    let relay = Running::start(&config, BackEnd::portable).unwrap();
    let entry = relay.entry.clone();
    config.listen = entry.addresses().to_vec();
    let mut socket = Socket::new(&relay);
    // As long as the relay's start is new, newcomers get slots of its reserved part; coming back
    // to one of those works as long as no newcomer was given it.
    let mut client = socket.bound(1);
    let session = client.session;
    relay.stop();

    let relay = Running::start(&config, BackEnd::portable).unwrap();
    assert_eq!(relay.entry, entry);
    assert!(client.recover(&mut socket, session) <= 3);
    assert_eq!(client.session, session);
    relay.stop();
}

#[test]
fn a_bind_with_a_token_that_comes_again_takes_nothing_over() {
    let directory = tempfile::tempdir().unwrap();
    let signer = TokenSigner::from_secret(&Secret([1; 32]));
    let mut config = dev("127.0.0.1:0");
    config.mode = Mode::Token;
    config.key_file = Some(directory.path().join("relay.key"));
    config.token_keys = Some(directory.path().join("token-keys"));
    fs::write(config.token_keys.as_ref().unwrap(), signer.public().to_string()).unwrap();
    let relay = Running::start(&config, BackEnd::portable).unwrap();
    let [mut a, mut b, mut thief] = [(); 3].map(|()| Socket::new(&relay));
    let [mut alice, mut bob] = [1, 2].map(Client::new);
    for client in [&mut alice, &mut bob] {
        client.token = signer.issue(&claims(*client.key.public())).as_bytes().to_vec();
    }
    bob.bind(&mut b, false);
    bob.prove(&mut b);

    let cookie = alice.cookie(&mut a);
    let (bind, handshake) = alice.bind_datagram(a.relay_key(), cookie, false);
    let bound = a.exchange(alice.address, &bind).unwrap();
    assert_eq!(a.exchange(alice.address, &bind).as_ref(), Some(&bound), "the same answer");
    let address = alice.address;
    let is_refused = |thief: &mut Socket| {
        let refused = thief.exchange(address, &bind).unwrap();
        Refused::parse(&refused).unwrap().reason == RefusedReason::Cookie
    };
    assert!(is_refused(&mut thief), "before its proof");
    alice.accept_bound(&handshake, bound).unwrap();
    alice.prove(&mut a);
    assert!(is_refused(&mut thief), "after it");
    // As if by a forger of her address, who cannot read the answer nor prove it.
    a.exchange(alice.address, &bind).unwrap();
    assert!(alice.keeps_alive(&mut a), "her keys are what they were");
    let datagram = data(alice.session);
    b.socket.send(&datagram).unwrap();
    assert_eq!(a.receive(), Some(datagram));
    let control = relay.stop().counters().owner.control;
    assert_eq!((control.sessions_begun, control.sessions_live), (2, 2));
    assert_eq!((control.repeated, control.refused), (1, 2));
}

#[test]
fn a_drained_relay_says_so_and_ends() {
    let relay = Running::start(&dev("127.0.0.1:0"), BackEnd::portable).unwrap();
    let mut socket = Socket::new(&relay);
    let client = socket.bound(1);
    relay.handle.drain(Duration::from_millis(1200));
    let told = socket.receive().unwrap();
    assert!(matches!(client.open(&told), Some(ControlMessage::Drain { left_s: 0 | 1, .. })));
    relay.thread.join().unwrap();
}

#[test]
fn a_relay_says_what_it_is_at() {
    let mut relay = Relay::bind(&dev("127.0.0.1:0")).unwrap();
    let handle = relay.handle();
    assert_eq!(handle.state(), RelayState::Starting);
    assert_eq!(handle.about().ports, [relay.local_addresses()[0].port()]);
    handle.stop();
    relay.run().unwrap();
    assert_eq!(handle.state(), RelayState::Stopped);

    let relay = Running::start(&dev("127.0.0.1:0"), BackEnd::portable).unwrap();
    let mut socket = Socket::new(&relay);
    socket.bound(1);
    assert_eq!(relay.handle.state(), RelayState::Serving);
    relay.handle.drain(Duration::from_secs(60));
    // At once, before anybody is told.
    assert_eq!(relay.handle.state(), RelayState::Draining);
    assert_eq!(relay.stop().state(), RelayState::Stopped);

    let mut relay = Relay::bind(&dev("127.0.0.1:0")).unwrap();
    let handle = relay.handle();
    handle.drain(Duration::ZERO);
    relay.run().unwrap();
    assert_eq!(handle.state(), RelayState::Stopped);
}

#[test]
fn bytes_and_replies_are_counted() {
    let relay = Running::start(&dev("127.0.0.1:0"), BackEnd::portable).unwrap();
    let socket = Socket::new(&relay);
    let mut probe = [0; Probe::LEN];
    Probe { reply: false, nonce: [7; 8] }.emit(&mut probe).unwrap();
    socket.socket.send(&probe).unwrap();
    assert_eq!(socket.receive().map(|reply| reply.len()), Some(Probe::LEN));
    let counters = relay.stop().counters();
    let bytes = Probe::LEN as u64;
    assert_eq!((counters.workers.received, counters.workers.received_bytes), (1, bytes));
    assert_eq!((counters.owner.replies, counters.owner.reply_bytes), (1, bytes));
}

#[test]
fn what_cannot_start_says_why() {
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let error = Relay::bind(&dev(&address.to_string())).err().unwrap();
    assert!(matches!(error, StartError::Bind(_)));
    assert!(error.to_string().contains(&address.to_string()), "{error}");

    let error = Relay::bind(&dev("0.0.0.0:0")).err().unwrap();
    assert!(matches!(error, StartError::Config(_)), "dev is not for the world: {error}");

    let mut config = dev("127.0.0.1:0");
    config.io = IoChoice::Uring;
    let error = Relay::bind(&config).err().unwrap();
    assert!(error.to_string().starts_with("io:"), "{error}");

    let mut config = dev("127.0.0.1:0");
    config.region = "two words".into();
    let error = Relay::bind(&config).err().unwrap();
    assert!(error.to_string().contains("region"), "{error}");
}

fn claims(peer: PublicKey) -> Claims {
    Claims { peer: Some(peer), ..Claims::until(u64::from(u32::MAX)) }
}

fn dev(listen: &str) -> Config {
    let mut config = Config::dev();
    config.listen = vec![listen.parse().unwrap()];
    config
}
