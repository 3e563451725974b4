//! Acknowledgements, round-trip times, loss detection, congestion control.
//!
//! RFC 9002 with one packet-number space per connection and direction, whatever the path. Each
//! packet remembers its path, and loss is judged against later packets of the same path only.

mod congestion;
mod given_up;
mod pacer;
mod path;
mod received;
mod rtt;
mod sent;
mod steered;

use core::error::Error;
use core::fmt;
use core::time::Duration;

use heapless::Vec;

pub use congestion::{AckSample, Controller, ControllerKind, Fixed, LossSample};
pub use path::Room;
pub use received::{
    AckMark, AckWanted, Arrival, MAX_ACK_DELAY, MAX_RANGES, PATIENT_ACK_DELAY, Received,
};
pub use rtt::{EndDelay, GRANULARITY, INITIAL_RTT, Rtt};
pub use sent::{FrameList, Full, MAX_PATHS, PathIndex, SentFree, SentPacket, SentPool, SentSlot};
pub use steered::{INITIAL_WINDOW, RATE_MAX, RateBounds, Steered};

use crate::id::PacketNumber;
use crate::time::Instant;
use given_up::GivenUp;
use pacer::Pacer;
use path::{AckTally, LossTally, PathRecovery};
pub(crate) use sent::Marks;
use sent::{SentList, Visit};

/// One connection's account of what it sent: numbers, flight, losses, timers, windows.
///
/// The pool handed to its methods must always be the same. Before a `Recovery` is dropped or
/// overwritten, [`abandon_all`](Self::abandon_all) gives its slots back.
#[derive(Debug)]
pub struct Recovery {
    next_number: PacketNumber,
    list: SentList,
    paths: [PathRecovery; MAX_PATHS],
    /// Of them, only so many from the front ever carried a packet: mostly one.
    paths_used: usize,
    packet_threshold: u32,
    given_up: GivenUp,
    /// Lets real-time data out whatever the rest must wait for.
    floor: Pacer,
    stats: Stats,
}

/// A packet about to be remembered.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct NewPacket {
    /// The path it leaves over.
    pub path: PathIndex,
    /// Bytes of the whole datagram.
    pub size: u16,
    /// Whether it holds more than Ack and Padding frames.
    pub ack_eliciting: bool,
    /// What to hand back with its fate; must be empty if it is not ack-eliciting.
    pub frames: FrameList,
    /// The acknowledgement in it, from [`Received::on_ack_sent`].
    pub ack: AckMark,
    /// Whether its acknowledgement may be [`AckWanted::Late`].
    pub patient: bool,
    /// Whether it only finds out if the path carries so long a datagram: its loss is no sign of
    /// congestion (RFC 8899 §3, item 7).
    pub mtu_probe: bool,
}

/// What became of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The peer has it.
    Acked,
    /// It is given up: what it carried may have to go again.
    Lost,
    /// It is given up with its path, and nobody knows whether it arrived: as if it were lost.
    Abandoned,
}

/// What a time-out asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimeoutAction {
    /// Nothing: losses, if any, went to the sink.
    None,
    /// Send so many ack-eliciting packets over the path now, with data if there is any, else a
    /// Ping; the window does not hold them back.
    Probe {
        /// Over which path.
        path: PathIndex,
        /// How many packets, at least 1.
        count: u8,
    },
}

/// Counts since the connection began, of ack-eliciting packets only.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Stats {
    /// Packets sent.
    pub packets_sent: u64,
    /// Packets acknowledged.
    pub packets_acked: u64,
    /// Packets found lost, some of which were only late; without probes of the path's MTU.
    pub packets_lost: u64,
    /// Packets found lost that were acknowledged later.
    pub packets_spurious: u64,
    /// Packets given up with their path, fate unknown.
    pub packets_abandoned: u64,
    /// Bytes of datagrams sent.
    pub bytes_sent: u64,
    /// Bytes of datagrams acknowledged.
    pub bytes_acked: u64,
    /// Bytes of datagrams found lost, of the same packets.
    pub bytes_lost: u64,
}

