//! Buffers for back ends that are handed datagrams one by one.

use core::net::SocketAddr;

/// Up to so many datagrams and where they came from.
pub struct Batch {
    buffers: Vec<[u8; BUFFER_LEN]>,
    received: Vec<Received>,
}

#[derive(Clone, Copy)]
struct Received {
    from: SocketAddr,
    len: usize,
}

impl Batch {
    /// Room for `capacity` datagrams, at least one.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let capacity = capacity.max(1);
        Self { buffers: vec![[0; BUFFER_LEN]; capacity], received: Vec::with_capacity(capacity) }
    }

    /// Forgets what was received.
    pub fn clear(&mut self) {
        self.received.clear();
    }

    /// How many datagrams it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.received.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.received.is_empty()
    }

    /// The next free buffer; `None` if all are taken.
    pub fn space(&mut self) -> Option<&mut [u8; BUFFER_LEN]> {
        self.buffers.get_mut(self.received.len())
    }

    /// Counts the next free buffer as a datagram of `len` bytes that came from `from`.
    pub fn push(&mut self, from: SocketAddr, len: usize) {
        debug_assert!(self.received.len() < self.buffers.len());
        self.received.push(Received { from, len: len.min(BUFFER_LEN) });
    }

    /// A received datagram and where it came from.
    #[must_use]
    pub fn datagram(&self, index: usize) -> Option<(SocketAddr, &[u8])> {
        let received = self.received.get(index)?;
        Some((received.from, self.buffers.get(index)?.get(..received.len)?))
    }
}

/// Bytes of a buffer: more than the longest datagram, so that a longer one shows.
pub const BUFFER_LEN: usize = 1536;
