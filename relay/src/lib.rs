//! The Waylane relay: [`waylane_core::relay`] over sockets.
//!
//! ```no_run
//! use waylane_relay::{Config, Relay};
//!
//! let mut relay = Relay::bind(&Config::dev())?;
//! println!("{}", relay.entry());
//! let handle = relay.handle(); // stops or drains it from elsewhere
//! relay.run()?;
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
//!
//! [`Worker`] is the loop's one turn over any [`Io`]: receive a batch, read the clock once, ask the
//! forwarder about each datagram, hand control datagrams to their owner, send. [`io::Udp`] is the
//! portable back end.
#![forbid(unsafe_code)]

mod config;
mod counters;
pub mod io;
pub mod key_file;
mod relay;
mod worker;

pub use config::{Config, ConfigError, Mode};
pub use counters::RelayCounters;
pub use io::Io;
pub use relay::{Relay, RelayHandle, StartError};
pub use worker::Worker;
