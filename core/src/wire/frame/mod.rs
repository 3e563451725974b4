//! Frames: what a packet between two peers is made of (wire.md §2).

mod ack;
mod message;

use core::fmt;

pub use ack::{Ack, AckDelay, AckRanges, emit_ack};
pub use message::{Fragment, RangeOrder, ReliableRange, UnreliableMessage};

use super::{Full, ParseError, Reader, Writer};
use crate::id::{ChannelId, Incarnation, RelayId, Reliability, SessionId};

/// One frame; its data is borrowed from the packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Frame<'a> {
    /// Zeros to the packet's end, `len` of them with the type byte.
    Padding {
        /// At least 1.
        len: usize,
    },
    /// Asks for an acknowledgement.
    Ping,
    /// The sender takes data on a channel.
    ChannelOpen(ChannelOpen),
    /// The sender has closed a channel.
    ChannelClose {
        /// Which channel.
        channel: ChannelId,
        /// The incarnation that ends.
        incarnation: Incarnation,
    },
    /// The sender takes more of a reliable channel's stream.
    Credit {
        /// Which channel.
        channel: ChannelId,
        /// The incarnation whose stream this is about.
        incarnation: Incarnation,
        /// Stream offsets up to this one may be used.
        limit: u64,
    },
    /// Asks for a [`Frame::PathResponse`] over the named relay.
    PathChallenge {
        /// The relay this was sent through.
        relay: RelayId,
        /// The sender's session at that relay.
        session: SessionId,
        /// To be echoed.
        nonce: [u8; 8],
        /// What follows if it succeeds.
        intent: PathIntent,
    },
    /// Answers a [`Frame::PathChallenge`].
    PathResponse {
        /// The relay of the challenge.
        relay: RelayId,
        /// The nonce of the challenge.
        nonce: [u8; 8],
        /// From the challenge's arrival at the host to the answer's sending.
        delay: AckDelay,
    },
    /// Where the sender can be reached from now on.
    RouteUpdate {
        /// A route in its binary form.
        route: &'a [u8],
    },
    /// The sender ends the connection.
    Disconnect(DisconnectReason),
    /// Packets that the sender has received.
    Ack(Ack<'a>),
    /// An unreliable message or a fragment of one.
    Unreliable(UnreliableMessage<'a>),
    /// A range of a reliable channel's stream.
    Reliable(ReliableRange<'a>),
}

impl<'a> Frame<'a> {
    /// The frame at the front of `reader`.
    ///
    /// # Errors
    /// [`ParseError`].
    #[inline]
    pub fn parse(reader: &mut Reader<'a>) -> Result<Self, ParseError> {
        let kind = reader.u8()?;
        // Most frames are messages.
        match kind {
            message::UNRELIABLE..message::RELIABLE => {
                UnreliableMessage::parse(kind, reader).map(Self::Unreliable)
            }
            message::UNORDERED..message::UNRELIABLE | message::RELIABLE.. => {
                ReliableRange::parse(kind, reader).map(Self::Reliable)
            }
            ..message::UNORDERED => Self::parse_other(kind, reader),
        }
    }

    /// The frame behind its first byte, if it carries no message.
    #[inline(never)]
    fn parse_other(kind: u8, reader: &mut Reader<'a>) -> Result<Self, ParseError> {
        Ok(match kind {
            PADDING => {
                let padding = reader.rest();
                Reader::new(padding).zeros_to_end()?;
                Self::Padding { len: 1 + padding.len() }
            }
            PING => Self::Ping,
            CHANNEL_OPEN => Self::ChannelOpen(ChannelOpen::parse(reader)?),
            CHANNEL_CLOSE => Self::ChannelClose {
                channel: ChannelId(reader.u8()?),
                incarnation: Incarnation(reader.u8()?),
            },
            CREDIT => Self::Credit {
                channel: ChannelId(reader.u8()?),
                incarnation: Incarnation(reader.u8()?),
                limit: reader.varint()?,
            },
            PATH_CHALLENGE => Self::PathChallenge {
                relay: reader.relay_id()?,
                session: reader.session_id()?,
                nonce: reader.array()?,
                intent: PathIntent::from_u8(reader.u8()?).ok_or(ParseError::BadValue)?,
            },
            PATH_RESPONSE => Self::PathResponse {
                relay: reader.relay_id()?,
                nonce: reader.array()?,
                delay: AckDelay::parse(reader)?,
            },
            ROUTE_UPDATE => Self::RouteUpdate { route: reader.with_length()? },
            DISCONNECT => Self::Disconnect(
                DisconnectReason::from_u8(reader.u8()?).ok_or(ParseError::BadValue)?,
            ),
            ack::FIRST_TYPE..=ack::LAST_TYPE => Self::Ack(Ack::parse(kind, reader)?),
            _ => return Err(ParseError::UnknownType),
        })
    }

    /// Writes the frame; messages with their length. Nothing is written if it does not fit.
    ///
    /// # Errors
    /// [`Full`].
    ///
    /// # Panics
    /// If a number in it is above [`VARINT_MAX`](crate::wire::cursor::VARINT_MAX).
    pub fn emit(&self, writer: &mut Writer<'_>) -> Result<(), Full> {
        let start = writer.position();
        self.emit_parts(writer).inspect_err(|_| writer.roll_back(start))
    }

    /// Whether a packet with this frame is to be acknowledged.
    #[must_use]
    pub const fn is_ack_eliciting(&self) -> bool {
        !matches!(self, Self::Ack(_) | Self::Padding { .. })
    }

    fn emit_parts(&self, writer: &mut Writer<'_>) -> Result<(), Full> {
        match *self {
            Self::Padding { len } => writer.zeros(len),
            Self::Ping => writer.u8(PING),
            Self::ChannelOpen(open) => open.emit(writer),
            Self::ChannelClose { channel, incarnation } => {
                writer.bytes(&[CHANNEL_CLOSE, channel.0, incarnation.0])
            }
            Self::Credit { channel, incarnation, limit } => {
                writer.bytes(&[CREDIT, channel.0, incarnation.0])?;
                writer.varint(limit)
            }
            Self::PathChallenge { relay, session, nonce, intent } => {
                writer.u8(PATH_CHALLENGE)?;
                writer.u64(relay.0)?;
                writer.session_id(session)?;
                writer.bytes(&nonce)?;
                writer.u8(intent as u8)
            }
            Self::PathResponse { relay, nonce, delay } => {
                writer.u8(PATH_RESPONSE)?;
                writer.u64(relay.0)?;
                writer.bytes(&nonce)?;
                delay.emit(writer)
            }
            Self::RouteUpdate { route } => {
                writer.u8(ROUTE_UPDATE)?;
                writer.with_length(route)
            }
            Self::Disconnect(reason) => writer.bytes(&[DISCONNECT, reason as u8]),
            Self::Ack(ack) => ack.emit(writer),
            Self::Unreliable(message) => message.emit(writer, false),
            Self::Reliable(range) => range.emit(writer, false),
        }
    }
}

impl fmt::Display for Frame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Padding { len } => write!(f, "padding {len}"),
            Self::Ping => f.write_str("ping"),
            Self::ChannelOpen(open) => open.fmt(f),
            Self::ChannelClose { channel, incarnation } => {
                write!(f, "channel-close {channel}.{}", incarnation.0)
            }
            Self::Credit { channel, incarnation, limit } => {
                write!(f, "credit {channel}.{} to {limit}", incarnation.0)
            }
            Self::PathChallenge { relay, intent, .. } => {
                write!(f, "path-challenge {relay} {intent:?}")
            }
            Self::PathResponse { relay, .. } => write!(f, "path-response {relay}"),
            Self::RouteUpdate { route } => write!(f, "route-update {} B", route.len()),
            Self::Disconnect(reason) => write!(f, "disconnect: {reason}"),
            Self::Ack(ack) => ack.fmt(f),
            Self::Unreliable(message) => message.fmt(f),
            Self::Reliable(range) => range.fmt(f),
        }
    }
}

