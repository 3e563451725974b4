//! W5, W7 and company: as much as goes, alone, beside a game, beside somebody else's flow.

use core::time::Duration;
use std::rc::Rc;

use waylane_core::id::ChannelId;

use super::game::flow;
use super::path::{Pace, Path, connected};
use super::player::{Load, SharedJournal, play};
use super::samples::Samples;
use crate::pair::{A, B, R};
use crate::player::FRAME;
use crate::world::{PlayerNo, Way, World};

/// What a bulk transfer has shown.
#[derive(Clone, Debug)]
pub struct BulkReport {
    /// The share of the link's rate that was delivered as messages.
    pub share: f64,
    /// The share that the rival got of it, payload of its packets.
    pub rival_share: f64,
    /// How long datagrams waited at the bottleneck on average.
    pub queue_mean: Duration,
    /// How long one of them waited at most.
    pub queue_max: Duration,
    /// Datagrams that found the queue full.
    pub overflowed: u64,
    /// One-way times of the unreliable messages beside it.
    pub unreliable: Samples,
    /// The share of them that arrived.
    pub unreliable_delivered: f64,
    /// What must not happen.
    pub trouble: Vec<String>,
}

/// With whom a bulk transfer shares the bottleneck.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rival {
    /// A CUBIC flow that comes five seconds later.
    CubicLater,
    /// A CUBIC flow that was there five seconds before.
    CubicBefore,
    /// Another Waylane player's transfer that comes two seconds later.
    Waylane,
}

/// W5: a bulk transfer alone, from the start, for `duration`.
#[must_use]
pub fn bulk(seed: u64, path: &Path, duration: Duration, pace: Pace) -> BulkReport {
    let mut world = connected(seed, path, 2, pace);
    let journal = SharedJournal::default();
    let sending = send_bulk(&mut world, A, Duration::ZERO, duration);
    world.set_app(B, play(Vec::new(), Rc::clone(&journal)));
    measure(&mut world, path, &journal, &sending, duration)
}

/// W7: a bulk transfer from A to B on one channel, and on another both ways 60 times a second an
/// unreliable message of 100 bytes; what is measured is the direction from A to B.
#[must_use]
pub fn bulk_beside_game(seed: u64, path: &Path, duration: Duration, pace: Pace) -> BulkReport {
    let mut world = connected(seed, path, 2, pace);
    let (journal, sending) = (SharedJournal::default(), SharedJournal::default());
    let now = world.now();
    let phase = Duration::from_micros(world.random().below(FRAME.as_micros() as u64));
    let steady = Load::Steady { size: 100, every: FRAME };
    let back = flow(&world, A, 0, steady.clone(), now + phase, duration);
    world.set_app(B, play(vec![back], Rc::clone(&journal)));
    let there = [
        flow(&world, B, 1, Load::Bulk(MESSAGE), now, duration),
        flow(&world, B, 0, steady, now, duration),
    ];
    world.set_app(A, play(there.to_vec(), Rc::clone(&sending)));
    measure(&mut world, path, &journal, &sending, duration)
}

/// A bulk transfer that shares the bottleneck, measured for `duration` from when both are there.
#[must_use]
pub fn bulk_beside_rival(
    seed: u64,
    path: &Path,
    rival: Rival,
    duration: Duration,
    pace: Pace,
) -> BulkReport {
    const ROUND: Duration = Duration::from_secs(5);
    let players = if rival == Rival::Waylane { 3 } else { 2 };
    let mut world = connected(seed, path, players, pace);
    let journal = SharedJournal::default();
    world.set_app(B, play(Vec::new(), Rc::clone(&journal)));
    // Its packets take the rough leg one way, a quarter of the round trip.
    let returns = path.round_trip * 3 / 4;
    let cubic = (rival != Rival::Waylane).then(|| {
        let after = if rival == Rival::CubicLater { ROUND } else { Duration::ZERO };
        world.add_cross_flow(after, B, R, Way::Down, returns)
    });
    let (first, second) = match rival {
        Rival::CubicLater => (Duration::ZERO, ROUND),
        Rival::CubicBefore => (ROUND, ROUND),
        Rival::Waylane => (Duration::ZERO, Duration::from_secs(2)),
    };
    let sending = send_bulk(&mut world, A, first, duration + second);
    if rival == Rival::Waylane {
        let other = send_bulk(&mut world, OTHER, second, duration);
        sending.borrow_mut().trouble.append(&mut other.borrow_mut().trouble);
    }
    world.run_for(second);
    let rival_bytes = |world: &World| match cubic {
        Some(flow) => world.cross_counters(flow).bytes,
        None => journal.borrow().bytes_from(world.id(OTHER), ChannelId(1), world.now()),
    };
    let before = rival_bytes(&world);
    let mut report = measure(&mut world, path, &journal, &sending, duration);
    report.rival_share = share(path, rival_bytes(&world) - before, duration);
    report
}

fn measure(
    world: &mut World,
    path: &Path,
    journal: &SharedJournal,
    sending: &SharedJournal,
    duration: Duration,
) -> BulkReport {
    let from = world.id(A);
    let bytes = |world: &World| journal.borrow().bytes_from(from, ChannelId(1), world.now());
    let (bytes_before, before) = (bytes(world), world.traffic(B, R, Way::Down));
    world.run_for(duration);
    let delivered = bytes(world) - bytes_before;
    let traffic = world.traffic(B, R, Way::Down).since(&before);
    world.run_for(Duration::from_secs(2));
    let (journal, sending) = (journal.borrow(), sending.borrow());
    let unreliable = journal.latencies(ChannelId(0));
    let unreliable_sent = sending.sent_on(ChannelId(0));
    let mut trouble = journal.trouble.clone();
    trouble.extend(sending.trouble.iter().cloned());
    let mut reliable = journal.on(ChannelId(1)).filter(|arrived| arrived.from == from).zip(0..);
    if !reliable.all(|(arrived, number)| arrived.number == number) {
        trouble.push("not in order".into());
    }
    BulkReport {
        share: share(path, delivered, duration),
        rival_share: 0.0,
        queue_mean: traffic.waited_mean(),
        queue_max: traffic.waited_max,
        overflowed: traffic.overflowed,
        unreliable_delivered: unreliable.len() as f64 / unreliable_sent as f64,
        unreliable,
        trouble,
    }
}

fn send_bulk(
    world: &mut World,
    player: PlayerNo,
    after: Duration,
    duration: Duration,
) -> SharedJournal {
    let sending = SharedJournal::default();
    let bulk = flow(world, B, 1, Load::Bulk(MESSAGE), world.now() + after, duration);
    world.set_app(player, play(vec![bulk], Rc::clone(&sending)));
    sending
}

fn share(path: &Path, bytes: u64, duration: Duration) -> f64 {
    let rate = path.bottleneck.map_or(f64::INFINITY, |narrow| narrow.bits_per_second as f64);
    bytes as f64 * 8.0 / (rate * duration.as_secs_f64())
}

/// The second sender.
const OTHER: PlayerNo = PlayerNo(2);
/// What a bulk transfer hands over at once.
const MESSAGE: usize = 16 * 1024;
