//! A relay's settings: one plain struct, from TOML or by hand, checked before the first packet.

use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use waylane_core::relay::{Budget, RelayConfig, RelayConfigError, RelayLimits};

/// A relay's settings.
///
/// As TOML each field is a key of the same name; `mode` and `listen` must be there, unknown keys
/// are errors.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Whom the relay serves; never a default, so that no relay is open to the world by accident.
    pub mode: Mode,
    /// Where it listens: at most one IPv4 and one IPv6 address, with port.
    pub listen: Vec<SocketAddr>,
    /// The addresses in its directory entry, if players reach it by others than it listens on.
    #[serde(default)]
    pub announce: Vec<SocketAddr>,
    /// Its static key; made there if there is no such file. Without it (`dev` only) the relay is
    /// another one at each start.
    #[serde(default)]
    pub key_file: Option<PathBuf>,
    /// The region in its directory entry: letters, digits, `-`, `_`, `.`; at most 32.
    #[serde(default)]
    pub region: String,
    /// Sessions at most; each costs 192 bytes. Default 65,536.
    #[serde(default = "default_sessions")]
    pub sessions: u32,
    /// Binds answered but not yet proven at most. Default 1,024.
    #[serde(default = "default_pending")]
    pub pending: u32,
    /// Packets a second that one sender may send. Default 10,000.
    #[serde(default = "default_packets_per_second")]
    pub packets_per_second: u32,
    /// Bytes a second that one sender may send. Default 12,000,000.
    #[serde(default = "default_bytes_per_second")]
    pub bytes_per_second: u32,
    /// Milliseconds of budget that a sender may save up. Default 250.
    #[serde(default = "default_burst_ms")]
    pub burst_ms: u32,
    /// Seconds a session lasts without a keep-alive. Default 60.
    #[serde(default = "default_lifetime_s")]
    pub lifetime_s: u16,
    /// Seconds between keep-alives. Default 15.
    #[serde(default = "default_keep_alive_s")]
    pub keep_alive_s: u16,
    /// Hours a ticket can be used to come back with. Default 24.
    #[serde(default = "default_ticket_lifetime_h")]
    pub ticket_lifetime_h: u16,
    /// Bytes to ask the system for, for each socket buffer. Default 4 MiB.
    #[serde(default = "default_socket_buffer")]
    pub socket_buffer: u32,
    /// By what it talks to the system. Default `auto`.
    #[serde(default)]
    pub io: IoChoice,
    /// Workers, each a thread with a socket of its own; 0 for one for each processor. Default 0;
    /// there is always one where the system does not share out a port (all but Linux).
    #[serde(default)]
    pub workers: u16,
    /// Whether each worker stays on one processor (Linux). Default no.
    #[serde(default)]
    pub pin: bool,
}

/// By what a relay talks to the system.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum IoChoice {
    /// By the cheapest that the system has, as measured at the start.
    #[default]
    Auto,
    /// `io_uring` (Linux).
    Uring,
    /// `recvmmsg` and `sendmmsg` (Linux).
    Mmsg,
    /// One call a datagram, on every system.
    Std,
}

/// Whom a relay serves.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Mode {
    /// This machine only: it listens on loopback addresses and nowhere else.
    Dev,
    /// Everybody who reaches it.
    Open,
}

impl Config {
    /// A relay for this machine only, on 127.0.0.1:4433.
    #[must_use]
    pub fn dev() -> Self {
        Self {
            mode: Mode::Dev,
            listen: vec![SocketAddr::from(([127, 0, 0, 1], DEFAULT_PORT))],
            announce: Vec::new(),
            key_file: None,
            region: String::new(),
            sessions: default_sessions(),
            pending: default_pending(),
            packets_per_second: default_packets_per_second(),
            bytes_per_second: default_bytes_per_second(),
            burst_ms: default_burst_ms(),
            lifetime_s: default_lifetime_s(),
            keep_alive_s: default_keep_alive_s(),
            ticket_lifetime_h: default_ticket_lifetime_h(),
            socket_buffer: default_socket_buffer(),
            io: IoChoice::Auto,
            workers: 1,
            pin: false,
        }
    }

