//! One open channel: its two halves, and its place in the lists of its peer.

use super::ChannelOptions;
use super::chain::{BLOCK_DATA, Chain, Place};
use super::node::{Node, Ranges};
use super::send::Ages;
use super::unordered::Runs;
use crate::id::{ChannelId, Reliability};
use crate::pool::{Item, NONE, Pool};

/// The state of one open channel, in a pool.
#[derive(Clone, Copy, Debug)]
pub struct ChannelSlot {
    free: u32,
    links: [Link; LINKS],
    pub(super) channel: ChannelId,
    pub(super) reliability: Reliability,
    pub(super) state: State,
    /// What to open again once the close is acknowledged.
    pub(super) reopen: Option<Reliability>,
    /// What the other side has opened.
    pub(super) remote: Option<Reliability>,
    /// Whether the other side may know of this opening.
    pub(super) announced: bool,
    /// Lower classes leave first.
    pub(super) class: u8,
    /// Frames in a row when channels of its class take turns.
    pub(super) weight: u8,
    /// Frames since its turn began.
    pub(super) turns: u8,
    /// In so many packets its small reliable messages are repeated; `None` to go by the loss.
    pub(super) redundancy: Option<u8>,
    /// The packet in which it found no room.
    pub(super) passed: u32,
    pub(super) due: Due,
    pub(super) events: Events,
    pub(super) send: SendHalf,
    pub(super) receive: ReceiveHalf,
}

impl ChannelSlot {
    /// A slot without a channel.
    #[must_use]
    pub const fn new() -> Self {
        Self::open(ChannelId(0), Reliability::Unreliable)
    }

    pub(super) const fn open(channel: ChannelId, reliability: Reliability) -> Self {
        Self {
            free: NONE,
            links: [Link::OUT; LINKS],
            channel,
            reliability,
            state: State::Open,
            reopen: None,
            remote: None,
            announced: false,
            class: 1,
            weight: 1,
            turns: 0,
            redundancy: None,
            passed: 0,
            due: Due { open: false, credit: false, close: false },
            events: Events { opened: false, mismatch: false, writable: false, closed: false },
            send: SendHalf::new(),
            receive: ReceiveHalf::new(),
        }
    }

    /// Begins afresh, in the lists that it is in.
    pub(super) const fn restart(&mut self, reliability: Reliability) {
        *self = Self {
            links: self.links,
            class: self.class,
            weight: self.weight,
            redundancy: self.redundancy,
            ..Self::open(self.channel, reliability)
        };
    }

    /// Takes over what is this side's alone.
    pub(super) fn prefer(&mut self, options: &ChannelOptions) {
        let ChannelOptions { reliability: _, class, weight, redundancy } = *options;
        (self.class, self.weight, self.redundancy) = (class, weight, redundancy);
        self.turns = 0;
    }

    /// Whether the other side has opened the channel the same way.
    pub(super) fn agreed(&self) -> bool {
        self.remote == Some(self.reliability)
    }

    /// Whether there is application data that may leave now.
    pub(super) fn has_data_to_send(&self) -> bool {
        if !matches!(self.state, State::Open | State::Draining) {
            return false;
        }
        if self.reliability.is_reliable() {
            self.agreed() && (self.send.lost_head != NONE || self.send.new_bytes() > 0)
        } else {
            // Sent before the other side's open is known, too: waiting would make it stale.
            (self.remote.is_none() || self.agreed()) && self.send.sent < self.send.flushed
        }
    }

    /// Whether a reliable channel's data is so little that it need not wait like bulk data.
    pub(super) fn is_small(&self, nodes: &[Node]) -> bool {
        let lost = match self.send.lost_head {
            NONE => 0,
            lost => u64::from(nodes[lost as usize].len),
        };
        self.send.new_bytes() + lost <= SMALL_MAX
    }

    pub(super) fn has_event(&self) -> bool {
        let Events { opened, mismatch, writable, closed } = self.events;
        opened || mismatch || writable || closed || self.receive.whole > 0
    }
}

impl Default for ChannelSlot {
    fn default() -> Self {
        Self::new()
    }
}

impl Item for ChannelSlot {
    fn link(&self) -> u32 {
        self.free
    }

    fn set_link(&mut self, link: u32) {
        self.free = link;
    }
}

/// How far a channel's life has gone on this side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    Open,
    /// Closed by the application; what it queued before is still on its way.
    Draining,
    /// ChannelClose is to be sent or under way.
    Closing,
    /// Closed by the other side; the application has not been told yet.
    Ended,
}

/// Control frames to send.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Due {
    pub(super) open: bool,
    pub(super) credit: bool,
    pub(super) close: bool,
}

/// What the application has yet to be told, besides messages.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Events {
    pub(super) opened: bool,
    pub(super) mismatch: bool,
    pub(super) writable: bool,
    pub(super) closed: bool,
}

