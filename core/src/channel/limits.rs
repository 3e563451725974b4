//! How much channels may use, and the memory that follows from it.

use super::chain::BLOCK_DATA;
use super::{Block, ChannelSlot, Node};
use crate::pool::{FreeList, Pool, Quota, Share};

/// What channels may use. All sizes of messages are in bytes, windows in blocks of [`BLOCK_DATA`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChannelLimits {
    /// Peers whose channels share the pools.
    pub peers_max: u32,
    /// The largest reliable message sent or received.
    pub message_reliable_max: u32,
    /// The largest unreliable message sent or received.
    pub message_unreliable_max: u32,
    /// Blocks for queued and unacknowledged bytes.
    pub send_blocks: Quota,
    /// Blocks for received bytes, besides [`Self::completion_blocks`] for each peer.
    pub receive_blocks: Quota,
    /// Records of what sent packets carried.
    pub sent_nodes: Quota,
    /// Records of ranges received out of order.
    pub range_nodes: Quota,
    /// Open channels.
    pub slots: Quota,
    /// Window that a reliable channel begins with when there is plenty of memory.
    pub window_initial: u32,
    /// Window that a busy reliable channel grows to at most.
    pub window_max: u32,
}

impl ChannelLimits {
    /// 64 peers, messages to 256 KiB (64 KiB unreliable), about 8 MiB shared each way and 6 MiB
    /// of it per peer at most.
    pub const DEFAULT: Self = Self::for_peers(64);

    /// The default limits for another number of peers; the shared parts stay the same.
    #[must_use]
    pub const fn for_peers(peers_max: u32) -> Self {
        let reliable = 256 * 1024;
        Self {
            peers_max,
            message_reliable_max: reliable,
            message_unreliable_max: 64 * 1024,
            send_blocks: Quota {
                guaranteed: blocks_for(reliable) + 4,
                shared: 16384,
                peer_max: 12288,
            },
            receive_blocks: Quota { guaranteed: 8 * WINDOW_MIN, shared: 16384, peer_max: 12288 },
            sent_nodes: Quota { guaranteed: 128, shared: 16384, peer_max: 8192 },
            range_nodes: Quota { guaranteed: 16, shared: 4096, peer_max: 2048 },
            slots: Quota { guaranteed: 4, shared: 1024, peer_max: 256 },
            window_initial: blocks_for(256 * 1024),
            window_max: 12288,
        }
    }

    /// Blocks kept aside for each peer so that it can always complete one largest message.
    #[must_use]
    pub const fn completion_blocks(&self) -> u32 {
        blocks_for(self.message_reliable_max)
    }

    /// Blocks that the pool for sending needs (saturating, as the sums below).
    #[must_use]
    pub const fn send_blocks_total(&self) -> u64 {
        self.send_blocks.total(self.peers_max)
    }

    /// Blocks that the pool for receiving needs.
    #[must_use]
    pub const fn receive_blocks_total(&self) -> u64 {
        let completion = self.completion_blocks() as u64 * self.peers_max as u64;
        self.receive_blocks.total(self.peers_max).saturating_add(completion)
    }

    /// Nodes that the pool of records needs.
    #[must_use]
    pub const fn nodes_total(&self) -> u64 {
        self.sent_nodes.total(self.peers_max).saturating_add(self.range_nodes.total(self.peers_max))
    }

    /// Slots that the pool of open channels needs.
    #[must_use]
    pub const fn slots_total(&self) -> u64 {
        self.slots.total(self.peers_max)
    }

    /// Whether the limits fit together: every promise made per peer can be kept.
    #[must_use]
    pub const fn is_consistent(&self) -> bool {
        let reliable_ok =
            1 <= self.message_reliable_max && self.message_reliable_max <= MESSAGE_LARGEST;
        let unreliable_ok =
            1 <= self.message_unreliable_max && self.message_unreliable_max <= MESSAGE_LARGEST;
        let largest = if self.message_reliable_max > self.message_unreliable_max {
            self.message_reliable_max
        } else {
            self.message_unreliable_max
        };
        reliable_ok
            && unreliable_ok
            && self.send_blocks.guaranteed >= blocks_for(largest)
            && self.send_blocks.peer_max >= self.send_blocks.guaranteed
            && self.receive_blocks.guaranteed / WINDOW_MIN >= self.slots.guaranteed
            && self.receive_blocks.peer_max >= self.receive_blocks.guaranteed
            && self.receive_blocks.peer_max / WINDOW_MIN >= self.slots.peer_max
            && self.sent_nodes.guaranteed >= 8
            && self.sent_nodes.peer_max >= self.sent_nodes.guaranteed
            && self.range_nodes.peer_max >= self.range_nodes.guaranteed
            && self.slots.peer_max >= self.slots.guaranteed
            && self.window_initial >= WINDOW_MIN
            && self.window_max >= self.window_initial
            && self.window_max <= WINDOW_LARGEST
            && self.send_blocks.peer_max <= WINDOW_LARGEST
            && self.send_blocks_total() < u32::MAX as u64
            && self.receive_blocks_total() < u32::MAX as u64
            && self.nodes_total() < u32::MAX as u64
            && self.slots_total() < u16::MAX as u64
    }
}

impl Default for ChannelLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What is left of each pool; kept by the owner of the pools' memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PoolState {
    pub(super) send: FreeList,
    pub(super) receive: FreeList,
    pub(super) nodes: FreeList,
    pub(super) slots: FreeList,
    pub(super) shares: Shares,
}