/// The sender takes data on a channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChannelOpen {
    /// Which channel.
    pub channel: ChannelId,
    /// What the sender takes it for.
    pub reliability: Reliability,
    /// How often it was closed before.
    pub incarnation: Incarnation,
    /// Stream offsets up to this one may be used; 0 if the channel is unreliable.
    pub credit: u64,
}

impl ChannelOpen {
    fn parse(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        let channel = ChannelId(reader.u8()?);
        let reliability = match reader.u8()? {
            0 => Reliability::Unreliable,
            1 => Reliability::Reliable,
            2 => Reliability::UnreliableSequenced,
            3 => Reliability::ReliableUnordered,
            _ => return Err(ParseError::BadValue),
        };
        let incarnation = Incarnation(reader.u8()?);
        let credit = reader.varint()?;
        if !reliability.is_reliable() && credit != 0 {
            return Err(ParseError::BadValue);
        }
        Ok(Self { channel, reliability, incarnation, credit })
    }

    fn emit(&self, writer: &mut Writer<'_>) -> Result<(), Full> {
        let (reliability, credit) = match self.reliability {
            Reliability::Unreliable => (0, 0),
            Reliability::Reliable => (1, self.credit),
            Reliability::UnreliableSequenced => (2, 0),
            Reliability::ReliableUnordered => (3, self.credit),
        };
        writer.bytes(&[CHANNEL_OPEN, self.channel.0, reliability, self.incarnation.0])?;
        writer.varint(credit)
    }
}

