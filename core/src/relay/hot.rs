//! The hot table: what forwarding one datagram reads and writes, 64 bytes a session.

use super::address::Address;
use super::budget::{Price, RatePrice, freshen, take, ticks};
use super::sync::{AtomicU32, Ordering, fence, spin_loop};
use crate::time::Instant;

/// One session as the forwarders see it: one cache line of 32-bit words, plain enough to be shared
/// with an in-kernel path.
///
/// | word | what | who writes |
/// | --- | --- | --- |
/// | 0 | sequence, odd while the owner writes words 1–6 | owner |
/// | 1 | tag | owner |
/// | 2–5 | address in network order | owner |
/// | 6 | `family << 16 \| port`; the session is live only if the family is 4 or 6 | owner |
/// | 7, 8 | what it sends: packets, bytes | forwarders |
/// | 9, 10 | what is sent to it, by whomever: packets, bytes | forwarders |
/// | 11, 12 | handshake datagrams from it, to it | forwarders in user space |
/// | 13, 14 | price of a packet, of 1024 bytes that it sends; 0: the relay's | owner |
/// | 15 | who pays for what it sends: see below | owner |
///
/// Words 7–12 are buckets, and what they count by is a clock: see `budget.rs`. Each of the words
/// 7–15 stands by itself, outside the sequence lock.
///
/// Word 15 is 0 where a session pays with its own words 7, 8, 13 and 14 and nobody else does; 1 +
/// a slot where the session there pays instead; and the top bit with a slot where it pays itself, and
/// the account there besides.
///
/// The table's last entries are accounts and no session's: of sources, and at the end of all
/// together. Of an account words 7, 8 and 11 are the budget, word 13 says when the owner freshened
/// it last, in seconds, and word 15 how many sessions name it.
#[cfg_attr(loom, derive(Default))]
#[repr(C, align(64))]
pub struct HotEntry {
    sequence: AtomicU32,
    tag: AtomicU32,
    address: [AtomicU32; 4],
    family_port: AtomicU32,
    sent: Buckets,
    received: Buckets,
    handshakes_sent: AtomicU32,
    handshakes_received: AtomicU32,
    packet_price: AtomicU32,
    byte_price: AtomicU32,
    payer: AtomicU32,
}

/// Who pays for what a session sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Payer {
    /// The session, and nobody else.
    Itself,
    /// The session in this slot: one of the same subject.
    Instead(u32),
    /// The session, and the account in this slot: its source's.
    Besides(u32),
}

/// A budget's two buckets.
#[cfg_attr(loom, derive(Default))]
#[repr(C)]
struct Buckets {
    packets: AtomicU32,
    bytes: AtomicU32,
}

impl HotEntry {
    /// An entry without a session.
    #[cfg(not(loom))]
    #[must_use]
    pub const fn new() -> Self {
        Self {
            sequence: AtomicU32::new(0),
            tag: AtomicU32::new(0),
            address: [const { AtomicU32::new(0) }; 4],
            family_port: AtomicU32::new(0),
            sent: Buckets { packets: AtomicU32::new(0), bytes: AtomicU32::new(0) },
            received: Buckets { packets: AtomicU32::new(0), bytes: AtomicU32::new(0) },
            handshakes_sent: AtomicU32::new(0),
            handshakes_received: AtomicU32::new(0),
            packet_price: AtomicU32::new(0),
            byte_price: AtomicU32::new(0),
            payer: AtomicU32::new(0),
        }
    }

    /// An entry without a session; loom's atomics cannot be made in a constant.
    #[cfg(loom)]
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Tag and address of the live session here, read whole; `None` if there is none, or if the
    /// owner kept writing through every try (it writes a few words at a time, so that is a
    /// stalled owner, and one lost datagram is the cheaper answer).
    pub(crate) fn live(&self) -> Option<(u32, Address)> {
        for _ in 0..READ_TRIES {
            let before = self.sequence.load(Ordering::Acquire);
            if before & 1 == 1 {
                spin_loop();
                continue;
            }
            let (tag, address) = self.latest();
            // The fence keeps the loads above before the second look at the sequence word.
            fence(Ordering::Acquire);
            if self.sequence.load(Ordering::Relaxed) == before {
                return address.is_live().then_some((tag, address));
            }
        }
        None
    }

    /// Tag and address of the session that ended here last. Only for the owner.
    pub(crate) fn ended(&self) -> (u32, Address) {
        let (tag, address) = self.latest();
        (tag, Address { family_port: address.family_port & !ENDED, ..address })
    }

