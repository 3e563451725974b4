//! A peer that binds at a relay, again and again: both sides of the hop's handshake.

use core::net::SocketAddr;
use core::time::Duration;

use waylane_core::crypto::{Crypto, Secret, Suite};
use waylane_core::id::SessionId;
use waylane_core::noise::{Initiator, KeyPair};
use waylane_core::relay::{Control, REPLY_MAX, RelayConfig};
use waylane_core::time::Instant;
use waylane_core::wire::hop::{self, Bind, BindPayload, Bound, BoundPayload, CookieReply, Hello};

use crate::relay::{Memory, memory};

/// A peer and a relay.
pub struct Binding<C: Crypto> {
    now: Instant,
    relay: Control<C, Memory>,
    key: KeyPair,
    static_static: Secret,
    crypto: C,
}

impl<C: Crypto> Binding<C> {
    /// Neither knows the other yet; `make` gives a provider for a seed.
    ///
    /// # Panics
    /// If core refuses what is fine.
    #[must_use]
    pub fn new(make: fn(u64) -> C) -> Self {
        let mut config = RelayConfig::default();
        config.limits.sessions = 64;
        let relay = Control::new(Instant::ZERO, &config, Secret([9; 32]), make(3), memory(&config))
            .expect("the limits are in range");
        let mut crypto = make(4);
        let key = KeyPair::generate(&mut crypto);
        let static_static = key.agree::<C>(relay.public_key()).expect("not of low order");
        Self { now: Instant::ZERO, relay, key, static_static, crypto }
    }

    /// Hello, Cookie, Bind, Bound; what the peer keeps is its session.
    ///
    /// # Panics
    /// If the relay does not answer.
    pub fn bind(&mut self) -> SessionId {
        // Slow enough for the relay's limits.
        self.now += Duration::from_millis(10);
        let mut hello = [0; Hello::LEN];
        Hello { nonce: [1; 8] }.emit(&mut hello).expect("room");
        let mut reply = [0; REPLY_MAX];
        let len = self.ask(&mut hello, &mut reply);
        let cookie = CookieReply::parse(&reply[..len]).expect("a cookie").cookie;

        let mut datagram = [0; 280];
        let mut plain = [0; 280];
        let payload = BindPayload { wanted: SessionId::NONE, another_slot: false, token: b"" };
        let padded = payload.padded_len(Bind::PAYLOAD_OFFSET);
        payload.emit(&mut plain[..padded]).expect("room");
        let offset = Bind { suite: SUITE, cookie }.emit(&mut datagram).expect("room");
        let ephemeral = KeyPair::generate(&mut self.crypto);
        let prologue = hop::prologue(SUITE, &cookie);
        let remote = *self.relay.public_key();
        let (len, waiting) =
            Initiator::<C>::new(SUITE, &prologue, &self.key, &remote, &self.static_static)
                .write_message_1(ephemeral, &plain[..padded], &mut datagram[offset..])
                .expect("room");

        let len = self.ask(&mut datagram[..offset + len], &mut reply);
        Bound::parse(&reply[..len]).expect("bound");
        let message = &mut reply[Bound::NOISE_OFFSET..len];
        let (payload, _) = waiting.read_message_2(&self.key, &[], message).expect("the relay's");
        BoundPayload::parse(&message[payload]).expect("a session").session
    }

    fn ask(&mut self, datagram: &mut [u8], out: &mut [u8; REPLY_MAX]) -> usize {
        self.relay.handle(self.now, PEER, datagram, out).expect("an answer").len
    }
}

const SUITE: Suite = Suite::ChaChaPoly;
const PEER: SocketAddr = {
    use core::net::{IpAddr, Ipv4Addr};
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)), 27_960)
};
