//! The provider in Rust alone: no system, no allocator.

mod aes_gcm;
mod chacha_poly;
mod poly1305;

use aes_gcm::AesGcm;
use chacha_poly::ChaChaPoly;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use waylane_core::crypto::{Crypto, OpenError, Secret, Suite, Suites, TAG_LEN};
use waylane_core::id::PublicKey;

use crate::{Random, cpu, curve, nonce};

/// Everything by the RustCrypto crates and x25519-dalek; randomness by the caller.
#[derive(Clone, Debug, Default)]
pub struct Pure<R> {
    random: R,
}

impl<R: Random> Pure<R> {
    /// With randomness from `random`.
    #[must_use]
    pub const fn with_random(random: R) -> Self {
        Self { random }
    }
}

impl<R: Random> Crypto for Pure<R> {
    type SealKey = Key;
    type OpenKey = Key;

    fn random(&mut self, out: &mut [u8]) {
        self.random.fill(out);
    }

    fn suites(&self) -> Suites {
        cpu::suites()
    }

    fn sha256(parts: &[&[u8]]) -> [u8; 32] {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update(part);
        }
        hash.finalize().into()
    }

    fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
        for part in parts {
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    fn x25519_public(secret: &Secret) -> PublicKey {
        curve::public(secret)
    }

    fn x25519(secret: &Secret, public: &PublicKey) -> Option<Secret> {
        curve::agree(secret, public)
    }

    fn ed25519_verify(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
        curve::verify(key, message, signature)
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
        let nonce = nonce::layout(key.suite(), nonce);
        *tag_out = match &key.0 {
            Cipher::AesGcm(cipher) => cipher.seal(nonce, ad, text),
            Cipher::ChaChaPoly(cipher) => cipher.seal(nonce, ad, text),
        };
    }

    fn open(key: &Key, nonce: u64, ad: &[u8], buffer: &mut [u8]) -> Result<(), OpenError> {
        let (text, tag) = buffer.split_last_chunk_mut::<TAG_LEN>().ok_or(OpenError)?;
        let nonce = nonce::layout(key.suite(), nonce);
        match &key.0 {
            Cipher::AesGcm(cipher) => cipher.open(nonce, ad, text, *tag),
            Cipher::ChaChaPoly(cipher) => cipher.open(nonce, ad, text, *tag),
        }
    }
}

/// A prepared AEAD key, wiped when dropped.
pub struct Key(Cipher);

#[expect(clippy::large_enum_variant, reason = "kept inline: there is no allocator to box it")]
enum Cipher {
    AesGcm(AesGcm),
    ChaChaPoly(ChaChaPoly),
}

impl Key {
    fn new(suite: Suite, key: &Secret) -> Self {
        Self(match suite {
            Suite::AesGcm => Cipher::AesGcm(AesGcm::new(key)),
            Suite::ChaChaPoly => Cipher::ChaChaPoly(ChaChaPoly::new(key)),
        })
    }

    const fn suite(&self) -> Suite {
        match &self.0 {
            Cipher::AesGcm(_) => Suite::AesGcm,
            Cipher::ChaChaPoly(_) => Suite::ChaChaPoly,
        }
    }
}
