//! The side that answers.

use core::ops::Range;

use super::root::HopRoot;
use super::symmetric::Symmetric;
use super::{E_LEN, KeyPair, MESSAGE_2_OVERHEAD, ReadError, SEALED_S_LEN, Transport, WriteError};
use crate::crypto::{Crypto, Secret, Suite, TAG_LEN};
use crate::id::PublicKey;

/// A responder expecting message 1.
pub struct Responder<'a, C> {
    symmetric: Symmetric<C>,
    local: &'a KeyPair,
}

impl<'a, C: Crypto> Responder<'a, C> {
    /// A responder for one message 1.
    #[must_use]
    pub fn new(suite: Suite, prologue: &[u8], local: &'a KeyPair) -> Self {
        Self { symmetric: Symmetric::new(suite, prologue, local.public()), local }
    }

    /// Opens the front of message 1 in place: who it is from. One X25519; the caller can refuse
    /// the key before the second, or bring a kept `ss` for it.
    ///
    /// # Errors
    /// [`ReadError`]; the content of `message` is then unspecified.
    pub fn read_static(mut self, message: &mut [u8]) -> Result<ReceivedStatic<'_, C>, ReadError> {
        let (e, rest) = message.split_first_chunk_mut::<E_LEN>().ok_or(ReadError::Truncated)?;
        let (s, sealed) =
            rest.split_first_chunk_mut::<SEALED_S_LEN>().ok_or(ReadError::Truncated)?;
        if sealed.len() < TAG_LEN {
            return Err(ReadError::Truncated);
        }
        let remote_ephemeral = PublicKey(*e);
        self.symmetric.mix_hash(&remote_ephemeral.0);
        let es = self.local.agree::<C>(&remote_ephemeral).ok_or(ReadError::BadKey)?;
        self.symmetric.mix_key(&es);
        self.symmetric.open(s).map_err(|_| ReadError::Forged)?;
        let (remote, _) = s.split_first_chunk::<32>().ok_or(ReadError::Truncated)?;
        Ok(ReceivedStatic {
            symmetric: self.symmetric,
            remote_ephemeral,
            remote: PublicKey(*remote),
            sealed,
        })
    }

    /// Opens the whole of message 1 in place, for a responder that takes any static key and keeps
    /// no shared secrets. Two X25519.
    ///
    /// # Errors
    /// [`ReadError`]; the content of `message` is then unspecified.
    pub fn read_message_1(self, message: &mut [u8]) -> Result<Received<C>, ReadError> {
        let local = self.local;
        let received = self.read_static(message)?;
        let static_static = local.agree::<C>(received.remote()).ok_or(ReadError::BadKey)?;
        received.read_payload(&static_static)
    }
}

/// Message 1 opened up to the initiator's static key, which is known but not yet proven: only
/// [`read_payload`](Self::read_payload) shows that the sender holds its secret.
pub struct ReceivedStatic<'m, C> {
    symmetric: Symmetric<C>,
    remote_ephemeral: PublicKey,
    remote: PublicKey,
    sealed: &'m mut [u8],
}

impl<C: Crypto> ReceivedStatic<'_, C> {
    /// The static key the message claims.
    #[must_use]
    pub const fn remote(&self) -> &PublicKey {
        &self.remote
    }

    /// Opens the payload; `static_static` is the responder's secret shared with
    /// [`remote`](Self::remote).
    ///
    /// # Errors
    /// [`ReadError::Forged`] if the sender does not hold the key it claims, or the message was
    /// changed.
    pub fn read_payload(mut self, static_static: &Secret) -> Result<Received<C>, ReadError> {
        self.symmetric.mix_key(static_static);
        let len = self.symmetric.open(self.sealed).map_err(|_| ReadError::Forged)?;
        let start = E_LEN + SEALED_S_LEN;
        let reply = Reply {
            symmetric: self.symmetric,
            remote_ephemeral: self.remote_ephemeral,
            remote: self.remote,
        };
        Ok(Received { remote: self.remote, payload: start..start + len, reply })
    }
}

/// A message 1 that authenticated. It may still be a replay: a stamp in it must say otherwise.
pub struct Received<C> {
    /// The initiator's static key.
    pub remote: PublicKey,
    /// Where in the message slice the payload now is.
    pub payload: Range<usize>,
    /// What answers it.
    pub reply: Reply<C>,
}

/// A responder about to write message 2.
pub struct Reply<C> {
    symmetric: Symmetric<C>,
    remote_ephemeral: PublicKey,
    remote: PublicKey,
}

impl<C: Crypto> Reply<C> {
    /// Writes `e` and the sealed payload to the front of `out`; answers the length,
    /// [`MESSAGE_2_OVERHEAD`] more than the payload's. `ephemeral` is fresh for each message.
    ///
    /// `mix`, if not empty, goes into the handshake hash just before the payload is sealed, and
    /// so binds what travels in clear beside the message (wire.md §1.3).
    ///
    /// # Errors
    /// [`WriteError::NoSpace`] if `out` is too short, [`WriteError::BadKey`] if a key of the
    /// initiator is of low order.
    pub fn write_message_2(
        self,
        ephemeral: &KeyPair,
        mix: &[u8],
        payload: &[u8],
        out: &mut [u8],
    ) -> Result<(usize, Transport), WriteError> {
        self.agree(ephemeral)?.write_message_2(mix, payload, out)
    }

    /// The first half of [`write_message_2`](Self::write_message_2), for a payload that depends on
    /// the keys: they are settled before it is sealed.
    ///
    /// # Errors
    /// [`WriteError::BadKey`] if a key of the initiator is of low order.
    pub fn agree(mut self, ephemeral: &KeyPair) -> Result<Agreed<C>, WriteError> {
        let ephemeral_public = *ephemeral.public();
        self.symmetric.mix_hash(&ephemeral_public.0);
        let ee = ephemeral.agree::<C>(&self.remote_ephemeral).ok_or(WriteError::BadKey)?;
        self.symmetric.mix_key(&ee);
        let se = ephemeral.agree::<C>(&self.remote).ok_or(WriteError::BadKey)?;
        self.symmetric.mix_key(&se);
        Ok(Agreed { symmetric: self.symmetric, ephemeral_public })
    }
}

/// A responder that knows the keys and is about to seal message 2.
pub struct Agreed<C> {
    symmetric: Symmetric<C>,
    ephemeral_public: PublicKey,
}

impl<C: Crypto> Agreed<C> {
    /// What the keys that [`write_message_2`](Self::write_message_2) will return come from.
    pub(crate) fn root(&self) -> HopRoot {
        self.symmetric.root()
    }

    /// As [`Reply::write_message_2`].
    ///
    /// # Errors
    /// [`WriteError::NoSpace`] if `out` is too short.
    pub fn write_message_2(
        mut self,
        mix: &[u8],
        payload: &[u8],
        out: &mut [u8],
    ) -> Result<(usize, Transport), WriteError> {
        let len = payload.len() + MESSAGE_2_OVERHEAD;
        let out = out.get_mut(..len).ok_or(WriteError::NoSpace)?;
        let (e, sealed) = out.split_at_mut(E_LEN);
        e.copy_from_slice(&self.ephemeral_public.0);
        if !mix.is_empty() {
            self.symmetric.mix_hash(mix);
        }
        sealed[..payload.len()].copy_from_slice(payload);
        self.symmetric.seal(sealed);
        Ok((len, self.symmetric.split()))
    }
}
