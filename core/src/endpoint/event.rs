//! What the endpoint tells the application.

use core::fmt;

use super::ConnectionQuality;
use crate::channel::Payload;
use crate::id::{ChannelId, PeerId, RelayId};
use crate::route::Route;

/// Something happened. Polled with [`Endpoint::poll_event`](super::Endpoint::poll_event).
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A message arrived on a channel that both sides have open. The payload stays where it is
    /// until the next `poll_event`.
    Message {
        /// Who sent it.
        peer: PeerId,
        /// On which channel.
        channel: ChannelId,
        /// The bytes.
        payload: Payload<'a>,
    },
    /// The local player's route changed: publish it, so that others can call `update_peer`.
    RouteUpdate {
        /// The route to publish.
        route: Route,
    },
    /// The handshake with a peer is done; its key is the one in its route.
    PeerConnected {
        /// Who.
        peer: PeerId,
    },
    /// The connection with a peer is over; everything about it is forgotten. Not told of a peer
    /// that this side disconnected.
    PeerDisconnected {
        /// Who.
        peer: PeerId,
        /// Why.
        reason: DisconnectReason,
    },
    /// A signed list of relays that the home had is in force now:
    /// [`signed_directory`](super::Endpoint::signed_directory) gives it, to be kept for the next
    /// start.
    DirectoryUpdate {
        /// Its sequence number.
        sequence: u64,
    },
    /// A stranger who knows the invite's secret wants to connect; accept with
    /// `connect_peer(peer, &route)`, or ignore it.
    PeerRequest {
        /// Who asks.
        peer: PeerId,
        /// How to reach them.
        route: Route,
    },
    /// Both sides now have this channel open with the same reliability.
    ChannelOpened {
        /// With whom.
        peer: PeerId,
        /// Which channel.
        channel: ChannelId,
    },
    /// The channel was closed by the other side, and so here, too.
    ChannelClosed {
        /// With whom.
        peer: PeerId,
        /// Which channel.
        channel: ChannelId,
    },
    /// The two sides opened this channel with different reliabilities: nothing flows until one
    /// side closes it.
    ChannelMismatch {
        /// With whom.
        peer: PeerId,
        /// Which channel.
        channel: ChannelId,
    },
    /// A channel that answered `Full` has room again.
    Writable {
        /// With whom.
        peer: PeerId,
        /// Which channel.
        channel: ChannelId,
    },
    /// The connection became materially better or worse since this was told last, or since it
    /// began: round-trip time or jitter by a quarter and 10 ms, loss by 2 percent points, the rate
    /// by half or twice. At most once a second for a peer.
    ConnectionQuality {
        /// With whom.
        peer: PeerId,
        /// How it is now.
        quality: ConnectionQuality,
    },
    /// A session at this relay is established.
    RelayConnected {
        /// Which relay.
        relay: RelayId,
    },
    /// The session at this relay is lost, or could not be had so far. Trying goes on unless the
    /// reason says otherwise.
    RelayLost {
        /// Which relay.
        relay: RelayId,
        /// Why.
        reason: RelayLostReason,
    },
    /// The relay refuses to serve this client.
    RelayRefused {
        /// Which relay.
        relay: RelayId,
        /// Why.
        reason: RelayRefusedReason,
    },
    /// The relay will stop in `left` seconds.
    RelayDraining {
        /// Which relay.
        relay: RelayId,
        /// Seconds left.
        left: u16,
    },
    /// The token that the session at this relay was had with expires in `left` seconds, 120 at
    /// most. Without a [`set_token`](super::Endpoint::set_token) the session ends 60 s after that.
    TokenExpiring {
        /// Which relay.
        relay: RelayId,
        /// Seconds left.
        left: u32,
    },
}

/// Why a connection ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum DisconnectReason {
    /// The other side called `disconnect_peer`.
    Remote,
    /// The other side is shutting down.
    RemoteShutdown,
    /// Nothing was heard for the idle time-out.
    TimedOut,
    /// The handshake was not answered within the connect time-out.
    ConnectTimedOut,
    /// The other side restarted: a new connection with the same peer follows at once
    /// (`PeerConnected`), with the local channels still open; what was under way is lost.
    Restarted,
    /// The other side broke the protocol.
    ProtocolError,
    /// Too many datagrams failed authentication under the present keys.
    TooManyForgeries,
}

impl fmt::Display for DisconnectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Remote => "the other side disconnected",
            Self::RemoteShutdown => "the other side is shutting down",
            Self::TimedOut => "nothing was heard for the idle time-out",
            Self::ConnectTimedOut => "no answer within the connect time-out",
            Self::Restarted => "the other side restarted",
            Self::ProtocolError => "the other side broke the protocol",
            Self::TooManyForgeries => "too many forged datagrams",
        })
    }
}

/// Why a relay's session is lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum RelayLostReason {
    /// The relay does not answer.
    NoAnswer,
    /// No relay in the directory answers: this network probably blocks UDP.
    NetworkBlocksUdp,
    /// Another client bound with the same key; this one stops.
    SessionReplaced,
    /// The relay ended the session.
    Expired,
}

impl fmt::Display for RelayLostReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoAnswer => "the relay does not answer",
            Self::NetworkBlocksUdp => "no relay answers; this network probably blocks UDP",
            Self::SessionReplaced => "another client uses the same key; this one stopped",
            Self::Expired => "the relay ended the session",
        })
    }
}

/// Why a relay refuses (the numbers of `docs/wire.md` §3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum RelayRefusedReason {
    /// The relay speaks another protocol version.
    Version,
    /// The relay does not do this suite.
    Suite,
    /// The relay has no free session.
    Full,
    /// The relay wants a token.
    Token,
    /// The relay is about to stop.
    Draining,
    /// The token has expired.
    TokenExpired,
    /// No key that the relay takes signed the token.
    TokenSignature,
    /// The token is for another player's key, or for nobody's and the relay takes none such.
    TokenPeer,
    /// The token is for another region.
    TokenRegion,
    /// The token's subject has as many sessions as it may.
    SubjectFull,
    /// As many sessions as may be come from this address.
    SourceFull,
    /// The relay called the request malformed, or gave a reason unknown here.
    Other,
}

impl fmt::Display for RelayRefusedReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Version => "the relay speaks another protocol version",
            Self::Suite => "the relay does not offer this cipher suite",
            Self::Full => "the relay is full",
            Self::Token => "the relay wants a token",
            Self::Draining => "the relay is about to stop",
            Self::TokenExpired => "the token has expired",
            Self::TokenSignature => "the relay knows nobody who signed the token",
            Self::TokenPeer => "the token is not for this player's key",
            Self::TokenRegion => "the token is for another region",
            Self::SubjectFull => "the token's subject has as many sessions as it may",
            Self::SourceFull => "too many sessions come from this address",
            Self::Other => "the relay refused",
        })
    }
}
