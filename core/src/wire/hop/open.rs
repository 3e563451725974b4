//! Hop datagrams with nothing sealed in them (wire.md §3).

use core::fmt;

use super::{Cookie, Echo};
use crate::wire::{Full, Kind, PROTOCOL_VERSION, ParseError, Writer};

/// A peer asks for a cookie.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hello {
    /// To be echoed.
    pub nonce: [u8; 8],
}

impl Hello {
    /// Length of the datagram.
    pub const LEN: usize = 40;

    /// From the wire.
    ///
    /// # Errors
    /// [`ParseError`], among them `Version`.
    pub fn parse(datagram: &[u8]) -> Result<Self, ParseError> {
        let mut reader = Kind::Hello.expect(datagram)?;
        reader.version()?;
        let nonce = reader.array()?;
        exact_len(datagram, Self::LEN)?;
        reader.zeros_to_end()?;
        Ok(Self { nonce })
    }

    /// Writes the datagram and returns its length.
    ///
    /// # Errors
    /// [`Full`].
    pub fn emit(&self, out: &mut [u8]) -> Result<usize, Full> {
        let mut writer = Writer::new(out);
        writer.u8(Kind::Hello as u8)?;
        writer.u8(PROTOCOL_VERSION)?;
        writer.bytes(&self.nonce)?;
        writer.zeros(Self::LEN - 10)?;
        Ok(writer.position())
    }
}

impl fmt::Display for Hello {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Kind::Hello.fmt(f)
    }
}

/// A relay's answer to [`Hello`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CookieReply {
    /// Of the Hello.
    pub nonce: [u8; 8],
    /// To be shown in Bind or Resume.
    pub cookie: Cookie,
}

impl CookieReply {
    /// Length of the datagram.
    pub const LEN: usize = 25;

    /// From the wire.
    ///
    /// # Errors
    /// [`ParseError`].
    pub fn parse(datagram: &[u8]) -> Result<Self, ParseError> {
        let mut reader = Kind::Cookie.expect(datagram)?;
        let reply = Self { nonce: reader.array()?, cookie: reader.array()? };
        reader.finish()?;
        Ok(reply)
    }

    /// Writes the datagram and returns its length.
    ///
    /// # Errors
    /// [`Full`].
    pub fn emit(&self, out: &mut [u8]) -> Result<usize, Full> {
        let mut writer = Writer::new(out);
        writer.u8(Kind::Cookie as u8)?;
        writer.bytes(&self.nonce)?;
        writer.bytes(&self.cookie)?;
        Ok(writer.position())
    }
}

impl fmt::Display for CookieReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Kind::Cookie.fmt(f)
    }
}

/// A relay refuses a Bind or Resume, or a Hello of another version.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refused {
    /// As [`super::echo_of`] what is refused.
    pub echo: Echo,
    /// Why.
    pub reason: RefusedReason,
}

impl Refused {
    /// Length of the datagram.
    pub const LEN: usize = 10;

    /// From the wire.
    ///
    /// # Errors
    /// [`ParseError`].
    pub fn parse(datagram: &[u8]) -> Result<Self, ParseError> {
        let mut reader = Kind::Refused.expect(datagram)?;
        let echo = reader.array()?;
        let reason = RefusedReason::from_u8(reader.u8()?).ok_or(ParseError::BadValue)?;
        reader.finish()?;
        Ok(Self { echo, reason })
    }

    /// Writes the datagram and returns its length.
    ///
    /// # Errors
    /// [`Full`].
    pub fn emit(&self, out: &mut [u8]) -> Result<usize, Full> {
        let mut writer = Writer::new(out);
        writer.u8(Kind::Refused as u8)?;
        writer.bytes(&self.echo)?;
        writer.u8(self.reason as u8)?;
        Ok(writer.position())
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", Kind::Refused, self.reason)
    }
}

