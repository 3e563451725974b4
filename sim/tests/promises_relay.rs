//! The relay: sessions survive rebinding, restart and another kind of address, end by silence, and
//! cannot be taken over.
// Helpers here are parts of tests too; the lint knows only functions marked as such.
#![allow(clippy::unwrap_used)]

mod common;

use core::cell::RefCell;
use core::net::SocketAddr;
use core::time::Duration;
use std::rc::Rc;

use common::{ms, secs};
use waylane_core::id::{ChannelId, SessionId};
use waylane_core::time::Instant;
use waylane_sim::{
    A, B, Driving, Endpoint, FRAME, Family, Hand, Heard, Link, PlayerNo, R, Way, World,
};

/// When each numbered message of 60 Hz traffic left and arrived.
type Log = Rc<RefCell<Vec<(Instant, Option<Instant>)>>>;

/// Both players send a numbered unreliable message each frame; `logs[0]` is from A to B.
fn sixty_hertz(world: &mut World, size: usize) -> [Log; 2] {
    let logs: [Log; 2] = Default::default();
    for (n, (me, other)) in [(A, B), (B, A)].into_iter().enumerate() {
        let (mine, theirs) = (Rc::clone(&logs[n]), Rc::clone(&logs[1 - n]));
        let to = world.id(other);
        world.set_driving(me, Driving::Frames(FRAME));
        world.set_app(
            me,
            Box::new(move |hand: &mut Hand<'_>| {
                for heard in hand.heard.iter() {
                    if let Some((ChannelId(0), data)) = heard.message() {
                        let number = u32::from_le_bytes(data[..4].try_into().unwrap());
                        theirs.borrow_mut()[number as usize].1 = Some(hand.now);
                    }
                }
                hand.heard.retain(|heard| heard.message().is_none());
                let mut mine = mine.borrow_mut();
                let mut message = (mine.len() as u32).to_le_bytes().to_vec();
                message.resize(size, 0);
                if hand.endpoint.send_message(to, ChannelId(0), &message).is_ok() {
                    mine.push((hand.now, None));
                }
            }),
        );
    }
    logs
}

/// From `since` until the first message sent after `since` arrived.
fn gap(log: &Log, since: Instant) -> Duration {
    let log = log.borrow();
    let arrived = log.iter().filter(|(sent, _)| *sent >= since).find_map(|(_, arrived)| *arrived);
    arrived.map_or(Duration::MAX, |arrived| arrived.since(since))
}

fn sessions(world: &World) -> [SessionId; 2] {
    [A, B].map(|player| world.endpoint(player).route().expect("bound").relays()[0].session)
}

/// `what` happens at some moment of a frame; traffic of both directions is back in time, under the
/// same session ids.
fn resumes(seed: u64, leg: Duration, what: impl Fn(&mut World)) {
    resumes_with(seed, leg, 40, what);
}

fn resumes_with(seed: u64, leg: Duration, size: usize, what: impl Fn(&mut World)) {
    let mut world = World::connected_pair(seed, Link::delayed(leg * 2));
    let logs = sixty_hertz(&mut world, size);
    let before = sessions(&world);
    let pause = world.random().below(100_000);
    world.run_for(secs(3) + Duration::from_micros(pause));
    what(&mut world);
    let since = world.now();
    world.run_for(secs(10));
    let hop_round_trip = leg * 2;
    let limit = hop_round_trip * 3 + ms(100);
    for (log, name) in logs.iter().zip(["A to B", "B to A"]) {
        let gap = gap(log, since);
        assert!(
            gap <= limit,
            "seed {seed}, {size} bytes, legs of {leg:?}, {name}: {gap:?} is more than {limit:?}"
        );
    }
    assert_eq!(sessions(&world), before, "the same session ids");
    for player in [A, B] {
        let heard = world.take_heard(player);
        assert!(
            !heard.iter().any(|heard| matches!(heard, Heard::PeerDisconnected(..))),
            "{heard:?}"
        );
        assert!(!heard.iter().any(|heard| matches!(heard, Heard::RouteUpdate(_))), "{heard:?}");
    }
    assert!(world.is_connected(A, B) && world.is_connected(B, A));
}

#[test]
fn a_nat_rebinding_resumes_within_three_hop_round_trips() {
    for (n, leg) in [1, 5, 10, 20, 40, 100].into_iter().enumerate() {
        for seed in 0..5 {
            let seed = 10 * n as u64 + seed;
            resumes(seed, ms(leg), |world| world.rebind(A));
            resumes(seed, ms(leg), |world| world.rebind(B));
        }
    }
}

