//! What a game notices of a relay that dies, drains, or is left for a better one: as little as is
//! promised, over many seeds.
// Helpers here are parts of tests too; the lint knows only functions marked as such.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "common/pair_game.rs"]
mod pair_game;

use common::{ms, secs};
use pair_game::{Game, HOPS, R1, R2, game_over, seeds};
use waylane_core::endpoint::{Endpoint as CoreEndpoint, Refusal, RelayPolicy, RelayState};
use waylane_core::limits::Limits;
use waylane_sim::{A, B, Driving, FRAME, Family, Link, PlayerSetup, RelayNo, Way, World};

/// From a relay's death until messages arrive again, in ms: of both players, sorted.
fn gaps_after_death(driving: Driving) -> Vec<u64> {
    let mut gaps = Vec::new();
    for seed in seeds() {
        let mut game = game_over(seed, 2, driving);
        game.run(secs(8));
        let dead = game.relay_in_use(A);
        // At any phase of the frames.
        game.run(ms(seed % 97));
        let at = game.world.now();
        game.world.stop_relay(dead);
        game.run(secs(8));
        for player in [A, B] {
            gaps.push(game.silence_after(player, at).as_millis() as u64);
            assert_ne!(game.relay_in_use(player), dead, "seed {seed}");
        }
        game.finish();
    }
    gaps.sort_unstable();
    gaps
}

#[test]
fn after_a_relay_died_messages_arrive_again_within_3_round_trips_and_100_ms() {
    for driving in [Driving::Events, Driving::Frames(FRAME)] {
        let gaps = gaps_after_death(driving);
        let (median, worst) = (gaps[gaps.len() / 2], gaps[gaps.len() - 1]);
        println!("{driving:?}: median {median} ms, worst {worst} ms of {}", gaps.len());
        assert!(median <= 220, "{driving:?}: {median}");
        assert!(worst <= 500, "{driving:?}: {worst}");
    }
}

#[test]
fn a_drained_relay_is_left_without_a_gap() {
    for seed in seeds() {
        let mut game = game_over(seed, 2, Driving::Events);
        game.run(secs(8));
        let drained = game.relay_in_use(A);
        let at = game.world.now();
        game.world.drain_relay(drained, secs(10));
        game.run(secs(1));
        assert_ne!((game.relay_in_use(A), game.relay_in_use(B)), (drained, drained));
        game.run(secs(9));
        let left = game.world.relay_counters(drained).forwarder.forwarded;
        game.world.stop_relay(drained);
        game.run(secs(5));
        assert!(left > 0);
        for player in [A, B] {
            assert_eq!(game.lost(player), 0, "seed {seed}");
            assert!(game.longest_pause_after(player, at) <= ms(40), "seed {seed}");
        }
        game.finish();
    }
}

/// As when all relays are given a new version, one after another.
#[test]
fn relays_that_drain_in_turn_and_come_back_are_left_without_a_gap() {
    for seed in seeds().step_by(4) {
        let mut game = game_over(seed, 2, Driving::Events);
        game.run(secs(8));
        for _ in 0..3 {
            let at = game.world.now();
            let drained = game.relay_in_use(A);
            game.world.drain_relay(drained, secs(10));
            game.run(secs(10));
            game.world.restart_relay(drained, secs(1));
            game.run(secs(50));
            assert_ne!(game.relay_in_use(A), drained, "seed {seed}");
            for player in [A, B] {
                assert_eq!(game.lost(player), 0, "seed {seed}");
                assert!(game.longest_pause_after(player, at) <= ms(40), "seed {seed}");
            }
        }
        game.finish();
    }
}

#[test]
fn a_chosen_home_is_moved_to_without_a_gap() {
    for seed in seeds().step_by(2) {
        let mut game = game_over(seed, 2, Driving::Events);
        game.run(secs(8));
        let at = game.world.now();
        for n in 0..4 {
            let relay = game.world.relay(RelayNo((n + 1) % 2)).id();
            let player = if (seed + n as u64 / 2).is_multiple_of(2) { A } else { B };
            game.world.with(player, |me| me.set_home(relay)).unwrap();
            game.run(secs(3));
        }
        for player in [A, B] {
            assert_eq!(game.lost(player), 0, "seed {seed}");
            assert!(game.longest_pause_after(player, at) <= ms(40), "seed {seed}");
        }
        game.finish();
    }
}

