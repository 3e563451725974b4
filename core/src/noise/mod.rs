//! Noise IK (Noise rev. 34) over the crypto seam: one struct per expected message.
//!
//! ```text
//! IK: <- s
//!     ...
//!     -> e, es, s, ss      Initiator::write_message_1   Responder::read_static, ReceivedStatic::read_payload
//!     <- e, ee, se         Reply::write_message_2       AwaitResponse::read_message_2
//! ```
//!
//! Hash SHA-256, cipher by [`Suite`](crate::crypto::Suite), any prologue. Messages are written into and opened in
//! the caller's slices. Reading never changes a state that could be needed again: a forged
//! message leaves the handshake where it was.

mod derive;
mod initiator;
mod responder;
mod root;
mod symmetric;

use core::fmt;

use crate::crypto::{Crypto, Secret};
use crate::id::PublicKey;

pub use derive::{
    MAC_LEN, Mac, RESUME_REQUEST_NONCE, RESUMED_NONCE, ResumeKeys, initiation_mac, mac_key,
    resume_keys, resume_request_key, resumption_secret,
};
pub(crate) use derive::{next_resumption, resume_root};
pub use initiator::{AwaitResponse, Initiator};
pub use responder::{Agreed, Received, ReceivedStatic, Reply, Responder};
pub(crate) use root::{HopRoot, Origin};

/// Bytes message 1 has beyond its payload: `e`, sealed `s`, the payload's tag.
pub const MESSAGE_1_OVERHEAD: usize = 32 + 48 + 16;

/// Bytes message 2 has beyond its payload: `e`, the payload's tag.
pub const MESSAGE_2_OVERHEAD: usize = 32 + 16;

/// An X25519 key pair.
#[derive(Clone)]
pub struct KeyPair {
    secret: Secret,
    public: PublicKey,
}

impl KeyPair {
    /// The pair of this secret key. Costs a scalar multiplication.
    #[must_use]
    pub fn from_secret<C: Crypto>(secret: Secret) -> Self {
        let public = C::x25519_public(&secret);
        Self { secret, public }
    }

    /// A new pair from the provider's randomness.
    #[must_use]
    pub fn generate<C: Crypto>(crypto: &mut C) -> Self {
        let mut secret = Secret::default();
        crypto.random(&mut secret.0);
        Self::from_secret::<C>(secret)
    }

    /// The secret key.
    #[must_use]
    pub const fn secret(&self) -> &Secret {
        &self.secret
    }

    /// The public key.
    #[must_use]
    pub const fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The secret shared with the holder of `remote`; `None` for a low-order `remote`. Between two
    /// static keys this is Noise's `ss`, worth keeping: each handshake and MAC key begins with it.
    #[must_use]
    pub fn agree<C: Crypto>(&self, remote: &PublicKey) -> Option<Secret> {
        C::x25519(&self.secret, remote)
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeyPair").field(&self.public).finish()
    }
}

/// What a finished handshake leaves (Noise `Split`).
#[derive(Clone, Debug)]
pub struct Transport {
    /// Key of what the initiator sends.
    pub initiator_to_responder: Secret,
    /// Key of what the responder sends.
    pub responder_to_initiator: Secret,
    /// The final handshake hash `h`: names this handshake, the same on both sides.
    pub handshake_hash: [u8; 32],
}

/// Why a handshake message could not be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum WriteError {
    /// The output slice is too short; the caller's mistake.
    NoSpace,
    /// The other side's public key is of low order; the other side's mistake.
    BadKey,
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSpace => "output slice too short for the handshake message",
            Self::BadKey => "the remote public key is of low order",
        })
    }
}

impl core::error::Error for WriteError {}

/// Why a handshake message was refused; the sender's fault each time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ReadError {
    /// Shorter than its fixed fields.
    Truncated,
    /// Its ephemeral or static key is of low order.
    BadKey,
    /// A sealed field does not open: forged, changed on the way, or for another handshake.
    Forged,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "handshake message too short",
            Self::BadKey => "handshake message with a public key of low order",
            Self::Forged => "handshake message does not authenticate",
        })
    }
}

impl core::error::Error for ReadError {}

const E_LEN: usize = 32;
const SEALED_S_LEN: usize = 48;
