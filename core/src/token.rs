//! Tokens: what a game's backend signs so that a relay serves a player (wire.md §5).

use core::fmt;
use core::str::FromStr;

use crate::crypto::Crypto;
use crate::id::PublicKey;
use crate::wire::base64url::{self, Base64};
use crate::wire::{Full, ParseError, Reader, Writer};

/// A token in its fixed layout; who holds it can use it, as far as its peer's key allows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Token {
    bytes: [u8; Self::LEN],
    claims: Claims,
}

impl Token {
    /// Bytes of a token.
    pub const LEN: usize = Self::SIGNED_LEN + 64;
    /// Bytes of a token that are signed.
    pub const SIGNED_LEN: usize = 104;
    /// Characters of its text form.
    pub const TEXT_LEN: usize = base64url::encoded_len(Self::LEN);

    /// A token from the wire; whether anybody signed it is not looked at.
    ///
    /// # Errors
    /// [`ParseError`]: another length, or a field that says what no token says.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ParseError> {
        let bytes = <[u8; Self::LEN]>::try_from(bytes).map_err(|_| ParseError::Truncated)?;
        Ok(Self { bytes, claims: Claims::parse(&bytes)? })
    }

    /// The token of these claims. `sign` gives the Ed25519 signature of the bytes it gets.
    #[must_use]
    pub fn new(claims: &Claims, sign: impl FnOnce(&[u8]) -> [u8; 64]) -> Self {
        let mut token = Self { bytes: [0; Self::LEN], claims: *claims };
        let emitted = claims.emit(&mut token.bytes);
        debug_assert_eq!(emitted, Ok(Self::SIGNED_LEN));
        let signature = sign(&token.message());
        if let Some(into) = token.bytes.last_chunk_mut() {
            *into = signature;
        }
        token
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.bytes
    }

    /// What it says.
    #[must_use]
    pub const fn claims(&self) -> &Claims {
        &self.claims
    }

    /// Whether the holder of `key` signed it.
    #[must_use]
    pub fn is_signed_by<C: Crypto>(&self, key: &TokenKey) -> bool {
        let signature = self.bytes.last_chunk();
        signature.is_some_and(|signature| C::ed25519_verify(&key.0, &self.message(), signature))
    }

    /// What is signed: a label, so that no signature for another purpose fits, and the claims.
    fn message(&self) -> [u8; CONTEXT.len() + Self::SIGNED_LEN] {
        let mut message = [0; CONTEXT.len() + Self::SIGNED_LEN];
        for (to, from) in message.iter_mut().zip(CONTEXT.iter().chain(&self.bytes)) {
            *to = *from;
        }
        message
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Base64(&self.bytes).fmt(f)
    }
}

impl FromStr for Token {
    type Err = ParseError;

    /// From the text form.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut bytes = [0; Self::LEN];
        let decoded = base64url::decode(text.trim().as_bytes(), &mut bytes);
        let len = decoded.map_err(|_| ParseError::BadValue)?;
        Self::from_bytes(bytes.get(..len).unwrap_or_default())
    }
}

/// What a token says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claims {
    /// Which key it is signed with: [`TokenKey::id`].
    pub key: KeyId,
    /// Until when sessions can be had with it, in seconds since 1970.
    pub expiry_unix_s: u64,
    /// Whose it is; `None`: whoever shows it.
    pub peer: Option<PublicKey>,
    /// Whose sessions and rates are counted together; all zero: the peer's own.
    pub subject: [u8; 16],
    /// In which region it is good; none: in every one.
    pub region: Region,
    /// Sessions of the subject at once; 0: what the relay gives.
    pub sessions: u16,
    /// What all of the subject's sessions may send, packets per second; 0: what the relay gives.
    pub packets_per_second: u32,
    /// The same, bytes per second.
    pub bytes_per_second: u32,
}

