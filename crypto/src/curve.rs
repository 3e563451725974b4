//! X25519, the same for every provider: ring's is for ephemeral keys only.

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