    /// Makes `tag` at `address` live with full buckets, on its own account and at the relay's
    /// prices. Only the owner may call this.
    pub(crate) fn publish(&self, now: u32, tag: u32, address: Address) {
        for bucket in self.buckets() {
            bucket.store(now, Ordering::Relaxed);
        }
        for word in [&self.packet_price, &self.byte_price, &self.payer] {
            word.store(0, Ordering::Relaxed);
        }
        self.write(|| {
            self.tag.store(tag, Ordering::Relaxed);
            for (word, value) in self.address.iter().zip(address.words) {
                word.store(value, Ordering::Relaxed);
            }
            self.family_port.store(address.family_port, Ordering::Relaxed);
        });
    }

    /// Moves the live session to `address`; its budget stays what it is. Only for the owner.
    pub(crate) fn move_to(&self, address: Address) {
        self.write(|| {
            for (word, value) in self.address.iter().zip(address.words) {
                word.store(value, Ordering::Relaxed);
            }
            self.family_port.store(address.family_port, Ordering::Relaxed);
        });
    }

    /// Ends the session here; tag and address stay, for the owner's farewell. Only for the owner.
    pub(crate) fn retire(&self) {
        let ended = self.family_port.load(Ordering::Relaxed) | ENDED;
        self.write(|| self.family_port.store(ended, Ordering::Relaxed));
    }

    /// Keeps buckets that nobody used for long from being taken for ones far ahead, when the clock
    /// has gone round. Only for the owner, at least every four minutes.
    pub(crate) fn freshen(&self, now: u32) {
        for bucket in self.buckets() {
            let until = bucket.load(Ordering::Relaxed);
            let fresh = freshen(now, until);
            if fresh != until {
                bucket.store(fresh, Ordering::Relaxed);
            }
        }
    }

    /// As [`freshen`](Self::freshen), of an account, which may have had no user for any time: after
    /// four minutes it is full. Only for the owner.
    pub(crate) fn freshen_account(&self, now: Instant) {
        let (seconds, now) = ((now.as_micros() / 1_000_000) as u32, ticks(now));
        // An account has no price of its own, and notes here when that was done last.
        let before = self.packet_price.load(Ordering::Relaxed);
        self.packet_price.store(seconds, Ordering::Relaxed);
        if seconds.wrapping_sub(before) < ACCOUNT_IDLE_S {
            self.freshen(now);
            return;
        }
        for bucket in self.buckets() {
            bucket.store(now, Ordering::Relaxed);
        }
    }

    /// What this entry's packets and bytes cost; 0: the relay's prices. Only for the owner.
    pub(crate) fn set_prices(&self, packet: u32, byte: u32) {
        self.packet_price.store(packet, Ordering::Relaxed);
        self.byte_price.store(byte, Ordering::Relaxed);
    }

    /// The prices that were [set](Self::set_prices).
    pub(crate) fn prices(&self) -> [u32; 2] {
        [&self.packet_price, &self.byte_price].map(|price| price.load(Ordering::Relaxed))
    }

    /// Who pays for what this entry sends.
    pub(crate) fn payer(&self) -> Payer {
        match self.payer.load(Ordering::Relaxed) {
            0 => Payer::Itself,
            word if word & ACCOUNT == 0 => Payer::Instead(word - 1),
            word => Payer::Besides(word & !ACCOUNT),
        }
    }

    /// Says who does. Only for the owner.
    pub(crate) fn set_payer(&self, payer: Payer) {
        let word = match payer {
            Payer::Itself => 0,
            Payer::Instead(slot) => slot.wrapping_add(1),
            Payer::Besides(slot) => slot | ACCOUNT,
        };
        self.payer.store(word, Ordering::Relaxed);
    }

    /// How many sessions name this account. Only for the owner.
    pub(crate) fn users(&self) -> u32 {
        self.payer.load(Ordering::Relaxed)
    }

    /// That so many do. Only for the owner.
    pub(crate) fn set_users(&self, users: u32) {
        self.payer.store(users, Ordering::Relaxed);
    }

    /// Takes one packet of `length` bytes out of what this entry may send: at its own price, or at
    /// the relay's, and never below its source's. `false` if that is too much.
    pub(crate) fn charge_sent(
        &self,
        now: u32,
        length: u32,
        relays: &Price,
        source: &Price,
    ) -> bool {
        let own = |word: &AtomicU32, relays: u32, source: u32| {
            let own = word.load(Ordering::Relaxed);
            if own == 0 { relays } else { own }.max(source)
        };
        let price = Price {
            packet: own(&self.packet_price, relays.packet, source.packet),
            byte: own(&self.byte_price, relays.byte, source.byte),
            burst: relays.burst,
        };
        self.sent.charge(now, length, &price)
    }

    /// Takes one packet of `length` bytes out of this account.
    pub(crate) fn charge_account(&self, now: u32, length: u32, price: &Price) -> bool {
        self.sent.charge(now, length, price)
    }

