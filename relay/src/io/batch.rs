//! The buffers of one turn.

use core::net::SocketAddr;

/// Up to so many datagrams and where they came from.
pub struct Batch {
    buffers: Vec<[u8; BUFFER_LEN]>,
    received: Vec<Received>,
}

/// One datagram to send: the front of one of the batch's buffers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outgoing {
    /// Which buffer.
    pub buffer: usize,
    /// How much of it.
    pub len: usize,
    /// Where to.
    pub to: SocketAddr,
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

    /// Whether there is no room for another.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.received.len() == self.buffers.len()
    }

    /// How many datagrams there is room for.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.buffers.len()
    }

    /// The next free buffer; `None` if all are taken.
    pub fn space(&mut self) -> Option<&mut [u8; BUFFER_LEN]> {
        self.buffers.get_mut(self.received.len())
    }

    /// Counts the next free buffer as a datagram of `len` bytes that came from `from`.
    pub fn push(&mut self, from: SocketAddr, len: usize) {
        debug_assert!(!self.is_full());
        self.received.push(Received { from, len: len.min(BUFFER_LEN) });
    }

    /// A received datagram and where it came from.
    pub fn datagram_mut(&mut self, index: usize) -> Option<(SocketAddr, &mut [u8])> {
        let received = self.received.get(index)?;
        Some((received.from, self.buffers.get_mut(index)?.get_mut(..received.len)?))
    }

    /// A buffer, whatever is in it.
    pub fn buffer_mut(&mut self, index: usize) -> Option<&mut [u8; BUFFER_LEN]> {
        self.buffers.get_mut(index)
    }

    /// The bytes that are to be sent.
    #[must_use]
    pub fn outgoing(&self, outgoing: &Outgoing) -> &[u8] {
        let buffer = self.buffers.get(outgoing.buffer);
        buffer.and_then(|buffer| buffer.get(..outgoing.len)).unwrap_or_default()
    }
}

/// Bytes of a buffer: more than the longest datagram, so that a longer one shows.
pub const BUFFER_LEN: usize = 1536;
