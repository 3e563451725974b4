//! W1: the state of a game, sixty times a second, both ways.

use core::time::Duration;
use std::rc::Rc;

use waylane_core::channel::ChannelOptions;
use waylane_core::id::{ChannelId, Reliability};
use waylane_core::time::Instant;

use super::path::{Pace, Path, connected};
use super::player::{Flow, Load, SharedJournal, play};
use super::samples::Samples;
use crate::pair::{A, B, R};
use crate::player::FRAME;
use crate::world::{PlayerNo, Way, World};

/// What W1 has shown.
#[derive(Clone, Debug)]
pub struct GameReport {
    /// One-way times of reliable messages, both directions.
    pub reliable: Samples,
    /// One-way times of unreliable messages, both directions.
    pub unreliable: Samples,
    /// All bytes that left both players, those of the messages apart, for each message sent.
    pub overhead: f64,
    /// Datagrams a second that left each player.
    pub packets_per_second: [f64; 2],
    /// The share of reliable messages that arrived: 1, or something is wrong.
    pub reliable_delivered: f64,
    /// The share of unreliable messages that arrived.
    pub unreliable_delivered: f64,
    /// What must not happen.
    pub trouble: Vec<String>,
}

/// 60 times a second each way one unreliable message of 100 bytes, and every tenth time a reliable
/// one of 40 bytes, repeated as `redundancy` of the channel's options says, for `duration`.
#[must_use]
pub fn game(
    seed: u64,
    path: &Path,
    redundancy: Option<u8>,
    duration: Duration,
    pace: Pace,
) -> GameReport {
    let mut world = connected(seed, path, 2, pace);
    for (from, to) in [(A, B), (B, A)] {
        let options = ChannelOptions { redundancy, ..Reliability::Reliable.into() };
        world.open(from, to, 1, options);
    }
    let journals = [SharedJournal::default(), SharedJournal::default()];
    play_game(&mut world, &journals, duration);
    let before = [A, B].map(|player| world.traffic(player, R, Way::Up));
    world.run_for(duration);
    let mut bytes = 0;
    let packets_per_second = [A, B].map(|player| {
        let traffic = world.traffic(player, R, Way::Up).since(&before[player.0]);
        bytes += traffic.bytes;
        traffic.datagrams as f64 / duration.as_secs_f64()
    });
    // What is still on its way arrives, however often it has been lost.
    world.run_for(Duration::from_secs(5));

    let (mut reliable, mut unreliable, mut trouble) =
        (Samples::default(), Samples::default(), Vec::new());
    let (mut sent, mut sent_bytes) = ([0, 0], 0);
    for journal in &journals {
        let journal = journal.borrow();
        unreliable.pool(&journal.latencies(ChannelId(0)));
        reliable.pool(&journal.latencies(ChannelId(1)));
        for channel in [0, 1] {
            sent[channel] += journal.sent_on(ChannelId(channel as u8));
        }
        sent_bytes += journal.sent_bytes.values().sum::<u64>();
        trouble.extend(journal.trouble.iter().cloned());
    }
    let delivered = |samples: &Samples, sent: u64| samples.len() as f64 / sent as f64;
    GameReport {
        overhead: (bytes as f64 - sent_bytes as f64) / (sent[0] + sent[1]) as f64,
        packets_per_second,
        reliable_delivered: delivered(&reliable, sent[1]),
        unreliable_delivered: delivered(&unreliable, sent[0]),
        reliable,
        unreliable,
        trouble,
    }
}

/// Lets [`A`] and [`B`] begin W1; their ticks have nothing to do with each other.
pub(super) fn play_game(world: &mut World, journals: &[SharedJournal; 2], duration: Duration) {
    let now = world.now();
    let phase = Duration::from_micros(world.random().below(FRAME.as_micros() as u64));
    for (me, other, starts) in [(A, B, now), (B, A, now + phase)] {
        let flows = [
            flow(world, other, 0, Load::Steady { size: 100, every: FRAME }, starts, duration),
            flow(world, other, 1, Load::Steady { size: 40, every: FRAME * 10 }, starts, duration),
        ];
        world.set_app(me, play(flows.to_vec(), Rc::clone(&journals[me.0])));
    }
}

pub(super) fn flow(
    world: &World,
    to: PlayerNo,
    channel: u8,
    load: Load,
    starts: Instant,
    duration: Duration,
) -> Flow {
    let (to, ends) = (world.id(to), starts + duration);
    Flow { to, channel: ChannelId(channel), load, starts, ends }
}