impl Recovery {
    /// Nothing sent yet; every path begins with `controller`.
    #[must_use]
    pub const fn new(controller: ControllerKind) -> Self {
        Self {
            next_number: PacketNumber(0),
            list: SentList::EMPTY,
            paths: [
                PathRecovery::new(controller),
                PathRecovery::new(controller),
                PathRecovery::new(controller),
                PathRecovery::new(controller),
            ],
            paths_used: 0,
            packet_threshold: PACKET_THRESHOLD,
            given_up: GivenUp::new(),
            floor: Pacer::new(),
            stats: Stats::ZERO,
        }
    }

    /// The number of the next packet.
    #[must_use]
    pub const fn next_number(&self) -> PacketNumber {
        self.next_number
    }

    /// Takes in that a packet left with [`next_number`](Self::next_number), which it returns and
    /// uses up. Ack-eliciting packets are remembered until their fate is known.
    ///
    /// # Errors
    /// [`Full`] if the packet could not be remembered, which [`SentPool::has_room`] tells before.
    /// Its number is used up all the same, since a nonce must not come twice.
    pub fn on_sent(
        &mut self,
        now: Instant,
        new: NewPacket,
        pool: &mut SentPool<'_>,
    ) -> Result<PacketNumber, Full> {
        let number = self.next_number;
        self.next_number = number.next();
        if !new.ack_eliciting {
            return Ok(number);
        }
        let path = &mut self.paths[new.path.get()];
        let packet = path.stamp(SentPacket {
            number,
            sent_at: now,
            frames: new.frames,
            ack: new.ack,
            size: new.size,
            path: new.path,
            marks: Marks::new(false, new.mtu_probe),
            ..SentPacket::default()
        });
        self.list.push(pool, packet)?;
        self.paths_used = self.paths_used.max(new.path.get() + 1);
        path.count_sent(&packet, new.patient);
        self.stats.packets_sent += 1;
        self.stats.bytes_sent += u64::from(new.size);
        Ok(number)
    }

    /// Takes in an acknowledgement: inclusive ranges in descending order, and the time it and its
    /// cause spent at the ends. The sink is given each newly acknowledged packet, then each packet
    /// that is thereby lost, both in ascending order.
    ///
    /// # Errors
    /// [`AckError`] if no honest peer can have sent this; nothing has changed then.
    pub fn on_ack(
        &mut self,
        now: Instant,
        ranges: impl IntoIterator<Item = (PacketNumber, PacketNumber)>,
        delay: EndDelay,
        pool: &mut SentPool<'_>,
        sink: &mut impl FnMut(Outcome, SentPacket),
    ) -> Result<(), AckError> {
        let mut ranges = self.checked(ranges)?;
        let Some(&(_, largest)) = ranges.first() else { return Err(AckError::Malformed) };
        self.undo_losses(&ranges);
        let tallies = self.take_acked(&mut ranges, pool, sink);
        for (path, tally) in used(&mut self.paths, self.paths_used).iter_mut().zip(&tallies) {
            // RFC 9002 §5.1: the delay belongs to the largest packet, which must be news.
            let sample = tally.newest_is(largest).then_some(delay);
            path.on_acked(now, tally, sample);
        }
        self.detect_losses(now, pool, sink);
        for (path, tally) in used(&mut self.paths, self.paths_used).iter_mut().zip(&tallies) {
            path.tell_acked(now, tally, tally.newest_is(largest));
        }
        Ok(())
    }

