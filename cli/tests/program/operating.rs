//! A relay in an operator's hands: stopped under traffic, told to read its settings again.

use core::net::SocketAddr;
use core::time::Duration;
use std::io::ErrorKind::{ConnectionRefused, Interrupted};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};

use waylane_core::crypto::Crypto as _;
use waylane_core::directory::RelayEntry;
use waylane_core::id::{PublicKey, RelayId};
use waylane_core::wire::base64url::Base64;
use waylane_core::wire::hop::{ControlMessage, Refused, RefusedReason};

use waylane_crypto::ring::Ring;

use crate::client::{Client, Hop, data};
use crate::running::{Running, complaint, run, scratch};

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

    /// Writes other settings, for who reads them next.
    pub(crate) fn write(&self, settings: &str) {
        write(&self.file, &self.key, settings);
    }

    /// Writes other settings and says so.
    fn reload(&mut self, settings: &str) {
        self.write(settings);
        self.program.signal("HUP");
    }
}

fn write(file: &Path, key: &Path, settings: &str) {
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
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(entry.addresses()[0]).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut client = Client::new(n);
        client.address = socket.local_addr().unwrap();
        Self { client, line: Line { socket, relay: *entry.public_key() } }
    }

    pub(crate) fn send_to(&self, other: &Self) {
        self.line.socket.send(&data(other.client.session)).unwrap();
    }

    /// How many datagrams are there, until nothing comes any more.
    fn count(&self) -> usize {
        self.line.socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
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
    fn told(&self) -> ControlMessage {
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

#[test]
fn a_relay_that_is_told_to_stop_drains_until_its_time_is_over() {
    let other = PublicKey([5; 32]);
    let mut relay = Relay::start(
        "drain",
        &format!("drain_timeout_s = 3\ndrain_to = [\"{}\"]\n", Base64(&other.0)),
    );
    let (alice, bob) = (Player::new(&relay.entry, 1), Player::new(&relay.entry, 2));
    alice.reaches(&bob);
    relay.program.signal("TERM");
    for player in [&alice, &bob] {
        let told = player.told();
        let ControlMessage::Drain { left_s: 2 | 3, alternatives } = told else {
            panic!("{told:?}")
        };
        let named = RelayId::from_key_hash(&<Ring>::sha256(&[&other.0]));
        assert_eq!(alternatives.as_slice(), [named]);
    }
    // They are served on, others are not taken.
    alice.reaches(&bob);
    let mut late = Player::unbound(&relay.entry, 3);
    assert_eq!(late.refusal(), RefusedReason::Draining);
    // Who is still there at the end is told.
    for player in [&alice, &bob] {
        assert_eq!(player.told(), ControlMessage::Expired);
    }
    assert_eq!(relay.program.wait().code(), Some(0));
    relay.program.err.with("drained");
}

#[test]
fn a_draining_relay_ends_when_the_last_player_leaves() {
    let mut relay = Relay::start("empty", "drain_timeout_s = 3600\n");
    let (mut alice, mut bob) = (Player::new(&relay.entry, 1), Player::new(&relay.entry, 2));
    relay.program.signal("TERM");
    relay.program.err.with("once more to stop now");
    for player in [&mut alice, &mut bob] {
        player.told();
    }
    alice.unbind();
    bob.unbind();
    assert_eq!(relay.program.wait().code(), Some(0));
    relay.program.err.with("drained");
}

#[test]
fn a_second_signal_stops_at_once() {
    for (first, second) in [("TERM", "TERM"), ("INT", "TERM"), ("TERM", "INT")] {
        let mut relay = Relay::start("now", "drain_timeout_s = 3600\n");
        let _player = Player::new(&relay.entry, 1);
        relay.program.signal(first);
        relay.program.err.with("once more to stop now");
        relay.program.signal(second);
        relay.program.err.with("stopping now");
        assert_eq!(relay.program.wait().code(), Some(0));
    }
}

#[test]
fn settings_are_read_again_under_traffic_and_no_session_is_lost() {
    let generous = "packets_per_second = 10_000\nburst_ms = 1000\n";
    let narrow = "packets_per_second = 20\nburst_ms = 1000\n";
    let mut relay = Relay::start("reload", generous);
    let (mut alice, mut bob) = (Player::new(&relay.entry, 1), Player::new(&relay.entry, 2));
    let (in_burst, few) = (200, 15..100);
    for _ in 0..10 {
        relay.reload(narrow);
        relay.program.err.with("are in force");
        (0..in_burst).for_each(|_| alice.send_to(&bob));
        let arrived = bob.count();
        assert!(few.contains(&arrived), "{arrived} of {in_burst} by the narrow limit");

        relay.reload(generous);
        relay.program.err.with("are in force");
        // By the generous limit the budget is full again within a moment.
        bob.count();
        (0..in_burst).for_each(|_| alice.send_to(&bob));
        assert_eq!(bob.count(), in_burst);
    }
    assert!(alice.keeps_alive() && bob.keeps_alive());

    // What is wrong changes nothing, and what cannot change is said.
    relay.reload("packets_per_second = 20\nburst = 5\n");
    relay.program.err.with("reload.toml:5: burst: there is no such setting");
    (0..in_burst).for_each(|_| alice.send_to(&bob));
    assert_eq!(bob.count(), in_burst);
    relay.reload(&format!("{generous}sessions = 1000\n"));
    relay.program.err.with("changed at the next start only: sessions");
    alice.reaches(&bob);
}

#[test]
fn health_is_asked_for_at_the_address_that_clients_use() {
    let mut relay = Relay::start("health", "");
    let listen = relay.entry.addresses()[0].to_string();
    let health = || run(&["relay", "--mode", "dev", "--listen", &listen, "--health"]);
    assert_eq!(health().status.code(), Some(0));
    relay.program.kill();
    let output = health();
    assert_eq!(output.status.code(), Some(1));
    assert!(complaint(&output).contains("does not answer"), "{}", complaint(&output));
}

#[test]
fn exit_codes_tell_what_is_wrong() {
    let code = |arguments: &[&str]| {
        let output = run(&[&["relay"][..], arguments].concat());
        output.status.code().unwrap()
    };
    assert_eq!(code(&["--no-such-flag"]), 2, "clap's own");
    assert_eq!(code(&["--mode", "dev", "--listen", "127.0.0.1:x"]), 2);
    assert_eq!(code(&["--config", "/nowhere/relay.toml"]), 2);
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    assert_eq!(code(&["--mode", "dev", "--listen", &taken]), 3);
    let no_key = scratch("no.key");
    std::fs::write(&no_key, "not a key").unwrap();
    let key = no_key.to_str().unwrap();
    assert_eq!(code(&["--dev", "--listen", "127.0.0.1:0", "--key-file", key]), 4);
    assert_eq!(code(&["--dev", "--key-file", key, "--check-config"]), 4);
    let good = scratch("good.key");
    let good = good.to_str().unwrap();
    assert_eq!(code(&["--dev", "--key-file", good, "--check-config"]), 0);
    assert!(!Path::new(good).exists(), "a check makes nothing");
}

#[test]
fn printed_settings_name_their_places_and_no_secret() {
    let key = scratch("printed.key");
    assert!(run(&["keygen", "--out", key.to_str().unwrap()]).status.success());
    let secret = std::fs::read_to_string(&key).unwrap();
    let file = scratch("printed.toml");
    write(&file, &key, "sessions = 1000\n");
    let file = file.to_str().unwrap();
    let output = run(&["relay", "--config", file, "--print-config", "--pin", "--burst-ms=300"]);
    assert!(output.status.success());
    let printed = String::from_utf8(output.stdout).unwrap();
    for line in [
        &*format!("sessions = 1000  # {file}:4"),
        "burst_ms = 300  # --burst-ms",
        "pin = true  # --pin",
        "lifetime_s = 60  # the default",
    ] {
        assert!(printed.lines().any(|other| other == line), "{line}:\n{printed}");
    }
    assert!(!printed.contains(secret.trim()), "{printed}");
}

const PATIENCE: Duration = Duration::from_secs(20);
