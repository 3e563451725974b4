//! The world's only randomness: SplitMix64, from the seed.

/// A stream of numbers that its seed fixes (SplitMix64, by Steele, Lea and Flood, 2014).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The stream of this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A stream of its own for one user of the seed, so that one user's draws shift nobody else's.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self(self.next_u64())
    }

    /// The next 64 bits.
    pub const fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`; 0 if `end` is 0.
    pub const fn below(&mut self, end: u64) -> u64 {
        ((self.next_u64() as u128 * end as u128) >> 64) as u64
    }

    /// True with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.unit() < probability
    }

    /// A number in `[0, 1)`.
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A whole number from 1 to `most` whose logarithm is uniform: as many between 1 and 2 as
    /// between `most / 2` and `most`.
    pub fn log_uniform(&mut self, most: u64) -> u64 {
        // The system's own functions differ in the last bit from one to the other.
        (libm::pow(most as f64, self.unit()).round() as u64).clamp(1, most)
    }

    /// Fills `out`.
    pub fn fill(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            chunk.copy_from_slice(&self.next_u64().to_le_bytes()[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sebastiano Vigna's published outputs for seed 1234567.
    #[test]
    fn agrees_with_published_numbers() {
        let mut random = Random::new(1_234_567);
        let expected = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
            4_593_380_528_125_082_431,
        ];
        assert_eq!(expected.map(|_| random.next_u64()), expected);
    }

    #[test]
    fn draws_stay_in_range() {
        let mut random = Random::new(1);
        let (mut least, mut most) = (u64::MAX, 0);
        for _ in 0..10_000 {
            assert!(random.below(7) < 7);
            let size = random.log_uniform(65_536);
            (least, most) = (least.min(size), most.max(size));
        }
        assert!(least == 1 && most > 60_000 && most <= 65_536);
        assert!(!random.chance(0.0));
        let hits = (0..10_000).filter(|_| random.chance(0.25)).count();
        assert!((2300..2700).contains(&hits), "{hits}");
    }
}
