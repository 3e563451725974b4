//! What was refused and why, counted.

use core::fmt;

/// Why a datagram, or a part of one, was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Refusal {
    /// It did not come from an address in the directory.
    UnknownSource,
    /// It is no datagram of this protocol, or is cut short or too long.
    Malformed,
    /// It came through a relay at which no session is bound.
    NotBound,
    /// A relay's message that answers nothing that was asked.
    Unexpected,
    /// It names no connection.
    UnknownConnection,
    /// A first message from a peer the application has not connected to.
    UnknownPeer,
    /// A first message whose authenticator does not fit.
    BadMac,
    /// A first message older than one seen before.
    StaleStamp,
    /// Another protocol version or an unknown cipher suite.
    Version,
    /// The handshake does not authenticate.
    Handshake,
    /// A packet number seen before, or too old to tell.
    Replay,
    /// It does not open under the connection's keys.
    Forged,
    /// It opened, but its content breaks the protocol.
    Protocol,
    /// A path challenge or response that names another relay or answers nothing.
    Path,
    /// A route that is not newer than the one known.
    StaleRoute,
    /// No room for one more request from a stranger.
    RequestsFull,
    /// A reliable frame had to wait for memory: the packet will come again.
    NoMemory,
    /// A relay's signed list that is forged, damaged, or longer than there is room for.
    Directory,
}

impl Refusal {
    /// Every reason, in the order of the counters.
    pub const ALL: [Self; 18] = [
        Self::UnknownSource,
        Self::Malformed,
        Self::NotBound,
        Self::Unexpected,
        Self::UnknownConnection,
        Self::UnknownPeer,
        Self::BadMac,
        Self::StaleStamp,
        Self::Version,
        Self::Handshake,
        Self::Replay,
        Self::Forged,
        Self::Protocol,
        Self::Path,
        Self::StaleRoute,
        Self::RequestsFull,
        Self::NoMemory,
        Self::Directory,
    ];

    /// A short name for metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::UnknownSource => "unknown_source",
            Self::Malformed => "malformed",
            Self::NotBound => "not_bound",
            Self::Unexpected => "unexpected",
            Self::UnknownConnection => "unknown_connection",
            Self::UnknownPeer => "unknown_peer",
            Self::BadMac => "bad_mac",
            Self::StaleStamp => "stale_stamp",
            Self::Version => "version",
            Self::Handshake => "handshake",
            Self::Replay => "replay",
            Self::Forged => "forged",
            Self::Protocol => "protocol",
            Self::Path => "path",
            Self::StaleRoute => "stale_route",
            Self::RequestsFull => "requests_full",
            Self::NoMemory => "no_memory",
            Self::Directory => "directory",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl core::error::Error for Refusal {}

/// What an endpoint has counted since its start.
#[derive(Clone, Copy, Default, Debug)]
pub struct Counters {
    /// Datagrams handed in.
    pub datagrams_in: u64,
    /// Their bytes.
    pub bytes_in: u64,
    /// Datagrams handed out.
    pub datagrams_out: u64,
    /// Their bytes.
    pub bytes_out: u64,
    refused: [u64; Refusal::ALL.len()],
}

impl Counters {
    /// How often something was refused for this reason.
    #[must_use]
    pub const fn refused(&self, reason: Refusal) -> u64 {
        self.refused[reason as usize]
    }

    /// How often something was refused at all.
    #[must_use]
    pub fn refused_in_all(&self) -> u64 {
        self.refused.iter().sum()
    }

    pub(crate) fn refuse(&mut self, reason: Refusal) {
        self.refused[reason as usize] += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_counter_and_name() {
        let mut counters = Counters::default();
        for (n, reason) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, n);
            counters.refuse(reason);
            assert_eq!(counters.refused(reason), 1);
        }
        assert_eq!(counters.refused_in_all(), Refusal::ALL.len() as u64);
        let mut names = Refusal::ALL.map(Refusal::name);
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
