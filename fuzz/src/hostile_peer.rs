//! A peer that the application has connected to, with good keys, sends whatever frames the script
//! says. Whatever it does: nobody panics, the connection with another peer is not harmed, and
//! nothing stays in the pools.

use core::time::Duration;

use waylane_core::channel::{PoolUsage, Scope};
use waylane_core::id::{ChannelId, Incarnation, PacketNumber, RelayId, Reliability, SessionId};
use waylane_core::time::Instant;
use waylane_core::wire::Writer;
use waylane_core::wire::frame::{
    AckDelay, ChannelOpen, DisconnectReason, Fragment, Frame, PathIntent, RangeOrder,
    ReliableRange, UnreliableMessage, emit_ack,
};
use waylane_core::wire::number::Truncated;

use crate::mallory::Mallory;
use crate::script::Script;
use crate::world::{Arrival, Flight, MESSAGE_MAX, TIMEOUT, World};

/// Plays the script.
///
/// # Panics
/// If the peer could do any harm.
pub fn run(data: &[u8]) {
    let mut script = Script::new(data);
    let mut play = Play::new();
    if script.byte() & 1 == 0 {
        play.meet();
    }
    for _ in 0..OPERATIONS_MAX {
        let Some(operation) = script.take() else { break };
        play.operate(operation, &mut script);
    }
    play.finish();
}

struct Play {
    world: World,
    mallory: Mallory,
    /// The victim's first message that was heard last.
    asked: Option<Vec<u8>>,
    /// For how long nothing has arrived.
    silence: Duration,
    /// Bytes of messages that the honest player has heard from the victim, and the other way.
    heard: [usize; 2],
}

impl Play {
    /// Player 0 is the victim; player 1 is its honest friend. Both are connected.
    fn new() -> Self {
        let world = World::new();
        let victim = world.players[VICTIM].public_key();
        let mallory = Mallory::new(victim, SessionId::NONE);
        let mut play = Self { world, mallory, asked: None, silence: Duration::ZERO, heard: [0; 2] };
        play.settle(Duration::from_secs(1));
        let session = play.world.players[VICTIM].route().expect("bound").relays()[0].session;
        play.mallory = Mallory::new(victim, session);
        play.befriend();
        play
    }

    fn befriend(&mut self) {
        let routes = [0, 1].map(|n| self.world.players[n].route().expect("bound").to_string());
        for player in 0..2 {
            let other = self.world.other_id(player);
            let route = routes[1 - player].as_bytes();
            let endpoint = &mut self.world.players[player];
            endpoint.connect_peer(other, route).expect("a good route");
            endpoint.open_channel(other, FRIENDS, Reliability::Reliable).expect("room");
        }
        self.settle(Duration::from_secs(1));
        let friend = self.world.other_id(VICTIM);
        let stats = self.world.players[VICTIM].peer_stats(friend);
        assert!(stats.is_some_and(|stats| stats.connected), "friends connect");
    }

    /// The victim's application connects, and the handshake goes well.
    fn meet(&mut self) {
        self.connect(0);
        self.answer(1, b"");
        self.settle(Duration::from_millis(100));
        let packet = self.mallory.packet(&[PING], 0, false);
        self.say(0, packet);
    }

