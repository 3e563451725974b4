//! The relay's data path: one datagram in, one verdict out.

use core::net::SocketAddr;

use super::address::Address;
use super::budget::Budget;
use super::hash::HashKey;
use super::hot::HotEntry;
use super::index::AddressIndex;
use super::memory::Tables;
use crate::id::SessionId;
use crate::time::Instant;

/// Forwards between live sessions. Shared freely: copies look at the same tables.
#[derive(Clone, Copy)]
pub struct Forwarder<'m> {
    hot: &'m [HotEntry],
    index: AddressIndex<'m>,
    budget: Budget,
}

impl<'m> Forwarder<'m> {
    /// A forwarder over the tables that the owner of `key` and `budget` keeps.
    #[must_use]
    pub fn new(tables: Tables<'m>, forwarding: Forwarding) -> Self {
        Self {
            hot: tables.hot,
            index: AddressIndex { buckets: tables.index, key: forwarding.key },
            budget: forwarding.budget,
        }
    }

    /// What to do with a datagram that came from `from`. A forwarded datagram leaves unchanged.
    #[must_use]
    pub fn forward(&self, now: Instant, from: SocketAddr, bytes: &[u8]) -> Verdict {
        let [kind, slot0, slot1, slot2, tag0, tag1, tag2, tag3, ..] = *bytes else {
            return Verdict::Drop(DropReason::Malformed);
        };
        if bytes.len() > DATAGRAM_MAX {
            return Verdict::Drop(DropReason::Malformed);
        }
        if kind < FIRST_FORWARDED {
            return Verdict::Control;
        }
        if !matches!(kind, 0x40..=0x42 | 0x80..=0x87) || bytes.len() < FORWARDED_MIN {
            return Verdict::Drop(DropReason::Malformed);
        }
        let Some((sender_slot, sender)) = self.index.find(self.hot, Address::from(from)) else {
            return Verdict::Unbound;
        };
        if !sender.charge(now_ms(now), bytes.len() as u32, &self.budget) {
            return Verdict::Drop(DropReason::OverBudget);
        }
        let to = SessionId::from_bytes([slot0, slot1, slot2, tag0, tag1, tag2, tag3]);
        if to.slot() == sender_slot {
            return Verdict::Drop(DropReason::ToItself);
        }
        match self.destination(to) {
            Some(to) => Verdict::Forward { to },
            None => Verdict::Drop(DropReason::NoDestination),
        }
    }

    /// The table line of a datagram's destination, which [`forward`](Self::forward) will read: to
    /// be fetched while others are looked at. Told without reading any.
    #[must_use]
    pub fn destination_line(&self, bytes: &[u8]) -> Option<*const u8> {
        let [kind, slot0, slot1, slot2, ..] = *bytes else { return None };
        if kind < FIRST_FORWARDED {
            return None;
        }
        let entry = self.hot.get(u32::from_le_bytes([slot0, slot1, slot2, 0]) as usize)?;
        Some(core::ptr::from_ref(entry).cast())
    }

    /// The table lines in which a datagram's sender is looked up, likewise.
    pub fn sender_lines(&self, from: SocketAddr) -> impl Iterator<Item = *const u8> + use<'m> {
        self.index.lines(Address::from(from))
    }

    fn destination(&self, id: SessionId) -> Option<SocketAddr> {
        let (tag, address) = self.hot.get(id.slot() as usize)?.live()?;
        if tag == id.tag() { address.to_socket_addr() } else { None }
    }
}

/// What a forwarder on another thread needs besides the tables: the index's key and the budget.
#[derive(Clone, Copy, Debug)]
pub struct Forwarding {
    /// Key of the address index.
    pub key: HashKey,
    /// Every sender's budget.
    pub budget: Budget,
}

