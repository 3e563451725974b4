//! The demo as a script runs it.

use serde_json::Value;

use crate::running;

/// Runs a demo and returns its report.
pub(crate) fn demo(arguments: &[&str]) -> Value {
    demo_of("2", arguments)
}

/// Runs a demo of so many seconds and returns its report.
fn demo_of(seconds: &str, arguments: &[&str]) -> Value {
    let mut all = vec!["demo", "--json", "--seconds", seconds];
    all.extend(arguments);
    let output = running::run(&all);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}\n{text}", running::complaint(&output));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

pub(crate) fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no count"))
}

fn check(report: &Value, may_lose: bool) {
    let players = report["players"].as_array().unwrap();
    assert_eq!(players.len(), 2);
    assert_ne!(players[0]["peer_id"], players[1]["peer_id"]);
    for (player, other) in [(&players[0], &players[1]), (&players[1], &players[0])] {
        let [unreliable, reliable] = ["0", "1"].map(|n| &player["channels"][n]);
        // Two seconds at 60 Hz; a message of 40 B each tenth tick and one of 8 KiB each second.
        assert_eq!(count(&unreliable["messages_sent"]), 120);
        assert_eq!(count(&unreliable["bytes_sent"]), 120 * 100);
        assert_eq!(count(&reliable["messages_sent"]), 14);
        assert_eq!(count(&reliable["bytes_sent"]), 12 * 40 + 2 * 8192);
        assert_eq!(reliable["messages_received"], other["channels"]["1"]["messages_sent"]);
        assert_eq!(reliable["bytes_received"], other["channels"]["1"]["bytes_sent"]);
        let arrived = count(&unreliable["messages_received"]);
        assert_eq!(arrived + count(&unreliable["lost"]), 120);
        assert!(arrived >= if may_lose { 60 } else { 120 }, "{arrived}");
        for what in ["lost", "out_of_order", "duplicates"] {
            assert_eq!(count(&reliable[what]), 0, "{what}");
        }
        assert_eq!(count(&unreliable["duplicates"]), 0);
        let [p50, p99] = ["p50", "p99"].map(|p| player["rtt_ms"][p].as_f64().unwrap());
        assert!(0.0 < p50 && p50 <= p99, "{p50} {p99}");
        let bytes = count(&unreliable["bytes_sent"]) + count(&reliable["bytes_sent"]);
        assert!(count(&player["wire_bytes"]["out"]) > bytes);
        assert!(count(&player["wire_bytes"]["in"]) > 0);
    }
    assert!(count(&report["relay"]["forwarded"]) >= 120);
    assert!(report["relay"]["dropped"].is_object());
}

#[test]
fn everything_arrives_on_a_good_link() {
    check(&demo(&[]), false);
}

#[test]
fn the_reliable_channel_is_clean_on_a_bad_link() {
    let report = demo(&["--loss=20", "--delay=20", "--jitter=10", "--duplicate=5", "--reorder=5"]);
    check(&report, true);
    for player in report["players"].as_array().unwrap() {
        assert!(count(&player["channels"]["0"]["lost"]) > 0);
        // Both directions take 20 ms at least.
        assert!(player["rtt_ms"]["p50"].as_f64().unwrap() >= 40.0);
    }
}

#[test]
fn people_get_lines_and_a_table() {
    let output = running::run(&["demo", "--seconds", "2"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}\n{text}", running::complaint(&output));
    assert!(text.lines().any(|line| line.contains(" s | player 1: sent ")), "{text}");
    for row in ["peer id", "unreliable sent", "reliable sent", "round trip p50 / p99"] {
        assert!(text.lines().any(|line| line.starts_with(row)), "{row}: {text}");
    }
    assert!(!text.contains('\x1b'), "control sequences outside a terminal");
}

#[test]
fn a_running_relay_serves_the_demo() {
    let key = running::scratch("demo.key");
    let key = key.to_str().unwrap();
    let mut relay =
        running::Running::start(&["relay", "--dev", "--listen=127.0.0.1:0", "--key", key]);
    let entry = relay.out.with("@127.0.0.1:");
    let report = demo(&["--relay", entry.trim()]);
    assert!(report["relay"].is_null());
    for player in report["players"].as_array().unwrap() {
        assert_eq!(count(&player["channels"]["1"]["messages_received"]), 14);
    }
}

#[test]
fn a_relay_that_is_not_there_is_told() {
    // A valid entry at a port where nobody listens.
    let entry = format!("{}@127.0.0.1:9", "A".repeat(42) + "E");
    let output = running::run(&["demo", "--json", "--seconds", "1", "--relay", &entry]);
    assert!(!output.status.success());
    assert!(output.stdout.is_empty());
    assert!(running::complaint(&output).contains("a session at the relay"));
}

/// The relay in use goes in the middle: nothing reliable is lost, and the players use the other one.
fn check_departure(arguments: &[&str]) -> Value {
    let mut all = vec!["--relays=2"];
    all.extend(arguments);
    let report = demo_of("5", &all);
    assert_eq!(count(&report["reliable_lost"]), 0);
    assert_eq!(count(&report["reliable_out_of_order"]), 0);
    assert!(count(&report["path_switches"]) >= 1, "{report}");
    let players = report["players"].as_array().unwrap();
    assert_eq!(players[0]["path"], players[1]["path"]);
    for player in players {
        // 300 were sent, and what was sent into a dead relay for some moments is lost.
        assert!(count(&player["channels"]["0"]["messages_received"]) > 200, "{report}");
    }
    report
}

#[test]
fn a_killed_relay_costs_nothing_reliable() {
    let report = check_departure(&["--kill-after=2"]);
    assert!(report["gap_ms_max"].as_f64().unwrap() > 20.0, "{report}");
}

#[test]
fn a_drained_relay_costs_nothing_reliable() {
    check_departure(&["--drain-after=2"]);
}

#[test]
fn what_cannot_be_shown_is_said() {
    let complaint = |arguments: &[&str]| {
        let output = running::run(arguments);
        assert!(!output.status.success());
        running::complaint(&output)
    };
    assert!(complaint(&["demo", "--kill-after=1"]).contains("--relays 2"));
    assert!(complaint(&["demo", "--relays=2", "--kill-after=9"]).contains("--seconds 12"));
}
