//! Who may have a session: tokens, and what comes of them.

use super::circle::CircleKey;
use crate::crypto::Crypto;
use crate::id::PublicKey;
use crate::token::{Claims, KeyId, Region, Token, TokenKeys};
use crate::wire::hop::RefusedReason;
use crate::wire::{Full, ParseError, Reader, Writer};

/// Whose tokens a relay takes.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct TokenRules {
    /// Keys that sign them.
    pub keys: TokenKeys,
    /// Whether tokens that name no peer's key are good for everybody who shows them.
    pub bearer: bool,
    /// The relay's region: tokens of others are refused.
    pub region: Region,
}

impl TokenRules {
    /// What `token` says, if it is good for `peer` now. What costs least is looked at first.
    pub(crate) fn check<C: Crypto>(
        &self,
        unix_s: u64,
        token: &[u8],
        peer: &PublicKey,
    ) -> Result<Claims, RefusedReason> {
        let token = Token::from_bytes(token).map_err(|_| RefusedReason::Token)?;
        let claims = token.claims();
        if claims.expiry_unix_s <= unix_s {
            return Err(RefusedReason::TokenExpired);
        }
        if claims.peer.map_or(!self.bearer, |bound| bound != *peer) {
            return Err(RefusedReason::TokenPeer);
        }
        if claims.region != Region::NONE && claims.region != self.region {
            return Err(RefusedReason::TokenRegion);
        }
        if !self.keys.signed::<C>(&token) {
            return Err(RefusedReason::TokenSignature);
        }
        Ok(*claims)
    }
}

/// What a session may do and until when: a token's, or everybody's. It travels in the ticket, so
/// that who comes back with it costs no signature.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Grant {
    /// Of the token's bytes; who shows the same token again has shown it.
    pub(crate) token: [u8; 8],
    /// Which key the token was signed with.
    pub(crate) key: KeyId,
    pub(crate) expiry_unix_s: u64,
    pub(crate) subject: CircleKey,
    /// The subject's sessions at most; 0: the relay's own limit.
    pub(crate) sessions: u16,
    /// Packets per second of the subject; 0: the relay's own limit.
    pub(crate) packets_per_second: u32,
    /// Bytes per second of the subject; 0: the relay's own limit.
    pub(crate) bytes_per_second: u32,
}

impl Grant {
    /// Where no token is asked for.
    pub(crate) const OPEN: Self = Self {
        token: [0; 8],
        key: KeyId([0; 4]),
        expiry_unix_s: u64::MAX,
        subject: CircleKey::NONE,
        sessions: 0,
        packets_per_second: 0,
        bytes_per_second: 0,
    };

    pub(crate) fn emit(&self, writer: &mut Writer<'_>) -> Result<(), Full> {
        writer.bytes(&self.token)?;
        writer.bytes(&self.key.0)?;
        writer.u64(self.expiry_unix_s)?;
        writer.u64(self.subject.get())?;
        writer.u16(self.sessions)?;
        writer.u32(self.packets_per_second)?;
        writer.u32(self.bytes_per_second)
    }

    pub(crate) fn parse(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        Ok(Self {
            token: reader.array()?,
            key: KeyId(reader.array()?),
            expiry_unix_s: reader.u64()?,
            subject: reader.u64()?.into(),
            sessions: reader.u16()?,
            packets_per_second: reader.u32()?,
            bytes_per_second: reader.u32()?,
        })
    }
}

/// A session goes on for so long after its token has expired, for one that comes late.
pub(crate) const GRACE_S: u64 = 60;
