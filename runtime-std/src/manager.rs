//! The manager: every verb of the reference, and the getters.

use core::fmt;
use core::time::Duration;

use waylane_core::channel::{ChannelOptions, ChannelQueue};
use waylane_core::crypto::Crypto as _;
use waylane_core::directory::RelayEntry;
use waylane_core::endpoint::{
    AddRelayError, CloseChannelError, ConnectError, Counters, Endpoint, OpenChannelError,
    RelayPolicy, RelayStatus, SendError, SetDirectoryError, Transmit, UnknownPeer, UnknownRelay,
};
use waylane_core::fleet::SignedDirectory;
use waylane_core::id::{ChannelId, PeerId, RelayId};
use waylane_core::invite::{Invite, InviteSecret};
use waylane_core::time::Instant;
use waylane_core::token::Token;
use waylane_crypto::ring::Ring;

use crate::clock::Clock;
use crate::config::{Config, StartError};
use crate::directory::{Contents, DirectoryFile, DirectoryFileError};
use crate::emulation::EmulatedLink;
use crate::heap::Heap;
use crate::invite::{AcceptInviteError, MakeInviteError, make_invite};
use crate::meter::Meters;
use crate::route::Route;
use crate::socket::{DATAGRAM_MAX, SEGMENTS_MAX, SocketError, Sockets};
use crate::stats::{Stats, Traffic};

/// Data from player to player, through relays: connections, channels and messages over
/// non-blocking UDP sockets.
///
/// Call [`run_callbacks`](Self::run_callbacks) at the start of the frame and
/// [`flush`](Self::flush) at its end. Nothing blocks, there is no hidden thread, and memory does
/// not grow after the start. Dropping the manager tells its peers and relays so, as far as the
/// sockets take it at once.
///
/// Peers are numbers, as [`peer_id`](Self::peer_id) gives them; routes are taken as bytes or as
/// text, whatever they travelled as.
pub struct NetworkManager {
    pub(crate) endpoint: Endpoint<Ring, Heap>,
    pub(crate) clock: Clock,
    pub(crate) sockets: Sockets,
    /// When the sockets were last found empty.
    pub(crate) looked_at: Instant,
    /// What is being sent is written here.
    pub(crate) out: Box<[u8]>,
    /// What in `out` the socket has not taken yet.
    pub(crate) pending: Option<Transmit>,
    /// What was written behind that, and does not go with it.
    pub(crate) behind: Option<Transmit>,
    pub(crate) outgoing: Option<EmulatedLink>,
    pub(crate) incoming: Option<EmulatedLink>,
    /// A message is made one piece here; gone while a callback runs.
    pub(crate) message: Option<Box<[u8]>>,
    pub(crate) meters: Meters,
    pub(crate) directory_file: Option<DirectoryFile>,
    /// The relays that are in the directory because of the file.
    from_file: Vec<RelayId>,
    invite_secret: Option<InviteSecret>,
    /// The signed list for whose relays sockets are open.
    listed: Option<u64>,
}

