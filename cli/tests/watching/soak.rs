//! Twenty seconds of traffic while Prometheus looks and an operator changes limits, each second.

use core::net::SocketAddr;
use core::time::Duration;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::Instant;

use waylane_admin::{Scrape, fetch};

use crate::players::{Player, QUIET, Relay};
use crate::running::Running;
use crate::{noise, outcome, pipe, traffic, wait_for};

#[test]
fn metrics_conform_and_add_up_and_reloads_hold_and_lose_nobody() {
    let mut relay = Relay::start("soak", &settings(GENEROUS));
    let (admin, entry) = (relay.admin(), relay.entry.to_string());
    let (mut alice, mut bob) = (Player::new(&relay.entry, 1), Player::new(&relay.entry, 2));
    let mut demos: Vec<Running> = (0..3).map(|_| traffic(&entry)).collect();
    wait_for("all players", || scrape(admin).get("waylane_sessions") == SESSIONS);
    let mut python = Command::new("/usr/bin/python3");
    python.args(["-c", include_str!("soak.py"), &format!("http://{admin}/metrics"), "20"]);
    let mut parser = Running::of(python);
    let before = scrape(admin).get("waylane_forwarded_packets_total");
    let start = Instant::now();
    for second in 0..20 {
        let limit = if second % 2 == 0 { NARROW } else { GENEROUS };
        relay.reload(&settings(limit));
        relay.program.err.with("are in force");
        holds(limit, &alice, &bob);
        noise(&entry);
        // Its complaints about names and help texts are failures, too.
        assert_eq!(pipe("promtool", &["check", "metrics"], &text(admin)), "");
        let due = start + Duration::from_secs(second + 1);
        std::thread::park_timeout(due.saturating_duration_since(Instant::now()));
    }
    // It refuses what it does not like, or this would show nothing.
    let broken = text(admin).replace("# HELP waylane_ready ", "# ");
    assert!(outcome("promtool", &["check", "metrics"], &broken).is_err());
    parser.out.with("read 20 times");

    // Everybody is there whom the reloads found there, in the session of then.
    let after = scrape(admin);
    assert_eq!(after.get("waylane_sessions"), SESSIONS);
    assert_eq!(after.get("waylane_sessions_ended_total"), 0.0);
    let handshakes: Vec<_> = after.by_label("waylane_handshakes_total").collect();
    let of = |kind: &str| handshakes.iter().find(|(outcome, _)| *outcome == kind).unwrap().1;
    assert_eq!((of("begun"), of("resumed")), (SESSIONS, 0.0), "{handshakes:?}");
    assert!(after.get("waylane_forwarded_packets_total") > before + 1000.0, "there was traffic");
    assert!(alice.keeps_alive() && bob.keeps_alive());

    demos.iter_mut().for_each(Running::kill);
    parser.say("now nothing comes any more");
    println!("{}", parser.out.with("and as many ended"));
    assert!(parser.finish().success());
}

/// What is in force is `limit`, and nothing of the one before.
fn holds(limit: usize, from: &Player, to: &Player) {
    let start = Instant::now();
    (0..BURST).for_each(|_| from.send_to(to));
    let arrived = to.count();
    // What was saved up, and what has come in while they were on their way.
    let allowed =
        limit / 10 + start.elapsed().saturating_sub(QUIET).as_millis() as usize * limit / 1000;
    assert!(arrived <= allowed + allowed / 10, "{arrived} of {BURST}, {allowed} allowed");
    let saved_up = BURST.min(limit / 10);
    assert!(arrived >= saved_up - saved_up / 10, "{arrived} of {BURST}, {saved_up} saved up");
}

fn settings(limit: usize) -> String {
    format!("admin = \"127.0.0.1:0\"\nburst_ms = 100\npackets_per_second = {limit}\n")
}

fn scrape(admin: SocketAddr) -> Scrape {
    Scrape::parse(&fetch(admin, "/metrics").unwrap()).unwrap()
}

/// The metrics as what knows no OpenMetrics asks for them.
fn text(admin: SocketAddr) -> String {
    let mut connection = TcpStream::connect(admin).unwrap();
    let ask = "GET /metrics HTTP/1.1\r\nHost: relay\r\nAccept: text/plain\r\n\r\n";
    connection.write_all(ask.as_bytes()).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// Three games of two, and two who look whether the limit holds.
const SESSIONS: f64 = 8.0;
/// Packets a second, of which a tenth may be saved up.
const NARROW: usize = 500;
const GENEROUS: usize = 10_000;
/// What is sent at once: more than the narrow limit lets through, less than the generous one.
const BURST: usize = 200;
