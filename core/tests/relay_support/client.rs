//! A small client for the hop protocol, also for the tests of waylane-relay.
#![allow(dead_code, reason = "not every test that includes it uses all of it")]

use core::net::SocketAddr;
use std::collections::VecDeque;

use waylane_core::crypto::{Crypto, Secret, Suite, TAG_LEN};
use waylane_core::id::{PublicKey, SessionId};
use waylane_core::noise::{
    AwaitResponse, Initiator, KeyPair, RESUME_REQUEST_NONCE, RESUMED_NONCE, resume_keys,
    resume_request_key, resumption_secret,
};
use waylane_core::wire::hop::{
    self as wire, Bind, BindPayload, Bound, BoundPayload, ControlMessage, Cookie, CookieReply,
    Hello, NotBound, Refused, RefusedReason, Resume, Resumed, Ticket,
};
use waylane_crypto::Seeded;
use waylane_crypto::ring::Ring;

pub(crate) type Provider = Ring<Seeded>;

/// A relay that can be asked.
pub(crate) trait Hop {
    fn relay_key(&self) -> PublicKey;
    /// What comes back for a datagram.
    fn exchange(&mut self, from: SocketAddr, datagram: &[u8]) -> Option<Vec<u8>>;
}

/// One peer's side of the hop.
pub(crate) struct Client {
    pub(crate) key: KeyPair,
    pub(crate) address: SocketAddr,
    pub(crate) session: SessionId,
    pub(crate) seen_as: Option<SocketAddr>,
    pub(crate) suite: Suite,
    ticket: Ticket,
    resumption: Secret,
    pub(crate) keys: Keys,
    pub(crate) token: Vec<u8>,
    pub(crate) token_left_s: Option<u32>,
    crypto: Provider,
}

#[derive(Clone, Default)]
pub(crate) struct Keys {
    seal: Secret,
    open: Secret,
    next: u32,
}

impl Client {
    pub(crate) fn new(n: u8) -> Self {
        Self::at(address(n), n.into())
    }

    /// The `n`th of as many as are wanted.
    pub(crate) fn at(address: SocketAddr, n: u64) -> Self {
        let mut crypto = Provider::with_random(Seeded::new(1000 + n));
        Self {
            key: KeyPair::generate(&mut crypto),
            address,
            session: SessionId::NONE,
            seen_as: None,
            suite: if n.is_multiple_of(2) { Suite::AesGcm } else { Suite::ChaChaPoly },
            ticket: [0; wire::TICKET_LEN],
            resumption: Secret::default(),
            keys: Keys::default(),
            token: Vec::new(),
            token_left_s: None,
            crypto,
        }
    }

    /// Hello, Bind and the proof.
    pub(crate) fn bound(n: u8, hop: &mut impl Hop) -> Self {
        let mut client = Self::new(n);
        client.bind(hop, false);
        client.prove(hop);
        client
    }

    /// Hello and Bind, without the proof.
    pub(crate) fn bind(&mut self, hop: &mut impl Hop, another_slot: bool) {
        let cookie = self.cookie(hop);
        let (datagram, handshake) = self.bind_datagram(hop.relay_key(), cookie, another_slot);
        let answer = answer(hop, self.address, &datagram);
        self.accept_bound(&handshake, answer).unwrap();
    }

    pub(crate) fn cookie(&mut self, hop: &mut impl Hop) -> Cookie {
        let nonce = [self.address.port() as u8; 8];
        let mut hello = [0; Hello::LEN];
        Hello { nonce }.emit(&mut hello).unwrap();
        let reply = CookieReply::parse(&answer(hop, self.address, &hello)).unwrap();
        assert_eq!(reply.nonce, nonce);
        reply.cookie
    }

