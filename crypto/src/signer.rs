//! Signing: tokens, which a game's backend does, and lists of relays, which their operator does.
//! Relays and players only verify.

use ::ring::signature::{Ed25519KeyPair, KeyPair as _};
use waylane_core::crypto::Secret;
use waylane_core::directory::RelayEntry;
use waylane_core::fleet::{FleetKey, SignedDirectory, SignedDirectoryError};
use waylane_core::token::{Claims, Token, TokenKey};

use crate::ring::Ring;

/// A secret Ed25519 key to sign tokens with.
pub struct TokenSigner(Ed25519KeyPair);

impl TokenSigner {
    /// The key whose seed (RFC 8032) is `secret`.
    ///
    /// # Panics
    /// Never: every 32 bytes are a seed.
    #[must_use]
    pub fn from_secret(secret: &Secret) -> Self {
        Self(key_pair(secret))
    }

    /// What relays need to verify its tokens.
    #[must_use]
    pub fn public(&self) -> TokenKey {
        TokenKey(public(&self.0))
    }

    /// A token of these claims, whatever key they name, signed with this one.
    #[must_use]
    pub fn issue(&self, claims: &Claims) -> Token {
        let claims = Claims { key: self.public().id::<Ring>(), ..*claims };
        Token::new(&claims, |message| signature(&self.0, message))
    }
}

impl core::fmt::Debug for TokenSigner {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "TokenSigner({})", self.public())
    }
}

/// A secret Ed25519 key to sign a fleet's lists of relays with.
pub struct FleetSigner(Ed25519KeyPair);

impl FleetSigner {
    /// The key whose seed (RFC 8032) is `secret`.
    ///
    /// # Panics
    /// Never: every 32 bytes are a seed.
    #[must_use]
    pub fn from_secret(secret: &Secret) -> Self {
        Self(key_pair(secret))
    }

    /// What players need to believe its lists.
    #[must_use]
    pub fn public(&self) -> FleetKey {
        FleetKey(public(&self.0))
    }

    /// Writes a list of these relays, signed, to `out`; [`SignedDirectory::LEN_MAX`] bytes are room
    /// enough. The larger the sequence number, the newer the list.
    ///
    /// # Errors
    /// [`SignedDirectoryError`]: what makes these relays no list.
    pub fn sign<'a>(
        &self,
        sequence: u64,
        relays: &[RelayEntry],
        out: &'a mut [u8],
    ) -> Result<SignedDirectory<'a>, SignedDirectoryError> {
        SignedDirectory::sign(sequence, relays, out, |message| signature(&self.0, message))
    }
}

impl core::fmt::Debug for FleetSigner {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "FleetSigner({})", self.public())
    }
}

fn key_pair(secret: &Secret) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&secret.0).expect("a seed has 32 bytes")
}

fn public(pair: &Ed25519KeyPair) -> [u8; 32] {
    let mut key = [0; 32];
    key.iter_mut().zip(pair.public_key().as_ref()).for_each(|(to, from)| *to = *from);
    key
}

fn signature(pair: &Ed25519KeyPair, message: &[u8]) -> [u8; 64] {
    let mut bytes = [0; 64];
    bytes.iter_mut().zip(pair.sign(message).as_ref()).for_each(|(to, from)| *to = *from);
    bytes
}
