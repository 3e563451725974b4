//! Recovery as a connection uses it: what is sent comes back once, whatever the peer acknowledges.
#![allow(
    clippy::unwrap_used,
    reason = "clippy.toml allows it in tests, but does not see helpers as such"
)]

use core::time::Duration;

use proptest::prelude::*;
use waylane_core::id::PacketNumber;
use waylane_core::recovery::{
    AckError, ControllerKind, EndDelay, Fixed, FrameList, MAX_PATHS, NewPacket, Outcome, PathIndex,
    Recovery, Room, SentFree, SentPacket, SentPool, SentSlot, TimeoutAction,
};
use waylane_core::time::Instant;

const A: PathIndex = PathIndex::ALL[0];
const B: PathIndex = PathIndex::ALL[1];
const SIZE: u16 = 1000;

/// A connection's recovery with a pool of its own and a clock.
struct World {
    recovery: Recovery,
    slots: Vec<SentSlot>,
    free: SentFree,
    now: Instant,
    fates: Vec<(Outcome, SentPacket)>,
}

impl World {
    fn new(controller: ControllerKind) -> Self {
        Self {
            recovery: Recovery::new(controller),
            slots: vec![SentSlot::default(); 64],
            free: SentFree::default(),
            now: Instant::from_millis(1000),
            fates: Vec::new(),
        }
    }

    fn wait(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
    }

    fn send(&mut self, path: PathIndex) -> u64 {
        let new = NewPacket { path, size: SIZE, ack_eliciting: true, ..NewPacket::default() };
        let mut pool = SentPool::new(&mut self.slots, &mut self.free);
        self.recovery.on_sent(self.now, new, &mut pool).unwrap().0
    }

    fn ack(&mut self, ranges: &[(u64, u64)]) -> Result<(), AckError> {
        self.ack_after(ranges, EndDelay::default())
    }

    fn ack_after(&mut self, ranges: &[(u64, u64)], delay: EndDelay) -> Result<(), AckError> {
        let ranges = ranges.iter().map(|&(low, high)| (PacketNumber(low), PacketNumber(high)));
        let mut pool = SentPool::new(&mut self.slots, &mut self.free);
        let fates = &mut self.fates;
        self.recovery.on_ack(self.now, ranges, delay, &mut pool, &mut |outcome, packet| {
            fates.push((outcome, packet));
        })
    }

    fn is_open(&mut self, path: PathIndex, size: u16) -> bool {
        self.recovery.room(self.now, path, size) == Room::Open
    }

    /// Jumps to the next time-out and lets it happen.
    fn time_out(&mut self) -> TimeoutAction {
        self.now = self.now.max(self.recovery.poll_timeout().unwrap());
        let mut pool = SentPool::new(&mut self.slots, &mut self.free);
        let fates = &mut self.fates;
        self.recovery.on_timeout(self.now, &mut pool, &mut |outcome, packet| {
            fates.push((outcome, packet));
        })
    }

    fn abandon(&mut self, path: Option<PathIndex>) {
        let mut pool = SentPool::new(&mut self.slots, &mut self.free);
        let fates = &mut self.fates;
        let mut sink = |outcome, packet| fates.push((outcome, packet));
        match path {
            Some(path) => self.recovery.abandon_path(path, &mut pool, &mut sink),
            None => self.recovery.abandon_all(&mut pool, &mut sink),
        }
    }

    fn used(&mut self) -> usize {
        SentPool::new(&mut self.slots, &mut self.free).used()
    }

    /// Which numbers met which fate since the last time this was asked.
    fn fates(&mut self) -> Vec<(Outcome, u64)> {
        self.fates.drain(..).map(|(outcome, packet)| (outcome, packet.number.0)).collect()
    }
}

fn acked(numbers: impl IntoIterator<Item = u64>) -> Vec<(Outcome, u64)> {
    numbers.into_iter().map(|n| (Outcome::Acked, n)).collect()
}

