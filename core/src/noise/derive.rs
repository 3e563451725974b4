//! Keys and MACs that Waylane derives around Noise (wire.md §1.2 and §3).

use core::hint::black_box;

use super::root::{HopRoot, Origin};
use crate::crypto::{Crypto, Secret};
use crate::id::{PeerId, PublicKey};

/// Bytes of an initiation's MAC.
pub const MAC_LEN: usize = 8;

/// Nonce of a Resume's payload under [`resume_request_key`].
pub const RESUME_REQUEST_NONCE: u64 = 0;

/// Nonce of a Resumed's payload under the relay→peer key; Control counters never come here.
pub const RESUMED_NONCE: u64 = u64::MAX - 1;

/// The MAC of an initiation. Compares in constant time.
#[derive(Clone, Copy, Debug)]
pub struct Mac(pub [u8; MAC_LEN]);

impl PartialEq for Mac {
    fn eq(&self, other: &Self) -> bool {
        // One word each: no early exit to time.
        black_box(u64::from_le_bytes(self.0) ^ u64::from_le_bytes(other.0)) == 0
    }
}

impl Eq for Mac {}

/// The MAC key of an initiation by `initiator`: `secret` is the pair's static–static secret, or
/// the invite's 16 bytes (wire.md §1.2).
#[must_use]
pub fn mac_key<C: Crypto>(secret: &[u8], initiator: PeerId) -> Secret {
    Secret(C::hmac_sha256(secret, &[b"waylane mac", &initiator.get().to_le_bytes()]))
}

/// The MAC of an initiation: `before` is what lies from the protocol version to the MAC, `after`
/// what follows the MAC (wire.md §1.2). To verify, compare with the [`Mac`] that came.
#[must_use]
pub fn initiation_mac<C: Crypto>(
    key: &Secret,
    before: &[u8],
    after: &[u8],
    receiver: &PublicKey,
) -> Mac {
    let [a, b, c, d, e, f, g, h, ..] = C::hmac_sha256(&key.0, &[before, after, &receiver.0]);
    Mac([a, b, c, d, e, f, g, h])
}

/// The secret of the ticket that a Bind leaves (wire.md §3, Keys). It does not depend on the
/// final handshake hash, which covers the payload that the ticket travels in.
#[must_use]
pub fn resumption_secret<C: Crypto>(peer_to_relay: &Secret) -> Secret {
    Secret(C::hmac_sha256(&peer_to_relay.0, &[b"waylane resume"]))
}

/// The key of a Resume's payload (wire.md §3, Keys).
#[must_use]
pub fn resume_request_key<C: Crypto>(resumption: &Secret, nonce: &[u8; 16]) -> Secret {
    Secret(C::hmac_sha256(&resumption.0, &[b"waylane resume request", nonce]))
}

/// What a Resume leaves on both sides.
#[derive(Clone, Debug)]
pub struct ResumeKeys {
    /// Key of what the peer sends.
    pub peer_to_relay: Secret,
    /// Key of what the relay sends, the Resumed's payload first.
    pub relay_to_peer: Secret,
    /// The secret of the next ticket.
    pub resumption: Secret,
}

/// The keys of a Resume with these nonces (wire.md §3, Keys).
#[must_use]
pub fn resume_keys<C: Crypto>(
    resumption: &Secret,
    peer_nonce: &[u8; 16],
    relay_nonce: &[u8; 16],
) -> ResumeKeys {
    let root = resume_root::<C>(resumption, peer_nonce, relay_nonce);
    let (peer_to_relay, relay_to_peer) = root.keys::<C>();
    ResumeKeys { peer_to_relay, relay_to_peer, resumption: next_resumption::<C>(&root) }
}

/// What all of a Resume's keys come from.
pub(crate) fn resume_root<C: Crypto>(
    resumption: &Secret,
    peer_nonce: &[u8; 16],
    relay_nonce: &[u8; 16],
) -> HopRoot {
    let parts: [&[u8]; 3] = [b"waylane resume keys", peer_nonce, relay_nonce];
    HopRoot { secret: Secret(C::hmac_sha256(&resumption.0, &parts)), origin: Origin::Resume }
}

/// The secret of the ticket that a Resume with this root leaves.
pub(crate) fn next_resumption<C: Crypto>(root: &HopRoot) -> Secret {
    root.derive::<C>(b"3")
}
