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
}

/// Writes an Ack frame of `ranges`: `(low, high)`, both inclusive, from the highest down, at least
/// one missing number between them. Returns how many of them it holds: as many as fit, at most
/// [`Ack::RANGES_MAX`]; a range that does not lie below the one before ends the list. Without
/// ranges nothing is written.
///
/// # Errors
/// [`Full`] if not even the first range fits; nothing is written then.
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
