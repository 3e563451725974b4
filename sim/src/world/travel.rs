//! How datagrams travel.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{CrossNo, Happening, PlayerNo, RelayNo, STRAYS_MAX, Sight, Way, World};
use crate::cross::Cubic;
use crate::link::Arrival;
use crate::player::Family;

impl World {
    pub(super) fn player_sends(&mut self, number: PlayerNo, to: SocketAddr, bytes: &[u8]) {
        assert!(bytes.len() <= 1472, "a datagram of {} bytes", bytes.len());
        if self.players[number.0].address.is_ipv4() != to.is_ipv4() {
            return; // The player's network has no way there.
        }
        if self.players[number.0].has_nat_forgotten(self.now) {
            self.rebind(number);
        }
        self.see(number, Way::Up, to, bytes);
        let player = &mut self.players[number.0];
        player.sent_at = self.now;
        let known = player.setup.directory.iter().chain(&player.setup.learns);
        let relay = known.copied().find(|relay| self.relays[relay.0].is_at(to));
        let relay = relay.expect("a client sends to nothing but its directory");
        let from = player.address;
        self.travel(number, relay, Way::Up, bytes, |bytes| Happening::ReachesRelay {
            relay,
            from,
            bytes,
        });
    }

    pub(super) fn at_relay(&mut self, number: RelayNo, from: SocketAddr, bytes: Vec<u8>) {
        self.trace.number(number.0 as u64);
        self.trace.bytes(&bytes);
        let sent = self.relays[number.0].receive(self.now, from, bytes);
        self.relay_sends(number, sent);
        self.plan_relay(number);
    }

    pub(super) fn relay_sends(&mut self, number: RelayNo, sent: Vec<(SocketAddr, Vec<u8>)>) {
        for (to, bytes) in sent {
            let from = self.relays[number.0].address_for(to);
            // The leg is the one of whoever is at the address now; where they are when it arrives
            // is another question.
            let Some(player) = self.players.iter().position(|player| player.address == to) else {
                if self.strays.len() < STRAYS_MAX {
                    self.strays.push((to, bytes));
                }
                continue;
            };
            self.travel(PlayerNo(player), number, Way::Down, &bytes, |bytes| {
                Happening::ReachesAddress { to, from, bytes }
            });
        }
    }

    fn travel(
        &mut self,
        player: PlayerNo,
        relay: RelayNo,
        way: Way,
        bytes: &[u8],
        arrival: impl Fn(Vec<u8>) -> Happening,
    ) {
        let lane = self.legs.entry((player, relay)).or_default().lane(way);
        let arrivals = lane.send(self.now, bytes.len(), &mut self.random);
        for Arrival { at, flipped } in arrivals.into_iter().flatten() {
            let mut bytes = bytes.to_vec();
            if let Some(bit) = flipped {
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            self.queue.plan(at, arrival(bytes));
        }
    }

    /// What a flow of cross traffic may send now; its next deadline is planned.
    pub(super) fn cross_sends(&mut self, number: CrossNo) {
        let cross = &mut self.cross[number.0];
        let lane = self.legs.entry((cross.player, cross.relay)).or_default().lane(cross.way);
        while let Some(packet) = cross.flow.send(self.now) {
            let [first, _] = lane.send(self.now, Cubic::PACKET_LEN, &mut self.random);
            if let Some(arrival) = first {
                let acked = Happening::CrossAcked { flow: number, packet };
                self.queue.plan(arrival.at + cross.returns, acked);
            }
        }
        // A later deadline waits for the wake-up that is planned already.
        let deadline = cross.flow.deadline();
        if deadline < cross.planned_at {
            cross.planned_at = deadline;
            self.queue.plan(deadline, Happening::CrossWakes { flow: number });
        }
    }

    pub(super) fn see(&mut self, player: PlayerNo, way: Way, other: SocketAddr, bytes: &[u8]) {
        if let Some(tap) = &mut self.tap {
            let address = self.players[player.0].address;
            tap(&Sight { now: self.now, player, way, address, other, bytes });
        }
    }

    /// An address that nobody had before; its bytes are not small numbers that turn up anyway.
    pub(super) fn draw_address(&mut self, family: Family) -> SocketAddr {
        let bits = self.random.next_u64();
        let ip = match family {
            Family::V4 => IpAddr::V4(Ipv4Addr::from(0xc612_0000 | (bits as u32 & 0xffff))),
            Family::V6 => {
                let low = u128::from(bits) | 0x2001_0db8_0000_0000_u128 << 64;
                IpAddr::V6(Ipv6Addr::from(low | u128::from(self.random.below(1 << 15)) << 80))
            }
        };
        let address = SocketAddr::new(ip, 1024 + self.random.below(60_000) as u16);
        let taken = self.players.iter().any(|player| player.address == address);
        if taken { self.draw_address(family) } else { address }
    }
}
