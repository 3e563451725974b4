//! A back end and the peers at its other end, for every back end the same.

use core::cell::RefCell;
use core::net::SocketAddr;
use core::time::Duration;
use std::collections::VecDeque;
use std::io;
use std::net::UdpSocket;
use std::rc::Rc;

use waylane_relay::Io;
use waylane_relay::io::{Batch, Outgoing, Udp};

/// A back end under test.
pub(crate) struct Rig<I> {
    pub(crate) io: I,
    pub(crate) peers: Vec<Box<dyn Peer>>,
    /// An address it has no way to.
    pub(crate) unreachable: SocketAddr,
}

/// Somebody at the other end.
pub(crate) trait Peer {
    fn address(&self) -> SocketAddr;
    fn send(&self, datagram: &[u8]);
    /// The next datagram, if it comes soon.
    fn receive(&self) -> Option<Vec<u8>>;
}

/// Over sockets of this machine.
pub(crate) fn udp(peers: usize) -> Rig<Udp> {
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let io = Udp::bind(&[loopback], 1 << 20).unwrap();
    let relay = io.local_addresses()[0];
    let peer = |_| {
        let socket = UdpSocket::bind(loopback).unwrap();
        socket.connect(relay).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        Box::new(socket) as Box<dyn Peer>
    };
    let unreachable = "[::1]:9".parse().unwrap();
    Rig { io, peers: (0..peers).map(peer).collect(), unreachable }
}

/// Over nothing but memory.
pub(crate) fn fake(peers: usize) -> Rig<Fake> {
    let net = Rc::new(RefCell::new(Net::default()));
    let peer = |n: usize| {
        net.borrow_mut().to_peers.push(VecDeque::new());
        Box::new(FakePeer { net: Rc::clone(&net), number: n }) as Box<dyn Peer>
    };
    let peers = (0..peers).map(peer).collect();
    Rig { io: Fake { net }, peers, unreachable: SocketAddr::from(([203, 0, 113, 1], 1)) }
}

/// A back end that is two queues.
pub(crate) struct Fake {
    net: Rc<RefCell<Net>>,
}

#[derive(Default)]
struct Net {
    to_relay: VecDeque<(SocketAddr, Vec<u8>)>,
    to_peers: Vec<VecDeque<Vec<u8>>>,
}

impl Io for Fake {
    fn receive(&mut self, _: Duration, batch: &mut Batch) -> io::Result<()> {
        let mut net = self.net.borrow_mut();
        while let Some(space) = batch.space() {
            let Some((from, datagram)) = net.to_relay.pop_front() else { break };
            let len = datagram.len().min(space.len());
            space[..len].copy_from_slice(&datagram[..len]);
            batch.push(from, len);
        }
        Ok(())
    }

    fn send(&mut self, batch: &Batch, outgoing: &[Outgoing]) -> usize {
        let mut net = self.net.borrow_mut();
        let mut lost = 0;
        for datagram in outgoing {
            let number = (0..net.to_peers.len()).find(|&n| fake_address(n) == datagram.to);
            match number.and_then(|n| net.to_peers.get_mut(n)) {
                Some(queue) => queue.push_back(batch.outgoing(datagram).to_vec()),
                None => lost += 1,
            }
        }
        lost
    }
}

struct FakePeer {
    net: Rc<RefCell<Net>>,
    number: usize,
}

impl Peer for FakePeer {
    fn address(&self) -> SocketAddr {
        fake_address(self.number)
    }

    fn send(&self, datagram: &[u8]) {
        self.net.borrow_mut().to_relay.push_back((self.address(), datagram.to_vec()));
    }

    fn receive(&self) -> Option<Vec<u8>> {
        self.net.borrow_mut().to_peers[self.number].pop_front()
    }
}

impl Peer for UdpSocket {
    fn address(&self) -> SocketAddr {
        self.local_addr().unwrap()
    }

    fn send(&self, datagram: &[u8]) {
        UdpSocket::send(self, datagram).unwrap();
    }

    fn receive(&self) -> Option<Vec<u8>> {
        let mut bytes = [0; 2048];
        let len = self.recv(&mut bytes).ok()?;
        Some(bytes[..len].to_vec())
    }
}

fn fake_address(number: usize) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 5000 + number as u16))
}

const SOON: Duration = Duration::from_millis(500);
