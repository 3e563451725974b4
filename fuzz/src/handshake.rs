//! Handshakes under attack: what is forged or changed never completes one, and does not keep the
//! true one from completing.

use core::time::Duration;

use waylane_core::channel::Scope;
use waylane_core::crypto::{Crypto as _, Suite, Suites};
use waylane_core::endpoint::Event;
use waylane_core::id::{ApplicationId, ConnectionIndex, PeerId, PublicKey, SessionId};
use waylane_core::invite::InviteSecret;
use waylane_core::noise::{AwaitResponse, Initiator, KeyPair, Responder, initiation_mac, mac_key};
use waylane_core::route::{Epoch, Route, RouteRelay};
use waylane_core::wire::Kind;
use waylane_core::wire::handshake::{
    ChannelOpens, HandshakeParameters, Initiation, InitiationPayload, Instance, MacKeyedBy, Stamp,
};
use waylane_crypto::Seeded;
use waylane_crypto::ring::Ring;

use crate::script::Script;
use crate::toy::Toy;
use crate::world::{Arrival, Flight, TIMEOUT, World};

/// Attacks Noise alone, over real cryptography, or two players, over the toy.
///
/// # Panics
/// If an attack succeeds, or harms.
pub fn run(data: &[u8]) {
    let mut script = Script::new(data);
    match script.byte() & 3 {
        0 => noise(&mut script),
        _ => Attack::new(&mut script).play(script),
    }
}

// ---------------------------------------------------------------------- Noise alone

type Real = Ring<Seeded>;

fn noise(script: &mut Script<'_>) {
    let mut crypto = Real::with_random(Seeded::new(1));
    let (alice, bob) = (KeyPair::generate(&mut crypto), KeyPair::generate(&mut crypto));
    let suite = if script.byte() & 1 == 0 { Suite::AesGcm } else { Suite::ChaChaPoly };
    let shared = alice.agree::<Real>(bob.public()).expect("a good key");
    let initiator = || Initiator::<Real>::new(suite, b"prologue", &alice, bob.public(), &shared);
    let mut first = [0; 200];
    let ephemeral = KeyPair::generate(&mut crypto);
    let (len, waiting) =
        initiator().write_message_1(ephemeral, b"a payload", &mut first).expect("room");
    let first = &first[..len];

    let read = |message: &mut [u8]| {
        Responder::<Real>::new(suite, b"prologue", &bob).read_message_1(message)
    };
    let mut forged = altered(first, script);
    if forged != first {
        assert!(read(&mut forged).is_err(), "a forged first message");
    }
    assert!(read(&mut script.bytes().to_vec()).is_err(), "any bytes as a first message");

    let mut message = first.to_vec();
    let received = read(&mut message).expect("the true first message");
    assert_eq!(
        (&message[received.payload.clone()], received.remote),
        (&b"a payload"[..], *alice.public())
    );
    let mut second = [0; 200];
    let ephemeral = KeyPair::generate(&mut crypto);
    let written = received.reply.write_message_2(&ephemeral, b"ix", b"an answer", &mut second);
    let (len, theirs) = written.expect("room");
    let second = &second[..len];

    forge_second(&waiting, &alice, second, script);
    let mut message = second.to_vec();
    let (_, ours) = waiting.read_message_2(&alice, b"ix", &mut message).expect("the true answer");
    assert_eq!(ours.handshake_hash, theirs.handshake_hash);
    assert_eq!(ours.initiator_to_responder.0, theirs.initiator_to_responder.0);
    assert_eq!(ours.responder_to_initiator.0, theirs.responder_to_initiator.0);
}

fn forge_second(
    waiting: &AwaitResponse<Real>,
    alice: &KeyPair,
    second: &[u8],
    script: &mut Script<'_>,
) {
    let mut forged = altered(second, script);
    if forged != second {
        assert!(waiting.read_message_2(alice, b"ix", &mut forged).is_err(), "a forged answer");
    }
    let mut other_index = second.to_vec();
    assert!(waiting.read_message_2(alice, b"iy", &mut other_index).is_err(), "another index");
    let mut any = script.bytes().to_vec();
    assert!(waiting.read_message_2(alice, b"ix", &mut any).is_err(), "any bytes as an answer");
}

// ---------------------------------------------------------------------- Two players

/// Two players who want to connect, and someone who sees, changes and makes up what passes.
struct Attack {
    world: World,
    /// The attacker's own key: nobody has connected to it.
    key: KeyPair,
    /// Handshake datagrams that players have sent to each other.
    seen: Vec<Flight>,
    invited: bool,
}

impl Attack {
    fn new(script: &mut Script<'_>) -> Self {
        let mut world = World::new();
        let invited = script.byte() & 1 != 0;
        if invited {
            world.players[0].set_accept_requests(Some(InviteSecret(SECRET)));
        }
        let key = KeyPair::generate(&mut Toy::new(666));
        Self { world, key, seen: Vec::new(), invited }
    }

