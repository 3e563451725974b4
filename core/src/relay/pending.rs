//! Binds that were answered and wait for the first control datagram under their keys.

use super::address::Address;
use super::circle::CircleKey;
use super::list::{Linked, Links};
use super::sessions::KeyHash;
use crate::crypto::{Crypto, Suite};
use crate::noise::HopRoot;
use crate::time::Instant;
use crate::wire::hop::Bound;

/// One answered bind; after its proof, for a moment, the keys and address it replaced.
pub struct Pending {
    links: Links,
    pub(crate) slot: u32,
    pub(crate) tag: u32,
    pub(crate) key: KeyHash,
    pub(crate) address: Address,
    pub(crate) keys: HopKeys,
    /// Next counter under `keys`, of a farewell.
    pub(crate) counter: u32,
    pub(crate) until: Instant,
    pub(crate) terms: Terms,
    /// The first 16 bytes of the request's `e` or nonce: the same request again gets the same
    /// reply, without Diffie–Hellman and without new keys.
    pub(crate) request: [u8; 16],
    reply: [u8; ANSWER_MAX],
    reply_len: usize,
}

/// A session's keys towards its peer, as what they come from: a control datagram is rare enough to
/// derive them each time.
#[derive(Clone)]
pub(crate) struct HopKeys {
    pub(crate) suite: Suite,
    pub(crate) root: HopRoot,
}

/// What a bind was granted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Terms {
    /// When the session ends in any case.
    pub(crate) end: Instant,
    pub(crate) source: CircleKey,
    pub(crate) subject: CircleKey,
    /// Of a packet that the subject sends; 0: the relay's.
    pub(crate) packet_price: u32,
    /// Of 1024 bytes; 0: the relay's.
    pub(crate) byte_price: u32,
}

impl Terms {
    pub(crate) const NONE: Self = Self {
        end: Instant::FAR,
        source: CircleKey::NONE,
        subject: CircleKey::NONE,
        packet_price: 0,
        byte_price: 0,
    };
}

impl HopKeys {
    pub(crate) const NONE: Self = Self { suite: Suite::ChaChaPoly, root: HopRoot::NONE };

    pub(crate) fn open_key<C: Crypto>(&self) -> C::OpenKey {
        let (peer_to_relay, _) = self.root.keys::<C>();
        C::open_key(self.suite, &peer_to_relay)
    }

    pub(crate) fn seal_key<C: Crypto>(&self) -> C::SealKey {
        let (_, relay_to_peer) = self.root.keys::<C>();
        C::seal_key(self.suite, &relay_to_peer)
    }
}

impl Pending {
    /// A free entry.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            links: Links::NONE,
            slot: 0,
            tag: 0,
            key: KeyHash::NONE,
            address: Address { words: [0; 4], family_port: 0 },
            keys: HopKeys::NONE,
            counter: 0,
            until: Instant::ZERO,
            terms: Terms::NONE,
            request: [0; 16],
            reply: [0; ANSWER_MAX],
            reply_len: 0,
        }
    }

    /// The reply that was sent.
    pub(crate) fn reply(&self) -> &[u8] {
        self.reply.get(..self.reply_len).unwrap_or_default()
    }

    /// Keeps `reply` for a repeated request.
    pub(crate) fn keep_reply(&mut self, reply: &[u8]) {
        self.reply_len = 0;
        if let Some(kept) = self.reply.get_mut(..reply.len()) {
            kept.copy_from_slice(reply);
            self.reply_len = reply.len();
        }
    }
}

impl Default for Pending {
    fn default() -> Self {
        Self::new()
    }
}

impl Linked for Pending {
    fn links(&self) -> Links {
        self.links
    }

    fn links_mut(&mut self) -> &mut Links {
        &mut self.links
    }
}

/// A Bound is longer than a Resumed.
pub(crate) const ANSWER_MAX: usize = Bound::LEN;
