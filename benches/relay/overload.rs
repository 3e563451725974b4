//! What is left of the greatest rate when three times as much comes.

use crate::costs::measure;
use crate::load::Load;
use crate::net::Net;
use crate::relays::Tally;

/// Each forwarder a little above what it can take, and far above.
pub(crate) fn compare(net: &Net, rounds: usize) -> Result<(), String> {
    println!(
        "\n| overload, 1,000 at random | offered ÷ taken | thousand/s | core ours | idle | a second of the core, against the maximum |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: |");
    for mode in ["naive", "mmsg", "uring"] {
        let load = Load::random(1000);
        let capacity = 1e9 / measure(net, mode, load)?.cost();
        let mut tallies = [const { Vec::new() }; 2];
        for _ in 0..rounds {
            for (times, tallies) in [1.1, 3.0].iter().zip(&mut tallies) {
                let load = Load { a_second: (capacity * times) as u32, ..load };
                tallies.push(measure(net, mode, load)?);
            }
        }
        let medians = tallies.map(|mut tallies| Tally::median(&mut tallies));
        let maximum = medians[0].cost();
        for (name, median) in ["1.1 ×", "3 ×"].iter().zip(&medians) {
            println!(
                "| {mode}, {name} | {:.1} | {:.0} | {:.0} % | {:.0} % | {:.2} |",
                median.offered as f64 / median.datagrams as f64,
                median.rate(),
                median.ours(),
                median.idle(),
                maximum / median.cost(),
            );
        }
    }
    Ok(())
}
