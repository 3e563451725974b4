//! Small records: what a sent packet carried, and which ranges were received out of order.

use crate::pool::{Item, Metered, NONE, Pool};

/// 32 bytes of a pool for records.
#[derive(Clone, Copy, Debug)]
pub struct Node {
    /// The next record of the same packet, or of the channel's lost ranges, or the next range.
    pub(super) next: u32,
    pub(super) before: u32,
    pub(super) after: u32,
    pub(super) slot: u16,
    pub(super) kind: NodeKind,
    pub(super) incarnation: u8,
    pub(super) start: u64,
    pub(super) len: u32,
    /// Sent on an unordered channel: bytes before the first message that begins in the range or
    /// behind it. Received on one: see [`Node::messages`].
    pub(super) lead: u32,
}

impl Node {
    /// A record of nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            next: NONE,
            before: NONE,
            after: NONE,
            slot: 0,
            kind: NodeKind::Detached,
            incarnation: 0,
            start: 0,
            len: 0,
            lead: 0,
        }
    }

    pub(super) const fn end(&self) -> u64 {
        self.start + self.len as u64
    }
}

impl Default for Node {
    fn default() -> Self {
        Self::new()
    }
}

impl Item for Node {
    fn link(&self) -> u32 {
        self.next
    }

    fn set_link(&mut self, link: u32) {
        self.next = link;
    }
}

/// What a record is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum NodeKind {
    /// A range whose stream is gone.
    Detached,
    /// A range of the stream of the channel in `slot`, sent and not acknowledged; linked with the
    /// stream's other ones through `before` and `after`, by offset.
    Sent,
    /// The same, declared lost; its packet is gone, and `next` leads to the next lost one.
    Lost,
    /// A range of the stream of the channel numbered `slot`, repeated.
    Repeat,
    /// ChannelOpen for the channel numbered `slot`.
    Open,
    /// ChannelClose for the channel numbered `slot`.
    Close,
    /// Credit `start` for the channel numbered `slot`.
    Credit,
}

/// Ranges of received bytes beyond the contiguous ones, by offset, apart from each other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ranges {
    pub(super) head: u32,
    /// Records in use, with those of an unordered channel's [`Runs`](super::unordered::Runs).
    pub(super) count: u16,
}

/// What came of adding a range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Added {
    /// At least one byte of it was missing.
    New,
    /// All of it was there.
    Duplicate,
    /// It needs a record, and there is none to be had.
    NoRoom,
}

impl Ranges {
    pub(super) const fn new() -> Self {
        Self { head: NONE, count: 0 }
    }

    /// Whether exactly `0..end` is there.
    pub(super) fn is_whole(&self, nodes: &Pool<'_, Node>, end: u64) -> bool {
        self.count == 1 && nodes[self.head].start == 0 && nodes[self.head].end() == end
    }

    /// Adds `start..end`, which must not be empty.
    pub(super) fn add(&mut self, nodes: &mut Metered<'_, '_, Node>, start: u64, end: u64) -> Added {
        let Metered { pool, .. } = nodes;
        let mut last = NONE;
        let mut here = self.head;
        while here != NONE && pool[here].end() < start {
            last = here;
            here = pool[here].next;
        }
        if here == NONE || pool[here].start > end {
            if self.count >= RANGES_MAX {
                return Added::NoRoom;
            }
            let Some(new) = nodes.take() else { return Added::NoRoom };
            let pool = &mut nodes.pool;
            pool[new] = Node { next: here, start, len: (end - start) as u32, ..Node::new() };
            if last == NONE {
                self.head = new;
            } else {
                pool[last].next = new;
            }
            self.count += 1;
            return Added::New;
        }
        if pool[here].start <= start && end <= pool[here].end() {
            return Added::Duplicate;
        }
        let from = pool[here].start.min(start);
        let mut to = pool[here].end().max(end);
        let mut next = pool[here].next;
        while next != NONE && nodes.pool[next].start <= to {
            to = to.max(nodes.pool[next].end());
            let merged = next;
            next = nodes.pool[merged].next;
            self.count -= 1;
            nodes.give(merged);
        }
        let node = &mut nodes.pool[here];
        node.start = from;
        node.len = (to - from) as u32;
        node.next = next;
        Added::New
    }

    /// Forgets all ranges.
    pub(super) fn clear(&mut self, nodes: &mut Metered<'_, '_, Node>) {
        while self.pop_reached(nodes, u64::MAX).is_some() {}
    }

    /// Removes the first range if it begins at or below `offset`; returns its end.
    pub(super) fn pop_reached(
        &mut self,
        nodes: &mut Metered<'_, '_, Node>,
        offset: u64,
    ) -> Option<u64> {
        if self.head == NONE || nodes.pool[self.head].start > offset {
            return None;
        }
        let first = self.head;
        let Node { next, .. } = nodes.pool[first];
        let end = nodes.pool[first].end();
        self.head = next;
        self.count -= 1;
        nodes.give(first);
        Some(end)
    }
}

/// The most ranges kept apart: what comes on top is refused, and sent again later.
pub(super) const RANGES_MAX: u16 = 256;

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::pool::{Account, FreeList, Quota, Share};

    #[test]
    fn nodes_are_32_bytes() {
        assert_eq!(size_of::<Node>(), 32);
    }

    proptest! {
        #[test]
        fn ranges_match_a_bitmap(adds in prop::collection::vec((0u64..100, 1u64..20), 0..60)) {
            let (mut items, mut free) = ([Node::new(); 12], FreeList::new());
            let quota = Quota { guaranteed: 8, shared: 4, peer_max: 12 };
            let (mut account, mut share) = (Account::new(), Share::new(quota));
            let mut nodes = Metered {
                pool: &mut Pool::new(&mut items, &mut free),
                account: &mut account,
                share: &mut share,
            };
            let mut ranges = Ranges::new();
            let mut bitmap = [false; 128];
            for (start, len) in adds {
                let span = &mut bitmap[start as usize..(start + len) as usize];
                let fresh = span.iter().any(|&b| !b);
                match ranges.add(&mut nodes, start, start + len) {
                    Added::New => {
                        prop_assert!(fresh);
                        span.fill(true);
                    }
                    Added::Duplicate => prop_assert!(!fresh),
                    Added::NoRoom => prop_assert_eq!(ranges.count, 12),
                }
            }
            let mut runs = Vec::new();
            let mut at = 0;
            while let Some(start) = (at..128).find(|&i| bitmap[i]) {
                let end = (start..128).find(|&i| !bitmap[i]).unwrap();
                runs.push(end as u64);
                at = end;
            }
            let mut ends = Vec::new();
            while let Some(end) = ranges.pop_reached(&mut nodes, 1000) {
                ends.push(end);
            }
            prop_assert_eq!(ends, runs);
            prop_assert_eq!((ranges.count, free.taken(), account.used()), (0, 0, 0));
        }
    }
}
