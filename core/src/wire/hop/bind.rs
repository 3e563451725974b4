//! Registration at a relay: Bind and Bound, Resume and Resumed (wire.md §3).

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Cookie, Echo};
use crate::crypto::{Suite, TAG_LEN};
use crate::id::SessionId;
use crate::wire::cursor::varint_len;
use crate::wire::{Full, Kind, PROTOCOL_VERSION, ParseError, Reader, Writer};

/// Bind and Resume are at least this long, so that no answer is longer than what it answers.
pub const BIND_DATAGRAM_LEN_MIN: usize = 280;

/// Bytes of a ticket.
pub const TICKET_LEN: usize = 134;

/// What a relay gives to a peer to come back with; opaque to the peer.
pub type Ticket = [u8; TICKET_LEN];

/// What stands before the Noise message in a Bind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bind {
    /// The suite of the handshake and of the hop.
    pub suite: Suite,
    /// From Cookie or NotBound.
    pub cookie: Cookie,
}

impl Bind {
    /// Where the Noise message (`e`, sealed `s`, sealed payload) begins; it goes to the end.
    pub const NOISE_OFFSET: usize = 19;
    /// Where the sealed payload begins.
    pub const PAYLOAD_OFFSET: usize = Self::NOISE_OFFSET + 32 + 48;

    /// The header of `datagram`, which is at least [`BIND_DATAGRAM_LEN_MIN`] long.
    ///
    /// # Errors
    /// [`ParseError`], among them `Version` and `Suite`.
    pub fn parse(datagram: &[u8]) -> Result<Self, ParseError> {
        let mut reader = Kind::Bind.expect(datagram)?;
        reader.version()?;
        let header = Self { suite: reader.suite()?, cookie: reader.array()? };
        least_len(datagram)?;
        Ok(header)
    }

    /// Writes the header and returns where the Noise message begins.
    ///
    /// # Errors
    /// [`Full`].
    pub fn emit(&self, out: &mut [u8]) -> Result<usize, Full> {
        let mut writer = Writer::new(out);
        writer.u8(Kind::Bind as u8)?;
        writer.u8(PROTOCOL_VERSION)?;
        writer.u8(self.suite as u8)?;
        writer.bytes(&self.cookie)?;
        Ok(writer.position())
    }
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", Kind::Bind, self.suite)
    }
}

/// What peer and relay mix into the handshake first.
#[must_use]
pub fn prologue(suite: Suite, cookie: &Cookie) -> [u8; 29] {
    let mut prologue = [0; 29];
    let mut writer = Writer::new(&mut prologue);
    let written = (|| {
        writer.bytes(b"waylane hop")?;
        writer.u8(PROTOCOL_VERSION)?;
        writer.u8(suite as u8)?;
        writer.bytes(cookie)
    })();
    debug_assert!(written.is_ok() && writer.remaining() == 0);
    prologue
}

/// What stands before the Noise message in a Bound.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bound {
    /// As [`echo_of`] the Bind.
    pub echo: Echo,
}

impl Bound {
    /// Where the Noise message (`e`, sealed payload) begins; it goes to the end.
    pub const NOISE_OFFSET: usize = 9;
    /// Where the sealed payload begins.
    pub const PAYLOAD_OFFSET: usize = Self::NOISE_OFFSET + 32;
    /// Length of the datagram.
    pub const LEN: usize = Self::PAYLOAD_OFFSET + BoundPayload::LEN + TAG_LEN;

    /// The header of `datagram`, which is [`Bound::LEN`] long.
    ///
    /// # Errors
    /// [`ParseError`].
    pub fn parse(datagram: &[u8]) -> Result<Self, ParseError> {
        let mut reader = Kind::Bound.expect(datagram)?;
        let echo = reader.array()?;
        reader.take(Self::LEN - Self::NOISE_OFFSET)?;
        reader.finish()?;
        Ok(Self { echo })
    }

