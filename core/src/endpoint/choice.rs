//! Which relays serve: the choice by what the application wants and by score (states.md, Choosing).

use core::fmt;
use core::time::Duration;

use super::{Endpoint, RelaySlot};
use crate::connection::RelayIndex;
use crate::crypto::Crypto;
use crate::directory::RelayEntry;
use crate::id::RelayId;
use crate::memory::Lender;
use crate::time::Instant;

/// What the application wants of one relay.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum RelayPolicy {
    /// It may serve; its score decides.
    #[default]
    Allow,
    /// It serves before all that are only allowed, while it can.
    Prefer,
    /// As soon as one relay is required, no other becomes home or standby.
    Require,
    /// It never serves: no session is asked for there, not as a guest either.
    Veto,
}

/// What the application wants of its relays in general.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct RelayChoice {
    /// Relays further away than this are taken only while no nearer one serves. Default: no limit.
    pub ping_max: Option<Duration>,
    /// Relays of this region come before others of the same policy; at most 32 characters, as in a
    /// directory entry. Default: none.
    pub region: Option<heapless::String<{ RelayEntry::REGION_LEN_MAX }>>,
    /// Sessions at a time: home, standby, and as a guest at other players' relays; at least 2.
    /// Default 8.
    pub sessions_max: u8,
}

impl RelayChoice {
    /// The defaults.
    pub const DEFAULT: Self = Self { ping_max: None, region: None, sessions_max: 8 };
}

impl Default for RelayChoice {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Why a relay was chosen or not, as of the latest choice.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub enum ChosenAs {
    /// It is the one the route names first.
    Home,
    /// It is the second best: a session is kept, and the route names it too.
    Standby,
    /// Too little is known of it yet.
    #[default]
    Unmeasured,
    /// It would serve, but those chosen score better, or not enough worse to be left.
    NotBest,
    /// It is further away than `ping_max`.
    TooFar,
    /// Another region is wanted.
    OtherRegion,
    /// Others are preferred or required.
    NotPreferred,
    /// The application vetoed it.
    Vetoed,
    /// It does not answer, or refuses to serve.
    Silent,
    /// It is about to stop.
    Draining,
    /// Another client with the same key took its session.
    Replaced,
}

impl fmt::Display for ChosenAs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Home => "home",
            Self::Standby => "standby",
            Self::Unmeasured => "not measured yet",
            Self::NotBest => "others score better",
            Self::TooFar => "further away than ping_max",
            Self::OtherRegion => "in another region",
            Self::NotPreferred => "others are preferred",
            Self::Vetoed => "vetoed",
            Self::Silent => "does not answer, or refuses",
            Self::Draining => "about to stop",
            Self::Replaced => "another client uses the same key there",
        })
    }
}

/// How well a relay would serve: less is better.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Grade {
    /// What the application wants: a better class is worth any score.
    class: u8,
    /// Where a relay that is about to stop has named it: before those that none has.
    named: usize,
    /// Microseconds; the most there is for one not measured yet.
    score: u64,
}

/// How long a rival that is better by score must have been so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Patience {
    /// It need not: nothing has been chosen by score yet.
    None,
    /// For a while, lest jitter decide.
    Some,
    /// Too little is known for scores to count.
    Endless,
}

/// What may take a place, and since when it was so much better.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Rival(Option<(RelayIndex, Instant)>);

impl Rival {
    pub(super) fn is(self, relay: RelayIndex) -> bool {
        self.0.is_some_and(|(rival, _)| rival == relay)
    }

    /// Whether `rival` has been better for long enough. `None` ends the rivalry.
    fn insist(&mut self, now: Instant, rival: Option<RelayIndex>) -> bool {
        let since = match (self.0, rival) {
            (Some((before, since)), Some(rival)) if before == rival => since,
            _ => now,
        };
        self.0 = rival.map(|rival| (rival, since));
        rival.is_some() && since + INSIST <= now
    }
}

impl<C: Crypto, L: Lender> Endpoint<C, L> {
    /// How a relay would serve, and why it would not serve at all or not well.
    pub(super) fn grade(&self, slot: &RelaySlot<C>) -> (Option<Grade>, ChosenAs) {
        let choice = &self.state.choice;
        let required = self
            .memory
            .relays()
            .iter()
            .any(|slot| slot.policy == RelayPolicy::Require && !slot.removed);
        let (measure, policy) = (slot.measure(), slot.policy);
        let refused = if policy == RelayPolicy::Veto {
            Some(ChosenAs::Vetoed)
        } else if required && policy != RelayPolicy::Require {
            Some(ChosenAs::NotPreferred)
        } else if slot.is_stopped() {
            Some(ChosenAs::Replaced)
        } else if slot.is_leaving() {
            Some(ChosenAs::Draining)
        } else if slot.is_missed() || measure.is_silent() && !slot.answers() {
            Some(ChosenAs::Silent)
        } else {
            None
        };
        if let Some(why) = refused {
            return (None, why);
        }
        let far = choice.ping_max.is_some_and(|max| measure.rtt().is_some_and(|rtt| rtt > max));
        let region = |wanted: &heapless::String<32>| {
            slot.entry().is_none_or(|entry| entry.region() != wanted.as_str())
        };
        let other_region = choice.region.as_ref().is_some_and(region);
        let preferred = |slot: &RelaySlot<C>| slot.policy == RelayPolicy::Prefer && !slot.removed;
        let less = policy == RelayPolicy::Allow && self.memory.relays().iter().any(preferred);
        let class = u8::from(less) * 4 + u8::from(far) * 2 + u8::from(other_region);
        let why = match (less, far, other_region, measure.rtt()) {
            (true, ..) => ChosenAs::NotPreferred,
            (_, true, ..) => ChosenAs::TooFar,
            (_, _, true, _) => ChosenAs::OtherRegion,
            (.., None) => ChosenAs::Unmeasured,
            (.., Some(_)) => ChosenAs::NotBest,
        };
        let named = slot.id().and_then(|id| self.named(id)).unwrap_or(usize::MAX);
        (Some(Grade { class, named, score: measure.score().unwrap_or(u64::MAX) }), why)
    }

