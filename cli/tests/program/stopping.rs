//! A relay that is told to stop while people play.

use core::net::SocketAddr;
use core::time::Duration;
use std::thread::{JoinHandle, park_timeout, spawn};
use std::time::Instant;

use waylane::{Config, Event, NetworkManager, RelayLostReason, Reliability};
use waylane_admin::{FetchError, fetch};
use waylane_core::crypto::Crypto as _;
use waylane_core::directory::RelayEntry;
use waylane_core::id::{PublicKey, RelayId};
use waylane_core::wire::base64url::Base64;
use waylane_core::wire::hop::{ControlMessage, RefusedReason};
use waylane_crypto::ring::Ring;

use crate::players::{Player, Relay};

#[test]
fn a_relay_that_is_told_to_stop_is_not_ready_tells_everybody_and_serves_on() {
    let other = PublicKey([5; 32]);
    let mut relay = Relay::start(
        "drain",
        &format!(
            "admin = \"127.0.0.1:0\"\ndrain_timeout_s = 3600\ndrain_to = [\"{}\"]\n",
            Base64(&other.0)
        ),
    );
    let admin = relay.admin();
    let (alice, bob) = (Player::new(&relay.entry, 1), Player::new(&relay.entry, 2));
    alice.reaches(&bob);
    assert_eq!(ready(admin).unwrap(), 200);
    relay.program.signal("TERM");
    for player in [&alice, &bob] {
        let told = player.told();
        // Who asks as soon as the first player knows hears no more that it is ready.
        assert_eq!(ready(admin).unwrap(), 503);
        let ControlMessage::Drain { left_s: 3500..=3600, alternatives } = told else {
            panic!("{told:?}")
        };
        let named = RelayId::from_key_hash(&<Ring>::sha256(&[&other.0]));
        assert_eq!(alternatives.as_slice(), [named]);
    }
    // It lives; they are served on, others are not taken.
    assert_eq!(fetch(admin, "/live").unwrap(), "live\n");
    alice.reaches(&bob);
    let mut late = Player::unbound(&relay.entry, 3);
    assert_eq!(late.refusal(), RefusedReason::Draining);
}

#[test]
fn who_is_still_there_at_the_deadline_is_told() {
    let mut relay = Relay::start("deadline", "drain_timeout_s = 1\n");
    let players = [1, 2].map(|n| Player::new(&relay.entry, n));
    let before = Instant::now();
    relay.program.signal("TERM");
    for player in &players {
        let ControlMessage::Drain { left_s: 0 | 1, .. } = player.told() else {
            panic!("they are told of the drain first")
        };
        assert_eq!(player.told(), ControlMessage::Expired);
    }
    assert!(before.elapsed() >= Duration::from_secs(1), "the deadline is kept");
    assert_eq!(relay.program.wait().code(), Some(0));
    relay.program.err.with("drained");
}

/// As two games and whoever looks after the relay see it.
#[test]
fn a_game_goes_on_until_the_deadline_and_hears_of_it_in_time() {
    let mut relay = Relay::start("game", "admin = \"127.0.0.1:0\"\ndrain_timeout_s = 4\n");
    let readiness = watch(relay.admin());
    let mut games = [(); 2].map(|()| Game::new(&relay.entry));
    play(&mut games, |games| games.iter().all(|game| game.net.route().is_some()));
    meet(&mut games);
    play(&mut games, |games| games.iter().all(|game| game.heard > 10));
    let stopped = Instant::now();
    relay.program.signal("TERM");
    play(&mut games, |games| games.iter().all(|game| game.lost.is_some()));
    for Game { draining, lost, latest, .. } in &games {
        let (told, left) = draining.expect("it is told of the drain");
        let (ended, reason) = lost.expect("it is told of the end");
        assert!(left <= Duration::from_secs(4), "{left:?}");
        assert!(told < ended, "the drain comes first");
        assert!(ended - stopped >= Duration::from_secs(4), "the deadline is kept");
        assert_eq!(reason, RelayLostReason::Expired);
        // Traffic went on long after the signal.
        assert!(*latest - stopped >= Duration::from_secs(2), "{:?}", *latest - stopped);
    }
    assert_eq!(relay.program.wait().code(), Some(0));
    // Once it was not ready it was never again.
    let answers = readiness.join().unwrap();
    assert!(answers.is_sorted(), "{answers:?}");
    assert_eq!((answers[0], answers[answers.len() - 1]), (200, 503));
}