impl fmt::Display for ChannelOpen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { channel, reliability, incarnation, credit } = self;
        write!(f, "channel-open {channel}.{} {reliability:?} credit {credit}", incarnation.0)
    }
}

/// What the sender of a path challenge is about to do.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum PathIntent {
    /// Only to learn whether the path works.
    Probe = 0,
    /// To use the path once it has answered.
    Move = 1,
    /// The path has answered, and is in use.
    Moved = 2,
}

impl PathIntent {
    const fn from_u8(value: u8) -> Option<Self> {
        match value {
            0 => Some(Self::Probe),
            1 => Some(Self::Move),
            2 => Some(Self::Moved),
            _ => None,
        }
    }
}

/// Why a peer ended the connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum DisconnectReason {
    /// The application asked for it.
    Application = 0,
    /// The peer is shutting down.
    ShuttingDown = 1,
    /// The peer was sent something the protocol forbids.
    ProtocolError = 2,
    /// Too many packets failed authentication.
    TooManyForgeries = 3,
}

impl DisconnectReason {
    const fn from_u8(value: u8) -> Option<Self> {
        match value {
            0 => Some(Self::Application),
            1 => Some(Self::ShuttingDown),
            2 => Some(Self::ProtocolError),
            3 => Some(Self::TooManyForgeries),
            _ => None,
        }
    }
}

impl fmt::Display for DisconnectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Application => "the application asked for it",
            Self::ShuttingDown => "the peer is shutting down",
            Self::ProtocolError => "protocol error",
            Self::TooManyForgeries => "too many forged packets",
        })
    }
}

/// The frames of an opened packet, in order; ends after the first error.
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    reader: Reader<'a>,
}

impl<'a> Frames<'a> {
    /// The frames of `plaintext`.
    #[must_use]
    pub const fn new(plaintext: &'a [u8]) -> Self {
        Self { reader: Reader::new(plaintext) }
    }

    /// The next frame if it is a whole message of no sequence, as most are in packets of many;
    /// `None` if it is another, or none, or may not be.
    #[inline]
    pub fn next_message(&mut self) -> Option<UnreliableMessage<'a>> {
        let mut reader = self.reader.clone();
        let message = UnreliableMessage::parse_whole(&mut reader)?;
        self.reader = reader;
        Some(message)
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<Frame<'a>, ParseError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.is_empty() {
            return None;
        }
        Some(Frame::parse(&mut self.reader).inspect_err(|_| {
            self.reader.rest();
        }))
    }
}

const PADDING: u8 = 0x00;
const PING: u8 = 0x01;
const CHANNEL_OPEN: u8 = 0x02;
const CHANNEL_CLOSE: u8 = 0x03;
const CREDIT: u8 = 0x04;
const PATH_CHALLENGE: u8 = 0x05;
const PATH_RESPONSE: u8 = 0x06;
const ROUTE_UPDATE: u8 = 0x07;
const DISCONNECT: u8 = 0x08;

#[cfg(test)]
mod tests {
    use std::string::ToString;
    use std::vec::Vec;

    use super::*;

    #[test]
    fn literal_bytes() {
        check(Frame::Padding { len: 3 }, &[0, 0, 0]);
        check(Frame::Ping, &[1]);
        let open = ChannelOpen {
            channel: ChannelId(5),
            reliability: Reliability::Reliable,
            incarnation: Incarnation(6),
            credit: 0x4001,
        };
        check(Frame::ChannelOpen(open), &[2, 5, 1, 6, 0x80, 0, 0x40, 1]);
        let unordered = ChannelOpen { reliability: Reliability::ReliableUnordered, ..open };
        check(Frame::ChannelOpen(unordered), &[2, 5, 3, 6, 0x80, 0, 0x40, 1]);
        let open = ChannelOpen { reliability: Reliability::Unreliable, credit: 0, ..open };
        check(Frame::ChannelOpen(open), &[2, 5, 0, 6, 0]);
        let open = ChannelOpen { reliability: Reliability::UnreliableSequenced, ..open };
        check(Frame::ChannelOpen(open), &[2, 5, 2, 6, 0]);
        let (channel, incarnation) = (ChannelId(5), Incarnation(6));
        check(Frame::ChannelClose { channel, incarnation }, &[3, 5, 6]);
        check(Frame::Credit { channel, incarnation, limit: 64 }, &[4, 5, 6, 0x40, 64]);
        let (relay, nonce) = (RelayId(0x0807_0605_0403_0201), *b"abcdefgh");
        check(
            Frame::PathChallenge {
                relay,
                session: SessionId::new(9, 10),
                nonce,
                intent: PathIntent::Move,
            },
            b"\x05\x01\x02\x03\x04\x05\x06\x07\x08\x09\0\0\x0a\0\0\0abcdefgh\x01",
        );
        check(
            Frame::PathResponse {
                relay,
                nonce,
                delay: AckDelay::from_duration(core::time::Duration::from_millis(16)),
            },
            b"\x06\x01\x02\x03\x04\x05\x06\x07\x08abcdefgh\x40\xfa",
        );
        check(Frame::RouteUpdate { route: &[7, 8, 9] }, &[7, 3, 7, 8, 9]);
        for (reason, byte) in [
            (DisconnectReason::Application, 0),
            (DisconnectReason::ShuttingDown, 1),
            (DisconnectReason::ProtocolError, 2),
            (DisconnectReason::TooManyForgeries, 3),
        ] {
            check(Frame::Disconnect(reason), &[8, byte]);
        }
    }

