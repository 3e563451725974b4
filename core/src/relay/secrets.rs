//! What only this relay can make: cookies, tickets, session tags, hashes of keys.

use super::address::Address;
use super::admission::Grant;
use super::circle::CircleKey;
use super::sessions::KeyHash;
use crate::crypto::{Crypto, Secret, Suite, TAG_LEN};
use crate::id::{PublicKey, SessionId};
use crate::time::Instant;
use crate::wire::hop::{Cookie, TICKET_LEN, Ticket};
use crate::wire::{Reader, Writer};

/// The relay's derived and drawn keys.
///
/// Tags and tickets are keyed by the relay's static secret: they outlive a restart. Cookies and
/// the hashes of keys are keyed by randomness of this start.
pub(crate) struct Secrets<C: Crypto> {
    tag_key: Secret,
    cookie_key: Secret,
    key_hash_key: Secret,
    subject_key: Secret,
    ticket_seal: C::SealKey,
    ticket_open: C::OpenKey,
    last_ticket_micros: u64,
}

/// What a ticket holds.
pub(crate) struct TicketContent {
    pub(crate) peer: PublicKey,
    pub(crate) resumption: Secret,
    pub(crate) expiry_unix_s: u64,
    pub(crate) grant: Grant,
}

impl<C: Crypto> Secrets<C> {
    pub(crate) fn new(static_secret: &Secret, crypto: &mut C) -> Self {
        let derive = |label: &[u8]| Secret(C::hmac_sha256(&static_secret.0, &[label]));
        let ticket_key = derive(b"waylane relay ticket");
        let mut drawn = || {
            let mut secret = Secret::default();
            crypto.random(&mut secret.0);
            secret
        };
        Self {
            tag_key: derive(b"waylane relay session"),
            cookie_key: drawn(),
            key_hash_key: drawn(),
            subject_key: derive(b"waylane relay subject"),
            ticket_seal: C::seal_key(TICKET_SUITE, &ticket_key),
            ticket_open: C::open_key(TICKET_SUITE, &ticket_key),
            last_ticket_micros: 0,
        }
    }

    /// What this start drew, and where its tickets are.
    pub(crate) fn drawn(&self) -> [u8; 72] {
        let mut drawn = [0; 72];
        let ticket = self.last_ticket_micros.to_le_bytes();
        let fields = self.cookie_key.0.iter().chain(&self.key_hash_key.0).chain(&ticket);
        for (to, from) in drawn.iter_mut().zip(fields) {
            *to = *from;
        }
        drawn
    }

    /// Goes on by what another start drew.
    pub(crate) fn take_drawn(&mut self, drawn: &[u8; 72]) {
        let (keys, ticket) = drawn.split_at(64);
        for (to, from) in self.cookie_key.0.iter_mut().chain(&mut self.key_hash_key.0).zip(keys) {
            *to = *from;
        }
        let ticket = ticket.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        self.last_ticket_micros = self.last_ticket_micros.max(ticket);
    }

    /// The session of `peer` in `slot`: the same after every restart.
    pub(crate) fn session_id(&self, slot: u32, peer: &PublicKey) -> SessionId {
        let [a, b, c, d, ..] = C::hmac_sha256(&self.tag_key.0, &[&slot.to_le_bytes(), &peer.0]);
        // 0 marks a slot without a session.
        SessionId::new(slot, u32::from_le_bytes([a, b, c, d]).max(1))
    }

    pub(crate) fn key_hash(&self, peer: &PublicKey) -> KeyHash {
        let [a, b, c, d, e, f, g, h, i, j, k, l, ..] =
            C::hmac_sha256(&self.key_hash_key.0, &[&peer.0]);
        KeyHash([[a, b, c, d], [e, f, g, h], [i, j, k, l]].map(u32::from_le_bytes))
    }

    pub(crate) fn cookie(&self, now: Instant, address: Address) -> Cookie {
        self.cookie_of(epoch(now), address)
    }

