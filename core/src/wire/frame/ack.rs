//! Ack frames: ranges of received packet numbers (wire.md §2, RFC 9000 §19.3).

use core::fmt;
use core::time::Duration;

use crate::id::PacketNumber;
use crate::time::micros;
use crate::wire::cursor::VARINT_MAX;
use crate::wire::{Full, ParseError, Reader, Writer, number};

/// A parsed Ack frame; its ranges stay encoded until [`Ack::ranges`] walks them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ack<'a> {
    largest: u16,
    /// From the arrival of the largest packet at the host to this frame's sending.
    pub delay: AckDelay,
    /// The part of `delay` that the application's frame loop is to blame for.
    pub host_delay: AckDelay,
    first_range: u64,
    further_ranges: u8,
    further: &'a [u8],
}

impl<'a> Ack<'a> {
    /// The most ranges a frame holds.
    pub const RANGES_MAX: usize = 32;

    pub(super) fn parse(kind: u8, reader: &mut Reader<'a>) -> Result<Self, ParseError> {
        let further_ranges = kind.wrapping_sub(FIRST_TYPE);
        let largest = reader.u16()?;
        let delay = AckDelay(reader.varint()?);
        let host_delay = AckDelay(reader.varint()?);
        let first_range = reader.varint()?;
        let mut start = reader.clone();
        for _ in 0..further_ranges {
            reader.varint()?;
            reader.varint()?;
        }
        let further = start.take(start.len().saturating_sub(reader.len()))?;
        Ok(Self { largest, delay, host_delay, first_range, further_ranges, further })
    }

    pub(super) fn emit(&self, writer: &mut Writer<'_>) -> Result<(), Full> {
        writer.u8(FIRST_TYPE.saturating_add(self.further_ranges))?;
        writer.u16(self.largest)?;
        writer.varint(self.delay.0)?;
        writer.varint(self.host_delay.0)?;
        writer.varint(self.first_range)?;
        writer.bytes(self.further)
    }

    /// The largest acknowledged number; `next` is the one that the receiver of this frame will send
    /// next. A result not below `next` acknowledges what was never sent.
    #[must_use]
    pub const fn largest(&self, next: PacketNumber) -> PacketNumber {
        PacketNumber(number::decode(self.largest as u64, 2, next.0))
    }

    /// The acknowledged ranges `(low, high)`, both inclusive, from the highest down; `next` as for
    /// [`Ack::largest`]. A range that would reach below 0 is an error and ends the list.
    #[must_use]
    pub const fn ranges(&self, next: PacketNumber) -> AckRanges<'a> {
        AckRanges {
            next: Next::First { high: self.largest(next).0, len: self.first_range },
            further: Reader::new(self.further),
        }
    }
}

impl fmt::Display for Ack<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ack …{:04x} -{}", self.largest, self.first_range)?;
        if self.further_ranges > 0 {
            write!(f, " and {} ranges", self.further_ranges)?;
        }
        Ok(())
    }
}

/// The ranges of an [`Ack`], from the highest down.
#[derive(Clone, Debug)]
pub struct AckRanges<'a> {
    next: Next,
    further: Reader<'a>,
}

impl Iterator for AckRanges<'_> {
    type Item = Result<(PacketNumber, PacketNumber), ParseError>;

    fn next(&mut self) -> Option<Self::Item> {
        let range = match self.next {
            Next::First { high, len } => below(high, len),
            Next::Below(low) if !self.further.is_empty() => self.further_range(low),
            Next::Below(_) | Next::End => return None,
        };
        self.next = range.map_or(Next::End, |(low, _)| Next::Below(low));
        Some(range.map(|(low, high)| (PacketNumber(low), PacketNumber(high))))
    }
}

impl AckRanges<'_> {
    fn further_range(&mut self, previous_low: u64) -> Result<(u64, u64), ParseError> {
        let gap = self.further.varint()?;
        let len = self.further.varint()?;
        // RFC 9000 §19.3.1: a gap of 0 is one missing packet.
        let high = previous_low.checked_sub(gap).and_then(|n| n.checked_sub(2));
        below(high.ok_or(ParseError::BadValue)?, len)
    }
}

#[derive(Clone, Copy, Debug)]
enum Next {
    First { high: u64, len: u64 },
    Below(u64),
    End,
}

/// A delay in an Ack frame: units of 64 µs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct AckDelay(u64);

