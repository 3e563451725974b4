//! Two managers and a real relay over sockets: what the reference promises to applications.
#![allow(clippy::unwrap_used, reason = "tests may; the lint only knows test functions")]

mod common;

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV4};
use core::panic::AssertUnwindSafe;
use core::time::Duration;
use std::net::UdpSocket;
use std::panic::catch_unwind;
use std::time::Instant;

use common::{Player, TestRelay, config, connect, connected_players, repeat, run, two_players};
use waylane::{
    AcceptInviteError, Config, ConnectError, DirectoryFileError, DisconnectReason, Event, FleetKey,
    InviteError, LinkEmulation, MakeInviteError, NetworkManager, RelayId, RelayLostReason,
    Reliability, RouteError, Secret, SendError, SendRate, SetDirectoryError, SignedDirectory,
    StartError,
};
use waylane_crypto::FleetSigner;

#[test]
fn both_kinds_of_channel_carry_messages_both_ways() {
    let (_relay, mut a, mut b) = connected_players();
    let (a_id, b_id) = (a.id(), b.id());
    assert!(a.saw(Event::PeerConnected { peer: b_id }));
    assert!(b.saw(Event::PeerConnected { peer: a_id }));
    for n in 0..20u8 {
        a.net.send_message(b_id, 1, &[n; 100]).unwrap();
        b.net.send_message(a_id, 1, &[n; 3000]).unwrap();
        a.net.send_message(b_id, 0, &[n]).unwrap();
        b.net.send_message(a_id, 0, &[]).unwrap();
    }
    run(&mut a, &mut b, |a, b| {
        [&*a, &*b].iter().all(|player| player.payloads(1).count() == 20)
            && a.payloads(0).count() > 0
            && b.payloads(0).count() > 0
    });
    assert!(b.payloads(1).eq((0..20u8).map(|n| [n; 100])));
    assert!(a.payloads(1).eq((0..20u8).map(|n| [n; 3000])));
    assert!(b.messages.iter().all(|(from, ..)| *from == a_id));

    let stats = a.net.stats(b_id).unwrap();
    assert!(stats.connected && stats.relay == a.net.home());
    assert!(stats.rtt > Duration::ZERO && stats.rtt_min <= stats.rtt_latest, "{stats:?}");
    assert!(stats.packets_sent > 0 && stats.packets_received > 0, "{stats:?}");
    assert_eq!(a.net.stats(a_id), None);
    let traffic = a.net.traffic();
    assert!(traffic.wire_bytes_in > 20 * 3000 && traffic.wire_bytes_out > 20 * 100);
}

/// What is for several peers leaves together where sizes allow: none of it may get lost or mixed up.
#[test]
fn one_flush_reaches_every_peer_whatever_the_sizes() {
    let (relay, mut host, first) = two_players();
    let mut players = vec![first];
    players.extend((1..8).map(|_| Player::new(config(&relay))));
    for player in &mut players {
        run(&mut host, player, |_, player| player.net.route().is_some());
        connect(&mut host, player);
    }
    for round in 0..20_u8 {
        for (n, player) in players.iter().enumerate() {
            let len = [100, 100, 100, 40, 100, 3000, 700, 1][(n + usize::from(round) / 4) % 8];
            host.net.send_message(player.id(), 1, &vec![round; len]).unwrap();
        }
        host.frame();
    }
    for player in &mut players {
        run(&mut host, player, |_, player| player.payloads(1).count() == 20);
        let rounds = player.payloads(1).enumerate();
        assert!(rounds.into_iter().all(|(n, message)| message.iter().all(|byte| *byte == n as u8)));
    }
}

