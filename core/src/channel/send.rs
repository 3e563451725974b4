//! Queueing messages.

use core::time::Duration;

use super::chain::BLOCK_DATA;
use super::limits::{ChannelLimits, PREFIX_MAX};
use super::slot::{SendHalf, State};
use super::{Block, ChannelQueue, Channels, Node, Pools, SendError};
use crate::id::ChannelId;
use crate::pool::{Metered, NONE, Pool};
use crate::time::Instant;
use crate::wire::Writer;

impl Channels {
    /// As [`Channels::send`] if the channel is simply open and the message fits into its last block, or
    /// is its only one and fits into one, as mostly it does; `false` if not, and then nothing has
    /// happened.
    #[inline]
    pub(crate) fn append(
        &mut self,
        pools: Pools<'_>,
        channel: ChannelId,
        data: &[u8],
        now: Instant,
        deadline: Option<Instant>,
    ) -> bool {
        // By value and apart: what is lent on as a whole has to be laid out in memory first.
        let Pools { mut slots, mut send, nodes, shares, limits, .. } = pools;
        let Some(slot) = self.slot_of(channel) else { return false };
        let state = &mut slots[u32::from(slot)];
        let reliable = state.reliability.is_reliable();
        let fits = data.len() <= self.message_max(limits, reliable) as usize;
        if state.state != State::Open || !fits || (reliable && deadline.is_some()) {
            return false;
        }
        let head = Head::new(reliable, data.len(), now, deadline);
        let half = &mut state.send;
        if half.chain.blocks() == 0
            && data.len() + PREFIX_LEN_MAX <= BLOCK_DATA
            && self.accounts.send.reserve(&mut shares.send, 1)
        {
            let added = half.chain.add_block(&mut send);
            assert!(added, "each block on an account exists");
        }
        let appended = if reliable {
            half.chain.append_to_last(&mut send, half.end, head.bytes(), data)
        } else {
            half.chain.append_to_last(&mut send, half.end, &head.bytes, data)
        };
        if appended {
            half.on_queued(nodes.items(), head.bytes().len() + data.len(), now);
            self.queued.push(&mut slots, slot);
        }
        appended
    }

    /// The longest message that may be sent.
    const fn message_max(&self, limits: &ChannelLimits, reliable: bool) -> u32 {
        let (ours, theirs) = if reliable {
            (limits.message_reliable_max, self.peer_reliable_max)
        } else {
            (limits.message_unreliable_max, self.peer_unreliable_max)
        };
        if ours < theirs { ours } else { theirs }
    }

    /// Queues a message, whole or not at all; it leaves after the next [`Channels::flush`], and not
    /// after `deadline`, if there is one: then it is dropped, to the millisecond.
    ///
    /// # Errors
    /// [`SendError`]. After [`SendError::Full`] the channel becomes writable at some time.
    pub fn send(
        &mut self,
        pools: &mut Pools<'_>,
        channel: ChannelId,
        data: &[u8],
        now: Instant,
        deadline: Option<Instant>,
    ) -> Result<(), SendError> {
        let slot = self.slot_of(channel).ok_or(SendError::NotOpen)?;
        let state = &mut pools.slots[u32::from(slot)];
        let reliable = state.reliability.is_reliable();
        let max = self.message_max(pools.limits, reliable);
        if deadline.is_some() && reliable {
            return Err(SendError::CannotExpire);
        }
        if data.len() > max as usize {
            return Err(SendError::TooLarge { max: max as usize });
        }
        match state.state {
            State::Open => {}
            State::Ended => {
                // The application cannot know yet; it will be told.
                self.counters.sent_too_late += 1;
                return Ok(());
            }
            State::Draining | State::Closing if state.reopen.is_none() => {
                return Err(SendError::NotOpen);
            }
            State::Draining | State::Closing => {
                self.give_back_kept(pools, slot);
                self.wait_for_room(pools, slot, data.len());
                return Err(SendError::Full { room: 0 });
            }
        }
        let head = Head::new(reliable, data.len(), now, deadline);
        self.make_room(pools, slot, data.len(), now, max as usize)?;
        self.enqueue(pools, slot, &head, data, now);
        self.queued.push(&mut pools.slots, slot);
        Ok(())
    }

    /// Finds out whether there is room for a message of `len` bytes, now that what has expired need
    /// not be kept.
    fn make_room(
        &mut self,
        pools: &mut Pools<'_>,
        slot: u16,
        len: usize,
        now: Instant,
        max: usize,
    ) -> Result<(), SendError> {
        if self.has_slack(pools, slot, len) {
            return Ok(());
        }
        let mut room = self.room(pools, slot);
        if len > room && (self.drop_expired(pools, slot, now) | self.give_back_kept(pools, slot)) {
            room = self.room(pools, slot);
        }
        if len > room {
            self.wait_for_room(pools, slot, len);
            return Err(SendError::Full { room: room.min(max) });
        }
        Ok(())
    }

