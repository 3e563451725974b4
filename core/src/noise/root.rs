//! One secret in place of the two keys of a hop that come from it.

use crate::crypto::{Crypto, Secret};

/// What both keys of a hop come from (wire.md §3, Keys): half their size, for who keeps many.
#[derive(Clone)]
pub(crate) struct HopRoot {
    pub(crate) secret: Secret,
    pub(crate) origin: Origin,
}

/// What left a root, and so how keys come from it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Origin {
    /// A Bind: `temp_key` of Noise's `Split`.
    Split = 1,
    /// A Resume: `t`.
    Resume = 2,
}

impl HopRoot {
    pub(crate) const NONE: Self = Self { secret: Secret([0; 32]), origin: Origin::Split };

    /// Key of what the peer sends, and of what the relay sends.
    pub(crate) fn keys<C: Crypto>(&self) -> (Secret, Secret) {
        match self.origin {
            Origin::Split => expand::<C>(&self.secret),
            Origin::Resume => (self.derive::<C>(b"1"), self.derive::<C>(b"2")),
        }
    }

    /// What comes from a Resume's root under `label`.
    pub(super) fn derive<C: Crypto>(&self, label: &[u8]) -> Secret {
        Secret(C::hmac_sha256(&self.secret.0, &[label]))
    }
}

impl Origin {
    pub(crate) const fn from_u8(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Split),
            2 => Some(Self::Resume),
            _ => None,
        }
    }
}

/// The second half of Noise's `HKDF` with two outputs (§4.3): what comes from `temp_key`.
pub(super) fn expand<C: Crypto>(temporary: &Secret) -> (Secret, Secret) {
    let first = Secret(C::hmac_sha256(&temporary.0, &[&[1]]));
    let second = Secret(C::hmac_sha256(&temporary.0, &[&first.0, &[2]]));
    (first, second)
}
