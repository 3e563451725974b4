//! The simulator as people use it.

use std::path::Path;

use serde_json::Value;

use crate::running::{complaint, run, scratch};

/// A link on which something goes wrong, and a game on it, for two seconds.
const BAD_LINK: [&str; 9] =
    ["sim", "--rtt", "60", "--loss", "8", "--rate", "2M", "--duration", "2s"];

fn output(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", complaint(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn report(arguments: &[&str]) -> Value {
    let text = output(arguments);
    serde_json::from_str(&text).unwrap_or_else(|why| panic!("{why}: {text}"))
}

#[test]
fn a_link_from_flags_is_shown_in_every_form() {
    let (picture, capture) = (scratch("link.svg"), scratch("link.pcap"));
    let files =
        ["--plot", picture.to_str().unwrap(), "--pcap", capture.to_str().unwrap(), "--json"];
    let report = report(&[&BAD_LINK[..], &files].concat());
    assert_eq!(report["broken"], serde_json::json!([]));
    let flows = report["flows"].as_array().unwrap();
    assert_eq!(flows.len(), 4);
    for flow in flows {
        let [p50, p99] = ["p50_ms", "p99_ms"].map(|p| flow[p].as_f64().unwrap());
        assert!((30.0..=p99).contains(&p50), "half of 60 ms at least: {flow}");
        assert!(flow["reliable"] != true || flow["sent"] == flow["delivered"], "{flow}");
    }
    assert!(std::fs::read_to_string(picture).unwrap().starts_with("<svg"));

    let legs = report["legs"].as_array().unwrap();
    // Players see what they send, and of what comes down to them all that arrives.
    let seen = |leg: &Value| {
        let count = |what: &str| leg[what].as_u64().unwrap();
        let missing = if leg["way"] == "down" { count("lost") + count("overflowed") } else { 0 };
        count("datagrams") - missing
    };
    let seen: u64 = legs.iter().map(seen).sum();
    let captured = records(&capture);
    let on_their_way = 5;
    assert!(seen > 500 && (seen - on_their_way..=seen).contains(&captured), "{captured} of {seen}");
}

/// How many packets a capture holds; all of it must be read.
fn records(file: &Path) -> u64 {
    let bytes = std::fs::read(file).unwrap();
    let (header, mut rest) = bytes.split_at(24);
    assert_eq!(header[..4], 0xa1b2_c3d4_u32.to_le_bytes());
    let mut count = 0;
    while let Some((record, behind)) = rest.split_at_checked(16) {
        let len = u32::from_le_bytes(record[8..12].try_into().unwrap()) as usize;
        assert!(matches!(behind[0] >> 4, 4 | 6), "an IP packet");
        rest = &behind[len..];
        count += 1;
    }
    assert!(rest.is_empty());
    count
}

#[test]
fn what_is_printed_runs_as_what_it_was_printed_from() {
    let file = scratch("printed.toml");
    std::fs::write(&file, output(&[&BAD_LINK[..], &["--print"]].concat())).unwrap();
    let direct = report(&[&BAD_LINK[..], &["--json"]].concat());
    let printed = report(&["sim", file.to_str().unwrap(), "--json"]);
    assert_eq!(printed, direct);
    let table = output(&["sim", file.to_str().unwrap()]);
    assert!(table.contains(direct["trace"].as_str().unwrap()), "{table}");
    let other = report(&["sim", file.to_str().unwrap(), "--json", "--seed", "2"]);
    assert_ne!(other["trace"], direct["trace"]);
}

#[test]
fn a_broken_promise_is_a_failure_with_the_command_that_shows_it() {
    let file = scratch("too-slow.toml");
    let text = r#"
        seed = 7
        duration = "1s"
        settle = "1s"
        link = { rate = "50k" }
        player = [{}, {}]
        send = [{ from = 0, to = 1, reliable = true, size = 250000, count = 1 }]
    "#;
    std::fs::write(&file, text).unwrap();
    let output = run(&["sim", file.to_str().unwrap()]);
    assert!(!output.status.success());
    let table = String::from_utf8_lossy(&output.stdout);
    assert!(table.contains("BROKEN: send 0: 0 of 1 reliable messages"), "{table}");
    let again = format!("waylane sim {} --seed 7", file.display());
    assert!(complaint(&output).contains(&again), "{}", complaint(&output));
}

#[test]
fn a_key_that_is_not_known_is_refused_by_name() {
    let file = scratch("unknown.toml");
    std::fs::write(&file, "duration = \"1s\"\nplayer = [{}, { colour = 1 }]\n").unwrap();
    let output = run(&["sim", file.to_str().unwrap()]);
    assert!(!output.status.success() && output.stdout.is_empty());
    let why = complaint(&output);
    assert!(
        why.contains("unknown.toml") && why.contains("colour") && why.contains("ipv6"),
        "{why}"
    );
}

#[test]
fn random_scenarios_show_the_same_each_time() {
    let run = || output(&["sim", "--random", "40", "--count", "2"]);
    let lines = run();
    assert_eq!(lines.lines().filter(|line| line.ends_with(" ok")).count(), 2, "{lines}");
    assert_eq!(run(), lines);
}
