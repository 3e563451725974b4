//! The workloads keep what is promised of them, on virtual time.
//!
//! `cargo test --release -p waylane-sim --test workloads -- --nocapture` prints all figures;
//! `WAYLANE_SEEDS=30` before it takes so many seeds in place of nine.

use waylane_sim::workload::{Pace, Row, Suite};

fn rows(workload: &str, pace: Pace) -> Vec<Row> {
    let seeds = std::env::var("WAYLANE_SEEDS").ok();
    let seeds = seeds.and_then(|seeds| seeds.parse().ok()).unwrap_or(SEEDS);
    let rows = Suite { seeds, pace }.run(workload).expect("a workload of this name");
    rows.iter().for_each(|row| println!("{row}"));
    rows
}

/// What figures are pooled over; `WAYLANE_SEEDS` says otherwise.
const SEEDS: u64 = 9;

/// Every row with a target keeps it.
fn check(rows: &[Row]) {
    assert!(rows.iter().any(|row| row.target.is_some()), "something is promised");
    for row in rows {
        assert_ne!(row.holds(), Some(false), "{row}");
    }
}

fn keeps_its_promises(workload: &str) {
    check(&rows(workload, Pace::Events));
}

#[test]
fn w1_a_game() {
    keeps_its_promises("w1");
}

#[test]
fn w1_with_bursts_of_loss() {
    keeps_its_promises("burst");
}

#[test]
fn w2_much_at_once() {
    keeps_its_promises("w2");
}

#[test]
fn w5_bulk() {
    keeps_its_promises("w5");
}

#[test]
fn w6_the_beginning() {
    keeps_its_promises("w6");
}

#[test]
fn w7_a_game_beside_bulk() {
    keeps_its_promises("w7");
}

#[test]
fn beside_others() {
    keeps_its_promises("rivals");
}

#[test]
fn w7_called_at_60_hz_only() {
    check(&rows("w7", Pace::Frames));
}

/// Promised is nothing, but whoever calls at 60 Hz only waits for a frame or two, not for seconds.
#[test]
fn the_others_called_at_60_hz_only() {
    let worst = |rows: &[Row], figure: &str| {
        let figures = rows.iter().filter(|row| row.figure == figure).map(|row| row.measured);
        figures.fold(f64::NAN, f64::max)
    };
    let w1 = rows("w1", Pace::Frames);
    assert!(worst(&w1, "reliable p99, ms") < 75.0);
    let w2 = rows("w2", Pace::Frames);
    assert!(worst(&w2, "all done, ms") < 950.0);
}
