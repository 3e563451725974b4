//! When to leave the path in use: because it seems dead, or because another is better (states.md,
//! Paths).

use core::time::Duration;

use super::moves::{Keep, Left};
use super::path::{CHALLENGE_TRIES, PROVOKED_TRIES, Purpose, RelayIndex};
use super::{Context, Peer, Phase, Timer};
use crate::crypto::Crypto;
use crate::endpoint::is_much_better;
use crate::recovery::PathIndex;
use crate::time::Instant;

/// What is thought of the path in use and of the others. In few bytes, as every peer has it.
#[derive(Clone, Copy, Debug)]
pub(super) struct PathChoice {
    /// The path in use is doubted: since when, and why.
    doubt: Option<Doubt>,
    doubted_at: Instant,
    /// Where to go if the doubt is not answered.
    refuge: Option<PathIndex>,
    /// What has been better lately, and in how many rounds.
    rival: Option<PathIndex>,
    rounds: u8,
    /// Left for a better one; not gone back to before `returns_at` for its score alone.
    came_from: Option<PathIndex>,
    returns_at: Instant,
    /// Packets sent and received when paths were measured last.
    traffic: u32,
}

/// Why the path in use is doubted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Doubt {
    /// Nothing is heard over it.
    Silence,
    /// Nothing is acknowledged.
    Unacknowledged,
    /// There is no session at its relay any more.
    NoSession,
}

impl PathChoice {
    pub(super) const fn new() -> Self {
        Self {
            doubt: None,
            doubted_at: Instant::ZERO,
            refuge: None,
            rival: None,
            rounds: 0,
            came_from: None,
            returns_at: Instant::ZERO,
            traffic: 0,
        }
    }

    pub(super) const fn is_doubting(&self) -> bool {
        self.doubt.is_some()
    }

    /// A packet came over the path in use.
    pub(super) fn on_heard(&mut self) {
        if self.doubt == Some(Doubt::Silence) {
            self.doubt = None;
        }
    }

    pub(super) fn on_moved(&mut self) {
        (self.doubt, self.refuge, self.rival, self.rounds) = (None, None, None, 0);
    }

    /// The place `index` holds another path now, or none.
    pub(super) fn forget(&mut self, index: PathIndex) {
        for place in [&mut self.refuge, &mut self.rival, &mut self.came_from] {
            if *place == Some(index) {
                *place = None;
            }
        }
    }

    /// Whether `rival` has been better in enough rounds, this one included.
    fn insists(&mut self, rival: Option<PathIndex>) -> bool {
        self.rounds = if self.rival == rival { self.rounds.saturating_add(1) } else { 1 };
        self.rival = rival;
        rival.is_some() && self.rounds >= ROUNDS
    }
}

impl<C: Crypto> Peer<C> {
    /// Something says that the path in use may be dead: it and all others are challenged, and the
    /// first that answers is used, unless the one in use answers about as soon.
    pub(super) fn doubt(&mut self, context: &mut Context<'_, C>, why: Doubt) {
        let again = self.choice.doubted_at + DOUBT_PAUSE;
        if self.phase != Phase::Connected || context.now < again && why != Doubt::NoSession {
            return;
        }
        self.ask_relay(context);
        self.know_route(context);
        let alone = !self.paths.has_several();
        let active = self.paths.active();
        self.choice.doubt = Some(why);
        self.choice.doubted_at = context.now;
        self.choice.refuge = None;
        for index in PathIndex::ALL {
            let Some(path) = self.paths.get(index) else { continue };
            if context.session(path.relay).is_none() {
                continue;
            }
            // Alone, it tells the other side the session that it may not know.
            let purpose = if alone { Purpose::Move } else { Purpose::Validate };
            let waits = path.challenge.is_some_and(|challenge| challenge.purpose == Purpose::Move);
            if Some(index) != active && !waits {
                self.paths.drop_challenge(index);
            }
            self.challenge(context, index, purpose, PROVOKED_TRIES);
        }
    }

    /// A path answered while another was doubted, or not.
    pub(super) fn on_doubt_answered(&mut self, context: &mut Context<'_, C>, index: PathIndex) {
        let Some(why) = self.choice.doubt else { return };
        let Some(active) = self.paths.active() else { return };
        if index == active {
            (self.choice.doubt, self.choice.refuge) = (None, None);
            self.timers.stop(Timer::Refuge);
        } else if self.choice.refuge.is_none() {
            self.choice.refuge = Some(index);
            let rtt = self.recovery.rtt(active).smoothed();
            let answers_by = self.choice.doubted_at + rtt + rtt / 8 + GRACE;
            let at = if why == Doubt::NoSession { context.now } else { answers_by };
            self.timers.set(Timer::Refuge, at.max(context.now));
        }
    }

    /// The path in use had its time to answer, and another one did.
    pub(super) fn on_refuge_timer(&mut self, context: &mut Context<'_, C>) {
        let refuge = self.choice.refuge.take();
        if let Some(index) = refuge.filter(|index| self.is_usable(context, *index))
            && self.choice.is_doubting()
        {
            self.switch_to(context, index, Left::Dead);
        }
    }

