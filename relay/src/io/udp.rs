//! The portable back end: one system call a datagram, on every system with UDP sockets.

use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;
use std::io;
use std::net::UdpSocket;

use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Protocol, Socket, Type};

use super::{Batch, Io, Outgoing};

/// At most one IPv4 and one IPv6 socket: which one a datagram leaves by is told by its address.
pub struct Udp {
    poll: Poll,
    events: Events,
    sockets: Vec<mio::net::UdpSocket>,
    local: Vec<SocketAddr>,
    /// Which socket is asked first, so that a busy one does not starve the other.
    first: usize,
}

impl Udp {
    /// Binds `addresses`, at most one of each family, and asks for socket buffers of
    /// `socket_buffer` bytes (the system may give less).
    ///
    /// # Errors
    /// The address that could not be bound, and why.
    pub fn bind(addresses: &[SocketAddr], socket_buffer: usize) -> Result<Self, BindError> {
        let fail = |address| move |error| BindError { address, error };
        let unspecified = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let poll = Poll::new().map_err(fail(unspecified))?;
        let mut udp = Self {
            poll,
            events: Events::with_capacity(4),
            sockets: Vec::new(),
            local: Vec::new(),
            first: 0,
        };
        for &address in addresses {
            udp.add(address, socket_buffer).map_err(fail(address))?;
        }
        Ok(udp)
    }

    /// The addresses bound, with the ports the system chose.
    #[must_use]
    pub fn local_addresses(&self) -> &[SocketAddr] {
        &self.local
    }

    fn add(&mut self, address: SocketAddr, socket_buffer: usize) -> io::Result<()> {
        if self.local.iter().any(|other| other.is_ipv4() == address.is_ipv4()) {
            let message = "there is a socket of this family already";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            // IPv4 has a socket of its own; mapped addresses would give one peer two.
            socket.set_only_v6(true)?;
        }
        // Larger buffers outlast a moment without service; a refusal only costs that.
        let sized = socket.set_recv_buffer_size(socket_buffer);
        if let Err(error) = sized.and_then(|()| socket.set_send_buffer_size(socket_buffer)) {
            tracing::debug!(%error, "the system keeps its own socket buffer size");
        }
        socket.bind(&address.into())?;
        socket.set_nonblocking(true)?;
        let mut socket = mio::net::UdpSocket::from_std(UdpSocket::from(socket));
        self.poll.registry().register(
            &mut socket,
            Token(self.sockets.len()),
            Interest::READABLE,
        )?;
        self.local.push(socket.local_addr()?);
        self.sockets.push(socket);
        Ok(())
    }

    fn receive_now(&mut self, batch: &mut Batch) -> io::Result<()> {
        let count = self.sockets.len();
        self.first = if count == 0 { 0 } else { (self.first + 1) % count };
        let (later, sooner) = self.sockets.split_at(self.first);
        for socket in sooner.iter().chain(later) {
            fill(socket, batch)?;
        }
        Ok(())
    }
}

impl Io for Udp {
    fn receive(&mut self, wait: Duration, batch: &mut Batch) -> io::Result<()> {
        // Readiness is told once, so the sockets are emptied before anything is waited for.
        self.receive_now(batch)?;
        if !batch.is_empty() || wait.is_zero() {
            return Ok(());
        }
        if let Err(error) = self.poll.poll(&mut self.events, Some(wait))
            && error.kind() != io::ErrorKind::Interrupted
        {
            return Err(error);
        }
        self.receive_now(batch)
    }

    fn send(&mut self, batch: &Batch, outgoing: &[Outgoing]) -> usize {
        let mut lost = 0;
        for datagram in outgoing {
            let same_family = |local: &SocketAddr| local.is_ipv4() == datagram.to.is_ipv4();
            let socket = self.local.iter().position(same_family).and_then(|n| self.sockets.get(n));
            let bytes = batch.outgoing(datagram);
            match socket.map(|socket| socket.send_to(bytes, datagram.to)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    lost += 1;
                    tracing::trace!(kind = ?error.kind(), "a datagram could not be sent");
                }
                None => lost += 1,
            }
        }
        lost
    }
}

/// A socket could not be bound.
#[derive(Debug)]
pub struct BindError {
    /// To which address.
    pub address: SocketAddr,
    /// Why.
    pub error: io::Error,
}

impl core::fmt::Display for BindError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "listen: cannot bind {}: {}", self.address, self.error)
    }
}

impl core::error::Error for BindError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        Some(&self.error)
    }
}

/// Takes what `socket` has, until it has no more or the batch is full.
fn fill(socket: &mio::net::UdpSocket, batch: &mut Batch) -> io::Result<()> {
    let mut errors = 0;
    while let Some(space) = batch.space() {
        match socket.recv_from(space) {
            Ok((len, from)) => batch.push(plain(from), len),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            // What an earlier datagram met on its way (ICMP) is told here; it concerns that one.
            Err(error) => {
                errors += 1;
                if errors > ERRORS_IN_A_ROW {
                    return Err(error);
                }
            }
        }
    }
    Ok(())
}

/// Without a flow label, which says nothing about who it is.
fn plain(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(_) => address,
        SocketAddr::V6(v6) => SocketAddr::from((Ipv6Addr::from(v6.ip().octets()), v6.port())),
    }
}

/// More than that many errors without a datagram are the socket's own.
const ERRORS_IN_A_ROW: u32 = 1000;
