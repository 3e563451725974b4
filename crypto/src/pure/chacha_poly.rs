//! ChaCha20-Poly1305 (RFC 8439 §2.8) for packets.
//!
//! The `chacha20` crate makes four blocks of keystream for the price of one where there are vector
//! instructions. So a packet asks for them once: the first block is the authenticator's key, the
//! others cover 192 bytes.

use chacha20::cipher::{Block, KeyIvInit as _, StreamCipherCore as _};
use chacha20::variants::Ietf;
use chacha20::{ChaChaCore, R20};
use subtle::ConstantTimeEq as _;
use waylane_core::crypto::{OpenError, Secret};

use super::poly1305::Poly1305;

/// A key, wiped when dropped.
pub(super) struct ChaChaPoly(Secret);

impl ChaChaPoly {
    pub(super) fn new(key: &Secret) -> Self {
        Self(key.clone())
    }

    /// Encrypts `text` and answers its tag.
    pub(super) fn seal(&self, nonce: [u8; 12], ad: &[u8], text: &mut [u8]) -> [u8; 16] {
        let (mut stream, mac) = self.start(nonce, text.len());
        stream.apply(text);
        authenticate(mac, ad, text).to_le_bytes()
    }

    /// Decrypts `text` if `tag` is its tag.
    pub(super) fn open(
        &self,
        nonce: [u8; 12],
        ad: &[u8],
        text: &mut [u8],
        tag: [u8; 16],
    ) -> Result<(), OpenError> {
        let (mut stream, mac) = self.start(nonce, text.len());
        if authenticate(mac, ad, text).ct_eq(&u128::from_le_bytes(tag)).into() {
            stream.apply(text);
            Ok(())
        } else {
            Err(OpenError)
        }
    }

    fn start(&self, nonce: [u8; 12], len: usize) -> (Stream, Poly1305) {
        let mut stream = Stream {
            cipher: ChaChaCore::new(&self.0.0.into(), &nonce.into()),
            blocks: Default::default(),
        };
        stream.refill(BLOCK_LEN + len);
        let [first, ..] = &stream.blocks;
        let mut key = [0; 32];
        key.copy_from_slice(&first[..32]);
        (stream, Poly1305::new(&key))
    }
}

/// A packet's keystream.
struct Stream {
    cipher: ChaChaCore<R20, Ietf>,
    blocks: [Block<ChaChaCore<R20, Ietf>>; BLOCKS],
}

impl Stream {
    /// Makes at least `len` bytes, or as many as there is room for.
    fn refill(&mut self, len: usize) {
        let wanted = if IS_VECTOR { BLOCKS } else { len.div_ceil(BLOCK_LEN).min(BLOCKS) };
        self.cipher.write_keystream_blocks(&mut self.blocks[..wanted]);
    }

    /// Encrypts or decrypts a whole packet; the first block is not for it.
    fn apply(&mut self, text: &mut [u8]) {
        let (first, mut rest) = text.split_at_mut(text.len().min((BLOCKS - 1) * BLOCK_LEN));
        xor(first, &self.blocks[1..]);
        while !rest.is_empty() {
            self.refill(rest.len());
            let (part, after) = rest.split_at_mut(rest.len().min(BLOCKS * BLOCK_LEN));
            xor(part, &self.blocks);
            rest = after;
        }
    }
}

fn xor(text: &mut [u8], blocks: &[Block<ChaChaCore<R20, Ietf>>]) {
    for (text, block) in text.chunks_mut(BLOCK_LEN).zip(blocks) {
        for (byte, key) in text.iter_mut().zip(block) {
            *byte ^= key;
        }
    }
}

fn authenticate(mut mac: Poly1305, ad: &[u8], text: &[u8]) -> u128 {
    mac.update_padded(ad);
    mac.update_padded(text);
    mac.block(ad.len() as u128 | (text.len() as u128) << 64);
    mac.finalize()
}

const BLOCK_LEN: usize = 64;
/// What the vector back ends make at once.
const BLOCKS: usize = 4;
/// Whether a group of blocks costs what one costs.
const IS_VECTOR: bool = cfg!(any(target_arch = "x86", target_arch = "x86_64"));
