//! What the client says to a relay.

use core::net::SocketAddr;
use core::time::Duration;

use super::{ATTEMPT_TRIES, Bound, HopContext, RelaySlot, Step, Ticket, hop_suite};
use crate::connection::backoff;
use crate::crypto::{Crypto, Suite, TAG_LEN};
use crate::id::PublicKey;
use crate::noise::{AwaitResponse, Initiator, KeyPair, RESUME_REQUEST_NONCE, resume_request_key};
use crate::time::Instant;
use crate::wire::hop::{self, Bind, BindPayload, Control, ControlMessage, Cookie, Hello, Resume};

impl<C: Crypto> RelaySlot<C> {
    /// Whether [`poll_transmit`](Self::poll_transmit) has something to write.
    pub(crate) fn wants_transmit(&self, now: Instant) -> bool {
        let asks = self.attempt.as_ref().is_some_and(|attempt| attempt.next_at <= now);
        let bound = |bound: &Bound<C>| !bound.unbind && bound.keep_alive_at <= now;
        asks || self.bound.as_ref().is_some_and(bound) || self.measure.next_at() <= now
    }

    /// Writes the next datagram of the hop, if one is due; where it is to go, and its length.
    pub(crate) fn poll_transmit(
        &mut self,
        now: Instant,
        context: &mut HopContext<'_, C>,
        out: &mut [u8],
    ) -> Option<(SocketAddr, usize)> {
        let (to, len) = match self.transmit_attempt(now, context, out) {
            Some(transmit) => transmit,
            None => (self.address()?, self.transmit_control(now, out)?),
        };
        self.remember(out.get(..len)?);
        Some((to, len))
    }

    fn transmit_attempt(
        &mut self,
        now: Instant,
        context: &mut HopContext<'_, C>,
        out: &mut [u8],
    ) -> Option<(SocketAddr, usize)> {
        let addresses = self.addresses();
        let attempt = self.attempt.as_mut().filter(|attempt| attempt.next_at <= now)?;
        if matches!(attempt.step, Step::Hello { .. }) {
            // The network may carry one family of addresses only: each is asked in turn, and the
            // one that answers serves (RFC 8305 §5 leaves as long between two).
            attempt.address = (attempt.address + usize::from(attempt.tries > 0)) % addresses;
        } else if attempt.tries >= ATTEMPT_TRIES {
            // The cookie may have run out, or the relay has changed: from the start.
            self.begin_again(now, now, context.crypto);
        }
        let attempt = self.attempt.as_mut()?;
        // Players wait: a relay that comes back is found soon, for as long as connections live.
        let hurry = now.since(attempt.since) < HURRY;
        let pause = match attempt.step {
            Step::Hello { .. } => backoff(attempt.tries / addresses as u8),
            Step::Bind { .. } | Step::Resume { .. } => backoff(attempt.tries),
        };
        attempt.next_at = now + if hurry { pause.min(HURRY_PAUSE) } else { pause };
        attempt.tries = attempt.tries.saturating_add(1);
        let suite = hop_suite(context.crypto.suites());
        let payload = BindPayload {
            wanted: self.session,
            another_slot: self.rotate && !self.session.is_none(),
            token: context.token.map_or(&[], |token| token.as_bytes()),
        };
        let entry = self.entry.as_ref()?;
        let to = *entry.addresses().get(attempt.address)?;
        let len = match &mut attempt.step {
            Step::Hello { nonce } => Hello { nonce: *nonce }.emit(out).ok(),
            Step::Bind { cookie, ephemeral, awaiting } => {
                let remote = entry.public_key();
                let (len, state) =
                    write_bind(context.identity, remote, suite, cookie, ephemeral, &payload, out)?;
                *awaiting = Some(state);
                Some(len)
            }
            Step::Resume { cookie, nonce } => {
                let ticket = self.ticket.as_ref()?;
                write_resume::<C>(ticket, suite, cookie, nonce, &payload, out)
            }
        };
        Some((to, len?))
    }

