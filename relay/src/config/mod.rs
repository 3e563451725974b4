//! A relay's settings: one plain struct, from a file, the environment, flags or by hand, checked
//! before the first packet.

mod admin;
mod error;
mod key;
mod settings;

use core::net::SocketAddr;
use core::ops::RangeInclusive;
use core::time::Duration;
use std::path::PathBuf;

use waylane_core::crypto::Crypto as _;
use waylane_core::id::{PublicKey, RelayId};
use waylane_core::relay::{
    Budget, HandshakeRates, Rate, RelayConfig, RelayConfigError, RelayLimits, TokenRules,
};

use waylane_core::wire::hop::Alternatives;
use waylane_crypto::ring::Ring;

use crate::{directory, token_keys};
use key::{Applies, Setting, choice, keys, quoted, read};

pub use admin::AdminChoice;
pub use error::{ConfigError, Place};
pub use key::Key;
pub use settings::{Settings, sample};

keys! {
    /// Whom the relay serves. "dev": programs on this machine only, on loopback addresses. "token":
    /// who shows a token of the game's backend. "open": everybody who reaches it.
    mode: Mode = Mode::Dev, "", ANY, Start, "\"open\"";

    /// Where it listens: at most one IPv4 and one IPv6 address, with port.
    listen: Vec<SocketAddr> = Vec::new(), "", ANY, Start, "[\"0.0.0.0:4433\"]";

    /// The addresses in its directory entry, if players reach it by others than it listens on.
    announce: Vec<SocketAddr> = Vec::new(), "", ANY, Start, "[\"203.0.113.5:4433\"]";

    /// The file of its static key; made if there is none. Without it ("dev" only) the relay is
    /// another one at each start.
    key_file: Option<PathBuf> = None, "", ANY, Start, "\"/var/lib/waylane/relay.key\"";

    /// With mode "token": a file with the public keys of those who sign tokens, one a line, at most
    /// 16; read again at a reload.
    token_keys: Option<PathBuf> = None, "", ANY, Reload, "\"/etc/waylane/token-keys\"";

    /// A signed list of relays, as "waylane directory sign" writes it, for clients that ask for one;
    /// read again at a reload.
    directory_file: Option<PathBuf> = None, "", ANY, Reload, "\"/etc/waylane/directory\"";

    /// Whether tokens that name no player's key are good for whoever shows them.
    token_bearer: bool = false, "", ANY, Reload, "";

    /// The region in its directory entry, and the one that tokens may name: letters, digits, "-", "_", "."; at most 32.
    region: String = String::new(), "", ANY, Start, "\"eu-1\"";

    /// Sessions at most; each costs 192 bytes.
    sessions: u32 = RelayLimits::default().sessions, "sessions", 8..=16_777_215, Start, "";

    /// Sessions from one IPv4 address or IPv6 /64 at most.
    sessions_per_source: u32 = RelayConfig::default().sessions_per_source, "sessions",
        1..=16_777_215, Reload, "";

    /// Sessions of one subject of tokens at most, where its token says no other number.
    sessions_per_subject: u32 = RelayConfig::default().sessions_per_subject, "sessions",
        1..=16_777_215, Reload, "";

    /// Binds answered but not yet proven at most.
    pending: u32 = RelayLimits::default().pending, "binds", 1..=65_535, Start, "";

    /// What one sender may send.
    packets_per_second: u32 = Budget::default().packets_per_second, "packets a second",
        1..=10_000_000, Reload, "";

    /// What one sender may send: payload of UDP datagrams.
    bytes_per_second: u32 = Budget::default().bytes_per_second, "bytes a second",
        6_000..=4_294_967_295, Reload, "";

    /// What all sessions of one IPv4 address or IPv6 /64 may send together.
    source_packets_per_second: u32 = RelayConfig::default().source.packets_per_second,
        "packets a second", 1..=10_000_000, Reload, "";

    /// What all sessions of one IPv4 address or IPv6 /64 may send together.
    source_bytes_per_second: u32 = RelayConfig::default().source.bytes_per_second,
        "bytes a second", 6_000..=4_294_967_295, Reload, "";

    /// What may be sent to one player, by all senders together.
    destination_packets_per_second: u32 = RelayConfig::default().destination.packets_per_second,
        "packets a second", 1..=10_000_000, Reload, "";

    /// What may be sent to one player, by all senders together.
    destination_bytes_per_second: u32 = RelayConfig::default().destination.bytes_per_second,
        "bytes a second", 6_000..=4_294_967_295, Reload, "";

    /// What the relay forwards in all; 0 for no limit.
    total_packets_per_second: u32 = 0, "packets a second", 0..=10_000_000, Reload, "";

    /// What the relay forwards in all; 0 for no limit.
    total_bytes_per_second: u32 = 0, "bytes a second", 0..=4_294_967_295, Reload, "";

    /// How much of each of these budgets may be saved up.
    burst_ms: u32 = Budget::default().burst_ms, "milliseconds", 1..=10_000, Reload, "";

    /// Handshakes between players that one sender may begin or answer, or all sessions of one subject
    /// of tokens; 10 s' worth at once.
    handshakes_per_second: u32 = HandshakeRates::default().sender.per_second,
        "datagrams a second", 1..=1_000_000, Reload, "";

    /// The same for all sessions of one IPv4 address or IPv6 /64 together; 10 s' worth at once.
    source_handshakes_per_second: u32 = HandshakeRates::default().source.per_second,
        "datagrams a second", 1..=1_000_000, Reload, "";

    /// Handshake datagrams that may be sent to one player, by all senders together; 4 s' worth at
    /// once.
    destination_handshakes_per_second: u32 = HandshakeRates::default().destination.per_second,
        "datagrams a second", 1..=1_000_000, Reload, "";

    /// Handshake datagrams between players that the relay forwards in all; 4 s' worth at once; 0 for
    /// no limit.
    total_handshakes_per_second: u32 = 0, "datagrams a second", 0..=1_000_000, Reload, "";

    /// How long a session lasts without a keep-alive.
    lifetime_s: u16 = 60, "seconds", 1..=65_535, Start, "";

    /// How often clients are asked for a keep-alive; at most lifetime_s.
    keep_alive_s: u16 = 15, "seconds", 1..=65_535, Start, "";

    /// How long a ticket can be used to come back with.
    ticket_lifetime_h: u16 = 24, "hours", 1..=65_535, Start, "";

    /// How long a relay that is told to stop (SIGTERM) goes on for those who are still there.
    drain_timeout_s: u16 = 300, "seconds", 0..=65_535, Reload, "";

    /// The relays that players are told to go to when this one stops, the best first and at most 4:
    /// what stands before the "@" of their directory entries. It is a wish among the relays that a
    /// player knows; nobody goes to another.
    drain_to: Vec<PublicKey> = Vec::new(), "", ANY, Reload,
        "[\"hSDwCYkwp1R0i33ctD73Wg2_Og0mOBr066SpjqqbTmo\"]";

    /// A Unix socket by which the next relay that is started with these settings takes over
    /// sockets and sessions from this one. Only its own user can use it.
    handover_socket: Option<PathBuf> = None, "", ANY, Start, "\"/run/waylane/handover\"";

    /// What to ask the system for, for each socket buffer.
    socket_buffer: u32 = 4 << 20, "bytes", 4_096..=1_073_741_824, Start, "";

    /// By what it talks to the system. "auto" is the cheapest there is, as measured at the start;
    /// "uring" and "mmsg" are Linux's; "std" is a call a datagram, on every system.
    io: IoChoice = IoChoice::Auto, "", ANY, Start, "";

    /// Workers, each a thread with a socket of its own; 0 for one for each processor. There is one
    /// where the system does not share out a port (all but Linux).
    workers: u16 = 0, "workers", 0..=256, Start, "";

    /// Whether each worker stays on one processor (Linux).
    pin: bool = false, "", ANY, Start, "";

    /// Whether the kernel itself forwards data between live sessions (Linux; a program built with
    /// the feature ebpf). "xdp" is in the network's driver or right behind it; "tc" later, before
    /// the sockets; "auto" is the first of these that can be had, or else "off".
    fast_path: FastPathChoice = FastPathChoice::Auto, "", ANY, Start, "";

    /// The network interface at which the kernel forwards. Not set, it is the one that has the
    /// address listened on or announced, or else the one that the default route leaves by.
    interface: String = String::new(), "", ANY, Start, "\"eth0\"";

    /// Where it shows metrics, health and a page, by HTTP and to whoever reaches it: "auto" is
    /// 127.0.0.1:9433, or a free port if that is taken.
    admin: AdminChoice = AdminChoice::Auto, "", ANY, Start, "";

    /// How the log is written, to standard error: for people, or a JSON object a line.
    log_format: LogFormat = LogFormat::Text, "", ANY, Start, "";

    /// Whether the log names players' addresses. Otherwise each stands as a hash, which is
    /// another one after each start.
    log_addresses: bool = false, "", ANY, Start, "";
}

