//! What an endpoint is told at start.

use core::fmt;
use core::time::Duration;

use crate::crypto::Secret;
use crate::id::ApplicationId;
use crate::limits::{Limits, LimitsError};

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
        self.limits.check().map_err(ConfigError::Limits)
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
            Self::Limits(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for ConfigError {}
