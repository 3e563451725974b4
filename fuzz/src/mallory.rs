//! A peer that knows every key it should, and keeps to no other rule.

use core::net::SocketAddr;

use waylane_core::crypto::{Crypto as _, Secret, Suite, Suites, TAG_LEN};
use waylane_core::id::{
    ApplicationId, ConnectionIndex, PacketNumber, PeerId, PublicKey, SessionId,
};
use waylane_core::noise::{
    AwaitResponse, Initiator, KeyPair, Responder, Transport, initiation_mac, mac_key,
};
use waylane_core::route::{Epoch, Route, RouteRelay};
use waylane_core::wire::Writer;
use waylane_core::wire::data::DataHeader;
use waylane_core::wire::frame::{Frame, Frames};
use waylane_core::wire::handshake::{
    ChannelOpens, HandshakeParameters, Initiation, InitiationPayload, Instance, MacKeyedBy,
    Response, ResponsePayload, Stamp,
};
use waylane_core::wire::number::Truncated;

use crate::toy::Toy;
use crate::world::Relay;

/// The peer, and what it knows of its victim.
pub struct Mallory {
    key: KeyPair,
    victim: PublicKey,
    victim_session: SessionId,
    crypto: Toy,
    stamp: u64,
    epoch: u64,
    asked: Option<AwaitResponse<Toy>>,
    keys: Option<Keys>,
    /// The number of the next packet.
    pub next: u64,
    /// The largest number of a packet from the victim.
    pub largest: u64,
    /// Nonces of the victim's challenges that were not answered.
    pub challenges: Vec<(u64, [u8; 8])>,
    /// Nonces of its own challenges that the victim has answered.
    pub responses: Vec<(u64, [u8; 8])>,
}

struct Keys {
    suite: Suite,
    index: ConnectionIndex,
    seal: Secret,
    open: Secret,
    seal_phase: bool,
    open_phase: bool,
}

impl Mallory {
    /// Where its datagrams are sent to: a session that no relay knows.
    pub const SESSION: SessionId = SessionId::new(9, 0x6d6d_6d6d);

    /// Before anything was sent.
    #[must_use]
    pub fn new(victim: PublicKey, victim_session: SessionId) -> Self {
        let mut crypto = Toy::new(6666);
        Self {
            key: KeyPair::generate(&mut crypto),
            victim,
            victim_session,
            crypto,
            stamp: 1,
            epoch: 1,
            asked: None,
            keys: None,
            next: 0,
            largest: 0,
            challenges: Vec::new(),
            responses: Vec::new(),
        }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> PeerId {
        PeerId::from_key_hash(&Toy::sha256(&[&self.key.public().0]))
    }

    /// A route that names these relays.
    pub fn route<'a>(&mut self, relays: impl IntoIterator<Item = &'a Relay>) -> Vec<u8> {
        self.epoch += 1;
        let epoch = Epoch::new(self.epoch).expect("few routes");
        let mut route = Route::new(*self.key.public(), ApplicationId(0), Suites::ALL, epoch);
        for relay in relays {
            let entry = RouteRelay { relay: relay.id, session: Self::SESSION };
            route.push_relay(entry).expect("each relay once");
        }
        let mut out = [0; Route::LEN_MAX];
        let len = route.encode(&mut out).expect("room");
        out[..len].to_vec()
    }

    /// Whether there are keys to send packets under.
    #[must_use]
    pub const fn has_keys(&self) -> bool {
        self.keys.is_some()
    }

    /// A true first message, with `more` in its payload.
    pub fn initiation(&mut self, instance: u8, idle_timeout_ms: u64, more: &[u8]) -> Vec<u8> {
        self.stamp += 1;
        let header = Initiation {
            destination: self.victim_session,
            keyed_by: MacKeyedBy::Pair,
            suite: Suite::ChaChaPoly,
            sender_index: ConnectionIndex(7),
            sender: self.id(),
            stamp: Stamp(self.stamp),
            mac: [0; 8],
        };
        let payload = InitiationPayload {
            session: Self::SESSION,
            instance: Instance(u32::from(instance)),
            parameters: parameters(idle_timeout_ms),
            route: None,
            opens: ChannelOpens::default(),
        };
        let mut plain = [0; 400];
        let len = payload.emit(&mut plain).expect("room");
        let plain = [&plain[..len], more].concat();
        let shared = self.key.agree::<Toy>(&self.victim).expect("a good key");
        let prologue = header.prologue(ApplicationId(0));
        let ephemeral = KeyPair::generate(&mut self.crypto);
        let mut datagram = vec![0; 900];
        let offset = header.emit(&mut datagram).expect("room");
        let initiator = Initiator::new(header.suite, &prologue, &self.key, &self.victim, &shared);
        let (len, waiting) =
            initiator.write_message_1(ephemeral, &plain, &mut datagram[offset..]).expect("room");
        datagram.truncate(offset + len);
        let [before, after] = Initiation::mac_input(&datagram).expect("long enough");
        let key = mac_key::<Toy>(&shared.0, self.id());
        let mac = initiation_mac::<Toy>(&key, before, after, &self.victim);
        Initiation::put_mac(&mut datagram, mac.0);
        self.asked = Some(waiting);
        datagram
    }

