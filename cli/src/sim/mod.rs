//! `waylane sim`: scenarios from files, from seeds, and from a few flags.

mod pcap;
mod plot;
mod quick;
mod table;

use core::cell::RefCell;
use core::error::Error;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use waylane_sim::Tap;
use waylane_sim::scenario::{Outcome, Scenario};

use pcap::Capture;

/// What `waylane sim` is asked.
#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// A scenario, as docs/simulator.md describes them.
    #[arg(value_name = "FILE.toml", conflicts_with = "random")]
    file: Option<PathBuf>,
    /// A scenario that nobody has thought of.
    #[arg(long, value_name = "SEED")]
    random: Option<u64>,
    /// So many of them, from that seed on.
    #[arg(long, value_name = "N", default_value_t = 1, requires = "random")]
    count: u64,
    /// Another seed than the scenario's own.
    #[arg(long, conflicts_with = "random")]
    seed: Option<u64>,
    #[command(flatten)]
    quick: quick::Quick,
    /// Print one JSON object for each scenario.
    #[arg(long)]
    json: bool,
    /// Print the scenario in place of running it, as a file to begin with.
    #[arg(long)]
    print: bool,
    /// Write every datagram that a player sends or receives, for common capture tools.
    #[arg(long, value_name = "FILE.pcap")]
    pcap: Option<PathBuf>,
    /// Draw latencies, queue and rates over time.
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
}

/// Runs what was asked for; an error if a promise did not hold.
pub(crate) fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    if options.count != 1 && (options.pcap.is_some() || options.plot.is_some()) {
        return Err("--pcap and --plot show one scenario: leave --count out".into());
    }
    let mut broken = 0;
    for n in 0..options.count {
        let scenario = scenario(options, n)?;
        if options.print {
            print!("{scenario}");
            continue;
        }
        let outcome = show(options, &scenario)?;
        if !outcome.broken.is_empty() {
            broken += 1;
            eprintln!("To see it again: {}", replay(options, &outcome));
        }
    }
    match broken {
        0 => Ok(()),
        1 => Err("a promise did not hold".into()),
        n => Err(format!("promises did not hold in {n} of {} scenarios", options.count).into()),
    }
}

fn scenario(options: &Options, n: u64) -> Result<Scenario, Box<dyn Error>> {
    let mut scenario = match (&options.file, options.random) {
        (Some(_), _) | (_, Some(_)) if options.quick.is_given() => {
            return Err("links and sends are the scenario's own: leave those flags out".into());
        }
        (Some(file), _) => read(file)?,
        (None, Some(seed)) => Scenario::random(seed + n),
        (None, None) => options.quick.scenario()?,
    };
    scenario.seed = options.seed.unwrap_or(scenario.seed);
    Ok(scenario)
}

fn read(file: &Path) -> Result<Scenario, Box<dyn Error>> {
    let at = |why: &dyn core::fmt::Display| format!("{}: {why}", file.display());
    let text = std::fs::read_to_string(file).map_err(|why| at(&why))?;
    Ok(text.parse::<Scenario>().map_err(|why| at(&why))?)
}

fn show(options: &Options, scenario: &Scenario) -> Result<Outcome, Box<dyn Error>> {
    let outcome = match &options.pcap {
        None => scenario.run(),
        Some(file) => {
            let capture = Capture::new(BufWriter::new(File::create(file)?))?;
            let capture = Rc::new(RefCell::new(capture));
            let sink = Rc::clone(&capture);
            let tap: Tap = Box::new(move |sight| sink.borrow_mut().take(sight));
            let outcome = scenario.run_seen_by(Some(tap));
            capture.borrow_mut().finish()?;
            outcome
        }
    };
    if let Some(file) = &options.plot {
        std::fs::write(file, plot::draw(scenario, &outcome)?)?;
    }
    if options.json {
        println!("{}", table::json(scenario, &outcome));
    } else if options.count == 1 {
        print!("{}", table::text(scenario, &outcome));
    } else {
        println!("{}", table::line(&outcome));
    }
    Ok(outcome)
}

/// The shortest command that shows the same.
fn replay(options: &Options, outcome: &Outcome) -> String {
    match (&options.file, options.random) {
        (Some(file), _) => format!("waylane sim {} --seed {}", file.display(), outcome.seed),
        (None, Some(_)) => Outcome::replay(outcome.seed),
        (None, None) => format!("the same command with --seed {}", outcome.seed),
    }
}
