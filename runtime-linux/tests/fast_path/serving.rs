//! Relays and players in the two namespaces.

use core::net::SocketAddr;

use waylane_relay::{Config, FastPathChoice, Mode};
use waylane_runtime_linux::back_end;

use crate::net::{PLAYERS, RELAY};
use crate::running::client::Client;
use crate::running::{Running, Socket};

/// A relay at an address of this namespace.
pub(crate) fn start(choice: FastPathChoice, family: usize) -> Running {
    // What it chose stands in a failed test's output.
    drop(tracing_subscriber::fmt().with_test_writer().try_init());
    Running::start(&config(choice, family), back_end).unwrap()
}

pub(crate) fn config(choice: FastPathChoice, family: usize) -> Config {
    let mut config = Config::dev();
    config.mode = Mode::Open;
    config.listen = vec![SocketAddr::new(RELAY[family].parse().unwrap(), 0)];
    config.key_file = Some(std::env::temp_dir().join(format!("waylane-{}", std::process::id())));
    config.fast_path = choice;
    config.sessions = 1000;
    config
}

/// A player's socket at `own`.
pub(crate) fn player(relay: &Running, own: &str) -> Socket {
    Socket::at(relay, own.parse().unwrap())
}

/// The sockets of two players that are bound, one on the link and one behind it, and who they are.
pub(crate) fn two_players(relay: &Running, family: usize) -> ([Socket; 2], [Client; 2]) {
    let [mut near, mut far] = PLAYERS[family].map(|own| player(relay, own));
    let clients = [near.bound(1), far.bound(2)];
    ([near, far], clients)
}
