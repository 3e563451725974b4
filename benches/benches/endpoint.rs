//! What messages cost from one endpoint over a relay to another and back as acknowledgements:
//! both ends and the relay.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use waylane_benches::{RELIABLE, UNRELIABLE, World};
use waylane_crypto::Seeded;
use waylane_crypto::pure::Pure;
use waylane_crypto::ring::Ring;

criterion_group!(benches, messages, idle);
criterion_main!(benches);

fn messages(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("endpoint");
    let mut ring = World::connected(|seed| Ring::with_random(Seeded::new(seed)));
    let mut pure = World::connected(|seed| Pure::with_random(Seeded::new(seed)));
    for (channel, kind) in [(UNRELIABLE, "unreliable"), (RELIABLE, "reliable")] {
        for (len, count) in [(100, 1), (100, 12), (1200, 1), (1200, 12), (16 << 10, 1)] {
            // An unreliable message is a few datagrams at most.
            if kind == "unreliable" && len > 1200 {
                continue;
            }
            group.throughput(Throughput::Elements(count as u64));
            group.bench_function(format!("message/ring-{kind}-{count}-per-flush/{len}"), |b| {
                b.iter(|| assert_eq!(ring.exchange(channel, count, len), count as u64));
            });
            if len == 100 {
                group.bench_function(format!("message/pure-{kind}-{count}-per-flush/{len}"), |b| {
                    b.iter(|| assert_eq!(pure.exchange(channel, count, len), count as u64));
                });
            }
        }
    }
    group.finish();
}

/// A frame in which nothing happens, and the whole beginning.
fn idle(criterion: &mut Criterion) {
    let make = |seed| Ring::with_random(Seeded::new(seed));
    let mut world = World::connected(make);
    criterion.bench_function("endpoint/frame/idle/1", |bencher| bencher.iter(|| world.rest(1)));
    let mut group = criterion.benchmark_group("endpoint");
    group.sample_size(10);
    group.bench_function("begin/ring-bind-and-connect/2", |bencher| {
        bencher.iter_batched(|| (), |()| World::met(make), BatchSize::PerIteration);
    });
    group.finish();
}
