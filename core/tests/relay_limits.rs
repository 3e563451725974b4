//! What the relay's limits promise: each bites within 10 % of what it says, and only on who exceeds
//! it. In virtual time.
#![allow(clippy::unwrap_used, reason = "a test may stop at what should not happen")]

mod relay_support;

use core::net::SocketAddr;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;

use relay_support::{Client, Hop as _, Outcome, World, data, small};
use waylane_core::id::{PublicKey, SessionId};
use waylane_core::relay::{
    AnswerRates, Budget, HandshakeRates, Rate, RelayConfig, RelayLimits, Verdict,
};
use waylane_core::wire::hop::{ControlMessage, Hello, Probe};

#[test]
fn a_sender_over_its_packets_is_dropped_and_only_it() {
    let budget = Budget { packets_per_second: 1000, bytes_per_second: 1_000_000, burst_ms: 100 };
    let mut world = World::new(RelayConfig { budget, ..small() });
    let [a, b] = clients(&mut world);
    let (fast, slow) = (flow(&a, &b, DATA, 60), flow(&b, &a, DATA, 60));
    let passed = run(&mut world, &[(fast, 4000), (slow, 900)]);
    assert_within(passed[0], 1000 * SECONDS + 100);
    assert_eq!(passed[1], 900 * SECONDS, "who keeps to its rate loses nothing");
    assert_eq!(world.counters.over_budget, (4000 * SECONDS - passed[0]));
}

#[test]
fn a_sender_over_its_bytes_is_dropped_and_only_it() {
    let budget = Budget { packets_per_second: 10_000, bytes_per_second: 300_000, burst_ms: 100 };
    let mut world = World::new(RelayConfig { budget, ..small() });
    let [a, b] = clients(&mut world);
    let (fast, slow) = (flow(&a, &b, DATA, 1200), flow(&b, &a, DATA, 60));
    let passed = run(&mut world, &[(fast, 1000), (slow, 1000)]);
    assert_within(passed[0] * 1200, 300_000 * SECONDS + 30_000);
    assert_eq!(passed[1], 1000 * SECONDS);
    assert_eq!(world.counters.over_budget, (1000 * SECONDS - passed[0]));
}

#[test]
fn what_one_source_sends_is_limited_over_all_its_sessions_and_nobody_elses() {
    let source = Budget { packets_per_second: 1000, bytes_per_second: 10_000_000, burst_ms: 100 };
    for home in [
        ["192.0.2.7:1", "192.0.2.7:2", "192.0.2.7:3", "192.0.2.8:1"],
        ["[2001:db8::1]:1", "[2001:db8::2]:1", "[2001:db8::3]:1", "[2001:db8:0:1::1]:1"],
    ] {
        let mut world = World::new(RelayConfig { source, ..small() });
        let mut players = at_home(home, &mut world);
        let [x, y] = clients(&mut world);
        let together = |world: &mut World, players: &[Client; 4], rates: [u64; 3]| {
            let theirs = players.iter().zip(rates.into_iter().chain([900]));
            let mut flows: Vec<_> =
                theirs.map(|(player, rate)| (flow(player, &x, DATA, 60), rate)).collect();
            // The last player is a neighbour; this one sends to where they do.
            flows.push((flow(&y, &x, DATA, 60), 900));
            let passed = run(world, &flows);
            assert_eq!(passed[3..], [900 * SECONDS; 2], "nobody else");
            passed[..3].iter().sum::<u64>()
        };
        let three = together(&mut world, &players, [800, 400, 200]);
        assert_within(three, 1000 * SECONDS);
        assert_eq!(world.counters.source_over_budget, 1400 * SECONDS - three);
        assert_eq!(together(&mut world, &players, [300; 3]), 900 * SECONDS);
        // Who leaves, moves away or comes back changes nothing for the others.
        leave(&mut world, &mut players[0]);
        assert_within(together(&mut world, &players, [0, 800, 800]), 1000 * SECONDS);
        come(&mut world, &mut players[2], "198.51.100.1:9", false);
        assert_eq!(together(&mut world, &players, [0, 990, 990]), 1980 * SECONDS);
        come(&mut world, &mut players[2], home[2], false);
        assert_within(together(&mut world, &players, [0, 990, 990]), 1000 * SECONDS);
        // Alone, too, nobody sends more than the source may.
        leave(&mut world, &mut players[2]);
        assert_within(together(&mut world, &players, [0, 2000, 0]), 1000 * SECONDS);
        come(&mut world, &mut players[0], home[0], false);
        assert_within(together(&mut world, &players, [600, 600, 0]), 1000 * SECONDS);
        come(&mut world, &mut players[1], home[1], true);
        assert_within(together(&mut world, &players, [600, 600, 0]), 1000 * SECONDS);
    }
}