#[test]
fn a_better_path_is_taken_within_10_seconds_and_a_tie_is_none() {
    for seed in seeds().step_by(4) {
        let mut game = game_over(seed, 2, Driving::Frames(FRAME));
        game.run(secs(8));
        let before = game.relay_in_use(A);
        let other = if before == R1 { R2 } else { R1 };
        let at = game.world.now();
        for player in [A, B] {
            game.world.set_leg(player, other, Link::delayed(HOPS * 4 / 5));
        }
        let moved = game.run_until(secs(10), |game| {
            game.relay_in_use(A) == other && game.relay_in_use(B) == other
        });
        assert!(moved, "seed {seed}");
        for player in [A, B] {
            assert_eq!(game.lost(player), 0, "seed {seed}");
            assert!(game.longest_pause_after(player, at) <= ms(60), "seed {seed}");
        }
        // From now on a tie, but for ±10 % of jitter.
        for player in [A, B] {
            for relay in [R1, R2] {
                let link = Link { jitter: HOPS / 5, ..Link::delayed(HOPS * 9 / 10) };
                game.world.set_leg(player, relay, link);
            }
        }
        let switches = game.switches();
        game.run(secs(120));
        assert!(game.switches() <= switches + 2, "seed {seed}: at most one a minute");
        game.finish();
    }
}

#[test]
fn a_better_relay_without_a_session_is_taken_within_a_minute() {
    for seed in seeds().take(3) {
        let mut game = game_over(seed, 3, Driving::Events);
        game.run(secs(40));
        let better = (0..3)
            .map(RelayNo)
            .find(|relay| {
                let id = game.world.relay(*relay).id();
                let route = |player| game.world.endpoint(player).route().unwrap().clone();
                let named = |player| route(player).relays().iter().any(|entry| entry.relay == id);
                !named(A) && !named(B)
            })
            .expect("a route names two");
        for player in [A, B] {
            game.world.set_leg(player, better, Link::delayed(HOPS * 8 / 10));
        }
        let moved = game.run_until(secs(60), |game| {
            game.relay_in_use(A) == better && game.relay_in_use(B) == better
        });
        assert!(moved, "seed {seed}");
        assert_eq!((game.lost(A), game.lost(B)), (0, 0));
        game.finish();
    }
}

#[test]
fn a_path_that_dies_in_one_direction_is_left() {
    for seed in seeds() {
        let mut game = game_over(seed, 2, Driving::Events);
        game.run(secs(8));
        let relay = game.relay_in_use(A);
        let at = game.world.now();
        let cut = Link { cut: true, ..Link::delayed(HOPS) };
        game.world.set_link(A, relay, Way::Up, cut);
        game.run(secs(5));
        assert!(
            game.silence_after(B, at) <= ms(500),
            "seed {seed}: {:?}",
            game.silence_after(B, at)
        );
        assert!(game.longest_pause_after(A, at) <= ms(250), "seed {seed}");
        game.finish();
    }
}

#[test]
fn a_partition_heals_without_a_new_handshake() {
    for seed in seeds() {
        let mut game = game_over(seed, 2, Driving::Events);
        game.run(secs(4));
        for relay in [R1, R2] {
            game.world.set_leg(B, relay, Link { cut: true, ..Link::delayed(HOPS) });
        }
        game.run(secs(1 + seed % 27));
        for relay in [R1, R2] {
            game.world.set_leg(B, relay, Link::delayed(HOPS));
        }
        let at = game.world.now();
        game.run(secs(10));
        for player in [A, B] {
            assert!(game.silence_after(player, at) < secs(6), "seed {seed}");
        }
        game.finish();
    }
}

#[test]
fn addresses_change_and_relays_flap_and_drain() {
    for seed in seeds() {
        let mut game = game_over(seed, 2, Driving::Events);
        for player in [A, B] {
            for relay in [R1, R2] {
                let entry = game.world.relay(relay).entry_with_both(Family::V4);
                game.world.with(player, |me| me.add_relay(&entry)).unwrap();
            }
        }
        game.run(secs(4));
        let mut random = game.world.random().fork();
        let mut drained = None;
        for _ in 0..12 {
            let player = if random.chance(0.5) { A } else { B };
            let relay = RelayNo(random.below(2) as usize);
            if let Some(relay) = drained.take() {
                game.world.restart_relay(relay, ms(random.below(1000)));
            }
            match random.below(8) {
                0 => game.world.rebind(player),
                1 => {
                    game.world.rebind(player);
                    game.world.with(player, CoreEndpoint::network_changed);
                }
                2 => game.world.restart_relay(relay, ms(random.below(3000))),
                3 => {
                    game.world.rebind(A);
                    game.world.rebind(B);
                }
                4 => {
                    let id = game.world.relay(relay).id();
                    game.world.with(player, |me| me.set_home(id)).unwrap();
                }
                5 => {
                    game.world.drain_relay(relay, secs(3));
                    drained = Some(relay);
                }
                6 => {
                    game.world.change_family(player);
                    if random.chance(0.5) {
                        game.world.with(player, CoreEndpoint::network_changed);
                    }
                }
                _ => {
                    let way = if random.chance(0.5) { Way::Up } else { Way::Down };
                    let cut = Link { cut: true, ..Link::delayed(HOPS) };
                    game.world.set_link(player, relay, way, cut);
                    game.world.plan_link(
                        ms(random.below(4000)),
                        player,
                        relay,
                        way,
                        Link::delayed(HOPS),
                    );
                }
            }
            game.run(ms(random.below(6000)));
        }
        if let Some(relay) = drained {
            game.world.restart_relay(relay, ms(500));
        }
        game.run(secs(20));
        let at = game.world.now();
        game.run(secs(2));
        for player in [A, B] {
            assert!(game.silence_after(player, at) <= ms(60), "seed {seed}: all is well again");
        }
        game.finish();
    }
}

