//! What a datagram is, told by its first byte (wire.md §1).

use core::fmt;

use super::{DATAGRAM_LEN_MAX, ParseError, Reader};
use crate::id::SessionId;

/// Every kind of datagram; as a number, its first byte (of Data: the one with no bits set).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Kind {
    /// Peer asks a relay for a cookie.
    Hello = 0x01,
    /// Relay's answer to Hello.
    Cookie = 0x02,
    /// Peer registers by handshake.
    Bind = 0x03,
    /// Relay's answer to Bind.
    Bound = 0x04,
    /// Peer registers with a ticket.
    Resume = 0x05,
    /// Relay's answer to Resume.
    Resumed = 0x06,
    /// Relay's refusal of Bind, Resume or Hello.
    Refused = 0x07,
    /// A sealed message between peer and relay.
    Control = 0x08,
    /// Relay's hint that it knows no session at the source address.
    NotBound = 0x09,
    /// Latency probe to a relay.
    Probe = 0x0a,
    /// Relay's answer to Probe.
    ProbeReply = 0x0b,
    /// First handshake message between peers who expect each other.
    Initiation = 0x40,
    /// First handshake message keyed by an invite's secret.
    InviteInitiation = 0x41,
    /// Second handshake message.
    Response = 0x42,
    /// Frames.
    Data = 0x80,
}

impl Kind {
    /// The kind with this first byte.
    #[must_use]
    pub const fn from_first_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0x01 => Self::Hello,
            0x02 => Self::Cookie,
            0x03 => Self::Bind,
            0x04 => Self::Bound,
            0x05 => Self::Resume,
            0x06 => Self::Resumed,
            0x07 => Self::Refused,
            0x08 => Self::Control,
            0x09 => Self::NotBound,
            0x0a => Self::Probe,
            0x0b => Self::ProbeReply,
            0x40 => Self::Initiation,
            0x41 => Self::InviteInitiation,
            0x42 => Self::Response,
            0x80..=0x87 => Self::Data,
            _ => return None,
        })
    }

    /// What `datagram` claims to be.
    ///
    /// # Errors
    /// [`ParseError::Truncated`] if it is empty, [`ParseError::TooLong`],
    /// [`ParseError::UnknownType`].
    pub fn of(datagram: &[u8]) -> Result<Self, ParseError> {
        let first = datagram.first().ok_or(ParseError::Truncated)?;
        if datagram.len() > DATAGRAM_LEN_MAX {
            return Err(ParseError::TooLong);
        }
        // Nearly all.
        if (0x80..=0x87).contains(first) {
            return Ok(Self::Data);
        }
        Self::from_first_byte(*first).ok_or(ParseError::UnknownType)
    }

    /// Whether a relay sends it on, unchanged, to the session it names.
    #[must_use]
    pub const fn is_forwarded(self) -> bool {
        self as u8 >= 0x40
    }

    /// The session that a forwarded datagram is for.
    ///
    /// # Errors
    /// As [`Kind::of`]; [`ParseError::UnknownType`] also for datagrams that are not forwarded.
    pub fn destination_of(datagram: &[u8]) -> Result<SessionId, ParseError> {
        if !Self::of(datagram)?.is_forwarded() {
            return Err(ParseError::UnknownType);
        }
        let mut reader = Reader::new(datagram);
        reader.u8()?;
        reader.session_id()
    }

    /// A reader behind the first byte of `datagram`, if that is of this kind.
    pub(super) fn expect(self, datagram: &[u8]) -> Result<Reader<'_>, ParseError> {
        if Self::of(datagram)? != self {
            return Err(ParseError::UnknownType);
        }
        let mut reader = Reader::new(datagram);
        reader.u8()?;
        Ok(reader)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hello => "hello",
            Self::Cookie => "cookie",
            Self::Bind => "bind",
            Self::Bound => "bound",
            Self::Resume => "resume",
            Self::Resumed => "resumed",
            Self::Refused => "refused",
            Self::Control => "control",
            Self::NotBound => "not-bound",
            Self::Probe => "probe",
            Self::ProbeReply => "probe-reply",
            Self::Initiation => "initiation",
            Self::InviteInitiation => "invite-initiation",
            Self::Response => "response",
            Self::Data => "data",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    #[test]
    fn first_bytes_are_those_of_the_document() {
        let known: Vec<u8> =
            (0..=u8::MAX).filter(|byte| Kind::from_first_byte(*byte).is_some()).collect();
        let hop = 0x01..=0x0b;
        assert_eq!(known, hop.chain(0x40..=0x42).chain(0x80..=0x87).collect::<Vec<u8>>());
        for byte in known {
            let kind = Kind::from_first_byte(byte).unwrap();
            assert_eq!(kind as u8, if byte >= 0x80 { 0x80 } else { byte });
            assert_eq!(kind.is_forwarded(), byte >= 0x40);
        }
    }

    #[test]
    fn what_cannot_be_a_datagram_is_refused() {
        assert_eq!(Kind::of(&[]), Err(ParseError::Truncated));
        assert_eq!(Kind::of(&[0x88; 40]), Err(ParseError::UnknownType));
        assert_eq!(Kind::of(&[0x80; 1472]), Ok(Kind::Data));
        assert_eq!(Kind::of(&[0x80; 1473]), Err(ParseError::TooLong));
    }

    #[test]
    fn only_forwarded_datagrams_have_a_destination() {
        let datagram = [0x42, 1, 0, 0, 2, 0, 0, 0, 9];
        assert_eq!(Kind::destination_of(&datagram), Ok(SessionId::new(1, 2)));
        assert_eq!(Kind::destination_of(&datagram[..7]), Err(ParseError::Truncated));
        assert_eq!(Kind::destination_of(&[0x08; 40]), Err(ParseError::UnknownType));
    }
}
