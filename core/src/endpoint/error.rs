//! What can go wrong with a command, and whose fault it is.

use core::fmt;

use crate::channel;
use crate::fleet::SignedDirectoryError;
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

/// Why a signed list of relays was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SetDirectoryError {
    /// There is no `fleet_key` in the configuration.
    NoFleetKey,
    /// It is no such list.
    List(SignedDirectoryError),
    /// Another key than `fleet_key` signed it, or it was changed.
    Signature,
    /// It does not fit: it names more than `limits.relays` relays.
    TooLarge,
}

impl fmt::Display for SetDirectoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFleetKey => f.write_str(
                "whose signed list is to be believed is not known; set fleet_key in the configuration",
            ),
            Self::List(error) => error.fmt(f),
            Self::Signature => f.write_str(
                "the signed list was changed, or fleet_key is not the key that it was signed with",
            ),
            Self::TooLarge => f.write_str(
                "the signed list names more relays than there is room for; raise limits.relays",
            ),
        }
    }
}

impl core::error::Error for SetDirectoryError {}

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

/// Why a channel was not opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum OpenChannelError {
    /// There is no such peer: `connect_peer` comes first.
    UnknownPeer,
    /// The application has it open with the other reliability.
    AlreadyOpenOtherwise,
    /// There is no memory for another channel now.
    Full,
    /// The options have a weight of 0.
    Weight,
    /// The options have a redundancy above 3.
    Redundancy,
}

impl From<channel::OpenChannelError> for OpenChannelError {
    fn from(error: channel::OpenChannelError) -> Self {
        match error {
            channel::OpenChannelError::AlreadyOpenOtherwise => Self::AlreadyOpenOtherwise,
            channel::OpenChannelError::Full => Self::Full,
            channel::OpenChannelError::Weight => Self::Weight,
            channel::OpenChannelError::Redundancy => Self::Redundancy,
        }
    }
}

impl fmt::Display for OpenChannelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownPeer => UnknownPeer.fmt(f),
            Self::Weight => channel::OpenChannelError::Weight.fmt(f),
            Self::Redundancy => channel::OpenChannelError::Redundancy.fmt(f),
            Self::AlreadyOpenOtherwise => {
                f.write_str("the channel is open with the other reliability; close it first")
            }
            Self::Full => f.write_str(
                "no memory for another channel; close one, or raise limits.channels.slots",
            ),
        }
    }
}

impl core::error::Error for OpenChannelError {}

/// Why a channel was not closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum CloseChannelError {
    /// There is no such peer: `connect_peer` comes first.
    UnknownPeer,
    /// The application has not opened it.
    NotOpen,
}

impl From<channel::CloseChannelError> for CloseChannelError {
    fn from(error: channel::CloseChannelError) -> Self {
        match error {
            channel::CloseChannelError::NotOpen => Self::NotOpen,
        }
    }
}

impl fmt::Display for CloseChannelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownPeer => UnknownPeer.fmt(f),
            Self::NotOpen => f.write_str("the channel is not open; there is nothing to close"),
        }
    }
}

impl core::error::Error for CloseChannelError {}

/// Why a message was not queued.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SendError {
    /// There is no such peer: `connect_peer` comes first.
    UnknownPeer,
    /// The application has not opened the channel.
    NotOpen,
    /// There is no room for it now; `Writable` follows when there is.
    Full {
        /// The largest message that there is room for.
        room: usize,
    },
    /// No message of this size is ever sent on this channel.
    TooLarge {
        /// The largest that is.
        max: usize,
    },
    /// It was to expire, and the channel is reliable.
    CannotExpire,
}

impl From<channel::SendError> for SendError {
    fn from(error: channel::SendError) -> Self {
        match error {
            channel::SendError::NotOpen => Self::NotOpen,
            channel::SendError::Full { room } => Self::Full { room },
            channel::SendError::TooLarge { max } => Self::TooLarge { max },
            channel::SendError::CannotExpire => Self::CannotExpire,
        }
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownPeer => UnknownPeer.fmt(f),
            Self::NotOpen => f.write_str("the channel is not open; call open_channel first"),
            Self::Full { room } => {
                write!(f, "the queue has room for {room} bytes only; wait for Writable")
            }
            Self::CannotExpire => f.write_str(
                "reliable messages do not expire; use send_message, or an unreliable channel",
            ),
            Self::TooLarge { max } => {
                write!(
                    f,
                    "messages may have {max} bytes at most; send it in parts, or raise limits"
                )
            }
        }
    }
}

impl core::error::Error for SendError {}
