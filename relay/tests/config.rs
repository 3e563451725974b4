//! The configuration as an operator meets it: every key, every error, every place.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, too")]

use core::time::Duration;
use std::path::Path;

use waylane_relay::{Config, ConfigError, IoChoice, KEYS, Key, Mode, Settings, sample};

/// The least that a file must have, on lines 1 and 2.
const LEAST: &str = "mode = \"dev\"\nlisten = [\"127.0.0.1:4433\"]\n";

/// For each key a value that it does not take, and what the error says besides the key.
const WRONG: &[(&str, &str, &str)] = &[
    ("mode", "\"everybody\"", "\"dev\", \"token\" or \"open\""),
    ("token_keys", "7", "a path"),
    ("directory_file", "\"/nowhere/list\"", "/nowhere/list"),
    ("token_bearer", "1", "true or false"),
    ("sessions_per_source", "0", "1 to 16777215"),
    ("sessions_per_subject", "0", "1 to 16777215"),
    ("listen", "[\"somewhere:1\"]", "addresses with ports"),
    ("announce", "[\"relay.example\"]", "addresses with ports"),
    ("key_file", "7", "a path"),
    ("region", "\"the far east\"", "letters, digits"),
    ("sessions", "7", "8 to 16777215"),
    ("pending", "65536", "1 to 65535"),
    ("packets_per_second", "0", "1 to 10000000"),
    ("bytes_per_second", "5999", "6000 to 4294967295"),
    ("source_packets_per_second", "0", "1 to 10000000"),
    ("source_bytes_per_second", "5999", "6000 to 4294967295"),
    ("destination_packets_per_second", "0", "1 to 10000000"),
    ("destination_bytes_per_second", "0", "6000 to 4294967295"),
    ("total_packets_per_second", "10000001", "0 to 10000000"),
    ("total_bytes_per_second", "-5", "0 to 4294967295"),
    ("handshakes_per_second", "0", "1 to 1000000"),
    ("source_handshakes_per_second", "\"many\"", "1 to 1000000"),
    ("destination_handshakes_per_second", "1000001", "1 to 1000000"),
    ("total_handshakes_per_second", "1000001", "0 to 1000000"),
    ("burst_ms", "\"long\"", "1 to 10000 milliseconds"),
    ("lifetime_s", "0", "1 to 65535 seconds"),
    ("keep_alive_s", "-1", "1 to 65535 seconds"),
    ("ticket_lifetime_h", "0", "1 to 65535 hours"),
    ("drain_timeout_s", "1.5", "0 to 65535 seconds"),
    ("drain_to", "[\"relay.example\"]", "public keys"),
    ("handover_socket", "true", "a path"),
    ("socket_buffer", "4095", "4096 to 1073741824 bytes"),
    ("io", "\"fast\"", "\"uring\""),
    ("workers", "257", "0 to 256"),
    ("pin", "\"yes\"", "true or false"),
    ("fast_path", "\"slow\"", "\"xdp\""),
    ("interface", "\"eth0/1\"", "ip link"),
    ("admin", "\"localhost\"", "\"off\" or an address"),
    ("log_format", "\"xml\"", "\"json\""),
    ("log_addresses", "1", "true or false"),
];

fn error(text: &str) -> ConfigError {
    match Config::from_toml(text) {
        Err(error) => error,
        Ok(config) => panic!("{text:?} gives {config:?}"),
    }
}

fn key(name: &str) -> &'static Key {
    KEYS.iter().find(|key| key.name() == name).unwrap()
}

#[test]
fn every_key_has_an_error_that_names_line_key_and_fix() {
    for key in KEYS {
        let wrong = WRONG.iter().filter(|(name, ..)| *name == key.name());
        assert_eq!(wrong.count(), 1, "{key:?} needs a row in WRONG");
    }
    for (name, value, fix) in WRONG {
        let least = LEAST.lines().filter(|line| !line.starts_with(&format!("{name} =")));
        let text: String = least.map(|line| format!("{line}\n")).collect();
        let line = text.lines().count() + 2;
        let error = error(&format!("{text}\n{name} = {value}\n"));
        let told = error.to_string();
        assert_eq!(error.key(), *name, "{told}");
        assert!(told.starts_with(&format!("relay.toml:{line}: {name}: ")), "{told}");
        assert!(told.contains(fix), "{told}");
    }
}

