//! The sessions that both sides know, and the source that sends to them.

use core::fmt;
use core::net::{Ipv4Addr, SocketAddr};
use core::str::FromStr;
use std::io;
use std::net::UdpSocket;
use std::time::Instant as Clock;

use quinn_udp::{Transmit, UdpSocketState};
use waylane_core::crypto::Secret;
use waylane_core::id::{PublicKey, SessionId};
use waylane_core::relay::{Budget, RelayConfig, RelayLimits};
use waylane_core::time::Instant;
use waylane_crypto::Seeded;
use waylane_crypto::ring::Ring;
use waylane_relay::io::Outlet;
use waylane_relay::{Owner, SharedTables};

use crate::net::{RELAY, SOURCE};

/// Who sends to whom, what, and how fast.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    /// Live sessions, besides the senders'.
    pub(crate) sessions: u32,
    /// To how many of them datagrams go.
    pub(crate) destinations: u32,
    /// Among how many of these the next one is drawn; if fewer, another one is let in for the
    /// eldest with every datagram, so that in the end all had their turn.
    pub(crate) at_once: u32,
    /// Lengths in turn: one, or W1's.
    pub(crate) mixed: bool,
    /// Datagrams a second; 0 for as many as can be.
    pub(crate) a_second: u32,
    /// Datagrams altogether; 0 for no end.
    pub(crate) count: u32,
}

impl Load {
    /// All that can be, to this many sessions at random.
    pub(crate) const fn random(sessions: u32) -> Self {
        Self {
            sessions,
            destinations: sessions,
            at_once: sessions,
            mixed: false,
            a_second: 0,
            count: 0,
        }
    }

    /// To some of a thousand sessions.
    pub(crate) const fn hot(destinations: u32) -> Self {
        Self { destinations, at_once: destinations, ..Self::random(1000) }
    }

    /// The destination of the `n`th datagram, by a random number.
    fn destination(&self, n: u64, random: u64) -> usize {
        if self.at_once == self.destinations {
            return (random % u64::from(self.destinations)) as usize;
        }
        // Neighbours in time lie far apart in the table.
        let place = n + random % u64::from(self.at_once);
        (place * APART % u64::from(self.destinations)) as usize
    }
}

/// As it is handed to the other processes.
impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sessions, destinations, at_once, mixed, a_second, count } = self;
        write!(f, "{sessions},{destinations},{at_once},{},{a_second},{count}", u8::from(*mixed))
    }
}

impl FromStr for Load {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers: Result<Vec<u32>, _> = text.split(',').map(str::parse).collect();
        match numbers.as_deref() {
            Ok(&[sessions, destinations, at_once, mixed, a_second, count]) => {
                Ok(Self { sessions, destinations, at_once, mixed: mixed != 0, a_second, count })
            }
            _ => Err(format!("{text:?} is no load")),
        }
    }
}

/// Where each destination lives: as many addresses as sessions.
pub(crate) fn address(n: u32) -> SocketAddr {
    let n = n + 0x0001_0000;
    SocketAddr::from((Ipv4Addr::from(0xc612_0000_u32 | (n & 0x1_ffff)), 2000 + (n >> 17) as u16))
}

/// Where each session lives: the destinations', then the senders', of which the last one hears.
pub(crate) fn addresses(load: Load) -> impl Iterator<Item = SocketAddr> {
    let own = (0..=SENDERS as u16).map(|n| SocketAddr::from((SOURCE, SENDER_PORT + n)));
    (0..load.sessions).map(address).chain(own)
}

/// The relay's owner.
pub(crate) type RelayOwner = Owner<Ring<Seeded>>;

/// Limits with the slack that a relay has.
pub(crate) fn limits(load: Load) -> RelayLimits {
    let count = load.sessions + SENDERS + 1;
    RelayLimits { sessions: count + count / 7 + 8, pending: 64 }
}

