//! Which packets have arrived, and when the peer must be told.

use core::time::Duration;

use heapless::Vec;

use crate::id::PacketNumber;
use crate::time::{Instant, micros};

/// What has been received on a connection, kept for acknowledgements.
///
/// Duplicates are refused by the replay window before they come here.
#[derive(Clone, Debug)]
pub struct Received {
    /// Disjoint, not touching, ascending.
    ranges: Vec<Range, MAX_RANGES>,
    /// Numbers below this are no longer told apart.
    floor: PacketNumber,
    largest_at: Instant,
    largest_host_delay_us: u32,
    /// The longest of the packets since the latest acknowledgement.
    longest_host_delay_us: u32,
    /// Numbers from here on were in no acknowledgement sent.
    unreported: PacketNumber,
    /// Ack-eliciting packets since the latest acknowledgement, and their bytes.
    unacknowledged: u32,
    unacknowledged_bytes: u32,
    /// Whether one of them should not wait for long.
    soon: bool,
    /// Whether the latest acknowledgement is to be told once more, lest it be lost.
    again: bool,
    /// When an acknowledgement must leave even alone; [`Instant::FAR`] while none is wanted.
    deadline: Instant,
    reported_at: Instant,
    /// When the latest packet left this side, and how long after the one before.
    sent_at: Instant,
    sent_gap_us: u32,
}

/// A packet that arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arrival {
    /// Its number.
    pub number: PacketNumber,
    /// Bytes of the datagram.
    pub size: u16,
    /// What it holds.
    pub wants: AckWanted,
    /// How long it had waited in this host before it could be read; zero where that is not known.
    pub host_delay: Duration,
}

/// How much a packet wants to be acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum AckWanted {
    /// It holds only Ack and Padding frames.
    Not,
    /// It holds only unreliable messages: nothing will be sent again, so the acknowledgement can
    /// wait for several of them, at most [`PATIENT_ACK_DELAY`].
    Late,
    /// It holds something that must arrive: at most [`MAX_ACK_DELAY`].
    Soon,
}

/// The acknowledgement that a sent packet carried, to be kept with that packet.
///
/// The low bits of the number after the largest in it. Zero stands for "none": one mark in 2³² does
/// no work, and the next one does it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct AckMark(u32);

impl AckMark {
    /// The packet carried no acknowledgement.
    pub const NONE: Self = Self(0);
}

