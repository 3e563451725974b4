//! Which packets have arrived, and when the peer must be told.

use core::time::Duration;

use heapless::Vec;

use crate::id::PacketNumber;
use crate::time::Instant;

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
    largest_host_delay: Duration,
    /// The largest number in the latest acknowledgement sent.
    reported: Option<PacketNumber>,
    /// Ack-eliciting packets since the latest acknowledgement.
    unacknowledged: u32,
    deadline: Option<Instant>,
    policy: AckPolicy,
}

/// When an acknowledgement leaves though no data does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AckPolicy {
    /// Longest wait for a packet to ride on.
    pub delay_max: Duration,
    /// So many ack-eliciting packets are acknowledged at once.
    pub packets: u32,
    /// A packet missing this far behind the largest is reported at once: the sender's threshold.
    pub reordering: u32,
}

impl Default for AckPolicy {
    fn default() -> Self {
        Self { delay_max: MAX_ACK_DELAY, packets: 10, reordering: 3 }
    }
}

/// The acknowledgement that a sent packet carried, to be kept with that packet.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct AckMark(u32);

impl AckMark {
    /// The packet carried no acknowledgement.
    pub const NONE: Self = Self(0);
}

impl Received {
    /// Nothing received yet.
    #[must_use]
    pub const fn new(policy: AckPolicy) -> Self {
        Self {
            ranges: Vec::new(),
            floor: PacketNumber(0),
            largest_at: Instant::ZERO,
            largest_host_delay: Duration::ZERO,
            reported: None,
            unacknowledged: 0,
            deadline: None,
            policy,
        }
    }

    /// Takes in packet `number`, which was opened at `now` and had waited in this host for
    /// `host_delay` before it could be read (zero where that is not known).
    pub fn on_received(
        &mut self,
        now: Instant,
        number: PacketNumber,
        ack_eliciting: bool,
        host_delay: Duration,
    ) {
        if self.largest().is_none_or(|largest| number > largest) {
            self.largest_at = now;
            self.largest_host_delay = host_delay;
        }
        self.insert(number);
        if !ack_eliciting {
            return;
        }
        self.unacknowledged = self.unacknowledged.saturating_add(1);
        let at_once = self.unacknowledged >= self.policy.packets || self.has_news_of_loss();
        let due = if at_once { now } else { now + self.policy.delay_max };
        self.deadline = Some(self.deadline.map_or(due, |earlier| earlier.min(due)));
    }

    /// Whether an acknowledgement should ride on a packet that leaves anyway.
    #[must_use]
    pub const fn ack_pending(&self) -> bool {
        self.unacknowledged > 0
    }

    /// When an acknowledgement must leave even alone; in the past if at once.
    #[must_use]
    pub const fn ack_deadline(&self) -> Option<Instant> {
        self.deadline
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

    /// How long ago the largest packet was received.
    #[must_use]
    pub const fn ack_delay(&self, now: Instant) -> Duration {
        now.since(self.largest_at)
    }

    /// How long the largest packet had waited in this host before it could be read.
    #[must_use]
    pub const fn host_delay(&self) -> Duration {
        self.largest_host_delay
    }

    /// Whether so many gaps are reported that the packet carrying them should be made
    /// ack-eliciting (a Ping), so that they can be forgotten. Matters where data goes one way only.
    #[must_use]
    pub fn wants_acknowledgement(&self) -> bool {
        self.ranges.len() > MAX_RANGES / 2
    }

    /// All ranges are on their way to the peer; the mark goes with the packet that carries them.
    pub fn on_ack_sent(&mut self) -> AckMark {
        self.unacknowledged = 0;
        self.deadline = None;
        self.reported = self.largest();
        // Zero stands for "none": one mark in 2³² is lost, and the next one does its work.
        self.reported.map_or(AckMark::NONE, |largest| AckMark(low_bits(largest).wrapping_add(1)))
    }

    /// The peer has our acknowledgement with this mark: what it told need not be told again
    /// (RFC 9000 §13.2.4).
    pub fn on_ack_acknowledged(&mut self, mark: AckMark) {
        let Some(largest) = self.largest() else { return };
        if mark == AckMark::NONE {
            return;
        }
        let behind = low_bits(largest).wrapping_sub(mark.0.wrapping_sub(1));
        let Some(told) = largest.0.checked_sub(u64::from(behind)) else { return };
        // The largest stays: an acknowledgement has at least one range.
        let floor = PacketNumber(told.saturating_add(1).min(largest.0));
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
        // Searched from the newest, where nearly every packet belongs.
        let after = self.ranges.iter().rposition(|range| range.low <= number);
        let at = after.map_or(0, |index| index + 1);
        let joins_next = self.ranges.get(at).is_some_and(|next| follows(number, next.low));
        let joins_last = match after.and_then(|index| self.ranges.get_mut(index)) {
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
            let Some(before) = at.checked_sub(1) else { return };
            let oldest = self.ranges.remove(0);
            self.floor = oldest.high.next();
            at = before;
        }
        // Cannot fail: a full list has just lost a range, and `at` is within.
        let _ = self.ranges.insert(at, range);
    }

    /// Whether a packet is missing that the sender will give up for lost when it hears of the
    /// largest, and did not after the last acknowledgement.
    fn has_news_of_loss(&self) -> bool {
        let reordering = u64::from(self.policy.reordering);
        let Some(last) = self.largest().and_then(|largest| largest.0.checked_sub(reordering))
        else {
            return false;
        };
        let first = match self.reported {
            Some(reported) => reported.0.saturating_add(1).saturating_sub(reordering),
            None => 0,
        };
        let first = first.max(self.floor.0);
        first <= last
            && !self.ranges.iter().rev().any(|range| range.low.0 <= first && range.high.0 >= last)
    }
}

impl Default for Received {
    fn default() -> Self {
        Self::new(AckPolicy::default())
    }
}

/// Packets `low` to `high`, both included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Range {
    low: PacketNumber,
    high: PacketNumber,
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
