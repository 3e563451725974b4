//! Scenarios that nobody has thought of: others at every run.

use core::time::Duration;
use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::Failure;
use crate::ci::{WORKSPACE, cargo};

/// Runs random scenarios with fresh seeds for three minutes.
///
/// # Errors
/// When one does not keep its promises: the output above says which, and the command that shows it
/// again.
pub(crate) fn check(root: &Path) -> Result<(), Failure> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|why| why.to_string())?;
    // A million a second, so that no two runs share a seed.
    let first = now.as_secs() * 1_000_000;
    println!("random scenarios from seed {first} on");
    let start = Instant::now();
    let mut next = first;
    while start.elapsed() < TIME {
        let (from, count) = (next.to_string(), BATCH.to_string());
        let seeds = [("WAYLANE_SCENARIOS_FROM", &*from), ("WAYLANE_SCENARIOS", &*count)];
        cargo(root, &RUN, &seeds).map_err(|_| {
            format!("among seeds {from} to {}: see above for the replay", next + BATCH - 1)
        })?;
        next += BATCH;
    }
    println!("{} random scenarios kept every promise, seeds {first} to {}", next - first, next - 1);
    Ok(())
}

const TIME: Duration = Duration::from_secs(180);
/// Scenarios of one run of the test: some ten seconds.
const BATCH: u64 = 250;
const RUN: [&str; 7] = [
    "test",
    "--quiet",
    WORKSPACE,
    "--test",
    "scenarios",
    "--",
    "random_scenarios_keep_every_promise",
];