    fn operate(&mut self, operation: u8, script: &mut Script<'_>) {
        let relay = usize::from(operation >> 7);
        let other = self.mallory.id();
        let channel = ChannelId(operation & 3);
        match operation & 0x7f {
            0..=1 => self.connect(script.byte()),
            2..=4 => self.answer(script.byte(), script.bytes()),
            5..=6 => {
                let (instance, idle) = (script.byte(), u64::from(script.byte()) << 6);
                let datagram = self.mallory.initiation(instance, idle, script.bytes());
                self.say(relay, Some(datagram));
            }
            7 => {
                let _ = self.world.players[VICTIM].disconnect_peer(other);
            }
            8..=15 => {
                let reliable = operation & 4 != 0;
                let kind = match (reliable, relay) {
                    (true, 0) => Reliability::Reliable,
                    (true, _) => Reliability::ReliableUnordered,
                    (false, 0) => Reliability::Unreliable,
                    (false, _) => Reliability::UnreliableSequenced,
                };
                let _ = self.world.players[VICTIM].open_channel(other, channel, kind);
            }
            16..=19 => drop(self.world.players[VICTIM].close_channel(other, channel)),
            20..=31 => {
                let message = vec![5; usize::from(script.byte()) * 12];
                let endpoint = &mut self.world.players[VICTIM];
                let _ = endpoint.send_message(other, channel, &message);
                endpoint.flush();
                self.turn();
            }
            32..=39 => {
                let packet = self.mallory.packet(script.bytes(), 0, false);
                self.say(relay, packet);
            }
            40 => {
                let skip = 1 << (script.byte() & 31);
                let packet = self.mallory.packet(&[PING], skip, false);
                self.say(relay, packet);
            }
            41 => {
                self.mallory.next = self.mallory.next.saturating_sub(u64::from(script.byte()));
            }
            42..=43 => {
                let packet = self.mallory.packet(&[PING], 0, true);
                self.say(relay, packet);
            }
            44..=51 => self.wait(script.choose(&WAITS)),
            52..=55 => self.settle(script.choose(&WAITS)),
            56..=57 => {
                let set: &[usize] = script.choose(&[&[0][..], &[1], &[0, 1], &[1, 0]]);
                let route = self.mallory.route(set.iter().map(|n| &self.world.relays[*n]));
                let _ = self.world.players[VICTIM].update_peer(other, &route);
            }
            58 => {
                let home = self.world.relays[script.below(2)].id;
                self.world.players[VICTIM].set_home(home).expect("it is in the directory");
            }
            _ => self.frames(relay, script),
        }
    }

    fn connect(&mut self, which: u8) {
        let relays = &self.world.relays[..1 + usize::from(which & 1)];
        let route = self.mallory.route(relays);
        let other = self.mallory.id();
        // There may be no room while the last connection takes leave.
        let _ = self.world.players[VICTIM].connect_peer(other, &route);
        self.turn();
    }

    fn answer(&mut self, instance: u8, more: &[u8]) {
        let Some(asked) = self.asked.take() else { return };
        let answer = self.mallory.answer(&asked, instance, more);
        self.say(0, answer);
    }

    /// Well-formed frames with values near what the victim expects.
    fn frames(&mut self, relay: usize, script: &mut Script<'_>) {
        let mut out = [0; 1300];
        let mut writer = Writer::new(&mut out);
        for _ in 0..=script.byte() & 3 {
            self.frame(script, &mut writer);
        }
        let packet = self.mallory.packet(writer.written(), 0, false);
        if !writer.written().is_empty() {
            self.say(relay, packet);
        }
    }

