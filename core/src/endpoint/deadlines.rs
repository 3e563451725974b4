//! The next deadline of every peer, as a binary heap with known positions in lent memory: the
//! earliest is read at once, a change costs O(log peers), and no call scans all peers.

use crate::time::Instant;

/// Place `n` holds the heap's `n`-th entry and, independently, peer `n`'s position in the heap.
#[derive(Clone, Copy, Debug)]
pub struct DeadlineSlot {
    at: Instant,
    peer: u16,
    position: u16,
}

impl Default for DeadlineSlot {
    fn default() -> Self {
        Self { at: Instant::FAR, peer: 0, position: 0 }
    }
}

/// Gives every peer its place, without a deadline.
pub(crate) fn start(heap: &mut [DeadlineSlot]) {
    for (n, slot) in heap.iter_mut().enumerate() {
        *slot = DeadlineSlot { at: Instant::FAR, peer: n as u16, position: n as u16 };
    }
}

/// The earliest deadline and whose it is; `None` if no peer has one.
pub(crate) fn earliest(heap: &[DeadlineSlot]) -> Option<(Instant, usize)> {
    heap.first().filter(|slot| slot.at != Instant::FAR).map(|slot| (slot.at, slot.peer as usize))
}

/// Sets the deadline of `peer`; [`Instant::FAR`] for none.
pub(crate) fn set(heap: &mut [DeadlineSlot], peer: usize, at: Instant) {
    let mut here = heap[peer].position as usize;
    if heap[here].at == at {
        return;
    }
    heap[here].at = at;
    while here > 0 && heap[here].at < heap[(here - 1) / 2].at {
        swap(heap, here, (here - 1) / 2);
        here = (here - 1) / 2;
    }
    loop {
        let (left, right) = (2 * here + 1, 2 * here + 2);
        let mut least = here;
        if left < heap.len() && heap[left].at < heap[least].at {
            least = left;
        }
        if right < heap.len() && heap[right].at < heap[least].at {
            least = right;
        }
        if least == here {
            return;
        }
        swap(heap, here, least);
        here = least;
    }
}

fn swap(heap: &mut [DeadlineSlot], a: usize, b: usize) {
    let (x, y) = (heap[a], heap[b]);
    (heap[a].at, heap[a].peer) = (y.at, y.peer);
    (heap[b].at, heap[b].peer) = (x.at, x.peer);
    heap[y.peer as usize].position = a as u16;
    heap[x.peer as usize].position = b as u16;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_earliest_is_the_least(ops in proptest::collection::vec((0usize..9, 0u64..50), 0..200)) {
            let mut heap = [DeadlineSlot::default(); 9];
            start(&mut heap);
            let mut model = [Instant::FAR; 9];
            for (peer, at) in ops {
                let at = if at == 0 { Instant::FAR } else { Instant::from_micros(at) };
                set(&mut heap, peer, at);
                model[peer] = at;
                let least = *model.iter().min().unwrap();
                match earliest(&heap) {
                    None => prop_assert_eq!(least, Instant::FAR),
                    Some((at, peer)) => {
                        prop_assert_eq!(at, least);
                        prop_assert_eq!(model[peer], least);
                    }
                }
            }
        }
    }
}