#[test]
fn a_sources_bytes_are_limited_and_it_shares_them_out_in_the_next_relay_too() {
    let source = Budget { packets_per_second: 100_000, bytes_per_second: 1_000_000, burst_ms: 100 };
    let mut world = World::new(RelayConfig { source, ..small() });
    let [a, b, other] = at_home(["192.0.2.7:1", "192.0.2.7:2", "192.0.2.8:1"], &mut world);
    let [x] = clients(&mut world);
    for _ in 0..2 {
        let flows = [
            (flow(&a, &x, DATA, 1200), 700),
            (flow(&b, &x, DATA, 400), 700),
            (flow(&other, &x, DATA, 1000), 990),
        ];
        let passed = run(&mut world, &flows);
        assert_within(passed[0] * 1200 + passed[1] * 400, 1_000_000 * SECONDS + 100_000);
        assert_eq!(passed[2], 990 * SECONDS);
        world.hand_over();
    }
}

#[test]
fn sources_keep_to_their_own_accounts_however_many_come_and_go() {
    let source = Budget { packets_per_second: 20, bytes_per_second: 1_000_000, burst_ms: 100 };
    let mut config = RelayConfig { source, ..small() };
    // Of 40 at homes of two; there are 20 accounts.
    (config.limits.sessions, config.limits.pending) = (41, 41);
    let mut world = World::new(config);
    world.now += Duration::from_secs(31);
    let places: [String; 40] = core::array::from_fn(|n| format!("192.0.2.{}:{}", n / 2, n % 2 + 1));
    let places = places.each_ref().map(String::as_str);
    let mut homes = at_home(places, &mut world);
    let [x] = clients(&mut world);
    for turn in 0..3 {
        // One in three comes again, each turn other ones.
        for (client, place) in homes.iter_mut().zip(places).skip(turn % 3).step_by(3) {
            leave(&mut world, client);
            come(&mut world, client, place, false);
            world.now += Duration::from_millis(100);
        }
        // 8 of 10 a second: all is well. A second later twice as much comes from one home.
        for (rate, first) in [(8, 20), (16, 16)] {
            world.now += Duration::from_secs(1);
            let all = |passed: &[u64]| passed.iter().sum::<u64>();
            let quiet: Vec<_> = homes.iter().map(|home| (flow(home, &x, DATA, 60), 8)).collect();
            let mut flows = quiet;
            for flow in &mut flows[..2] {
                flow.1 = 2 * rate;
            }
            let passed = run(&mut world, &flows);
            assert_eq!(all(&passed[2..]), 38 * 8 * SECONDS, "the others of turn {turn}");
            assert_within(all(&passed[..2]), (2 * first).min(20) * SECONDS);
        }
    }
}

