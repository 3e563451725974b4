//! One player of a world: an endpoint, the address its datagrams come from, and what drives it.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::VecDeque;

use waylane_core::crypto::Secret;
use waylane_core::endpoint::{
    Config, ConnectionQuality, DisconnectReason, Event, RelayLostReason, RelayRefusedReason,
};
use waylane_core::id::{ChannelId, PeerId, RelayId};
use waylane_core::memory::Lender;
use waylane_core::route::Route;
use waylane_core::time::Instant;

use crate::crypto::SeededCrypto;
use crate::world::RelayNo;

/// The endpoint of a world's player.
pub type Endpoint = waylane_core::endpoint::Endpoint<SeededCrypto, Heap>;

/// What runs a player's game: called with everything heard, and once a frame where there are
/// frames. It drains `heard`, or leaves it for [`World::take_heard`](crate::World::take_heard).
pub type App = Box<dyn FnMut(&mut Hand<'_>)>;

/// What an [`App`] can touch.
pub struct Hand<'a> {
    /// The present moment.
    pub now: Instant,
    /// The player's endpoint.
    pub endpoint: &'a mut Endpoint,
    /// Events nobody has taken yet, oldest first.
    pub heard: &'a mut Vec<Heard>,
    /// When the app wants its next turn though nothing may be heard till then: at every turn
    /// [`Instant::FAR`], never. Where frames drive the player it has its turn each frame anyway.
    pub wakes_at: &'a mut Instant,
}

/// What drives an endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Driving {
    /// At every datagram and every deadline, at once.
    Events,
    /// Once every so often, as a game does: receive, events, application, flush, send.
    Frames(Duration),
    /// Not at all: a level loads, datagrams wait in the socket's buffer while it has room.
    Frozen,
}

/// 60 frames a second.
pub const FRAME: Duration = Duration::from_micros(16_667);

/// Which kind of address a player has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    /// 198.18.0.0/16 (RFC 2544).
    V4,
    /// 2001:db8::/33 (RFC 3849).
    V6,
}

/// What a player is at start.
#[derive(Clone, Debug)]
pub struct PlayerSetup {
    /// The endpoint's configuration; without an identity the world's seed gives one.
    pub config: Config,
    /// The relays in its directory, home first.
    pub directory: Vec<RelayNo>,
    /// Relays it may be told of later, and then send to.
    pub learns: Vec<RelayNo>,
    /// Its kind of address.
    pub family: Family,
    /// What drives it.
    pub driving: Driving,
}

/// An event with its bytes, kept until somebody looks.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Heard {
    /// [`Event::Message`]
    Message(PeerId, ChannelId, Vec<u8>),
    /// [`Event::RouteUpdate`]
    RouteUpdate(Route),
    /// [`Event::PeerConnected`]
    PeerConnected(PeerId),
    /// [`Event::PeerDisconnected`]
    PeerDisconnected(PeerId, DisconnectReason),
    /// [`Event::PeerRequest`]
    PeerRequest(PeerId, Route),
    /// [`Event::ChannelOpened`]
    ChannelOpened(PeerId, ChannelId),
    /// [`Event::ChannelClosed`]
    ChannelClosed(PeerId, ChannelId),
    /// [`Event::ChannelMismatch`]
    ChannelMismatch(PeerId, ChannelId),
    /// [`Event::Writable`]
    Writable(PeerId, ChannelId),
    /// [`Event::RelayConnected`]
    RelayConnected(RelayId),
    /// [`Event::RelayLost`]
    RelayLost(RelayId, RelayLostReason),
    /// [`Event::RelayRefused`]
    RelayRefused(RelayId, RelayRefusedReason),
    /// [`Event::RelayDraining`]
    RelayDraining(RelayId, u16),
    /// [`Event::DirectoryUpdate`]
    DirectoryUpdate(u64),
    /// An event this version of the simulation does not know.
    Other(String),
}

impl Heard {
    /// The channel and bytes, if this is a message.
    #[must_use]
    pub fn message(&self) -> Option<(ChannelId, &[u8])> {
        if let Self::Message(_, channel, data) = self { Some((*channel, data)) } else { None }
    }
}

