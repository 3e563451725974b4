//! What forwarding costs, by how many sessions the relay has.

use core::hint::black_box;
use core::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use waylane_benches::Sessions;
use waylane_core::relay::Verdict;
use waylane_core::time::Instant;

criterion_group!(benches, forward);
criterion_main!(benches);

fn forward(criterion: &mut Criterion) {
    for (count, name) in [(1000, "1k"), (100_000, "100k"), (1_000_000, "1m")] {
        let sessions = Sessions::new(count, 130);
        let forwarder = sessions.forwarder();
        let mut datagrams = sessions.datagrams().iter().cycle();
        let mut now = Instant::ZERO;
        criterion.bench_function(&format!("relay/forward/hit/{name}"), |bencher| {
            bencher.iter(|| {
                let (from, bytes) = datagrams.next().expect("it cycles");
                // So that no sender's budget ends.
                now += Duration::from_micros(10);
                let verdict = forwarder.forward(now, *from, black_box(bytes));
                assert!(matches!(verdict, Verdict::Forward { .. }), "{verdict:?}");
            });
        });
        let (stranger, (_, bytes)) = (([192, 0, 2, 1], 9).into(), &sessions.datagrams()[0]);
        criterion.bench_function(&format!("relay/forward/stranger/{name}"), |bencher| {
            bencher.iter(|| forwarder.forward(now, black_box(stranger), black_box(bytes)));
        });
    }
}
