//! Bind and Resume (wire.md §3): checked, answered, and left to be proven.

use core::time::Duration;

use super::address::Address;
use super::admission::{GRACE_S, Grant};
use super::answering::{Dropped, Refusal};
use super::budget::Price;
use super::circle::CircleKey;
use super::control::{Control, PROOF_TIME, REPLY_MAX};
use super::memory::Memory;
use super::pending::{HopKeys, Terms};
use super::registry::{Avoid, Claim, NoSlot};
use super::secrets::TicketContent;
use super::sessions::KeyHash;
use crate::crypto::{Crypto, Secret, TAG_LEN};
use crate::id::{PublicKey, SessionId};
use crate::noise::{
    KeyPair, RESUME_REQUEST_NONCE, RESUMED_NONCE, Responder, next_resumption, resume_request_key,
    resume_root, resumption_secret,
};
use crate::time::Instant;
use crate::wire::hop::{
    Bind, BindPayload, Bound, BoundPayload, Cookie, RefusedReason, Resume, Resumed, echo_of,
    prologue,
};

impl<C: Crypto, M: Memory> Control<C, M> {
    /// Answers a Bind. The cookie is checked before any Diffie–Hellman.
    pub(super) fn bind(
        &mut self,
        now: Instant,
        from: Address,
        bytes: &mut [u8],
        out: &mut [u8; REPLY_MAX],
    ) -> Result<usize, Refusal> {
        let header = Bind::parse(bytes)?;
        self.check_cookie(now, from, &header.cookie)?;
        if !self.binds.allow(now, from) {
            return Err(Dropped::RateLimited.into());
        }
        let echo = echo_of(bytes).ok_or(Dropped::Malformed)?;
        let message = bytes.get_mut(Bind::NOISE_OFFSET..).ok_or(Dropped::Malformed)?;
        let request = first_16(message)?;

        let prologue = prologue(header.suite, &header.cookie);
        let responder = Responder::<C>::new(header.suite, &prologue, &self.key_pair);
        let opened = responder.read_static(message).map_err(|_| UNREADABLE)?;
        let peer = *opened.remote();
        let key = self.secrets.key_hash(&peer);
        if let Some(len) = self.repeat(key, from, &request, out) {
            return Ok(len);
        }
        let static_static = self.key_pair.agree::<C>(&peer).ok_or(UNREADABLE)?;
        let received = opened.read_payload(&static_static).map_err(|_| UNREADABLE)?;
        let payload = message.get(received.payload).ok_or(UNREADABLE)?;
        let payload = BindPayload::parse(payload).map_err(|_| UNREADABLE)?;
        let grant = self.grant(now, payload.token, &peer)?;
        let session = self.admit(now, from, &peer, key, &payload, &grant)?;

        let ephemeral = KeyPair::generate(&mut self.crypto);
        let agreed = received.reply.agree(&ephemeral).map_err(|_| UNREADABLE)?;
        let keys = HopKeys { suite: header.suite, root: agreed.root() };
        let (peer_to_relay, _) = keys.root.keys::<C>();
        let resumption = resumption_secret::<C>(&peer_to_relay);
        let payload = self.bound_payload(now, from, session, peer, resumption, &grant)?;
        let offset = Bound { echo }.emit(out).map_err(|_| Dropped::Malformed)?;
        let rest = out.get_mut(offset..).ok_or(Dropped::Malformed)?;
        let written = agreed.write_message_2(&[], &payload, rest);
        let (len, _) = written.map_err(|_| Dropped::Malformed)?;
        self.counters.binds += 1;
        let answered = Answered { key, session, request, keys, grant, len: offset + len };
        Ok(self.await_proof(now, from, &answered, out))
    }

