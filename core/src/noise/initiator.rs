//! The side that begins.

use core::ops::Range;

use super::symmetric::Symmetric;
use super::{E_LEN, KeyPair, MESSAGE_1_OVERHEAD, ReadError, SEALED_S_LEN, Transport, WriteError};
use crate::crypto::{Crypto, Secret, Suite, TAG_LEN};
use crate::id::PublicKey;

/// An initiator about to write message 1.
pub struct Initiator<'a, C> {
    symmetric: Symmetric<C>,
    local: &'a KeyPair,
    remote: &'a PublicKey,
    static_static: &'a Secret,
}

impl<'a, C: Crypto> Initiator<'a, C> {
    /// A handshake with the holder of `remote`; `static_static` is `local.agree(remote)`, which
    /// the caller keeps.
    #[must_use]
    pub fn new(
        suite: Suite,
        prologue: &[u8],
        local: &'a KeyPair,
        remote: &'a PublicKey,
        static_static: &'a Secret,
    ) -> Self {
        Self { symmetric: Symmetric::new(suite, prologue, remote), local, remote, static_static }
    }

    /// Writes `e`, sealed `s` and the sealed payload to the front of `out`; answers the length,
    /// [`MESSAGE_1_OVERHEAD`] more than the payload's. `ephemeral` is fresh for each message.
    ///
    /// # Errors
    /// [`WriteError::NoSpace`] if `out` is too short, [`WriteError::BadKey`] if the remote key is
    /// of low order.
    pub fn write_message_1(
        mut self,
        ephemeral: KeyPair,
        payload: &[u8],
        out: &mut [u8],
    ) -> Result<(usize, AwaitResponse<C>), WriteError> {
        let len = payload.len() + MESSAGE_1_OVERHEAD;
        let out = out.get_mut(..len).ok_or(WriteError::NoSpace)?;
        let (e, rest) = out.split_at_mut(E_LEN);
        let (s, sealed) = rest.split_at_mut(SEALED_S_LEN);

        e.copy_from_slice(&ephemeral.public().0);
        self.symmetric.mix_hash(e);
        let es = ephemeral.agree::<C>(self.remote).ok_or(WriteError::BadKey)?;
        self.symmetric.mix_key(&es);

        s[..32].copy_from_slice(&self.local.public().0);
        self.symmetric.seal(s);
        self.symmetric.mix_key(self.static_static);

        sealed[..payload.len()].copy_from_slice(payload);
        self.symmetric.seal(sealed);
        Ok((len, AwaitResponse { symmetric: self.symmetric, ephemeral }))
    }
}

/// An initiator waiting for message 2.
pub struct AwaitResponse<C> {
    symmetric: Symmetric<C>,
    ephemeral: KeyPair,
}

impl<C: Crypto> AwaitResponse<C> {
    /// The ephemeral key pair of message 1, to write the same message again.
    pub(crate) const fn ephemeral(&self) -> &KeyPair {
        &self.ephemeral
    }

    /// Opens message 2 in place; answers where in `message` the payload is, and the keys.
    ///
    /// `local` is the pair the handshake began with. `mix` is what the responder mixed in before
    /// its payload ([`Reply::write_message_2`](super::Reply::write_message_2)). A refused message
    /// changes nothing here, so the true one can still come; it costs two X25519.
    ///
    /// # Errors
    /// [`ReadError`]; the content of `message` is then unspecified.
    pub fn read_message_2(
        &self,
        local: &KeyPair,
        mix: &[u8],
        message: &mut [u8],
    ) -> Result<(Range<usize>, Transport), ReadError> {
        let (e, sealed) = message.split_first_chunk_mut::<E_LEN>().ok_or(ReadError::Truncated)?;
        if sealed.len() < TAG_LEN {
            return Err(ReadError::Truncated);
        }
        let mut symmetric = self.symmetric.clone();
        let remote_ephemeral = PublicKey(*e);
        symmetric.mix_hash(&remote_ephemeral.0);
        let ee = self.ephemeral.agree::<C>(&remote_ephemeral).ok_or(ReadError::BadKey)?;
        symmetric.mix_key(&ee);
        let se = local.agree::<C>(&remote_ephemeral).ok_or(ReadError::BadKey)?;
        symmetric.mix_key(&se);
        if !mix.is_empty() {
            symmetric.mix_hash(mix);
        }
        let len = symmetric.open(sealed).map_err(|_| ReadError::Forged)?;
        Ok((E_LEN..E_LEN + len, symmetric.split()))
    }
}
