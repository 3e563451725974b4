//! ENet, in its transpiled form: nothing is encrypted. It does not say when it wants to be called, so
//! it is called every millisecond, which is the resolution of its clock.

use core::cell::Cell;
use core::convert::Infallible;
use core::time::Duration;
use std::collections::VecDeque;
use std::rc::Rc;

use rusty_enet::{Event, Host, HostSettings, Packet, PacketKind, PeerID, ReadWrite};
use waylane_core::time::Instant;

use crate::peer::{Channel, Library, Peer};

/// As it comes.
pub const ENET: Library = Library { name: "enet (plain)", make: pair };

struct Enet {
    host: Host<ReadWrite<(), Infallible>>,
    clock: Rc<Cell<Duration>>,
    peer: Option<PeerID>,
    inbox: VecDeque<(Channel, Vec<u8>)>,
    wakes_at: Instant,
}

fn pair(seed: u64) -> [Box<dyn Peer>; 2] {
    let mut both = [Enet::new(seed as u32), Enet::new(!seed as u32)];
    both[0].host.connect((), 2, 0).expect("room for one");
    both.map(|end| -> Box<dyn Peer> { Box::new(end) })
}

impl Enet {
    fn new(seed: u32) -> Self {
        let clock = Rc::new(Cell::new(LATER));
        let reads = Rc::clone(&clock);
        let settings = HostSettings {
            peer_limit: 1,
            channel_limit: 2,
            time: Box::new(move || reads.get()),
            seed: Some(seed),
            ..HostSettings::default()
        };
        let host = Host::new(ReadWrite::new(), settings).expect("good settings");
        Self { host, clock, peer: None, inbox: VecDeque::new(), wakes_at: Instant::ZERO }
    }
}

impl Peer for Enet {
    fn connected(&self) -> bool {
        self.peer.is_some()
    }

    fn handle(&mut self, now: Instant, datagram: &[u8]) {
        self.host.socket_mut().write((), datagram.to_vec());
        self.wake(now);
    }

    fn wake(&mut self, now: Instant) {
        self.clock.set(LATER + now.since(Instant::ZERO));
        self.wakes_at = now + Duration::from_millis(1);
        while let Ok(Some(event)) = self.host.service() {
            match event {
                Event::Connect { peer, .. } => self.peer = Some(peer.id()),
                Event::Disconnect { .. } => panic!("ENet's connection ends"),
                Event::Receive { channel_id, packet, .. } => {
                    let reliable = channel_id == Channel::Reliable as u8;
                    let channel = if reliable { Channel::Reliable } else { Channel::Unreliable };
                    self.inbox.push_back((channel, packet.data().to_vec()));
                }
            }
        }
    }

    fn wakes_at(&mut self) -> Instant {
        self.wakes_at
    }

    fn send(&mut self, now: Instant, channel: Channel, message: &[u8]) -> bool {
        self.clock.set(LATER + now.since(Instant::ZERO));
        let kind = match channel {
            Channel::Unreliable => PacketKind::Unreliable { sequenced: false },
            Channel::Reliable => PacketKind::Reliable,
        };
        let Some(peer) = self.peer else { return false };
        self.host.peer_mut(peer).send(channel as u8, &Packet::new(message, kind)).is_ok()
    }

    fn backlog(&self) -> u64 {
        4 << 20
    }

    fn transmit(&mut self, now: Instant) -> Option<Vec<u8>> {
        self.clock.set(LATER + now.since(Instant::ZERO));
        let datagram = self.host.socket_mut().read().or_else(|| {
            self.host.flush();
            self.host.socket_mut().read()
        });
        datagram.map(|(_, datagram)| datagram)
    }

    fn receive(&mut self, _now: Instant) -> Option<(Channel, Vec<u8>)> {
        self.inbox.pop_front()
    }
}

/// Zero means no time at all to it.
const LATER: Duration = Duration::from_secs(1);
