//! One checked set of limits: how much of everything there may be. Nothing grows after start.

use core::fmt;

use crate::channel::ChannelLimits;

/// How much of everything one endpoint may have. `docs/limits.md` explains each and what it costs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Peers at a time: at least 1, at most 15,000.
    pub peers: u16,
    /// Relays in the directory: at least 1, at most 64.
    pub relays: u8,
    /// Strangers whose requests are kept at a time, at most 16.
    pub requests: u8,
    /// Packets in flight, of all peers together.
    pub sent_packets: u32,
    /// Messages, channels and windows; its `peers_max` is set from `peers`.
    pub channels: ChannelLimits,
}

impl Limits {
    /// 64 peers, 16 relays, 16 requests, 8,192 packets in flight, [`ChannelLimits::DEFAULT`].
    pub const DEFAULT: Self = Self::for_peers(64);

    /// The default limits for another number of peers.
    #[must_use]
    pub const fn for_peers(peers: u16) -> Self {
        Self {
            peers,
            relays: 16,
            requests: 16,
            sent_packets: 8192,
            channels: ChannelLimits::for_peers(peers as u32),
        }
    }

    /// Checks that the limits fit together.
    ///
    /// # Errors
    /// Names the first that does not.
    pub fn check(&self) -> Result<(), LimitsError> {
        if self.peers == 0 || self.peers > PEERS_MAX {
            return Err(LimitsError::Peers);
        }
        if self.relays == 0 || self.relays > RELAYS_MAX {
            return Err(LimitsError::Relays);
        }
        if self.requests > REQUESTS_MAX {
            return Err(LimitsError::Requests);
        }
        if self.sent_packets < SENT_PACKETS_MIN {
            return Err(LimitsError::SentPackets);
        }
        if self.channels.peers_max != u32::from(self.peers) || !self.channels.is_consistent() {
            return Err(LimitsError::Channels);
        }
        Ok(())
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// The limits do not fit together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum LimitsError {
    /// `peers` is 0 or above 15,000.
    Peers,
    /// `relays` is 0 or above 64.
    Relays,
    /// `requests` is above 16.
    Requests,
    /// `sent_packets` is below 16.
    SentPackets,
    /// A pool is too small for what each peer is promised, or `channels.peers_max` is not `peers`.
    Channels,
}

impl fmt::Display for LimitsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Peers => "limits.peers must be between 1 and 15000",
            Self::Relays => "limits.relays must be between 1 and 64",
            Self::Requests => "limits.requests must be at most 16",
            Self::SentPackets => "limits.sent_packets must be at least 16",
            Self::Channels => {
                "limits.channels does not fit: start from ChannelLimits::for_peers(peers) and make \
                 pools larger or messages smaller"
            }
        })
    }
}

impl core::error::Error for LimitsError {}

/// Connection indices hold 16,384 slots, channel slots a little less.
const PEERS_MAX: u16 = 15_000;
pub(crate) const RELAYS_MAX: u8 = 64;
const REQUESTS_MAX: u8 = 16;
const SENT_PACKETS_MIN: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_fit_and_each_error_is_found() {
        for peers in [1, 2, 64, 1000, 15_000] {
            assert_eq!(Limits::for_peers(peers).check(), Ok(()), "{peers}");
        }
        let with = |change: fn(&mut Limits)| {
            let mut limits = Limits::DEFAULT;
            change(&mut limits);
            limits.check()
        };
        assert_eq!(with(|l| l.peers = 0), Err(LimitsError::Peers));
        assert_eq!(with(|l| l.relays = 65), Err(LimitsError::Relays));
        assert_eq!(with(|l| l.requests = 17), Err(LimitsError::Requests));
        assert_eq!(with(|l| l.sent_packets = 0), Err(LimitsError::SentPackets));
        assert_eq!(with(|l| l.peers = 3), Err(LimitsError::Channels));
    }
}
