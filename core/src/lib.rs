//! The Waylane protocol as sans-IO state machines: no clock, no socket, no allocator.
//!
//! An [`Endpoint`](endpoint::Endpoint) is one player. Datagrams and time go in, datagrams, events
//! and deadlines come out; whoever drives it owns sockets and clock:
//!
//! ```
//! use waylane_core::channel::Scope;
//! use waylane_core::crypto::Crypto;
//! use waylane_core::endpoint::{Endpoint, Event, Transmit};
//! use waylane_core::memory::Lender;
//! use waylane_core::time::Instant;
//!
//! /// One turn: what arrived, what is due, what the application is told, what leaves.
//! fn turn<C: Crypto, L: Lender>(
//!     endpoint: &mut Endpoint<C, L>,
//!     now: Instant,
//!     arrived: &mut [(core::net::SocketAddr, &mut [u8])],
//!     mut game: impl FnMut(Event<'_>),
//!     mut send: impl FnMut(Transmit, &[u8]),
//! ) {
//!     for (from, bytes) in arrived {
//!         // A refusal is counted, not logged: endpoint.counters() has them all.
//!         endpoint.handle_datagram(now, *from, bytes).ok();
//!     }
//!     endpoint.handle_timeout(now);
//!     while let Some(event) = endpoint.poll_event() {
//!         game(event);
//!     }
//!     endpoint.flush();
//!     let mut out = [0; 1472];
//!     while let Some(transmit) = endpoint.poll_transmit(now, Scope::Everything, 1, &mut out) {
//!         send(transmit, &out[..transmit.len]);
//!     }
//!     // Sleep until endpoint.poll_timeout(), or until something arrives.
//! }
//! ```
//!
//! A relay is [`relay::Control`], the one owner of its sessions, and any number of
//! [`relay::Forwarder`]s over the same tables.
//!
//! Everything dynamic lives in memory that a [`memory::Lender`] lends at start, sized by one
//! checked [`Limits`](limits::Limits); cryptography comes through [`crypto::Crypto`].
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod channel;
pub mod connection;
pub mod crypto;
pub mod directory;
pub mod endpoint;
pub mod fleet;
pub mod id;
pub mod invite;
pub mod limits;
pub mod memory;
pub mod noise;
pub mod pool;
pub mod protection;
pub mod recovery;
pub mod relay;
pub mod route;
pub mod time;
pub mod token;
pub mod wire;
