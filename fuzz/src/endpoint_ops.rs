//! Bytes become operations on two players, two relays and the network between them.
//!
//! Whatever happens: nobody panics, messages are what the channels promise, players send to their
//! directory only. And afterwards, on a network that works: both players agree on whether they are
//! connected, open channels carry messages, and what was used is free again.

use core::time::Duration;

use waylane_core::channel::{PoolUsage, Scope};
use waylane_core::endpoint::{DisconnectReason, Event, RelayLostReason, RelayState, SendError};
use waylane_core::id::{ChannelId, Reliability};
use waylane_core::invite::{Invite, InviteSecret};
use waylane_core::time::Instant;

use crate::oracle::{LABEL, Oracle};
use crate::script::Script;
use crate::world::{Arrival, Flight, MESSAGE_MAX, TIMEOUT, World};

/// Plays the script and looks at what is left.
///
/// # Panics
/// If a promise is broken.
pub fn run(data: &[u8]) {
    let mut play = Play::new();
    let mut script = Script::new(data);
    // The first byte says how much is there at the start.
    let start = script.byte();
    if start & 1 != 0 {
        play.settle(Duration::from_secs(1));
    }
    if start & 2 != 0 {
        play.introduce();
    }
    for _ in 0..OPERATIONS_MAX {
        let Some(operation) = script.take() else { break };
        play.operate(operation, &mut script);
    }
    play.converge();
    play.leave_nothing();
}

struct Play {
    world: World,
    oracle: Oracle,
    /// Players who do not look at their events.
    asleep: [bool; 2],
    /// Players who connect to whoever asks.
    welcoming: [bool; 2],
    /// A key has been used by two programs.
    restarted: bool,
}

impl Play {
    fn new() -> Self {
        Self {
            world: World::new(),
            oracle: Oracle::default(),
            asleep: [false; 2],
            welcoming: [false; 2],
            restarted: false,
        }
    }

    fn operate(&mut self, operation: u8, script: &mut Script<'_>) {
        let player = usize::from(operation >> 7);
        match operation & 0x7f {
            0..=7 => self.arrive(0),
            8..=11 => {
                for _ in 0..self.world.flight.len() {
                    self.arrive(0);
                }
            }
            12..=15 => self.arrive(script.below(64)),
            16..=19 => drop(self.world.flight.remove(script.below(64))),
            20 => self.world.flight.clear(),
            21..=23 => {
                if let Some(flight) = self.world.flight.get(script.below(64)).cloned() {
                    self.world.flight.push_back(flight);
                }
            }
            24..=27 => self.damage(script),
            28..=31 => {
                let past = self.world.past.get(script.below(64)).cloned();
                self.deliver(past);
            }
            32..=35 => self.inject(player, script),
            36..=43 => self.wait(script.choose(&WAITS)),
            44..=51 => self.wait_for_deadline(),
            52..=57 => self.settle(script.choose(&WAITS)),
            58..=63 => self.open(player, script.byte()),
            64..=77 => self.send(player, script.byte(), script.byte()),
            78..=83 => {
                self.world.players[player].flush();
                self.transmit(player);
            }
            84 => self.world.players[player].flush(),
            85..=88 => self.close(player, script.byte() % CHANNELS),
            89..=92 => self.connect(player, script.byte()),
            93..=95 => self.update(player),
            96..=97 => self.disconnect(player),
            98..=100 => self.asleep[player] = true,
            101..=103 => self.wake(player),
            104..=105 => self.world.players[player].rotate_session(),
            106..=107 => self.world.players[player].network_changed(),
            108..=109 => {
                let relay = self.world.relays[script.below(2)].id;
                self.world.players[player].set_home(relay).expect("it is in the directory");
            }
            110..=111 => self.world.move_player(player),
            112 => self.world.relays[script.below(2)].restart(self.world.now),
            113 => self.world.drain(script.below(2), Duration::from_secs(5)),
            114 => self.restart(player),
            115..=117 => self.invite(player),
            118..=119 => self.world.players[player].set_accept_requests(None),
            120 => {
                self.world.players[player].shutdown();
                self.oracle.end(player);
                self.transmit(player);
            }
            121..=122 => drop(self.world.transmit(player, Scope::Protocol, 1, 1472)),
            123..=124 => drop(self.world.transmit(player, Scope::Everything, 4, 6000)),
            _ => self.transmit(player),
        }
    }

    // ------------------------------------------------------------------ The network

