//! The relay's data path: one datagram in, one verdict out.

use core::net::SocketAddr;

use super::address::Address;
use super::budget::{Price, RatePrice, ticks};
use super::config::RelayConfig;
use super::hash::HashKey;
use super::hot::{HotEntry, Payer};
use super::index::AddressIndex;
use super::memory::Tables;
use crate::id::SessionId;
use crate::time::Instant;

/// Forwards between live sessions. Shared freely: copies look at the same tables.
#[derive(Clone, Copy)]
pub struct Forwarder<'m> {
    hot: &'m [HotEntry],
    index: AddressIndex<'m>,
    prices: Prices,
}

impl<'m> Forwarder<'m> {
    /// A forwarder over the tables that the owner of `key` and `prices` keeps.
    #[must_use]
    pub fn new(tables: Tables<'m>, forwarding: Forwarding) -> Self {
        Self {
            hot: tables.hot,
            index: AddressIndex { buckets: tables.index, key: forwarding.key },
            prices: forwarding.prices,
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
        let (now, length) = (ticks(now), bytes.len() as u32);
        // A payer whose session has ended is one whose owner is about to name another.
        let payer = match sender.payer() {
            Payer::Instead(slot) => self.hot.get(slot as usize).unwrap_or(sender),
            Payer::Itself | Payer::Besides(_) => sender,
        };
        if !payer.charge_sent(now, length, &self.prices.sender, &self.prices.source) {
            return Verdict::Drop(DropReason::OverBudget);
        }
        if let Payer::Besides(slot) = payer.payer()
            && let Some(account) = self.hot.get(slot as usize)
            && !account.charge_account(now, length, &self.prices.source)
        {
            return Verdict::Drop(DropReason::SourceOverBudget);
        }
        let to = SessionId::from_bytes([slot0, slot1, slot2, tag0, tag1, tag2, tag3]);
        if to.slot() == sender_slot {
            return Verdict::Drop(DropReason::ToItself);
        }
        let is_handshake = kind < FIRST_DATA;
        if is_handshake && let Err(reason) = self.charge_handshake(now, payer) {
            return Verdict::Drop(reason);
        }
        let Some((destination, to)) = self.destination(to) else {
            return Verdict::Drop(DropReason::NoDestination);
        };
        let handshakes_received = self.prices.handshakes_received;
        if is_handshake && !destination.charge_handshake_received(now, handshakes_received) {
            return Verdict::Drop(DropReason::DestinationHandshakesOverBudget);
        }
        if !destination.charge_received(now, length, &self.prices.destination) {
            return Verdict::Drop(DropReason::DestinationOverBudget);
        }
        if self.prices.total.packet != 0
            && let Some(all) = self.hot.last()
            && !all.charge_account(now, length, &self.prices.total)
        {
            return Verdict::Drop(DropReason::TotalOverBudget);
        }
        let handshakes = self.prices.handshakes;
        if is_handshake
            && handshakes.one != 0
            && let Some(all) = self.hot.last()
            && !all.charge_handshake_sent(now, handshakes)
        {
            return Verdict::Drop(DropReason::TotalHandshakesOverBudget);
        }
        Verdict::Forward { to }
    }

    /// Takes a handshake datagram out of what `payer` may send, and its source.
    fn charge_handshake(&self, now: u32, payer: &HotEntry) -> Result<(), DropReason> {
        let Prices { handshakes_sent, handshakes_of_source, .. } = self.prices;
        // Who is alone at its source never sends more than the source may.
        if !payer.charge_handshake_sent(now, handshakes_sent.dearer(handshakes_of_source)) {
            return Err(DropReason::HandshakesOverBudget);
        }
        if let Payer::Besides(slot) = payer.payer()
            && let Some(account) = self.hot.get(slot as usize)
            && !account.charge_handshake_sent(now, handshakes_of_source)
        {
            return Err(DropReason::SourceHandshakesOverBudget);
        }
        Ok(())
    }

    /// Whether a live session sends from there: its datagrams come before those of others where
    /// not all can be dealt with.
    #[must_use]
    pub fn has_session(&self, from: SocketAddr) -> bool {
        self.index.find(self.hot, Address::from(from)).is_some()
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

    fn destination(&self, id: SessionId) -> Option<(&'m HotEntry, SocketAddr)> {
        let entry = self.hot.get(id.slot() as usize)?;
        let (tag, address) = entry.live()?;
        if tag == id.tag() { Some((entry, address.to_socket_addr()?)) } else { None }
    }
}

/// What a forwarder on another thread needs besides the tables: the index's key and the prices.
#[derive(Clone, Copy, Debug)]
pub struct Forwarding {
    /// Key of the address index.
    pub key: HashKey,
    /// What sending costs.
    pub prices: Prices,
}

/// What sending costs, in ticks: the limits of the data path as a forwarder counts by them. All
/// plain words, so that they can be handed to other threads, and to an in-kernel path, one by one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Prices {
    /// A sender's, unless its session has its own.
    pub sender: Price,
    /// Of what one source's sessions send together.
    pub source: Price,
    /// Of what is sent to one destination, by whomever.
    pub destination: Price,
    /// Of what is forwarded in all; zeros: no limit.
    pub total: Price,
    /// Of handshake datagrams (0x40–0x42) from one sender.
    pub handshakes_sent: RatePrice,
    /// Of handshake datagrams to one destination.
    pub handshakes_received: RatePrice,
    /// Of handshake datagrams from all of one source's sessions.
    pub handshakes_of_source: RatePrice,
    /// Of handshake datagrams that are forwarded in all; zeros: no limit.
    pub handshakes: RatePrice,
}

impl Prices {
    /// How many words they are.
    pub const WORDS: usize = 20;