#[test]
fn variables_and_flags_give_the_same_errors() {
    for (name, value, fix) in WRONG {
        // A path is any text there.
        if key(name).takes() == "a path" {
            continue;
        }
        let value = value.trim_matches(['[', ']']).replace('"', "");
        let gather = |give: &dyn Fn(&mut Settings) -> Result<(), ConfigError>| {
            let mut settings = Settings::new();
            settings.toml(Path::new("relay.toml"), LEAST).unwrap();
            give(&mut settings).and_then(|()| settings.check()).unwrap_err().to_string()
        };
        let variable = key(name).variable();
        let told =
            gather(&|settings| settings.environment([(variable.clone(), value.clone())], &[]));
        assert!(told.starts_with(&format!("{variable}: {name}: ")), "{told}");
        assert!(told.contains(fix), "{told}");
        let told = gather(&|settings| settings.flag(key(name), &value));
        assert!(told.starts_with(&format!("--{}: {name}: ", key(name).flag())), "{told}");
        assert!(told.contains(fix), "{told}");
    }
}

#[test]
fn a_key_in_place_of_its_files_name_is_refused_and_not_repeated() {
    let secret = "hSDwCYkwp1R0i33ctD73Wg2_Og0mOBr066SpjqqbTmo";
    let mut settings = Settings::new();
    let file = settings.toml(Path::new("relay.toml"), &format!("{LEAST}key_file = \"{secret}\""));
    let variable = [("WAYLANE_KEY_FILE".to_owned(), secret.to_owned())];
    let variable = settings.environment(variable, &[]);
    for told in [file, variable, settings.flag(key("key_file"), secret)] {
        let told = told.unwrap_err().to_string();
        assert!(told.ends_with("key_file: write a path") && !told.contains(secret), "{told}");
    }
    assert!(settings.print().contains("# key_file is not set\n"));
    // Where it is a file's name after all, it can be written as one.
    settings.flag(key("key_file"), &format!("./{secret}")).unwrap();
}

#[test]
fn what_does_not_fit_together_names_the_key_and_the_fix() {
    let open = "mode = \"open\"\nlisten = [\"0.0.0.0:1\"]\n";
    for (text, line, key, fix) in [
        ("listen = [\"127.0.0.1:1\"]", 0, "mode", "WAYLANE_MODE or by --mode: \"dev\""),
        ("mode = \"dev\"", 0, "listen", "must be given"),
        ("mode = \"dev\"\nlisten = []", 2, "listen", "at least one"),
        ("mode = \"dev\"\nlisten = [\"127.0.0.1:1\", \"127.0.0.1:2\"]", 2, "listen", "one IPv4"),
        ("mode = \"dev\"\nlisten = [\"0.0.0.0:1\"]", 2, "listen", "mode = \"token\""),
        (
            "mode = \"token\"\nlisten = [\"192.0.2.1:1\"]\nkey_file = \"k\"",
            0,
            "token_keys",
            "keygen",
        ),
        ("mode = \"open\"\nlisten = [\"192.0.2.1:1\"]", 0, "key_file", "name a file"),
        (&format!("{open}key_file = \"k\""), 0, "announce", "203.0.113.5"),
        (&format!("{LEAST}lifetime_s = 3"), 0, "keep_alive_s", "at most 65535 s"),
        (&format!("{LEAST}keep_alive_s = 61"), 3, "keep_alive_s", "at least 1 s"),
        (&format!("{LEAST}burst_ms = 1\npackets_per_second = 10"), 3, "burst_ms", "one datagram"),
        (
            &format!("{LEAST}drain_to = [{}]", format!("\"{}\",", "A".repeat(43)).repeat(5)),
            3,
            "drain_to",
            "at most 4",
        ),
        (&format!("{LEAST}region = \"{}\"", "x".repeat(33)), 3, "region", "at most 32"),
    ] {
        let error = error(text);
        let told = error.to_string();
        assert_eq!(error.key(), key, "{text:?}: {told}");
        let place = if line == 0 { String::new() } else { format!("relay.toml:{line}: ") };
        assert!(told.starts_with(&format!("{place}{key}: ")), "{text:?}: {told}");
        assert!(told.contains(fix), "{text:?}: {told}");
    }
}

#[test]
fn what_there_is_not_is_told_with_the_nearest_name() {
    for (text, told) in [
        ("sesions = 5", "relay.toml:3: sesions: there is no such setting; did you mean sessions?"),
        ("burst = 5", "did you mean burst_ms?"),
        ("colour = 5", "--sample-config"),
        ("[limits]\nsessions = 9", "relay.toml:3: limits: there are no sections"),
        ("sessions = 9\nsessions = 9", "relay.toml:4: not TOML: duplicate key"),
        ("sessions =", "relay.toml:3: not TOML: "),
    ] {
        let error = error(&format!("{LEAST}{text}")).to_string();
        assert!(error.contains(told), "{text:?} gives {error:?}");
    }
    let given = |name: &str| {
        let variables = [(name.to_owned(), "5".to_owned())];
        Settings::new().environment(variables, &["WAYLANE_CONFIG"]).map_err(|e| e.to_string())
    };
    assert_eq!(given("WAYLANE_CONFIG"), Ok(()), "not a key, but known");
    assert_eq!(given("PATH"), Ok(()));
    assert_eq!(
        given("WAYLANE_SESIONS").unwrap_err(),
        "WAYLANE_SESIONS: there is no such setting; did you mean WAYLANE_SESSIONS?"
    );
    assert!(given("WAYLANE_sessions").unwrap_err().contains("did you mean WAYLANE_SESSIONS?"));
}

