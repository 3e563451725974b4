//! No public function panics on anything that its documentation allows, however foolish.
//!
//! Storms of random calls on a small world: verbs with arguments of every kind, datagrams whole,
//! broken and invented, odd buffers, a clock that stands still or leaps. Half of them run without
//! cryptography: there every broken datagram opens, and reaches what an attacker who holds keys
//! reaches. Then everything below an endpoint by itself: parsers, emitters, settings, keys, recovery.
//!
//! What documentation forbids is left out: a clock that runs backwards, a sealing slice without
//! room for a tag, numbers in frames that no varint holds.
// Helpers here are parts of tests too; the lint knows only functions marked as such.
#![allow(clippy::unwrap_used)]

mod no_panic_support;

use core::ops::Range;
use core::time::Duration;

use no_panic_support::wire::{self, Read};
use no_panic_support::{Dice, Met, Open, World, config, relay_config, values};
use waylane_core::crypto::Crypto;
use waylane_core::endpoint::Config;
use waylane_core::limits::Limits;
use waylane_core::relay::{AnswerRates, Budget, Rate, RelayConfig};
use waylane_core::time::Instant;
use waylane_crypto::Seeded;
use waylane_crypto::ring::Ring;

// These storms also met a poll that never ended: a challenge was due, and the slice too short.
#[test]
fn endpoints_and_relay_survive_any_calls() {
    let met = storms(0..STORMS, |seed| Ring::with_random(Seeded::new(seed)));
    // A storm in which nothing ever works tests nothing.
    assert!(met.connected > 60 && met.messages > 200 && met.lost > 70, "{met:?}");
    assert!(met.forwarded > 800 && met.refused > 25_000, "{met:?}");
}

#[test]
fn endpoints_and_relay_survive_any_calls_and_whoever_holds_the_keys() {
    let met = storms(1000..1000 + 2 * STORMS, Open::new);
    assert!(met.connected > 80 && met.messages > 240 && met.lost > 130, "{met:?}");
    assert!(met.forwarded > 1000 && met.refused > 50_000, "{met:?}");
}

#[test]
fn the_same_seed_is_the_same_storm() {
    let run = || storms(7..8, Open::new);
    assert_eq!(run(), run());
}

#[test]
fn the_ends_of_every_range_of_the_configuration_work() {
    let ends = endpoint_ends();
    let ends = ends.iter().flat_map(|config| relay_ends().map(|relay| (config, relay)));
    for (seed, (config, relay)) in (2000..).zip(ends) {
        let _told = Told(seed);
        assert_eq!((config.check(), relay.check()), (Ok(()), Ok(())));
        let mut world = World::new(seed, config, &relay, Open::new);
        storm(&mut world, &Dice::new(seed), STEPS / 2);
    }
}

#[test]
fn parsers_and_emitters_survive_any_bytes_and_buffers() {
    let mut read = Read::default();
    each_seed(0..WIRE_ROUNDS, |dice| wire::read_anything(dice, &mut read));
    assert!(read.taken > 2000 && read.refused > 60_000, "{read:?}");
}

#[test]
fn any_settings_are_judged() {
    let mut fit = 0;
    each_seed(0..ROUNDS, |dice| fit += values::settings(dice));
    assert!((100..ROUNDS).contains(&fit), "{fit} fit");
}

#[test]
fn keys_and_handshakes_survive_any_slices() {
    let (mut opened, mut finished) = (0, 0);
    each_seed(0..ROUNDS, |dice| {
        opened += values::keys::<Ring>(dice) + values::keys::<Open>(dice);
        let seed = dice.below(u64::MAX);
        finished += values::handshakes(dice, &mut Ring::with_random(Seeded::new(seed)));
        finished += values::handshakes(dice, &mut Open::new(seed));
    });
    assert!(opened > 6000 && finished > 100, "{opened} opened, {finished} handshakes");
}

#[test]
fn recovery_survives_any_times_and_numbers() {
    let mut acked = 0;
    each_seed(0..ROUNDS, |dice| acked += values::recovery(dice));
    assert!(acked > 4000, "{acked} acknowledged");
}

