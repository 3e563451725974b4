//! X25519, the same for every provider (ring's is for ephemeral keys only), and Ed25519 for the one
//! without ring.

use waylane_core::crypto::Secret;
use waylane_core::id::PublicKey;
use x25519_dalek::StaticSecret;

pub(crate) fn public(secret: &Secret) -> PublicKey {
    let secret = StaticSecret::from(secret.0);
    PublicKey(x25519_dalek::PublicKey::from(&secret).to_bytes())
}

pub(crate) fn agree(secret: &Secret, public: &PublicKey) -> Option<Secret> {
    let secret = StaticSecret::from(secret.0);
    let shared = secret.diffie_hellman(&x25519_dalek::PublicKey::from(public.0));
    shared.was_contributory().then(|| Secret(shared.to_bytes()))
}

#[cfg(feature = "pure")]
pub(crate) fn verify(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    let signature = ed25519_dalek::Signature::from_bytes(signature);
    // Strict: neither key nor signature is of small order.
    ed25519_dalek::VerifyingKey::from_bytes(key)
        .is_ok_and(|key| key.verify_strict(message, &signature).is_ok())
}