    fn play(mut self, mut script: Script<'_>) {
        self.pass(Duration::from_secs(1));
        let routes = [0, 1].map(|n| self.world.players[n].route().expect("bound").to_string());
        for player in 0..2 {
            let other = self.world.other_id(player);
            let route = routes[1 - player].as_bytes();
            self.world.players[player].connect_peer(other, route).expect("a good route");
        }
        self.pass(Duration::from_millis(20));
        for _ in 0..ATTACKS_MAX {
            let Some(what) = script.take() else { break };
            let player = usize::from(what >> 7);
            match what & 7 {
                0 => self.pass(Duration::from_millis(300)),
                1 => self.reflect(player, &mut script),
                2..=4 => self.alter(player, &mut script),
                5 => {
                    let bytes = script.bytes().to_vec();
                    self.send(player, usize::from(what >> 6 & 1), bytes);
                }
                _ => self.introduce_myself(player, &mut script),
            }
            self.look();
        }
        self.complete(&routes);
    }

    /// What a player has sent comes back to it.
    fn reflect(&mut self, player: usize, script: &mut Script<'_>) {
        let Some(seen) = self.seen.get(script.below(32)) else { return };
        let own = seen.from == self.world.address(player);
        if own {
            let bytes = seen.bytes.clone();
            self.send(player, script.below(2), bytes);
        }
    }

    /// What a player has sent to the other arrives, but not as it was.
    fn alter(&mut self, player: usize, script: &mut Script<'_>) {
        let Some(seen) = self.seen.get(script.below(32)).cloned() else { return };
        let bytes = altered(&seen.bytes, script);
        // The destination is the relay's affair: it is not authenticated.
        let covered = |bytes: &[u8]| (bytes.first().copied(), bytes.get(8..).map(<[u8]>::to_vec));
        if covered(&bytes) != covered(&seen.bytes) {
            self.send(player, script.below(2), bytes);
        }
    }

    /// A first message made with everything that the attacker can know.
    fn introduce_myself(&mut self, player: usize, script: &mut Script<'_>) {
        let how = script.byte();
        let target = self.world.players[player].public_key();
        let own = id_of(self.key.public());
        let sender = match how & 3 {
            0 | 1 => own,
            2 => self.world.other_id(player),
            _ => self.world.players[player].peer_id(),
        };
        let keyed_by = if how & 4 == 0 { MacKeyedBy::Invite } else { MacKeyedBy::Pair };
        let shared = self.key.agree::<Toy>(&target).expect("a good key");
        let secret: &[u8] = if how & 8 == 0 { &SECRET } else { &shared.0 };
        let mut header = Initiation {
            destination: SessionId::new(1, 1),
            keyed_by,
            suite: if how & 16 == 0 { Suite::AesGcm } else { Suite::ChaChaPoly },
            sender_index: ConnectionIndex(u16::from(script.byte())),
            sender,
            stamp: Stamp(u64::MAX >> (script.byte() & 63)),
            mac: [0; 8],
        };
        let mut route = [0; Route::LEN_MAX];
        let route = self.route(script, &mut route);
        let payload = InitiationPayload {
            session: SessionId::new(u32::from(script.byte()), 7),
            instance: Instance(9),
            parameters: HandshakeParameters {
                reliable_message_len_max: u64::from(script.byte()) << 40,
                unreliable_message_len_max: u64::from(script.byte()),
                idle_timeout_ms: u64::from(script.byte()),
            },
            route,
            opens: ChannelOpens::default(),
        };
        let mut plain = [0; 400];
        let mut len = payload.emit(&mut plain).expect("room");
        if how & 32 != 0 {
            let more = script.bytes();
            let end = (len + more.len()).min(plain.len());
            plain[len..end].copy_from_slice(&more[..end - len]);
            len = end;
        }
        let mut datagram = vec![0; 700];
        let offset = header.emit(&mut datagram).expect("room");
        let prologue = header.prologue(ApplicationId(u64::from(how >> 7)));
        let ephemeral = KeyPair::generate(&mut Toy::new(u64::from(how)));
        let initiator = Initiator::<Toy>::new(header.suite, &prologue, &self.key, &target, &shared);
        let (noise, _) = initiator
            .write_message_1(ephemeral, &plain[..len], &mut datagram[offset..])
            .expect("room");
        datagram.truncate(offset + noise);
        let [before, after] = Initiation::mac_input(&datagram).expect("long enough");
        header.mac =
            initiation_mac::<Toy>(&mac_key::<Toy>(secret, sender), before, after, &target).0;
        Initiation::put_mac(&mut datagram, header.mac);
        self.send(player, script.below(2), datagram);
    }

    /// The attacker's route, a player's, anything, or none.
    fn route<'a>(&self, script: &mut Script<'_>, out: &'a mut [u8]) -> Option<&'a [u8]> {
        let kind = script.byte();
        let key = match kind & 3 {
            0 => return None,
            1 => *self.key.public(),
            2 => self.world.players[1].public_key(),
            _ => {
                let bytes = script.bytes();
                let bytes = &bytes[..bytes.len().min(out.len())];
                out[..bytes.len()].copy_from_slice(bytes);
                return Some(&out[..bytes.len()]);
            }
        };
        let epoch = Epoch::new(u64::from(script.byte()) << 40).expect("48 bits");
        let mut route = Route::new(key, ApplicationId(0), Suites::ALL, epoch);
        for relay in &self.world.relays {
            let session = SessionId::new(u32::from(kind), 5);
            route.push_relay(RouteRelay { relay: relay.id, session }).expect("two relays");
        }
        let len = route.encode(out).expect("room");
        Some(&out[..len])
    }