impl Received {
    /// Nothing received yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            ranges: Vec::new(),
            floor: PacketNumber(0),
            largest_at: Instant::ZERO,
            largest_host_delay_us: 0,
            longest_host_delay_us: 0,
            unreported: PacketNumber(0),
            unacknowledged: 0,
            unacknowledged_bytes: 0,
            soon: false,
            again: false,
            deadline: Instant::FAR,
            reported_at: Instant::ZERO,
            sent_at: Instant::ZERO,
            sent_gap_us: 0,
        }
    }

    /// Takes in a packet, which was opened at `now`.
    ///
    /// Bulk data is acknowledged after two packets' bytes, but not more often than every few
    /// milliseconds unless much came: the sender steers by it. A gap is told at once if it is in
    /// such data. All else waits for a packet to ride on.
    pub fn on_received(&mut self, now: Instant, arrival: Arrival) {
        let host_delay_us = u32::try_from(micros(arrival.host_delay)).unwrap_or(u32::MAX);
        self.longest_host_delay_us = self.longest_host_delay_us.max(host_delay_us);
        if self.largest().is_none_or(|largest| arrival.number > largest) {
            self.largest_at = now;
            self.largest_host_delay_us = host_delay_us;
        }
        self.insert(arrival.number);
        let wait = match arrival.wants {
            AckWanted::Not => return,
            AckWanted::Late => PATIENT_ACK_DELAY,
            AckWanted::Soon => MAX_ACK_DELAY,
        };
        self.soon |= arrival.wants == AckWanted::Soon;
        self.unacknowledged = self.unacknowledged.saturating_add(1);
        self.unacknowledged_bytes =
            self.unacknowledged_bytes.saturating_add(u32::from(arrival.size));
        let mut due = now + wait;
        let bulk = self.unacknowledged_bytes >= BULK_BYTES;
        if bulk {
            due = due.min(now.max(self.reported_at + BULK_INTERVAL));
        }
        if (bulk && self.has_news_of_loss()) || self.follows_a_long_gap(arrival.number) {
            self.soon = true;
            due = now;
        }
        if self.unacknowledged_bytes >= MUCH_BYTES || self.unacknowledged >= MANY_PACKETS {
            due = now;
        }
        self.deadline = self.deadline.min(due);
    }

    /// Whether an acknowledgement should ride on a packet that leaves now: if what came should not
    /// wait, several packets did, or the next packet may leave too late.
    #[must_use]
    pub fn rides(&self, now: Instant) -> bool {
        let gap = now.micros_since(self.sent_at).max(u64::from(self.sent_gap_us));
        self.again
            || self.unacknowledged > 0
                && (self.soon
                    || self.unacknowledged >= RIDE_PACKETS
                    || now.plus_micros(gap) >= self.deadline)
    }

    /// A packet leaves this side.
    pub fn on_packet_sent(&mut self, now: Instant) {
        let gap = now.micros_since(self.sent_at);
        if gap > 0 {
            self.sent_gap_us = gap.min(micros(PATIENT_ACK_DELAY)) as u32;
            self.sent_at = now;
        }
    }

    /// When an acknowledgement must leave even alone; in the past if at once.
    #[must_use]
    pub const fn ack_deadline(&self) -> Option<Instant> {
        if self.unacknowledged > 0 { Some(self.deadline) } else { None }
    }

    /// What to acknowledge, as inclusive ranges in descending order: at most [`MAX_RANGES`], and at
    /// least one once anything was received.
    pub fn ranges(&self) -> impl ExactSizeIterator<Item = (PacketNumber, PacketNumber)> + Clone {
        self.ranges.iter().rev().map(|range| (range.low, range.high))
    }

    /// The largest number received.
    #[must_use]
    pub fn largest(&self) -> Option<PacketNumber> {
        self.ranges.last().map(|range| range.high)
    }

    /// How long ago the largest packet arrived at this host, whenever it was read.
    #[must_use]
    pub const fn ack_delay(&self, now: Instant) -> Duration {
        now.since(self.largest_at)
            .saturating_add(Duration::from_micros(self.largest_host_delay_us as u64))
    }

    /// The longest that a packet since the latest acknowledgement had waited in this host before it
    /// could be read.
    #[must_use]
    pub const fn host_delay(&self) -> Duration {
        Duration::from_micros(self.longest_host_delay_us as u64)
    }

    /// Whether so many gaps are reported that the packet carrying them should be made
    /// ack-eliciting (a Ping), so that they can be forgotten. Matters where data goes one way only.
    #[must_use]
    pub fn wants_acknowledgement(&self) -> bool {
        self.ranges.len() > MAX_RANGES / 2
    }

    /// The first `told` of [`ranges`](Self::ranges) are on their way to the peer (0: none had room);
    /// the mark goes with the packet that carries them.
    /// If packets are lost often (`lossy`), what should not wait is told twice: the other side would
    /// else send it again.
    pub fn on_ack_sent(&mut self, now: Instant, told: usize, lossy: bool) -> AckMark {
        let Some(largest) = self.largest().filter(|_| told > 0) else { return AckMark::NONE };
        self.unacknowledged = 0;
        self.unacknowledged_bytes = 0;
        self.longest_host_delay_us = 0;
        self.again = lossy && self.soon;
        self.soon = false;
        self.reported_at = now;
        self.deadline = Instant::FAR;
        self.unreported = after(largest);
        // A frame without the older ranges must not make them forgotten.
        if told < self.ranges.len() { AckMark::NONE } else { AckMark(low_bits(self.unreported)) }
    }

    /// The peer has our acknowledgement with this mark: what it told need not be told again
    /// (RFC 9000 §13.2.4).
    pub fn on_ack_acknowledged(&mut self, mark: AckMark) {
        let Some(largest) = self.largest() else { return };
        if mark == AckMark::NONE {
            return;
        }
        let end = after(largest);
        let behind = low_bits(end).wrapping_sub(mark.0);
        let Some(told_below) = end.0.checked_sub(u64::from(behind)) else { return };
        // The largest stays: an acknowledgement has at least one range.
        let floor = largest.min(PacketNumber(told_below));
        self.floor = self.floor.max(floor);
        self.ranges.retain(|range| range.high >= floor);
        if let Some(oldest) = self.ranges.first_mut() {
            oldest.low = oldest.low.max(floor);
        }
    }

    fn insert(&mut self, number: PacketNumber) {
        if number < self.floor {
            return;
        }
        if let Some(newest) = self.ranges.last_mut()
            && follows(newest.high, number)
        {
            newest.high = number;
            return;
        }
        // Searched from the newest, where most others belong.
        let below = self.ranges.iter().rposition(|range| range.low <= number);
        let at = below.map_or(0, |index| index + 1);
        let joins_next = self.ranges.get(at).is_some_and(|next| follows(number, next.low));
        let joins_last = match below.and_then(|index| self.ranges.get_mut(index)) {
            Some(last) if number <= last.high => return,
            Some(last) if follows(last.high, number) => {
                last.high = number;
                true
            }
            Some(_) | None => false,
        };
        match (joins_last, joins_next) {
            (true, true) => {
                let next = self.ranges.remove(at);
                if let Some(last) = at.checked_sub(1).and_then(|last| self.ranges.get_mut(last)) {
                    last.high = next.high;
                }
            }
            (true, false) => {}
            (false, true) => {
                if let Some(next) = self.ranges.get_mut(at) {
                    next.low = number;
                }
            }
            (false, false) => self.insert_alone(at, Range { low: number, high: number }),
        }
    }

    fn insert_alone(&mut self, mut at: usize, range: Range) {
        if self.ranges.is_full() {
            // The oldest is forgotten first, be it the new one.
            let Some(before) = at.checked_sub(1) else {
                self.floor = after(range.high);
                return;
            };
            self.floor = after(self.ranges.remove(0).high);
            at = before;
        }
        // Cannot fail: a full list has just lost a range, and `at` is within.
        let _ = self.ranges.insert(at, range);
    }

    /// Whether `number` is the first after several missing ones.
    fn follows_a_long_gap(&self, number: PacketNumber) -> bool {
        let mut newest = self.ranges.iter().rev();
        let (Some(last), Some(before)) = (newest.next(), newest.next()) else { return false };
        last.low == number && last.high == number && number.0 - before.high.0 > REPORTED_GAP
    }

    /// Whether a packet is missing that the sender will give up for lost when it hears of the
    /// largest, and did not after the last acknowledgement.
    fn has_news_of_loss(&self) -> bool {
        let reordering = REPORTED_GAP;
        let Some(last) = self.largest().and_then(|largest| largest.0.checked_sub(reordering))
        else {
            return false;
        };
        let first = self.unreported.0.saturating_sub(reordering).max(self.floor.0);
        first <= last
            && !self.ranges.iter().rev().any(|range| range.low.0 <= first && range.high.0 >= last)
    }
}