impl Claims {
    /// Of whoever shows it, in every region, until then, with nothing but what the relay gives; for
    /// the signer to say more, and to name its key.
    #[must_use]
    pub const fn until(expiry_unix_s: u64) -> Self {
        Self {
            key: KeyId([0; 4]),
            expiry_unix_s,
            peer: None,
            subject: [0; 16],
            region: Region::NONE,
            sessions: 0,
            packets_per_second: 0,
            bytes_per_second: 0,
        }
    }

    fn parse(token: &[u8; Token::LEN]) -> Result<Self, ParseError> {
        let mut reader = Reader::new(token);
        if reader.u8()? != FORMAT {
            return Err(ParseError::Version);
        }
        let is_bound = match reader.u8()? {
            0 => false,
            BOUND => true,
            _ => return Err(ParseError::BadValue),
        };
        let sessions = reader.u16()?;
        let key = KeyId(reader.array()?);
        let expiry_unix_s = reader.u64()?;
        let peer = reader.array()?;
        if !is_bound && peer != [0; 32] {
            return Err(ParseError::BadValue);
        }
        Ok(Self {
            key,
            expiry_unix_s,
            peer: is_bound.then_some(PublicKey(peer)),
            subject: reader.array()?,
            region: Region::from_bytes(reader.array()?)?,
            sessions,
            packets_per_second: reader.u32()?,
            bytes_per_second: reader.u32()?,
        })
    }

    fn emit(&self, out: &mut [u8]) -> Result<usize, Full> {
        let mut writer = Writer::new(out);
        writer.u8(FORMAT)?;
        writer.u8(if self.peer.is_some() { BOUND } else { 0 })?;
        writer.u16(self.sessions)?;
        writer.bytes(&self.key.0)?;
        writer.u64(self.expiry_unix_s)?;
        writer.bytes(&self.peer.map_or([0; 32], |peer| peer.0))?;
        writer.bytes(&self.subject)?;
        writer.bytes(&self.region.0)?;
        writer.u32(self.packets_per_second)?;
        writer.u32(self.bytes_per_second)?;
        Ok(writer.position())
    }
}

/// The public half of an Ed25519 key that tokens are signed with.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct TokenKey(pub [u8; 32]);

impl TokenKey {
    /// Its name in tokens: the first bytes of its SHA-256.
    #[must_use]
    pub fn id<C: Crypto>(&self) -> KeyId {
        let [a, b, c, d, ..] = C::sha256(&[&self.0]);
        KeyId([a, b, c, d])
    }
}

impl fmt::Display for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Base64(&self.0).fmt(f)
    }
}

impl FromStr for TokenKey {
    type Err = ParseError;

    /// From 43 characters of base64url.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut key = [0; 32];
        match base64url::decode(text.as_bytes(), &mut key) {
            Ok(32) => Ok(Self(key)),
            Ok(_) => Err(ParseError::Truncated),
            Err(_) => Err(ParseError::BadValue),
        }
    }
}

/// Names a [`TokenKey`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct KeyId(pub [u8; 4]);

/// The keys whose tokens a relay takes: several, so that a new one can come before the old one
/// goes.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct TokenKeys {
    keys: [TokenKey; Self::MAX],
    len: usize,
}

impl TokenKeys {
    /// The most there can be.
    pub const MAX: usize = 16;

    /// These keys; `None` if they are too many.
    #[must_use]
    pub fn new(keys: &[TokenKey]) -> Option<Self> {
        let mut all = Self { keys: [TokenKey::default(); Self::MAX], len: keys.len() };
        all.keys.get_mut(..keys.len())?.copy_from_slice(keys);
        Some(all)
    }

    /// The keys.
    #[must_use]
    pub fn as_slice(&self) -> &[TokenKey] {
        self.keys.get(..self.len).unwrap_or_default()
    }

    /// Whether one of them has this name.
    pub(crate) fn holds<C: Crypto>(&self, id: KeyId) -> bool {
        self.as_slice().iter().any(|key| key.id::<C>() == id)
    }

