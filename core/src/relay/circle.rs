//! Circles of sessions: those with one source, those of one subject.

use super::index::scale;
use super::list::{NIL, Place};
use super::sessions::Session;

/// What a circle's sessions have in common: 48 bits of a keyed hash.
///
/// Among n circles one shares its key with another with a chance of n in 2⁴⁸, one in four thousand
/// millions where there are 65,536; the two would then share their limits. Nobody without the
/// relay's keys can look for such a pair.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct CircleKey([u8; 6]);

impl CircleKey {
    /// Of no circle.
    pub(crate) const NONE: Self = Self([0; 6]);

    /// The key as a number below 2⁴⁸.
    pub(crate) const fn get(self) -> u64 {
        let Self([a, b, c, d, e, f]) = self;
        u64::from_le_bytes([a, b, c, d, e, f, 0, 0])
    }
}

impl From<u64> for CircleKey {
    /// The lower 48 bits.
    fn from(hash: u64) -> Self {
        let [a, b, c, d, e, f, ..] = hash.to_le_bytes();
        Self([a, b, c, d, e, f])
    }
}

/// A slot's place in a circle, and the head of the chain of those whose keys fall to its number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member {
    key: CircleKey,
    head: Place,
    previous: Place,
    next: Place,
}

impl Member {
    pub(crate) const NONE: Self =
        Self { key: CircleKey::NONE, head: Place::NONE, previous: Place::NONE, next: Place::NONE };
}

/// One kind of circle.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Circle {
    /// Sessions from one IPv4 address or IPv6 /64.
    Source,
    /// Sessions of one subject of tokens.
    Subject,
}

impl Circle {
    /// The slots of `key`'s circle.
    pub(crate) fn members<'s>(
        self,
        sessions: &'s [Session],
        key: CircleKey,
    ) -> impl Iterator<Item = u32> + use<'s> {
        let place = move |slot: u32| sessions.get(slot as usize).map(|s| *self.of(s));
        let head = place(chain(sessions, key)).map(|member| member.head.get());
        let next =
            move |slot: &u32| place(*slot).map(|member| member.next.get()).filter(|n| *n != NIL);
        core::iter::successors(head.filter(|n| *n != NIL), next)
            .filter(move |slot| place(*slot).is_some_and(|member| member.key == key))
    }

    /// Puts `slot`, which is in none, into `key`'s circle.
    pub(crate) fn join(self, sessions: &mut [Session], slot: u32, key: CircleKey) {
        if key == CircleKey::NONE {
            return;
        }
        let bucket = chain(sessions, key);
        let place = Place::of(slot);
        let next = self.change(sessions, bucket, |m| core::mem::replace(&mut m.head, place));
        let next = next.unwrap_or(Place::NONE);
        self.change(sessions, slot, |m| (m.key, m.previous, m.next) = (key, Place::NONE, next));
        self.change(sessions, next.get(), |m| m.previous = place);
    }

    /// Takes `slot` out of its circle, if it is in one.
    pub(crate) fn leave(self, sessions: &mut [Session], slot: u32) {
        let Some(Member { key, previous, next, .. }) =
            sessions.get(slot as usize).map(|s| *self.of(s)).filter(|m| m.key != CircleKey::NONE)
        else {
            return;
        };
        if previous == Place::NONE {
            self.change(sessions, chain(sessions, key), |m| m.head = next);
        } else {
            self.change(sessions, previous.get(), |m| m.next = next);
        }
        self.change(sessions, next.get(), |m| m.previous = previous);
        self.change(sessions, slot, |m| *m = Member { head: m.head, ..Member::NONE });
    }

    /// The key of the circle that `slot` is in.
    pub(crate) fn key_of(self, sessions: &[Session], slot: u32) -> CircleKey {
        sessions.get(slot as usize).map_or(CircleKey::NONE, |s| self.of(s).key)
    }

    const fn of(self, session: &Session) -> &Member {
        match self {
            Self::Source => &session.source,
            Self::Subject => &session.subject,
        }
    }

    fn change<T>(
        self,
        sessions: &mut [Session],
        slot: u32,
        change: impl FnOnce(&mut Member) -> T,
    ) -> Option<T> {
        let session = sessions.get_mut(slot as usize)?;
        Some(change(match self {
            Self::Source => &mut session.source,
            Self::Subject => &mut session.subject,
        }))
    }
}

/// The slot that has the head of `key`'s chain.
fn chain(sessions: &[Session], key: CircleKey) -> u32 {
    scale(key.get() as u32, sessions.len()) as u32
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn agrees_with_a_map(steps in prop::collection::vec((0u32..12, 0u32..6), 0..200)) {
            let mut sessions: Vec<_> = (0..12).map(|_| Session::new()).collect();
            let mut model: BTreeMap<u32, u32> = BTreeMap::new();
            // Some fall into one chain, and one is of no circle.
            let key = |n: u32| CircleKey::from(u64::from(n) << 32 | u64::from(n << 29));
            for (slot, n) in steps {
                Circle::Subject.leave(&mut sessions, slot);
                Circle::Subject.join(&mut sessions, slot, key(n));
                model.insert(slot, n);
                for n in 1..6 {
                    let members: BTreeSet<u32> = Circle::Subject.members(&sessions, key(n)).collect();
                    let expected = model.iter().filter(|(_, m)| **m == n).map(|(slot, _)| *slot);
                    prop_assert_eq!(members, expected.collect());
                }
                prop_assert_eq!(Circle::Source.members(&sessions, key(1)).count(), 0);
            }
        }
    }
}
