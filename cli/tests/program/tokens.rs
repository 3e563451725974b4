//! A relay that asks for tokens, the command that signs them, and what players see of both.

use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use waylane_core::id::PublicKey;
use waylane_core::token::{Claims, KeyId, Region, Token};
use waylane_core::wire::base64url;
use waylane_crypto::TokenSigner;
use waylane_relay::key_file;

use crate::running::{Running, complaint, run, scratch};

#[test]
fn who_has_a_good_token_plays() {
    let backend = Backend::new("good");
    let (relay, entry) = backend.relay("");
    let [host_key, guest_key] = ["good-host.key", "good-guest.key"].map(PlayerKey::new);
    let by_command = |key: &PlayerKey| {
        let issued = run(&[
            "token",
            "issue",
            "--key",
            &backend.secret,
            "--expires",
            "10m",
            "--region",
            "eu",
            "--subject",
            "the family",
            "--sessions",
            "2",
            "--peer",
            &key.public,
        ]);
        assert!(issued.status.success(), "{}", complaint(&issued));
        String::from_utf8(issued.stdout).unwrap().trim().to_owned()
    };
    let mut host = key_and_token(&["host", "--relay", &entry], &host_key, &by_command(&host_key));
    let invite = host.out.with("");
    // Also from a file, where no list of processes shows it.
    let file = scratch("guest.token");
    std::fs::write(&file, by_command(&guest_key)).unwrap();
    let named = format!("@{}", file.to_str().unwrap());
    let mut guest = key_and_token(&["join", &invite], &guest_key, &named);
    host.err.with("is here");
    guest.err.with("is here");
    guest.say("hello");
    host.out.with(": hello");
    drop(relay);
}

#[test]
fn each_bad_token_is_refused_with_a_reason_that_the_player_sees() {
    let backend = Backend::new("bad");
    let (_relay, entry) = backend.relay("");
    let key = PlayerKey::new("bad-player.key");
    let other = PlayerKey::new("bad-other.key");
    let foreign = Backend::new("foreign");
    let mut forged = *backend.token(&key, |_| ()).as_bytes();
    forged[100] ^= 1;
    let forged = Token::from_bytes(&forged).unwrap();
    let cases = [
        (backend.token(&key, |c| c.expiry_unix_s = now() - 1), "the token has expired"),
        (forged, "knows nobody who signed the token"),
        (foreign.token(&key, |_| ()), "knows nobody who signed the token"),
        (backend.token(&other, |_| ()), "the token is not for this player's key"),
        (backend.token(&key, |c| c.peer = None), "the token is not for this player's key"),
        (backend.token(&key, |c| c.region = region("us")), "the token is for another region"),
    ];
    for (token, told) in cases {
        let mut host = key_and_token(&["host", "--relay", &entry], &key, &token.to_string());
        host.err.with(told);
    }
    let mut host = Running::start(&["host", "--relay", &entry]);
    host.err.with("the relay wants a token");
}

#[test]
fn a_subject_over_its_quota_is_told_so() {
    let backend = Backend::new("quota");
    let (_relay, entry) = backend.relay("");
    let [first, second] = ["quota-1.key", "quota-2.key"].map(PlayerKey::new);
    let token = |key: &PlayerKey| {
        let token = backend.token(key, |c| (c.subject, c.sessions) = ([7; 16], 1));
        token.to_string()
    };
    let mut host = key_and_token(&["host", "--relay", &entry], &first, &token(&first));
    host.out.with("");
    let mut more = key_and_token(&["host", "--relay", &entry], &second, &token(&second));
    more.err.with("the token's subject has as many sessions as it may");
}

#[test]
fn bearer_tokens_serve_whoever_shows_them_where_they_are_allowed() {
    let backend = Backend::new("bearer");
    let (_relay, entry) = backend.relay("token_bearer = true\n");
    let token = backend.token(&PlayerKey::new("bearer.key"), |c| c.peer = None).to_string();
    let token = format!("--token={token}");
    for _ in 0..2 {
        let mut host = Running::start(&["host", "--relay", &entry, &token]);
        host.out.with("");
    }
    let demo = run(&["demo", "--json", "--seconds=1", "--relay", &entry, &token]);
    assert!(demo.status.success(), "{}", complaint(&demo));
}

