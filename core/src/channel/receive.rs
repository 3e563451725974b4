//! Received bytes: what is whole is delivered, what is delivered makes room.

use super::chain::{BLOCK_DATA, Chain};
use super::limits::{ChannelLimits, WINDOW_MIN, blocks_for};
use super::node::Added;
use super::send::fair_part;
use super::slot::{ChannelSlot, NO_SLOT, ReceiveHalf, State};
use super::unordered::Stores;
use super::{Block, Channels, Pools, ProtocolViolation};
use crate::id::Reliability;
use crate::pool::{Metered, Pool};
use crate::wire::cursor::VARINT_MAX;
use crate::wire::{ParseError, Reader};

impl Channels {
    /// Takes a range of a reliable stream; `false` if there is no memory to remember it.
    pub(super) fn receive_range(
        &mut self,
        pools: &mut Pools<'_>,
        slot: u16,
        start: u64,
        data: &[u8],
    ) -> Result<bool, ProtocolViolation> {
        let receive = &mut pools.slots[u32::from(slot)].receive;
        let Some((start, fresh)) = receive.fresh_part(start, data)? else {
            self.counters.duplicates += 1;
            return Ok(true);
        };
        let end = start + fresh.len() as u64;
        let mut nodes = Metered {
            pool: &mut pools.nodes,
            account: &mut self.accounts.ranges,
            share: &mut pools.shares.ranges,
        };
        if start > receive.contiguous {
            match receive.ranges.add(&mut nodes, start, end) {
                Added::New => {}
                Added::Duplicate => {
                    self.counters.duplicates += 1;
                    return Ok(true);
                }
                Added::NoRoom => {
                    self.counters.refused += 1;
                    return Ok(false);
                }
            }
        }
        let extended = receive.chain.extend(&mut pools.receive, end);
        assert!(extended, "credit is granted only against reserved blocks");
        receive.chain.write(&mut pools.receive, start, fresh);
        if start > receive.contiguous {
            if receive.is_stretched_by(end) {
                self.widen_window(pools, slot);
                self.update_credit(pools, slot);
            }
            return Ok(true);
        }
        receive.contiguous = end;
        while let Some(end) = receive.ranges.pop_reached(&mut nodes, receive.contiguous) {
            receive.contiguous = receive.contiguous.max(end);
        }
        let whole = receive.whole;
        receive.parse(&pools.receive, pools.limits)?;
        let (news, stretched) = (receive.whole > whole, receive.is_stretched_by(end));
        if news {
            self.ready.push(&mut pools.slots, slot);
        }
        if stretched {
            self.widen_window(pools, slot);
        }
        self.update_credit(pools, slot);
        Ok(true)
    }

    /// Queues a whole unreliable message; `false` if there is no memory.
    pub(super) fn receive_whole(&mut self, pools: &mut Pools<'_>, slot: u16, data: &[u8]) -> bool {
        let receive = &pools.slots[u32::from(slot)].receive;
        let first = receive.contiguous == 0 && receive.chain.blocks() == 0;
        if first && HEADER + data.len() <= BLOCK_DATA && self.reserve_received(pools, slot, 1) {
            let chain = &mut pools.slots[u32::from(slot)].receive.chain;
            let added = chain.add_block(&mut pools.receive);
            assert!(added, "each block on an account exists");
        }
        let receive = &mut pools.slots[u32::from(slot)].receive;
        let header = (data.len() as u32).to_le_bytes();
        // What fits into the last block needs no other, and its header lies within that.
        let start = receive.contiguous;
        if receive.chain.append_to_last(&mut pools.receive, start, &header, data) {
            receive.contiguous = start + (HEADER + data.len()) as u64;
        } else if !self.receive_into_blocks(pools, slot, data) {
            return false;
        }
        let receive = &mut pools.slots[u32::from(slot)].receive;
        receive.whole += 1;
        // With another one before it the channel is there already.
        if receive.whole == 1 {
            self.ready.push(&mut pools.slots, slot);
        }
        true
    }

