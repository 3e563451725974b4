//! How long datagrams may be on each path: the search for its MTU, and the way back.
//!
//! Packetization-layer path MTU discovery (RFC 8899) with the least of states: a path begins at
//! [`DATAGRAM_LEN`], which every path carries; probes of padding try larger sizes, the largest
//! first; and when larger packets vanish while others arrive, all begins again. Only the path in use
//! is searched; what was found on another is kept for when it is used again.

use core::time::Duration;

use super::packet::DATAGRAM_LEN;
use crate::id::PacketNumber;
use crate::recovery::{MAX_PATHS, PathIndex, SentPacket};
use crate::time::Instant;

/// What is known of each path of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mtu {
    /// The newest packet above [`DATAGRAM_LEN`] that arrived. One is enough: what leaves after a
    /// move has larger numbers than whatever left before, on any path.
    arrived: PacketNumber,
    paths: [PathMtu; MAX_PATHS],
}

/// What is known of one path. In few bytes, as every peer has four.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct PathMtu {
    /// No probe leaves before; the end of time while the fate of one is not known.
    next_at: Tick,
    /// Which of [`CANDIDATES`] is known to arrive; past the last one if none is.
    found: u8,
    /// Which of [`CANDIDATES`] is tried.
    candidate: u8,
    /// How many probes of it were lost.
    failures: u8,
    /// Packets above [`DATAGRAM_LEN`] lost since one arrived.
    vanished: u8,
}

/// A moment in steps of 50 ms: nothing here is to be known better.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Tick(u32);

impl Mtu {
    /// Nothing is known of any path.
    pub(crate) const fn new() -> Self {
        Self { arrived: PacketNumber(0), paths: [PathMtu::NEW; MAX_PATHS] }
    }

    /// `path` is another one now, or leads through another network.
    pub(crate) fn forget(&mut self, path: PathIndex) {
        self.paths[path.get()] = PathMtu::NEW;
    }

    /// Bytes of the longest datagrams that `path` is known to carry.
    pub(crate) fn len(&self, path: PathIndex) -> usize {
        usize::from(self.paths[path.get()].len())
    }

    /// How long the probe is that may leave now over `path`, if one may.
    pub(crate) fn probe_len(&self, path: PathIndex, now: Instant) -> Option<usize> {
        let path = &self.paths[path.get()];
        let due = path.next_at <= Tick::begun(now) && path.candidate < path.found;
        candidate(path.candidate).filter(|_| due).map(usize::from)
    }

    /// A probe of [`probe_len`](Self::probe_len) left over `path`.
    pub(crate) fn on_probe_sent(&mut self, path: PathIndex) {
        self.paths[path.get()].next_at = Tick::FAR;
    }

    /// A packet arrived.
    pub(crate) fn on_acked(&mut self, packet: &SentPacket) {
        let path = &mut self.paths[packet.path.get()];
        if is_large(packet) {
            self.arrived = self.arrived.max(packet.number);
            path.vanished = 0;
        }
        if packet.is_mtu_probe() {
            path.on_probe_arrived(packet);
        }
    }

    /// A packet did not arrive. Those that did are told before.
    pub(crate) fn on_lost(&mut self, packet: &SentPacket) {
        let path = &mut self.paths[packet.path.get()];
        if packet.is_mtu_probe() {
            path.on_probe_lost(packet);
        } else if is_large(packet) && packet.number > self.arrived {
            path.on_large_lost(packet.sent_at);
        }
    }

    /// A packet was given up together with its path, which says nothing about its length.
    pub(crate) fn on_abandoned(&mut self, packet: &SentPacket) {
        let path = &mut self.paths[packet.path.get()];
        if packet.is_mtu_probe() && path.awaits_probe() {
            path.next_at = Tick::from(packet.sent_at + SPACING);
        }
    }
}

impl PathMtu {
    const NEW: Self = Self {
        next_at: Tick(0),
        found: CANDIDATES.len() as u8,
        candidate: 0,
        failures: 0,
        vanished: 0,
    };

    fn len(&self) -> u16 {
        candidate(self.found).unwrap_or(DATAGRAM_LEN as u16)
    }

    fn awaits_probe(&self) -> bool {
        self.next_at == Tick::FAR
    }