#[test]
fn flags_win_over_variables_and_these_over_the_file() {
    let mut settings = Settings::new();
    let file = format!("{LEAST}sessions = 0x10\npending = 1_000\nburst_ms = 30\nregion = \"a\"");
    settings.toml(Path::new("/etc/waylane/relay.toml"), &file).unwrap();
    let variables = [("WAYLANE_PENDING", "2_000"), ("WAYLANE_BURST_MS", "40"), ("OTHER", "x")];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    settings.environment(variables, &[]).unwrap();
    settings.flag(key("burst_ms"), "50").unwrap();
    settings.flag(key("pin"), "true").unwrap();
    settings.flag(key("listen"), "127.0.0.1:1,[::1]:2").unwrap();
    let config = settings.check().unwrap();
    assert_eq!((config.sessions, config.pending, config.burst_ms), (16, 2000, 50));
    assert_eq!((config.mode, &*config.region, config.pin), (Mode::Dev, "a", true));
    assert_eq!(config.listen, ["127.0.0.1:1".parse().unwrap(), "[::1]:2".parse().unwrap()]);
    assert_eq!((config.io, config.drain_timeout()), (IoChoice::Auto, Duration::from_secs(300)));

    let printed = settings.print();
    for line in [
        "sessions = 16  # /etc/waylane/relay.toml:3",
        "pending = 2000  # WAYLANE_PENDING",
        "burst_ms = 50  # --burst-ms",
        "lifetime_s = 60  # the default",
        "# key_file is not set",
    ] {
        assert!(printed.lines().any(|other| other == line), "{line} is not in\n{printed}");
    }
    assert_eq!(Config::from_toml(&printed).unwrap(), config, "what is printed is a file again");
}

#[test]
fn a_reload_changes_what_it_can_and_names_the_rest() {
    let mut running = Config::from_toml(LEAST).unwrap();
    let file = format!("{LEAST}packets_per_second = 5\nsessions = 9\npin = true\nburst_ms = 1000");
    let changed = Config::from_toml(&file).unwrap();
    assert_eq!(running.reload(&changed), ["sessions", "pin"]);
    assert_eq!((running.packets_per_second, running.burst_ms), (5, 1000));
    assert_eq!((running.sessions, running.pin), (65_536, false));
    assert_eq!(running.reload(&running.clone()), [""; 0]);
}

#[test]
fn the_sample_has_every_key_and_is_a_configuration() {
    let sample = sample();
    let config = Config::from_toml(&sample).unwrap_err();
    // As it stands it is open to everybody, which asks for two more keys.
    assert_eq!(config.key(), "key_file");
    let set = |line: &str| {
        let line = line.strip_prefix("# ").unwrap_or(line);
        let name = line.split(" = ").next().unwrap_or_default();
        KEYS.iter()
            .any(|key| key.name() == name && line.contains(" = "))
            .then(|| format!("{line}\n"))
    };
    let whole: String = sample.lines().filter_map(set).collect();
    assert_eq!(whole.lines().count(), KEYS.len(), "{whole}");
    // The file that the example names is not there.
    let whole = whole.replace("\"/etc/waylane/directory\"", "\"\"");
    Config::from_toml(&whole).unwrap();
    for key in KEYS {
        let takes: String = key.takes().split_whitespace().collect();
        let words: String = sample.replace("\n#", " ").split_whitespace().collect();
        assert!(words.contains(&takes), "{key:?}");
        if let Some(default) = key.default_value() {
            assert!(words.contains(&default.replace(' ', "")), "{key:?}");
        }
    }
}

#[test]
fn the_shipped_sample_is_the_programs() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/relay.toml");
    if std::env::var_os("WAYLANE_WRITE_SAMPLE").is_some() {
        std::fs::write(&path, sample()).unwrap();
    }
    let shipped = std::fs::read_to_string(&path).unwrap();
    assert_eq!(shipped, sample(), "run this test with WAYLANE_WRITE_SAMPLE=1 to write it anew");
}