/// There are 4,096 accounts at most.
#[test]
fn sources_beyond_the_accounts_share_them_and_none_goes_free() {
    let source = Budget { packets_per_second: 10, bytes_per_second: 1_000_000, burst_ms: 1000 };
    let destination =
        Budget { packets_per_second: 1_000_000, ..RelayConfig::default().destination };
    let budget = Budget { burst_ms: 1000, ..Budget::default() };
    let limits = RelayLimits { sessions: 16_384, pending: 8 };
    let mut world = World::new(RelayConfig { limits, budget, source, destination, ..small() });
    let [x] = clients(&mut world);
    let mut join = |n: u32, port: u16| {
        let [_, a, b, c] = n.to_be_bytes();
        let mut key = [port as u8; 32];
        key[..4].copy_from_slice(&n.to_be_bytes());
        let at = SocketAddr::from(([198, 18 + a, b, c], port));
        world.control.insert(world.now, &PublicKey(key), at).unwrap();
        at
    };
    let homes: Vec<_> = (0..SOURCES).map(|n| [join(n, 1), join(n, 2)]).collect();
    let alone = join(SOURCES, 1);
    let (_, datagram) = flow(&x, &x, DATA, 60);
    let mut sends = |from: [SocketAddr; 2], each: usize| {
        let sent = from.iter().flat_map(|from| [*from].into_iter().cycle().take(each));
        sent.filter(|from| world.send(*from, &datagram) != Outcome::Nothing).count()
    };
    // A third of what each may, and all of it gets through: no account has more than three.
    for home in &homes {
        assert_eq!(sends(*home, 1), 2, "{home:?}");
    }
    // Then more than they may: each account gives what is left of it, no more and no less.
    let passed: Vec<_> = homes.iter().map(|home| sends(*home, 10)).collect();
    assert!(passed.iter().all(|&passed| passed <= 8), "none goes free");
    let left = 4096 * 10 - 2 * SOURCES as usize;
    assert_eq!(passed.iter().sum::<usize>(), left);
    // Who is alone at its source shares with nobody.
    assert_eq!(sends([alone, alone], 10), 10);
}

#[test]
fn what_all_send_to_one_destination_is_limited_and_nobody_elses() {
    let destination =
        Budget { packets_per_second: 2000, bytes_per_second: 10_000_000, burst_ms: 100 };
    let mut world = World::new(RelayConfig { destination, ..small() });
    let [a, b, victim, other] = clients(&mut world);
    let flows = [
        (flow(&a, &victim, DATA, 60), 3000),
        (flow(&b, &victim, DATA, 60), 3000),
        // Of a sender over the victim's limit, and to the victim's own peers: untouched.
        (flow(&a, &other, DATA, 60), 1000),
        (flow(&victim, &b, DATA, 60), 1000),
    ];
    let passed = run(&mut world, &flows);
    assert_within(passed[0] + passed[1], 2000 * SECONDS + 200);
    assert_eq!(passed[2..], [1000 * SECONDS; 2]);
    assert_eq!(world.counters.destination_over_budget, 6000 * SECONDS - passed[0] - passed[1]);
    assert_eq!(world.counters.over_budget, 0);
}

#[test]
fn a_destinations_bytes_are_limited_too() {
    let destination =
        Budget { packets_per_second: 100_000, bytes_per_second: 1_000_000, burst_ms: 100 };
    let mut world = World::new(RelayConfig { destination, ..small() });
    let [a, b, victim] = clients(&mut world);
    let flows = [
        (flow(&a, &victim, DATA, 1200), 700),
        (flow(&b, &victim, DATA, 400), 700),
        (flow(&a, &b, DATA, 1200), 800),
    ];
    let passed = run(&mut world, &flows);
    assert_within(passed[0] * 1200 + passed[1] * 400, 1_000_000 * SECONDS + 100_000);
    assert_eq!(passed[2], 800 * SECONDS, "nobody else");
}

#[test]
fn handshake_datagrams_are_limited_by_sender() {
    let mut world = World::new(small());
    let [a, b, c] = clients(&mut world);
    for kind in [0x40, 0x41, 0x42] {
        // All that was saved up is spent first, so that what is measured is the rate.
        while world.send(a.address, &flow(&a, &b, kind, 200).1) != Outcome::Nothing {}
        let before = world.counters;
        let flows = [
            (flow(&a, &b, kind, 200), 100),
            (flow(&c, &b, kind, 200), 9),
            (flow(&a, &b, DATA, 200), 500),
        ];
        let passed = run(&mut world, &flows);
        assert_within(passed[0], 10 * SECONDS);
        assert_eq!(passed[1..], [9 * SECONDS, 500 * SECONDS], "nobody else, nothing else");
        let dropped = world.counters.handshakes_over_budget - before.handshakes_over_budget;
        assert_eq!(dropped, 100 * SECONDS - passed[0]);
        assert_eq!(world.counters.over_budget, 0);
    }
}