    fn transmit_control(&mut self, now: Instant, out: &mut [u8]) -> Option<usize> {
        let bound = self.bound.as_mut()?;
        if bound.unbind || bound.keep_alive_at > now {
            return None;
        }
        bound.unanswered_since.get_or_insert(now);
        bound.keep_alive_at = now + backoff(bound.tries);
        bound.tries = bound.tries.saturating_add(1);
        self.write_control(ControlMessage::KeepAlive { time: now.as_micros() as u32 }, out)
    }

    /// Asks the relay for its signed list, if there is a session by which it can be.
    pub(crate) fn poll_directory_ask(
        &mut self,
        ask: ControlMessage,
        out: &mut [u8],
    ) -> Option<usize> {
        self.bound.as_ref().filter(|bound| bound.proven && !bound.unbind)?;
        let len = self.write_control(ask, out)?;
        self.remember(out.get(..len)?);
        Some(len)
    }

    /// Whether the relay is to be told that the session is no longer wanted.
    pub(crate) fn wants_unbind(&self) -> bool {
        self.bound.as_ref().is_some_and(|bound| bound.unbind)
    }

    /// Tells the relay that the session is no longer wanted, once.
    #[inline(never)]
    pub(crate) fn poll_unbind(&mut self, out: &mut [u8]) -> Option<usize> {
        if !self.wants_unbind() {
            return None;
        }
        let len = self.write_control(ControlMessage::Unbind, out);
        self.bound = None;
        len
    }

    fn write_control(&mut self, message: ControlMessage, out: &mut [u8]) -> Option<usize> {
        let bound = self.bound.as_mut()?;
        let header = Control { session: self.session, counter: bound.counter };
        let offset = header.emit(out).ok()?;
        let end = offset + message.emit(out.get_mut(offset..)?).ok()? + TAG_LEN;
        let (ad, sealed) = out.get_mut(..end)?.split_at_mut(offset);
        C::seal(&bound.seal, u64::from(bound.counter), ad, sealed);
        bound.counter += 1;
        Some(end)
    }
}

fn write_bind<C: Crypto>(
    identity: &KeyPair,
    remote: &PublicKey,
    suite: Suite,
    cookie: &Cookie,
    ephemeral: &KeyPair,
    payload: &BindPayload<'_>,
    out: &mut [u8],
) -> Option<(usize, AwaitResponse<C>)> {
    let offset = Bind { suite, cookie: *cookie }.emit(out).ok()?;
    let mut plaintext = [0; hop::BIND_DATAGRAM_LEN_MIN];
    let plaintext = plaintext.get_mut(..payload.padded_len(Bind::PAYLOAD_OFFSET))?;
    payload.emit(plaintext).ok()?;
    let shared = identity.agree::<C>(remote)?;
    let (len, state) =
        Initiator::new(suite, &hop::prologue(suite, cookie), identity, remote, &shared)
            .write_message_1(ephemeral.clone(), plaintext, out.get_mut(offset..)?)
            .ok()?;
    Some((offset + len, state))
}

fn write_resume<C: Crypto>(
    ticket: &Ticket,
    suite: Suite,
    cookie: &Cookie,
    nonce: &[u8; 16],
    payload: &BindPayload<'_>,
    out: &mut [u8],
) -> Option<usize> {
    let header = Resume { suite, cookie: *cookie, nonce: *nonce, ticket: ticket.bytes };
    let offset = header.emit(out).ok()?;
    let end = offset + payload.padded_len(offset) + TAG_LEN;
    let (ad, sealed) = out.get_mut(..end)?.split_at_mut(offset);
    let plaintext_len = sealed.len() - TAG_LEN;
    payload.emit(sealed.get_mut(..plaintext_len)?).ok()?;
    let key = C::seal_key(suite, &resume_request_key::<C>(&ticket.secret, nonce));
    C::seal(&key, RESUME_REQUEST_NONCE, ad, sealed);
    Some(end)
}

/// For this long a relay that does not answer is asked at least every [`HURRY_PAUSE`].
const HURRY: Duration = Duration::from_secs(30);
const HURRY_PAUSE: Duration = Duration::from_millis(500);
