//! Control datagrams: sealed messages between a peer and its relay (wire.md §3).

use core::fmt;

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
    },
    /// The peer leaves.
    Unbind,
    /// The peer's key has another session now; stop using this one.
    SessionReplaced,
    /// The session ended: token or lifetime.
    Expired,
}

impl ControlMessage {
    /// The longest message.
    pub const LEN_MAX: usize = 5;

    /// The opened message.
    ///
    /// # Errors
    /// [`ParseError`].
    pub fn parse(plaintext: &[u8]) -> Result<Self, ParseError> {
        let mut reader = Reader::new(plaintext);
        let message = match reader.u8()? {
            KEEP_ALIVE => Self::KeepAlive { time: reader.u32()? },
            KEEP_ALIVE_ACK => Self::KeepAliveAck { time: reader.u32()? },
            DRAIN => Self::Drain { left_s: reader.u16()? },
            UNBIND => Self::Unbind,
            SESSION_REPLACED => Self::SessionReplaced,
            EXPIRED => Self::Expired,
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
            Self::Drain { left_s } => {
                writer.u8(DRAIN)?;
                writer.u16(left_s)?;
            }
            Self::Unbind => writer.u8(UNBIND)?,
            Self::SessionReplaced => writer.u8(SESSION_REPLACED)?,
            Self::Expired => writer.u8(EXPIRED)?,
        }
        Ok(writer.position())
    }
}

impl fmt::Display for ControlMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeepAlive { time } => write!(f, "keep-alive {time}"),
            Self::KeepAliveAck { time } => write!(f, "keep-alive-ack {time}"),
            Self::Drain { left_s } => write!(f, "drain in {left_s} s"),
            Self::Unbind => f.write_str("unbind"),
            Self::SessionReplaced => f.write_str("session-replaced"),
            Self::Expired => f.write_str("expired"),
        }
    }
}

const KEEP_ALIVE: u8 = 1;
const KEEP_ALIVE_ACK: u8 = 2;
const DRAIN: u8 = 3;
const UNBIND: u8 = 4;
const SESSION_REPLACED: u8 = 5;
const EXPIRED: u8 = 6;

#[cfg(test)]
mod tests {
    use super::*;

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
        let messages: [(ControlMessage, &[u8]); 6] = [
            (ControlMessage::KeepAlive { time: 0x0403_0201 }, &[1, 1, 2, 3, 4]),
            (ControlMessage::KeepAliveAck { time: 5 }, &[2, 5, 0, 0, 0]),
            (ControlMessage::Drain { left_s: 0x0201 }, &[3, 1, 2]),
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
            assert_eq!(ControlMessage::parse(&long), Err(ParseError::Trailing));
            let short = &bytes[..bytes.len() - 1];
            assert_eq!(ControlMessage::parse(short), Err(ParseError::Truncated));
        }
        assert_eq!(ControlMessage::parse(&[0]), Err(ParseError::UnknownType));
        assert_eq!(ControlMessage::parse(&[7]), Err(ParseError::UnknownType));
    }
}
