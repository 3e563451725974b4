//! The client: peers, relays and channels behind one sans-IO face.
//!
//! Four families of methods, in any order: commands, `handle_*`, `poll_*`, getters. The one rule is
//! that the clock handed in never runs backwards.

mod choice;
mod config;
mod counters;
mod deadlines;
mod error;
mod event;
mod fleet;
mod home;
mod hop;
mod index;
mod parts;
mod queue;
mod receive;
mod relays;
mod request;
mod stats;
mod transmit;

pub(crate) use choice::is_much_better;
pub use choice::{ChosenAs, RelayChoice, RelayPolicy};
pub use config::{Config, ConfigError, SendRate};
pub use counters::{Counters, Refusal};
pub use deadlines::DeadlineSlot;
pub use error::{
    AddRelayError, CloseChannelError, ConnectError, OpenChannelError, SendError, SetDirectoryError,
    UnknownPeer, UnknownRelay,
};
pub use event::{DisconnectReason, Event, RelayLostReason, RelayRefusedReason};
pub use hop::{RelaySlot, RelayState};
pub use index::IndexSlot;
pub(crate) use index::index_len;
pub use queue::Link;
pub(crate) use relays::Relays;
pub use request::RequestSlot;
pub use stats::{ConnectionQuality, PeerStats, RelayStatus};
pub use transmit::{TimerReason, Transmit};

use core::time::Duration;

use crate::channel::{ChannelOptions, PoolState};
use crate::connection::{RelayIndex, Settings, Wanted};
use crate::crypto::Crypto;
use crate::directory::RelayEntry;
use crate::id::{ChannelId, PeerId, PublicKey, RelayId};
use crate::invite::{Invite, InviteSecret};
use crate::limits::Limits;
use crate::memory::{Lender, Memory};
use crate::noise::KeyPair;
use crate::recovery::SentFree;
use crate::route::{Epoch, Route, RouteError, RouteRelay};
use crate::time::{Instant, micros};
use crate::token::Token;
use crate::wire::frame::DisconnectReason as WireReason;
use crate::wire::handshake::{HandshakeParameters, Stamp};

use fleet::Fleet;
use home::Home;
use queue::{Queue, Which};

/// One player: its peers, its relays, its channels.
///
/// `C` is the crypto provider, `L` says what kind of slices the memory is made of.
pub struct Endpoint<C: Crypto, L: Lender> {
    memory: Memory<C, L>,
    state: State<C>,
}

/// Everything of an endpoint that is not in lent slices.
struct State<C> {
    now: Instant,
    /// How long the latest datagram had waited in this host.
    waited: Duration,
    crypto: C,
    identity: KeyPair,
    me: PeerId,
    settings: Settings,
    limits: Limits,
    counters: Counters,
    pools: PoolState,
    sent: SentFree,
    /// Peers with messages queued since the last flush.
    unflushed: Queue,
    transmit: Queue,
    events: Queue,
    stamp: Stamp,
    unix_micros: u64,
    route: Option<Route>,
    epoch: Epoch,
    /// The application has not yet been told of `route`.
    route_news: bool,
    /// The application has perhaps not been told of every request.
    request_news: bool,
    home: Home,
    choice: RelayChoice,
    /// Strangers with this secret are heard.
    accept_requests: Option<InviteSecret>,
    /// What relays are shown.
    token: Option<Token>,
    fleet: Fleet,
    /// Peers that left a moment ago: commands about them are not the application's mistake.
    left: heapless::Deque<PeerId, 16>,
}

