//! A stretch of bytes at growing offsets, kept in linked blocks.

use core::fmt;

use crate::pool::{Item, NONE, Pool};

/// 512 bytes of a pool for message bytes.
#[derive(Clone)]
#[repr(C)]
pub struct Block {
    next: u32,
    data: [u8; BLOCK_DATA],
}

impl Block {
    /// A block without content.
    #[must_use]
    pub const fn new() -> Self {
        Self { next: NONE, data: [0; BLOCK_DATA] }
    }

    pub(super) const fn data(&self) -> &[u8; BLOCK_DATA] {
        &self.data
    }
}

impl Default for Block {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Block").field("next", &self.next).finish_non_exhaustive()
    }
}

impl Item for Block {
    fn link(&self) -> u32 {
        self.next
    }

    fn set_link(&mut self, link: u32) {
        self.next = link;
    }
}

/// Blocks that hold the bytes from `base` to `limit()`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chain {
    base: u64,
    /// Offset of the first byte of the block `cursor`, which is where the last walk ended: bulk
    /// data is read in order, so the next one mostly begins there.
    cursor_base: u64,
    cursor: u32,
    head: u32,
    tail: u32,
    blocks: u32,
}

/// A block of a chain and the offset of its first byte.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    base: u64,
    block: u32,
}

impl Place {
    /// None yet.
    pub(super) const NONE: Self = Self { base: 0, block: NONE };

    #[cfg(test)]
    pub(super) const fn base(self) -> u64 {
        self.base
    }
}

impl Chain {
    pub(super) const fn new() -> Self {
        Self { base: 0, cursor_base: 0, cursor: NONE, head: NONE, tail: NONE, blocks: 0 }
    }

    /// End of what the blocks cover.
    pub(super) const fn limit(&self) -> u64 {
        self.base + self.blocks as u64 * BLOCK_DATA as u64
    }

    pub(super) const fn blocks(&self) -> u32 {
        self.blocks
    }

    /// Offset of the first byte that the blocks hold.
    pub(super) const fn base(&self) -> u64 {
        self.base
    }

    /// The last block, for [`Chain::write_from`] after more were added.
    pub(super) const fn last(&self) -> Place {
        Place { base: self.limit().saturating_sub(BLOCK_DATA as u64), block: self.tail }
    }

    /// The first block, and where in it `offset` is, if it is there.
    #[inline]
    pub(super) const fn in_first(&self, offset: u64) -> Option<(u32, usize)> {
        let at = offset.wrapping_sub(self.base);
        if self.head != NONE && at < BLOCK_DATA as u64 {
            Some((self.head, at as usize))
        } else {
            None
        }
    }

    /// Blocks to add so that everything below `end` is covered.
    pub(super) const fn blocks_missing(&self, end: u64) -> u64 {
        let limit = self.limit();
        if end <= limit { 0 } else { (end - limit).div_ceil(BLOCK_DATA as u64) }
    }

    /// Adds blocks until everything below `end` is covered; `false` if the pool ran out.
    pub(super) fn extend(&mut self, pool: &mut Pool<'_, Block>, end: u64) -> bool {
        while self.limit() < end {
            if !self.add_block(pool) {
                return false;
            }
        }
        true
    }

    /// Adds a block; `false` if the pool ran out.
    #[inline]
    pub(super) fn add_block(&mut self, pool: &mut Pool<'_, Block>) -> bool {
        let Some(block) = pool.take() else { return false };
        if self.tail == NONE {
            self.head = block;
        } else {
            pool[self.tail].next = block;
        }
        self.tail = block;
        self.blocks += 1;
        true
    }

    /// Appends all of `other`'s blocks and leaves it empty.
    pub(super) fn append(&mut self, pool: &mut Pool<'_, Block>, other: &mut Self) {
        if other.head == NONE {
            return;
        }
        if self.tail == NONE {
            self.head = other.head;
        } else {
            pool[self.tail].next = other.head;
        }
        self.tail = other.tail;
        self.blocks += other.blocks;
        *other = Self::new();
    }

    /// Copies `bytes` to `offset`; the blocks must cover them.
    pub(super) fn write(&mut self, pool: &mut Pool<'_, Block>, offset: u64, bytes: &[u8]) {
        if !bytes.is_empty() {
            let (block, at) = self.seek(pool, offset);
            self.write_from(pool, Place { base: offset - at as u64, block }, offset, bytes);
        }
    }