impl Default for Received {
    fn default() -> Self {
        Self::new()
    }
}

/// Packets `low` to `high`, both included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Range {
    low: PacketNumber,
    high: PacketNumber,
}

/// The number after `number`; numbers end far below the last one that could be written.
const fn after(number: PacketNumber) -> PacketNumber {
    PacketNumber(number.0.saturating_add(1))
}

fn follows(earlier: PacketNumber, later: PacketNumber) -> bool {
    earlier.0.checked_add(1) == Some(later.0)
}

const fn low_bits(number: PacketNumber) -> u32 {
    number.0 as u32
}

/// How many ranges an acknowledgement has at most (wire.md §2).
pub const MAX_RANGES: usize = 32;

/// How long an acknowledgement may wait for data to ride on; both sides count on it.
pub const MAX_ACK_DELAY: Duration = Duration::from_millis(25);

/// The same where only unreliable messages are to be acknowledged: twelve ticks of a 60 Hz game.
pub const PATIENT_ACK_DELAY: Duration = Duration::from_millis(200);

/// A packet missing this far behind the largest is worth telling: the sender's threshold.
const REPORTED_GAP: u64 = 3;

/// So many packets without anything urgent are acknowledged by the next packet that leaves.
const RIDE_PACKETS: u32 = 12;

