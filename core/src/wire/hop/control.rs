//! Control datagrams: sealed messages between a peer and its relay (wire.md §3).

use core::fmt;

use super::Alternatives;
use crate::crypto::TAG_LEN;
use crate::id::SessionId;
use crate::wire::{Full, Kind, ParseError, Reader, Writer};

/// What stands before the sealed message; all of it is associated data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Control {
    /// The peer's session, in both directions.
    pub session: SessionId,
    /// The nonce; each direction counts from 0.
    pub counter: u32,
}

impl Control {
    /// Where the sealed message begins; it goes to the end.
    pub const PAYLOAD_OFFSET: usize = 12;
    /// The longest Control datagram.
    pub const LEN_MAX: usize = Self::PAYLOAD_OFFSET + ControlMessage::LEN_MAX + TAG_LEN;

    /// The header of `datagram`, which has room for a message and its tag.
    ///
    /// # Errors
    /// [`ParseError`].
    pub fn parse(datagram: &[u8]) -> Result<Self, ParseError> {
        let mut reader = Kind::Control.expect(datagram)?;
        let header = Self { session: reader.session_id()?, counter: reader.u32()? };
        reader.take(1 + TAG_LEN)?;
        Ok(header)
    }

    /// Writes the header and returns where the sealed message begins.
    ///
    /// # Errors
    /// [`Full`].
    pub fn emit(&self, out: &mut [u8]) -> Result<usize, Full> {
        let mut writer = Writer::new(out);
        writer.u8(Kind::Control as u8)?;
        writer.session_id(self.session)?;
        writer.u32(self.counter)?;
        Ok(writer.position())
    }
}

impl fmt::Display for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", Kind::Control, self.counter)
    }
}

/// What is sealed in a Control datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ControlMessage {
    /// The session goes on; answered by [`ControlMessage::KeepAliveAck`].
    KeepAlive {
        /// Opaque to the other side.
        time: u32,
    },
    /// Answers [`ControlMessage::KeepAlive`].
    KeepAliveAck {
        /// Echo.
        time: u32,
    },
    /// The relay is about to stop.
    Drain {
        /// How long it still forwards.
        left_s: u16,
        /// Where its operator would have peers go.
        alternatives: Alternatives,
    },
    /// The peer leaves.
    Unbind,
    /// The peer's key has another session now; stop using this one.
    SessionReplaced,
    /// The session ended: token or lifetime.
    Expired,
    /// Which signed list of relays is there, and what does it say? Answered by a
    /// [`DirectoryPage`], which is never longer.
    DirectoryAsk {
        /// The list that bytes are wanted of; 0: none are, as it is not known which there is.
        sequence: u64,
        /// From where on.
        offset: u16,
        /// How many at most: so many zeros stand behind the message.
        room: u16,
    },
}

impl ControlMessage {
    /// The longest message: it makes a datagram of 1,200 bytes.
    pub const LEN_MAX: usize = DATAGRAM_LEN - Control::PAYLOAD_OFFSET - TAG_LEN;

    /// The opened message.
    ///
    /// # Errors
    /// [`ParseError`].
    pub fn parse(plaintext: &[u8]) -> Result<Self, ParseError> {
        let mut reader = Reader::new(plaintext);
        let message = match reader.u8()? {
            KEEP_ALIVE => Self::KeepAlive { time: reader.u32()? },
            KEEP_ALIVE_ACK => Self::KeepAliveAck { time: reader.u32()? },
            DRAIN => Self::Drain {
                left_s: reader.u16()?,
                alternatives: Alternatives::parse(&mut reader)?,
            },
            UNBIND => Self::Unbind,
            SESSION_REPLACED => Self::SessionReplaced,
            EXPIRED => Self::Expired,
            DIRECTORY_ASK => {
                let (sequence, offset) = (reader.u64()?, reader.u16()?);
                if plaintext.len() > Self::LEN_MAX {
                    return Err(ParseError::TooLong);
                }
                if reader.u16()? != 0 || reader.rest().iter().any(|byte| *byte != 0) {
                    return Err(ParseError::BadValue);
                }
                let room = (plaintext.len() - DirectoryPage::BYTES_OFFSET) as u16;
                return Ok(Self::DirectoryAsk { sequence, offset, room });
            }
            _ => return Err(ParseError::UnknownType),
        };
        reader.finish()?;
        Ok(message)
    }

    /// Writes the message and returns its length.
    ///
    /// # Errors
    /// [`Full`].
    pub fn emit(&self, out: &mut [u8]) -> Result<usize, Full> {
        let mut writer = Writer::new(out);
        match *self {
            Self::KeepAlive { time } => {
                writer.u8(KEEP_ALIVE)?;
                writer.u32(time)?;
            }
            Self::KeepAliveAck { time } => {
                writer.u8(KEEP_ALIVE_ACK)?;
                writer.u32(time)?;
            }
            Self::Drain { left_s, ref alternatives } => {
                writer.u8(DRAIN)?;
                writer.u16(left_s)?;
                alternatives.emit(&mut writer)?;
            }
            Self::Unbind => writer.u8(UNBIND)?,
            Self::SessionReplaced => writer.u8(SESSION_REPLACED)?,
            Self::Expired => writer.u8(EXPIRED)?,
            Self::DirectoryAsk { sequence, offset, room } => {
                writer.u8(DIRECTORY_ASK)?;
                writer.u64(sequence)?;
                writer.u16(offset)?;
                writer.u16(0)?;
                for _ in 0..room {
                    writer.u8(0)?;
                }
            }
        }
        Ok(writer.position())
    }
}

