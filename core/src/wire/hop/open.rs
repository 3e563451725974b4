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
    /// The token is not good any more.
    TokenExpired = 9,
    /// No key that it takes signed the token.
    TokenSignature = 10,
    /// The token is not for this peer's key.
    TokenPeer = 11,
    /// The token is for another region.
    TokenRegion = 12,
    /// The token's subject has as many sessions as it may.
    SubjectFull = 13,
    /// As many sessions as may be come from this address.
    SourceFull = 14,
}

impl RefusedReason {
    /// Every reason and its name, as it is counted by.
    pub const ALL: [(Self, &'static str); 14] = [
        (Self::Version, "version"),
        (Self::Suite, "suite"),
        (Self::Cookie, "cookie"),
        (Self::Full, "full"),
        (Self::Token, "token"),
        (Self::Draining, "draining"),
        (Self::Ticket, "ticket"),
        (Self::Malformed, "malformed"),
        (Self::TokenExpired, "token_expired"),
        (Self::TokenSignature, "token_signature"),
        (Self::TokenPeer, "token_peer"),
        (Self::TokenRegion, "token_region"),
        (Self::SubjectFull, "subject_full"),
        (Self::SourceFull, "source_full"),
    ];

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
            9 => Self::TokenExpired,
            10 => Self::TokenSignature,
            11 => Self::TokenPeer,
            12 => Self::TokenRegion,
            13 => Self::SubjectFull,
            14 => Self::SourceFull,
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
            Self::TokenExpired => "the token has expired",
            Self::TokenSignature => "the relay knows nobody who signed the token",
            Self::TokenPeer => "the token is for another player's key",
            Self::TokenRegion => "the token is for another region",
            Self::SubjectFull => "the token's subject has as many sessions as it may",
            Self::SourceFull => "too many sessions come from this address",
        })
    }
}

/// A relay's hint that it has no session for the source of a datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotBound {
    /// Last bytes of that datagram.
    pub echo: Echo,
    /// To be shown in Bind or Resume.
    pub cookie: Cookie,
}

impl NotBound {
    /// Length of the datagram; nothing shorter is answered by it.
    pub const LEN: usize = 25;

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::DATAGRAM_LEN_MAX;

    #[test]
    fn hello_literal_bytes() {
        let hello = Hello { nonce: *b"12345678" };
        let mut out = [0xff; 64];
        assert_eq!(hello.emit(&mut out), Ok(40));
        assert_eq!(out[..10], *b"\x01\x0112345678");
        assert_eq!(out[10..40], [0; 30]);
        assert_eq!(Hello::parse(&out[..40]), Ok(hello));
        assert_eq!(Hello::parse(&out[..39]), Err(ParseError::Truncated));
        assert_eq!(Hello::parse(&out[..41]), Err(ParseError::Trailing));
        out[39] = 1;
        assert_eq!(Hello::parse(&out[..40]), Err(ParseError::BadValue));
        out[1] = 2;
        assert_eq!(Hello::parse(&out[..40]), Err(ParseError::Version));
    }

    #[test]
    fn cookie_literal_bytes() {
        let reply = CookieReply { nonce: *b"12345678", cookie: *b"abcdefghijklmnop" };
        let mut out = [0; CookieReply::LEN];
        assert_eq!(reply.emit(&mut out), Ok(25));
        assert_eq!(out, *b"\x0212345678abcdefghijklmnop");
        assert_eq!(CookieReply::parse(&out), Ok(reply));
        assert_eq!(CookieReply::parse(&out[..24]), Err(ParseError::Truncated));
    }

    #[test]
    fn refused_literal_bytes() {
        let mut out = [0; Refused::LEN];
        for reason in 1..=14 {
            let bytes = [7, 1, 2, 3, 4, 5, 6, 7, 8, reason];
            let refused = Refused::parse(&bytes).unwrap();
            assert_eq!(refused.emit(&mut out), Ok(10));
            assert_eq!(out, bytes);
        }
        assert_eq!(RefusedReason::Full as u8, 4);
        assert_eq!(RefusedReason::SourceFull as u8, 14);
        for reason in [0, 15] {
            let bytes = [7, 1, 2, 3, 4, 5, 6, 7, 8, reason];
            assert_eq!(Refused::parse(&bytes), Err(ParseError::BadValue));
        }
    }

    #[test]
    fn not_bound_literal_bytes() {
        let hint = NotBound { echo: *b"01234567", cookie: *b"abcdefghijklmnop" };
        let mut out = [0; NotBound::LEN];
        assert_eq!(hint.emit(&mut out), Ok(25));
        assert_eq!(out, *b"\x0901234567abcdefghijklmnop");
        assert_eq!(NotBound::parse(&out), Ok(hint));
    }

    #[test]
    fn probe_literal_bytes() {
        for (reply, first) in [(false, 0x0a), (true, 0x0b)] {
            let probe = Probe { reply, nonce: *b"12345678" };
            let mut out = [0xff; 40];
            assert_eq!(probe.emit(&mut out), Ok(32));
            assert_eq!((out[0], &out[1..9]), (first, &b"12345678"[..]));
            assert_eq!(out[9..32], [0; 23]);
            assert_eq!(Probe::parse(&out[..32]), Ok(probe));
            assert_eq!(Probe::parse(&out[..33]), Err(ParseError::Trailing));
            out[31] = 1;
            assert_eq!(Probe::parse(&out[..32]), Err(ParseError::BadValue));
        }
    }

    #[test]
    fn no_reply_is_longer_than_what_it_answers() {
        use crate::wire::hop::{BIND_DATAGRAM_LEN_MIN, Bound, Resumed};
        const { assert!(CookieReply::LEN <= Hello::LEN && Refused::LEN <= Hello::LEN) };
        const { assert!(Bound::LEN <= BIND_DATAGRAM_LEN_MIN) };
        const { assert!(Resumed::LEN <= BIND_DATAGRAM_LEN_MIN) };
        const { assert!(BIND_DATAGRAM_LEN_MIN <= DATAGRAM_LEN_MAX) };
    }
}