    #[test]
    fn values_that_may_not_be_are_refused() {
        let refused: [(&[u8], ParseError); 13] = [
            (&[0, 0, 1], ParseError::BadValue),
            (&[2, 5, 4, 6, 0], ParseError::BadValue),
            (&[2, 5, 2, 6, 1], ParseError::BadValue),
            (&[2, 5, 0, 6, 1], ParseError::BadValue),
            (&[4, 5, 6, 0x40, 63], ParseError::NonMinimal),
            (b"\x05relay_idsessionnonce678\x03", ParseError::BadValue),
            (&[7, 3, 7, 8], ParseError::Truncated),
            (&[8, 4], ParseError::BadValue),
            (&[9], ParseError::UnknownType),
            (&[0x0f], ParseError::UnknownType),
            (&[0x30], ParseError::UnknownType),
            (&[0x3f], ParseError::UnknownType),
            (&[3, 5], ParseError::Truncated),
        ];
        for (bytes, error) in refused {
            assert_eq!(Frame::parse(&mut Reader::new(bytes)), Err(error), "{bytes:?}");
        }
    }

    #[test]
    fn a_packet_is_a_list_of_frames_up_to_the_first_error() {
        let frames: Vec<_> = Frames::new(&[1, 8, 0, 0x80, b'h', b'i']).collect();
        let hi = UnreliableMessage {
            channel: ChannelId(0),
            incarnation_low: 0,
            sequence: None,
            fragment: None,
            data: b"hi",
        };
        let expected = [Frame::Ping, Frame::Disconnect(DisconnectReason::Application), {
            Frame::Unreliable(hi)
        }];
        assert_eq!(frames, expected.map(Ok));
        let frames: Vec<_> = Frames::new(&[1, 9, 1, 1]).collect();
        assert_eq!(frames, [Ok(Frame::Ping), Err(ParseError::UnknownType)]);
        assert_eq!(Frames::new(&[]).next(), None);
    }

    #[test]
    fn a_frame_that_does_not_fit_leaves_no_trace() {
        let mut out = [0; 12];
        let mut writer = Writer::new(&mut out);
        Frame::Ping.emit(&mut writer).unwrap();
        for frame in [
            Frame::RouteUpdate { route: &[0; 10] },
            Frame::PathResponse { relay: RelayId(1), nonce: [0; 8], delay: AckDelay::default() },
            Frame::Padding { len: 12 },
        ] {
            assert_eq!(frame.emit(&mut writer), Err(Full));
            assert_eq!(writer.written(), [1]);
        }
        Frame::RouteUpdate { route: &[0; 9] }.emit(&mut writer).unwrap();
        assert_eq!(writer.remaining(), 0);
    }

    #[test]
    fn only_acks_and_padding_are_not_acknowledged() {
        for (bytes, eliciting) in [
            (&[0][..], false),
            (&[0x10, 0, 0, 0, 0, 0], false),
            (&[1], true),
            (&[3, 1, 1], true),
            (&[0x80], true),
        ] {
            let frame = Frames::new(bytes).next().unwrap().unwrap();
            assert_eq!(frame.is_ack_eliciting(), eliciting, "{frame}");
        }
    }

    #[test]
    fn frames_are_shown_in_short() {
        let shown: Vec<_> = Frames::new(&[1, 3, 5, 6, 0xc1, 1, 2, 3])
            .map(|frame| frame.unwrap().to_string())
            .collect();
        assert_eq!(shown, ["ping", "channel-close 5.6", "reliable 0.0 at …0102 1 B"]);
    }

    fn check(frame: Frame<'_>, bytes: &[u8]) {
        let mut out = [0xff; 64];
        let mut writer = Writer::new(&mut out);
        frame.emit(&mut writer).unwrap();
        assert_eq!(writer.written(), bytes, "{frame}");
        let mut reader = Reader::new(bytes);
        assert_eq!(Frame::parse(&mut reader), Ok(frame));
        assert!(reader.is_empty());
    }
}
