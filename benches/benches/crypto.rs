//! What sealing and opening costs, per provider, suite and length.

use core::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use waylane_core::crypto::{Crypto, Secret, Suite, TAG_LEN};
use waylane_crypto::Seeded;
use waylane_crypto::pure::Pure;
use waylane_crypto::ring::Ring;

criterion_group!(benches, both_providers);
criterion_main!(benches);

fn both_providers(criterion: &mut Criterion) {
    provider::<Ring<Seeded>>(criterion, "ring");
    provider::<Pure<Seeded>>(criterion, "pure");
}

fn provider<C: Crypto>(criterion: &mut Criterion, name: &str) {
    for (suite, suite_name) in [(Suite::AesGcm, "aes-gcm"), (Suite::ChaChaPoly, "chacha-poly")] {
        for len in [16, 100, 1200] {
            seal_and_open::<C>(criterion, suite, &format!("{name}-{suite_name}/{len}"), len);
        }
    }
}

fn seal_and_open<C: Crypto>(criterion: &mut Criterion, suite: Suite, name: &str, len: usize) {
    let secret = Secret([7; 32]);
    let (sealer, opener) = (C::seal_key(suite, &secret), C::open_key(suite, &secret));
    let mut sealed = vec![1; len + TAG_LEN];
    criterion.bench_function(&format!("crypto/seal/{name}"), |bencher| {
        bencher.iter(|| C::seal(&sealer, black_box(9), HEADER, black_box(&mut sealed)));
    });
    // Opening is in place, so there is always something to seal first; opening alone costs the
    // difference.
    criterion.bench_function(&format!("crypto/seal-open/{name}"), |bencher| {
        bencher.iter(|| {
            C::seal(&sealer, black_box(9), HEADER, black_box(&mut sealed));
            C::open(&opener, black_box(9), HEADER, black_box(&mut sealed)).expect("just sealed");
        });
    });
}

/// As long as the authenticated front of a data packet.
const HEADER: &[u8] = &[3; 12];