#[test]
fn nothing_leaves_before_flush() {
    let (_relay, mut a, mut b) = connected_players();
    let b_id = b.id();
    let before = a.net.traffic();
    for n in 0..10u8 {
        a.net.send_message(b_id, 1, &[n; 1000]).unwrap();
    }
    for _ in 0..20 {
        a.receive();
        b.frame();
        b.net.wait(Duration::from_millis(1));
        a.net.service();
    }
    let after = a.net.traffic();
    assert!(b.messages.is_empty());
    assert!(after.wire_bytes_out - before.wire_bytes_out < 1000, "{before:?} {after:?}");
    a.net.flush();
    assert!(a.net.traffic().wire_bytes_out - after.wire_bytes_out >= 1000);
    run(&mut a, &mut b, |_, b| b.messages.len() == 10);
}

#[test]
fn several_messages_leave_in_one_datagram() {
    let (_relay, mut a, mut b) = connected_players();
    let b_id = b.id();
    // Whatever was owed for opening the channels is over once nothing waits.
    while a.net.wait(Duration::from_millis(50)) || b.net.wait(Duration::from_millis(1)) {
        a.frame();
        b.frame();
    }
    let before = a.net.traffic().datagrams_out;
    for n in 0..10u8 {
        a.net.send_message(b_id, 0, &[n; 20]).unwrap();
        a.net.send_message(b_id, 1, &[n; 20]).unwrap();
    }
    a.net.flush();
    let sent = a.net.traffic().datagrams_out - before;
    assert!((1..=2).contains(&sent), "{sent} datagrams");
    run(&mut a, &mut b, |_, b| b.messages.len() == 20);
}

#[test]
fn a_callback_uses_every_verb() {
    let (_relay, mut a, mut b) = connected_players();
    let (a_id, b_id) = (a.id(), b.id());
    let b_route = b.route();
    b.net.send_message(a_id, 1, b"ping").unwrap();
    let mut answered = 0;
    let mut nested = 0;
    repeat(&mut a, &mut b, |a, b| {
        a.net.run_callbacks(|net, event| {
            let Event::Message { peer, channel, data } = event else { return };
            assert_eq!((peer, channel, data), (b_id, 1, &b"ping"[..]));
            net.update_peer(peer, b_route).unwrap();
            net.open_channel(peer, 2, Reliability::Reliable).unwrap();
            net.close_channel(peer, 0).unwrap();
            net.send_message(peer, channel, b"pong").unwrap();
            net.run_callbacks(|_, _| nested += 1);
            answered += 1;
        });
        a.net.flush();
        b.frame();
        b.payloads(1).any(|data| data == b"pong")
            && b.saw(Event::ChannelClosed { peer: a_id, channel: 0 })
    });
    assert_eq!((answered, nested), (1, 0));

    a.net.send_message(b_id, 1, b"bye").unwrap();
    repeat(&mut a, &mut b, |a, b| {
        a.frame();
        b.net.run_callbacks(|net, event| {
            if let Event::Message { peer, data: b"bye", .. } = event {
                net.disconnect_peer(peer).unwrap();
            }
        });
        b.net.flush();
        a.saw(Event::PeerDisconnected { peer: b_id, reason: DisconnectReason::Remote })
    });
}

#[test]
fn a_callback_that_panics_does_not_silence_the_manager() {
    let (_relay, mut a, mut b) = connected_players();
    let a_id = a.id();
    b.net.send_message(a_id, 1, b"first").unwrap();
    repeat(&mut a, &mut b, |a, b| {
        b.frame();
        let careless = AssertUnwindSafe(|| {
            a.net.run_callbacks(|_, event| {
                assert!(!matches!(event, Event::Message { .. }), "as the test wants it");
            });
        });
        catch_unwind(careless).is_err()
    });
    b.net.send_message(a_id, 1, b"second").unwrap();
    run(&mut a, &mut b, |a, _| !a.messages.is_empty());
    assert_eq!(a.messages[0].2, b"second");
}

