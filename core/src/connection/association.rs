//! The keys of one handshake.

use super::path::RelayIndex;
use crate::crypto::Crypto;
use crate::id::{ConnectionIndex, RelayId, SessionId};
use crate::protection::PacketKeys;
use crate::wire::handshake::{HandshakeParameters, Instance};

/// The keys of one handshake and what was agreed in it.
pub(crate) struct Association<C: Crypto> {
    /// What the other side writes into its packets.
    pub(crate) local_index: ConnectionIndex,
    /// What we write into ours.
    pub(crate) remote_index: ConnectionIndex,
    pub(crate) keys: PacketKeys<C>,
    /// The other side has shown that it holds the keys: it answered, or a packet of it opened.
    pub(crate) confirmed: bool,
    pub(crate) begun_by_lower: bool,
    pub(crate) remote_instance: Instance,
    pub(crate) remote: HandshakeParameters,
    /// The way the handshake took.
    pub(crate) via: Via,
}

/// A relay and the other side's session there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Via {
    pub(crate) relay: RelayIndex,
    pub(crate) relay_id: RelayId,
    pub(crate) session: SessionId,
}
