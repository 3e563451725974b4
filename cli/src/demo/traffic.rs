//! The demo's messages: numbered, stamped and filled with a pattern, so that loss, order,
//! duplicates, damage and round-trip times are seen by the application itself.

use std::collections::BTreeSet;

use super::report::Channel;

/// What a message says besides its filling.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Header {
    /// Which message of its channel, from 0.
    pub number: u64,
    /// The sender's clock when it was sent, in microseconds.
    pub stamp: u64,
    /// The newest stamp the sender has seen from the other player; 0 if none.
    pub echo: u64,
    /// How long the sender had held that stamp, in microseconds.
    pub held: u64,
}

/// Bytes of a header; the shortest message.
pub(super) const HEADER_LEN: usize = 36;

impl Header {
    /// Writes a message of `out`'s length.
    pub(super) fn write(&self, out: &mut [u8]) {
        let length = u32::try_from(out.len()).unwrap_or(u32::MAX);
        let words = [self.number, self.stamp, self.echo, self.held];
        let bytes = words.iter().flat_map(|w| w.to_le_bytes()).chain(length.to_le_bytes());
        let filling = (HEADER_LEN..).map(|at| filling(self.number, at));
        for (to, from) in out.iter_mut().zip(bytes.chain(filling)) {
            *to = from;
        }
    }

    /// Reads a message; `None` if it is not whole.
    pub(super) fn read(message: &[u8]) -> Option<Self> {
        let (header, rest) = message.split_at_checked(HEADER_LEN)?;
        let word = |at: usize| {
            let bytes = header.get(at * 8..at * 8 + 8)?;
            Some(u64::from_le_bytes(bytes.try_into().ok()?))
        };
        let length = u32::from_le_bytes(header.get(32..36)?.try_into().ok()?);
        let number = word(0)?;
        let is_whole = usize::try_from(length) == Ok(message.len())
            && rest.iter().zip(HEADER_LEN..).all(|(byte, at)| *byte == filling(number, at));
        is_whole.then_some(Self { number, stamp: word(1)?, echo: word(2)?, held: word(3)? })
    }
}

/// What one player has sent and received on one channel.
#[derive(Default)]
pub(super) struct Tally {
    counts: Channel,
    /// Numbers below `next_expected` that have not arrived.
    missing: BTreeSet<u64>,
    next_expected: u64,
}

impl Tally {
    /// The counts so far.
    pub(super) fn counts(&self) -> &Channel {
        &self.counts
    }

    /// The number of the next message to send.
    pub(super) fn next_number(&self) -> u64 {
        self.counts.messages_sent
    }

    /// A message of `len` bytes was taken for sending.
    pub(super) fn sent(&mut self, len: usize) {
        self.counts.messages_sent += 1;
        self.counts.bytes_sent += len as u64;
    }

    /// A message arrived; its header, if it is whole and new.
    pub(super) fn received(&mut self, message: &[u8]) -> Option<Header> {
        let Some(header) = Header::read(message) else {
            self.counts.damaged += 1;
            return None;
        };
        if !self.is_new(header.number) {
            self.counts.duplicates += 1;
            return None;
        }
        self.counts.messages_received += 1;
        self.counts.bytes_received += message.len() as u64;
        Some(header)
    }

    fn is_new(&mut self, number: u64) -> bool {
        if number < self.next_expected {
            // Late, or a copy: what is late was missing until now.
            let is_late = self.missing.remove(&number);
            self.counts.out_of_order += u64::from(is_late);
            return is_late;
        }
        // The senders count by ones, so a gap is never long; a peer that jumps is not ours.
        let gap = self.next_expected..number;
        self.missing.extend(gap.take(GAP_MAX));
        self.next_expected = number.saturating_add(1);
        true
    }
}

/// Bound on what one message can make us remember.
const GAP_MAX: usize = 1 << 16;

fn filling(number: u64, at: usize) -> u8 {
    (number as u8).wrapping_mul(31).wrapping_add(at as u8)
}

/// Round-trip times in microseconds, and their percentiles.
#[derive(Default)]
pub(super) struct RoundTrips(Vec<u64>);

impl RoundTrips {
    /// Adds a measurement.
    pub(super) fn add(&mut self, micros: u64) {
        self.0.push(micros);
    }

    /// The value below which `percent` of the measurements lie, in milliseconds.
    pub(super) fn percentile_ms(&mut self, percent: usize) -> Option<f64> {
        self.0.sort_unstable();
        let at = (self.0.len() * percent / 100).min(self.0.len().checked_sub(1)?);
        Some(*self.0.get(at)? as f64 / 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(number: u64, len: usize) -> Vec<u8> {
        let mut out = vec![0; len];
        Header { number, stamp: 2, echo: 3, held: 4 }.write(&mut out);
        out
    }

    #[test]
    fn messages_keep_their_header_and_show_damage() {
        for len in [HEADER_LEN, 40, 100, 8192] {
            let good = message(7, len);
            let header = Header { number: 7, stamp: 2, echo: 3, held: 4 };
            assert_eq!(Header::read(&good), Some(header));
            assert_eq!(Header::read(&good[..len - 1]), None);
            if len > HEADER_LEN {
                let mut bad = good;
                bad[len - 1] ^= 1;
                assert_eq!(Header::read(&bad), None);
            }
        }
    }

    #[test]
    fn tally_tells_late_from_twice() {
        let mut tally = Tally::default();
        for number in [0, 1, 4, 2, 2, 4, 5] {
            tally.received(&message(number, 40));
        }
        assert!(tally.received(b"not ours").is_none());
        let counts = tally.counts();
        assert_eq!(counts.messages_received, 5);
        assert_eq!(counts.bytes_received, 200);
        assert_eq!(counts.out_of_order, 1);
        assert_eq!(counts.duplicates, 2);
        assert_eq!(counts.damaged, 1);
    }

    #[test]
    fn percentiles() {
        let mut trips = RoundTrips::default();
        assert_eq!(trips.percentile_ms(50), None);
        (1..=100).rev().for_each(|ms| trips.add(ms * 1000));
        assert_eq!(trips.percentile_ms(50), Some(51.0));
        assert_eq!(trips.percentile_ms(99), Some(100.0));
    }
}
