//! The paths of a connection: one per relay and session at which the other side can be reached.
//!
//! Arrival never moves a path. A challenge names the relay inside the encryption and the response
//! must come back through that relay (states.md, Paths).

use core::time::Duration;

use crate::id::{RelayId, SessionId};
use crate::recovery::{MAX_PATHS, PathIndex};
use crate::time::{Instant, micros};

/// Which of the endpoint's relays: an index into its slots.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RelayIndex(pub(crate) u8);

/// The other side, through one relay.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Path {
    pub(crate) relay: RelayIndex,
    pub(crate) relay_id: RelayId,
    /// The other side's session there.
    pub(crate) remote: SessionId,
    /// A challenge of ours was answered this way.
    pub(crate) validated: bool,
    pub(crate) challenge: Option<Challenge>,
    /// A response owed to the other side's challenge.
    respond: Option<Response>,
    /// The round trip of challenges, lightly smoothed; 0 before there is one.
    rtt_us: u32,
    /// The last eight challenges, the latest lowest: set if it was not answered.
    lost: u8,
}

/// A challenge under way on a path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Challenge {
    pub(crate) nonce: [u8; 8],
    next_at: Instant,
    /// When it left last, in wrapping microseconds.
    sent_us: u32,
    pub(crate) purpose: Purpose,
    tries: u8,
    tries_left: u8,
}

/// What a challenge is for, and what follows its answer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Purpose {
    /// Nothing but figures.
    Measure,
    /// The path is known to work.
    Validate,
    /// The connection moves there; or has moved, and the other side is to follow.
    Move,
}

/// An answer that is owed.
#[derive(Clone, Copy, Debug)]
struct Response {
    nonce: [u8; 8],
    /// When the challenge reached this host, in wrapping microseconds.
    arrived_us: u32,
}

/// All paths of one connection, and which one carries its packets.
#[derive(Default, Debug)]
pub(crate) struct Paths {
    paths: [Option<Path>; MAX_PATHS],
    active: Option<PathIndex>,
    /// Something is asked or answered on a path, which is seldom so.
    asks: bool,
    /// There is more than one path.
    several: bool,
    /// No path is made before this because the other side names it.
    provoked_next_at: Instant,
}

impl Path {
    /// The round trip of the latest challenges.
    pub(crate) fn rtt(&self) -> Option<Duration> {
        (self.rtt_us > 0).then(|| Duration::from_micros(self.rtt_us.into()))
    }

    /// What it costs to use this path, in microseconds: its round trip, and a quarter of it for each
    /// of the last eight challenges beyond two that was not answered. `None` if the latest was not.
    pub(crate) fn score(&self) -> Option<u64> {
        let rtt = micros(self.rtt()?);
        let lost = u64::from(self.lost.count_ones().saturating_sub(2));
        (self.lost & 1 == 0).then_some(rtt + lost * rtt / 4)
    }

    fn take_sample(&mut self, elapsed: Duration) {
        let sample = u32::try_from(micros(elapsed)).unwrap_or(u32::MAX).max(1);
        self.rtt_us = if self.rtt_us == 0 {
            sample
        } else {
            // Quick to follow: who decides looks at several in a row.
            let sum = u64::from(self.rtt_us) + 3 * u64::from(sample);
            (sum / 4).max(1) as u32
        };
    }
}

impl Paths {
    pub(crate) fn get(&self, index: PathIndex) -> Option<&Path> {
        self.paths.get(index.get())?.as_ref()
    }

    fn get_mut(&mut self, index: PathIndex) -> Option<&mut Path> {
        self.paths.get_mut(index.get())?.as_mut()
    }

    pub(crate) fn active(&self) -> Option<PathIndex> {
        self.active
    }

    /// The path that carries the connection's packets.
    pub(crate) fn active_path(&self) -> Option<&Path> {
        self.get(self.active?)
    }

