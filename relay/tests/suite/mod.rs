//! What every back end must do, and what owner and worker do over each: one suite over all.
#![allow(dead_code, reason = "not every test that includes it uses all of it")]
#![allow(unused_macros, unused_imports, reason = "as above")]
#![allow(clippy::unwrap_used, reason = "a test may stop at what should not happen")]

#[path = "../../../core/tests/relay_support/client.rs"]
pub(crate) mod client;
pub(crate) mod rig;

use core::net::SocketAddr;
use core::time::Duration;
use std::thread;
use std::time::Instant as StdInstant;

use client::{Client, Hop, Provider, data};
use rig::{Peer, Rig};
use waylane_core::crypto::Secret;
use waylane_core::id::{PublicKey, SessionId};
use waylane_core::noise::KeyPair;
use waylane_core::relay::RelayConfig;
use waylane_core::time::Instant;
use waylane_core::wire::hop::ControlMessage;
use waylane_crypto::Seeded;
use waylane_relay::io::{Outgoing, Sent};
use waylane_relay::{Io, Owner, RelayCounters, SharedTables, Worker};

/// The whole suite over what `$rig` makes for so many peers; nothing if this machine has no such
/// addresses.
macro_rules! suite_over {
    ($name:ident, $rig:expr) => {
        suite_over!(
            $name,
            $rig,
            datagrams_come_with_their_source_and_in_order,
            nothing_to_receive_is_no_error_and_no_wait_beyond_the_limit,
            a_wake_ends_the_wait,
            a_datagram_that_is_too_long_shows,
            what_is_sent_arrives_in_order_and_what_cannot_be_is_counted,
            runs_arrive_as_what_they_were,
            it_can_be_started_again_on_another_thread,
            a_peer_that_is_gone_concerns_nobody_else,
            a_worker_forwards_unchanged_between_bound_peers,
            mixed_and_hostile_traffic_arrives_where_it_may_and_nowhere_else,
            the_owner_tells_everybody_when_it_drains,
        );
    };
    ($name:ident, $rig:expr, $($test:ident),* $(,)?) => {
        mod $name {
            $(#[test]
            fn $test() {
                if let Some(rig) = $rig(4) {
                    $crate::suite::$test(rig);
                }
            })*
        }
    };
}
pub(crate) use suite_over;

pub(crate) fn datagrams_come_with_their_source_and_in_order<I: Io>(mut rig: Rig<I>) {
    // More than one batch of any back end's.
    for round in 0..5u8 {
        for n in 0..80u8 {
            rig.peers[usize::from(n % 2)].send(&[round ^ n; 40]);
        }
        let received = receive(&mut rig.io, 80);
        for (number, peer) in rig.peers.iter().take(2).enumerate() {
            let mine = received.iter().filter(|(from, _)| *from == peer.address());
            let firsts: Vec<u8> = mine.map(|(_, bytes)| bytes[0]).collect();
            let expected = (0..80).filter(|n| usize::from(n % 2) == number).map(|n| round ^ n);
            assert!(firsts.iter().copied().eq(expected), "{firsts:?}");
        }
        assert!(received.iter().all(|(_, bytes)| bytes.len() == 40));
    }
}

pub(crate) fn nothing_to_receive_is_no_error_and_no_wait_beyond_the_limit<I: Io>(mut rig: Rig<I>) {
    let before = StdInstant::now();
    assert_eq!(rig.io.receive(Duration::from_millis(20)).unwrap(), 0);
    assert!(before.elapsed() >= Duration::from_millis(15));
    assert_eq!(rig.io.receive(Duration::ZERO).unwrap(), 0);
    assert!(rig.io.datagram(0).is_none());
    assert!(before.elapsed() < LONG);
}

pub(crate) fn a_wake_ends_the_wait<I: Io>(mut rig: Rig<I>) {
    let waker = rig.io.waker();
    for from_another_thread in [false, true, true, false] {
        let before = StdInstant::now();
        if from_another_thread {
            let waker = waker.clone();
            let thread = thread::spawn(move || {
                thread::park_timeout(Duration::from_millis(20));
                waker.wake();
            });
            assert_eq!(rig.io.receive(LONG).unwrap(), 0);
            thread.join().unwrap();
        } else {
            waker.wake();
            assert_eq!(rig.io.receive(LONG).unwrap(), 0);
        }
        assert!(before.elapsed() < LONG / 2);
        // It is spent; what comes is received as before.
        rig.peers[0].send(&[1; 30]);
        assert_eq!(receive(&mut rig.io, 1).len(), 1);
    }
}