#[test]
fn the_smallest_packets_resume_as_fast() {
    for seed in 150..160 {
        resumes_with(seed, ms(20), 4, |world| world.rebind(A));
        resumes_with(seed, ms(20), 4, |world| {
            world.stop_relay(R);
            world.start_relay(R);
        });
    }
}

#[test]
fn both_rebinding_at_once_resume() {
    for seed in 100..110 {
        resumes(seed, ms(20), |world| {
            world.rebind(A);
            world.rebind(B);
        });
    }
}

#[test]
fn a_relay_restart_with_the_same_key_resumes_within_three_hop_round_trips() {
    for (n, leg) in [1, 5, 10, 20, 40, 100].into_iter().enumerate() {
        for seed in 0..5 {
            resumes(200 + 10 * n as u64 + seed, ms(leg), |world| {
                world.stop_relay(R);
                world.start_relay(R);
            });
        }
    }
}

#[test]
fn a_relay_that_was_away_for_a_while_resumes_when_it_is_back() {
    for (n, outage) in [50, 300, 1000, 2000, 4000].into_iter().enumerate() {
        resumes(300 + n as u64, ms(20), |world| {
            world.restart_relay(R, ms(outage));
            world.run_for(ms(outage));
        });
    }
}

#[test]
fn a_relay_that_was_away_for_long_is_found_again_within_two_seconds() {
    for (seed, outage) in [(310, 7), (311, 10), (312, 15), (313, 20)] {
        let mut world = World::connected_pair(seed, Link::delayed(ms(40)));
        let logs = sixty_hertz(&mut world, 40);
        let before = sessions(&world);
        world.run_for(secs(3));
        world.restart_relay(R, secs(outage));
        world.run_for(secs(outage));
        let since = world.now();
        world.run_for(secs(10));
        for log in &logs {
            // By then the relay is only asked twice a second, and the peer by probes farther apart.
            assert!(gap(log, since) <= secs(2), "away for {outage} s: {:?}", gap(log, since));
        }
        assert_eq!(sessions(&world), before, "the same session ids");
    }
}

#[test]
fn a_relay_restart_and_a_rebinding_together_resume() {
    for seed in 350..355 {
        resumes(seed, ms(20), |world| {
            world.stop_relay(R);
            world.rebind(A);
            world.start_relay(R);
        });
    }
}

#[test]
fn reliable_data_survives_rebinding_and_restart_on_a_bad_link() {
    for seed in 400..410 {
        let mut world = World::connected_pair(seed, Link::rough(ms(40), 0.05, 0.05));
        let mut expected = Vec::new();
        for n in 0..40u32 {
            world.say(A, B, 1, &n.to_le_bytes());
            expected.push(n.to_le_bytes().to_vec());
            match n % 8 {
                2 => world.rebind(A),
                4 => world.restart_relay(R, ms(700)),
                6 => world.rebind(B),
                _ => {}
            }
            world.run_for(ms(400));
        }
        world.run_for(secs(20));
        assert_eq!(world.take_messages(B, 1), expected, "seed {seed}");
    }
}

/// The player goes to a network of the other kind; `told` says whether its system notices.
fn move_to_the_other_family(world: &mut World, player: PlayerNo, told: bool) {
    world.change_family(player);
    if told {
        world.with(player, Endpoint::network_changed);
    }
}

/// Players whose directories name both addresses of the relay, the one that serves them first.
fn pair_with_both_addresses(seed: u64, link: Link) -> World {
    let mut world = World::connected_pair(seed, link);
    for (player, family) in [(A, Family::V4), (B, Family::V6)] {
        let entry = world.relay(R).entry_with_both(family);
        world.with(player, |endpoint| endpoint.add_relay(&entry)).unwrap();
    }
    world
}

#[test]
fn a_player_goes_on_from_ipv4_to_ipv6_and_back() {
    for seed in 600..610 {
        for told in [true, false] {
            let mut world = pair_with_both_addresses(seed, Link::rough(ms(40), 0.05, 0.02));
            let before = sessions(&world);
            let mut expected = Vec::new();
            for n in 0..400u32 {
                world.say(A, B, 1, &n.to_le_bytes());
                world.say(B, A, 1, &n.to_le_bytes());
                expected.push(n.to_le_bytes().to_vec());
                // A is the one at an IPv4 address; B goes the other way while A has come back.
                match n {
                    50 | 150 => move_to_the_other_family(&mut world, A, told),
                    250 => move_to_the_other_family(&mut world, B, told),
                    350 => {
                        move_to_the_other_family(&mut world, A, told);
                        move_to_the_other_family(&mut world, B, told);
                    }
                    _ => {}
                }
                world.run_for(ms(100));
            }
            world.run_for(secs(20));
            for player in [A, B] {
                assert_eq!(world.take_messages(player, 1), expected, "seed {seed}, told {told}");
                let heard = world.take_heard(player);
                let broken = |heard: &Heard| matches!(heard, Heard::PeerDisconnected(..));
                assert!(!heard.iter().any(broken), "seed {seed}, told {told}: {heard:?}");
            }
            assert_eq!(sessions(&world), before, "the same session ids");
        }
    }
}

