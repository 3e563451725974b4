//! A relay in an operator's hands: told to read its settings again, asked how it is and what it goes
//! by.

use std::net::UdpSocket;
use std::path::Path;

use crate::players::{Player, Relay, write};
use crate::running::{complaint, run, scratch};

#[test]
fn settings_are_read_again_under_traffic_and_no_session_is_lost() {
    let generous = "packets_per_second = 10_000\nburst_ms = 1000\n";
    let narrow = "packets_per_second = 20\nburst_ms = 1000\n";
    let mut relay = Relay::start("reload", generous);
    let (mut alice, mut bob) = (Player::new(&relay.entry, 1), Player::new(&relay.entry, 2));
    let (in_burst, few) = (200, 15..100);
    for _ in 0..10 {
        relay.reload(narrow);
        relay.program.err.with("are in force");
        (0..in_burst).for_each(|_| alice.send_to(&bob));
        let arrived = bob.count();
        assert!(few.contains(&arrived), "{arrived} of {in_burst} by the narrow limit");

        relay.reload(generous);
        relay.program.err.with("are in force");
        // By the generous limit the budget is full again within a moment.
        bob.count();
        (0..in_burst).for_each(|_| alice.send_to(&bob));
        assert_eq!(bob.count(), in_burst);
    }
    assert!(alice.keeps_alive() && bob.keeps_alive());

    // What is wrong changes nothing, and what cannot change is said.
    relay.reload("packets_per_second = 20\nburst = 5\n");
    relay.program.err.with("reload.toml:5: burst: there is no such setting");
    (0..in_burst).for_each(|_| alice.send_to(&bob));
    assert_eq!(bob.count(), in_burst);
    relay.reload(&format!("{generous}sessions = 1000\n"));
    relay.program.err.with("changed at the next start only: sessions");
    alice.reaches(&bob);
}

#[test]
fn health_is_asked_for_at_the_address_that_clients_use() {
    let mut relay = Relay::start("health", "");
    let listen = relay.entry.addresses()[0].to_string();
    let health = || run(&["relay", "--mode", "dev", "--listen", &listen, "--health"]);
    assert_eq!(health().status.code(), Some(0));
    relay.program.kill();
    let output = health();
    assert_eq!(output.status.code(), Some(1));
    assert!(complaint(&output).contains("does not answer"), "{}", complaint(&output));
}

#[test]
fn exit_codes_tell_what_is_wrong() {
    let code = |arguments: &[&str]| {
        let output = run(&[&["relay"][..], arguments].concat());
        output.status.code().unwrap()
    };
    assert_eq!(code(&["--no-such-flag"]), 2, "clap's own");
    assert_eq!(code(&["--mode", "dev", "--listen", "127.0.0.1:x"]), 2);
    assert_eq!(code(&["--config", "/nowhere/relay.toml"]), 2);
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    assert_eq!(code(&["--mode", "dev", "--listen", &taken]), 3);
    let no_key = scratch("no.key");
    std::fs::write(&no_key, "not a key").unwrap();
    let key = no_key.to_str().unwrap();
    assert_eq!(code(&["--dev", "--listen", "127.0.0.1:0", "--key-file", key]), 4);
    assert_eq!(code(&["--dev", "--key-file", key, "--check-config"]), 4);
    let good = scratch("good.key");
    let good = good.to_str().unwrap();
    assert_eq!(code(&["--dev", "--key-file", good, "--check-config"]), 0);
    assert!(!Path::new(good).exists(), "a check makes nothing");
}

#[test]
fn printed_settings_name_files_and_show_nothing_of_what_is_in_them() {
    let folder = scratch("printed");
    let file = |name: &str| format!("{}-{name}", folder.display());
    let [key, signer, token_keys, directory] =
        ["relay.key", "signer.key", "token-keys", "directory"].map(file);
    assert!(run(&["keygen", "--out", &key]).status.success());
    let public = run(&["token", "keygen", "--out", &signer]).stdout;
    std::fs::write(&token_keys, &public).unwrap();
    // What is no list is not looked at.
    std::fs::write(&directory, "a list of relays").unwrap();
    let secrets =
        [&key, &token_keys, &directory].map(|file| std::fs::read_to_string(file).unwrap());
    let file = scratch("printed.toml");
    let lines = "sessions = 1000\nmode = \"token\"\n";
    write(&file, Path::new(&key), &format!("{lines}token_keys = {token_keys:?}\n"));
    let file = file.to_str().unwrap();
    let directory_file = format!("--directory-file={directory}");
    let flags = ["--pin", "--burst-ms=300", &directory_file];
    let output = run(&[&["relay", "--config", file, "--print-config"], &flags[..]].concat());
    assert!(output.status.success());
    let printed = String::from_utf8(output.stdout).unwrap();
    for line in [
        &*format!("sessions = 1000  # {file}:3"),
        &format!("key_file = {key:?}  # {file}:2"),
        &format!("token_keys = {token_keys:?}  # {file}:5"),
        &format!("directory_file = {directory:?}  # --directory-file"),
        "burst_ms = 300  # --burst-ms",
        "pin = true  # --pin",
        "lifetime_s = 60  # the default",
    ] {
        assert!(printed.lines().any(|other| other == line), "{line}:\n{printed}");
    }
    for secret in secrets {
        assert!(secret.trim().len() > 10 && !printed.contains(secret.trim()), "{printed}");
    }
    // Nor does a complaint of a key that is none.
    std::fs::write(&key, "nearly the key").unwrap();
    for task in ["--check-config", "--admin=127.0.0.1:0"] {
        let output = run(&["relay", "--mode=dev", "--listen=127.0.0.1:0", "--key", &key, task]);
        assert_eq!(output.status.code(), Some(4));
        let told = complaint(&output);
        assert!(told.contains(&key) && !told.contains("nearly the key"), "{told}");
    }
}
