//! Data datagrams: frames sealed between two peers (wire.md §1.1).

use core::fmt;
use core::ops::Deref;

use super::number::Truncated;
use super::{Full, Kind, ParseError, Reader, Writer};
use crate::crypto::TAG_LEN;
use crate::id::{ConnectionIndex, SessionId};

/// What stands before the sealed frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DataHeader {
    /// The receiver's session at the relay.
    pub destination: SessionId,
    /// Flips with each key update.
    pub key_phase: bool,
    /// Chosen by the receiver.
    pub index: ConnectionIndex,
    /// The packet number as it travels.
    pub number: Truncated,
}

impl DataHeader {
    /// Bytes around the frames of a packet, besides its number.
    pub const OVERHEAD: usize = 1 + 7 + 2 + TAG_LEN;

    /// The header of `datagram`; what is sealed (at least one byte and a tag) begins at
    /// [`DataHeader::sealed_offset`] and goes to the end.
    ///
    /// # Errors
    /// [`ParseError`] as for any datagram.
    pub fn parse(datagram: &[u8]) -> Result<Self, ParseError> {
        Kind::Data.expect(datagram)?;
        Self::read(datagram)
    }

    /// As [`DataHeader::parse`], of what is known to be of this kind.
    #[inline(always)]
    pub(crate) fn read(datagram: &[u8]) -> Result<Self, ParseError> {
        let mut reader = Reader::new(datagram);
        reader.u8()?;
        let first = datagram.first().ok_or(ParseError::Truncated)?;
        let destination = reader.session_id()?;
        let index = ConnectionIndex(reader.u16()?);
        let len = usize::from(first & NUMBER_LEN) + 1;
        let number = Truncated::new(reader.big_endian(len)?, len);
        if reader.len() <= TAG_LEN {
            return Err(ParseError::Truncated);
        }
        Ok(Self { destination, key_phase: first & KEY_PHASE != 0, index, number })
    }

    /// Writes the header and returns where the sealed part begins.
    ///
    /// # Errors
    /// [`Full`].
    pub fn emit(&self, out: &mut [u8]) -> Result<usize, Full> {
        let mut writer = Writer::new(out);
        writer.u8(self.first_byte())?;
        writer.session_id(self.destination)?;
        writer.u16(self.index.0)?;
        writer.big_endian(self.number.value(), self.number.len())?;
        Ok(writer.position())
    }

    /// Where the sealed part begins.
    #[must_use]
    pub const fn sealed_offset(&self) -> usize {
        10 + self.number.len()
    }

    /// First byte, connection index and packet number as sent: all but the destination, which
    /// changes with the route.
    #[must_use]
    pub const fn associated_data(&self) -> AssociatedData {
        let [low, high] = self.index.0.to_le_bytes();
        // Shifted so that the first byte that travels comes first; the rest is not looked at.
        let number = (self.number.value() as u32) << (32 - 8 * self.number.len());
        let [a, b, c, d] = number.to_be_bytes();
        AssociatedData {
            bytes: [self.first_byte(), low, high, a, b, c, d],
            len: 3 + self.number.len(),
        }
    }

    const fn first_byte(&self) -> u8 {
        let key_phase = if self.key_phase { KEY_PHASE } else { 0 };
        Kind::Data as u8 | key_phase | (self.number.len() as u8 - 1)
    }
}

impl fmt::Display for DataHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phase = u8::from(self.key_phase);
        write!(f, "data {} to index {} phase {phase}", self.number, self.index.0)
    }
}

/// The associated data of a Data packet, 4–7 bytes; dereferences to them.
#[derive(Clone, Copy, Debug)]
pub struct AssociatedData {
    bytes: [u8; 7],
    len: usize,
}

impl Deref for AssociatedData {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&self.bytes)
    }
}

const KEY_PHASE: u8 = 0b100;
const NUMBER_LEN: u8 = 0b011;

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn literal_bytes() {
        let header = DataHeader {
            destination: SessionId::new(0x03_0201, 0x0706_0504),
            key_phase: true,
            index: ConnectionIndex(0x0908),
            number: Truncated::new(0x01_0a0b, 2),
        };
        let mut datagram = [0; 12 + 1 + TAG_LEN];
        assert_eq!(header.emit(&mut datagram), Ok(12));
        assert_eq!(datagram[..12], [0x85, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0x0a, 0x0b]);
        assert_eq!(DataHeader::parse(&datagram), Ok(header));
        assert_eq!(header.sealed_offset(), 12);
        assert_eq!(*header.associated_data(), [0x85, 8, 9, 0x0a, 0x0b]);
        assert_eq!(header.to_string(), "data …0a0b to index 2312 phase 1");
    }

    #[test]
    fn associated_data_follows_the_length_of_the_number() {
        for (len, number) in [(1, &[4_u8][..]), (2, &[3, 4]), (3, &[2, 3, 4]), (4, &[1, 2, 3, 4])] {
            let header = DataHeader {
                destination: SessionId::NONE,
                key_phase: false,
                index: ConnectionIndex(0),
                number: Truncated::new(0x0102_0304, len),
            };
            let data = header.associated_data();
            assert_eq!(data.split_at(3), (&[0x7f + len as u8, 0, 0][..], number));
        }
    }

    #[test]
    fn a_packet_has_at_least_one_byte_of_frames() {
        let mut datagram = [0; 11 + 1 + TAG_LEN];
        datagram[0] = 0x80;
        assert!(DataHeader::parse(&datagram).is_ok());
        assert_eq!(DataHeader::parse(&datagram[1..]), Err(ParseError::UnknownType));
        assert_eq!(DataHeader::parse(&datagram[..27]), Err(ParseError::Truncated));
        assert_eq!(DataHeader::parse(&datagram[..10]), Err(ParseError::Truncated));
    }

    #[test]
    fn around_the_frames_of_a_short_number_there_are_27_bytes() {
        assert_eq!(DataHeader::OVERHEAD + 1, 27);
    }
}
