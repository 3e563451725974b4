//! What every back end must do, and what the worker does over each: one suite over all.
#![allow(clippy::unwrap_used, reason = "a test may stop at what should not happen")]

#[path = "../../core/tests/relay_support/client.rs"]
mod client;
mod rig;

use core::net::SocketAddr;
use core::time::Duration;
use std::time::Instant as StdInstant;

use client::{Client, Hop, Provider, data};
use rig::{Peer, Rig};
use waylane_core::crypto::Secret;
use waylane_core::id::PublicKey;
use waylane_core::noise::KeyPair;
use waylane_core::relay::RelayConfig;
use waylane_core::time::Instant;
use waylane_core::wire::hop::ControlMessage;
use waylane_crypto::Seeded;
use waylane_relay::io::{BUFFER_LEN, Batch, Outgoing};
use waylane_relay::{Io, Worker};

macro_rules! over_each_back_end {
    ($($test:ident),* $(,)?) => {
        mod udp { $(#[test] fn $test() { super::$test(super::rig::udp(3)); })* }
        mod fake { $(#[test] fn $test() { super::$test(super::rig::fake(3)); })* }
    };
}

over_each_back_end!(
    datagrams_come_with_their_source_and_in_order,
    a_full_batch_leaves_the_rest_for_the_next,
    nothing_to_receive_is_no_error_and_no_wait_beyond_the_limit,
    a_datagram_that_is_too_long_shows,
    what_is_sent_arrives_in_order_and_what_cannot_be_is_counted,
    the_worker_forwards_unchanged_between_bound_peers,
    the_worker_tells_everybody_when_it_drains,
);

fn datagrams_come_with_their_source_and_in_order<I: Io>(mut rig: Rig<I>) {
    for n in 0..10u8 {
        rig.peers[usize::from(n % 2)].send(&[n; 40]);
    }
    let received = receive(&mut rig.io, 10);
    for (number, peer) in rig.peers.iter().take(2).enumerate() {
        let mine = received.iter().filter(|(from, _)| *from == peer.address());
        let firsts: Vec<u8> = mine.map(|(_, bytes)| bytes[0]).collect();
        let expected: Vec<u8> = (0..10).filter(|n| usize::from(n % 2) == number).collect();
        assert_eq!(firsts, expected);
    }
    assert!(received.iter().all(|(_, bytes)| bytes.len() == 40));
}

fn a_full_batch_leaves_the_rest_for_the_next<I: Io>(mut rig: Rig<I>) {
    for n in 0..5u8 {
        rig.peers[0].send(&[n]);
    }
    let mut batch = Batch::new(2);
    let mut seen = Vec::new();
    while seen.len() < 5 {
        batch.clear();
        rig.io.receive(LONG, &mut batch).unwrap();
        assert!((1..=2).contains(&batch.len()), "{}", batch.len());
        seen.extend((0..batch.len()).map(|n| batch.datagram_mut(n).unwrap().1[0]));
    }
    assert_eq!(seen, [0, 1, 2, 3, 4]);
}

fn nothing_to_receive_is_no_error_and_no_wait_beyond_the_limit<I: Io>(mut rig: Rig<I>) {
    let mut batch = Batch::new(4);
    let before = StdInstant::now();
    rig.io.receive(Duration::from_millis(20), &mut batch).unwrap();
    rig.io.receive(Duration::ZERO, &mut batch).unwrap();
    assert!(batch.is_empty());
    assert!(before.elapsed() < LONG);
}

fn a_datagram_that_is_too_long_shows<I: Io>(mut rig: Rig<I>) {
    rig.peers[0].send(&[7; 1600]);
    let received = receive(&mut rig.io, 1);
    assert_eq!(received[0].1.len(), BUFFER_LEN, "longer than any datagram may be");
}

fn what_is_sent_arrives_in_order_and_what_cannot_be_is_counted<I: Io>(mut rig: Rig<I>) {
    let mut batch = Batch::new(6);
    for n in 0..6 {
        batch.buffer_mut(n).unwrap()[..30].fill(n as u8);
    }
    let to = [0, 1, 0, 0, 1].map(|peer: usize| rig.peers[peer].address());
    let outgoing = |(buffer, to)| Outgoing { buffer, len: 30, to };
    let mut outgoing: Vec<Outgoing> = to.into_iter().enumerate().map(outgoing).collect();
    outgoing.insert(2, Outgoing { buffer: 5, len: 30, to: rig.unreachable });
    assert_eq!(rig.io.send(&batch, &outgoing), 1);
    for (peer, expected) in [(0, &[0u8, 2, 3][..]), (1, &[1, 4])] {
        for n in expected {
            assert_eq!(rig.peers[peer].receive(), Some(vec![*n; 30]));
        }
    }
}

fn the_worker_forwards_unchanged_between_bound_peers<I: Io>(rig: Rig<I>) {
    let mut world = World::new(rig);
    let a = world.bound(1, 0);
    let b = world.bound(2, 1);
    let sent: Vec<Vec<u8>> = (0..200u8)
        .map(|n| {
            let mut datagram = data(b.session);
            datagram.resize(60 + usize::from(n), n);
            datagram
        })
        .collect();
    for chunk in sent.chunks(20) {
        chunk.iter().for_each(|datagram| world.rig[0].send(datagram));
        world.turn();
        for datagram in chunk {
            assert_eq!(world.rig[1].receive().as_ref(), Some(datagram));
        }
    }
    // Who is not bound gets a hint, no longer than what it sent, and nothing through.
    world.rig[2].send(&data(b.session));
    world.turn();
    assert!(world.rig[2].receive().is_some_and(|hint| hint.len() <= 60));
    let counters = world.worker.counters();
    assert_eq!((counters.forward.forwarded, counters.control.hints), (200, 1));
    assert_eq!(counters.control.sessions_live, 2);
    let dropped: u64 = counters.drops().map(|(_, count)| count).sum();
    let consumed = counters.control.consumed();
    assert_eq!(counters.received, counters.forward.forwarded + consumed + dropped);
    assert_eq!(a.seen_as, Some(world.rig[0].address()));
}

fn the_worker_tells_everybody_when_it_drains<I: Io>(rig: Rig<I>) {
    let mut world = World::new(rig);
    let clients = [world.bound(1, 0), world.bound(2, 1)];
    world.worker.drain(world.now, Duration::from_secs(9));
    while world.worker.deadline() < world.now + Duration::from_secs(1) {
        world.now = world.now.max(world.worker.deadline());
        let now = world.now;
        world.worker.turn(Duration::ZERO, || now).unwrap();
    }
    for (client, peer) in clients.iter().zip(&world.rig) {
        let told = peer.receive().unwrap();
        assert!(matches!(client.open(&told), Some(ControlMessage::Drain { left_s: 8 | 9 })));
    }
}

/// A worker over a back end, in virtual time.
struct World<I> {
    worker: Worker<I, Provider>,
    rig: Vec<Box<dyn Peer>>,
    key: PublicKey,
    now: Instant,
}

impl<I: Io> World<I> {
    fn new(rig: Rig<I>) -> Self {
        let secret = Secret([9; 32]);
        let key = *KeyPair::from_secret::<Provider>(secret.clone()).public();
        let crypto = Provider::with_random(Seeded::new(1));
        let now = Instant::ZERO;
        let worker = Worker::new(now, &RelayConfig::default(), secret, crypto, rig.io).unwrap();
        Self { worker, rig: rig.peers, key, now }
    }

    /// One batch of what is there.
    fn turn(&mut self) {
        let now = self.now;
        self.worker.turn(Duration::from_millis(200), || now).unwrap();
    }

    /// A client that is bound through `peer`.
    fn bound(&mut self, n: u8, peer: usize) -> Client {
        let mut client = Client::new(n);
        client.address = self.rig[peer].address();
        client.bind(self, false);
        client.prove(self);
        client
    }
}

impl<I: Io> Hop for World<I> {
    fn relay_key(&self) -> PublicKey {
        self.key
    }

    fn exchange(&mut self, from: SocketAddr, datagram: &[u8]) -> Option<Vec<u8>> {
        let peer = self.rig.iter().position(|peer| peer.address() == from).unwrap();
        self.rig[peer].send(datagram);
        self.turn();
        self.rig[peer].receive()
    }
}

/// Everything that comes, until there are `count`.
fn receive(io: &mut impl Io, count: usize) -> Vec<(SocketAddr, Vec<u8>)> {
    let mut batch = Batch::new(64);
    let mut received = Vec::new();
    while received.len() < count {
        batch.clear();
        io.receive(LONG, &mut batch).unwrap();
        assert!(!batch.is_empty(), "only {} came", received.len());
        for n in 0..batch.len() {
            let (from, bytes) = batch.datagram_mut(n).unwrap();
            received.push((from, bytes.to_vec()));
        }
    }
    received
}

const LONG: Duration = Duration::from_secs(5);
