//! Two endpoints and the relay between them, in virtual time and without a network.

use core::net::SocketAddr;
use core::time::Duration;

use waylane_core::channel::Scope;
use waylane_core::crypto::{Crypto, Secret};
use waylane_core::directory::RelayEntry;
use waylane_core::endpoint::{Config, Endpoint, Event};
use waylane_core::id::{ChannelId, PeerId, Reliability};
use waylane_core::relay::{Control, REPLY_MAX, RelayConfig, Verdict};
use waylane_core::time::Instant;

use crate::Heap;
use crate::relay::{Memory, memory};

/// Two connected players with channel 0 unreliable and channel 1 reliable.
pub struct World<C: Crypto> {
    now: Instant,
    players: [Endpoint<C, Heap>; 2],
    ids: [PeerId; 2],
    relay: Control<C, Memory>,
    heard: Heard,
    /// Where messages are copied to, as an application would.
    message: Box<[u8; MESSAGE_MAX]>,
    /// Where datagrams are written to: kept, as a runtime would, so that clearing it is not counted.
    datagram: Box<[u8]>,
}

/// What the second player has heard.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Heard {
    messages: u64,
    bytes: u64,
    opened: u32,
}

impl<C: Crypto> World<C> {
    /// Connects both; `make` gives a provider for a seed.
    ///
    /// # Panics
    /// If they do not connect.
    #[must_use]
    pub fn connected(make: fn(u64) -> C) -> Self {
        let mut world = Self::met(make);
        // Windows open and paths are found while the players talk.
        for _ in 0..200 {
            world.exchange(RELIABLE, 4, 1000);
            world.rest(10);
        }
        world
    }

    /// Makes the relay and both players, binds and connects them.
    ///
    /// # Panics
    /// If they do not connect.
    #[must_use]
    pub fn met(make: fn(u64) -> C) -> Self {
        let now = Instant::ZERO;
        let mut config = RelayConfig::default();
        config.limits.sessions = 64;
        // The benches do not mean to try it.
        config.budget.packets_per_second = 1_000_000;
        config.budget.bytes_per_second = 1_000_000_000;
        (config.source, config.destination) = (config.budget, config.budget);
        let relay = Control::new(now, &config, Secret([9; 32]), make(3), memory(&config))
            .expect("the limits are in range");
        let entry =
            RelayEntry::new(*relay.public_key(), &[RELAY], "").expect("an entry has an address");
        let players = [1, 2].map(|seed| {
            let mut player = Endpoint::new(now, &Config::default(), make(seed), &mut Heap)
                .expect("the default configuration is good");
            player.add_relay(&entry).expect("the directory has room");
            player
        });
        let ids = [players[0].peer_id(), players[1].peer_id()];
        let (heard, message) = (Heard::default(), Box::new([0; MESSAGE_MAX]));
        let datagram = vec![0; DATAGRAM_LEN].into_boxed_slice();
        let mut world = Self { now, players, ids, relay, heard, message, datagram };
        world.connect();
        world
    }

    /// `count` messages of `len` bytes from the first player to the second in one flush, and all
    /// that follows within a millisecond: datagrams, acknowledgements, events. Takes further
    /// milliseconds only if the messages need them. Returns how many arrived.
    ///
    /// # Panics
    /// If the first player's queue has no room.
    pub fn exchange(&mut self, channel: ChannelId, count: usize, len: usize) -> u64 {
        let before = self.heard.messages;
        for _ in 0..count {
            let sent = self.players[0].send_message(self.ids[1], channel, &PAYLOAD[..len]);
            sent.expect("what was sent before has arrived");
        }
        self.players[0].flush();
        self.settle();
        for _ in 0..MILLISECONDS_MAX {
            self.rest(1);
            if self.heard.messages - before >= count as u64 {
                break;
            }
        }
        self.heard.messages - before
    }

    /// Lets so many milliseconds pass, one by one: what is due is done.
    pub fn rest(&mut self, milliseconds: u32) {
        for _ in 0..milliseconds {
            self.now += Duration::from_millis(1);
            for player in &mut self.players {
                player.handle_timeout(self.now);
            }
            self.relay.handle_timeout(self.now);
            self.settle();
        }
    }

    /// Datagrams that the players have sent.
    #[must_use]
    pub fn datagrams(&self) -> u64 {
        self.players.iter().map(|player| player.counters().datagrams_out).sum()
    }

