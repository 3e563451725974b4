//! The Waylane protocol as sans-IO state machines: no clock, no socket, no allocator.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod channel;
pub mod connection;
pub mod crypto;
pub mod directory;
pub mod endpoint;
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
pub mod wire;
