//! The demo as a user runs it, with loss; its exit status and its JSON are checked.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::Failure;
use crate::ci::programs;

/// Runs the demo and looks at what it says.
///
/// # Errors
/// When it fails, or says something that cannot be.
pub(crate) fn check(root: &Path) -> Result<(), Failure> {
    check_output(Command::new(programs(root)?.join("waylane")))
}

/// Runs the demo by this program, given what it is called with, and looks at what it says.
///
/// # Errors
/// As [`check`].
pub(crate) fn check_output(mut command: Command) -> Result<(), Failure> {
    let args = ["demo", "--json", "--seconds", "3", "--loss", "10"];
    println!("$ waylane {}", args.join(" "));
    let output = command
        .args(args)
        .stderr(std::process::Stdio::inherit())
        .output()
        .map_err(|e| format!("it cannot be started: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{}", text.trim_end());
    if !output.status.success() {
        return Err(format!("the demo's {}", output.status));
    }
    let report: Value = serde_json::from_str(&text).map_err(|e| format!("not JSON: {e}"))?;
    check_report(&report)
}

fn check_report(report: &Value) -> Result<(), Failure> {
    let players = report["players"].as_array().ok_or("no players")?;
    if players.len() != 2 {
        return Err(format!("{} players", players.len()));
    }
    for player in players {
        check_player(player)?;
    }
    // Each player sends 60 packets a second for three seconds; a tenth is lost on purpose.
    expect("relay.forwarded", &report["relay"]["forwarded"], |n| n >= 200)
}

fn check_player(player: &Value) -> Result<(), Failure> {
    expect("peer_id", &player["peer_id"], |n| n > 0 && n >> 63 == 0)?;
    let [unreliable, reliable] = [&player["channels"]["0"], &player["channels"]["1"]];
    expect("0.messages_sent", &unreliable["messages_sent"], |n| n >= 120)?;
    expect("0.lost", &unreliable["lost"], |n| n >= 1)?;
    expect("0.duplicates", &unreliable["duplicates"], |n| n == 0)?;
    expect("1.messages_received", &reliable["messages_received"], |n| n >= 12)?;
    expect("1.lost", &reliable["lost"], |n| n == 0)?;
    expect("1.out_of_order", &reliable["out_of_order"], |n| n == 0)?;
    expect("1.duplicates", &reliable["duplicates"], |n| n == 0)?;
    expect("wire_bytes.out", &player["wire_bytes"]["out"], |n| n >= 12_000)?;
    let median = player["rtt_ms"]["p50"].as_f64().ok_or("no rtt_ms.p50")?;
    if median > 0.0 { Ok(()) } else { Err(format!("rtt_ms.p50 is {median}")) }
}

fn expect(name: &str, value: &Value, is_right: fn(u64) -> bool) -> Result<(), Failure> {
    match value.as_u64() {
        Some(number) if is_right(number) => Ok(()),
        _ => Err(format!("{name} is {value}")),
    }
}
