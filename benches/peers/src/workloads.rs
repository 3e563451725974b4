//! W1, W2, W5 and W7 as `waylane_sim::workload` has them, for anything that is a [`Peer`].
//!
//! [`Peer`]: crate::peer::Peer

use core::time::Duration;

use waylane_sim::workload::{Path, Samples};
use waylane_sim::{FRAME, Traffic};

use crate::net::{Flow, Load, Net};
use crate::peer::{Channel, Library};

/// What W1 has shown.
pub struct Game {
    /// One-way times of reliable messages, both directions.
    pub reliable: Samples,
    /// One-way times of unreliable messages, both directions.
    pub unreliable: Samples,
    /// All bytes that left both ends, those of the messages apart, for each message sent.
    pub overhead: f64,
    /// Datagrams a second that left the busier end.
    pub packets_per_second: f64,
    /// The share of reliable messages that arrived.
    pub reliable_delivered: f64,
}

/// What W2 has shown.
pub struct Burst {
    /// Until everything was delivered; `None` if that took more than a minute.
    pub done: Option<Duration>,
    /// What the bottleneck saw.
    pub traffic: Traffic,
}

/// What W5 and W7 have shown.
pub struct Bulk {
    /// Bits of messages delivered in a second.
    pub bits_per_second: f64,
    /// What the bottleneck saw.
    pub traffic: Traffic,
    /// One-way times of the unreliable messages beside it.
    pub unreliable: Samples,
    /// The share of them that arrived.
    pub unreliable_delivered: f64,
}

/// W1: 60 times a second each way one unreliable message of 100 bytes, and every tenth time a
/// reliable one of 40 bytes.
pub fn game(library: Library, seed: u64, path: &Path, duration: Duration) -> Game {
    let mut net = Net::connected(seed, path, library);
    let before = [net.lanes[0].traffic, net.lanes[1].traffic];
    play_game(&mut net, duration);
    net.run_for(duration);
    let traffic = [0, 1].map(|side: usize| net.lanes[side].traffic.since(&before[side]));
    // What is still on its way arrives, however often it has been lost.
    net.run_for(Duration::from_secs(5));

    let (mut reliable, mut unreliable) = (Samples::default(), Samples::default());
    let (mut sent, mut sent_bytes) = ([0, 0], 0);
    for journal in &net.journals {
        reliable.pool(&journal.latencies(Channel::Reliable));
        unreliable.pool(&journal.latencies(Channel::Unreliable));
        sent = [sent[0] + journal.sent[0], sent[1] + journal.sent[1]];
        sent_bytes += journal.sent_bytes.iter().sum::<u64>();
        check_order(&net, 0);
    }
    let bytes = traffic[0].bytes + traffic[1].bytes;
    let datagrams = traffic[0].datagrams.max(traffic[1].datagrams);
    Game {
        overhead: (bytes as f64 - sent_bytes as f64) / (sent[0] + sent[1]) as f64,
        packets_per_second: datagrams as f64 / duration.as_secs_f64(),
        reliable_delivered: reliable.len() as f64 / sent[1] as f64,
        reliable,
        unreliable,
    }
}

/// W2: a thousand messages of 200 bytes and one of 256 KiB, as soon as the two are connected or
/// after so much of W1.
pub fn burst(library: Library, seed: u64, path: &Path, after_game: Option<Duration>) -> Burst {
    let mut net = Net::connected(seed, path, library);
    if let Some(duration) = after_game {
        play_game(&mut net, duration);
        net.run_for(duration);
    }
    let (before, now) = (net.lanes[0].traffic, net.now);
    let mut sizes = vec![200; MESSAGES - 1];
    sizes.push(256 * 1024);
    net.play(1, now, Vec::new());
    let (channel, load) = (Channel::Reliable, Load::Once(sizes));
    net.play(0, now, vec![Flow { channel, load, first: FIRST, starts: now, ends: now + LIMIT }]);
    let is_done = |net: &Net| {
        let arrived = &net.journals[1].arrived;
        // The burst's last message comes last, whatever remains of a game before it.
        arrived.last().is_some_and(|last| last.number == FIRST + MESSAGES as u32 - 1)
    };
    let done = net.run_until(LIMIT, is_done).then(|| net.now.since(now));
    if done.is_some() {
        let arrived = net.journals[1].arrived.iter();
        assert_eq!(arrived.filter(|arrived| arrived.number >= FIRST).count(), MESSAGES);
    }
    check_order(&net, FIRST);
    Burst { done, traffic: net.lanes[0].traffic.since(&before) }
}

/// W5, a bulk transfer alone; and W7, a bulk transfer beside an unreliable message of 100 bytes 60
/// times a second both ways.
pub fn bulk(library: Library, seed: u64, path: &Path, duration: Duration, game: bool) -> Bulk {
    let mut net = Net::connected(seed, path, library);
    let (now, before) = (net.now, net.lanes[0].traffic);
    let phase = phase(&mut net);
    let ends = now + duration;
    let steady = Load::Steady { size: 100, every: FRAME };
    let flow = |channel, load, starts| Flow { channel, load, first: 0, starts, ends };
    let (mut there, mut back) = (Vec::new(), Vec::new());
    if game {
        there.push(flow(Channel::Unreliable, steady.clone(), now));
        back.push(flow(Channel::Unreliable, steady, now + phase));
    }
    there.push(flow(Channel::Reliable, Load::Bulk(16 * 1024), now));
    net.play(1, now + phase, back);
    net.play(0, now, there);
    net.run_for(duration);
    let traffic = net.lanes[0].traffic.since(&before);
    let arrived = net.journals[1].arrived.iter();
    let bulk = arrived.filter(|arrived| arrived.channel == Channel::Reliable);
    let bytes = bulk.map(|arrived| arrived.size as u64).sum::<u64>();
    net.run_for(Duration::from_secs(2));
    check_order(&net, 0);
    let unreliable = net.journals[1].latencies(Channel::Unreliable);
    let sent = net.journals[0].sent[Channel::Unreliable as usize];
    Bulk {
        bits_per_second: bytes as f64 * 8.0 / duration.as_secs_f64(),
        traffic,
        unreliable_delivered: unreliable.len() as f64 / sent as f64,
        unreliable,
    }
}

/// Lets both begin W1; their ticks have nothing to do with each other.
fn play_game(net: &mut Net, duration: Duration) {
    let now = net.now;
    let phase = phase(net);
    for (side, starts) in [(0, now), (1, now + phase)] {
        let flow = |channel, size, every| {
            let load = Load::Steady { size, every };
            Flow { channel, load, first: 0, starts, ends: starts + duration }
        };
        let flows =
            vec![flow(Channel::Unreliable, 100, FRAME), flow(Channel::Reliable, 40, FRAME * 10)];
        net.play(side, starts, flows);
    }
}

fn phase(net: &mut Net) -> Duration {
    Duration::from_micros(net.random.below(FRAME.as_micros() as u64))
}

/// Reliable messages from `first` on come in order and without gaps.
fn check_order(net: &Net, first: u32) {
    for journal in &net.journals {
        let reliable = journal
            .arrived
            .iter()
            .filter(|arrived| arrived.channel == Channel::Reliable && arrived.number >= first);
        assert!(reliable.zip(first..).all(|(arrived, number)| arrived.number == number));
    }
}

const MESSAGES: usize = 1001;
/// The number of the burst's first message: none of a game before it has such a number.
const FIRST: u32 = 1 << 24;
const LIMIT: Duration = Duration::from_secs(60);
