//! One connection with one peer: handshake, keys, paths, packets, timers (states.md, Connection).
//!
//! [`Peer`] has the branches and the state; `path`, `hearing` and `timers` are helpers; `handshake`
//! and `packet` are its two halves, `timeout` is what time alone brings about, `moves` and `choice`
//! say which way packets take.

mod answer;
mod association;
mod choice;
mod handshake;
mod hearing;
mod moves;
mod mtu;
mod packet;
mod path;
mod quality;
mod timeout;
mod timers;

use core::time::Duration;

use crate::channel::{Block, ChannelSlot, Channels, Pools, Scope, TakenMessage};
use crate::crypto::{Crypto, Secret, Suites};
use crate::endpoint::{ConnectionQuality, Counters, DisconnectReason, Link, RelaySlot, Relays};
use crate::id::{ApplicationId, PeerId, PublicKey, RelayId, SessionId};
use crate::noise::KeyPair;
use crate::pool::Pool;
use crate::protection::PacketWindow;
use crate::recovery::{
    ControllerKind, MAX_ACK_DELAY, Outcome, PathIndex, Received, Recovery, SentPool,
};
use crate::route::Route;
use crate::time::Instant;
use crate::wire::frame::DisconnectReason as WireReason;
use crate::wire::handshake::{HandshakeParameters, Instance, Stamp};

use answer::Answered;
use association::Association;
use choice::PathChoice;
use handshake::Initiation;
pub(crate) use handshake::{check_mac, open_initiation, slot_of};
use hearing::Hearing;
use moves::{Keep, ROUTE_PATHS, home_of};
use mtu::Mtu;
use path::{CHALLENGE_TRIES, Paths, Purpose};
pub(crate) use path::{RelayIndex, backoff};
use quality::QualityWatch;
pub use timers::Timer;
use timers::Timers;

/// One peer and the connection with it. An endpoint's memory holds one for each peer it may have.
pub struct Peer<C: Crypto> {
    phase: Phase,
    id: Option<PeerId>,
    key: PublicKey,
    /// The static–static secret: Noise's `ss`, and the MAC key's root.
    pair_secret: Secret,
    /// Set if the first message is keyed by an invite.
    invite_secret: Option<[u8; 16]>,
    route: Option<Route>,

    instance: Instance,
    /// The other side's instance: with ours it names the connection. While connecting, the one whose
    /// first message was answered.
    remote_instance: Option<Instance>,
    remote: HandshakeParameters,
    initiation: Option<Initiation<C>>,
    answered: Option<Answered<C>>,
    /// No first message at or below this is taken.
    last_stamp: Stamp,
    /// The keys of at most two handshakes; the low bit of a connection index says which.
    associations: [Option<Association<C>>; 2],
    /// The one whose keys seal: confirmed, unless this side goes ahead.
    sending: Option<usize>,
    generation: u16,

    window: PacketWindow,
    received: Received,
    recovery: Recovery,
    paths: Paths,
    /// How long datagrams may be on each path.
    mtu: Mtu,
    /// The path left behind last, until what is in flight there is given up.
    leaving: Option<PathIndex>,
    choice: PathChoice,
    hearing: Hearing,
    /// How often packets took another path.
    path_moves: u32,
    channels: Channels,
    timers: Timers,
    owed: Owed,
    /// What the application is to be told besides what the channels tell.
    notices: PeerNotices,
    quality: QualityWatch,
    stats: Traffic,
    /// Places in the endpoint's queues.
    pub(crate) links: [Link; 3],
}

/// Where a connection is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// The slot is free.
    Free,
    /// The application wants it; no handshake is complete.
    Connecting,
    /// A handshake is complete.
    Connected,
    /// A Disconnect is being sent, and repeated so many more times.
    Closing { reason: WireReason, copies: u8 },
    /// Over; the slot is free once the application has been told.
    Closed,
}

/// Small things to be sent.
#[derive(Clone, Copy, Default, Debug)]
struct Owed {
    ack: bool,
    ping: bool,
    disconnect: bool,
    route: RouteOwed,
}