    /// Appends a whole unreliable message that needs further blocks; `false` if there are none.
    #[inline(never)]
    fn receive_into_blocks(&mut self, pools: &mut Pools<'_>, slot: u16, data: &[u8]) -> bool {
        let receive = &mut pools.slots[u32::from(slot)].receive;
        let start = header_place(receive.contiguous);
        let end = start + (HEADER + data.len()) as u64;
        let blocks = receive.chain.blocks_missing(end) as u32;
        if blocks > 0 && !self.reserve_received(pools, slot, blocks) {
            return false;
        }
        let receive = &mut pools.slots[u32::from(slot)].receive;
        let header = (data.len() as u32).to_le_bytes();
        let appended = receive.chain.append_bytes(&mut pools.receive, start, &header, data);
        assert!(appended, "each block on an account exists");
        receive.contiguous = end;
        true
    }

    /// Queues an unreliable message of `len` bytes that was put together in `chain`, behind room
    /// for its header.
    pub(super) fn receive_chain(
        &mut self,
        pools: &mut Pools<'_>,
        slot: u16,
        chain: &mut Chain,
        len: u32,
    ) {
        chain.write(&mut pools.receive, 0, &len.to_le_bytes());
        self.give_back_received(pools, slot);
        let receive = &mut pools.slots[u32::from(slot)].receive;
        let start = receive.chain.limit();
        if receive.contiguous < start && header_place(receive.contiguous) == receive.contiguous {
            receive.chain.write(&mut pools.receive, receive.contiguous, &SKIP.to_le_bytes());
        }
        receive.chain.append(&mut pools.receive, chain);
        receive.contiguous = start + HEADER as u64 + u64::from(len);
        receive.whole += 1;
        self.ready.push(&mut pools.slots, slot);
    }

    /// Reserves blocks for a channel's unreliable data. What opening the guaranteed channels takes
    /// stays aside.
    pub(super) fn reserve_received(
        &mut self,
        pools: &mut Pools<'_>,
        slot: u16,
        blocks: u32,
    ) -> bool {
        self.try_reserve_received(pools, slot, blocks)
            || (self.give_back_kept(pools, slot) && self.try_reserve_received(pools, slot, blocks))
    }

    fn try_reserve_received(&mut self, pools: &mut Pools<'_>, slot: u16, blocks: u32) -> bool {
        let receive = &pools.slots[u32::from(slot)].receive;
        let held = if receive.is_empty() { 0 } else { receive.chain.blocks() };
        let available = self.accounts.receive.available(&pools.shares.receive);
        let unopened = pools.limits.slots.guaranteed.saturating_sub(self.accounts.slots.used());
        let spare = available.saturating_sub(unopened.saturating_mul(WINDOW_MIN));
        blocks <= fair_part(spare, held)
            && self.accounts.receive.reserve(&mut pools.shares.receive, blocks)
    }

    /// Gives back the block that an unreliable channel keeps while it has received nothing.
    fn give_back_received(&mut self, pools: &mut Pools<'_>, slot: u16) -> u32 {
        let state = &mut pools.slots[u32::from(slot)];
        if state.reliability.is_reliable() || !state.receive.is_empty() {
            return 0;
        }
        let freed = state.receive.chain.restart(&mut pools.receive, 0);
        self.accounts.receive.release(&mut pools.shares.receive, freed);
        freed
    }

    /// Gives back the blocks that channels keep while they have nothing queued or received, but for
    /// those of `asking`; `false` if there are none.
    #[inline(never)]
    pub(super) fn give_back_kept(&mut self, pools: &mut Pools<'_>, asking: u16) -> bool {
        // Who asks again and again must not have all channels looked at each time.
        if !core::mem::take(&mut self.keeps) {
            return false;
        }
        let mut freed = 0;
        for slot in self.slots {
            if slot != NO_SLOT && slot != asking {
                freed += self.give_back_received(pools, slot) + self.give_back_sent(pools, slot);
            }
        }
        let ChannelSlot { send, receive, .. } = &pools.slots[u32::from(asking)];
        self.keeps = send.is_empty(pools.nodes.items()) || receive.is_empty();
        freed > 0
    }

