//! The two handshake datagrams between peers (wire.md §1.2, §1.3).

use core::fmt;

use super::frame::{ChannelOpen, Frame, Frames};
use super::{Full, Kind, PROTOCOL_VERSION, ParseError, Reader, Writer};
use crate::crypto::{Suite, TAG_LEN};
use crate::id::{ApplicationId, ConnectionIndex, PeerId, SessionId};

/// What the MAC of an Initiation is keyed by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MacKeyedBy {
    /// The pair's static–static X25519 secret.
    Pair,
    /// The secret of the receiver's invite.
    Invite,
}

/// The sender's clock in microseconds: strictly increasing, so that an old Initiation is refused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Stamp(pub u64);

/// A random number that each side draws for each connection it begins with a peer: handshakes with
/// the same pair of instances make key sets of one connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct Instance(pub u32);

/// What stands before the Noise message in an Initiation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Initiation {
    /// The receiver's session at the relay.
    pub destination: SessionId,
    /// What the MAC is keyed by.
    pub keyed_by: MacKeyedBy,
    /// The suite of the handshake and of the connection.
    pub suite: Suite,
    /// Where the sender wants to be answered.
    pub sender_index: ConnectionIndex,
    /// Who the sender claims to be.
    pub sender: PeerId,
    /// The sender's clock.
    pub stamp: Stamp,
    /// Checked before any Diffie–Hellman; written last, by [`Initiation::put_mac`].
    pub mac: [u8; 8],
}

impl Initiation {
    /// Where the Noise message (`e`, sealed `s`, sealed payload) begins; it goes to the end.
    pub const NOISE_OFFSET: usize = 36;
    /// Where the sealed payload begins.
    pub const PAYLOAD_OFFSET: usize = Self::NOISE_OFFSET + 32 + 48;

    /// The header of `datagram`, which has room for `e`, `s` and the payload's tag.
    ///
    /// # Errors
    /// [`ParseError`], among them `Version` and `Suite`.
    pub fn parse(datagram: &[u8]) -> Result<Self, ParseError> {
        let by_invite = Kind::of(datagram)? == Kind::InviteInitiation;
        let keyed_by = if by_invite { MacKeyedBy::Invite } else { MacKeyedBy::Pair };
        let mut reader = kind(keyed_by).expect(datagram)?;
        let destination = reader.session_id()?;
        reader.version()?;
        let header = Self {
            destination,
            keyed_by,
            suite: reader.suite()?,
            sender_index: ConnectionIndex(reader.u16()?),
            sender: reader.peer_id()?,
            stamp: Stamp(reader.u64()?),
            mac: reader.array()?,
        };
        reader.take(32 + 48 + TAG_LEN)?;
        Ok(header)
    }

    /// Writes the header and returns where the Noise message begins.
    ///
    /// # Errors
    /// [`Full`].
    pub fn emit(&self, out: &mut [u8]) -> Result<usize, Full> {
        let mut writer = Writer::new(out);
        writer.u8(kind(self.keyed_by) as u8)?;
        writer.session_id(self.destination)?;
        writer.u8(PROTOCOL_VERSION)?;
        writer.u8(self.suite as u8)?;
        writer.u16(self.sender_index.0)?;
        writer.u64(self.sender.get())?;
        writer.u64(self.stamp.0)?;
        writer.bytes(&self.mac)?;
        Ok(writer.position())
    }

    /// The two parts of `datagram` that the MAC covers; the receiver's public key comes behind.
    /// `None` if the datagram is too short to be an Initiation.
    #[must_use]
    pub fn mac_input(datagram: &[u8]) -> Option<[&[u8]; 2]> {
        Some([
            datagram.get(DESTINATION_END..MAC_OFFSET)?,
            datagram.get(Self::NOISE_OFFSET..).filter(|noise| !noise.is_empty())?,
        ])
    }

