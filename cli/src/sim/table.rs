//! What a scenario has shown, for people and for scripts.

use core::fmt::Write;
use core::time::Duration;

use serde_json::{Value, json};
use waylane_core::id::Reliability;
use waylane_sim::Traffic;
use waylane_sim::scenario::{FlowOutcome, LegOutcome, Outcome, Scenario, SendSpec};

/// A line for each flow and each direction of each leg.
pub(super) fn text(scenario: &Scenario, outcome: &Outcome) -> String {
    let mut text = format!("seed {}, trace {:016x}\n\n", outcome.seed, outcome.trace);
    line_to(
        &mut text,
        format_args!(
            "{:<26} {:>8} {:>10} {:>8} {:>8} {:>8} {:>8} {:>8}",
            "messages", "sent", "delivered", "p50 ms", "p90 ms", "p99 ms", "max ms", "Mbit/s"
        ),
    );
    for (send, flow) in scenario.send.iter().zip(&outcome.flows) {
        let at = |percent| millis(flow.latency.percentile(percent));
        line_to(
            &mut text,
            format_args!(
                "{:<26} {:>8} {:>9.2}% {:>8.1} {:>8.1} {:>8.1} {:>8.1} {:>8.3}",
                name(send),
                flow.sent,
                share(flow.delivered, flow.sent) * 100.0,
                at(50.0),
                at(90.0),
                at(99.0),
                millis(flow.latency.max()),
                flow.megabits_per_second
            ),
        );
    }
    text.push('\n');
    line_to(
        &mut text,
        format_args!(
            "{:<26} {:>9} {:>8} {:>9} {:>9} {:>9} {:>9}",
            "datagrams", "sent", "lost", "overflow", "kB", "wait ms", "max ms"
        ),
    );
    for (leg, way, traffic) in outcome.legs.iter().flat_map(ways) {
        line_to(
            &mut text,
            format_args!(
                "{:<26} {:>9} {:>8} {:>9} {:>9.1} {:>9.1} {:>9.1}",
                format!("player {} {way} relay {}", leg.player, leg.relay),
                traffic.datagrams,
                traffic.lost,
                traffic.overflowed,
                traffic.bytes as f64 / 1000.0,
                millis(traffic.waited_mean()),
                millis(traffic.waited_max)
            ),
        );
    }
    text.push('\n');
    for why in &outcome.broken {
        line_to(&mut text, format_args!("BROKEN: {why}"));
    }
    if outcome.broken.is_empty() {
        text.push_str("every promise held\n");
    }
    text
}

/// One line for one of many scenarios.
pub(super) fn line(outcome: &Outcome) -> String {
    let verdict = if outcome.broken.is_empty() { "ok" } else { &outcome.broken.join("; ") };
    format!("seed {} trace {:016x} {verdict}", outcome.seed, outcome.trace)
}

/// The same figures as the table's, times in milliseconds.
pub(super) fn json(scenario: &Scenario, outcome: &Outcome) -> Value {
    let flows = scenario.send.iter().zip(&outcome.flows).map(|(send, flow)| of_flow(send, flow));
    let legs = outcome.legs.iter().flat_map(ways).map(|(leg, way, traffic)| {
        json!({
            "player": leg.player,
            "relay": leg.relay,
            "way": if way == "to" { "up" } else { "down" },
            "datagrams": traffic.datagrams,
            "bytes": traffic.bytes,
            "lost": traffic.lost,
            "overflowed": traffic.overflowed,
            "duplicated": traffic.duplicated,
            "held": traffic.held,
            "corrupted": traffic.corrupted,
            "waited_mean_ms": millis(traffic.waited_mean()),
            "waited_max_ms": millis(traffic.waited_max),
        })
    });
    json!({
        "seed": outcome.seed,
        "trace": format!("{:016x}", outcome.trace),
        "flows": flows.collect::<Vec<_>>(),
        "legs": legs.collect::<Vec<_>>(),
        "broken": outcome.broken,
    })
}

/// What a flow is called.
pub(super) fn name(send: &SendSpec) -> String {
    let kind = match send.reliability() {
        Reliability::Unreliable => "unreliable",
        Reliability::UnreliableSequenced => "sequenced",
        Reliability::Reliable => "reliable",
        Reliability::ReliableUnordered => "unordered",
    };
    format!("{} → {}, {} {kind}", send.from, send.to, send.channel)
}

fn of_flow(send: &SendSpec, flow: &FlowOutcome) -> Value {
    let at = |percent| millis(flow.latency.percentile(percent));
    json!({
        "from": send.from,
        "to": send.to,
        "channel": send.channel,
        "reliable": send.reliable,
        "ordered": send.ordered.unwrap_or(send.reliable),
        "sent": flow.sent,
        "delivered": flow.delivered,
        "p50_ms": at(50.0),
        "p90_ms": at(90.0),
        "p99_ms": at(99.0),
        "max_ms": millis(flow.latency.max()),
        "megabits_per_second": flow.megabits_per_second,
    })
}

fn ways(leg: &LegOutcome) -> [(&LegOutcome, &'static str, &Traffic); 2] {
    [(leg, "to", &leg.up), (leg, "from", &leg.down)]
}

fn line_to(text: &mut String, line: core::fmt::Arguments<'_>) {
    // Writing to a string never fails.
    writeln!(text, "{line}").unwrap_or_default();
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 1.0 } else { part as f64 / whole as f64 }
}

fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}
