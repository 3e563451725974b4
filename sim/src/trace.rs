//! A world's fingerprint: the same seed and the same calls give the same one.

/// FNV-1a over everything that moved, eight bytes a step (only compared with itself).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Trace(u64);

impl Trace {
    pub(crate) const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    pub(crate) const fn hash(self) -> u64 {
        self.0
    }

    pub(crate) const fn number(&mut self, value: u64) {
        self.0 = (self.0 ^ value).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.number(u64::from_le_bytes(word));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(bytes: &[u8]) -> u64 {
        let mut trace = Trace::new();
        trace.bytes(bytes);
        trace.hash()
    }

    #[test]
    fn every_byte_and_the_length_count() {
        assert_ne!(hash(b"abcdefghi"), hash(b"abcdefghj"));
        assert_ne!(hash(b"abc"), hash(b"abc\0"));
        assert_eq!(hash(b"abc"), hash(b"abc"));
    }
}
