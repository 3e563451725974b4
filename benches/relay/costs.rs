//! Set-up M1: what the relay's thread costs a datagram, case by case.

use std::collections::BTreeMap;
use std::io::Read as _;

use crate::coturn::{self, EASY};
use crate::load::{Load, SENDERS};
use crate::net::Net;
use crate::relays::Tally;

/// All forwarders under all cases, in turn; `once` is the first case only, to see that it works.
pub(crate) fn compare(net: &Net, rounds: usize, once: bool) -> Result<(), String> {
    if !coturn::is_there() {
        return Err("there is no coturn: scripts/install-relay-bench.sh installs it".to_owned());
    }
    let cases = if once { &CASES[..1] } else { &CASES[..] };
    let mut tallies = BTreeMap::<(usize, &str), Vec<Tally>>::new();
    for _ in 0..rounds {
        for (number, &(_, load)) in cases.iter().enumerate() {
            for &mode in modes(load) {
                let tally = match mode {
                    "coturn" => coturn::measure(net, load)?,
                    "coturn, 50 k/s" => coturn::measure(net, Load { a_second: EASY, ..load })?,
                    mode => measure(net, mode, load)?,
                };
                tallies.entry((number, mode)).or_default().push(tally);
            }
        }
    }
    let medians: BTreeMap<(usize, &str), Tally> =
        tallies.iter_mut().map(|(key, tallies)| (*key, Tally::median(tallies))).collect();
    println!(
        "\n| case | forwarder | ns a datagram | naive ÷ this | this ÷ the cheaper coturn | thousand/s | core ours | idle |"
    );
    println!("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |");
    for (number, &(name, load)) in cases.iter().enumerate() {
        let cost = |mode| medians.get(&(number, mode)).map(Tally::cost);
        let coturn = MODES[OURS..].iter().filter_map(|mode| cost(mode)).reduce(f64::min);
        for &mode in modes(load) {
            let Some(median) = medians.get(&(number, mode)) else { continue };
            println!(
                "| {name} | {mode} | {:.0} | {:.2} | {} | {:.0} | {:.0} % | {:.0} % |",
                median.cost(),
                cost("naive").unwrap_or_default() / median.cost(),
                coturn.map_or("–".to_owned(), |coturn| format!("{:.2}", median.cost() / coturn)),
                median.rate(),
                median.ours(),
                median.idle(),
            );
        }
    }
    if !once {
        against_a_thousand(&medians);
    }
    Ok(())
}

/// What a million sessions add.
fn against_a_thousand(medians: &BTreeMap<(usize, &str), Tally>) {
    println!("\n| 1,000 sessions ÷ a million | at random | a thousand at a time |");
    println!("| --- | ---: | ---: |");
    for &mode in &MODES[..OURS] {
        let cost = |case: usize| medians.get(&(case, mode)).map_or(f64::NAN, Tally::cost);
        let [few, million, window] = [0, MILLION, WINDOW].map(cost);
        println!("| {mode} | {:.2} | {:.2} |", few / million, few / window);
    }
}

/// It has no million ports, is counted by one length, and each sender needs a destination.
fn modes(load: Load) -> &'static [&'static str] {
    let beside_coturn = !load.mixed && (SENDERS..=1000).contains(&load.destinations);
    if beside_coturn { &MODES } else { &MODES[..OURS] }
}

/// One window of a forwarder of ours, or the naive one, under this load.
pub(crate) fn measure(net: &Net, mode: &str, load: Load) -> Result<Tally, String> {
    let (_, before) = net.sunk()?;
    let mut relay = net.relay(&[], mode, load)?;
    let mut source = net.world(&[], "source", load)?;
    let mut told = String::new();
    let read = relay.stdout.take().map(|mut out| out.read_to_string(&mut told));
    let ended = relay.wait();
    // The source sends until it is ended; it is this process's own.
    drop(source.kill());
    drop(source.wait());
    drop(read);
    drop(ended);
    let tally: Tally = told.parse().map_err(|why| format!("{mode}: {why}"))?;
    let sunk = net.sunk()?.1 - before;
    if sunk < tally.bytes {
        return Err(format!("{mode} forwarded {} bytes, and {sunk} arrived", tally.bytes));
    }
    Ok(tally)
}

const MODES: [&str; 6] = ["naive", "mmsg", "uring", "std", "coturn", "coturn, 50 k/s"];
/// Of these, all but coturn.
const OURS: usize = 4;
const CASES: [(&str, Load); 6] = [
    ("1,000 at random", Load::random(1000)),
    ("64 hot", Load::hot(64)),
    ("64 hot, mixed sizes", Load { mixed: true, ..Load::hot(64) }),
    ("16 hot", Load::hot(16)),
    ("1 M at random", Load::random(1_000_000)),
    // As many datagrams of a batch share a destination as of a thousand: what is left is what the
    // larger table costs.
    ("1 M, 1,000 at a time", Load { at_once: 1000, ..Load::random(1_000_000) }),
];
const MILLION: usize = 4;
const WINDOW: usize = 5;
