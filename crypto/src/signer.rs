//! Signing tokens: what a game's backend does. Relays only verify.

use ::ring::signature::{Ed25519KeyPair, KeyPair as _};
use waylane_core::crypto::Secret;
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
        Self(Ed25519KeyPair::from_seed_unchecked(&secret.0).expect("a seed has 32 bytes"))
    }

    /// What relays need to verify its tokens.
    #[must_use]
    pub fn public(&self) -> TokenKey {
        let mut key = TokenKey::default();
        for (to, from) in key.0.iter_mut().zip(self.0.public_key().as_ref()) {
            *to = *from;
        }
        key
    }

    /// A token of these claims, whatever key they name, signed with this one.
    #[must_use]
    pub fn issue(&self, claims: &Claims) -> Token {
        let claims = Claims { key: self.public().id::<Ring>(), ..*claims };
        Token::new(&claims, |message| {
            let signature = self.0.sign(message);
            let mut bytes = [0; 64];
            bytes.iter_mut().zip(signature.as_ref()).for_each(|(to, from)| *to = *from);
            bytes
        })
    }
}

impl core::fmt::Debug for TokenSigner {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "TokenSigner({})", self.public())
    }
}