fn lost(numbers: impl IntoIterator<Item = u64>) -> Vec<(Outcome, u64)> {
    numbers.into_iter().map(|n| (Outcome::Lost, n)).collect()
}

fn abandoned(numbers: impl IntoIterator<Item = u64>) -> Vec<(Outcome, u64)> {
    numbers.into_iter().map(|n| (Outcome::Abandoned, n)).collect()
}

/// A world whose path `A` has a round trip of 100 ms; the next number is 30.
fn warmed() -> World {
    let mut world = World::new(ControllerKind::default());
    for n in 0..30 {
        assert_eq!(world.send(A), n);
        world.wait(100);
        world.ack(&[(n, n)]).unwrap();
    }
    assert_eq!(world.fates(), acked(0..30));
    assert_eq!(world.recovery.rtt(A).smoothed(), Duration::from_millis(100));
    world
}

#[test]
fn a_connections_share_is_small() {
    assert!(size_of::<Recovery>() <= 2300, "{}", size_of::<Recovery>());
}

#[test]
fn packets_come_back_with_what_they_carried() {
    let mut world = World::new(ControllerKind::default());
    let mut pool = SentPool::new(&mut world.slots, &mut world.free);
    let new = NewPacket {
        path: B,
        size: 99,
        ack_eliciting: true,
        frames: FrameList(7),
        ..NewPacket::default()
    };
    let number = world.recovery.on_sent(world.now, new, &mut pool).unwrap();
    world.ack(&[(0, 0)]).unwrap();
    let (outcome, packet) = world.fates[0];
    assert_eq!((outcome, packet.number, packet.path), (Outcome::Acked, number, B));
    assert_eq!((packet.size, packet.frames, packet.sent_at), (99, FrameList(7), world.now));
}

#[test]
fn the_loss_of_an_mtu_probe_is_no_sign_of_congestion() {
    let mut world = warmed();
    let state = |world: &World| {
        let recovery = &world.recovery;
        (recovery.window(A), recovery.pacing_rate(A), recovery.loss(A), *recovery.rtt(A))
    };
    let (before, mut control) = (*world.recovery.stats(), warmed());
    let new = NewPacket {
        path: A,
        size: 1472,
        ack_eliciting: true,
        mtu_probe: true,
        ..NewPacket::default()
    };
    let mut pool = SentPool::new(&mut world.slots, &mut world.free);
    assert_eq!(world.recovery.on_sent(world.now, new, &mut pool), Ok(PacketNumber(30)));
    for (sent, control_sent) in (31..34).zip(30..33) {
        assert_eq!((world.send(A), control.send(A)), (sent, control_sent));
    }
    world.wait(100);
    control.wait(100);
    world.ack(&[(31, 33)]).unwrap();
    control.ack(&[(30, 32)]).unwrap();
    let (last, fates) = (world.fates[3].1, world.fates());
    assert_eq!(fates, [acked(31..34), lost([30])].concat());
    assert!(last.is_mtu_probe() && world.recovery.bytes_in_flight(A) == 0);
    assert_eq!(format!("{:?}", state(&world)), format!("{:?}", state(&control)));
    assert_eq!(world.recovery.stats().packets_lost, before.packets_lost);

    // That it was only late undoes nothing, for nothing was done.
    world.ack(&[(30, 33)]).unwrap();
    assert_eq!(world.recovery.stats().packets_spurious, before.packets_spurious);
    assert_eq!(format!("{:?}", state(&world)), format!("{:?}", state(&control)));
}

#[test]
fn three_later_packets_make_a_loss() {
    let mut world = warmed();
    for _ in 0..4 {
        world.send(A);
    }
    world.wait(100);
    world.ack(&[(31, 32)]).unwrap();
    assert_eq!(world.fates(), acked([31, 32]));
    world.ack(&[(31, 33)]).unwrap();
    assert_eq!(world.fates(), [acked([33]), lost([30])].concat());
    assert_eq!(world.recovery.bytes_in_flight(A), 0);
    assert_eq!(world.recovery.poll_timeout(), None);
    assert_eq!(world.recovery.stats().packets_lost, 1);
}

