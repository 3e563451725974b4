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
    /// Largest reliable message it takes, in bytes; below 2⁶², as all of these.
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
    /// The channels that the initiator takes data on.
    pub opens: ChannelOpens<'a>,
}

impl<'a> InitiationPayload<'a> {
    /// The opened payload.
    ///
    /// # Errors
    /// [`ParseError`]; `MisplacedFrame` for anything but at most one RouteUpdate and ChannelOpen
    /// frames behind it.
    pub fn parse(plaintext: &'a [u8]) -> Result<Self, ParseError> {
        let mut reader = Reader::new(plaintext);
        let session = reader.session_id()?;
        let instance = Instance(reader.u32()?);
        let parameters = HandshakeParameters::parse(&mut reader)?;
        let frames = reader.rest();
        let mut behind_route = Reader::new(frames);
        let first = if frames.is_empty() { None } else { Some(Frame::parse(&mut behind_route)?) };
        let (route, opens) = match first {
            Some(Frame::RouteUpdate { route }) => (Some(route), behind_route.rest()),
            _ => (None, frames),
        };
        Ok(Self { session, instance, parameters, route, opens: ChannelOpens::parse(opens)? })
    }

    /// Writes the payload and returns its length.
    ///
    /// # Errors
    /// [`Full`].
    ///
    /// # Panics
    /// If a number in it is above [`VARINT_MAX`](crate::wire::cursor::VARINT_MAX).
    pub fn emit(&self, out: &mut [u8]) -> Result<usize, Full> {
        let mut writer = Writer::new(out);
        writer.session_id(self.session)?;
        writer.u32(self.instance.0)?;
        self.parameters.emit(&mut writer)?;
        if let Some(route) = self.route {
            Frame::RouteUpdate { route }.emit(&mut writer)?;
        }
        writer.bytes(self.opens.frames)?;
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
    /// The channels that the responder takes data on.
    pub opens: ChannelOpens<'a>,
}

impl<'a> ResponsePayload<'a> {
    /// The opened payload.
    ///
    /// # Errors
    /// [`ParseError`]; `MisplacedFrame` for any frame that is not a ChannelOpen.
    pub fn parse(plaintext: &'a [u8]) -> Result<Self, ParseError> {
        let mut reader = Reader::new(plaintext);
        let instance = Instance(reader.u32()?);
        let parameters = HandshakeParameters::parse(&mut reader)?;
        Ok(Self { instance, parameters, opens: ChannelOpens::parse(reader.rest())? })
    }

    /// Writes the payload; the caller may write more ChannelOpen frames behind it.
    ///
    /// # Errors
    /// [`Full`].
    ///
    /// # Panics
    /// If a number in it is above [`VARINT_MAX`](crate::wire::cursor::VARINT_MAX).
    pub fn emit(&self, writer: &mut Writer<'_>) -> Result<(), Full> {
        writer.u32(self.instance.0)?;
        self.parameters.emit(writer)?;
        writer.bytes(self.opens.frames)
    }
}

/// ChannelOpen frames, one behind the other; none by default.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ChannelOpens<'a> {
    frames: &'a [u8],
}

