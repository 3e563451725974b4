//! Non-blocking UDP sockets: one per address family, opened when a relay needs it.

use core::array;
use core::fmt;
use core::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::io::{self, ErrorKind, IoSliceMut};

use mio::{Events, Interest, Poll, Token};
use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use socket2::{Domain, Protocol, Socket as RawSocket, Type};

/// A UDP socket could not be opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SocketError {
    /// The local address that was asked for.
    pub bind: SocketAddr,
    /// What the system said.
    pub kind: ErrorKind,
}

impl fmt::Display for SocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cannot open a UDP socket at {}: {}; is the port free and UDP allowed?",
            self.bind, self.kind
        )
    }
}

impl core::error::Error for SocketError {}

/// Where and how sockets are opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Binding {
    pub(crate) v4: SocketAddrV4,
    pub(crate) v6: SocketAddrV6,
    /// Bytes asked of the system for each buffer.
    pub(crate) buffer: usize,
}

/// What became of datagrams handed to [`Sockets::send`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sent {
    /// They are the network's now. It may lose them, as it may any datagram.
    Gone,
    /// The socket's buffer is full: try again later.
    Full,
}

/// A datagram out of a socket.
pub(crate) struct Received<'a> {
    pub(crate) from: SocketAddr,
    pub(crate) bytes: &'a mut [u8],
    /// When the system took it in, since 1970; `None` where the system does not tell.
    pub(crate) arrived: Option<Duration>,
}

/// The client's sockets and the buffers they receive into.
pub(crate) struct Sockets {
    families: [Family; 2],
    buffers: Box<[u8]>,
    poll: Poll,
    events: Events,
}

impl Sockets {
    /// No socket yet.
    ///
    /// # Errors
    /// What the system said when asked for a way to wait for sockets.
    pub(crate) fn new(binding: Binding) -> io::Result<Self> {
        let family = |bind| Family { bind, buffer: binding.buffer, needed: false, socket: None };
        Ok(Self {
            families: [family(binding.v4.into()), family(binding.v6.into())],
            buffers: vec![0; BUFFERS * BUFFER_LEN].into_boxed_slice(),
            poll: Poll::new()?,
            events: Events::with_capacity(2),
        })
    }

    /// Opens the socket that `to` is reached from, if it is not open.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn open_for(&mut self, to: SocketAddr) -> Result<(), SocketError> {
        let [v4, v6] = &mut self.families;
        let family = if to.is_ipv4() { v4 } else { v6 };
        family.needed = true;
        family.open()
    }

    /// Closes every socket and opens those anew that were ever needed.
    ///
    /// # Errors
    /// The system refuses one; the others are open.
    pub(crate) fn reopen(&mut self) -> Result<(), SocketError> {
        let mut outcome = Ok(());
        for family in self.families.iter_mut().filter(|family| family.needed) {
            family.socket = None;
            outcome = outcome.and(family.open());
        }
        outcome
    }

    /// Whether a socket that had worked says that its network has gone, since this was asked last.
    pub(crate) fn take_network_gone(&self) -> bool {
        // All are asked, so that none says the same again later.
        self.each().filter(|socket| socket.health.take_gone()).count() > 0
    }

    /// How many datagrams may be handed to [`Self::send`] at once.
    pub(crate) fn segments_max(&self) -> usize {
        let most = self.each().map(Socket::segments_max).min();
        most.unwrap_or(1).clamp(1, SEGMENTS_MAX)
    }

    /// Sends one datagram or, with `segment_size`, several of that size of which the last may be
    /// shorter. What no socket can reach counts as lost on the way; a socket that could not be had
    /// is asked for again.
    pub(crate) fn send(
        &mut self,
        to: SocketAddr,
        bytes: &[u8],
        segment_size: Option<usize>,
    ) -> Sent {
        self.open_for(to).unwrap_or(());
        let [v4, v6] = &self.families;
        let family = if to.is_ipv4() { v4 } else { v6 };
        family.socket.as_ref().map_or(Sent::Gone, |socket| socket.send(to, bytes, segment_size))
    }

    /// Takes one batch from each socket, each datagram by itself, with when it arrived by the
    /// system's wall clock, if the system tells. `false` once the sockets are empty.
    pub(crate) fn receive(&mut self, mut take: impl FnMut(Received<'_>)) -> bool {
        for socket in self.families.iter_mut().filter_map(|family| family.socket.as_mut()) {
            socket.receive(&mut self.buffers, &mut take);
        }
        self.each().any(|socket| !socket.drained)
    }

    /// Blocks until a datagram waits, at most this long; whether one waits.
    pub(crate) fn wait(&mut self, at_most: Duration) -> bool {
        let mut waiting = false;
        for (token, family) in self.families.iter_mut().enumerate() {
            let Some(socket) = &mut family.socket else { continue };
            // A socket that cannot be watched is read at once: worse than waiting, but right.
            waiting |= socket.watch(&self.poll, Token(token)).is_err() || !socket.drained;
        }
        if waiting {
            return true;
        }
        if self.poll.poll(&mut self.events, Some(at_most)).is_err() {
            // A signal: the caller looks around and comes back.
            return false;
        }
        for event in &self.events {
            let Some(family) = self.families.get_mut(event.token().0) else { continue };
            let Some(socket) = &mut family.socket else { continue };
            socket.drained = false;
            waiting = true;
        }
        waiting
    }

    fn each(&self) -> impl Iterator<Item = &Socket> {
        self.families.iter().filter_map(|family| family.socket.as_ref())
    }
}

