//! One connection's timers: one enum, one table.

use crate::time::Instant;

/// What a connection waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Timer {
    /// The first message is due (again).
    Handshake,
    /// The connect time-out.
    Connect,
    /// Loss detection or a probe time-out.
    Recovery,
    /// An acknowledgement must leave by itself.
    Ack,
    /// The path may carry the next packet.
    Pace,
    /// The idle time-out.
    Idle,
    /// A ping, so that the other side does not time out.
    KeepAlive,
    /// A path challenge is due (again).
    Path,
    /// What is in flight on a path left behind is given up.
    LeavePath,
    /// Time to wonder why nothing is heard.
    Silence,
    /// Another path is used, unless the doubted one has answered.
    Refuge,
    /// Paths are measured and compared.
    Measure,
    /// The disconnect is repeated, or the connection forgotten.
    Close,
}

impl Timer {
    /// Every timer, in the order in which those due at once are handled.
    pub(crate) const ALL: [Self; 13] = [
        Self::Idle,
        Self::Connect,
        Self::Close,
        Self::Handshake,
        Self::Recovery,
        Self::Ack,
        Self::Pace,
        Self::KeepAlive,
        Self::Path,
        Self::LeavePath,
        Self::Silence,
        Self::Refuge,
        Self::Measure,
    ];
}

/// When each timer fires; [`Instant::FAR`] if it is not set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timers {
    at: [Instant; Timer::ALL.len()],
    /// Asked for far more often than it changes.
    earliest: Instant,
}

impl Default for Timers {
    fn default() -> Self {
        Self { at: [Instant::FAR; Timer::ALL.len()], earliest: Instant::FAR }
    }
}

impl Timers {
    pub(crate) fn set(&mut self, timer: Timer, at: Instant) {
        let before = core::mem::replace(&mut self.at[timer as usize], at);
        if at <= self.earliest {
            self.earliest = at;
        } else if before == self.earliest {
            self.earliest = self.find_earliest();
        }
    }

    #[inline(never)]
    fn find_earliest(&self) -> Instant {
        self.at.into_iter().fold(Instant::FAR, Ord::min)
    }

    pub(crate) fn stop(&mut self, timer: Timer) {
        self.set(timer, Instant::FAR);
    }

    pub(crate) fn get(&self, timer: Timer) -> Instant {
        self.at[timer as usize]
    }

    /// Takes the next timer that is due, and since when: it is stopped until set again.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<(Timer, Instant)> {
        if self.earliest > now {
            return None;
        }
        // A clock at its very end does not make due what never comes.
        let is_due = |at: Instant| at <= now && at != Instant::FAR;
        let timer = Timer::ALL.into_iter().find(|timer| is_due(self.get(*timer)))?;
        let due = self.get(timer);
        self.stop(timer);
        Some((timer, due))
    }

    /// When the earliest timer fires.
    pub(crate) const fn earliest(&self) -> Instant {
        self.earliest
    }

    /// The earliest timer.
    pub(crate) fn next(&self) -> (Instant, Timer) {
        let mut first = (Instant::FAR, Timer::Idle);
        for timer in Timer::ALL {
            if self.get(timer) < first.0 {
                first = (self.get(timer), timer);
            }
        }
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_timers_come_once_each() {
        let mut timers = Timers::default();
        assert_eq!(timers.take_due(Instant::from_millis(9)), None);
        timers.set(Timer::Ack, Instant::from_millis(5));
        timers.set(Timer::Idle, Instant::from_millis(7));
        assert_eq!(timers.next(), (Instant::from_millis(5), Timer::Ack));
        assert_eq!(timers.earliest(), Instant::from_millis(5));
        assert_eq!(timers.take_due(Instant::from_millis(4)), None);
        assert_eq!(
            timers.take_due(Instant::from_millis(9)),
            Some((Timer::Idle, Instant::from_millis(7)))
        );
        assert_eq!(
            timers.take_due(Instant::from_millis(9)),
            Some((Timer::Ack, Instant::from_millis(5)))
        );
        assert_eq!(timers.take_due(Instant::from_millis(9)), None);
        assert_eq!((timers.next().0, timers.earliest()), (Instant::FAR, Instant::FAR));
        assert_eq!(timers.take_due(Instant::FAR), None, "what never comes is not due");
    }

    #[test]
    fn the_earliest_is_known_whichever_is_moved_where() {
        let mut timers = Timers::default();
        for step in 0..2000_u64 {
            // Any order will do in which each is set to early and late moments, and stopped.
            let timer = Timer::ALL[(step * 7 % 13) as usize];
            let at = Instant::from_micros(step * 7919 % 501);
            timers.set(timer, if step % 5 == 0 { Instant::FAR } else { at });
            assert_eq!(timers.earliest(), timers.next().0, "step {step}");
        }
    }

    #[test]
    fn every_timer_has_its_own_place() {
        let mut timers = Timers::default();
        for (n, timer) in Timer::ALL.into_iter().enumerate() {
            timers.set(timer, Instant::from_micros(n as u64));
        }
        for (n, timer) in Timer::ALL.into_iter().enumerate() {
            assert_eq!(timers.get(timer), Instant::from_micros(n as u64));
        }
    }
}
