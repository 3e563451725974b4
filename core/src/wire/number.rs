//! Truncated numbers: packet numbers and stream offsets travel as their low bytes
//! (RFC 9000 §17.1, A.2, A.3).

use core::fmt;

/// The low bytes of a number, as they travel.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Truncated {
    value: u32,
    len: u8,
}

impl Truncated {
    /// The most bytes that travel.
    pub const LEN_MAX: usize = 4;

    /// The low `len` bytes of `number`; `len` is brought into 1–4.
    #[must_use]
    pub const fn new(number: u64, len: usize) -> Self {
        let len = if len < 1 {
            1
        } else if len > Self::LEN_MAX {
            Self::LEN_MAX
        } else {
            len
        };
        Self { value: (number & (u64::MAX >> (64 - 8 * len))) as u32, len: len as u8 }
    }

    /// What travels, as a number.
    #[must_use]
    pub const fn value(self) -> u64 {
        self.value as u64
    }

    /// How many bytes travel, 1–4.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "there is always at least one byte")]
    pub const fn len(self) -> usize {
        self.len as usize
    }

    /// The number these bytes stand for at a receiver that expects `expected` next.
    #[must_use]
    pub const fn expand(self, expected: u64) -> u64 {
        decode(self.value(), self.len(), expected)
    }
}

impl fmt::Display for Truncated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "…{:0width$x}", self.value, width = 2 * self.len())
    }
}

/// How many bytes of `number`, the highest sent so far, must travel if the receiver is known to
/// have received `largest_acked` (RFC 9000 A.2); at most 4, which is right up to 2³¹ unacknowledged
/// numbers.
#[must_use]
pub const fn encode_len(number: u64, largest_acked: Option<u64>) -> usize {
    let unacked = match largest_acked {
        Some(acked) => number.saturating_sub(acked),
        None => number.saturating_add(1),
    };
    len_for_distance(unacked)
}

/// How many bytes of `number` must travel if the receiver expects something from `low` to `high`:
/// for stream offsets, which are sent again when they are lost, so that they may lie on either side
/// of what is expected. At most 4, which is right for distances below 2³¹.
#[must_use]
pub const fn encode_len_within(number: u64, low: u64, high: u64) -> usize {
    let ahead = number.saturating_sub(low);
    // A number exactly half a window behind is taken for one ahead (A.3), hence the one more.
    let behind = high.saturating_sub(number).saturating_add(1);
    len_for_distance(if ahead > behind { ahead } else { behind })
}

/// The number nearest to `expected` whose low `len` bytes are `truncated` (RFC 9000 A.3), below 2⁶².
/// `len` is 1–7.
#[must_use]
pub const fn decode(truncated: u64, len: usize, expected: u64) -> u64 {
    let window = 1_u64 << (8 * len);
    let candidate = (expected & !(window - 1)) | truncated;
    if candidate.saturating_add(window / 2) <= expected && candidate < LIMIT - window {
        candidate + window
    } else if candidate > expected.saturating_add(window / 2) && candidate >= window {
        candidate - window
    } else {
        candidate
    }
}

/// Bytes whose half window holds `distance`.
const fn len_for_distance(distance: u64) -> usize {
    match distance {
        0..=0x80 => 1,
        0x81..=0x8000 => 2,
        0x8001..=0x80_0000 => 3,
        _ => 4,
    }
}

/// Numbers are below this (RFC 9000 §12.3; wire.md §2 for offsets).
const LIMIT: u64 = 1 << 62;

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn examples_of_rfc_9000() {
        // A.2: the difference decides, twice of which must fit.
        assert_eq!(encode_len(0xac_5c02, Some(0xab_e8b3)), 2);
        assert_eq!(encode_len(0xac_e8fe, Some(0xab_e8b3)), 3);
        // A.3.
        assert_eq!(decode(0x9b32, 2, 0xa82f_30ea + 1), 0xa82f_9b32);
    }

    #[test]
    fn the_first_numbers_need_no_acknowledgement() {
        assert_eq!(encode_len(0, None), 1);
        assert_eq!(encode_len(127, None), 1);
        assert_eq!(encode_len(128, None), 2);
        assert_eq!(Truncated::new(0, 1).expand(0), 0);
        // Nothing lies below zero or at the limit.
        assert_eq!(Truncated::new(0xff, 1).expand(0), 0xff);
        assert_eq!(Truncated::new(0, 1).expand(LIMIT - 1), LIMIT - 256);
    }

    #[test]
    fn half_a_window_away_is_ahead() {
        assert_eq!(decode(0x80, 1, 0x100), 0x180);
        assert_eq!(decode(0x00, 1, 0x180), 0x200);
        assert_eq!(decode(0x01, 1, 0x180), 0x101);
        // Hence one more number ahead than behind fits in a byte.
        assert_eq!(encode_len_within(0x180, 0x100, 0x180), 1);
        assert_eq!(encode_len_within(0x180, 0xff, 0x180), 2);
        assert_eq!(encode_len_within(0x100, 0x100, 0x17f), 1);
        assert_eq!(encode_len_within(0x100, 0x100, 0x180), 2);
    }

    #[test]
    fn truncation_keeps_the_low_bytes() {
        let number = Truncated::new(0x0102_0304_0506, 3);
        assert_eq!((number.value(), number.len()), (0x04_0506, 3));
        assert_eq!(number.to_string(), "…040506");
        assert_eq!(Truncated::new(u64::MAX, 4).value(), 0xffff_ffff);
        assert_eq!((Truncated::new(7, 0).len(), Truncated::new(7, 9).len()), (1, 4));
    }

    proptest! {
        #[test]
        fn packet_numbers_come_back(
            number in 0..LIMIT,
            unacked in distance(),
            received in any::<u64>(),
        ) {
            let acked = number.checked_sub(unacked + 1);
            // The receiver has at least what it acknowledged, and nothing newer than this.
            let low = acked.map_or(0, |acked| acked + 1);
            let expected = low + received % (number - low + 1);
            let len = encode_len(number, acked);
            prop_assume!(acked.is_some() || number < 1 << 31);
            prop_assert_eq!(Truncated::new(number, len).expand(expected), number);
        }

        #[test]
        fn offsets_come_back_from_either_side(
            number in 0..LIMIT,
            ahead in distance(),
            behind in distance(),
            pick in any::<u64>(),
        ) {
            let low = number.saturating_sub(ahead);
            let high = (number + behind).min(LIMIT - 1);
            let len = encode_len_within(number, low, high);
            for expected in [low, high, low + pick % (high - low + 1)] {
                prop_assert_eq!(Truncated::new(number, len).expand(expected), number);
            }
        }

        #[test]
        fn decoding_keeps_what_travelled(
            bits in any::<u32>(),
            len in 1..=4_usize,
            expected in 0..LIMIT,
        ) {
            let number = Truncated::new(u64::from(bits), len);
            let full = number.expand(expected);
            prop_assert!(full < LIMIT);
            prop_assert_eq!(Truncated::new(full, len), number);
        }

        #[test]
        fn no_expectation_is_too_large(
            bits in any::<u32>(),
            len in 1..=4_usize,
            expected in LIMIT..=u64::MAX,
        ) {
            let number = Truncated::new(u64::from(bits), len);
            prop_assert_eq!(Truncated::new(number.expand(expected), len), number);
        }
    }

    /// Distances of every length that four bytes can bridge.
    fn distance() -> impl Strategy<Value = u64> {
        (0..(1_u64 << 31) - 1, 0..31_u32).prop_map(|(distance, shift)| distance >> shift)
    }
}
