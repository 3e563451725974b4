//! A provider for fuzzing state machines: keys agree, what was changed does not open, and all of it
//! costs next to nothing, so that a second holds thousands of worlds. **It protects nothing.**

use waylane_core::crypto::{Crypto, OpenError, Secret, Suite, Suites, TAG_LEN};
use waylane_core::id::PublicKey;
use waylane_crypto::{Random as _, Seeded};

/// The toy provider, with randomness from a seed.
#[derive(Clone, Debug)]
pub struct Toy(Seeded);

impl Toy {
    /// With the randomness of this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(Seeded::new(seed))
    }
}

/// A key of either direction.
#[derive(Clone, Debug)]
pub struct Key([u8; 32]);

impl Crypto for Toy {
    type SealKey = Key;
    type OpenKey = Key;

    fn random(&mut self, out: &mut [u8]) {
        self.0.fill(out);
    }

    fn suites(&self) -> Suites {
        Suites::ALL
    }

    fn sha256(parts: &[&[u8]]) -> [u8; 32] {
        Hash::of(1, parts).words()
    }

    fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
        let mut hash = Hash::of(2, &[key]);
        hash.end_of_part();
        parts.iter().for_each(|part| hash.absorb(part));
        hash.words()
    }

    fn x25519_public(secret: &Secret) -> PublicKey {
        PublicKey(secret.0.map(|byte| byte ^ 0x5a))
    }

    fn x25519(secret: &Secret, public: &PublicKey) -> Option<Secret> {
        let own = Self::x25519_public(secret);
        let (low, high) = if own < *public { (&own, public) } else { (public, &own) };
        let is_low_order = public.0 == [0; 32];
        (!is_low_order).then(|| Secret(Hash::of(3, &[&low.0, &high.0]).words()))
    }

    fn ed25519_verify(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
        *signature == sign(key, message)
    }

    fn seal_key(suite: Suite, key: &Secret) -> Key {
        Key(Hash::of(4 + suite as u64, &[&key.0]).words())
    }

    fn open_key(suite: Suite, key: &Secret) -> Key {
        Self::seal_key(suite, key)
    }

    fn seal(key: &Key, nonce: u64, ad: &[u8], buffer: &mut [u8]) {
        let (text, tag) = buffer.split_last_chunk_mut::<TAG_LEN>().expect("room for the tag");
        key.cover(nonce, text);
        *tag = key.tag(nonce, ad, text);
    }

    fn open(key: &Key, nonce: u64, ad: &[u8], buffer: &mut [u8]) -> Result<(), OpenError> {
        let (text, tag) = buffer.split_last_chunk_mut::<TAG_LEN>().ok_or(OpenError)?;
        // As one number compared with zero: libFuzzer, which learns from comparisons, must not
        // learn tags.
        let difference = u128::from_le_bytes(key.tag(nonce, ad, text)) ^ u128::from_le_bytes(*tag);
        if core::hint::black_box(difference) != 0 {
            return Err(OpenError);
        }
        key.cover(nonce, text);
        Ok(())
    }
}

impl Key {
    fn cover(&self, nonce: u64, text: &mut [u8]) {
        let mut stream = Hash::of(nonce, &[&self.0]).state[0];
        for chunk in text.chunks_mut(8) {
            stream = mixed(stream);
            chunk.iter_mut().zip(stream.to_le_bytes()).for_each(|(byte, cover)| *byte ^= cover);
        }
    }

    fn tag(&self, nonce: u64, ad: &[u8], text: &[u8]) -> [u8; TAG_LEN] {
        let mut hash = Hash::of(!nonce, &[&self.0, ad]);
        hash.end_of_part();
        hash.absorb(text);
        *hash.words().first_chunk().expect("32 bytes")
    }
}

/// The toy's signature, which everybody can make who knows the public key.
#[must_use]
pub fn sign(key: &[u8; 32], message: &[u8]) -> [u8; 64] {
    let [low, high] = [5, 6].map(|domain| Hash::of(domain, &[key, message]).words());
    core::array::from_fn(|n| if n < 32 { low[n] } else { high[n - 32] })
}

/// A quick hash of bytes, however they are cut into parts.
struct Hash {
    state: [u64; 2],
    pending: u64,
    len: u64,
}

impl Hash {
    fn of(domain: u64, parts: &[&[u8]]) -> Self {
        let state = [mixed(domain), mixed(!domain)];
        let mut hash = Self { state, pending: 0, len: 0 };
        parts.iter().for_each(|part| hash.absorb(part));
        hash
    }

    fn absorb(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.pending = self.pending << 8 | u64::from(*byte);
            self.len += 1;
            if self.len.is_multiple_of(8) {
                self.end_of_part();
            }
        }
    }

    fn end_of_part(&mut self) {
        self.state[0] = mixed(self.state[0] ^ self.pending);
        self.state[1] = mixed(self.state[1].wrapping_add(self.pending) ^ self.len);
        self.pending = 0;
    }

    fn words(mut self) -> [u8; 32] {
        self.end_of_part();
        let mut out = [0; 32];
        for (n, chunk) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            *chunk = mixed(self.state[n % 2] ^ (n as u64) << 32 ^ self.len).to_le_bytes();
        }
        out
    }
}

/// The mixing step of SplitMix64.
const fn mixed(word: u64) -> u64 {
    let z = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
