//! The relay's only address index: source address → slot.

use super::address::Address;
use super::hash::HashKey;
use super::hot::HotEntry;
use super::sync::{AtomicU32, Ordering};

/// Eight places for slots whose addresses hash here: one cache line, one look-up for an in-kernel
/// path. Every address has two buckets and may stand in either.
#[cfg_attr(loom, derive(Default))]
#[repr(C, align(64))]
pub struct IndexBucket {
    entries: [IndexEntry; BUCKET],
}

/// One place: the address's fingerprint and its slot + 1 (0: free).
///
/// The two words are not read together; that is why a hit counts only once the slot's hot entry
/// shows the address.
#[cfg_attr(loom, derive(Default))]
#[repr(C)]
pub struct IndexEntry {
    fingerprint: AtomicU32,
    slot: AtomicU32,
}

impl IndexBucket {
    /// An empty bucket.
    #[cfg(not(loom))]
    #[must_use]
    pub const fn new() -> Self {
        Self {
            entries: [const { IndexEntry { fingerprint: AtomicU32::new(0), slot: AtomicU32::new(0) } };
                BUCKET],
        }
    }

    /// An empty bucket; loom's atomics cannot be made in a constant.
    #[cfg(loom)]
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

#[cfg(not(loom))]
impl Default for IndexBucket {
    fn default() -> Self {
        Self::new()
    }
}

/// The index over its lent buckets; copies share them.
#[derive(Clone, Copy)]
pub(crate) struct AddressIndex<'m> {
    pub(crate) buckets: &'m [IndexBucket],
    pub(crate) key: HashKey,
}

impl<'m> AddressIndex<'m> {
    /// The lines in which `address` may stand.
    pub(crate) fn lines(&self, address: Address) -> impl Iterator<Item = *const u8> + use<'m> {
        self.place(address).buckets(self.buckets).map(|bucket| core::ptr::from_ref(bucket).cast())
    }

    /// The slot of the live session at `address`, verified against its hot entry.
    pub(crate) fn find<'h>(
        &self,
        hot: &'h [HotEntry],
        address: Address,
    ) -> Option<(u32, &'h HotEntry)> {
        let place = self.place(address);
        place.buckets(self.buckets).find_map(|bucket| {
            bucket.entries.iter().find_map(|entry| {
                let slot = entry.slot.load(Ordering::Acquire).checked_sub(1)?;
                if entry.fingerprint.load(Ordering::Relaxed) != place.fingerprint {
                    return None;
                }
                let hot = hot.get(slot as usize)?;
                let (_, found) = hot.live()?;
                (found == address).then_some((slot, hot))
            })
        })
    }

    /// Enters `slot` under `address`, in the emptier of its two buckets; `false` if both are full.
    /// Only for the owner, who enters an address once.
    #[must_use]
    pub(crate) fn insert(&self, address: Address, slot: u32) -> bool {
        let place = self.place(address);
        let emptier = place.buckets(self.buckets).max_by_key(|bucket| bucket.free_places());
        let free = emptier.and_then(|bucket| bucket.entries.iter().find(|entry| entry.is_free()));
        let Some(entry) = free else { return false };
        entry.fingerprint.store(place.fingerprint, Ordering::Relaxed);
        entry.slot.store(slot.wrapping_add(1), Ordering::Release);
        true
    }

    /// Removes `slot` from under `address`. Only for the owner.
    pub(crate) fn remove(&self, address: Address, slot: u32) {
        let place = self.place(address);
        for entry in place.buckets(self.buckets).flat_map(|bucket| &bucket.entries) {
            let here = entry.fingerprint.load(Ordering::Relaxed) == place.fingerprint
                && entry.slot.load(Ordering::Relaxed) == slot.wrapping_add(1);
            if here {
                entry.slot.store(0, Ordering::Release);
                return;
            }
        }
    }

    fn place(&self, address: Address) -> Place {
        let hash = self.key.hash(address);
        let high = (hash >> 32) as u32;
        Place {
            first: scale(hash as u32, self.buckets.len()),
            second: scale(high.wrapping_mul(SECOND_BUCKET), self.buckets.len()),
            fingerprint: high,
        }
    }
}

impl IndexBucket {
    /// Forgets its entries. Only for the owner.
    pub(crate) fn clear(&self) {
        for entry in &self.entries {
            entry.slot.store(0, Ordering::Release);
        }
    }

    fn free_places(&self) -> usize {
        self.entries.iter().filter(|entry| entry.is_free()).count()
    }
}

impl IndexEntry {
    fn is_free(&self) -> bool {
        self.slot.load(Ordering::Relaxed) == 0
    }
}

/// Where an address may stand.
struct Place {
    first: usize,
    second: usize,
    fingerprint: u32,
}

impl Place {
    /// The one or two buckets of this place.
    fn buckets<'m>(
        &self,
        buckets: &'m [IndexBucket],
    ) -> impl Iterator<Item = &'m IndexBucket> + use<'m> {
        let second = if self.second == self.first { None } else { buckets.get(self.second) };
        buckets.get(self.first).into_iter().chain(second)
    }
}

