//! Datagrams between a peer and its relay (wire.md §3).

mod alternatives;
mod bind;
mod control;
mod open;

pub use alternatives::Alternatives;
pub use bind::{
    BIND_DATAGRAM_LEN_MIN, Bind, BindPayload, Bound, BoundPayload, Resume, Resumed, TICKET_LEN,
    Ticket, echo_of, prologue,
};
pub use control::{Control, ControlMessage, DirectoryPage};
pub use open::{CookieReply, Hello, NotBound, Probe, Refused, RefusedReason};

/// 16 bytes that prove a source address to the relay that made them.
pub type Cookie = [u8; 16];

/// 8 bytes of what a datagram answers.
pub type Echo = [u8; 8];