/// Two full packets: somebody sends more than single messages.
const BULK_BYTES: u32 = 2 * 1200;
/// Bulk data is acknowledged no more often than this…
const BULK_INTERVAL: Duration = Duration::from_millis(4);
/// …unless so much came, or so many packets.
const MUCH_BYTES: u32 = 10 * 1200;
const MANY_PACKETS: u32 = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::vec;

    const T: Instant = Instant::from_millis(1000);

    fn arrival(number: u64, size: u16, wants: AckWanted) -> Arrival {
        Arrival { number: PacketNumber(number), size, wants, host_delay: Duration::ZERO }
    }

    fn take(received: &mut Received, numbers: impl IntoIterator<Item = u64>) {
        for number in numbers {
            received.on_received(T, arrival(number, 100, AckWanted::Soon));
        }
    }

    fn take_full(received: &mut Received, now: Instant, number: u64) {
        received.on_received(now, arrival(number, 1200, AckWanted::Soon));
    }

    fn ranges(received: &Received) -> vec::Vec<(u64, u64)> {
        received.ranges().map(|(low, high)| (low.0, high.0)).collect()
    }

    #[test]
    fn it_is_small() {
        assert!(size_of::<Received>() <= 616, "{}", size_of::<Received>());
    }

    #[test]
    fn ranges_grow_join_and_come_newest_first() {
        let mut received = Received::default();
        take(&mut received, [5, 0, 1, 7, 3]);
        assert_eq!(ranges(&received), [(7, 7), (5, 5), (3, 3), (0, 1)]);
        take(&mut received, [6, 2, 6]);
        assert_eq!(ranges(&received), [(5, 7), (0, 3)]);
        take(&mut received, [4]);
        assert_eq!(ranges(&received), [(0, 7)]);
        take(&mut received, [u64::MAX]);
        assert_eq!(ranges(&received), [(u64::MAX, u64::MAX), (0, 7)]);
    }

    #[test]
    fn the_oldest_range_is_forgotten_first() {
        let mut received = Received::default();
        take(&mut received, (0..33).map(|n| 10 + n * 2));
        assert_eq!(received.ranges().len(), MAX_RANGES);
        assert_eq!(ranges(&received).last(), Some(&(12, 12)));
        take(&mut received, [10, 0]);
        assert_eq!(ranges(&received).last(), Some(&(12, 12)));
        assert!(received.wants_acknowledgement());
    }

    #[test]
    fn a_full_list_takes_a_range_in_its_middle() {
        let mut received = Received::default();
        take(&mut received, (0..32).map(|n| n * 4));
        take(&mut received, [50, 1]);
        let ranges = ranges(&received);
        assert_eq!(ranges.len(), MAX_RANGES);
        assert!(ranges.contains(&(50, 50)));
        assert_eq!(ranges.last(), Some(&(4, 4)));
    }

    #[test]
    fn the_largest_gives_the_delay_and_the_one_that_waited_longest_the_hosts() {
        let mut received = Received::default();
        let host_delay = Duration::from_millis(4);
        received.on_received(T, Arrival { host_delay, ..arrival(9, 100, AckWanted::Soon) });
        let later = T + Duration::from_millis(3);
        let host_delay = Duration::from_millis(1);
        received.on_received(later, Arrival { host_delay, ..arrival(8, 100, AckWanted::Soon) });
        assert_eq!(received.ack_delay(later), Duration::from_millis(3 + 4));
        assert_eq!(received.host_delay(), Duration::from_millis(4));
        let host_delay = Duration::from_millis(9);
        received.on_received(later, Arrival { host_delay, ..arrival(7, 100, AckWanted::Soon) });
        assert_eq!(received.ack_delay(later), Duration::from_millis(3 + 4));
        assert_eq!(received.host_delay(), Duration::from_millis(9));
        let told = received.ranges().len();
        received.on_ack_sent(later, told, false);
        assert_eq!(received.host_delay(), Duration::ZERO);
    }

    #[test]
    fn an_acknowledgement_waits_for_company_but_not_long() {
        let mut received = Received::default();
        received.on_received(T, arrival(0, 100, AckWanted::Not));
        assert!(!received.rides(T));
        assert_eq!(received.ack_deadline(), None);
        take(&mut received, [1]);
        let later = T + Duration::from_millis(9);
        received.on_received(later, arrival(2, 100, AckWanted::Soon));
        assert!(received.rides(later));
        assert_eq!(received.ack_deadline(), Some(T + MAX_ACK_DELAY));
        received.on_ack_sent(later, MAX_RANGES, false);
        assert!(!received.rides(later));
        assert_eq!(received.ack_deadline(), None);
    }

    #[test]
    fn what_is_never_sent_again_is_acknowledged_by_every_few_packets() {
        let ms = Duration::from_millis;
        let mut received = Received::default();
        for tick in 0..60 {
            let now = T + ms(16) * tick;
            received.on_received(now, arrival(u64::from(tick), 130, AckWanted::Late));
            assert!(received.ack_deadline().unwrap() > now + ms(5), "none leaves alone");
            let leaves = now + ms(5);
            if received.rides(leaves) {
                received.on_ack_sent(leaves, MAX_RANGES, false);
            }
            received.on_packet_sent(leaves);
            assert!(received.unacknowledged < RIDE_PACKETS);
        }
    }

    #[test]
    fn what_should_not_wait_is_told_twice_where_packets_are_lost() {
        for lossy in [false, true] {
            let mut received = Received::default();
            received.on_received(T, arrival(0, 130, AckWanted::Soon));
            received.on_ack_sent(T, MAX_RANGES, lossy);
            assert_eq!(received.rides(T), lossy);
            assert_eq!(received.ack_deadline(), None, "but never alone");
            received.on_ack_sent(T, MAX_RANGES, lossy);
            assert!(!received.rides(T));
        }
    }

    #[test]
    fn a_side_that_seldom_sends_takes_every_chance() {
        let ms = Duration::from_millis;
        let mut received = Received::default();
        received.on_packet_sent(T);
        received.on_packet_sent(T + ms(160));
        received.on_received(T + ms(260), arrival(0, 130, AckWanted::Late));
        assert!(received.rides(T + ms(320)), "the next one leaves in 160 ms, too late");
    }

    #[test]
    fn bulk_data_is_acknowledged_every_few_milliseconds() {
        let ms = Duration::from_millis;
        let mut received = Received::default();
        take_full(&mut received, T, 0);
        assert_eq!(received.ack_deadline(), Some(T + MAX_ACK_DELAY));
        take_full(&mut received, T, 1);
        assert_eq!(received.ack_deadline(), Some(T), "the first two at once");
        received.on_ack_sent(T, MAX_RANGES, false);
        for number in 2..11 {
            take_full(&mut received, T + ms(1), number);
        }
        assert_eq!(received.ack_deadline(), Some(T + BULK_INTERVAL));
        take_full(&mut received, T + ms(2), 11);
        assert_eq!(received.ack_deadline(), Some(T + ms(2)), "ten are much");
    }

    #[test]
    fn a_gap_in_bulk_data_is_reported_at_once_but_only_once() {
        let mut received = Received::default();
        take_full(&mut received, T, 0);
        received.on_ack_sent(T, MAX_RANGES, false);
        take_full(&mut received, T, 2);
        take_full(&mut received, T, 3);
        assert_eq!(received.ack_deadline(), Some(T + BULK_INTERVAL), "perhaps only late");
        take_full(&mut received, T, 4);
        assert_eq!(received.ack_deadline(), Some(T), "three behind: the sender gives it up");
        received.on_ack_sent(T, MAX_RANGES, false);
        take_full(&mut received, T, 5);
        assert_eq!(received.ack_deadline(), Some(T + MAX_ACK_DELAY));
        take_full(&mut received, T, 7);
        take_full(&mut received, T, 8);
        received.on_ack_sent(T, MAX_RANGES, false);
        take_full(&mut received, T, 9);
        take_full(&mut received, T, 10);
        assert_eq!(received.ack_deadline(), Some(T), "6 was not given up by the last one");
    }

    #[test]
    fn in_small_packets_only_a_long_gap_is_reported_at_once() {
        let mut received = Received::default();
        for number in [0, 1] {
            received.on_received(T, arrival(number, 130, AckWanted::Late));
        }
        received.on_ack_sent(T, MAX_RANGES, false);
        received.on_packet_sent(T);
        received.on_received(T, arrival(3, 130, AckWanted::Late));
        received.on_received(T, arrival(6, 130, AckWanted::Late));
        assert_eq!(received.ack_deadline(), Some(T + PATIENT_ACK_DELAY));
        received.on_received(T, arrival(10, 130, AckWanted::Late));
        assert!(received.rides(T));
        assert_eq!(received.ack_deadline(), Some(T), "three in a row are a burst");
    }

    #[test]
    fn the_first_packets_may_be_missing() {
        let mut received = Received::default();
        take_full(&mut received, T, 2);
        assert_eq!(received.ack_deadline(), Some(T + MAX_ACK_DELAY));
        take_full(&mut received, T, 3);
        assert_eq!(received.ack_deadline(), Some(T));
    }

    #[test]
    fn what_the_peer_knows_is_not_told_again() {
        let mut received = Received::default();
        take(&mut received, [0, 1, 3, 5, 6]);
        let mark = received.on_ack_sent(T, MAX_RANGES, false);
        assert_ne!(mark, AckMark::NONE);
        take(&mut received, [7, 9]);
        received.on_ack_acknowledged(AckMark::NONE);
        assert_eq!(received.ranges().len(), 4);
        received.on_ack_acknowledged(mark);
        assert_eq!(ranges(&received), [(9, 9), (7, 7)]);
        take(&mut received, [2, 8]);
        assert_eq!(ranges(&received), [(7, 9)], "below the floor all is told");
        let mark = received.on_ack_sent(T, MAX_RANGES, false);
        received.on_ack_acknowledged(mark);
        assert_eq!(ranges(&received), [(9, 9)], "the largest always stays");
        take(&mut received, [10]);
        assert_eq!(ranges(&received), [(9, 10)]);
        received.on_ack_acknowledged(mark);
        assert_eq!(ranges(&received), [(10, 10)]);
    }

    #[test]
    fn what_had_no_room_in_the_frame_is_not_forgotten() {
        let mut received = Received::default();
        take(&mut received, [0, 2, 4]);
        assert_eq!(received.on_ack_sent(T, 0, false), AckMark::NONE);
        assert!(received.ack_deadline().is_some());
        let mark = received.on_ack_sent(T, 2, false);
        assert!(received.ack_deadline().is_none());
        received.on_ack_acknowledged(mark);
        assert_eq!(ranges(&received), [(4, 4), (2, 2), (0, 0)]);
    }

    #[test]
    fn marks_survive_large_numbers() {
        let mut received = Received::default();
        let base = 3 << 32;
        take(&mut received, [base - 4, base - 2]);
        let mark = received.on_ack_sent(T, MAX_RANGES, false);
        take(&mut received, [base + 1]);
        received.on_ack_acknowledged(mark);
        assert_eq!(ranges(&received), [(base + 1, base + 1)]);
    }

    #[test]
    fn a_mark_from_nowhere_does_no_harm() {
        let mut received = Received::default();
        received.on_ack_acknowledged(AckMark(7));
        take(&mut received, [0, 2]);
        received.on_ack_acknowledged(AckMark(77));
        assert_eq!(ranges(&received), [(2, 2), (0, 0)]);
    }

    proptest! {
        #[test]
        fn ranges_are_what_a_set_would_say(
            steps in prop::collection::vec((0u64..60, prop::bool::weighted(0.1)), 1..200),
        ) {
            // At most 30 gaps: nothing is forgotten for lack of room.
            let mut received = Received::default();
            let mut naive = BTreeSet::new();
            let mut floor = 0;
            for (number, acknowledge) in steps {
                take(&mut received, [number]);
                if number >= floor {
                    naive.insert(number);
                }
                if acknowledge {
                    let mark = received.on_ack_sent(T, MAX_RANGES, false);
                    received.on_ack_acknowledged(mark);
                    floor = *naive.last().unwrap();
                    naive = naive.split_off(&floor);
                }
                let told: BTreeSet<u64> =
                    ranges(&received).iter().flat_map(|&(low, high)| low..=high).collect();
                prop_assert_eq!(&told, &naive);
                let ranges = ranges(&received);
                for pair in ranges.windows(2) {
                    prop_assert!(pair[1].1 + 1 < pair[0].0, "disjoint, apart, descending");
                }
            }
        }

        #[test]
        fn any_numbers_leave_the_newest_ranges(
            numbers in prop::collection::vec(0u64..400, 1..400),
        ) {
            let mut received = Received::default();
            let mut naive = BTreeSet::new();
            for number in numbers {
                take(&mut received, [number]);
                naive.insert(number);
                let told = ranges(&received);
                prop_assert!(told.len() <= MAX_RANGES);
                prop_assert_eq!(told[0].1, *naive.last().unwrap());
                prop_assert!(told.iter().all(|&(low, high)| (low..=high).all(|n| naive.contains(&n))));
                let oldest = told.last().unwrap().0;
                let count: u64 = told.iter().map(|&(low, high)| high - low + 1).sum();
                prop_assert_eq!(count, naive.range(oldest..).count() as u64);
            }
        }
    }
}
