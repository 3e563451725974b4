//! A provider that keeps nothing from anybody: every datagram opens, whatever became of it.

use waylane_core::crypto::{Crypto, OpenError, Secret, Suite, Suites, TAG_LEN};
use waylane_core::id::PublicKey;
use waylane_crypto::{Random as _, Seeded};

/// See the module.
pub(crate) struct Open(Seeded);

impl Open {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Seeded::new(seed))
    }
}

impl Crypto for Open {
    type SealKey = ();
    type OpenKey = ();

    fn random(&mut self, out: &mut [u8]) {
        self.0.fill(out);
    }

    fn suites(&self) -> Suites {
        Suites::ALL
    }

    /// FNV-1a, stretched: it need only tell inputs apart.
    fn sha256(parts: &[&[u8]]) -> [u8; 32] {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let mut next = |byte: u8| {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
            hash
        };
        for byte in parts.iter().copied().flatten() {
            next(*byte);
        }
        core::array::from_fn(|n| (next(n as u8) >> 32) as u8)
    }

    fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
        let inner = Self::sha256(parts);
        Self::sha256(&[key, &inner])
    }

    fn x25519_public(secret: &Secret) -> PublicKey {
        PublicKey(secret.0)
    }

    /// The same from both sides; a secret shared with oneself is the low-order one.
    fn x25519(secret: &Secret, public: &PublicKey) -> Option<Secret> {
        let shared = core::array::from_fn(|n| secret.0[n] ^ public.0[n]);
        (shared != [0; 32]).then_some(Secret(shared))
    }

    fn ed25519_verify(_: &[u8; 32], _: &[u8], _: &[u8; 64]) -> bool {
        true
    }

    fn seal_key(_: Suite, _: &Secret) {}

    fn open_key(_: Suite, _: &Secret) {}

    fn seal((): &(), _: u64, _: &[u8], buffer: &mut [u8]) {
        let len = buffer.len();
        buffer[len - TAG_LEN..].fill(0);
    }

    fn open((): &(), _: u64, _: &[u8], buffer: &mut [u8]) -> Result<(), OpenError> {
        if buffer.len() < TAG_LEN { Err(OpenError) } else { Ok(()) }
    }
}
