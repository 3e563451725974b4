//! What is measured, and the roles of the processes that it takes.

use std::io;

use crate::load::{Load, source};
use crate::net::Net;
use crate::{costs, coturn, drained, latency, memory, overload, relays, strangers};

/// `cargo run --release -p waylane-benches --bin relay [-- ROUNDS | once] [PART…]`; `once` is as
/// little of each part as shows that it works.
pub(crate) fn main() -> Result<(), String> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    if let ["--role", role, load] = words[..] {
        return perform(role, load.parse()?).map_err(|error| format!("{role}: {error}"));
    }
    let (rounds, parts) = match words[..] {
        ["once", ref parts @ ..] => (None, parts),
        [first, ref parts @ ..] if first.parse::<usize>().is_ok() => (first.parse().ok(), parts),
        ref parts => (Some(ROUNDS), parts),
    };
    if let Some(unknown) = parts.iter().find(|part| !PARTS.contains(part)) {
        return Err(format!(
            "there is no part {unknown:?}; usage: relay [ROUNDS | once] [PART…], of {}",
            PARTS.join(", ")
        ));
    }
    let status = std::fs::read_to_string("/proc/self/status").map_err(|e| e.to_string())?;
    if !status.lines().any(|line| line.starts_with("Uid:\t0\t")) {
        return Err("it makes network namespaces, so it needs root".to_owned());
    }
    let net = Net::new()?;
    for part in PARTS.iter().filter(|part| parts.is_empty() || parts.contains(part)) {
        measure(&net, part, rounds)?;
    }
    Ok(())
}

fn measure(net: &Net, part: &str, rounds: Option<usize>) -> Result<(), String> {
    let some = rounds.unwrap_or(1);
    // What is short, and varies more.
    let many = rounds.map_or(1, |rounds| 3 * rounds);
    match part {
        "costs" => costs::compare(net, some, rounds.is_none()),
        "overload" => overload::compare(net, some),
        "latency" => latency::compare(net, many),
        "workers" => drained::compare(net, many),
        "memory" => memory::compare(net),
        "strangers" => strangers::compare(some, rounds.is_none()),
        #[cfg(feature = "ebpf")]
        _ => crate::whole::compare(net, some, rounds.is_none()),
        #[cfg(not(feature = "ebpf"))]
        _ => {
            println!(
                "\nwithout the feature ebpf (which needs clang) the whole cost is not measured"
            );
            Ok(())
        }
    }
}

fn perform(role: &str, load: Load) -> io::Result<()> {
    match role.split(' ').collect::<Vec<_>>()[..] {
        ["source"] => source(load),
        ["players"] => coturn::players(load),
        ["probes"] => latency::probes(load),
        ["memory"] => memory::run(load),
        ["fill", core] => drained::fill(core.parse().map_err(io::Error::other)?, load),
        ["drain", mode, workers] => {
            drained::run(mode, workers.parse().map_err(io::Error::other)?, load)
        }
        #[cfg(feature = "ebpf")]
        ["whole", mode, interface] => crate::whole::relay(mode, interface, load),
        #[cfg(feature = "ebpf")]
        ["frames", interface] => crate::whole::source(interface, load),
        #[cfg(feature = "ebpf")]
        ["sink", interface] => crate::whole::sink(interface),
        _ => relays::run(role, load),
    }
}

const PARTS: [&str; 7] =
    ["costs", "overload", "latency", "workers", "memory", "strangers", "whole"];
const ROUNDS: usize = 3;
