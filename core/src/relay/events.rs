//! Which sessions began and ended, for whoever keeps a log.

use core::net::SocketAddr;

use heapless::Deque;

use super::address::Address;
use super::sessions::State;
use crate::id::SessionId;

/// A session began or ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionEvent {
    /// Which session.
    pub session: SessionId,
    /// Where its peer is, or was.
    pub address: SocketAddr,
    /// What happened to it.
    pub change: SessionChange,
}

/// What happened to a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SessionChange {
    /// It began.
    Begun,
    /// Its peer left, or another peer now has its address.
    Left,
    /// Its lifetime is over: by silence, or because the relay ends.
    Expired,
    /// Its token expired a minute ago, and no other one was shown.
    TokenExpired,
    /// Its peer began another one elsewhere.
    Replaced,
}

/// The latest events that nobody has asked for.
pub(super) struct Events(Deque<SessionEvent, EVENTS_MAX>);

impl Events {
    pub(super) const fn new() -> Self {
        Self(Deque::new())
    }

    /// Notes one. If nobody asks, the oldest are forgotten.
    pub(super) fn note(&mut self, session: SessionId, address: Address, change: SessionChange) {
        let Some(address) = address.to_socket_addr() else { return };
        if self.0.is_full() {
            self.0.pop_front();
        }
        let _ = self.0.push_back(SessionEvent { session, address, change });
    }

    pub(super) fn next(&mut self) -> Option<SessionEvent> {
        self.0.pop_front()
    }
}

impl SessionChange {
    /// As what a session stands that ended so until its peer is told; `None` if there is nothing
    /// to tell.
    pub(super) const fn farewell(self) -> Option<State> {
        match self {
            Self::Begun | Self::Left => None,
            Self::Expired | Self::TokenExpired => Some(State::Expired),
            Self::Replaced => Some(State::Replaced),
        }
    }
}

/// As many as one call causes at most.
const EVENTS_MAX: usize = 256;