impl From<Event<'_>> for Heard {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Message { peer, channel, payload } => {
                let mut data = vec![0; payload.len()];
                let copied = payload.copy_to(&mut data);
                assert_eq!(copied, data.len(), "a payload has the length it says");
                Self::Message(peer, channel, data)
            }
            Event::RouteUpdate { route } => Self::RouteUpdate(route),
            Event::PeerConnected { peer } => Self::PeerConnected(peer),
            Event::PeerDisconnected { peer, reason } => Self::PeerDisconnected(peer, reason),
            Event::PeerRequest { peer, route } => Self::PeerRequest(peer, route),
            Event::ChannelOpened { peer, channel } => Self::ChannelOpened(peer, channel),
            Event::ChannelClosed { peer, channel } => Self::ChannelClosed(peer, channel),
            Event::ChannelMismatch { peer, channel } => Self::ChannelMismatch(peer, channel),
            Event::Writable { peer, channel } => Self::Writable(peer, channel),
            Event::RelayConnected { relay } => Self::RelayConnected(relay),
            Event::RelayLost { relay, reason } => Self::RelayLost(relay, reason),
            Event::RelayRefused { relay, reason } => Self::RelayRefused(relay, reason),
            Event::RelayDraining { relay, left } => Self::RelayDraining(relay, left),
            Event::DirectoryUpdate { sequence } => Self::DirectoryUpdate(sequence),
            other @ (Event::ConnectionQuality { .. } | _) => Self::Other(format!("{other:?}")),
        }
    }
}

/// Lends from the heap.
#[derive(Clone, Copy, Default, Debug)]
pub struct Heap;

impl Lender for Heap {
    type Slice<T> = Box<[T]>;

    fn lend<T>(&mut self, len: usize, make: fn() -> T) -> Box<[T]> {
        (0..len).map(|_| make()).collect()
    }
}

/// A player as the world keeps it.
pub(crate) struct Player {
    pub(crate) setup: PlayerSetup,
    pub(crate) identity: Secret,
    /// `None` while the player's program does not run.
    pub(crate) endpoint: Option<Endpoint>,
    pub(crate) address: SocketAddr,
    pub(crate) socket: Socket,
    pub(crate) heard: Vec<Heard>,
    pub(crate) qualities: Vec<(PeerId, ConnectionQuality)>,
    pub(crate) app: Option<App>,
    pub(crate) app_wakes_at: Instant,
    /// After what silence a NAT forgets the address.
    pub(crate) nat: Option<Duration>,
    pub(crate) sent_at: Instant,
    /// Counts re-plannings; a wake-up planned under an older count means nothing any more.
    pub(crate) plan: u64,
    pub(crate) planned_at: Instant,
}

impl Player {
    pub(crate) fn has_nat_forgotten(&self, now: Instant) -> bool {
        self.nat.is_some_and(|forgets_after| now > self.sent_at + forgets_after)
    }
}

/// The buffer in which datagrams wait for a player that polls by frame.
#[derive(Default)]
pub(crate) struct Socket {
    waiting: VecDeque<(Instant, SocketAddr, Vec<u8>)>,
    bytes: usize,
    pub(crate) overflowed: u64,
}

impl Socket {
    pub(crate) fn push(&mut self, now: Instant, from: SocketAddr, bytes: Vec<u8>) {
        if self.bytes + bytes.len() > SOCKET_BUFFER {
            self.overflowed += 1;
        } else {
            self.bytes += bytes.len();
            self.waiting.push_back((now, from, bytes));
        }
    }

    /// The oldest datagram, and when it arrived.
    pub(crate) fn pop(&mut self) -> Option<(Instant, SocketAddr, Vec<u8>)> {
        let (arrived, from, bytes) = self.waiting.pop_front()?;
        self.bytes -= bytes.len();
        Some((arrived, from, bytes))
    }

    pub(crate) fn clear(&mut self) {
        self.waiting.clear();
        self.bytes = 0;
    }
}

/// A generous operating system's receive buffer.
const SOCKET_BUFFER: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_keeps_order_and_overflows_by_counting() {
        let mut socket = Socket::default();
        let from = "198.18.0.1:1".parse().unwrap();
        for n in 0..1500u16 {
            socket.push(Instant::from_millis(n.into()), from, vec![n as u8; 1000]);
        }
        assert_eq!(socket.overflowed, 1500 - SOCKET_BUFFER as u64 / 1000);
        for n in 0..2 {
            let (arrived, _, bytes) = socket.pop().unwrap();
            assert_eq!((arrived, bytes[0]), (Instant::from_millis(n), n as u8));
        }
    }
}