/// Whether the other side has our latest route.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
enum RouteOwed {
    #[default]
    No,
    Yes,
    /// In this packet.
    Sent(crate::id::PacketNumber),
}

#[derive(Clone, Copy, Default, Debug)]
struct PeerNotices {
    restarted: bool,
    connected: bool,
    gone: Option<DisconnectReason>,
}

/// Datagrams of one connection.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Traffic {
    pub(crate) packets_sent: u64,
    pub(crate) bytes_sent: u64,
    pub(crate) packets_received: u64,
    pub(crate) bytes_received: u64,
}

/// What all connections of an endpoint share and none changes.
pub(crate) struct Settings {
    pub(crate) application: ApplicationId,
    pub(crate) suites: Suites,
    pub(crate) parameters: HandshakeParameters,
    /// In microseconds, as it is needed with each packet.
    pub(crate) idle_timeout_us: u64,
    pub(crate) connect_timeout: Duration,
    /// What every path of every connection begins with.
    pub(crate) controller: ControllerKind,
    /// Sessions at relays at a time.
    pub(crate) sessions_max: usize,
}

/// The endpoint, as far as a connection needs it, for one call.
pub(crate) struct Context<'a, C: Crypto> {
    pub(crate) now: Instant,
    /// How long the datagram being handled had waited in this host.
    pub(crate) waited: Duration,
    pub(crate) crypto: &'a mut C,
    pub(crate) identity: &'a KeyPair,
    pub(crate) me: PeerId,
    pub(crate) settings: &'a Settings,
    pub(crate) relays: Relays<'a, C>,
    pub(crate) pools: Pools<'a>,
    pub(crate) sent: SentPool<'a>,
    pub(crate) counters: &'a mut Counters,
    /// The local player's route.
    pub(crate) route: Option<&'a Route>,
    /// The last stamp given out.
    pub(crate) stamp: &'a mut Stamp,
    /// Wall-clock microseconds at the clock's start, so that stamps grow over restarts.
    pub(crate) unix_micros: u64,
}

impl<C: Crypto> Context<'_, C> {
    /// Which slot holds this relay, if it may be used.
    pub(crate) fn relay(&self, id: RelayId) -> Option<RelayIndex> {
        let usable = |slot: &RelaySlot<C>| slot.id() == Some(id) && slot.is_usable();
        self.relays.iter().position(usable).map(|n| RelayIndex(n as u8))
    }

    /// Wants a session at a relay, as a guest if nothing else; `false` if there are as many sessions
    /// as may be, `spare` of which are for others.
    fn want_guest(&mut self, relay: RelayIndex, spare: usize) -> bool {
        let wanted = self.relays.iter().filter(|slot| slot.is_wanted()).count();
        let room = wanted + spare < self.settings.sessions_max;
        let Some(slot) = self.relays.get_mut(usize::from(relay.0)) else { return false };
        if !slot.is_usable() || !(slot.is_wanted() || room) {
            return false;
        }
        slot.want(self.now, self.crypto);
        true
    }

    /// The local session at a relay, if there is one now.
    fn session(&self, relay: RelayIndex) -> Option<SessionId> {
        self.relays.get(usize::from(relay.0))?.session()
    }

    fn next_stamp(&mut self) -> Stamp {
        let clock = self.unix_micros.saturating_add(self.now.as_micros());
        self.stamp.0 = clock.max(self.stamp.0.saturating_add(1));
        *self.stamp
    }

    fn nonce(&mut self) -> [u8; 8] {
        let mut nonce = [0; 8];
        self.crypto.random(&mut nonce);
        nonce
    }
}

/// What the application wants of a new connection.
pub(crate) struct Wanted {
    pub(crate) id: PeerId,
    pub(crate) pair_secret: Secret,
    pub(crate) route: Route,
    pub(crate) invite_secret: Option<[u8; 16]>,
}

