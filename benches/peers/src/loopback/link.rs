//! A socket as fast as the system has them.

use core::net::{Ipv4Addr, SocketAddr};
use std::io::{ErrorKind, IoSliceMut};
use std::net::UdpSocket;

use quinn_udp::{RecvMeta, UdpSockRef, UdpSocketState};

/// A socket with the system's offloads, and the memory that it receives into.
pub(super) struct Link {
    pub(super) outlet: Outlet,
    buffers: Box<[u8]>,
}

pub(super) struct Outlet {
    socket: UdpSocket,
    pub(super) state: UdpSocketState,
}

impl Link {
    pub(super) fn new() -> Self {
        let socket = UdpSocket::bind(ANY).expect("a socket");
        let sized = socket2::SockRef::from(&socket);
        // As much as Waylane's ends ask for, which may be more than they get.
        let _ = sized.set_recv_buffer_size(SOCKET_BUFFER);
        let _ = sized.set_send_buffer_size(SOCKET_BUFFER);
        socket.set_nonblocking(true).expect("sockets can");
        let state = UdpSocketState::new(UdpSockRef::from(&socket)).expect("the system has it all");
        let buffers = vec![0; BUFFERS * BUFFER_LEN].into_boxed_slice();
        Self { outlet: Outlet { socket, state }, buffers }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.outlet.socket.local_addr().expect("it is bound")
    }

    /// Takes all that waits: runs of datagrams of one size, of which the last may be shorter.
    pub(super) fn receive(&mut self, mut take: impl FnMut(&Outlet, SocketAddr, &mut [u8], usize)) {
        loop {
            let mut meta = [RecvMeta::default(); BUFFERS];
            let mut chunks = self.buffers.chunks_exact_mut(BUFFER_LEN);
            let mut slices: [IoSliceMut<'_>; BUFFERS] = core::array::from_fn(|_| {
                IoSliceMut::new(chunks.next().expect("as many as there are buffers"))
            });
            let Outlet { socket, state } = &self.outlet;
            let received = match state.recv(UdpSockRef::from(socket), &mut slices, &mut meta) {
                Ok(received) => received,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("{error}"),
            };
            let buffers = self.buffers.chunks_exact_mut(BUFFER_LEN);
            for (meta, buffer) in meta.iter().zip(buffers).take(received) {
                take(&self.outlet, meta.addr, &mut buffer[..meta.len], meta.stride.max(1));
            }
        }
    }
}

impl Outlet {
    /// Sends a datagram, or several of one size; false if there is no room.
    pub(super) fn send(&self, to: SocketAddr, bytes: &[u8], segment_size: Option<usize>) -> bool {
        let transmit = quinn_udp::Transmit {
            destination: to,
            ecn: None,
            contents: bytes,
            segment_size,
            src_ip: None,
        };
        match self.state.try_send(UdpSockRef::from(&self.socket), &transmit) {
            Ok(()) => true,
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            Err(error) => panic!("{error}"),
        }
    }
}

const ANY: SocketAddr = SocketAddr::new(core::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// As Waylane's sockets ask for.
const SOCKET_BUFFER: usize = 2 << 20;
const BUFFERS: usize = 32;
const BUFFER_LEN: usize = 1 << 16;
