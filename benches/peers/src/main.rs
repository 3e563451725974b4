//! Prints Waylane's figures beside its peers'.
//!
//! In `benches/peers`: `cargo run --release -- table|count|host|loopback`; without a word it says what
//! each takes.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use waylane_peers::peer::Library;
use waylane_peers::table::Table;
use waylane_peers::{count, enet, frames, host, loopback, quic};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let done = match arguments.next().as_deref() {
        Some("table") => table(arguments),
        Some("count") => match count::print() {
            Ok(()) => Some(()),
            Err(error) => {
                eprintln!("{error}");
                return ExitCode::FAILURE;
            }
        },
        Some("host") => host(arguments),
        Some("loopback") => {
            loopback::print();
            Some(())
        }
        Some("repeat") => repeat(arguments),
        _ => None,
    };
    if done.is_none() {
        eprintln!(
            "usage: table [w1|burst|w2|w5|w7 …] [--seeds N] | count | host [PEERS] | loopback | repeat LIBRARY CHANNEL COUNT TIMES"
        );
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn table(mut arguments: impl Iterator<Item = String>) -> Option<()> {
    let (mut seeds, mut chosen) = (9, Vec::new());
    while let Some(argument) = arguments.next() {
        if argument == "--seeds" {
            seeds = arguments.next()?.parse().ok()?;
        } else {
            chosen.push(*Table::WORKLOADS.iter().find(|known| **known == argument)?);
        }
    }
    if chosen.is_empty() {
        chosen = Table::WORKLOADS.to_vec();
    }
    let mut table = Table::new(&LIBRARIES);
    for workload in chosen {
        table.measure(workload, &LIBRARIES, seeds);
    }
    println!("{table}{seeds} seeds");
    Some(())
}

fn host(mut arguments: impl Iterator<Item = String>) -> Option<()> {
    let peers = arguments.next().map_or(Some(1000), |peers| peers.parse().ok())?;
    host::print(peers);
    Some(())
}

/// What `count` lets callgrind look at.
fn repeat(mut arguments: impl Iterator<Item = String>) -> Option<()> {
    let (library, channel) = (arguments.next()?, arguments.next()?);
    let mut number = || arguments.next()?.parse().ok();
    count::repeat(&library, &channel, number()?, number()?)
}

const LIBRARIES: [Library; 5] =
    [quic::CUBIC, quic::BBR, frames::RENET, frames::RENET_100, enet::ENET];