    fn arrive(&mut self, nth: usize) {
        let flight = self.world.flight.remove(nth);
        self.deliver(flight);
    }

    fn deliver(&mut self, flight: Option<Flight>) {
        let Some(flight) = flight else { return };
        if let Arrival::Player(player) = self.world.arrive(flight) {
            self.listen(player);
            self.transmit(player);
        }
    }

    /// Changes or cuts one datagram on its way.
    fn damage(&mut self, script: &mut Script<'_>) {
        let Some(flight) = self.world.flight.get_mut(script.below(64)) else { return };
        let (at, change) = (script.below(1472), script.byte());
        if change == 0 {
            flight.bytes.truncate(at);
        } else if let Some(byte) = flight.bytes.get_mut(at) {
            *byte ^= change;
        }
    }

    /// The script's own bytes, from a relay to a player or from a player to a relay.
    fn inject(&mut self, player: usize, script: &mut Script<'_>) {
        let way = script.byte();
        let relay = self.world.relays[usize::from(way & 1)].address;
        let address = self.world.address(player);
        let (from, to) = if way & 2 == 0 { (relay, address) } else { (address, relay) };
        self.deliver(Some(Flight { from, to, bytes: script.bytes().to_vec() }));
    }

    // ------------------------------------------------------------------ Time

    fn wait(&mut self, duration: Duration) {
        self.world.now += duration;
        self.time_out();
    }

    fn wait_for_deadline(&mut self) {
        if let Some(at) = self.world.next_deadline() {
            self.world.now = self.world.now.max(at);
            self.time_out();
        }
    }

    fn time_out(&mut self) {
        self.world.relays_time_out();
        for player in 0..2 {
            self.world.players[player].handle_timeout(self.world.now);
            self.listen(player);
            self.transmit(player);
        }
    }

    /// The network works for a while: everything arrives a millisecond later.
    fn settle(&mut self, duration: Duration) {
        let end = self.world.now + duration;
        let mut last = (Instant::ZERO, 0);
        self.time_out();
        loop {
            if self.world.flight.is_empty() {
                let Some(at) = self.world.next_deadline().filter(|at| *at <= end) else { break };
                self.world.now = self.world.now.max(at);
            } else {
                if self.world.now >= end {
                    break;
                }
                self.world.now += Duration::from_millis(1);
            }
            last =
                if last.0 == self.world.now { (last.0, last.1 + 1) } else { (self.world.now, 0) };
            assert!(last.1 < SPINS_MAX, "something is due for ever");
            for _ in 0..self.world.flight.len() {
                self.arrive(0);
            }
            self.time_out();
        }
        self.world.now = self.world.now.max(end);
        self.time_out();
    }

    // ------------------------------------------------------------------ The players

    fn transmit(&mut self, player: usize) {
        self.world.transmit(player, Scope::Everything, 1, 1472);
    }

    fn introduce(&mut self) {
        self.settle(Duration::from_secs(1));
        self.connect(0, 0);
        self.connect(1, 1);
        for channel in [0, CHANNELS] {
            self.open(0, channel);
            self.open(1, channel);
        }
        self.settle(Duration::from_secs(1));
    }

    /// Bit 0 of `form`: the route as text.
    fn connect(&mut self, player: usize, form: u8) {
        let Some(route) = self.world.players[1 - player].route().cloned() else { return };
        let other = self.world.other_id(player);
        let fresh = self.world.players[player].peer_stats(other).is_none();
        let mut bytes = [0; 256];
        let connected = if form & 1 == 0 {
            let len = route.encode(&mut bytes).expect("no route is longer");
            self.world.players[player].connect_peer(other, &bytes[..len])
        } else {
            self.world.players[player].connect_peer(other, route.to_string().as_bytes())
        };
        if connected.is_ok() && fresh {
            self.oracle.begin(player);
        }
        self.listen(player);
    }

    fn update(&mut self, player: usize) {
        let Some(route) = self.world.players[1 - player].route().cloned() else { return };
        let other = self.world.other_id(player);
        let _ = self.world.players[player].update_peer(other, route.to_string().as_bytes());
        self.transmit(player);
    }

    fn disconnect(&mut self, player: usize) {
        let other = self.world.other_id(player);
        let _ = self.world.players[player].disconnect_peer(other);
        self.oracle.end(player);
    }

    fn restart(&mut self, player: usize) {
        self.world.restart_player(player);
        self.oracle.end(player);
        self.restarted = true;
    }

