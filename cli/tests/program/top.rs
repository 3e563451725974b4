//! Watching a relay: its admin port and `waylane top`, by the real program.

use core::net::SocketAddr;

use waylane_admin::{Scrape, fetch};

use crate::running::{Running, complaint, run, scratch};

/// A relay and its admin port.
fn relay(key: &str, admin: &str) -> (Running, SocketAddr) {
    let key = scratch(key);
    let mut relay = Running::start(&[
        "relay",
        "--dev",
        "--listen=127.0.0.1:0",
        "--region=eu-1",
        &format!("--admin={admin}"),
        &format!("--key-file={}", key.display()),
    ]);
    let line = relay.err.with("http://");
    let address = line.split(['/', ',']).nth(2).unwrap();
    let address = address.parse().unwrap();
    relay.out.with("@127.0.0.1:");
    (relay, address)
}

#[test]
fn a_relay_is_live_ready_and_counts() {
    let (_relay, admin) = relay("live.key", "127.0.0.1:0");
    assert_eq!(fetch(admin, "/live").unwrap(), "live\n");
    while fetch(admin, "/ready").is_err() {}
    let metrics = Scrape::parse(&fetch(admin, "/metrics").unwrap()).unwrap();
    assert!(metrics.get("process_resident_memory_bytes") > 1e6 || !cfg!(target_os = "linux"));
}

#[test]
fn one_frame_is_printed_for_scripts() {
    let (_relay, admin) = relay("once.key", "127.0.0.1:0");
    let output = run(&["top", "--once", "--admin", &admin.to_string()]);
    assert!(output.status.success(), "{}", complaint(&output));
    let frame = String::from_utf8(output.stdout).unwrap();
    assert!(frame.starts_with("Waylane relay eu-1   serving   up "), "{frame}");
    assert!(frame.contains("sessions 0 of 65 536") && frame.contains("sent on"), "{frame}");
    assert!(!frame.contains('\x1b'), "nothing that only a terminal understands: {frame}");
    assert!(frame.lines().count() < 24 && frame.lines().all(|l| l.chars().count() < 80), "{frame}");
}

#[test]
fn without_a_relay_it_says_what_to_do() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = run(&["top", "--once", "--admin", &free.to_string()]);
    assert!(!output.status.success());
    assert!(complaint(&output).contains("name it by --admin"), "{}", complaint(&output));
}

#[test]
fn it_finds_a_relay_that_comes_back() {
    let (mut first, admin) = relay("back.key", "127.0.0.1:0");
    let mut top = Running::start(&["top", "--admin", &admin.to_string()]);
    top.out.with("serving");
    first.kill();
    top.out.with("not to be reached");
    let (_second, _) = relay("back.key", &admin.to_string());
    top.out.with("serving");
}

#[test]
fn a_taken_admin_port_is_told() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let admin = format!("--admin={}", taken.local_addr().unwrap());
    let key = format!("--key-file={}", scratch("taken.key").display());
    let output = run(&["relay", "--dev", "--listen=127.0.0.1:0", &admin, &key]);
    assert_eq!(output.status.code(), Some(3), "{}", complaint(&output));
    assert!(complaint(&output).contains("admin: cannot bind"), "{}", complaint(&output));
}

#[test]
fn off_is_off() {
    let key = format!("--key-file={}", scratch("off.key").display());
    let mut relay =
        Running::start(&["relay", "--dev", "--listen=127.0.0.1:0", "--admin=off", &key]);
    relay.out.with("@127.0.0.1:");
    relay.kill();
    assert!(!relay.err.rest().contains("http://"));
}

#[test]
fn a_log_line_can_be_an_object() {
    let key = format!("--key-file={}", scratch("json.key").display());
    let mut relay = Running::start(&[
        "relay",
        "--dev",
        "--listen=127.0.0.1:0",
        "--log-format=json",
        "--admin=off",
        &key,
    ]);
    let line = relay.err.with("for development only");
    let object: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(object["level"], "WARN");
    assert!(object["message"].as_str().unwrap().contains("development"));
}
