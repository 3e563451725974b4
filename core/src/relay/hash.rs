//! The keyed hash of the address index: SipHash-1-3 over 24 bytes, pinned by vectors because the
//! same function is written in C for the in-kernel path.

use super::address::Address;

/// The key of the address index: without it nobody can choose addresses that collide.
#[derive(Clone, Copy)]
pub struct HashKey([u64; 2]);

impl HashKey {
    /// The key made of these bytes (from the relay's randomness).
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        let both = u128::from_le_bytes(bytes);
        Self([both as u64, (both >> 64) as u64])
    }

    /// The bytes it was made of: for the in-kernel path, which keeps them to itself.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        let Self([k0, k1]) = self;
        ((k1 as u128) << 64 | k0 as u128).to_le_bytes()
    }

    /// SipHash-1-3 of the address's 24 bytes: address 16 (network order), port 2 (little-endian),
    /// family 2 (little-endian), zero 4.
    pub(crate) fn hash(self, address: Address) -> u64 {
        let Self([k0, k1]) = self;
        let mut v = [
            k0 ^ 0x736f_6d65_7073_6575,
            k1 ^ 0x646f_7261_6e64_6f6d,
            k0 ^ 0x6c79_6765_6e65_7261,
            k1 ^ 0x7465_6462_7974_6573,
        ];
        for word in address.hash_words() {
            v[3] ^= word;
            round(&mut v);
            v[0] ^= word;
        }
        // The closing word: the input's length in the top byte, no bytes left over.
        v[3] ^= LENGTH_WORD;
        round(&mut v);
        v[0] ^= LENGTH_WORD;
        v[2] ^= 0xff;
        round(&mut v);
        round(&mut v);
        round(&mut v);
        v[0] ^ v[1] ^ v[2] ^ v[3]
    }
}

impl core::fmt::Debug for HashKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("HashKey(…)")
    }
}

fn round(v: &mut [u64; 4]) {
    let [v0, v1, v2, v3] = v;
    *v0 = v0.wrapping_add(*v1);
    *v1 = v1.rotate_left(13) ^ *v0;
    *v0 = v0.rotate_left(32);
    *v2 = v2.wrapping_add(*v3);
    *v3 = v3.rotate_left(16) ^ *v2;
    *v0 = v0.wrapping_add(*v3);
    *v3 = v3.rotate_left(21) ^ *v0;
    *v2 = v2.wrapping_add(*v1);
    *v1 = v1.rotate_left(17) ^ *v2;
    *v2 = v2.rotate_left(32);
}

const LENGTH_WORD: u64 = 24 << 56;

#[cfg(test)]
mod tests {
    use core::hash::Hasher;
    use core::net::SocketAddr;
    use std::hash::DefaultHasher;

    use super::*;

    fn address(text: &str) -> Address {
        text.parse::<SocketAddr>().unwrap().into()
    }

    /// Rust's own hasher is SipHash-1-3 under a zero key.
    #[test]
    fn agrees_with_another_implementation() {
        for text in ["192.0.2.1:4433", "[2001:db8::1]:4433", "198.18.0.7:1"] {
            let mut other = DefaultHasher::new();
            for word in address(text).hash_words() {
                other.write(&word.to_le_bytes());
            }
            assert_eq!(HashKey::from_bytes([0; 16]).hash(address(text)), other.finish(), "{text}");
        }
    }

    #[test]
    fn vectors_are_pinned() {
        let key = HashKey::from_bytes(core::array::from_fn(|i| i as u8));
        assert_eq!(key.hash(address("192.0.2.1:4433")), 0x1b97_2dc3_ed49_1e67);
        assert_eq!(key.hash(address("[2001:db8::1]:4433")), 0x6dad_3ddb_96ba_b046);
    }
}