impl<C: Crypto> Default for Peer<C> {
    fn default() -> Self {
        Self {
            phase: Phase::Free,
            id: None,
            key: PublicKey::default(),
            pair_secret: Secret::default(),
            invite_secret: None,
            route: None,
            instance: Instance::default(),
            remote_instance: None,
            remote: HandshakeParameters {
                reliable_message_len_max: 0,
                unreliable_message_len_max: 0,
                idle_timeout_ms: 0,
            },
            initiation: None,
            answered: None,
            last_stamp: Stamp::default(),
            associations: [None, None],
            sending: None,
            generation: 0,
            window: PacketWindow::new(),
            received: Received::new(),
            recovery: Recovery::new(ControllerKind::NEW),
            paths: Paths::default(),
            mtu: Mtu::new(),
            leaving: None,
            choice: PathChoice::new(),
            hearing: Hearing::new(),
            path_moves: 0,
            channels: Channels::default(),
            timers: Timers::default(),
            owed: Owed::default(),
            notices: PeerNotices::default(),
            quality: QualityWatch::new(),
            stats: Traffic::default(),
            links: [Link::default(); 3],
        }
    }
}

impl<C: Crypto> Peer<C> {
    /// Begins a connection in a free slot.
    pub(crate) fn connect(&mut self, context: &mut Context<'_, C>, wanted: Wanted) {
        debug_assert!(self.phase == Phase::Free);
        let mut instance = [0; 4];
        context.crypto.random(&mut instance);
        self.phase = Phase::Connecting;
        self.id = Some(wanted.id);
        self.key = wanted.route.public_key;
        self.pair_secret = wanted.pair_secret;
        self.invite_secret = wanted.invite_secret;
        self.route = Some(wanted.route);
        self.instance = Instance(u32::from_le_bytes(instance));
        self.recovery = Recovery::new(context.settings.controller);
        self.timers.set(Timer::Connect, context.now + context.settings.connect_timeout);
        self.timers.set(Timer::Handshake, context.now);
    }

    /// Takes a newer route of this peer, from the application or from the peer itself; `false` if
    /// it is not newer.
    pub(crate) fn update_route(&mut self, context: &mut Context<'_, C>, route: Route) -> bool {
        let news = self.route.as_ref().is_none_or(|known| route.epoch > known.epoch);
        if !news {
            return false;
        }
        let home = self.route.as_ref().and_then(home_of);
        self.route = Some(route);
        match self.phase {
            Phase::Connecting => {
                self.initiation = None;
                self.timers.set(Timer::Handshake, context.now);
            }
            Phase::Connected => self.follow_route(context, Keep::Theirs { home }),
            Phase::Free | Phase::Closing { .. } | Phase::Closed => {}
        }
        true
    }

    /// The application parts with this peer, and hears no more of it.
    pub(crate) fn part(&mut self, context: &mut Context<'_, C>, reason: WireReason) {
        self.disconnect(context, reason);
        self.notices = PeerNotices::default();
        self.quality = QualityWatch::new();
    }

    /// Ends the connection from this side.
    fn disconnect(&mut self, context: &mut Context<'_, C>, reason: WireReason) {
        match self.phase {
            Phase::Connecting if !self.goes_ahead() => self.phase = Phase::Closed,
            Phase::Connecting | Phase::Connected => {
                self.phase = Phase::Closing { reason, copies: DISCONNECT_REPEATS };
                self.stop_timers_but(Timer::Recovery);
                self.owed.disconnect = true;
                self.timers.set(Timer::Close, context.now + self.goodbye_pause());
            }
            Phase::Free | Phase::Closing { .. } | Phase::Closed => {}
        }
    }

    /// Everything goes back to the pools; the slot is free, its places in the queues stay.
    pub(crate) fn release(&mut self, context: &mut Context<'_, C>) {
        self.take_back_flight(context);
        self.channels.release(&mut context.pools);
        // Connection indices go on, lest stragglers be taken for the next peer's.
        let (links, generation) = (self.links, self.generation);
        *self = Self { links, generation, ..Self::default() };
    }