#[test]
fn ipv6_works_as_well() {
    if UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        return; // This machine has no IPv6.
    }
    let relay = TestRelay::start(IpAddr::V6(Ipv6Addr::LOCALHOST)).unwrap();
    let mut a = Player::new(config(&relay));
    let mut b = Player::new(config(&relay));
    run(&mut a, &mut b, |a, b| a.net.route().is_some() && b.net.route().is_some());
    connect(&mut a, &mut b);
    a.net.send_message(b.id(), 1, b"over IPv6").unwrap();
    run(&mut a, &mut b, |_, b| b.payloads(1).any(|data| data == b"over IPv6"));
}

#[test]
fn an_invite_is_all_a_guest_needs() {
    let relay = TestRelay::start(IpAddr::from([127, 0, 0, 1])).unwrap();
    let mut host = Player::new(config(&relay));
    assert_eq!(host.net.invite(), Err(MakeInviteError::NoRoute));
    let mut guest = Player::new(Config { application: 12345, ..Config::default() });
    run(&mut host, &mut guest, |host, _| host.net.route().is_some());

    let invite = host.net.invite().unwrap();
    assert_eq!(host.net.invite().unwrap(), invite);
    let (host_id, guest_id) = (host.id(), guest.id());
    assert_eq!(guest.net.accept_invite(&format!(" {invite}\n")), Ok(host_id));
    guest.net.open_channel(host_id, 1, Reliability::Reliable).unwrap();
    guest.net.send_message(host_id, 1, b"knock").unwrap();

    let mut asked = None;
    run(&mut host, &mut guest, |host, _| {
        asked = host.events.iter().find_map(|event| {
            if let Event::PeerRequest { peer, route } = event {
                Some((*peer, *route))
            } else {
                None
            }
        });
        asked.is_some()
    });
    let (peer, route) = asked.unwrap();
    assert_eq!(peer, guest_id);
    host.net.connect_peer(peer, route).unwrap();
    host.net.open_channel(peer, 1, Reliability::Reliable).unwrap();
    run(&mut host, &mut guest, |host, _| host.payloads(1).any(|data| data == b"knock"));
}

#[test]
fn an_invite_that_was_taken_back_opens_nothing() {
    let relay = TestRelay::start(IpAddr::from([127, 0, 0, 1])).unwrap();
    let mut host = Player::new(config(&relay));
    let mut guest = Player::new(Config { application: 12345, ..Config::default() });
    run(&mut host, &mut guest, |host, _| host.net.route().is_some());
    let invite = host.net.invite().unwrap();
    host.net.accept_requests(false);
    let refused = host.net.traffic().refused;
    guest.net.accept_invite(&invite).unwrap();
    run(&mut host, &mut guest, |host, _| host.net.traffic().refused > refused);
    assert!(host.events.iter().all(|event| !matches!(event, Event::PeerRequest { .. })));
    assert_ne!(host.net.invite().unwrap(), invite, "a new secret");
}

#[test]
fn text_that_is_no_invite_says_so() {
    let mut net = NetworkManager::new(Config::default()).unwrap();
    let error = |text: &str, net: &mut NetworkManager| net.accept_invite(text).unwrap_err();
    assert_eq!(error("", &mut net), AcceptInviteError::Invite(InviteError::Empty));
    assert_eq!(error("hello you!", &mut net), AcceptInviteError::Invite(InviteError::BadText));
}

#[test]
fn a_full_queue_answers_and_tells_when_there_is_room() {
    let (_relay, mut a, mut b) = connected_players();
    let b_id = b.id();
    let message = |n: u32| [&n.to_le_bytes()[..], &[0; 20_000]].concat();
    let mut sent = 0u32;
    while a.net.send_message(b_id, 1, &message(sent)).is_ok() {
        sent += 1;
        assert!(sent < 10_000, "the queue grows without end");
    }
    let full = a.net.send_message(b_id, 1, &message(sent));
    assert!(matches!(full, Err(SendError::Full { .. })), "{full:?}");
    assert!(sent > 0);
    run(&mut a, &mut b, |a, b| {
        a.saw(Event::Writable { peer: b_id, channel: 1 }) && b.messages.len() == sent as usize
    });
    a.net.send_message(b_id, 1, &message(sent)).unwrap();
    run(&mut a, &mut b, |_, b| b.messages.len() == sent as usize + 1);
    assert!(b.payloads(1).eq((0..=sent).map(message)));
}