    /// Lets everything queued so far leave; what is queued later waits for the next flush.
    pub fn flush(&mut self, pools: &mut Pools<'_>) {
        while let Some(slot) = self.queued.first() {
            self.queued.remove(&mut pools.slots, slot);
            let state = &mut pools.slots[u32::from(slot)];
            state.send.flushed = state.send.end;
            if state.has_data_to_send() {
                let reliable = state.reliability.is_reliable();
                let list = if reliable { &mut self.reliable } else { &mut self.unreliable };
                list.push(&mut pools.slots, slot);
            }
        }
    }

    /// Tells the channels that were full and no longer are.
    pub(super) fn find_room(&mut self, pools: &mut Pools<'_>) {
        let mut next = self.waiting.first();
        while let Some(slot) = next {
            next = self.waiting.after(&pools.slots, slot);
            let state = &pools.slots[u32::from(slot)];
            let (open, refused) = (state.state == State::Open, state.send.refused as usize);
            if open && self.room(pools, slot) >= refused {
                self.waiting.remove(&mut pools.slots, slot);
                pools.slots[u32::from(slot)].events.writable = true;
                self.ready.push(&mut pools.slots, slot);
            }
        }
    }

    fn wait_for_room(&mut self, pools: &mut Pools<'_>, slot: u16, len: usize) {
        pools.slots[u32::from(slot)].send.refused = len as u32;
        self.waiting.push(&mut pools.slots, slot);
    }

    /// Whether a message fits into the blocks that the channel has.
    fn has_slack(&self, pools: &Pools<'_>, slot: u16, len: usize) -> bool {
        let send = &pools.slots[u32::from(slot)].send;
        send.end + (PREFIX_LEN_MAX + len) as u64 <= send.chain.limit()
    }

    /// The longest message that can be queued now.
    fn room(&self, pools: &Pools<'_>, slot: u16) -> usize {
        let send = &pools.slots[u32::from(slot)].send;
        let available = self.accounts.send.available(&pools.shares.send);
        let held = if send.is_empty(pools.nodes.items()) { 0 } else { send.chain.blocks() };
        let blocks = fair_part(available, held);
        let slack = send.chain.limit().saturating_sub(send.end);
        let room = slack + u64::from(blocks) * BLOCK_DATA as u64;
        let reliable = pools.slots[u32::from(slot)].reliability.is_reliable();
        // Lengths above 2³⁰, whose prefix is longer, are too large anyway.
        let prefix = if reliable { PREFIX_MAX as usize } else { QueueHeader::LEN };
        usize::try_from(room.saturating_sub(prefix as u64)).unwrap_or(usize::MAX)
    }

    fn enqueue(
        &mut self,
        pools: &mut Pools<'_>,
        slot: u16,
        head: &Head,
        data: &[u8],
        now: Instant,
    ) {
        let send = &mut pools.slots[u32::from(slot)].send;
        let added = head.bytes().len() + data.len();
        let blocks = send.chain.blocks_missing(send.end + added as u64) as u32;
        let paid = blocks == 0 || self.accounts.send.reserve(&mut pools.shares.send, blocks);
        let appended =
            paid && send.chain.append_bytes(&mut pools.send, send.end, head.bytes(), data);
        assert!(appended, "there was room, and each block on an account exists");
        send.on_queued(pools.nodes.items(), added, now);
    }

    /// Drops what is at the front of an unreliable channel and has not left in time; answers
    /// whether there was such.
    pub(super) fn drop_expired(&mut self, pools: &mut Pools<'_>, slot: u16, now: Instant) -> bool {
        let state = &mut pools.slots[u32::from(slot)];
        if state.reliability.is_reliable() {
            return false;
        }
        let send = &mut state.send;
        let before = send.sent;
        while send.sent < send.end {
            let header = QueueHeader::read(send, &pools.send);
            if !header.is_expired(now) {
                break;
            }
            if core::mem::take(&mut send.fragment_at) > 0 {
                send.number = send.number.wrapping_add(1);
            }
            send.sent += (QueueHeader::LEN + header.len) as u64;
            self.counters.expired += 1;
        }
        send.flushed = send.flushed.max(send.sent);
        if send.sent == before {
            return false;
        }
        self.release_sent(pools, slot);
        self.relist(pools, slot);
        self.check_drained(pools, slot);
        true
    }