#[test]
fn handshake_datagrams_are_limited_by_source() {
    let source = Rate { per_second: 15, burst: 15 };
    let sender = Rate { per_second: 100, burst: 100 };
    let handshakes = HandshakeRates { sender, source, ..HandshakeRates::default() };
    for home in [
        ["192.0.2.7:1", "192.0.2.7:2", "192.0.2.8:1"],
        ["[2001:db8::1]:1", "[2001:db8::2]:1", "[2001:db8:0:1::1]:1"],
    ] {
        let mut world = World::new(RelayConfig { handshakes, ..small() });
        let mut players = at_home(home, &mut world);
        let [x, y] = clients(&mut world);
        let [a, b, neighbour] = players.each_ref();
        let flows = [
            (flow(a, &x, 0x40, 200), 10),
            (flow(b, &x, 0x42, 200), 9),
            (flow(neighbour, &x, 0x40, 200), 14),
            (flow(&y, &x, 0x41, 200), 14),
            (flow(b, &x, DATA, 200), 500),
        ];
        let passed = run(&mut world, &flows);
        assert_within(passed[0] + passed[1], 15 * SECONDS + 15);
        assert_eq!(passed[2..], [14 * SECONDS, 14 * SECONDS, 500 * SECONDS], "nobody else");
        let dropped = world.counters.source_handshakes_over_budget;
        assert_eq!(dropped, 19 * SECONDS - passed[0] - passed[1]);
        // Alone, too, nobody sends more than the source may.
        let (from, datagram) = flow(b, &x, 0x40, 200);
        leave(&mut world, &mut players[0]);
        let passed = run(&mut world, &[((from, datagram), 40)]);
        assert_within(passed[0], 15 * SECONDS);
    }
}

#[test]
fn the_relay_forwards_no_more_handshake_datagrams_than_it_may() {
    let rate = Rate { per_second: 1000, burst: 1000 };
    let total = Some(Rate { per_second: 60, burst: 60 });
    let handshakes = HandshakeRates { sender: rate, source: rate, destination: rate, total };
    let mut world = World::new(RelayConfig { handshakes, ..small() });
    let [a, b] = clients(&mut world);
    let flows = [
        (flow(&a, &b, 0x40, 200), 100),
        (flow(&b, &a, 0x42, 200), 100),
        (flow(&a, &b, DATA, 200), 500),
    ];
    let passed = run(&mut world, &flows);
    assert_within(passed[0] + passed[1], 60 * SECONDS + 60);
    assert_eq!(passed[2], 500 * SECONDS);
    let dropped = world.counters.total_handshakes_over_budget;
    assert_eq!(dropped, 200 * SECONDS - passed[0] - passed[1]);
}

#[test]
fn handshake_datagrams_are_limited_by_destination() {
    let sender = Rate { per_second: 1000, burst: 1000 };
    let handshakes = HandshakeRates { sender, source: sender, ..HandshakeRates::default() };
    let mut world = World::new(RelayConfig { handshakes, ..small() });
    let [a, b, victim, other] = clients(&mut world);
    while world.send(a.address, &flow(&a, &victim, 0x40, 200).1) != Outcome::Nothing {}
    let before = world.counters.destination_handshakes_over_budget;
    let flows = [
        (flow(&a, &victim, 0x40, 200), 200),
        (flow(&b, &victim, 0x41, 200), 200),
        (flow(&a, &other, 0x40, 200), 40),
        (flow(&a, &victim, DATA, 200), 500),
    ];
    let passed = run(&mut world, &flows);
    assert_within(passed[0] + passed[1], 50 * SECONDS);
    assert_eq!(passed[2..], [40 * SECONDS, 500 * SECONDS]);
    let dropped = world.counters.destination_handshakes_over_budget - before;
    assert_eq!(dropped, 400 * SECONDS - passed[0] - passed[1]);
}