/// IPv4 or IPv6.
struct Family {
    bind: SocketAddr,
    buffer: usize,
    /// Some relay has an address of this family.
    needed: bool,
    socket: Option<Socket>,
}

impl Family {
    fn open(&mut self) -> Result<(), SocketError> {
        if self.socket.is_none() {
            let open = Socket::open(self.bind, self.buffer)
                .map_err(|error| SocketError { bind: self.bind, kind: error.kind() })?;
            self.socket = Some(open);
        }
        Ok(())
    }
}

struct Socket {
    io: mio::net::UdpSocket,
    /// `None` where the system lacks what this needs, as Wine before version 9 does for IPv4: then
    /// one datagram is sent and taken at a time.
    state: Option<UdpSocketState>,
    /// The last read found nothing. Readiness is reported once per arrival, so waiting is only
    /// right after this.
    drained: bool,
    watched: bool,
    health: Health,
}

/// What errors say about the network that a socket is on.
#[derive(Default)]
struct Health {
    /// A datagram has come: an error is a change, and not how it always was, as on a machine
    /// without a way to one address family.
    has_worked: AtomicBool,
    gone: AtomicBool,
}

impl Health {
    fn on_datagrams(&self) {
        self.has_worked.store(true, Ordering::Relaxed);
    }

    fn on_error(&self, kind: ErrorKind) {
        let network = matches!(
            kind,
            ErrorKind::NetworkUnreachable
                | ErrorKind::NetworkDown
                | ErrorKind::HostUnreachable
                | ErrorKind::AddrNotAvailable
                | ErrorKind::NotConnected
                | ErrorKind::BrokenPipe
        );
        if network && self.has_worked.swap(false, Ordering::Relaxed) {
            self.gone.store(true, Ordering::Relaxed);
        }
    }

    fn take_gone(&self) -> bool {
        self.gone.swap(false, Ordering::Relaxed)
    }
}

impl Socket {
    fn open(bind: SocketAddr, buffer: usize) -> io::Result<Self> {
        let raw = RawSocket::new(Domain::for_address(bind), Type::DGRAM, Some(Protocol::UDP))?;
        if bind.is_ipv6() {
            // IPv4 has its own socket; both may be bound to one port.
            raw.set_only_v6(true)?;
        }
        raw.bind(&bind.into())?;
        let state = UdpSocketState::new(UdpSockRef::from(&raw)).ok();
        // The system may grant less; then more is lost when the application pauses.
        let _ = raw.set_recv_buffer_size(buffer);
        let _ = raw.set_send_buffer_size(buffer);
        raw.set_nonblocking(true)?;
        let io = mio::net::UdpSocket::from_std(raw.into());
        Ok(Self { io, state, drained: false, watched: false, health: Health::default() })
    }

    fn segments_max(&self) -> usize {
        self.state.as_ref().map_or(1, UdpSocketState::max_gso_segments)
    }

    fn send(&self, to: SocketAddr, bytes: &[u8], segment_size: Option<usize>) -> Sent {
        let done = match &self.state {
            Some(state) if segment_size.is_some() => {
                let transmit = Transmit {
                    destination: to,
                    ecn: None,
                    contents: bytes,
                    segment_size,
                    src_ip: None,
                };
                self.io.try_io(|| state.try_send(UdpSockRef::from(&self.io), &transmit))
            }
            // One datagram, as it always is without `state` (see `segments_max`): the plain call costs
            // a tenth less than one with control messages.
            _ => self.io.send_to(bytes, to).map(drop),
        };
        match done {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Sent::Full,
            // No way to the relay, a firewall, a segment offload the driver lied about: the
            // protocol notices what is missing, as with any loss.
            Err(error) => {
                self.health.on_error(error.kind());
                Sent::Gone
            }
            Ok(()) => Sent::Gone,
        }
    }

