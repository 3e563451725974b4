//! Checked reading from and writing to byte slices: the only way bytes become values here.

use core::fmt;

use super::PROTOCOL_VERSION;
use crate::crypto::Suite;
use crate::id::{PeerId, RelayId, SessionId};

/// Why bytes from outside were refused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum ParseError {
    /// The bytes end before the value does.
    Truncated,
    /// Bytes are left over behind the value.
    Trailing,
    /// Longer than a datagram may be.
    TooLong,
    /// A varint, or an optional field, in another form than its shortest.
    NonMinimal,
    /// A first byte, frame type or message type that version 1 does not have.
    UnknownType,
    /// Another protocol version.
    Version,
    /// A cipher suite that version 1 does not have.
    Suite,
    /// A frame that may not stand in this place.
    MisplacedFrame,
    /// A field holds a value it may not hold.
    BadValue,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "bytes end too early",
            Self::Trailing => "bytes left over",
            Self::TooLong => "longer than a datagram may be",
            Self::NonMinimal => "not in its shortest form",
            Self::UnknownType => "unknown type",
            Self::Version => "other protocol version",
            Self::Suite => "unknown cipher suite",
            Self::MisplacedFrame => "frame not allowed here",
            Self::BadValue => "value out of range",
        })
    }
}

impl core::error::Error for ParseError {}

/// The value does not fit in what is left of the output; nothing of it counts as written.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("output is full")
    }
}

impl core::error::Error for Full {}

/// The largest varint (RFC 9000 §16).
pub const VARINT_MAX: u64 = (1 << 62) - 1;

/// Bytes that `value` takes as a varint; 8 also for what is too large to be one.
#[must_use]
pub const fn varint_len(value: u64) -> usize {
    match value {
        0..=0x3f => 1,
        0x40..=0x3fff => 2,
        0x4000..=0x3fff_ffff => 4,
        _ => 8,
    }
}

/// The most bytes that fit in `room` behind a varint that tells their number; `None` if not even
/// the varint fits.
#[must_use]
pub fn room_after_length(room: usize) -> Option<usize> {
    match room {
        0 => return None,
        1..=0x40 => return Some(room - 1),
        0x41..=0x4001 => return Some(room - 2),
        _ => {}
    }
    [(1, 0x3f), (2, 0x3fff), (4, 0x3fff_ffff), (8, usize::MAX)]
        .into_iter()
        .filter_map(|(len, most)| Some(room.checked_sub(len)?.min(most)))
        .max()
}