    /// Whether `cookie` was made for `address` in this epoch or the one before.
    pub(crate) fn cookie_is_valid(&self, now: Instant, address: Address, cookie: &Cookie) -> bool {
        let this = epoch(now);
        let is = |epoch| same(&self.cookie_of(epoch, address), cookie);
        is(this) || this.checked_sub(1).is_some_and(is)
    }

    /// Seals a ticket. `crypto` gives the nonce's low bits.
    pub(crate) fn seal_ticket(
        &mut self,
        crypto: &mut C,
        unix_micros: u64,
        content: &TicketContent,
    ) -> Ticket {
        // Strictly increasing while the relay runs and, with the wall clock, from start to start:
        // no nonce comes twice. The random bits cover a clock that was set back.
        self.last_ticket_micros = unix_micros.max(self.last_ticket_micros.saturating_add(1));
        let mut random = [0; 2];
        crypto.random(&mut random);
        let nonce = self.last_ticket_micros << 12 | u64::from(u16::from_le_bytes(random) & 0xfff);

        let mut ticket = [0; TICKET_LEN];
        let (front, sealed) = ticket.split_at_mut(8);
        front.copy_from_slice(&nonce.to_le_bytes());
        let mut writer = Writer::new(sealed);
        let written = (|| {
            writer.bytes(&content.peer.0)?;
            writer.bytes(&content.resumption.0)?;
            writer.u64(content.expiry_unix_s)?;
            content.grant.emit(&mut writer)
        })();
        debug_assert!(written.is_ok() && writer.remaining() == TAG_LEN);
        C::seal(&self.ticket_seal, nonce, front, sealed);
        ticket
    }

    /// Opens a ticket of this relay that has not expired.
    pub(crate) fn open_ticket(&self, unix_s: u64, ticket: &Ticket) -> Option<TicketContent> {
        let mut ticket = *ticket;
        let (front, sealed) = ticket.split_first_chunk_mut::<8>()?;
        let nonce = u64::from_le_bytes(*front);
        C::open(&self.ticket_open, nonce, front, sealed).ok()?;
        let mut reader = Reader::new(sealed.get(..sealed.len().checked_sub(TAG_LEN)?)?);
        let content = TicketContent {
            peer: PublicKey(reader.array().ok()?),
            resumption: Secret(reader.array().ok()?),
            expiry_unix_s: reader.u64().ok()?,
            grant: Grant::parse(&mut reader).ok()?,
        };
        reader.finish().ok()?;
        (unix_s < content.expiry_unix_s).then_some(content)
    }

    /// The circle of a token's subject; of the peer itself if it names none. The same after a
    /// restart, since tickets hold it.
    pub(crate) fn subject(&self, subject: &[u8; 16], peer: &PublicKey) -> CircleKey {
        let name: &[u8] = if *subject == [0; 16] { &peer.0 } else { subject };
        let [a, b, c, d, e, f, g, h, ..] = C::hmac_sha256(&self.subject_key.0, &[name]);
        CircleKey::from(u64::from_le_bytes([a, b, c, d, e, f, g, h]))
    }

    fn cookie_of(&self, epoch: u64, address: Address) -> Cookie {
        let [a, b, c] = address.hash_words().map(u64::to_le_bytes);
        let mac = C::hmac_sha256(&self.cookie_key.0, &[&epoch.to_le_bytes(), &a, &b, &c]);
        let mut cookie = Cookie::default();
        cookie.copy_from_slice(mac.first_chunk::<16>().unwrap_or(&[0; 16]));
        cookie
    }
}

/// Compares in constant time.
fn same(a: &Cookie, b: &Cookie) -> bool {
    core::hint::black_box(u128::from_le_bytes(*a) ^ u128::from_le_bytes(*b)) == 0
}

fn epoch(now: Instant) -> u64 {
    now.as_micros() / EPOCH_MICROS
}

/// Both ends prepare it once, so the machine's instructions do not matter much.
const TICKET_SUITE: Suite = Suite::ChaChaPoly;
/// A cookie is good for 40 to 80 seconds.
const EPOCH_MICROS: u64 = 40_000_000;
