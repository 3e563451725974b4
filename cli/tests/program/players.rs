//! Players of a relay of the real program's, each with a socket of its own.

use core::net::{Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::io::ErrorKind::{ConnectionRefused, Interrupted};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};

use waylane_core::directory::RelayEntry;
use waylane_core::id::PublicKey;
use waylane_core::wire::hop::{ControlMessage, Refused, RefusedReason};

use crate::client::{Client, Hop, data};
use crate::running::{Running, scratch};

/// A relay by a configuration of its own, with a lasting key.
pub(crate) struct Relay {
    pub(crate) program: Running,
    pub(crate) entry: RelayEntry,
    pub(crate) file: PathBuf,
    key: PathBuf,
}

impl Relay {
    pub(crate) fn start(name: &str, settings: &str) -> Self {
        let (file, key) = (scratch(&format!("{name}.toml")), scratch(&format!("{name}.key")));
        write(&file, &key, settings);
        let (program, entry) = Self::run(&file);
        Self { program, entry, file, key }
    }

    /// The program with the settings in this file.
    pub(crate) fn run(file: &Path) -> (Running, RelayEntry) {
        let mut program = Running::start(&["relay", "--config", file.to_str().unwrap()]);
        let entry = program.out.with("@127.0.0.1:").trim().parse().unwrap();
        (program, entry)
    }

    /// Where it is watched, with `admin` among the settings. Only once.
    pub(crate) fn admin(&mut self) -> SocketAddr {
        let told = self.program.err.with("what it does: http://");
        told.split(['/', ',']).nth(2).unwrap().parse().unwrap()
    }

    /// Writes other settings, for who reads them next.
    pub(crate) fn write(&self, settings: &str) {
        write(&self.file, &self.key, settings);
    }

    /// Writes other settings and says so.
    pub(crate) fn reload(&mut self, settings: &str) {
        self.write(settings);
        self.program.signal("HUP");
    }
}

pub(crate) fn write(file: &Path, key: &Path, settings: &str) {
    let key = key.to_str().unwrap();
    let mode = if settings.contains("mode = ") { "" } else { "mode = \"dev\"\n" };
    let text = format!("{mode}listen = \"127.0.0.1:0\"\nkey_file = {key:?}\n{settings}");
    std::fs::write(file, text).unwrap();
}

/// A player with a session.
pub(crate) struct Player {
    pub(crate) client: Client,
    pub(crate) line: Line,
}

/// A player's way to the relay.
pub(crate) struct Line {
    pub(crate) socket: UdpSocket,
    relay: PublicKey,
}

impl Player {
    pub(crate) fn new(entry: &RelayEntry, n: u8) -> Self {
        Self::unbound(entry, n).bound()
    }

    /// With the session that it asks for.
    pub(crate) fn bound(mut self) -> Self {
        self.client.bind(&mut self.line, false);
        self.client.prove(&mut self.line);
        self
    }

    pub(crate) fn unbound(entry: &RelayEntry, n: u8) -> Self {
        Self::unbound_at(Ipv4Addr::LOCALHOST, entry, n)
    }

    /// At an address of this machine.
    pub(crate) fn unbound_at(address: Ipv4Addr, entry: &RelayEntry, n: u8) -> Self {
        let socket = UdpSocket::bind((address, 0)).unwrap();
        socket.connect(entry.addresses()[0]).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut client = Client::new(n);
        client.address = socket.local_addr().unwrap();
        Self { client, line: Line { socket, relay: *entry.public_key() } }
    }

    pub(crate) fn send_to(&self, other: &Self) {
        self.line.socket.send(&data(other.client.session)).unwrap();
    }

    /// How many datagrams are there, until nothing comes for [`QUIET`].
    pub(crate) fn count(&self) -> usize {
        self.line.socket.set_read_timeout(Some(QUIET)).unwrap();
        let count = core::iter::from_fn(|| self.line.receive()).count();
        self.line.socket.set_read_timeout(Some(PATIENCE)).unwrap();
        count
    }

    /// Sends datagrams until one arrives.
    pub(crate) fn reaches(&self, other: &Self) {
        self.send_to(other);
        assert_eq!(other.line.receive(), Some(data(other.client.session)));
    }

    /// Whether the relay has its session, and answers.
    pub(crate) fn keeps_alive(&mut self) -> bool {
        self.client.keeps_alive(&mut self.line)
    }

    /// Finds its session again, and says in how many round trips.
    pub(crate) fn recover(&mut self) -> u32 {
        let to = self.client.session;
        self.client.recover(&mut self.line, to)
    }

    /// What the relay says to one who asks for a session, when it says no.
    pub(crate) fn refusal(&mut self) -> RefusedReason {
        let cookie = self.client.cookie(&mut self.line);
        let (bind, _) = self.client.bind_datagram(self.line.relay, cookie, false);
        let refused = self.line.exchange(self.client.address, &bind).unwrap();
        Refused::parse(&refused).unwrap().reason
    }

    /// The next control message; data is passed over.
    pub(crate) fn told(&self) -> ControlMessage {
        let mut received = core::iter::from_fn(|| self.line.receive());
        received.find_map(|datagram| self.client.open(&datagram)).expect("a control message")
    }

    pub(crate) fn unbind(&mut self) {
        let datagram = self.client.control(ControlMessage::Unbind);
        self.line.socket.send(&datagram).unwrap();
    }
}

impl Line {
    pub(crate) fn receive(&self) -> Option<Vec<u8>> {
        let mut bytes = [0; 2048];
        loop {
            match self.socket.recv(&mut bytes) {
                Ok(len) => return Some(bytes[..len].to_vec()),
                // An earlier datagram's fate, or a stop of this process: nothing of what is there.
                Err(e) if [ConnectionRefused, Interrupted].contains(&e.kind()) => {}
                Err(_) => return None,
            }
        }
    }
}

impl Hop for Line {
    fn relay_key(&self) -> PublicKey {
        self.relay
    }

    fn exchange(&mut self, _: SocketAddr, datagram: &[u8]) -> Option<Vec<u8>> {
        self.socket.send(datagram).unwrap();
        self.receive()
    }
}

/// Nothing comes any more when nothing came for so long.
pub(crate) const QUIET: Duration = Duration::from_millis(300);
const PATIENCE: Duration = Duration::from_secs(20);
