//! The client's half of the hop to one relay: hello, bind, resume, keep-alive (states.md, Hop).
//!
//! A [`RelaySlot`] is one entry of the directory and the session there, if there is one.

use core::net::SocketAddr;
use core::time::Duration;

use super::counters::Refusal;
use super::event::{RelayLostReason, RelayRefusedReason};
use crate::connection::backoff;
use crate::crypto::{Crypto, Secret, Suite, Suites, TAG_LEN};
use crate::directory::RelayEntry;
use crate::id::{RelayId, SessionId};
use crate::noise::{
    AwaitResponse, Initiator, KeyPair, RESUME_REQUEST_NONCE, RESUMED_NONCE, resume_keys,
    resume_request_key, resumption_secret,
};
use crate::protection::ControlWindow;
use crate::time::Instant;
use crate::wire::hop::{
    self, Bind, BindPayload, Bound as BoundHeader, BoundPayload, Control, ControlMessage, Cookie,
    CookieReply, Hello, NotBound, Refused, RefusedReason, Resume, Resumed,
};
use crate::wire::{Kind, ParseError};

/// One relay of the directory and the hop to it.
pub struct RelaySlot<C: Crypto> {
    entry: Option<RelayEntry>,
    id: RelayId,
    /// Which of the entry's addresses is in use.
    address: usize,
    /// Whether a session here is wanted: as home, or as guest of somebody's home.
    wanted: bool,
    /// Another client took the session over: nothing more is sent here.
    stopped: bool,
    /// The relay said that it is about to stop.
    draining: bool,
    attempt: Option<Attempt<C>>,
    bound: Option<Bound<C>>,
    /// The last session here, asked for again after a loss.
    session: SessionId,
    ticket: Option<Ticket>,
    /// Ask for another slot with the next bind.
    rotate: bool,
    recent: Recent,
    rtt: Option<Duration>,
    notices: Notices,
}

/// The way to a session, where there is none or a new one is needed.
struct Attempt<C: Crypto> {
    step: Step<C>,
    since: Instant,
    next_at: Instant,
    tries: u8,
    /// The application was told that no answer comes.
    reported: bool,
}

#[expect(clippy::large_enum_variant, reason = "one per relay, and core cannot box")]
enum Step<C: Crypto> {
    Hello { nonce: [u8; 8] },
    Bind { cookie: Cookie, ephemeral: KeyPair, awaiting: Option<AwaitResponse<C>> },
    Resume { cookie: Cookie, nonce: [u8; 16] },
}

/// A session: its keys, and whether the relay still answers.
struct Bound<C: Crypto> {
    seal: C::SealKey,
    open: C::OpenKey,
    counter: u32,
    window: ControlWindow,
    /// The relay has answered under these keys.
    proven: bool,
    keep_alive: Duration,
    keep_alive_at: Instant,
    unanswered_since: Option<Instant>,
    tries: u8,
    unbind: bool,
}

struct Ticket {
    bytes: hop::Ticket,
    secret: Secret,
}

/// What the endpoint is to be told, once each.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Notices {
    pub(crate) connected: bool,
    pub(crate) lost: Option<RelayLostReason>,
    pub(crate) refused: Option<RelayRefusedReason>,
    pub(crate) draining: Option<u16>,
}

/// What the hop needs of its endpoint for one call.
pub(crate) struct HopContext<'a, C> {
    pub(crate) crypto: &'a mut C,
    pub(crate) identity: &'a KeyPair,
}

/// How far the way to a session is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum RelayState {
    /// No session is wanted.
    Idle,
    /// A session is being asked for.
    Binding,
    /// A session is established.
    Bound,
}

impl<C: Crypto> Default for RelaySlot<C> {
    fn default() -> Self {
        Self {
            entry: None,
            id: RelayId::default(),
            address: 0,
            wanted: false,
            stopped: false,
            draining: false,
            attempt: None,
            bound: None,
            session: SessionId::NONE,
            ticket: None,
            rotate: false,
            recent: Recent::default(),
            rtt: None,
            notices: Notices::default(),
        }
    }
}

impl<C: Crypto> RelaySlot<C> {
    pub(crate) fn place(&mut self, id: RelayId, entry: RelayEntry) {
        *self = Self { entry: Some(entry), id, ..Self::default() };
    }

    pub(crate) fn entry(&self) -> Option<&RelayEntry> {
        self.entry.as_ref()
    }

    pub(crate) fn id(&self) -> Option<RelayId> {
        self.entry.as_ref().map(|_| self.id)
    }

