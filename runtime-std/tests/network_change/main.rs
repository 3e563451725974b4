//! A player whose network changes under it, in network namespaces, with a real relay and another
//! player: the connection goes on. Needs root, for the namespaces; without it these tests fail.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "tests may; the lint only knows test functions")]

#[allow(dead_code, reason = "shared with tests that use all of it")]
#[path = "../common/mod.rs"]
mod common;
mod namespace;
mod net;

use core::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use core::time::Duration;
use std::collections::BTreeSet;
use std::time::Instant;

use common::{Player, TestRelay, config, connect, run};
use net::{Family, MOBILE, Net, RELAY, WIFI};
use waylane::{Config, Event, Route};
use waylane_relay::Mode;

#[test]
fn a_socket_whose_network_is_gone_is_rebuilt_and_serves_on_the_next_one() {
    let net = Net::new();
    net.join(WIFI, Family::V4);
    on_the_road(&net, |mut scene| {
        let before = sockets();
        net.leave(WIFI);
        // The application notices nothing and goes on sending.
        scene.speak();
        scene.run_until(|_| sockets().is_disjoint(&before));
        net.join(MOBILE, Family::V4);
        scene.exchange();
        scene.is_the_same();
    });
}

#[test]
fn a_link_that_goes_down_and_up_again_is_taken_up_again() {
    let net = Net::new();
    net.join(WIFI, Family::V4);
    on_the_road(&net, |mut scene| {
        for _ in 0..3 {
            let before = sockets();
            net.roamer_ip("link set wifi down");
            scene.speak();
            scene.run_until(|_| sockets().is_disjoint(&before));
            net.roamer_ip("link set wifi up");
            net.route(WIFI, Family::V4);
            scene.exchange();
        }
        scene.is_the_same();
    });
}

#[test]
fn another_link_takes_over_without_a_pause() {
    let net = Net::new();
    net.join(MOBILE, Family::V4);
    net.join(WIFI, Family::V4);
    on_the_road(&net, |mut scene| {
        for (left, next) in [(WIFI, MOBILE), (MOBILE, WIFI)] {
            net.route(next, Family::V4);
            net.leave(left);
            scene.exchange();
            net.join(left, Family::V4);
        }
        scene.is_the_same();
    });
}

#[test]
fn from_ipv4_to_ipv6_and_back_nothing_is_said_by_the_application() {
    let net = Net::new();
    net.join(WIFI, Family::V4);
    on_the_road(&net, |mut scene| {
        net.leave(WIFI);
        net.join(MOBILE, Family::V6);
        scene.exchange();
        net.leave(MOBILE);
        net.join(WIFI, Family::V4);
        scene.exchange();
        scene.is_the_same();
    });
}

#[test]
fn the_application_may_say_that_the_network_changed() {
    let net = Net::new();
    net.join(MOBILE, Family::V4);
    net.join(WIFI, Family::V4);
    on_the_road(&net, |mut scene| {
        for next in [MOBILE, WIFI] {
            net.route(next, Family::V4);
            let before = sockets();
            scene.roamer.net.network_changed().unwrap();
            assert!(sockets().is_disjoint(&before), "new sockets at once");
            scene.exchange();
        }
        scene.is_the_same();
    });
}

#[test]
fn a_socket_that_cannot_be_had_yet_is_opened_once_it_can() {
    let net = Net::new();
    net.join(WIFI, Family::V4);
    let own = WIFI.own[0].parse::<Ipv4Addr>().unwrap();
    let bound = |config: &mut Config| config.bind_v4 = SocketAddrV4::new(own, 0);
    on_the_road_with(&net, bound, |mut scene| {
        net.leave(WIFI);
        let error = scene.roamer.net.network_changed().unwrap_err();
        assert_eq!(error.bind.ip(), IpAddr::V4(own), "{error}");
        scene.speak();
        net.join(WIFI, Family::V4);
        scene.exchange();
        scene.is_the_same();
    });
}

