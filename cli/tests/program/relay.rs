//! The relay's command line: nobody opens a relay to the world by accident.

use crate::running::{Running, complaint, run, scratch};

#[test]
fn without_a_mode_the_relay_does_not_start() {
    for arguments in [&["relay"][..], &["relay", "--listen", "127.0.0.1:0"]] {
        let output = run(arguments);
        assert!(!output.status.success());
        let complaint = complaint(&output);
        assert!(complaint.contains("--dev") && complaint.contains("--config"), "{complaint}");
    }
}

#[test]
fn the_development_relay_stays_on_loopback() {
    let output = run(&["relay", "--dev", "--listen", "0.0.0.0:0"]);
    assert!(!output.status.success());
    assert!(complaint(&output).contains("loopback"), "{}", complaint(&output));
}

#[test]
fn the_development_relay_keeps_its_key() {
    let key = scratch("relay.key");
    let key = key.to_str().unwrap();
    let start = || {
        let mut relay = Running::start(&["relay", "--dev", "--listen=127.0.0.1:0", "--key", key]);
        relay.err.with("OPEN TO EVERYBODY");
        let entry = relay.out.with("@127.0.0.1:");
        entry.split('@').next().unwrap().to_owned()
    };
    assert_eq!(start(), start());
}

#[test]
fn a_configuration_says_what_is_wrong_with_it() {
    let file = scratch("relay.toml");
    let text = "mode = \"open\"\nlisten = [\"127.0.0.1:0\"]\n";
    std::fs::write(&file, text).unwrap();
    let output = run(&["relay", "--config", file.to_str().unwrap()]);
    assert!(!output.status.success());
    assert!(complaint(&output).contains("key_file"), "{}", complaint(&output));

    let key = scratch("open.key");
    std::fs::write(&file, format!("{text}key_file = {:?}\n", key.to_str().unwrap())).unwrap();
    let mut relay = Running::start(&["relay", "--config", file.to_str().unwrap()]);
    relay.out.with("@127.0.0.1:");
}

#[test]
fn keys_are_made_once_and_kept_from_others() {
    let printed = run(&["keygen"]);
    assert!(printed.status.success());
    assert_eq!(String::from_utf8_lossy(&printed.stdout).trim().len(), 43);

    let file = scratch("made.key");
    let path = file.to_str().unwrap();
    let written = run(&["keygen", "--out", path]);
    assert!(written.status.success(), "{}", complaint(&written));
    assert!(written.stdout.is_empty());
    let key = std::fs::read_to_string(&file).unwrap();
    assert_eq!(key.trim().len(), 43);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    // A second time would lose the first key.
    assert!(!run(&["keygen", "--out", path]).status.success());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), key);

    // The relay that uses the key is the one that keygen announced.
    let public = complaint(&written);
    let public = public.lines().next().unwrap().rsplit(' ').next().unwrap();
    let mut relay = Running::start(&["relay", "--dev", "--listen=127.0.0.1:0", "--key", path]);
    assert!(relay.out.with("@127.0.0.1:").starts_with(public));
}
