//! A relay in virtual time, and a small client for the hop protocol.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::VecDeque;

use waylane_core::crypto::{Crypto, Secret, Suite, TAG_LEN};
use waylane_core::id::{PublicKey, SessionId};
use waylane_core::noise::{
    AwaitResponse, Initiator, KeyPair, RESUME_REQUEST_NONCE, RESUMED_NONCE, resume_keys,
    resume_request_key, resumption_secret,
};
use waylane_core::relay::{
    Control, Counters, HotEntry, IndexBucket, Pending, REPLY_MAX, RelayConfig, RelayMemory,
    Session, Verdict,
};
use waylane_core::time::Instant;
use waylane_core::wire::hop::{
    self, Bind, BindPayload, Bound, BoundPayload, ControlMessage, Cookie, CookieReply, Hello,
    NotBound, Refused, RefusedReason, Resume, Resumed, Ticket,
};
use waylane_crypto::Seeded;
use waylane_crypto::ring::Ring;

pub(crate) type Provider = Ring<Seeded>;

type Memory = RelayMemory<Box<[HotEntry]>, Box<[IndexBucket]>, Box<[Session]>, Box<[Pending]>>;

/// The relay under test. Every datagram goes through [`World::send`], which holds the promises
/// that must hold for each.
pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) control: Control<Provider, Memory>,
    pub(crate) counters: Counters,
    pub(crate) datagrams_in: u64,
    config: RelayConfig,
}

/// What came of one datagram.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    Forwarded(SocketAddr),
    Answered(Vec<u8>),
    Nothing,
}

impl World {
    pub(crate) fn new(config: RelayConfig) -> Self {
        Self::started(Instant::ZERO, config, 1)
    }

    /// A small relay that has been running longer than its reserved time.
    pub(crate) fn settled() -> Self {
        let mut world = Self::new(small());
        world.now += Duration::from_secs(31);
        world
    }

    /// The relay dies and comes back with its key and nothing else.
    pub(crate) fn restart(&mut self) {
        let seed = self.datagrams_in + 77;
        *self = Self::started(self.now, self.config, seed);
    }

    pub(crate) fn relay_key(&self) -> PublicKey {
        *self.control.public_key()
    }

    pub(crate) fn pass(&mut self, time: Duration) -> Vec<(SocketAddr, Vec<u8>)> {
        let until = self.now + time;
        let mut sent = Vec::new();
        loop {
            let due = self.control.poll_timeout().max(self.now);
            if due > until {
                break;
            }
            self.now = due;
            self.control.handle_timeout(self.now);
            sent.append(&mut self.poll());
        }
        self.now = until;
        sent
    }

    pub(crate) fn poll(&mut self) -> Vec<(SocketAddr, Vec<u8>)> {
        let mut out = [0; REPLY_MAX];
        let mut sent = Vec::new();
        while let Some(reply) = self.control.poll_transmit(self.now, &mut out) {
            sent.push((reply.to, out[..reply.len].to_vec()));
        }
        sent
    }

    pub(crate) fn send(&mut self, from: SocketAddr, datagram: &[u8]) -> Outcome {
        self.datagrams_in += 1;
        let verdict = self.control.forwarder().forward(self.now, from, datagram);
        self.counters.count(verdict, datagram.len());
        let outcome = match verdict {
            Verdict::Forward { to } => Outcome::Forwarded(to),
            Verdict::Drop(_) => Outcome::Nothing,
            Verdict::Control | Verdict::Unbound => {
                let mut out = [0; REPLY_MAX];
                let mut bytes = datagram.to_vec();
                match self.control.handle(self.now, from, &mut bytes, &mut out) {
                    Some(reply) => {
                        assert_eq!(reply.to, from, "an answer goes where the question came from");
                        assert!(reply.len <= datagram.len(), "the answer is longer");
                        Outcome::Answered(out[..reply.len].to_vec())
                    }
                    None => Outcome::Nothing,
                }
            }
        };
        self.assert_all_counted();
        outcome
    }

    pub(crate) fn answer(&mut self, from: SocketAddr, datagram: &[u8]) -> Vec<u8> {
        match self.send(from, datagram) {
            Outcome::Answered(bytes) => bytes,
            other @ (Outcome::Forwarded(_) | Outcome::Nothing) => {
                panic!("expected an answer, not {other:?}")
            }
        }
    }

    /// A data datagram from `from` for `to`, of a length that may be hinted at.
    pub(crate) fn send_data(&mut self, from: SocketAddr, to: SessionId) -> Outcome {
        self.send(from, &data(to))
    }

    pub(crate) fn live(&self) -> u64 {
        self.control.counters().sessions_live
    }

    /// in = forwarded + consumed + dropped by reason.
    fn assert_all_counted(&self) {
        let control = self.control.counters();
        assert_eq!(control.consumed() + control.dropped.total(), self.counters.control);
        let forward = self.counters;
        assert_eq!(forward.forwarded + forward.control + forward.dropped(), self.datagrams_in);
    }

    fn started(now: Instant, config: RelayConfig, seed: u64) -> Self {
        let limits = config.limits;
        let memory = Memory {
            hot: (0..limits.sessions).map(|_| HotEntry::new()).collect(),
            index: (0..limits.index_buckets()).map(|_| IndexBucket::new()).collect(),
            sessions: (0..limits.sessions).map(|_| Session::new()).collect(),
            pending: (0..limits.pending).map(|_| Pending::new()).collect(),
        };
        // The wall clock goes on through a restart, as the virtual clock does.
        let unix = 1_700_000_000 + now.as_millis() / 1000;
        let config = RelayConfig { unix_seconds_at_start: unix, ..config };
        let crypto = Provider::with_random(Seeded::new(seed));
        let control = Control::new(now, &config, Secret([9; 32]), crypto, memory).unwrap();
        Self { now, control, counters: Counters::default(), datagrams_in: 0, config }
    }
}