impl AckDelay {
    /// `duration`, rounded down.
    #[must_use]
    pub const fn from_duration(duration: Duration) -> Self {
        // Not above VARINT_MAX, as micros() gives at most 2⁶⁴ − 1.
        Self(micros(duration) / UNIT_MICROS)
    }

    /// As a duration.
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_micros(self.0.saturating_mul(UNIT_MICROS))
    }

    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        reader.varint().map(Self)
    }

    pub(super) fn emit(self, writer: &mut Writer<'_>) -> Result<(), Full> {
        writer.varint(self.0)
    }
}

/// Writes an Ack frame of `ranges`: `(low, high)`, both inclusive, from the highest down, at least
/// one missing number between them. Returns how many of them it holds: as many as fit, at most
/// [`Ack::RANGES_MAX`]; a range that does not lie below the one before ends the list. Without
/// ranges nothing is written.
///
/// # Errors
/// [`Full`] if not even the first range fits; nothing is written then.
///
/// # Panics
/// If numbers lie further apart than [`VARINT_MAX`]; those of packets are below 2⁶².
pub fn emit_ack<I>(
    writer: &mut Writer<'_>,
    delay: AckDelay,
    host_delay: AckDelay,
    ranges: I,
) -> Result<usize, Full>
where
    I: IntoIterator<Item = (PacketNumber, PacketNumber)>,
{
    let mut ranges = ranges.into_iter();
    let Some((PacketNumber(mut low), PacketNumber(high))) = ranges.next() else { return Ok(0) };
    let start = writer.position();
    let first = Ack {
        largest: (high & 0xffff) as u16,
        delay,
        host_delay,
        first_range: high.saturating_sub(low),
        further_ranges: 0,
        further: &[],
    };
    first.emit(writer).inspect_err(|_| writer.roll_back(start))?;
    let mut further = 0;
    for (PacketNumber(next_low), PacketNumber(next_high)) in ranges.take(Ack::RANGES_MAX - 1) {
        let Some(gap) = low.checked_sub(next_high).and_then(|n| n.checked_sub(2)) else { break };
        let Some(len) = next_high.checked_sub(next_low) else { break };
        let before = writer.position();
        if writer.varint(gap).and_then(|()| writer.varint(len)).is_err() {
            writer.roll_back(before);
            break;
        }
        further += 1;
        low = next_low;
    }
    writer.amend(start, FIRST_TYPE + further);
    Ok(usize::from(further) + 1)
}

fn below(high: u64, len: u64) -> Result<(u64, u64), ParseError> {
    high.checked_sub(len).map(|low| (low, high)).ok_or(ParseError::BadValue)
}

pub(super) const FIRST_TYPE: u8 = 0x10;
pub(super) const LAST_TYPE: u8 = 0x2f;
const UNIT_MICROS: u64 = 64;
const _: () = assert!(u64::MAX / UNIT_MICROS <= VARINT_MAX);

#[cfg(test)]
mod tests {
    use std::vec;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::wire::frame::Frame;

    type Ranges = Vec<(u64, u64)>;

    #[test]
    fn literal_bytes() {
        let mut out = [0; 32];
        let mut writer = Writer::new(&mut out);
        let delay = AckDelay::from_duration(Duration::from_micros(64 * 70 + 63));
        let ranges = [(0x1_0200, 0x1_0201), (0x1_01ff - 5, 0x1_01ff - 1), (3, 3)];
        let written = emit(&mut writer, delay, &ranges);
        assert_eq!(written, Ok(3));
        let bytes = [
            0x12, 0x01, 0x02, 0x40, 70, 0, 1, // largest, delays, first range
            0, 4, // one missing, five received
            0x80, 0x01, 0x01, 0xf5, 0, // 0x1_01fa − 0x1_01f5 − 2 = 3
        ];
        assert_eq!(writer.written(), bytes);
        let ack = parsed(&bytes);
        assert_eq!(ack.delay.duration(), Duration::from_micros(64 * 70));
        assert_eq!(ack.host_delay, AckDelay::default());
        assert_eq!(ack.largest(PacketNumber(0x1_0202)), PacketNumber(0x1_0201));
        assert_eq!(collect(ack, 0x1_0202), Ok(ranges.to_vec()));
    }