    /// Writes the header and returns where the Noise message begins.
    ///
    /// # Errors
    /// [`Full`].
    pub fn emit(&self, out: &mut [u8]) -> Result<usize, Full> {
        let mut writer = Writer::new(out);
        writer.u8(Kind::Bound as u8)?;
        writer.bytes(&self.echo)?;
        Ok(writer.position())
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Kind::Bound.fmt(f)
    }
}

/// What stands before the sealed payload in a Resume; all of it is associated data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Resume {
    /// The suite of the hop.
    pub suite: Suite,
    /// From Cookie or NotBound.
    pub cookie: Cookie,
    /// Drawn by the peer for this datagram.
    pub nonce: [u8; 16],
    /// From Bound or Resumed.
    pub ticket: Ticket,
}

impl Resume {
    /// Where the sealed payload begins; it goes to the end.
    pub const PAYLOAD_OFFSET: usize = 35 + TICKET_LEN;

    /// The header of `datagram`, which is at least [`BIND_DATAGRAM_LEN_MIN`] long.
    ///
    /// # Errors
    /// [`ParseError`], among them `Version` and `Suite`.
    pub fn parse(datagram: &[u8]) -> Result<Self, ParseError> {
        let mut reader = Kind::Resume.expect(datagram)?;
        reader.version()?;
        let header = Self {
            suite: reader.suite()?,
            cookie: reader.array()?,
            nonce: reader.array()?,
            ticket: reader.array()?,
        };
        least_len(datagram)?;
        Ok(header)
    }

    /// Writes the header and returns where the sealed payload begins.
    ///
    /// # Errors
    /// [`Full`].
    pub fn emit(&self, out: &mut [u8]) -> Result<usize, Full> {
        let mut writer = Writer::new(out);
        writer.u8(Kind::Resume as u8)?;
        writer.u8(PROTOCOL_VERSION)?;
        writer.u8(self.suite as u8)?;
        writer.bytes(&self.cookie)?;
        writer.bytes(&self.nonce)?;
        writer.bytes(&self.ticket)?;
        Ok(writer.position())
    }
}

impl fmt::Display for Resume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", Kind::Resume, self.suite)
    }
}

/// What stands before the sealed payload in a Resumed; all of it is associated data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Resumed {
    /// As [`echo_of`] the Resume.
    pub echo: Echo,
    /// Drawn by the relay for this datagram.
    pub nonce: [u8; 16],
}

impl Resumed {
    /// Where the sealed payload begins; it goes to the end.
    pub const PAYLOAD_OFFSET: usize = 25;
    /// Length of the datagram.
    pub const LEN: usize = Self::PAYLOAD_OFFSET + BoundPayload::LEN + TAG_LEN;

    /// The header of `datagram`, which is [`Resumed::LEN`] long.
    ///
    /// # Errors
    /// [`ParseError`].
    pub fn parse(datagram: &[u8]) -> Result<Self, ParseError> {
        let mut reader = Kind::Resumed.expect(datagram)?;
        let header = Self { echo: reader.array()?, nonce: reader.array()? };
        reader.take(Self::LEN - Self::PAYLOAD_OFFSET)?;
        reader.finish()?;
        Ok(header)
    }

    /// Writes the header and returns where the sealed payload begins.
    ///
    /// # Errors
    /// [`Full`].
    pub fn emit(&self, out: &mut [u8]) -> Result<usize, Full> {
        let mut writer = Writer::new(out);
        writer.u8(Kind::Resumed as u8)?;
        writer.bytes(&self.echo)?;
        writer.bytes(&self.nonce)?;
        Ok(writer.position())
    }
}

impl fmt::Display for Resumed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Kind::Resumed.fmt(f)
    }
}

/// What the answer to `request` echoes: the first bytes of a Bind's `e`, of a Resume's nonce, or a
/// Hello's nonce, whatever version and suite they are of. `None` for anything else.
#[must_use]
pub fn echo_of(request: &[u8]) -> Option<Echo> {
    let kind = Kind::of(request).ok()?;
    let offset = if kind == Kind::Hello {
        2
    } else if matches!(kind, Kind::Bind | Kind::Resume) {
        19
    } else {
        return None;
    };
    request.get(offset..)?.first_chunk().copied()
}