/// Bytes to the other side: a stream of messages, each behind its length.
///
/// released ≤ sent ≤ flushed ≤ end. A reliable channel's length prefixes are varints and travel; an
/// unreliable one's are eight bytes, with the deadline, and do not.
#[derive(Clone, Copy, Debug)]
pub(super) struct SendHalf {
    pub(super) chain: Chain,
    pub(super) end: u64,
    pub(super) flushed: u64,
    pub(super) sent: u64,
    /// Up to where the other side lets us send.
    pub(super) credit: u64,
    pub(super) ages: Ages,
    /// Ranges sent and not acknowledged, by offset.
    pub(super) ranges_head: u32,
    pub(super) ranges_tail: u32,
    /// Those of them to be sent again, in the order they were lost.
    pub(super) lost_head: u32,
    pub(super) lost_tail: u32,
    /// Where data was last sent again: what is lost is mostly in order, too.
    pub(super) again: Place,
    /// Length of the message last refused as [`SendError::Full`](super::SendError::Full).
    pub(super) refused: u32,
    /// Bytes of the unreliable message at `sent` that have left in fragments.
    pub(super) fragment_at: u32,
    /// Number of the next unreliable message that is given one: those in fragments, and all of a
    /// sequenced channel.
    pub(super) number: u16,
    /// Reliable unordered: bytes from `sent` on that belong to a message that has begun to leave.
    pub(super) lead: u32,
}

impl SendHalf {
    const fn new() -> Self {
        Self {
            chain: Chain::new(),
            end: 0,
            flushed: 0,
            sent: 0,
            credit: 0,
            ages: Ages::new(),
            ranges_head: NONE,
            ranges_tail: NONE,
            lost_head: NONE,
            lost_tail: NONE,
            again: Place::NONE,
            refused: 0,
            fragment_at: 0,
            number: 0,
            lead: 0,
        }
    }

    /// Bytes of a reliable stream that may leave for the first time.
    pub(super) fn new_bytes(&self) -> u64 {
        self.flushed.min(self.credit).saturating_sub(self.sent)
    }

    /// Whether everything queued was sent and, if it must be, acknowledged.
    pub(super) const fn is_drained(&self) -> bool {
        self.sent == self.end && self.ranges_head == NONE
    }
}

/// Bytes from the other side: a reliable stream, or a queue of whole unreliable messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReceiveHalf {
    pub(super) chain: Chain,
    /// Everything below was delivered and given back; on an unordered channel, some above, too.
    pub(super) consumed: u64,
    /// End of the message that the application is looking at.
    pub(super) lent_end: u64,
    /// Whole messages not yet delivered.
    pub(super) whole: u32,
    /// Reliable: blocks reserved. Unreliable: 0, as blocks are paid for one by one.
    pub(super) window: u32,
    /// Reliable: everything below is there. Unreliable: end of the queue.
    pub(super) contiguous: u64,
    pub(super) ranges: Ranges,
    /// Where the first message begins that is not whole.
    pub(super) parsed: u64,
    /// Where that message ends; 0 while its length is not known.
    pub(super) needed: u64,
    /// The largest offset that the other side was told it may use.
    pub(super) granted: u64,
    /// What was consumed when the window last grew.
    pub(super) grown_at: u64,
    pub(super) fragments: Recent,
    /// Sequenced: number of the newest message taken.
    pub(super) newest: u16,
    /// Reliable unordered: the whole messages not yet delivered.
    pub(super) runs: Runs,
}

impl ReceiveHalf {
    const fn new() -> Self {
        Self {
            chain: Chain::new(),
            consumed: 0,
            lent_end: 0,
            whole: 0,
            window: 0,
            contiguous: 0,
            ranges: Ranges::new(),
            parsed: 0,
            needed: 0,
            granted: 0,
            grown_at: 0,
            fragments: Recent { newest: u16::MAX, over: u64::MAX },
            newest: u16::MAX,
            runs: Runs::new(),
        }
    }

    /// A half that has only its window.
    pub(super) const fn with_window(window: u32) -> Self {
        Self { window, granted: first_credit(window), ..Self::new() }
    }

    /// Whether message `number` of a sequenced channel is newer than all taken so far.
    pub(super) const fn is_news(&self, number: u16) -> bool {
        let ahead = number.wrapping_sub(self.newest);
        1 <= ahead && ahead < 0x8000
    }

    /// Up to where the reserved blocks reach.
    pub(super) const fn covered(&self) -> u64 {
        self.chain.base() + self.window as u64 * BLOCK_DATA as u64
    }
}