    /// The other player passes on an invite, and this one takes it.
    fn invite(&mut self, player: usize) {
        let Some(route) = self.world.players[1 - player].route().cloned() else { return };
        let secret = InviteSecret([0x77; 16]);
        self.world.players[1 - player].set_accept_requests(Some(secret.clone()));
        self.welcoming[1 - player] = true;
        let entries = self.world.relays.each_ref().map(|relay| relay.entry.clone());
        let invite = Invite::new(&entries, secret, route).expect("a good invite");
        let other = self.world.other_id(player);
        let fresh = self.world.players[player].peer_stats(other).is_none();
        let accepted = self.world.players[player].accept_invite(&invite);
        if accepted.is_ok() && fresh {
            self.oracle.begin(player);
        }
    }

    /// Channel and kind in one byte.
    fn open(&mut self, player: usize, which: u8) {
        let channel = which % CHANNELS;
        let reliability = match which / CHANNELS % 4 {
            1 => Reliability::Reliable,
            3 => Reliability::ReliableUnordered,
            _ => Reliability::Unreliable,
        };
        let other = self.world.other_id(player);
        let endpoint = &mut self.world.players[player];
        let is_there = endpoint.peer_stats(other).is_some();
        if endpoint.open_channel(other, ChannelId(channel), reliability).is_ok() && is_there {
            self.oracle.open(player, channel, reliability);
        }
        self.listen(player);
    }

    fn close(&mut self, player: usize, channel: u8) {
        let other = self.world.other_id(player);
        let endpoint = &mut self.world.players[player];
        let is_there = endpoint.peer_stats(other).is_some();
        if endpoint.close_channel(other, ChannelId(channel)).is_ok() && is_there {
            self.oracle.close(player, channel);
        }
    }

    fn send(&mut self, player: usize, channel: u8, size: u8) {
        let len = match size {
            0..=127 => usize::from(size),
            128..=250 => usize::from(size - 128) * 25,
            _ => MESSAGE_MAX + 1 - usize::from(size - 251),
        };
        self.send_len(player, channel % CHANNELS, len);
    }

    fn send_len(&mut self, player: usize, channel: u8, len: usize) -> bool {
        let other = self.world.other_id(player);
        let message = self.oracle.message(player, channel, len);
        let endpoint = &mut self.world.players[player];
        let is_there = endpoint.peer_stats(other).is_some();
        let sent = endpoint.send_message(other, ChannelId(channel), &message);
        match sent {
            Ok(()) if is_there => self.oracle.sent(player, channel, &message),
            Err(SendError::TooLarge { max }) => assert!(len > max),
            Err(SendError::Full { room }) => assert!(len > room || room == 0),
            _ => {}
        }
        sent.is_ok() && is_there
    }

    fn wake(&mut self, player: usize) {
        self.asleep[player] = false;
        self.oracle.reset();
        self.listen(player);
    }

    /// A player who is awake takes all events.
    fn listen(&mut self, player: usize) {
        if self.asleep[player] {
            return;
        }
        let mut wants = false;
        for _ in 0..EVENTS_MAX {
            let Some(event) = self.world.players[player].poll_event() else {
                if wants {
                    self.connect(player, 0);
                }
                return;
            };
            wants |= matches!(event, Event::PeerRequest { .. }) && self.welcoming[player];
            let replaced = RelayLostReason::SessionReplaced;
            if matches!(event, Event::RelayLost { reason, .. } if reason == replaced) {
                assert!(self.restarted, "one program has each key");
            }
            hear(&mut self.oracle, player, &event, !self.asleep[1 - player]);
        }
        panic!("events for ever");
    }

    // ------------------------------------------------------------------ Afterwards

    /// Everybody works again; then what is connected must carry.
    fn converge(&mut self) {
        for relay in &mut self.world.relays {
            relay.restart(self.world.now);
        }
        for player in 0..2 {
            self.wake(player);
            self.world.players[player].flush();
            self.world.players[player].network_changed();
        }
        self.settle(TIMEOUT * 4);
        let connected = [0, 1].map(|player| {
            let other = self.world.other_id(player);
            let stats = self.world.players[player].peer_stats(other);
            assert!(stats.is_none_or(|stats| stats.connected), "all attempts have ended");
            stats.is_some()
        });
        assert_eq!(connected[0], connected[1], "both know whether they are connected");
        if !connected[0] {
            return;
        }
        for channel in 0..CHANNELS {
            let open = [0, 1].map(|player| self.oracle.is_open(player, channel));
            if open[0] != open[1] || !open[0].is_some_and(Reliability::is_reliable) {
                continue;
            }
            for player in 0..2 {
                self.oracle.check_complete(player, channel);
                let before = self.oracle.heard(1 - player, channel);
                assert!(self.send_len(player, channel, LABEL), "everything sent has arrived");
                self.world.players[player].flush();
                self.settle(Duration::from_secs(5));
                assert!(
                    self.oracle.heard(1 - player, channel) > before,
                    "channel {channel} carries"
                );
            }
        }
    }

