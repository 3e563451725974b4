//! Pools: lent slices with free lists through `u32` links, and the accounts that share them fairly.
//!
//! A pool owns no memory and touches an item for the first time when it hands it out, so that a
//! large pool costs nothing before it is used.

/// What can live in a [`Pool`]: it has room for one link while nobody else uses it.
pub trait Item {
    /// The link last set.
    fn link(&self) -> u32;
    /// Replaces the link.
    fn set_link(&mut self, link: u32);
}

/// The state of a pool's free items, kept by the owner of the slice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FreeList {
    head: u32,
    /// Items from here on were never handed out.
    fresh: u32,
    taken: u32,
}

impl FreeList {
    /// All items free.
    #[must_use]
    pub const fn new() -> Self {
        Self { head: NONE, fresh: 0, taken: 0 }
    }

    /// Items handed out and not yet back.
    #[must_use]
    pub const fn taken(&self) -> u32 {
        self.taken
    }
}

impl Default for FreeList {
    fn default() -> Self {
        Self::new()
    }
}

/// A lent slice and its free list. Indices handed out are valid until they are given back.
#[derive(Debug)]
pub struct Pool<'a, T> {
    items: &'a mut [T],
    free: &'a mut FreeList,
}

impl<'a, T: Item> Pool<'a, T> {
    /// The pool over `items`; `free` must have been used with no other slice.
    pub const fn new(items: &'a mut [T], free: &'a mut FreeList) -> Self {
        Self { items, free }
    }

    /// The slice, to look at items for as long as it is lent.
    #[must_use]
    pub const fn into_items(self) -> &'a [T] {
        self.items
    }

    /// The slice, to look at items.
    #[must_use]
    pub const fn items(&self) -> &[T] {
        self.items
    }

    /// Takes an item, as its last user left it but for the link; `None` when all are taken.
    pub fn take(&mut self) -> Option<u32> {
        let index = if self.free.head == NONE {
            let index = self.free.fresh;
            if index as usize >= self.items.len() {
                return None;
            }
            self.free.fresh += 1;
            index
        } else {
            let index = self.free.head;
            self.free.head = self[index].link();
            index
        };
        self.free.taken += 1;
        self[index].set_link(NONE);
        Some(index)
    }

    /// Gives an item back.
    pub fn give(&mut self, index: u32) {
        let head = self.free.head;
        self[index].set_link(head);
        self.free.head = index;
        self.free.taken -= 1;
    }
}

impl<T> core::ops::Index<u32> for Pool<'_, T> {
    type Output = T;

    fn index(&self, index: u32) -> &T {
        &self.items[index as usize]
    }
}

impl<T> core::ops::IndexMut<u32> for Pool<'_, T> {
    fn index_mut(&mut self, index: u32) -> &mut T {
        &mut self.items[index as usize]
    }
}

/// How one kind of item is divided among peers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quota {
    /// Items that each peer can always have.
    pub guaranteed: u32,
    /// Items that whoever comes first can have on top.
    pub shared: u32,
    /// The most that one peer can have, its guaranteed ones included.
    pub peer_max: u32,
}

impl Quota {
    /// Items that a pool for `peers` peers needs.
    #[must_use]
    pub const fn total(&self, peers: u32) -> u64 {
        self.guaranteed as u64 * peers as u64 + self.shared as u64
    }
}

/// What is left of the part of a pool that peers share.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Share {
    quota: Quota,
    left: u32,
}

impl Share {
    /// Nothing taken yet.
    #[must_use]
    pub const fn new(quota: Quota) -> Self {
        Self { quota, left: quota.shared }
    }
}

/// What one peer has of one kind of item.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Account {
    used: u32,
}

impl Account {
    /// Nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { used: 0 }
    }

    /// Items this peer has.
    #[must_use]
    pub const fn used(&self) -> u32 {
        self.used
    }

    /// Items this peer could have now on top of what it has.
    #[must_use]
    pub const fn available(&self, share: &Share) -> u32 {
        let own = share.quota.guaranteed.saturating_sub(self.used);
        let by_cap = share.quota.peer_max.saturating_sub(self.used);
        let by_share = own.saturating_add(share.left);
        if by_cap < by_share { by_cap } else { by_share }
    }

    /// Takes `count` items, or none and `false`.
    #[must_use]
    pub const fn reserve(&mut self, share: &mut Share, count: u32) -> bool {
        if count > self.available(share) {
            return false;
        }
        let before = self.beyond(share);
        self.used += count;
        share.left -= self.beyond(share) - before;
        true
    }

    /// Gives `count` items back.
    pub const fn release(&mut self, share: &mut Share, count: u32) {
        let before = self.beyond(share);
        self.used -= count;
        share.left += before - self.beyond(share);
    }

    const fn beyond(&self, share: &Share) -> u32 {
        self.used.saturating_sub(share.quota.guaranteed)
    }
}