    /// Answers a Resume: no Diffie–Hellman, only the ticket and what hangs on it.
    pub(super) fn resume(
        &mut self,
        now: Instant,
        from: Address,
        bytes: &mut [u8],
        out: &mut [u8; REPLY_MAX],
    ) -> Result<usize, Refusal> {
        let header = Resume::parse(bytes)?;
        self.check_cookie(now, from, &header.cookie)?;
        let unix_s = self.unix_micros(now) / 1_000_000;
        let ticket = self.secrets.open_ticket(unix_s, &header.ticket).ok_or(BAD_TICKET)?;
        let echo = echo_of(bytes).ok_or(Dropped::Malformed)?;
        let (front, sealed) =
            bytes.split_at_mut_checked(Resume::PAYLOAD_OFFSET).ok_or(Dropped::Malformed)?;
        let request_key = resume_request_key::<C>(&ticket.resumption, &header.nonce);
        let open_key = C::open_key(header.suite, &request_key);
        C::open(&open_key, RESUME_REQUEST_NONCE, front, sealed).map_err(|_| BAD_TICKET)?;
        let key = self.secrets.key_hash(&ticket.peer);
        if let Some(len) = self.repeat(key, from, &header.nonce, out) {
            return Ok(len);
        }
        let plain = sealed.len().checked_sub(TAG_LEN).and_then(|len| sealed.get(..len));
        let payload = BindPayload::parse(plain.ok_or(UNREADABLE)?).map_err(|_| UNREADABLE)?;
        let grant = self.regrant(now, from, payload.token, &ticket)?;
        let session = self.admit(now, from, &ticket.peer, key, &payload, &grant)?;

        let mut nonce = [0; 16];
        self.crypto.random(&mut nonce);
        let root = resume_root::<C>(&ticket.resumption, &header.nonce, &nonce);
        let resumption = next_resumption::<C>(&root);
        let keys = HopKeys { suite: header.suite, root };
        let payload = self.bound_payload(now, from, session, ticket.peer, resumption, &grant)?;
        let offset = Resumed { echo, nonce }.emit(out).map_err(|_| Dropped::Malformed)?;
        let (front, rest) = out.split_at_mut_checked(offset).ok_or(Dropped::Malformed)?;
        let sealed = rest.get_mut(..BoundPayload::LEN + TAG_LEN).ok_or(Dropped::Malformed)?;
        let (plain, _) = sealed.split_at_mut(BoundPayload::LEN);
        plain.copy_from_slice(&payload);
        C::seal(&keys.seal_key::<C>(), RESUMED_NONCE, front, sealed);
        self.counters.resumes += 1;
        let request = header.nonce;
        let answered = Answered { key, session, request, keys, grant, len: Resumed::LEN };
        Ok(self.await_proof(now, from, &answered, out))
    }

    fn check_cookie(&self, now: Instant, from: Address, cookie: &Cookie) -> Result<(), Refusal> {
        if self.secrets.cookie_is_valid(now, from, cookie) {
            Ok(())
        } else {
            Err(Refusal::Tell(RefusedReason::Cookie))
        }
    }

    /// The reply that was given to this very request before, if its proof is still awaited.
    fn repeat(
        &mut self,
        key: KeyHash,
        from: Address,
        request: &[u8; 16],
        out: &mut [u8; REPLY_MAX],
    ) -> Option<usize> {
        let (registry, ..) = self.registry();
        let reply = registry.answered(key, from, request)?.reply();
        out.get_mut(..reply.len())?.copy_from_slice(reply);
        let len = reply.len();
        self.counters.repeated += 1;
        Some(len)
    }

    /// What `peer` may do who shows `token`.
    fn grant(&self, now: Instant, token: &[u8], peer: &PublicKey) -> Result<Grant, Refusal> {
        if self.draining.is_some() {
            return Err(Refusal::Tell(RefusedReason::Draining));
        }
        let Some(rules) = &self.config.tokens else { return Ok(Grant::OPEN) };
        let unix_s = self.unix_micros(now) / 1_000_000;
        let claims = rules.check::<C>(unix_s, token, peer).map_err(Refusal::Tell)?;
        Ok(Grant {
            token: token_hash::<C>(token),
            key: claims.key,
            expiry_unix_s: claims.expiry_unix_s,
            subject: self.secrets.subject(&claims.subject, peer),
            sessions: claims.sessions,
            packets_per_second: claims.packets_per_second,
            bytes_per_second: claims.bytes_per_second,
        })
    }

    /// What the holder of `ticket` may do who shows `token`: the token that the ticket was got with
    /// costs no signature.
    fn regrant(
        &mut self,
        now: Instant,
        from: Address,
        token: &[u8],
        ticket: &TicketContent,
    ) -> Result<Grant, Refusal> {
        if let Some(rules) = &self.config.tokens {
            let (known, unix_s) = (&ticket.grant, self.unix_micros(now) / 1_000_000);
            let is_known = known.token == token_hash::<C>(token)
                && known.expiry_unix_s > unix_s
                && rules.keys.holds::<C>(known.key);
            if is_known && self.draining.is_none() {
                return Ok(*known);
            }
            if !self.binds.allow(now, from) {
                return Err(Dropped::RateLimited.into());
            }
        }
        self.grant(now, token, &ticket.peer)
    }