    /// A packet came through `relay`: notes when, for silence to be noticed.
    pub(super) fn on_heard(&mut self, now: Instant, relay: RelayIndex) {
        let has_several = self.paths.has_several();
        self.hearing.on_packet(now);
        // Set once and looked at when due, as the moment moves with every packet.
        if self.timers.get(Timer::Silence) == Instant::FAR
            && let Some(at) = self.hearing.wonders_at(has_several)
        {
            self.timers.set(Timer::Silence, at);
        }
        if !has_several {
            return;
        }
        if self.choice.is_doubting() && self.uses_relay(relay) {
            self.choice.on_heard();
        }
        if self.timers.get(Timer::Measure) == Instant::FAR {
            self.timers.set(Timer::Measure, now + MEASURE_PAUSE);
        }
    }

    pub(super) fn on_silence_timer(&mut self, context: &mut Context<'_, C>) {
        let has_several = self.paths.has_several();
        match self.hearing.wonders_at(has_several) {
            Some(at) if at > context.now => self.timers.set(Timer::Silence, at),
            Some(_) if has_several => self.doubt(context, Doubt::Silence),
            // Who sends steadily has no probe time-outs, as each packet puts the next one off: the
            // relay is asked now, so that it is found at another address, or given up, soon.
            Some(_) => self.ask_relay(context),
            None => {}
        }
    }

    /// The session at this relay is lost: what goes through it goes another way at once.
    pub(crate) fn on_relay_lost(&mut self, context: &mut Context<'_, C>, relay: RelayIndex) {
        if self.uses_relay(relay) && self.paths.has_several() {
            self.doubt(context, Doubt::NoSession);
        }
    }

    /// This relay is to be left while it still works.
    pub(crate) fn on_relay_leaving(&mut self, context: &mut Context<'_, C>, relay: RelayIndex) {
        if self.phase != Phase::Connected || !self.uses_relay(relay) {
            return;
        }
        if let Some(index) = self.best_other(context, relay) {
            self.switch_to(context, index, Left::Working);
            return;
        }
        self.know_route(context);
        let others: heapless::Vec<PathIndex, 4> = self
            .paths
            .iter()
            .filter(|(_, path)| path.relay != relay)
            .map(|(index, _)| index)
            .collect();
        for index in others {
            self.challenge(context, index, Purpose::Move, CHALLENGE_TRIES);
        }
    }

    /// The usable path that scores best, apart from those through `relay`.
    fn best_other(&self, context: &Context<'_, C>, relay: RelayIndex) -> Option<PathIndex> {
        let others = self
            .paths
            .iter()
            .filter(|(index, path)| path.relay != relay && self.is_usable(context, *index));
        let best = others.min_by_key(|(_, path)| path.score().unwrap_or(u64::MAX));
        best.map(|(index, _)| index)
    }

    /// The time for a round of measuring: by the lower id only, lest the two disagree, and only
    /// while there is traffic that a better path would serve.
    pub(super) fn on_measure_timer(&mut self, context: &mut Context<'_, C>) {
        let traffic = (self.stats.packets_sent + self.stats.packets_received) as u32;
        let passed = traffic.wrapping_sub(self.choice.traffic);
        self.choice.traffic = traffic;
        let decides = self.id.is_some_and(|id| context.me < id);
        if self.phase != Phase::Connected || passed < MEASURE_TRAFFIC {
            return;
        }
        self.timers.set(Timer::Measure, context.now + MEASURE_PAUSE);
        if !decides || self.choice.is_doubting() {
            return;
        }
        self.take_better(context);
        for index in PathIndex::ALL {
            if !self.is_usable(context, index) {
                continue;
            }
            // Named as the one in use, so that the other side does not stay on another.
            let active = self.paths.active() == Some(index);
            let purpose = if active { Purpose::Move } else { Purpose::Measure };
            self.challenge(context, index, purpose, 1);
        }
    }

    /// Moves to a path that has been much better for some rounds.
    fn take_better(&mut self, context: &mut Context<'_, C>) {
        let Some(path) = self.paths.active_path() else { return };
        // One whose latest challenge was lost is judged when it answers again.
        let Some(held) = path.score() else { return };
        let best = self.best_other(context, path.relay);
        let score = |index| self.paths.get(index).and_then(super::path::Path::score);
        let better = best.filter(|best| {
            let back = self.choice.came_from == Some(*best) && context.now < self.choice.returns_at;
            !back && score(*best).is_some_and(|score| is_much_better(score, held))
        });
        if self.choice.insists(better)
            && let Some(index) = better
        {
            let from = self.paths.active();
            self.switch_to(context, index, Left::Working);
            (self.choice.came_from, self.choice.returns_at) = (from, context.now + RETURN_PAUSE);
        }
    }

    /// A probe time-out: nothing is acknowledged.
    pub(super) fn on_unacknowledged(&mut self, context: &mut Context<'_, C>, count: u8) {
        if self.paths.has_several() || count > 1 {
            self.doubt(context, Doubt::Unacknowledged);
        }
        if count > 1 {
            self.follow_route(context, Keep::Either);
        }
    }
}

/// A path is doubted at most so often.
const DOUBT_PAUSE: Duration = Duration::from_millis(250);
/// The path in use may answer a challenge so much later than its round trip.
const GRACE: Duration = Duration::from_millis(10);
/// Paths are measured this often,
const MEASURE_PAUSE: Duration = Duration::from_secs(2);
/// while so many packets pass in that time.
const MEASURE_TRAFFIC: u32 = 20;
/// A path must be much better in so many rounds of measuring.
const ROUNDS: u8 = 2;
/// Nobody goes back and forth between two paths more often than this for their scores.
const RETURN_PAUSE: Duration = Duration::from_secs(60);
