//! Whether a relay answers, as its clients would ask it.

use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;
use std::io;
use std::net::UdpSocket;

use waylane_core::crypto::Crypto as _;
use waylane_core::wire::hop::Probe;
use waylane_crypto::ring::Ring;
use waylane_relay::Config;

/// Asks the relay that runs by these settings on this machine, at each of its addresses.
///
/// # Errors
/// Which address does not answer.
pub(super) fn check(config: &Config) -> Result<(), String> {
    for &listen in &config.listen {
        let to = here(listen);
        ask(to).map_err(|error| format!("{to} does not answer: {error}"))?;
    }
    Ok(())
}

fn ask(to: SocketAddr) -> io::Result<()> {
    let from =
        if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(from, 0))?;
    socket.connect(to)?;
    socket.set_read_timeout(Some(BETWEEN))?;
    let mut nonce = [0; 8];
    Ring::new().random(&mut nonce);
    let (mut probe, mut reply) = ([0; Probe::LEN], [0; Probe::LEN]);
    Probe { reply: false, nonce }.emit(&mut probe).map_err(io::Error::other)?;
    let mut last = io::ErrorKind::TimedOut.into();
    for _ in 0..TRIES {
        socket.send(&probe)?;
        match socket.recv(&mut reply) {
            Ok(_) if Probe::parse(&reply) == Ok(Probe { reply: true, nonce }) => return Ok(()),
            Ok(_) => {}
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The address by which a program on this machine reaches what listens there.
fn here(listen: SocketAddr) -> SocketAddr {
    match listen {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => {
            SocketAddr::from((Ipv4Addr::LOCALHOST, v4.port()))
        }
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => {
            SocketAddr::from((Ipv6Addr::LOCALHOST, v6.port()))
        }
        SocketAddr::V4(_) | SocketAddr::V6(_) => listen,
    }
}

const TRIES: u32 = 3;
const BETWEEN: Duration = Duration::from_millis(700);
