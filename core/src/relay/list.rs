//! Doubly linked lists through the entries of a slice: no memory of their own, every operation
//! constant in time.

/// An entry that can stand in one list at a time.
pub(crate) trait Linked {
    fn links(&self) -> Links;
    fn links_mut(&mut self) -> &mut Links;
}

/// An entry's neighbours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Links {
    previous: Place,
    next: Place,
}

impl Links {
    pub(crate) const NONE: Self = Self { previous: Place::NONE, next: Place::NONE };
}

/// An entry's number or [`NIL`], in three bytes: tables have fewer than 2²⁴ entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place([u8; 3]);

impl Place {
    pub(crate) const NONE: Self = Self::of(NIL);

    pub(crate) const fn of(index: u32) -> Self {
        let [a, b, c, _] = index.to_le_bytes();
        Self([a, b, c])
    }

    pub(crate) const fn get(self) -> u32 {
        let Self([a, b, c]) = self;
        u32::from_le_bytes([a, b, c, 0])
    }
}

/// A list: push at the back, look at the front, remove anywhere.
#[derive(Clone, Copy, Debug)]
pub(crate) struct List {
    head: u32,
    tail: u32,
}

impl List {
    pub(crate) const EMPTY: Self = Self { head: NIL, tail: NIL };

    pub(crate) fn front(&self) -> Option<u32> {
        if self.head == NIL { None } else { Some(self.head) }
    }

    pub(crate) fn push_back<T: Linked>(&mut self, entries: &mut [T], index: u32) {
        let tail = self.tail;
        set(entries, index, |links| {
            *links = Links { previous: Place::of(tail), next: Place::NONE }
        });
        if tail == NIL {
            self.head = index;
        } else {
            set(entries, tail, |links| links.next = Place::of(index));
        }
        self.tail = index;
    }

    /// Removes `index`, which must stand in this list.
    pub(crate) fn remove<T: Linked>(&mut self, entries: &mut [T], index: u32) {
        let Some(links) = entries.get(index as usize).map(Linked::links) else { return };
        let (previous, next) = (links.previous.get(), links.next.get());
        if previous == NIL {
            self.head = next;
        } else {
            set(entries, previous, |links| links.next = Place::of(next));
        }
        if next == NIL {
            self.tail = previous;
        } else {
            set(entries, next, |links| links.previous = Place::of(previous));
        }
        set(entries, index, |links| *links = Links::NONE);
    }

    pub(crate) fn pop_front<T: Linked>(&mut self, entries: &mut [T]) -> Option<u32> {
        let front = self.front()?;
        self.remove(entries, front);
        Some(front)
    }
}

fn set<T: Linked>(entries: &mut [T], index: u32, change: impl FnOnce(&mut Links)) {
    if let Some(entry) = entries.get_mut(index as usize) {
        change(entry.links_mut());
    }
}

/// No entry: the last number of 24 bits, which no table reaches.
pub(crate) const NIL: u32 = (1 << 24) - 1;

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::vec;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone)]
    struct Entry(Links);

    impl Linked for Entry {
        fn links(&self) -> Links {
            self.0
        }
        fn links_mut(&mut self) -> &mut Links {
            &mut self.0
        }
    }

    #[test]
    fn a_place_holds_every_slot_of_the_largest_table() {
        let last = crate::id::SessionId::SLOTS - 2;
        for index in [0, 1, 0xff, 0x1_0000, last] {
            assert_eq!(Place::of(index).get(), index);
        }
        assert_eq!((Place::NONE.get(), NIL), (NIL, last + 1));
    }

    proptest! {
        #[test]
        fn behaves_like_a_queue(steps in prop::collection::vec((0u8..3, 0u32..16), 0..200)) {
            let mut entries = vec![Entry(Links::NONE); 16];
            let (mut list, mut model) = (List::EMPTY, VecDeque::new());
            for (step, index) in steps {
                match step {
                    0 if !model.contains(&index) => {
                        list.push_back(&mut entries, index);
                        model.push_back(index);
                    }
                    1 if model.contains(&index) => {
                        list.remove(&mut entries, index);
                        model.retain(|&i| i != index);
                    }
                    _ => prop_assert_eq!(list.pop_front(&mut entries), model.pop_front()),
                }
                prop_assert_eq!(list.front(), model.front().copied());
            }
            let rest: Vec<u32> = core::iter::from_fn(|| list.pop_front(&mut entries)).collect();
            prop_assert_eq!(rest, Vec::from(model));
        }
    }
}
