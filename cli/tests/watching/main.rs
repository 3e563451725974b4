//! A relay watched as people and their tools watch it: the page in Chromium, `waylane top` in a
//! terminal, metrics and alerts by Prometheus's own programs.
//!
//! Needs what `scripts/install-watching.sh` installs, so plain `cargo test` leaves it out:
//! `cargo test --package waylane-cli --test watching`.
#![allow(clippy::unwrap_used, reason = "a test may stop at what should not happen")]

#[path = "../../../core/tests/relay_support/client.rs"]
mod client;
#[allow(dead_code, reason = "not every test that includes it uses all of it")]
#[path = "../program/players.rs"]
mod players;
#[allow(dead_code, reason = "not every test that includes it uses all of it")]
#[path = "../program/running.rs"]
mod running;
mod soak;
mod webdriver;

use core::net::SocketAddr;
use core::time::Duration;
use std::io::Write as _;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use running::{Running, scratch};
use serde_json::Value;
use waylane_admin::{Scrape, fetch};
use webdriver::Browser;

#[test]
fn a_person_sees_charts_and_the_page_asks_nobody_else() {
    let mut relay = Relay::start("page");
    let _traffic = traffic(&relay.entry);
    let net_log = scratch("net-log.json");
    let browser = Browser::start(&net_log);
    browser.open(&format!("http://{}/", relay.admin));
    wait_for("six looks", || {
        noise(&relay.entry);
        browser.run("return Number(document.body.dataset.looks) >= 6") == Value::Bool(true)
    });

    let text = |id: &str| {
        let script = format!("return document.getElementById('{id}').textContent");
        browser.run(&script).as_str().unwrap().to_owned()
    };
    assert_eq!((text("state"), text("region")), ("serving".to_owned(), "eu-1".to_owned()));
    assert!(text("about").contains(env!("CARGO_PKG_VERSION")), "{}", text("about"));
    assert!(text("tables").contains("malformed"), "{}", text("tables"));
    assert!(!text("tiles").contains(['–', 'N']), "a number in each tile: {}", text("tiles"));
    // Points of each line of each chart; all but the rates of batches have one for each look.
    let points = browser.run(
        "return [...document.querySelectorAll('svg.chart path.line')]
            .map(line => line.getAttribute('d').split(/[ML]/).length - 1)",
    );
    let points: Vec<u64> = points.as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).collect();
    assert_eq!(points.len(), 11, "{points:?}");
    assert!(points.iter().all(|&n| n >= 3), "every line is drawn: {points:?}");
    // The traffic is seen in the first chart: a line that is not flat on the ground.
    let height = browser.run("return document.querySelector('path.line').getBBox().y");
    assert!(height.as_f64().unwrap() < 120.0, "{height}");
    let wide = browser.run("return document.documentElement.scrollWidth <= innerWidth");
    assert_eq!(wide, Value::Bool(true), "nothing has to be scrolled to the side");

    let picture = browser.screenshot();
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("page.png");
    std::fs::write(&file, &picture).unwrap();
    println!("a screenshot is at {}", file.display());
    assert!(picture.starts_with(b"\x89PNG") && picture.len() > 20_000, "{}", picture.len());

    relay.program.kill();
    wait_for("the page to tell that the relay is away", || text("state") == "not to be reached");

    let asked = browser.asked();
    let ours = format!("http://{}/", relay.admin);
    assert!(asked.len() > 6, "{asked:?}");
    for url in asked {
        assert!(url.starts_with(&ours) || url.starts_with("data:"), "the page asked {url}");
    }
    drop(browser);
    assert_eq!(reached_elsewhere(&net_log), Vec::<String>::new());
}

/// Addresses beyond this machine that the browser tried to reach, by its own log.
fn reached_elsewhere(net_log: &Path) -> Vec<String> {
    let log = std::fs::read_to_string(net_log).unwrap();
    let log: Value = serde_json::from_str(&log).unwrap();
    let kind = &log["constants"]["logEventTypes"]["TCP_CONNECT_ATTEMPT"];
    let attempts: Vec<&str> = (log["events"].as_array().unwrap().iter())
        .filter(|event| event["type"] == *kind)
        .filter_map(|event| event["params"]["address"].as_str())
        .collect();
    assert!(attempts.len() > 6, "the log has the page's own: {attempts:?}");
    let elsewhere = attempts.iter().filter(|address| !address.starts_with("127.0.0.1:"));
    elsewhere.map(ToString::to_string).collect()
}