    pub(crate) fn id(&self) -> Option<PeerId> {
        self.id
    }

    pub(crate) fn key(&self) -> PublicKey {
        self.key
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.phase == Phase::Connected
    }

    /// Whether the application still has this peer.
    pub(crate) fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Connecting | Phase::Connected)
    }

    /// Whether the application hears nothing of this peer's channels: it has parted with it, or is
    /// not connected with it yet.
    pub(crate) fn is_muted(&self) -> bool {
        (!self.is_live() && self.notices.gone.is_none()) || self.goes_ahead()
    }

    /// Whether nothing is left to do but to free the slot.
    pub(crate) fn is_done(&self) -> bool {
        self.phase == Phase::Closed && self.notices.gone.is_none()
    }

    pub(crate) fn channels(&mut self) -> &mut Channels {
        &mut self.channels
    }

    pub(crate) fn channels_ref(&self) -> &Channels {
        &self.channels
    }

    pub(crate) fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// How the path in use does.
    fn watch_quality(&mut self, now: Instant) {
        let Some(index) = self.paths.active() else { return };
        let recovery = &self.recovery;
        self.quality.observe(now, || {
            let rtt = recovery.rtt(index);
            ConnectionQuality {
                rtt: rtt.smoothed(),
                jitter: rtt.jitter(),
                loss: recovery.loss(index),
                rate: recovery.pacing_rate(index),
            }
        });
    }

    /// Packets that the other side numbered and that have not arrived (yet).
    pub(crate) fn packets_missing(&self) -> u64 {
        let numbered = self.received.largest().map_or(0, |largest| largest.0 + 1);
        numbered.saturating_sub(self.stats.packets_received)
    }

    pub(crate) fn traffic(&self) -> Traffic {
        self.stats
    }

    /// How often the connection took another path, the first not counted.
    pub(crate) fn path_switches(&self) -> u32 {
        self.path_moves.saturating_sub(1)
    }

    /// The path in use and the relay it leads through.
    pub(crate) fn active_path(&self) -> Option<(PathIndex, RelayId)> {
        let index = self.paths.active()?;
        Some((index, self.paths.get(index)?.relay_id))
    }

    /// Bytes of the longest datagrams sent over the path in use.
    pub(crate) fn datagram_len(&self) -> usize {
        self.mtu.len(self.paths.active().unwrap_or_default())
    }

    /// Our way to the relays may be another one, and carry less.
    pub(crate) fn on_network_changed(&mut self) {
        self.mtu = Mtu::new();
    }

    /// Whether the connection, or the way to one, needs a session at this relay.
    pub(crate) fn needs_relay(&self, relay: RelayIndex, id: RelayId) -> bool {
        let active = self.paths.active();
        let in_use = self.paths.iter().any(|(index, path)| {
            path.relay == relay && (Some(index) == active || path.challenge.is_some())
        });
        let named = |most: usize| {
            let relays = self.route.as_ref().map(Route::relays).unwrap_or_default();
            relays.iter().take(most).any(|entry| entry.relay == id)
        };
        match self.phase {
            Phase::Connecting => in_use || named(Route::RELAYS_MAX),
            // Where the other side is at home a path is kept ready.
            Phase::Connected => in_use || named(ROUTE_PATHS),
            Phase::Closing { .. } => in_use,
            Phase::Free | Phase::Closed => false,
        }
    }

    /// Whether the connection's packets go through this relay.
    pub(crate) fn uses_relay(&self, relay: RelayIndex) -> bool {
        self.paths.active_path().is_some_and(|path| path.relay == relay)
    }

    /// Whether anything here names this relay by its place.
    pub(crate) fn refers_to(&self, relay: RelayIndex) -> bool {
        self.paths.iter().any(|(_, path)| path.relay == relay)
            || self.associations.iter().flatten().any(|keys| keys.via.relay == relay)
            || self.initiation.as_ref().is_some_and(|initiation| initiation.via_relay() == relay)
            || self.answered.as_ref().is_some_and(|answered| answered.via_relay() == relay)
    }

    /// The local route changed: the other side is told, if it can be.
    pub(crate) fn owe_route(&mut self) {
        if self.phase == Phase::Connected {
            self.owed.route = RouteOwed::Yes;
        }
    }

    /// A session at `relay` became usable: what waited for it may go on, and who reaches us there
    /// learns of the session, which may be another one.
    pub(crate) fn on_relay_bound(&mut self, context: &mut Context<'_, C>, relay: RelayIndex) {
        match self.phase {
            Phase::Connecting => self.timers.set(Timer::Handshake, context.now),
            Phase::Connected => {
                self.paths.hurry(context.now);
                for index in PathIndex::ALL {
                    if !self.paths.get(index).is_some_and(|path| path.relay == relay) {
                        continue;
                    }
                    if self.paths.active() != Some(index) {
                        self.challenge(context, index, Purpose::Validate, CHALLENGE_TRIES);
                        continue;
                    }
                    self.challenge(context, index, Purpose::Move, CHALLENGE_TRIES);
                    // There was no session for a while: what was sent into that gap is lost, and
                    // must not keep the window shut until a probe finds out.
                    self.abandon_path(context, index);
                    self.on_network_changed();
                }
                self.know_route(context);
                self.timers.set(Timer::Path, self.paths.poll_timeout());
            }
            Phase::Free | Phase::Closing { .. } | Phase::Closed => {}
        }
    }

    /// The earliest timer and what it is for.
    pub(crate) fn poll_timeout(&self) -> (Instant, Timer) {
        self.timers.next()
    }

    /// When the earliest timer fires.
    pub(crate) fn deadline(&self) -> Instant {
        self.timers.earliest()
    }

    /// Whether the application may have something to be told, or the slot something to be freed.
    pub(crate) fn has_events(&self) -> bool {
        let channels = self.channels.has_events() && !self.goes_ahead();
        channels || self.has_notices() || self.notices.gone.is_some() || self.is_done()
    }

    /// Whether [`take_notice`](Self::take_notice) has something that is told before messages.
    fn has_notices(&self) -> bool {
        self.notices.restarted || self.notices.connected || self.quality.has_news()
    }

    /// The next message, where neither something else is told first nor anything is to be done.
    #[inline]
    pub(crate) fn take_message(
        &mut self,
        slots: &mut Pool<'_, ChannelSlot>,
        blocks: &[Block],
    ) -> Option<(PeerId, TakenMessage)> {
        let id = self.id.filter(|_| self.phase == Phase::Connected && !self.has_notices())?;
        Some((id, self.channels.take_message(slots, blocks)?))
    }

    /// Takes back the message lent last, if after that nothing is left to be told or done; `false`
    /// if there may be, and then nothing has happened.
    #[inline]
    pub(crate) fn take_back_message(&mut self, pools: Pools<'_>) -> bool {
        let quiet = self.phase == Phase::Connected
            && !self.has_notices()
            && self.notices.gone.is_none()
            // What reading makes due is asked for by who looks closer.
            && !self.channels.wants_to_send(Scope::Protocol);
        quiet && self.channels.take_back(pools)
    }

    /// What the application is to be told next, besides messages and channels; `last` says that
    /// those have all been told.
    pub(crate) fn take_notice(&mut self, last: bool) -> Option<Notice> {
        if core::mem::take(&mut self.notices.restarted) {
            return Some(Notice::Disconnected(DisconnectReason::Restarted));
        }
        if core::mem::take(&mut self.notices.connected) {
            return Some(Notice::Connected);
        }
        if let Some(quality) = self.quality.take() {
            return Some(Notice::Quality(quality));
        }
        if last { self.notices.gone.take().map(Notice::Disconnected) } else { None }
    }

    /// The connection is over, and the application is told.
    fn close(&mut self, reason: DisconnectReason) {
        if matches!(self.phase, Phase::Connecting | Phase::Connected) {
            self.phase = Phase::Closed;
            self.notices.gone = Some(reason);
        } else if matches!(self.phase, Phase::Closing { .. }) {
            self.phase = Phase::Closed;
        }
        self.timers = Timers::default();
    }

    /// The other side broke the rules: it is told once, the application too.
    fn fail(&mut self, context: &mut Context<'_, C>, reason: WireReason) {
        if self.phase == Phase::Connected {
            self.disconnect(context, reason);
            self.notices.gone = Some(match reason {
                WireReason::TooManyForgeries => DisconnectReason::TooManyForgeries,
                WireReason::Application | WireReason::ShuttingDown | WireReason::ProtocolError => {
                    DisconnectReason::ProtocolError
                }
            });
        }
    }

    /// The pause after each copy of a disconnect. It has a limit because late acknowledgements make
    /// the probe time-out long, and the other side must not keep its slot by sending such.
    fn goodbye_pause(&self) -> Duration {
        self.pto().min(GOODBYE_PAUSE_MAX)
    }

    /// The probe time-out of the path in use.
    fn pto(&self) -> Duration {
        self.paths.active().map_or(PTO_UNKNOWN, |path| self.recovery.rtt(path).pto(MAX_ACK_DELAY))
    }

    /// Finds out whether the relay in use still answers, sooner than its next keep-alive would.
    fn ask_relay(&self, context: &mut Context<'_, C>) {
        if let Some(slot) = self
            .paths
            .active_path()
            .and_then(|path| context.relays.get_mut(usize::from(path.relay.0)))
        {
            slot.ask(context.now);
        }
    }

    fn set_recovery_timer(&mut self) {
        self.timers.set(Timer::Recovery, self.recovery.poll_timeout().unwrap_or(Instant::FAR));
    }

    fn set_ack_timer(&mut self) {
        let at = if self.owed.ack {
            Instant::FAR
        } else {
            self.received.ack_deadline().unwrap_or(Instant::FAR)
        };
        self.timers.set(Timer::Ack, at);
    }

    fn stop_timers_but(&mut self, keep: Timer) {
        let at = self.timers.get(keep);
        self.timers = Timers::default();
        self.timers.set(keep, at);
    }

    /// Everything in flight counts as lost.
    fn take_back_flight(&mut self, context: &mut Context<'_, C>) {
        let Self { recovery, channels, owed, received, mtu, .. } = self;
        let pools = &mut context.pools;
        recovery.abandon_all(&mut context.sent, &mut |outcome, packet| {
            settle(channels, received, owed, mtu, pools, outcome, packet);
        });
    }
}

