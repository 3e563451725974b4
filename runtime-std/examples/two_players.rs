//! Two players connect and send each other loot and positions.
//!
//! `cargo run --example two_players -p waylane`
//!
//! Both run in this process, with a relay of their own on loopback, and a small struct stands for
//! the lobby whose members' metadata tells them each other's peer id and route.
#![allow(clippy::wildcard_enum_match_arm, reason = "a game looks at the events it cares for")]

#[path = "../tests/common/relay.rs"]
mod relay;

use core::error::Error;
use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;
use std::time::Instant;

use waylane::{Config, Event, NetworkManager, Reliability, Route};

use relay::TestRelay;

const UNRELIABLE: u8 = 0;
const RELIABLE: u8 = 1;
const LOOK_AT_LOBBY: &[u8] = b"look at the lobby";

fn main() -> Result<(), Box<dyn Error>> {
    // In reality somebody runs the relay, and its directory entry comes with the game.
    let relay = TestRelay::start(IpAddr::V4(Ipv4Addr::LOCALHOST))?;
    let mut lobby = Lobby::default();
    let mut players = [Player::join(0, &relay, &mut lobby)?, Player::join(1, &relay, &mut lobby)?];

    let start = Instant::now();
    while !players.iter().all(Player::is_done) {
        for player in &mut players {
            player.update(&mut lobby)?;
        }
        for player in &mut players {
            player.late_update();
        }
        if start.elapsed() > Duration::from_secs(20) {
            return Err("the players did not get everything within 20 seconds".into());
        }
        // Stands for the rest of the frame.
        let [first, second] = &mut players;
        if !first.network.wait(Duration::from_millis(1)) {
            second.network.wait(Duration::from_millis(1));
        }
    }
    println!("Both players got everything.");
    Ok(())
}

/// What a lobby would keep: each member's metadata, which all members see.
#[derive(Default)]
struct Lobby {
    members: [Metadata; 2],
}

#[derive(Default)]
struct Metadata {
    peer_id: Option<u64>,
    route: Option<Route>,
}

/// What one player's game knows.
struct Player {
    name: &'static str,
    member: usize,
    network: NetworkManager,
    other_peer_id: Option<u64>,
    got_loot: bool,
    got_thanks: bool,
    got_position: bool,
    got_new_route: bool,
    frame: u32,
}

impl Player {
    fn join(member: usize, relay: &TestRelay, lobby: &mut Lobby) -> Result<Self, Box<dyn Error>> {
        let network = NetworkManager::new(Config {
            directory: vec![relay.entry()],
            application: 12345,
            ..Config::default()
        })?;
        // Add our own peer id to our member metadata, so that others can connect to us.
        lobby.members[member].peer_id = Some(network.peer_id());
        Ok(Self {
            name: ["Ann", "Ben"][member],
            member,
            network,
            other_peer_id: None,
            got_loot: false,
            got_thanks: false,
            got_position: false,
            got_new_route: false,
            frame: 0,
        })
    }

    /// The start of the frame: everything that came in, then the game.
    fn update(&mut self, lobby: &mut Lobby) -> Result<(), Box<dyn Error>> {
        self.run_callbacks(lobby)?;
        if self.other_peer_id.is_none() {
            self.connect(lobby)?;
        }
        if let Some(other) = self.other_peer_id {
            self.send_important_data(other)?;
        }
        self.frame += 1;
        Ok(())
    }

    /// The end of the frame: done; ship it!
    fn late_update(&mut self) {
        self.network.flush();
    }

    fn run_callbacks(&mut self, lobby: &mut Lobby) -> Result<(), Box<dyn Error>> {
        let mut outcome = Ok(());
        let Self { name, member, network, .. } = self;
        network.run_callbacks(|network, event| {
            let done = match event {
                // This fires once a relay has given us a place, telling us which route is ours,
                // and again whenever it changes.
                Event::RouteUpdate { route } => {
                    println!("{name}: my route is {route}");
                    lobby.members[*member].route = Some(route);
                    // A lobby would now tell the other members, who fetch it and update. Here we
                    // tell the one there is; before we know them, they will find it anyway.
                    self.other_peer_id.map_or(Ok(()), |other| {
                        network.send_message(other, RELIABLE, LOOK_AT_LOBBY).map_err(Into::into)
                    })
                }
                // The lobby's OnMemberUpdate.
                Event::Message { peer, channel: RELIABLE, data: LOOK_AT_LOBBY } => {
                    println!("{name}: {peer} has a new route");
                    self.got_new_route = true;
                    update_member(network, &lobby.members[1 - *member])
                }
                Event::Message { peer, channel: RELIABLE, data: b"thanks" } => {
                    println!("{name}: {peer} got my loot");
                    self.got_thanks = true;
                    Ok(())
                }
                Event::Message { peer, channel: RELIABLE, data } => {
                    println!("{name}: loot from {peer}: {}", String::from_utf8_lossy(data));
                    self.got_loot = true;
                    // What a callback sends leaves with the frame's flush, like all else.
                    let thanks = network.send_message(peer, RELIABLE, b"thanks");
                    // Routes change at any time. So that we see one do it, Ann asks for another.
                    if *member == 0 {
                        network.rotate_session();
                    }
                    thanks.map_err(Into::into)
                }
                Event::Message { peer, data, .. } => {
                    if !self.got_position {
                        println!("{name}: {peer} is at {}", String::from_utf8_lossy(data));
                    }
                    self.got_position = true;
                    Ok(())
                }
                Event::PeerConnected { peer } => {
                    println!("{name}: connected to {peer}");
                    Ok(())
                }
                _ => Ok(()),
            };
            if let Err(error) = done {
                outcome = Err(error);
            }
        });
        outcome
    }

    /// Gets the other member's peer id and route from their metadata, and connects to them.
    fn connect(&mut self, lobby: &Lobby) -> Result<(), Box<dyn Error>> {
        let other = &lobby.members[1 - self.member];
        let (Some(other_peer_id), Some(other_route)) = (other.peer_id, other.route) else {
            return Ok(());
        };
        self.network.connect_peer(other_peer_id, other_route)?;

        // Open an unreliable channel to the user on channel 0, and a reliable one on channel 1.
        self.network.open_channel(other_peer_id, UNRELIABLE, Reliability::Unreliable)?;
        self.network.open_channel(other_peer_id, RELIABLE, Reliability::Reliable)?;

        // This is important and has to get there: send over the reliable channel. It waits until
        // they are connected.
        let loot = format!("a sword for {other_peer_id}");
        self.network.send_message(other_peer_id, RELIABLE, loot.as_bytes())?;
        self.other_peer_id = Some(other_peer_id);
        Ok(())
    }

    /// Eventually consistent data, like the player's position in the world, can be sent over the
    /// unreliable channel.
    fn send_important_data(&mut self, other_peer_id: u64) -> Result<(), Box<dyn Error>> {
        let position = format!("{}, {}", self.frame, self.member);
        self.network.send_message(other_peer_id, UNRELIABLE, position.as_bytes())?;
        Ok(())
    }

    fn is_done(&self) -> bool {
        let knows_route = self.member == 0 || self.got_new_route;
        self.got_loot && self.got_thanks && self.got_position && knows_route
    }
}

/// When other users get new routes, they update their metadata: fetch it and update their route.
fn update_member(network: &mut NetworkManager, member: &Metadata) -> Result<(), Box<dyn Error>> {
    if let (Some(peer_id), Some(new_route)) = (member.peer_id, member.route) {
        network.update_peer(peer_id, new_route)?;
    }
    Ok(())
}
