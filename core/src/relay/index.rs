//! The relay's only address index: source address → slot.

use core::sync::atomic::{AtomicU32, Ordering};

use super::address::Address;
use super::hash::HashKey;
use super::hot::HotEntry;

/// Eight places for slots whose addresses hash here: one cache line, one look-up for an in-kernel
/// path. Every address has two buckets and may stand in either.
#[repr(C, align(64))]
pub struct IndexBucket {
    entries: [IndexEntry; BUCKET],
}

/// One place: the address's fingerprint and its slot + 1 (0: free).
///
/// The two words are not read together; that is why a hit counts only once the slot's hot entry
/// shows the address.
#[repr(C)]
pub struct IndexEntry {
    fingerprint: AtomicU32,
    slot: AtomicU32,
}

impl IndexBucket {
    /// An empty bucket.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            entries: [const { IndexEntry { fingerprint: AtomicU32::new(0), slot: AtomicU32::new(0) } };
                BUCKET],
        }
    }
}

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

impl AddressIndex<'_> {
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