    /// The settings in a TOML text, checked.
    ///
    /// # Errors
    /// [`ConfigError`]: which key, and what to write instead.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text).map_err(|e| ConfigError::Toml(Box::new(e)))?;
        config.check()?;
        Ok(config)
    }

    /// The settings in a TOML file, checked.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|error| ConfigError::File { path: path.into(), error })?;
        Self::from_toml(&text)
    }

    /// Whether the settings make sense together.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn check(&self) -> Result<(), ConfigError> {
        let wrong = |key, fix| Err(ConfigError::Value { key, fix });
        let [v4, v6] = [true, false]
            .map(|v4| self.listen.iter().filter(|address| address.is_ipv4() == v4).count());
        if v4 + v6 == 0 {
            return wrong("listen", "name at least one address, such as \"0.0.0.0:4433\"");
        }
        if v4 > 1 || v6 > 1 {
            return wrong("listen", "name at most one IPv4 and one IPv6 address");
        }
        let loopback = self.listen.iter().all(|address| address.ip().is_loopback());
        if self.mode == Mode::Dev && !loopback {
            return wrong(
                "listen",
                "mode \"dev\" serves loopback addresses only: listen on 127.0.0.1 or [::1], or \
                 write mode = \"open\" to serve everybody who reaches the relay",
            );
        }
        if self.mode == Mode::Open && self.key_file.is_none() {
            return wrong(
                "key_file",
                "name a file (it is made if there is none): without a lasting key, players have to \
                 be given a new directory entry after each start",
            );
        }
        let anywhere = self.listen.iter().any(|address| address.ip().is_unspecified());
        if anywhere && self.announce.is_empty() {
            return wrong(
                "announce",
                "name the address by which players reach the relay, such as \"203.0.113.5:4433\": \
                 listen names all of the machine's",
            );
        }
        if usize::from(self.workers) > WORKERS_MAX {
            return wrong("workers", "1 to 256, or 0 for one for each processor");
        }
        self.core(0).check().map_err(ConfigError::Limits)
    }

    /// How much the relay holds.
    #[must_use]
    pub const fn limits(&self) -> RelayLimits {
        RelayLimits { sessions: self.sessions, pending: self.pending }
    }

    /// The part that the sessions' owner needs.
    pub(crate) fn core(&self, unix_seconds_at_start: u64) -> RelayConfig {
        RelayConfig {
            limits: self.limits(),
            budget: Budget {
                packets_per_second: self.packets_per_second,
                bytes_per_second: self.bytes_per_second,
                burst_ms: self.burst_ms,
            },
            lifetime: Duration::from_secs(u64::from(self.lifetime_s)),
            keep_alive: Duration::from_secs(u64::from(self.keep_alive_s)),
            ticket_lifetime: Duration::from_secs(u64::from(self.ticket_lifetime_h) * 3600),
            unix_seconds_at_start,
            ..RelayConfig::default()
        }
    }
}

/// Why settings do not serve: the operator's to mend.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Not TOML, a key that there is not, one that must be there, or a value of another type.
    Toml(Box<toml::de::Error>),
    /// A value that does not serve.
    Value {
        /// Of which key.
        key: &'static str,
        /// What to do.
        fix: &'static str,
    },
    /// Numbers out of range.
    Limits(RelayConfigError),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, error } => write!(f, "{}: {error}", path.display()),
            Self::Toml(error) => error.fmt(f),
            Self::Value { key, fix } => write!(f, "{key}: {fix}"),
            Self::Limits(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for ConfigError {}

const DEFAULT_PORT: u16 = 4433;
const WORKERS_MAX: usize = 256;

fn default_sessions() -> u32 {
    RelayLimits::default().sessions
}

fn default_pending() -> u32 {
    RelayLimits::default().pending
}

fn default_packets_per_second() -> u32 {
    Budget::default().packets_per_second
}

fn default_bytes_per_second() -> u32 {
    Budget::default().bytes_per_second
}

fn default_burst_ms() -> u32 {
    Budget::default().burst_ms
}

const fn default_lifetime_s() -> u16 {
    60
}

const fn default_keep_alive_s() -> u16 {
    15
}

const fn default_ticket_lifetime_h() -> u16 {
    24
}

const fn default_socket_buffer() -> u32 {
    4 << 20
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_file_is_read() {
        let config = Config::from_toml(
            r#"
            mode = "open"
            listen = ["0.0.0.0:4433", "[::]:4433"]
            announce = ["203.0.113.5:4433"]
            key_file = "relay.key"
            region = "eu-1"
            sessions = 1000
            lifetime_s = 90
            io = "mmsg"
            workers = 2
            pin = true
            "#,
        )
        .unwrap();
        assert_eq!((config.mode, config.listen.len(), config.sessions), (Mode::Open, 2, 1000));
        assert_eq!(config.core(0).lifetime, Duration::from_secs(90));
        assert_eq!((config.io, config.workers, config.pin), (IoChoice::Mmsg, 2, true));
    }

    #[test]
    fn the_defaults_are_cores() {
        Config::dev().check().unwrap();
        assert_eq!(Config::dev().core(0), RelayConfig::default());
    }

    #[test]
    fn errors_name_the_key_and_the_fix() {
        let cases = [
            ("listen = [\"127.0.0.1:1\"]", "mode"),
            ("mode = \"dev\"", "listen"),
            ("mode = \"dev\"\nlisten = [\"127.0.0.1:1\"]\nsesions = 5", "sesions"),
            ("mode = \"token\"\nlisten = [\"127.0.0.1:1\"]", "token"),
            ("mode = \"dev\"\nlisten = [\"somewhere:1\"]", "listen"),
            ("mode = \"dev\"\nlisten = []", "listen"),
            ("mode = \"dev\"\nlisten = [\"127.0.0.1:1\", \"127.0.0.1:2\"]", "at most one IPv4"),
            ("mode = \"dev\"\nlisten = [\"0.0.0.0:1\"]", "mode = \"open\""),
            ("mode = \"open\"\nlisten = [\"192.0.2.1:1\"]", "key_file"),
            ("mode = \"open\"\nlisten = [\"0.0.0.0:1\"]\nkey_file = \"k\"", "announce"),
            ("mode = \"dev\"\nlisten = [\"127.0.0.1:1\"]\nsessions = 3", "sessions"),
            ("mode = \"dev\"\nlisten = [\"127.0.0.1:1\"]\nlifetime_s = 3", "lifetime"),
            ("mode = \"dev\"\nlisten = [\"127.0.0.1:1\"]\nburst_ms = 0", "budget"),
            ("mode = \"dev\"\nlisten = [\"127.0.0.1:1\"]\nio = \"fast\"", "fast"),
            ("mode = \"dev\"\nlisten = [\"127.0.0.1:1\"]\nworkers = 300", "workers"),
        ];
        for (text, names) in cases {
            let error = Config::from_toml(text).unwrap_err().to_string();
            assert!(error.contains(names), "{text:?} gives {error:?}");
        }
    }
}
