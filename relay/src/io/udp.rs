//! The portable back end: one system call a datagram, on every system with UDP sockets.

use core::net::{Ipv6Addr, SocketAddr};
use core::time::Duration;
use std::io;
use std::net::UdpSocket;
use std::sync::Arc;

use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Protocol, Socket, Type};

use super::{Batch, Io, Outgoing, Sent, Waker};

/// At most one IPv4 and one IPv6 socket: which one a datagram leaves by is told by its address.
pub struct Udp {
    poll: Poll,
    events: Events,
    waker: Arc<mio::Waker>,
    sockets: Vec<(SocketAddr, mio::net::UdpSocket)>,
    /// Which socket is asked first, so that a busy one does not starve the other.
    first: usize,
    batch: Batch,
}

impl Udp {
    /// A back end over these sockets, as [`open`] makes them.
    ///
    /// # Errors
    /// The system's, when it cannot wait for them.
    pub fn new(sockets: Vec<UdpSocket>) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(mio::Waker::new(poll.registry(), WAKE)?);
        let mut udp = Self {
            poll,
            events: Events::with_capacity(4),
            waker,
            sockets: Vec::new(),
            first: 0,
            batch: Batch::new(BATCH),
        };
        for socket in sockets {
            udp.add(socket)?;
        }
        Ok(udp)
    }

    fn add(&mut self, socket: UdpSocket) -> io::Result<()> {
        let local = socket.local_addr()?;
        socket.set_nonblocking(true)?;
        let mut socket = mio::net::UdpSocket::from_std(socket);
        let token = Token(self.sockets.len());
        self.poll.registry().register(&mut socket, token, Interest::READABLE)?;
        self.sockets.push((local, socket));
        Ok(())
    }

    fn receive_now(&mut self) -> io::Result<()> {
        let count = self.sockets.len();
        self.first = if count == 0 { 0 } else { (self.first + 1) % count };
        let (later, sooner) = self.sockets.split_at(self.first);
        for (_, socket) in sooner.iter().chain(later) {
            fill(socket, &mut self.batch)?;
        }
        Ok(())
    }

    fn send_one(&self, datagram: &Outgoing) -> io::Result<()> {
        let same_family = |(local, _): &&(SocketAddr, _)| local.is_ipv4() == datagram.to.is_ipv4();
        let socket = self.sockets.iter().find(same_family);
        let (_, socket) = socket.ok_or(io::ErrorKind::NetworkUnreachable)?;
        let bytes = self.batch.datagram(datagram.index).map_or(&[][..], |(_, bytes)| bytes);
        socket.send_to(bytes, datagram.to).map(drop)
    }
}

impl Io for Udp {
    fn receive(&mut self, wait: Duration) -> io::Result<usize> {
        self.batch.clear();
        // Readiness is told once, so the sockets are emptied before anything is waited for.
        self.receive_now()?;
        if self.batch.is_empty() && !wait.is_zero() {
            if let Err(error) = self.poll.poll(&mut self.events, Some(wait))
                && error.kind() != io::ErrorKind::Interrupted
            {
                return Err(error);
            }
            self.receive_now()?;
        }
        Ok(self.batch.len())
    }

    fn datagram(&self, index: usize) -> Option<(SocketAddr, &[u8])> {
        self.batch.datagram(index)
    }

    fn send(&mut self, outgoing: &[Outgoing], sent: &mut Sent) {
        for datagram in outgoing {
            match self.send_one(datagram) {
                Ok(()) => sent.took(1, datagram.len),
                Err(error) => sent.refused(&error),
            }
        }
    }

    fn waker(&self) -> Waker {
        let waker = Arc::clone(&self.waker);
        Waker::new(move || {
            if let Err(error) = waker.wake() {
                tracing::warn!(%error, "a worker cannot be woken");
            }
        })
    }
}

/// Opens a socket for each of `addresses`, at most one of each family, and asks for buffers of
/// `socket_buffer` bytes (the system may give less). `prepare` sets what else is wanted, before
/// the socket is bound.
///
/// # Errors
/// The address that could not be bound, and why.
pub fn open(
    addresses: &[SocketAddr],
    socket_buffer: usize,
    prepare: impl Fn(&Socket, SocketAddr) -> io::Result<()>,
) -> Result<Vec<UdpSocket>, BindError> {
    let open = |&address: &SocketAddr| {
        let socket = bound(address, socket_buffer, &prepare);
        socket.map_err(|error| BindError { address, error })
    };
    addresses.iter().map(open).collect()
}

/// A socket could not be bound.
#[derive(Debug)]
pub struct BindError {
    /// To which address.
    pub address: SocketAddr,
    /// Why.
    pub error: io::Error,
}

impl BindError {
    /// What concerns all of `addresses`, told of the first.
    #[must_use]
    pub fn of(addresses: &[SocketAddr], error: io::Error) -> Self {
        let address = addresses.first().copied();
        Self { address: address.unwrap_or(SocketAddr::from(([0; 4], 0))), error }
    }
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

fn bound(
    address: SocketAddr,
    socket_buffer: usize,
    prepare: impl Fn(&Socket, SocketAddr) -> io::Result<()>,
) -> io::Result<UdpSocket> {
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
    prepare(&socket, address)?;
    socket.bind(&address.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
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

/// Datagrams taken at once.
const BATCH: usize = 64;
/// More than that many errors without a datagram are the socket's own.
const ERRORS_IN_A_ROW: u32 = 1000;
const WAKE: Token = Token(usize::MAX);