    /// Writes the MAC into a `datagram` that is otherwise complete; without effect on one that is
    /// too short to be an Initiation.
    pub fn put_mac(datagram: &mut [u8], mac: [u8; 8]) {
        if let Some(place) = datagram.get_mut(MAC_OFFSET..Self::NOISE_OFFSET) {
            place.copy_from_slice(&mac);
        }
    }

    /// What both sides mix into the handshake first.
    #[must_use]
    pub fn prologue(&self, application: ApplicationId) -> [u8; 40] {
        let mut prologue = [0; 40];
        let mut writer = Writer::new(&mut prologue);
        let written = (|| {
            writer.bytes(b"waylane peer")?;
            writer.u8(PROTOCOL_VERSION)?;
            writer.u8(self.suite as u8)?;
            writer.u64(application.0)?;
            writer.u16(self.sender_index.0)?;
            writer.u64(self.sender.get())?;
            writer.u64(self.stamp.0)
        })();
        debug_assert!(written.is_ok() && writer.remaining() == 0);
        prologue
    }
}

impl fmt::Display for Initiation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} from {} stamp {}", kind(self.keyed_by), self.sender, self.stamp.0)
    }
}

/// What stands before the Noise message in a Response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Response {
    /// The initiator's session at the relay.
    pub destination: SessionId,
    /// The `sender_index` of the Initiation.
    pub receiver_index: ConnectionIndex,
    /// Where the responder wants to receive Data.
    pub sender_index: ConnectionIndex,
}

impl Response {
    /// Where the Noise message (`e`, sealed payload) begins; it goes to the end.
    pub const NOISE_OFFSET: usize = 12;
    /// Where the sealed payload begins.
    pub const PAYLOAD_OFFSET: usize = Self::NOISE_OFFSET + 32;

    /// The header of `datagram`, which has room for `e` and the payload's tag.
    ///
    /// # Errors
    /// [`ParseError`] as for any datagram.
    pub fn parse(datagram: &[u8]) -> Result<Self, ParseError> {
        let mut reader = Kind::Response.expect(datagram)?;
        let header = Self {
            destination: reader.session_id()?,
            receiver_index: ConnectionIndex(reader.u16()?),
            sender_index: ConnectionIndex(reader.u16()?),
        };
        reader.take(32 + TAG_LEN)?;
        Ok(header)
    }

    /// Writes the header and returns where the Noise message begins.
    ///
    /// # Errors
    /// [`Full`].
    pub fn emit(&self, out: &mut [u8]) -> Result<usize, Full> {
        let mut writer = Writer::new(out);
        writer.u8(Kind::Response as u8)?;
        writer.session_id(self.destination)?;
        writer.u16(self.receiver_index.0)?;
        writer.u16(self.sender_index.0)?;
        Ok(writer.position())
    }
}

impl fmt::Display for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "response to index {} from {}", self.receiver_index.0, self.sender_index.0)
    }
}

/// What a side tells about itself in its handshake message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HandshakeParameters {
    /// Largest reliable message it takes, in bytes.
    pub reliable_message_len_max: u64,
    /// Largest unreliable message it takes, in bytes.
    pub unreliable_message_len_max: u64,
    /// After how long a silence it gives the connection up, in milliseconds.
    pub idle_timeout_ms: u64,
}

impl HandshakeParameters {
    fn parse(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        Ok(Self {
            reliable_message_len_max: reader.varint()?,
            unreliable_message_len_max: reader.varint()?,
            idle_timeout_ms: reader.varint()?,
        })
    }

    fn emit(&self, writer: &mut Writer<'_>) -> Result<(), Full> {
        writer.varint(self.reliable_message_len_max)?;
        writer.varint(self.unreliable_message_len_max)?;
        writer.varint(self.idle_timeout_ms)
    }
}

