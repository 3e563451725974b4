//! Invites: what a person passes on without a lobby.

use core::fmt;

use waylane_core::crypto::Crypto as _;
use waylane_core::directory::RelayEntry;
use waylane_core::endpoint::ConnectError;
use waylane_core::id::RelayId;
use waylane_core::invite::{Invite, InviteError, InviteSecret};
use waylane_core::route::Route;
use waylane_crypto::ring::{Ring, SystemRandom};

use crate::socket::SocketError;

/// Why no invite can be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum MakeInviteError {
    /// There is no route yet.
    NoRoute,
    /// The parts do not fit together.
    Invite(InviteError),
}

impl fmt::Display for MakeInviteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRoute => f.write_str("no relay has answered yet: wait for Event::RouteUpdate"),
            Self::Invite(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for MakeInviteError {}

/// Why an invite could not be accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum AcceptInviteError {
    /// The text is no invite.
    Invite(InviteError),
    /// The host cannot be connected to.
    Connect(ConnectError),
    /// The system gives no socket to reach the invite's relays from.
    Socket(SocketError),
}

impl fmt::Display for AcceptInviteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invite(error) => error.fmt(f),
            Self::Connect(error) => error.fmt(f),
            Self::Socket(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for AcceptInviteError {}

/// The text of an invite to the player with this route. It tells the relays of the route only:
/// which others this player trusts is nobody's business.
pub(crate) fn make_invite<'a>(
    directory: impl Iterator<Item = &'a RelayEntry>,
    secret: InviteSecret,
    route: Route,
) -> Result<String, MakeInviteError> {
    let named = |entry: &RelayEntry| route.relays().iter().any(|at| at.relay == relay_id(entry));
    let entries: Vec<RelayEntry> = directory.filter(|entry| named(entry)).cloned().collect();
    let invite = Invite::new(&entries, secret, route).map_err(MakeInviteError::Invite)?;
    Ok(invite.to_string())
}

fn relay_id(entry: &RelayEntry) -> RelayId {
    RelayId::from_key_hash(&Ring::<SystemRandom>::sha256(&[&entry.public_key().0]))
}