/// A pool, used on one peer's account.
#[derive(Debug)]
pub struct Metered<'b, 'a, T> {
    /// The pool.
    pub pool: &'b mut Pool<'a, T>,
    /// Who pays.
    pub account: &'b mut Account,
    /// What is left of the pool for all.
    pub share: &'b mut Share,
}

impl<T: Item> Metered<'_, '_, T> {
    /// Takes an item; `None` if the account does not allow it.
    pub fn take(&mut self) -> Option<u32> {
        if !self.account.reserve(self.share, 1) {
            return None;
        }
        let index = self.pool.take();
        if index.is_none() {
            self.account.release(self.share, 1);
        }
        index
    }

    /// Gives an item back.
    pub fn give(&mut self, index: u32) {
        self.pool.give(index);
        self.account.release(self.share, 1);
    }
}

/// No item.
pub const NONE: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Default)]
    struct Thing(u32);

    impl Item for Thing {
        fn link(&self) -> u32 {
            self.0
        }
        fn set_link(&mut self, link: u32) {
            self.0 = link;
        }
    }

    #[test]
    fn every_item_is_handed_out_once_and_comes_back() {
        let (mut items, mut free) = ([Thing::default(); 3], FreeList::new());
        let mut pool = Pool::new(&mut items, &mut free);
        let mut taken = [pool.take().unwrap(), pool.take().unwrap(), pool.take().unwrap()];
        assert_eq!(pool.take(), None);
        taken.sort_unstable();
        assert_eq!(taken, [0, 1, 2]);
        pool.give(1);
        assert_eq!(pool.take(), Some(1));
        assert_eq!(pool.take(), None);
        for index in taken {
            pool.give(index);
        }
        assert_eq!(free.taken(), 0);
    }

    #[test]
    fn a_greedy_peer_leaves_the_others_their_guarantee() {
        let quota = Quota { guaranteed: 4, shared: 10, peer_max: 12 };
        assert_eq!(quota.total(3), 22);
        let mut share = Share::new(quota);
        let (mut greedy, mut second, mut third) = (Account::new(), Account::new(), Account::new());
        assert!(!greedy.reserve(&mut share, 13));
        assert!(greedy.reserve(&mut share, 12));
        assert!(!greedy.reserve(&mut share, 1));
        assert_eq!(share.left, 2);
        assert!(second.reserve(&mut share, 6));
        assert_eq!((share.left, third.available(&share)), (0, 4));
        assert!(third.reserve(&mut share, 4));
        assert!(!third.reserve(&mut share, 1));
        greedy.release(&mut share, 10);
        assert_eq!((greedy.used(), share.left), (2, 8));
        second.release(&mut share, 6);
        third.release(&mut share, 4);
        greedy.release(&mut share, 2);
        assert_eq!(share, Share::new(quota));
    }

    proptest! {
        /// The model: what each of three peers holds, and the promises of a quota about it.
        #[test]
        fn accounts_agree_with_lists_of_items(
            (guaranteed, shared, beyond) in (0u32..5, 0u32..8, 0u32..8),
            steps in prop::collection::vec((0usize..3, any::<bool>(), any::<prop::sample::Index>()), 0..200),
        ) {
            let quota = Quota { guaranteed, shared, peer_max: guaranteed + beyond };
            let mut items = std::vec![Thing::default(); quota.total(3) as usize];
            let (mut free, mut share) = (FreeList::new(), Share::new(quota));
            let mut accounts = [Account::new(); 3];
            let mut held: [Vec<u32>; 3] = Default::default();
            for (peer, give, which) in steps {
                let borrowed = |held: &[Vec<u32>; 3]| {
                    held.iter().map(|h| (h.len() as u32).saturating_sub(guaranteed)).sum::<u32>()
                };
                let mine = held[peer].len() as u32;
                let allowed = mine < quota.peer_max && (mine < guaranteed || borrowed(&held) < shared);
                let mut metered = Metered {
                    pool: &mut Pool::new(&mut items, &mut free),
                    account: &mut accounts[peer],
                    share: &mut share,
                };
                prop_assert_eq!(metered.account.available(metered.share) > 0, allowed);
                if give && mine > 0 {
                    let index = held[peer].swap_remove(which.index(mine as usize));
                    metered.give(index);
                } else {
                    let taken = metered.take();
                    prop_assert_eq!(taken.is_some(), allowed);
                    if let Some(index) = taken {
                        prop_assert!(held.iter().flatten().all(|&other| other != index));
                        held[peer].push(index);
                    }
                }
                prop_assert_eq!(share.left, shared - borrowed(&held));
                prop_assert_eq!(free.taken() as usize, held.iter().flatten().count());
            }
        }
    }
}