#[test]
fn the_other_address_family_is_found_soon() {
    for (n, leg) in [5, 20, 100].into_iter().enumerate() {
        for seed in 0..10 {
            for (told, limit) in [(true, ms(350)), (false, secs(6))] {
                let seed = 700 + 10 * n as u64 + seed;
                let mut world = pair_with_both_addresses(seed, Link::delayed(ms(leg) * 2));
                let logs = sixty_hertz(&mut world, 40);
                world.run_for(secs(3) + Duration::from_micros(seed * 997));
                move_to_the_other_family(&mut world, A, told);
                let since = world.now();
                world.run_for(secs(25));
                for (log, name) in logs.iter().zip(["A to B", "B to A"]) {
                    let (gap, limit) = (gap(log, since), limit + ms(leg) * 6);
                    assert!(gap <= limit, "seed {seed}, told {told}, {name}: {gap:?} > {limit:?}");
                }
            }
        }
    }
}

#[test]
fn a_false_alarm_costs_nothing_where_the_first_address_is_of_the_other_family() {
    for seed in 800..805 {
        let mut world = pair_with_both_addresses(seed, Link::delayed(ms(40)));
        let logs = sixty_hertz(&mut world, 40);
        world.run_for(secs(3));
        move_to_the_other_family(&mut world, A, true);
        world.run_for(secs(5) + Duration::from_micros(seed * 997));
        let since = world.now();
        world.with(A, Endpoint::network_changed);
        world.run_for(secs(5));
        let until = world.now() - secs(1);
        for (log, name) in logs.iter().zip(["A to B", "B to A"]) {
            let log = log.borrow();
            let sent = log.iter().filter(|(sent, _)| (since..until).contains(sent));
            let lost = sent.filter(|(_, arrived)| arrived.is_none()).count();
            assert_eq!(lost, 0, "seed {seed}, {name}");
        }
    }
}

#[test]
fn silent_sessions_expire_and_live_ones_do_not() {
    let mut world = World::connected_pair(500, Link::delayed(ms(20)));
    let live = |world: &World| world.relay_counters(R).control.sessions_live;
    world.run_for(secs(120));
    assert_eq!(live(&world), 2);
    world.stop_player(B);
    let start = world.now();
    assert!(world.run_until(secs(120), |world| live(world) == 1));
    let after = world.now().since(start);
    assert!((secs(44)..=secs(61)).contains(&after), "{after:?}");
    world.run_for(secs(120));
    assert_eq!(live(&world), 1);
    assert_eq!(world.relay_counters(R).control.sessions_expired, 1);
}

#[test]
fn traffic_alone_does_not_keep_a_session() {
    // Only keep-alives extend a session: data could be spoofed.
    let mut world = World::connected_pair(501, Link::delayed(ms(20)));
    let sample: Rc<RefCell<Vec<u8>>> = Rc::default();
    let sink = Rc::clone(&sample);
    world.set_tap(Box::new(move |sight| {
        if sight.player == A && sight.way == Way::Up && sight.bytes[0] >= 0x80 {
            *sink.borrow_mut() = sight.bytes.to_vec();
        }
    }));
    world.say(A, B, 0, b"sample");
    world.run_for(secs(1));
    let address = world.address(A);
    world.stop_player(A);
    for _ in 0..70 {
        let bytes = sample.borrow().clone();
        world.inject_to_relay(R, address, &bytes);
        world.run_for(secs(1));
    }
    assert_eq!(world.relay_counters(R).control.sessions_live, 1);
}

#[test]
fn only_live_sessions_are_forwarded_for_and_to() {
    let mut world = World::connected_pair(502, Link::delayed(ms(20)));
    let stranger: SocketAddr = "203.0.113.9:999".parse().unwrap();
    let session = sessions(&world)[1].to_bytes();
    let mut datagram = vec![0x80];
    datagram.extend(session);
    datagram.resize(300, 7);
    let forwarded = |world: &World| world.relay_counters(R).forwarder.forwarded;
    let before = forwarded(&world);
    world.inject_to_relay(R, stranger, &datagram);
    assert_eq!(forwarded(&world), before, "from nobody");
    let strays = world.take_strays();
    assert!(
        strays.len() <= 1 && strays.iter().all(|(to, bytes)| *to == stranger && bytes.len() <= 300)
    );
    let address = world.address(A);
    for n in 1..8 {
        let mut other = datagram.clone();
        other[n] ^= 1;
        world.inject_to_relay(R, address, &other);
    }
    assert_eq!(forwarded(&world), before, "to nobody");
    world.inject_to_relay(R, address, &datagram);
    assert_eq!(forwarded(&world), before + 1);
}

