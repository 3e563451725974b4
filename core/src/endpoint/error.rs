//! What can go wrong with a command, and whose fault it is.

use core::fmt;

use crate::channel;
use crate::route::RouteError;

/// Why a relay was not added to the directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum AddRelayError {
    /// The directory holds `limits.relays` relays.
    Full,
    /// The entry names no address.
    NoAddress,
}

impl fmt::Display for AddRelayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "the directory is full; raise limits.relays",
            Self::NoAddress => "the directory entry has no address; add one after its key",
        })
    }
}

impl core::error::Error for AddRelayError {}

/// Why a peer was not connected or updated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ConnectError {
    /// The route cannot be used.
    Route(RouteError),
    /// The route names no relay that is in the directory: share a relay, or use an invite.
    UnknownRelay,
    /// The route names no relay: the peer is not bound anywhere yet; ask for its next route.
    NoRelay,
    /// The route is one's own.
    OwnRoute,
    /// `limits.peers` peers are connected.
    Full,
    /// The peer is not one that was connected to.
    UnknownPeer,
    /// A relay of the invite does not fit into the directory.
    Relay(AddRelayError),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Route(error) => error.fmt(f),
            Self::UnknownRelay => f.write_str(
                "the route names no relay of this directory; add the relay's entry, or use an invite",
            ),
            Self::NoRelay => f.write_str("the route names no relay; ask the peer for its next route"),
            Self::OwnRoute => f.write_str("this is one's own peer id; connect to another player's"),
            Self::Full => f.write_str("too many peers; disconnect one, or raise limits.peers"),
            Self::UnknownPeer => f.write_str("no such peer; call connect_peer first"),
            Self::Relay(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for ConnectError {}

/// There is no such peer: `connect_peer` comes first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnknownPeer;

impl fmt::Display for UnknownPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no such peer; call connect_peer first")
    }
}

impl core::error::Error for UnknownPeer {}

/// The relay is not in the directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnknownRelay;

impl fmt::Display for UnknownRelay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the relay is not in the directory; add its entry")
    }
}

impl core::error::Error for UnknownRelay {}

/// Why a command about one channel of one peer did not happen: there is no such peer, or the
/// channel's own reason.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum PeerError<E> {
    /// There is no such peer: `connect_peer` comes first.
    UnknownPeer,
    /// The channel says no.
    Channel(E),
}

impl<E: fmt::Display> fmt::Display for PeerError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownPeer => UnknownPeer.fmt(f),
            Self::Channel(error) => error.fmt(f),
        }
    }
}

impl<E: core::error::Error> core::error::Error for PeerError<E> {}

/// Why a channel was not opened.
pub type OpenChannelError = PeerError<channel::OpenChannelError>;
/// Why a channel was not closed.
pub type CloseChannelError = PeerError<channel::CloseChannelError>;
/// Why a message was not queued.
pub type SendError = PeerError<channel::SendError>;