impl<'a> ChannelOpens<'a> {
    /// The frames, which are all of `bytes`.
    ///
    /// # Errors
    /// [`ParseError`]; `MisplacedFrame` for any frame that is not a ChannelOpen.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
        for frame in Frames::new(bytes) {
            if !matches!(frame?, Frame::ChannelOpen(_)) {
                return Err(ParseError::MisplacedFrame);
            }
        }
        Ok(Self { frames: bytes })
    }

    /// What they say.
    pub fn iter(&self) -> impl Iterator<Item = ChannelOpen> + use<'a> {
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

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;
    use crate::id::{ChannelId, Incarnation, Reliability};

    const INITIATION: Initiation = Initiation {
        destination: SessionId::new(1, 2),
        keyed_by: MacKeyedBy::Pair,
        suite: Suite::ChaChaPoly,
        sender_index: ConnectionIndex(0x0403),
        sender: PeerId::new(0x0c0b_0a09_0807_0605).unwrap(),
        stamp: Stamp(0x1413_1211_100f_0e0d),
        mac: [0xaa; 8],
    };

    const PARAMETERS: HandshakeParameters = HandshakeParameters {
        reliable_message_len_max: 262_144,
        unreliable_message_len_max: 65_536,
        idle_timeout_ms: 30_000,
    };

    #[test]
    fn initiation_literal_bytes() {
        let mut datagram = [0; Initiation::PAYLOAD_OFFSET + TAG_LEN];
        assert_eq!(INITIATION.emit(&mut datagram), Ok(Initiation::NOISE_OFFSET));
        let header = [
            0x40, 1, 0, 0, 2, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17,
            18, 19, 20, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa,
        ];
        assert_eq!(datagram[..36], header);
        assert_eq!(Initiation::parse(&datagram), Ok(INITIATION));
        assert_eq!(Initiation::parse(&datagram[..131]), Err(ParseError::Truncated));
        datagram[0] = 0x41;
        let by_invite = Initiation { keyed_by: MacKeyedBy::Invite, ..INITIATION };
        assert_eq!(Initiation::parse(&datagram), Ok(by_invite));
    }

    #[test]
    fn initiations_we_cannot_read_say_why() {
        let mut datagram = [0; 140];
        INITIATION.emit(&mut datagram).unwrap();
        let changed = |position: usize, value: u8| {
            let mut changed = datagram;
            changed[position] = value;
            Initiation::parse(&changed)
        };
        assert_eq!(changed(0, 0x42), Err(ParseError::UnknownType));
        assert_eq!(changed(8, 2), Err(ParseError::Version));
        assert_eq!(changed(9, 3), Err(ParseError::Suite));
        assert_eq!(changed(19, 0x80), Err(ParseError::BadValue), "a peer id above 2⁶³");
    }

    #[test]
    fn the_mac_covers_all_but_itself_and_the_destination() {
        let mut datagram: Vec<u8> = (0..140).collect();
        let [before, behind] = Initiation::mac_input(&datagram).unwrap();
        assert_eq!((before, behind), (&datagram[8..28], &datagram[36..]));
        Initiation::put_mac(&mut datagram, [0; 8]);
        assert_eq!(datagram[26..38], [26, 27, 0, 0, 0, 0, 0, 0, 0, 0, 36, 37]);
        assert_eq!(Initiation::mac_input(&datagram[..36]), None);
        Initiation::put_mac(&mut datagram[..30], [9; 8]);
        assert_eq!(datagram[29], 0);
    }

    #[test]
    fn prologue_literal_bytes() {
        let prologue = INITIATION.prologue(ApplicationId(0x1122_3344_5566_7788));
        assert_eq!(prologue[..14], *b"waylane peer\x01\x02");
        assert_eq!(prologue[14..22], [0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11]);
        assert_eq!(prologue[22..], (3..=20).collect::<Vec<u8>>());
    }

    #[test]
    fn response_literal_bytes() {
        let response = Response {
            destination: SessionId::new(1, 2),
            receiver_index: ConnectionIndex(3),
            sender_index: ConnectionIndex(4),
        };
        let mut datagram = [0; Response::PAYLOAD_OFFSET + TAG_LEN];
        assert_eq!(response.emit(&mut datagram), Ok(Response::NOISE_OFFSET));
        assert_eq!(datagram[..12], [0x42, 1, 0, 0, 2, 0, 0, 0, 3, 0, 4, 0]);
        assert_eq!(Response::parse(&datagram), Ok(response));
        assert_eq!(Response::parse(&datagram[..59]), Err(ParseError::Truncated));
    }

    #[test]
    fn initiation_payload_literal_bytes() {
        let payload = InitiationPayload {
            session: SessionId::new(1, 2),
            instance: Instance(3),
            parameters: PARAMETERS,
            route: Some(&[9, 8]),
            opens: ChannelOpens::default(),
        };
        let mut out = [0; 40];
        let len = payload.emit(&mut out).unwrap();
        let bytes = [
            1, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0x80, 0x04, 0, 0, 0x80, 0x01, 0, 0, 0x80, 0, 0x75,
            0x30, 0x07, 2, 9, 8,
        ];
        assert_eq!(out[..len], bytes);
        assert_eq!(InitiationPayload::parse(&bytes), Ok(payload));
        let without = InitiationPayload { route: None, ..payload };
        assert_eq!(InitiationPayload::parse(&bytes[..23]), Ok(without));
        assert_eq!(InitiationPayload::parse(&bytes[..26]), Err(ParseError::Truncated));
        let open = [0x02, 1, 0, 3, 0];
        for (before, route) in [(&bytes[..], payload.route), (&bytes[..23], None)] {
            let with_opens = [before, &open, &open].concat();
            let parsed = InitiationPayload::parse(&with_opens).unwrap();
            assert_eq!((parsed.route, parsed.opens.iter().count()), (route, 2));
            let len = parsed.emit(&mut out).unwrap();
            assert_eq!(out[..len], with_opens);
            assert_eq!(
                InitiationPayload::parse(&with_opens[..with_opens.len() - 1]),
                Err(ParseError::Truncated)
            );
        }
        for more in [&[0x07, 0][..], &[0x01]] {
            let misplaced = [&bytes[..], more].concat();
            assert_eq!(InitiationPayload::parse(&misplaced), Err(ParseError::MisplacedFrame));
            let misplaced = [&bytes[..23], &open, more].concat();
            assert_eq!(InitiationPayload::parse(&misplaced), Err(ParseError::MisplacedFrame));
            let misplaced = [&bytes[..23], more, &bytes[23..]].concat();
            assert_eq!(InitiationPayload::parse(&misplaced), Err(ParseError::MisplacedFrame));
        }
    }

    #[test]
    fn response_payload_carries_channel_opens() {
        let open = ChannelOpen {
            channel: ChannelId(1),
            reliability: Reliability::Reliable,
            incarnation: Incarnation(0),
            credit: 5,
        };
        let mut out = [0; 40];
        let mut writer = Writer::new(&mut out);
        let none = ChannelOpens::default();
        let payload =
            ResponsePayload { instance: Instance(3), parameters: PARAMETERS, opens: none };
        payload.emit(&mut writer).unwrap();
        Frame::ChannelOpen(open).emit(&mut writer).unwrap();
        let payload = ResponsePayload::parse(writer.written()).unwrap();
        assert_eq!((payload.instance, payload.parameters), (Instance(3), PARAMETERS));
        assert_eq!(payload.opens.iter().collect::<Vec<_>>(), [open]);
        writer.u8(1).unwrap();
        assert_eq!(ResponsePayload::parse(writer.written()), Err(ParseError::MisplacedFrame));
    }
}