#[test]
fn a_packet_a_little_behind_is_lost_by_time() {
    let mut world = warmed();
    let sent_at = world.now;
    world.send(A);
    world.wait(1);
    world.send(A);
    world.wait(100);
    world.ack(&[(31, 31)]).unwrap();
    assert_eq!(world.fates(), acked([31]));
    let due = world.recovery.poll_timeout().unwrap();
    assert_eq!(due, sent_at + world.recovery.rtt(A).loss_delay());
    assert_eq!(world.time_out(), TimeoutAction::None);
    assert_eq!(world.fates(), lost([30]));
}

#[test]
fn packets_of_another_path_prove_nothing() {
    let mut world = warmed();
    world.send(B);
    for _ in 0..8 {
        world.send(A);
    }
    world.wait(300);
    world.ack(&[(31, 38)]).unwrap();
    assert_eq!(world.fates(), acked(31..39), "path B may just be slower");
    assert_eq!(world.recovery.bytes_in_flight(B), u64::from(SIZE));
}

#[test]
fn packets_of_another_path_do_not_count_as_later_ones() {
    let mut world = warmed();
    world.send(A);
    for _ in 0..3 {
        world.send(B);
    }
    world.send(A);
    world.wait(100);
    world.ack(&[(34, 34)]).unwrap();
    assert_eq!(world.fates(), acked([34]), "one later packet of its path, not four");
}

#[test]
fn silence_is_probed_with_back_off_and_an_ack_ends_it() {
    let mut world = warmed();
    world.send(A);
    let mut waits = Vec::new();
    let mut counts = Vec::new();
    for _ in 0..6 {
        let before = world.now;
        let TimeoutAction::Probe { path, count } = world.time_out() else { panic!("no probe") };
        assert_eq!(path, A);
        counts.push(count);
        waits.push(world.now.since(before));
    }
    assert_eq!(counts, [1, 2, 2, 2, 2, 2]);
    let once = world.recovery.rtt(A).pto(Duration::from_millis(25));
    assert_eq!(waits[..3], [once, once * 2, once * 4]);
    assert_eq!(waits[5], Duration::from_secs(1), "back-off ends where a game would notice");
    assert_eq!(world.fates(), [], "a probe time-out is not a loss");
    world.send(A);
    world.wait(100);
    world.ack(&[(31, 31)]).unwrap();
    assert_eq!(world.fates(), [acked([31]), lost([30])].concat());
    assert_eq!(world.recovery.poll_timeout(), None);
}

#[test]
fn the_window_holds_data_back_but_not_probes() {
    let mut world =
        World::new(ControllerKind::Fixed(Fixed { window: 2 * u64::from(SIZE), rate: None }));
    world.send(A);
    assert!(world.is_open(A, SIZE));
    world.send(A);
    assert!(!world.is_open(A, 1));
    assert!(world.is_open(B, SIZE), "each path has its own window");
    assert_eq!(world.time_out(), TimeoutAction::Probe { path: A, count: 1 });
    assert!(world.is_open(A, SIZE));
    world.send(A);
    assert!(!world.is_open(A, 1), "one probe was owed, one has left");
}

#[test]
fn acknowledgements_of_the_unsent_are_refused_whole() {
    let mut world = World::new(ControllerKind::default());
    assert_eq!(world.ack(&[(0, 0)]), Err(AckError::Unsent));
    world.send(A);
    assert_eq!(world.ack(&[(0, 1)]), Err(AckError::Unsent));
    assert_eq!(world.ack(&[(0, u64::MAX)]), Err(AckError::Unsent));
    world.send(A);
    assert_eq!(world.ack(&[]), Err(AckError::Malformed));
    assert_eq!(world.ack(&[(1, 0)]), Err(AckError::Malformed));
    assert_eq!(world.ack(&[(1, 1), (0, 1)]), Err(AckError::Malformed));
    assert_eq!(world.ack(&[(0, 0), (1, 1)]), Err(AckError::Malformed));
    assert_eq!(world.fates(), []);
    world.ack(&[(1, 1), (0, 0)]).unwrap();
    assert_eq!(world.fates(), acked([0, 1]));
}