impl<C: Crypto, L: Lender> Endpoint<C, L> {
    /// An endpoint with no relay and no peer, in memory from `lender`.
    ///
    /// # Errors
    /// [`ConfigError`] names the first value that cannot be used.
    pub fn new(
        now: Instant,
        config: &Config,
        mut crypto: C,
        lender: &mut L,
    ) -> Result<Self, ConfigError> {
        config.check()?;
        let identity = match &config.identity {
            Some(secret) => KeyPair::from_secret::<C>(secret.clone()),
            None => KeyPair::generate(&mut crypto),
        };
        let me = PeerId::from_key_hash(&C::sha256(&[&identity.public().0]));
        let channels = &config.limits.channels;
        let settings = Settings {
            application: config.application,
            suites: crypto.suites(),
            parameters: HandshakeParameters {
                reliable_message_len_max: u64::from(channels.message_reliable_max),
                unreliable_message_len_max: u64::from(channels.message_unreliable_max),
                idle_timeout_ms: micros(config.idle_timeout) / 1000,
            },
            idle_timeout_us: micros(config.idle_timeout),
            connect_timeout: config.connect_timeout,
            controller: config.rate.controller(),
            sessions_max: config.relays.sessions_max.into(),
        };
        let mut endpoint = Self {
            memory: Memory::new(&config.limits, lender),
            state: State {
                now,
                waited: Duration::ZERO,
                crypto,
                identity,
                me,
                settings,
                limits: config.limits,
                counters: Counters::default(),
                pools: PoolState::new(channels),
                sent: SentFree::default(),
                unflushed: Queue::new(Which::Unflushed),
                transmit: Queue::new(Which::Transmit),
                events: Queue::new(Which::Events),
                stamp: Stamp::default(),
                unix_micros: config.unix_micros,
                route: None,
                epoch: Epoch::default(),
                route_news: false,
                request_news: false,
                home: Home::default(),
                choice: config.relays.clone(),
                accept_requests: None,
                token: config.token,
                fleet: Fleet::new(config.fleet_key),
                left: heapless::Deque::new(),
            },
        };
        deadlines::start(endpoint.parts().deadlines);
        Ok(endpoint)
    }

    /// Trusts a relay: adds it to the directory. The first becomes home until it is known which is
    /// best. Adding one again is fine, and changes its addresses and region. One that is added while
    /// a signed list is in force stays whatever the next one says.
    ///
    /// # Errors
    /// [`AddRelayError`].
    pub fn add_relay(&mut self, entry: &RelayEntry) -> Result<(), AddRelayError> {
        let stays = self.state.fleet.has_list();
        let relay = self.learn_relay(entry)?;
        self.memory.relays_mut()[usize::from(relay.0)].stays |= stays;
        Ok(())
    }

    /// Puts a relay into the directory, or brings its entry up to date; answers its place.
    fn learn_relay(&mut self, entry: &RelayEntry) -> Result<RelayIndex, AddRelayError> {
        if entry.addresses().is_empty() {
            return Err(AddRelayError::NoAddress);
        }
        let id = RelayId::from_key_hash(&C::sha256(&[&entry.public_key().0]));
        let known = self.memory.relays().iter().position(|slot| slot.id() == Some(id));
        if let Some(place) = known {
            let relay = RelayIndex(place as u8);
            self.renew_relay(relay, entry);
            return Ok(relay);
        }
        let place = match self.memory.add_relay() {
            Some((place, slot)) => {
                slot.place(id, entry.clone());
                place
            }
            None => self.replace_removed(id, entry).ok_or(AddRelayError::Full)?,
        };
        let relay = RelayIndex(place as u8);
        self.take_in_relay(relay);
        Ok(relay)
    }

    /// Takes a relay out of the directory: it is left, by connections too, and sent nothing any
    /// more once it has been.
    ///
    /// # Errors
    /// [`UnknownRelay`].
    pub fn remove_relay(&mut self, relay: RelayId) -> Result<(), UnknownRelay> {
        let index = self.find_relay(relay).ok_or(UnknownRelay)?;
        self.set_policy(index, RelayPolicy::Veto);
        let slot = &mut self.memory.relays_mut()[usize::from(index.0)];
        (slot.removed, slot.stays) = (true, false);
        Ok(())
    }

