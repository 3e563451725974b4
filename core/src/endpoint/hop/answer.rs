//! What a relay says, and what the client makes of it.

use core::net::SocketAddr;
use core::time::Duration;

use super::{
    ATTEMPT_TRIES, Attempt, Bound, Draining, HopContext, Recent, RelaySlot, Step, Ticket, hop_suite,
};
use crate::connection::backoff;
use crate::crypto::{Crypto, Secret, TAG_LEN};
use crate::endpoint::counters::Refusal;
use crate::endpoint::event::{RelayLostReason, RelayRefusedReason};
use crate::noise::{RESUMED_NONCE, resume_keys, resumption_secret};
use crate::protection::ControlWindow;
use crate::time::Instant;
use crate::wire::hop::{
    Bound as BoundHeader, BoundPayload, Control, ControlMessage, CookieReply, DirectoryPage,
    NotBound, Refused, RefusedReason, Resumed,
};
use crate::wire::{Kind, ParseError};

impl<C: Crypto> RelaySlot<C> {
    /// A datagram of the hop arrived from this address of the relay's.
    pub(crate) fn handle(
        &mut self,
        now: Instant,
        from: SocketAddr,
        kind: Kind,
        context: &mut HopContext<'_, C>,
        bytes: &mut [u8],
    ) -> Result<(), Refusal> {
        match kind {
            Kind::Cookie => self.handle_cookie(now, from, context, bytes),
            Kind::Bound => self.handle_bound(now, context, bytes),
            Kind::Resumed => self.handle_resumed(now, context, bytes),
            Kind::Refused => self.handle_refused(now, context, bytes),
            Kind::Control => self.handle_control(now, context, bytes),
            Kind::NotBound => self.handle_not_bound(now, from, context, bytes),
            Kind::ProbeReply => self.handle_probe_reply(now, context.waited, bytes),
            Kind::Hello
            | Kind::Bind
            | Kind::Resume
            | Kind::Probe
            | Kind::Initiation
            | Kind::InviteInitiation
            | Kind::Response
            | Kind::Data => Err(Refusal::Unexpected),
        }
    }

    fn handle_cookie(
        &mut self,
        now: Instant,
        from: SocketAddr,
        context: &mut HopContext<'_, C>,
        bytes: &[u8],
    ) -> Result<(), Refusal> {
        let reply = CookieReply::parse(bytes).map_err(malformed)?;
        match &self.attempt {
            Some(Attempt { step: Step::Hello { nonce }, .. }) if *nonce == reply.nonce => {
                // Whichever address answers first is the one to go on with.
                self.present(now, self.place_of(Some(from)), reply.cookie, context.crypto);
                Ok(())
            }
            _ => Err(Refusal::Unexpected),
        }
    }

    fn handle_bound(
        &mut self,
        now: Instant,
        context: &mut HopContext<'_, C>,
        bytes: &mut [u8],
    ) -> Result<(), Refusal> {
        let header = BoundHeader::parse(bytes).map_err(malformed)?;
        let Some(Attempt { step: Step::Bind { ephemeral, awaiting: Some(awaiting), .. }, .. }) =
            &self.attempt
        else {
            return Err(Refusal::Unexpected);
        };
        if !ephemeral.public().0.starts_with(&header.echo) {
            return Err(Refusal::Unexpected);
        }
        let noise = bytes.get_mut(BoundHeader::NOISE_OFFSET..).ok_or(Refusal::Malformed)?;
        let (payload, keys) = awaiting
            .read_message_2(context.identity, &[], noise)
            .map_err(|_| Refusal::Handshake)?;
        let payload = noise.get(payload).ok_or(Refusal::Malformed)?;
        let payload = BoundPayload::parse(payload).map_err(malformed)?;
        let resumption = resumption_secret::<C>(&keys.initiator_to_responder);
        let suite = hop_suite(context.crypto.suites());
        self.install(
            now,
            &payload,
            C::seal_key(suite, &keys.initiator_to_responder),
            C::open_key(suite, &keys.responder_to_initiator),
            resumption,
        );
        Ok(())
    }

