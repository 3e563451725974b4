//! Waylane's side, a relay included.

use core::net::SocketAddr;
use core::time::Duration;
use std::time::Instant;

use waylane::{Config, Event, NetworkManager, Reliability, SendError};
use waylane_benches::{Memory, memory};
use waylane_core::crypto::Secret;
use waylane_core::directory::RelayEntry;
use waylane_core::limits::Limits;
use waylane_core::relay::{Control, REPLY_MAX, RelayConfig, Verdict};
use waylane_crypto::ring::Ring;

use super::link::Link;
use super::{BURST, LARGE, LENGTH, Pair, SMALL, thread_time};
use crate::peer::Channel;

/// The first end is connected with all others.
pub(super) struct Waylane {
    ends: Vec<NetworkManager>,
    ids: Vec<u64>,
    relay: Relay,
    heard: [u64; 2],
    opened: usize,
}

impl Waylane {
    pub(super) fn connected() -> Self {
        Self::hosting(1)
    }

    pub(super) fn hosting(players: usize) -> Self {
        let relay = Relay::new();
        let address = relay.link.address();
        let entry =
            RelayEntry::new(*relay.control.public_key(), &[address], "").expect("an address");
        let limits = |peers| match players {
            1 => Limits::DEFAULT,
            _ => Limits::for_peers(peers),
        };
        let end = |limits| {
            let directory = vec![entry.clone()];
            NetworkManager::new(Config { directory, limits, ..Config::default() }).expect("sockets")
        };
        let host = end(limits(players as u16));
        let players = (0..players).map(|_| end(limits(1)));
        let ends: Vec<_> = core::iter::once(host).chain(players).collect();
        let ids = ends.iter().map(NetworkManager::peer_id).collect();
        let mut pair = Self { ends, ids, relay, heard: [0; 2], opened: 0 };
        pair.until(|pair| pair.ends.iter().all(|end| end.route().is_some()));
        for player in 1..pair.ends.len() {
            for (from, to) in [(0, player), (player, 0)] {
                let (id, route) = (pair.ids[to], pair.ends[to].route().expect("bound"));
                let end = &mut pair.ends[from];
                end.connect_peer(id, route).expect("a good route");
                end.open_channel(id, 0, Reliability::Unreliable).expect("room");
                end.open_channel(id, 1, Reliability::Reliable).expect("room");
            }
        }
        pair.until(|pair| pair.opened == 4 * (pair.ends.len() - 1));
        pair
    }

    fn until(&mut self, done: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !done(self) {
            assert!(start.elapsed() < Duration::from_secs(10), "they do not meet");
            self.take();
            self.between();
            self.ends[0].wait(Duration::from_millis(1));
        }
    }

    /// A round of the host's: messages it has sent and heard, and what it took.
    pub(super) fn host(&mut self) -> (u64, Duration) {
        let (mut messages, mut took) = (0, Duration::ZERO);
        let start = Instant::now();
        while start.elapsed() < LENGTH {
            let before = self.heard[0];
            let (host, players) = self.ends.split_first_mut().expect("there is a host");
            for player in players {
                player.send_message(self.ids[0], 0, &SMALL).expect("room");
                player.flush();
            }
            self.relay.turn();
            let began = thread_time();
            listen(host, &mut self.heard, &mut self.opened);
            for id in &self.ids[1..] {
                host.send_message(*id, 0, &SMALL).expect("room");
            }
            host.flush();
            took += thread_time() - began;
            self.relay.turn();
            for player in &mut self.ends[1..] {
                listen(player, &mut self.heard, &mut self.opened);
            }
            messages += self.heard[0] - before;
        }
        (messages, took)
    }

    fn say(&mut self, channel: u8, message: &[u8]) -> bool {
        match self.ends[0].send_message(self.ids[1], channel, message) {
            Ok(()) => true,
            Err(SendError::Full { .. }) => false,
            Err(error) => panic!("{error}"),
        }
    }
}

impl Pair for Waylane {
    fn send(&mut self, channel: Channel) -> u64 {
        let mut sent = 0;
        if channel == Channel::Unreliable {
            while sent < BURST && self.say(0, &SMALL) {
                self.ends[0].flush();
                sent += 1;
            }
        } else {
            while self.say(1, &LARGE) {
                sent += 1;
            }
            self.ends[0].flush();
        }
        sent
    }

    fn between(&mut self) {
        self.relay.turn();
    }

    fn take(&mut self) {
        let Self { ends, heard, opened, .. } = self;
        for end in ends.iter_mut().rev() {
            listen(end, heard, opened);
            end.flush();
        }
    }

    fn heard(&self) -> [u64; 2] {
        self.heard
    }
}

fn listen(end: &mut NetworkManager, heard: &mut [u64; 2], opened: &mut usize) {
    end.run_callbacks(|_, event| {
        if let Event::Message { data, .. } = &event {
            core::hint::black_box(data);
            heard[0] += 1;
            heard[1] += data.len() as u64;
        } else if let Event::ChannelOpened { .. } = event {
            *opened += 1;
        }
    });
}

/// A relay as small as can be, which leaves runs of datagrams together as they come.
struct Relay {
    link: Link,
    control: Control<Ring, Memory>,
    start: Instant,
    /// Where each datagram of a run goes, if anywhere, and its length.
    ways: Vec<(Option<SocketAddr>, usize)>,
}

impl Relay {
    fn new() -> Self {
        let mut config = RelayConfig::default();
        config.budget.packets_per_second = 10_000_000;
        config.budget.bytes_per_second = 4_000_000_000;
        (config.source, config.destination) = (config.budget, config.budget);
        let now = waylane_core::time::Instant::ZERO;
        let control = Control::new(now, &config, Secret([9; 32]), Ring::new(), memory(&config));
        let control = control.expect("a good configuration");
        Self { link: Link::new(), control, start: Instant::now(), ways: Vec::new() }
    }

    /// Forwards all that waits in the socket.
    fn turn(&mut self) {
        let Self { link, control, start, ways } = self;
        let now = waylane_core::time::Instant::ZERO + start.elapsed();
        link.receive(|socket, from, run, size| {
            ways.clear();
            for datagram in run.chunks_mut(size) {
                let to = match control.forwarder().forward(now, from, datagram) {
                    Verdict::Forward { to } => Some(to),
                    Verdict::Control | Verdict::Unbound => {
                        let mut out = [0; REPLY_MAX];
                        if let Some(reply) = control.handle(now, from, datagram, &mut out) {
                            socket.send(reply.to, &out[..reply.len], None);
                        }
                        None
                    }
                    Verdict::Drop(why) => panic!("the relay drops: {why:?}"),
                };
                ways.push((to, datagram.len()));
            }
            let mut rest = &run[..];
            for together in ways.chunk_by(|one, other| one.0 == other.0) {
                let len = together.iter().map(|(_, len)| len).sum();
                let (bytes, behind) = rest.split_at(len);
                if let Some(to) = together[0].0 {
                    socket.send(to, bytes, (together.len() > 1).then_some(size));
                }
                rest = behind;
            }
        });
        control.handle_timeout(now);
    }
}