    fn receive(&mut self, buffers: &mut [u8], take: &mut impl FnMut(Received<'_>)) {
        let mut meta = [RecvMeta::default(); BUFFERS];
        let received = if let Some(state) = &self.state {
            let mut chunks = buffers.chunks_exact_mut(BUFFER_LEN);
            let mut slices: [IoSliceMut<'_>; BUFFERS] =
                array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
            let io = &self.io;
            io.try_io(|| state.recv(UdpSockRef::from(io), &mut slices, &mut meta))
        } else {
            let buffer = buffers.chunks_exact_mut(BUFFER_LEN).next().unwrap_or_default();
            self.io.recv_from(buffer).map(|(len, from)| {
                let [first, ..] = &mut meta;
                (first.len, first.stride, first.addr) = (len, len, from);
                1
            })
        };
        let received = match received {
            Ok(received) => received,
            // Windows reports an earlier datagram's fate here; the next read goes on.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => 0,
            Err(error) if error.kind() == ErrorKind::Interrupted => 0,
            Err(error) => {
                self.health.on_error(error.kind());
                self.drained = true;
                return;
            }
        };
        self.drained =
            READS_TO_THE_END && self.state.is_some() && 0 < received && received < BUFFERS;
        if received > 0 {
            self.health.on_datagrams();
        }
        for (meta, buffer) in meta.iter().zip(buffers.chunks_exact_mut(BUFFER_LEN)).take(received) {
            let Some(bytes) = buffer.get_mut(..meta.len) else { continue };
            let from = without_scope(meta.addr);
            let arrived = meta.timestamp;
            if bytes.is_empty() {
                take(Received { from, bytes, arrived });
                continue;
            }
            for bytes in bytes.chunks_mut(meta.stride.max(1)) {
                take(Received { from, bytes, arrived });
            }
        }
    }

    fn watch(&mut self, poll: &Poll, token: Token) -> io::Result<()> {
        if !self.watched {
            poll.registry().register(&mut self.io, token, Interest::READABLE)?;
            self.watched = true;
        }
        Ok(())
    }
}

/// A directory knows addresses and ports, not this machine's interface numbers.
fn without_scope(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(_) => address,
        SocketAddr::V6(v6) => SocketAddr::new((*v6.ip()).into(), v6.port()),
    }
}

/// Datagrams of this size are the protocol's largest.
pub(crate) const DATAGRAM_MAX: usize = 1472;
/// What one send can carry at most: below the 65,507 bytes of the largest UDP datagram.
pub(crate) const SEGMENTS_MAX: usize = 44;
/// A whole run of segments fits, as receive offload hands it over.
const BUFFER_LEN: usize = 1 << 16;
/// Whether a batch that is not full says that nothing else waits, so that no further read need find
/// that out: `recvmmsg` ends before its last buffer only at an empty socket.
const READS_TO_THE_END: bool = cfg!(any(target_os = "linux", target_os = "android"));
const BUFFERS: usize = if quinn_udp::BATCH_SIZE < 16 { quinn_udp::BATCH_SIZE } else { 16 };

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::{Ipv4Addr, Ipv6Addr};
    use std::net::UdpSocket;