    /// As if a relay had forwarded it.
    fn send(&mut self, player: usize, relay: usize, bytes: Vec<u8>) {
        let (from, to) = (self.world.relays[relay].address, self.world.address(player));
        self.world.arrive(Flight { from, to, bytes });
        self.world.transmit(player, Scope::Everything, 1, 1472);
    }

    /// Time passes; relays answer, but players hear nothing of each other.
    fn pass(&mut self, duration: Duration) {
        let end = self.world.now + duration;
        while self.world.now < end {
            self.world.now += Duration::from_millis(1);
            for player in 0..2 {
                self.world.players[player].handle_timeout(self.world.now);
                self.world.transmit(player, Scope::Everything, 1, 1472);
            }
            for _ in 0..self.world.flight.len() {
                let Some(flight) = self.world.flight.pop_front() else { break };
                if Kind::of(&flight.bytes).is_ok_and(Kind::is_forwarded) {
                    if self.seen.len() < 32 {
                        self.seen.push(flight);
                    }
                } else {
                    self.world.arrive(flight);
                }
            }
            if self.world.flight.is_empty() {
                // Nothing happens until the next deadline.
                let next = self.world.next_deadline().unwrap_or(end).min(end);
                self.world.now = self.world.now.max(next);
            }
            self.world.relays_time_out();
        }
    }

    /// Nobody is connected, and whoever knocks is the attacker.
    fn look(&mut self) {
        for player in 0..2 {
            let attacker = id_of(self.key.public());
            let other = self.world.other_id(player);
            let endpoint = &mut self.world.players[player];
            while let Some(event) = endpoint.poll_event() {
                if let Event::PeerRequest { peer, route } = event {
                    assert!(self.invited && player == 0, "only who listens hears");
                    assert_eq!(peer, attacker, "who knocks is who holds the key");
                    assert_eq!(route.public_key, *self.key.public());
                } else {
                    assert!(!matches!(event, Event::PeerConnected { .. }), "forged, and connected");
                    assert!(!matches!(event, Event::Message { .. }));
                }
            }
            assert!(endpoint.peer_stats(other).is_none_or(|stats| !stats.connected));
            assert!(endpoint.peer_stats(attacker).is_none());
        }
    }

    /// Nobody attacks any more: they connect.
    fn complete(&mut self, routes: &[String; 2]) {
        for player in 0..2 {
            let other = self.world.other_id(player);
            let route = routes[1 - player].as_bytes();
            // Afresh: an attempt that has gone on for long may be about to be given up.
            let _ = self.world.players[player].disconnect_peer(other);
            self.world.players[player].connect_peer(other, route).expect("a good route");
        }
        let end = self.world.now + TIMEOUT;
        while self.world.now < end {
            self.world.now += Duration::from_millis(1);
            for _ in 0..self.world.flight.len() {
                let Some(flight) = self.world.flight.pop_front() else { break };
                if let Arrival::Player(player) = self.world.arrive(flight) {
                    while self.world.players[player].poll_event().is_some() {}
                }
            }
            for player in 0..2 {
                self.world.players[player].handle_timeout(self.world.now);
                while self.world.players[player].poll_event().is_some() {}
                self.world.transmit(player, Scope::Everything, 1, 1472);
            }
            self.world.relays_time_out();
            let connected = |player: usize| {
                let other = self.world.other_id(player);
                let stats = self.world.players[player].peer_stats(other);
                stats.is_some_and(|stats| stats.connected)
            };
            if connected(0) && connected(1) {
                return;
            }
        }
        panic!("the true handshake does not complete");
    }
}

/// `bytes` with some changed, cut or more; maybe the same.
fn altered(bytes: &[u8], script: &mut Script<'_>) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    match script.byte() & 7 {
        0 => bytes.truncate(script.below(bytes.len() + 1)),
        1 => bytes.extend(script.bytes()),
        2 => {
            let at = script.below(bytes.len());
            let with = script.bytes();
            let end = (at + with.len()).min(bytes.len());
            bytes[at..end].copy_from_slice(&with[..end - at]);
        }
        3 => {
            // A field of zeros: keys of low order.
            let at = script.below(bytes.len());
            let end = (at + 32).min(bytes.len());
            bytes[at..end].fill(0);
        }
        _ => {
            for _ in 0..=script.byte() & 3 {
                let at = script.below(bytes.len());
                bytes[at] ^= script.byte();
            }
        }
    }
    bytes
}

fn id_of(key: &PublicKey) -> PeerId {
    PeerId::from_key_hash(&Toy::sha256(&[&key.0]))
}

const SECRET: [u8; 16] = *b"an invite secret";
const ATTACKS_MAX: usize = 60;