/// Why a relay refuses a registration.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum RefusedReason {
    /// It does not speak this protocol version.
    Version = 1,
    /// It does not do this cipher suite.
    Suite = 2,
    /// The cookie is too old or of another address; ask for a new one.
    Cookie = 3,
    /// It has no slot left.
    Full = 4,
    /// It wants a token, or another one.
    Token = 5,
    /// It takes no new sessions because it is about to stop.
    Draining = 6,
    /// The ticket is too old or not its own; bind by handshake.
    Ticket = 7,
    /// The request could not be read.
    Malformed = 8,
}

impl RefusedReason {
    const fn from_u8(value: u8) -> Option<Self> {
        Some(match value {
            1 => Self::Version,
            2 => Self::Suite,
            3 => Self::Cookie,
            4 => Self::Full,
            5 => Self::Token,
            6 => Self::Draining,
            7 => Self::Ticket,
            8 => Self::Malformed,
            _ => return None,
        })
    }
}

impl fmt::Display for RefusedReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Version => "the relay does not speak this protocol version",
            Self::Suite => "the relay does not do this cipher suite",
            Self::Cookie => "the cookie is not valid (any more)",
            Self::Full => "the relay is full",
            Self::Token => "the relay does not accept the token",
            Self::Draining => "the relay is about to stop",
            Self::Ticket => "the ticket is not valid (any more)",
            Self::Malformed => "the relay could not read the request",
        })
    }
}

/// A relay's hint that it has no session for the source of a datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotBound {
    /// First bytes of that datagram.
    pub echo: [u8; 16],
    /// To be shown in Bind or Resume.
    pub cookie: Cookie,
}

impl NotBound {
    /// Length of the datagram; nothing shorter is answered by it.
    pub const LEN: usize = 33;

    /// From the wire.
    ///
    /// # Errors
    /// [`ParseError`].
    pub fn parse(datagram: &[u8]) -> Result<Self, ParseError> {
        let mut reader = Kind::NotBound.expect(datagram)?;
        let hint = Self { echo: reader.array()?, cookie: reader.array()? };
        reader.finish()?;
        Ok(hint)
    }

    /// Writes the datagram and returns its length.
    ///
    /// # Errors
    /// [`Full`].
    pub fn emit(&self, out: &mut [u8]) -> Result<usize, Full> {
        let mut writer = Writer::new(out);
        writer.u8(Kind::NotBound as u8)?;
        writer.bytes(&self.echo)?;
        writer.bytes(&self.cookie)?;
        Ok(writer.position())
    }
}

impl fmt::Display for NotBound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Kind::NotBound.fmt(f)
    }
}

/// A latency probe or its reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Probe {
    /// Whether this is the relay's reply.
    pub reply: bool,
    /// Drawn by the peer, echoed by the relay.
    pub nonce: [u8; 8],
}

impl Probe {
    /// Length of the datagram.
    pub const LEN: usize = 32;

    /// From the wire.
    ///
    /// # Errors
    /// [`ParseError`].
    pub fn parse(datagram: &[u8]) -> Result<Self, ParseError> {
        let reply = Kind::of(datagram)? == Kind::ProbeReply;
        let mut reader = probe_kind(reply).expect(datagram)?;
        let nonce = reader.array()?;
        exact_len(datagram, Self::LEN)?;
        reader.zeros_to_end()?;
        Ok(Self { reply, nonce })
    }

    /// Writes the datagram and returns its length.
    ///
    /// # Errors
    /// [`Full`].
    pub fn emit(&self, out: &mut [u8]) -> Result<usize, Full> {
        let mut writer = Writer::new(out);
        writer.u8(probe_kind(self.reply) as u8)?;
        writer.bytes(&self.nonce)?;
        writer.zeros(Self::LEN - 9)?;
        Ok(writer.position())
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        probe_kind(self.reply).fmt(f)
    }
}

const fn probe_kind(reply: bool) -> Kind {
    if reply { Kind::ProbeReply } else { Kind::Probe }
}

const fn exact_len(datagram: &[u8], len: usize) -> Result<(), ParseError> {
    if datagram.len() < len {
        Err(ParseError::Truncated)
    } else if datagram.len() > len {
        Err(ParseError::Trailing)
    } else {
        Ok(())
    }
}
