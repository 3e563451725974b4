//! Bind and Resume (wire.md §3): checked, answered, and left to be proven.

use super::address::Address;
use super::control::{Control, Dropped, PROOF_TIME, REPLY_MAX, Refusal};
use super::memory::Memory;
use super::pending::HopKeys;
use super::registry::Avoid;
use super::secrets::TicketContent;
use super::sessions::KeyHash;
use crate::crypto::{Crypto, Secret, TAG_LEN};
use crate::id::{PublicKey, SessionId};
use crate::noise::{
    KeyPair, RESUME_REQUEST_NONCE, RESUMED_NONCE, Responder, resume_keys, resume_request_key,
    resumption_secret,
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
        let session = self.admit(now, &peer, key, &payload)?;

        let ephemeral = KeyPair::generate(&mut self.crypto);
        let agreed = received.reply.agree(&ephemeral).map_err(|_| UNREADABLE)?;
        let resumption = resumption_secret::<C>(&agreed.initiator_to_responder());
        let payload = self.bound_payload(now, from, session, peer, resumption)?;
        let offset = Bound { echo }.emit(out).map_err(|_| Dropped::Malformed)?;
        let rest = out.get_mut(offset..).ok_or(Dropped::Malformed)?;
        let written = agreed.write_message_2(&[], &payload, rest);
        let (len, transport) = written.map_err(|_| Dropped::Malformed)?;
        let keys = HopKeys {
            suite: header.suite,
            open: transport.initiator_to_responder,
            seal: transport.responder_to_initiator,
        };
        self.counters.binds += 1;
        Ok(self.await_proof(now, from, key, session, request, &keys, out, offset + len))
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
        let session = self.admit(now, &ticket.peer, key, &payload)?;

        let mut nonce = [0; 16];
        self.crypto.random(&mut nonce);
        let keys = resume_keys::<C>(&ticket.resumption, &header.nonce, &nonce);
        let payload = self.bound_payload(now, from, session, ticket.peer, keys.resumption)?;
        let offset = Resumed { echo, nonce }.emit(out).map_err(|_| Dropped::Malformed)?;
        let (front, rest) = out.split_at_mut_checked(offset).ok_or(Dropped::Malformed)?;
        let sealed = rest.get_mut(..BoundPayload::LEN + TAG_LEN).ok_or(Dropped::Malformed)?;
        let (plain, _) = sealed.split_at_mut(BoundPayload::LEN);
        plain.copy_from_slice(&payload);
        let seal_key = C::seal_key(header.suite, &keys.relay_to_peer);
        C::seal(&seal_key, RESUMED_NONCE, front, sealed);
        let keys =
            HopKeys { suite: header.suite, open: keys.peer_to_relay, seal: keys.relay_to_peer };
        self.counters.resumes += 1;
        Ok(self.await_proof(now, from, key, session, header.nonce, &keys, out, Resumed::LEN))
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

    /// Whether `peer` may have a session, and which.
    fn admit(
        &mut self,
        now: Instant,
        peer: &PublicKey,
        key: KeyHash,
        payload: &BindPayload<'_>,
    ) -> Result<SessionId, Refusal> {
        if self.draining.is_some() {
            return Err(Refusal::Tell(RefusedReason::Draining));
        }
        self.config.admission.admit(payload.token, peer).map_err(Refusal::Tell)?;
        let (mut registry, secrets, _) = self.registry();
        let wanted = payload.wanted;
        let in_table = !wanted.is_none() && (wanted.slot() as usize) < registry.sessions.len();
        let is_theirs = in_table && secrets.session_id(wanted.slot(), peer) == wanted;
        let (wanted, avoid) = match (is_theirs, payload.another_slot) {
            (is_theirs, false) => (is_theirs.then_some(wanted.slot()), None),
            (is_theirs, true) => (None, Some(Avoid(is_theirs.then_some(wanted.slot())))),
        };
        let slot = registry.slot_for(now, key, wanted, avoid);
        let slot = slot.ok_or(Refusal::Tell(RefusedReason::Full))?;
        Ok(secrets.session_id(slot, peer))
    }

    fn bound_payload(
        &mut self,
        now: Instant,
        from: Address,
        session: SessionId,
        peer: PublicKey,
        resumption: Secret,
    ) -> Result<[u8; BoundPayload::LEN], Refusal> {
        let unix_micros = self.unix_micros(now);
        let lifetime_s = self.config.ticket_lifetime.as_secs();
        let expiry = (unix_micros / 1_000_000).saturating_add(lifetime_s);
        let content = TicketContent { peer, resumption, expiry_unix_s: expiry };
        let seconds = |duration: core::time::Duration| duration.as_secs() as u16;
        let payload = BoundPayload {
            session,
            lifetime_s: seconds(self.config.lifetime),
            keep_alive_s: seconds(self.config.keep_alive),
            address: from.to_socket_addr().ok_or(Dropped::Malformed)?,
            ticket: self.secrets.seal_ticket(&mut self.crypto, unix_micros, &content),
        };
        let mut bytes = [0; BoundPayload::LEN];
        payload.emit(&mut bytes).map_err(|_| Dropped::Malformed)?;
        Ok(bytes)
    }

    /// Keeps the keys of an answered bind, and the answer, until they are proven; returns the
    /// answer's length.
    #[expect(clippy::too_many_arguments, reason = "all that makes a pending bind, in one place")]
    fn await_proof(
        &mut self,
        now: Instant,
        from: Address,
        key: KeyHash,
        session: SessionId,
        request: [u8; 16],
        keys: &HopKeys,
        out: &[u8],
        len: usize,
    ) -> usize {
        let (mut registry, ..) = self.registry();
        registry.add_pending(session.slot(), |pending| {
            pending.tag = session.tag();
            pending.key = key;
            pending.address = from;
            pending.keys = keys.clone();
            pending.until = now + PROOF_TIME;
            pending.request = request;
            pending.keep_reply(out.get(..len).unwrap_or_default());
        });
        len
    }
}

fn first_16(bytes: &[u8]) -> Result<[u8; 16], Refusal> {
    bytes.first_chunk().copied().ok_or(Refusal::Drop(Dropped::Malformed))
}

/// The cookie was right, so somebody there means it: it is told, and may look for a newer entry
/// of this relay in its directory.
const UNREADABLE: Refusal = Refusal::Tell(RefusedReason::Malformed);
const BAD_TICKET: Refusal = Refusal::Tell(RefusedReason::Ticket);
