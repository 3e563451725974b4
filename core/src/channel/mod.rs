//! Channels between two peers: reliable streams of messages, unreliable messages, credit.
//!
//! [`Channels`] is one peer's part; everything that grows lives in the [`Pools`] that all peers
//! share. A reliable channel is a stream of bytes in which each message stands behind its length;
//! what a packet carried of it is remembered until the packet's fate is known. An unreliable
//! message is forgotten when it was written.
//!
//! The incarnation of a channel is the number of times it was closed on this connection, which both
//! sides count alike: `ChannelClose` ends it on both, and what still arrives of it is dropped.

mod chain;
mod error;
mod event;
mod fate;
mod lifecycle;
mod limits;
mod node;
mod options;
mod reassembly;
mod receive;
mod receive_frame;
mod repeat;
mod send;
mod slot;
#[cfg(test)]
mod tests;
mod unordered;
mod write;
mod write_reliable;
mod write_unreliable;

pub use chain::{BLOCK_DATA, Block, Chunks, Payload};
pub use error::{CloseChannelError, OpenChannelError, ProtocolViolation, SendError};
pub use event::ChannelEvent;
pub(crate) use event::TakenMessage;
pub use limits::{ChannelLimits, PoolMemory, PoolState, PoolUsage, Pools};
pub use node::Node;
pub use options::ChannelOptions;
pub use receive_frame::Accepted;
pub use slot::ChannelSlot;
pub use write::{Allowed, HEAVY_LOSS, Permit, Scope, Written};

use core::time::Duration;

use crate::id::{ChannelId, Incarnation, Reliability};
use crate::pool::Account;
use crate::time::Instant;
use reassembly::Reassembly;
use repeat::Repeats;
use slot::{NO_SLOT, SlotList, State};

/// All channels of one peer.
///
/// Every method takes the same [`Pools`]. The frames of sent packets that hold something of this
/// peer's channels are handed back by [`Channels::on_acked`] or [`Channels::on_lost`], exactly once.
#[derive(Debug)]
pub struct Channels {
    slots: [u16; 256],
    incarnations: [Incarnation; 256],
    /// What the other side opened and the application has not.
    remote: [RemoteOpen; 256],
    /// Channels with control frames to send.
    control: SlotList,
    unreliable: SlotList,
    reliable: SlotList,
    /// Channels with something queued since the last flush.
    queued: SlotList,
    /// Channels with events.
    ready: SlotList,
    /// Channels whose application was told that they are full.
    waiting: SlotList,
    /// Channels with a message larger than the window they can get.
    stuck: SlotList,
    accounts: Accounts,
    reassemblies: [Reassembly; REASSEMBLIES],
    /// Counts fragments, to find the reassembly that has waited longest.
    fragments: u32,
    /// The channel whose message the application is looking at.
    lent: u16,
    /// The channel that uses the blocks kept aside for completing a message.
    completing: u16,
    /// Whether a channel may keep a block while it has nothing queued or received.
    keeps: bool,
    /// The most room that a packet has had.
    room_max: u16,
    /// Packets in a row that unreliable messages kept reliable data out of.
    starved: u8,
    repeats: Repeats,
    /// Counts packets, to tell which channels found no room in the present one.
    packet: u32,
    peer_reliable_max: u32,
    peer_unreliable_max: u32,
    counters: Counters,
}

impl Channels {
    /// No channel is open.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            slots: [NO_SLOT; 256],
            incarnations: [Incarnation(0); 256],
            remote: [RemoteOpen::NONE; 256],
            control: SlotList::new(0),
            unreliable: SlotList::new(1),
            reliable: SlotList::new(2),
            queued: SlotList::new(3),
            ready: SlotList::new(4),
            waiting: SlotList::new(5),
            stuck: SlotList::new(6),
            accounts: Accounts::new(),
            reassemblies: [Reassembly::NONE; REASSEMBLIES],
            fragments: 0,
            lent: NO_SLOT,
            completing: NO_SLOT,
            keeps: false,
            room_max: 0,
            starved: 0,
            repeats: Repeats::new(),
            packet: 0,
            peer_reliable_max: u32::MAX,
            peer_unreliable_max: u32::MAX,
            counters: Counters::new(),
        }
    }

    /// What the other side takes, from the handshake; larger messages are refused from now on.
    pub fn set_peer_limits(&mut self, reliable_max: u64, unreliable_max: u64) {
        self.peer_reliable_max = u32::try_from(reliable_max).unwrap_or(u32::MAX);
        self.peer_unreliable_max = u32::try_from(unreliable_max).unwrap_or(u32::MAX);
    }

    /// What happened so far, and what is queued.
    #[must_use]
    pub fn stats(&self, slots: &[ChannelSlot], nodes: &[Node], now: Instant) -> ChannelStats {
        let mut stats = ChannelStats { counters: self.counters, ..ChannelStats::default() };
        for slot in self.slots.iter().filter(|slot| **slot != NO_SLOT) {
            let queue = slots[usize::from(*slot)].send.queue(nodes, now);
            stats.queued_bytes += queue.bytes;
            stats.oldest = stats.oldest.max(queue.oldest);
        }
        stats
    }

    /// What is queued on one channel; `None` if it is not open.
    #[must_use]
    pub fn queue(
        &self,
        slots: &[ChannelSlot],
        nodes: &[Node],
        channel: ChannelId,
        now: Instant,
    ) -> Option<ChannelQueue> {
        let slot = self.slot_of(channel)?;
        Some(slots[usize::from(slot)].send.queue(nodes, now))
    }

    /// Reliable frames so far that brought nothing new.
    #[must_use]
    pub const fn duplicates(&self) -> u64 {
        self.counters.duplicates
    }

    fn slot_of(&self, channel: ChannelId) -> Option<u16> {
        let slot = self.slots[usize::from(channel.0)];
        (slot != NO_SLOT).then_some(slot)
    }

    /// The channel's slot unless the other side has closed it.
    fn live_slot(&self, pools: &Pools<'_>, channel: ChannelId) -> Option<u16> {
        self.slot_of(channel).filter(|slot| pools.slots[u32::from(*slot)].state != State::Ended)
    }

    fn incarnation(&self, channel: ChannelId) -> Incarnation {
        self.incarnations[usize::from(channel.0)]
    }

    /// Puts the channel into the lists that it belongs in, for sending and for events.
    fn relist(&mut self, pools: &mut Pools<'_>, slot: u16) {
        let state = &pools.slots[u32::from(slot)];
        let (data, event) = (state.has_data_to_send(), state.has_event());
        let control = state.due.open || state.due.credit || state.due.close;
        let list =
            if state.reliability.is_reliable() { &mut self.reliable } else { &mut self.unreliable };
        for (list, wanted) in [(list, data), (&mut self.ready, event), (&mut self.control, control)]
        {
            if wanted {
                list.push(&mut pools.slots, slot);
            } else {
                list.remove(&mut pools.slots, slot);
            }
        }
    }
}