    /// The prices by a relay's settings.
    #[must_use]
    pub fn of(config: &RelayConfig) -> Self {
        Self {
            sender: Price::of(&config.budget),
            source: Price::of(&config.source),
            destination: Price::of(&config.destination),
            total: config.total.as_ref().map_or(Price::FREE, Price::of),
            handshakes_sent: RatePrice::of(config.handshakes.sender),
            handshakes_received: RatePrice::of(config.handshakes.destination),
            handshakes_of_source: RatePrice::of(config.handshakes.source),
            handshakes: config.handshakes.total.map_or(RatePrice::FREE, RatePrice::of),
        }
    }

    /// As words: packet, 1024 bytes, burst of sender, source, destination and total; one, burst of
    /// handshakes from a sender, to a destination, from a source and in all.
    #[must_use]
    pub const fn to_words(&self) -> [u32; Self::WORDS] {
        let Self { sender, source, destination, total, .. } = self;
        let Self { handshakes_sent, handshakes_received, .. } = self;
        let Self { handshakes_of_source, handshakes, .. } = self;
        [
            sender.packet,
            sender.byte,
            sender.burst,
            source.packet,
            source.byte,
            source.burst,
            destination.packet,
            destination.byte,
            destination.burst,
            total.packet,
            total.byte,
            total.burst,
            handshakes_sent.one,
            handshakes_sent.burst,
            handshakes_received.one,
            handshakes_received.burst,
            handshakes_of_source.one,
            handshakes_of_source.burst,
            handshakes.one,
            handshakes.burst,
        ]
    }