#[cfg(unix)]
#[test]
fn keys_are_rotated_under_traffic_without_a_refusal() {
    let (old, new) = (Backend::new("old"), Backend::new("new"));
    let (mut relay, entry) = old.relay("");
    let keys: Vec<_> = (0..4).map(|n| PlayerKey::new(&format!("rotate-{n}.key"))).collect();
    let host_token = old.token(&keys[0], |_| ()).to_string();
    let mut host = key_and_token(&["host", "--relay", &entry], &keys[0], &host_token);
    let invite = host.out.with("");
    let join = |backend: &Backend, key: &PlayerKey| {
        let token = backend.token(key, |_| ()).to_string();
        key_and_token(&["join", &invite], key, &token)
    };
    let mut guest = join(&old, &keys[1]);
    guest.err.with("is here");
    let mut said = 0;
    let mut talk = |host: &mut Running, guest: &mut Running| {
        said += 1;
        guest.say(&format!("line {said}"));
        host.out.with(&format!(": line {said}"));
    };
    let set = |relay: &mut Running, keys: &[&Backend]| {
        let lines: Vec<_> = keys.iter().map(|backend| backend.public.clone()).collect();
        std::fs::write(&old.keys, lines.join("\n")).unwrap();
        relay.signal("HUP");
        relay.err.with("are in force");
    };
    talk(&mut host, &mut guest);
    set(&mut relay, &[&old, &new]);
    talk(&mut host, &mut guest);
    let mut newer = join(&new, &keys[2]);
    newer.err.with("is here");
    set(&mut relay, &[&new]);
    talk(&mut host, &mut guest);
    talk(&mut host, &mut newer);
    let mut late = join(&old, &keys[3]);
    late.err.with("knows nobody who signed the token");
    // A file that holds no key changes nothing.
    std::fs::write(&old.keys, "not a key").unwrap();
    relay.signal("HUP");
    relay.err.with("line 1 is no public key");
    talk(&mut host, &mut newer);
    for player in [&mut host, &mut guest, &mut newer] {
        player.kill();
        let told = player.err.rest();
        assert!(!told.contains("token") && !told.contains("refused"), "{told}");
    }
}