pub(crate) fn small() -> RelayConfig {
    let mut config = RelayConfig::default();
    config.limits.sessions = 64;
    config.limits.pending = 8;
    config
}

pub(crate) fn address(n: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, n], 4000 + u16::from(n)))
}

pub(crate) fn data(to: SessionId) -> Vec<u8> {
    let mut datagram = vec![0x80; 60];
    datagram[1..8].copy_from_slice(&to.to_bytes());
    datagram
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
        let mut crypto = Provider::with_random(Seeded::new(1000 + u64::from(n)));
        Self {
            key: KeyPair::generate(&mut crypto),
            address: address(n),
            session: SessionId::NONE,
            seen_as: None,
            suite: if n.is_multiple_of(2) { Suite::AesGcm } else { Suite::ChaChaPoly },
            ticket: [0; hop::TICKET_LEN],
            resumption: Secret::default(),
            keys: Keys::default(),
            crypto,
        }
    }

    /// Hello, Bind and the proof.
    pub(crate) fn bound(n: u8, world: &mut World) -> Self {
        let mut client = Self::new(n);
        client.bind(world, false);
        client.prove(world);
        client
    }

    /// Hello and Bind, without the proof.
    pub(crate) fn bind(&mut self, world: &mut World, another_slot: bool) {
        let cookie = self.cookie(world);
        let (datagram, handshake) = self.bind_datagram(world.relay_key(), cookie, another_slot);
        let answer = world.answer(self.address, &datagram);
        self.accept_bound(&handshake, answer).unwrap();
    }

    pub(crate) fn cookie(&mut self, world: &mut World) -> Cookie {
        let nonce = [self.address.port() as u8; 8];
        let mut hello = [0; Hello::LEN];
        Hello { nonce }.emit(&mut hello).unwrap();
        let reply = CookieReply::parse(&world.answer(self.address, &hello)).unwrap();
        assert_eq!(reply.nonce, nonce);
        reply.cookie
    }

    pub(crate) fn bind_datagram(
        &mut self,
        relay: PublicKey,
        cookie: Cookie,
        another_slot: bool,
    ) -> (Vec<u8>, AwaitResponse<Provider>) {
        let mut datagram = vec![0; 280];
        let payload = BindPayload { wanted: self.session, another_slot, token: b"" };
        let mut plain = vec![0; payload.padded_len(Bind::PAYLOAD_OFFSET)];
        payload.emit(&mut plain).unwrap();
        let offset = Bind { suite: self.suite, cookie }.emit(&mut datagram).unwrap();
        let static_static = self.key.agree::<Provider>(&relay).unwrap();
        let ephemeral = KeyPair::generate(&mut self.crypto);
        let prologue = hop::prologue(self.suite, &cookie);
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
        world: &mut World,
        cookie: Cookie,
    ) -> Result<(), RefusedReason> {
        let (datagram, nonce) = self.resume_datagram(cookie, false);
        let answer = world.answer(self.address, &datagram);
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
        let mut datagram = vec![0; 280];
        let header = Resume { suite: self.suite, cookie, nonce, ticket: self.ticket };
        let offset = header.emit(&mut datagram).unwrap();
        let (front, sealed) = datagram.split_at_mut(offset);
        let payload = BindPayload { wanted: self.session, another_slot, token: b"" };
        payload.emit(&mut sealed[..280 - offset - TAG_LEN]).unwrap();
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
    pub(crate) fn prove(&mut self, world: &mut World) {
        let keep_alive = self.control(ControlMessage::KeepAlive { time: 5 });
        let ack = world.answer(self.address, &keep_alive);
        assert_eq!(ack.len(), keep_alive.len());
        assert_eq!(self.open(&ack), Some(ControlMessage::KeepAliveAck { time: 5 }));
    }

    pub(crate) fn keeps_alive(&mut self, world: &mut World) -> bool {
        let keep_alive = self.control(ControlMessage::KeepAlive { time: 6 });
        let outcome = world.send(self.address, &keep_alive);
        matches!(outcome, Outcome::Answered(ack) if self.open(&ack).is_some())
    }

    pub(crate) fn control(&mut self, message: ControlMessage) -> Vec<u8> {
        let counter = self.keys.next;
        self.keys.next += 1;
        let mut datagram = vec![0; hop::Control::LEN_MAX];
        let offset = hop::Control { session: self.session, counter }.emit(&mut datagram).unwrap();
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
        let header = hop::Control::parse(datagram).ok()?;
        let mut datagram = datagram.to_vec();
        let (front, sealed) = datagram.split_at_mut(hop::Control::PAYLOAD_OFFSET);
        let key = Provider::open_key(self.suite, &keys.open);
        Provider::open(&key, u64::from(header.counter), front, sealed).ok()?;
        ControlMessage::parse(&sealed[..sealed.len() - TAG_LEN]).ok()
    }

    /// What a client does when data gets no further: data, hint, resume, proof. Returns the round
    /// trips it took.
    pub(crate) fn recover(&mut self, world: &mut World, to: SessionId) -> u32 {
        let mut round_trips = 0;
        let mut waiting = VecDeque::from([data(to)]);
        let mut nonce = [0; 16];
        while let Some(datagram) = waiting.pop_front() {
            round_trips += 1;
            let answer = world.answer(self.address, &datagram);
            if let Ok(hint) = NotBound::parse(&answer) {
                assert_eq!(hint.echo, datagram[..16]);
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
    }
}
