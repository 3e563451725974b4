//! The provider on ring: fast, with the system's randomness.

use ::ring::aead::{AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, Tag, UnboundKey};
use ::ring::rand::SecureRandom as _;
use ::ring::signature::{ED25519, UnparsedPublicKey};
use ::ring::{digest, hmac};
use waylane_core::crypto::{Crypto, OpenError, Secret, Suite, Suites, TAG_LEN};
use waylane_core::id::PublicKey;

use crate::{Random, cpu, curve, nonce};

/// AEADs, SHA-256 and HMAC by ring, X25519 by x25519-dalek.
#[derive(Clone, Debug, Default)]
pub struct Ring<R = SystemRandom> {
    random: R,
}

impl Ring {
    /// With the system's randomness.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl<R: Random> Ring<R> {
    /// With randomness from `random`.
    #[must_use]
    pub const fn with_random(random: R) -> Self {
        Self { random }
    }
}

impl<R: Random> Crypto for Ring<R> {
    type SealKey = Key;
    type OpenKey = Key;

    fn random(&mut self, out: &mut [u8]) {
        self.random.fill(out);
    }

    fn suites(&self) -> Suites {
        cpu::suites()
    }

    fn sha256(parts: &[&[u8]]) -> [u8; 32] {
        let mut context = digest::Context::new(&digest::SHA256);
        for part in parts {
            context.update(part);
        }
        to_array(context.finish().as_ref())
    }

    fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        let mut context = hmac::Context::with_key(&key);
        for part in parts {
            context.update(part);
        }
        to_array(context.sign().as_ref())
    }

    fn x25519_public(secret: &Secret) -> PublicKey {
        curve::public(secret)
    }

    fn x25519(secret: &Secret, public: &PublicKey) -> Option<Secret> {
        curve::agree(secret, public)
    }

    fn ed25519_verify(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
        UnparsedPublicKey::new(&ED25519, key).verify(message, signature).is_ok()
    }

    fn seal_key(suite: Suite, key: &Secret) -> Key {
        Key::new(suite, key)
    }

    fn open_key(suite: Suite, key: &Secret) -> Key {
        Key::new(suite, key)
    }

    fn seal(key: &Key, nonce: u64, ad: &[u8], buffer: &mut [u8]) {
        let (text, tag_out) = buffer
            .split_last_chunk_mut::<TAG_LEN>()
            .expect("a buffer to seal has room for the tag");
        let tag = key
            .key
            .seal_in_place_separate_tag(key.nonce(nonce), Aad::from(ad), text)
            .expect("datagrams are far below the cipher's limit");
        tag_out.copy_from_slice(tag.as_ref());
    }

    fn open(key: &Key, nonce: u64, ad: &[u8], buffer: &mut [u8]) -> Result<(), OpenError> {
        let (text, tag) = buffer.split_last_chunk_mut::<TAG_LEN>().ok_or(OpenError)?;
        let tag = Tag::from(*tag);
        key.key
            .open_in_place_separate_tag(key.nonce(nonce), Aad::from(ad), tag, text, 0..)
            .map_err(|_| OpenError)?;
        Ok(())
    }
}

/// A prepared AEAD key. Not wiped when dropped: ring cannot.
pub struct Key {
    suite: Suite,
    key: LessSafeKey,
}

impl Key {
    fn new(suite: Suite, key: &Secret) -> Self {
        let algorithm = match suite {
            Suite::AesGcm => &AES_256_GCM,
            Suite::ChaChaPoly => &CHACHA20_POLY1305,
        };
        let key = UnboundKey::new(algorithm, &key.0).expect("both suites have keys of 32 bytes");
        Self { suite, key: LessSafeKey::new(key) }
    }

    fn nonce(&self, number: u64) -> Nonce {
        Nonce::assume_unique_for_key(nonce::layout(self.suite, number))
    }
}

/// The system's randomness.
#[derive(Clone, Debug)]
pub struct SystemRandom(::ring::rand::SystemRandom);

impl Default for SystemRandom {
    fn default() -> Self {
        Self(::ring::rand::SystemRandom::new())
    }
}

impl Random for SystemRandom {
    /// # Panics
    /// If the system refuses: nothing could be encrypted then.
    fn fill(&mut self, out: &mut [u8]) {
        self.0.fill(out).expect("the system gives randomness");
    }
}

fn to_array(hash: &[u8]) -> [u8; 32] {
    hash.try_into().expect("SHA-256 has 32 bytes")
}