#[test]
fn what_applications_do_without_thinking_is_fine() {
    let (_relay, mut a, mut b) = connected_players();
    let (a_id, b_id) = (a.id(), b.id());
    a.net.open_channel(b_id, 0, Reliability::Unreliable).unwrap();
    a.net.open_channel(b_id, 1, Reliability::Reliable).unwrap();
    a.net.update_peer(a_id, a.route()).unwrap();
    a.net.connect_peer(b_id, b.route()).unwrap();

    a.net.disconnect_peer(b_id).unwrap();
    a.net.disconnect_peer(b_id).unwrap();
    a.net.send_message(b_id, 1, b"to one who has just left").unwrap();
    a.net.update_peer(b_id, b.route()).unwrap();
    a.net.close_channel(b_id, 1).unwrap();
    run(&mut a, &mut b, |_, b| {
        b.saw(Event::PeerDisconnected { peer: a_id, reason: DisconnectReason::Remote })
    });
    b.net.send_message(a_id, 1, b"to one who has just left").unwrap();
    assert!(b.messages.is_empty());

    // And back again.
    a.events.clear();
    b.events.clear();
    connect(&mut a, &mut b);
    a.net.send_message(b_id, 1, b"again").unwrap();
    run(&mut a, &mut b, |_, b| b.payloads(1).any(|data| data == b"again"));
}

#[test]
fn mistakes_are_named() {
    let (_relay, mut a, b) = two_players();
    let stranger = b.id();
    assert_eq!(a.net.send_message(stranger, 1, b""), Err(SendError::UnknownPeer));
    assert_eq!(a.net.send_message(0, 1, b""), Err(SendError::UnknownPeer));
    let wrong = Err(ConnectError::Route(RouteError::KeyMismatch));
    assert_eq!(a.net.connect_peer(stranger + 1, b.route()), wrong);
    assert_eq!(a.net.connect_peer(u64::MAX, b.route()), wrong);
    let no_route = Err(ConnectError::Route(RouteError::BadText));
    assert_eq!(a.net.connect_peer(stranger, "no route"), no_route);
    a.net.connect_peer(stranger, b.route()).unwrap();
    assert_eq!(a.net.send_message(stranger, 1, b""), Err(SendError::NotOpen));
}

#[test]
fn a_different_opening_is_told_on_both_sides() {
    let (_relay, mut a, mut b) = connected_players();
    let (a_id, b_id) = (a.id(), b.id());
    a.net.open_channel(b_id, 4, Reliability::Reliable).unwrap();
    b.net.open_channel(a_id, 4, Reliability::Unreliable).unwrap();
    run(&mut a, &mut b, |a, b| {
        a.saw(Event::ChannelMismatch { peer: b_id, channel: 4 })
            && b.saw(Event::ChannelMismatch { peer: a_id, channel: 4 })
    });
}

#[test]
fn a_bad_link_loses_nothing_that_is_reliable() {
    let relay = TestRelay::start(IpAddr::from([127, 0, 0, 1])).unwrap();
    let bad = |seed| LinkEmulation {
        loss: 10.0,
        duplicate: 5.0,
        reorder: 5.0,
        delay: Duration::from_millis(2),
        jitter: Duration::from_millis(2),
        seed,
    };
    let link = |seed| Config {
        outgoing: Some(bad(seed)),
        incoming: Some(bad(seed + 1)),
        ..config(&relay)
    };
    let (mut a, mut b) = (Player::new(link(1)), Player::new(link(3)));
    run(&mut a, &mut b, |a, b| a.net.route().is_some() && b.net.route().is_some());
    connect(&mut a, &mut b);
    let (a_id, b_id) = (a.id(), b.id());
    for n in 0..200u32 {
        a.net.send_message(b_id, 1, &n.to_le_bytes()).unwrap();
        b.net.send_message(a_id, 1, &vec![n as u8; n as usize * 20]).unwrap();
    }
    run(&mut a, &mut b, |a, b| a.messages.len() >= 200 && b.messages.len() >= 200);
    assert!(b.payloads(1).eq((0..200u32).map(u32::to_le_bytes)));
    assert!(a.payloads(1).eq((0..200u32).map(|n| vec![n as u8; n as usize * 20])));
    let stats = a.net.stats(b_id).unwrap();
    assert!(stats.rtt_min >= Duration::from_millis(8), "four delays: {stats:?}");
}

