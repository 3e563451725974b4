//! Noise's `SymmetricState` and `CipherState` (rev. 34, §5.1 and §5.2).

use core::marker::PhantomData;

use super::Transport;
use super::root::{HopRoot, Origin, expand};
use crate::crypto::{Crypto, OpenError, Secret, Suite, TAG_LEN};
use crate::id::PublicKey;

/// Chaining key, handshake hash and the present cipher key.
///
/// In IK each cipher key seals exactly one field, so the nonce is always 0 and no counter is kept.
pub(super) struct Symmetric<C> {
    suite: Suite,
    hash: [u8; 32],
    chaining_key: Secret,
    key: Secret,
    provider: PhantomData<fn() -> C>,
}

impl<C> Clone for Symmetric<C> {
    fn clone(&self) -> Self {
        Self {
            suite: self.suite,
            hash: self.hash,
            chaining_key: self.chaining_key.clone(),
            key: self.key.clone(),
            provider: PhantomData,
        }
    }
}

impl<C: Crypto> Symmetric<C> {
    /// The state after the prologue and the pre-message `<- s`.
    pub(super) fn new(suite: Suite, prologue: &[u8], responder: &PublicKey) -> Self {
        // Both names are at most 32 bytes, so they are padded with zeros, not hashed (§5.2).
        let hash = match suite {
            Suite::AesGcm => *b"Noise_IK_25519_AESGCM_SHA256\0\0\0\0",
            Suite::ChaChaPoly => *b"Noise_IK_25519_ChaChaPoly_SHA256",
        };
        let mut state = Self {
            suite,
            hash,
            chaining_key: Secret(hash),
            key: Secret::default(),
            provider: PhantomData,
        };
        state.mix_hash(prologue);
        state.mix_hash(&responder.0);
        state
    }

    pub(super) fn mix_hash(&mut self, data: &[u8]) {
        self.hash = C::sha256(&[&self.hash, data]);
    }

    pub(super) fn mix_key(&mut self, input: &Secret) {
        let (chaining_key, key) = hkdf::<C>(&self.chaining_key, &input.0);
        self.chaining_key = chaining_key;
        self.key = key;
    }

    /// `EncryptAndHash` in place: `buffer` is the plaintext and room for the tag.
    pub(super) fn seal(&mut self, buffer: &mut [u8]) {
        let key = C::seal_key(self.suite, &self.key);
        C::seal(&key, 0, &self.hash, buffer);
        self.mix_hash(buffer);
    }

    /// `DecryptAndHash` in place; answers the length of the plaintext at the buffer's front.
    pub(super) fn open(&mut self, buffer: &mut [u8]) -> Result<usize, OpenError> {
        let len = buffer.len().checked_sub(TAG_LEN).ok_or(OpenError)?;
        let key = C::open_key(self.suite, &self.key);
        // The hash covers the ciphertext, which opening in place overwrites.
        let hash = C::sha256(&[&self.hash, buffer]);
        C::open(&key, 0, &self.hash, buffer)?;
        self.hash = hash;
        Ok(len)
    }

    /// What the keys of [`Self::split`] come from.
    pub(super) fn root(&self) -> HopRoot {
        HopRoot { secret: extract::<C>(&self.chaining_key, &[]), origin: Origin::Split }
    }

    pub(super) fn split(&self) -> Transport {
        let (initiator_to_responder, responder_to_initiator) = self.root().keys::<C>();
        Transport { initiator_to_responder, responder_to_initiator, handshake_hash: self.hash }
    }
}

/// Noise's `HKDF` with two outputs (§4.3).
fn hkdf<C: Crypto>(chaining_key: &Secret, input: &[u8]) -> (Secret, Secret) {
    expand::<C>(&extract::<C>(chaining_key, input))
}

/// Its first half: `temp_key`.
fn extract<C: Crypto>(chaining_key: &Secret, input: &[u8]) -> Secret {
    Secret(C::hmac_sha256(&chaining_key.0, &[input]))
}
