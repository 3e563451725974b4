//! What the log says of sessions and drops: a line a session, and no line a datagram.

use core::fmt;
use core::hash::BuildHasher as _;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::hash::RandomState;

use waylane_core::relay::{SessionChange, SessionEvent};
use waylane_core::time::Instant;

use crate::counters::RelayCounters;

/// Writes the log of one relay.
pub(crate) struct Journal {
    names: Names,
    /// When this was begun, in seconds.
    started: u64,
    /// How long after that each slot's session began, in seconds: those that were there already
    /// count from then.
    begun: Vec<u32>,
    /// The second that lines are counted in, and how many it has.
    second: u64,
    lines: u32,
    /// Sessions that ended without a line, since the latest summary.
    untold: u64,
    next_summary: Instant,
    /// What was dropped before the latest summary.
    dropped: Vec<u64>,
}

impl Journal {
    /// For a relay with room for `sessions`.
    pub(crate) fn new(now: Instant, sessions: u32) -> Self {
        Self {
            names: Names { key: Some(RandomState::new()) },
            started: now.as_millis() / 1000,
            begun: vec![0; sessions as usize],
            second: 0,
            lines: 0,
            untold: 0,
            next_summary: now + SUMMARY_EVERY,
            dropped: Vec::new(),
        }
    }

    pub(crate) fn log_addresses(&mut self, log_addresses: bool) {
        self.names.key = (!log_addresses).then(RandomState::new);
    }

    /// Notes that a session began, or tells that it ended.
    pub(crate) fn note(&mut self, now: Instant, event: SessionEvent) {
        let seconds = (now.as_millis() / 1000).saturating_sub(self.started);
        let Some(begun) = self.begun.get_mut(event.session.slot() as usize) else { return };
        let reason = match event.change {
            SessionChange::Begun => {
                *begun = seconds as u32;
                return;
            }
            SessionChange::Left => "left",
            SessionChange::Expired => "expired",
            SessionChange::TokenExpired => "token_expired",
            SessionChange::Replaced => "replaced",
            _ => "ended",
        };
        let lasted = seconds.saturating_sub(u64::from(*begun));
        if self.second != seconds {
            (self.second, self.lines) = (seconds, 0);
        }
        // Whoever begins and ends sessions all the time does not write the log.
        if self.lines == LINES_A_SECOND {
            self.untold += 1;
            return;
        }
        self.lines += 1;
        let peer = self.names.of(event.address);
        let slot = event.session.slot();
        tracing::info!(slot, %peer, seconds = lasted, reason, "session ended");
    }

    /// Tells what was dropped since the latest summary, if it is time to and anything was.
    pub(crate) fn summarize(&mut self, now: Instant, counters: impl FnOnce() -> RelayCounters) {
        if now < self.next_summary {
            return;
        }
        self.next_summary = now + SUMMARY_EVERY;
        let drops: Vec<(&str, u64)> = counters().drops().collect();
        let before = core::mem::replace(&mut self.dropped, drops.iter().map(|d| d.1).collect());
        let mut parts: Vec<String> = Vec::new();
        for (number, (reason, count)) in drops.into_iter().enumerate() {
            let more = count.saturating_sub(before.get(number).copied().unwrap_or(0));
            if more > 0 {
                parts.push(format!("{reason} {more}"));
            }
        }
        let seconds = SUMMARY_EVERY.as_secs();
        if !parts.is_empty() {
            tracing::info!(seconds, datagrams = parts.join(", "), "dropped");
        }
        let untold = core::mem::take(&mut self.untold);
        if untold > 0 {
            tracing::info!(seconds, sessions = untold, "more sessions ended than have a line");
        }
    }
}

/// What the log calls addresses: a hash under a key of this process, the same for all ports of a
/// host, so that lines about one host are found without anybody learning which it is.
struct Names {
    /// None: by themselves.
    key: Option<RandomState>,
}

enum Name {
    Plain(SocketAddr),
    Hash(u64),
}

impl Names {
    fn of(&self, address: SocketAddr) -> Name {
        match &self.key {
            None => Name::Plain(address),
            Some(key) => Name::Hash(key.hash_one::<IpAddr>(address.ip())),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(address) => address.fmt(f),
            Self::Hash(hash) => write!(f, "#{:012x}", hash >> 16),
        }
    }
}