#[test]
fn the_rate_that_is_asked_for_is_the_rate_at_which_data_leaves() {
    let relay = TestRelay::start(IpAddr::from([127, 0, 0, 1])).unwrap();
    for rate in [
        SendRate::Fixed { bytes_per_second: 200_000 },
        SendRate::Adaptive { bytes_per_second_min: 0, bytes_per_second_max: 200_000 },
    ] {
        let mut a = Player::new(Config { rate, ..config(&relay) });
        let mut b = Player::new(config(&relay));
        run(&mut a, &mut b, |a, b| a.net.route().is_some() && b.net.route().is_some());
        connect(&mut a, &mut b);
        let start = Instant::now();
        a.net.send_message(b.id(), 1, &[1; 100_000]).unwrap();
        run(&mut a, &mut b, |_, b| !b.messages.is_empty());
        let took = start.elapsed();
        assert!(took > Duration::from_millis(450), "{rate:?}: {took:?}");
    }
}

#[test]
fn a_changed_network_interrupts_nothing() {
    let (_relay, mut a, mut b) = connected_players();
    let (a_id, b_id) = (a.id(), b.id());
    a.net.send_message(b_id, 1, b"before").unwrap();
    a.net.flush();
    a.net.network_changed().unwrap();
    a.net.send_message(b_id, 1, b"after").unwrap();
    b.net.send_message(a_id, 1, b"to the new place").unwrap();
    run(&mut a, &mut b, |a, b| a.messages.len() == 1 && b.messages.len() == 2);
    assert!(b.payloads(1).eq([&b"before"[..], &b"after"[..]]));
    assert!(b.events.iter().all(|event| !matches!(event, Event::PeerDisconnected { .. })));
}

#[test]
fn a_pause_longer_than_the_idle_timeout_is_no_silence_if_something_waits() {
    let relay = TestRelay::start(IpAddr::from([127, 0, 0, 1])).unwrap();
    let mut a = Player::new(Config { idle_timeout: Duration::from_secs(1), ..config(&relay) });
    let mut b = Player::new(config(&relay));
    run(&mut a, &mut b, |a, b| a.net.route().is_some() && b.net.route().is_some());
    connect(&mut a, &mut b);
    let (a_id, b_id) = (a.id(), b.id());
    let pause = Instant::now();
    // Nobody calls `a` while `b` goes on.
    while pause.elapsed() < Duration::from_millis(1300) {
        let _ = b.net.send_message(a_id, 0, b"are you there?");
        b.frame();
        b.net.wait(Duration::from_millis(20));
    }
    a.receive();
    assert!(!a.messages.is_empty());
    let lost = |event: &Event<'_>| matches!(event, Event::PeerDisconnected { .. });
    assert!(!a.events.iter().any(lost), "{:?}", a.events);
    assert!(a.net.stats(b_id).is_some_and(|stats| stats.connected));
}

#[test]
fn a_new_session_id_is_a_new_route() {
    let (_relay, mut a, mut b) = connected_players();
    let (a_id, b_id) = (a.id(), b.id());
    let old = a.route();
    a.net.rotate_session();
    run(&mut a, &mut b, |a, _| a.route() != old);
    let new = a.route();
    assert!(a.saw(Event::RouteUpdate { route: new }));
    b.net.update_peer(a_id, new).unwrap();
    a.net.send_message(b_id, 1, b"to b").unwrap();
    b.net.send_message(a_id, 1, b"to a").unwrap();
    run(&mut a, &mut b, |a, b| a.messages.len() == 1 && b.messages.len() == 1);
}