#[test]
fn old_routes_are_counted_and_move_nothing() {
    let mut game = game_over(4, 2, Driving::Events);
    game.run(secs(4));
    let (old, id) = (game.world.route(B), game.world.id(B));
    let home = game.world.endpoint(B).standby().unwrap();
    game.world.with(B, |b| b.set_home(home)).unwrap();
    game.run(secs(4));
    assert_ne!(game.world.route(B), old);
    let (relay, switches) = (game.relay_in_use(A), game.switches());
    for n in 1..=5 {
        game.world.with(A, |a| a.update_peer(id, old.as_bytes())).unwrap();
        assert_eq!(game.world.endpoint(A).counters().refused(Refusal::StaleRoute), n);
    }
    game.run(secs(4));
    assert_eq!((game.relay_in_use(A), game.switches()), (relay, switches));
    game.finish();
}

#[test]
fn guests_come_on_demand_and_leave() {
    // Each is at home where the other is not, and each route names one relay only.
    let mut world = World::new(9);
    let relays: Vec<_> = (0..2).map(|_| world.add_relay()).collect();
    for n in 0..2 {
        let player = world.add_player(PlayerSetup::new(&relays));
        let home = world.relay(relays[n]).id();
        world.with(player, |me| me.set_relay_policy(home, RelayPolicy::Require)).unwrap();
    }
    assert!(world.bind(&[A, B]));
    world.run_for(secs(10));
    let states = |world: &World, player| {
        let relays = world.endpoint(player).relays();
        relays.map(|status| (status.state == RelayState::Bound, status.guest)).collect::<Vec<_>>()
    };
    assert_eq!(states(&world, A), [(true, false), (false, false)]);
    let game = Game::between(&mut world, A, B);
    world.run_for(secs(10));
    assert_eq!(states(&world, A), [(true, false), (true, true)], "as a guest");
    assert_eq!(states(&world, B), [(true, true), (true, false)]);
    // So the death of either home is survived.
    let at = world.now();
    world.stop_relay(relays[0]);
    world.run_for(secs(2));
    for player in game.players() {
        assert!(game.arrivals_of(player).silence_after(at) <= ms(500));
    }
    world.start_relay(relays[0]);
    world.run_for(secs(10));
    let id = world.id(B);
    world.with(A, |a| a.disconnect_peer(id)).unwrap();
    world.run_for(secs(12));
    assert!(!states(&world, A)[1].0, "nobody is visited there any more");
}

#[test]
fn two_hundred_players_of_a_dead_relay_are_back_within_two_seconds() {
    const PAIRS: usize = 100;
    let mut world = World::new(1);
    let relays = [world.add_relay(), world.add_relay(), world.add_relay()];
    let players: Vec<_> = (0..2 * PAIRS)
        .map(|_| {
            let mut setup = PlayerSetup::new(&relays);
            // By default each would have memory for 64 others.
            setup.config.limits = Limits::for_peers(2);
            let player = world.add_player(setup);
            for relay in relays {
                let hops = HOPS + if relay == relays[0] { ms(0) } else { ms(2 * relay.0 as u64) };
                world.set_leg(player, relay, Link::delayed(hops));
            }
            player
        })
        .collect();
    assert!(world.bind(&players));
    world.run_for(secs(12));
    let mut games: Vec<Game> = Vec::new();
    for pair in players.chunks(2) {
        games.push(Game::between(&mut world, pair[0], pair[1]));
    }
    world.run_for(secs(8));
    let home = world.relay(relays[0]).id();
    for player in &players {
        assert_eq!(world.endpoint(*player).home(), Some(home));
    }
    let before = world.relay_counters(relays[1]);
    let at = world.now();
    world.stop_relay(relays[0]);
    world.run_for(secs(2));
    for game in &games {
        for player in game.players() {
            let silence = game.arrivals_of(player).silence_after(at);
            assert!(silence <= secs(2), "{silence:?}");
        }
    }
    let after = world.relay_counters(relays[1]);
    assert_eq!(
        after.control.dropped.rate_limited, before.control.dropped.rate_limited,
        "within its budgets"
    );
    // Those who need a new standby ask for it at different times.
    let binds = |world: &World| world.relay_counters(relays[2]).control.binds;
    let mut most = 0;
    let mut last = binds(&world);
    for _ in 0..60 {
        world.run_for(ms(100));
        most = most.max(binds(&world) - last);
        last = binds(&world);
    }
    assert!(last >= 150, "they do ask: {last}");
    assert!(most <= last / 4, "{most} of {last} in a tenth of a second");
    for game in &games {
        game.fall_silent();
    }
    world.run_for(secs(10));
    for game in &games {
        game.check_reliable();
    }
}
