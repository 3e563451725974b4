//! A whole relay on loopback, and players' sockets.
#![allow(dead_code, reason = "not every test that includes it uses all of it")]
#![allow(clippy::unwrap_used, reason = "a test may stop at what should not happen")]

#[path = "../../../core/tests/relay_support/client.rs"]
pub(crate) mod client;

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::net::UdpSocket;
use std::thread::{self, JoinHandle};

use client::{Client, Hop};
use waylane_core::directory::RelayEntry;
use waylane_core::id::PublicKey;
use waylane_relay::{BackEnd, Config, Inherited, Relay, RelayHandle, StartError};

/// A relay in a thread.
pub(crate) struct Running {
    pub(crate) entry: RelayEntry,
    pub(crate) handle: RelayHandle,
    pub(crate) thread: JoinHandle<()>,
}

impl Running {
    /// `None` if this machine has no such address (IPv6 may be off).
    pub(crate) fn start(
        config: &Config,
        back_end: impl FnOnce(&Config, Inherited) -> Result<BackEnd, StartError>,
    ) -> Option<Self> {
        let mut relay = match Relay::over(config, back_end) {
            Ok(relay) => relay,
            Err(StartError::Bind(error)) if error.address.is_ipv6() => return None,
            Err(error) => panic!("{error}"),
        };
        let (entry, handle) = (relay.entry().clone(), relay.handle());
        let thread = thread::spawn(move || relay.run().unwrap());
        Some(Self { entry, handle, thread })
    }

    pub(crate) fn stop(self) -> RelayHandle {
        self.handle.stop();
        self.thread.join().unwrap();
        self.handle
    }
}

/// A player's socket.
pub(crate) struct Socket {
    pub(crate) socket: UdpSocket,
    relay: PublicKey,
}

impl Socket {
    pub(crate) fn new(relay: &Running) -> Self {
        Self::at(relay, relay.entry.addresses()[0].ip())
    }

    pub(crate) fn at(relay: &Running, own: IpAddr) -> Self {
        let to = relay.entry.addresses()[0];
        let socket = UdpSocket::bind(SocketAddr::new(own, 0)).unwrap();
        socket.connect(to).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        Self { socket, relay: *relay.entry.public_key() }
    }

    pub(crate) fn bound(&mut self, n: u8) -> Client {
        let mut client = Client::new(n);
        client.address = self.socket.local_addr().unwrap();
        client.bind(self, false);
        client.prove(self);
        assert_eq!(client.seen_as, Some(client.address));
        client
    }

    pub(crate) fn receive(&self) -> Option<Vec<u8>> {
        let mut bytes = [0; 2048];
        let len = self.socket.recv(&mut bytes).ok()?;
        Some(bytes[..len].to_vec())
    }
}

impl Hop for Socket {
    fn relay_key(&self) -> PublicKey {
        self.relay
    }

    fn exchange(&mut self, _: SocketAddr, datagram: &[u8]) -> Option<Vec<u8>> {
        self.socket.send(datagram).unwrap();
        self.receive()
    }
}
