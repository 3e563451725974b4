//! What the owner of the sessions counts.

use crate::wire::hop::RefusedReason;

/// What came of the datagrams handed to [`Control::handle`](super::Control::handle): each control
/// datagram is counted once, under what it was or under why it was dropped.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ControlCounters {
    /// Answered with a cookie.
    pub hellos: u64,
    /// Binds answered by Diffie–Hellman.
    pub binds: u64,
    /// Resumes answered.
    pub resumes: u64,
    /// Binds and resumes answered before, and answered the same again.
    pub repeated: u64,
    /// Hellos, binds and resumes refused.
    pub refused: u64,
    /// Why they were.
    pub refusals: Refusals,
    /// Keep-alives answered.
    pub keep_alives: u64,
    /// Questions about the signed list of relays that were answered.
    pub directory_asks: u64,
    /// Peers that left.
    pub unbinds: u64,
    /// Probes answered.
    pub probes: u64,
    /// Why the others were dropped.
    pub dropped: ControlDrops,

    /// Hints sent; they answer datagrams that are counted as dropped.
    pub hints: u64,
    /// Sessions begun.
    pub sessions_begun: u64,
    /// Sessions that went on under new keys, at the same address or another.
    pub sessions_resumed: u64,
    /// Sessions ended by silence.
    pub sessions_expired: u64,
    /// Sessions ended because their token had expired.
    pub sessions_token_ended: u64,
    /// Binds given up without proof.
    pub unproven: u64,
    /// Sessions live now.
    pub sessions_live: u64,
}

/// Refusals, by reason.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Refusals([u64; RefusedReason::ALL.len()]);

impl Refusals {
    /// Each reason's name and how often it was given.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        RefusedReason::ALL.into_iter().zip(self.0).map(|((_, name), count)| (name, count))
    }

    /// How often this reason was given.
    #[must_use]
    pub fn of(&self, reason: RefusedReason) -> u64 {
        let all = RefusedReason::ALL.into_iter().zip(self.0);
        all.filter(|((other, _), _)| *other == reason).map(|(_, count)| count).sum()
    }

    pub(super) fn count(&mut self, reason: RefusedReason) {
        let all = RefusedReason::ALL.into_iter().zip(&mut self.0);
        all.filter(|((other, _), _)| *other == reason).for_each(|(_, count)| *count += 1);
    }
}

/// Control datagrams dropped, by reason.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ControlDrops {
    /// Of no known kind or layout.
    pub malformed: u64,
    /// Of a kind that only relays send.
    pub wrong_direction: u64,
    /// From an address that has no part in the session it names.
    pub unknown_source: u64,
    /// Does not open under the session's keys.
    pub forged: u64,
    /// Seen before.
    pub replayed: u64,
    /// More than the relay answers in this time.
    pub rate_limited: u64,
    /// Proves a bind, but both places of its address in the index are taken.
    pub index_full: u64,
}

impl ControlDrops {
    /// Their sum.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.malformed
            + self.wrong_direction
            + self.unknown_source
            + self.forged
            + self.replayed
            + self.rate_limited
            + self.index_full
    }
}

impl ControlCounters {
    /// Control datagrams that were not dropped.
    #[must_use]
    pub const fn consumed(&self) -> u64 {
        self.hellos
            + self.binds
            + self.resumes
            + self.repeated
            + self.refused
            + self.keep_alives
            + self.directory_asks
            + self.unbinds
            + self.probes
    }
}