    fn frame(&mut self, script: &mut Script<'_>, writer: &mut Writer<'_>) {
        let kind = script.byte();
        let channel = ChannelId(kind >> 4 & 3);
        let incarnation = Incarnation(kind >> 6);
        let incarnation_low = incarnation.0;
        let text = vec![9; 1200];
        let written = match kind & 15 {
            0..=1 => {
                let reliable = script.byte();
                let (reliability, credit) = match reliable & 3 {
                    0 => (Reliability::Unreliable, 0),
                    1 => (Reliability::Reliable, size(reliable >> 1)),
                    2 => (Reliability::UnreliableSequenced, 0),
                    _ => (Reliability::ReliableUnordered, size(reliable >> 1)),
                };
                let open = ChannelOpen { channel, reliability, incarnation, credit };
                Frame::ChannelOpen(open).emit(writer)
            }
            2 => Frame::ChannelClose { channel, incarnation }.emit(writer),
            3 => Frame::Credit { channel, incarnation, limit: size(script.byte()) }.emit(writer),
            4..=5 => {
                let high = (self.mallory.largest + 2).saturating_sub(u64::from(script.byte() & 7));
                let mut ranges = vec![];
                let mut top = Some(high);
                for _ in 0..=script.byte() & 3 {
                    let Some(high) = top else { break };
                    let low = high.saturating_sub(u64::from(script.byte() & 31));
                    ranges.push((PacketNumber(low), PacketNumber(high)));
                    top = low.checked_sub(2 + u64::from(script.byte() & 7));
                }
                let delay = |byte: u8| AckDelay::from_duration(Duration::from_micros(size(byte)));
                let (all, host) = (delay(script.byte()), delay(script.byte()));
                emit_ack(writer, all, host, ranges).map(drop)
            }
            6 => {
                let session = SessionId::new(u32::from(script.byte()), Mallory::SESSION.tag());
                let relay = self.relay(script.byte());
                let intent = match kind & 96 {
                    32 => PathIntent::Move,
                    64 => PathIntent::Moved,
                    _ => PathIntent::Probe,
                };
                Frame::PathChallenge { relay, session, nonce: [kind; 8], intent }.emit(writer)
            }
            7 => match self.mallory.challenges.pop() {
                Some((relay, nonce)) => {
                    let delay = AckDelay::from_duration(Duration::from_micros(size(kind)));
                    Frame::PathResponse { relay: RelayId(relay), nonce, delay }.emit(writer)
                }
                None => Frame::Ping.emit(writer),
            },
            8 => {
                let set: &[usize] = script.choose(&[&[0][..], &[1], &[0, 1], &[]]);
                let route = self.mallory.route(set.iter().map(|n| &self.world.relays[*n]));
                Frame::RouteUpdate { route: &route }.emit(writer)
            }
            9 if script.byte() > 200 => {
                Frame::Disconnect(DisconnectReason::Application).emit(writer)
            }
            9..=10 => {
                let data = &text[..script.below(1200)];
                let number = script.byte();
                let sequence = (number & 1 == 1).then_some(u16::from(number >> 1));
                UnreliableMessage { channel, incarnation_low, sequence, fragment: None, data }
                    .emit(writer, false)
            }
            11..=12 => {
                let data = &text[..1 + script.below(1100)];
                let offset = size(script.byte());
                let total = (offset + data.len() as u64 + size(script.byte())).min(1 << 20);
                let numbers = script.byte();
                let number = u16::from(numbers & 7);
                let sequence = (numbers & 8 != 0).then_some(number);
                let fragment = Some(Fragment { number, total, offset });
                UnreliableMessage { channel, incarnation_low, sequence, fragment, data }
                    .emit(writer, false)
            }
            form => {
                // A stream of messages of nine bytes each, if it begins at one.
                let order = match form {
                    13 => RangeOrder::Ordered,
                    14 => RangeOrder::AtMessage,
                    _ => RangeOrder::WithinMessage,
                };
                let offset = Truncated::new(size(script.byte()), 4);
                let data = &text[..1 + script.below(1100)];
                ReliableRange { channel, incarnation_low, order, offset, data }.emit(writer, false)
            }
        };
        // What does not fit is left out.
        let _ = written;
    }

    fn relay(&self, which: u8) -> RelayId {
        if which < 240 { self.world.relays[usize::from(which & 1)].id } else { RelayId(1) }
    }

    // ------------------------------------------------------------------ The network

    /// As if a relay had forwarded it.
    fn say(&mut self, relay: usize, datagram: Option<Vec<u8>>) {
        let Some(bytes) = datagram else { return };
        let (from, to) = (self.world.relays[relay].address, self.world.address(VICTIM));
        self.world.arrive(Flight { from, to, bytes });
        self.turn();
    }

    fn wait(&mut self, duration: Duration) {
        self.world.now += duration;
        self.silence += duration;
        if self.silence > TIMEOUT / 6 {
            // The friends must not lose each other for lack of a network.
            self.settle(TIMEOUT / 3);
        }
        self.turn();
    }

    /// Deadlines, events and what leaves because of them.
    fn turn(&mut self) {
        self.world.relays_time_out();
        for player in 0..2 {
            self.world.players[player].handle_timeout(self.world.now);
            self.listen(player);
            self.world.transmit(player, Scope::Everything, 1, 1472);
        }
    }

    fn listen(&mut self, player: usize) {
        use waylane_core::endpoint::Event;
        let friend = self.world.other_id(player);
        for _ in 0..EVENTS_MAX {
            let Some(event) = self.world.players[player].poll_event() else { return };
            if let Event::Message { peer, channel, payload } = event {
                let mut message = vec![0; payload.len()];
                assert_eq!(payload.copy_to(&mut message), message.len());
                assert!(message.len() <= MESSAGE_MAX, "no larger than was said");
                if peer == friend {
                    assert_eq!(channel, FRIENDS);
                    assert!(message.iter().all(|byte| *byte == 0xf1), "a friend's message");
                    self.heard[player] += message.len();
                }
            } else if let Event::PeerDisconnected { peer, reason } = event {
                assert_ne!(peer, friend, "friends stay: {reason}");
            }
        }
        panic!("events for ever");
    }

