//! The Waylane relay's back ends for Linux, behind `waylane relay`; empty on other systems.
//!
//! [`back_end`] makes what a [`Relay`](waylane_relay::Relay) stands on: one set of sockets for
//! each worker, by [`io::Mmsg`], [`io::Uring`] or the portable back end, and tables in large
//! pages. Whatever the system refuses has something below it, and the log says so once.
#![cfg(target_os = "linux")]

mod choose;
#[cfg(feature = "ebpf")]
pub mod ebpf;
mod fast_path;
pub mod io;
pub mod memory;

use std::net::UdpSocket;

use waylane_relay::io::{BindError, Sockets};
use waylane_relay::{BackEnd, Config, Inherited, SharedTables, StartError};

use choose::choose;

/// What a relay of these settings stands on, for [`Relay::over`](waylane_relay::Relay::over): on
/// the sockets of the relay before it, if it takes one's place, and as many workers as that had.
///
/// # Errors
/// When an address cannot be bound, or the system gives no sockets at all.
pub fn back_end(config: &Config, inherited: Inherited) -> Result<BackEnd, StartError> {
    let fail = |error| StartError::Bind(BindError::of(&config.listen, error));
    let sockets = match inherited {
        Some(sockets) => sockets,
        None => sockets(config)?,
    };
    let outlet = Sockets::beside(&sockets).map_err(fail)?;
    let kind = choose(config.io);
    let over = |sockets: Vec<UdpSocket>| kind.over(sockets).map_err(fail);
    let workers = sockets.into_iter().map(over).collect::<Result<Vec<_>, _>>()?;
    let on_thread = if config.pin { pinned } else { |_| () };
    let (tables, fast_path) = match fast_path::attach(config, &outlet.local_addresses())? {
        Some((tables, fast_path)) => (tables, Some(fast_path)),
        None => (tables(config), None),
    };
    tracing::info!(workers = workers.len(), pinned = config.pin, "workers");
    Ok(BackEnd { workers, on_thread, outlet, tables, fast_path })
}

fn sockets(config: &Config) -> Result<Vec<Vec<UdpSocket>>, StartError> {
    let workers = match config.workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        some => usize::from(some),
    };
    io::open_shared(&config.listen, config.socket_buffer as usize, workers)
        .map_err(StartError::Bind)
}

fn tables(config: &Config) -> SharedTables {
    match memory::tables(config.limits()) {
        Ok((tables, pages)) => {
            tracing::info!("tables in {pages} pages");
            tables
        }
        Err(error) => {
            tracing::warn!("tables on the heap: {error}");
            SharedTables::on_heap(config.limits())
        }
    }
}

fn pinned(number: usize) {
    if let Err(error) = io::pin(number) {
        tracing::warn!("worker {number} is not pinned: {error}");
    }
}
