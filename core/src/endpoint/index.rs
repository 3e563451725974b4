//! From `PeerId` to slot: open addressing with linear probing in lent memory.
//!
//! Peer ids are hashes already, so their low bits serve as the bucket. The table is at most half
//! full, and only ids that the application itself connects to are in it.

use crate::id::PeerId;

/// One bucket.
#[derive(Clone, Copy, Default, Debug)]
pub struct IndexSlot {
    id: Option<PeerId>,
    slot: u16,
}

/// How many buckets a table for `peers` peers has: a power of two, at least twice as many.
pub(crate) const fn index_len(peers: usize) -> usize {
    (peers * 2).next_power_of_two()
}

/// The slot of `id`.
pub(crate) fn find(table: &[IndexSlot], id: PeerId) -> Option<usize> {
    let mut at = bucket(table, id);
    for _ in 0..table.len() {
        let entry = table.get(at)?;
        match entry.id {
            Some(found) if found == id => return Some(entry.slot as usize),
            Some(_) => at = next(table, at),
            None => return None,
        }
    }
    None
}

/// Adds `id`, which must not be in the table.
///
/// # Panics
/// If the table is full, which its size rules out.
pub(crate) fn insert(table: &mut [IndexSlot], id: PeerId, slot: usize) {
    let mut at = bucket(table, id);
    for _ in 0..table.len() {
        if table[at].id.is_none() {
            table[at] = IndexSlot { id: Some(id), slot: slot as u16 };
            return;
        }
        at = next(table, at);
    }
    panic!("the peer index has two buckets a peer");
}

/// Takes `id` out, moving back those that were pushed past its bucket.
pub(crate) fn remove(table: &mut [IndexSlot], id: PeerId) {
    let mut hole = bucket(table, id);
    loop {
        match table[hole].id {
            Some(found) if found == id => break,
            Some(_) => hole = next(table, hole),
            None => return,
        }
    }
    let mut at = next(table, hole);
    while let Some(other) = table[at].id {
        let home = bucket(table, other);
        let mask = table.len() - 1;
        // `other` may fill the hole if the hole lies between its home bucket and where it is now.
        if (at.wrapping_sub(home) & mask) >= (at.wrapping_sub(hole) & mask) {
            table[hole] = table[at];
            hole = at;
        }
        at = next(table, at);
    }
    table[hole] = IndexSlot::default();
}

fn bucket(table: &[IndexSlot], id: PeerId) -> usize {
    id.get() as usize & (table.len() - 1)
}

fn next(table: &[IndexSlot], at: usize) -> usize {
    (at + 1) & (table.len() - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        #[test]
        fn agrees_with_a_map(ops in proptest::collection::vec((1u64..40, any::<bool>()), 0..300)) {
            let mut table = [IndexSlot::default(); index_len(16)];
            let mut model = HashMap::new();
            for (n, (value, add)) in ops.into_iter().enumerate() {
                let id = PeerId::new(value).unwrap();
                if add && !model.contains_key(&id) && model.len() < 16 {
                    insert(&mut table, id, n);
                    model.insert(id, n);
                } else if !add {
                    remove(&mut table, id);
                    model.remove(&id);
                }
                for value in 1..40 {
                    let id = PeerId::new(value).unwrap();
                    prop_assert_eq!(find(&table, id), model.get(&id).copied());
                }
            }
        }
    }
}