    /// Which session `peer` gets.
    fn admit(
        &mut self,
        now: Instant,
        from: Address,
        peer: &PublicKey,
        key: KeyHash,
        payload: &BindPayload<'_>,
        grant: &Grant,
    ) -> Result<SessionId, Refusal> {
        let source_max = self.config.sessions_per_source;
        let subject_max = match grant.sessions {
            0 => self.config.sessions_per_subject,
            sessions => sessions.into(),
        };
        let source = self.source(from);
        let (mut registry, secrets, _) = self.registry();
        let wanted = payload.wanted;
        let in_table = !wanted.is_none() && (wanted.slot() as usize) < registry.sessions.len();
        let is_theirs = in_table && secrets.session_id(wanted.slot(), peer) == wanted;
        let (wanted, avoid) = match (is_theirs, payload.another_slot) {
            (is_theirs, false) => (is_theirs.then_some(wanted.slot()), None),
            (is_theirs, true) => (None, Some(Avoid(is_theirs.then_some(wanted.slot())))),
        };
        let subject = grant.subject;
        let claim = Claim { key, wanted, avoid, source, subject, source_max, subject_max };
        let slot = registry.slot_for(now, &claim).map_err(|why| {
            Refusal::Tell(match why {
                NoSlot::Full => RefusedReason::Full,
                NoSlot::Source => RefusedReason::SourceFull,
                NoSlot::Subject => RefusedReason::SubjectFull,
            })
        })?;
        Ok(secrets.session_id(slot, peer))
    }

    fn source(&self, from: Address) -> CircleKey {
        CircleKey::from(self.index_key.hash(from.source()))
    }

    fn bound_payload(
        &mut self,
        now: Instant,
        from: Address,
        session: SessionId,
        peer: PublicKey,
        resumption: Secret,
        grant: &Grant,
    ) -> Result<[u8; BoundPayload::LEN], Refusal> {
        let unix_micros = self.unix_micros(now);
        let lifetime_s = self.config.ticket_lifetime.as_secs();
        let expiry = (unix_micros / 1_000_000).saturating_add(lifetime_s);
        let content = TicketContent { peer, resumption, expiry_unix_s: expiry, grant: *grant };
        let token_left = grant.expiry_unix_s.saturating_sub(unix_micros / 1_000_000);
        let has_end = grant.expiry_unix_s != u64::MAX;
        let seconds = |duration: core::time::Duration| duration.as_secs() as u16;
        let payload = BoundPayload {
            session,
            lifetime_s: seconds(self.config.lifetime),
            keep_alive_s: seconds(self.config.keep_alive),
            address: from.to_socket_addr().ok_or(Dropped::Malformed)?,
            token_left_s: has_end.then(|| token_left.min(u64::from(u32::MAX - 1)) as u32),
            ticket: self.secrets.seal_ticket(&mut self.crypto, unix_micros, &content),
        };
        let mut bytes = [0; BoundPayload::LEN];
        payload.emit(&mut bytes).map_err(|_| Dropped::Malformed)?;
        Ok(bytes)
    }

    /// Keeps an answered bind, and the answer, until it is proven; returns the answer's length.
    fn await_proof(&mut self, now: Instant, from: Address, bind: &Answered, out: &[u8]) -> usize {
        let terms = self.terms(from, &bind.grant);
        let (mut registry, ..) = self.registry();
        registry.add_pending(bind.session.slot(), |pending| {
            pending.tag = bind.session.tag();
            pending.key = bind.key;
            pending.address = from;
            pending.keys = bind.keys.clone();
            pending.until = now + PROOF_TIME;
            pending.terms = terms;
            pending.request = bind.request;
            pending.keep_reply(out.get(..bind.len).unwrap_or_default());
        });
        bind.len
    }

    /// A grant as the tables need it.
    fn terms(&self, from: Address, grant: &Grant) -> Terms {
        let burst = Price::of(&self.config.budget).burst;
        let (packet_price, byte_price) =
            Price::own(grant.packets_per_second, grant.bytes_per_second, burst);
        let end_s = grant.expiry_unix_s.saturating_add(GRACE_S);
        let end = match grant.expiry_unix_s {
            u64::MAX => Instant::FAR,
            _ => {
                let after_start = end_s.saturating_sub(self.config.unix_seconds_at_start);
                self.started + Duration::from_secs(after_start)
            }
        };
        Terms { end, source: self.source(from), subject: grant.subject, packet_price, byte_price }
    }
}

/// A bind or resume that was answered.
struct Answered {
    key: KeyHash,
    session: SessionId,
    request: [u8; 16],
    keys: HopKeys,
    grant: Grant,
    /// Of the answer.
    len: usize,
}

/// Enough of it to tell that a token was shown before.
fn token_hash<C: Crypto>(token: &[u8]) -> [u8; 8] {
    let [a, b, c, d, e, f, g, h, ..] = C::sha256(&[token]);
    [a, b, c, d, e, f, g, h]
}

fn first_16(bytes: &[u8]) -> Result<[u8; 16], Refusal> {
    bytes.first_chunk().copied().ok_or(Refusal::Drop(Dropped::Malformed))
}

/// The cookie was right, so somebody there means it: it is told, and may look for a newer entry
/// of this relay in its directory.
const UNREADABLE: Refusal = Refusal::Tell(RefusedReason::Malformed);
const BAD_TICKET: Refusal = Refusal::Tell(RefusedReason::Ticket);