#[test]
fn a_relay_without_keys_does_not_start() {
    let key = scratch("keyless.key");
    let start = |more: &[&str]| {
        let key = key.to_str().unwrap();
        let all = ["relay", "--mode=token", "--listen=127.0.0.1:0", "--key-file", key];
        run(&[&all[..], more].concat())
    };
    let output = start(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(complaint(&output).contains("token_keys"), "{}", complaint(&output));
    let output = start(&["--token-keys", "/nowhere/keys"]);
    assert!(complaint(&output).contains("/nowhere/keys"), "{}", complaint(&output));
}

#[test]
fn a_token_is_shown_and_checked() {
    let backend = Backend::new("inspect");
    let key = PlayerKey::new("inspect.key");
    let token = backend.token(&key, |c| c.sessions = 3).to_string();
    let shown = run(&["token", "inspect", &token, "--keys", &backend.keys]);
    assert!(shown.status.success(), "{}", complaint(&shown));
    let text = String::from_utf8(shown.stdout).unwrap();
    for part in [&*key.public, "eu", "sessions            3", "signature           good"] {
        assert!(text.contains(part), "{part}:\n{text}");
    }
    let other = Backend::new("inspect-other");
    let shown = run(&["token", "inspect", &token, "--keys", &other.keys]);
    assert_eq!(shown.status.code(), Some(1));
    let expired = backend.token(&key, |c| c.expiry_unix_s = 5).to_string();
    let shown = run(&["token", "inspect", &expired, "--keys", &backend.keys]);
    assert!(complaint(&shown).contains("expired") && shown.status.code() == Some(1));
    // Whose it is must be said.
    let issued = run(&["token", "issue", "--key", &backend.secret, "--expires", "1h"]);
    assert_eq!(issued.status.code(), Some(2));
    // No key is overwritten.
    assert_eq!(run(&["token", "keygen", "--out", &backend.secret]).status.code(), Some(4));
}

/// The page's own program, where there is a Python that can run it; `core/tests/tokens` has what
/// it gives pinned.
#[test]
fn the_pages_python_signs_what_a_relay_takes() {
    let has = Command::new("python3").args(["-c", "import cryptography"]).output();
    if !has.is_ok_and(|output| output.status.success()) {
        eprintln!("no python3 with cryptography here: the pinned token stands for it");
        return;
    }
    let page = include_str!("../../../docs/wire.md");
    let example = page.split("```python\n").nth(1).unwrap().split("```").next().unwrap();
    let backend = Backend::new("python");
    let key = PlayerKey::new("python.key");
    let program = format!(
        "{example}\ndecode = lambda text: base64.urlsafe_b64decode(text + '=')\n\
         print(token(decode('{}'), decode('{}'), b'account'.ljust(16, b'\\0'), b'eu', 60, 2, 3, 4))\n",
        std::fs::read_to_string(&backend.secret).unwrap().trim(),
        key.public
    );
    let output = Command::new("python3").args(["-c", &program]).output().unwrap();
    assert!(output.status.success(), "{}", complaint(&output));
    let token: Token = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
    let by_rust = backend.token(&key, |claims| {
        *claims = Claims {
            expiry_unix_s: token.claims().expiry_unix_s,
            subject: *b"account\0\0\0\0\0\0\0\0\0",
            sessions: 2,
            packets_per_second: 3,
            bytes_per_second: 4,
            ..*claims
        };
    });
    assert_eq!(token.as_bytes(), by_rust.as_bytes());
}

/// A game's backend: a key to sign with, and the file that a relay knows it by.
pub(crate) struct Backend {
    secret: String,
    public: String,
    pub(crate) keys: String,
    name: String,
}

impl Backend {
    pub(crate) fn new(name: &str) -> Self {
        let path = |end: &str| scratch(&format!("{name}.{end}")).to_str().unwrap().to_owned();
        let (secret, keys) = (path("secret"), path("keys"));
        let made = run(&["token", "keygen", "--out", &secret]);
        assert!(made.status.success(), "{}", complaint(&made));
        let public = String::from_utf8(made.stdout).unwrap().trim().to_owned();
        std::fs::write(&keys, format!("# of the backend {name}\n{public}\n")).unwrap();
        Self { secret, public, keys, name: name.to_owned() }
    }

    /// A relay that takes its tokens, and the relay's directory entry.
    fn relay(&self, more: &str) -> (Running, String) {
        let [file, key] = ["toml", "relay-key"].map(|end| scratch(&format!("{}.{end}", self.name)));
        let text = format!(
            "mode = \"token\"\nlisten = [\"127.0.0.1:0\"]\nadmin = \"off\"\nregion = \"eu\"\n\
             key_file = {key:?}\ntoken_keys = {:?}\n{more}",
            self.keys
        );
        std::fs::write(&file, text).unwrap();
        let mut relay = Running::start(&["relay", "--config", file.to_str().unwrap()]);
        let entry = relay.out.with("@127.0.0.1:").trim().to_owned();
        (relay, entry)
    }

    /// A token for the player with this key, good for ten minutes, with what `change` makes of it.
    fn token(&self, key: &PlayerKey, change: impl FnOnce(&mut Claims)) -> Token {
        let mut peer = PublicKey([0; 32]);
        assert_eq!(base64url::decode(key.public.as_bytes(), &mut peer.0), Ok(32));
        self.token_for(peer, change)
    }

    /// A token for this peer, as of [`token`](Self::token).
    pub(crate) fn token_for(&self, peer: PublicKey, change: impl FnOnce(&mut Claims)) -> Token {
        let mut claims = Claims {
            key: KeyId::default(),
            expiry_unix_s: now() + 600,
            peer: Some(peer),
            subject: [0; 16],
            region: region("eu"),
            sessions: 0,
            packets_per_second: 0,
            bytes_per_second: 0,
        };
        change(&mut claims);
        let secret = key_file::load(Path::new(&self.secret)).unwrap();
        TokenSigner::from_secret(&secret).issue(&claims)
    }
}

/// A player's key in a file.
struct PlayerKey {
    file: String,
    public: String,
}

impl PlayerKey {
    fn new(name: &str) -> Self {
        let file = scratch(name).to_str().unwrap().to_owned();
        let made = run(&["keygen", "--out", &file]);
        let told = complaint(&made);
        let public = told.lines().next().unwrap().rsplit(' ').next().unwrap().to_owned();
        Self { file, public }
    }
}

fn key_and_token(command: &[&str], key: &PlayerKey, token: &str) -> Running {
    let token = format!("--token={token}");
    Running::start(&[command, &["--key", &key.file, &token]].concat())
}

fn region(text: &str) -> Region {
    text.parse().unwrap()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}
