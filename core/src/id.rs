//! The names of things: peers, relays, sessions, channels.

use core::fmt;

/// An X25519 public key: who a peer or relay is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PublicKey(pub [u8; 32]);

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "PublicKey({:02x}{:02x}{:02x}{:02x}…)",
            self.0[0], self.0[1], self.0[2], self.0[3]
        )
    }
}

/// A peer's address in the application's world: SHA-256 of its public key, first 8 bytes
/// little-endian, top bit cleared, never 0.
///
/// Names a player; it does not prove who they are. A connection pins the whole key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(u64);

impl PeerId {
    /// The id with this value; `None` for 0 and for values with the top bit set, which no peer has.
    #[must_use]
    pub const fn new(value: u64) -> Option<Self> {
        if value == 0 || value >> 63 != 0 { None } else { Some(Self(value)) }
    }

    /// The id that belongs to the public key whose SHA-256 is `hash`.
    #[must_use]
    pub const fn from_key_hash(hash: &[u8; 32]) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = *hash;
        let value = u64::from_le_bytes([a, b, c, d, e, f, g, h]) & (u64::MAX >> 1);
        Self(if value == 0 { 1 } else { value })
    }

    /// The id as a number, always below 2⁶³.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerId({})", self.0)
    }
}

/// A relay: the first 8 bytes (little-endian) of SHA-256 of its public key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct RelayId(pub u64);

impl RelayId {
    /// The id that belongs to the public key whose SHA-256 is `hash`.
    #[must_use]
    pub const fn from_key_hash(hash: &[u8; 32]) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = *hash;
        Self(u64::from_le_bytes([a, b, c, d, e, f, g, h]))
    }
}

impl fmt::Display for RelayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for RelayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RelayId({self})")
    }
}

/// A peer's registration at one relay: a 24-bit slot and a 32-bit tag that cannot be guessed.
///
/// On the wire: 3 bytes slot, 4 bytes tag, little-endian. All zero means "none".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SessionId {
    slot: u32,
    tag: u32,
}

impl SessionId {
    /// No session.
    pub const NONE: Self = Self { slot: 0, tag: 0 };
    /// Slots are below this.
    pub const SLOTS: u32 = 1 << 24;

    /// The session in `slot` (its low 24 bits) with `tag`.
    #[must_use]
    pub const fn new(slot: u32, tag: u32) -> Self {
        Self { slot: slot & (Self::SLOTS - 1), tag }
    }

    /// Index into the relay's table.
    #[must_use]
    pub const fn slot(self) -> u32 {
        self.slot
    }

    /// The keyed hash that proves the slot was given out.
    #[must_use]
    pub const fn tag(self) -> u32 {
        self.tag
    }

    /// Whether this names no session.
    #[must_use]
    pub const fn is_none(self) -> bool {
        self.slot == 0 && self.tag == 0
    }

    /// As on the wire.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 7] {
        let s = self.slot.to_le_bytes();
        let t = self.tag.to_le_bytes();
        [s[0], s[1], s[2], t[0], t[1], t[2], t[3]]
    }

    /// From the wire.
    #[must_use]
    pub const fn from_bytes(b: [u8; 7]) -> Self {
        Self {
            slot: u32::from_le_bytes([b[0], b[1], b[2], 0]),
            tag: u32::from_le_bytes([b[3], b[4], b[5], b[6]]),
        }
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({}:{:08x})", self.slot, self.tag)
    }
}

/// A numbered lane between two peers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct ChannelId(pub u8);

impl fmt::Display for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a channel promises; fixed when it is opened, and both sides must agree.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Reliability {
    /// Whole messages, at most once, never retransmitted.
    Unreliable,
    /// As [`Unreliable`](Self::Unreliable), and never one that was sent before one already
    /// delivered: only the newest counts.
    UnreliableSequenced,
    /// Every message once, whole and in order, or the peer is reported lost.
    Reliable,
    /// As [`Reliable`](Self::Reliable) but for the order: every message is delivered as soon as all
    /// of it is there, whatever is missing before it.
    ReliableUnordered,
}

impl Reliability {
    /// Whether every message arrives.
    #[must_use]
    pub const fn is_reliable(self) -> bool {
        match self {
            Self::Unreliable | Self::UnreliableSequenced => false,
            Self::Reliable | Self::ReliableUnordered => true,
        }
    }
}

/// How often a channel number has been closed on this connection (wrapping): tells the data of one
/// opening from that of the next. Both sides count the same closes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct Incarnation(pub u8);

impl Incarnation {
    /// The incarnation after this one is closed.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }

    /// The two bits that data frames carry.
    #[must_use]
    pub const fn low_bits(self) -> u8 {
        self.0 & 3
    }
}

/// Receiver-chosen two-byte number that finds a connection and its keys at the receiving peer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct ConnectionIndex(pub u16);

/// The full number of a packet; what travels is its truncated form (RFC 9000 §17.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct PacketNumber(pub u64);

impl PacketNumber {
    /// The number after this one; there is none after the last.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// Which application a peer belongs to: peers of different applications do not connect.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct ApplicationId(pub u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peer_ids_survive_signed_languages_and_are_never_zero() {
        assert_eq!(PeerId::from_key_hash(&[0xff; 32]).get(), u64::MAX >> 1);
        assert_eq!(PeerId::from_key_hash(&[0; 32]).get(), 1);
        let mut only_top = [0; 32];
        only_top[7] = 0x80;
        assert_eq!(PeerId::from_key_hash(&only_top).get(), 1);
        assert_eq!(PeerId::new(0), None);
        assert_eq!(PeerId::new(1 << 63), None);
    }

    #[test]
    fn session_ids_keep_their_bytes() {
        let id = SessionId::new(0x00ab_cdef, 0x0123_4567);
        assert_eq!(id.to_bytes(), [0xef, 0xcd, 0xab, 0x67, 0x45, 0x23, 0x01]);
        assert_eq!(SessionId::from_bytes(id.to_bytes()), id);
    }
}