const LINES_A_SECOND: u32 = 50;
const SUMMARY_EVERY: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::fmt::MakeWriter;
    use waylane_core::id::SessionId;

    use super::*;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Log {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    /// What `write` has the journal of a relay write.
    fn log(write: impl FnOnce(&mut Journal)) -> String {
        let log = Log::default();
        let subscriber =
            tracing_subscriber::fmt().with_writer(log.clone()).with_ansi(false).finish();
        let mut journal = Journal::new(Instant::ZERO, 8);
        tracing::subscriber::with_default(subscriber, || write(&mut journal));
        String::from_utf8(log.0.lock().unwrap().clone()).unwrap()
    }

    fn event(slot: u32, change: SessionChange) -> SessionEvent {
        let address = SocketAddr::from(([192, 0, 2, 7], 4000 + slot as u16));
        SessionEvent { session: SessionId::new(slot, 5), address, change }
    }

    #[test]
    fn a_session_has_one_line_with_its_length_and_no_address() {
        let text = log(|journal| {
            journal.note(Instant::from_millis(2_000), event(3, SessionChange::Begun));
            journal.note(Instant::from_millis(65_000), event(3, SessionChange::Left));
        });
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains("session ended") && text.contains("seconds=63"), "{text}");
        assert!(text.contains("reason=\"left\"") && text.contains("peer=#"), "{text}");
        assert!(!text.contains("192.0.2.7") && !text.contains("4003"), "{text}");
    }

    #[test]
    fn the_line_tells_a_tokens_end_from_silence() {
        for (change, reason) in [
            (SessionChange::Left, "left"),
            (SessionChange::Expired, "expired"),
            (SessionChange::TokenExpired, "token_expired"),
            (SessionChange::Replaced, "replaced"),
        ] {
            let text = log(|journal| journal.note(Instant::ZERO, event(1, change)));
            assert!(text.contains(&format!("reason=\"{reason}\"")), "{text}");
        }
    }

    #[test]
    fn hashes_are_of_hosts_and_of_one_process() {
        let peers = |text: &str| -> Vec<String> {
            let peer = |line: &str| {
                line.split("peer=").nth(1).unwrap().split(' ').next().unwrap().to_owned()
            };
            text.lines().map(peer).collect()
        };
        let two = |journal: &mut Journal| {
            for slot in [1, 2] {
                journal.note(Instant::ZERO, event(slot, SessionChange::Expired));
            }
        };
        let (first, second) = (peers(&log(two)), peers(&log(two)));
        assert_eq!(first[0], first[1], "two ports of one host");
        assert_ne!(first, second, "another process would have another key");
        let plain = log(|journal| {
            journal.log_addresses(true);
            journal.note(Instant::ZERO, event(1, SessionChange::Replaced));
        });
        assert!(plain.contains("peer=192.0.2.7:4001"), "{plain}");
    }

    #[test]
    fn whoever_comes_and_goes_all_the_time_does_not_write_the_log() {
        let text = log(|journal| {
            for _ in 0..1000 {
                journal.note(Instant::from_millis(500), event(1, SessionChange::Begun));
                journal.note(Instant::from_millis(500), event(1, SessionChange::Left));
            }
            journal.summarize(Instant::from_millis(60_000), RelayCounters::default);
        });
        assert_eq!(text.lines().count(), LINES_A_SECOND as usize + 1, "{text}");
        assert!(text.contains("sessions=950"), "{text}");
    }

    #[test]
    fn drops_are_summed_up_once_a_minute() {
        let mut counters = RelayCounters::default();
        let text = log(|journal| {
            counters.workers.queue_full = 7;
            journal.summarize(Instant::from_millis(1_000), || counters);
            journal.summarize(Instant::from_millis(60_000), || counters);
            journal.summarize(Instant::from_millis(60_001), || counters);
            journal.summarize(Instant::from_millis(120_000), || counters);
            counters.workers.queue_full = 9;
            counters.workers.forward.unbound = 1;
            journal.summarize(Instant::from_millis(180_000), || counters);
        });
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(lines[0].contains("queue_full 7"), "{text}");
        assert!(lines[1].contains("unbound 1, queue_full 2"), "{text}");
    }
}
