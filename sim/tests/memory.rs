//! After their start, endpoints and relays allocate nothing. A program of its own, for its
//! counting allocator.
// Helpers here are parts of tests too; the lint knows only functions marked as such.
#![allow(clippy::unwrap_used)]

use core::net::SocketAddr;

use waylane_core::channel::Scope;
use waylane_core::crypto::Secret;
use waylane_core::directory::RelayEntry;
use waylane_core::endpoint::{Config, Event};
use waylane_core::id::{ChannelId, Reliability};
use waylane_core::memory::Lender;
use waylane_core::relay::{
    Control, HotEntry, IndexBucket, Pending, REPLY_MAX, RelayConfig, RelayLimits, RelayMemory,
    Session, Verdict,
};
use waylane_core::time::Instant;
use waylane_crypto::Seeded;
use waylane_crypto::ring::Ring;

struct Heap;

impl Lender for Heap {
    type Slice<T> = Box<[T]>;

    fn lend<T>(&mut self, len: usize, make: fn() -> T) -> Box<[T]> {
        (0..len).map(|_| make()).collect()
    }
}

type Endpoint = waylane_core::endpoint::Endpoint<Ring<Seeded>, Heap>;
type Memory = RelayMemory<Box<[HotEntry]>, Box<[IndexBucket]>, Box<[Session]>, Box<[Pending]>>;

/// Two endpoints and a relay with nothing between them but a buffer on the stack.
struct Table {
    now: Instant,
    endpoints: [Endpoint; 2],
    relay: Control<Ring<Seeded>, Memory>,
    relay_at: SocketAddr,
    addresses: [SocketAddr; 2],
    received: [u64; 2],
    sent: u64,
}

impl Table {
    fn new() -> Self {
        let now = Instant::from_millis(1000);
        let limits = RelayLimits { sessions: 64, pending: 16 };
        let memory = RelayMemory {
            hot: (0..limits.hot_entries()).map(|_| HotEntry::new()).collect(),
            index: (0..limits.index_buckets()).map(|_| IndexBucket::new()).collect(),
            sessions: (0..64).map(|_| Session::new()).collect(),
            pending: (0..16).map(|_| Pending::new()).collect(),
        };
        let config = RelayConfig { limits, ..RelayConfig::default() };
        let crypto = |seed| Ring::with_random(Seeded::new(seed));
        let relay = Control::new(now, &config, Secret([3; 32]), crypto(3), memory).unwrap();
        let relay_at = "198.19.0.1:4433".parse().unwrap();
        let entry = RelayEntry::new(*relay.public_key(), &[relay_at], "").unwrap();
        let endpoints = [1, 2].map(|seed| {
            let mut endpoint =
                Endpoint::new(now, &Config::default(), crypto(seed), &mut Heap).unwrap();
            endpoint.add_relay(&entry).unwrap();
            endpoint
        });
        let addresses = ["198.18.0.1:1000", "198.18.0.2:1000"].map(|text| text.parse().unwrap());
        Self { now, endpoints, relay, relay_at, addresses, received: [0; 2], sent: 0 }
    }

    /// Two milliseconds; every `loss`-th datagram is lost.
    fn tick(&mut self, loss: u64) {
        self.now += core::time::Duration::from_millis(2);
        let mut out = [0; 1472];
        for n in 0..2 {
            self.endpoints[n].handle_timeout(self.now);
            while let Some(transmit) =
                self.endpoints[n].poll_transmit(self.now, Scope::Everything, 1, &mut out)
            {
                self.sent += 1;
                if !self.sent.is_multiple_of(loss) {
                    self.through_the_relay(n, &mut out[..transmit.len]);
                }
            }
            while let Some(event) = self.endpoints[n].poll_event() {
                if let Event::Message { payload, .. } = event {
                    assert!(payload.chunks().map(<[u8]>::len).sum::<usize>() == payload.len());
                    self.received[n] += 1;
                }
            }
        }
        self.relay.handle_timeout(self.now);
    }

    fn through_the_relay(&mut self, from: usize, bytes: &mut [u8]) {
        let address = self.addresses[from];
        match self.relay.forwarder().forward(self.now, address, bytes) {
            Verdict::Forward { to } => {
                let to = self.addresses.iter().position(|address| *address == to).unwrap();
                self.endpoints[to].handle_datagram(self.now, self.relay_at, bytes).ok();
            }
            Verdict::Control | Verdict::Unbound => {
                let mut out = [0; REPLY_MAX];
                if let Some(reply) = self.relay.handle(self.now, address, bytes, &mut out) {
                    self.endpoints[from]
                        .handle_datagram(self.now, self.relay_at, &mut out[..reply.len])
                        .ok();
                }
            }
            Verdict::Drop(_) => {}
        }
    }
}

#[test]
fn memory_after_the_start_is_constant() {
    let mut table = Table::new();
    let data = vec![7; 20_000];
    let during = allocation_counter::measure(|| {
        for _ in 0..100 {
            table.tick(0);
        }
        let [a, b] = &mut table.endpoints;
        let (route_a, route_b) = (a.route().unwrap().clone(), b.route().unwrap().clone());
        let mut buffer = [0; waylane_core::route::Route::LEN_MAX];
        let len = route_b.encode(&mut buffer).unwrap();
        a.connect_peer(b.peer_id(), &buffer[..len]).unwrap();
        let len = route_a.encode(&mut buffer).unwrap();
        b.connect_peer(a.peer_id(), &buffer[..len]).unwrap();
        for round in 0..40 {
            for me in 0..2 {
                let to = table.endpoints[1 - me].peer_id();
                for channel in 0..=255 {
                    let kind = if channel % 2 == 0 {
                        Reliability::Unreliable
                    } else {
                        Reliability::Reliable
                    };
                    table.endpoints[me].open_channel(to, ChannelId(channel), kind).ok();
                    // As much as goes in: full queues answer, they do not grow.
                    for size in [3, 300, 20_000] {
                        table.endpoints[me]
                            .send_message(to, ChannelId(channel), &data[..size])
                            .ok();
                    }
                }
                table.endpoints[me].flush();
            }
            for _ in 0..200 {
                table.tick(20);
            }
            if round % 10 == 9 {
                for me in 0..2 {
                    let to = table.endpoints[1 - me].peer_id();
                    table.endpoints[me].close_channel(to, ChannelId(round)).ok();
                    table.endpoints[me].close_channel(to, ChannelId(round + 1)).ok();
                }
                table.endpoints[0].network_changed();
                table.endpoints[1].rotate_session();
            }
        }
    });
    assert!(table.received.iter().all(|received| *received > 1000), "{:?}", table.received);
    assert_eq!(during.bytes_current, 0, "nothing is kept");
    assert_eq!(during.count_total, 0, "nothing is allocated");
}