/// What is sealed in Bind and Resume.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BindPayload<'a> {
    /// The session the peer had or wants; none if any will do.
    pub wanted: SessionId,
    /// Whether the peer wants another slot than the wanted session's.
    pub another_slot: bool,
    /// Of the game's backend (wire.md §5); empty if there is none.
    pub token: &'a [u8],
}

impl<'a> BindPayload<'a> {
    /// Its length with padding, for a datagram whose sealed payload begins at `payload_offset`.
    #[must_use]
    pub fn padded_len(&self, payload_offset: usize) -> usize {
        let len = 8 + varint_len(self.token.len() as u64) + self.token.len();
        len.max(BIND_DATAGRAM_LEN_MIN.saturating_sub(payload_offset).saturating_sub(TAG_LEN))
    }

    /// The opened payload.
    ///
    /// # Errors
    /// [`ParseError`].
    pub fn parse(plaintext: &'a [u8]) -> Result<Self, ParseError> {
        let mut reader = Reader::new(plaintext);
        let wanted = reader.session_id()?;
        let another_slot = match reader.u8()? {
            0 => false,
            ANOTHER_SLOT => true,
            _ => return Err(ParseError::BadValue),
        };
        let token = reader.with_length()?;
        reader.zeros_to_end()?;
        Ok(Self { wanted, another_slot, token })
    }

    /// Fills all of `out`, [`BindPayload::padded_len`] bytes, with the payload and its padding.
    ///
    /// # Errors
    /// [`Full`].
    pub fn emit(&self, out: &mut [u8]) -> Result<(), Full> {
        let mut writer = Writer::new(out);
        writer.session_id(self.wanted)?;
        writer.u8(if self.another_slot { ANOTHER_SLOT } else { 0 })?;
        writer.with_length(self.token)?;
        writer.zeros(writer.remaining())
    }
}

/// What is sealed in Bound and Resumed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BoundPayload {
    /// The peer's registration.
    pub session: SessionId,
    /// How long it lasts without a keep-alive, in seconds.
    pub lifetime_s: u16,
    /// How often to send a keep-alive, in seconds.
    pub keep_alive_s: u16,
    /// The peer's address as the relay sees it.
    pub address: SocketAddr,
    /// How long the token is good for, in seconds; `None` if there is no end.
    pub token_left_s: Option<u32>,
    /// To come back with.
    pub ticket: Ticket,
}

impl BoundPayload {
    /// Length of the payload.
    pub const LEN: usize = 7 + 2 + 2 + 19 + 4 + TICKET_LEN;

    /// The opened payload.
    ///
    /// # Errors
    /// [`ParseError`].
    pub fn parse(plaintext: &[u8]) -> Result<Self, ParseError> {
        let mut reader = Reader::new(plaintext);
        let payload = Self {
            session: reader.session_id()?,
            lifetime_s: reader.u16()?,
            keep_alive_s: reader.u16()?,
            address: parse_address(&mut reader)?,
            token_left_s: Some(reader.u32()?).filter(|left| *left != ENDLESS),
            ticket: reader.array()?,
        };
        reader.finish()?;
        Ok(payload)
    }

    /// Writes the payload and returns its length.
    ///
    /// # Errors
    /// [`Full`].
    pub fn emit(&self, out: &mut [u8]) -> Result<usize, Full> {
        let mut writer = Writer::new(out);
        writer.session_id(self.session)?;
        writer.u16(self.lifetime_s)?;
        writer.u16(self.keep_alive_s)?;
        emit_address(&mut writer, self.address)?;
        writer.u32(self.token_left_s.unwrap_or(ENDLESS))?;
        writer.bytes(&self.ticket)?;
        Ok(writer.position())
    }
}

/// Family, 16 bytes of address, port: always 19 bytes.
fn parse_address(reader: &mut Reader<'_>) -> Result<SocketAddr, ParseError> {
    let family = reader.u8()?;
    let mut bytes = Reader::new(reader.take(16)?);
    let ip = match family {
        4 => IpAddr::V4(Ipv4Addr::from(bytes.array::<4>()?)),
        6 => IpAddr::V6(Ipv6Addr::from(bytes.array::<16>()?)),
        _ => return Err(ParseError::BadValue),
    };
    bytes.zeros_to_end()?;
    Ok(SocketAddr::new(ip, reader.u16()?))
}

