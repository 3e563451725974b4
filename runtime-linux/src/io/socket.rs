//! Sockets as a relay wants them.

use core::mem;
use core::net::SocketAddr;
use core::time::Duration;
use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Once;

use socket2::Socket;
use waylane_relay::io::BindError;

/// Opens a socket for each of `addresses`: nothing is fragmented on the way out, and buffers are
/// of `socket_buffer` bytes if the system gives that much.
///
/// # Errors
/// The address that could not be bound, and why.
pub fn open(addresses: &[SocketAddr], socket_buffer: usize) -> Result<Vec<UdpSocket>, BindError> {
    waylane_relay::io::open(addresses, socket_buffer, |socket, address| {
        prepare(socket, address, socket_buffer)
    })
}

/// Opens as many sets of such sockets as there are `workers`, all bound to the same addresses: the
/// kernel tells by a datagram's addresses which of them gets it.
///
/// # Errors
/// The address that could not be bound, and why.
pub fn open_shared(
    addresses: &[SocketAddr],
    socket_buffer: usize,
    workers: usize,
) -> Result<Vec<Vec<UdpSocket>>, BindError> {
    // Alone first: who shares a port could come upon another relay's without noticing.
    let alone = open_soon(addresses, socket_buffer)?;
    if workers <= 1 {
        return Ok(vec![alone]);
    }
    let fail = |error| BindError::of(addresses, error);
    let bound: io::Result<Vec<SocketAddr>> = alone.iter().map(UdpSocket::local_addr).collect();
    let bound = bound.map_err(fail)?;
    drop(alone);
    let shared = |_| {
        waylane_relay::io::open(&bound, socket_buffer, |socket, address| {
            socket.set_reuse_port(true)?;
            prepare(socket, address, socket_buffer)
        })
    };
    (0..workers).map(shared).collect()
}

/// As [`open`]; waits for a port that is just being given up. The kernel clears a ring away after
/// its process has ended, and till then it holds the sockets.
fn open_soon(addresses: &[SocketAddr], socket_buffer: usize) -> Result<Vec<UdpSocket>, BindError> {
    let mut tries = TRIES;
    loop {
        match open(addresses, socket_buffer) {
            Err(error) if error.error.kind() == io::ErrorKind::AddrInUse && tries > 0 => {
                tries -= 1;
                std::thread::park_timeout(BETWEEN_TRIES);
            }
            other => return other,
        }
    }
}

/// Whether the kernel can merge what one sender sent at once; from now on it does not.
pub(crate) fn can_merge(socket: &UdpSocket) -> bool {
    set(socket.as_raw_fd(), libc::SOL_UDP, libc::UDP_GRO, 0).is_ok()
}

/// From now on it does.
pub(crate) fn merge(socket: &UdpSocket) -> io::Result<()> {
    set(socket.as_raw_fd(), libc::SOL_UDP, libc::UDP_GRO, 1)
}

/// Whether the kernel segments what is sent.
pub(crate) fn segments(socket: &UdpSocket) -> bool {
    let can = set(socket.as_raw_fd(), libc::SOL_UDP, libc::UDP_SEGMENT, 0).is_ok();
    if !can {
        static SAID: Once = Once::new();
        SAID.call_once(|| {
            tracing::warn!("the system does not segment: each datagram is sent by itself");
        });
    }
    can
}

fn prepare(socket: &Socket, address: SocketAddr, socket_buffer: usize) -> io::Result<()> {
    // The don't-fragment bit, and no belief in what strangers say about the path.
    let (level, option, value) = if address.is_ipv4() {
        (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE)
    } else {
        (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_PROBE)
    };
    set(socket.as_raw_fd(), level, option, value)?;
    // With the right to, past the system's limit.
    let size = socket_buffer.try_into().unwrap_or(libc::c_int::MAX);
    for option in [libc::SO_RCVBUFFORCE, libc::SO_SNDBUFFORCE] {
        if let Err(error) = set(socket.as_raw_fd(), libc::SOL_SOCKET, option, size) {
            tracing::debug!(%error, "socket buffers stay within the system's limit");
        }
    }
    Ok(())
}

fn set(fd: RawFd, level: libc::c_int, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    // SAFETY: the value lives through the call and is as long as told.
    let result = unsafe {
        let len = mem::size_of_val(&value) as libc::socklen_t;
        libc::setsockopt(fd, level, option, (&raw const value).cast(), len)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

const TRIES: u32 = 10;
const BETWEEN_TRIES: Duration = Duration::from_millis(50);