impl PoolState {
    /// Everything free.
    #[must_use]
    pub const fn new(limits: &ChannelLimits) -> Self {
        Self {
            send: FreeList::new(),
            receive: FreeList::new(),
            nodes: FreeList::new(),
            slots: FreeList::new(),
            shares: Shares {
                send: Share::new(limits.send_blocks),
                receive: Share::new(limits.receive_blocks),
                sent: Share::new(limits.sent_nodes),
                ranges: Share::new(limits.range_nodes),
                slots: Share::new(limits.slots),
            },
        }
    }

    /// How much of the pools is in use.
    #[must_use]
    pub const fn usage(&self) -> PoolUsage {
        PoolUsage {
            send_blocks: self.send.taken(),
            receive_blocks: self.receive.taken(),
            nodes: self.nodes.taken(),
            slots: self.slots.taken(),
        }
    }
}

/// How much of the pools is in use, by all peers together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PoolUsage {
    /// Blocks of queued and unacknowledged bytes.
    pub send_blocks: u32,
    /// Blocks of received bytes.
    pub receive_blocks: u32,
    /// Records of what sent packets carried, and of ranges received out of order.
    pub nodes: u32,
    /// Open channels.
    pub slots: u32,
}

/// The shared parts of all pools.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Shares {
    pub(super) send: Share,
    pub(super) receive: Share,
    pub(super) sent: Share,
    pub(super) ranges: Share,
    pub(super) slots: Share,
}

/// The lent memory of all peers' channels: [`ChannelLimits`] says how much each slice must hold.
#[derive(Debug)]
pub struct PoolMemory<'a> {
    /// [`ChannelLimits::send_blocks_total`] blocks.
    pub send: &'a mut [Block],
    /// [`ChannelLimits::receive_blocks_total`] blocks.
    pub receive: &'a mut [Block],
    /// [`ChannelLimits::nodes_total`] records.
    pub nodes: &'a mut [Node],
    /// [`ChannelLimits::slots_total`] slots.
    pub slots: &'a mut [ChannelSlot],
}

/// The pools, borrowed for one call.
#[derive(Debug)]
pub struct Pools<'a> {
    pub(super) send: Pool<'a, Block>,
    pub(super) receive: Pool<'a, Block>,
    pub(super) nodes: Pool<'a, Node>,
    pub(super) slots: Pool<'a, ChannelSlot>,
    pub(super) shares: &'a mut Shares,
    pub(super) limits: &'a ChannelLimits,
}

impl<'a> Pools<'a> {
    /// The pools over `memory`; `state` was made from the same `limits` and belongs to this memory.
    #[must_use]
    pub fn new(
        limits: &'a ChannelLimits,
        state: &'a mut PoolState,
        memory: PoolMemory<'a>,
    ) -> Self {
        let PoolMemory { send, receive, nodes, slots } = memory;
        Self {
            send: Pool::new(send, &mut state.send),
            receive: Pool::new(receive, &mut state.receive),
            nodes: Pool::new(nodes, &mut state.nodes),
            slots: Pool::new(slots, &mut state.slots),
            shares: &mut state.shares,
            limits,
        }
    }
}

impl<'a> Pools<'a> {
    /// The two that hold received messages.
    #[inline]
    pub(crate) fn into_received(self) -> (Pool<'a, ChannelSlot>, Pool<'a, Block>) {
        (self.slots, self.receive)
    }
}

/// Blocks that always hold `bytes` of messages with their prefixes, wherever in a block they begin.
pub(super) const fn blocks_for(bytes: u32) -> u32 {
    bytes.saturating_add(2 * PREFIX_MAX).div_ceil(BLOCK_DATA as u32) + 1
}

/// The smallest window of a reliable channel: at least 1 KiB wherever in a block it begins.
pub(super) const WINDOW_MIN: u32 = blocks_for(1024);

/// The longest length prefix of a message.
pub(super) const PREFIX_MAX: u32 = 4;

/// Lengths of messages fit a varint of four bytes, and windows leave room in the truncated offsets.
const MESSAGE_LARGEST: u32 = 16 << 20;
const WINDOW_LARGEST: u32 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_fit_together() {
        assert!(ChannelLimits::DEFAULT.is_consistent());
        assert!(ChannelLimits::for_peers(1).is_consistent());
        let tight = ChannelLimits { message_reliable_max: 1 << 20, ..ChannelLimits::DEFAULT };
        assert!(!tight.is_consistent());
    }

    #[test]
    fn sums_beyond_any_memory_are_refused() {
        let all = Quota { guaranteed: u32::MAX, shared: u32::MAX, peer_max: u32::MAX };
        let mut limits = ChannelLimits::for_peers(u32::MAX);
        limits.sent_nodes = all;
        limits.range_nodes = all;
        assert_eq!(limits.nodes_total(), u64::MAX);
        assert!(!limits.is_consistent());
        limits.receive_blocks = all;
        limits.message_reliable_max = u32::MAX;
        assert_eq!(limits.receive_blocks_total(), u64::MAX);
        assert!(!limits.is_consistent());
    }

    #[test]
    fn the_smallest_window_is_a_kibibyte() {
        assert!((WINDOW_MIN - 1) * BLOCK_DATA as u32 >= 1024);
    }
}
