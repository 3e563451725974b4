//! Queues of peers: intrusive, so that a peer is in each at most once and nothing is allocated.

use crate::connection::Peer;
use crate::crypto::Crypto;

/// A peer's place in one queue.
#[derive(Clone, Copy, Default, Debug)]
pub struct Link {
    next: Option<u16>,
    queued: bool,
}

/// First in, first out.
#[derive(Debug)]
pub(crate) struct Queue {
    which: Which,
    head: Option<u16>,
    tail: Option<u16>,
    len: usize,
}

/// Which of a peer's links a queue uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Which {
    Transmit = 0,
    Events = 1,
    Unflushed = 2,
}

impl Queue {
    pub(crate) const fn new(which: Which) -> Self {
        Self { which, head: None, tail: None, len: 0 }
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Puts a peer at the end, unless it is in the queue.
    pub(crate) fn push<C: Crypto>(&mut self, peers: &mut [Peer<C>], peer: usize) {
        let link = self.link(peers, peer);
        if link.queued {
            return;
        }
        *link = Link { next: None, queued: true };
        match self.tail.replace(peer as u16) {
            Some(tail) => self.link(peers, usize::from(tail)).next = Some(peer as u16),
            None => self.head = Some(peer as u16),
        }
        self.len += 1;
    }

    /// The first peer; it stays where it is.
    pub(crate) fn first(&self) -> Option<usize> {
        self.head.map(usize::from)
    }

    /// Takes the first peer out.
    pub(crate) fn pop<C: Crypto>(&mut self, peers: &mut [Peer<C>]) -> Option<usize> {
        let peer = usize::from(self.head?);
        let link = core::mem::take(self.link(peers, peer));
        self.head = link.next;
        if self.head.is_none() {
            self.tail = None;
        }
        self.len -= 1;
        Some(peer)
    }

    fn link<'a, C: Crypto>(&self, peers: &'a mut [Peer<C>], peer: usize) -> &'a mut Link {
        &mut peers[peer].links[self.which as usize]
    }
}