#[test]
fn many_may_join_a_host_at_once() {
    let mut world = World::new(small());
    let [host, player] = clients(&mut world);
    for _ in 0..64 {
        let first = flow(&player, &host, 0x40, 200);
        // As if from 64: what each of them sends is counted apart.
        world.now += Duration::from_millis(100);
        assert_ne!(world.send(first.0, &first.1), Outcome::Nothing);
    }
    for _ in 0..64 {
        let (from, answer) = flow(&host, &player, 0x42, 200);
        assert_ne!(world.send(from, &answer), Outcome::Nothing);
    }
}

#[test]
fn the_relay_forwards_no_more_than_it_may() {
    let total = Budget { packets_per_second: 1000, bytes_per_second: 1_000_000, burst_ms: 50 };
    let mut world = World::new(RelayConfig { total: Some(total), ..small() });
    let [a, b] = clients(&mut world);
    let flows = [(flow(&a, &b, DATA, 60), 2000), (flow(&b, &a, DATA, 60), 2000)];
    let passed = run(&mut world, &flows);
    assert_within(passed.iter().sum(), 1000 * SECONDS + 50);
    assert_eq!(world.counters.total_over_budget, 4000 * SECONDS - passed.iter().sum::<u64>());
    let passed = run(&mut world, &[(flow(&a, &b, DATA, 1400), 900)]);
    assert_within(passed[0] * 1400, 1_000_000 * SECONDS);
}

#[test]
fn a_reload_changes_each_limit_at_once_and_ends_no_session() {
    let many = Rate { per_second: 1000, burst: 1000 };
    let handshakes =
        HandshakeRates { sender: many, source: many, destination: many, total: Some(many) };
    let most = Budget { burst_ms: 50, ..Budget::default() };
    let generous =
        RelayConfig { budget: most, source: most, destination: most, handshakes, ..small() };
    let mut world = World::new(generous);
    let [mut a, mut b] = clients(&mut world);
    let few = Rate { per_second: 40, burst: 20 };
    let packets = Budget { packets_per_second: 500, ..most };
    let bytes = Budget { bytes_per_second: 100_000, ..most };
    let data = flow(&a, &b, DATA, 200);
    let handshake = flow(&a, &b, 0x40, 200);
    type Change<'c> = &'c dyn Fn(&mut RelayConfig);
    let changes: [(Change, _, u64, u64); 12] = [
        (&|to| to.budget = packets, &data, 1000, 500),
        (&|to| to.budget = bytes, &data, 1000, 500),
        (&|to| to.source = packets, &data, 1000, 500),
        (&|to| to.source = bytes, &data, 1000, 500),
        (&|to| to.destination = packets, &data, 1000, 500),
        (&|to| to.destination = bytes, &data, 1000, 500),
        (&|to| to.total = Some(packets), &data, 1000, 500),
        (&|to| to.total = Some(bytes), &data, 1000, 500),
        (&|to| to.handshakes.sender = few, &handshake, 100, 40),
        (&|to| to.handshakes.source = few, &handshake, 100, 40),
        (&|to| to.handshakes.destination = few, &handshake, 100, 40),
        (&|to| to.handshakes.total = Some(few), &handshake, 100, 40),
    ];
    for (change, flow, sent, held) in changes {
        let mut narrow = generous;
        change(&mut narrow);
        for (config, expected) in [(generous, sent), (narrow, held), (generous, sent)] {
            world.control.reload(&config).unwrap();
            assert_within(run(&mut world, &[(flow.clone(), sent)])[0], expected * SECONDS);
        }
        assert!(a.keeps_alive(&mut world) && b.keeps_alive(&mut world));
    }
    let counters = world.control.counters();
    assert_eq!((counters.sessions_live, counters.sessions_begun), (2, 2));
}