    #[test]
    fn ranges_do_not_reach_below_zero() {
        // Packet 5, six before it.
        let ack = [0x10, 5, 0, 0, 0, 6];
        assert_eq!(collect(parsed(&ack), 6), Err(ParseError::BadValue));
        // Packet 5, then a gap of five packets.
        let ack = [0x11, 5, 0, 0, 0, 0, 4, 0];
        let mut ranges = parsed(&ack).ranges(PacketNumber(6));
        assert_eq!(ranges.next(), Some(Ok((PacketNumber(5), PacketNumber(5)))));
        assert_eq!(ranges.next(), Some(Err(ParseError::BadValue)));
        assert_eq!(ranges.next(), None);
    }

    #[test]
    fn an_ack_that_ends_too_early_is_refused() {
        let ack = [0x12, 5, 0, 0, 0, 0, 0, 0, 1];
        assert_eq!(Frame::parse(&mut Reader::new(&ack)), Err(ParseError::Truncated));
    }

    #[test]
    fn as_many_ranges_as_fit() {
        let ranges: Ranges = (0..40).rev().map(|n| (10 * n, 10 * n + 1)).collect();
        let mut out = [0; 100];
        let mut writer = Writer::new(&mut out);
        assert_eq!(emit(&mut writer, AckDelay::default(), &ranges), Ok(32));
        assert_eq!(collect(parsed(writer.written()), 400), Ok(ranges[..32].to_vec()));
        for room in 0..70 {
            let mut writer = Writer::new(&mut out[..room]);
            let written = emit(&mut writer, AckDelay::default(), &ranges);
            if room < 6 {
                assert_eq!((written, writer.position()), (Err(Full), 0));
            } else {
                let count = ((room - 6) / 2 + 1).min(32);
                assert_eq!((written, writer.position()), (Ok(count), 4 + 2 * count));
                assert_eq!(collect(parsed(writer.written()), 400), Ok(ranges[..count].to_vec()));
            }
        }
    }

    #[test]
    fn ranges_out_of_order_end_the_list() {
        for bad in [(6, 8), (5, 9), (9, 8), (20, 30), (3, 2)] {
            let mut out = [0; 32];
            let mut writer = Writer::new(&mut out);
            assert_eq!(emit(&mut writer, AckDelay::default(), &[(9, 9), bad, (1, 1)]), Ok(1));
            assert_eq!(collect(parsed(writer.written()), 10), Ok(vec![(9, 9)]));
        }
        let mut out = [0; 32];
        let mut writer = Writer::new(&mut out);
        assert_eq!(emit(&mut writer, AckDelay::default(), &[]), Ok(0));
        assert_eq!(writer.position(), 0);
    }

    #[test]
    fn the_longest_delay_is_a_varint() {
        let delay = AckDelay::from_duration(Duration::MAX);
        let mut out = [0; 32];
        assert_eq!(emit(&mut Writer::new(&mut out), delay, &[(0, 0)]), Ok(1));
        let ack = parsed(&out[..13]);
        assert_eq!(ack.delay, delay);
        assert!(ack.delay.duration() > Duration::from_secs(1 << 40));
    }

    proptest! {
        #[test]
        fn ranges_come_back(
            low in 0..1_u64 << 61,
            steps in prop::collection::vec((0..300_u64, 2..300_u64), 1..=32),
        ) {
            let mut ranges = Vec::new();
            let mut at = low;
            for (len, gap) in steps {
                ranges.push((at, at + len));
                at += len + gap;
            }
            ranges.reverse();
            let next = ranges[0].1 + 1;
            let mut out = [0; 300];
            let mut writer = Writer::new(&mut out);
            prop_assert_eq!(emit(&mut writer, AckDelay::default(), &ranges), Ok(ranges.len()));
            prop_assert_eq!(collect(parsed(writer.written()), next), Ok(ranges));
        }
    }

    fn emit(
        writer: &mut Writer<'_>,
        delay: AckDelay,
        ranges: &[(u64, u64)],
    ) -> Result<usize, Full> {
        let ranges = ranges.iter().map(|(low, high)| (PacketNumber(*low), PacketNumber(*high)));
        emit_ack(writer, delay, AckDelay::default(), ranges)
    }

    fn parsed(bytes: &[u8]) -> Ack<'_> {
        let mut reader = Reader::new(bytes);
        let Ok(Frame::Ack(ack)) = Frame::parse(&mut reader) else { panic!("{bytes:?}") };
        assert!(reader.is_empty());
        ack
    }

    fn collect(ack: Ack<'_>, next: u64) -> Result<Ranges, ParseError> {
        ack.ranges(PacketNumber(next)).map(|r| r.map(|(low, high)| (low.0, high.0))).collect()
    }
}
