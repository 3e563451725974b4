//! Putting fragmented unreliable messages together.

use super::chain::Chain;
use super::node::{Added, Ranges};
use super::receive::HEADER;
use super::slot::NO_SLOT;
use super::{Channels, Node, Pools, ProtocolViolation};
use crate::pool::Metered;
use crate::wire::frame::Fragment;

/// A message of which fragments have arrived.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reassembly {
    slot: u16,
    number: u16,
    total: u32,
    /// Count of fragments when the last one for this arrived.
    touched: u32,
    ranges: Ranges,
    /// The message behind room for its header; all blocks are there from the first fragment on.
    chain: Chain,
}

impl Reassembly {
    pub(super) const NONE: Self = Self {
        slot: NO_SLOT,
        number: 0,
        total: 0,
        touched: 0,
        ranges: Ranges::new(),
        chain: Chain::new(),
    };
}

impl Channels {
    /// Takes a fragment for the channel in `slot`.
    pub(super) fn receive_fragment(
        &mut self,
        pools: &mut Pools<'_>,
        slot: u16,
        fragment: Fragment,
        data: &[u8],
    ) -> Result<(), ProtocolViolation> {
        let total = u32::try_from(fragment.total).unwrap_or(u32::MAX);
        if total > pools.limits.message_unreliable_max {
            return Err(ProtocolViolation::MessageTooLarge);
        }
        if !pools.slots[u32::from(slot)].receive.fragments.admit(fragment.number) {
            self.counters.abandoned += 1;
            return Ok(());
        }
        self.fragments = self.fragments.wrapping_add(1);
        let known =
            self.reassemblies.iter().position(|r| r.slot == slot && r.number == fragment.number);
        let index = match known {
            Some(index) => index,
            None => match self.begin_reassembly(pools, slot, fragment.number, total) {
                Some(index) => index,
                None => {
                    self.counters.no_memory += 1;
                    // Without this fragment it can never be whole.
                    pools.slots[u32::from(slot)].receive.fragments.end(fragment.number);
                    return Ok(());
                }
            },
        };
        let Some(reassembly) = self.reassemblies.get_mut(index) else { return Ok(()) };
        if reassembly.total != total {
            return Err(ProtocolViolation::Fragment);
        }
        reassembly.touched = self.fragments;
        let mut nodes = Metered {
            pool: &mut pools.nodes,
            account: &mut self.accounts.ranges,
            share: &mut pools.shares.ranges,
        };
        // The parser has checked that the fragment lies within the message.
        let end = fragment.offset.saturating_add(data.len() as u64);
        match reassembly.ranges.add(&mut nodes, fragment.offset, end) {
            Added::New => {}
            Added::Duplicate => return Ok(()),
            Added::NoRoom => {
                self.counters.no_memory += 1;
                self.give_up(pools, index);
                return Ok(());
            }
        }
        reassembly.chain.write(&mut pools.receive, HEADER as u64 + fragment.offset, data);
        if reassembly.ranges.is_whole(&pools.nodes, u64::from(total)) {
            let mut chain = core::mem::replace(&mut reassembly.chain, Chain::new());
            self.give_up(pools, index);
            self.receive_chain(pools, slot, &mut chain, total);
            // Of no meaning but where the channel is sequenced.
            pools.slots[u32::from(slot)].receive.newest = fragment.number;
        }
        Ok(())
    }

    /// Gives up all messages of the channel that are not whole.
    pub(super) fn give_up_fragments(&mut self, pools: &mut Pools<'_>, slot: u16) {
        for index in 0..self.reassemblies.len() {
            if self.reassemblies.get(index).is_some_and(|r| r.slot == slot) {
                self.give_up(pools, index);
            }
        }
    }

    /// A place for a new message; older ones of its channel, and if need be the one that has
    /// waited longest, are given up for it.
    fn begin_reassembly(
        &mut self,
        pools: &mut Pools<'_>,
        slot: u16,
        number: u16,
        total: u32,
    ) -> Option<usize> {
        // The one before may only be overtaken; what is older is not going to be completed.
        for index in 0..self.reassemblies.len() {
            let reassembly = self.reassemblies.get(index)?;
            let age = number.wrapping_sub(reassembly.number);
            if reassembly.slot == slot && (2..0x8000).contains(&age) {
                self.counters.abandoned += 1;
                self.give_up(pools, index);
            }
        }
        let now = self.fragments;
        let waited = |r: &Reassembly| match r.slot {
            NO_SLOT => u32::MAX,
            _ => now.wrapping_sub(r.touched),
        };
        let (index, oldest) =
            self.reassemblies.iter().enumerate().max_by_key(|(_, r)| waited(r))?;
        if oldest.slot != NO_SLOT {
            self.counters.abandoned += 1;
            self.give_up(pools, index);
        }
        let mut chain = Chain::new();
        let end = HEADER as u64 + u64::from(total);
        let blocks = chain.blocks_missing(end) as u32;
        if !self.reserve_received(pools, slot, blocks) {
            return None;
        }
        let extended = chain.extend(&mut pools.receive, end);
        assert!(extended, "each block on an account exists");
        let ranges = Ranges::new();
        *self.reassemblies.get_mut(index)? =
            Reassembly { slot, number, total, touched: now, ranges, chain };
        Some(index)
    }

    /// Frees a place, and remembers that its message is over.
    fn give_up(&mut self, pools: &mut Pools<'_>, index: usize) {
        let Some(reassembly) = self.reassemblies.get_mut(index) else { return };
        let Reassembly { slot, number, mut ranges, mut chain, .. } =
            core::mem::replace(reassembly, Reassembly::NONE);
        let mut nodes = Metered::<Node> {
            pool: &mut pools.nodes,
            account: &mut self.accounts.ranges,
            share: &mut pools.shares.ranges,
        };
        ranges.clear(&mut nodes);
        let freed = chain.restart(&mut pools.receive, 0);
        self.accounts.receive.release(&mut pools.shares.receive, freed);
        pools.slots[u32::from(slot)].receive.fragments.end(number);
    }
}
