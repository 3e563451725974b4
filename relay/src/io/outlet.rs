//! How the owner of the sessions sends: by itself, without a worker.

use core::net::SocketAddr;
use std::io;
use std::net::UdpSocket;

/// Sends single datagrams from the relay's addresses.
pub trait Outlet {
    /// Sends one datagram, without waiting.
    ///
    /// # Errors
    /// The system's, when it does not take it.
    fn send(&mut self, to: SocketAddr, bytes: &[u8]) -> io::Result<()>;
}

/// At most one IPv4 and one IPv6 socket: which one a datagram leaves by is told by its address.
pub struct Sockets {
    sockets: Vec<(SocketAddr, UdpSocket)>,
}

impl Sockets {
    /// Second handles on `sockets`, which another thread may go on to use: a send needs no more
    /// than the port.
    ///
    /// # Errors
    /// The system's, when it has no more handles.
    pub fn beside(sockets: &[UdpSocket]) -> io::Result<Self> {
        let both = |socket: &UdpSocket| Ok((socket.local_addr()?, socket.try_clone()?));
        Ok(Self { sockets: sockets.iter().map(both).collect::<io::Result<_>>()? })
    }

    /// The addresses bound, with the ports the system chose.
    #[must_use]
    pub fn local_addresses(&self) -> Vec<SocketAddr> {
        self.sockets.iter().map(|(local, _)| *local).collect()
    }
}

impl Outlet for Sockets {
    fn send(&mut self, to: SocketAddr, bytes: &[u8]) -> io::Result<()> {
        let same_family = |(local, _): &&(SocketAddr, _)| local.is_ipv4() == to.is_ipv4();
        match self.sockets.iter().find(same_family) {
            Some((_, socket)) => socket.send_to(bytes, to).map(drop),
            None => Err(io::ErrorKind::NetworkUnreachable.into()),
        }
    }
}