#[test]
fn pure_acknowledgements_take_a_number_and_nothing_else() {
    let mut world = World::new(ControllerKind::default());
    let mut pool = SentPool::new(&mut [], &mut world.free);
    let new = NewPacket { path: A, size: 40, ..NewPacket::default() };
    assert_eq!(world.recovery.on_sent(world.now, new, &mut pool), Ok(PacketNumber(0)));
    assert_eq!(world.recovery.next_number(), PacketNumber(1));
    assert_eq!(world.recovery.bytes_in_flight(A), 0);
    assert_eq!(world.recovery.poll_timeout(), None);
    world.ack(&[(0, 0)]).unwrap();
    assert_eq!(world.fates(), []);
}

#[test]
fn a_full_pool_is_an_answer_and_numbers_never_repeat() {
    let mut world = World::new(ControllerKind::default());
    world.slots.truncate(2);
    world.send(A);
    world.send(A);
    let mut pool = SentPool::new(&mut world.slots, &mut world.free);
    assert!(!pool.has_room());
    let new = NewPacket { path: A, size: SIZE, ack_eliciting: true, ..NewPacket::default() };
    assert!(world.recovery.on_sent(world.now, new, &mut pool).is_err());
    assert_eq!(world.recovery.next_number(), PacketNumber(3));
    assert_eq!(world.recovery.bytes_in_flight(A), 2 * u64::from(SIZE));
    world.ack(&[(0, 2)]).unwrap();
    assert_eq!(world.send(A), 3);
}

#[test]
fn an_abandoned_path_hands_back_its_packets_unpunished() {
    let mut world = World::new(ControllerKind::default());
    let window = world.recovery.window(A);
    world.send(A);
    world.send(B);
    world.send(A);
    assert_eq!(world.used(), 3);
    world.abandon(Some(A));
    assert_eq!(world.fates(), abandoned([0, 2]));
    assert_eq!(world.recovery.window(A), window);
    assert_eq!(world.recovery.bytes_in_flight(A), 0);
    assert_eq!(world.recovery.stats().packets_lost, 0);
    assert_eq!(world.recovery.stats().packets_abandoned, 2);
    world.ack(&[(0, 2)]).unwrap();
    assert_eq!(world.fates(), acked([1]), "late news of abandoned packets is no news");
    world.send(B);
    world.abandon(None);
    assert_eq!(world.fates(), abandoned([3]));
    assert_eq!(world.used(), 0);
    assert_eq!(world.recovery.poll_timeout(), None);
}

#[test]
fn only_the_largest_newly_acknowledged_packet_measures_the_round_trip() {
    let mut world = warmed();
    world.send(A);
    world.wait(20);
    world.send(A);
    world.wait(80);
    world.ack(&[(31, 31)]).unwrap();
    assert_eq!(world.recovery.rtt(A).latest(), Duration::from_millis(80));
    world.wait(1);
    world.ack(&[(30, 31)]).unwrap();
    assert_eq!(world.fates(), acked([31, 30]));
    assert_eq!(world.recovery.rtt(A).latest(), Duration::from_millis(80));
}

#[test]
fn time_at_the_ends_is_taken_off_the_round_trip() {
    let mut world = warmed();
    world.send(A);
    world.wait(133);
    let delay = EndDelay { ack: Duration::from_millis(33), host: Duration::from_millis(16) };
    world.ack_after(&[(30, 30)], delay).unwrap();
    assert_eq!(world.recovery.rtt(A).latest(), Duration::from_millis(100));
}

