//! The crypto seam: what core asks of a provider. Providers live in `waylane-crypto`.

use core::fmt;

use crate::id::PublicKey;

/// Bytes an AEAD adds to what it seals.
pub const TAG_LEN: usize = 16;

/// A secret of 32 bytes: an X25519 secret key, a shared secret or a symmetric key.
///
/// Neither printed nor compared; overwritten when dropped (best effort: core has no `unsafe`, so
/// the compiler may in principle elide it; see `docs/security.md`).
#[derive(Clone, Default)]
pub struct Secret(pub [u8; 32]);

impl Drop for Secret {
    fn drop(&mut self) {
        self.0 = [0; 32];
        core::hint::black_box(&mut self.0);
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// An AEAD with its nonce layout as in Noise (rev. 34, §12): `AESGCM` is AES-256-GCM with
/// 4 zero bytes and a big-endian counter, `ChaChaPoly` is RFC 8439 with 4 zero bytes and a
/// little-endian counter.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Suite {
    /// AES-256-GCM; chosen where both ends have the instructions.
    AesGcm = 1,
    /// ChaCha20-Poly1305; every peer can do it.
    ChaChaPoly = 2,
}

impl Suite {
    /// The suite with this wire number.
    #[must_use]
    pub const fn from_u8(value: u8) -> Option<Self> {
        match value {
            1 => Some(Self::AesGcm),
            2 => Some(Self::ChaChaPoly),
            _ => None,
        }
    }
}

/// A set of suites as in routes: bit `n` is the suite with wire number `n`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct Suites(pub u8);

impl Suites {
    /// Only ChaCha20-Poly1305.
    pub const CHACHA: Self = Self(1 << Suite::ChaChaPoly as u8);
    /// Both suites.
    pub const ALL: Self = Self(1 << Suite::ChaChaPoly as u8 | 1 << Suite::AesGcm as u8);

    /// Whether the set holds `suite`.
    #[must_use]
    pub const fn contains(self, suite: Suite) -> bool {
        self.0 & (1 << suite as u8) != 0
    }

    /// The suite to use between holders of `self` and `other`: AES-GCM where both have it.
    #[must_use]
    pub const fn choose(self, other: Self) -> Option<Suite> {
        let both = Self(self.0 & other.0);
        if both.contains(Suite::AesGcm) {
            Some(Suite::AesGcm)
        } else if both.contains(Suite::ChaChaPoly) {
            Some(Suite::ChaChaPoly)
        } else {
            None
        }
    }
}

/// The datagram was not sealed with this key, or was changed on the way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OpenError;

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("authentication failed")
    }
}

impl core::error::Error for OpenError {}

/// Cryptography for an endpoint or a relay: hashes, X25519, AEADs with prepared keys, randomness.
///
/// Keys are prepared once and kept inline in a peer's slot (setting up an AES key costs more than
/// sealing 100 bytes); zeroing them on drop is the provider's duty.
pub trait Crypto {
    /// A prepared sealing key.
    type SealKey;
    /// A prepared opening key.
    type OpenKey;

    /// Fills `out` from the caller's source of randomness.
    fn random(&mut self, out: &mut [u8]);

    /// The suites this machine does well, for the route.
    fn suites(&self) -> Suites;

    /// SHA-256 of the concatenated `parts`.
    fn sha256(parts: &[&[u8]]) -> [u8; 32];

    /// HMAC-SHA-256 of the concatenated `parts` under `key` (any length).
    fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; 32];

    /// The public key of `secret`.
    fn x25519_public(secret: &Secret) -> PublicKey;

    /// X25519; `None` if the result is all zero (a low-order `public`).
    fn x25519(secret: &Secret, public: &PublicKey) -> Option<Secret>;

    /// Whether `signature` is the Ed25519 signature (RFC 8032) of `message` under the public `key`.
    fn ed25519_verify(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool;

    /// Prepares a sealing key.
    fn seal_key(suite: Suite, key: &Secret) -> Self::SealKey;

    /// Prepares an opening key.
    fn open_key(suite: Suite, key: &Secret) -> Self::OpenKey;

    /// Seals in place: `buffer` is the plaintext followed by [`TAG_LEN`] bytes for the tag.
    ///
    /// # Panics
    /// If `buffer` is shorter than [`TAG_LEN`].
    fn seal(key: &Self::SealKey, nonce: u64, ad: &[u8], buffer: &mut [u8]);

    /// Opens in place: `buffer` is ciphertext and tag; on success its front, [`TAG_LEN`] bytes
    /// shorter, is the plaintext. On failure the content of `buffer` is unspecified.
    ///
    /// # Errors
    /// [`OpenError`] if the tag does not fit, or `buffer` is shorter than a tag.
    fn open(key: &Self::OpenKey, nonce: u64, ad: &[u8], buffer: &mut [u8])
    -> Result<(), OpenError>;
}