/// The credit that a channel begins with: a power of two, as the other side may have no room to
/// remember more of it until its application opens the channel.
pub(super) const fn first_credit(window: u32) -> u64 {
    match (window as u64 * BLOCK_DATA as u64).checked_ilog2() {
        Some(log) => 1 << log,
        None => 0,
    }
}

/// Which of the latest fragmented messages are over: delivered, or given up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recent {
    newest: u16,
    /// Bit n: the message numbered n before the newest is over.
    over: u64,
}

impl Recent {
    /// Whether fragments of message `number` may still be taken.
    pub(super) fn admit(&mut self, number: u16) -> bool {
        let ahead = number.wrapping_sub(self.newest);
        if (1..0x8000).contains(&ahead) {
            // Numbers that were passed over stay open: their fragments may only be late.
            self.over = self.over.checked_shl(u32::from(ahead)).unwrap_or(0);
            self.newest = number;
            return true;
        }
        let behind = u32::from(self.newest.wrapping_sub(number));
        behind < u64::BITS && self.over >> behind & 1 == 0
    }

    /// Message `number` is over.
    pub(super) fn end(&mut self, number: u16) {
        let behind = u32::from(self.newest.wrapping_sub(number));
        self.over |= 1_u64.checked_shl(behind).unwrap_or(0);
    }
}

/// A channel's neighbours in one list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Link {
    before: u16,
    after: u16,
}

impl Link {
    /// Not in the list.
    const OUT: Self = Self { before: OUTSIDE, after: OUTSIDE };
}

/// A list of channels of one peer, first come, first served.
#[derive(Clone, Copy, Debug)]
pub(super) struct SlotList {
    head: u16,
    tail: u16,
    link: u8,
}

impl SlotList {
    /// Each list of a peer has a `link` of its own, below [`LINKS`].
    pub(super) const fn new(link: u8) -> Self {
        Self { head: NO_SLOT, tail: NO_SLOT, link }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.head == NO_SLOT
    }

    /// Whether there are at least two channels in it.
    pub(super) const fn has_several(&self) -> bool {
        self.head != self.tail
    }

    pub(super) fn first(&self) -> Option<u16> {
        (self.head != NO_SLOT).then_some(self.head)
    }

    pub(super) fn after(&self, slots: &Pool<'_, ChannelSlot>, slot: u16) -> Option<u16> {
        let after = self.link(slots, slot).after;
        (after != NO_SLOT).then_some(after)
    }

    /// The channels in it, in order.
    pub(super) fn iter<'a>(
        &self,
        slots: &'a Pool<'_, ChannelSlot>,
    ) -> impl Iterator<Item = u16> + use<'a> {
        let which = usize::from(self.link);
        core::iter::successors(self.first(), move |slot| {
            let after = slots[u32::from(*slot)].links[which].after;
            (after != NO_SLOT).then_some(after)
        })
    }

    /// Adds `slot` at the end unless it is there.
    pub(super) fn push(&mut self, slots: &mut Pool<'_, ChannelSlot>, slot: u16) {
        let link = self.link_mut(slots, slot);
        if *link != Link::OUT {
            return;
        }
        *link = Link { before: self.tail, after: NO_SLOT };
        if self.tail == NO_SLOT {
            self.head = slot;
        } else {
            self.link_mut(slots, self.tail).after = slot;
        }
        self.tail = slot;
    }

    /// Removes `slot` if it is there.
    pub(super) fn remove(&mut self, slots: &mut Pool<'_, ChannelSlot>, slot: u16) {
        let Link { before, after } = core::mem::replace(self.link_mut(slots, slot), Link::OUT);
        if before == OUTSIDE {
            return;
        }
        if before == NO_SLOT {
            self.head = after;
        } else {
            self.link_mut(slots, before).after = after;
        }
        if after == NO_SLOT {
            self.tail = before;
        } else {
            self.link_mut(slots, after).before = before;
        }
    }

    /// Makes `slot`, which is in the list, the last one.
    pub(super) fn rotate(&mut self, slots: &mut Pool<'_, ChannelSlot>, slot: u16) {
        if self.tail != slot {
            self.remove(slots, slot);
            self.push(slots, slot);
        }
    }

    fn link(&self, slots: &Pool<'_, ChannelSlot>, slot: u16) -> Link {
        slots[u32::from(slot)].links[usize::from(self.link)]
    }

    fn link_mut<'a>(&self, slots: &'a mut Pool<'_, ChannelSlot>, slot: u16) -> &'a mut Link {
        &mut slots[u32::from(slot)].links[usize::from(self.link)]
    }
}

/// More than this to send at once on a reliable channel is bulk data.
const SMALL_MAX: u64 = 1024;

/// No channel.
pub(super) const NO_SLOT: u16 = u16::MAX;
const OUTSIDE: u16 = u16::MAX - 1;
const LINKS: usize = 7;