/// An owner with all sessions of `load`, and their names by [`addresses`]; the same in every
/// process.
pub(crate) fn sessions(
    load: Load,
    limits: RelayLimits,
    tables: SharedTables,
) -> (RelayOwner, Vec<SessionId>) {
    let config = RelayConfig {
        limits,
        // Checked and charged like any, and never used up.
        budget: ENDLESS,
        source: ENDLESS,
        destination: ENDLESS,
        ..RelayConfig::default()
    };
    let crypto = Ring::with_random(Seeded::new(7));
    let mut owner =
        Owner::new(Instant::ZERO, &config, Secret([9; 32]), crypto, tables, Box::new(Mute))
            .expect("the limits are in range");
    let mut names = Vec::new();
    for (n, address) in addresses(load).enumerate() {
        let mut key = [3; 32];
        key[..8].copy_from_slice(&(n as u64).to_le_bytes());
        let inserted = owner.insert(Instant::ZERO, &PublicKey(key), address);
        names.push(inserted.expect("the table has room"));
    }
    (owner, names)
}

/// All sessions' names.
pub(crate) fn names(load: Load) -> Vec<SessionId> {
    let limits = limits(load);
    sessions(load, limits, SharedTables::on_heap(limits)).1
}

/// The source, pinned to the other core.
pub(crate) fn source(load: Load) -> io::Result<()> {
    prefer_us();
    waylane_runtime_linux::io::pin(1)?;
    let names = names(load);
    flood(&senders()?, load, |_, spread, datagram| write_header(names[spread], datagram))
}

/// What a relay looks at.
pub(crate) fn write_header(to: SessionId, datagram: &mut [u8]) {
    datagram[0] = 0x80;
    datagram[1..8].copy_from_slice(&to.to_bytes());
}

/// The senders' sockets.
pub(crate) fn senders() -> io::Result<Vec<UdpSocket>> {
    let bound = |n| UdpSocket::bind(SocketAddr::from((SOURCE, SENDER_PORT + n as u16)));
    (0..SENDERS).map(bound).collect()
}

/// Other work on this machine is to take as little as it can: by the session's share, which is
/// what counts between sessions.
pub(crate) fn prefer_us() {
    drop(std::fs::write("/proc/self/autogroup", "-15"));
}

/// Sends trains of sixteen from one socket after the other. `write` is told which socket, and which
/// destination, and lays down a datagram's header.
pub(crate) fn flood(
    sockets: &[UdpSocket],
    load: Load,
    write: impl Fn(usize, usize, &mut [u8]),
) -> io::Result<()> {
    let (start, mut sent) = (Clock::now(), 0_u64);
    let states: io::Result<Vec<_>> =
        sockets.iter().map(|socket| UdpSocketState::new(socket.into())).collect();
    let states = states?;
    let destination = RELAY.parse().map_err(io::Error::other)?;
    let mut random = Random(12345);
    let mut train = [0x80; TRAIN * LEN_MAX];
    for (n, (socket, state)) in sockets.iter().zip(&states).enumerate().cycle() {
        if load.count > 0 && sent >= u64::from(load.count) {
            break;
        }
        if load.a_second > 0 {
            let due = u128::from(sent) * 1_000_000_000 / u128::from(load.a_second);
            while start.elapsed().as_nanos() < due {
                core::hint::spin_loop();
            }
        }
        // A sender's train is of one length: it is one call's.
        let len = if load.mixed { MIXED[random.next() as usize % MIXED.len()] } else { 64 };
        for datagram in train.chunks_mut(len).take(TRAIN) {
            write(n, load.destination(sent, random.next()), datagram);
            sent += 1;
        }
        let transmit = Transmit {
            destination,
            ecn: None,
            contents: &train[..TRAIN * len],
            segment_size: Some(len),
            src_ip: None,
        };
        match state.try_send(socket.into(), &transmit) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Xorshift.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) const fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33
    }
}

/// Nobody is answered here.
struct Mute;

impl Outlet for Mute {
    fn send(&mut self, _: SocketAddr, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
}

/// What no sender and no destination of these loads uses up.
const ENDLESS: Budget =
    Budget { packets_per_second: 10_000_000, bytes_per_second: 4_000_000_000, burst_ms: 250 };
/// How many send.
pub(crate) const SENDERS: u32 = 64;
/// The first one's port.
pub(crate) const SENDER_PORT: u16 = 20_000;
const TRAIN: usize = 16;
const LEN_MAX: usize = 170;
/// W1's: mostly state of 100 bytes, sometimes with a message of 40 beside it, sometimes acks.
const MIXED: [usize; 8] = [129, 129, 129, 129, 129, 170, 31, 129];
/// Has no factor in common with a million.
const APART: u64 = 618_033;