    /// The next whole message: its first block, where in it, and its length. It stays until
    /// [`Channels::settle`].
    pub(super) fn lend(&mut self, pools: &mut Pools<'_>, slot: u16) -> (u32, usize, usize) {
        self.lent = slot;
        let state = &mut pools.slots[u32::from(slot)];
        let receive = &mut state.receive;
        receive.whole -= 1;
        if !state.reliability.is_reliable()
            && let Some((block, at, len)) = receive.queued_in_block(&pools.receive)
        {
            return (block, at, len);
        }
        let (start, len) = match state.reliability {
            Reliability::Reliable => receive.stream_message(&pools.receive),
            Reliability::ReliableUnordered => {
                let mut nodes = Metered {
                    pool: &mut pools.nodes,
                    account: &mut self.accounts.ranges,
                    share: &mut pools.shares.ranges,
                };
                receive.unordered_message(&pools.receive, &mut nodes)
            }
            Reliability::Unreliable | Reliability::UnreliableSequenced => {
                receive.queued_message(&pools.receive)
            }
        };
        receive.lent_end = start + len;
        // An empty message may begin where no block is yet.
        let (block, at) = if len == 0 {
            (0, 0)
        } else if state.reliability == Reliability::ReliableUnordered {
            receive.unordered_place(&pools.receive, start)
        } else {
            receive.chain.seek(&pools.receive, start)
        };
        (block, at, usize::try_from(len).unwrap_or(usize::MAX))
    }

    /// Takes back the message that the application has been looking at.
    pub(super) fn settle(&mut self, pools: &mut Pools<'_>) {
        let slot = core::mem::replace(&mut self.lent, NO_SLOT);
        if slot == NO_SLOT {
            return;
        }
        let state = &mut pools.slots[u32::from(slot)];
        let receive = &mut state.receive;
        receive.consumed = receive.lent_end;
        if state.reliability.is_reliable() {
            self.settle_reliable(pools, slot);
            return;
        }
        let freed = receive.settle_queue(&mut pools.receive);
        self.keeps = true;
        self.accounts.receive.release(&mut pools.shares.receive, freed);
    }

    fn settle_reliable(&mut self, pools: &mut Pools<'_>, slot: u16) {
        let state = &mut pools.slots[u32::from(slot)];
        let receive = &mut state.receive;
        if state.reliability == Reliability::ReliableUnordered {
            receive.settle_unordered(&mut Stores {
                blocks: &pools.receive,
                nodes: Metered {
                    pool: &mut pools.nodes,
                    account: &mut self.accounts.ranges,
                    share: &mut pools.shares.ranges,
                },
                message_max: pools.limits.message_reliable_max,
            });
            if receive.whole > 0 {
                self.ready.push(&mut pools.slots, slot);
            }
        }
        let state = &mut pools.slots[u32::from(slot)];
        let receive = &mut state.receive;
        receive.chain.release_to(&mut pools.receive, receive.consumed);
        if state.state == State::Open {
            self.widen_busy_window(pools, slot);
            self.update_credit(pools, slot);
        }
    }

    /// Drops everything received, delivered or not. A reliable channel keeps its window.
    pub(super) fn clear_receive(&mut self, pools: &mut Pools<'_>, slot: u16) {
        if self.lent == slot {
            self.lent = NO_SLOT;
        }
        self.give_up_fragments(pools, slot);
        let state = &mut pools.slots[u32::from(slot)];
        let receive = &mut state.receive;
        let freed = receive.chain.restart(&mut pools.receive, receive.contiguous);
        if !state.reliability.is_reliable() {
            self.accounts.receive.release(&mut pools.shares.receive, freed);
        }
        let mut nodes = Metered {
            pool: &mut pools.nodes,
            account: &mut self.accounts.ranges,
            share: &mut pools.shares.ranges,
        };
        receive.ranges.clear(&mut nodes);
        receive.clear_runs(&mut nodes);
        receive.whole = 0;
        self.stuck.remove(&mut pools.slots, slot);
        if self.completing == slot {
            self.completing = NO_SLOT;
            self.help_stuck(pools);
        }
    }