    /// Frees what no longer has to be kept of what was sent. The last block stays, for what is queued
    /// next, unless a channel waits for room.
    pub(super) fn release_sent(&mut self, pools: &mut Pools<'_>, slot: u16) {
        let send = &mut pools.slots[u32::from(slot)].send;
        let released = send.released(pools.nodes.items());
        send.ages.on_released(released, send.end);
        let freed = if released < send.end {
            send.chain.release_to(&mut pools.send, released)
        } else if self.waiting.is_empty() {
            self.keeps = true;
            send.chain.rewind(&mut pools.send, released)
        } else {
            send.chain.restart(&mut pools.send, released)
        };
        if freed > 0 {
            self.accounts.send.release(&mut pools.shares.send, freed);
        }
    }

    /// Gives back the block that a channel keeps while it has nothing queued.
    pub(super) fn give_back_sent(&mut self, pools: &mut Pools<'_>, slot: u16) -> u32 {
        let send = &mut pools.slots[u32::from(slot)].send;
        if !send.is_empty(pools.nodes.items()) {
            return 0;
        }
        let freed = send.chain.restart(&mut pools.send, send.end);
        self.accounts.send.release(&mut pools.shares.send, freed);
        freed
    }

    /// Forgets everything queued and sent. Records in packets under way stay behind, detached.
    pub(super) fn clear_send(&mut self, pools: &mut Pools<'_>, slot: u16) {
        self.repeats.forget_all(slot);
        let send = &mut pools.slots[u32::from(slot)].send;
        let mut nodes = Metered {
            pool: &mut pools.nodes,
            account: &mut self.accounts.sent,
            share: &mut pools.shares.sent,
        };
        while send.ranges_head != NONE {
            let node = send.ranges_head;
            let lost = nodes.pool[node].kind == super::node::NodeKind::Lost;
            send.unlink(nodes.pool, node);
            if lost {
                nodes.give(node);
            } else {
                nodes.pool[node].kind = super::node::NodeKind::Detached;
            }
        }
        send.lost_head = NONE;
        send.lost_tail = NONE;
        send.sent = send.end;
        send.flushed = send.end;
        send.fragment_at = 0;
        send.lead = 0;
        let freed = send.chain.restart(&mut pools.send, send.end);
        self.accounts.send.release(&mut pools.shares.send, freed);
        self.queued.remove(&mut pools.slots, slot);
    }
}

impl SendHalf {
    /// Everything below was sent and need not be sent again.
    pub(super) fn released(&self, nodes: &[Node]) -> u64 {
        if self.ranges_head == NONE { self.sent } else { nodes[self.ranges_head as usize].start }
    }

    /// Whether nothing is queued, and nothing that was sent need be kept.
    pub(super) fn is_empty(&self, nodes: &[Node]) -> bool {
        self.released(nodes) == self.end
    }

    /// `added` bytes of a message and what stands in front of it were appended.
    fn on_queued(&mut self, nodes: &[Node], added: usize, now: Instant) {
        let (old_end, released) = (self.end, self.released(nodes));
        self.end = old_end + added as u64;
        self.ages.on_queued(released, old_end, self.end, now);
    }

    /// What is queued.
    pub(super) fn queue(&self, nodes: &[Node], now: Instant) -> ChannelQueue {
        let bytes = self.end - self.released(nodes);
        ChannelQueue { bytes, oldest: (bytes > 0).then(|| self.ages.oldest(now)) }
    }

    /// Puts `node` behind the ranges that were sent before.
    pub(super) fn link_last(&mut self, nodes: &mut Pool<'_, Node>, node: u32) {
        nodes[node].before = self.ranges_tail;
        nodes[node].after = NONE;
        if self.ranges_tail == NONE {
            self.ranges_head = node;
        } else {
            nodes[self.ranges_tail].after = node;
        }
        self.ranges_tail = node;
    }

    /// Puts `node` in front of `after`.
    pub(super) fn link_before(&mut self, nodes: &mut Pool<'_, Node>, node: u32, after: u32) {
        let before = nodes[after].before;
        nodes[node].before = before;
        nodes[node].after = after;
        nodes[after].before = node;
        if before == NONE {
            self.ranges_head = node;
        } else {
            nodes[before].after = node;
        }
    }

    /// Takes `node` out of the ranges that were sent.
    pub(super) fn unlink(&mut self, nodes: &mut Pool<'_, Node>, node: u32) {
        let Node { before, after, .. } = nodes[node];
        if before == NONE {
            self.ranges_head = after;
        } else {
            nodes[before].after = after;
        }
        if after == NONE {
            self.ranges_tail = before;
        } else {
            nodes[after].before = before;
        }
    }
}