    /// The answer to the victim's first message, with `more` in its payload.
    pub fn answer(&mut self, initiation: &[u8], instance: u8, more: &[u8]) -> Option<Vec<u8>> {
        let header = Initiation::parse(initiation).ok()?;
        let mut message = initiation[Initiation::NOISE_OFFSET..].to_vec();
        let prologue = header.prologue(ApplicationId(0));
        let responder = Responder::<Toy>::new(header.suite, &prologue, &self.key);
        let received = responder.read_message_1(&mut message).expect("the victim's is good");
        InitiationPayload::parse(&message[received.payload.clone()]).expect("the victim's is good");
        let sender_index = ConnectionIndex(8);
        let response = Response {
            destination: self.victim_session,
            receiver_index: header.sender_index,
            sender_index,
        };
        let mut plain = [0; 64];
        let mut writer = Writer::new(&mut plain);
        let (parameters, opens) = (parameters(60_000), ChannelOpens::default());
        let payload =
            ResponsePayload { instance: Instance(u32::from(instance)), parameters, opens };
        payload.emit(&mut writer).expect("room");
        let plain = [writer.written(), more].concat();
        let mut datagram = vec![0; 900];
        let offset = response.emit(&mut datagram).expect("room");
        let ephemeral = KeyPair::generate(&mut self.crypto);
        let mix = sender_index.0.to_le_bytes();
        let written =
            received.reply.write_message_2(&ephemeral, &mix, &plain, &mut datagram[offset..]);
        let (len, transport) = written.expect("room and a good key");
        datagram.truncate(offset + len);
        let Transport { initiator_to_responder, responder_to_initiator, .. } = &transport;
        self.use_keys(
            header.suite,
            header.sender_index,
            responder_to_initiator,
            initiator_to_responder,
        );
        Some(datagram)
    }

    /// A packet of these frames. `skip`: how many numbers are left out; `flip`: in the next key
    /// phase.
    pub fn packet(&mut self, frames: &[u8], skip: u64, flip: bool) -> Option<Vec<u8>> {
        let keys = self.keys.as_mut()?;
        if flip {
            keys.seal = next_key(&keys.seal);
            keys.seal_phase = !keys.seal_phase;
        }
        self.next += skip;
        let header = DataHeader {
            destination: self.victim_session,
            key_phase: keys.seal_phase,
            index: keys.index,
            number: Truncated::new(self.next, 4),
        };
        let mut datagram = vec![0; 20 + frames.len() + TAG_LEN];
        let offset = header.emit(&mut datagram).expect("room");
        datagram.truncate(offset + frames.len() + TAG_LEN);
        let (_, sealed) = datagram.split_at_mut(offset);
        sealed[..frames.len()].copy_from_slice(frames);
        let key = Toy::seal_key(keys.suite, &keys.seal);
        Toy::seal(&key, self.next, &header.associated_data(), sealed);
        self.next += 1;
        Some(datagram)
    }

    /// Reads what the victim has sent. First messages are given back: [`Mallory::answer`] is up to
    /// the script.
    ///
    /// # Panics
    /// If the victim breaks the rules.
    pub fn hear(
        &mut self,
        datagram: &[u8],
        from: SocketAddr,
        relays: &[Relay; 2],
    ) -> Option<Vec<u8>> {
        if Initiation::parse(datagram).is_ok() {
            return Some(datagram.to_vec());
        }
        if let Ok(header) = Response::parse(datagram) {
            let mix = header.sender_index.0.to_le_bytes();
            let mut message = datagram[Response::NOISE_OFFSET..].to_vec();
            let waiting = self.asked.as_ref()?;
            let (payload, keys) = waiting.read_message_2(&self.key, &mix, &mut message).ok()?;
            ResponsePayload::parse(&message[payload]).expect("the victim's is good");
            let Transport { initiator_to_responder, responder_to_initiator, .. } = &keys;
            let (seal, open) = (initiator_to_responder, responder_to_initiator);
            self.use_keys(Suite::ChaChaPoly, header.sender_index, seal, open);
            return None;
        }
        let header = DataHeader::parse(datagram).expect("the victim's is good");
        let keys = self.keys.as_mut()?;
        let next = next_key(&keys.open);
        let flipped = header.key_phase != keys.open_phase;
        let key = Toy::open_key(keys.suite, if flipped { &next } else { &keys.open });
        let number = PacketNumber(header.number.expand(self.largest + 1));
        let mut sealed = datagram[header.sealed_offset()..].to_vec();
        // Packets under older keys do not open.
        Toy::open(&key, number.0, &header.associated_data(), &mut sealed).ok()?;
        if flipped {
            keys.open = next;
            keys.open_phase = header.key_phase;
        }
        self.largest = self.largest.max(number.0);
        let named = relays.iter().find(|relay| relay.address == from).map(|relay| relay.id);
        for frame in Frames::new(&sealed[..sealed.len() - TAG_LEN]) {
            let frame = frame.expect("the victim's is good");
            if let Frame::PathChallenge { relay, nonce, .. } = frame {
                assert_eq!(Some(relay), named, "a challenge names the relay that it goes through");
                self.challenges.push((relay.0, nonce));
            } else if let Frame::PathResponse { relay, nonce, .. } = frame {
                assert_eq!(Some(relay), named, "a response goes back the way of its challenge");
                self.responses.push((relay.0, nonce));
            }
        }
        None
    }

    fn use_keys(&mut self, suite: Suite, index: ConnectionIndex, seal: &Secret, open: &Secret) {
        let (seal, open) = (seal.clone(), open.clone());
        self.keys = Some(Keys { suite, index, seal, open, seal_phase: false, open_phase: false });
    }
}

fn parameters(idle_timeout_ms: u64) -> HandshakeParameters {
    HandshakeParameters {
        reliable_message_len_max: 2500,
        unreliable_message_len_max: 2500,
        idle_timeout_ms,
    }
}

fn next_key(key: &Secret) -> Secret {
    Secret(Toy::hmac_sha256(&key.0, &[b"waylane key update"]))
}