choice! {
    /// How a log is written.
    LogFormat, "\"text\" or \"json\"" {
        /// For people.
        Text = "text",
        /// A JSON object a line.
        Json = "json",
    }
}

choice! {
    /// Whom a relay serves.
    Mode, "\"dev\", \"token\" or \"open\"" {
        /// This machine only: it listens on loopback addresses and nowhere else.
        Dev = "dev",
        /// Who shows a token of the game's backend.
        Token = "token",
        /// Everybody who reaches it.
        Open = "open",
    }
}

choice! {
    /// By what a relay talks to the system.
    IoChoice, "\"auto\", \"uring\", \"mmsg\" or \"std\"" {
        /// By the cheapest that the system has, as measured at the start.
        Auto = "auto",
        /// `io_uring` (Linux).
        Uring = "uring",
        /// `recvmmsg` and `sendmmsg` (Linux).
        Mmsg = "mmsg",
        /// One call a datagram, on every system.
        Std = "std",
    }
}

choice! {
    /// Where the kernel forwards between live sessions; what it does not, the workers do.
    FastPathChoice, "\"auto\", \"xdp\", \"tc\" or \"off\"" {
        /// In the driver if it can, or else before the sockets, or else nowhere.
        Auto = "auto",
        /// By XDP: in the driver, or right behind it.
        Xdp = "xdp",
        /// Where the kernel classifies traffic, before the sockets.
        Tc = "tc",
        /// Nowhere: the workers do it all.
        Off = "off",
    }
}