    /// This player's id.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        self.state.me
    }

    /// This player's public key.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        *self.state.identity.public()
    }

    /// Where this player can be reached now; `None` until the first relay is bound.
    #[must_use]
    pub fn route(&self) -> Option<&Route> {
        self.state.route.as_ref()
    }

    /// What was sent, received and refused.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.state.counters
    }

    /// The limits this endpoint was made with.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.state.limits
    }

    /// The directory.
    pub fn directory(&self) -> impl Iterator<Item = &RelayEntry> {
        self.memory.relays().iter().filter(|slot| !slot.removed).filter_map(RelaySlot::entry)
    }

    /// Tells the time before a command, where long may have passed since the last call that did:
    /// what a command begins is timed from then on.
    pub fn set_now(&mut self, now: Instant) {
        self.state.now = self.state.now.max(now);
    }

    /// Connects to a peer over its route, in binary or text form. For a peer that is connected
    /// already this is `update_peer`.
    ///
    /// # Errors
    /// [`ConnectError`]; nothing has happened then.
    pub fn connect_peer(&mut self, peer: PeerId, route: &[u8]) -> Result<(), ConnectError> {
        let route = self.checked_route(peer, route)?;
        self.connect(peer, route, None)
    }

    /// Adds the invite's relays to the directory and connects to its sender, who need not know
    /// of us before. Returns whom the invite is from.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub fn accept_invite(&mut self, invite: &Invite) -> Result<PeerId, ConnectError> {
        let route = invite.route().clone();
        let hash = C::sha256(&[&route.public_key.0]);
        let peer = PeerId::from_key_hash(&hash);
        self.check_route(peer, &hash, &route)?;
        if route.relays().is_empty() {
            return Err(ConnectError::NoRelay);
        }
        for entry in invite.entries() {
            let relay = self.learn_relay(entry).map_err(ConnectError::Relay)?;
            self.memory.relays_mut()[usize::from(relay.0)].stays = true;
        }
        self.check_relays(&route)?;
        self.connect(peer, route, Some(invite.secret().0))?;
        Ok(peer)
    }

    /// Takes a peer's new route. An older or equal one changes nothing, nor does one's own, nor
    /// one of a peer who has just left.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub fn update_peer(&mut self, peer: PeerId, route: &[u8]) -> Result<(), ConnectError> {
        if peer == self.state.me {
            return Ok(());
        }
        let route = self.checked_route(peer, route)?;
        let Some(slot) = self.live(peer) else {
            return if self.has_left(peer) { Ok(()) } else { Err(ConnectError::UnknownPeer) };
        };
        self.with_peer(slot, |peer, context| {
            if !peer.update_route(context, route) {
                context.counters.refuse(Refusal::StaleRoute);
            }
        });
        Ok(())
    }

    /// Opens a channel: from now on its messages are taken. It carries data once the other side has
    /// opened it with the same reliability. `options` may be just a
    /// [`Reliability`](crate::id::Reliability). Opening again with the same reliability is fine, and
    /// changes the other options.
    ///
    /// # Errors
    /// [`OpenChannelError`].
    pub fn open_channel(
        &mut self,
        peer: PeerId,
        channel: ChannelId,
        options: impl Into<ChannelOptions>,
    ) -> Result<(), OpenChannelError> {
        let options = options.into();
        let Some(slot) = self.live(peer) else {
            return self.gone(peer, OpenChannelError::UnknownPeer);
        };
        self.with_peer(slot, |peer, context| {
            peer.channels().open(&mut context.pools, channel, options)
        })
        .map_err(OpenChannelError::from)
    }

    /// Queues a message. Nothing is sent until [`flush`](Self::flush). A peer that has just left
    /// swallows it.
    ///
    /// # Errors
    /// [`SendError`]; `Full` is an answer, and [`Event::Writable`] follows.
    pub fn send_message(
        &mut self,
        peer: PeerId,
        channel: ChannelId,
        data: &[u8],
    ) -> Result<(), SendError> {
        self.send(peer, channel, data, None)
    }

    /// As [`send_message`](Self::send_message) on an unreliable channel, for what is of no use
    /// later: what has not left `within` this time from now is dropped, counted (`expired`), and
    /// delays nothing.
    ///
    /// # Errors
    /// [`SendError`].
    pub fn send_message_expiring(
        &mut self,
        peer: PeerId,
        channel: ChannelId,
        data: &[u8],
        within: Duration,
    ) -> Result<(), SendError> {
        self.send(peer, channel, data, Some(self.state.now + within))
    }

    fn send(
        &mut self,
        peer: PeerId,
        channel: ChannelId,
        data: &[u8],
        deadline: Option<Instant>,
    ) -> Result<(), SendError> {
        let Some(slot) = self.live(peer) else { return self.gone(peer, SendError::UnknownPeer) };
        let parts::Parts { peers, unflushed, context, .. } = self.parts();
        let now = context.now;
        if peers[slot].channels().append(context.pools, channel, data, now, deadline) {
            unflushed.push(peers, slot);
            return Ok(());
        }
        self.send_slowly(slot, channel, data, deadline)
    }

    #[inline(never)]
    fn send_slowly(
        &mut self,
        slot: usize,
        channel: ChannelId,
        data: &[u8],
        deadline: Option<Instant>,
    ) -> Result<(), SendError> {
        let mut parts = self.parts();
        let channels = parts.peers[slot].channels();
        let (now, pools) = (parts.context.now, &mut parts.context.pools);
        let sent = channels.send(pools, channel, data, now, deadline);
        match sent {
            Ok(()) => parts.unflushed.push(parts.peers, slot),
            // A channel that is full may have room again without anything arriving.
            Err(_) => parts.refresh(slot),
        }
        sent.map_err(SendError::from)
    }

    /// Closes a channel on both sides, once what was queued on it has arrived.
    ///
    /// # Errors
    /// [`CloseChannelError`].
    pub fn close_channel(
        &mut self,
        peer: PeerId,
        channel: ChannelId,
    ) -> Result<(), CloseChannelError> {
        let Some(slot) = self.live(peer) else {
            return self.gone(peer, CloseChannelError::UnknownPeer);
        };
        self.with_peer(slot, |peer, context| peer.channels().close(&mut context.pools, channel))
            .map_err(CloseChannelError::from)
    }

    /// Ends the connection with a peer: what is flushed and fits is sent, then the peer is told.
    ///
    /// # Errors
    /// [`UnknownPeer`].
    pub fn disconnect_peer(&mut self, peer: PeerId) -> Result<(), UnknownPeer> {
        // Also one that has left without the application knowing: it is not told any more.
        let Some(slot) = self.find(peer) else { return self.gone(peer, UnknownPeer) };
        self.with_peer(slot, |peer, context| peer.part(context, WireReason::Application));
        self.remember_left(peer);
        self.tidy(slot);
        Ok(())
    }

    /// Lets everything queued so far leave with the next [`poll_transmit`](Self::poll_transmit).
    pub fn flush(&mut self) {
        let mut parts = self.parts();
        while let Some(slot) = parts.unflushed.pop(parts.peers) {
            parts.peers[slot].channels().flush(&mut parts.context.pools);
            // Whether something may leave is asked where it would.
            parts.transmit.push(parts.peers, slot);
        }
    }

    /// With a secret, strangers who know it may ask to connect ([`Event::PeerRequest`]); with
    /// `None`, the default, they are not heard.
    pub fn set_accept_requests(&mut self, secret: Option<InviteSecret>) {
        self.state.accept_requests = secret;
    }

    /// Shows relays this token from now on. Sessions are renewed with it at once, and stay what they
    /// are; where a session was refused it is asked for again.
    pub fn set_token(&mut self, token: Option<Token>) {
        self.state.token = token;
        let now = self.state.now;
        let mut parts = self.parts();
        for slot in parts.context.relays.iter_mut() {
            slot.show_token(now, parts.context.crypto);
        }
    }

    /// Says what is wanted of a relay of the directory; what follows is make before break.
    ///
    /// # Errors
    /// [`UnknownRelay`].
    pub fn set_relay_policy(
        &mut self,
        relay: RelayId,
        policy: RelayPolicy,
    ) -> Result<(), UnknownRelay> {
        let index = self.find_relay(relay).ok_or(UnknownRelay)?;
        self.set_policy(index, policy);
        Ok(())
    }

    /// Prefers one relay of the directory to all others ([`RelayPolicy::Prefer`], and to none else):
    /// the route names it first as soon as a session there is established, and connected peers
    /// follow without a gap.
    ///
    /// # Errors
    /// [`UnknownRelay`].
    pub fn set_home(&mut self, relay: RelayId) -> Result<(), UnknownRelay> {
        let index = self.find_relay(relay).ok_or(UnknownRelay)?;
        self.prefer_home(index);
        Ok(())
    }

    /// Asks for another session id at every relay, so that whoever noted the old one loses track.
    pub fn rotate_session(&mut self) {
        let now = self.state.now;
        let mut parts = self.parts();
        for slot in parts.context.relays.iter_mut().filter(|slot| slot.is_wanted()) {
            slot.rotate(now, parts.context.crypto);
        }
    }

    /// The system says that the network changed: every session is asked for again at once.
    pub fn network_changed(&mut self) {
        let now = self.state.now;
        let mut parts = self.parts();
        for slot in parts.context.relays.iter_mut() {
            slot.restart(now, parts.context.crypto);
        }
        for peer in parts.peers.iter_mut() {
            peer.on_network_changed();
        }
        self.measure_anew();
    }

    /// Takes leave: disconnects every peer and unbinds at every relay. What remains is to
    /// [`poll_transmit`](Self::poll_transmit) until there is nothing.
    pub fn shutdown(&mut self) {
        let slots = self.memory.peers().len();
        for slot in 0..slots {
            self.with_peer(slot, |peer, context| {
                peer.part(context, WireReason::ShuttingDown);
            });
        }
        self.state.home = Home::default();
        self.state.fleet.stop();
        for relay in self.parts().context.relays.iter_mut() {
            relay.shut_down();
        }
    }

    fn find_relay(&self, id: RelayId) -> Option<RelayIndex> {
        let known = |slot: &RelaySlot<C>| slot.id() == Some(id) && !slot.removed;
        Some(RelayIndex(self.memory.relays().iter().position(known)? as u8))
    }

    fn connect(
        &mut self,
        peer: PeerId,
        route: Route,
        invite_secret: Option<[u8; 16]>,
    ) -> Result<(), ConnectError> {
        if let Some(slot) = self.find(peer) {
            if self.memory.peers()[slot].is_live() {
                self.with_peer(slot, |peer, context| peer.update_route(context, route));
                return Ok(());
            }
            // On its way out: the application wants it afresh.
            self.free(slot);
        }
        let agreed = self.state.identity.agree::<C>(&route.public_key);
        let pair_secret = agreed.ok_or(ConnectError::Route(RouteError::KeyMismatch))?;
        let slot = self.free_slot().ok_or(ConnectError::Full)?;
        let parts = self.parts();
        index::insert(parts.index, peer, slot);
        self.with_peer(slot, |free, context| {
            free.connect(context, Wanted { id: peer, pair_secret, route, invite_secret });
            free.handle_timeout(context);
        });
        self.answer_request(peer, slot);
        Ok(())
    }

    fn checked_route(&self, peer: PeerId, route: &[u8]) -> Result<Route, ConnectError> {
        let route = Route::decode(route).map_err(ConnectError::Route)?;
        self.check_route(peer, &C::sha256(&[&route.public_key.0]), &route)?;
        self.check_relays(&route)?;
        Ok(route)
    }

    fn check_route(
        &self,
        peer: PeerId,
        key_hash: &[u8; 32],
        route: &Route,
    ) -> Result<(), ConnectError> {
        let settings = &self.state.settings;
        route
            .check(peer, key_hash, settings.application, settings.suites)
            .map_err(ConnectError::Route)?;
        if peer == self.state.me { Err(ConnectError::OwnRoute) } else { Ok(()) }
    }

    fn check_relays(&self, route: &Route) -> Result<(), ConnectError> {
        if route.relays().is_empty() {
            return Err(ConnectError::NoRelay);
        }
        let known = |entry: &RouteRelay| {
            let usable = |slot: &RelaySlot<C>| slot.is_usable() && slot.id() == Some(entry.relay);
            self.memory.relays().iter().any(usable)
        };
        if route.relays().iter().any(known) { Ok(()) } else { Err(ConnectError::UnknownRelay) }
    }
}