/// On threads of their own, by a clock that only sending moves.
#[test]
fn workers_that_race_for_one_budget_spend_within_a_tenth_of_it() {
    let most = Budget { packets_per_second: 10_000_000, bytes_per_second: u32::MAX, burst_ms: 1 };
    let narrow = Budget { packets_per_second: 100_000, ..most };
    let all = RelayConfig { budget: most, source: most, destination: most, ..small() };
    // All send to the first one, each from a home of its own.
    for config in
        [RelayConfig { total: Some(narrow), ..all }, RelayConfig { destination: narrow, ..all }]
    {
        let mut world = World::new(config);
        world.now += Duration::from_secs(31);
        let players: [Client; 9] = clients(&mut world);
        let (_, datagram) = flow(&players[1], &players[0], DATA, 60);
        let (forwarder, start) = (world.control.forwarder(), world.now);
        let workers = std::thread::available_parallelism().map_or(2, |n| n.get().clamp(2, 8));
        let micros = AtomicU64::new(0);
        let work = &|number: usize| {
            let from = players[number + 1].address;
            let mut passed = 0;
            loop {
                let step = u64::from(number == 0);
                let at = micros.fetch_add(step, Ordering::Relaxed);
                if at >= 900_000 {
                    return passed;
                }
                let verdict = forwarder.forward(start + Duration::from_micros(at), from, &datagram);
                passed += u64::from(matches!(verdict, Verdict::Forward { .. }));
            }
        };
        let passed: u64 = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..workers).map(|n| scope.spawn(move || work(n))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_within(passed, 90_000);
    }
}

/// An account is full when it is first needed, whenever that is: the buckets' clock goes round
/// every 268.4 s.
#[test]
fn who_shares_a_source_may_send_at_once_whenever_that_begins() {
    for ms in (266_000..270_000).chain(534_000..539_000).step_by(100) {
        let mut world = World::new(small());
        world.now += Duration::from_millis(ms);
        let players = at_home(["192.0.2.7:1", "192.0.2.7:2"], &mut world);
        let [x] = clients(&mut world);
        for player in &players {
            let (from, datagram) = flow(player, &x, DATA, 60);
            assert_ne!(world.send(from, &datagram), Outcome::Nothing, "after {ms} ms");
        }
    }
}

#[test]
fn who_was_silent_for_however_long_may_send_at_once() {
    let mut world = World::new(small());
    let [mut a, mut b] = clients(&mut world);
    // The buckets' clock goes round every 268.4 s.
    for silence in [10, 30, 133, 135].into_iter().chain(250..275).chain(530..540) {
        for (kind, asked, all) in [(0x40, 200, 100), (DATA, 3000, 2300)] {
            let (from, datagram) = flow(&a, &b, kind, 60);
            let sent = (0..asked).filter(|_| world.send(from, &datagram) != Outcome::Nothing);
            assert!(sent.count() >= all, "{kind:#x} before {silence} s");
        }
        for second in 0..silence {
            world.now += Duration::from_secs(1);
            if second % 15 == 0 {
                assert!(a.keeps_alive(&mut world) && b.keeps_alive(&mut world));
            }
        }
    }
}

/// Neighbourhoods are an IPv4 /24 or IPv6 /48.
const NEIGHBOURS: [[&str; 3]; 2] = [
    ["192.0.2.1:1", "192.0.2.254:2", "192.0.3.1:1"],
    ["[2001:db8::1]:1", "[2001:db8:0:ffff::]:2", "[2001:db8:1::1]:1"],
];

#[test]
fn answers_to_strangers_are_limited_by_neighbourhood_and_in_all() {
    let per_prefix = Rate { per_second: 100, burst: 50 };
    let total = Rate { per_second: 1000, burst: 200 };
    let answers = AnswerRates { total, per_prefix };
    for places in NEIGHBOURS {
        for asked in strangers() {
            let mut world = World::new(RelayConfig { answers, ..small() });
            let flows = places.map(|place| (place.parse().unwrap(), asked.clone()));
            let rates = [300, 300, 90];
            let passed = run(&mut world, &flows.into_iter().zip(rates).collect::<Vec<_>>());
            assert_within(passed[0] + passed[1], 100 * SECONDS + 50);
            assert_eq!(passed[2], 90 * SECONDS, "nobody else");
        }
    }
    // Thirty neighbourhoods, each below what it may.
    for asked in strangers() {
        let mut world = World::new(RelayConfig { answers, ..small() });
        let place = |n: u8| (SocketAddr::from(([198, 18, n, 1], 1)), asked.clone());
        let passed = run(&mut world, &(0..30).map(|n| (place(n), 60)).collect::<Vec<_>>());
        assert_within(passed.iter().sum(), 1000 * SECONDS + 200);
    }
}