    /// Takes one packet of `length` bytes out of what may be sent to this entry.
    pub(crate) fn charge_received(&self, now: u32, length: u32, price: &Price) -> bool {
        self.received.charge(now, length, price)
    }

    /// Takes one out of the handshake datagrams that this entry may send.
    pub(crate) fn charge_handshake_sent(&self, now: u32, price: RatePrice) -> bool {
        charge_one(&self.handshakes_sent, now, price)
    }

    /// Takes one out of the handshake datagrams that may be sent to this entry.
    pub(crate) fn charge_handshake_received(&self, now: u32, price: RatePrice) -> bool {
        charge_one(&self.handshakes_received, now, price)
    }

    const fn buckets(&self) -> [&AtomicU32; 6] {
        [
            &self.sent.packets,
            &self.sent.bytes,
            &self.received.packets,
            &self.received.bytes,
            &self.handshakes_sent,
            &self.handshakes_received,
        ]
    }

    fn latest(&self) -> (u32, Address) {
        let [a, b, c, d] = &self.address;
        let address = Address {
            words: [a, b, c, d].map(|word| word.load(Ordering::Relaxed)),
            family_port: self.family_port.load(Ordering::Relaxed),
        };
        (self.tag.load(Ordering::Relaxed), address)
    }

    /// One writer's turn of the sequence lock.
    fn write(&self, change: impl FnOnce()) {
        let sequence = self.sequence.load(Ordering::Relaxed);
        self.sequence.store(sequence.wrapping_add(1), Ordering::Relaxed);
        // The fence keeps the change's stores after the odd sequence number.
        fence(Ordering::Release);
        change();
        self.sequence.store(sequence.wrapping_add(2), Ordering::Release);
    }
}

#[cfg(not(loom))]
impl Default for HotEntry {
    fn default() -> Self {
        Self::new()
    }
}

impl Buckets {
    /// Takes one packet of `length` bytes out of both buckets, or nothing.
    ///
    /// While there is plenty plain stores do: two workers at the same moment may both spend the same,
    /// and it is the bucket that is a little fuller for it. In the half before the limit each spends
    /// its own, or together they would let through a multiple of it.
    fn charge(&self, now: u32, length: u32, price: &Price) -> bool {
        let (packet, byte) = price.of_packet(length);
        let packets = take(now, self.packets.load(Ordering::Relaxed), packet, price.burst);
        let bytes = take(now, self.bytes.load(Ordering::Relaxed), byte, price.burst);
        let (Some(packets), Some(bytes)) = (packets, bytes) else { return false };
        if packets.wrapping_sub(now).max(bytes.wrapping_sub(now)) > price.burst / 2 {
            // Only who loses a race for the last of the bytes has spent a packet for nothing.
            return contend(&self.packets, now, packet, price.burst)
                && contend(&self.bytes, now, byte, price.burst);
        }
        self.packets.store(packets, Ordering::Relaxed);
        self.bytes.store(bytes, Ordering::Relaxed);
        true
    }
}

fn charge_one(bucket: &AtomicU32, now: u32, price: RatePrice) -> bool {
    contend(bucket, now, price.one, price.burst)
}

/// Takes `price` out of a bucket that other workers take from, too; `false` if that is too much.
#[cold]
fn contend(bucket: &AtomicU32, now: u32, price: u32, burst: u32) -> bool {
    let mut until = bucket.load(Ordering::Relaxed);
    for _ in 0..TAKE_TRIES {
        let Some(after) = take(now, until, price, burst) else { return false };
        match bucket.compare_exchange(until, after, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => return true,
            Err(found) => until = found,
        }
    }
    false
}

/// Of word 15: an account pays, too.
const ACCOUNT: u32 = 1 << 31;
/// Makes the family one that nobody has.
const ENDED: u32 = 1 << 31;
/// Less than the clock takes to go round, by more than the longest burst.
const ACCOUNT_IDLE_S: u32 = 240;
/// Under loom every try multiplies what there is to explore.
const READ_TRIES: u32 = if cfg!(loom) { 2 } else { 64 };
/// More workers than that do not meet in the same nanoseconds.
const TAKE_TRIES: u32 = if cfg!(loom) { 2 } else { 16 };

#[cfg(test)]
mod tests {
    use core::net::SocketAddr;
    use core::sync::atomic::AtomicBool;
    use std::thread;

    use super::*;
    use crate::relay::Budget;

    /// In ticks.
    const MS: u32 = 16_000;

    fn address(n: u32) -> Address {
        Address { words: [n; 4], family_port: 4 << 16 | (n & 0xffff) }
    }

    #[test]
    fn one_cache_line() {
        assert_eq!(size_of::<HotEntry>(), 64);
        assert_eq!(align_of::<HotEntry>(), 64);
    }