/// Reads values from the front of a byte slice.
///
/// After an error the reader stands somewhere within the refused value; drop it.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from the first of `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// Bytes not yet read.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether everything was read.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// [`ParseError::Trailing`] if bytes are left over.
    pub const fn finish(self) -> Result<(), ParseError> {
        if self.bytes.is_empty() { Ok(()) } else { Err(ParseError::Trailing) }
    }

    /// The next `len` bytes.
    ///
    /// # Errors
    /// [`ParseError::Truncated`], as with all readings below.
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], ParseError> {
        let (taken, rest) = self.bytes.split_at_checked(len).ok_or(ParseError::Truncated)?;
        self.bytes = rest;
        Ok(taken)
    }

    /// All bytes not yet read.
    pub const fn rest(&mut self) -> &'a [u8] {
        let rest = self.bytes;
        self.bytes = &[];
        rest
    }

    /// The next `N` bytes as an array.
    ///
    /// # Errors
    /// [`ParseError::Truncated`].
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], ParseError> {
        let (taken, rest) = self.bytes.split_first_chunk().ok_or(ParseError::Truncated)?;
        self.bytes = rest;
        Ok(*taken)
    }

    /// One byte.
    ///
    /// # Errors
    /// [`ParseError::Truncated`].
    pub fn u8(&mut self) -> Result<u8, ParseError> {
        self.array().map(|[byte]| byte)
    }

    /// Two bytes, little-endian.
    ///
    /// # Errors
    /// [`ParseError::Truncated`].
    pub fn u16(&mut self) -> Result<u16, ParseError> {
        self.array().map(u16::from_le_bytes)
    }

    /// Four bytes, little-endian.
    ///
    /// # Errors
    /// [`ParseError::Truncated`].
    pub fn u32(&mut self) -> Result<u32, ParseError> {
        self.array().map(u32::from_le_bytes)
    }

    /// Eight bytes, little-endian.
    ///
    /// # Errors
    /// [`ParseError::Truncated`].
    pub fn u64(&mut self) -> Result<u64, ParseError> {
        self.array().map(u64::from_le_bytes)
    }

    /// `len` bytes (at most 8 count), big-endian.
    ///
    /// # Errors
    /// [`ParseError::Truncated`].
    pub fn big_endian(&mut self, len: usize) -> Result<u64, ParseError> {
        Ok(self.take(len)?.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    /// A varint (RFC 9000 §16), only in its shortest form.
    ///
    /// # Errors
    /// [`ParseError::Truncated`], [`ParseError::NonMinimal`].
    #[inline]
    pub fn varint(&mut self) -> Result<u64, ParseError> {
        // Lengths, mostly.
        match *self.bytes {
            [value @ ..=0x3f, ref rest @ ..] => {
                self.bytes = rest;
                Ok(u64::from(value))
            }
            [high @ 0x40..=0x7f, low, ref rest @ ..] => {
                let value = u64::from(high & 0x3f) << 8 | u64::from(low);
                self.bytes = rest;
                if value > 0x3f { Ok(value) } else { Err(ParseError::NonMinimal) }
            }
            _ => self.long_varint(),
        }
    }

    /// A varint of any length.
    #[inline(never)]
    fn long_varint(&mut self) -> Result<u64, ParseError> {
        let prefix = self.bytes.first().ok_or(ParseError::Truncated)? >> 6;
        let len = 1_usize << prefix;
        let value = self.big_endian(len)? & (u64::MAX >> (66 - 8 * len));
        if varint_len(value) == len { Ok(value) } else { Err(ParseError::NonMinimal) }
    }

    /// A varint and as many bytes as it says.
    ///
    /// # Errors
    /// [`ParseError::Truncated`], [`ParseError::NonMinimal`].
    #[inline]
    pub fn with_length(&mut self) -> Result<&'a [u8], ParseError> {
        let len = usize::try_from(self.varint()?).map_err(|_| ParseError::Truncated)?;
        self.take(len)
    }

    /// A [`SessionId`], which may be none.
    ///
    /// # Errors
    /// [`ParseError::Truncated`].
    pub fn session_id(&mut self) -> Result<SessionId, ParseError> {
        self.array().map(SessionId::from_bytes)
    }

    /// A [`RelayId`].
    ///
    /// # Errors
    /// [`ParseError::Truncated`].
    pub fn relay_id(&mut self) -> Result<RelayId, ParseError> {
        self.u64().map(RelayId)
    }

    /// A [`PeerId`].
    ///
    /// # Errors
    /// [`ParseError::Truncated`], [`ParseError::BadValue`] for a number that no peer has.
    pub fn peer_id(&mut self) -> Result<PeerId, ParseError> {
        PeerId::new(self.u64()?).ok_or(ParseError::BadValue)
    }

    /// A [`Suite`].
    ///
    /// # Errors
    /// [`ParseError::Truncated`], [`ParseError::Suite`].
    pub fn suite(&mut self) -> Result<Suite, ParseError> {
        Suite::from_u8(self.u8()?).ok_or(ParseError::Suite)
    }

    /// Our protocol version.
    ///
    /// # Errors
    /// [`ParseError::Truncated`], [`ParseError::Version`] if it is another.
    pub fn version(&mut self) -> Result<(), ParseError> {
        if self.u8()? == PROTOCOL_VERSION { Ok(()) } else { Err(ParseError::Version) }
    }

    /// Bytes that must be zero, up to the end.
    ///
    /// # Errors
    /// [`ParseError::BadValue`] if one of them is not.
    pub fn zeros_to_end(self) -> Result<(), ParseError> {
        if self.bytes.iter().all(|byte| *byte == 0) { Ok(()) } else { Err(ParseError::BadValue) }
    }
}