    /// Blocks that windows may grow into: not those that the smallest windows of channels not yet
    /// open and one unreliable message need.
    pub(super) fn spare_for_windows(&self, pools: &Pools<'_>) -> u32 {
        let unopened = pools.limits.slots.peer_max.saturating_sub(self.accounts.slots.used());
        let aside = unopened
            .saturating_mul(WINDOW_MIN)
            .saturating_add(blocks_for(pools.limits.message_unreliable_max));
        self.accounts.receive.available(&pools.shares.receive).saturating_sub(aside)
    }

    /// What credit can be granted now; decides whether it is worth a frame.
    pub(super) fn update_credit(&mut self, pools: &mut Pools<'_>, slot: u16) {
        let receive = &pools.slots[u32::from(slot)].receive;
        let (needed, covered, whole) = (receive.needed, receive.covered(), receive.whole);
        if self.completing == slot && receive.granted <= covered {
            self.completing = NO_SLOT;
            self.help_stuck(pools);
        }
        // A message that waits for credit is only helped when nothing before it can still be
        // delivered and make room.
        if needed > covered && whole == 0 && self.lent != slot {
            self.make_room_to(pools, slot, needed);
        }
        let target = self.grantable(pools, slot);
        let receive = &pools.slots[u32::from(slot)].receive;
        let step = target.saturating_sub(receive.granted);
        let quarter = u64::from(receive.window) * BLOCK_DATA as u64 / 4;
        if step > 0 && (step >= quarter || needed > receive.granted) {
            pools.slots[u32::from(slot)].due.credit = true;
            self.control.push(&mut pools.slots, slot);
        }
    }

    /// Up to where the other side may send.
    pub(super) fn grantable(&self, pools: &Pools<'_>, slot: u16) -> u64 {
        let state = &pools.slots[u32::from(slot)];
        if state.state == State::Draining {
            return VARINT_MAX;
        }
        let receive = &state.receive;
        let with_help = if self.completing == slot { receive.needed } else { 0 };
        receive.granted.max(receive.covered()).max(with_help)
    }

    /// Widens the window, or lends the blocks kept aside for it, so that `needed` is covered.
    fn make_room_to(&mut self, pools: &mut Pools<'_>, slot: u16, needed: u64) {
        let spare = self.spare_for_windows(pools);
        let receive = &mut pools.slots[u32::from(slot)].receive;
        let more = (needed - receive.covered()).div_ceil(BLOCK_DATA as u64);
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        let allowed = more <= spare / 2 && receive.window + more <= pools.limits.window_max;
        if allowed && self.accounts.receive.reserve(&mut pools.shares.receive, more) {
            receive.window += more;
            self.stuck.remove(&mut pools.slots, slot);
        } else if self.completing == NO_SLOT || self.completing == slot {
            self.completing = slot;
            self.stuck.remove(&mut pools.slots, slot);
        } else {
            self.stuck.push(&mut pools.slots, slot);
        }
    }

    /// The blocks for completing a message are free again: whoever has waited longest gets them.
    fn help_stuck(&mut self, pools: &mut Pools<'_>) {
        if let Some(slot) = self.stuck.first() {
            self.stuck.remove(&mut pools.slots, slot);
            self.completing = slot;
            pools.slots[u32::from(slot)].due.credit = true;
            self.control.push(&mut pools.slots, slot);
        }
    }

    /// A window of which a quarter was read since it last grew is widened: a start-up must not wait.
    fn widen_busy_window(&mut self, pools: &mut Pools<'_>, slot: u16) {
        let receive = &pools.slots[u32::from(slot)].receive;
        if receive.is_busy(receive.consumed) {
            self.widen_window(pools, slot);
        }
    }

