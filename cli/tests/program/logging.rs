//! What the real program writes down of its players: by default nothing that names an address. All
//! of 127.0.0.0/8 is this machine's on Linux, so each player here has an address of its own.

use core::net::{Ipv4Addr, SocketAddr};

use serde_json::Value;
use waylane_core::wire::hop::{ControlMessage, Refused, RefusedReason};

use crate::client::{Hop as _, data};
use crate::players::{Player, Relay};
use crate::running::scratch;

#[test]
fn no_line_names_a_players_address() {
    let (log, players) = all_that_is_logged("text", "");
    names_nobody(&log, &players);
}

#[test]
fn addresses_are_in_the_log_where_they_are_asked_for() {
    let (log, players) = all_that_is_logged("text", "log_addresses = true\n");
    for address in players {
        assert!(log.contains(&address.to_string()), "{address} is not in the log:\n{log}");
    }
}

/// Also what is said to whoever starts or stops it.
#[test]
fn a_log_as_json_is_an_object_a_line_and_names_nobody() {
    let (log, players) = all_that_is_logged("json", "");
    names_nobody(&log, &players);
    for line in log.lines() {
        let object: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        for key in ["timestamp", "level", "message"] {
            assert!(object[key].is_string(), "no {key} in {line}");
        }
    }
    for said in ["what it does: http://", "directory entry", "stopping when nobody is left"] {
        assert!(log.contains(said), "{said} is not in:\n{log}");
    }
}

fn names_nobody(log: &str, players: &[SocketAddr]) {
    for address in players {
        assert!(!log.contains(&address.ip().to_string()), "{address} is in the log:\n{log}");
    }
}

/// Has players and strangers do whatever can be logged, while an operator does, too. Returns the
/// log, and the addresses of those whose sessions ended.
fn all_that_is_logged(format: &str, more: &str) -> (String, Vec<SocketAddr>) {
    let name = format!("log-{format}-{}", more.len());
    let settings = format!(
        "mode = \"open\"\nlog_format = \"{format}\"\n{more}sessions = 64\nlifetime_s = 2\n\
         keep_alive_s = 1\npackets_per_second = 50\ndrain_timeout_s = 1\n\
         admin = \"127.0.0.1:0\"\nhandover_socket = {:?}\n",
        scratch(&format!("{name}.door"))
    );
    let mut relay = Relay::start(&name, &settings);
    let mut players: Vec<Player> = (0..8).map(|n| player(&relay, n)).collect();
    let addresses = players.iter().map(|player| player.client.address).collect();
    // One who is refused, and sends this and that.
    let mut stranger = Player::unbound_at(Ipv4Addr::new(127, 66, 1, 1), &relay.entry, 20);
    let (bind, _) = stranger.client.bind_datagram(*relay.entry.public_key(), [7; 16], false);
    let refused = stranger.line.exchange(stranger.client.address, &bind).unwrap();
    assert_eq!(Refused::parse(&refused).unwrap().reason, RefusedReason::Cookie);
    let mut forged = players[0].client.control(ControlMessage::Unbind);
    *forged.last_mut().unwrap() ^= 1;
    let noise: [&[u8]; 4] = [&[0xff; 40], &data(players[0].client.session), &forged, &[]];
    for datagram in noise {
        stranger.line.socket.send(datagram).unwrap();
        players[0].line.socket.send(datagram).unwrap();
    }
    // More than the limit.
    (0..200).for_each(|_| players[1].send_to(&players[2]));
    players[3].unbind();
    relay.program.err.with("left");
    // The operator reloads, to good and to bad.
    relay.reload(&settings);
    relay.program.err.with("are in force");
    relay.reload(&format!("{settings}burst_ms = 0\n"));
    relay.program.err.with("settings stay what they were");
    relay.write(&settings);
    let (mut next, _) = Relay::run(&relay.file);
    assert_eq!(relay.program.wait().code(), Some(0));
    // Nobody sends a sign of life.
    for _ in 0..7 {
        next.err.with("expired");
    }
    let last = player(&relay, 9);
    next.signal("TERM");
    last.told();
    assert_eq!(next.wait().code(), Some(0));
    let log = format!("{}\n{}", relay.program.err.rest(), next.err.rest());
    for words in ["session ended", "taken over from the relay before", "drained", "stopped"] {
        assert!(log.contains(words), "{words} is not in:\n{log}");
    }
    (log, addresses)
}

fn player(relay: &Relay, n: u8) -> Player {
    Player::unbound_at(Ipv4Addr::new(127, 66, 0, n + 1), &relay.entry, n).bound()
}