    pub(crate) fn bind_datagram(
        &mut self,
        relay: PublicKey,
        cookie: Cookie,
        another_slot: bool,
    ) -> (Vec<u8>, AwaitResponse<Provider>) {
        let payload = BindPayload { wanted: self.session, another_slot, token: &self.token };
        let mut plain = vec![0; payload.padded_len(Bind::PAYLOAD_OFFSET)];
        let mut datagram = vec![0; Bind::PAYLOAD_OFFSET + plain.len() + TAG_LEN];
        payload.emit(&mut plain).unwrap();
        let offset = Bind { suite: self.suite, cookie }.emit(&mut datagram).unwrap();
        let static_static = self.key.agree::<Provider>(&relay).unwrap();
        let ephemeral = KeyPair::generate(&mut self.crypto);
        let prologue = wire::prologue(self.suite, &cookie);
        let initiator =
            Initiator::<Provider>::new(self.suite, &prologue, &self.key, &relay, &static_static);
        let (len, handshake) =
            initiator.write_message_1(ephemeral, &plain, &mut datagram[offset..]).unwrap();
        datagram.truncate(offset + len);
        (datagram, handshake)
    }

    pub(crate) fn accept_bound(
        &mut self,
        handshake: &AwaitResponse<Provider>,
        mut bound: Vec<u8>,
    ) -> Option<()> {
        Bound::parse(&bound).ok()?;
        let message = &mut bound[Bound::NOISE_OFFSET..];
        let (payload, transport) = handshake.read_message_2(&self.key, &[], message).ok()?;
        let payload = BoundPayload::parse(&message[payload]).unwrap();
        self.resumption = resumption_secret::<Provider>(&transport.initiator_to_responder);
        self.keys = Keys {
            seal: transport.initiator_to_responder,
            open: transport.responder_to_initiator,
            next: 0,
        };
        self.take(&payload);
        Some(())
    }

    /// Resume, without the proof.
    pub(crate) fn resume(
        &mut self,
        hop: &mut impl Hop,
        cookie: Cookie,
    ) -> Result<(), RefusedReason> {
        let (datagram, nonce) = self.resume_datagram(cookie, false);
        let answer = answer(hop, self.address, &datagram);
        if let Ok(refused) = Refused::parse(&answer) {
            return Err(refused.reason);
        }
        self.accept_resumed(nonce, answer);
        Ok(())
    }

    pub(crate) fn resume_datagram(
        &mut self,
        cookie: Cookie,
        another_slot: bool,
    ) -> (Vec<u8>, [u8; 16]) {
        let mut nonce = [0; 16];
        self.crypto.random(&mut nonce);
        let payload = BindPayload { wanted: self.session, another_slot, token: &self.token };
        let len = payload.padded_len(Resume::PAYLOAD_OFFSET);
        let mut datagram = vec![0; Resume::PAYLOAD_OFFSET + len + TAG_LEN];
        let header = Resume { suite: self.suite, cookie, nonce, ticket: self.ticket };
        let offset = header.emit(&mut datagram).unwrap();
        let (front, sealed) = datagram.split_at_mut(offset);
        payload.emit(&mut sealed[..len]).unwrap();
        let key = resume_request_key::<Provider>(&self.resumption, &nonce);
        let key = Provider::seal_key(self.suite, &key);
        Provider::seal(&key, RESUME_REQUEST_NONCE, front, sealed);
        (datagram, nonce)
    }

    pub(crate) fn accept_resumed(&mut self, nonce: [u8; 16], mut resumed: Vec<u8>) {
        let header = Resumed::parse(&resumed).unwrap();
        let keys = resume_keys::<Provider>(&self.resumption, &nonce, &header.nonce);
        let (front, sealed) = resumed.split_at_mut(Resumed::PAYLOAD_OFFSET);
        let key = Provider::open_key(self.suite, &keys.relay_to_peer);
        Provider::open(&key, RESUMED_NONCE, front, sealed).unwrap();
        let payload = BoundPayload::parse(&sealed[..BoundPayload::LEN]).unwrap();
        self.resumption = keys.resumption;
        self.keys = Keys { seal: keys.peer_to_relay, open: keys.relay_to_peer, next: 0 };
        self.take(&payload);
    }

