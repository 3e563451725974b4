//! A relay's settings.

use core::time::Duration;

use super::admission::TokenRules;
use super::budget::{Budget, RatePrice};
use super::limiter::{AnswerRates, Rate};
use super::memory::RelayLimits;
use crate::wire::hop::Alternatives;

/// A relay's settings; [`Default`] is what the documentation promises.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RelayConfig {
    /// Sizes of the tables.
    pub limits: RelayLimits,
    /// What each sender may send.
    pub budget: Budget,
    /// What all sessions of one source may send together: of one IPv4 address or IPv6 /64.
    pub source: Budget,
    /// What may be sent to each destination, by all senders together.
    pub destination: Budget,
    /// What the relay forwards at most, if there is a limit.
    pub total: Option<Budget>,
    /// Handshake datagrams between peers.
    pub handshakes: HandshakeRates,
    /// How long a session lasts without a keep-alive; whole seconds, up to 65,535.
    pub lifetime: Duration,
    /// How often peers are asked to send one; whole seconds.
    pub keep_alive: Duration,
    /// How long a ticket can be used.
    pub ticket_lifetime: Duration,
    /// Hints, refusals and probe replies.
    pub answers: AnswerRates,
    /// Binds by handshake: each costs four scalar multiplications.
    pub binds: AnswerRates,
    /// The wall clock at [`Control::new`](super::Control::new), for the expiry of tickets.
    pub unix_seconds_at_start: u64,
    /// Whose tokens are asked for; none: whoever proves a key may have a session.
    pub tokens: Option<TokenRules>,
    /// Sessions from one IPv4 address or IPv6 /64 at most.
    pub sessions_per_source: u32,
    /// Sessions of one subject of tokens at most, where its token does not say another number.
    pub sessions_per_subject: u32,
    /// The relays that peers are told to go to when this one drains.
    pub alternatives: Alternatives,
}

impl Default for RelayConfig {
    fn default() -> Self {
        Self {
            limits: RelayLimits::default(),
            budget: Budget::default(),
            source: Budget {
                packets_per_second: 100_000,
                bytes_per_second: 120_000_000,
                ..Budget::default()
            },
            destination: Budget {
                packets_per_second: 40_000,
                bytes_per_second: 48_000_000,
                ..Budget::default()
            },
            total: None,
            handshakes: HandshakeRates::default(),
            lifetime: Duration::from_secs(60),
            keep_alive: Duration::from_secs(15),
            ticket_lifetime: Duration::from_secs(24 * 60 * 60),
            answers: AnswerRates {
                total: Rate { per_second: 20_000, burst: 20_000 },
                per_prefix: Rate { per_second: 500, burst: 1000 },
            },
            binds: AnswerRates {
                total: Rate { per_second: 1000, burst: 2000 },
                per_prefix: Rate { per_second: 200, burst: 500 },
            },
            unix_seconds_at_start: 0,
            tokens: None,
            sessions_per_source: 1024,
            sessions_per_subject: 8,
            alternatives: Alternatives::NONE,
        }
    }
}

/// How many handshake datagrams (0x40–0x42) are forwarded: each costs its receiver a MAC, and one
/// that passes for genuine four scalar multiplications.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HandshakeRates {
    /// From one sender, or all sessions of one subject of tokens. The burst is for a host that many
    /// join at once.
    pub sender: Rate,
    /// From all sessions of one IPv4 address or IPv6 /64 together.
    pub source: Rate,
    /// To one destination, from all senders together.
    pub destination: Rate,
    /// That the relay forwards at most, if there is a limit.
    pub total: Option<Rate>,
}

impl Default for HandshakeRates {
    /// 10 a second from each, 100 from each source and 50 to each, ten, ten and four seconds' worth
    /// at once.
    fn default() -> Self {
        Self {
            sender: Rate { per_second: 10, burst: 100 },
            source: Rate { per_second: 100, burst: 1000 },
            destination: Rate { per_second: 50, burst: 200 },
            total: None,
        }
    }
}

/// Why a [`RelayConfig`] or the memory lent for it does not serve.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum RelayConfigError {
    /// [`RelayLimits::sessions`] is not between 8 and 2²⁴ − 1.
    Sessions,
    /// [`RelayLimits::pending`] is not between 1 and 65,535.
    Pending,
    /// A budget's burst is smaller than one datagram, or longer than 10 s.
    Budget,
    /// A rate of handshakes has no burst, or one of more than 10 s' worth.
    Handshakes,
    /// `keep_alive` is below a second, or `lifetime` below `keep_alive` or above 65,535 seconds.
    Lifetime,
    /// A limit of sessions for one source or subject is 0.
    Circles,
    /// A lent slice has another length than the limits ask for.
    Memory,
}

impl core::fmt::Display for RelayConfigError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Sessions => "sessions must be between 8 and 16777215",
            Self::Pending => "pending must be between 1 and 65535",
            Self::Budget => {
                "the burst of a budget must hold one datagram (1472 bytes) and be 10 s at most"
            }
            Self::Handshakes => {
                "the burst of a rate of handshakes must be at least 1, and 10 s' worth at most"
            }
            Self::Lifetime => {
                "keep-alive must be at least 1 s, lifetime at least that and at most 65535 s"
            }
            Self::Circles => "a limit of sessions must let at least 1 be",
            Self::Memory => "the memory lent does not have the lengths the limits ask for",
        })
    }
}

impl core::error::Error for RelayConfigError {}

impl RelayConfig {
    /// Whether the settings make sense.
    ///
    /// # Errors
    /// Which of them does not.
    pub fn check(&self) -> Result<(), RelayConfigError> {
        self.limits.check()?;
        let budgets = [&self.budget, &self.source, &self.destination];
        if !budgets.into_iter().chain(&self.total).all(Budget::is_valid) {
            return Err(RelayConfigError::Budget);
        }
        let HandshakeRates { sender, source, destination, total } = self.handshakes;
        if ![sender, source, destination].into_iter().chain(total).all(RatePrice::is_valid) {
            return Err(RelayConfigError::Handshakes);
        }
        let longest = Duration::from_secs(u64::from(u16::MAX));
        let in_order = self.keep_alive <= self.lifetime && self.lifetime <= longest;
        if self.keep_alive < Duration::from_secs(1) || !in_order {
            return Err(RelayConfigError::Lifetime);
        }
        if self.sessions_per_source == 0 || self.sessions_per_subject == 0 {
            return Err(RelayConfigError::Circles);
        }
        Ok(())
    }
}
