//! The exchange: every reliable message once, whole and in order; of the unreliable ones what the
//! link lets through.

use core::fmt;
use core::time::Duration;

use waylane_core::channel::Payload;
use waylane_core::endpoint::{Event, SendError};
use waylane_core::id::{ChannelId, PeerId, Reliability};
use waylane_core::route::Route;
use waylane_core::time::Instant;

use crate::arena::Arena;
use crate::world::World;

/// What arrived.
#[derive(Clone, Copy)]
pub(crate) struct Score {
    players: [Heard; 2],
    carried: u32,
    lost: u32,
    took: Duration,
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Heard { reliable, unreliable, .. } in self.players {
            write!(f, "heard {reliable} reliable and {unreliable} unreliable messages; ")?;
        }
        write!(f, "{} datagrams forwarded, {} lost, {:?}", self.carried, self.lost, self.took)
    }
}

/// Plays until both sides have everything, and answers what arrived.
///
/// # Errors
/// What did not happen.
pub(crate) fn play(arena: &mut Arena) -> Result<Score, &'static str> {
    let mut game = Game { world: World::new(arena)?, heard: [Heard::default(); 2] };
    game.wait("nobody is bound", |game| game.world.players.iter().all(|p| p.route().is_some()))?;
    game.introduce()?;
    game.wait("not connected", |game| game.heard.iter().all(|heard| heard.connected))?;
    game.open_channels()?;
    game.wait("channels not open", |game| game.heard.iter().all(|heard| heard.opened == 2))?;

    game.world.lossy = true;
    game.exchange()?;
    game.wait("messages missing", |game| game.heard.iter().all(|h| h.reliable == MESSAGES))?;
    game.world.lossy = false;

    game.world.players[0].shutdown();
    game.wait("no goodbye", |game| game.heard[1].disconnected)?;
    game.score()
}

struct Game {
    world: World,
    heard: [Heard; 2],
}

/// What one player has heard so far.
#[derive(Clone, Copy, Default)]
struct Heard {
    connected: bool,
    disconnected: bool,
    opened: u32,
    reliable: u32,
    unreliable: u32,
    /// Messages changed on the way, repeated or out of order.
    wrong: u32,
}

impl Game {
    /// Tells each player the other's route, as a lobby would.
    fn introduce(&mut self) -> Result<(), &'static str> {
        for (from, to) in [(0, 1), (1, 0)] {
            let mut bytes = [0; Route::LEN_MAX];
            let route = self.world.players[from].route().ok_or("no route")?;
            let len = route.encode(&mut bytes).map_err(|_| "a route is longer than LEN_MAX")?;
            let peer = self.world.players[from].peer_id();
            let player = &mut self.world.players[to];
            player.connect_peer(peer, &bytes[..len]).map_err(|_| "the route is refused")?;
        }
        Ok(())
    }

    fn open_channels(&mut self) -> Result<(), &'static str> {
        for (from, to) in [(0, 1), (1, 0)] {
            let peer = self.peer(to);
            for (channel, reliability) in
                [(UNRELIABLE, Reliability::Unreliable), (RELIABLE, Reliability::Reliable)]
            {
                let opened = self.world.players[from].open_channel(peer, channel, reliability);
                opened.map_err(|_| "no room for a channel")?;
            }
        }
        Ok(())
    }

    /// A message of each kind in each direction and frame; a full queue is tried again next frame.
    fn exchange(&mut self) -> Result<(), &'static str> {
        let mut sent = [0; 2];
        while sent != [MESSAGES; 2] {
            for (from, to) in [(0, 1), (1, 0)] {
                let peer = self.peer(to);
                let player = &mut self.world.players[from];
                let mut bytes = [0; MESSAGE_LEN_MAX];
                if sent[from] < MESSAGES {
                    let message = write_message(&mut bytes, sent[from]);
                    match player.send_message(peer, RELIABLE, message) {
                        Ok(()) => sent[from] += 1,
                        Err(SendError::Full { .. }) => {}
                        Err(_) => return Err("a reliable message is refused"),
                    }
                }
                match player.send_message(peer, UNRELIABLE, write_message(&mut bytes, 0)) {
                    Ok(()) | Err(SendError::Full { .. }) => player.flush(),
                    Err(_) => return Err("an unreliable message is refused"),
                }
            }
            self.pass(FRAME);
        }
        Ok(())
    }

    /// Lets time pass until something holds.
    fn wait(
        &mut self,
        otherwise: &'static str,
        holds: impl Fn(&Self) -> bool,
    ) -> Result<(), &'static str> {
        let end = self.world.now + PATIENCE;
        while !holds(self) {
            if self.world.now >= end {
                return Err(otherwise);
            }
            self.pass(FRAME);
        }
        Ok(())
    }

    /// Lets time pass.
    fn pass(&mut self, time: Duration) {
        let end = self.world.now + time;
        while self.world.now < end {
            self.world.step(end);
            self.listen();
        }
    }

    fn listen(&mut self) {
        for (player, heard) in self.world.players.iter_mut().zip(&mut self.heard) {
            while let Some(event) = player.poll_event() {
                match event {
                    Event::PeerConnected { .. } => heard.connected = true,
                    Event::PeerDisconnected { .. } => heard.disconnected = true,
                    Event::ChannelOpened { .. } => heard.opened += 1,
                    Event::Message { channel: RELIABLE, payload, .. } => {
                        heard.wrong += u32::from(!is_message(payload, heard.reliable));
                        heard.reliable += 1;
                    }
                    Event::Message { payload, .. } => {
                        heard.wrong += u32::from(!is_message(payload, 0));
                        heard.unreliable += 1;
                    }
                    // Routes and relays do not change here; a full queue is tried again anyway.
                    _ => {}
                }
            }
        }
    }

    fn score(&self) -> Result<Score, &'static str> {
        let World { carried, lost, now, .. } = self.world;
        if self.heard.iter().any(|heard| heard.wrong > 0) {
            return Err("a message was changed, repeated or out of order");
        }
        if lost == 0 || self.heard.iter().any(|heard| heard.unreliable < MESSAGES / 2) {
            return Err("the link lost nothing, or nearly everything");
        }
        Ok(Score { players: self.heard, carried, lost, took: now.since(Instant::ZERO) })
    }

    fn peer(&self, index: usize) -> PeerId {
        self.world.players[index].peer_id()
    }
}

/// Message `number`: every eighth is the largest there may be, the others are 20 bytes.
fn write_message(bytes: &mut [u8; MESSAGE_LEN_MAX], number: u32) -> &[u8] {
    let message = &mut bytes[..message_len(number)];
    for (place, byte) in message.iter_mut().enumerate() {
        *byte = byte_at(number, place);
    }
    message
}

fn is_message(payload: Payload<'_>, number: u32) -> bool {
    let bytes = payload.chunks().flatten().enumerate();
    payload.len() == message_len(number)
        && bytes.into_iter().all(|(place, byte)| *byte == byte_at(number, place))
}

const fn message_len(number: u32) -> usize {
    if number % 8 == 7 { MESSAGE_LEN_MAX } else { 20 }
}

const fn byte_at(number: u32, place: usize) -> u8 {
    (number as usize * 31 + place) as u8
}

const UNRELIABLE: ChannelId = ChannelId(0);
const RELIABLE: ChannelId = ChannelId(1);
const MESSAGES: u32 = 64;
const MESSAGE_LEN_MAX: usize = crate::world::LIMITS.channels.message_reliable_max as usize;
const FRAME: Duration = Duration::from_micros(16_667);
const PATIENCE: Duration = Duration::from_secs(30);
