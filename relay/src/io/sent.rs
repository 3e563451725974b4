//! What became of what was sent.

use std::io;

use crate::histogram::Histogram;

/// What became of the datagrams handed to [`Io::send`](super::Io::send).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Sent {
    /// The system took them.
    pub datagrams: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How many it took as one.
    pub runs: Histogram<RUN_BUCKETS>,
    /// It did not take the others.
    pub failed: SendFailures,
}

/// Datagrams that the system did not take for sending, by reason.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct SendFailures {
    /// Longer than what leaves the machine in one piece; nothing is ever fragmented.
    pub oversize: u64,
    /// The system's queue or memory for sending was full.
    pub no_buffer: u64,
    /// There is no way to the destination.
    pub unreachable: u64,
    /// Anything else.
    pub other: u64,
}

impl Sent {
    /// Counts `datagrams` of `bytes` altogether that the system took as one.
    pub const fn took(&mut self, datagrams: usize, bytes: usize) {
        self.datagrams += datagrams as u64;
        self.bytes += bytes as u64;
        self.runs.record(datagrams as u64);
    }

    /// Counts a datagram that it did not take.
    pub fn refused(&mut self, error: &io::Error) {
        let failed = &mut self.failed;
        let count = match (error.raw_os_error(), error.kind()) {
            (Some(TOO_LONG), _) => &mut failed.oversize,
            (Some(NO_BUFFERS), _) | (_, io::ErrorKind::WouldBlock | io::ErrorKind::OutOfMemory) => {
                &mut failed.no_buffer
            }
            (_, io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable) => {
                &mut failed.unreachable
            }
            _ => &mut failed.other,
        };
        *count += 1;
        tracing::trace!(kind = ?error.kind(), "a datagram could not be sent");
    }
}

impl SendFailures {
    /// Their sum.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.oversize + self.no_buffer + self.unreachable + self.other
    }
}

/// Runs are of 64 datagrams at most; one bucket more has what a back end may take beyond.
pub(crate) const RUN_BUCKETS: usize = 8;

/// `EMSGSIZE` and `ENOBUFS`, which have no [`io::ErrorKind`] of their own.
#[cfg(any(target_os = "linux", target_os = "android"))]
const TOO_LONG: i32 = 90;
#[cfg(any(target_os = "linux", target_os = "android"))]
const NO_BUFFERS: i32 = 105;
/// `WSAEMSGSIZE` and `WSAENOBUFS`.
#[cfg(windows)]
const TOO_LONG: i32 = 10040;
#[cfg(windows)]
const NO_BUFFERS: i32 = 10055;
/// As on the BSDs and macOS.
#[cfg(not(any(target_os = "linux", target_os = "android", windows)))]
const TOO_LONG: i32 = 40;
#[cfg(not(any(target_os = "linux", target_os = "android", windows)))]
const NO_BUFFERS: i32 = 55;
