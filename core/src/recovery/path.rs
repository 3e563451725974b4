//! What recovery knows of one path: times, flight, when packets count as lost.

use core::time::Duration;

use super::congestion::{AckSample, Controller, ControllerKind, LossSample};
use super::pacer::Pacer;
use super::received::{MAX_ACK_DELAY, PATIENT_ACK_DELAY};
use super::rtt::{EndDelay, Rtt};
use super::sent::{Marks, SentPacket};
use crate::id::PacketNumber;
use crate::time::{Instant, micros};

/// One path's share of [`Recovery`](super::Recovery).
#[derive(Clone, Debug)]
pub(super) struct PathRecovery {
    pub(super) rtt: Rtt,
    pub(super) loss: LossShare,
    pub(super) controller: ControllerKind,
    /// Bytes and packets remembered as sent over this path.
    pub(super) in_flight: u64,
    outstanding: u32,
    next_sequence: u32,
    pub(super) largest_acked: Option<LargestAcked>,
    /// When the next packet counts as lost by time; or [`Instant::FAR`].
    pub(super) loss_time: Instant,
    /// The latest ack-eliciting packet or probe time-out.
    timer_from: Instant,
    pto_count: u8,
    /// Packets that may still leave whatever the window says.
    pub(super) probes: u8,
    /// Whether the acknowledgement of the latest packet may be late.
    patient: bool,
    /// Bytes that left at the moment of the latest packet.
    burst: u32,
    delivered: u64,
    delivered_at: Instant,
    first_sent_at: Instant,
    /// Until so much is delivered, what was sent was less than the path might have carried.
    app_limited_until: u64,
    pacer: Pacer,
}

/// Whether a packet may leave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Room {
    /// It may.
    Open,
    /// Not before this moment.
    At(Instant),
    /// Not before something is acknowledged or lost.
    Shut,
}

/// The newest packet of a path that was acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct LargestAcked {
    pub(super) number: PacketNumber,
    sequence: u32,
}

/// What an acknowledgement newly acknowledges on one path.
#[derive(Clone, Copy, Default)]
pub(super) struct AckTally {
    bytes: u64,
    newest: Option<SentPacket>,
}

/// What was found lost on one path.
#[derive(Clone, Copy, Default)]
pub(super) struct LossTally {
    bytes: u64,
    /// The run of neighbours that ends with the newest lost packet: since when, up to which.
    run: Option<(Instant, u32)>,
    longest_run: Duration,
}

impl PathRecovery {
    pub(super) const fn new(controller: ControllerKind) -> Self {
        Self {
            rtt: Rtt::new(),
            loss: LossShare(0),
            controller,
            in_flight: 0,
            outstanding: 0,
            next_sequence: 0,
            largest_acked: None,
            loss_time: Instant::FAR,
            timer_from: Instant::ZERO,
            pto_count: 0,
            probes: 0,
            patient: false,
            burst: 0,
            delivered: 0,
            delivered_at: Instant::ZERO,
            first_sent_at: Instant::ZERO,
            app_limited_until: 0,
            pacer: Pacer::new(),
        }
    }

    /// Forgets what was learnt, not what is in flight.
    pub(super) fn reset(&mut self, controller: ControllerKind) {
        *self = Self {
            in_flight: self.in_flight,
            outstanding: self.outstanding,
            next_sequence: self.next_sequence,
            timer_from: self.timer_from,
            delivered: self.delivered,
            delivered_at: self.delivered_at,
            first_sent_at: self.first_sent_at,
            pacer: self.pacer,
            ..Self::new(controller)
        };
    }

    /// `packet` with what the path adds to it; it counts once [`count_sent`](Self::count_sent) is told.
    pub(super) fn stamp(&self, packet: SentPacket) -> SentPacket {
        let idle = self.outstanding == 0;
        let since = |earlier| short(if idle { 0 } else { packet.sent_at.micros_since(earlier) });
        SentPacket {
            sequence: self.next_sequence,
            delivered: wrapped(self.delivered),
            since_delivery: since(self.delivered_at),
            since_first_sent: since(self.first_sent_at),
            marks: Marks::new(self.delivered < self.app_limited_until, packet.is_mtu_probe())
                .behind(self.millis_behind(packet.sent_at)),
            ..packet
        }
    }