/// What a relay answers without knowing who asks, but for a hello: a probe, data for somebody, and
/// a bind with a cookie that is none.
fn strangers() -> [Vec<u8>; 3] {
    let mut probe = [0; Probe::LEN];
    Probe { reply: false, nonce: *b"how far?" }.emit(&mut probe).unwrap();
    let relay = World::settled().relay_key();
    let (bind, _) = Client::new(1).bind_datagram(relay, [7; 16], false);
    [probe.to_vec(), data(SessionId::new(3, 4)), bind]
}

#[test]
fn binds_are_limited_by_neighbourhood_and_in_all() {
    let per_prefix = Rate { per_second: 50, burst: 20 };
    for (total, in_all) in [(1000, None), (80, Some(80 * SECONDS + 100))] {
        let total = Rate { per_second: total, burst: 100 };
        let binds = AnswerRates { total, per_prefix };
        for places in NEIGHBOURS {
            let mut world = World::new(RelayConfig { binds, ..small() });
            let mut n = 0;
            let flows = places.map(|place| {
                n += 1;
                let mut client = Client::new(n);
                client.address = place.parse().unwrap();
                let cookie = client.cookie(&mut world);
                let (bind, _) = client.bind_datagram(world.relay_key(), cookie, false);
                (client.address, bind)
            });
            let rates = [100, 200, 45];
            let passed = run(&mut world, &flows.into_iter().zip(rates).collect::<Vec<_>>());
            let all = passed.iter().sum::<u64>();
            match in_all {
                None => {
                    assert_within(passed[0] + passed[1], 50 * SECONDS + 20);
                    assert_eq!(passed[2], 45 * SECONDS, "nobody else");
                }
                Some(in_all) => assert_within(all, in_all),
            }
            let dropped = world.control.counters().dropped.rate_limited;
            assert_eq!(dropped, rates.iter().sum::<u64>() * SECONDS - all);
        }
    }
}

#[test]
fn a_flood_of_hellos_takes_no_place_and_nothing_from_who_is_there() {
    let mut world = World::settled();
    let [mut a, mut b] = clients(&mut world);
    let before = world.control.counters();
    let mut hello = [0; Hello::LEN];
    Hello { nonce: *b"flooding" }.emit(&mut hello).unwrap();
    let mut forwarded = 0u64;
    for n in 0..200_000u32 {
        let [_, high, middle, low] = (n / 2).to_be_bytes();
        let from = SocketAddr::from(([127, high, middle, low], 1 + (n % 2) as u16));
        let answer = world.answer(from, &hello);
        assert!(answer.len() < hello.len());
        if n % 20 == 0 {
            world.now += Duration::from_micros(250);
            let outcome = world.send_data(a.address, b.session);
            forwarded += u64::from(outcome == Outcome::Forwarded(b.address));
        }
    }
    assert_eq!(forwarded, 10_000, "4,000 a second, all of them");
    assert!(a.keeps_alive(&mut world) && b.keeps_alive(&mut world));
    let after = world.control.counters();
    assert_eq!(after.hellos - before.hellos, 200_000);
    // Nobody of them got a slot or a place for an unproven bind: newcomers find them all.
    assert_eq!((after.sessions_live, after.unproven), (2, 0));
    let mut newcomers: Vec<_> = (10..18).map(Client::new).collect();
    newcomers.iter_mut().for_each(|newcomer| newcomer.bind(&mut world, false));
    assert!(newcomers.iter_mut().all(|newcomer| newcomer.keeps_alive(&mut world)));
}

