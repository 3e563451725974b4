//! The paths of a connection: one per relay and session at which the other side can be reached.
//!
//! Arrival never moves a path. A challenge names the relay inside the encryption and the response
//! must come back through that relay (states.md, Paths).

use core::time::Duration;

use crate::id::{RelayId, SessionId};
use crate::recovery::{MAX_PATHS, PathIndex};
use crate::time::Instant;

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
    pub(crate) validated: bool,
    pub(crate) challenge: Option<Challenge>,
    /// A response owed to the other side's challenge.
    respond: Option<[u8; 8]>,
}

/// A challenge under way on a path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Challenge {
    pub(crate) nonce: [u8; 8],
    /// Whether the connection moves here when the response comes.
    pub(crate) moving: bool,
    tries: u8,
    tries_left: u8,
    next_at: Instant,
}

/// All paths of one connection, and which one carries its packets.
#[derive(Default, Debug)]
pub(crate) struct Paths {
    paths: [Option<Path>; MAX_PATHS],
    active: Option<PathIndex>,
    /// Something is asked or answered on a path, which is seldom so.
    asks: bool,
    /// No path is made before this because the other side names it.
    provoked_next_at: Instant,
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
    /// case whatever the place carried before is gone. A path that is neither active nor
    /// challenged gives way first.
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
                None => 0,
                Some(path) if path.challenge.is_none() => 1,
                Some(_) => 2,
            })
            .unwrap_or(0);
        self.paths[place] = Some(Path {
            relay,
            relay_id,
            remote,
            validated: false,
            challenge: None,
            respond: None,
        });
        (PathIndex::ALL[place], true)
    }

    /// Sends the connection's packets this way from now on; answers the path left behind.
    pub(crate) fn activate(&mut self, index: PathIndex) -> Option<PathIndex> {
        self.validate(index);
        let before = self.active.replace(index);
        before.filter(|old| *old != index)
    }

    /// Begins to validate a path with at most so many challenges, unless it is being validated
    /// already.
    pub(crate) fn challenge(
        &mut self,
        index: PathIndex,
        nonce: [u8; 8],
        moving: bool,
        tries: u8,
        now: Instant,
    ) {
        let Some(path) = self.get_mut(index) else { return };
        match &mut path.challenge {
            Some(challenge) => {
                challenge.moving |= moving;
                challenge.tries_left = challenge.tries_left.max(tries);
            }
            None => {
                path.challenge =
                    Some(Challenge { nonce, moving, tries: 0, tries_left: tries, next_at: now });
                self.asks = true;
            }
        }
    }

    /// Owes the other side an answer on this path.
    pub(crate) fn owe_response(&mut self, index: PathIndex, nonce: [u8; 8]) {
        if let Some(path) = self.get_mut(index) {
            path.respond = Some(nonce);
            self.asks = true;
        }
    }

    /// The answer owed on this path, once.
    pub(crate) fn take_response(&mut self, index: PathIndex) -> Option<[u8; 8]> {
        let nonce = self.get_mut(index)?.respond.take();
        self.settle();
        nonce
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

    /// The path on which a challenge or a response should leave now.
    pub(crate) fn due(&self, now: Instant) -> Option<PathIndex> {
        if !self.asks {
            return None;
        }
        self.iter()
            .find(|(_, path)| {
                path.respond.is_some()
                    || path.challenge.is_some_and(|challenge| {
                        challenge.next_at <= now && challenge.tries_left > 0
                    })
            })
            .map(|(index, _)| index)
    }

    /// The challenge on this path was just sent: the next try is later.
    pub(crate) fn challenge_sent(&mut self, index: PathIndex, now: Instant) {
        let Some(path) = self.get_mut(index) else { return };
        let Some(challenge) = &mut path.challenge else { return };
        challenge.next_at = now + backoff(challenge.tries);
        challenge.tries = challenge.tries.saturating_add(1);
        challenge.tries_left = challenge.tries_left.saturating_sub(1);
    }

    /// Takes out a path that has been challenged in vain; its place may still have packets in
    /// flight. The active path only loses its challenge.
    pub(crate) fn take_unanswered(&mut self, now: Instant) -> Option<PathIndex> {
        let (index, _) = self.iter().find(|(_, path)| {
            path.challenge
                .is_some_and(|challenge| challenge.tries_left == 0 && challenge.next_at <= now)
        })?;
        if self.active == Some(index) {
            self.get_mut(index)?.challenge = None;
        } else {
            self.paths[index.get()] = None;
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

    /// A response came through `relay`: the path it validates, and whether to move there.
    pub(crate) fn on_response(
        &mut self,
        relay: RelayIndex,
        relay_id: RelayId,
        nonce: [u8; 8],
    ) -> Option<(PathIndex, bool)> {
        let (index, moving) = self.iter().find_map(|(index, path)| {
            let challenge = path.challenge?;
            (path.relay == relay && path.relay_id == relay_id && challenge.nonce == nonce)
                .then_some((index, challenge.moving))
        })?;
        self.validate(index);
        Some((index, moving))
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// This way works.
    fn validate(&mut self, index: PathIndex) {
        if let Some(path) = self.get_mut(index) {
            path.validated = true;
            path.challenge = None;
        }
        self.settle();
    }

    fn settle(&mut self) {
        let asks = |path: &Path| path.challenge.is_some() || path.respond.is_some();
        self.asks = self.paths.iter().flatten().any(asks);
    }
}

/// 250 ms, doubling to 2 s: the pace of first messages and path challenges.
pub(crate) fn backoff(tries: u8) -> Duration {
    Duration::from_millis(250 << tries.min(3))
}

/// A path that does not answer this many challenges is given up.
pub(crate) const CHALLENGE_TRIES: u8 = 10;
/// So many challenges at most go to a path that only the other side has named.
pub(crate) const PROVOKED_TRIES: u8 = 3;

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

    #[test]
    fn only_the_named_relay_and_nonce_validate() {
        let (mut paths, first, second) = paths();
        paths.challenge(second, [7; 8], true, 3, Instant::ZERO);
        assert_eq!(paths.on_response(R1.0, R1.1, [7; 8]), None);
        assert_eq!(paths.on_response(R2.0, R1.1, [7; 8]), None);
        assert_eq!(paths.on_response(R2.0, R2.1, [8; 8]), None);
        assert_eq!(paths.on_response(R2.0, R2.1, [7; 8]), Some((second, true)));
        assert_eq!(paths.on_response(R2.0, R2.1, [7; 8]), None);
        assert_eq!(paths.active(), Some(first));
        assert_eq!(paths.activate(second), Some(first));
    }

    #[test]
    fn challenges_back_off_and_end() {
        let (mut paths, first, second) = paths();
        paths.challenge(first, [6; 8], false, 1, Instant::ZERO);
        paths.challenge(second, [7; 8], false, 3, Instant::ZERO);
        let mut sent = 0;
        while paths.poll_timeout() != Instant::FAR {
            let now = paths.poll_timeout();
            if let Some(index) = paths.due(now) {
                paths.challenge_sent(index, now);
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
}