    fn on_probe_arrived(&mut self, packet: &SentPacket) {
        let found = CANDIDATES.iter().position(|size| *size == packet.size);
        if let Some(found) = found.filter(|found| *found < usize::from(self.found)) {
            self.found = found as u8;
            self.search_again(packet.sent_at + RETRY);
        } else if self.awaits_probe() {
            self.next_at = Tick::from(packet.sent_at + SPACING);
        }
    }

    fn on_probe_lost(&mut self, packet: &SentPacket) {
        if self.awaits_probe() {
            self.next_at = Tick::from(packet.sent_at + SPACING);
        }
        if candidate(self.candidate) != Some(packet.size) {
            return;
        }
        self.failures += 1;
        if self.failures < TRIES {
            return;
        }
        self.failures = 0;
        self.candidate += 1;
        if self.candidate >= self.found {
            self.search_again(packet.sent_at + RETRY);
        }
    }

    fn on_large_lost(&mut self, sent_at: Instant) {
        if usize::from(self.len()) == DATAGRAM_LEN {
            return;
        }
        self.vanished += 1;
        if self.vanished >= VANISHED_MAX {
            // RFC 8899 §4.3: a black hole.
            self.found = Self::NEW.found;
            self.vanished = 0;
            self.search_again(sent_at + RETRY_VANISHED);
        }
    }

    fn search_again(&mut self, at: Instant) {
        self.candidate = 0;
        self.failures = 0;
        self.next_at = Tick::from(at);
    }
}

impl Tick {
    const FAR: Self = Self(u32::MAX);
    const MICROS: u64 = 50_000;

    /// The first that is not before `at`.
    fn from(at: Instant) -> Self {
        Self::number(at.as_micros().div_ceil(Self::MICROS))
    }

    /// The last that is not after `at`.
    fn begun(at: Instant) -> Self {
        Self::number(at.as_micros() / Self::MICROS)
    }

    /// After six years it is always the last but one.
    fn number(ticks: u64) -> Self {
        Self(u32::try_from(ticks).unwrap_or(u32::MAX).min(u32::MAX - 1))
    }
}