    /// As [`Chain::write`], but beginning the walk at `from`, and without moving the place where
    /// the next one begins: for what is read far behind where it is written.
    pub(super) fn write_from(
        &self,
        pool: &mut Pool<'_, Block>,
        mut from: Place,
        mut offset: u64,
        mut bytes: &[u8],
    ) {
        while !bytes.is_empty() {
            let (block, at) = self.walk(pool, from, offset);
            from = Place { base: offset - at as u64, block };
            let room = &mut pool[block].data[at..];
            let (now, rest) = bytes.split_at(bytes.len().min(room.len()));
            room[..now.len()].copy_from_slice(now);
            offset += now.len() as u64;
            bytes = rest;
        }
    }

    /// Copies `head` and then `bytes` to `offset`, behind which nothing was written, and adds blocks
    /// as needed; `false` if the pool ran out. Does not move the place where the next read begins.
    #[inline]
    pub(super) fn append_bytes(
        &mut self,
        pool: &mut Pool<'_, Block>,
        offset: u64,
        head: &(impl AsRef<[u8]> + ?Sized),
        bytes: &[u8],
    ) -> bool {
        let head = head.as_ref();
        self.append_to_last(pool, offset, head, bytes)
            || self.append_slowly(pool, offset, head, bytes)
    }

    /// As [`Chain::append_bytes`] if all of it fits into the last block, as mostly it does; `false`
    /// if not.
    #[inline]
    pub(super) fn append_to_last(
        &self,
        pool: &mut Pool<'_, Block>,
        offset: u64,
        head: &[u8],
        bytes: &[u8],
    ) -> bool {
        if self.tail == NONE {
            return false;
        }
        // Far outside if the block begins behind `offset`.
        let at = (offset + BLOCK_DATA as u64).wrapping_sub(self.limit()) as usize;
        let Some(room) = pool[self.tail].data.get_mut(at..) else { return false };
        let Some((front, room)) = room.split_at_mut_checked(head.len()) else { return false };
        let Some(room) = room.get_mut(..bytes.len()) else { return false };
        front.copy_from_slice(head);
        room.copy_from_slice(bytes);
        true
    }

    #[inline(never)]
    fn append_slowly(
        &mut self,
        pool: &mut Pool<'_, Block>,
        offset: u64,
        head: &[u8],
        bytes: &[u8],
    ) -> bool {
        let middle = offset + head.len() as u64;
        let last = self.last();
        if offset == self.limit() && head.len() + bytes.len() <= BLOCK_DATA {
            return self.add_block(pool) && self.append_to_last(pool, offset, head, bytes);
        }
        if !self.extend(pool, middle + bytes.len() as u64) {
            return false;
        }
        if !self.append_to_last(pool, offset, head, bytes) {
            self.write_from(pool, last, offset, head);
            self.write_from(pool, last, middle, bytes);
        }
        true
    }

    /// Hands `len` bytes from `offset` to `sink` in chunks; the blocks must cover them.
    pub(super) fn read(
        &mut self,
        pool: &Pool<'_, Block>,
        mut offset: u64,
        mut len: usize,
        mut sink: impl FnMut(&[u8]),
    ) {
        while len > 0 {
            let chunk = self.chunk(pool, offset);
            let chunk = &chunk[..chunk.len().min(len)];
            sink(chunk);
            offset += chunk.len() as u64;
            len -= chunk.len();
        }
    }

    /// What is at `offset` and behind it in the same block; the blocks must cover it.
    #[inline]
    pub(super) fn chunk<'a>(&mut self, pool: &'a Pool<'_, Block>, offset: u64) -> &'a [u8] {
        let (block, at) = self.seek(pool, offset);
        &pool[block].data[at..]
    }

    /// What is at `offset`; the blocks must cover it.
    pub(super) fn array<const N: usize>(&mut self, pool: &Pool<'_, Block>, offset: u64) -> [u8; N] {
        if let Some(bytes) = self.chunk(pool, offset).first_chunk() {
            return *bytes;
        }
        let mut bytes = [0; N];
        self.copy_to(pool, offset, &mut bytes);
        bytes
    }

    /// Copies what is at `offset` to `out`; the blocks must cover it.
    pub(super) fn copy_to(&mut self, pool: &Pool<'_, Block>, offset: u64, out: &mut [u8]) {
        let mut at = 0;
        self.read(pool, offset, out.len(), |chunk| {
            out[at..at + chunk.len()].copy_from_slice(chunk);
            at += chunk.len();
        });
    }