#[test]
fn two_new_session_ids_at_once_meet_through_update_peer() {
    let (_relay, mut a, mut b) = connected_players();
    let (a_id, b_id) = (a.id(), b.id());
    let (a_old, b_old) = (a.route(), b.route());
    a.net.rotate_session();
    b.net.rotate_session();
    a.net.send_message(b_id, 1, b"to b").unwrap();
    b.net.send_message(a_id, 1, b"to a").unwrap();
    run(&mut a, &mut b, |a, b| a.route() != a_old && b.route() != b_old);
    a.net.update_peer(b_id, b.route()).unwrap();
    b.net.update_peer(a_id, a.route()).unwrap();
    run(&mut a, &mut b, |a, b| a.messages.len() == 1 && b.messages.len() == 1);
}

#[test]
fn who_leaves_says_goodbye() {
    let (_relay, mut a, mut b) = connected_players();
    let b_id = b.id();
    let mut other = Player::new(Config::default());
    core::mem::swap(&mut b, &mut other);
    drop(other);
    run(&mut a, &mut b, |a, _| {
        a.saw(Event::PeerDisconnected { peer: b_id, reason: DisconnectReason::RemoteShutdown })
    });
}

#[test]
fn a_network_that_swallows_everything_is_named() {
    let relay = TestRelay::start(IpAddr::from([127, 0, 0, 1])).unwrap();
    let swallow = LinkEmulation { loss: 100.0, ..LinkEmulation::default() };
    let mut a = Player::new(Config { outgoing: Some(swallow), ..config(&relay) });
    let mut b = Player::new(config(&relay));
    let blocked = |event: &Event<'_>| {
        matches!(event, Event::RelayLost { reason: RelayLostReason::NetworkBlocksUdp, .. })
    };
    run(&mut a, &mut b, |a, _| a.events.iter().any(blocked));
    assert!(!b.events.iter().any(blocked));
}

#[test]
fn a_machine_without_a_socket_says_so_at_start() {
    let relay = TestRelay::start(IpAddr::from([127, 0, 0, 1])).unwrap();
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let bind_v4 = SocketAddrV4::new([127, 0, 0, 1].into(), port);
    let error = NetworkManager::new(Config { bind_v4, ..config(&relay) }).unwrap_err();
    assert!(matches!(error, StartError::Socket(_)), "{error:?}");
    assert!(error.to_string().contains(&bind_v4.to_string()), "{error}");
}

#[test]
fn a_directory_file_that_changes_moves_the_players() {
    let relays = [(); 2].map(|()| TestRelay::start(IpAddr::V4(Ipv4Addr::LOCALHOST)).unwrap());
    let path = std::env::temp_dir().join(format!("waylane-players-{}", std::process::id()));
    let write = |text: String| std::fs::write(&path, text).unwrap();
    write("rubbish\n".to_owned());
    let config = || Config { directory_file: Some(path.clone()), ..Config::default() };
    let refused = NetworkManager::new(config()).map(drop).unwrap_err();
    assert!(matches!(
        refused,
        StartError::DirectoryFile(DirectoryFileError::BadEntry { line: 1, .. })
    ));
    write(format!("# the first\n{}\n", relays[0].entry()));
    let [mut a, mut b] = [(); 2].map(|()| Player::new(config()));
    run(&mut a, &mut b, |a, b| a.net.route().is_some() && b.net.route().is_some());
    connect(&mut a, &mut b);
    let first = a.net.home();
    assert!(first.is_some() && b.net.home() == first);

    // Both are told of another relay, and then that the first is gone.
    write(format!("{}\n{}\n", relays[0].entry(), relays[1].entry()));
    run(&mut a, &mut b, |a, b| a.net.standby().is_some() && b.net.standby().is_some());
    write(format!("# only the second\n{}\n", relays[1].entry()));
    go_on_without(first, &mut a, &mut b);

    write("rubbish\n".to_owned());
    run(&mut a, &mut b, |a, _| {
        a.events.iter().any(|event| matches!(event, Event::DirectoryRefused { .. }))
    });
    assert_eq!(a.net.relays().count(), 1, "what was read before stays in force");
    std::fs::remove_file(&path).unwrap();
}

