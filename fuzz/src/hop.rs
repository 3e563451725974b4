//! One peer's side of the hop, as simple as can be: it holds the keys of its last answered bind.

use core::net::SocketAddr;

use waylane_core::crypto::{Crypto as _, Secret, Suite, TAG_LEN};
use waylane_core::id::{PublicKey, SessionId};
use waylane_core::noise::{
    AwaitResponse, Initiator, KeyPair, RESUME_REQUEST_NONCE, RESUMED_NONCE, resume_keys,
    resume_request_key, resumption_secret,
};
use waylane_core::wire::hop::{
    self, Bind, BindPayload, Bound, BoundPayload, Control, ControlMessage, Cookie, CookieReply,
    Hello, NotBound, RefusedReason, Resume, Resumed, Ticket,
};

use crate::toy::Toy;

/// A peer that talks to a relay.
pub struct Hop {
    /// Its key.
    pub key: KeyPair,
    /// Where it is.
    pub address: SocketAddr,
    /// Its session, once it was told one.
    pub session: SessionId,
    /// Where it was when it was told.
    pub bound_at: Option<SocketAddr>,
    relay: PublicKey,
    suite: Suite,
    cookie: Cookie,
    ticket: Option<(Ticket, Secret)>,
    asked: Option<Asked>,
    seal: Secret,
    open: Secret,
    counter: u32,
    crypto: Toy,
}

/// A request that may be answered.
enum Asked {
    Bind { handshake: AwaitResponse<Toy>, from: SocketAddr },
    Resume { nonce: [u8; 16], resumption: Secret, from: SocketAddr },
}

/// What an answer was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// A cookie, for Hello or as a hint.
    Cookie,
    /// A session under new keys.
    Bound,
    /// A refusal.
    Refused(RefusedReason),
    /// A control message that opens.
    Control(ControlMessage),
    /// Nothing that this peer can use.
    Other,
}

impl Hop {
    /// The peer of this number, with a key of its own, at an address of its own.
    #[must_use]
    pub fn new(number: u8, relay: PublicKey) -> Self {
        let mut crypto = Toy::new(300 + u64::from(number));
        Self {
            key: KeyPair::generate(&mut crypto),
            address: address(number),
            session: SessionId::NONE,
            bound_at: None,
            relay,
            suite: if number.is_multiple_of(2) { Suite::AesGcm } else { Suite::ChaChaPoly },
            cookie: [0; 16],
            ticket: None,
            asked: None,
            seal: Secret::default(),
            open: Secret::default(),
            counter: 0,
            crypto,
        }
    }

    /// Asks for a cookie.
    #[must_use]
    pub fn hello(&self) -> Vec<u8> {
        let mut datagram = vec![0; Hello::LEN];
        Hello { nonce: [7; 8] }.emit(&mut datagram).expect("room");
        datagram
    }

    /// Asks for a session by handshake.
    pub fn bind(&mut self, another_slot: bool, token: &[u8]) -> Vec<u8> {
        let payload = BindPayload { wanted: self.session, another_slot, token };
        let mut plain = vec![0; payload.padded_len(Bind::PAYLOAD_OFFSET)];
        payload.emit(&mut plain).expect("room");
        let mut datagram = vec![0; Bind::PAYLOAD_OFFSET + plain.len() + TAG_LEN];
        let header = Bind { suite: self.suite, cookie: self.cookie };
        let offset = header.emit(&mut datagram).expect("room");
        let shared = self.key.agree::<Toy>(&self.relay).expect("a good key");
        let prologue = hop::prologue(self.suite, &self.cookie);
        let ephemeral = KeyPair::generate(&mut self.crypto);
        let initiator = Initiator::new(self.suite, &prologue, &self.key, &self.relay, &shared);
        let (_, handshake) = initiator
            .write_message_1(ephemeral, &plain, &mut datagram[offset..])
            .expect("room and a good key");
        self.asked = Some(Asked::Bind { handshake, from: self.address });
        datagram
    }

    /// Asks for a session with the ticket, if there is one.
    pub fn resume(&mut self, another_slot: bool, token: &[u8]) -> Option<Vec<u8>> {
        let (ticket, resumption) = self.ticket.clone()?;
        let mut nonce = [0; 16];
        self.crypto.random(&mut nonce);
        let payload = BindPayload { wanted: self.session, another_slot, token };
        let plain_len = payload.padded_len(Resume::PAYLOAD_OFFSET);
        let mut datagram = vec![0; Resume::PAYLOAD_OFFSET + plain_len + TAG_LEN];
        let header = Resume { suite: self.suite, cookie: self.cookie, nonce, ticket };
        let offset = header.emit(&mut datagram).expect("room");
        let (front, sealed) = datagram.split_at_mut(offset);
        payload.emit(&mut sealed[..plain_len]).expect("room");
        let key = Toy::seal_key(self.suite, &resume_request_key::<Toy>(&resumption, &nonce));
        Toy::seal(&key, RESUME_REQUEST_NONCE, front, sealed);
        self.asked = Some(Asked::Resume { nonce, resumption, from: self.address });
        Some(datagram)
    }

