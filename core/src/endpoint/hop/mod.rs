//! The client's half of the hop to one relay: hello, bind, resume, keep-alive (states.md, Hop).
//!
//! A [`RelaySlot`] is one entry of the directory and the session there, if there is one.

mod answer;
mod ask;
mod measure;
mod recent;

use core::net::SocketAddr;
use core::ops::Range;
use core::time::Duration;

use super::choice::{ChosenAs, RelayPolicy};
use super::event::{RelayLostReason, RelayRefusedReason};
use crate::crypto::{Crypto, Secret, Suite, Suites};
use crate::directory::RelayEntry;
use crate::id::{RelayId, SessionId};
use crate::noise::{AwaitResponse, KeyPair};
use crate::protection::ControlWindow;
use crate::time::Instant;
use crate::token::Token;
use crate::wire::hop::{self, Alternatives, Cookie};

pub(crate) use measure::Measure;
use recent::Recent;

/// One relay of the directory and the hop to it.
pub struct RelaySlot<C: Crypto> {
    entry: Option<RelayEntry>,
    id: RelayId,
    /// Which of the entry's addresses is in use: the session's, where there is one.
    address: usize,
    /// Whether a session here is wanted: as home, or as guest of somebody's home.
    wanted: bool,
    /// Another client took the session over: nothing more is sent here.
    stopped: bool,
    /// The relay said that it is about to stop, and where to go instead.
    draining: Option<Draining>,
    attempt: Option<Attempt<C>>,
    bound: Option<Bound<C>>,
    /// The last session here, asked for again after a loss.
    session: SessionId,
    ticket: Option<Ticket>,
    /// Ask for another slot with the next bind.
    rotate: bool,
    recent: Recent,
    rtt: Option<Duration>,
    measure: Measure,
    pub(super) policy: RelayPolicy,
    pub(super) chosen_as: ChosenAs,
    /// It is no longer in the directory, and only stays until nothing needs its place.
    pub(super) removed: bool,
    /// It was found unneeded when that was looked at last.
    pub(super) parting: bool,
    /// The application, or an invite, has it in the directory: no signed list takes it out.
    pub(super) stays: bool,
    /// The application was told that its present token is about to expire.
    token_told: bool,
    notices: Notices,
}

/// What a relay said that is about to stop.
struct Draining {
    /// When it stops at the latest.
    until: Instant,
    instead: Alternatives,
}

/// The way to a session, where there is none or a new one is needed.
struct Attempt<C: Crypto> {
    step: Step<C>,
    /// Which of the entry's addresses is asked.
    address: usize,
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
    /// When the token expires that the session was had with.
    token_ends: Option<Instant>,
    unanswered_since: Option<Instant>,
    tries: u8,
    /// It has not answered for so long that something else should serve if it can.
    doubted: bool,
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
    pub(crate) token_expiring: Option<u32>,
}

/// What the hop needs of its endpoint for one call.
pub(crate) struct HopContext<'a, C> {
    /// How long the datagram being handled had waited in this host.
    pub(crate) waited: Duration,
    pub(crate) crypto: &'a mut C,
    pub(crate) identity: &'a KeyPair,
    pub(crate) token: Option<&'a Token>,
    /// Where in the datagram the relay answers about its signed list, for who has room for that.
    pub(crate) page: Option<Range<usize>>,
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
            draining: None,
            attempt: None,
            bound: None,
            session: SessionId::NONE,
            ticket: None,
            rotate: false,
            recent: Recent::default(),
            rtt: None,
            measure: Measure::new(),
            policy: RelayPolicy::Allow,
            chosen_as: ChosenAs::Unmeasured,
            removed: false,
            parting: false,
            stays: false,
            token_told: false,
            notices: Notices::default(),
        }
    }
}

impl<C: Crypto> RelaySlot<C> {
    pub(crate) fn place(&mut self, id: RelayId, entry: RelayEntry) {
        *self = Self { entry: Some(entry), id, ..Self::default() };
    }

    /// The directory says something else of the same relay; answers whether it is elsewhere now.
    pub(crate) fn renew(&mut self, entry: &RelayEntry) -> bool {
        let before = self.address();
        let asked = self.attempt.as_ref().and_then(|attempt| self.address_at(attempt.address));
        self.entry = Some(entry.clone());
        self.address = self.place_of(before);
        let asked = self.place_of(asked);
        if let Some(attempt) = &mut self.attempt {
            attempt.address = asked;
        }
        self.address() != before
    }

    /// Whether nothing is under way here.
    pub(crate) fn is_idle(&self) -> bool {
        self.bound.is_none() && self.attempt.is_none()
    }

    pub(crate) fn entry(&self) -> Option<&RelayEntry> {
        self.entry.as_ref()
    }

