//! What a relay says of itself, apart from what it counts.

use core::net::SocketAddr;

use waylane_core::directory::RelayEntry;

use crate::config::Config;

/// What a relay is at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum RelayState {
    /// Bound, and not yet run: what clients send waits.
    Starting,
    /// It serves.
    Serving,
    /// It serves those it has, takes no others, and is about to stop.
    Draining,
    /// It serves nobody any more.
    Stopped,
}

impl RelayState {
    pub(crate) fn of(number: u8) -> Self {
        let all = [Self::Starting, Self::Serving, Self::Draining];
        all.into_iter().find(|state| *state as u8 == number).unwrap_or(Self::Stopped)
    }
}

/// What does not change while a relay runs.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct About {
    /// The region in its directory entry.
    pub region: String,
    /// Sessions at most.
    pub sessions_max: u32,
    /// Threads that forward.
    pub workers: usize,
    /// The ports it listens on.
    pub ports: Vec<u16>,
}

impl About {
    pub(crate) fn of(
        config: &Config,
        entry: &RelayEntry,
        workers: usize,
        local: &[SocketAddr],
    ) -> Self {
        Self {
            region: entry.region().to_owned(),
            sessions_max: config.sessions,
            workers,
            ports: local.iter().map(SocketAddr::port).collect(),
        }
    }
}