    fn settle(&mut self, duration: Duration) {
        self.silence = Duration::ZERO;
        let end = self.world.now + duration;
        let mut last = (Instant::ZERO, 0);
        self.turn();
        while self.world.now < end {
            self.world.now = if self.world.flight.is_empty() {
                let next = self.world.next_deadline().unwrap_or(end).min(end);
                self.world.now.max(next)
            } else {
                self.world.now + Duration::from_millis(1)
            };
            last =
                if last.0 == self.world.now { (last.0, last.1 + 1) } else { (self.world.now, 0) };
            assert!(last.1 < SPINS_MAX, "something is due for ever");
            self.arrivals();
            self.turn();
        }
    }

    fn arrivals(&mut self) {
        for _ in 0..self.world.flight.len() {
            let Some(flight) = self.world.flight.pop_front() else { return };
            let is_mallorys = flight.bytes.first().is_some_and(|kind| *kind >= 0x40)
                && flight.bytes.get(4..8) == Some(&Mallory::SESSION.to_bytes()[3..]);
            if is_mallorys {
                let heard = self.mallory.hear(&flight.bytes, flight.to, &self.world.relays);
                self.asked = heard.or(self.asked.take());
            } else if let Arrival::Player(player) = self.world.arrive(flight) {
                self.listen(player);
            }
        }
    }

    // ------------------------------------------------------------------ Afterwards

    /// The friends talk, while the peer is there and after it is gone; then nothing of it is left.
    fn finish(&mut self) {
        self.talk();
        let _ = self.world.players[VICTIM].disconnect_peer(self.mallory.id());
        self.settle(TIMEOUT);
        self.talk();
        let expected = BASELINE.with(|baseline| *baseline);
        assert_eq!(self.capacity(), expected, "channels and messages there is room for");
    }

    /// The largest message, each way.
    fn talk(&mut self) {
        let before = self.heard;
        for player in 0..2 {
            let other = self.world.other_id(player);
            let endpoint = &mut self.world.players[player];
            let sent = endpoint.send_message(other, FRIENDS, &[0xf1; MESSAGE_MAX]);
            assert_eq!(sent, Ok(()), "there is always room for one largest message");
            endpoint.flush();
        }
        self.settle(Duration::from_secs(3));
        assert_eq!(self.heard, before.map(|bytes| bytes + MESSAGE_MAX), "friends hear each other");
    }

    /// How many more channels the victim can open with its friend, how much it can queue, and what
    /// is in use before that.
    fn capacity(&mut self) -> (usize, usize, PoolUsage) {
        let usage = self.world.players[VICTIM].pool_usage();
        let friend = self.world.other_id(VICTIM);
        let endpoint = &mut self.world.players[VICTIM];
        let opens = |n: &u8| {
            endpoint.open_channel(friend, ChannelId(100 + n), Reliability::Reliable).is_ok()
        };
        let opened = (0..20).filter(opens).count();
        let sends = |_: &usize| endpoint.send_message(friend, ChannelId(100), &[1; 500]).is_ok();
        (opened, (0..100).filter(sends).count(), usage)
    }
}

thread_local! {
    /// What [`Play::capacity`] says when there was no peer but the friend.
    static BASELINE: (usize, usize, PoolUsage) = {
        let mut play = Play::new();
        play.talk();
        play.settle(TIMEOUT);
        play.talk();
        play.capacity()
    };
}

/// Small sizes exactly, larger ones roughly.
fn size(byte: u8) -> u64 {
    if byte < 128 { u64::from(byte) * 9 } else { 1 << (byte & 63).min(61) }
}

const VICTIM: usize = 0;
const FRIENDS: ChannelId = ChannelId(50);
const PING: u8 = 1;
const OPERATIONS_MAX: usize = 200;
const EVENTS_MAX: usize = 2000;
const SPINS_MAX: u32 = 50;
const WAITS: [Duration; 8] = [
    Duration::from_millis(1),
    Duration::from_millis(10),
    Duration::from_millis(30),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(400),
    Duration::from_millis(600),
    Duration::from_millis(900),
];