impl Default for Channels {
    fn default() -> Self {
        Self::new()
    }
}

/// How one peer's channels fare.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ChannelStats {
    /// Bytes queued and not yet sent, or not yet acknowledged.
    pub queued_bytes: u64,
    /// How long the oldest of them have been queued; `None` if there are none. As
    /// [`ChannelQueue::oldest`].
    pub oldest: Option<Duration>,
    /// What was dropped.
    pub counters: Counters,
}

/// What is queued on one channel.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ChannelQueue {
    /// Bytes queued and not yet sent, or not yet acknowledged, with a few bytes of framing for each
    /// message.
    pub bytes: u64,
    /// How long the oldest of them have been queued, to the millisecond; `None` if there are none.
    /// Exact as long as what is queued came at one time; else too great by at most the time in which
    /// it came.
    pub oldest: Option<Duration>,
}

/// What was dropped, by reason.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counters {
    /// Frames for a channel that was not open here, or open with the other reliability.
    pub not_open: u64,
    /// Frames of an incarnation that is over.
    pub stale: u64,
    /// Unreliable messages, or fragments of them, that found no memory.
    pub no_memory: u64,
    /// Fragmented messages given up for newer ones, and their late fragments.
    pub abandoned: u64,
    /// Sequenced messages, or fragments of them, that came after a newer one.
    pub outdated: u64,
    /// Unreliable messages that did not leave before their deadline.
    pub expired: u64,
    /// Reliable frames that brought nothing new.
    pub duplicates: u64,
    /// Reliable frames refused for lack of memory, so that they are sent again.
    pub refused: u64,
    /// Repeated small messages whose first copy had not arrived.
    pub repeats_used: u64,
    /// Messages sent into a channel that the other side had closed.
    pub sent_too_late: u64,
}

impl Counters {
    const fn new() -> Self {
        Self {
            not_open: 0,
            stale: 0,
            no_memory: 0,
            abandoned: 0,
            outdated: 0,
            expired: 0,
            duplicates: 0,
            refused: 0,
            repeats_used: 0,
            sent_too_late: 0,
        }
    }
}

/// What one peer has of each pool.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Accounts {
    send: Account,
    receive: Account,
    sent: Account,
    ranges: Account,
    slots: Account,
}

impl Accounts {
    const fn new() -> Self {
        Self {
            send: Account::new(),
            receive: Account::new(),
            sent: Account::new(),
            ranges: Account::new(),
            slots: Account::new(),
        }
    }
}

/// What the other side has opened that the application has not, in one byte: the credit of a
/// ChannelOpen is a power of two (wire.md §2), so that its logarithm says it all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct RemoteOpen(u8);

impl RemoteOpen {
    const NONE: Self = Self(0);
    const UNRELIABLE: Self = Self(1);
    const UNRELIABLE_SEQUENCED: Self = Self(2);
    /// Reliable without credit; 2ⁿ credit is n + 1 more.
    const RELIABLE: u8 = 3;
    const RELIABLE_UNORDERED: u8 = 128;

    fn new(reliability: Reliability, credit: u64) -> Self {
        match reliability {
            Reliability::Unreliable => Self::UNRELIABLE,
            Reliability::UnreliableSequenced => Self::UNRELIABLE_SEQUENCED,
            Reliability::Reliable => Self::with_credit(Self::RELIABLE, credit),
            Reliability::ReliableUnordered => Self::with_credit(Self::RELIABLE_UNORDERED, credit),
        }
    }

    fn with_credit(kind: u8, credit: u64) -> Self {
        Self(kind + credit.checked_ilog2().map_or(0, |log| log as u8 + 1))
    }

    fn get(self) -> Option<(Reliability, u64)> {
        let credit = |log: u8| log.checked_sub(1).map_or(0, |log| 1 << log);
        match self.0 {
            _ if self == Self::NONE => None,
            _ if self == Self::UNRELIABLE => Some((Reliability::Unreliable, 0)),
            _ if self == Self::UNRELIABLE_SEQUENCED => Some((Reliability::UnreliableSequenced, 0)),
            kind if kind < Self::RELIABLE_UNORDERED => {
                Some((Reliability::Reliable, credit(kind - Self::RELIABLE)))
            }
            kind => Some((Reliability::ReliableUnordered, credit(kind - Self::RELIABLE_UNORDERED))),
        }
    }
}

/// Fragmented messages of one peer that are put together at a time.
const REASSEMBLIES: usize = 4;
