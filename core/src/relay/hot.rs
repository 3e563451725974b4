//! The hot table: what forwarding one datagram reads and writes, 64 bytes a session.

use super::address::Address;
use super::budget::Budget;
use super::sync::{AtomicU32, Ordering, fence, spin_loop};

/// One session as the forwarders see it: one cache line of 32-bit words, plain enough to be shared
/// with an in-kernel path.
///
/// Words: 0 sequence (odd while the owner writes), 1 tag, 2–5 address in network order, 6
/// `family << 16 | port` (the session is live only if the family is 4 or 6), 7 last seen (ms, wrapping), 8 packet budget
/// (thousandths), 9 byte budget, 10–15 reserved. Words 1–6 are guarded by the sequence word and
/// written by the owner only; words 7–9 are the forwarders' own.
#[cfg_attr(loom, derive(Default))]
#[repr(C, align(64))]
pub struct HotEntry {
    sequence: AtomicU32,
    tag: AtomicU32,
    address: [AtomicU32; 4],
    family_port: AtomicU32,
    last_seen: AtomicU32,
    packets: AtomicU32,
    bytes: AtomicU32,
    reserved: [AtomicU32; 6],
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
            last_seen: AtomicU32::new(0),
            packets: AtomicU32::new(0),
            bytes: AtomicU32::new(0),
            reserved: [const { AtomicU32::new(0) }; 6],
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

    /// Makes `tag` at `address` live with a full budget. Only the owner may call this.
    pub(crate) fn publish(&self, now_ms: u32, tag: u32, address: Address, budget: &Budget) {
        self.packets.store(budget.packets_full(), Ordering::Relaxed);
        self.bytes.store(budget.bytes_full(), Ordering::Relaxed);
        self.last_seen.store(now_ms, Ordering::Relaxed);
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

    /// Takes one packet of `length` bytes out of the sender's budget; `false` if it has none.
    ///
    /// Loads and stores are relaxed and not one operation: two workers that serve one sender at
    /// the same moment may both spend the same tokens. A sender's datagrams come to one worker
    /// (one flow, one queue), so this is rare; the error stays below 10 % of the rate.
    pub(crate) fn charge(&self, now_ms: u32, length: u32, budget: &Budget) -> bool {
        let mut packets = self.packets.load(Ordering::Relaxed);
        let mut bytes = self.bytes.load(Ordering::Relaxed);
        let elapsed = elapsed_ms(now_ms, self.last_seen.load(Ordering::Relaxed));
        if elapsed > 0 {
            (packets, bytes) = budget.refill(packets, bytes, elapsed);
            self.last_seen.store(now_ms, Ordering::Relaxed);
        }
        let left = budget.take(packets, bytes, length);
        let (packets_left, bytes_left) = left.unwrap_or((packets, bytes));
        self.packets.store(packets_left, Ordering::Relaxed);
        self.bytes.store(bytes_left, Ordering::Relaxed);
        left.is_some()
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

/// Milliseconds from `last` to `now` on a wrapping clock; 0 if another worker's clock was ahead.
fn elapsed_ms(now: u32, last: u32) -> u32 {
    let elapsed = now.wrapping_sub(last);
    if elapsed > u32::MAX / 2 { 0 } else { elapsed }
}

/// Makes the family one that nobody has.
const ENDED: u32 = 1 << 31;
/// Under loom every try multiplies what there is to explore.
const READ_TRIES: u32 = if cfg!(loom) { 2 } else { 64 };

#[cfg(test)]
mod tests {
    use core::net::SocketAddr;
    use core::sync::atomic::AtomicBool;
    use std::thread;

    use super::*;

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
        entry.publish(0, 9, home.into(), &Budget::default());
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
        let entry = HotEntry::new();
        entry.publish(u32::MAX - 5, 1, address(1), &budget);
        let now = u32::MAX - 5;
        assert_eq!((0..20).filter(|_| entry.charge(now, 10, &budget)).count(), 10, "packet burst");
        // The clock wraps between the two; 20 ms refill two packets and 200 bytes.
        let later = now.wrapping_add(20);
        assert!(!entry.charge(now.wrapping_sub(7), 10, &budget), "an older clock refills nothing");
        assert!(entry.charge(later, 100, &budget));
        assert!(entry.charge(later, 100, &budget));
        assert!(!entry.charge(later, 1, &budget));
        // A second fills no further than the burst: 1000 bytes.
        assert!(!entry.charge(later.wrapping_add(1000), 1001, &budget));
        assert!(entry.charge(later.wrapping_add(1000), 1000, &budget));
    }

    #[test]
    fn readers_never_see_a_half_written_entry() {
        let entry = HotEntry::new();
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                for n in 1..200_000u32 {
                    entry.publish(0, n, address(n), &Budget::default());
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
