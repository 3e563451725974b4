//! In the steady state a worker allocates nothing, by whatever back end.
#![cfg(target_os = "linux")]

#[path = "../../relay/tests/suite/mod.rs"]
mod suite;

use allocation_counter::measure;
use suite::World;
use suite::client::data;
use suite::rig::over;
use waylane_relay::Io;
use waylane_relay::io::Udp;
use waylane_runtime_linux::io::{Mmsg, Uring};

#[test]
fn forwarding_allocates_nothing() {
    none(over("127.0.0.1:0", 3, Mmsg::new).map(World::new), "mmsg");
    none(over("127.0.0.1:0", 3, Uring::new).map(World::new), "uring");
    none(over("127.0.0.1:0", 3, Udp::new).map(World::new), "std");
}

fn none<I: Io>(world: Option<World<I>>, name: &str) {
    let Some(mut world) = world else { return };
    let clients = [world.bound(1, 0), world.bound(2, 1)];
    // All sizes, both ways, and what is dropped; the owner's hints are not forwarding.
    for round in 0..200 {
        for n in 0..40_usize {
            let mut datagram = data(clients[n % 2].session);
            datagram.resize(28 + (n * 37 + round * 11) % 1460, n as u8);
            world.peers[(n + round) % 3].send(&datagram);
        }
        let served = world.worker.counters().received + 40;
        let info = measure(|| world.forward(served));
        assert_eq!(info.count_total, 0, "{name} in round {round}: {info:?}");
        world.serve(0);
    }
    assert!(world.counters().forwarded() > 2000, "{:?}", world.counters());
    world.assert_all_counted();
}
