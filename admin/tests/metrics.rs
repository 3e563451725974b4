//! The metrics of a real relay under traffic: they add up, say what they should, and nothing about
//! anybody.
#![allow(clippy::unwrap_used, reason = "a test may stop at what should not happen")]

#[path = "../../relay/tests/running/mod.rs"]
mod running;

use core::time::Duration;
use std::collections::BTreeSet;
use std::path::Path;

use running::client::data;
use running::{Running, Socket};
use waylane_admin::{Format, Scrape, metrics};
use waylane_core::wire::hop::Probe;
use waylane_relay::{BackEnd, Config, Relay, RelayHandle};

#[test]
fn what_comes_in_is_forwarded_consumed_or_dropped_to_the_packet() {
    let relay = Running::start(&dev(), BackEnd::portable).unwrap();
    let mut sockets: Vec<Socket> = (0..4).map(|_| Socket::new(&relay)).collect();
    let sessions: Vec<_> = (sockets.iter_mut().zip(1..)).map(|(s, n)| s.bound(n).session).collect();
    let stranger = Socket::new(&relay);
    for round in 0..500usize {
        let (from, to) = (round % 4, (round / 4) % 4);
        sockets[from].socket.send(&data(sessions[to])).unwrap();
        stranger.socket.send(&data(sessions[to])).unwrap();
        stranger.socket.send(&[round as u8; 40]).unwrap();
        // One at a time, so that no socket's buffer decides.
        probe(&sockets[from]);
    }
    let metrics = settled(&relay.handle);
    let sum = metrics.get("waylane_forwarded_packets_total")
        + metrics.get("waylane_consumed_packets_total")
        + metrics.get("waylane_dropped_packets_total");
    assert_eq!(metrics.get("waylane_received_packets_total"), sum);
    assert!(sum > 2000.0 && metrics.get("waylane_forwarded_packets_total") > 300.0, "{metrics:?}");
    assert_eq!(metrics.get("waylane_sessions"), 4.0);
    assert_eq!(metrics.get("waylane_handshakes_total{outcome=\"begun\"}"), 4.0);
    let dropped: BTreeSet<_> = (metrics.by_label("waylane_dropped_packets_total"))
        .filter(|(_, count)| *count > 0.0)
        .map(|(reason, _)| reason)
        .collect();
    for reason in ["unbound", "malformed", "to_itself"] {
        assert!(dropped.contains(reason), "{dropped:?}");
    }
    // The histograms are about the same datagrams.
    assert_eq!(
        metrics.get("waylane_batch_packets_sum"),
        metrics.get("waylane_received_packets_total")
    );
    assert_eq!(
        metrics.get("waylane_run_packets_sum"),
        metrics.get("waylane_forwarded_packets_total")
    );
    assert_eq!(
        metrics.get("waylane_batch_packets_count"),
        metrics.get("waylane_residence_seconds_count")
    );
    // Strangers and players together were answered with no more than they sent.
    assert!(
        metrics.get("waylane_reply_bytes_total") <= metrics.get("waylane_received_bytes_total")
    );
    relay.stop();
}

#[test]
fn nothing_is_said_of_anybody_and_nothing_grows_with_them() {
    let before = text(&Relay::bind(&dev()).unwrap().handle());
    let relay = Running::start(&dev(), BackEnd::portable).unwrap();
    let mut sockets: Vec<Socket> = (0..20).map(|_| Socket::new(&relay)).collect();
    for (socket, n) in sockets.iter_mut().zip(1..) {
        socket.bound(n);
    }
    let after = text(&relay.handle);
    let names = |text: &str| -> BTreeSet<String> {
        Scrape::parse(text).unwrap().names().map(str::to_owned).collect()
    };
    assert_eq!(names(&before), names(&after), "every series is there from the start");
    assert!(names(&after).len() < 200, "{}", names(&after).len());
    assert!(!after.contains("127.0.0.1") && !after.contains("::1"), "{after}");
    for socket in &sockets {
        let port = format!("{}", socket.socket.local_addr().unwrap().port());
        assert!(!after.split([' ', '"', ':', '\n']).any(|word| word == port) || port.len() < 5);
    }
    let labels: BTreeSet<&str> = (after.lines().filter(|line| !line.starts_with('#')))
        .filter_map(|line| Some(line.split_once('{')?.1.split_once('}')?.0))
        .flat_map(|labels| labels.split(','))
        .filter_map(|label| Some(label.split_once('=')?.0))
        .collect();
    let bounded = ["kind", "le", "os", "outcome", "path", "reason", "region", "version"];
    assert_eq!(labels, BTreeSet::from(bounded));
    relay.stop();
}