impl fmt::Display for ControlMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeepAlive { time } => write!(f, "keep-alive {time}"),
            Self::KeepAliveAck { time } => write!(f, "keep-alive-ack {time}"),
            Self::Drain { left_s, alternatives } => {
                write!(f, "drain in {left_s} s")?;
                alternatives.as_slice().iter().try_for_each(|relay| write!(f, ", to {relay}"))
            }
            Self::Unbind => f.write_str("unbind"),
            Self::SessionReplaced => f.write_str("session-replaced"),
            Self::Expired => f.write_str("expired"),
            Self::DirectoryAsk { sequence, offset, room } => {
                write!(f, "directory-ask {sequence} {offset}+{room}")
            }
        }
    }
}

/// Answers a [`ControlMessage::DirectoryAsk`]: which signed list there is, and a part of it if the
/// question named it. Apart from the other messages, because it borrows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DirectoryPage<'a> {
    /// The list's; 0: there is none.
    pub sequence: u64,
    /// The list's length.
    pub list_len: u16,
    /// Where in it `bytes` stand.
    pub offset: u16,
    /// A part of it, or nothing.
    pub bytes: &'a [u8],
}

impl<'a> DirectoryPage<'a> {
    /// Where its part of the list begins; what a question takes without room for an answer.
    pub const BYTES_OFFSET: usize = 13;
    /// The longest part of a list.
    pub const BYTES_MAX: usize = ControlMessage::LEN_MAX - Self::BYTES_OFFSET;

    /// Whether an opened message is one.
    #[must_use]
    pub fn is(plaintext: &[u8]) -> bool {
        plaintext.first() == Some(&DIRECTORY_PAGE)
    }

    /// The opened message.
    ///
    /// # Errors
    /// [`ParseError`].
    pub fn parse(plaintext: &'a [u8]) -> Result<Self, ParseError> {
        let mut reader = Reader::new(plaintext);
        if reader.u8()? != DIRECTORY_PAGE {
            return Err(ParseError::UnknownType);
        }
        let page = Self {
            sequence: reader.u64()?,
            list_len: reader.u16()?,
            offset: reader.u16()?,
            bytes: reader.rest(),
        };
        let end = usize::from(page.offset) + page.bytes.len();
        let is_empty = page.bytes.is_empty();
        if page.bytes.len() > Self::BYTES_MAX {
            Err(ParseError::TooLong)
        } else if end > page.list_len.into()
            || is_empty && page.offset != 0
            || (page.sequence == 0) != (page.list_len == 0)
        {
            Err(ParseError::BadValue)
        } else {
            Ok(page)
        }
    }

    /// Writes the message and returns its length.
    ///
    /// # Errors
    /// [`Full`].
    pub fn emit(&self, out: &mut [u8]) -> Result<usize, Full> {
        let mut writer = Writer::new(out);
        writer.u8(DIRECTORY_PAGE)?;
        writer.u64(self.sequence)?;
        writer.u16(self.list_len)?;
        writer.u16(self.offset)?;
        writer.bytes(self.bytes)?;
        Ok(writer.position())
    }
}

impl fmt::Display for DirectoryPage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sequence, list_len, offset, bytes } = self;
        write!(f, "directory-page {sequence} {offset}+{} of {list_len}", bytes.len())
    }
}