    /// The only address at which this relay is reached now.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.entry.as_ref()?.addresses().get(self.address).copied()
    }

    pub(crate) fn is_at(&self, from: SocketAddr) -> bool {
        self.address() == Some(from)
    }

    /// The session, if datagrams can be sent through it.
    pub(crate) fn session(&self) -> Option<SessionId> {
        self.bound.as_ref().map(|_| self.session)
    }

    /// The session, if the relay has answered under its keys: fit for a route.
    pub(crate) fn proven_session(&self) -> Option<SessionId> {
        self.bound.as_ref().filter(|bound| bound.proven).map(|_| self.session)
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining
    }

    /// Whether the route may name this relay.
    pub(crate) fn is_fit_for_home(&self) -> bool {
        self.wanted && !self.draining && self.proven_session().is_some()
    }

    /// Whether a home may go on being it: its session may be proving itself anew just now.
    pub(crate) fn may_stay_home(&self) -> bool {
        self.wanted && !self.draining && self.session().is_some()
    }

    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted
    }

    pub(crate) fn rtt(&self) -> Option<Duration> {
        self.rtt
    }

    pub(crate) fn state(&self) -> RelayState {
        if self.proven_session().is_some() {
            RelayState::Bound
        } else if self.attempt.is_some() || self.bound.is_some() {
            RelayState::Binding
        } else {
            RelayState::Idle
        }
    }

    pub(crate) fn has_notice(&self) -> bool {
        let Notices { connected, lost, refused, draining } = self.notices;
        connected || lost.is_some() || refused.is_some() || draining.is_some()
    }

    pub(crate) fn notices(&mut self) -> &mut Notices {
        &mut self.notices
    }

    /// A session here is wanted from now on.
    pub(crate) fn want(&mut self, now: Instant, crypto: &mut C) {
        self.wanted = true;
        if let Some(bound) = &mut self.bound {
            bound.unbind = false;
        }
        if self.bound.is_none() && self.attempt.is_none() && !self.stopped {
            self.begin(now, crypto);
        }
    }

    /// Sends a keep-alive now, unless one was answered a moment ago or none has been yet.
    pub(crate) fn ask(&mut self, now: Instant) {
        if let Some(bound) = &mut self.bound
            && bound.unanswered_since.is_none()
            && bound.keep_alive_at + ASK_AGAIN <= now + bound.keep_alive
        {
            bound.keep_alive_at = now;
        }
    }

    /// No session here is wanted any longer: the relay is told once.
    pub(crate) fn leave(&mut self) {
        self.wanted = false;
        self.attempt = None;
        if let Some(bound) = &mut self.bound {
            bound.unbind = true;
        }
    }

    /// Asks for another session, as soon as possible: the id an observer has seen goes out of use.
    pub(crate) fn rotate(&mut self, now: Instant, crypto: &mut C) {
        self.rotate = true;
        self.begin(now, crypto);
    }

    /// The way to the relay may have changed: ask for the session again, from the first address on.
    pub(crate) fn restart(&mut self, now: Instant, crypto: &mut C) {
        self.stopped = false;
        self.address = 0;
        if self.wanted {
            self.begin(now, crypto);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) or `poll_transmit` has something to do.
    pub(crate) fn poll_timeout(&self) -> Instant {
        let attempt = self.attempt.as_ref().map_or(Instant::FAR, |attempt| {
            let report = if attempt.reported || self.bound.is_some() {
                Instant::FAR
            } else {
                attempt.since + NO_ANSWER
            };
            attempt.next_at.min(report)
        });
        let bound = self.bound.as_ref().map_or(Instant::FAR, |bound| {
            let lost = bound.unanswered_since.map_or(Instant::FAR, |since| since + NO_ANSWER);
            if bound.unbind { Instant::FAR } else { bound.keep_alive_at.min(lost) }
        });
        attempt.min(bound)
    }

    /// Gives up what has not been answered. `others` says whether any other relay answers.
    pub(crate) fn handle_timeout(&mut self, now: Instant, others: bool, crypto: &mut C) {
        let lost = self.bound.as_ref().is_some_and(|bound| {
            bound.unanswered_since.is_some_and(|since| since + NO_ANSWER <= now)
        });
        if lost {
            self.bound = None;
            self.notices.lost = Some(RelayLostReason::NoAnswer);
            self.next_address();
            if self.wanted {
                self.begin(now, crypto);
                if let Some(attempt) = &mut self.attempt {
                    attempt.reported = true;
                }
            }
        }
        if let Some(attempt) = &mut self.attempt
            && self.bound.is_none()
            && !attempt.reported
            && attempt.since + NO_ANSWER <= now
        {
            attempt.reported = true;
            self.notices.lost = Some(if others {
                RelayLostReason::NoAnswer
            } else {
                RelayLostReason::NetworkBlocksUdp
            });
        }
    }

    /// Writes the next datagram of the hop, if one is due.
    pub(crate) fn poll_transmit(
        &mut self,
        now: Instant,
        context: &mut HopContext<'_, C>,
        out: &mut [u8],
    ) -> Option<usize> {
        let len = match self.transmit_attempt(now, context, out) {
            Some(len) => len,
            None => self.transmit_control(now, out)?,
        };
        self.remember(out.get(..len)?);
        Some(len)
    }

    /// Remembers a datagram that was just sent here, so that a hint about it is believed.
    pub(crate) fn remember(&mut self, datagram: &[u8]) {
        self.recent.add(datagram);
    }

    /// A datagram of the hop arrived from this relay's address.
    pub(crate) fn handle(
        &mut self,
        now: Instant,
        kind: Kind,
        context: &mut HopContext<'_, C>,
        bytes: &mut [u8],
    ) -> Result<(), Refusal> {
        match kind {
            Kind::Cookie => self.handle_cookie(now, context, bytes),
            Kind::Bound => self.handle_bound(now, context, bytes),
            Kind::Resumed => self.handle_resumed(now, context, bytes),
            Kind::Refused => self.handle_refused(now, context, bytes),
            Kind::Control => self.handle_control(now, context, bytes),
            Kind::NotBound => self.handle_not_bound(now, context, bytes),
            Kind::Hello
            | Kind::Bind
            | Kind::Resume
            | Kind::Probe
            | Kind::ProbeReply
            | Kind::Initiation
            | Kind::InviteInitiation
            | Kind::Response
            | Kind::Data => Err(Refusal::Unexpected),
        }
    }

    fn begin(&mut self, now: Instant, crypto: &mut C) {
        if self.stopped {
            return;
        }
        let mut nonce = [0; 8];
        crypto.random(&mut nonce);
        self.attempt = Some(Attempt {
            step: Step::Hello { nonce },
            since: now,
            next_at: now,
            tries: 0,
            reported: false,
        });
    }

    /// With a cookie in hand: resume where there is a ticket, else bind.
    fn present(&mut self, now: Instant, cookie: Cookie, crypto: &mut C) {
        let step = if self.ticket.is_some() {
            let mut nonce = [0; 16];
            crypto.random(&mut nonce);
            Step::Resume { cookie, nonce }
        } else {
            Step::Bind { cookie, ephemeral: KeyPair::generate(crypto), awaiting: None }
        };
        let (since, reported) =
            self.attempt.as_ref().map_or((now, false), |attempt| (attempt.since, attempt.reported));
        self.attempt = Some(Attempt { step, since, next_at: now, tries: 0, reported });
    }

    fn next_address(&mut self) {
        let addresses = self.entry.as_ref().map_or(1, |entry| entry.addresses().len().max(1));
        self.address = (self.address + 1) % addresses;
    }

    fn transmit_attempt(
        &mut self,
        now: Instant,
        context: &mut HopContext<'_, C>,
        out: &mut [u8],
    ) -> Option<usize> {
        let attempt = self.attempt.as_mut().filter(|attempt| attempt.next_at <= now)?;
        let hello = matches!(attempt.step, Step::Hello { .. });
        if !hello && attempt.tries >= ATTEMPT_TRIES {
            // The cookie may have run out, or the relay has changed: from the start.
            let (since, reported) = (attempt.since, attempt.reported);
            self.begin(now, context.crypto);
            if let Some(attempt) = &mut self.attempt {
                (attempt.since, attempt.reported) = (since, reported);
            }
        } else if hello && attempt.tries > 0 && attempt.tries.is_multiple_of(ATTEMPT_TRIES) {
            self.next_address();
        }
        let attempt = self.attempt.as_mut()?;
        // Players wait: a relay that comes back is found soon, for as long as connections live.
        let hurry = now.since(attempt.since) < HURRY;
        let pause = backoff(attempt.tries);
        attempt.next_at = now + if hurry { pause.min(HURRY_PAUSE) } else { pause };
        attempt.tries = attempt.tries.saturating_add(1);
        let suite = hop_suite(context.crypto.suites());
        let payload = BindPayload {
            wanted: self.session,
            another_slot: self.rotate && !self.session.is_none(),
            token: &[],
        };
        match &mut attempt.step {
            Step::Hello { nonce } => Hello { nonce: *nonce }.emit(out).ok(),
            Step::Bind { cookie, ephemeral, awaiting } => {
                let remote = *self.entry.as_ref()?.public_key();
                let (len, state) =
                    write_bind(context.identity, &remote, suite, cookie, ephemeral, &payload, out)?;
                *awaiting = Some(state);
                Some(len)
            }
            Step::Resume { cookie, nonce } => {
                let ticket = self.ticket.as_ref()?;
                write_resume::<C>(ticket, suite, cookie, nonce, &payload, out)
            }
        }
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

    /// Tells the relay that the session is no longer wanted, once.
    pub(crate) fn poll_unbind(&mut self, out: &mut [u8]) -> Option<usize> {
        self.bound.as_ref().filter(|bound| bound.unbind)?;
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

    fn handle_cookie(
        &mut self,
        now: Instant,
        context: &mut HopContext<'_, C>,
        bytes: &[u8],
    ) -> Result<(), Refusal> {
        let reply = CookieReply::parse(bytes).map_err(malformed)?;
        match &self.attempt {
            Some(Attempt { step: Step::Hello { nonce }, .. }) if *nonce == reply.nonce => {
                self.present(now, reply.cookie, context.crypto);
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
        self.attempt = None;
        self.rotate = false;
        self.draining = false;
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
            unanswered_since: None,
            tries: 0,
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
                let (since, reported) = (attempt.since, attempt.reported);
                self.begin(now, context.crypto);
                if let Some(attempt) = &mut self.attempt {
                    (attempt.since, attempt.reported) = (since, reported);
                    attempt.next_at = now + backoff(0);
                }
                return Ok(());
            }
            (RefusedReason::Ticket, Some(cookie)) => {
                self.ticket = None;
                self.present(now, cookie, context.crypto);
                return Ok(());
            }
            (RefusedReason::Version, _) => RelayRefusedReason::Version,
            (RefusedReason::Suite, _) => RelayRefusedReason::Suite,
            (RefusedReason::Full, _) => RelayRefusedReason::Full,
            (RefusedReason::Token, _) => RelayRefusedReason::Token,
            (RefusedReason::Draining, _) => RelayRefusedReason::Draining,
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
        match ControlMessage::parse(message).map_err(malformed)? {
            ControlMessage::KeepAliveAck { time } => {
                let elapsed = (now.as_micros() as u32).wrapping_sub(time);
                self.rtt = Some(Duration::from_micros(u64::from(elapsed)));
                bound.unanswered_since = None;
                bound.tries = 0;
                bound.keep_alive_at = now + bound.keep_alive;
                if !bound.proven {
                    bound.proven = true;
                    self.notices.connected = true;
                }
            }
            ControlMessage::Drain { left_s } => {
                self.draining = true;
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
            ControlMessage::KeepAlive { .. } | ControlMessage::Unbind => {
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
                self.present(now, hint.cookie, context.crypto);
                Ok(())
            }
        }
    }
}

fn write_bind<C: Crypto>(
    identity: &KeyPair,
    remote: &crate::id::PublicKey,
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

/// The hop's suite: every relay does both.
fn hop_suite(suites: Suites) -> Suite {
    suites.choose(Suites::ALL).unwrap_or(Suite::ChaChaPoly)
}

fn malformed(_: ParseError) -> Refusal {
    Refusal::Malformed
}

/// Fingerprints of the last datagrams sent.
struct Recent {
    prints: [u64; Self::LEN],
    at: usize,
}

impl Default for Recent {
    fn default() -> Self {
        Self { prints: [0; Self::LEN], at: 0 }
    }
}

impl Recent {
    /// Enough for the datagrams of a game in one round trip; a later one gets a hint of its own.
    const LEN: usize = 32;

    fn add(&mut self, datagram: &[u8]) {
        if let Some(print) = Self::print(datagram) {
            self.prints[self.at % Self::LEN] = print;
            self.at = (self.at + 1) % Self::LEN;
        }
    }

    fn holds(&self, echo: &hop::Echo) -> bool {
        Self::print(echo).is_some_and(|print| print != 0 && self.prints.contains(&print))
    }

    /// The last 8 bytes of a datagram, mostly of a tag: nobody guesses them.
    fn print(datagram: &[u8]) -> Option<u64> {
        Some(u64::from_le_bytes(*datagram.last_chunk()?))
    }
}

/// A relay that does not answer for this long is lost; with it the diagnosis comes within 5 s.
const NO_ANSWER: Duration = Duration::from_millis(4500);
/// A bind or resume without answer is tried this often with one cookie; a hello with one address.
const ATTEMPT_TRIES: u8 = 3;
/// For this long a relay that does not answer is asked at least every [`HURRY_PAUSE`].
const HURRY: Duration = Duration::from_secs(30);
const HURRY_PAUSE: Duration = Duration::from_millis(500);
/// A relay that was heard less than this ago is not asked whether it is there.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// After a refusal.
const REFUSED_PAUSE: Duration = Duration::from_secs(5);