    /// The best place at which a relay that drains names this one.
    fn named(&self, relay: RelayId) -> Option<usize> {
        self.memory.relays().iter().filter_map(|slot| slot.names_instead(relay)).min()
    }

    /// The relay that would serve best, apart from `not`; with `known` only among those measured.
    pub(super) fn best(&self, not: Option<RelayIndex>, known: bool) -> Option<RelayIndex> {
        let relays = self.memory.relays().iter().enumerate();
        relays
            .map(|(n, slot)| (RelayIndex(n as u8), slot))
            .filter(|(index, slot)| Some(*index) != not && slot.id().is_some())
            .filter(|(_, slot)| !known || slot.measure().is_settled() || self.is_wished(slot))
            .filter_map(|(index, slot)| Some((self.grade(slot).0?, index)))
            .min_by_key(|(grade, index)| (*grade, index.0))
            .map(|(_, index)| index)
    }

    /// Whether the application has asked for this very relay.
    fn is_wished(&self, slot: &RelaySlot<C>) -> bool {
        matches!(slot.policy, RelayPolicy::Prefer | RelayPolicy::Require)
    }

    /// Whether `rival` is so much better than `holder` that it should take its place: at once if the
    /// application or a relay that stops wants it so, by score only if it stays so for a while.
    pub(super) fn should_replace(
        &self,
        holder: RelayIndex,
        rival: RelayIndex,
        rivalry: &mut Rival,
        patience: Patience,
    ) -> bool {
        let slot = |index: RelayIndex| &self.memory.relays()[usize::from(index.0)];
        let (Some(new), held) = (self.grade(slot(rival)).0, self.grade(slot(holder)).0) else {
            return false;
        };
        let now = self.state.now;
        let Some(held) = held else { return true };
        let wish = |grade: Grade| (grade.class, grade.named);
        if wish(new) != wish(held) {
            rivalry.insist(now, None);
            return wish(new) < wish(held);
        }
        let better = patience != Patience::Endless && is_much_better(new.score, held.score);
        let insisted = rivalry.insist(now, better.then_some(rival));
        insisted || better && patience == Patience::None
    }

    /// Writes down why each relay was chosen or not.
    pub(super) fn note_choice(&mut self) {
        let home = self.state.home.relay;
        let standby = self.state.home.standby;
        for n in 0..self.memory.relays().len() {
            let index = Some(RelayIndex(n as u8));
            let why = if index == home {
                ChosenAs::Home
            } else if index == standby {
                ChosenAs::Standby
            } else {
                self.grade(&self.memory.relays()[n]).1
            };
            self.memory.relays_mut()[n].chosen_as = why;
        }
    }
}

/// Whether a score is so much better that a change is worth it: by 15 % and 2 ms.
pub(crate) fn is_much_better(new: u64, held: u64) -> bool {
    new < held - held / 20 * 3 && new.saturating_add(LEAST_GAIN) < held
}

/// A rival by score must have been better for this long.
const INSIST: Duration = Duration::from_millis(3500);
/// Microseconds: less is not worth a change.
const LEAST_GAIN: u64 = 2000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn much_better_is_a_seventh_and_two_milliseconds() {
        assert!(is_much_better(32_000, 40_000));
        assert!(is_much_better(33_999, 40_000));
        assert!(!is_much_better(34_000, 40_000), "15 % exactly");
        assert!(!is_much_better(40_000, 32_000));
        assert!(!is_much_better(100, 1000), "too little to notice");
        assert!(is_much_better(0, u64::MAX));
        assert!(!is_much_better(u64::MAX, u64::MAX));
    }

    #[test]
    fn a_rival_must_insist() {
        let mut rival = Rival::default();
        let at = Instant::from_millis;
        assert!(!rival.insist(at(0), Some(RelayIndex(1))));
        assert!(!rival.insist(at(3000), Some(RelayIndex(1))));
        assert!(!rival.insist(at(4000), Some(RelayIndex(2))), "another one begins anew");
        assert!(!rival.insist(at(4100), None));
        assert!(!rival.insist(at(5000), Some(RelayIndex(2))));
        assert!(rival.insist(at(8500), Some(RelayIndex(2))));
    }
}