const KEEP_ALIVE: u8 = 1;
const KEEP_ALIVE_ACK: u8 = 2;
const DRAIN: u8 = 3;
const UNBIND: u8 = 4;
const SESSION_REPLACED: u8 = 5;
const EXPIRED: u8 = 6;
const DIRECTORY_ASK: u8 = 7;
const DIRECTORY_PAGE: u8 = 8;
/// Of the longest Control datagram: every path carries it.
const DATAGRAM_LEN: usize = 1200;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::RelayId;

    #[test]
    fn control_literal_bytes() {
        let control = Control { session: SessionId::new(1, 2), counter: 0x0403_0201 };
        let mut datagram = [0; Control::PAYLOAD_OFFSET + 1 + TAG_LEN];
        assert_eq!(control.emit(&mut datagram), Ok(Control::PAYLOAD_OFFSET));
        assert_eq!(datagram[..12], [8, 1, 0, 0, 2, 0, 0, 0, 1, 2, 3, 4]);
        assert_eq!(Control::parse(&datagram), Ok(control));
        assert_eq!(Control::parse(&datagram[..28]), Err(ParseError::Truncated));
    }

    #[test]
    fn message_literal_bytes() {
        let mut two = Alternatives::NONE;
        two.push(RelayId(0x0102_0304_0506_0708)).unwrap();
        two.push(RelayId(2)).unwrap();
        let messages: [(ControlMessage, &[u8]); 7] = [
            (ControlMessage::KeepAlive { time: 0x0403_0201 }, &[1, 1, 2, 3, 4]),
            (ControlMessage::KeepAliveAck { time: 5 }, &[2, 5, 0, 0, 0]),
            (
                ControlMessage::Drain { left_s: 0x0201, alternatives: Alternatives::NONE },
                &[3, 1, 2],
            ),
            (
                ControlMessage::Drain { left_s: 9, alternatives: two },
                &[3, 9, 0, 8, 7, 6, 5, 4, 3, 2, 1, 2, 0, 0, 0, 0, 0, 0, 0],
            ),
            (ControlMessage::Unbind, &[4]),
            (ControlMessage::SessionReplaced, &[5]),
            (ControlMessage::Expired, &[6]),
        ];
        for (message, bytes) in messages {
            let mut out = [0; ControlMessage::LEN_MAX];
            let len = message.emit(&mut out).unwrap();
            assert_eq!(&out[..len], bytes);
            assert_eq!(ControlMessage::parse(bytes), Ok(message));
            assert_eq!(message.emit(&mut out[..len - 1]), Err(Full));
            let long = [bytes, &[0]].concat();
            // Behind Drain it is the beginning of one more relay.
            let drains = matches!(message, ControlMessage::Drain { .. });
            let why = if drains { ParseError::Truncated } else { ParseError::Trailing };
            assert_eq!(ControlMessage::parse(&long), Err(why));
            let short = &bytes[..bytes.len() - 1];
            assert_eq!(ControlMessage::parse(short), Err(ParseError::Truncated));
        }
        let relays = |count: usize| [&[3, 9, 0][..], &[5].repeat(8 * count)].concat();
        assert!(ControlMessage::parse(&relays(4)).is_ok());
        assert_eq!(ControlMessage::parse(&relays(5)), Err(ParseError::Trailing));
        assert_eq!(ControlMessage::parse(&[0]), Err(ParseError::UnknownType));
        assert_eq!(ControlMessage::parse(&[8]), Err(ParseError::UnknownType));
    }

    #[test]
    fn directory_literal_bytes() {
        let ask =
            ControlMessage::DirectoryAsk { sequence: 0x0807_0605_0403_0201, offset: 9, room: 3 };
        let bytes = [7, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 0, 0, 0, 0, 0];
        let mut out = [0xff; ControlMessage::LEN_MAX];
        assert_eq!(ask.emit(&mut out), Ok(bytes.len()));
        assert_eq!(out[..bytes.len()], bytes);
        assert_eq!(ControlMessage::parse(&bytes), Ok(ask));
        for len in 1..13 {
            assert_eq!(ControlMessage::parse(&bytes[..len]), Err(ParseError::Truncated));
        }
        for at in 11..bytes.len() {
            let mut changed = bytes;
            changed[at] = 1;
            assert_eq!(ControlMessage::parse(&changed), Err(ParseError::BadValue));
        }
        let room = DirectoryPage::BYTES_MAX as u16;
        let longest = ControlMessage::DirectoryAsk { sequence: 1, offset: 0, room };
        assert_eq!(longest.emit(&mut out), Ok(ControlMessage::LEN_MAX));
        assert_eq!(ControlMessage::parse(&out), Ok(longest));
        let long = [&out[..], &[0]].concat();
        assert_eq!(ControlMessage::parse(&long), Err(ParseError::TooLong));

        let page = DirectoryPage { sequence: 1, list_len: 0x0201, offset: 5, bytes: &[8, 9] };
        let bytes = [8, 1, 0, 0, 0, 0, 0, 0, 0, 1, 2, 5, 0, 8, 9];
        assert_eq!(page.emit(&mut out), Ok(bytes.len()));
        assert_eq!(out[..bytes.len()], bytes);
        assert!(DirectoryPage::is(&bytes));
        assert_eq!(DirectoryPage::parse(&bytes), Ok(page));
        for len in 1..13 {
            assert_eq!(DirectoryPage::parse(&bytes[..len]), Err(ParseError::Truncated));
        }
        let bad = |list_len, offset, sequence| {
            let mut out = [0; 20];
            let len =
                DirectoryPage { sequence, list_len, offset, bytes: &[] }.emit(&mut out).unwrap();
            DirectoryPage::parse(&out[..len]).is_err()
        };
        assert!(bad(5, 1, 1), "an empty page has no place");
        assert!(bad(5, 0, 0) && bad(0, 0, 1), "a list has a number and a length");
        assert!(!bad(0, 0, 0) && !bad(5, 0, 1));
        let beyond = DirectoryPage { list_len: 6, ..page };
        let len = beyond.emit(&mut out).unwrap();
        assert_eq!(DirectoryPage::parse(&out[..len]), Err(ParseError::BadValue));
    }
}