    fn connect(&mut self) {
        self.until(|world| world.players.iter().all(|player| player.route().is_some()));
        for (from, to) in [(0, 1), (1, 0)] {
            let route = self.players[to].route().expect("bound").to_string();
            let id = self.ids[to];
            let player = &mut self.players[from];
            player.connect_peer(id, route.as_bytes()).expect("a good route");
            player.open_channel(id, UNRELIABLE, Reliability::Unreliable).expect("room");
            player.open_channel(id, RELIABLE, Reliability::Reliable).expect("room");
        }
        self.until(|world| world.heard.opened == 4);
    }

    fn until(&mut self, done: impl Fn(&Self) -> bool) {
        for _ in 0..10_000 {
            if done(self) {
                return;
            }
            self.rest(1);
        }
        panic!("the players do not meet: {:?}", self.heard);
    }

    /// Moves datagrams and takes events until there are none.
    fn settle(&mut self) {
        let mut bytes = core::mem::take(&mut self.datagram);
        while self.carry(&mut bytes) {}
        self.datagram = bytes;
    }

    fn carry(&mut self, bytes: &mut [u8]) -> bool {
        let mut any = false;
        for (index, from) in PLAYERS.iter().enumerate() {
            while let Some(transmit) =
                self.players[index].poll_transmit(self.now, Scope::Everything, 1, bytes)
            {
                any = true;
                self.at_relay(*from, &mut bytes[..transmit.len]);
            }
        }
        let out = bytes.first_chunk_mut::<REPLY_MAX>().expect("a reply is shorter");
        while let Some(reply) = self.relay.poll_transmit(self.now, out) {
            any = true;
            self.at_player(reply.to, &mut out[..reply.len]);
        }
        for player in &mut self.players {
            while let Some(event) = player.poll_event() {
                any = true;
                self.heard.note(&event, &mut self.message);
            }
        }
        any
    }

    fn at_relay(&mut self, from: SocketAddr, bytes: &mut [u8]) {
        match self.relay.forwarder().forward(self.now, from, bytes) {
            Verdict::Forward { to } => self.at_player(to, bytes),
            Verdict::Control | Verdict::Unbound => self.ask_relay(from, bytes),
            Verdict::Drop(why) => panic!("the relay drops: {why:?}"),
        }
    }

    /// Apart, as the cases that are measured never come here.
    #[inline(never)]
    fn ask_relay(&mut self, from: SocketAddr, bytes: &mut [u8]) {
        let mut out = [0; REPLY_MAX];
        if let Some(reply) = self.relay.handle(self.now, from, bytes, &mut out) {
            self.at_player(reply.to, &mut out[..reply.len]);
        }
    }

    fn at_player(&mut self, to: SocketAddr, bytes: &mut [u8]) {
        let index = usize::from(to == PLAYERS[1]);
        let taken = self.players[index].handle_datagram(self.now, RELAY, bytes);
        assert!(taken.is_ok() || self.heard.opened < 4, "a player refuses: {taken:?}");
    }
}

impl Heard {
    fn note(&mut self, event: &Event<'_>, message: &mut [u8; MESSAGE_MAX]) {
        if let Event::Message { payload, .. } = event {
            self.messages += 1;
            self.bytes += payload.copy_to(message) as u64;
            core::hint::black_box(message);
        }
        if let Event::ChannelOpened { .. } = event {
            self.opened += 1;
        }
    }
}

/// Channel 0.
pub const UNRELIABLE: ChannelId = ChannelId(0);
/// Channel 1.
pub const RELIABLE: ChannelId = ChannelId(1);

const _: () = assert!(REPLY_MAX <= DATAGRAM_LEN);

/// Far more than the link needs, which has no delay.
const MILLISECONDS_MAX: u32 = 100;
const MESSAGE_MAX: usize = 1 << 14;
const PAYLOAD: [u8; MESSAGE_MAX] = [7; MESSAGE_MAX];
const DATAGRAM_LEN: usize = 1472;
const RELAY: SocketAddr = address(1);
static PLAYERS: [SocketAddr; 2] = [address(2), address(3)];

/// An address of the network kept for documentation (RFC 5737).
const fn address(host: u8) -> SocketAddr {
    use core::net::{IpAddr, Ipv4Addr};
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, host)), 27_960)
}
