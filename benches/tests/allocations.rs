//! In the steady state nothing allocates: counted by an allocator, thread by thread, so that the
//! relay's thread and the test harness do not matter.
#![allow(clippy::unwrap_used, reason = "tests may; the lint only knows test functions")]

use core::net::{Ipv4Addr, SocketAddr};
use core::time::Duration;

use allocation_counter::{AllocationInfo, measure};
use waylane::{Config, Event, NetworkManager, Reliability, SendError};
use waylane_benches::{RELIABLE, UNRELIABLE, World};
use waylane_core::id::ChannelId;
use waylane_crypto::Seeded;
use waylane_crypto::pure::Pure;
use waylane_crypto::ring::Ring;
use waylane_relay::{Relay, RelayHandle};

#[test]
fn the_counter_counts() {
    let info = measure(|| drop(core::hint::black_box(vec![1_u8; 100])));
    assert_eq!((info.count_total, info.bytes_total), (1, 100));
}

#[test]
fn endpoints_and_a_relay_do_not_allocate() {
    let mut pure = World::connected(|seed| Pure::with_random(Seeded::new(seed)));
    let mut arrived = 0;
    let info = measure(|| {
        // Over a minute: keep-alives and probes are in it.
        for _ in 0..2000 {
            arrived += pure.exchange(UNRELIABLE, 1, 100);
            arrived += pure.exchange(RELIABLE, 12, 100);
            arrived += pure.exchange(RELIABLE, 1, 16 << 10);
            pure.rest(30);
        }
    });
    assert_eq!(arrived, 2000 * 14);
    assert_none(&info);
}

#[test]
fn endpoints_over_ring_do_not_allocate() {
    let mut ring = World::connected(|seed| Ring::with_random(Seeded::new(seed)));
    let mut arrived = 0;
    let info = measure(|| {
        for _ in 0..2000 {
            arrived += ring.exchange(UNRELIABLE, 12, 100) + ring.exchange(RELIABLE, 1, 1200);
        }
    });
    assert_eq!(arrived, 2000 * 13);
    assert_none(&info);
}

#[test]
fn managers_do_not_allocate() {
    let mut players = Players::connected();
    players.talk(50);
    let before = players.heard;
    let info = measure(|| players.talk(500));
    assert_eq!(players.heard.reliable - before.reliable, 1000);
    assert!(players.heard.unreliable - before.unreliable > 0, "{:?}", players.heard);
    assert_none(&info);
}

fn assert_none(info: &AllocationInfo) {
    assert_eq!((info.count_total, info.bytes_total), (0, 0), "{info:?}");
}

/// Two managers on this thread and a relay on another, over loopback.
struct Players {
    nets: [NetworkManager; 2],
    heard: Heard,
    relay: RelayHandle,
}

/// What both have heard.
#[derive(Clone, Copy, Default, Debug)]
struct Heard {
    unreliable: u64,
    reliable: u64,
    opened: u32,
}

impl Players {
    fn connected() -> Self {
        let mut config = waylane_relay::Config::dev();
        config.listen = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))];
        let mut relay = Relay::bind(&config).unwrap();
        let (entry, handle) = (relay.entry().clone(), relay.handle());
        std::thread::spawn(move || relay.run().unwrap());
        let nets = [(), ()].map(|()| {
            let directory = vec![entry.clone()];
            NetworkManager::new(Config { directory, ..Config::default() }).unwrap()
        });
        let mut players = Self { nets, heard: Heard::default(), relay: handle };
        players.until(|players| players.nets.iter().all(|net| net.route().is_some()));
        for (from, to) in [(0, 1), (1, 0)] {
            let (id, route) = (players.nets[to].peer_id(), players.nets[to].route().unwrap());
            let net = &mut players.nets[from];
            net.connect_peer(id, route).unwrap();
            net.open_channel(id, UNRELIABLE.0, Reliability::Unreliable).unwrap();
            net.open_channel(id, RELIABLE.0, Reliability::Reliable).unwrap();
        }
        players.until(|players| players.heard.opened == 4);
        players
    }

    /// So many frames of a game in which both say something on each channel, and as many more as
    /// the reliable messages need to arrive.
    fn talk(&mut self, frames: u64) {
        let reliable = self.heard.reliable + 2 * frames;
        for n in 0..frames {
            // Messages of one datagram and of several.
            let len = if n % 8 == 0 { 4000 } else { 100 };
            for (from, to) in [(0, 1), (1, 0)] {
                let id = self.nets[to].peer_id();
                while !self.sent(from, id, RELIABLE, &[2; 4000][..len]) {
                    self.frame();
                }
                self.sent(from, id, UNRELIABLE, &[1; 100]);
            }
            self.frame();
        }
        self.until(|players| players.heard.reliable == reliable);
    }

    /// Whether there was room for the message; a full queue is an answer.
    fn sent(&mut self, from: usize, to: u64, channel: ChannelId, message: &[u8]) -> bool {
        match self.nets[from].send_message(to, channel.0, message) {
            Ok(()) => true,
            Err(SendError::Full { .. }) => false,
            Err(why) => panic!("{why}"),
        }
    }

    fn until(&mut self, done: impl Fn(&Self) -> bool) {
        for _ in 0..FRAMES_MAX {
            if done(self) {
                return;
            }
            self.frame();
        }
        panic!("not in {FRAMES_MAX} frames: {:?}", self.heard);
    }

    fn frame(&mut self) {
        let Self { nets, heard, .. } = self;
        for net in nets {
            net.run_callbacks(|_, event| {
                if let Event::Message { channel, .. } = event {
                    let unreliable = channel == UNRELIABLE.0;
                    *(if unreliable { &mut heard.unreliable } else { &mut heard.reliable }) += 1;
                }
                if let Event::ChannelOpened { .. } = event {
                    heard.opened += 1;
                }
            });
            net.flush();
            // Leaves the processor to the relay.
            net.wait(Duration::from_millis(1));
            net.service();
        }
    }
}

impl Drop for Players {
    fn drop(&mut self) {
        self.relay.stop();
    }
}

/// Of a millisecond at most; far more than anything here needs, even on a busy machine.
const FRAMES_MAX: u32 = 60_000;
