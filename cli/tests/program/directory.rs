//! The command that signs lists of relays.

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