fn emit_address(writer: &mut Writer<'_>, address: SocketAddr) -> Result<(), Full> {
    match address.ip() {
        IpAddr::V4(ip) => {
            writer.u8(4)?;
            writer.bytes(&ip.octets())?;
            writer.zeros(12)?;
        }
        IpAddr::V6(ip) => {
            writer.u8(6)?;
            writer.bytes(&ip.octets())?;
        }
    }
    writer.u16(address.port())
}

const fn least_len(datagram: &[u8]) -> Result<(), ParseError> {
    if datagram.len() < BIND_DATAGRAM_LEN_MIN { Err(ParseError::Truncated) } else { Ok(()) }
}

const ANOTHER_SLOT: u8 = 1;
const ENDLESS: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bind_literal_bytes() {
        let bind = Bind { suite: Suite::AesGcm, cookie: *b"abcdefghijklmnop" };
        let mut datagram = [0; BIND_DATAGRAM_LEN_MIN];
        assert_eq!(bind.emit(&mut datagram), Ok(Bind::NOISE_OFFSET));
        assert_eq!(datagram[..19], *b"\x03\x01\x01abcdefghijklmnop");
        assert_eq!(Bind::parse(&datagram), Ok(bind));
        assert_eq!(Bind::parse(&datagram[..279]), Err(ParseError::Truncated));
        datagram[19..27].copy_from_slice(b"ephemera");
        assert_eq!(echo_of(&datagram), Some(*b"ephemera"));
        datagram[2] = 3;
        assert_eq!(Bind::parse(&datagram), Err(ParseError::Suite));
        datagram[1] = 9;
        assert_eq!(Bind::parse(&datagram), Err(ParseError::Version));
        assert_eq!(echo_of(&datagram), Some(*b"ephemera"), "a refusal can be addressed");
        assert_eq!(echo_of(&datagram[..26]), None);
    }

    #[test]
    fn resume_literal_bytes() {
        let resume = Resume {
            suite: Suite::ChaChaPoly,
            cookie: *b"abcdefghijklmnop",
            nonce: *b"0123456789abcdef",
            ticket: [7; TICKET_LEN],
        };
        let mut datagram = [0; BIND_DATAGRAM_LEN_MIN];
        assert_eq!(resume.emit(&mut datagram), Ok(Resume::PAYLOAD_OFFSET));
        assert_eq!(datagram[..35], *b"\x05\x01\x02abcdefghijklmnop0123456789abcdef");
        assert_eq!(datagram[35..169], [7; 134]);
        assert_eq!(datagram[169..], [0; 111]);
        assert_eq!(Resume::parse(&datagram), Ok(resume));
        assert_eq!(Resume::parse(&datagram[..279]), Err(ParseError::Truncated));
        assert_eq!(echo_of(&datagram), Some(*b"01234567"));
    }

    #[test]
    fn bound_and_resumed_literal_bytes() {
        let mut datagram = [0; Bound::LEN + 1];
        assert_eq!(Bound { echo: *b"ephemera" }.emit(&mut datagram), Ok(Bound::NOISE_OFFSET));
        assert_eq!(datagram[..9], *b"\x04ephemera");
        assert_eq!(Bound::parse(&datagram[..225]), Ok(Bound { echo: *b"ephemera" }));
        assert_eq!(Bound::parse(&datagram[..224]), Err(ParseError::Truncated));
        assert_eq!(Bound::parse(&datagram), Err(ParseError::Trailing));

        let resumed = Resumed { echo: *b"01234567", nonce: *b"relay's nonce 16" };
        assert_eq!(resumed.emit(&mut datagram), Ok(Resumed::PAYLOAD_OFFSET));
        assert_eq!(datagram[..25], *b"\x0601234567relay's nonce 16");
        assert_eq!(Resumed::parse(&datagram[..209]), Ok(resumed));
        assert_eq!(Resumed::parse(&datagram[..208]), Err(ParseError::Truncated));
        assert_eq!(Resumed::parse(&datagram[..210]), Err(ParseError::Trailing));
    }

    #[test]
    fn only_requests_are_echoed() {
        let mut hello = [0; 40];
        hello[0] = 1;
        hello[2..10].copy_from_slice(b"12345678");
        assert_eq!(echo_of(&hello), Some(*b"12345678"));
        for kind in [0, 2, 4, 6, 7, 8, 0x40, 0x80] {
            hello[0] = kind;
            assert_eq!(echo_of(&hello), None);
        }
        assert_eq!(echo_of(&[]), None);
    }

    #[test]
    fn prologue_literal_bytes() {
        let prologue = prologue(Suite::ChaChaPoly, b"abcdefghijklmnop");
        assert_eq!(prologue, *b"waylane hop\x01\x02abcdefghijklmnop");
    }

    #[test]
    fn bind_payload_literal_bytes() {
        let payload =
            BindPayload { wanted: SessionId::new(1, 2), another_slot: true, token: b"tok" };
        let mut out = [0xff; 14];
        payload.emit(&mut out).unwrap();
        assert_eq!(out, *b"\x01\x00\x00\x02\x00\x00\x00\x01\x03tok\x00\x00");
        assert_eq!(BindPayload::parse(&out), Ok(payload));
        assert_eq!(BindPayload::parse(&out[..11]), Err(ParseError::Truncated));
        assert_eq!(payload.emit(&mut [0; 11]), Err(Full));
        out[13] = 1;
        assert_eq!(BindPayload::parse(&out), Err(ParseError::BadValue), "padding");
        out[7] = 2;
        assert_eq!(BindPayload::parse(&out), Err(ParseError::BadValue), "flags");
    }

    #[test]
    fn padding_makes_requests_long_enough_and_no_longer() {
        let short = BindPayload { wanted: SessionId::NONE, another_slot: false, token: &[] };
        for offset in [Bind::PAYLOAD_OFFSET, Resume::PAYLOAD_OFFSET] {
            assert_eq!(offset + short.padded_len(offset) + TAG_LEN, BIND_DATAGRAM_LEN_MIN);
            let long = BindPayload { token: &[1; 300], ..short };
            assert_eq!(long.padded_len(offset), 7 + 1 + 2 + 300);
        }
    }

    #[test]
    fn bound_payload_literal_bytes() {
        let payload = BoundPayload {
            session: SessionId::new(1, 2),
            lifetime_s: 60,
            keep_alive_s: 15,
            address: "192.0.2.1:4433".parse().unwrap(),
            token_left_s: Some(0x0403_0201),
            ticket: [7; TICKET_LEN],
        };
        let mut out = [0; BoundPayload::LEN];
        assert_eq!(payload.emit(&mut out), Ok(168));
        let front = [
            1, 0, 0, 2, 0, 0, 0, 60, 0, 15, 0, 4, 192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            0x51, 0x11, 1, 2, 3, 4,
        ];
        assert_eq!(out[..34], front);
        assert_eq!(out[34..], [7; 134]);
        assert_eq!(BoundPayload::parse(&out), Ok(payload));
        assert_eq!(BoundPayload::parse(&out[..167]), Err(ParseError::Truncated));
        let endless = BoundPayload { token_left_s: None, ..payload };
        endless.emit(&mut out).unwrap();
        assert_eq!(out[30..34], [0xff; 4]);
        assert_eq!(BoundPayload::parse(&out), Ok(endless));
        payload.emit(&mut out).unwrap();
        out[16] = 1;
        assert_eq!(BoundPayload::parse(&out), Err(ParseError::BadValue), "IPv4 and more");
        out[11] = 6;
        let address = "[c000:201:100::]:4433".parse().unwrap();
        assert_eq!(BoundPayload::parse(&out), Ok(BoundPayload { address, ..payload }));
        out[11] = 5;
        assert_eq!(BoundPayload::parse(&out), Err(ParseError::BadValue), "family");
    }
}