    fn handle_resumed(
        &mut self,
        now: Instant,
        context: &mut HopContext<'_, C>,
        bytes: &mut [u8],
    ) -> Result<(), Refusal> {
        let header = Resumed::parse(bytes).map_err(malformed)?;
        let (Some(Attempt { step: Step::Resume { nonce, .. }, .. }), Some(ticket)) =
            (&self.attempt, &self.ticket)
        else {
            return Err(Refusal::Unexpected);
        };
        if !nonce.starts_with(&header.echo) {
            return Err(Refusal::Unexpected);
        }
        let keys = resume_keys::<C>(&ticket.secret, nonce, &header.nonce);
        let suite = hop_suite(context.crypto.suites());
        let open = C::open_key(suite, &keys.relay_to_peer);
        let (ad, sealed) =
            bytes.split_at_mut_checked(Resumed::PAYLOAD_OFFSET).ok_or(Refusal::Malformed)?;
        C::open(&open, RESUMED_NONCE, ad, sealed).map_err(|_| Refusal::Forged)?;
        let payload = sealed.get(..sealed.len() - TAG_LEN).ok_or(Refusal::Malformed)?;
        let payload = BoundPayload::parse(payload).map_err(malformed)?;
        let seal = C::seal_key(suite, &keys.peer_to_relay);
        self.install(now, &payload, seal, open, keys.resumption);
        Ok(())
    }

    /// A new session: prove it at once, by a keep-alive under its keys.
    fn install(
        &mut self,
        now: Instant,
        payload: &BoundPayload,
        seal: C::SealKey,
        open: C::OpenKey,
        resumption: Secret,
    ) {
        if let Some(attempt) = self.attempt.take() {
            self.address = attempt.address;
        }
        self.rotate = false;
        self.draining = None;
        self.session = payload.session;
        self.ticket = Some(Ticket { bytes: payload.ticket, secret: resumption });
        // Hints about what was sent before this session say nothing about it.
        self.recent = Recent::default();
        self.bound = Some(Bound {
            seal,
            open,
            counter: 0,
            window: ControlWindow::new(),
            proven: false,
            keep_alive: Duration::from_secs(u64::from(payload.keep_alive_s.max(1))),
            keep_alive_at: now,
            token_ends: payload.token_left_s.map(|left| now + Duration::from_secs(left.into())),
            unanswered_since: None,
            tries: 0,
            doubted: false,
            unbind: false,
        });
    }

    fn handle_refused(
        &mut self,
        now: Instant,
        context: &mut HopContext<'_, C>,
        bytes: &[u8],
    ) -> Result<(), Refusal> {
        let refused = Refused::parse(bytes).map_err(malformed)?;
        let Some(attempt) = &mut self.attempt else { return Err(Refusal::Unexpected) };
        let (echoed, cookie) = match &attempt.step {
            Step::Hello { nonce } => (nonce.starts_with(&refused.echo), None),
            Step::Bind { ephemeral, cookie, .. } => {
                (ephemeral.public().0.starts_with(&refused.echo), Some(*cookie))
            }
            Step::Resume { nonce, cookie } => (nonce.starts_with(&refused.echo), Some(*cookie)),
        };
        if !echoed {
            return Err(Refusal::Unexpected);
        }
        let reason = match (refused.reason, cookie) {
            (RefusedReason::Cookie, _) => {
                // Not at once, lest a relay whose cookies never fit be asked without end.
                self.begin_again(now, now + backoff(0), context.crypto);
                return Ok(());
            }
            (RefusedReason::Ticket, Some(cookie)) => {
                let address = attempt.address;
                self.ticket = None;
                self.present(now, address, cookie, context.crypto);
                return Ok(());
            }
            (RefusedReason::Version, _) => RelayRefusedReason::Version,
            (RefusedReason::Suite, _) => RelayRefusedReason::Suite,
            (RefusedReason::Full, _) => RelayRefusedReason::Full,
            (RefusedReason::Token, _) => RelayRefusedReason::Token,
            (RefusedReason::Draining, _) => RelayRefusedReason::Draining,
            (RefusedReason::TokenExpired, _) => RelayRefusedReason::TokenExpired,
            (RefusedReason::TokenSignature, _) => RelayRefusedReason::TokenSignature,
            (RefusedReason::TokenPeer, _) => RelayRefusedReason::TokenPeer,
            (RefusedReason::TokenRegion, _) => RelayRefusedReason::TokenRegion,
            (RefusedReason::SubjectFull, _) => RelayRefusedReason::SubjectFull,
            (RefusedReason::SourceFull, _) => RelayRefusedReason::SourceFull,
            (RefusedReason::Malformed | RefusedReason::Ticket, _) => RelayRefusedReason::Other,
        };
        // It answers, so it is not lost; ask again later.
        attempt.since = now;
        attempt.reported = true;
        attempt.tries = ATTEMPT_TRIES;
        attempt.next_at = now + REFUSED_PAUSE;
        self.notices.refused = Some(reason);
        Ok(())
    }

