//! A back end and the peers at its other end, for every back end the same.

use core::net::SocketAddr;
use core::time::Duration;
use std::io;
use std::net::UdpSocket;

use waylane_relay::Io;
use waylane_relay::io::{Outlet, Sockets};

/// A back end under test.
pub(crate) struct Rig<I> {
    pub(crate) io: I,
    pub(crate) outlet: Box<dyn Outlet + Send>,
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

/// Over sockets of this machine; `None` if it has no such address (IPv6 may be off).
pub(crate) fn over<I: Io>(
    loopback: &str,
    peers: usize,
    io: impl FnOnce(Vec<UdpSocket>) -> io::Result<I>,
) -> Option<Rig<I>> {
    let loopback: SocketAddr = loopback.parse().unwrap();
    let socket = UdpSocket::bind(loopback).ok()?;
    socket.set_nonblocking(true).unwrap();
    let relay = socket.local_addr().unwrap();
    let sockets = vec![socket];
    let outlet = Box::new(Sockets::beside(core::slice::from_ref(&sockets)).unwrap());
    let mut io = io(sockets).unwrap();
    io.start().unwrap();
    let peer = |_| {
        let socket = UdpSocket::bind(loopback).unwrap();
        socket.connect(relay).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        Box::new(socket) as Box<dyn Peer>
    };
    let other = if relay.is_ipv4() { "[::1]:9" } else { "127.0.0.1:9" };
    let unreachable = other.parse().unwrap();
    Some(Rig { io, outlet, peers: (0..peers).map(peer).collect(), unreachable })
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

const SOON: Duration = Duration::from_millis(500);
