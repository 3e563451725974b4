//! Over UDP sockets of this machine: what a message costs alone in a packet, and what a transfer
//! costs with segmentation offload. One thread does everything, so that a busy machine changes little
//! and every part's share of the thread's time, system calls included, is known.
//!
//! Waylane's two ends have a relay between them, as they always do; its time is counted apart.

mod link;
mod quinn;
mod waylane;

use core::time::Duration;
use std::time::Instant;

use self::quinn::{Hosting, Quinn};
use self::waylane::Waylane;
use rustix::time::{ClockId, clock_gettime};

use crate::peer::Channel;

/// Prints both comparisons, the libraries taking turns.
pub fn print() {
    let mut waylane = Waylane::connected();
    let mut quinn = Quinn::connected();
    println!("| 100 B, one a packet | messages a CPU second | with the relay | arrived, % |");
    println!("| --- | ---: | ---: | ---: |");
    compare(&mut waylane, &mut quinn, Channel::Unreliable, |name, round| {
        let [ends, all] = [round.ends, round.ends + round.relay].map(|took| took.as_secs_f64());
        let arrived = round.messages as f64;
        let share = 100.0 * arrived / round.sent as f64;
        println!("| {name} | {:.0} | {:.0} | {share:.1} |", arrived / ends, arrived / all);
        arrived / ends
    });
    println!();
    print_host();
    println!();
    println!("| bulk, reliable | MB a CPU second | with the relay | Mbit/s, one thread for all |");
    println!("| --- | ---: | ---: | ---: |");
    compare(&mut waylane, &mut quinn, Channel::Reliable, |name, round| {
        let [ends, all] = [round.ends, round.ends + round.relay].map(|took| took.as_secs_f64());
        let megabytes = round.bytes as f64 / 1e6;
        let rate = 8.0 * megabytes / round.wall.as_secs_f64();
        println!("| {name} | {:.0} | {:.0} | {rate:.0} |", megabytes / ends, megabytes / all);
        megabytes / ends
    });
}

/// A host with players: each turn it sends one message to each, and each sends one to it. Only the
/// host's time counts.
fn print_host() {
    println!("| host of {PLAYERS}, 100 B both ways, one a packet | messages a CPU second |");
    println!("| --- | ---: |");
    let (mut waylane, mut quinn) = (Waylane::hosting(PLAYERS), Hosting::connected(PLAYERS));
    let show = |name: &str, (messages, took): (u64, Duration)| {
        let rate = messages as f64 / took.as_secs_f64();
        println!("| {name} | {rate:.0} |");
        rate
    };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(show("waylane", waylane.host()));
        theirs.push(show("quinn", quinn.host()));
    }
    ratio(ours, theirs);
}

/// Rounds in turn.
fn compare(
    waylane: &mut Waylane,
    quinn: &mut Quinn,
    channel: Channel,
    show: impl Fn(&str, &Round) -> f64,
) {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(show("waylane", &round(waylane, channel)));
        theirs.push(show("quinn", &round(quinn, channel)));
    }
    ratio(ours, theirs);
}

fn ratio(ours: Vec<f64>, theirs: Vec<f64>) {
    let [our, their] = [ours, theirs].map(|mut values| {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    });
    println!("medians {our:.0} and {their:.0}, ratio {:.2}", our / their);
}

/// What a round came to.
#[derive(Default)]
struct Round {
    sent: u64,
    messages: u64,
    bytes: u64,
    ends: Duration,
    relay: Duration,
    wall: Duration,
}

/// Two ends that are connected, and what is between them.
trait Pair {
    /// The first end sends a burst of single messages, each in a packet of its own; or as much as
    /// there is room for.
    fn send(&mut self, channel: Channel) -> u64;

    /// Whatever is between the ends has its turn.
    fn between(&mut self);

    /// Both ends take what has come, and send what they owe.
    fn take(&mut self);

    /// Messages and bytes that the second end has heard.
    fn heard(&self) -> [u64; 2];
}

fn round(pair: &mut impl Pair, channel: Channel) -> Round {
    let mut round = Round::default();
    let before = pair.heard();
    let start = Instant::now();
    while start.elapsed() < LENGTH {
        let heard = pair.heard();
        let mut at = thread_time();
        let mut lap = || {
            let now = thread_time();
            now - core::mem::replace(&mut at, now)
        };
        let sent = pair.send(channel);
        round.sent += sent;
        round.ends += lap();
        pair.between();
        round.relay += lap();
        pair.take();
        round.ends += lap();
        pair.between();
        round.relay += lap();
        pair.take();
        round.ends += lap();
        if sent == 0 && pair.heard() == heard {
            // Waiting costs nobody anything.
            std::thread::park_timeout(Duration::from_micros(100));
        }
    }
    round.wall = start.elapsed();
    let after = pair.heard();
    [round.messages, round.bytes] = [0, 1].map(|n| after[n] - before[n]);
    round
}

fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

const ROUNDS: usize = 5;
const LENGTH: Duration = Duration::from_secs(2);
const PLAYERS: usize = 32;
/// Single messages in a row.
const BURST: u64 = 32;
const SMALL: [u8; 100] = [7; 100];
const LARGE: [u8; 16 << 10] = [7; 16 << 10];
