//! The window of numbers already seen.

use core::fmt;

/// The replay window of data packets: 1024 numbers back from the largest.
pub type PacketWindow = ReplayWindow<17>;

/// The replay window of hop control datagrams: 64 numbers back from the largest.
pub type ControlWindow = ReplayWindow<2>;

/// Which numbers have been seen, for [`Self::SIZE`] numbers back from the largest; older ones
/// count as seen. A ring of `WORDS` words, of which one is always being refilled (RFC 6479).
///
/// Check before opening, mark after: only an authentic packet may move the window.
#[derive(Clone, Debug)]
pub struct ReplayWindow<const WORDS: usize> {
    /// One more than the largest number seen; 0 before the first.
    end: u64,
    seen: [u64; WORDS],
}

impl<const WORDS: usize> ReplayWindow<WORDS> {
    /// How many numbers up to the largest are told apart.
    pub const SIZE: u64 = {
        assert!(WORDS >= 2, "one word is being refilled, so another must hold the window");
        (WORDS as u64 - 1) * BITS
    };

    /// A window that has seen nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { end: 0, seen: [0; WORDS] }
    }

    /// Whether `number` is new.
    ///
    /// # Errors
    /// [`Replay`] if it was marked before, or is too old to tell.
    pub const fn check(&self, number: u64) -> Result<(), Replay> {
        if number >= self.end {
            return Ok(());
        }
        let too_old = self.end - number > Self::SIZE;
        let (word, bit) = Self::place(number);
        if too_old || self.seen[word] & bit != 0 { Err(Replay) } else { Ok(()) }
    }

    /// Marks `number` as seen. Does nothing if it is too old to tell.
    pub fn mark(&mut self, number: u64) {
        if number >= self.end {
            self.forget_words_up_to(number / BITS);
            self.end = number.saturating_add(1);
        } else if self.end - number > Self::SIZE {
            return;
        }
        let (word, bit) = Self::place(number);
        self.seen[word] |= bit;
    }

    fn forget_words_up_to(&mut self, last: u64) {
        let first = self.end.div_ceil(BITS);
        let count = (last + 1).saturating_sub(first).min(WORDS as u64);
        for word in (last + 1 - count)..=last {
            self.seen[(word % WORDS as u64) as usize] = 0;
        }
    }

    const fn place(number: u64) -> (usize, u64) {
        (((number / BITS) % WORDS as u64) as usize, 1 << (number % BITS))
    }
}

impl<const WORDS: usize> Default for ReplayWindow<WORDS> {
    fn default() -> Self {
        Self::new()
    }
}

/// The number was seen before, or is too old to tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Replay;

impl fmt::Display for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("replayed, or too old to tell")
    }
}

impl core::error::Error for Replay {}

const BITS: u64 = u64::BITS as u64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    use super::*;

    proptest! {
        #[test]
        fn agrees_with_a_set(steps in prop::collection::vec(step(), 1..400)) {
            follow::<2>(&steps)?;
            follow::<17>(&steps)?;
        }
    }

    #[test]
    fn the_ends_of_the_number_space_hold() {
        let mut window = PacketWindow::new();
        assert_eq!(window.check(0), Ok(()));
        window.mark(0);
        assert_eq!(window.check(0), Err(Replay));
        window.mark(u64::MAX - 1);
        assert_eq!(window.check(u64::MAX - 1), Err(Replay));
        assert_eq!(window.check(u64::MAX - 1024), Ok(()));
        assert_eq!(window.check(u64::MAX - 1025), Err(Replay));
        assert_eq!(window.check(1), Err(Replay));
    }

    #[test]
    fn the_window_is_as_large_as_promised() {
        assert_eq!(PacketWindow::SIZE, 1024);
        assert_eq!(ControlWindow::SIZE, 64);
    }

    fn step() -> impl Strategy<Value = i64> {
        prop_oneof![
            6 => -80..80_i64,
            2 => -1100..1100_i64,
            1 => 0..100_000_i64,
        ]
    }

    /// Each step is a distance from the largest number so far.
    fn follow<const WORDS: usize>(steps: &[i64]) -> Result<(), TestCaseError> {
        let mut window = ReplayWindow::<WORDS>::new();
        let mut seen = BTreeSet::new();
        for step in steps {
            let largest = seen.last().copied();
            let number = largest.unwrap_or(0_u64).saturating_add_signed(*step);
            let too_old = largest.is_some_and(|largest| {
                largest >= number && largest - number >= ReplayWindow::<WORDS>::SIZE
            });
            let expected = if too_old || seen.contains(&number) { Err(Replay) } else { Ok(()) };
            prop_assert_eq!(window.check(number), expected);
            window.mark(number);
            if !too_old {
                seen.insert(number);
            }
        }
        Ok(())
    }
}
