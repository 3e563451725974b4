//! Poly1305 (RFC 8439 §2.5) over whole blocks of 16 bytes, which are all that the AEAD hashes.
//!
//! The `poly1305` crate prepares vectors that pay from some hundred bytes on; a game's packets are
//! shorter. Here a block costs four wide multiplications. Constant time wherever the machine
//! multiplies in constant time: no branch and no index depends on a secret.

/// A one-time authenticator in the making.
pub(super) struct Poly1305 {
    /// The clamped multiplier.
    r: [u64; 2],
    /// `r[1] * 5 / 4`: what a product with `r[1]` at 2^128 is worth at 2^0, as 2^130 is 5 and
    /// clamping made `r[1]` a multiple of 4.
    r1_folded: u64,
    /// What is added at the end.
    s: u128,
    /// The sum so far, the lowest 64 bits first; between blocks the last limb is at most 4.
    h: [u64; 3],
}

impl Poly1305 {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        let (r, s) = halves(key);
        let r = u128::from_le_bytes(r) & 0x0fff_fffc_0fff_fffc_0fff_fffc_0fff_ffff;
        let r = [low(r), low(r >> 64)];
        Self { r, r1_folded: r[1] + (r[1] >> 2), s: u128::from_le_bytes(s), h: [0; 3] }
    }

    /// Hashes `data` and the zeros that fill its last block.
    pub(super) fn update_padded(&mut self, data: &[u8]) {
        let (blocks, rest) = data.as_chunks();
        for block in blocks {
            self.block(u128::from_le_bytes(*block));
        }
        if !rest.is_empty() {
            let mut block = [0; 16];
            block[..rest.len()].copy_from_slice(rest);
            self.block(u128::from_le_bytes(block));
        }
    }

    /// `h = (h + block + 2^128) * r`, reduced to a little over 130 bits.
    ///
    /// No operation overflows: `r` and `r1_folded` are below 2^61 and the last limb at most 6, so
    /// wide products are below 2^125, narrow ones below 2^64.
    pub(super) fn block(&mut self, block: u128) {
        let ([r0, r1], r1_folded) = (self.r, self.r1_folded);
        let [h0, h1, h2] = self.h;
        let (sum, carry) = join(h0, h1).overflowing_add(block);
        let (h0, h1, h2) = (low(sum), low(sum >> 64), h2 + 1 + u64::from(carry));

        let d0 = wide(h0, r0) + wide(h1, r1_folded);
        let d1 = wide(h0, r1) + wide(h1, r0) + u128::from(h2 * r1_folded) + (d0 >> 64);
        let d2 = h2 * r0 + low(d1 >> 64);

        let folded = (d2 >> 2) + (d2 & !3);
        let (sum, carry) = join(low(d0), low(d1)).overflowing_add(folded.into());
        self.h = [low(sum), low(sum >> 64), (d2 & 3) + u64::from(carry)];
    }

    pub(super) fn finalize(self) -> u128 {
        let [h0, h1, h2] = self.h;
        let h = join(h0, h1);
        // The sum is below twice 2^130 - 5: adding 5 shows by bit 130 whether it must be taken off.
        let (less, carry) = h.overflowing_add(5);
        let mask = u128::from((h2 + u64::from(carry)) >> 2).wrapping_neg();
        ((h & !mask) | (less & mask)).wrapping_add(self.s)
    }
}

fn halves(key: &[u8; 32]) -> ([u8; 16], [u8; 16]) {
    let (mut low, mut high) = ([0; 16], [0; 16]);
    low.copy_from_slice(&key[..16]);
    high.copy_from_slice(&key[16..]);
    (low, high)
}

fn wide(a: u64, b: u64) -> u128 {
    u128::from(a) * u128::from(b)
}

fn join(low: u64, high: u64) -> u128 {
    u128::from(low) | u128::from(high) << 64
}

#[expect(clippy::cast_possible_truncation, reason = "the low half is what is asked for")]
const fn low(value: u128) -> u64 {
    value as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(r: u128, s: u128, blocks: &[u128]) -> u128 {
        let mut key = [0; 32];
        key[..16].copy_from_slice(&r.to_le_bytes());
        key[16..].copy_from_slice(&s.to_le_bytes());
        let mut mac = Poly1305::new(&key);
        for block in blocks {
            mac.block(*block);
        }
        mac.finalize()
    }

    /// RFC 8439, appendix A.3, vectors 5 to 11: sums just below, at and above the prime.
    #[test]
    fn sums_around_the_prime() {
        assert_eq!(tag(2, 0, &[u128::MAX]), 3);
        assert_eq!(tag(2, u128::MAX, &[2]), 3);
        assert_eq!(tag(1, 0, &[u128::MAX, u128::MAX - 0x0f, 0x11]), 5);
        let fe = 0xfbfe_fefe_fefe_fefe_fefe_fefe_fefe_fefe_u128.swap_bytes();
        assert_eq!(tag(1, 0, &[u128::MAX, fe, u128::from_le_bytes([1; 16])]), 0);
        assert_eq!(tag(2, 0, &[u128::MAX - 2]), u128::MAX - 5);
        let blocks = [
            0xe335_94d7_505e_43b9_0000_0000_0000_0000_u128.swap_bytes(),
            0x3394_d750_5e43_79cd_0100_0000_0000_0000_u128.swap_bytes(),
            0,
            1,
        ];
        assert_eq!(tag(1 | 4 << 64, 0, &blocks), 0x14 | 0x55 << 64);
        assert_eq!(tag(1 | 4 << 64, 0, &blocks[..3]), 0x13);
    }

    /// The key whose limbs are the largest, so that the bounds in the comments are tried.
    #[test]
    fn the_largest_limbs_do_not_overflow() {
        let largest = tag(u128::MAX, u128::MAX, &[u128::MAX; 100]);
        assert_ne!(largest, tag(u128::MAX, u128::MAX, &[u128::MAX; 99]));
    }
}
