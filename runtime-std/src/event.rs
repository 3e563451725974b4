//! What a manager tells the application.

use core::time::Duration;

use waylane_core::crypto::Crypto;
use waylane_core::endpoint::{
    self, ConnectionQuality, DisconnectReason, Endpoint, RelayLostReason, RelayRefusedReason,
};
use waylane_core::id::RelayId;
use waylane_core::memory::Lender;

use crate::directory::DirectoryFileError;
use crate::route::Route;

/// Something happened; given to the callback of
/// [`run_callbacks`](crate::NetworkManager::run_callbacks) and nowhere else.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A message arrived on a channel that both sides have open.
    Message {
        /// Who sent it.
        peer: u64,
        /// On which channel.
        channel: u8,
        /// The message, whole.
        data: &'a [u8],
    },
    /// The local player's route changed: publish it, so that the others call `update_peer`.
    RouteUpdate {
        /// The route to publish.
        route: Route,
    },
    /// The handshake with a peer is done; its key is the one in its route.
    PeerConnected {
        /// Who.
        peer: u64,
    },
    /// The connection with a peer is over, and its channels with it.
    PeerDisconnected {
        /// Who.
        peer: u64,
        /// Why.
        reason: DisconnectReason,
    },
    /// A stranger with one of our invites wants to connect: accept by `connect_peer` with this
    /// route, or do nothing.
    PeerRequest {
        /// Who asks.
        peer: u64,
        /// How to reach them.
        route: Route,
    },
    /// Both sides now have this channel open with the same reliability.
    ChannelOpened {
        /// With whom.
        peer: u64,
        /// Which channel.
        channel: u8,
    },
    /// The other side closed the channel, or a close asked for here is complete.
    ChannelClosed {
        /// With whom.
        peer: u64,
        /// Which channel.
        channel: u8,
    },
    /// The two sides opened this channel with different reliabilities: nothing flows until one of
    /// them closes it and opens it like the other.
    ChannelMismatch {
        /// With whom.
        peer: u64,
        /// Which channel.
        channel: u8,
    },
    /// A channel that answered `Full` has room again.
    Writable {
        /// With whom.
        peer: u64,
        /// Which channel.
        channel: u8,
    },
    /// The connection became materially better or worse since this was told last, or since it
    /// began: round-trip time or jitter by a quarter and 10 ms, loss by 2 percent points, the rate
    /// by half or twice. At most once a second for a peer.
    ConnectionQuality {
        /// With whom.
        peer: u64,
        /// How it is now.
        quality: ConnectionQuality,
    },
    /// There is a session at this relay.
    RelayConnected {
        /// Which relay.
        relay: RelayId,
    },
    /// The session at this relay is lost, or could not be had so far. Trying goes on unless the
    /// reason says otherwise.
    RelayLost {
        /// Which relay.
        relay: RelayId,
        /// Why; says so if this network seems to block UDP.
        reason: RelayLostReason,
    },
    /// The relay refuses to serve this player.
    RelayRefused {
        /// Which relay.
        relay: RelayId,
        /// Why.
        reason: RelayRefusedReason,
    },
    /// A newer list of relays that the operator has signed came from a relay and is in force:
    /// [`signed_directory`](crate::NetworkManager::signed_directory) gives it, to be kept for the
    /// next start.
    DirectoryUpdate {
        /// Its sequence number.
        sequence: u64,
    },
    /// The directory file has changed and cannot be used: what was read before stays in force.
    DirectoryRefused {
        /// Why.
        error: DirectoryFileError,
    },
    /// The relay is about to stop.
    RelayDraining {
        /// Which relay.
        relay: RelayId,
        /// How long it goes on.
        left: Duration,
    },
    /// The token that the session at this relay was had with is about to expire: it is time for
    /// [`set_token`](crate::NetworkManager::set_token). Without it the session ends 60 s after the
    /// token.
    TokenExpiring {
        /// Which relay.
        relay: RelayId,
        /// How long the token is good for; 120 s at most.
        left: Duration,
    },
}

/// The next event, if any; a message's bytes are copied into `buffer`.
pub(crate) fn next<'a, C: Crypto, L: Lender>(
    endpoint: &mut Endpoint<C, L>,
    buffer: &'a mut [u8],
) -> Option<Event<'a>> {
    use endpoint::Event as Core;
    Some(match endpoint.poll_event()? {
        Core::Message { peer, channel, payload } => {
            let len = payload.copy_to(buffer);
            let data = buffer.get(..len).unwrap_or_default();
            Event::Message { peer: peer.get(), channel: channel.0, data }
        }
        Core::RouteUpdate { route } => Event::RouteUpdate { route: Route::of(&route) },
        Core::DirectoryUpdate { sequence } => Event::DirectoryUpdate { sequence },
        Core::PeerConnected { peer } => Event::PeerConnected { peer: peer.get() },
        Core::PeerDisconnected { peer, reason } => {
            Event::PeerDisconnected { peer: peer.get(), reason }
        }
        Core::PeerRequest { peer, route } => {
            Event::PeerRequest { peer: peer.get(), route: Route::of(&route) }
        }
        Core::ChannelOpened { peer, channel } => {
            Event::ChannelOpened { peer: peer.get(), channel: channel.0 }
        }
        Core::ChannelClosed { peer, channel } => {
            Event::ChannelClosed { peer: peer.get(), channel: channel.0 }
        }
        Core::ChannelMismatch { peer, channel } => {
            Event::ChannelMismatch { peer: peer.get(), channel: channel.0 }
        }
        Core::Writable { peer, channel } => {
            Event::Writable { peer: peer.get(), channel: channel.0 }
        }
        Core::ConnectionQuality { peer, quality } => {
            Event::ConnectionQuality { peer: peer.get(), quality }
        }
        Core::RelayConnected { relay } => Event::RelayConnected { relay },
        Core::RelayLost { relay, reason } => Event::RelayLost { relay, reason },
        Core::RelayRefused { relay, reason } => Event::RelayRefused { relay, reason },
        Core::RelayDraining { relay, left } => {
            Event::RelayDraining { relay, left: Duration::from_secs(left.into()) }
        }
        Core::TokenExpiring { relay, left } => {
            Event::TokenExpiring { relay, left: Duration::from_secs(left.into()) }
        }
        // An event that a newer core knows and this translation does not.
        _ => return next(endpoint, buffer),
    })
}