#[test]
fn a_guess_serves_until_the_first_sample() {
    let mut world = World::new(ControllerKind::default());
    world.recovery.set_initial_rtt(A, Duration::from_millis(40));
    world.send(A);
    let due = world.recovery.poll_timeout().unwrap();
    assert_eq!(due.since(world.now), Duration::from_millis(40 + 80 + 25));
    world.wait(30);
    world.ack(&[(0, 0)]).unwrap();
    world.recovery.set_initial_rtt(A, Duration::from_millis(40));
    assert_eq!(world.recovery.rtt(A).smoothed(), Duration::from_millis(30));
    world.recovery.reset_path(A, ControllerKind::default());
    assert_eq!(world.recovery.rtt(A).first_sample_at(), None);
}

#[test]
fn the_oldest_packet_of_a_path_is_found_for_probes() {
    let mut world = World::new(ControllerKind::default());
    world.send(A);
    world.send(B);
    world.send(B);
    let pool = SentPool::new(&mut world.slots, &mut world.free);
    assert_eq!(world.recovery.oldest(B, &pool).map(|p| p.number.0), Some(1));
    assert_eq!(world.recovery.oldest(PathIndex::ALL[2], &pool), None);
}

#[derive(Clone, Debug)]
enum Step {
    Wait(u16),
    Send {
        path: u8,
        size: u16,
        ack_eliciting: bool,
    },
    /// Gaps and lengths from the newest packet down.
    Ack {
        spans: Vec<(u8, u8)>,
        ack_ms: u16,
        host_ms: u16,
    },
    /// Ranges that no encoder would write.
    Wild(Vec<(u64, u64)>),
    TimeOut,
    AbandonPath(u8),
    ResetPath(u8),
    AbandonAll,
}

fn step() -> impl Strategy<Value = Step> {
    let path = 0..MAX_PATHS as u8;
    prop_oneof![
        4 => (0u16..400).prop_map(Step::Wait),
        12 => (path.clone(), 0u16..1500, prop::bool::weighted(0.8))
            .prop_map(|(path, size, ack_eliciting)| Step::Send { path, size, ack_eliciting }),
        6 => (prop::collection::vec((0u8..8, 0u8..8), 1..6), 0u16..100, 0u16..100)
            .prop_map(|(spans, ack_ms, host_ms)| Step::Ack { spans, ack_ms, host_ms }),
        1 => prop::collection::vec((0u64..100, 0u64..100), 0..4).prop_map(Step::Wild),
        1 => prop::collection::vec((any::<u64>(), any::<u64>()), 0..3).prop_map(Step::Wild),
        4 => Just(Step::TimeOut),
        1 => path.clone().prop_map(Step::AbandonPath),
        1 => path.prop_map(Step::ResetPath),
        1 => Just(Step::AbandonAll),
    ]
}

/// What must be true, kept in the plainest way: a list of what is outstanding.
#[derive(Default)]
struct Model {
    outstanding: Vec<(u64, PathIndex, u16)>,
}

impl Model {
    /// Every fate is of an outstanding packet, which is outstanding no more; all that was
    /// acknowledged met that fate, and nothing else did.
    fn settle(&mut self, world: &mut World, ranges: &[(u64, u64)]) {
        let named = |number| ranges.iter().any(|&(low, high)| (low..=high).contains(&number));
        for (outcome, packet) in world.fates.drain(..) {
            let entry = (packet.number.0, packet.path, packet.size);
            let at = self.outstanding.iter().position(|e| *e == entry).expect("handed back twice");
            self.outstanding.remove(at);
            assert_eq!(u64::from(packet.frames.0), packet.number.0, "with what it carried");
            assert_eq!(outcome == Outcome::Acked, named(packet.number.0));
        }
        assert!(!self.outstanding.iter().any(|&(number, ..)| named(number)));
    }

