//! What an endpoint is told at start.

use core::fmt;
use core::time::Duration;

use super::RelayChoice;
use crate::crypto::Secret;
use crate::fleet::FleetKey;
use crate::id::ApplicationId;
use crate::limits::{Limits, LimitsError};
use crate::recovery::{ControllerKind, Fixed, INITIAL_WINDOW, RATE_MAX, RateBounds, Steered};
use crate::token::Token;

/// Everything an endpoint is told at start. Every field has a documented default.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Which application this is: peers of different applications do not connect. Default 0.
    pub application: ApplicationId,
    /// The peer's X25519 secret key. Default: drawn from the provider's randomness.
    pub identity: Option<Secret>,
    /// Wall-clock time at the moment of `Endpoint::new`, in microseconds since 1970: what makes
    /// route epochs and handshake stamps grow across restarts with the same key. Default 0.
    pub unix_micros: u64,
    /// How long a silent connection lives. Default 30 s; at least 1 s.
    pub idle_timeout: Duration,
    /// How long a connection may take to begin. Default 30 s; at least 1 s.
    pub connect_timeout: Duration,
    /// How fast each connection may send. Default [`SendRate::ADAPTIVE`].
    pub rate: SendRate,
    /// How relays are chosen. Default [`RelayChoice::DEFAULT`].
    pub relays: RelayChoice,
    /// What a game's backend gave the player to show relays that ask for it. Default none.
    pub token: Option<Token>,
    /// The key that a fleet signs its lists of relays with: with it `Endpoint::set_signed_directory`
    /// takes such lists, and the home is asked for newer ones. Default none: nobody's are taken.
    pub fleet_key: Option<FleetKey>,
    /// Sizes of everything. Default [`Limits::DEFAULT`].
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            application: ApplicationId(0),
            identity: None,
            unix_micros: 0,
            idle_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(30),
            rate: SendRate::ADAPTIVE,
            relays: RelayChoice::DEFAULT,
            token: None,
            fleet_key: None,
            limits: Limits::DEFAULT,
        }
    }
}

impl Config {
    /// Checks every value.
    ///
    /// # Errors
    /// Names the first value that cannot be used.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.idle_timeout < Duration::from_secs(1) {
            return Err(ConfigError::IdleTimeout);
        }
        if self.connect_timeout < Duration::from_secs(1) {
            return Err(ConfigError::ConnectTimeout);
        }
        self.rate.check()?;
        if self.relays.sessions_max < 2 {
            return Err(ConfigError::SessionsMax);
        }
        self.limits.check().map_err(ConfigError::Limits)
    }
}

/// How fast a connection may send, headers included, over each of its paths. Real-time data up to
/// 64,000 bytes a second leaves in any case, so that no bound makes a game's state late.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SendRate {
    /// As fast as the path carries with a short queue, which is found out, but within bounds.
    Adaptive {
        /// Sent however slow the path seems to be, so that delay and losses are what gives way.
        /// Default 0.
        bytes_per_second_min: u64,
        /// Never exceeded; at least 10,000. Default 1,250,000,000, the most there can be.
        bytes_per_second_max: u64,
    },
    /// Always as fast as this, whatever becomes of it, with at most a second's worth
    /// unacknowledged: for networks of one's own, and for tests.
    Fixed {
        /// 10,000 to 1,250,000,000.
        bytes_per_second: u64,
    },
}

impl SendRate {
    /// As the path allows.
    pub const ADAPTIVE: Self =
        Self::Adaptive { bytes_per_second_min: 0, bytes_per_second_max: Self::RATE_MAX };

    /// The most there can be, in bytes per second: 10 Gbit/s.
    pub const RATE_MAX: u64 = RATE_MAX;

    fn check(self) -> Result<(), ConfigError> {
        let (least, most) = match self {
            Self::Adaptive { bytes_per_second_min, bytes_per_second_max } => {
                (bytes_per_second_min, bytes_per_second_max)
            }
            Self::Fixed { bytes_per_second } => (bytes_per_second, bytes_per_second),
        };
        if !(RATE_MAX_LEAST..=RATE_MAX).contains(&most) {
            return Err(ConfigError::Rate);
        }
        if least > most { Err(ConfigError::RateBounds) } else { Ok(()) }
    }

    pub(super) const fn controller(self) -> ControllerKind {
        match self {
            Self::Adaptive { bytes_per_second_min: min, bytes_per_second_max: max } => {
                ControllerKind::Steered(Steered::new(RateBounds { min, max }))
            }
            Self::Fixed { bytes_per_second: rate } => {
                let window = if rate < INITIAL_WINDOW { INITIAL_WINDOW } else { rate };
                ControllerKind::Fixed(Fixed { window, rate: Some(rate) })
            }
        }
    }
}

impl Default for SendRate {
    fn default() -> Self {
        Self::ADAPTIVE
    }
}

/// A value in [`Config`] cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ConfigError {
    /// `idle_timeout` is below one second.
    IdleTimeout,
    /// `connect_timeout` is below one second.
    ConnectTimeout,
    /// A rate of `rate` is below 10,000 or above 1,250,000,000 bytes per second.
    Rate,
    /// The minimum of `rate` is above its maximum.
    RateBounds,
    /// `relays.sessions_max` leaves no place for a home and a standby.
    SessionsMax,
    /// The limits do not fit together.
    Limits(LimitsError),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IdleTimeout => f.write_str("idle_timeout is below one second; use at least 1 s"),
            Self::ConnectTimeout => {
                f.write_str("connect_timeout is below one second; use at least 1 s")
            }
            Self::Rate => f.write_str(
                "rate: the maximum or fixed rate must be 10000 to 1250000000 bytes per second",
            ),
            Self::RateBounds => f.write_str(
                "rate: bytes_per_second_min is above bytes_per_second_max; lower it, or raise that",
            ),
            Self::SessionsMax => {
                f.write_str("relays.sessions_max is below 2; home and standby need one each")
            }
            Self::Limits(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for ConfigError {}

/// Less would not carry a handshake and keep-alives within their time-outs.
const RATE_MAX_LEAST: u64 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_that_make_no_sense_are_named() {
        let check = |rate| Config { rate, ..Config::default() }.check();
        let adaptive = |least, most| {
            check(SendRate::Adaptive { bytes_per_second_min: least, bytes_per_second_max: most })
        };
        let fixed = |rate| check(SendRate::Fixed { bytes_per_second: rate });
        assert_eq!(check(SendRate::ADAPTIVE), Ok(()));
        assert_eq!(adaptive(10_000, 10_000), Ok(()));
        assert_eq!(adaptive(0, 9_999), Err(ConfigError::Rate));
        assert_eq!(adaptive(10_001, 10_000), Err(ConfigError::RateBounds));
        assert_eq!(adaptive(0, RATE_MAX + 1), Err(ConfigError::Rate));
        assert_eq!((fixed(10_000), fixed(RATE_MAX)), (Ok(()), Ok(())));
        assert_eq!((fixed(0), fixed(u64::MAX)), (Err(ConfigError::Rate), Err(ConfigError::Rate)));
    }
}