/// Both know one relay only, which is not this one, and talk over it without having parted.
fn go_on_without(relay: Option<RelayId>, a: &mut Player, b: &mut Player) {
    let (a_id, b_id) = (a.id(), b.id());
    run(a, b, |a, b| {
        [(&*a, b_id), (&*b, a_id)].into_iter().all(|(player, other)| {
            let over = player.net.stats(other).and_then(|stats| stats.relay);
            player.net.relays().count() == 1 && over.is_some() && over != relay
        })
    });
    a.net.send_message(b_id, 1, b"still here").unwrap();
    run(a, b, |_, b| b.payloads(1).count() == 1);
    assert!(a.events.iter().all(|event| !matches!(event, Event::PeerDisconnected { .. })));
}

/// A list in text form, as a file has it.
fn signed(signer: &FleetSigner, sequence: u64, relays: &[&TestRelay]) -> String {
    let entries: Vec<_> = relays.iter().map(|relay| relay.entry()).collect();
    let mut out = [0; SignedDirectory::LEN_MAX];
    signer.sign(sequence, &entries, &mut out).unwrap().to_string()
}

#[test]
fn a_signed_list_moves_the_players_by_file_or_by_hand() {
    let relays = [(); 2].map(|()| TestRelay::start(IpAddr::V4(Ipv4Addr::LOCALHOST)).unwrap());
    let signer = FleetSigner::from_secret(&Secret([7; 32]));
    let path = std::env::temp_dir().join(format!("waylane-signed-{}", std::process::id()));
    let write = |text: String| std::fs::write(&path, text).unwrap();
    let with_key =
        |fleet_key| Config { directory_file: Some(path.clone()), fleet_key, ..Config::default() };
    write(signed(&signer, 1, &[&relays[0]]));
    for (key, error) in [
        (None, SetDirectoryError::NoFleetKey),
        (Some(FleetKey([9; 32])), SetDirectoryError::Signature),
    ] {
        let refused = NetworkManager::new(with_key(key)).map(drop).unwrap_err();
        assert_eq!(refused, StartError::DirectoryFile(DirectoryFileError::Signed(error)));
    }
    let by_file = with_key(Some(signer.public()));
    let by_hand = Config { directory_file: None, ..by_file.clone() };
    let (mut a, mut b) = (Player::new(by_file), Player::new(by_hand));
    assert_eq!(b.net.set_signed_directory(signed(&signer, 1, &[&relays[0]])), Ok(true));
    run(&mut a, &mut b, |a, b| a.net.route().is_some() && b.net.route().is_some());
    connect(&mut a, &mut b);
    let first = a.net.home();

    let next = signed(&signer, 2, &[&relays[1]]);
    write(next.clone());
    assert_eq!(b.net.set_signed_directory(&next), Ok(true));
    assert_eq!(b.net.set_signed_directory(signed(&signer, 1, &[&relays[0]])), Ok(false));
    go_on_without(first, &mut a, &mut b);
    assert_eq!(a.net.signed_directory().unwrap().to_string(), next);

    write("d2F5bGFuZSBkaXJlY3RvcnkA".to_owned());
    run(&mut a, &mut b, |a, _| {
        a.events.iter().any(|event| matches!(event, Event::DirectoryRefused { .. }))
    });
    assert_eq!(a.net.signed_directory().unwrap().sequence(), 2, "what was read stays in force");
    std::fs::remove_file(&path).unwrap();
}