    /// A keep-alive that is answered.
    pub(crate) fn prove(&mut self, hop: &mut impl Hop) {
        let keep_alive = self.control(ControlMessage::KeepAlive { time: 5 });
        let ack = answer(hop, self.address, &keep_alive);
        assert_eq!(ack.len(), keep_alive.len());
        assert_eq!(self.open(&ack), Some(ControlMessage::KeepAliveAck { time: 5 }));
    }

    pub(crate) fn keeps_alive(&mut self, hop: &mut impl Hop) -> bool {
        let keep_alive = self.control(ControlMessage::KeepAlive { time: 6 });
        hop.exchange(self.address, &keep_alive).is_some_and(|ack| self.open(&ack).is_some())
    }

    pub(crate) fn control(&mut self, message: ControlMessage) -> Vec<u8> {
        let counter = self.keys.next;
        self.keys.next += 1;
        let mut datagram = vec![0; wire::Control::LEN_MAX];
        let offset = wire::Control { session: self.session, counter }.emit(&mut datagram).unwrap();
        let len = message.emit(&mut datagram[offset..]).unwrap();
        datagram.truncate(offset + len + TAG_LEN);
        let (front, sealed) = datagram.split_at_mut(offset);
        let key = Provider::seal_key(self.suite, &self.keys.seal);
        Provider::seal(&key, u64::from(counter), front, sealed);
        datagram
    }

    pub(crate) fn open(&self, datagram: &[u8]) -> Option<ControlMessage> {
        self.open_with(&self.keys, datagram)
    }

    pub(crate) fn open_with(&self, keys: &Keys, datagram: &[u8]) -> Option<ControlMessage> {
        ControlMessage::parse(&self.plain(keys, datagram)?).ok()
    }

    /// What is sealed in a control datagram.
    pub(crate) fn plain(&self, keys: &Keys, datagram: &[u8]) -> Option<Vec<u8>> {
        let header = wire::Control::parse(datagram).ok()?;
        let mut datagram = datagram.to_vec();
        let (front, sealed) = datagram.split_at_mut(wire::Control::PAYLOAD_OFFSET);
        let key = Provider::open_key(self.suite, &keys.open);
        Provider::open(&key, u64::from(header.counter), front, sealed).ok()?;
        Some(sealed[..sealed.len() - TAG_LEN].to_vec())
    }

    /// What a client does when data gets no further: data, hint, resume, proof. Returns the round
    /// trips it took.
    pub(crate) fn recover(&mut self, hop: &mut impl Hop, to: SessionId) -> u32 {
        let mut round_trips = 0;
        let mut waiting = VecDeque::from([data(to)]);
        let mut nonce = [0; 16];
        while let Some(datagram) = waiting.pop_front() {
            round_trips += 1;
            let answer = answer(hop, self.address, &datagram);
            if let Ok(hint) = NotBound::parse(&answer) {
                assert_eq!(hint.echo, datagram[datagram.len() - 8..]);
                let (resume, drawn) = self.resume_datagram(hint.cookie, false);
                nonce = drawn;
                waiting.push_back(resume);
            } else if Resumed::parse(&answer).is_ok() {
                self.accept_resumed(nonce, answer);
                waiting.push_back(self.control(ControlMessage::KeepAlive { time: 1 }));
            } else {
                assert_eq!(self.open(&answer), Some(ControlMessage::KeepAliveAck { time: 1 }));
            }
        }
        round_trips
    }

    fn take(&mut self, payload: &BoundPayload) {
        self.session = payload.session;
        self.ticket = payload.ticket;
        self.seen_as = Some(payload.address);
        self.token_left_s = payload.token_left_s;
    }
}

pub(crate) fn address(n: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, n], 4000 + u16::from(n)))
}

/// A data datagram that is long enough for a hint.
pub(crate) fn data(to: SessionId) -> Vec<u8> {
    let mut datagram = vec![0x80; 60];
    datagram[1..8].copy_from_slice(&to.to_bytes());
    datagram
}

fn answer(hop: &mut impl Hop, from: SocketAddr, datagram: &[u8]) -> Vec<u8> {
    hop.exchange(from, datagram).expect("an answer")
}
