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
    /// Those of every worker, for the relay that takes this one's place.
    all: Vec<Vec<UdpSocket>>,
}

impl Sockets {
    /// Second handles on the sockets of each worker, which the workers may go on to use: a send
    /// needs no more than the port, so the first worker's serve.
    ///
    /// # Errors
    /// The system's, when it has no more handles.
    pub fn beside(workers: &[Vec<UdpSocket>]) -> io::Result<Self> {
        let both = |socket: &UdpSocket| Ok((socket.local_addr()?, socket.try_clone()?));
        let first = workers.first().map_or(&[][..], Vec::as_slice);
        let copies = |set: &Vec<UdpSocket>| set.iter().map(UdpSocket::try_clone).collect();
        Ok(Self {
            sockets: first.iter().map(both).collect::<io::Result<_>>()?,
            all: workers.iter().map(copies).collect::<io::Result<_>>()?,
        })
    }

    /// The handles on every worker's sockets, which are not needed for sending.
    pub(crate) fn take_all(&mut self) -> Vec<Vec<UdpSocket>> {
        core::mem::take(&mut self.all)
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
