//! Bytes on the wire, exactly as `docs/wire.md` lays them out. Holds no state.
//!
//! Every parser checks everything that can be checked without keys; what was checked becomes the
//! type. Things with a sealed part are headers: parsing says where the sealed part begins and what
//! its associated data is, so that the caller opens it in place.

pub mod base64url;
pub mod cursor;
pub mod data;
pub mod datagram;
pub mod frame;
pub mod handshake;
pub mod hop;
pub mod number;

#[cfg(test)]
mod properties;

pub use cursor::{Full, ParseError, Reader, Writer};
pub use datagram::Kind;

/// The one protocol version there is.
pub const PROTOCOL_VERSION: u8 = 1;

/// The longest datagram (wire.md §1): a UDP payload over IPv4 in a 1500-byte Ethernet frame.
pub const DATAGRAM_LEN_MAX: usize = 1472;
