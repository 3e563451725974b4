//! Interleaves the forwarders over the cases and prints what each costs.

use core::time::Duration;
use std::io::Read as _;

use crate::coturn::{self, EASY, players};
use crate::load::{Load, SENDERS, source};
use crate::net::Net;
use crate::relays::{Tally, run};

/// `cargo run --release -p waylane-benches --bin relay [-- ROUNDS]`; `once` is the first case, one
/// round, to see that it works.
pub(crate) fn main() -> Result<(), String> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--role", "source", ref load @ ..] => source(parse(load)?).map_err(|e| e.to_string()),
        ["--role", "coturn", ref load @ ..] => {
            players(parse(load)?, None).map_err(|e| e.to_string())
        }
        ["--role", "coturn, 50 k/s", ref load @ ..] => {
            players(parse(load)?, Some(EASY)).map_err(|e| e.to_string())
        }
        ["--role", mode, ref load @ ..] => run(mode, parse(load)?).map_err(|e| e.to_string()),
        [] => compare(ROUNDS, &CASES),
        ["once"] => compare(1, &CASES[..1]),
        [rounds] => compare(rounds.parse().map_err(|_| "how many rounds?")?, &CASES),
        _ => Err("usage: relay [ROUNDS | once]".to_owned()),
    }
}

fn compare(rounds: usize, cases: &[(&str, Load)]) -> Result<(), String> {
    let status = std::fs::read_to_string("/proc/self/status").map_err(|e| e.to_string())?;
    if !status.lines().any(|line| line.starts_with("Uid:\t0\t")) {
        return Err("it makes network namespaces, so it needs root".to_owned());
    }
    if !coturn::is_there() {
        return Err("there is no coturn: scripts/install-relay-bench.sh installs it".to_owned());
    }
    let net = Net::new()?;
    println!(
        "| case | forwarder | ns a datagram | naive ÷ this | this ÷ the cheaper coturn | thousand/s | core ours | idle |"
    );
    println!("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |");
    for &(name, load) in cases {
        // It has no million ports, is counted by one length, and each sender needs a destination.
        let beside = !load.mixed && (SENDERS..=1000).contains(&load.destinations);
        let modes: &[&str] = if beside { &MODES } else { &MODES[..OURS] };
        let mut tallies = vec![Vec::new(); modes.len()];
        for _ in 0..rounds {
            for (mode, tallies) in modes.iter().zip(&mut tallies) {
                tallies.push(measure(&net, mode, load)?);
            }
        }
        let medians: Vec<Tally> = tallies.iter_mut().map(|tallies| median(tallies)).collect();
        let naive = cost(&medians[0]);
        let coturn = medians[modes.len().min(OURS)..].iter().map(cost).reduce(f64::min);
        for (mode, median) in modes.iter().zip(&medians) {
            let own = cost(median);
            let of_coturn =
                coturn.map_or("–".to_owned(), |coturn| format!("{:.2}", own / coturn));
            println!(
                "| {name} | {mode} | {own:.0} | {:.2} | {of_coturn} | {:.0} | {:.0} % | {:.0} % |",
                naive / own,
                median.datagrams as f64 / median.wall.as_secs_f64() / 1e3,
                share(median.cpu, median),
                100.0 - share(median.cpu + median.waited, median),
            );
        }
    }
    Ok(())
}

fn median(tallies: &mut [Tally]) -> Tally {
    tallies.sort_by(|a, b| cost(a).total_cmp(&cost(b)));
    tallies[tallies.len() / 2]
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
    if mode.starts_with("coturn") {
        return coturn::measure(net, load, &args(mode));
    }
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

const MODES: [&str; 6] = ["naive", "mmsg", "uring", "std", "coturn", "coturn, 50 k/s"];
/// Of these, all but coturn.
const OURS: usize = 4;
const CASES: [(&str, Load); 5] = [
    ("1,000 at random", Load { sessions: 1000, destinations: 1000, mixed: false }),
    ("64 hot", Load { sessions: 1000, destinations: 64, mixed: false }),
    ("64 hot, mixed sizes", Load { sessions: 1000, destinations: 64, mixed: true }),
    ("16 hot", Load { sessions: 1000, destinations: 16, mixed: false }),
    ("1 M sessions at random", Load { sessions: 1_000_000, destinations: 1_000_000, mixed: false }),
];
const ROUNDS: usize = 3;