/// Writes values one behind the other into a lent slice.
///
/// A value that does not fit is not written at all. What spans several calls can be undone with
/// [`Writer::roll_back`].
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut [u8],
    position: usize,
}

impl<'a> Writer<'a> {
    /// Writes from the start of `out`.
    #[must_use]
    pub const fn new(out: &'a mut [u8]) -> Self {
        Self { out, position: 0 }
    }

    /// Bytes written so far.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.position
    }

    /// Bytes that still fit.
    #[must_use]
    pub const fn remaining(&self) -> usize {
        self.out.len().saturating_sub(self.position)
    }

    /// What was written so far.
    #[must_use]
    pub fn written(&self) -> &[u8] {
        self.out.get(..self.position).unwrap_or_default()
    }

    /// Forgets everything behind `position`, which an earlier call of [`Writer::position`] gave.
    pub fn roll_back(&mut self, position: usize) {
        self.position = self.position.min(position);
    }

    /// The next `len` bytes of the output, for the caller to fill.
    ///
    /// # Errors
    /// [`Full`], as with all writings below.
    pub fn reserve(&mut self, len: usize) -> Result<&mut [u8], Full> {
        let end = self.position.checked_add(len).ok_or(Full)?;
        let reserved = self.out.get_mut(self.position..end).ok_or(Full)?;
        self.position = end;
        Ok(reserved)
    }

    /// `bytes` as they are.
    ///
    /// # Errors
    /// [`Full`].
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), Full> {
        self.reserve(bytes.len())?.copy_from_slice(bytes);
        Ok(())
    }

    /// `len` zeros.
    ///
    /// # Errors
    /// [`Full`].
    pub fn zeros(&mut self, len: usize) -> Result<(), Full> {
        self.reserve(len)?.fill(0);
        Ok(())
    }

    /// One byte.
    ///
    /// # Errors
    /// [`Full`].
    pub fn u8(&mut self, value: u8) -> Result<(), Full> {
        self.bytes(&[value])
    }

    /// Two bytes, little-endian.
    ///
    /// # Errors
    /// [`Full`].
    pub fn u16(&mut self, value: u16) -> Result<(), Full> {
        self.bytes(&value.to_le_bytes())
    }

    /// Four bytes, little-endian.
    ///
    /// # Errors
    /// [`Full`].
    pub fn u32(&mut self, value: u32) -> Result<(), Full> {
        self.bytes(&value.to_le_bytes())
    }

    /// Eight bytes, little-endian.
    ///
    /// # Errors
    /// [`Full`].
    pub fn u64(&mut self, value: u64) -> Result<(), Full> {
        self.bytes(&value.to_le_bytes())
    }

    /// The low `len` bytes (at most 8) of `value`, big-endian.
    ///
    /// # Errors
    /// [`Full`].
    pub fn big_endian(&mut self, value: u64, len: usize) -> Result<(), Full> {
        let mut left = value;
        for byte in self.reserve(len.min(size_of::<u64>()))?.iter_mut().rev() {
            *byte = left as u8;
            left >>= 8;
        }
        Ok(())
    }

    /// A varint (RFC 9000 §16) in its shortest form.
    ///
    /// # Errors
    /// [`Full`].
    ///
    /// # Panics
    /// If `value` is above [`VARINT_MAX`].
    pub fn varint(&mut self, value: u64) -> Result<(), Full> {
        match value {
            0..=0x3f => return self.u8(value as u8),
            0x40..=0x3fff => return self.bytes(&(value as u16 | 0x4000).to_be_bytes()),
            _ => {}
        }
        assert!(value <= VARINT_MAX, "{value} is too large for a varint");
        let len = varint_len(value);
        let prefix = u64::from(len.trailing_zeros()) << (8 * len - 2);
        self.big_endian(value | prefix, len)
    }

    /// The number of `bytes` as a varint, and the bytes.
    ///
    /// # Errors
    /// [`Full`]; the writer may then stand behind the varint.
    pub fn with_length(&mut self, bytes: &[u8]) -> Result<(), Full> {
        self.varint(bytes.len() as u64)?;
        self.bytes(bytes)
    }

    /// A [`SessionId`].
    ///
    /// # Errors
    /// [`Full`].
    pub fn session_id(&mut self, session: SessionId) -> Result<(), Full> {
        self.bytes(&session.to_bytes())
    }

    /// Overwrites one byte that was written before; without effect behind [`Writer::position`].
    pub(crate) fn amend(&mut self, position: usize, value: u8) {
        if let Some(byte) = self.out.get_mut(..self.position).and_then(|w| w.get_mut(position)) {
            *byte = value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_are_those_of_rfc_9000() {
        // RFC 9000 A.1.
        let examples: [(&[u8], u64); 4] = [
            (&[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c], 151_288_809_941_952_652),
            (&[0x9d, 0x7f, 0x3e, 0x7d], 494_878_333),
            (&[0x7b, 0xbd], 15_293),
            (&[0x25], 37),
        ];
        for (bytes, value) in examples {
            let mut reader = Reader::new(bytes);
            assert_eq!(reader.varint(), Ok(value));
            assert!(reader.is_empty());
            let mut out = [0; 8];
            let mut writer = Writer::new(&mut out);
            writer.varint(value).unwrap();
            assert_eq!(writer.written(), bytes);
        }
    }

    #[test]
    fn varints_have_one_form() {
        for bytes in [&[0x40, 0x25][..], &[0x80, 0, 0x3f, 0xff], &[0xc0, 0, 0, 0, 0x3f, 0, 0, 0]] {
            assert_eq!(Reader::new(bytes).varint(), Err(ParseError::NonMinimal));
        }
        assert_eq!(Reader::new(&[]).varint(), Err(ParseError::Truncated));
        assert_eq!(Reader::new(&[0x40]).varint(), Err(ParseError::Truncated));
    }

    #[test]
    fn varint_lengths_change_where_the_form_does() {
        for (value, len) in
            [(0, 1), (63, 1), (64, 2), (16_383, 2), (16_384, 4), (1 << 30, 8), (VARINT_MAX, 8)]
        {
            assert_eq!(varint_len(value), len, "{value}");
            let mut out = [0; 8];
            let mut writer = Writer::new(&mut out);
            writer.varint(value).unwrap();
            assert_eq!(writer.position(), len);
            assert_eq!(Reader::new(writer.written()).varint(), Ok(value));
        }
    }

    #[test]
    fn room_after_a_length_is_the_most_that_fits() {
        assert_eq!(room_after_length(0), None);
        for room in 1..20_000_usize {
            let fits = |len: usize| varint_len(len as u64) + len <= room;
            let len = room_after_length(room).unwrap();
            assert!(fits(len) && !fits(len + 1), "{room}: {len}");
        }
    }

    #[test]
    fn what_does_not_fit_is_not_written() {
        let mut out = [0xee; 4];
        let mut writer = Writer::new(&mut out);
        writer.u16(0x0201).unwrap();
        assert_eq!(writer.u32(0), Err(Full));
        assert_eq!(writer.varint(1 << 40), Err(Full));
        assert_eq!(writer.written(), [1, 2]);
        let position = writer.position();
        writer.u8(3).unwrap();
        writer.roll_back(position);
        writer.big_endian(0x0304_0506, 2).unwrap();
        assert_eq!(writer.u8(0), Err(Full));
        assert_eq!(out, [1, 2, 5, 6]);
    }

    #[test]
    fn reading_stops_at_the_end() {
        let mut reader = Reader::new(&[1, 2, 3]);
        assert_eq!(reader.u16(), Ok(0x0201));
        assert_eq!(reader.u16(), Err(ParseError::Truncated));
        assert_eq!(reader.clone().finish(), Err(ParseError::Trailing));
        assert_eq!(reader.rest(), [3]);
        assert_eq!(reader.finish(), Ok(()));
        assert_eq!(Reader::new(&[5, 1]).with_length(), Err(ParseError::Truncated));
    }

    #[test]
    #[should_panic(expected = "too large")]
    fn a_number_that_is_no_varint_is_our_own_mistake() {
        Writer::new(&mut [0; 8]).varint(VARINT_MAX + 1).ok();
    }
}