    /// How long the path needs, at the present rate, for what left at this very moment beyond an
    /// ordinary burst, in milliseconds: a caller that comes once a frame sends a frame's worth.
    fn millis_behind(&self, now: Instant) -> u64 {
        let Some(rate) = self.controller.pacing_rate() else { return 0 };
        let burst = if self.timer_from == now { u64::from(self.burst) } else { 0 };
        let ordinary = (rate / 1000).max(ORDINARY_BURST);
        // Mostly nothing, which is not worth a division.
        if burst <= ordinary { 0 } else { (burst - ordinary) * 1000 / rate.max(1) }
    }

    pub(super) fn count_sent(&mut self, packet: &SentPacket, patient: bool) {
        let before = if self.timer_from == packet.sent_at { self.burst } else { 0 };
        self.burst = before.saturating_add(packet.size.into());
        if self.outstanding == 0 {
            self.delivered_at = packet.sent_at;
            self.first_sent_at = packet.sent_at;
        }
        self.next_sequence = self.next_sequence.wrapping_add(1);
        self.outstanding += 1;
        self.in_flight += u64::from(packet.size);
        self.timer_from = self.timer_from.max(packet.sent_at);
        self.patient = patient;
        self.probes = self.probes.saturating_sub(1);
        self.pacer.spend(u64::from(packet.size));
    }

    /// Whether a packet of `bytes` may leave.
    pub(super) fn room(&mut self, now: Instant, bytes: u16) -> Room {
        let bytes = u64::from(bytes);
        if self.probes > 0 {
            return Room::Open;
        }
        if self.in_flight + bytes > self.controller.window() {
            return Room::Shut;
        }
        let Some(rate) = self.controller.pacing_rate() else { return Room::Open };
        match self.pacer.admit(now, rate, bytes) {
            Ok(()) => Room::Open,
            Err(at) => {
                if self.pacer.is_cut() {
                    self.on_app_limited();
                }
                Room::At(at)
            }
        }
    }

    /// See [`Recovery::on_pace_timer`](super::Recovery::on_pace_timer).
    pub(super) fn on_pace_timer(&mut self, late: Duration) {
        self.pacer.on_late(late);
    }

    /// How many packets of this path were sent after that one until the newest acknowledged.
    pub(super) fn sequences_since(&self, sequence: u32) -> u32 {
        self.largest_acked.map_or(0, |largest| largest.sequence.wrapping_sub(sequence))
    }

    /// Everything there was to send has left, and there was room for more.
    pub(super) fn on_app_limited(&mut self) {
        self.app_limited_until = (self.delivered + self.in_flight).max(1);
    }

    /// `packet` is no longer in flight.
    pub(super) fn forget(&mut self, packet: &SentPacket) {
        self.outstanding -= 1;
        self.in_flight -= u64::from(packet.size);
    }

    /// Updates times after an acknowledgement; `sample` if it is one of the path's round trip.
    pub(super) fn on_acked(&mut self, now: Instant, tally: &AckTally, sample: Option<EndDelay>) {
        let Some(newest) = tally.newest else { return };
        if let Some(delay) = sample {
            self.rtt.update(now, now.since(newest.sent_at), delay);
        }
        if self.largest_acked.is_none_or(|largest| newest.number > largest.number) {
            self.largest_acked =
                Some(LargestAcked { number: newest.number, sequence: newest.sequence });
        }
        self.delivered += tally.bytes;
        self.delivered_at = now;
        self.first_sent_at = self.first_sent_at.max(newest.sent_at);
        self.pto_count = 0;
        self.probes = 0;
    }

    /// Tells the controller of an acknowledgement, after the losses it made known.
    pub(super) fn tell_acked(&mut self, now: Instant, tally: &AckTally, is_sample: bool) {
        let Some(newest) = tally.newest else { return };
        let (delivered, interval) = self.delivery_since(now, &newest);
        self.controller.on_ack(&AckSample {
            now,
            bytes: tally.bytes,
            newest_sent_at: newest.sent_at,
            round_trip: is_sample.then(|| self.round_trip_alone(&newest)),
            rtt: &self.rtt,
            delivered,
            interval,
            app_limited: newest.marks.app_limited(),
        });
    }

    /// The latest round trip, as it would have been had the packet not left behind others of a
    /// frame: their time is no queue that sending less would shorten.
    fn round_trip_alone(&self, packet: &SentPacket) -> Duration {
        let latest = self.rtt.latest();
        let behind = Duration::from_millis(packet.marks.millis_behind());
        latest.saturating_sub(behind).max(self.rtt.min().min(latest))
    }