impl NetworkManager {
    /// A manager that binds at its relays as soon as it is run.
    ///
    /// # Errors
    /// A value in `config` cannot be used, or the system gives no socket. Nothing has been sent.
    pub fn new(config: Config) -> Result<Self, StartError> {
        config.check()?;
        let clock = Clock::new();
        let endpoint = Endpoint::new(clock.now(), &config.to_core(), Ring::new(), &mut Heap)
            .map_err(StartError::Config)?;
        let sockets =
            Sockets::new(config.binding()).map_err(|error| StartError::System(error.kind()))?;
        let channels = config.limits.channels;
        let largest = channels.message_reliable_max.max(channels.message_unreliable_max);
        let mut manager = Self {
            endpoint,
            clock,
            looked_at: clock.now(),
            sockets,
            out: vec![0; SEGMENTS_MAX * DATAGRAM_MAX].into_boxed_slice(),
            pending: None,
            behind: None,
            outgoing: config.outgoing.map(EmulatedLink::new),
            incoming: config.incoming.map(EmulatedLink::new),
            message: Some(vec![0; largest as usize].into_boxed_slice()),
            meters: Meters::new(config.limits.peers.into()),
            directory_file: None,
            from_file: Vec::new(),
            invite_secret: None,
            listed: None,
        };
        let mut directory = config.directory;
        let mut signed = None;
        if let Some(path) = config.directory_file {
            let (file, contents) =
                DirectoryFile::open(path, clock.now()).map_err(StartError::DirectoryFile)?;
            manager.directory_file = Some(file);
            match contents {
                Contents::Entries(entries) => {
                    manager.from_file = entries.iter().map(id_of).collect();
                    directory.extend(entries);
                }
                Contents::Signed(list) => signed = Some(list),
            }
        }
        let mut no_socket = None;
        let mut reachable = directory.is_empty();
        for entry in directory {
            match manager.learn_relay(&entry).map_err(StartError::Relay)? {
                Ok(()) => reachable = true,
                Err(error) => no_socket = Some(error),
            }
        }
        if let Some(list) = signed {
            let taken = manager.endpoint.set_signed_directory(list.as_bytes());
            taken.map_err(|error| StartError::DirectoryFile(DirectoryFileError::Signed(error)))?;
            match manager.open_listed() {
                Ok(()) => reachable = true,
                Err(error) => no_socket = Some(error),
            }
        }
        match no_socket {
            Some(error) if !reachable => Err(StartError::Socket(error)),
            _ => Ok(manager),
        }
    }

    /// The number other players connect to (GetPeerId); it comes from the public key.
    #[must_use]
    pub fn peer_id(&self) -> u64 {
        self.endpoint.peer_id().get()
    }

    /// The player's public key.
    #[must_use]
    pub fn public_key(&self) -> [u8; 32] {
        self.endpoint.public_key().0
    }

    /// Where this player can be reached; `None` until there is a session at the home relay, when
    /// [`Event::RouteUpdate`](crate::Event::RouteUpdate) comes too.
    #[must_use]
    pub fn route(&self) -> Option<Route> {
        self.endpoint.route().map(Route::of)
    }

    /// The relay this player is reached at.
    #[must_use]
    pub fn home(&self) -> Option<RelayId> {
        self.endpoint.home()
    }