impl Config {
    /// A relay for this machine only, on 127.0.0.1:4433, with one worker.
    #[must_use]
    pub fn dev() -> Self {
        let listen = vec![SocketAddr::from(([127, 0, 0, 1], DEFAULT_PORT))];
        Self { listen, workers: 1, ..Self::defaults() }
    }

    /// Whether the settings make sense, each and together.
    ///
    /// # Errors
    /// [`ConfigError`]: which key, and what to write instead.
    pub fn check(&self) -> Result<(), ConfigError> {
        let wrong = |key, fix| Err(ConfigError::new(key, fix));
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
                 write mode = \"token\" or mode = \"open\"",
            );
        }
        if self.mode != Mode::Dev && self.key_file.is_none() {
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
        if !is_region(&self.region) {
            return wrong("region", "write at most 32 letters, digits, \"-\", \"_\", \".\"");
        }
        if !is_interface(&self.interface) {
            return wrong("interface", "write the name of one, as \"ip link\" shows it");
        }
        if self.drain_to.len() > Alternatives::MAX {
            return wrong("drain_to", "name at most 4 relays");
        }
        if cfg!(not(unix)) && self.handover_socket.is_some() {
            return wrong("handover_socket", "this system has no way to hand sockets over");
        }
        self.directory()?;
        self.core(0)?.check().map_err(ConfigError::from)
    }

    /// The signed list that clients are given, if there is one.
    ///
    /// # Errors
    /// [`ConfigError`] when its file does not serve.
    pub(crate) fn directory(&self) -> Result<Option<directory::File>, ConfigError> {
        self.directory_file.as_deref().map(directory::load).transpose()
    }

    /// How much the relay holds.
    #[must_use]
    pub const fn limits(&self) -> RelayLimits {
        RelayLimits { sessions: self.sessions, pending: self.pending }
    }

    /// How long it goes on when it is told to stop.
    #[must_use]
    pub const fn drain_timeout(&self) -> Duration {
        Duration::from_secs(self.drain_timeout_s as u64)
    }

    /// The part that the sessions' owner needs.
    ///
    /// # Errors
    /// [`ConfigError`] when the file with the tokens' keys does not serve.
    pub(crate) fn core(&self, unix_seconds_at_start: u64) -> Result<RelayConfig, ConfigError> {
        Ok(RelayConfig {
            limits: self.limits(),
            budget: self.budget(self.packets_per_second, self.bytes_per_second),
            source: self.budget(self.source_packets_per_second, self.source_bytes_per_second),
            destination: self
                .budget(self.destination_packets_per_second, self.destination_bytes_per_second),
            total: self.total(),
            handshakes: HandshakeRates {
                sender: saved_up(self.handshakes_per_second, 10),
                source: saved_up(self.source_handshakes_per_second, 10),
                destination: saved_up(self.destination_handshakes_per_second, 4),
                total: match self.total_handshakes_per_second {
                    0 => None,
                    per_second => Some(saved_up(per_second, 4)),
                },
            },
            lifetime: Duration::from_secs(u64::from(self.lifetime_s)),
            keep_alive: Duration::from_secs(u64::from(self.keep_alive_s)),
            ticket_lifetime: Duration::from_secs(u64::from(self.ticket_lifetime_h) * 3600),
            unix_seconds_at_start,
            tokens: self.tokens()?,
            sessions_per_source: self.sessions_per_source,
            sessions_per_subject: self.sessions_per_subject,
            alternatives: self.alternatives(),
            ..RelayConfig::default()
        })
    }

    fn alternatives(&self) -> Alternatives {
        let mut alternatives = Alternatives::NONE;
        for key in &self.drain_to {
            // No more than were checked.
            let _ = alternatives.push(RelayId::from_key_hash(&<Ring>::sha256(&[&key.0])));
        }
        alternatives
    }

    fn tokens(&self) -> Result<Option<TokenRules>, ConfigError> {
        if self.mode != Mode::Token {
            return Ok(None);
        }
        let path = self.token_keys.as_deref().ok_or_else(|| {
            ConfigError::new(
                "token_keys",
                "name the file with the public keys of those who sign tokens; 'waylane token \
                 keygen' makes one",
            )
        })?;
        let region = self.region.parse().unwrap_or_default();
        Ok(Some(TokenRules { keys: token_keys::load(path)?, bearer: self.token_bearer, region }))
    }

    const fn budget(&self, packets_per_second: u32, bytes_per_second: u32) -> Budget {
        Budget { packets_per_second, bytes_per_second, burst_ms: self.burst_ms }
    }

    fn total(&self) -> Option<Budget> {
        let [packets, bytes] = [self.total_packets_per_second, self.total_bytes_per_second]
            .map(|rate| if rate == 0 { u32::MAX } else { rate });
        (packets.min(bytes) < u32::MAX).then(|| self.budget(packets, bytes))
    }
}