    /// How much was delivered since `packet` was sent, and in what time: the longer of sending it
    /// and having it acknowledged, since neither end can be faster than the path.
    fn delivery_since(&self, now: Instant, packet: &SentPacket) -> (u64, Duration) {
        let bytes = wrapped(self.delivered).wrapping_sub(packet.delivered);
        let since_delivery = Duration::from_micros(u64::from(packet.since_delivery));
        let acking = now.since(packet.sent_at).saturating_add(since_delivery);
        let sending = Duration::from_micros(u64::from(packet.since_first_sent));
        (u64::from(bytes), acking.max(sending))
    }

    /// Whether `packet` is lost by RFC 9002 §6.1: so many or so long behind an acknowledged packet
    /// of its path. If it may become so with time, the loss timer is set.
    pub(super) fn is_lost(&mut self, now: Instant, packet: &SentPacket, threshold: u32) -> bool {
        let Some(largest) = self.largest_acked.filter(|l| packet.number < l.number) else {
            return false;
        };
        let lost_at = packet.sent_at + self.rtt.loss_delay();
        if lost_at <= now || largest.sequence.wrapping_sub(packet.sequence) >= threshold {
            return true;
        }
        self.loss_time = self.loss_time.min(lost_at);
        false
    }

    /// Tells the controller of losses.
    pub(super) fn tell_lost(&mut self, now: Instant, tally: &LossTally) {
        if tally.bytes == 0 {
            return;
        }
        self.controller.on_loss(&LossSample {
            now,
            bytes: tally.bytes,
            persistent: tally.longest_run >= self.rtt.pto(MAX_ACK_DELAY) * PERSISTENT_PTOS,
        });
    }

    /// When a probe is due (RFC 9002 §6.2); [`Instant::FAR`] if none is.
    pub(super) fn pto_at(&self) -> Instant {
        if self.outstanding == 0 || self.loss_time != Instant::FAR {
            return Instant::FAR;
        }
        let delay = if self.patient { PATIENT_ACK_DELAY } else { MAX_ACK_DELAY };
        let once = self.rtt.pto_us(micros(delay));
        let backed_off = once.saturating_mul(1 << self.pto_count.min(MAX_BACKOFF));
        self.timer_from.plus_micros(backed_off.min(once.max(micros(PTO_MAX))))
    }

    /// The probe time-out came: how many probes should leave now.
    pub(super) fn on_pto(&mut self, now: Instant) -> u8 {
        self.probes = if self.pto_count == 0 { 1 } else { 2 };
        self.pto_count = self.pto_count.saturating_add(1);
        self.timer_from = now;
        self.probes
    }

    /// Nothing is waited for any more on this path.
    pub(super) fn stop_timers(&mut self) {
        self.loss_time = Instant::FAR;
        self.pto_count = 0;
        self.probes = 0;
    }

    /// When the path's next timer is due; [`Instant::FAR`] if it has none.
    pub(super) fn timeout(&self) -> Instant {
        if self.loss_time == Instant::FAR { self.pto_at() } else { self.loss_time }
    }
}

/// The smoothed share of packets lost, in 1/65536.
#[derive(Clone, Copy, Debug)]
pub(super) struct LossShare(u32);

impl LossShare {
    /// Takes in one packet's fate.
    pub(super) fn take(&mut self, lost: bool) {
        self.0 = self.0 - self.0 / 64 + if lost { 1024 } else { 0 };
    }

    /// In 1/1024.
    pub(super) const fn share(self) -> u32 {
        self.0 / 64
    }
}

impl AckTally {
    /// Counts `packet`. Called in ascending order.
    pub(super) fn add(&mut self, packet: &SentPacket) {
        self.bytes += u64::from(packet.size);
        self.newest = Some(*packet);
    }

    pub(super) fn newest_is(&self, number: PacketNumber) -> bool {
        self.newest.is_some_and(|packet| packet.number == number)
    }
}