    /// What [`to_words`](Self::to_words) made.
    #[must_use]
    pub const fn from_words(words: [u32; Self::WORDS]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t] = words;
        Self {
            sender: Price { packet: a, byte: b, burst: c },
            source: Price { packet: d, byte: e, burst: f },
            destination: Price { packet: g, byte: h, burst: i },
            total: Price { packet: j, byte: k, burst: l },
            handshakes_sent: RatePrice { one: m, burst: n },
            handshakes_received: RatePrice { one: o, burst: p },
            handshakes_of_source: RatePrice { one: q, burst: r },
            handshakes: RatePrice { one: s, burst: t },
        }
    }
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
    /// The sender is faster than its budget, or than its subject's.
    OverBudget,
    /// All sessions of the sender's source together send more than they may.
    SourceOverBudget,
    /// All together send this destination more than it gets.
    DestinationOverBudget,
    /// The sender begins or answers more handshakes than it may, or its subject.
    HandshakesOverBudget,
    /// All sessions of the sender's source together begin or answer more than they may.
    SourceHandshakesOverBudget,
    /// All together send this destination more handshakes than it gets.
    DestinationHandshakesOverBudget,
    /// The relay forwards as much as it may.
    TotalOverBudget,
    /// The relay forwards as many handshakes as it may.
    TotalHandshakesOverBudget,
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
    /// Dropped: [`DropReason::SourceOverBudget`].
    pub source_over_budget: u64,
    /// Dropped: [`DropReason::DestinationOverBudget`].
    pub destination_over_budget: u64,
    /// Dropped: [`DropReason::HandshakesOverBudget`].
    pub handshakes_over_budget: u64,
    /// Dropped: [`DropReason::SourceHandshakesOverBudget`].
    pub source_handshakes_over_budget: u64,
    /// Dropped: [`DropReason::DestinationHandshakesOverBudget`].
    pub destination_handshakes_over_budget: u64,
    /// Dropped: [`DropReason::TotalOverBudget`].
    pub total_over_budget: u64,
    /// Dropped: [`DropReason::TotalHandshakesOverBudget`].
    pub total_handshakes_over_budget: u64,
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
            Verdict::Drop(reason) => *self.of(reason) += 1,
        }
    }

    /// All datagrams dropped, for whatever reason.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.unbound
            + self.malformed
            + self.over_budget
            + self.source_over_budget
            + self.destination_over_budget
            + self.handshakes_over_budget
            + self.source_handshakes_over_budget
            + self.destination_handshakes_over_budget
            + self.total_over_budget
            + self.total_handshakes_over_budget
            + self.no_destination
            + self.to_itself
    }

    const fn of(&mut self, reason: DropReason) -> &mut u64 {
        match reason {
            DropReason::Malformed => &mut self.malformed,
            DropReason::OverBudget => &mut self.over_budget,
            DropReason::SourceOverBudget => &mut self.source_over_budget,
            DropReason::DestinationOverBudget => &mut self.destination_over_budget,
            DropReason::HandshakesOverBudget => &mut self.handshakes_over_budget,
            DropReason::SourceHandshakesOverBudget => &mut self.source_handshakes_over_budget,
            DropReason::DestinationHandshakesOverBudget => {
                &mut self.destination_handshakes_over_budget
            }
            DropReason::TotalOverBudget => &mut self.total_over_budget,
            DropReason::TotalHandshakesOverBudget => &mut self.total_handshakes_over_budget,
            DropReason::NoDestination => &mut self.no_destination,
            DropReason::ToItself => &mut self.to_itself,
        }
    }
}

/// wire.md §1: what is below is between a peer and its relay.
const FIRST_FORWARDED: u8 = 0x40;
/// What is forwarded and below is of a handshake.
const FIRST_DATA: u8 = 0x80;
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
        let hot: Vec<_> = (0..limits.hot_entries()).map(|_| HotEntry::new()).collect();
        let index: Vec<_> = (0..limits.index_buckets()).map(|_| Default::default()).collect();
        let prices = Prices::of(&RelayConfig::default());
        let forwarding = Forwarding { key: HashKey::from_bytes([1; 16]), prices };
        let forwarder = Forwarder::new(Tables { hot: &hot, index: &index }, forwarding);
        let line = |first: u8, slot: u32| {
            let mut datagram = [first; 28];
            datagram[1..8].copy_from_slice(&SessionId::new(slot, 7).to_bytes());
            forwarder.destination_line(&datagram)
        };
        assert_eq!(line(0x80, 299), Some(core::ptr::from_ref(&hot[299]).cast()));
        let past = limits.hot_entries() as u32;
        assert_eq!([line(0x80, past), line(0x10, 299)], [None, None], "no such slot; control");
        assert_eq!(forwarder.destination_line(&[0x80; 3]), None);
        let within = index.as_ptr_range();
        let from = SocketAddr::from(([192, 0, 2, 1], 9));
        assert!((1..=2).contains(&forwarder.sender_lines(from).count()));
        assert!(forwarder.sender_lines(from).all(|line| within.contains(&line.cast())));
    }
}