/// Two players who are connected over a relay, and what they have said to each other.
struct Scene {
    roamer: Player,
    other: Player,
    _relay: TestRelay,
    route: Route,
    said: u32,
}

/// Connects a player in the roamer's namespace with one who is where the relay is, and plays there:
/// sockets belong to the network of the thread that opens them.
fn on_the_road(net: &Net, play: impl FnOnce(Scene) + Send) {
    on_the_road_with(net, |_| {}, play);
}

/// As [`on_the_road`], with other settings for the roamer.
fn on_the_road_with(
    net: &Net,
    change: impl FnOnce(&mut Config) + Send,
    play: impl FnOnce(Scene) + Send,
) {
    net.at_roamer(|| {
        let (relay, mut other) = net.at_relay(|| {
            let relay = TestRelay::of(&relay_config()).unwrap();
            let other = Player::new(config(&relay));
            (relay, other)
        });
        let mut own = config(&relay);
        change(&mut own);
        let mut roamer = Player::new(own);
        run(&mut roamer, &mut other, |a, b| a.net.route().is_some() && b.net.route().is_some());
        connect(&mut roamer, &mut other);
        let route = roamer.route();
        let mut scene = Scene { roamer, other, _relay: relay, route, said: 0 };
        scene.exchange();
        play(scene);
    });
}

impl Scene {
    /// Both say something that has to arrive.
    fn speak(&mut self) {
        let number = self.said.to_le_bytes();
        let (roamer, other) = (self.roamer.id(), self.other.id());
        self.roamer.net.send_message(other, 1, &number).unwrap();
        self.other.net.send_message(roamer, 1, &number).unwrap();
        self.said += 1;
    }

    /// Both say something, and all that was ever said arrives, in order.
    fn exchange(&mut self) {
        self.speak();
        let said = self.said as usize;
        self.run_until(|scene| {
            let all = |player: &Player| player.payloads(1).count() >= said;
            all(&scene.roamer) && all(&scene.other)
        });
        for player in [&self.roamer, &self.other] {
            assert!(player.payloads(1).eq((0..self.said).map(u32::to_le_bytes)));
        }
    }

    /// Runs frames of both, in which the application does nothing but send.
    fn run_until(&mut self, mut done: impl FnMut(&Self) -> bool) {
        let give_up = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(Instant::now() < give_up, "{:?}", self.roamer.events);
            self.roamer.frame();
            self.other.frame();
            self.roamer.net.wait(FRAME);
        }
    }

    /// The connection is that of the start, and so is the session.
    fn is_the_same(&self) {
        for player in [&self.roamer, &self.other] {
            let parted = |event: &Event<'_>| matches!(event, Event::PeerDisconnected { .. });
            assert!(!player.events.iter().any(parted), "{:?}", player.events);
            let connected = |event: &&Event<'_>| matches!(event, Event::PeerConnected { .. });
            assert_eq!(player.events.iter().filter(connected).count(), 1);
        }
        assert_eq!(self.roamer.route(), self.route, "the same session");
    }
}

fn relay_config() -> waylane_relay::Config {
    let mut config = waylane_relay::Config::dev();
    config.mode = Mode::Open;
    config.listen = RELAY.map(|at| SocketAddr::new(at.parse().unwrap(), 0)).to_vec();
    config.key_file = Some(std::env::temp_dir().join(format!("waylane-{}", std::process::id())));
    config
}

/// The sockets in this thread's network, by the numbers of their inodes: a port may come again.
fn sockets() -> BTreeSet<String> {
    ["udp", "udp6"]
        .iter()
        .flat_map(|table| {
            let table = std::fs::read_to_string(format!("/proc/thread-self/net/{table}")).unwrap();
            let inode = |line: &str| line.split_whitespace().nth(9).map(str::to_owned);
            table.lines().skip(1).filter_map(inode).collect::<Vec<_>>()
        })
        .collect()
}

const FRAME: Duration = Duration::from_millis(5);
/// Longer than anything here takes on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(60);
