//! What a manager is told at start.

use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use core::time::Duration;
use std::io::ErrorKind;
use std::path::PathBuf;

use waylane_core::crypto::Secret;
use waylane_core::directory::RelayEntry;
use waylane_core::endpoint::{self, AddRelayError, ConfigError, RelayChoice, SendRate};
use waylane_core::fleet::FleetKey;
use waylane_core::id::ApplicationId;
use waylane_core::limits::Limits;
use waylane_core::token::Token;

use crate::clock::unix_micros;
use crate::directory::DirectoryFileError;
use crate::emulation::{LinkEmulation, LinkEmulationError};
use crate::socket::{Binding, SocketError};

/// Everything a [`NetworkManager`](crate::NetworkManager) is told at start.
///
/// ```
/// use waylane::Config;
///
/// let config = Config { application: 12345, ..Config::default() };
/// assert!(config.directory.is_empty());
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    /// The relays this client trusts and sends to; it sends to nothing else. The first is home.
    /// Default: none, which is enough for who joins by an invite.
    pub directory: Vec<RelayEntry>,
    /// Which application this is: players of different applications do not connect. Default 0.
    pub application: u64,
    /// The player's X25519 secret key, which the peer id comes from. Default: another one at
    /// every start.
    pub identity: Option<Secret>,
    /// Local address of the IPv4 socket, opened only if a relay has an IPv4 address. Default: any
    /// interface, any free port.
    pub bind_v4: SocketAddrV4,
    /// Local address of the IPv6 socket, opened only if a relay has an IPv6 address. Default: any
    /// interface, any free port.
    pub bind_v6: SocketAddrV6,
    /// How long a connection lives of which nothing is heard. Default 30 s; at least 1 s.
    pub idle_timeout: Duration,
    /// How long a connection may take to begin. Default 30 s; at least 1 s.
    pub connect_timeout: Duration,
    /// How fast each connection may send. Default [`SendRate::ADAPTIVE`]: as fast as its path
    /// carries with a short queue, which is found out.
    pub rate: SendRate,
    /// What the game's backend gave this player, for relays that ask for it. Default: none.
    pub token: Option<Token>,
    /// How relays are chosen: farthest distance, region, number of sessions. Default
    /// [`RelayChoice::DEFAULT`].
    pub relays: RelayChoice,
    /// A file with more directory entries, one a line; empty lines and lines that begin with `#` do
    /// not count. Or, with `fleet_key`, a list that `waylane directory sign` wrote. It is looked at
    /// once a second and read again when it changes: relays that are new in it are added, those that
    /// are gone are left. Default: none.
    pub directory_file: Option<PathBuf>,
    /// The public key of whoever operates the relays, as `waylane directory keygen` prints it: lists
    /// of relays that are signed with it are taken from `directory_file`, by
    /// [`set_signed_directory`](crate::NetworkManager::set_signed_directory) and from any of the
    /// relays, and replace `directory`, which then is only where to begin. Default: none.
    pub fleet_key: Option<FleetKey>,
    /// Sizes of everything: no queue ever grows. Default [`Limits::DEFAULT`].
    pub limits: Limits,
    /// Bytes asked of the system for each socket's buffers: what arrives while the application
    /// pauses waits there. The system may grant less. Default 2 MiB.
    pub socket_buffer: usize,
    /// A bad link for what this client sends, to try things out. Default: none.
    pub outgoing: Option<LinkEmulation>,
    /// A bad link for what this client receives, to try things out. Default: none.
    pub incoming: Option<LinkEmulation>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            directory: Vec::new(),
            application: 0,
            identity: None,
            bind_v4: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0),
            bind_v6: SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, 0, 0, 0),
            idle_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(30),
            rate: SendRate::ADAPTIVE,
            token: None,
            relays: RelayChoice::DEFAULT,
            directory_file: None,
            fleet_key: None,
            limits: Limits::DEFAULT,
            socket_buffer: 2 << 20,
            outgoing: None,
            incoming: None,
        }
    }
}

impl Config {
    /// Checks every value; [`NetworkManager::new`](crate::NetworkManager::new) does it first.
    ///
    /// # Errors
    /// Names the first value that cannot be used.
    pub fn check(&self) -> Result<(), StartError> {
        self.to_core().check().map_err(StartError::Config)?;
        for link in [&self.outgoing, &self.incoming].into_iter().flatten() {
            link.check().map_err(StartError::Link)?;
        }
        if self.socket_buffer == 0 || self.socket_buffer > SOCKET_BUFFER_MAX {
            return Err(StartError::SocketBuffer);
        }
        Ok(())
    }

    pub(crate) fn to_core(&self) -> endpoint::Config {
        let mut config = endpoint::Config::default();
        config.application = ApplicationId(self.application);
        config.identity = self.identity.clone();
        config.unix_micros = unix_micros();
        config.idle_timeout = self.idle_timeout;
        config.connect_timeout = self.connect_timeout;
        config.rate = self.rate;
        config.token = self.token;
        config.fleet_key = self.fleet_key;
        config.relays = self.relays.clone();
        config.limits = self.limits;
        config
    }

    pub(crate) fn binding(&self) -> Binding {
        Binding { v4: self.bind_v4, v6: self.bind_v6, buffer: self.socket_buffer }
    }
}

/// Why a manager cannot start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum StartError {
    /// A value in [`Config`] cannot be used.
    Config(ConfigError),
    /// An emulated link cannot be as asked.
    Link(LinkEmulationError),
    /// `socket_buffer` is zero or above 1 GiB.
    SocketBuffer,
    /// A relay of the directory cannot be used.
    Relay(AddRelayError),
    /// The directory file cannot be used.
    DirectoryFile(DirectoryFileError),
    /// No socket could be opened for the directory's relays.
    Socket(SocketError),
    /// The system refuses the means to wait for sockets.
    System(ErrorKind),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::Link(error) => error.fmt(f),
            Self::SocketBuffer => f.write_str("socket_buffer must be 1 byte to 1 GiB"),
            Self::Relay(error) => write!(f, "a relay of the directory: {error}"),
            Self::DirectoryFile(error) => error.fmt(f),
            Self::Socket(error) => error.fmt(f),
            Self::System(kind) => write!(f, "the system has no way to wait for sockets: {kind}"),
        }
    }
}

impl core::error::Error for StartError {}

const SOCKET_BUFFER_MAX: usize = 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_make_no_sense_are_named() {
        assert_eq!(Config::default().check(), Ok(()));
        let check = |config: Config| config.check().unwrap_err();
        let short = Duration::from_millis(999);
        assert_eq!(
            check(Config { idle_timeout: short, ..Config::default() }),
            StartError::Config(ConfigError::IdleTimeout)
        );
        assert_eq!(
            check(Config { connect_timeout: short, ..Config::default() }),
            StartError::Config(ConfigError::ConnectTimeout)
        );
        let rate = SendRate::Fixed { bytes_per_second: 0 };
        assert_eq!(
            check(Config { rate, ..Config::default() }),
            StartError::Config(ConfigError::Rate)
        );
        let link = LinkEmulation { loss: 200.0, ..LinkEmulation::default() };
        assert_eq!(
            check(Config { incoming: Some(link), ..Config::default() }),
            StartError::Link(LinkEmulationError::Loss)
        );
        assert_eq!(
            check(Config { socket_buffer: 0, ..Config::default() }),
            StartError::SocketBuffer
        );
    }
}