    /// The block that holds `offset`, and where in it; the blocks must cover it.
    pub(super) fn seek(&mut self, pool: &Pool<'_, Block>, offset: u64) -> (u32, usize) {
        let ahead = offset.wrapping_sub(self.cursor_base);
        if self.cursor != NONE && ahead < BLOCK_DATA as u64 {
            return (self.cursor, ahead as usize);
        }
        let cursor = Place { base: self.cursor_base, block: self.cursor };
        let (block, at) = self.walk(pool, cursor, offset);
        let base = offset - at as u64;
        // A look back (a range sent again) does not move the cursor: the next walk is likely to
        // go on with what is new.
        if self.cursor == NONE || base >= self.cursor_base {
            (self.cursor, self.cursor_base) = (block, base);
        }
        (block, at)
    }

    /// As [`Chain::seek`]; begins at `from`, or at the head if that is no place or lies behind.
    fn walk(&self, pool: &Pool<'_, Block>, from: Place, offset: u64) -> (u32, usize) {
        let begins = from.block != NONE && from.base <= offset;
        let Place { mut base, mut block } =
            if begins { from } else { Place { base: self.base, block: self.head } };
        while offset - base >= BLOCK_DATA as u64 {
            block = pool[block].next;
            base += BLOCK_DATA as u64;
        }
        (block, (offset - base) as usize)
    }

    /// The place of `offset`; the blocks must cover it.
    pub(super) fn place_of(&mut self, pool: &Pool<'_, Block>, offset: u64) -> Place {
        let (block, at) = self.seek(pool, offset);
        Place { base: offset - at as u64, block }
    }

    /// As [`Chain::seek`], but from `place` on, which moves there.
    pub(super) fn find(
        &self,
        pool: &Pool<'_, Block>,
        place: &mut Place,
        offset: u64,
    ) -> (u32, usize) {
        let freed = place.base < self.base;
        let (block, at) = self.walk(pool, if freed { Place::NONE } else { *place }, offset);
        *place = Place { base: offset - at as u64, block };
        (block, at)
    }

    /// Copies what is at `offset` to `out`, looked for from `place` on; the blocks must cover it.
    pub(super) fn peek(
        &self,
        pool: &Pool<'_, Block>,
        place: &mut Place,
        offset: u64,
        out: &mut [u8],
    ) {
        if !out.is_empty() {
            let (block, at) = self.find(pool, place, offset);
            Payload::new(pool.items(), block, at, out.len()).copy_to(out);
        }
    }

    /// Frees the blocks that hold nothing at or above `offset`; returns how many.
    pub(super) fn release_to(&mut self, pool: &mut Pool<'_, Block>, offset: u64) -> u32 {
        let mut freed = 0;
        while self.head != NONE && self.base + BLOCK_DATA as u64 <= offset {
            let block = self.head;
            self.head = pool[block].next;
            if self.cursor == block {
                self.cursor = NONE;
            }
            pool.give(block);
            self.base += BLOCK_DATA as u64;
            self.blocks -= 1;
            freed += 1;
        }
        if self.head == NONE {
            self.tail = NONE;
        }
        freed
    }

    /// Frees all blocks but one, in which it goes on at `offset`; returns how many were freed.
    pub(super) fn rewind(&mut self, pool: &mut Pool<'_, Block>, offset: u64) -> u32 {
        let mut freed = 0;
        while self.head != self.tail {
            let block = self.head;
            self.head = pool[block].next;
            pool.give(block);
            freed += 1;
        }
        self.blocks -= freed;
        (self.base, self.cursor_base, self.cursor) = (offset, offset, self.head);
        freed
    }

    /// Frees all blocks and goes on at `offset`; returns how many were freed.
    pub(super) fn restart(&mut self, pool: &mut Pool<'_, Block>, offset: u64) -> u32 {
        let freed = self.release_to(pool, u64::MAX);
        *self = Self { base: offset, ..Self::new() };
        freed
    }
}

/// A received message, in the pool's blocks.
#[derive(Clone, Copy, Debug)]
pub struct Payload<'a> {
    blocks: &'a [Block],
    block: u32,
    at: usize,
    len: usize,
}

impl<'a> Payload<'a> {
    /// The `len` bytes that begin at byte `at` of `block`.
    pub(super) const fn new(blocks: &'a [Block], block: u32, at: usize, len: usize) -> Self {
        Self { blocks, block, at, len }
    }

    /// Bytes in the message.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether the message has no bytes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The message's bytes, piece by piece.
    #[must_use]
    pub const fn chunks(&self) -> Chunks<'a> {
        Chunks { rest: *self }
    }

    /// Copies as much as fits into `out`; returns how much that was.
    pub fn copy_to(&self, out: &mut [u8]) -> usize {
        let mut at = 0;
        for chunk in self.chunks() {
            let room = out.get_mut(at..).unwrap_or_default();
            let len = chunk.len().min(room.len());
            room[..len].copy_from_slice(&chunk[..len]);
            at += len;
        }
        at
    }
}

