//! Interleaves the forwarders over the cases and prints what each costs.

use core::time::Duration;
use std::io::Read as _;

use crate::load::{Load, source};
use crate::net::Net;
use crate::relays::{Tally, run};

/// `cargo run --release -p waylane-benches --bin relay [-- ROUNDS]`.
pub(crate) fn main() -> Result<(), String> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--role", "source", ref load @ ..] => source(parse(load)?).map_err(|e| e.to_string()),
        ["--role", mode, ref load @ ..] => run(mode, parse(load)?).map_err(|e| e.to_string()),
        [] => compare(ROUNDS),
        [rounds] => compare(rounds.parse().map_err(|_| "how many rounds?")?),
        _ => Err("usage: relay [ROUNDS]".to_owned()),
    }
}

fn compare(rounds: usize) -> Result<(), String> {
    let status = std::fs::read_to_string("/proc/self/status").map_err(|e| e.to_string())?;
    if !status.lines().any(|line| line.starts_with("Uid:\t0\t")) {
        return Err("it makes network namespaces, so it needs root".to_owned());
    }
    let net = Net::new()?;
    println!("| case | forwarder | ns a datagram | naive ÷ this | thousand/s | core ours | idle |");
    println!("| --- | --- | ---: | ---: | ---: | ---: | ---: |");
    for (name, load) in CASES {
        let mut tallies = [const { Vec::new() }; MODES.len()];
        for _ in 0..rounds {
            for (mode, tallies) in MODES.iter().zip(&mut tallies) {
                tallies.push(measure(&net, mode, load)?);
            }
        }
        let mut naive = 0.0;
        for (mode, tallies) in MODES.iter().zip(&mut tallies) {
            tallies.sort_by(|a, b| cost(a).total_cmp(&cost(b)));
            let median = tallies[tallies.len() / 2];
            if *mode == "naive" {
                naive = cost(&median);
            }
            println!(
                "| {name} | {mode} | {:.0} | {:.2} | {:.0} | {:.0} % | {:.0} % |",
                cost(&median),
                naive / cost(&median),
                median.datagrams as f64 / median.wall.as_secs_f64() / 1e3,
                share(median.cpu, &median),
                100.0 - share(median.cpu + median.waited, &median),
            );
        }
    }
    Ok(())
}

fn share(time: Duration, of: &Tally) -> f64 {
    100.0 * time.as_secs_f64() / of.wall.as_secs_f64()
}

fn cost(tally: &Tally) -> f64 {
    tally.cpu.as_nanos() as f64 / tally.datagrams as f64
}

fn measure(net: &Net, mode: &str, load: Load) -> Result<Tally, String> {
    let args = |role: &str| {
        let Load { sessions, destinations, mixed } = load;
        let args = [role, &sessions.to_string(), &destinations.to_string(), &mixed.to_string()];
        ["--role"].iter().chain(&args).map(ToString::to_string).collect::<Vec<_>>()
    };
    let before = net.sunk()?;
    let mut relay = net.relay(&args(mode))?;
    let mut source = net.world(&args("source"))?;
    let mut told = String::new();
    let read = relay.stdout.take().map(|mut out| out.read_to_string(&mut told));
    let ended = relay.wait();
    // The source sends until it is ended; it is this process's own.
    drop(source.kill());
    drop(source.wait());
    drop(read);
    drop(ended);
    let numbers: Vec<u64> = told.split_whitespace().filter_map(|n| n.parse().ok()).collect();
    let [datagrams, bytes, cpu, waited, wall] = numbers[..] else {
        return Err(format!("{mode} said {told:?}"));
    };
    let sunk = net.sunk()? - before;
    if sunk < bytes {
        return Err(format!("{mode} forwarded {bytes} bytes, and {sunk} arrived"));
    }
    let [cpu, waited, wall] = [cpu, waited, wall].map(Duration::from_nanos);
    Ok(Tally { datagrams, bytes, cpu, waited, wall })
}

fn parse(args: &[&str]) -> Result<Load, String> {
    let [sessions, destinations, mixed] = args else { return Err("no load".to_owned()) };
    let number = |text: &str| text.parse().map_err(|_| format!("{text:?} is no number"));
    Ok(Load {
        sessions: number(sessions)?,
        destinations: number(destinations)?,
        mixed: *mixed == "true",
    })
}

const MODES: [&str; 4] = ["naive", "mmsg", "uring", "std"];
const CASES: [(&str, Load); 5] = [
    ("1,000 at random", Load { sessions: 1000, destinations: 1000, mixed: false }),
    ("64 hot", Load { sessions: 1000, destinations: 64, mixed: false }),
    ("64 hot, mixed sizes", Load { sessions: 1000, destinations: 64, mixed: true }),
    ("16 hot", Load { sessions: 1000, destinations: 16, mixed: false }),
    ("1 M sessions at random", Load { sessions: 1_000_000, destinations: 1_000_000, mixed: false }),
];
const ROUNDS: usize = 3;