/// A rate of which this many seconds' worth may come at once.
const fn saved_up(per_second: u32, seconds: u32) -> Rate {
    Rate { per_second, burst: per_second.saturating_mul(seconds) }
}

impl From<RelayConfigError> for ConfigError {
    fn from(error: RelayConfigError) -> Self {
        let key = match error {
            RelayConfigError::Sessions => "sessions",
            RelayConfigError::Pending => "pending",
            RelayConfigError::Budget => "burst_ms",
            RelayConfigError::Handshakes => "handshakes_per_second",
            RelayConfigError::Circles => "sessions_per_source",
            RelayConfigError::Lifetime => "keep_alive_s",
            RelayConfigError::Memory | _ => "",
        };
        Self::new(key, &error.to_string())
    }
}

fn is_region(text: &str) -> bool {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    text.len() <= 32 && text.bytes().all(is_legal)
}

/// What Linux takes for an interface's name; or none.
fn is_interface(text: &str) -> bool {
    text.len() < 16 && text.chars().all(|c| c != '/' && !c.is_whitespace() && !c.is_control())
}

const DEFAULT_PORT: u16 = 4433;
/// The range of what is no number.
const ANY: RangeInclusive<u64> = 0..=u64::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_cores() {
        Config::dev().check().unwrap();
        assert_eq!(Config::dev().core(0).unwrap(), RelayConfig::default());
    }

    #[test]
    fn every_error_of_core_names_a_key() {
        for error in [
            RelayConfigError::Sessions,
            RelayConfigError::Pending,
            RelayConfigError::Budget,
            RelayConfigError::Handshakes,
            RelayConfigError::Lifetime,
        ] {
            let key = ConfigError::from(error).key().to_owned();
            assert!(KEYS.iter().any(|other| other.name() == key), "{error:?} names {key:?}");
        }
    }
}