/// Everything that a player says to its relay, said again by somebody else, from elsewhere.
#[test]
fn a_copy_from_another_address_takes_over_nothing() {
    for resumed in [false, true] {
        let mut world = World::pair(503, Link::delayed(ms(40)));
        let copies: Rc<RefCell<Vec<Vec<u8>>>> = Rc::default();
        let sink = Rc::clone(&copies);
        world.set_tap(Box::new(move |sight| {
            if sight.player == A && sight.way == Way::Up && sight.bytes[0] < 0x40 {
                sink.borrow_mut().push(sight.bytes.to_vec());
            }
        }));
        world.bind(&[A, B]);
        world.introduce(A, B);
        world.open(A, B, 0, waylane_core::id::Reliability::Unreliable);
        world.open(B, A, 0, waylane_core::id::Reliability::Unreliable);
        world.run_for(secs(2));
        if resumed {
            world.rebind(A);
        }
        let logs = sixty_hertz(&mut world, 40);
        world.run_for(secs(40));
        let kinds: Vec<u8> = copies.borrow().iter().map(|bytes| bytes[0]).collect();
        for kind in [0x03, 0x08].into_iter().chain(resumed.then_some(0x05)) {
            assert!(kinds.contains(&kind), "kind {kind:#x} was seen: {kinds:?}");
        }
        let before = sessions(&world);
        let thief: SocketAddr = "198.18.77.77:7777".parse().unwrap();
        let since = world.now();
        world.take_strays();
        // At first the copies alone; then each right after its original, and before it.
        let mut done = 0;
        for round in 0..90 {
            let now: Vec<_> = copies.borrow()[if round < 5 { 0 } else { done }..].to_vec();
            done = copies.borrow().len();
            for bytes in now {
                world.inject_to_relay(R, thief, &bytes);
                for (to, answer) in world.take_strays() {
                    assert_eq!(to, thief);
                    assert!(
                        answer.len() <= bytes.len(),
                        "no answer is longer than what it answers"
                    );
                    assert!(answer[0] < 0x40, "nothing of the session's traffic goes to the thief");
                    // The thief repeats what the answer gave it, as far as it can without a key.
                    let mut with_cookie = bytes.clone();
                    if let (2 | 9, Some(cookie)) = (answer[0], answer.last_chunk::<16>()) {
                        if let Some(place) = with_cookie.get_mut(3..19) {
                            place.copy_from_slice(cookie);
                        }
                        world.inject_to_relay(R, thief, &with_cookie);
                        assert!(world.take_strays().iter().all(|(_, bytes)| bytes[0] < 0x40));
                    }
                }
            }
            world.run_for(secs(1));
            assert!(world.take_strays().is_empty(), "nothing comes to the thief later");
        }
        assert_eq!(sessions(&world), before);
        for log in &logs {
            let log = log.borrow();
            let settled =
                log.iter().filter(|(sent, _)| *sent >= since && *sent + secs(1) < world.now());
            let (came, all) = settled.fold((0, 0), |(came, all), (_, arrived)| {
                (came + usize::from(arrived.is_some()), all + 1)
            });
            assert_eq!(came, all, "not one datagram went astray");
        }
    }
}

#[test]
fn a_relay_never_answers_a_stranger_with_more_than_it_got_and_never_twice() {
    let mut world = World::connected_pair(504, Link::delayed(ms(20)));
    let mut random = world.random().fork();
    let mut bytes = vec![0; 1500];
    for n in 0..50_000u32 {
        let len = if random.chance(0.5) { random.below(64) } else { random.below(1500) } as usize;
        random.fill(&mut bytes[..len]);
        if len > 1 && random.chance(0.9) {
            bytes[0] = [1, 3, 5, 8, 10, 0x40, 0x41, 0x42, 0x80][random.below(9) as usize];
            bytes[1] = 1;
        }
        if random.chance(0.3) {
            bytes[2..len.max(2)].fill(0);
        }
        let stranger = SocketAddr::new(
            [203, 0, 113, random.below(250) as u8].into(),
            1000 + (n % 5000) as u16,
        );
        world.inject_to_relay(R, stranger, &bytes[..len]);
        let answers = world.take_strays();
        assert!(answers.len() <= 1, "at most one answer");
        assert!(answers.iter().all(|(to, answer)| *to == stranger && answer.len() <= len));
    }
    world.say(A, B, 1, b"unharmed");
    world.run_for(secs(1));
    assert_eq!(world.take_messages(B, 1), [b"unharmed"]);
}