impl LossTally {
    /// Counts `packet`; `rtt` tells since when there were samples. Called in ascending order.
    pub(super) fn add(&mut self, packet: &SentPacket, rtt: &Rtt) {
        self.bytes += u64::from(packet.size);
        // RFC 9002 §7.6.2: only packets sent after the first sample can show persistence.
        if rtt.first_sample_at().is_none_or(|first| packet.sent_at <= first) {
            return;
        }
        let since = match self.run {
            Some((since, last)) if last.wrapping_add(1) == packet.sequence => since,
            Some(_) | None => packet.sent_at,
        };
        self.run = Some((since, packet.sequence));
        self.longest_run = self.longest_run.max(packet.sent_at.since(since));
    }
}

/// What leaves at one moment whoever calls, in bytes.
const ORDINARY_BURST: u64 = 2400;

fn short(micros: u64) -> u32 {
    u32::try_from(micros).unwrap_or(u32::MAX)
}

fn wrapped(bytes: u64) -> u32 {
    bytes as u32
}

/// Losing everything for so many probe time-outs is persistent congestion (RFC 9002 §7.6.1).
const PERSISTENT_PTOS: u32 = 3;

/// Probes on a silent path are not further apart than this, so that a game that comes back is
/// noticed; the idle time-out ends it.
const PTO_MAX: Duration = Duration::from_secs(1);

/// 2 to this power times any round trip is beyond [`PTO_MAX`].
const MAX_BACKOFF: u8 = 12;

#[cfg(test)]
mod tests {
    use super::*;

    fn send(path: &mut PathRecovery, number: u64, ms: u64) -> SentPacket {
        let packet = path.stamp(SentPacket {
            number: PacketNumber(number),
            sent_at: Instant::from_millis(ms),
            size: 1000,
            ..SentPacket::default()
        });
        path.count_sent(&packet, false);
        packet
    }

    /// Acknowledges `packets` and gives the delivery sample of the newest.
    fn acknowledge(path: &mut PathRecovery, packets: &[SentPacket], ms: u64) -> (u64, Duration) {
        let mut tally = AckTally::default();
        for packet in packets {
            tally.add(packet);
            path.forget(packet);
        }
        let now = Instant::from_millis(ms);
        path.on_acked(now, &tally, Some(EndDelay::default()));
        path.delivery_since(now, packets.last().unwrap())
    }

    #[test]
    fn delivery_is_measured_at_the_slower_end() {
        let mut path = PathRecovery::new(ControllerKind::default());
        let a = send(&mut path, 0, 1000);
        let b = send(&mut path, 1, 1010);
        let c = send(&mut path, 2, 1020);
        let d = send(&mut path, 3, 1030);
        assert_eq!(acknowledge(&mut path, &[a], 1100), (1000, Duration::from_millis(100)));
        let e = send(&mut path, 4, 1101);
        assert_eq!(
            acknowledge(&mut path, &[b, c, d], 1130),
            (4000, Duration::from_millis(130)),
            "all delivered since d was sent, which was before anything was"
        );
        assert_eq!(
            acknowledge(&mut path, &[e], 1131),
            (4000, Duration::from_millis(101)),
            "e was sent 101 ms after a, however close its acknowledgement is to the last one"
        );
    }

    #[test]
    fn an_idle_pause_is_not_taken_for_slowness() {
        let mut path = PathRecovery::new(ControllerKind::default());
        let a = send(&mut path, 0, 1000);
        acknowledge(&mut path, &[a], 1100);
        let b = send(&mut path, 1, 9000);
        assert_eq!(acknowledge(&mut path, &[b], 9100), (1000, Duration::from_millis(100)));
    }

    #[test]
    fn what_leaves_in_one_frame_is_no_queue() {
        let mut path = PathRecovery::new(ControllerKind::default());
        let first = send(&mut path, 0, 1000);
        acknowledge(&mut path, &[first], 1040);
        // At the rate of a fresh path a frame of 20,000 bytes takes longer than the round trip.
        let frame: [_; 20] = core::array::from_fn(|n| send(&mut path, n as u64 + 1, 2000));
        assert_eq!(frame[1].marks.millis_behind(), 0, "an ordinary burst");
        assert!(frame[19].marks.millis_behind() >= 20, "{:?}", frame[19].marks);
        path.rtt.update(Instant::from_millis(2070), Duration::from_millis(70), EndDelay::default());
        assert_eq!(path.round_trip_alone(&frame[1]), Duration::from_millis(70));
        let alone = path.round_trip_alone(&frame[19]);
        assert!(alone < Duration::from_millis(55) && alone >= path.rtt.min(), "{alone:?}");
    }
}