fn endpoint_ends() -> Vec<Config> {
    let mut smallest = Limits::for_peers(1);
    smallest.relays = 1;
    smallest.requests = 0;
    smallest.sent_packets = 16;
    let channels = &mut smallest.channels;
    channels.message_reliable_max = 1;
    channels.message_unreliable_max = 1;
    for quota in [&mut channels.send_blocks, &mut channels.receive_blocks, &mut channels.slots] {
        quota.shared = 0;
    }
    let mut largest = Limits::for_peers(3);
    largest.relays = 64;
    largest.channels.message_reliable_max = 1 << 20;
    largest.channels.send_blocks.guaranteed = 1 << 14;
    largest.channels.send_blocks.peer_max = 1 << 14;
    let mut ends = Vec::new();
    for limits in [smallest, largest] {
        for timeout in [Duration::from_secs(1), Duration::MAX] {
            for unix_micros in [0, u64::MAX / 2, u64::MAX] {
                let mut config = Config::default();
                config.limits = limits;
                config.idle_timeout = timeout;
                config.connect_timeout = timeout;
                config.unix_micros = unix_micros;
                ends.push(config);
            }
        }
    }
    ends
}

fn relay_ends() -> [RelayConfig; 2] {
    let mut least = relay_config();
    least.limits.pending = 1;
    (least.keep_alive, least.lifetime) = (Duration::from_secs(1), Duration::from_secs(1));
    least.ticket_lifetime = Duration::ZERO;
    least.budget = Budget { packets_per_second: 1, bytes_per_second: 2000, burst_ms: 1000 };
    let mut most = relay_config();
    most.limits.pending = 65_535;
    let longest = Duration::from_secs(u64::from(u16::MAX));
    (most.keep_alive, most.lifetime) = (longest, longest);
    most.ticket_lifetime = Duration::MAX;
    most.unix_seconds_at_start = u64::MAX;
    most.budget = Budget { packets_per_second: u32::MAX, bytes_per_second: u32::MAX, burst_ms: 1 };
    let rate = Rate { per_second: u32::MAX, burst: u32::MAX };
    most.answers = AnswerRates { total: rate, per_prefix: rate };
    most.binds = most.answers;
    [least, most]
}

fn storms<C: Crypto>(seeds: Range<u64>, crypto: impl Fn(u64) -> C) -> Met {
    let mut met = Met::default();
    for seed in seeds {
        let _told = Told(seed);
        let mut world = World::new(seed, &config(), &relay_config(), &crypto);
        storm(&mut world, &Dice::new(seed), STEPS);
        met += world.met;
    }
    met
}

fn each_seed(seeds: Range<u64>, mut round: impl FnMut(&Dice)) {
    for seed in seeds {
        let _told = Told(seed);
        round(&Dice::new(seed));
    }
}

/// Tells the seed when the round panics that it lives in.
struct Told(u64);

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the seed was {}", self.0);
        }
    }
}

/// Random calls; now and then everybody has time to connect, and in the end time runs out.
fn storm<C: Crypto>(world: &mut World<C>, dice: &Dice, steps: u32) {
    world.settle(dice);
    for step in 0..steps {
        match dice.below(24) {
            0..=5 => world.verb(dice),
            6..=8 => world.say(dice),
            9..=11 => world.deliver_broken(dice),
            12..=13 => world.deliver_noise(dice),
            14..=16 => world.poll_oddly(dice),
            17..=18 => world.relay_oddly(dice),
            19 => world.wait(Duration::from_millis(dice.below(40))),
            _ => world.turn(),
        }
        if step % 128 == 64 {
            world.settle(dice);
        }
        if dice.below(200) == 0 {
            // At most what is left of the clock in some hundred leaps.
            let leap = 1 << dice.below(44);
            world.wait(Duration::from_micros(leap));
        }
    }
    for end in [u64::MAX / 2, u64::MAX - 1, u64::MAX] {
        world.now = Instant::from_micros(end);
        for _ in 0..20 {
            world.turn();
            world.verb(dice);
            world.say(dice);
            world.poll_oddly(dice);
            world.relay_oddly(dice);
        }
    }
}

/// Worlds per test, and calls in each.
const STORMS: u64 = 10;
const STEPS: u32 = 1200;
/// Rounds of the tests of single parts.
const ROUNDS: u64 = 2000;
const WIRE_ROUNDS: u64 = 5000;
