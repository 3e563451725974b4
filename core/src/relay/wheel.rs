//! When live sessions are to be looked at: a wheel of seconds, whatever order their deadlines come
//! in.

use super::list::{Linked, List};

/// A wheel with a spoke for each of the next 64 seconds. What is due later stands 63 s ahead and is
/// looked at in between, so nothing on the wheel is left alone for longer.
#[derive(Debug)]
pub(crate) struct Wheel {
    spokes: [List; SPOKES as usize],
    /// Bit n: spoke n is not empty.
    occupied: u64,
    /// The first second that is not done with.
    at: u32,
}

/// Where an entry stands on a wheel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Spoke(u8);

impl Spoke {
    pub(crate) const NONE: Self = Self(0);
}

impl Wheel {
    pub(crate) const fn new() -> Self {
        Self { spokes: [List::EMPTY; SPOKES as usize], occupied: 0, at: 0 }
    }

    /// Puts `entry` where it is met in second `due`, or before; in the first that is not done with
    /// if `due` is. It must stand in no list.
    pub(crate) fn insert<T: Linked>(&mut self, entries: &mut [T], entry: u32, due: u32) -> Spoke {
        let second = due.clamp(self.at, self.at.saturating_add(SPOKES - 1));
        let spoke = second % SPOKES;
        if let Some(list) = self.spokes.get_mut(spoke as usize) {
            list.push_back(entries, entry);
            self.occupied |= 1 << spoke;
        }
        Spoke(spoke as u8)
    }

    pub(crate) fn remove<T: Linked>(&mut self, entries: &mut [T], entry: u32, spoke: Spoke) {
        let Some(list) = self.spokes.get_mut(usize::from(spoke.0)) else { return };
        list.remove(entries, entry);
        if list.front().is_none() {
            self.occupied &= !(1 << spoke.0);
        }
    }

    /// The second in which an entry is to be met next.
    pub(crate) fn next(&self) -> Option<u32> {
        let ahead = self.occupied.rotate_right(self.at % SPOKES).trailing_zeros();
        (ahead < SPOKES).then(|| self.at.saturating_add(ahead))
    }

    /// The entry that is to be met next.
    pub(crate) fn front(&self) -> Option<u32> {
        self.spokes.get((self.next()? % SPOKES) as usize)?.front()
    }

    /// Takes the next entry off whose second has come.
    pub(crate) fn pop<T: Linked>(&mut self, entries: &mut [T], second: u32) -> Option<u32> {
        match self.next().filter(|next| *next <= second) {
            Some(next) => {
                self.at = next;
                let spoke = Spoke((next % SPOKES) as u8);
                let entry = self.spokes.get(usize::from(spoke.0))?.front()?;
                self.remove(entries, entry, spoke);
                Some(entry)
            }
            None => {
                self.at = self.at.max(second.saturating_add(1));
                None
            }
        }
    }
}

/// As many as there are bits in [`Wheel::occupied`].
const SPOKES: u32 = u64::BITS;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::vec;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::relay::list::Links;

    #[derive(Clone)]
    struct Entry(Links, Spoke);

    impl Linked for Entry {
        fn links(&self) -> Links {
            self.0
        }
        fn links_mut(&mut self) -> &mut Links {
            &mut self.0
        }
    }

    proptest! {
        /// Whatever is put on and taken off when: each entry ends in its second.
        #[test]
        fn each_entry_is_met_when_it_is_due(
            steps in prop::collection::vec((0u32..16, 1u32..300, any::<bool>(), 0u32..40), 1..100),
        ) {
            let mut entries = vec![Entry(Links::NONE, Spoke::NONE); 16];
            let (mut wheel, mut model) = (Wheel::new(), BTreeMap::new());
            let mut now = 0;
            for (entry, after, stays, pause) in steps {
                if model.remove(&entry).is_some() {
                    let spoke = entries[entry as usize].1;
                    wheel.remove(&mut entries, entry, spoke);
                }
                if stays {
                    model.insert(entry, now + after);
                    entries[entry as usize].1 = wheel.insert(&mut entries, entry, now + after);
                }
                now += pause;
                let mut ended = Vec::new();
                while let Some(entry) = wheel.pop(&mut entries, now) {
                    let due = model[&entry];
                    if due <= now {
                        model.remove(&entry);
                        ended.push(entry);
                    } else {
                        entries[entry as usize].1 = wheel.insert(&mut entries, entry, due);
                    }
                }
                prop_assert!(model.values().all(|due| *due > now), "{model:?} at {now}");
                let first = model.values().min().copied();
                prop_assert!(wheel.next() <= first, "{:?} {first:?}", wheel.next());
                prop_assert_eq!(wheel.next().is_some(), first.is_some());
            }
        }
    }
}
