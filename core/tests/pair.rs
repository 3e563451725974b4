//! The plain promises: two endpoints and the relay between them, in virtual time.
// Helpers here are parts of tests too; the lint knows only functions marked as such.
#![allow(clippy::unwrap_used)]

use core::time::Duration;

use waylane_core::endpoint::{ConnectError, DisconnectReason, Event, RelayLostReason, SendError};
use waylane_core::id::{ApplicationId, ChannelId, PeerId, PublicKey, Reliability};
use waylane_core::route::{Epoch, Route, RouteError};
use waylane_sim::{A, B, Driving, Endpoint, FRAME, Heard, Link, PlayerSetup, R, Way, World};

/// From player to player and back.
const ROUND_TRIP: Duration = Duration::from_millis(80);

fn link() -> Link {
    Link::delayed(ROUND_TRIP / 2)
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn nothing() -> Vec<Vec<u8>> {
    Vec::new()
}

// -------------------------------------------------------------------- Channels

#[test]
fn messages_flow_both_ways_on_both_kinds_of_channel() {
    let mut world = World::connected_pair(1, link());
    for (from, to) in [(A, B), (B, A)] {
        for channel in [0, 1] {
            for data in [&b""[..], b"x", &[7; 1000], &[8; 40_000]] {
                world.say(from, to, channel, data);
                world.run_for(secs(2));
                assert_eq!(world.take_messages(to, channel), [data], "channel {channel}");
            }
        }
    }
}

#[test]
fn a_reliable_message_waits_for_the_other_side_to_open() {
    let mut world = World::connected_pair(2, link());
    world.open(A, B, 7, Reliability::Reliable);
    world.say(A, B, 7, b"early");
    world.run_for(secs(5));
    assert_eq!(world.take_messages(B, 7), nothing());
    world.open(B, A, 7, Reliability::Reliable);
    world.run_for(ROUND_TRIP * 2);
    assert_eq!(world.take_messages(B, 7), [b"early"]);
}

#[test]
fn an_unreliable_message_before_the_other_side_opened_is_dropped_and_counted() {
    let mut world = World::connected_pair(3, link());
    world.open(A, B, 7, Reliability::Unreliable);
    world.say(A, B, 7, b"early");
    world.run_for(secs(5));
    let dropped = |one, other| world.stats(one, other).unwrap().channels.counters.not_open;
    assert_eq!(dropped(A, B) + dropped(B, A), 1);
    world.open(B, A, 7, Reliability::Unreliable);
    world.run_for(secs(5));
    assert_eq!(world.take_messages(B, 7), nothing());
    world.say(A, B, 7, b"now");
    world.run_for(ROUND_TRIP);
    assert_eq!(world.take_messages(B, 7), [b"now"]);
}

#[test]
fn data_on_a_channel_that_was_not_opened_is_never_delivered() {
    let mut world = World::connected_pair(4, link());
    for (channel, reliability) in [(7, Reliability::Unreliable), (8, Reliability::Reliable)] {
        world.open(A, B, channel, reliability);
        for _ in 0..20 {
            world.say(A, B, channel, b"knock");
            world.run_for(ms(50));
        }
    }
    let id = world.id(B);
    let unopened = world.with(A, |a| a.send_message(id, ChannelId(9), b"not open here either"));
    assert_eq!(unopened, Err(SendError::NotOpen));
    world.run_for(secs(20));
    assert!(world.take_heard(B).iter().all(|heard| heard.message().is_none()));
}

#[test]
fn mismatched_reliability_is_reported_on_both_sides() {
    let mut world = World::connected_pair(5, link());
    world.open(A, B, 7, Reliability::Reliable);
    world.open(B, A, 7, Reliability::Unreliable);
    let _both_may_refuse = (world.send(A, B, 7, b"reliable"), world.send(B, A, 7, b"unreliable"));
    world.flush(A);
    world.flush(B);
    world.run_for(secs(5));
    for player in [A, B] {
        let heard = world.take_heard(player);
        let mismatches =
            heard.iter().filter(|heard| matches!(heard, Heard::ChannelMismatch(_, ChannelId(7))));
        assert_eq!(mismatches.count(), 1, "{player:?}: {heard:?}");
        assert!(heard.iter().all(|heard| heard.message().is_none()));
    }
}

#[test]
fn opening_twice_the_same_way_is_no_error() {
    let mut world = World::connected_pair(6, link());
    world.open(A, B, 1, Reliability::Reliable);
    world.open(B, A, 1, Reliability::Reliable);
    world.say(A, B, 1, b"still there");
    world.run_for(ROUND_TRIP);
    assert_eq!(world.take_messages(B, 1), [b"still there"]);
}

// -------------------------------------------------------------------- The frame loop

#[test]
fn send_message_writes_nothing_until_flush() {
    for channel in [0, 1] {
        let mut world = World::connected_pair(7, link());
        for n in 0..3 {
            world.send(A, B, channel, &[n; 100]).unwrap();
            world.run_for(secs(20));
            assert_eq!(world.take_messages(B, channel), nothing());
        }
        world.flush(A);
        world.run_for(ROUND_TRIP);
        assert_eq!(world.take_messages(B, channel).len(), 3);
        // What comes after the flush waits for the next one.
        world.send(A, B, channel, b"later").unwrap();
        world.run_for(secs(20));
        assert_eq!(world.take_messages(B, channel), nothing());
    }
}

#[test]
fn several_messages_leave_in_one_datagram() {
    let mut world = World::connected_pair(8, link());
    for n in 0..8 {
        world.send(A, B, 0, &[n; 50]).unwrap();
        world.send(A, B, 1, &[n; 50]).unwrap();
    }
    let before = world.traffic(A, R, Way::Up).datagrams;
    world.flush(A);
    assert_eq!(world.traffic(A, R, Way::Up).datagrams, before + 1);
    world.run_for(ROUND_TRIP);
    for channel in [0, 1] {
        let expected: Vec<_> = (0..8).map(|n| vec![n; 50]).collect();
        assert_eq!(world.take_messages(B, channel), expected);
    }
}

#[test]
fn twenty_seconds_without_any_call_survive() {
    let mut world = World::connected_pair(9, link());
    world.set_driving(A, Driving::Frames(FRAME));
    let mut said = 0u32;
    let mut talk = |world: &mut World, frames: u32| {
        for _ in 0..frames {
            if world.send(A, B, 1, &said.to_le_bytes()).is_ok() {
                said += 1;
            }
            world.run_for(FRAME);
        }
    };
    talk(&mut world, 60);
    world.set_driving(B, Driving::Frozen);
    talk(&mut world, 20 * 60);
    world.set_driving(B, Driving::Frames(FRAME));
    talk(&mut world, 60);
    // And both at once.
    world.set_driving(A, Driving::Frozen);
    world.set_driving(B, Driving::Frozen);
    world.run_for(secs(20));
    world.set_driving(A, Driving::Frames(FRAME));
    world.set_driving(B, Driving::Frames(FRAME));
    talk(&mut world, 60);
    world.run_for(secs(10));
    let messages = world.take_messages(B, 1);
    let expected: Vec<_> = (0..said).map(|n| n.to_le_bytes().to_vec()).collect();
    assert_eq!(messages, expected);
    for player in [A, B] {
        let lost =
            |heard: &Heard| matches!(heard, Heard::PeerDisconnected(..) | Heard::PeerConnected(_));
        let heard = world.take_heard(player);
        assert!(!heard.iter().any(lost), "{heard:?}");
    }
}

// -------------------------------------------------------------------- Beginning and ending

fn bound(seed: u64) -> World {
    let mut world = World::pair(seed, link());
    assert!(world.bind(&[A, B]));
    world.run_for(secs(1));
    world
}

fn connects_within_three_round_trips(world: &mut World) {
    let start = world.now();
    let both = |world: &mut World| world.is_connected(A, B) && world.is_connected(B, A);
    assert!(world.run_until(ROUND_TRIP * 3, both), "{:?} {:?}", world.heard(A), world.heard(B));
    assert!(world.now().since(start) <= ROUND_TRIP * 3);
    world.open(A, B, 1, Reliability::Reliable);
    world.open(B, A, 1, Reliability::Reliable);
    world.say(A, B, 1, b"ping");
    world.say(B, A, 1, b"pong");
    world.run_for(ROUND_TRIP * 2);
    assert_eq!(world.take_messages(B, 1), [b"ping"]);
    assert_eq!(world.take_messages(A, 1), [b"pong"]);
    for player in [A, B] {
        let heard = world.take_heard(player);
        let connected = heard.iter().filter(|heard| matches!(heard, Heard::PeerConnected(_)));
        assert_eq!(connected.count(), 1, "{player:?}: {heard:?}");
        assert!(
            !heard.iter().any(|heard| matches!(heard, Heard::PeerDisconnected(..))),
            "{heard:?}"
        );
    }
}

#[test]
fn one_first_then_the_other_connects_within_three_round_trips() {
    for pause in [1, 30, 79, 250, 300, 1000, 2500, 9000, 29_000] {
        for (first, second) in [(A, B), (B, A)] {
            let mut world = bound(10 + pause);
            world.connect(first, second);
            world.run_for(ms(pause));
            world.connect(second, first);
            connects_within_three_round_trips(&mut world);
        }
    }
}

#[test]
fn both_at_once_connect_within_three_round_trips() {
    for seed in 20..40 {
        let mut world = bound(seed);
        world.introduce(A, B);
        connects_within_three_round_trips(&mut world);
    }
}

#[test]
fn one_with_a_stale_route_connects_within_three_round_trips() {
    for (stale, fresh) in [(A, B), (B, A)] {
        for pause in [0, 40, 500, 3000] {
            let mut world = bound(50 + pause);
            let old = world.route(fresh);
            world.with(fresh, Endpoint::rotate_session);
            world.run_for(secs(5));
            assert_ne!(world.route(fresh), old, "the session has moved");
            let id = world.id(fresh);
            world.with(stale, |endpoint| endpoint.connect_peer(id, old.as_bytes())).unwrap();
            world.run_for(ms(pause));
            world.connect(fresh, stale);
            connects_within_three_round_trips(&mut world);
        }
    }
}

#[test]
fn application_data_leaves_the_initiator_after_one_round_trip() {
    let mut world = bound(60);
    // B knows A, but only a route at which A is no more: A's handshake is the only one that arrives.
    let old = world.route(A);
    world.with(A, Endpoint::rotate_session);
    world.run_for(secs(5));
    let (id_a, id_b) = (world.id(A), world.id(B));
    world.with(B, |b| b.connect_peer(id_a, old.as_bytes())).unwrap();
    world.open(B, A, 1, Reliability::Reliable);
    world.run_for(ms(100));
    let route = world.route(B);
    let start = world.now();
    world.with(A, |a| {
        a.connect_peer(id_b, route.as_bytes()).unwrap();
        a.open_channel(id_b, ChannelId(1), Reliability::Reliable).unwrap();
        a.send_message(id_b, ChannelId(1), b"at once").unwrap();
        a.flush();
    });
    let arrived = |world: &mut World| world.heard(B).iter().any(|heard| heard.message().is_some());
    assert!(world.run_until(secs(5), arrived));
    // One round trip until it may leave, half a one until it arrives.
    assert_eq!(world.now().since(start), ROUND_TRIP * 3 / 2);
}

#[test]
fn disconnect_and_reconnect() {
    let mut world = World::connected_pair(61, link());
    for round in 0..5u8 {
        world.say(A, B, 1, &[round]);
        world.run_for(secs(1));
        assert_eq!(world.take_messages(B, 1), [[round]]);
        let id = world.id(B);
        world.with(A, |a| a.disconnect_peer(id)).unwrap();
        world.run_for(secs(1));
        let heard = world.take_heard(B);
        let over =
            |heard: &Heard| matches!(heard, Heard::PeerDisconnected(_, DisconnectReason::Remote));
        assert_eq!(heard.iter().filter(|heard| over(heard)).count(), 1, "{heard:?}");
        assert!(!world.is_connected(A, B) && !world.is_connected(B, A));
        world.introduce(A, B);
        world.open(A, B, 1, Reliability::Reliable);
        world.open(B, A, 1, Reliability::Reliable);
        world.run_for(secs(1));
        assert!(world.is_connected(A, B) && world.is_connected(B, A), "round {round}");
        world.take_heard(A);
        world.take_heard(B);
    }
}

#[test]
fn a_goodbye_is_short_however_late_the_other_side_acknowledges() {
    let mut world = World::connected_pair(63, link());
    world.set_link(B, R, Way::Up, Link::delayed(secs(4)));
    for _ in 0..3 {
        world.say(A, B, 1, b"late");
        world.run_for(secs(6));
    }
    assert!(world.stats(A, B).unwrap().rtt > secs(1));
    assert_eq!(world.endpoint(A).pool_usage().slots, 2);
    let id = world.id(B);
    world.with(A, |a| a.disconnect_peer(id)).unwrap();
    world.run_for(ms(1600));
    assert_eq!(world.endpoint(A).pool_usage().slots, 0, "another peer has room");
}

#[test]
fn a_command_after_long_silence_is_timed_from_when_it_was_given() {
    let mut world = bound(64);
    let (id, route, later) = (world.id(B), world.route(B), world.now() + secs(100));
    world.with(A, |a| {
        // Nobody has called for 100 s.
        a.set_now(later);
        a.connect_peer(id, route.as_bytes()).unwrap();
        a.handle_timeout(later + secs(29));
        assert!(a.peer_stats(id).is_some(), "30 s from then");
        while let Some(event) = a.poll_event() {
            assert!(!matches!(event, Event::PeerDisconnected { .. }), "{event:?}");
        }
        a.handle_timeout(later + secs(31));
        let mut over = false;
        while let Some(event) = a.poll_event() {
            let reason = DisconnectReason::ConnectTimedOut;
            over |= matches!(event, Event::PeerDisconnected { reason: why, .. } if why == reason);
        }
        assert!(over, "and no longer");
    });
}

#[test]
fn a_silent_peer_is_reported_lost_after_the_idle_timeout() {
    let mut world = World::connected_pair(62, link());
    let start = world.now();
    world.set_link(B, R, Way::Up, Link { cut: true, ..Link::default() });
    let lost =
        |heard: &Heard| matches!(heard, Heard::PeerDisconnected(_, DisconnectReason::TimedOut));
    assert!(
        world.run_until(secs(60), |world| world.heard(A).iter().any(lost)),
        "{:?}",
        world.heard(A)
    );
    let after = world.now().since(start);
    assert!((secs(14)..secs(31)).contains(&after), "{after:?}");
}

#[test]
fn an_idle_connection_lives_on() {
    let mut world = World::connected_pair(63, link());
    world.run_for(secs(600));
    assert!(world.take_heard(A).is_empty() && world.take_heard(B).is_empty());
    world.say(A, B, 1, b"still here");
    world.run_for(ROUND_TRIP);
    assert_eq!(world.take_messages(B, 1), [b"still here"]);
}

#[test]
fn nobody_there_is_reported_after_the_connect_timeout() {
    let mut world = bound(64);
    world.connect(A, B);
    let start = world.now();
    let lost = |heard: &Heard| {
        matches!(heard, Heard::PeerDisconnected(_, DisconnectReason::ConnectTimedOut))
    };
    assert!(world.run_until(secs(60), |world| world.heard(A).iter().any(lost)));
    assert_eq!(world.now().since(start), secs(30));
    assert!(
        !world
            .heard(B)
            .iter()
            .any(|heard| matches!(heard, Heard::PeerConnected(_) | Heard::PeerRequest(..)))
    );
}

#[test]
fn a_network_that_swallows_everything_is_diagnosed_within_five_seconds() {
    let mut world = World::pair(67, link());
    world.stop_relay(R);
    let start = world.now();
    let blocked =
        |heard: &Heard| matches!(heard, Heard::RelayLost(_, RelayLostReason::NetworkBlocksUdp));
    assert!(world.run_until(secs(60), |world| world.heard(A).iter().any(blocked)));
    assert!(world.now().since(start) <= secs(5));
}

#[test]
fn shutdown_says_goodbye_to_peers_and_relays() {
    let mut world = World::connected_pair(65, link());
    world.with(A, Endpoint::shutdown);
    world.run_for(secs(1));
    let heard = world.take_heard(B);
    let over = |heard: &Heard| {
        matches!(heard, Heard::PeerDisconnected(_, DisconnectReason::RemoteShutdown))
    };
    assert!(heard.iter().any(over), "{heard:?}");
    assert_eq!(world.relay_counters(R).control.sessions_live, 1);
}

#[test]
fn a_peer_that_restarts_with_its_key_is_met_again() {
    let mut world = World::connected_pair(66, link());
    world.stop_player(B);
    world.run_for(secs(2));
    world.start_player(B);
    assert!(world.bind(&[B]));
    world.connect(B, A);
    world.open(B, A, 1, Reliability::Reliable);
    world.run_for(secs(2));
    let heard = world.take_heard(A);
    let restarted =
        |heard: &Heard| matches!(heard, Heard::PeerDisconnected(_, DisconnectReason::Restarted));
    assert!(heard.iter().any(restarted), "{heard:?}");
    assert!(heard.iter().any(|heard| matches!(heard, Heard::PeerConnected(_))), "{heard:?}");
    world.say(A, B, 1, b"welcome back");
    world.say(B, A, 1, b"thanks");
    world.run_for(secs(1));
    assert_eq!(world.take_messages(B, 1), [b"welcome back"]);
    assert_eq!(world.take_messages(A, 1), [b"thanks"]);
}

#[test]
fn a_channel_opened_otherwise_while_a_peer_restarts_is_opened_so() {
    let mut world = World::connected_pair(68, link());
    world.open(A, B, 7, Reliability::Unreliable);
    world.run_for(secs(1));
    world.stop_player(B);
    world.start_player(B);
    assert!(world.bind(&[B]));
    world.connect(B, A);
    // The restarted peer's first message has been answered; its first packet is not here yet.
    world.run_for(ROUND_TRIP * 3 / 4);
    assert!(world.take_heard(A).is_empty());
    world.close(A, B, 7);
    world.open(A, B, 7, Reliability::Reliable);
    world.open(B, A, 7, Reliability::Reliable);
    world.run_for(secs(1));
    assert!(world.is_connected(A, B) && world.is_connected(B, A), "{:?}", world.heard(B));
    world.say(A, B, 7, b"otherwise");
    world.run_for(ROUND_TRIP);
    assert_eq!(world.take_messages(B, 7), [b"otherwise"]);
}

#[test]
fn an_invite_lets_a_stranger_ask_and_the_host_accept() {
    use waylane_core::invite::{Invite, InviteSecret};

    let secret = [0x5e; 16];
    let mut world = World::new(67);
    let (relay, other) = (world.add_relay(), world.add_relay());
    let host = world.add_player(PlayerSetup::new(&[relay]));
    let guest = world.add_player(PlayerSetup::new(&[relay, other]));
    assert!(world.bind(&[host, guest]));
    let entry = world.relay(relay).entry(waylane_sim::Family::V4);
    let route = world.endpoint(host).route().unwrap().clone();
    let wrong =
        Invite::new(core::slice::from_ref(&entry), InviteSecret([1; 16]), route.clone()).unwrap();
    let invite = Invite::new(&[entry], InviteSecret(secret), route).unwrap();

    world.with(guest, |guest| guest.accept_invite(&invite)).unwrap();
    world.run_for(secs(2));
    assert!(
        world.take_heard(host).iter().all(|heard| !matches!(heard, Heard::PeerRequest(..))),
        "nobody asked for it"
    );
    let id = world.id(host);
    world.with(guest, |guest| guest.disconnect_peer(id)).unwrap();

    world.with(host, |host| host.set_accept_requests(Some(InviteSecret(secret))));
    world.with(guest, |guest| guest.accept_invite(&wrong)).unwrap();
    world.run_for(secs(2));
    assert!(
        world.take_heard(host).iter().all(|heard| !matches!(heard, Heard::PeerRequest(..))),
        "a wrong secret"
    );
    world.with(guest, |guest| guest.disconnect_peer(id)).unwrap();

    world.with(guest, |guest| guest.accept_invite(&invite)).unwrap();
    let asked = |heard: &Heard| matches!(heard, Heard::PeerRequest(..));
    assert!(world.run_until(secs(5), |world| world.heard(host).iter().any(asked)));
    let heard = world.take_heard(host);
    let Some(Heard::PeerRequest(peer, route)) = heard.into_iter().find(asked) else {
        unreachable!()
    };
    assert_eq!(peer, world.id(guest));
    world.with(host, |host| host.connect_peer(peer, route.to_string().as_bytes())).unwrap();
    assert!(world.run_until(secs(2), |world| world.is_connected(host, guest)
        && world.is_connected(guest, host)));
}

// -------------------------------------------------------------------- Routes

#[test]
fn a_refused_route_says_why() {
    let mut world = bound(70);
    let id = world.id(B);
    let good = world.endpoint(B).route().unwrap().clone();
    let mut bytes = vec![0; good.encoded_len()];
    good.encode(&mut bytes).unwrap();

    let mut connect = |route: &[u8]| world.with(A, |a| a.connect_peer(id, route)).unwrap_err();
    let refused = |error: RouteError| ConnectError::Route(error);
    assert_eq!(connect(b""), refused(RouteError::Empty));
    assert_eq!(connect(&[0xee; 70]), refused(RouteError::WrongFormat));
    assert_eq!(connect(b"not a route at all!"), refused(RouteError::BadText));
    for len in 1..bytes.len() {
        assert_eq!(connect(&bytes[..len]), refused(RouteError::Truncated), "{len} bytes");
    }
    assert_eq!(connect(&[&bytes[..], b"x"].concat()), refused(RouteError::TooLong));
    assert_eq!(connect(&bytes.repeat(50)), refused(RouteError::TooLong));

    let mut other_version = bytes.clone();
    (other_version[1], other_version[2]) = (7, 9);
    assert_eq!(connect(&other_version), refused(RouteError::NoCommonVersion));

    let text = |route: &Route| route.to_string().into_bytes();
    let mut other = good.clone();
    other.application = ApplicationId(99);
    assert_eq!(connect(&text(&other)), refused(RouteError::WrongApplication));
    let mut other = good.clone();
    other.suites.0 = 0;
    assert_eq!(connect(&text(&other)), refused(RouteError::NoCommonSuite));
    let mut other = good.clone();
    other.public_key = PublicKey([9; 32]);
    assert_eq!(connect(&text(&other)), refused(RouteError::KeyMismatch));
    let mut other = Route::new(good.public_key, good.application, good.suites, Epoch::default());
    let mut stranger = good.relays()[0];
    stranger.relay.0 ^= 1;
    other.push_relay(stranger).unwrap();
    assert_eq!(connect(&text(&other)), ConnectError::UnknownRelay);

    let other_id = PeerId::new(id.get() ^ 2).unwrap();
    assert_eq!(
        world.with(A, |a| a.connect_peer(other_id, &bytes)),
        Err(refused(RouteError::KeyMismatch)),
        "a key that does not hash to the id"
    );
    // None of it has left a trace.
    assert!(
        world.with(A, |a| a.peer_stats(id).is_none())
            && world.with(A, |a| a.peer_stats(other_id).is_none())
    );
    world.introduce(A, B);
    connects_within_three_round_trips(&mut world);
}

#[test]
fn updating_oneself_is_no_error() {
    let mut world = bound(71);
    let (id, route) = (world.id(A), world.route(A));
    assert_eq!(world.with(A, |a| a.update_peer(id, route.as_bytes())), Ok(()));
}

#[test]
fn a_route_in_binary_does_as_well_as_one_in_text() {
    let mut world = bound(72);
    let id = world.id(B);
    let route = world.endpoint(B).route().unwrap().clone();
    let mut bytes = vec![0; route.encoded_len()];
    route.encode(&mut bytes).unwrap();
    world.with(A, |a| a.connect_peer(id, &bytes)).unwrap();
    world.connect(B, A);
    connects_within_three_round_trips(&mut world);
}