    /// Whether there is another path than the one in use.
    pub(crate) fn has_several(&self) -> bool {
        self.several
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (PathIndex, &Path)> {
        self.paths
            .iter()
            .enumerate()
            .filter_map(|(n, path)| Some((PathIndex::new(n)?, path.as_ref()?)))
    }

    pub(crate) fn find(&self, relay: RelayIndex, remote: SessionId) -> Option<PathIndex> {
        self.iter()
            .find(|(_, path)| path.relay == relay && path.remote == remote)
            .map(|(index, _)| index)
    }

    /// The path through `relay` to `remote`, made if it is new; `true` if it was made, in which
    /// case whatever the place carried before is gone. First gives way another session at the same
    /// relay, then a path that is not challenged; never the active one.
    pub(crate) fn ensure(
        &mut self,
        relay: RelayIndex,
        relay_id: RelayId,
        remote: SessionId,
    ) -> (PathIndex, bool) {
        if let Some(index) = self.find(relay, remote) {
            return (index, false);
        }
        let active = self.active.map(PathIndex::get);
        let place = (0..MAX_PATHS)
            .filter(|place| Some(*place) != active)
            .min_by_key(|place| match &self.paths[*place] {
                Some(path) if path.relay == relay => 0,
                None => 1,
                Some(path) if path.challenge.is_none() => 2,
                Some(_) => 3,
            })
            .unwrap_or(0);
        self.paths[place] = Some(Path {
            relay,
            relay_id,
            remote,
            validated: false,
            challenge: None,
            respond: None,
            rtt_us: 0,
            lost: 0,
        });
        self.settle();
        (PathIndex::ALL[place], true)
    }

    /// Sends the connection's packets this way from now on; answers the path left behind.
    pub(crate) fn activate(&mut self, index: PathIndex) -> Option<PathIndex> {
        if let Some(path) = self.get_mut(index) {
            path.validated = true;
            path.challenge = None;
        }
        self.settle();
        let before = self.active.replace(index);
        before.filter(|old| *old != index)
    }

    /// Begins to challenge a path, at most so many times, unless that is under way already.
    pub(crate) fn challenge(
        &mut self,
        index: PathIndex,
        nonce: [u8; 8],
        purpose: Purpose,
        tries: u8,
        now: Instant,
    ) {
        let Some(path) = self.get_mut(index) else { return };
        match &mut path.challenge {
            Some(challenge) => {
                challenge.purpose = challenge.purpose.max(purpose);
                challenge.tries_left = challenge.tries_left.max(tries);
            }
            None => {
                path.challenge = Some(Challenge {
                    nonce,
                    next_at: now,
                    sent_us: 0,
                    purpose,
                    tries: 0,
                    tries_left: tries,
                });
                self.asks = true;
            }
        }
    }

    /// Forgets a challenge, so that a new one begins at once.
    pub(crate) fn drop_challenge(&mut self, index: PathIndex) {
        if let Some(path) = self.get_mut(index) {
            path.challenge = None;
        }
        self.settle();
    }

    /// Owes the other side an answer on this path to a challenge that reached this host at
    /// `arrived`.
    pub(crate) fn owe_response(&mut self, index: PathIndex, nonce: [u8; 8], arrived: Instant) {
        if let Some(path) = self.get_mut(index) {
            path.respond = Some(Response { nonce, arrived_us: arrived.as_micros() as u32 });
            self.asks = true;
        }
    }

    /// The answer owed on this path, once, and how long it has been.
    pub(crate) fn take_response(
        &mut self,
        index: PathIndex,
        now: Instant,
    ) -> Option<([u8; 8], Duration)> {
        let Response { nonce, arrived_us } = self.get_mut(index)?.respond.take()?;
        self.settle();
        Some((nonce, wrapping_since(now, arrived_us)))
    }

    /// Whether a path that the other side names may be made now: seldom, so that it cannot send us
    /// challenging strangers.
    pub(crate) fn allow_provoked(&mut self, now: Instant) -> bool {
        let allowed = self.provoked_next_at <= now;
        if allowed {
            self.provoked_next_at = now + backoff(0);
        }
        allowed
    }

    /// The path on which a challenge or a response should leave now, the one in use first.
    pub(crate) fn due(&self, now: Instant) -> Option<PathIndex> {
        if !self.asks {
            return None;
        }
        let is_due = |path: &Path| {
            path.respond.is_some()
                || path
                    .challenge
                    .is_some_and(|challenge| challenge.next_at <= now && challenge.tries_left > 0)
        };
        if self.active_path().is_some_and(is_due) {
            return self.active;
        }
        self.iter().find(|(_, path)| is_due(path)).map(|(index, _)| index)
    }

    /// The challenge on this path was just sent: the next try is later, not before `patience`.
    pub(crate) fn challenge_sent(&mut self, index: PathIndex, now: Instant, patience: Duration) {
        let Some(path) = self.get_mut(index) else { return };
        let Some(challenge) = &mut path.challenge else { return };
        challenge.next_at = now + backoff(challenge.tries).max(patience.min(PATIENCE_MAX));
        challenge.sent_us = now.as_micros() as u32;
        challenge.tries = challenge.tries.saturating_add(1);
        challenge.tries_left = challenge.tries_left.saturating_sub(1);
    }

    /// Gives up a challenge that was not answered; a path that was to be validated goes, though its
    /// place may still have packets in flight. The active path only loses its challenge, and so
    /// does one that was measured, until it never answers.
    pub(crate) fn take_unanswered(&mut self, now: Instant) -> Option<PathIndex> {
        let (index, _) = self.iter().find(|(_, path)| {
            path.challenge
                .is_some_and(|challenge| challenge.tries_left == 0 && challenge.next_at <= now)
        })?;
        let active = self.active == Some(index);
        let place = &mut self.paths[index.get()];
        if let Some(path) = place {
            let challenge = path.challenge.take();
            path.lost = (path.lost << 1) | 1;
            let measured = challenge.is_some_and(|challenge| challenge.purpose == Purpose::Measure);
            if !active && (!measured || path.lost == u8::MAX) {
                *place = None;
            }
        }
        self.settle();
        Some(index)
    }

    /// Challenges that waited need not wait any longer: a session to send them from is there.
    pub(crate) fn hurry(&mut self, now: Instant) {
        for challenge in self.paths.iter_mut().flatten().filter_map(|path| path.challenge.as_mut())
        {
            challenge.next_at = now;
            challenge.tries = 0;
        }
    }

    /// When the next challenge is due.
    pub(crate) fn poll_timeout(&self) -> Instant {
        self.iter()
            .filter_map(|(_, path)| path.challenge.map(|challenge| challenge.next_at))
            .min()
            .unwrap_or(Instant::FAR)
    }

    /// A response came through `relay` that had spent `at_ends` in the hosts: the path it
    /// validates, and what it was asked for.
    pub(crate) fn on_response(
        &mut self,
        now: Instant,
        relay: RelayIndex,
        relay_id: RelayId,
        nonce: [u8; 8],
        at_ends: Duration,
    ) -> Option<(PathIndex, Purpose)> {
        let path = self.paths.iter_mut().enumerate().find_map(|(n, path)| {
            let path = path.as_mut()?;
            let fits = path.relay == relay
                && path.relay_id == relay_id
                && path.challenge.is_some_and(|challenge| challenge.nonce == nonce);
            fits.then_some((PathIndex::new(n)?, path))
        });
        let (index, path) = path?;
        let challenge = path.challenge.take()?;
        path.validated = true;
        path.lost <<= 1;
        // After a repeat nobody knows which of the two was answered (Karn).
        if challenge.tries == 1 {
            path.take_sample(wrapping_since(now, challenge.sent_us).saturating_sub(at_ends));
        }
        self.settle();
        Some((index, challenge.purpose))
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    fn settle(&mut self) {
        let asks = |path: &Path| path.challenge.is_some() || path.respond.is_some();
        self.asks = self.paths.iter().flatten().any(asks);
        self.several = self.paths.iter().flatten().count() > 1;
    }
}

fn wrapping_since(now: Instant, earlier_us: u32) -> Duration {
    Duration::from_micros(u64::from((now.as_micros() as u32).wrapping_sub(earlier_us)))
}

/// 250 ms, doubling to 2 s: the pace of first messages and path challenges.
pub(crate) fn backoff(tries: u8) -> Duration {
    Duration::from_millis(250 << tries.min(3))
}

/// A path that does not answer this many challenges is given up.
pub(crate) const CHALLENGE_TRIES: u8 = 10;
/// So many challenges at most go to a path that only the other side has named.
pub(crate) const PROVOKED_TRIES: u8 = 3;
/// No path is so long that an answer should be waited for longer before asking again.
const PATIENCE_MAX: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    const R1: (RelayIndex, RelayId) = (RelayIndex(0), RelayId(1));
    const R2: (RelayIndex, RelayId) = (RelayIndex(1), RelayId(2));

    fn paths() -> (Paths, PathIndex, PathIndex) {
        let mut paths = Paths::default();
        let (first, _) = paths.ensure(R1.0, R1.1, SessionId::new(1, 1));
        paths.activate(first);
        let (second, new) = paths.ensure(R2.0, R2.1, SessionId::new(2, 2));
        assert!(new);
        (paths, first, second)
    }

    fn answer(
        paths: &mut Paths,
        relay: RelayIndex,
        id: RelayId,
        nonce: u8,
    ) -> Option<(PathIndex, Purpose)> {
        paths.on_response(Instant::ZERO, relay, id, [nonce; 8], Duration::ZERO)
    }

    #[test]
    fn only_the_named_relay_and_nonce_validate() {
        let (mut paths, first, second) = paths();
        paths.challenge(second, [7; 8], Purpose::Move, 3, Instant::ZERO);
        assert_eq!(answer(&mut paths, R1.0, R1.1, 7), None);
        assert_eq!(answer(&mut paths, R2.0, R1.1, 7), None);
        assert_eq!(answer(&mut paths, R2.0, R2.1, 8), None);
        assert_eq!(answer(&mut paths, R2.0, R2.1, 7), Some((second, Purpose::Move)));
        assert_eq!(answer(&mut paths, R2.0, R2.1, 7), None);
        assert_eq!(paths.active(), Some(first));
        assert_eq!(paths.activate(second), Some(first));
    }

    #[test]
    fn challenges_back_off_and_end() {
        let (mut paths, first, second) = paths();
        paths.challenge(first, [6; 8], Purpose::Validate, 1, Instant::ZERO);
        paths.challenge(second, [7; 8], Purpose::Validate, 3, Instant::ZERO);
        let mut sent = 0;
        while paths.poll_timeout() != Instant::FAR {
            let now = paths.poll_timeout();
            if let Some(index) = paths.due(now) {
                paths.challenge_sent(index, now, Duration::ZERO);
                sent += 1;
            } else {
                assert!(paths.take_unanswered(now).is_some());
            }
        }
        assert_eq!(sent, 4);
        assert!(paths.get(first).is_some(), "the active path stays");
        assert!(paths.get(second).is_none());
    }

    #[test]
    fn the_other_side_names_paths_but_seldom() {
        let (mut paths, _, _) = paths();
        assert!(paths.allow_provoked(Instant::ZERO));
        assert!(!paths.allow_provoked(Instant::from_millis(249)));
        assert!(paths.allow_provoked(Instant::from_millis(250)));
    }

    #[test]
    fn the_active_path_never_gives_way() {
        let (mut paths, first, _) = paths();
        for slot in 10..30 {
            let (index, new) = paths.ensure(R1.0, R1.1, SessionId::new(slot, 0));
            assert!(new);
            assert_ne!(index, first);
        }
        assert!(paths.find(R1.0, SessionId::new(1, 1)).is_some());
    }

    #[test]
    fn challenges_measure_and_time_at_the_ends_is_taken_off() {
        let at = Instant::from_millis;
        let (mut paths, _, second) = paths();
        let mut measure = |sent: u64, came: u64, at_ends: u64| {
            paths.challenge(second, [1; 8], Purpose::Measure, 1, at(sent));
            paths.challenge_sent(second, at(sent), Duration::ZERO);
            let at_ends = Duration::from_millis(at_ends);
            paths.on_response(at(came), R2.0, R2.1, [1; 8], at_ends).unwrap();
            *paths.get(second).unwrap()
        };
        // The clock's low half wraps in between.
        let start = 4_294_960;
        let path = measure(start, start + 50, 10);
        assert_eq!((path.rtt(), path.score()), (Some(Duration::from_millis(40)), Some(40_000)));
        assert_eq!(measure(start + 90, start + 170, 0).rtt(), Some(Duration::from_millis(70)));
        for n in 0..7 {
            let now = at(start + 1000 + n * 1000);
            paths.challenge(second, [2; 8], Purpose::Measure, 1, now);
            paths.challenge_sent(second, now, Duration::ZERO);
            assert_eq!(paths.take_unanswered(now + backoff(0)), Some(second));
            assert_eq!(paths.get(second).unwrap().score(), None, "silent");
        }
        let now = at(start + 9000);
        paths.challenge(second, [3; 8], Purpose::Measure, 1, now);
        paths.challenge_sent(second, now, Duration::ZERO);
        paths.on_response(now + Duration::from_millis(70), R2.0, R2.1, [3; 8], Duration::ZERO);
        assert_eq!(paths.get(second).unwrap().score(), Some(70_000 + 5 * 70_000 / 4));
    }

    #[test]
    fn a_new_session_at_a_relay_takes_the_place_of_the_one_before() {
        let (mut paths, first, second) = paths();
        let (third, _) = paths.ensure(R2.0, R2.1, SessionId::new(3, 3));
        assert_eq!(third, second);
        let (fourth, _) = paths.ensure(R1.0, R1.1, SessionId::new(4, 4));
        assert_ne!(fourth, first, "but not while that is in use");
        assert!(paths.has_several());
    }
}