#[test]
fn a_draining_relay_ends_when_the_last_player_leaves() {
    let mut relay = Relay::start("empty", "drain_timeout_s = 3600\n");
    let (mut alice, mut bob) = (Player::new(&relay.entry, 1), Player::new(&relay.entry, 2));
    relay.program.signal("TERM");
    relay.program.err.with("once more to stop now");
    for player in [&mut alice, &mut bob] {
        player.told();
    }
    alice.unbind();
    bob.unbind();
    assert_eq!(relay.program.wait().code(), Some(0));
    relay.program.err.with("drained");
}

#[test]
fn a_second_signal_stops_at_once() {
    for (first, second) in [("TERM", "TERM"), ("INT", "TERM"), ("TERM", "INT")] {
        let mut relay = Relay::start("now", "drain_timeout_s = 3600\n");
        let _player = Player::new(&relay.entry, 1);
        relay.program.signal(first);
        relay.program.err.with("once more to stop now");
        relay.program.signal(second);
        relay.program.err.with("stopping now");
        assert_eq!(relay.program.wait().code(), Some(0));
    }
}

/// A game that sends its only other player something all the time.
struct Game {
    net: NetworkManager,
    other: Option<u64>,
    heard: u64,
    /// When it heard the other one last.
    latest: Instant,
    /// When it was told that the relay stops, and in how long.
    draining: Option<(Instant, Duration)>,
    lost: Option<(Instant, RelayLostReason)>,
}

impl Game {
    fn new(relay: &RelayEntry) -> Self {
        let config = Config { directory: vec![relay.clone()], application: 6, ..Config::default() };
        let net = NetworkManager::new(config).unwrap();
        let latest = Instant::now();
        Self { net, other: None, heard: 0, latest, draining: None, lost: None }
    }

    fn frame(&mut self) {
        let Self { net, other, heard, latest, draining, lost } = self;
        net.run_callbacks(|_, event| {
            let now = Instant::now();
            if matches!(event, Event::Message { .. }) {
                (*heard, *latest) = (*heard + 1, now);
            } else if let Event::RelayDraining { left, .. } = event {
                draining.get_or_insert((now, left));
            } else if let Event::RelayLost { reason, .. } = event {
                lost.get_or_insert((now, reason));
            }
        });
        if let Some(other) = *other {
            // Before there is a channel, and after the relay is gone, it is refused.
            let _ = net.send_message(other, 1, b"played on");
        }
        net.flush();
    }
}

fn meet(games: &mut [Game; 2]) {
    let known = games.each_ref().map(|game| (game.net.peer_id(), game.net.route().unwrap()));
    for (game, (other, route)) in games.iter_mut().zip(known.into_iter().rev()) {
        game.net.connect_peer(other, route).unwrap();
        game.net.open_channel(other, 1, Reliability::Unreliable).unwrap();
        game.other = Some(other);
    }
}

fn play(games: &mut [Game; 2], done: impl Fn(&[Game; 2]) -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done(games) {
        assert!(Instant::now() < end, "not within {PATIENCE:?}");
        for game in &mut *games {
            game.frame();
            game.net.wait(Duration::from_millis(5));
        }
    }
}

/// The status under `/ready`.
fn ready(admin: SocketAddr) -> Result<u16, FetchError> {
    match fetch(admin, "/ready") {
        Ok(_) => Ok(200),
        Err(FetchError::Status { code, .. }) => Ok(code),
        Err(error) => Err(error),
    }
}

/// Asks whether it is ready until nobody answers.
fn watch(admin: SocketAddr) -> JoinHandle<Vec<u16>> {
    spawn(move || {
        let answers = core::iter::from_fn(|| {
            park_timeout(Duration::from_millis(10));
            ready(admin).ok()
        });
        answers.collect()
    })
}

const PATIENCE: Duration = Duration::from_secs(60);