pub(crate) fn a_datagram_that_is_too_long_shows<I: Io>(mut rig: Rig<I>) {
    for len in [1473, 1600, 3000] {
        rig.peers[0].send(&vec![7; len]);
        rig.peers[1].send(&[8; 1472]);
        let received = receive(&mut rig.io, 2);
        let lens: Vec<usize> = received.iter().map(|(_, bytes)| bytes.len()).collect();
        assert!(lens[0] > 1472, "not of a legal length, but {lens:?} of {len}");
        assert_eq!(lens[1], 1472);
    }
}

pub(crate) fn what_is_sent_arrives_in_order_and_what_cannot_be_is_counted<I: Io>(mut rig: Rig<I>) {
    let unreachable = rig.unreachable;
    let plan = [Some(0), Some(1), None, Some(0), Some(0), Some(1), None];
    for n in 0..plan.len() {
        rig.peers[2].send(&[n as u8; 30]);
    }
    let mut first = 0;
    let mut sent = Sent::default();
    while first < plan.len() {
        let count = rig.io.receive(LONG).unwrap();
        let send_on = |index: usize| {
            let to =
                plan[first + index].map_or(unreachable, |peer: usize| rig.peers[peer].address());
            Outgoing { index, len: 30, to }
        };
        let outgoing: Vec<_> = (0..count).map(send_on).collect();
        rig.io.send(&outgoing, &mut sent);
        first += count;
    }
    assert_eq!((sent.datagrams, sent.bytes), (5, 150));
    assert_eq!((sent.failed.unreachable, sent.failed.total()), (2, 2));
    for (peer, expected) in [(0, &[0u8, 3, 4][..]), (1, &[1, 5])] {
        for n in expected {
            assert_eq!(rig.peers[peer].receive(), Some(vec![*n; 30]));
        }
    }
}

pub(crate) fn runs_arrive_as_what_they_were<I: Io>(mut rig: Rig<I>) {
    let lens = [60, 60, 60, 40, 60, 61, 61, 1472, 1472, 1472, 1471, 28, 28, 29];
    let mut expected = Vec::new();
    for round in 0..20u8 {
        for (n, &len) in lens.iter().enumerate() {
            let mut datagram = vec![round; len];
            datagram[0] = n as u8;
            rig.peers[0].send(&datagram);
            expected.push(datagram);
        }
        let mut left = lens.len();
        while left > 0 {
            let count = rig.io.receive(LONG).unwrap();
            assert!(count > 0);
            let to = rig.peers[1].address();
            let len = |index| rig.io.datagram(index).unwrap().1.len();
            let outgoing: Vec<_> =
                (0..count).map(|index| Outgoing { index, len: len(index), to }).collect();
            let mut sent = Sent::default();
            rig.io.send(&outgoing, &mut sent);
            assert_eq!((sent.datagrams, sent.failed.total()), (count as u64, 0));
            left -= count;
        }
        for datagram in expected.drain(..) {
            assert_eq!(rig.peers[1].receive(), Some(datagram));
        }
    }
}

pub(crate) fn a_peer_that_is_gone_concerns_nobody_else<I: Io>(mut rig: Rig<I>) {
    // On loopback whoever sends there hears at once that nobody listens.
    let gone = rig.peers.pop().unwrap().address();
    let mut sent = Sent::default();
    for n in 0..20u8 {
        rig.peers[0].send(&[n; 40]);
        while rig.io.receive(LONG).unwrap() == 0 {}
        let to = if n % 4 == 3 { rig.peers[1].address() } else { gone };
        rig.io.send(&[Outgoing { index: 0, len: 40, to }], &mut sent);
    }
    for n in [3, 7, 11, 15, 19] {
        assert_eq!(rig.peers[1].receive(), Some(vec![n; 40]));
    }
    assert_eq!(sent.datagrams + sent.failed.total(), 20);
}

pub(crate) fn it_can_be_started_again_on_another_thread<I: Io + Send>(mut rig: Rig<I>) {
    for n in 0..3u8 {
        rig.peers[0].send(&[n; 50]);
        let io = &mut rig.io;
        thread::scope(|scope| {
            let thread = scope.spawn(move || {
                io.start().unwrap();
                receive(io, 1)
            });
            assert_eq!(thread.join().unwrap()[0].1, [n; 50]);
        });
    }
}