    #[test]
    fn lives_moves_and_ends() {
        let entry = HotEntry::new();
        let home: SocketAddr = "192.0.2.1:7".parse().unwrap();
        assert_eq!(entry.live(), None);
        entry.publish(0, 9, home.into());
        assert_eq!(entry.live(), Some((9, home.into())));
        entry.move_to(address(3));
        assert_eq!(entry.live(), Some((9, address(3))));
        entry.retire();
        assert_eq!(entry.live(), None);
        assert_eq!(entry.ended(), (9, address(3)));
    }

    #[test]
    fn budget_limits_packets_and_bytes() {
        let budget = Budget { packets_per_second: 100, bytes_per_second: 10_000, burst_ms: 100 };
        let price = Price::of(&budget);
        let entry = HotEntry::new();
        let now = u32::MAX - 5;
        entry.publish(now, 1, address(1));
        let charge = |now, length| entry.charge_sent(now, length, &price, &Price::FREE);
        assert_eq!((0..20).filter(|_| charge(now, 10)).count(), 10, "packet burst");
        // The clock wraps between the two; 20 ms are two packets and 200 bytes.
        let later = now.wrapping_add(20 * MS);
        assert!(!charge(now.wrapping_sub(7), 10), "an older clock gives nothing");
        assert!(charge(later, 100));
        assert!(charge(later, 100));
        assert!(!charge(later, 1));
        // A second fills no further than the burst: 1000 bytes.
        assert!(!charge(later.wrapping_add(1000 * MS), 1001));
        assert!(charge(later.wrapping_add(1000 * MS), 1000));
    }

    #[test]
    fn who_pays_is_one_word() {
        let entry = HotEntry::new();
        let most = crate::id::SessionId::SLOTS;
        for payer in [Payer::Itself, Payer::Instead(0), Payer::Besides(0)]
            .into_iter()
            .chain([Payer::Instead(most), Payer::Besides(most + 5000)])
        {
            entry.set_payer(payer);
            assert_eq!(entry.payer(), payer);
        }
        entry.publish(0, 1, address(1));
        assert_eq!(entry.payer(), Payer::Itself);
    }

    #[test]
    fn nobody_pays_less_than_its_source_does() {
        let [dear, cheap] = [16, 4].map(|packet| Price { packet, byte: 1, burst: 64 });
        for (own, source, passed) in [(0, cheap, 4), (4, dear, 4), (4, cheap, 16)] {
            let entry = HotEntry::new();
            entry.publish(0, 1, address(1));
            entry.set_prices(own, 0);
            let charge = |_: &u32| entry.charge_sent(0, 28, &dear, &source);
            assert_eq!((0..30).filter(charge).count(), passed);
        }
    }

    #[test]
    fn each_direction_and_kind_has_buckets_of_its_own() {
        let one = Price { packet: 16, byte: 1, burst: 16 };
        let handshake = RatePrice { one: 16, burst: 16 };
        let entry = HotEntry::new();
        entry.publish(7, 1, address(1));
        for _ in 0..2 {
            let first = entry.sent.packets.load(Ordering::Relaxed) == 7;
            assert_eq!(entry.charge_sent(7, 100, &one, &Price::FREE), first);
            assert_eq!(entry.charge_received(7, 100, &one), first);
            assert_eq!(entry.charge_handshake_sent(7, handshake), first);
            assert_eq!(entry.charge_handshake_received(7, handshake), first);
        }
    }

    #[test]
    fn words_are_where_the_table_says() {
        let at = |word: usize| word * 4;
        assert_eq!(core::mem::offset_of!(HotEntry, tag), at(1));
        assert_eq!(core::mem::offset_of!(HotEntry, address), at(2));
        assert_eq!(core::mem::offset_of!(HotEntry, family_port), at(6));
        assert_eq!(core::mem::offset_of!(HotEntry, sent), at(7));
        assert_eq!(core::mem::offset_of!(HotEntry, received), at(9));
        assert_eq!(core::mem::offset_of!(HotEntry, handshakes_sent), at(11));
        assert_eq!(core::mem::offset_of!(HotEntry, handshakes_received), at(12));
        assert_eq!(core::mem::offset_of!(HotEntry, packet_price), at(13));
        assert_eq!(core::mem::offset_of!(HotEntry, byte_price), at(14));
        assert_eq!(core::mem::offset_of!(HotEntry, payer), at(15));
        assert_eq!(core::mem::offset_of!(Buckets, bytes), at(1));
    }

    #[test]
    fn readers_never_see_a_half_written_entry() {
        let entry = HotEntry::new();
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                for n in 1..200_000u32 {
                    entry.publish(0, n, address(n));
                }
                stop.store(true, Ordering::Relaxed);
            });
            while !stop.load(Ordering::Relaxed) {
                if let Some((tag, seen)) = entry.live() {
                    assert_eq!(seen, address(tag));
                }
            }
        });
    }
}
