//! Two people and a relay, as in three terminals.

use crate::running::{self, Running, scratch};

/// A development relay, and its directory entry.
fn relay(listen: &str, key: &str) -> (Running, String) {
    let mut relay = Running::start(&["relay", "--dev", "--listen", listen, "--key", key]);
    let entry = relay.out.with("@127.0.0.1:").trim().to_owned();
    (relay, entry)
}

/// A host at the relay, and its invite.
fn host(entry: &str, link: &[&str]) -> (Running, String) {
    let mut host = Running::start(&[&["host", "--relay", entry], link].concat());
    let invite = host.out.with("");
    (host, invite)
}

/// A guest that is connected to the host.
fn join(host: &mut Running, invite: &str, link: &[&str]) -> Running {
    let mut guest = Running::start(&[&["join", invite], link].concat());
    host.err.with("is here");
    guest.err.with("is here");
    guest
}

fn players(entry: &str, link: &[&str]) -> (Running, Running) {
    let (mut host, invite) = host(entry, link);
    let guest = join(&mut host, &invite, link);
    (host, guest)
}

fn address(entry: &str) -> &str {
    entry.split('@').nth(1).unwrap().split('#').next().unwrap()
}

#[test]
fn lines_cross_a_bad_link_in_order() {
    let key = scratch("lines.key");
    let (_relay, entry) = relay("127.0.0.1:0", key.to_str().unwrap());
    let (mut host, mut guest) = players(&entry, &["--loss=10", "--delay=10", "--jitter=5"]);
    for n in 0..20 {
        host.say(&format!("from the host {n}"));
        guest.say(&format!("from the guest {n}"));
    }
    for n in 0..20 {
        guest.out.with(&format!(": from the host {n}"));
        host.out.with(&format!(": from the guest {n}"));
    }
    // The figures come by themselves.
    guest.err.with("round trip ");
    // What is said last arrives, although the speaker leaves at once.
    guest.say("goodbye");
    assert!(guest.finish().success());
    host.out.with(": goodbye");
    assert!(host.finish().success());
}

#[test]
fn what_is_typed_while_the_relay_is_away_arrives() {
    let key = scratch("restart.key");
    let key = key.to_str().unwrap();
    let (mut first, entry) = relay("127.0.0.1:0", key);
    let (mut host, mut guest) = players(&entry, &[]);
    guest.say("before");
    host.out.with(": before");
    first.kill();
    guest.say("while it is away");
    host.say("here, too");
    guest.err.with("is not heard; what you type waits");
    let (_second, again) = relay(address(&entry), key);
    assert_eq!(entry, again);
    host.out.with(": while it is away");
    guest.out.with(": here, too");
    guest.err.with("is heard again");
    guest.say("after");
    host.out.with(": after");
    assert!(host.finish().success());
    assert!(guest.finish().success());
}

#[cfg(unix)]
#[test]
fn who_is_interrupted_says_goodbye() {
    let key = scratch("goodbye.key");
    let (_relay, entry) = relay("127.0.0.1:0", key.to_str().unwrap());
    let (mut host, invite) = host(&entry, &[]);
    join(&mut host, &invite, &[]).interrupt();
    host.err.with("the other side is shutting down");
    let mut guest = join(&mut host, &invite, &[]);
    // The host stays, a guest without its host has nobody left.
    host.interrupt();
    guest.err.with("the other side is shutting down");
    assert!(guest.finish().success());
}

#[test]
fn control_characters_do_not_reach_the_terminal() {
    let key = scratch("control.key");
    let (_relay, entry) = relay("127.0.0.1:0", key.to_str().unwrap());
    let (mut host, mut guest) = players(&entry, &[]);
    guest.say("\x1b[2Jgone");
    let line = host.out.with("gone");
    assert!(!line.contains('\x1b'), "{line:?}");
}

#[test]
fn the_first_invite_names_the_standby_too() {
    let keys = ["first.key", "second.key"].map(scratch);
    let [(_one, first), (_two, second)] =
        keys.map(|key| relay("127.0.0.1:0", key.to_str().unwrap()));
    let mut host = Running::start(&["host", "--relay", &first, "--relay", &second]);
    let invite = host.out.with("");
    let invite: waylane_core::invite::Invite = invite.trim().parse().unwrap();
    assert_eq!(invite.entries().len(), 2);
}

#[test]
fn an_invite_that_is_none_is_told() {
    let output = running::run(&["join", "nonsense"]);
    assert!(!output.status.success());
    assert!(running::complaint(&output).contains("invite"), "{}", running::complaint(&output));
    let output = running::run(&["host"]);
    assert!(running::complaint(&output).contains("relay --dev"), "{}", running::complaint(&output));
}