pub(crate) fn a_worker_forwards_unchanged_between_bound_peers<I: Io>(rig: Rig<I>) {
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
        chunk.iter().for_each(|datagram| world.peers[0].send(datagram));
        world.serve(20);
        for datagram in chunk {
            assert_eq!(world.peers[1].receive().as_ref(), Some(datagram));
        }
    }
    // Who is not bound gets a hint, no longer than what it sent, and nothing through.
    world.peers[2].send(&data(b.session));
    world.serve(1);
    assert!(world.peers[2].receive().is_some_and(|hint| hint.len() <= 60));
    let counters = world.counters();
    assert_eq!((counters.forwarded(), counters.owner.control.hints), (200, 1));
    assert_eq!(counters.owner.control.sessions_live, 2);
    assert_eq!(a.seen_as, Some(world.peers[0].address()));
    world.assert_all_counted();
}

/// Three bound peers, one of which leaves half-way and another one goes on from elsewhere, and a
/// stranger; datagrams of a few lengths, to each other, to sessions that were never given out, and to
/// one that has ended.
pub(crate) fn mixed_and_hostile_traffic_arrives_where_it_may_and_nowhere_else<I: Io>(rig: Rig<I>) {
    let mut world = World::new(rig);
    let mut clients: Vec<Client> = (0..3).map(|n| world.bound(n + 1, usize::from(n))).collect();
    let session = |n: usize| clients[n].session;
    let [a, b, c] = [0, 1, 2].map(session);
    let forged = SessionId::new(a.slot(), a.tag() ^ 1);
    let never = SessionId::new(SessionId::SLOTS - 1, 7);
    let empty = SessionId::new(a.slot() ^ 1, 0);
    let mut random = 12345_u32;
    let mut next = |below: u32| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 8) % below
    };
    // At which peer each of them is.
    let mut homes = [0, 1, 2];
    for round in 0..40_u8 {
        if round == 20 {
            let unbind = clients[2].control(ControlMessage::Unbind);
            world.peers[2].send(&unbind);
            world.serve(1);
        }
        if round == 30 {
            // Long enough for a stranger to be told something again.
            world.now += Duration::from_secs(10);
            while world.peers[3].receive().is_some() {}
            homes[1] = 3;
            clients[1].address = world.peers[3].address();
            assert!(clients[1].recover(&mut world, b) <= 3);
            assert_eq!(clients[1].session, b);
        }
        // Sender, destination, and what is to arrive of the one at the other.
        let mut expected = [const { [const { Vec::new() }; 4] }; 4];
        let is_live = |client: usize| client < 2 || client == 2 && round < 20;
        for number in 0..40 {
            let from = next(4) as usize;
            let (to, client) =
                [(a, 0), (b, 1), (c, 2), (forged, 9), (never, 9), (empty, 9)][next(6) as usize];
            let len = [28, 28, 67, 67, 127, 127, 1200, 1472, 20, 1473][next(10) as usize];
            let mut datagram = vec![0x80 | next(8) as u8; len];
            datagram[1..8].copy_from_slice(&to.to_bytes());
            datagram[8..11].copy_from_slice(&[round, number, from as u8]);
            world.peers[from].send(&datagram);
            let is_sender = (0..3).any(|client| homes[client] == from && is_live(client));
            let may = is_sender && is_live(client) && homes[client] != from;
            if may && (28..=1472).contains(&len) {
                expected[from][homes[client]].push(datagram);
            }
        }
        world.serve(40);
        for at in 0..4 {
            let count = expected.iter().map(|from| from[at].len()).sum::<usize>();
            let mut arrived = [const { Vec::new() }; 4];
            for _ in 0..count {
                let datagram = world.peers[at].receive().expect("everything allowed arrives");
                arrived[usize::from(datagram[10])].push(datagram);
            }
            for from in 0..4 {
                assert!(arrived[from] == expected[from][at], "{from} to {at} in round {round}");
            }
        }
    }
    // What is left is hints for who has no session.
    for (peer, may_be_told) in world.peers.iter().zip([false, true, true, true]) {
        while let Some(datagram) = peer.receive() {
            assert!(may_be_told && datagram[0] < 0x40, "a stranger got {datagram:02x?}");
        }
    }
    world.assert_all_counted();
    let drops: Vec<&str> =
        world.counters().drops().filter(|(_, count)| *count > 0).map(|(name, _)| name).collect();
    assert_eq!(drops, ["unbound", "malformed", "no_destination", "to_itself"]);
}

