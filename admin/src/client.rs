//! Asks an admin port, for `waylane top` and for health checks.

use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

/// What the admin port at `address` has under `path`.
///
/// # Errors
/// [`FetchError`].
pub fn fetch(address: SocketAddr, path: &str) -> Result<String, FetchError> {
    let end = Instant::now() + PATIENCE;
    let mut connection = TcpStream::connect_timeout(&address, PATIENCE)?;
    connection.set_write_timeout(Some(PATIENCE))?;
    write!(connection, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut bytes = Vec::new();
    let mut part = [0; 16384];
    loop {
        let left = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero());
        connection.set_read_timeout(Some(left.ok_or(io::ErrorKind::TimedOut)?))?;
        match connection.read(&mut part)? {
            0 => break,
            more if bytes.len() + more > ANSWER_MAX => return Err(FetchError::NotAdmin),
            more => bytes.extend_from_slice(part.get(..more).unwrap_or_default()),
        }
    }
    body(&bytes)
}

fn body(bytes: &[u8]) -> Result<String, FetchError> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let Ok(httparse::Status::Complete(head)) = response.parse(bytes) else {
        return Err(FetchError::NotAdmin);
    };
    let length = response.headers.iter().find(|h| h.name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|header| core::str::from_utf8(header.value).ok()?.parse().ok());
    let text = bytes.get(head..).and_then(|body| core::str::from_utf8(body).ok());
    match (response.code, text) {
        (Some(200), Some(text)) if length == Some(text.len()) => Ok(text.to_owned()),
        (Some(code), Some(text)) if code != 200 => {
            Err(FetchError::Status { code, says: text.lines().next().unwrap_or("").to_owned() })
        }
        _ => Err(FetchError::NotAdmin),
    }
}

/// Why an admin port gave nothing.
#[derive(Debug)]
#[non_exhaustive]
pub enum FetchError {
    /// It cannot be reached, or is too slow.
    Io(io::Error),
    /// It answers with this status.
    Status {
        /// As RFC 9110, section 15, has them.
        code: u16,
        /// The first line of what it says.
        says: String,
    },
    /// What answers there is no relay's admin port.
    NotAdmin,
}

impl From<io::Error> for FetchError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<io::ErrorKind> for FetchError {
    fn from(kind: io::ErrorKind) -> Self {
        Self::Io(kind.into())
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Status { code, says } => write!(f, "status {code}: {says}"),
            Self::NotAdmin => f.write_str("what answers there is no relay's admin port"),
        }
    }
}

impl core::error::Error for FetchError {}

const PATIENCE: Duration = Duration::from_secs(5);
const ANSWER_MAX: usize = 1 << 20;
