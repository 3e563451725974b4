//! The sessions that both sides know, and the source that sends to them as fast as it can.

use core::net::{Ipv4Addr, SocketAddr};
use core::time::Duration;
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

/// Who sends to whom, and what.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    /// Live sessions, besides the senders'.
    pub(crate) sessions: u32,
    /// To how many of them datagrams go.
    pub(crate) destinations: u32,
    /// Lengths in turn: one, or W1's.
    pub(crate) mixed: bool,
}

/// Where each destination lives: as many addresses as sessions.
pub(crate) fn address(n: u32) -> SocketAddr {
    let n = n + 0x0001_0000;
    SocketAddr::from((Ipv4Addr::from(0xc612_0000_u32 | (n & 0x1_ffff)), 2000 + (n >> 17) as u16))
}

/// An owner with all sessions of `load`; the same in every process. First the destinations'
/// names, in order.
pub(crate) fn sessions(
    load: Load,
    tables: impl FnOnce(RelayLimits) -> SharedTables,
) -> (Owner<Ring<Seeded>>, Vec<SessionId>) {
    let count = load.sessions + SENDERS;
    let limits = RelayLimits { sessions: count + count / 7 + 8, pending: 64 };
    let config = RelayConfig {
        limits,
        // Checked and charged like any, and never used up.
        budget: Budget {
            packets_per_second: 10_000_000,
            bytes_per_second: 4_000_000_000,
            burst_ms: 250,
        },
        ..RelayConfig::default()
    };
    let crypto = Ring::with_random(Seeded::new(7));
    let (secret, tables) = (Secret([9; 32]), tables(limits));
    let mut owner = Owner::new(Instant::ZERO, &config, secret, crypto, tables, Box::new(Mute))
        .expect("the limits are in range");
    let mut names = Vec::new();
    let senders = (0..SENDERS).map(|n| SocketAddr::from((SOURCE, SENDER_PORT + n as u16)));
    for (n, address) in (0..load.sessions).map(address).chain(senders).enumerate() {
        let mut key = [3; 32];
        key[..8].copy_from_slice(&(n as u64).to_le_bytes());
        let inserted = owner.insert(Instant::ZERO, &PublicKey(key), address);
        names.push(inserted.expect("the table has room"));
    }
    names.truncate(load.sessions as usize);
    (owner, names)
}

/// Sends until it is ended: trains of sixteen, each datagram to another destination at random.
pub(crate) fn source(load: Load) -> io::Result<()> {
    drop(std::fs::write("/proc/self/autogroup", "-15"));
    waylane_runtime_linux::io::pin(1)?;
    let (owner, names) = sessions(load, SharedTables::on_heap);
    drop(owner);
    let names = &names[..load.destinations as usize];
    let mut sockets = Vec::new();
    for n in 0..SENDERS {
        sockets.push(UdpSocket::bind(SocketAddr::from((SOURCE, SENDER_PORT + n as u16)))?);
    }
    flood(&sockets, load, None, |_, spread, datagram| {
        datagram[0] = 0x80;
        datagram[1..8].copy_from_slice(&names[spread % names.len()].to_bytes());
    })
}

/// Sends from one socket after the other, for ever; as much as it can, or so many datagrams a second. `write` is told which, and a number at random,
/// and lays down a datagram's header.
pub(crate) fn flood(
    sockets: &[UdpSocket],
    load: Load,
    a_second: Option<u32>,
    write: impl Fn(usize, usize, &mut [u8]),
) -> io::Result<()> {
    let (start, mut trains) = (Clock::now(), 0_u64);
    let states: io::Result<Vec<_>> =
        sockets.iter().map(|socket| UdpSocketState::new(socket.into())).collect();
    let states = states?;
    let destination = RELAY.parse().map_err(io::Error::other)?;
    let mut random = 12345_u64;
    let mut train = [0x80; TRAIN * LEN_MAX];
    for (n, (socket, state)) in sockets.iter().zip(&states).enumerate().cycle() {
        if let Some(a_second) = a_second {
            let due = Duration::from_secs(1) * TRAIN as u32 / a_second;
            trains += 1;
            while start.elapsed().as_nanos() < due.as_nanos() * u128::from(trains) {
                core::hint::spin_loop();
            }
        }
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        // A sender's train is of one length: it is one call's.
        let len = if load.mixed { MIXED[(random >> 60) as usize % MIXED.len()] } else { 64 };
        for (k, datagram) in train.chunks_mut(len).take(TRAIN).enumerate() {
            let spread = (random ^ (n * TRAIN + k) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            write(n, (spread >> 33) as usize, datagram);
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

/// Nobody is answered here.
struct Mute;

impl Outlet for Mute {
    fn send(&mut self, _: SocketAddr, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
}

/// How many send.
pub(crate) const SENDERS: u32 = 64;
/// The first one's port.
pub(crate) const SENDER_PORT: u16 = 20_000;
const TRAIN: usize = 16;
const LEN_MAX: usize = 170;
/// W1's: mostly state of 100 bytes, sometimes with a message of 40 beside it, sometimes acks.
const MIXED: [usize; 8] = [129, 129, 129, 129, 129, 170, 31, 129];