    fn check(&self, world: &mut World) {
        for path in PathIndex::ALL {
            let sizes = self.outstanding.iter().filter(|e| e.1 == path).map(|e| u64::from(e.2));
            assert_eq!(world.recovery.bytes_in_flight(path), sizes.sum::<u64>());
            assert!(world.recovery.window(path) >= 2 * 1200);
        }
        assert_eq!(world.used(), self.outstanding.len());
        assert_eq!(world.recovery.poll_timeout().is_none(), self.outstanding.is_empty());
        let stats = world.recovery.stats();
        let settled = stats.packets_acked + stats.packets_lost + stats.packets_abandoned;
        assert_eq!(stats.packets_sent, settled + self.outstanding.len() as u64);
    }
}

/// Descending disjoint ranges below `next`, from (gap, length) pairs.
fn honest_ranges(next: u64, spans: &[(u8, u8)]) -> Vec<(u64, u64)> {
    let mut ranges = Vec::new();
    let mut below = Some(next);
    for &(gap, length) in spans {
        let Some(high) = below.and_then(|b| b.checked_sub(1 + u64::from(gap))) else { break };
        let low = high.saturating_sub(u64::from(length));
        ranges.push((low, high));
        below = low.checked_sub(1);
    }
    ranges
}

fn run(world: &mut World, model: &mut Model, step: &Step) {
    match step {
        Step::Wait(ms) => world.wait(u64::from(*ms)),
        Step::Send { path, size, ack_eliciting } => {
            let path = PathIndex::new(usize::from(*path)).unwrap();
            let number = world.recovery.next_number();
            let frames = FrameList(u32::try_from(number.0).unwrap());
            let new = NewPacket {
                path,
                size: *size,
                ack_eliciting: *ack_eliciting,
                frames,
                ..NewPacket::default()
            };
            let mut pool = SentPool::new(&mut world.slots, &mut world.free);
            let room = pool.has_room();
            let sent = world.recovery.on_sent(world.now, new, &mut pool);
            assert_eq!(sent.is_ok(), room || !ack_eliciting);
            if *ack_eliciting && room {
                model.outstanding.push((number.0, path, *size));
            }
        }
        Step::Ack { spans, ack_ms, host_ms } => {
            let ranges = honest_ranges(world.recovery.next_number().0, spans);
            let delay = EndDelay {
                ack: Duration::from_millis(u64::from(*ack_ms)),
                host: Duration::from_millis(u64::from(*host_ms)),
            };
            if !ranges.is_empty() {
                world.ack_after(&ranges, delay).unwrap();
                model.settle(world, &ranges);
            }
        }
        Step::Wild(ranges) => match world.ack(ranges) {
            Ok(()) => model.settle(world, ranges),
            Err(_) => assert!(world.fates.is_empty(), "a refused acknowledgement did something"),
        },
        Step::TimeOut => {
            let Some(due) = world.recovery.poll_timeout() else { return };
            world.now = world.now.max(due);
            // One call for losses and one per path for probes: then nothing is due any more.
            for _ in 0..=MAX_PATHS {
                if world.recovery.poll_timeout().is_some_and(|at| at <= world.now) {
                    world.time_out();
                    model.settle(world, &[]);
                }
            }
            assert!(world.recovery.poll_timeout().is_none_or(|at| at > world.now));
        }
        Step::AbandonPath(path) => {
            let path = PathIndex::new(usize::from(*path)).unwrap();
            world.abandon(Some(path));
            model.settle(world, &[]);
            assert_eq!(world.recovery.bytes_in_flight(path), 0);
        }
        Step::ResetPath(path) => {
            let path = PathIndex::new(usize::from(*path)).unwrap();
            world.recovery.reset_path(path, ControllerKind::default());
        }
        Step::AbandonAll => {
            world.abandon(None);
            model.settle(world, &[]);
            assert!(model.outstanding.is_empty());
        }
    }
}

proptest! {
    #[test]
    fn every_packet_is_handed_back_once(steps in prop::collection::vec(step(), 1..300)) {
        let mut world = World::new(ControllerKind::default());
        let mut model = Model::default();
        for step in &steps {
            run(&mut world, &mut model, step);
            model.check(&mut world);
        }
        run(&mut world, &mut model, &Step::AbandonAll);
        model.check(&mut world);
    }
}
