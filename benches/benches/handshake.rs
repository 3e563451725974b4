//! What beginning a connection and binding at a relay costs: both sides together.

use criterion::{Criterion, criterion_group, criterion_main};
use waylane_benches::Binding;
use waylane_core::crypto::{Crypto, Secret, Suite};
use waylane_core::noise::{Initiator, KeyPair, MESSAGE_1_OVERHEAD, MESSAGE_2_OVERHEAD, Responder};
use waylane_crypto::Seeded;
use waylane_crypto::pure::Pure;
use waylane_crypto::ring::Ring;

criterion_group!(benches, both_providers);
criterion_main!(benches);

fn both_providers(criterion: &mut Criterion) {
    provider(criterion, "ring", |seed| Ring::with_random(Seeded::new(seed)));
    provider(criterion, "pure", |seed| Pure::with_random(Seeded::new(seed)));
}

fn provider<C: Crypto>(criterion: &mut Criterion, name: &str, make: fn(u64) -> C) {
    for (suite, suite_name) in [(Suite::AesGcm, "aes-gcm"), (Suite::ChaChaPoly, "chacha-poly")] {
        noise::<C>(criterion, suite, &format!("{name}-{suite_name}"), make(1));
    }
    let mut binding = Binding::new(make);
    criterion.bench_function(&format!("handshake/bind/{name}/1"), |bencher| {
        bencher.iter(|| binding.bind());
    });
}

/// Noise IK without what depends on the pair alone, as endpoints keep it from the start.
fn noise<C: Crypto>(criterion: &mut Criterion, suite: Suite, name: &str, mut crypto: C) {
    let a = KeyPair::from_secret::<C>(Secret([1; 32]));
    let b = KeyPair::from_secret::<C>(Secret([2; 32]));
    let pair = a.agree::<C>(b.public()).expect("not a point of low order");
    let mut message_1 = [0; MESSAGE_1_OVERHEAD + PAYLOAD.len()];
    let mut message_2 = [0; MESSAGE_2_OVERHEAD + PAYLOAD.len()];
    let mut exchange = || -> Option<()> {
        let ephemeral = KeyPair::generate(&mut crypto);
        let (_, waiting) = Initiator::<C>::new(suite, b"", &a, b.public(), &pair)
            .write_message_1(ephemeral, PAYLOAD, &mut message_1)
            .ok()?;
        let received = Responder::<C>::new(suite, b"", &b).read_static(&mut message_1).ok()?;
        let reply = received.read_payload(&pair).ok()?.reply;
        let ephemeral = KeyPair::generate(&mut crypto);
        reply.write_message_2(&ephemeral, b"", PAYLOAD, &mut message_2).ok()?;
        waiting.read_message_2(&a, b"", &mut message_2).ok().map(|_| ())
    };
    criterion.bench_function(&format!("handshake/noise-ik/{name}/{}", PAYLOAD.len()), |bencher| {
        bencher.iter(|| exchange().expect("both sides agree"));
    });
}

const PAYLOAD: &[u8] = &[5; 64];