    fn handle_control(
        &mut self,
        now: Instant,
        context: &mut HopContext<'_, C>,
        bytes: &mut [u8],
    ) -> Result<(), Refusal> {
        let header = Control::parse(bytes).map_err(malformed)?;
        let bound = self.bound.as_mut().ok_or(Refusal::Unexpected)?;
        if header.session != self.session {
            return Err(Refusal::Unexpected);
        }
        let counter = u64::from(header.counter);
        bound.window.check(counter).map_err(|_| Refusal::Replay)?;
        let (ad, sealed) =
            bytes.split_at_mut_checked(Control::PAYLOAD_OFFSET).ok_or(Refusal::Malformed)?;
        C::open(&bound.open, counter, ad, sealed).map_err(|_| Refusal::Forged)?;
        bound.window.mark(counter);
        let message = sealed.get(..sealed.len() - TAG_LEN).ok_or(Refusal::Malformed)?;
        if DirectoryPage::is(message) {
            context.page = Some(Control::PAYLOAD_OFFSET..Control::PAYLOAD_OFFSET + message.len());
            return Ok(());
        }
        match ControlMessage::parse(message).map_err(malformed)? {
            ControlMessage::KeepAliveAck { time } => {
                let elapsed = (now.as_micros() as u32).wrapping_sub(time);
                self.rtt = Some(Duration::from_micros(u64::from(elapsed)));
                bound.unanswered_since = None;
                bound.tries = 0;
                bound.doubted = false;
                bound.keep_alive_at = now + bound.keep_alive;
                if !bound.proven {
                    bound.proven = true;
                    self.notices.connected = true;
                }
            }
            ControlMessage::Drain { left_s, alternatives } => {
                // Who leaves has no more use for a relay's plans.
                if !bound.unbind {
                    let until = now + Duration::from_secs(u64::from(left_s)) + LAST_WORDS;
                    self.draining = Some(Draining { until, instead: alternatives });
                }
                self.notices.draining = Some(left_s);
            }
            ControlMessage::SessionReplaced => {
                self.bound = None;
                self.attempt = None;
                self.stopped = true;
                self.notices.lost = Some(RelayLostReason::SessionReplaced);
            }
            ControlMessage::Expired => {
                self.bound = None;
                self.notices.lost = Some(RelayLostReason::Expired);
                if self.wanted {
                    self.begin(now, context.crypto);
                }
            }
            ControlMessage::KeepAlive { .. }
            | ControlMessage::Unbind
            | ControlMessage::DirectoryAsk { .. } => {
                return Err(Refusal::Unexpected);
            }
        }
        Ok(())
    }

    /// The relay knows no session at the address it saw: a rebinding on the way, or a restart. Only
    /// a hint, so it only makes the client ask for its session again.
    fn handle_not_bound(
        &mut self,
        now: Instant,
        from: SocketAddr,
        context: &mut HopContext<'_, C>,
        bytes: &[u8],
    ) -> Result<(), Refusal> {
        let hint = NotBound::parse(bytes).map_err(malformed)?;
        if !self.recent.holds(&hint.echo) || !self.wanted || self.stopped {
            return Err(Refusal::Unexpected);
        }
        match &self.attempt {
            Some(Attempt { step: Step::Bind { .. } | Step::Resume { .. }, .. }) => Ok(()),
            Some(Attempt { step: Step::Hello { .. }, .. }) | None => {
                self.present(now, self.place_of(Some(from)), hint.cookie, context.crypto);
                Ok(())
            }
        }
    }
}

fn malformed(_: ParseError) -> Refusal {
    Refusal::Malformed
}

/// After a refusal.
const REFUSED_PAUSE: Duration = Duration::from_secs(5);

/// What a relay says is left is cut to whole seconds, and what it sends last is on its way.
const LAST_WORDS: Duration = Duration::from_secs(2);
