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
//! A [`Worker`] does one thing over any [`Io`]: receive a batch, read the clock once, ask the
//! forwarder about each datagram, group what goes on by destination, send. Control datagrams wait
//! in a bounded queue for the [`Owner`] of the sessions, on a thread of its own, which answers by
//! itself. [`io::Udp`] is the portable back end; `waylane-runtime-linux` has those for Linux.
#![forbid(unsafe_code)]

mod config;
mod counters;
mod directory;
mod fast_path;
mod group;
#[cfg_attr(not(unix), path = "no_handover.rs")]
mod handover;
mod histogram;
pub mod io;
mod journal;
pub mod key_file;
mod owner;
mod queue;
mod relay;
mod rules;
mod state;
mod tables;
pub mod token_keys;
mod worker;

pub use config::{
    AdminChoice, Config, ConfigError, FastPathChoice, IoChoice, KEYS, Key, LogFormat, Mode, Place,
    Settings, sample,
};
pub use counters::{RelayCounters, Spread, WorkerCounters};
pub use fast_path::{FastPath, FastPathCounters};
pub use group::runs;
pub use histogram::Histogram;
pub use io::Io;
pub use owner::{Owner, OwnerCounters};
pub use relay::{BackEnd, Inherited, Relay, RelayHandle, StartError};
pub use state::{About, RelayState};
pub use tables::SharedTables;
pub use worker::Worker;