pub(crate) fn the_owner_tells_everybody_when_it_drains<I: Io>(rig: Rig<I>) {
    let mut world = World::new(rig);
    let clients = [world.bound(1, 0), world.bound(2, 1)];
    world.owner.drain(world.now, Duration::from_secs(9));
    while world.owner.deadline() < world.now + Duration::from_secs(1) {
        world.now = world.now.max(world.owner.deadline());
        let now = world.now;
        world.owner.turn(Duration::ZERO, || now);
    }
    for (client, peer) in clients.iter().zip(&world.peers) {
        let told = peer.receive().unwrap();
        assert!(matches!(client.open(&told), Some(ControlMessage::Drain { left_s: 8 | 9, .. })));
    }
}

/// An owner and a worker over a back end, on one thread and in virtual time.
pub(crate) struct World<I> {
    pub(crate) owner: Owner<Provider>,
    pub(crate) worker: Worker<I>,
    pub(crate) peers: Vec<Box<dyn Peer>>,
    key: PublicKey,
    now: Instant,
}

impl<I: Io> World<I> {
    pub(crate) fn new(rig: Rig<I>) -> Self {
        let secret = Secret([9; 32]);
        let key = *KeyPair::from_secret::<Provider>(secret.clone()).public();
        let crypto = Provider::with_random(Seeded::new(1));
        let now = Instant::ZERO;
        let config = RelayConfig::default();
        let tables = SharedTables::on_heap(config.limits);
        let owner = Owner::new(now, &config, secret, crypto, tables, rig.outlet).unwrap();
        let worker = Worker::new(&owner, rig.io);
        Self { owner, worker, peers: rig.peers, key, now }
    }

    /// Until so many more datagrams have come and been dealt with.
    pub(crate) fn serve(&mut self, count: u64) {
        self.forward(self.worker.counters().received + count);
        let now = self.now;
        while self.owner.turn(Duration::ZERO, || now) > 0 {}
    }

    /// The worker's part, until it has received so many since its start.
    pub(crate) fn forward(&mut self, until: u64) {
        let now = self.now;
        while self.worker.counters().received < until {
            let before = self.worker.counters().received;
            self.worker.turn(LONG, || now).unwrap();
            assert!(self.worker.counters().received > before, "a datagram was lost");
        }
    }

    /// A client that is bound through `peer`.
    pub(crate) fn bound(&mut self, n: u8, peer: usize) -> Client {
        let mut client = Client::new(n);
        client.address = self.peers[peer].address();
        client.bind(self, false);
        client.prove(self);
        client
    }

    pub(crate) fn counters(&self) -> RelayCounters {
        let mut counters = RelayCounters::default();
        counters.workers = *self.worker.counters();
        counters.owner = self.owner.counters();
        counters
    }

    pub(crate) fn assert_all_counted(&self) {
        let counters = self.counters();
        let consumed = counters.owner.control.consumed();
        let known = counters.forwarded() + consumed + counters.dropped();
        assert_eq!(counters.workers.received, known, "{counters:?}");
        let spread = self.worker.spread();
        assert_eq!(spread.batches.sum, counters.workers.received, "{spread:?}");
        assert_eq!(spread.batches.count(), spread.residence_us.count(), "{spread:?}");
        assert_eq!(spread.runs.sum, counters.forwarded(), "{spread:?}");
    }
}

impl<I: Io> Hop for World<I> {
    fn relay_key(&self) -> PublicKey {
        self.key
    }

    fn exchange(&mut self, from: SocketAddr, datagram: &[u8]) -> Option<Vec<u8>> {
        let peer = self.peers.iter().position(|peer| peer.address() == from).unwrap();
        self.peers[peer].send(datagram);
        self.serve(1);
        self.peers[peer].receive()
    }
}

/// Everything that comes, until there are `count`.
fn receive(io: &mut impl Io, count: usize) -> Vec<(SocketAddr, Vec<u8>)> {
    let mut received = Vec::new();
    while received.len() < count {
        let here = io.receive(LONG).unwrap();
        assert!(here > 0, "only {} came", received.len());
        for n in 0..here {
            let (from, bytes) = io.datagram(n).unwrap();
            received.push((from, bytes.to_vec()));
        }
    }
    received
}

pub(crate) const LONG: Duration = Duration::from_secs(5);
