//! How long datagrams may be on the path in use: the search for its MTU, and the way back.
//!
//! Packetization-layer path MTU discovery (RFC 8899) with the least of states: a path begins at
//! [`DATAGRAM_LEN`], which every path carries; probes of padding try larger sizes, the largest
//! first; and when larger packets vanish while others arrive, all begins again.

use core::time::Duration;

use super::packet::DATAGRAM_LEN;
use crate::id::PacketNumber;
use crate::recovery::{PathIndex, SentPacket};
use crate::time::Instant;

/// What is known of the path in use. Another path, and one come back to, begins anew.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PathMtu {
    /// The newest packet above [`DATAGRAM_LEN`] that arrived.
    arrived: PacketNumber,
    /// No probe leaves before.
    next_at: Instant,
    /// Bytes of the longest datagrams sent, probes apart.
    len: u16,
    path: PathIndex,
    /// Which of [`CANDIDATES`] is tried.
    candidate: u8,
    /// How many probes of it were lost.
    failures: u8,
    /// Packets above [`DATAGRAM_LEN`] lost since one arrived.
    vanished: u8,
    /// A probe's fate is not known yet.
    awaiting: bool,
}

impl PathMtu {
    /// Nothing is known of `path`.
    pub(crate) const fn new(path: PathIndex) -> Self {
        Self {
            arrived: PacketNumber(0),
            next_at: Instant::ZERO,
            len: DATAGRAM_LEN as u16,
            path,
            candidate: 0,
            failures: 0,
            vanished: 0,
            awaiting: false,
        }
    }

    /// Bytes of the longest datagrams that the path is known to carry.
    pub(crate) const fn len(&self) -> usize {
        self.len as usize
    }

    /// How long the probe is that may leave now, if one may.
    pub(crate) fn probe_len(&self, now: Instant) -> Option<usize> {
        if self.awaiting || now < self.next_at {
            return None;
        }
        self.candidate().filter(|candidate| *candidate > self.len).map(usize::from)
    }

    /// A probe of [`probe_len`](Self::probe_len) left.
    pub(crate) fn on_probe_sent(&mut self) {
        self.awaiting = true;
    }

    /// A packet arrived.
    pub(crate) fn on_acked(&mut self, packet: &SentPacket) {
        if packet.path != self.path {
            return;
        }
        if is_large(packet) {
            self.arrived = self.arrived.max(packet.number);
            self.vanished = 0;
        }
        if packet.is_mtu_probe() {
            self.awaiting = false;
            if packet.size > self.len {
                self.len = packet.size;
                self.search_again(packet.sent_at + RETRY);
            }
        }
    }

    /// A packet did not arrive. Those that did are told before.
    pub(crate) fn on_lost(&mut self, packet: &SentPacket) {
        if packet.path != self.path {
            return;
        }
        if packet.is_mtu_probe() {
            self.awaiting = false;
            if self.candidate() == Some(packet.size) {
                self.on_failure(packet.sent_at);
            }
        } else if is_large(packet) && packet.number > self.arrived && self.len() > DATAGRAM_LEN {
            self.vanished += 1;
            if self.vanished >= VANISHED_MAX {
                // RFC 8899 §4.3: a black hole.
                self.len = DATAGRAM_LEN as u16;
                self.vanished = 0;
                self.search_again(packet.sent_at + RETRY_VANISHED);
            }
        }
    }

    fn on_failure(&mut self, sent_at: Instant) {
        self.next_at = sent_at + SPACING;
        self.failures += 1;
        if self.failures < TRIES {
            return;
        }
        self.failures = 0;
        self.candidate += 1;
        if self.candidate().is_none_or(|candidate| candidate <= self.len) {
            self.search_again(sent_at + RETRY);
        }
    }

    fn search_again(&mut self, at: Instant) {
        self.candidate = 0;
        self.failures = 0;
        self.next_at = at;
    }

    fn candidate(&self) -> Option<u16> {
        CANDIDATES.get(usize::from(self.candidate)).copied()
    }
}

fn is_large(packet: &SentPacket) -> bool {
    usize::from(packet.size) > DATAGRAM_LEN
}

/// UDP payloads of Ethernet over IPv4, over IPv6, through PPPoE and the usual tunnels; less is not
/// worth a probe. The two legs of a path may differ, so none is left out for the address in use.
const CANDIDATES: [u16; 5] = [1472, 1452, 1432, 1372, 1292];

/// So many probes of one size are lost before it counts as too large (RFC 8899 §5.1.2).
const TRIES: u8 = 3;

/// One lost probe and the next are so far apart, lest one burst of losses take them all.
const SPACING: Duration = Duration::from_millis(100);

/// What was too large is tried again after this (RFC 8899 §5.1.1).
const RETRY: Duration = Duration::from_secs(600);

