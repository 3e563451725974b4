//! Two players and a relay on loopback.

#[path = "relay.rs"]
mod relay;

use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;
use std::time::Instant;

use waylane::{Config, Event, NetworkManager, Reliability, Route};

pub(crate) use relay::TestRelay;

/// Longer than anything here takes on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A manager and everything it told.
pub(crate) struct Player {
    pub(crate) net: NetworkManager,
    pub(crate) messages: Vec<(u64, u8, Vec<u8>)>,
    pub(crate) events: Vec<Event<'static>>,
}

impl Player {
    pub(crate) fn new(config: Config) -> Self {
        let net = NetworkManager::new(config).unwrap();
        Self { net, messages: Vec::new(), events: Vec::new() }
    }

    pub(crate) fn id(&self) -> u64 {
        self.net.peer_id()
    }

    pub(crate) fn receive(&mut self) {
        let Self { net, messages, events } = self;
        net.run_callbacks(|_, event| match owned(event) {
            Ok(event) => events.push(event),
            Err(message) => messages.push(message),
        });
    }

    pub(crate) fn frame(&mut self) {
        self.receive();
        self.net.flush();
    }

    pub(crate) fn saw(&self, event: Event<'static>) -> bool {
        self.events.contains(&event)
    }

    pub(crate) fn route(&self) -> Route {
        self.net.route().unwrap()
    }

    pub(crate) fn payloads(&self, channel: u8) -> impl Iterator<Item = &[u8]> {
        self.messages.iter().filter(move |m| m.1 == channel).map(|m| &m.2[..])
    }
}

/// Runs frames of both until `done`.
pub(crate) fn run(
    a: &mut Player,
    b: &mut Player,
    mut done: impl FnMut(&mut Player, &mut Player) -> bool,
) {
    repeat(a, b, |a, b| {
        a.frame();
        b.frame();
        done(a, b)
    });
}

/// Does `step` until it says that all is done.
pub(crate) fn repeat(
    a: &mut Player,
    b: &mut Player,
    mut step: impl FnMut(&mut Player, &mut Player) -> bool,
) {
    let start = Instant::now();
    while !step(a, b) {
        let seen = (&a.events, &b.events);
        assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}, only {seen:?}");
        // One of the two is waiting for something, or will be in a moment.
        if !a.net.wait(Duration::from_millis(1)) {
            b.net.wait(Duration::from_millis(1));
        }
    }
}

pub(crate) fn config(relay: &TestRelay) -> Config {
    Config { directory: vec![relay.entry()], application: 12345, ..Config::default() }
}

/// A relay and two players with a route each, not connected.
pub(crate) fn two_players() -> (TestRelay, Player, Player) {
    let relay = TestRelay::start(IpAddr::V4(Ipv4Addr::LOCALHOST)).unwrap();
    let mut a = Player::new(config(&relay));
    let mut b = Player::new(config(&relay));
    run(&mut a, &mut b, |a, b| a.net.route().is_some() && b.net.route().is_some());
    (relay, a, b)
}

/// Connects both and opens channel 0 unreliable and channel 1 reliable.
pub(crate) fn connect(a: &mut Player, b: &mut Player) {
    let (a_id, b_id) = (a.id(), b.id());
    let (a_route, b_route) = (a.route(), b.route());
    a.net.connect_peer(b_id, b_route).unwrap();
    b.net.connect_peer(a_id, a_route.to_string()).unwrap();
    for (player, other) in [(&mut *a, b_id), (&mut *b, a_id)] {
        player.net.open_channel(other, 0, Reliability::Unreliable).unwrap();
        player.net.open_channel(other, 1, Reliability::Reliable).unwrap();
    }
    run(a, b, |a, b| {
        [0, 1].into_iter().all(|channel| {
            a.saw(Event::ChannelOpened { peer: b_id, channel })
                && b.saw(Event::ChannelOpened { peer: a_id, channel })
        })
    });
}

pub(crate) fn connected_players() -> (TestRelay, Player, Player) {
    let (relay, mut a, mut b) = two_players();
    connect(&mut a, &mut b);
    (relay, a, b)
}

/// A message, or any other event, which borrows nothing.
fn owned(event: Event<'_>) -> Result<Event<'static>, (u64, u8, Vec<u8>)> {
    Ok(match event {
        Event::Message { peer, channel, data } => return Err((peer, channel, data.to_vec())),
        Event::RouteUpdate { route } => Event::RouteUpdate { route },
        Event::PeerConnected { peer } => Event::PeerConnected { peer },
        Event::PeerDisconnected { peer, reason } => Event::PeerDisconnected { peer, reason },
        Event::PeerRequest { peer, route } => Event::PeerRequest { peer, route },
        Event::ChannelOpened { peer, channel } => Event::ChannelOpened { peer, channel },
        Event::ChannelClosed { peer, channel } => Event::ChannelClosed { peer, channel },
        Event::ChannelMismatch { peer, channel } => Event::ChannelMismatch { peer, channel },
        Event::Writable { peer, channel } => Event::Writable { peer, channel },
        Event::ConnectionQuality { peer, quality } => Event::ConnectionQuality { peer, quality },
        Event::RelayConnected { relay } => Event::RelayConnected { relay },
        Event::RelayLost { relay, reason } => Event::RelayLost { relay, reason },
        Event::RelayRefused { relay, reason } => Event::RelayRefused { relay, reason },
        Event::RelayDraining { relay, left } => Event::RelayDraining { relay, left },
        Event::TokenExpiring { relay, left } => Event::TokenExpiring { relay, left },
        Event::DirectoryRefused { error } => Event::DirectoryRefused { error },
        Event::DirectoryUpdate { sequence } => Event::DirectoryUpdate { sequence },
        unknown => panic!("an event the tests do not know: {unknown:?}"),
    })
}