/// Something for the application.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Notice {
    Connected,
    Quality(ConnectionQuality),
    Disconnected(DisconnectReason),
}

/// What a sent packet carried has arrived, or has to go again.
fn settle(
    channels: &mut Channels,
    received: &mut Received,
    owed: &mut Owed,
    mtu: &mut Mtu,
    pools: &mut Pools<'_>,
    outcome: Outcome,
    packet: crate::recovery::SentPacket,
) {
    let route = owed.route == RouteOwed::Sent(packet.number);
    match outcome {
        Outcome::Acked => {
            mtu.on_acked(&packet);
            channels.on_acked(pools, packet.frames);
            received.on_ack_acknowledged(packet.ack);
            if route {
                owed.route = RouteOwed::No;
            }
        }
        Outcome::Lost | Outcome::Abandoned => {
            if outcome == Outcome::Lost {
                mtu.on_lost(&packet);
            } else {
                mtu.on_abandoned(&packet);
            }
            channels.on_lost(pools, packet.frames);
            if route {
                owed.route = RouteOwed::Yes;
            }
        }
    }
}

/// A disconnect is repeated this often: nothing acknowledges it.
const DISCONNECT_REPEATS: u8 = 2;
const GOODBYE_PAUSE_MAX: Duration = Duration::from_millis(500);
const PTO_UNKNOWN: Duration = Duration::from_millis(500);
