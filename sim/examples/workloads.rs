//! Measures the workloads beside what is promised:
//! `cargo run --release -p waylane-sim --example workloads -- [w1|burst|w2|w5|w6|w7|rivals …]
//! [--seeds N] [--hz 60]`.

use std::process::ExitCode;

use waylane_sim::workload::{Pace, Suite};

fn main() -> ExitCode {
    let mut suite = Suite { seeds: 9, pace: Pace::Events };
    let mut chosen = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--seeds" => match arguments.next().and_then(|seeds| seeds.parse().ok()) {
                Some(seeds) => suite.seeds = seeds,
                None => return usage(),
            },
            "--hz" => match arguments.next().as_deref() {
                Some("60") => suite.pace = Pace::Frames,
                _ => return usage(),
            },
            name if Suite::WORKLOADS.contains(&name) => chosen.push(argument),
            _ => return usage(),
        }
    }
    if chosen.is_empty() {
        chosen = Suite::WORKLOADS.map(String::from).to_vec();
    }
    let mut missed = 0;
    for workload in chosen {
        for row in suite.run(&workload).into_iter().flatten() {
            missed += u32::from(row.holds() == Some(false));
            println!("{row}");
        }
    }
    println!("{missed} missed, {} seeds, {:?}", suite.seeds, suite.pace);
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    eprintln!("workloads [{}]… [--seeds N] [--hz 60]", Suite::WORKLOADS.join("|"));
    ExitCode::from(2)
}