#[test]
fn the_text_is_openmetrics() {
    let text = text(&Relay::bind(&dev()).unwrap().handle());
    assert!(text.ends_with("# EOF\n") && !text.contains("\n\n"));
    let mut family = ("", "");
    let mut seen = BTreeSet::new();
    for line in text.lines().filter(|line| *line != "# EOF") {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            family = rest.split_once(' ').unwrap();
            assert!(seen.insert(family.0), "{} stands in one place", family.0);
            continue;
        }
        if let Some(rest) = line.strip_prefix("# UNIT ") {
            let (name, unit) = rest.split_once(' ').unwrap();
            assert!(name == family.0 && name.ends_with(&format!("_{unit}")), "{line}");
            continue;
        }
        if let Some(rest) = line.strip_prefix("# HELP ") {
            assert!(rest.starts_with(family.0) && rest.ends_with('.'), "{line}");
            continue;
        }
        let name = line.split(['{', ' ']).next().unwrap();
        let suffix = name.strip_prefix(family.0).unwrap();
        let legal: &[&str] = match family.1 {
            "counter" => &["_total"],
            "gauge" => &[""],
            "info" => &["_info"],
            "histogram" => &["_bucket", "_sum", "_count"],
            other => panic!("{other}"),
        };
        assert!(legal.contains(&suffix), "{line} of a {}", family.1);
        assert!(line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() >= 0.0, "{line}");
    }
}

/// Names as documentation, boards and rules have them: a histogram by its own.
fn known() -> BTreeSet<String> {
    let text = text(&Relay::bind(&dev()).unwrap().handle());
    let mut known = BTreeSet::new();
    let mut kind = "";
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, of) = rest.split_once(' ').unwrap();
            kind = of;
            if kind == "histogram" {
                known.insert(name.to_owned());
            }
        } else if !line.starts_with('#') {
            let (sample, _) = line.rsplit_once(' ').unwrap();
            let (name, labels) = sample.split_once('{').unwrap_or((sample, ""));
            match kind {
                "histogram" => {}
                "info" => drop(known.insert(name.to_owned())),
                _ => {
                    known.insert(name.to_owned());
                    if let Some(label) = labels.strip_suffix('}') {
                        known.insert(format!("{name}{{{label}}}"));
                    }
                }
            }
        }
    }
    known
}

#[test]
fn the_documentation_has_each_metric_and_no_other() {
    let page = read("docs/operating.md");
    let section = page.split("## What each metric means").nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let mut documented = BTreeSet::new();
    let mut metric = "";
    for line in section.lines() {
        let Some(first) = line.strip_prefix("| `").and_then(|rest| rest.split('`').next()) else {
            continue;
        };
        if first.contains('=') {
            documented.insert(format!("{metric}{{{first}}}"));
        } else {
            metric = first;
            documented.insert(first.to_owned());
        }
    }
    let known = known();
    let missing: Vec<_> = known.difference(&documented).collect();
    let unknown: Vec<_> = documented.difference(&known).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "missing {missing:?}, unknown {unknown:?}");
}

#[test]
fn board_and_rules_ask_for_what_there_is() {
    let known = known();
    let mut chosen = 0;
    for file in ["packaging/grafana/waylane.json", "packaging/prometheus/rules.yml"] {
        let text = read(file);
        let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
        let asked: BTreeSet<&str> = (text.split(word))
            .filter(|word| word.starts_with("waylane_") || word.starts_with("process_"))
            .collect();
        assert!(asked.len() > 5, "{file} asks for {asked:?}");
        for name in asked {
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|s| name.strip_suffix(s));
            let is_known = known.contains(name) || family.is_some_and(|f| known.contains(f));
            assert!(is_known, "{file} asks for {name}");
        }
        for (label, value) in labels(&text) {
            chosen += 1;
            let wanted = format!("{{{label}=\"{value}\"}}");
            assert!(known.iter().any(|k| k.ends_with(&wanted)), "{file} asks for {wanted}");
        }
    }
    assert!(chosen > 5, "the search for labels finds {chosen}");
}

/// Values of the labels that queries choose by, however they are quoted; alternatives one by one.
fn labels(text: &str) -> Vec<(&'static str, String)> {
    let text = text.replace("\\\"", "\"");
    let mut found = Vec::new();
    for label in ["reason", "kind", "outcome", "path"] {
        for part in text.split(label).skip(1) {
            let Some(rest) = part.strip_prefix("=~\"").or(part.strip_prefix("=\"")) else {
                continue;
            };
            let values = rest.split('"').next().unwrap();
            found.extend(values.split('|').map(|value| (label, value.to_owned())));
        }
    }
    found
}

/// The metrics once every datagram received so far has been dealt with.
fn settled(relay: &RelayHandle) -> Scrape {
    loop {
        let counters = relay.counters();
        let consumed = counters.owner.control.consumed();
        if counters.workers.received == counters.forwarded() + consumed + counters.dropped() {
            return Scrape::parse(&text(relay)).unwrap();
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

/// Waits until the relay has dealt with what was sent from here before: what a worker hands over
/// to the owner is answered in order.
fn probe(socket: &Socket) {
    let mut probe = [0; Probe::LEN];
    Probe { reply: false, nonce: [1; 8] }.emit(&mut probe).unwrap();
    socket.socket.send(&probe).unwrap();
    while socket.receive().is_some_and(|datagram| Probe::parse(&datagram).is_err()) {}
}

fn text(relay: &RelayHandle) -> String {
    metrics(relay, Duration::from_secs(1), Format::OpenMetrics)
}

fn read(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn dev() -> Config {
    let mut config = Config::dev();
    config.listen = vec!["127.0.0.1:0".parse().unwrap()];
    config
}
