//! Does one thing many times, for `valgrind --tool=callgrind`, which counts instructions: a figure
//! that repeats on a busy machine. The difference between few and many times is what one costs.

use core::hint::black_box;
use core::time::Duration;
use std::process::ExitCode;

use waylane_benches::{RELIABLE, Sessions, UNRELIABLE, World};
use waylane_core::crypto::{Crypto, Secret, Suite, TAG_LEN};
use waylane_core::id::ChannelId;
use waylane_core::time::Instant;
use waylane_crypto::Seeded;
use waylane_crypto::pure::Pure;
use waylane_crypto::ring::Ring;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_default();
    if name == "list" {
        for (name, _) in SCENARIOS {
            println!("{name}");
        }
        return ExitCode::SUCCESS;
    }
    let scenario = SCENARIOS.iter().find(|(known, _)| *known == name);
    let times = arguments.next().and_then(|times| times.parse().ok());
    let (Some((_, run)), Some(times)) = (scenario, times) else {
        eprintln!("usage: count list | SCENARIO TIMES");
        return ExitCode::FAILURE;
    };
    run(times);
    ExitCode::SUCCESS
}

type Scenario = (&'static str, fn(u32));

const SCENARIOS: [Scenario; 12] = [
    ("crypto/seal-open/ring-aes-gcm/100", |n| seal_open::<Ring<Seeded>>(Suite::AesGcm, n)),
    ("crypto/seal-open/ring-aes-gcm/1200", |n| {
        seal_open_of::<Ring<Seeded>, { 1200 + TAG_LEN }>(Suite::AesGcm, n);
    }),
    ("crypto/seal-open/ring-chacha-poly/100", |n| seal_open::<Ring<Seeded>>(Suite::ChaChaPoly, n)),
    ("crypto/seal-open/pure-aes-gcm/100", |n| seal_open::<Pure<Seeded>>(Suite::AesGcm, n)),
    ("crypto/seal-open/pure-chacha-poly/100", |n| seal_open::<Pure<Seeded>>(Suite::ChaChaPoly, n)),
    ("endpoint/millisecond/idle/0", |n| messages(UNRELIABLE, 0, n)),
    ("endpoint/message/unreliable-1-per-flush/100", |n| messages(UNRELIABLE, 1, n)),
    ("endpoint/message/unreliable-12-per-flush/100", |n| messages(UNRELIABLE, 12, n)),
    ("endpoint/message/reliable-1-per-flush/100", |n| messages(RELIABLE, 1, n)),
    ("endpoint/message/reliable-12-per-flush/100", |n| messages(RELIABLE, 12, n)),
    ("relay/forward/hit/1k", |n| forward(1000, n)),
    ("relay/forward/hit/100k", |n| forward(100_000, n)),
];

fn seal_open<C: Crypto>(suite: Suite, times: u32) {
    seal_open_of::<C, { 100 + TAG_LEN }>(suite, times);
}

fn seal_open_of<C: Crypto, const LEN: usize>(suite: Suite, times: u32) {
    let secret = Secret([7; 32]);
    let (sealer, opener) = (C::seal_key(suite, &secret), C::open_key(suite, &secret));
    let mut packet = [1; LEN];
    for nonce in 0..u64::from(times) {
        C::seal(&sealer, nonce, &[3; 5], black_box(&mut packet));
        C::open(&opener, nonce, &[3; 5], black_box(&mut packet)).expect("just sealed");
    }
}

/// Both ends, the relay between them, acknowledgements, and a millisecond passing.
fn messages(channel: ChannelId, count: usize, times: u32) {
    let mut world = World::connected(|seed| Ring::with_random(Seeded::new(seed)));
    for _ in 0..times {
        assert_eq!(world.exchange(channel, count, 100), count as u64);
    }
}

fn forward(sessions: u32, times: u32) {
    let sessions = Sessions::new(sessions, 130);
    let forwarder = sessions.forwarder();
    let mut now = Instant::ZERO;
    for (from, bytes) in sessions.datagrams().iter().cycle().take(times as usize) {
        now += Duration::from_micros(10);
        black_box(forwarder.forward(now, *from, bytes));
    }
}