/// What a relay does with a datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Send it on, unchanged.
    Forward {
        /// The destination's present address.
        to: SocketAddr,
    },
    /// It is for the owner of the sessions: [`Control::handle`](super::Control::handle).
    Control,
    /// It is for a peer, but comes from no live session: dropped, though the owner may answer
    /// with a hint if it is handed to [`Control::handle`](super::Control::handle).
    Unbound,
    /// Drop it.
    Drop(DropReason),
}

/// Why a forwarder dropped a datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum DropReason {
    /// Too short, too long, or of no known kind.
    Malformed,
    /// The sender is faster than its budget.
    OverBudget,
    /// Nobody is at the destination: no such session, or no longer.
    NoDestination,
    /// Sender and destination are the same session.
    ToItself,
}

/// One worker's statistics: every datagram counted once.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counters {
    /// Sent on.
    pub forwarded: u64,
    /// UDP payload bytes sent on.
    pub forwarded_bytes: u64,
    /// Handed to the owner.
    pub control: u64,
    /// Dropped: from no live session.
    pub unbound: u64,
    /// Dropped: [`DropReason::Malformed`].
    pub malformed: u64,
    /// Dropped: [`DropReason::OverBudget`].
    pub over_budget: u64,
    /// Dropped: [`DropReason::NoDestination`].
    pub no_destination: u64,
    /// Dropped: [`DropReason::ToItself`].
    pub to_itself: u64,
}

impl Counters {
    /// Counts one datagram of `length` bytes.
    pub fn count(&mut self, verdict: Verdict, length: usize) {
        match verdict {
            Verdict::Forward { .. } => {
                self.forwarded += 1;
                self.forwarded_bytes += length as u64;
            }
            Verdict::Control => self.control += 1,
            Verdict::Unbound => self.unbound += 1,
            Verdict::Drop(DropReason::Malformed) => self.malformed += 1,
            Verdict::Drop(DropReason::OverBudget) => self.over_budget += 1,
            Verdict::Drop(DropReason::NoDestination) => self.no_destination += 1,
            Verdict::Drop(DropReason::ToItself) => self.to_itself += 1,
        }
    }

    /// All datagrams dropped, for whatever reason.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.unbound + self.malformed + self.over_budget + self.no_destination + self.to_itself
    }
}

/// The forwarders' clock: milliseconds, wrapping.
pub(crate) fn now_ms(now: Instant) -> u32 {
    now.as_millis() as u32
}

/// wire.md §1: what is below is between a peer and its relay.
const FIRST_FORWARDED: u8 = 0x40;
const DATAGRAM_MAX: usize = 1472;
/// The shortest legal data datagram: 27 bytes around one byte of frames.
const FORWARDED_MIN: usize = 28;

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;
    use crate::relay::RelayLimits;

    #[test]
    fn lines_are_those_that_forwarding_reads() {
        let limits = RelayLimits { sessions: 300, pending: 1 };
        let hot: Vec<_> = (0..limits.sessions).map(|_| HotEntry::new()).collect();
        let index: Vec<_> = (0..limits.index_buckets()).map(|_| Default::default()).collect();
        let forwarding =
            Forwarding { key: HashKey::from_bytes([1; 16]), budget: Budget::default() };
        let forwarder = Forwarder::new(Tables { hot: &hot, index: &index }, forwarding);
        let line = |first: u8, slot: u32| {
            let mut datagram = [first; 28];
            datagram[1..8].copy_from_slice(&SessionId::new(slot, 7).to_bytes());
            forwarder.destination_line(&datagram)
        };
        assert_eq!(line(0x80, 299), Some(core::ptr::from_ref(&hot[299]).cast()));
        assert_eq!([line(0x80, 300), line(0x10, 299)], [None, None], "no such slot; control");
        assert_eq!(forwarder.destination_line(&[0x80; 3]), None);
        let within = index.as_ptr_range();
        let from = SocketAddr::from(([192, 0, 2, 1], 9));
        assert!((1..=2).contains(&forwarder.sender_lines(from).count()));
        assert!(forwarder.sender_lines(from).all(|line| within.contains(&line.cast())));
    }
}
