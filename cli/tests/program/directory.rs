//! The command that signs lists of relays.

#[cfg(unix)]
use core::time::Duration;
#[cfg(unix)]
use std::time::Instant;

#[cfg(unix)]
use waylane::{Config, Event, NetworkManager};

#[cfg(unix)]
use crate::running::Running;
use crate::running::{complaint, run, scratch};

const ENTRY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE@192.0.2.1:4433#eu";
const OTHER: &str = "-345tPZneR2irSHxRMS5S4vz2ITDQL8ltxaG2QmJ0jw@[2001:db8::1]:4433";

/// The path of a scratch file with this content.
fn file(name: &str, text: &str) -> String {
    let path = scratch(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A key's file and its public half.
fn key(name: &str) -> (String, String) {
    let path = scratch(name).to_str().unwrap().to_owned();
    let made = run(&["directory", "keygen", "--out", &path]);
    assert!(made.status.success(), "{}", complaint(&made));
    (path, String::from_utf8(made.stdout).unwrap().trim().to_owned())
}

fn out(output: &std::process::Output) -> String {
    assert!(output.status.success(), "{}", complaint(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn a_list_is_signed_shown_and_checked() {
    let (secret, public) = key("fleet.key");
    let (_, foreign) = key("foreign.key");
    let relays = file("relays", &format!("# ours\n{ENTRY}\n\n{OTHER}\n"));
    let signed = out(&run(&["directory", "sign", &relays, "--key", &secret, "--sequence", "7"]));
    let list = file("list", &signed);
    let shown = out(&run(&["directory", "inspect", &list, "--fleet-key", &public]));
    for part in ["sequence            7\n", ENTRY, OTHER, "signature           good"] {
        assert!(shown.contains(part), "{part}:\n{shown}");
    }
    let refused = run(&["directory", "inspect", &list, "--fleet-key", &foreign]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(complaint(&refused).contains("did not sign this list"), "{}", complaint(&refused));
    // The same relays signed again are a newer list.
    let again = out(&run(&["directory", "sign", &relays, "--key", &secret]));
    let shown = out(&run(&["directory", "inspect", &file("again", &again)]));
    let sequence = shown.lines().next().unwrap().rsplit(' ').next().unwrap();
    assert!(sequence.parse::<u64>().unwrap() > 1_700_000_000, "{shown}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(&secret).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "nobody else reads the secret half");
    }
}

#[test]
fn what_cannot_be_signed_is_told_with_its_line() {
    let (secret, _) = key("wrong.key");
    for (name, text, told) in [
        ("empty", "# none\n".to_owned(), "names no relay"),
        ("twice", format!("{ENTRY}\n{OTHER}\n{ENTRY}\n"), "entry 3: this relay is named twice"),
        ("rubbish", format!("{ENTRY}\nrubbish\n"), "line 2: no '@'"),
    ] {
        let output = run(&["directory", "sign", &file(name, &text), "--key", &secret]);
        assert_eq!(output.status.code(), Some(1));
        assert!(complaint(&output).contains(told), "{}", complaint(&output));
    }
    let relays = file("some", ENTRY);
    let output = run(&["directory", "sign", &relays, "--key", "/nowhere/key"]);
    assert_eq!(output.status.code(), Some(4));
    // There is no secret by default, and none is overwritten.
    assert_eq!(run(&["directory", "sign", &relays]).status.code(), Some(2));
    assert_eq!(run(&["directory", "keygen", "--out", &secret]).status.code(), Some(4));
    assert_eq!(run(&["directory", "inspect", &relays]).status.code(), Some(1));
}

/// A relay that gives out a list; what a reload makes of one that is wrong.
#[cfg(unix)]
#[test]
fn a_relay_gives_players_the_list_in_its_file() {
    let (secret, public) = key("served.key");
    let (list, settings) = (scratch("served.list"), scratch("served.toml"));
    let sign = |entry: &str, sequence: &str| {
        let relays = file("served.relays", entry);
        let signed = ["directory", "sign", &relays, "--key", &secret, "--sequence", sequence];
        std::fs::write(&list, out(&run(&signed))).unwrap();
    };
    sign(ENTRY, "1");
    let text = format!(
        "mode = \"dev\"\nlisten = [\"127.0.0.1:0\"]\nadmin = \"off\"\ndirectory_file = {list:?}\n"
    );
    std::fs::write(&settings, text).unwrap();
    let mut relay = Running::start(&["relay", "--config", settings.to_str().unwrap()]);
    relay.err.with("does not name this relay");
    let entry = relay.out.with("@127.0.0.1:").trim().to_owned();
    sign(&entry, "2");
    relay.signal("HUP");
    relay.err.with("are in force");

    let config = Config {
        directory: vec![entry.parse().unwrap()],
        fleet_key: Some(public.parse().unwrap()),
        ..Config::default()
    };
    let mut net = NetworkManager::new(config).unwrap();
    let (mut told, start) = (None, Instant::now());
    while told.is_none() {
        // Within 10 s by its own clock.
        assert!(start.elapsed() < Duration::from_secs(120), "no list came");
        net.wait(Duration::from_millis(100));
        net.run_callbacks(|_, event| {
            if let Event::DirectoryUpdate { sequence } = event {
                told = Some(sequence);
            }
        });
        net.flush();
    }
    assert_eq!(told, Some(2));
    let named: Vec<_> = net.signed_directory().unwrap().entries().collect();
    assert_eq!(named, [entry.parse().unwrap()]);
    assert_eq!(net.relays().count(), 1);

    std::fs::write(&list, "rubbish").unwrap();
    relay.signal("HUP");
    relay.err.with("directory_file");
    let output = run(&["relay", "--config", settings.to_str().unwrap(), "--check-config"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(complaint(&output).contains("directory_file"), "{}", complaint(&output));
}