/// Maps a 32-bit hash evenly onto `0..length` without a division.
pub(crate) fn scale(hash: u32, length: usize) -> usize {
    ((u64::from(hash) * length as u64) >> 32) as usize
}

/// Places in a bucket.
pub(crate) const BUCKET: usize = 8;
/// An odd number that spreads the fingerprint's bits over the second bucket's number.
const SECOND_BUCKET: u32 = 0x9e37_79b1;

#[cfg(test)]
mod tests {
    use core::net::SocketAddr;
    use std::collections::HashMap;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::relay::RelayLimits;

    /// Few enough that steps meet the same one again, of both families.
    fn address(n: u16) -> Address {
        let v6 = [0x2001, 0xdb8, 0, n, 0, 0, 0, 1];
        let either = [SocketAddr::from(([192, 0, 2, n as u8], 9)), SocketAddr::from((v6, 9))];
        either[usize::from(n % 2)].into()
    }

    /// Worked out by another implementation; the C program meets them in a test of runtime-linux.
    #[test]
    fn places_are_the_vectors() {
        let vectors = include_str!("../../../vectors/relay_index.json");
        // One field a line; a reader of JSON is not at hand here.
        let field = |object: &str, name: &str| -> std::string::String {
            let (_, rest) = object.split_once(&std::format!("\"{name}\": ")).unwrap();
            rest.lines().next().unwrap().trim_matches(['"', ',']).into()
        };
        let buckets: usize = field(vectors, "buckets").parse().unwrap();
        let buckets: Vec<_> = (0..buckets).map(|_| IndexBucket::new()).collect();
        let key = HashKey::from_bytes(core::array::from_fn(|i| i as u8));
        assert_eq!(field(vectors, "key"), "000102030405060708090a0b0c0d0e0f");
        let index = AddressIndex { buckets: &buckets, key };
        assert_eq!(vectors.split('{').skip(2).count(), 16);
        for vector in vectors.split('{').skip(2) {
            let address: SocketAddr = field(vector, "address").parse().unwrap();
            assert_eq!(field(vector, "hash"), std::format!("{:016x}", key.hash(address.into())));
            let place = index.place(address.into());
            assert_eq!(field(vector, "fingerprint"), std::format!("{:08x}", place.fingerprint));
            assert_eq!(field(vector, "first"), std::format!("{}", place.first));
            assert_eq!(field(vector, "second"), std::format!("{}", place.second));
        }
    }

    proptest! {
        #[test]
        fn agrees_with_a_map(steps in prop::collection::vec((0u8..3, 0u16..200, 0u32..64), 0..600)) {
            let hot: Vec<HotEntry> = (0..64).map(|_| HotEntry::new()).collect();
            let buckets: Vec<IndexBucket> = (0..16).map(|_| IndexBucket::new()).collect();
            let index = AddressIndex { buckets: &buckets, key: HashKey::from_bytes([3; 16]) };
            let mut model: HashMap<u16, u32> = HashMap::new();
            for (step, n, slot) in steps {
                let held_by = model.iter().find(|&(_, &s)| s == slot).map(|(&n, _)| n);
                match (step, held_by) {
                    (0, None) if !model.contains_key(&n) => {
                        prop_assert!(index.insert(address(n), slot));
                        hot[slot as usize].publish(0, 1, address(n));
                        model.insert(n, slot);
                    }
                    (1, Some(held)) => {
                        hot[slot as usize].retire();
                        index.remove(address(held), slot);
                        model.remove(&held);
                    }
                    (2, Some(held)) if !model.contains_key(&n) => {
                        prop_assert!(index.insert(address(n), slot));
                        hot[slot as usize].move_to(address(n));
                        index.remove(address(held), slot);
                        model.remove(&held);
                        model.insert(n, slot);
                    }
                    _ => {}
                }
                let found = index.find(&hot, address(n)).map(|(slot, _)| slot);
                prop_assert_eq!(found, model.get(&n).copied());
            }
            for n in 0..200 {
                let found = index.find(&hot, address(n)).map(|(slot, _)| slot);
                prop_assert_eq!(found, model.get(&n).copied());
            }
        }
    }

    #[test]
    fn holds_as_many_addresses_as_there_are_sessions() {
        let sessions = 20_000;
        let limits = RelayLimits { sessions, pending: 1 };
        let buckets: Vec<IndexBucket> =
            (0..limits.index_buckets()).map(|_| IndexBucket::new()).collect();
        let index = AddressIndex { buckets: &buckets, key: HashKey::from_bytes([3; 16]) };
        for slot in 0..sessions {
            let address = SocketAddr::from(([10, 0, (slot >> 8) as u8, slot as u8], 4433));
            assert!(index.insert(address.into(), slot), "slot {slot}");
        }
    }
}