    /// When [`on_timeout`](Self::on_timeout) is due; `None` while nothing is in flight.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let earliest =
            self.used_paths().iter().map(PathRecovery::timeout).fold(Instant::FAR, Ord::min);
        (earliest != Instant::FAR).then_some(earliest)
    }

    /// Does what is due by `now`: declares losses, or asks for a probe. To be repeated until
    /// [`poll_timeout`](Self::poll_timeout) lies after `now`; every call brings that nearer.
    pub fn on_timeout(
        &mut self,
        now: Instant,
        pool: &mut SentPool<'_>,
        sink: &mut impl FnMut(Outcome, SentPacket),
    ) -> TimeoutAction {
        if self
            .used_paths()
            .iter()
            .any(|path| path.loss_time != Instant::FAR && path.loss_time <= now)
        {
            self.detect_losses(now, pool, sink);
            return TimeoutAction::None;
        }
        for index in PathIndex::ALL {
            let path = &mut self.paths[index.get()];
            let due = path.pto_at();
            if due <= now && due != Instant::FAR {
                return TimeoutAction::Probe { path: index, count: path.on_pto(now) };
            }
        }
        TimeoutAction::None
    }

    /// The oldest packet in flight on `path`: what it carried is what a probe should carry.
    #[must_use]
    pub fn oldest(&self, path: PathIndex, pool: &SentPool<'_>) -> Option<SentPacket> {
        self.list.iter(pool).find(|packet| packet.path == path).copied()
    }

    /// Takes what the oldest packet in flight on `path` carried, so that a probe carries it again:
    /// the packet stays in flight, empty.
    pub fn take_oldest_frames(&mut self, path: PathIndex, pool: &mut SentPool<'_>) -> FrameList {
        self.list
            .find_mut(pool, |packet| packet.path == path && packet.frames != FrameList::EMPTY)
            .map_or(FrameList::EMPTY, |packet| core::mem::take(&mut packet.frames))
    }

    /// The largest number that the peer has acknowledged, on any path.
    #[must_use]
    pub fn largest_acked(&self) -> Option<PacketNumber> {
        self.used_paths()
            .iter()
            .filter_map(|path| path.largest_acked)
            .map(|largest| largest.number)
            .max()
    }

    /// Hands back everything in flight on `path` as abandoned; its window does not suffer for it.
    pub fn abandon_path(
        &mut self,
        path: PathIndex,
        pool: &mut SentPool<'_>,
        sink: &mut impl FnMut(Outcome, SentPacket),
    ) {
        self.abandon(pool, sink, |packet| packet.path == path);
    }

    /// Hands back everything in flight as abandoned and leaves no slot of the pool in use.
    pub fn abandon_all(
        &mut self,
        pool: &mut SentPool<'_>,
        sink: &mut impl FnMut(Outcome, SentPacket),
    ) {
        self.abandon(pool, sink, |_| true);
    }

    /// Forgets what was learnt about `path`, which from now on leads through another relay or
    /// network. What is in flight stays, unless abandoned before.
    pub fn reset_path(&mut self, path: PathIndex, controller: ControllerKind) {
        self.paths[path.get()].reset(controller);
    }

    /// A guess of the round-trip time, from the handshake or a path challenge; ignored once
    /// acknowledgements gave samples.
    pub fn set_initial_rtt(&mut self, path: PathIndex, guess: Duration) {
        let rtt = &mut self.paths[path.get()].rtt;
        if rtt.first_sample_at().is_none() {
            *rtt = Rtt::assuming(guess);
        }
    }

    /// Whether a packet of `bytes` may leave over `path`: the window and the pace allow it, or a
    /// probe is owed.
    #[must_use]
    pub fn room(&mut self, now: Instant, path: PathIndex, bytes: u16) -> Room {
        self.paths[path.get()].room(now, bytes)
    }

    /// The moment came for which [`room`](Self::room) asked, and the caller `late` after it. Only
    /// this tells how rarely an application calls: a path may wait for more than its pace.
    pub fn on_pace_timer(&mut self, path: PathIndex, late: Duration) {
        self.paths[path.get()].on_pace_timer(late);
    }

    /// Whether the next packets over `path` are those that a probe time-out asked for.
    #[must_use]
    pub const fn owes_probe(&self, path: PathIndex) -> bool {
        self.paths[path.get()].probes > 0
    }

    /// Whether a packet of `bytes` with real-time data may leave although there is no
    /// [`room`](Self::room): up to a floor it never waits.
    #[must_use]
    pub fn urgent_room(&mut self, now: Instant, bytes: u16) -> Room {
        match self.floor.admit(now, FLOOR_RATE, u64::from(bytes)) {
            Ok(()) => Room::Open,
            Err(at) => Room::At(at),
        }
    }

    /// A packet of `bytes` left because of [`urgent_room`](Self::urgent_room).
    pub fn on_urgent_sent(&mut self, bytes: u16) {
        self.floor.spend(u64::from(bytes));
    }

    /// Everything there was to send has left over `path`, which had room for more: what it delivers
    /// meanwhile says nothing about what it could.
    pub fn on_app_limited(&mut self, path: PathIndex) {
        self.paths[path.get()].on_app_limited();
    }

    /// Bytes in flight on `path`.
    #[must_use]
    pub const fn bytes_in_flight(&self, path: PathIndex) -> u64 {
        self.paths[path.get()].in_flight
    }

    /// Bytes that may be in flight on `path`.
    #[must_use]
    pub fn window(&self, path: PathIndex) -> u64 {
        self.paths[path.get()].controller.window()
    }

    /// Bytes per second at which `path` should be filled; `None` for no limit but the window.
    #[must_use]
    pub fn pacing_rate(&self, path: PathIndex) -> Option<u64> {
        self.paths[path.get()].controller.pacing_rate()
    }

    /// How long a packet now waits in the queues of `path`, as far as that can be told.
    #[must_use]
    pub fn queue_delay(&self, path: PathIndex) -> Duration {
        self.paths[path.get()].controller.queue_delay()
    }

    /// The share of packets lately lost on `path`, in 1/1024.
    #[must_use]
    pub const fn loss(&self, path: PathIndex) -> u32 {
        self.paths[path.get()].loss.share()
    }

    /// The round-trip times of `path`.
    #[must_use]
    pub const fn rtt(&self, path: PathIndex) -> &Rtt {
        &self.paths[path.get()].rtt
    }

    /// What was sent and what became of it.
    #[must_use]
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }

    fn checked(
        &self,
        ranges: impl IntoIterator<Item = (PacketNumber, PacketNumber)>,
    ) -> Result<AckRanges, AckError> {
        let mut checked = AckRanges::new();
        // A correct encoder sends no more than fit; what is beyond is old and told again.
        for (low, high) in ranges.into_iter().take(MAX_RANGES) {
            let below = checked.last().map_or(self.next_number, |&(newer, _)| newer);
            if checked.is_empty() && high >= self.next_number {
                return Err(AckError::Unsent);
            }
            if low > high || high >= below || checked.push((low, high)).is_err() {
                return Err(AckError::Malformed);
            }
        }
        Ok(checked)
    }

    /// Packets given up too early: the account is put right, and more reordering expected from now.
    fn undo_losses(&mut self, ranges: &AckRanges) {
        let Self { given_up, paths, stats, packet_threshold, .. } = self;
        given_up.take_arrived(ranges, |packet| {
            let path = &mut paths[packet.path.get()];
            path.controller.on_spurious_loss(u64::from(packet.size));
            path.loss.take(false);
            stats.packets_spurious += 1;
            let overtaken = path.sequences_since(packet.sequence);
            if overtaken >= *packet_threshold {
                *packet_threshold = (overtaken + 1).min(PACKET_THRESHOLD_MAX);
            } else {
                path.rtt.on_hasty_loss();
            }
        });
    }

    /// Takes the packets in `ranges` out of the list and uses the ranges up.
    fn take_acked(
        &mut self,
        ranges: &mut AckRanges,
        pool: &mut SentPool<'_>,
        sink: &mut impl FnMut(Outcome, SentPacket),
    ) -> [AckTally; MAX_PATHS] {
        let mut tallies = [AckTally::default(); MAX_PATHS];
        let Self { list, paths, stats, .. } = self;
        list.visit(pool, |packet| {
            while ranges.last().is_some_and(|&(_, high)| high < packet.number) {
                ranges.pop();
            }
            match ranges.last() {
                None => return Visit::Stop,
                Some(&(low, _)) if packet.number < low => return Visit::Keep,
                Some(_) => {}
            }
            let path = &mut paths[packet.path.get()];
            tallies[packet.path.get()].add(packet);
            path.forget(packet);
            path.loss.take(false);
            stats.packets_acked += 1;
            stats.bytes_acked += u64::from(packet.size);
            sink(Outcome::Acked, *packet);
            Visit::Take
        });
        tallies
    }

    /// Hands back what is lost by now and sets the loss timers anew.
    fn detect_losses(
        &mut self,
        now: Instant,
        pool: &mut SentPool<'_>,
        sink: &mut impl FnMut(Outcome, SentPacket),
    ) {
        let mut tallies = [LossTally::default(); MAX_PATHS];
        let Self { list, paths, paths_used, stats, packet_threshold, given_up, .. } = self;
        let paths = used(paths, *paths_used);
        let horizon = paths.iter().filter_map(|path| path.largest_acked).map(|l| l.number).max();
        for path in paths.iter_mut() {
            path.loss_time = Instant::FAR;
        }
        list.visit(pool, |packet| {
            if horizon.is_none_or(|horizon| packet.number > horizon) {
                return Visit::Stop;
            }
            let path = &mut paths[packet.path.get()];
            if !path.is_lost(now, packet, *packet_threshold) {
                return Visit::Keep;
            }
            path.forget(packet);
            if !packet.is_mtu_probe() {
                tallies[packet.path.get()].add(packet, &path.rtt);
                path.loss.take(true);
                stats.packets_lost += 1;
                stats.bytes_lost += u64::from(packet.size);
                given_up.remember(packet);
            }
            sink(Outcome::Lost, *packet);
            Visit::Take
        });
        for (path, tally) in paths.iter_mut().zip(&tallies) {
            path.tell_lost(now, tally);
        }
    }

    fn used_paths(&self) -> &[PathRecovery] {
        self.paths.get(..self.paths_used).unwrap_or(&self.paths)
    }

    fn abandon(
        &mut self,
        pool: &mut SentPool<'_>,
        sink: &mut impl FnMut(Outcome, SentPacket),
        is_meant: impl Fn(&SentPacket) -> bool,
    ) {
        let Self { list, paths, stats, .. } = self;
        list.visit(pool, |packet| {
            if !is_meant(packet) {
                return Visit::Keep;
            }
            let path = &mut paths[packet.path.get()];
            path.forget(packet);
            path.stop_timers();
            stats.packets_abandoned += 1;
            sink(Outcome::Abandoned, *packet);
            Visit::Take
        });
    }
}