    pub(crate) fn id(&self) -> Option<RelayId> {
        self.entry.as_ref().map(|_| self.id)
    }

    /// The address in use: only hellos, and what follows an answered one, go to another.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.address_at(self.address)
    }

    pub(crate) fn is_at(&self, from: SocketAddr) -> bool {
        let entry = self.entry.as_ref();
        entry.and_then(|entry| entry.addresses().get(self.address)) == Some(&from)
    }

    /// Whether this is any address of the relay's.
    pub(crate) fn has_address(&self, from: SocketAddr) -> bool {
        self.entry.as_ref().is_some_and(|entry| entry.addresses().contains(&from))
    }

    fn address_at(&self, place: usize) -> Option<SocketAddr> {
        self.entry.as_ref()?.addresses().get(place).copied()
    }

    /// Which of the entry's addresses this is; the first if it is none of them.
    fn place_of(&self, address: Option<SocketAddr>) -> usize {
        let addresses = self.entry.iter().flat_map(RelayEntry::addresses);
        addresses.map(|to| Some(*to)).position(|to| to == address).unwrap_or(0)
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
        self.draining.is_some()
    }

    /// While it drains: at which place it names `relay` to go to instead, if it does.
    pub(crate) fn names_instead(&self, relay: RelayId) -> Option<usize> {
        self.draining.as_ref()?.instead.as_slice().iter().position(|named| *named == relay)
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Whether there is a session here of which nothing says that it is lost.
    pub(crate) fn answers(&self) -> bool {
        self.bound.as_ref().is_some_and(|bound| bound.proven && !bound.doubted)
    }

    /// Whether a session here is wanted, and the relay does not answer or refuses.
    pub(crate) fn is_missed(&self) -> bool {
        match (&self.bound, &self.attempt) {
            (Some(bound), _) => bound.doubted,
            (None, Some(attempt)) => attempt.reported,
            (None, None) => false,
        }
    }

    pub(crate) fn is_vetoed(&self) -> bool {
        self.policy == RelayPolicy::Veto
    }

    /// Whether a session may be asked for here.
    pub(crate) fn is_usable(&self) -> bool {
        !self.removed && !self.is_vetoed()
    }

    /// Whether another relay is to take its place while it still works.
    pub(crate) fn is_leaving(&self) -> bool {
        self.is_draining() || self.removed
    }

    /// Whether the route may name this relay.
    pub(crate) fn is_fit_for_home(&self) -> bool {
        self.may_serve() && self.answers()
    }

    /// Whether a home may go on being it: its session may be proving itself anew just now.
    pub(crate) fn may_stay_home(&self) -> bool {
        self.may_serve() && self.session().is_some()
    }

    /// Whether a session here is wanted and may go on.
    pub(crate) fn may_serve(&self) -> bool {
        self.wanted && !self.is_leaving() && !self.is_vetoed()
    }

    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// The round trip: of probes, or of the latest keep-alive where there are none.
    pub(crate) fn rtt(&self) -> Option<Duration> {
        self.measure.rtt().or(self.rtt)
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
        let Notices { connected, lost, refused, draining, token_expiring } = self.notices;
        let said = connected || lost.is_some() || refused.is_some() || draining.is_some();
        said || token_expiring.is_some()
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

    /// Leaves, and forgets what was known of the relay's plans.
    pub(crate) fn shut_down(&mut self) {
        self.leave();
        self.measure.stop();
        self.draining = None;
    }

    /// Asks for another session, as soon as possible: the id an observer has seen goes out of use.
    pub(crate) fn rotate(&mut self, now: Instant, crypto: &mut C) {
        self.rotate = true;
        self.begin(now, crypto);
    }

    /// The way to the relay may have changed: ask for the session again, from the first address on.
    pub(crate) fn restart(&mut self, now: Instant, crypto: &mut C) {
        self.stopped = false;
        if self.bound.is_none() {
            self.address = 0;
        }
        if self.wanted {
            self.begin_at(now, 0, crypto);
        }
    }

    /// There is another token: a session is asked for with it at once, while the present one
    /// serves on, and again where it was refused.
    pub(crate) fn show_token(&mut self, now: Instant, crypto: &mut C) {
        self.token_told = false;
        if self.attempt.is_some() || self.bound.as_ref().is_some_and(|bound| !bound.unbind) {
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
            let after = if bound.doubted { NO_ANSWER } else { DOUBTED };
            let lost = bound.unanswered_since.map_or(Instant::FAR, |since| since + after);
            let token = self.token_notice_at();
            if bound.unbind { Instant::FAR } else { bound.keep_alive_at.min(lost).min(token) }
        });
        attempt.min(bound).min(self.measure.next_at())
    }

    /// Before this, and unless something changes, there is nothing to do here, to send or to tell.
    pub(crate) fn rests_until(&self) -> Instant {
        let due = self.has_notice() || self.wants_unbind();
        if due { Instant::ZERO } else { self.poll_timeout() }
    }

    /// Gives up what has not been answered. `others` says whether any other relay answers.
    pub(crate) fn handle_timeout(&mut self, now: Instant, others: bool, crypto: &mut C) {
        if let Some(bound) = &mut self.bound {
            bound.doubted |= bound.unanswered_since.is_some_and(|since| since + DOUBTED <= now);
        }
        let lost = self.bound.as_ref().is_some_and(|bound| {
            bound.unanswered_since.is_some_and(|since| since + NO_ANSWER <= now)
        });
        if lost {
            self.bound = None;
            self.measure.fall_silent();
            self.notices.lost = Some(RelayLostReason::NoAnswer);
            self.next_address();
            if self.wanted {
                self.begin(now, crypto);
                if let Some(attempt) = &mut self.attempt {
                    attempt.reported = true;
                }
            }
        }
        if self.token_notice_at() <= now
            && let Some(ends) = self.bound.as_ref().and_then(|bound| bound.token_ends)
        {
            self.token_told = true;
            let left = ends.since(now).as_secs();
            self.notices.token_expiring = Some(u32::try_from(left).unwrap_or(u32::MAX));
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

    /// When the application is to be told that its token expires.
    fn token_notice_at(&self) -> Instant {
        let ends = self.bound.as_ref().and_then(|bound| bound.token_ends);
        ends.filter(|_| !self.token_told).map_or(Instant::FAR, |ends| ends - TOKEN_NOTICE)
    }

    /// Remembers a datagram that was just sent here, so that a hint about it is believed.
    pub(crate) fn remember(&mut self, datagram: &[u8]) {
        self.recent.add(datagram);
    }

    fn begin(&mut self, now: Instant, crypto: &mut C) {
        self.begin_at(now, self.address, crypto);
    }

    /// Asks for a session at this address first.
    fn begin_at(&mut self, now: Instant, address: usize, crypto: &mut C) {
        // What is no longer in the directory is not asked again.
        if self.stopped || self.removed {
            return;
        }
        let mut nonce = [0; 8];
        crypto.random(&mut nonce);
        self.attempt = Some(Attempt {
            step: Step::Hello { nonce },
            address,
            since: now,
            next_at: now,
            tries: 0,
            reported: false,
        });
    }

    /// The attempt goes on with another hello, where it was.
    fn begin_again(&mut self, now: Instant, next_at: Instant, crypto: &mut C) {
        let Some(before) = self.attempt.take() else { return };
        self.begin_at(now, before.address, crypto);
        if let Some(attempt) = &mut self.attempt {
            attempt.since = before.since;
            attempt.reported = before.reported;
            attempt.next_at = next_at;
        }
    }

    /// With a cookie in hand, from this address: resume where there is a ticket, else bind.
    fn present(&mut self, now: Instant, address: usize, cookie: Cookie, crypto: &mut C) {
        let step = if self.ticket.is_some() {
            let mut nonce = [0; 16];
            crypto.random(&mut nonce);
            Step::Resume { cookie, nonce }
        } else {
            Step::Bind { cookie, ephemeral: KeyPair::generate(crypto), awaiting: None }
        };
        let (since, reported) =
            self.attempt.as_ref().map_or((now, false), |attempt| (attempt.since, attempt.reported));
        self.attempt = Some(Attempt { step, address, since, next_at: now, tries: 0, reported });
    }

    fn next_address(&mut self) {
        self.address = (self.address + 1) % self.addresses();
    }

    /// How many addresses the relay has, at least one.
    fn addresses(&self) -> usize {
        self.entry.as_ref().map_or(1, |entry| entry.addresses().len().max(1))
    }
}

/// The hop's suite: every relay does both.
fn hop_suite(suites: Suites) -> Suite {
    suites.choose(Suites::ALL).unwrap_or(Suite::ChaChaPoly)
}

/// A relay that does not answer for this long is lost; with it the diagnosis comes within 5 s.
const NO_ANSWER: Duration = Duration::from_millis(4500);
/// A relay that does not answer for this long is left by who has another one.
const DOUBTED: Duration = Duration::from_millis(1000);
/// The application is told so long before its token expires.
const TOKEN_NOTICE: Duration = Duration::from_secs(120);
/// A bind or resume without answer is tried this often with one cookie.
const ATTEMPT_TRIES: u8 = 3;
/// A relay that was heard less than this ago is not asked whether it is there.
const ASK_AGAIN: Duration = Duration::from_secs(1);