    const ANY: Binding = Binding {
        v4: SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0),
        v6: SocketAddrV6::new(Ipv6Addr::LOCALHOST, 0, 0, 0),
        buffer: 1 << 20,
    };

    fn open_and_other(bind: SocketAddr) -> (Sockets, UdpSocket, SocketAddr) {
        let other = UdpSocket::bind(bind).unwrap();
        let to = other.local_addr().unwrap();
        let mut sockets = Sockets::new(ANY).unwrap();
        sockets.open_for(to).unwrap();
        (sockets, other, to)
    }

    #[test]
    fn datagrams_come_one_by_one_whatever_the_offload() {
        let (mut sockets, other, to) = open_and_other((Ipv4Addr::LOCALHOST, 0).into());
        echo(&mut sockets, &other, to);
        // As where the system knows nothing of offload.
        sockets.families.iter_mut().filter_map(|f| f.socket.as_mut()).for_each(|s| s.state = None);
        assert_eq!(sockets.segments_max(), 1);
        echo(&mut sockets, &other, to);
    }

    fn echo(sockets: &mut Sockets, other: &UdpSocket, to: SocketAddr) {
        let sent: Vec<u8> = (0..1000u32).map(|n| n as u8).collect();
        let segments = sockets.segments_max().min(10);
        // 100 bytes a datagram, the last one shorter.
        let run = &sent[..segments * 100 - 50];
        assert_eq!(sockets.send(to, run, Some(100)), Sent::Gone);

        let mut buffer = [0; 2000];
        let mut echo_to = None;
        for piece in run.chunks(100) {
            let (len, from) = other.recv_from(&mut buffer).unwrap();
            assert_eq!(&buffer[..len], piece);
            echo_to = Some(from);
        }
        for piece in run.chunks(100) {
            other.send_to(piece, echo_to.unwrap()).unwrap();
        }
        let mut received = Vec::new();
        while received.len() < segments {
            assert!(sockets.wait(Duration::from_secs(20)));
            while sockets.receive(|datagram| {
                assert_eq!(datagram.from, to);
                received.push(datagram.bytes.to_vec());
            }) {}
        }
        assert!(received.iter().map(Vec::as_slice).eq(run.chunks(100)));
        assert!(!sockets.wait(Duration::from_millis(1)), "nothing is left");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_read_that_takes_all_there_is_needs_no_other() {
        let (mut sockets, other, to) = open_and_other((Ipv4Addr::LOCALHOST, 0).into());
        assert_eq!(sockets.send(to, b"hello", None), Sent::Gone);
        let (_, from) = other.recv_from(&mut [0; 10]).unwrap();
        for round in 0..3 {
            other.send_to(&[round], from).unwrap();
            assert!(sockets.wait(Duration::from_secs(20)), "what comes after it is waited for");
            let mut came = 0;
            assert!(!sockets.receive(|_| came += 1), "it says so itself");
            assert_eq!(came, 1);
        }
        // As many as a read has room for may leave some behind.
        let many = BUFFERS + 3;
        for _ in 0..many {
            other.send_to(b"x", from).unwrap();
        }
        let (mut came, mut reads) = (0, 1);
        assert!(sockets.wait(Duration::from_secs(20)));
        while sockets.receive(|_| came += 1) {
            reads += 1;
        }
        assert!(came == many && reads <= many, "{came} in {reads} reads");
    }

    #[test]
    fn ipv6_addresses_come_without_an_interface() {
        let Ok(other) = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)) else { return };
        let to = other.local_addr().unwrap();
        let mut sockets = Sockets::new(ANY).unwrap();
        sockets.open_for(to).unwrap();
        assert_eq!(sockets.send(to, b"hello", None), Sent::Gone);
        let (_, from) = other.recv_from(&mut [0; 10]).unwrap();
        other.send_to(b"", from).unwrap();
        assert!(sockets.wait(Duration::from_secs(20)));
        let mut came = 0;
        while sockets.receive(|Received { from, bytes, .. }| {
            assert_eq!(
                (from, bytes.len()),
                (SocketAddr::from((Ipv6Addr::LOCALHOST, to.port())), 0)
            );
            came += 1;
        }) {}
        assert_eq!(came, 1);
    }

    #[test]
    fn a_network_that_was_there_is_missed_once() {
        let health = Health::default();
        health.on_error(ErrorKind::NetworkUnreachable);
        assert!(!health.take_gone(), "there never was one");
        health.on_datagrams();
        health.on_error(ErrorKind::WouldBlock);
        health.on_error(ErrorKind::PermissionDenied);
        assert!(!health.take_gone());
        health.on_error(ErrorKind::NetworkUnreachable);
        health.on_error(ErrorKind::NetworkUnreachable);
        assert_eq!((health.take_gone(), health.take_gone()), (true, false));
        health.on_error(ErrorKind::NetworkUnreachable);
        assert!(!health.take_gone(), "not before it has been there again");
    }

    #[test]
    fn reopening_changes_the_port() {
        let (mut sockets, other, to) = open_and_other((Ipv4Addr::LOCALHOST, 0).into());
        sockets.send(to, b"1", None);
        let (_, before) = other.recv_from(&mut [0; 10]).unwrap();
        sockets.reopen().unwrap();
        sockets.send(to, b"2", None);
        let (_, after) = other.recv_from(&mut [0; 10]).unwrap();
        assert_ne!(before, after);
    }

    #[test]
    fn a_port_in_use_is_named() {
        let taken = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let SocketAddr::V4(bind) = taken.local_addr().unwrap() else { unreachable!() };
        let mut sockets = Sockets::new(Binding { v4: bind, ..ANY }).unwrap();
        let error = sockets.open_for(bind.into()).unwrap_err();
        assert_eq!(error, SocketError { bind: bind.into(), kind: ErrorKind::AddrInUse });
        assert!(error.to_string().contains(&bind.to_string()));

        assert_eq!(sockets.reopen(), Err(error));
        drop(taken);
        assert_eq!(sockets.reopen(), Ok(()));
    }
}