impl Default for Recovery {
    fn default() -> Self {
        Self::new(ControllerKind::default())
    }
}

impl Stats {
    const ZERO: Self = Self {
        packets_sent: 0,
        packets_acked: 0,
        packets_lost: 0,
        packets_spurious: 0,
        packets_abandoned: 0,
        bytes_sent: 0,
        bytes_acked: 0,
        bytes_lost: 0,
    };
}

/// Why an acknowledgement was refused: the peer is at fault in each case.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum AckError {
    /// It names a packet that was never sent.
    Unsent,
    /// Its ranges are none, empty, overlapping or out of order.
    Malformed,
}

impl fmt::Display for AckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unsent => "the peer acknowledges a packet that was never sent",
            Self::Malformed => "the peer's acknowledgement has no ordered ranges",
        })
    }
}

impl Error for AckError {}

fn used(paths: &mut [PathRecovery; MAX_PATHS], count: usize) -> &mut [PathRecovery] {
    paths.get_mut(..count).unwrap_or_default()
}

type AckRanges = Vec<(PacketNumber, PacketNumber), MAX_RANGES>;

/// So many later packets of its path acknowledged make a packet lost (RFC 9002 §6.1.1).
const PACKET_THRESHOLD: u32 = 3;

/// Real-time data up to this rate, bytes per second, does not wait for the path: refusing it would
/// hardly relieve any link that games are played over.
const FLOOR_RATE: u64 = 64_000;

/// Beyond, the time threshold decides.
const PACKET_THRESHOLD_MAX: u32 = 128;