/// The same after a black hole, which may have been an outage of the whole path.
const RETRY_VANISHED: Duration = Duration::from_secs(60);

/// So many larger packets lost in a row, while smaller ones arrive, make a black hole.
const VANISHED_MAX: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recovery::Marks;
    use crate::wire::DATAGRAM_LEN_MAX;

    const PATH: PathIndex = PathIndex::ALL[0];

    /// A packet sent a millisecond for each number after the start.
    fn packet(number: u64, size: usize) -> SentPacket {
        let mut packet = SentPacket::default();
        packet.number = PacketNumber(number);
        packet.size = size as u16;
        packet.sent_at = Instant::from_millis(number);
        packet
    }

    fn probe(number: u64, size: usize) -> SentPacket {
        let mut packet = packet(number, size);
        packet.marks = Marks::new(false, true);
        packet
    }

    /// Searches a path that carries `carried`; answers how many probes were lost.
    fn search(mtu: &mut PathMtu, carried: usize, from: u64) -> u64 {
        let mut lost = 0;
        for number in from..from + 5000 {
            let Some(size) = mtu.probe_len(Instant::from_millis(number)) else { continue };
            mtu.on_probe_sent();
            assert_eq!(mtu.probe_len(Instant::FAR), None, "one at a time");
            if size <= carried {
                mtu.on_acked(&probe(number, size));
            } else {
                lost += 1;
                mtu.on_lost(&probe(number, size));
            }
        }
        lost
    }

    /// On a path that carries the largest datagrams.
    fn found() -> PathMtu {
        let mut mtu = PathMtu::new(PATH);
        search(&mut mtu, DATAGRAM_LEN_MAX, 0);
        assert_eq!(mtu.len(), DATAGRAM_LEN_MAX);
        mtu
    }

    #[test]
    fn the_largest_size_that_arrives_is_found() {
        for (carried, len, lost) in
            [(1500, 1472, 0), (1471, 1452, 3), (1300, 1292, 12), (1200, 1200, 15)]
        {
            let mut mtu = PathMtu::new(PATH);
            assert_eq!(search(&mut mtu, carried, 0), lost);
            assert_eq!(mtu.len(), len);
        }
        assert_eq!(found().probe_len(Instant::FAR), None, "nothing is left to be found");
    }

    #[test]
    fn what_was_too_large_is_tried_again_later() {
        let mut mtu = PathMtu::new(PATH);
        search(&mut mtu, 1460, 0);
        assert_eq!(mtu.probe_len(Instant::from_millis(590_000)), None);
        assert_eq!(search(&mut mtu, 1460, 601_000), 3, "and what is smaller is not");
        assert_eq!((mtu.len(), search(&mut mtu, 1500, 1_300_000)), (1452, 0));
        assert_eq!(mtu.len(), 1472);
    }

    #[test]
    fn large_packets_that_vanish_are_a_black_hole() {
        let mut mtu = found();
        mtu.on_acked(&packet(10, 1472));
        for number in 11..13 {
            mtu.on_lost(&packet(number, 1472));
        }
        assert_eq!(mtu.len(), 1472);
        mtu.on_lost(&packet(13, 1201));
        assert_eq!(mtu.len(), DATAGRAM_LEN);
        assert_eq!(mtu.probe_len(Instant::from_millis(59_000)), None);
        search(&mut mtu, 1300, 61_000);
        assert_eq!(mtu.len(), 1292);
    }

    #[test]
    fn losses_among_large_packets_that_arrive_are_none() {
        let mut mtu = found();
        for number in (10..1000).step_by(3) {
            mtu.on_lost(&packet(number, 1472));
            mtu.on_lost(&packet(number + 1, 1472));
            mtu.on_acked(&packet(number + 2, 1472));
        }
        // Told after one that left later has arrived.
        mtu.on_acked(&packet(2000, 1472));
        for number in 1990..2000 {
            mtu.on_lost(&packet(number, 1472));
        }
        assert_eq!(mtu.len(), 1472);
        for number in 3000..3100 {
            mtu.on_lost(&packet(number, DATAGRAM_LEN));
        }
        assert_eq!(mtu.len(), 1472, "small ones say nothing about large ones");
    }

    #[test]
    fn another_path_says_nothing() {
        let mut mtu = PathMtu::new(PathIndex::ALL[1]);
        mtu.on_probe_sent();
        mtu.on_acked(&probe(1, 1472));
        assert_eq!((mtu.len(), mtu.awaiting), (DATAGRAM_LEN, true));
        for number in 0..9 {
            mtu.on_lost(&probe(number, 1472));
        }
        assert_eq!((mtu.candidate, mtu.awaiting), (0, true));
    }
}