#[test]
fn ten_thousand_come_back_after_a_restart_without_diffie_hellman_and_others_lose_nothing() {
    let limits = RelayLimits { sessions: 16_384, pending: 1024 };
    let config = RelayConfig { limits, ..small() };
    let mut world = World::new(config);
    world.now += Duration::from_secs(31);
    let mut everybody: Vec<_> = (0..10_002).map(|n| joined(n, &mut world)).collect();
    let sessions: Vec<_> = everybody.iter().map(|client| client.session).collect();
    world.restart();
    // Whatever costs public-key work is refused.
    let none = Rate { per_second: 0, burst: 0 };
    let binds = AnswerRates { total: none, per_prefix: none };
    world.control.reload(&RelayConfig { binds, ..config }).unwrap();
    let (first, others) = everybody.split_at_mut(2);
    first.iter_mut().for_each(|client| assert!(client.recover(&mut world, sessions[1]) <= 3));
    let before = world.now;
    let mut forwarded = 0;
    for (n, client) in others.iter_mut().enumerate() {
        assert!(client.recover(&mut world, sessions[0]) <= 3);
        assert_eq!(client.session, sessions[n + 2]);
        world.now += Duration::from_micros(500);
        for (from, to) in [(0, 1), (1, 0)] {
            let outcome = world.send_data(first[from].address, sessions[to]);
            forwarded += u64::from(outcome == Outcome::Forwarded(first[to].address));
        }
    }
    assert_eq!(world.now.since(before), Duration::from_secs(5));
    assert_eq!(forwarded, 20_000, "who was back first lost nothing by those who came later");
    let counters = world.control.counters();
    assert_eq!((counters.binds, counters.resumes, counters.refused), (0, 10_002, 0));
    assert_eq!((counters.sessions_live, counters.dropped.rate_limited), (10_002, 0));
}

/// One of many, of a neighbourhood with 200 others; binds may be 1,000 a second.
fn joined(n: u32, world: &mut World) -> Client {
    let [_, _, high, low] = (n / 200).to_be_bytes();
    let address = SocketAddr::from(([198, 18 + high, low, (n % 200) as u8], 4000));
    let mut client = Client::at(address, n.into());
    client.bind(world, false);
    client.prove(world);
    world.now += Duration::from_millis(1);
    client
}

/// Sends each flow's datagram so many times a second for [`SECONDS`], evenly, in turns of 1/10,000
/// of a second; returns how many of each were forwarded or answered.
fn run(world: &mut World, flows: &[((SocketAddr, Vec<u8>), u64)]) -> Vec<u64> {
    let mut passed = vec![0; flows.len()];
    for turn in 0..TURNS * SECONDS {
        for (((from, datagram), rate), passed) in flows.iter().zip(&mut passed) {
            let due = |turn: u64| turn * rate / TURNS;
            for _ in due(turn)..due(turn + 1) {
                *passed += u64::from(world.send(*from, datagram) != Outcome::Nothing);
            }
        }
        world.now += Duration::from_micros(1_000_000 / TURNS);
    }
    passed
}

fn flow(from: &Client, to: &Client, kind: u8, len: usize) -> (SocketAddr, Vec<u8>) {
    let mut datagram = vec![kind; len];
    datagram[1..8].copy_from_slice(&to.session.to_bytes());
    (from.address, datagram)
}

fn at_home<const N: usize>(home: [&str; N], world: &mut World) -> [Client; N] {
    home.map(|at| {
        let mut client = Client::at(at.parse().unwrap(), world.datagrams_in + 1000);
        come(world, &mut client, at, false);
        client
    })
}

fn come(world: &mut World, client: &mut Client, at: &str, another_slot: bool) {
    client.address = at.parse().unwrap();
    client.bind(world, another_slot);
    client.prove(world);
}

fn leave(world: &mut World, client: &mut Client) {
    let unbind = client.control(ControlMessage::Unbind);
    world.send(client.address, &unbind);
}

fn clients<const N: usize>(world: &mut World) -> [Client; N] {
    core::array::from_fn(|n| Client::bound(n as u8 + 1, world))
}

#[track_caller]
fn assert_within(measured: u64, expected: u64) {
    let tenth = expected / 10;
    assert!(measured.abs_diff(expected) <= tenth, "{measured} instead of {expected}");
}

/// Of two sessions each.
const SOURCES: u32 = 6000;
const DATA: u8 = 0x80;
const SECONDS: u64 = 10;
const TURNS: u64 = 10_000;
