//! The provider of every world: real cryptography, randomness from the seed.

use core::cell::RefCell;

use waylane_core::crypto::{Crypto, OpenError, Secret, Suite, Suites, TAG_LEN};
use waylane_core::id::PublicKey;
use waylane_crypto::ring::Ring;

use crate::random::Random;

/// ring's provider with seeded randomness, whose opened texts can be watched.
#[derive(Clone, Debug)]
pub struct SeededCrypto {
    inner: Ring<Random>,
}

impl SeededCrypto {
    /// A provider that draws from `random`.
    #[must_use]
    pub const fn new(random: Random) -> Self {
        Self { inner: Ring::with_random(random) }
    }
}

/// Runs `during`, showing `watch` every text that is opened on this thread meanwhile: what a player
/// could read, as opposed to what an onlooker sees.
pub fn watch_opened<T>(watch: impl FnMut(&[u8]) + 'static, during: impl FnOnce() -> T) -> T {
    WATCH.with_borrow_mut(|slot| *slot = Some(Box::new(watch)));
    let result = during();
    WATCH.with_borrow_mut(|slot| *slot = None);
    result
}

impl waylane_crypto::Random for Random {
    fn fill(&mut self, out: &mut [u8]) {
        Self::fill(self, out);
    }
}

impl Crypto for SeededCrypto {
    type SealKey = <Ring<Random> as Crypto>::SealKey;
    type OpenKey = <Ring<Random> as Crypto>::OpenKey;

    fn random(&mut self, out: &mut [u8]) {
        self.inner.random(out);
    }

    fn suites(&self) -> Suites {
        // The same on every machine, so that a seed means the same world everywhere.
        Suites::ALL
    }

    fn sha256(parts: &[&[u8]]) -> [u8; 32] {
        Ring::<Random>::sha256(parts)
    }

    fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
        Ring::<Random>::hmac_sha256(key, parts)
    }

    fn x25519_public(secret: &Secret) -> PublicKey {
        Ring::<Random>::x25519_public(secret)
    }

    fn x25519(secret: &Secret, public: &PublicKey) -> Option<Secret> {
        Ring::<Random>::x25519(secret, public)
    }

    fn ed25519_verify(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
        Ring::<Random>::ed25519_verify(key, message, signature)
    }

    fn seal_key(suite: Suite, key: &Secret) -> Self::SealKey {
        Ring::<Random>::seal_key(suite, key)
    }

    fn open_key(suite: Suite, key: &Secret) -> Self::OpenKey {
        Ring::<Random>::open_key(suite, key)
    }

    fn seal(key: &Self::SealKey, nonce: u64, ad: &[u8], buffer: &mut [u8]) {
        Ring::<Random>::seal(key, nonce, ad, buffer);
    }

    fn open(
        key: &Self::OpenKey,
        nonce: u64,
        ad: &[u8],
        buffer: &mut [u8],
    ) -> Result<(), OpenError> {
        Ring::<Random>::open(key, nonce, ad, buffer)?;
        WATCH.with_borrow_mut(|slot| {
            if let Some(watch) = slot {
                watch(&buffer[..buffer.len().saturating_sub(TAG_LEN)]);
            }
        });
        Ok(())
    }
}

type Watch = Box<dyn FnMut(&[u8])>;

std::thread_local! {
    static WATCH: RefCell<Option<Watch>> = const { RefCell::new(None) };
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    #[test]
    fn opened_texts_are_shown_while_watched() {
        let secret = Secret([7; 32]);
        let (seal, open) = (
            SeededCrypto::seal_key(Suite::AesGcm, &secret),
            SeededCrypto::open_key(Suite::AesGcm, &secret),
        );
        let mut sealed = *b"secret text................";
        SeededCrypto::seal(&seal, 1, b"", &mut sealed);
        let seen = Rc::new(RefCell::new(Vec::new()));
        let sink = Rc::clone(&seen);
        watch_opened(
            move |text| sink.borrow_mut().push(text.to_vec()),
            || {
                SeededCrypto::open(&open, 1, b"", &mut sealed.clone()).unwrap();
                SeededCrypto::open(&open, 2, b"", &mut sealed.clone()).unwrap_err();
            },
        );
        SeededCrypto::open(&open, 1, b"", &mut sealed).unwrap();
        assert_eq!(*seen.borrow(), [b"secret text".to_vec()]);
    }
}