/// What stands in front of a queued message: a reliable one's length, or an unreliable one's
/// [`QueueHeader`].
struct Head {
    bytes: [u8; PREFIX_LEN_MAX],
    len: usize,
}

impl Head {
    fn new(reliable: bool, len: usize, now: Instant, deadline: Option<Instant>) -> Self {
        if !reliable {
            let bytes = QueueHeader::new(len, now, deadline).to_bytes();
            return Self { bytes, len: bytes.len() };
        }
        let mut bytes = [0; PREFIX_LEN_MAX];
        let mut writer = Writer::new(&mut bytes);
        let fits = writer.varint(len as u64);
        assert!(fits.is_ok(), "the largest message was checked with the limits");
        Self { len: writer.position(), bytes }
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&self.bytes)
    }
}

/// What stands in front of each queued unreliable message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct QueueHeader {
    pub(super) len: usize,
    /// In milliseconds, as far as they fit.
    expires: Option<u32>,
}

impl QueueHeader {
    pub(super) const LEN: usize = 8;

    fn new(len: usize, now: Instant, deadline: Option<Instant>) -> Self {
        // What is due so late that its time could be mistaken does not expire at all.
        let deadline = deadline.filter(|at| at.since(now) < EXPIRY_MAX);
        Self { len, expires: deadline.map(millis) }
    }

    /// That of the message at the front.
    pub(super) fn read(send: &mut SendHalf, pool: &Pool<'_, Block>) -> Self {
        Self::from_bytes(send.chain.array(pool, send.sent))
    }

    pub(super) fn from_bytes([a, b, c, d, e, f, g, h]: [u8; Self::LEN]) -> Self {
        let len = u32::from_le_bytes([a, b, c, d]);
        let expires = (len & EXPIRES != 0).then_some(u32::from_le_bytes([e, f, g, h]));
        Self { len: (len & !EXPIRES) as usize, expires }
    }

    fn to_bytes(self) -> [u8; Self::LEN] {
        let flag = if self.expires.is_some() { EXPIRES } else { 0 };
        let [a, b, c, d] = (self.len as u32 | flag).to_le_bytes();
        let [e, f, g, h] = self.expires.unwrap_or(0).to_le_bytes();
        [a, b, c, d, e, f, g, h]
    }

    pub(super) fn is_expired(self, now: Instant) -> bool {
        self.expires.is_some_and(|at| {
            let late = millis(now).wrapping_sub(at);
            (1..1 << 31).contains(&late)
        })
    }
}

/// Since when there has been something queued, in the low bits of milliseconds.
///
/// Two times are kept: that of what is below a mark, and that of what came first behind it. So the
/// age is exact for what was queued at one time, and for the rest too great by at most the time in
/// which all that was queued when the mark was passed came together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ages {
    mark: u64,
    first: u32,
    next: u32,
}

impl Ages {
    pub(super) const fn new() -> Self {
        Self { mark: 0, first: 0, next: 0 }
    }

    fn on_queued(&mut self, released: u64, old_end: u64, end: u64, now: Instant) {
        if released == old_end {
            (self.mark, self.first) = (end, millis(now));
        } else if self.mark == old_end {
            self.next = millis(now);
        }
    }

    fn on_released(&mut self, released: u64, end: u64) {
        if released >= self.mark && released < end {
            (self.mark, self.first) = (end, self.next);
        }
    }

    /// The age of the oldest byte, if anything is queued.
    pub(super) fn oldest(&self, now: Instant) -> Duration {
        let age = millis(now).wrapping_sub(self.first);
        // The clock of a command may be a little behind.
        Duration::from_millis(if age < 1 << 31 { u64::from(age) } else { 0 })
    }
}

/// Milliseconds, begun ones counted, as far as they fit.
const fn millis(at: Instant) -> u32 {
    at.as_micros().div_ceil(1000) as u32
}

/// How many of `available` blocks a user that holds `held` may take: never so many that it would
/// hold more than three times what it leaves, unless it holds none. A single user gets three
/// quarters; each further one that is stuck as much of what is left, so that the next always finds
/// something.
pub(super) const fn fair_part(available: u32, held: u32) -> u32 {
    if held == 0 { available } else { available.saturating_mul(3).saturating_sub(held) / 4 }
}

/// The longest of what stands in front of a queued message.
const PREFIX_LEN_MAX: usize = QueueHeader::LEN;
const _: () = assert!(PREFIX_MAX as usize <= PREFIX_LEN_MAX);

/// The bit of a queued length that says that the message expires.
const EXPIRES: u32 = 1 << 31;

/// Half of what the milliseconds of a deadline can tell apart, less a day to drop it in.
const EXPIRY_MAX: Duration = Duration::from_secs(23 * 24 * 3600);