/// What is sealed in an Initiation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InitiationPayload<'a> {
    /// The initiator's session at the relay this was sent through: where the answer goes.
    pub session: SessionId,
    /// The initiator's number for the connection.
    pub instance: Instance,
    /// What the initiator tells about itself.
    pub parameters: HandshakeParameters,
    /// The initiator's route (binary), from a RouteUpdate frame.
    pub route: Option<&'a [u8]>,
}

impl<'a> InitiationPayload<'a> {
    /// The opened payload.
    ///
    /// # Errors
    /// [`ParseError`]; `MisplacedFrame` for more than one RouteUpdate and for any other frame.
    pub fn parse(plaintext: &'a [u8]) -> Result<Self, ParseError> {
        let mut reader = Reader::new(plaintext);
        let session = reader.session_id()?;
        let instance = Instance(reader.u32()?);
        let parameters = HandshakeParameters::parse(&mut reader)?;
        let mut frames = Frames::new(reader.rest());
        let route = match frames.next().transpose()? {
            None => None,
            Some(Frame::RouteUpdate { route }) => Some(route),
            Some(_) => return Err(ParseError::MisplacedFrame),
        };
        match frames.next().transpose()? {
            None => Ok(Self { session, instance, parameters, route }),
            Some(_) => Err(ParseError::MisplacedFrame),
        }
    }

    /// Writes the payload and returns its length.
    ///
    /// # Errors
    /// [`Full`].
    pub fn emit(&self, out: &mut [u8]) -> Result<usize, Full> {
        let mut writer = Writer::new(out);
        writer.session_id(self.session)?;
        writer.u32(self.instance.0)?;
        self.parameters.emit(&mut writer)?;
        if let Some(route) = self.route {
            Frame::RouteUpdate { route }.emit(&mut writer)?;
        }
        Ok(writer.position())
    }
}

/// What is sealed in a Response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ResponsePayload<'a> {
    /// The responder's number for the connection.
    pub instance: Instance,
    /// What the responder tells about itself.
    pub parameters: HandshakeParameters,
    /// ChannelOpen frames.
    frames: &'a [u8],
}

impl<'a> ResponsePayload<'a> {
    /// A payload without ChannelOpen frames, to emit.
    #[must_use]
    pub const fn new(instance: Instance, parameters: HandshakeParameters) -> Self {
        Self { instance, parameters, frames: &[] }
    }

    /// The opened payload.
    ///
    /// # Errors
    /// [`ParseError`]; `MisplacedFrame` for any frame that is not a ChannelOpen.
    pub fn parse(plaintext: &'a [u8]) -> Result<Self, ParseError> {
        let mut reader = Reader::new(plaintext);
        let instance = Instance(reader.u32()?);
        let parameters = HandshakeParameters::parse(&mut reader)?;
        let frames = reader.rest();
        for frame in Frames::new(frames) {
            if !matches!(frame?, Frame::ChannelOpen(_)) {
                return Err(ParseError::MisplacedFrame);
            }
        }
        Ok(Self { instance, parameters, frames })
    }

    /// Writes the payload; the caller may write ChannelOpen frames behind it.
    ///
    /// # Errors
    /// [`Full`].
    pub fn emit(&self, writer: &mut Writer<'_>) -> Result<(), Full> {
        writer.u32(self.instance.0)?;
        self.parameters.emit(writer)?;
        writer.bytes(self.frames)
    }

    /// The channels that the responder takes data on.
    pub fn channel_opens(&self) -> impl Iterator<Item = ChannelOpen> + use<'a> {
        Frames::new(self.frames).filter_map(|frame| match frame {
            Ok(Frame::ChannelOpen(open)) => Some(open),
            _ => None,
        })
    }
}

const fn kind(keyed_by: MacKeyedBy) -> Kind {
    match keyed_by {
        MacKeyedBy::Pair => Kind::Initiation,
        MacKeyedBy::Invite => Kind::InviteInitiation,
    }
}

/// End of the first byte and the destination, which the MAC does not cover.
const DESTINATION_END: usize = 8;
const MAC_OFFSET: usize = 28;