#[test]
fn top_fills_a_terminal_and_gives_it_back() {
    let relay = Relay::start("top");
    let _traffic = traffic(&relay.entry);
    let tmux = Tmux::start();
    tmux.say(&format!("{} top --admin {}", env!("CARGO_BIN_EXE_waylane"), relay.admin));
    let mut screen = String::new();
    wait_for("a frame with traffic", || {
        noise(&relay.entry);
        screen = tmux.screen();
        screen.contains("malformed") && screen.contains('█')
    });
    println!("{screen}");
    assert!(screen.starts_with("Waylane relay eu-1   serving   up "), "{screen}");
    let line = |name: &str| screen.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    assert!(line("sent on").contains("bit/s"), "{screen}");
    assert!(line("sessions").starts_with("sessions 2 of 65 536"), "{screen}");
    tmux.press("C-c");
    wait_for("the screen as it was before", || !tmux.screen().contains("Waylane relay"));
    tmux.say("echo $((6 * 7))");
    wait_for("the shell", || tmux.screen().lines().any(|line| line == "42"));
}

#[test]
fn prometheus_reads_the_metrics() {
    let mut relay = Relay::start("parser");
    noise(&relay.entry);
    let metrics = fetch(relay.admin, "/metrics").unwrap();
    let script = "import sys\n\
        from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse\n\
        print(sum(len(family.samples) for family in parse(sys.stdin.read())))";
    let printed = pipe("/usr/bin/python3", &["-c", script], &metrics);
    let samples: usize = printed.trim().parse().unwrap();
    assert_eq!(samples, Scrape::parse(&metrics).unwrap().names().count());
    // The parser refuses what is not OpenMetrics, or this test would show nothing.
    let broken = metrics.replace("# TYPE waylane_ready gauge", "# TYPE waylane_ready counter");
    assert!(outcome("/usr/bin/python3", &["-c", script], &broken).is_err());
    relay.program.kill();
}

#[test]
fn prometheus_takes_the_alerts() {
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/prometheus/rules.yml");
    let printed = pipe("promtool", &["check", "rules", rules.to_str().unwrap()], "");
    assert!(printed.contains("SUCCESS"), "{printed}");
}

/// The real program, and where it is watched.
struct Relay {
    program: Running,
    admin: SocketAddr,
    entry: String,
}

impl Relay {
    fn start(name: &str) -> Self {
        let key = format!("--key-file={}", scratch(&format!("{name}.key")).display());
        let mut program = Running::start(&[
            "relay",
            "--dev",
            "--listen=127.0.0.1:0",
            "--region=eu-1",
            "--admin=127.0.0.1:0",
            &key,
        ]);
        let line = program.err.with("http://");
        let admin = line.split(['/', ',']).nth(2).unwrap().parse().unwrap();
        let entry = program.out.with("@127.0.0.1:");
        Self { program, admin, entry }
    }
}

/// Two players who talk until this is dropped.
fn traffic(entry: &str) -> Running {
    Running::start(&["demo", &format!("--relay={entry}"), "--seconds=600"])
}

/// Something to be dropped.
fn noise(entry: &str) {
    let address = entry.split('@').nth(1).unwrap().split('#').next().unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for _ in 0..10 {
        socket.send_to(&[0xff; 40], address).unwrap();
    }
}

/// A terminal of 80 columns and 24 lines.
struct Tmux(PathBuf);

impl Tmux {
    fn start() -> Self {
        let tmux = Self(scratch("tmux"));
        tmux.call(&["-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "24", "env PS1= sh"]);
        tmux
    }

    fn say(&self, line: &str) {
        self.call(&["send-keys", "-l", line]);
        self.press("Enter");
    }

    fn press(&self, key: &str) {
        self.call(&["send-keys", key]);
    }

    fn screen(&self) -> String {
        self.call(&["capture-pane", "-p"])
    }

    fn call(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("tmux");
        command.args(["-u", "-S"]).arg(&self.0).args(arguments).stdin(Stdio::null());
        let output = command.output().expect("tmux: see scripts/install-watching.sh");
        assert!(output.status.success(), "{arguments:?}: {}", running::complaint(&output));
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        let _ = Command::new("tmux").arg("-S").arg(&self.0).arg("kill-server").output();
    }
}

fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(120);
    while !is_so() {
        assert!(Instant::now() < end, "waited for {what}");
        std::thread::park_timeout(Duration::from_millis(200));
    }
}

fn pipe(program: &str, arguments: &[&str], input: &str) -> String {
    outcome(program, arguments, input).unwrap_or_else(|why| panic!("{program}: {why}"))
}

/// What it printed, or what it complained of.
fn outcome(program: &str, arguments: &[&str], input: &str) -> Result<String, String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}: see scripts/install-watching.sh"));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).unwrap())
    } else {
        Err(running::complaint(&output))
    }
}