    /// Whether one of them signed `token`.
    #[must_use]
    pub fn signed<C: Crypto>(&self, token: &Token) -> bool {
        let id = token.claims().key;
        self.as_slice().iter().any(|key| key.id::<C>() == id && token.is_signed_by::<C>(key))
    }
}

/// A region as in directory entries: at most 32 letters, digits, `-`, `_`, `.`; may be none.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Region([u8; 32]);

impl Region {
    /// No region.
    pub const NONE: Self = Self([0; 32]);

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let len = self.0.iter().position(|byte| *byte == 0).unwrap_or(self.0.len());
        core::str::from_utf8(self.0.get(..len).unwrap_or_default()).unwrap_or_default()
    }

    fn from_bytes(bytes: [u8; 32]) -> Result<Self, ParseError> {
        let region = Self(bytes);
        let text: Region = region.as_str().parse()?;
        if text == region { Ok(region) } else { Err(ParseError::BadValue) }
    }
}

impl FromStr for Region {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let mut region = Self::NONE;
        let into = region.0.get_mut(..text.len()).ok_or(ParseError::BadValue)?;
        into.copy_from_slice(text.as_bytes());
        if text.bytes().all(is_legal) { Ok(region) } else { Err(ParseError::BadValue) }
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

const FORMAT: u8 = 1;
const BOUND: u8 = 1;
const CONTEXT: &[u8; 13] = b"waylane token";

#[cfg(test)]
mod tests {
    use std::string::ToString as _;

    use super::*;

    fn claims() -> Claims {
        Claims {
            key: KeyId(*b"key!"),
            expiry_unix_s: 0x0807_0605_0403_0201,
            peer: Some(PublicKey([7; 32])),
            subject: *b"sixteen bytes of",
            region: "eu-1".parse().unwrap(),
            sessions: 0x0201,
            packets_per_second: 0x0403_0201,
            bytes_per_second: 5,
        }
    }

    #[test]
    fn token_literal_bytes() {
        let token = Token::new(&claims(), |message| {
            assert_eq!(message.len(), 117);
            assert_eq!(&message[..17], b"waylane token\x01\x01\x01\x02");
            [9; 64]
        });
        let bytes = token.as_bytes();
        assert_eq!(bytes[..16], *b"\x01\x01\x01\x02key!\x01\x02\x03\x04\x05\x06\x07\x08");
        assert_eq!(bytes[16..48], [7; 32]);
        assert_eq!(bytes[48..64], *b"sixteen bytes of");
        assert_eq!(bytes[64..68], *b"eu-1");
        assert_eq!(bytes[68..96], [0; 28]);
        assert_eq!(bytes[96..104], [1, 2, 3, 4, 5, 0, 0, 0]);
        assert_eq!(bytes[104..], [9; 64]);
        assert_eq!(*token.claims(), claims());
        assert_eq!(Token::from_bytes(bytes), Ok(token));
        assert_eq!(token.to_string().parse(), Ok(token));
        assert_eq!(token.to_string().len(), Token::TEXT_LEN);
    }

    #[test]
    fn what_no_token_says_is_refused() {
        let token = Token::new(&claims(), |_| [9; 64]);
        let changed = |at: usize, to: u8| {
            let mut bytes = *token.as_bytes();
            bytes[at] = to;
            Token::from_bytes(&bytes)
        };
        assert_eq!(changed(0, 2), Err(ParseError::Version));
        assert_eq!(changed(1, 2), Err(ParseError::BadValue));
        assert_eq!(changed(1, 0), Err(ParseError::BadValue), "a key, but not bound");
        assert_eq!(changed(64, b' '), Err(ParseError::BadValue));
        assert_eq!(changed(95, b'x'), Err(ParseError::BadValue), "behind the region's end");
        assert_eq!(Token::from_bytes(&token.as_bytes()[1..]), Err(ParseError::Truncated));
        assert_eq!("AAAA".parse::<Token>(), Err(ParseError::Truncated));
        assert_eq!("a token".parse::<Token>(), Err(ParseError::BadValue));
        assert!("x".repeat(33).parse::<Region>().is_err());
    }
}