/// The pieces of a [`Payload`], in order.
#[derive(Clone, Debug)]
pub struct Chunks<'a> {
    rest: Payload<'a>,
}

impl<'a> Iterator for Chunks<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let Payload { blocks, block, at, len } = self.rest;
        if len == 0 {
            return None;
        }
        let Block { next, data } = &blocks[block as usize];
        let data = &data[at..];
        let chunk = &data[..data.len().min(len)];
        self.rest = Payload::new(blocks, *next, 0, len - chunk.len());
        Some(chunk)
    }
}

/// Message bytes in one block.
pub const BLOCK_DATA: usize = 508;

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;
    use crate::pool::FreeList;

    fn bytes(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i * 7 + i / 256) as u8).collect()
    }

    #[test]
    fn blocks_are_512_bytes() {
        assert_eq!(size_of::<Block>(), 512);
    }

    #[test]
    fn bytes_come_back_from_any_offset_and_blocks_are_freed_in_order() {
        let (mut blocks, mut free) = (std::vec![Block::new(); 8], FreeList::new());
        let mut pool = Pool::new(&mut blocks, &mut free);
        let mut chain = Chain::new();
        let data = bytes(3000);
        assert_eq!(chain.blocks_missing(3000), 6);
        assert!(chain.extend(&mut pool, 3000));
        for start in [2000, 0, 1000] {
            chain.write(&mut pool, start as u64, &data[start..start + 1000]);
        }
        for (start, len) in [(0, 3000), (507, 2), (2999, 1), (10, 1500), (508, 508)] {
            let mut out = std::vec![0; len];
            chain.copy_to(&pool, start as u64, &mut out);
            assert_eq!(out, data[start..start + len]);
        }
        assert_eq!(chain.release_to(&mut pool, 1015), 1);
        assert_eq!(chain.release_to(&mut pool, 1016), 1);
        assert!(chain.extend(&mut pool, 5080));
        assert!(!chain.extend(&mut pool, 5081));
        let mut out = std::vec![0; 900];
        chain.copy_to(&pool, 1100, &mut out);
        assert_eq!(out, data[1100..2000]);
        assert_eq!(chain.rewind(&mut pool, 7000), 7);
        assert_eq!((chain.base(), chain.limit()), (7000, 7508));
        chain.write(&mut pool, 7000, &data[..508]);
        let mut out = std::vec![0; 508];
        chain.copy_to(&pool, 7000, &mut out);
        assert_eq!(out, data[..508]);
        assert_eq!(chain.restart(&mut pool, 0), 1);
        assert_eq!(chain.rewind(&mut pool, 5), 0, "of none, none is kept");
        assert_eq!((chain.base(), chain.blocks()), (5, 0));
        assert_eq!(free.taken(), 0);
    }

    #[test]
    fn reading_far_behind_what_is_written_begins_where_it_ended() {
        let (mut blocks, mut free) = (std::vec![Block::new(); 9], FreeList::new());
        let mut pool = Pool::new(&mut blocks, &mut free);
        let mut chain = Chain::new();
        let data = bytes(4500);
        for (n, piece) in data.chunks(450).enumerate() {
            let (last, end) = (chain.last(), (n + 1) as u64 * 450);
            assert!(chain.extend(&mut pool, end));
            chain.write_from(&mut pool, last, end - 450, piece);
            // Half as fast as it is written.
            let read = n * 225;
            let mut out = [0; 225];
            chain.copy_to(&pool, read as u64, &mut out);
            assert_eq!(out, data[read..read + 225]);
            let last_read = (read + 224) as u64;
            assert!(last_read - chain.cursor_base < BLOCK_DATA as u64);
        }
    }

    #[test]
    fn payloads_cross_blocks() {
        let (mut blocks, mut free) = (std::vec![Block::new(); 4], FreeList::new());
        let mut pool = Pool::new(&mut blocks, &mut free);
        let mut chain = Chain::new();
        let data = bytes(2000);
        assert!(chain.extend(&mut pool, 2000));
        chain.write(&mut pool, 0, &data);
        let (block, at) = chain.seek(&pool, 300);
        let payload = Payload::new(pool.into_items(), block, at, 1500);
        assert_eq!(payload.chunks().flatten().copied().collect::<Vec<u8>>(), data[300..1800]);
        let mut short = [0; 700];
        assert_eq!(payload.copy_to(&mut short), 700);
        assert_eq!(short, data[300..1000]);
    }
}