    /// The directory's relays, and how things stand with each.
    pub fn relays(&self) -> impl Iterator<Item = RelayStatus<'_>> {
        self.endpoint.relays()
    }

    /// How the connection with a peer does; `None` if there is none.
    #[must_use]
    pub fn stats(&self, peer: u64) -> Option<Stats> {
        let peer = PeerId::new(peer)?;
        self.endpoint.peer_stats(peer).map(|stats| Stats::of(&stats, self.meters.rate(peer)))
    }

    /// What this client has sent and received in all, relays and every peer included.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        Traffic::of(self.endpoint.counters())
    }

    /// What was refused and why.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        self.endpoint.counters()
    }

    /// Opens a connection to another player (ConnectPeer), whose route is published or was handed
    /// on with a request. For a player already connected to, the same as
    /// [`update_peer`](Self::update_peer).
    ///
    /// # Errors
    /// Says what is wrong with the id, the route, or the relays it names; nothing has been sent.
    pub fn connect_peer(&mut self, peer: u64, route: impl AsRef<[u8]>) -> Result<(), ConnectError> {
        let peer = peer_of_route(peer)?;
        self.timed().connect_peer(peer, route.as_ref())?;
        self.meters.add(peer);
        Ok(())
    }

    /// Tells where a player is reached now (UpdatePeer): call it with every route they publish.
    /// One's own id is fine, and so is a player who has just left.
    ///
    /// # Errors
    /// As [`connect_peer`](Self::connect_peer).
    pub fn update_peer(&mut self, peer: u64, route: impl AsRef<[u8]>) -> Result<(), ConnectError> {
        let peer = peer_of_route(peer)?;
        self.timed().update_peer(peer, route.as_ref())
    }

    /// Opens a channel to a player (OpenChannel). Data flows once they have opened the same number
    /// with the same reliability. `options` may be just a [`Reliability`](crate::Reliability).
    /// Opening again with the same reliability is fine, and changes the other options.
    ///
    /// # Errors
    /// The player is unknown, or the channel cannot be had.
    pub fn open_channel(
        &mut self,
        peer: u64,
        channel: u8,
        options: impl Into<ChannelOptions>,
    ) -> Result<(), OpenChannelError> {
        let peer = PeerId::new(peer).ok_or(OpenChannelError::UnknownPeer)?;
        self.endpoint.open_channel(peer, ChannelId(channel), options)
    }

    /// Queues a message on an open channel (SendMessage); nothing leaves before
    /// [`flush`](Self::flush). To a player who has just left it is dropped, without an error.
    ///
    /// # Errors
    /// `Full` is an answer, not an accident: the channel's queue has no room for the message until
    /// [`Event::Writable`](crate::Event::Writable). Otherwise the player or the channel is unknown
    /// or the message too large.
    pub fn send_message(&mut self, peer: u64, channel: u8, data: &[u8]) -> Result<(), SendError> {
        let peer = PeerId::new(peer).ok_or(SendError::UnknownPeer)?;
        self.endpoint.send_message(peer, ChannelId(channel), data)
    }

    /// As [`send_message`](Self::send_message) on an unreliable channel, for what is of no use
    /// later: what has not left `within` this time is dropped, and delays nothing.
    ///
    /// # Errors
    /// As `send_message`; `CannotExpire` on a reliable channel.
    pub fn send_message_expiring(
        &mut self,
        peer: u64,
        channel: u8,
        data: &[u8],
        within: Duration,
    ) -> Result<(), SendError> {
        let peer = PeerId::new(peer).ok_or(SendError::UnknownPeer)?;
        self.timed().send_message_expiring(peer, ChannelId(channel), data, within)
    }

    /// What is queued on a channel and for how long; `None` if the player is unknown or the channel
    /// not open.
    #[must_use]
    pub fn channel_queue(&self, peer: u64, channel: u8) -> Option<ChannelQueue> {
        self.endpoint.channel_queue(PeerId::new(peer)?, ChannelId(channel))
    }

    /// Closes a channel (CloseChannel) after what is queued on it; the number can be opened again.
    ///
    /// # Errors
    /// The player or the channel is unknown.
    pub fn close_channel(&mut self, peer: u64, channel: u8) -> Result<(), CloseChannelError> {
        let peer = PeerId::new(peer).ok_or(CloseChannelError::UnknownPeer)?;
        self.endpoint.close_channel(peer, ChannelId(channel))
    }

    /// Ends the connection with a player (DisconnectPeer). What is not sent yet is forgotten, no
    /// event follows. Twice is fine.
    ///
    /// # Errors
    /// The player is unknown.
    pub fn disconnect_peer(&mut self, peer: u64) -> Result<(), UnknownPeer> {
        let peer = PeerId::new(peer).ok_or(UnknownPeer)?;
        self.timed().disconnect_peer(peer)?;
        self.meters.remove(peer);
        Ok(())
    }

    /// Asks the home relay for another session id: a new route follows, and old ones lead nowhere.
    pub fn rotate_session(&mut self) {
        self.timed().rotate_session();
    }

    /// Shows relays another token from now on: sessions are renewed with it at once and stay what
    /// they are, and where a session was refused it is asked for again.
    pub fn set_token(&mut self, token: Option<Token>) {
        self.timed().set_token(token);
    }

    /// The machine is on another network: opens new sockets and takes up every session from there.
    ///
    /// # Errors
    /// The system gives no socket. It is asked again whenever something is to be sent.
    pub fn network_changed(&mut self) -> Result<(), SocketError> {
        // What one socket would not take is not for another: it is lost, as on any changing network.
        self.pending = None;
        self.behind = None;
        self.timed().network_changed();
        self.sockets.reopen()
    }

    /// Adds a relay to the directory, which makes it trusted.
    ///
    /// # Errors
    /// The directory is full, or has the relay otherwise.
    pub fn add_relay(&mut self, entry: &RelayEntry) -> Result<(), AddRelayError> {
        // Without a socket of its address family the relay is silent, which an event tells.
        self.learn_relay(entry).map(|_socket| ())
    }

    /// Takes a relay out of the directory: it is left, by connections too.
    ///
    /// # Errors
    /// The directory does not hold it.
    pub fn remove_relay(&mut self, relay: RelayId) -> Result<(), UnknownRelay> {
        self.timed().remove_relay(relay)
    }

    /// Takes a list of relays that the operator has signed (see
    /// [`Config::fleet_key`](crate::Config::fleet_key)), as bytes or as text: the directory is what
    /// it says from now on. Relays that it does not name are left, without a gap, once one serves
    /// that it names; relays that this application has added since the first list, and those of
    /// invites, stay. Answers whether it was newer than the list in force; an older one changes
    /// nothing.
    ///
    /// # Errors
    /// It is not signed with that key, or no list, or names more relays than there is room for.
    pub fn set_signed_directory(
        &mut self,
        list: impl AsRef<[u8]>,
    ) -> Result<bool, SetDirectoryError> {
        let taken = self.timed().set_signed_directory(list.as_ref())?;
        // Without a socket of its address family a relay is silent, which an event tells.
        self.open_listed().unwrap_or(());
        Ok(taken)
    }

    /// The signed list in force, to be kept for the next start; `None` if there is none.
    #[must_use]
    pub fn signed_directory(&self) -> Option<SignedDirectory<'_>> {
        self.endpoint.signed_directory()
    }

    /// The relay this player is reached at if the home is not there, once one is chosen.
    #[must_use]
    pub fn standby(&self) -> Option<RelayId> {
        self.endpoint.standby()
    }

    /// Says what is wanted of a relay: that it is preferred, required or never used. What follows is
    /// without a gap. [`relays`](Self::relays) says what was chosen and why.
    ///
    /// # Errors
    /// The directory does not hold it.
    pub fn set_relay_policy(
        &mut self,
        relay: RelayId,
        policy: RelayPolicy,
    ) -> Result<(), UnknownRelay> {
        self.timed().set_relay_policy(relay, policy)
    }

    /// Prefers one relay to all others as the one this player is reached at, without a gap.
    ///
    /// # Errors
    /// The directory does not hold it.
    pub fn set_home(&mut self, relay: RelayId) -> Result<(), UnknownRelay> {
        self.timed().set_home(relay)
    }

    /// Whether strangers who hold an invite may ask to connect, which raises
    /// [`Event::PeerRequest`](crate::Event::PeerRequest). `false`, as at the start, also makes
    /// every invite given out so far worthless.
    pub fn accept_requests(&mut self, yes: bool) {
        if yes {
            self.invite_secret();
        } else {
            self.invite_secret = None;
            self.endpoint.set_accept_requests(None);
        }
    }

    /// One word for another player to pass to [`accept_invite`](Self::accept_invite), and turns
    /// [`accept_requests`](Self::accept_requests) on. Who sees it can knock, so pass it on in
    /// private. It holds the relays' addresses, none of a player's.
    ///
    /// # Errors
    /// There is no route yet.
    pub fn invite(&mut self) -> Result<String, MakeInviteError> {
        let route = self.endpoint.route().ok_or(MakeInviteError::NoRoute)?.clone();
        let secret = self.invite_secret();
        make_invite(self.endpoint.directory(), secret, route)
    }

    /// Connects to the host of an invite and returns its peer id. Adds the invite's relays to the
    /// directory: accepting is trusting them.
    ///
    /// # Errors
    /// Says what is wrong with the invite, or why the host cannot be reached.
    pub fn accept_invite(&mut self, text: &str) -> Result<u64, AcceptInviteError> {
        let invite: Invite = text.trim().parse().map_err(AcceptInviteError::Invite)?;
        let opened = self.open_sockets(invite.entries());
        let peer = self.timed().accept_invite(&invite).map_err(AcceptInviteError::Connect)?;
        opened.map_err(AcceptInviteError::Socket)?;
        self.meters.add(peer);
        Ok(peer.get())
    }

    /// Says goodbye to peers and relays and closes the sockets; the same as dropping the manager.
    pub fn shutdown(self) {}

    /// The endpoint, told the time: for commands that begin something.
    fn timed(&mut self) -> &mut Endpoint<Ring, Heap> {
        self.endpoint.set_now(self.clock.now());
        &mut self.endpoint
    }

    /// The secret in this player's invites, which is also what makes requests acceptable.
    fn invite_secret(&mut self) -> InviteSecret {
        if let Some(secret) = &self.invite_secret {
            return secret.clone();
        }
        let mut secret = InviteSecret([0; 16]);
        Ring::new().random(&mut secret.0);
        self.endpoint.set_accept_requests(Some(secret.clone()));
        self.invite_secret.insert(secret).clone()
    }

    /// Makes the directory what its file says, if that has changed.
    pub(crate) fn reload_directory(&mut self, now: Instant) {
        let Some(file) = &mut self.directory_file else { return };
        let entries = match file.changed(now) {
            Some(Contents::Entries(entries)) => entries,
            Some(Contents::Signed(list)) => return self.reload_signed(&list),
            None => return,
        };
        let ids: Vec<RelayId> = entries.iter().map(id_of).collect();
        for gone in core::mem::take(&mut self.from_file) {
            if !ids.contains(&gone) {
                // One that the application has added meanwhile by itself goes, too: the file is asked.
                self.timed().remove_relay(gone).unwrap_or(());
            }
        }
        for (entry, id) in entries.iter().zip(ids) {
            match self.learn_relay(entry) {
                Ok(_) => self.from_file.push(id),
                Err(error) => {
                    if let Some(file) = &mut self.directory_file {
                        file.error = Some(DirectoryFileError::Relay(error));
                    }
                }
            }
        }
    }

    /// The directory file is a signed list now.
    fn reload_signed(&mut self, list: &str) {
        if let Err(error) = self.set_signed_directory(list) {
            if let Some(file) = &mut self.directory_file {
                file.error = Some(DirectoryFileError::Signed(error));
            }
            return;
        }
        // What the file named before it was one counts no more.
        for gone in core::mem::take(&mut self.from_file) {
            let listed = self.signed_directory().into_iter().flat_map(|list| list.entries());
            if !listed.map(|entry| id_of(&entry)).any(|id| id == gone) {
                self.timed().remove_relay(gone).unwrap_or(());
            }
        }
    }

    /// Opens the sockets that the relays of the signed list are reached from.
    pub(crate) fn open_listed(&mut self) -> Result<(), SocketError> {
        let sequence = self.endpoint.directory_sequence();
        if sequence == self.listed {
            return Ok(());
        }
        self.listed = sequence;
        let entries: Vec<RelayEntry> =
            self.signed_directory().into_iter().flat_map(|list| list.entries()).collect();
        self.open_sockets(&entries)
    }

    /// Adds a relay; the inner result says whether any of its addresses has a socket.
    fn learn_relay(
        &mut self,
        entry: &RelayEntry,
    ) -> Result<Result<(), SocketError>, AddRelayError> {
        self.endpoint.add_relay(entry)?;
        Ok(self.open_sockets(core::slice::from_ref(entry)))
    }

    /// Opens the sockets that these relays are reached from. A machine without one address family
    /// is fine as long as the other serves.
    fn open_sockets(&mut self, entries: &[RelayEntry]) -> Result<(), SocketError> {
        let mut outcome = Ok(());
        let mut any = false;
        for address in entries.iter().flat_map(RelayEntry::addresses) {
            match self.sockets.open_for(*address) {
                Ok(()) => any = true,
                Err(error) => outcome = Err(error),
            }
        }
        if any { Ok(()) } else { outcome }
    }
}

impl Drop for NetworkManager {
    fn drop(&mut self) {
        self.say_goodbye();
    }
}

impl fmt::Debug for NetworkManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NetworkManager").field("peer_id", &self.peer_id()).finish_non_exhaustive()
    }
}

fn id_of(entry: &RelayEntry) -> RelayId {
    RelayId::from_key_hash(&<Ring>::sha256(&[&entry.public_key().0]))
}

/// A number that is no peer id has no route either.
fn peer_of_route(peer: u64) -> Result<PeerId, ConnectError> {
    PeerId::new(peer).ok_or(ConnectError::Route(waylane_core::route::RouteError::KeyMismatch))
}