    /// A control message under the keys of the last answered bind.
    pub fn control(&mut self, message: ControlMessage) -> Vec<u8> {
        let header = Control { session: self.session, counter: self.counter };
        self.counter += 1;
        let mut datagram = vec![0; Control::LEN_MAX];
        let offset = header.emit(&mut datagram).expect("room");
        let len = message.emit(&mut datagram[offset..]).expect("room");
        datagram.truncate(offset + len + TAG_LEN);
        let (front, sealed) = datagram.split_at_mut(offset);
        let key = Toy::seal_key(self.suite, &self.seal);
        Toy::seal(&key, u64::from(header.counter), front, sealed);
        datagram
    }

    /// Takes what the relay has sent to this peer.
    ///
    /// # Panics
    /// If the relay answered with what no peer could read.
    pub fn take(&mut self, datagram: &[u8]) -> Answer {
        if let Ok(reply) = CookieReply::parse(datagram) {
            self.cookie = reply.cookie;
            return Answer::Cookie;
        }
        if let Ok(hint) = NotBound::parse(datagram) {
            self.cookie = hint.cookie;
            return Answer::Cookie;
        }
        if let Ok(refused) = hop::Refused::parse(datagram) {
            return Answer::Refused(refused.reason);
        }
        if Bound::parse(datagram).is_ok() {
            return self.take_bound(datagram.to_vec());
        }
        if let Ok(header) = Resumed::parse(datagram) {
            return self.take_resumed(header, datagram.to_vec());
        }
        let Ok(header) = Control::parse(datagram) else { return Answer::Other };
        let mut datagram = datagram.to_vec();
        let (front, sealed) = datagram.split_at_mut(Control::PAYLOAD_OFFSET);
        let key = Toy::open_key(self.suite, &self.open);
        if Toy::open(&key, u64::from(header.counter), front, sealed).is_err() {
            return Answer::Other;
        }
        let plain = &sealed[..sealed.len() - TAG_LEN];
        Answer::Control(ControlMessage::parse(plain).expect("the relay's messages are good"))
    }

    fn take_bound(&mut self, mut datagram: Vec<u8>) -> Answer {
        let Some(Asked::Bind { handshake, from }) = &self.asked else { return Answer::Other };
        let message = &mut datagram[Bound::NOISE_OFFSET..];
        let Ok((payload, keys)) = handshake.read_message_2(&self.key, &[], message) else {
            return Answer::Other;
        };
        let payload =
            BoundPayload::parse(&message[payload]).expect("the relay's payloads are good");
        let from = *from;
        let resumption = resumption_secret::<Toy>(&keys.initiator_to_responder);
        (self.seal, self.open) = (keys.initiator_to_responder, keys.responder_to_initiator);
        self.take_payload(&payload, resumption, from)
    }

    fn take_resumed(&mut self, header: Resumed, mut datagram: Vec<u8>) -> Answer {
        let Some(Asked::Resume { nonce, resumption, from }) = &self.asked else {
            return Answer::Other;
        };
        let keys = resume_keys::<Toy>(resumption, nonce, &header.nonce);
        let (front, sealed) = datagram.split_at_mut(Resumed::PAYLOAD_OFFSET);
        let key = Toy::open_key(self.suite, &keys.relay_to_peer);
        if Toy::open(&key, RESUMED_NONCE, front, sealed).is_err() {
            return Answer::Other;
        }
        let payload = &sealed[..sealed.len() - TAG_LEN];
        let payload = BoundPayload::parse(payload).expect("the relay's payloads are good");
        let from = *from;
        (self.seal, self.open) = (keys.peer_to_relay, keys.relay_to_peer);
        self.take_payload(&payload, keys.resumption, from)
    }

    fn take_payload(
        &mut self,
        payload: &BoundPayload,
        resumption: Secret,
        from: SocketAddr,
    ) -> Answer {
        assert_eq!(payload.address, from, "the relay says where it sees the peer");
        if self.session != payload.session || self.bound_at.is_none() {
            self.session = payload.session;
        }
        self.bound_at = Some(from);
        self.ticket = Some((payload.ticket, resumption));
        self.counter = 0;
        Answer::Bound
    }
}

/// An address by its number, of either family.
#[must_use]
pub fn address(number: u8) -> SocketAddr {
    // From 9 on they have sources in common with those before.
    let (source, own) = (u16::from(number % 9), u16::from(number / 9));
    if source.is_multiple_of(3) {
        SocketAddr::from(([0x2001, 0xdb8, 0, source, 0, 0, 0, 1 + own], 4000))
    } else {
        SocketAddr::from(([203, 0, 113, source as u8], 4000 + own))
    }
}
