//! A relay's statistics, as they are shown.

use waylane_core::relay::{ControlCounters, Counters};

/// What became of every datagram so far.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct RelayCounters {
    /// Datagrams received.
    pub received: u64,
    /// Of these, what the forwarder decided.
    pub forward: Counters,
    /// Of its control datagrams, what came of them.
    pub control: ControlCounters,
    /// Datagrams that the system did not take for sending.
    pub send_failed: u64,
}

impl RelayCounters {
    /// Every reason for which datagrams are dropped, and how many were.
    pub fn drops(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let (forward, control) = (self.forward, self.control.dropped);
        [
            ("unbound", forward.unbound),
            ("malformed", forward.malformed + control.malformed),
            ("over_budget", forward.over_budget),
            ("no_destination", forward.no_destination),
            ("to_itself", forward.to_itself),
            ("wrong_direction", control.wrong_direction),
            ("unknown_source", control.unknown_source),
            ("forged", control.forged),
            ("replayed", control.replayed),
            ("rate_limited", control.rate_limited),
            ("index_full", control.index_full),
            ("send_failed", self.send_failed),
        ]
        .into_iter()
    }
}