    /// Makes a window four times as wide while there is memory.
    pub(super) fn widen_window(&mut self, pools: &mut Pools<'_>, slot: u16) {
        let spare = self.spare_for_windows(pools);
        let receive = &mut pools.slots[u32::from(slot)].receive;
        receive.grown_at = receive.consumed;
        let room = pools.limits.window_max.saturating_sub(receive.window);
        let more = (3 * receive.window).min(room).min(spare / 4);
        if self.accounts.receive.reserve(&mut pools.shares.receive, more) {
            receive.window += more;
        }
    }
}

impl ReceiveHalf {
    /// Whether data up to `end` shows that the other side would use more than the window, and that
    /// this is not for want of an application that reads.
    pub(super) fn is_stretched_by(&self, end: u64) -> bool {
        let window = u64::from(self.window) * BLOCK_DATA as u64;
        let unread = self.parsed.saturating_sub(self.consumed);
        end.saturating_add(window / 2) > self.covered() && unread < window / 4
    }

    /// What is behind the contiguous bytes of `data`, which begins at `start`, and where; `None` if
    /// there is nothing.
    pub(super) fn fresh_part<'a>(
        &self,
        start: u64,
        data: &'a [u8],
    ) -> Result<Option<(u64, &'a [u8])>, ProtocolViolation> {
        if start.saturating_add(data.len() as u64) > self.granted {
            return Err(ProtocolViolation::Credit);
        }
        let known = usize::try_from(self.contiguous.saturating_sub(start)).ok();
        let fresh = known.and_then(|known| data.get(known..)).filter(|fresh| !fresh.is_empty());
        Ok(fresh.map(|fresh| (start.max(self.contiguous), fresh)))
    }

    /// Counts the messages that have become whole.
    fn parse(
        &mut self,
        pool: &Pool<'_, Block>,
        limits: &ChannelLimits,
    ) -> Result<(), ProtocolViolation> {
        loop {
            if self.needed == 0 {
                let Some((start, len)) = self.prefix_at(pool, self.parsed)? else {
                    return Ok(());
                };
                if len > u64::from(limits.message_reliable_max) {
                    return Err(ProtocolViolation::MessageTooLarge);
                }
                self.needed = start + len;
            }
            if self.contiguous < self.needed {
                return Ok(());
            }
            self.parsed = self.needed;
            self.needed = 0;
            self.whole += 1;
        }
    }

    /// The message behind the length at `offset`: where it begins and its length; `None` if not
    /// all of the length is there.
    fn prefix_at(
        &mut self,
        pool: &Pool<'_, Block>,
        offset: u64,
    ) -> Result<Option<(u64, u64)>, ProtocolViolation> {
        let mut bytes = [0; VARINT_LEN_MAX];
        let there = self.contiguous.saturating_sub(offset).min(bytes.len() as u64) as usize;
        if there == 0 {
            return Ok(None);
        }
        if let Some(bytes) = self.chain.chunk(pool, offset).get(..there) {
            return read_prefix(bytes, offset);
        }
        let bytes = bytes.get_mut(..there).unwrap_or_default();
        self.chain.copy_to(pool, offset, bytes);
        read_prefix(bytes, offset)
    }

    /// The next message of a reliable stream, which is whole.
    fn stream_message(&mut self, pool: &Pool<'_, Block>) -> (u64, u64) {
        let message = self.prefix_at(pool, self.consumed).ok().flatten();
        message.unwrap_or((self.consumed, 0))
    }

    /// As [`ReceiveHalf::queued_message`], if header and message lie in the block where the last
    /// message ended, as mostly they do: that block, where in it, and the message's length.
    fn queued_in_block(&mut self, pool: &Pool<'_, Block>) -> Option<(u32, usize, usize)> {
        let (block, at) = self.chain.seek(pool, self.consumed);
        let (header, rest) = pool[block].data().get(at..)?.split_first_chunk::<HEADER>()?;
        let len = u32::from_le_bytes(*header) as usize;
        if len == 0 || len > rest.len() {
            return None;
        }
        self.lent_end = self.consumed + (HEADER + len) as u64;
        Some((block, at + HEADER, len))
    }

    /// The next message of a `stream`, or of the queue of unreliable ones, if there is one and it begins
    /// in the first block: that block, where in it, and the message's length. The one before, if it is
    /// still `lent`, must leave nothing to do: neither that block to be given back nor a window to be
    /// widened.
    #[inline]
    pub(super) fn take_in_first(
        &mut self,
        blocks: &[Block],
        lent: bool,
        stream: bool,
    ) -> Option<(u32, usize, usize)> {
        let start = if lent { self.lent_end } else { self.consumed };
        let (block, at) = self.chain.in_first(start).filter(|_| self.whole > 0)?;
        let bytes = blocks.get(block as usize)?.data().get(at..)?;
        let (len, data) = if stream {
            let mut reader = Reader::new(bytes);
            let len = usize::try_from(reader.varint().ok()?).ok()?;
            (len, reader.rest())
        } else {
            let (header, data) = bytes.split_first_chunk::<HEADER>()?;
            match u32::from_le_bytes(*header) {
                SKIP => return None,
                len => (len as usize, data),
            }
        };
        if len == 0 || data.is_empty() || (stream && lent && self.is_busy(start)) {
            return None;
        }
        let head = bytes.len() - data.len();
        self.consumed = start;
        self.lent_end = start + (head + len) as u64;
        self.whole -= 1;
        Some((block, at + head, len))
    }

    /// Gives back the blocks of the unreliable messages that were read, but one to go on in; returns
    /// how many.
    pub(super) fn settle_queue(&mut self, pool: &mut Pool<'_, Block>) -> u32 {
        if self.whole > 0 {
            return self.chain.release_to(pool, self.consumed);
        }
        (self.consumed, self.contiguous) = (0, 0);
        self.chain.rewind(pool, 0)
    }

    /// Whether a queue of unreliable messages holds none, not even one that is lent.
    const fn is_empty(&self) -> bool {
        self.contiguous == 0
    }

    /// Whether a stream has nothing to do but to go on when the message lent last was read: no block
    /// is to be given back, no window to be widened, and no message waits for credit.
    pub(super) fn settles_simply(&self) -> bool {
        self.chain.in_first(self.lent_end).is_some()
            && !self.is_busy(self.lent_end)
            && self.needed <= self.covered()
    }

    /// Whether a quarter of the window was read since it last grew, when all below `consumed` is.
    const fn is_busy(&self, consumed: u64) -> bool {
        consumed - self.grown_at >= self.window as u64 * BLOCK_DATA as u64 / 4
    }

    /// The next message of the queue of unreliable ones, which is not empty.
    fn queued_message(&mut self, pool: &Pool<'_, Block>) -> (u64, u64) {
        let mut start = header_place(self.consumed);
        loop {
            let len = u32::from_le_bytes(self.chain.array::<HEADER>(pool, start));
            if len != SKIP {
                return (start + HEADER as u64, u64::from(len));
            }
            start = start.next_multiple_of(BLOCK_DATA as u64);
        }
    }
}

/// The message whose length `bytes` begin with, which lie at `offset`: where it begins and its
/// length; `None` if not all of the length is there.
pub(super) fn read_prefix(
    bytes: &[u8],
    offset: u64,
) -> Result<Option<(u64, u64)>, ProtocolViolation> {
    let mut reader = Reader::new(bytes);
    match reader.varint() {
        Ok(len) => Ok(Some((offset + (bytes.len() - reader.len()) as u64, len))),
        Err(ParseError::Truncated) => Ok(None),
        Err(_) => Err(ProtocolViolation::Length),
    }
}

/// Where the header of the next queued unreliable message goes: it lies within one block.
const fn header_place(offset: u64) -> u64 {
    let left = BLOCK_DATA as u64 - offset % BLOCK_DATA as u64;
    if left < HEADER as u64 { offset + left } else { offset }
}

/// The length of a queued unreliable message.
pub(super) const HEADER: usize = 4;

/// In place of a length: the next message begins with the next block.
const SKIP: u32 = u32::MAX;
pub(super) const VARINT_LEN_MAX: usize = 8;