    /// When all is over, as much is free as at the start.
    fn leave_nothing(&mut self) {
        for player in 0..2 {
            self.disconnect(player);
        }
        self.settle(TIMEOUT * 4);
        for player in 0..2 {
            assert_eq!(self.world.players[player].pool_usage(), NOTHING);
            if self.world.players[player].home().is_none() {
                // It was shut down.
                let home = self.world.relays[player].id;
                self.world.players[player].set_home(home).expect("it is in the directory");
            }
        }
        self.settle(Duration::from_secs(10));
        for player in 0..2 {
            let endpoint = &self.world.players[player];
            let bound = endpoint.relays().any(|r| r.home && r.state == RelayState::Bound);
            assert!(bound || self.restarted, "home is bound again");
            if !bound {
                return;
            }
        }
        let expected = BASELINE.with(|baseline| *baseline);
        assert_eq!(self.capacity(), expected, "channels and bytes that fit, of each player");
    }

    /// Connects the players and counts how many channels and messages there is room for.
    fn capacity(&mut self) -> [(usize, usize); 2] {
        self.connect(0, 0);
        self.connect(1, 0);
        self.settle(Duration::from_secs(2));
        for player in 0..2 {
            let other = self.world.other_id(player);
            let stats = self.world.players[player].peer_stats(other);
            assert!(stats.is_some_and(|stats| stats.connected), "they connect again");
        }
        let counts = [0, 1].map(|player| {
            let other = self.world.other_id(player);
            let endpoint = &mut self.world.players[player];
            let opens = |n: &u8| {
                endpoint.open_channel(other, ChannelId(100 + n), Reliability::Reliable).is_ok()
            };
            let opened = (0..20).filter(opens).count();
            let message = [1; 500];
            let sends = |_: &usize| endpoint.send_message(other, ChannelId(100), &message).is_ok();
            (opened, (0..100).filter(sends).count())
        });
        for player in 0..2 {
            self.disconnect(player);
        }
        counts
    }
}

/// Tells the oracle. `certain`: the other player has told all its events.
fn hear(oracle: &mut Oracle, player: usize, event: &Event<'_>, certain: bool) {
    if let Event::Message { channel, payload, .. } = event {
        let mut message = vec![0; payload.len()];
        assert_eq!(payload.copy_to(&mut message), message.len());
        assert_eq!(payload.chunks().map(<[u8]>::len).sum::<usize>(), message.len());
        oracle.received(player, channel.0, &message, certain);
    } else if let Event::ChannelClosed { channel, .. } = event {
        oracle.close(player, channel.0);
    } else if let Event::PeerDisconnected { reason, .. } = *event {
        assert_ne!(reason, DisconnectReason::ProtocolError, "nobody breaks the rules");
        assert_ne!(reason, DisconnectReason::TooManyForgeries);
        if reason == DisconnectReason::Restarted {
            oracle.reset();
        } else {
            oracle.end(player);
        }
    }
}

thread_local! {
    /// What [`Play::capacity`] says of players who have done nothing yet.
    static BASELINE: [(usize, usize); 2] = {
        let mut play = Play::new();
        play.settle(Duration::from_secs(1));
        play.capacity()
    };
}

const NOTHING: PoolUsage = PoolUsage { send_blocks: 0, receive_blocks: 0, nodes: 0, slots: 0 };
const CHANNELS: u8 = 4;
const OPERATIONS_MAX: usize = 300;
const EVENTS_MAX: usize = 2000;
const SPINS_MAX: u32 = 50;
const WAITS: [Duration; 10] = [
    Duration::from_micros(300),
    Duration::from_millis(1),
    Duration::from_millis(5),
    Duration::from_millis(25),
    Duration::from_millis(120),
    Duration::from_millis(600),
    Duration::from_secs(2),
    Duration::from_secs(6),
    Duration::from_secs(16),
    Duration::from_secs(31),
];