fn candidate(place: u8) -> Option<u16> {
    CANDIDATES.get(usize::from(place)).copied()
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
    const OTHER: PathIndex = PathIndex::ALL[1];

    /// A packet sent a millisecond for each number after the start.
    fn packet(path: PathIndex, number: u64, size: usize) -> SentPacket {
        let mut packet = SentPacket::default();
        packet.path = path;
        packet.number = PacketNumber(number);
        packet.size = size as u16;
        packet.sent_at = Instant::from_millis(number);
        packet
    }

    fn probe(path: PathIndex, number: u64, size: usize) -> SentPacket {
        let mut packet = packet(path, number, size);
        packet.marks = Marks::new(false, true);
        packet
    }

    /// Searches a path that carries `carried`; answers how many probes were lost.
    fn search(mtu: &mut Mtu, path: PathIndex, carried: usize, from: u64) -> u64 {
        let mut lost = 0;
        for number in from..from + 5000 {
            let Some(size) = mtu.probe_len(path, Instant::from_millis(number)) else { continue };
            mtu.on_probe_sent(path);
            assert_eq!(mtu.probe_len(path, Instant::FAR), None, "one at a time");
            if size <= carried {
                mtu.on_acked(&probe(path, number, size));
            } else {
                lost += 1;
                mtu.on_lost(&probe(path, number, size));
            }
        }
        lost
    }

    /// On a path that carries the largest datagrams.
    fn found() -> Mtu {
        let mut mtu = Mtu::new();
        search(&mut mtu, PATH, DATAGRAM_LEN_MAX, 0);
        assert_eq!(mtu.len(PATH), DATAGRAM_LEN_MAX);
        mtu
    }

    #[test]
    fn the_largest_size_that_arrives_is_found() {
        for (carried, len, lost) in
            [(1500, 1472, 0), (1471, 1452, 3), (1300, 1292, 12), (1200, 1200, 15)]
        {
            let mut mtu = Mtu::new();
            assert_eq!(search(&mut mtu, PATH, carried, 0), lost);
            assert_eq!(mtu.len(PATH), len);
        }
        assert_eq!(found().probe_len(PATH, Instant::FAR), None, "nothing is left to be found");
    }

    #[test]
    fn probes_that_are_lost_are_far_apart() {
        let mut mtu = Mtu::new();
        for sent in [0, 1, 49, 50, 99, 1234] {
            mtu.on_probe_sent(PATH);
            mtu.on_lost(&probe(PATH, sent, 1472));
            let waits = |ms| mtu.probe_len(PATH, Instant::from_millis(sent + ms)).is_none();
            assert!(waits(99) && !waits(150), "sent at {sent} ms");
        }
    }

    #[test]
    fn what_was_too_large_is_tried_again_later() {
        let mut mtu = Mtu::new();
        search(&mut mtu, PATH, 1460, 0);
        assert_eq!(mtu.probe_len(PATH, Instant::from_millis(590_000)), None);
        assert_eq!(search(&mut mtu, PATH, 1460, 601_000), 3, "and what is smaller is not");
        assert_eq!((mtu.len(PATH), search(&mut mtu, PATH, 1500, 1_300_000)), (1452, 0));
        assert_eq!(mtu.len(PATH), 1472);
    }

    #[test]
    fn large_packets_that_vanish_are_a_black_hole() {
        let mut mtu = found();
        mtu.on_acked(&packet(PATH, 10, 1472));
        for number in 11..13 {
            mtu.on_lost(&packet(PATH, number, 1472));
        }
        assert_eq!(mtu.len(PATH), 1472);
        mtu.on_lost(&packet(PATH, 13, 1201));
        assert_eq!(mtu.len(PATH), DATAGRAM_LEN);
        assert_eq!(mtu.probe_len(PATH, Instant::from_millis(59_000)), None);
        search(&mut mtu, PATH, 1300, 61_000);
        assert_eq!(mtu.len(PATH), 1292);
    }

    #[test]
    fn losses_among_large_packets_that_arrive_are_none() {
        let mut mtu = found();
        for number in (10..1000).step_by(3) {
            mtu.on_lost(&packet(PATH, number, 1472));
            mtu.on_lost(&packet(PATH, number + 1, 1472));
            mtu.on_acked(&packet(PATH, number + 2, 1472));
        }
        // Told after one that left later has arrived.
        mtu.on_acked(&packet(PATH, 2000, 1472));
        for number in 1990..2000 {
            mtu.on_lost(&packet(PATH, number, 1472));
        }
        assert_eq!(mtu.len(PATH), 1472);
        for number in 3000..3100 {
            mtu.on_lost(&packet(PATH, number, DATAGRAM_LEN));
        }
        assert_eq!(mtu.len(PATH), 1472, "small ones say nothing about large ones");
    }

    #[test]
    fn each_path_has_its_own_length_and_its_own_black_hole() {
        let mut mtu = found();
        assert_eq!(mtu.len(OTHER), DATAGRAM_LEN);
        search(&mut mtu, OTHER, 1300, 10_000);
        assert_eq!((mtu.len(PATH), mtu.len(OTHER)), (1472, 1292));
        for number in 20_000..20_003 {
            mtu.on_lost(&packet(PATH, number, 1472));
        }
        assert_eq!((mtu.len(PATH), mtu.len(OTHER)), (DATAGRAM_LEN, 1292));
        assert_eq!(mtu.probe_len(PATH, Instant::from_millis(79_000)), None, "searched before");
        // What comes from the first path says nothing of what vanishes on the second.
        for number in 30_000..30_003 {
            mtu.on_lost(&packet(OTHER, number, 1292));
            mtu.on_acked(&packet(PATH, number - 5000, 1472));
        }
        assert_eq!(mtu.len(OTHER), DATAGRAM_LEN);
        search(&mut mtu, PATH, 1500, 100_000);
        mtu.forget(PATH);
        assert_eq!((mtu.len(PATH), mtu.paths[0]), (DATAGRAM_LEN, PathMtu::NEW));
    }

    #[test]
    fn what_is_given_up_with_its_path_says_nothing_of_lengths() {
        let mut mtu = found();
        for number in 10..20 {
            mtu.on_abandoned(&packet(PATH, number, 1472));
        }
        assert_eq!(mtu.len(PATH), 1472);
        for number in 0..9 {
            let sent = 1000 * number;
            assert_eq!(mtu.probe_len(OTHER, Instant::from_millis(sent)), Some(1472));
            mtu.on_probe_sent(OTHER);
            mtu.on_abandoned(&probe(OTHER, sent, 1472));
        }
    }
}
