//! Who gets a session at a relay that asks for tokens, how many, for how long and for how much.
#![allow(clippy::unwrap_used, reason = "a test may stop at what should not happen")]

mod amplification;
#[path = "../relay_support/mod.rs"]
mod relay_support;

use core::net::SocketAddr;
use core::time::Duration;

use relay_support::{Client, Hop as _, Outcome, World, address, data, small};
use waylane_core::crypto::Secret;
use waylane_core::id::PublicKey;
use waylane_core::relay::{
    AnswerRates, Budget, Rate, RelayConfig, RelayConfigError, SessionChange, SessionEvent,
    TokenRules,
};
use waylane_core::token::{Claims, KeyId, Region, Token, TokenKeys};
use waylane_core::wire::hop::{ControlMessage, Refused, RefusedReason};
use waylane_crypto::pure::Pure;
use waylane_crypto::ring::Ring;
use waylane_crypto::{Seeded, TokenSigner};

#[test]
fn a_good_token_is_served_again_and_again() {
    let mut world = relay(|_| ());
    let mut a = Client::new(1);
    a.token = token(&a, |_| ());
    for _ in 0..3 {
        assert_eq!(join(&mut a, &mut world), None);
        assert_eq!(a.token_left_s, Some(600));
    }
    let cookie = a.cookie(&mut world);
    a.resume(&mut world, cookie).unwrap();
    a.prove(&mut world);
    assert_eq!(world.live(), 1);
    assert_eq!(world.control.counters().refused, 0);
}

#[test]
fn a_bad_token_is_refused_with_its_reason() {
    let mut world = relay(|_| ());
    let other = *Client::new(9).key.public();
    let cases: [(RefusedReason, Make<'_>); 12] = [
        (RefusedReason::Token, &|_| Vec::new()),
        (RefusedReason::Token, &|_| b"a token".to_vec()),
        (RefusedReason::Token, &|a| token(a, |_| ())[1..].to_vec()),
        (RefusedReason::TokenExpired, &|a| token(a, |c| c.expiry_unix_s = START)),
        (RefusedReason::TokenPeer, &|a| token(a, |c| c.peer = Some(other))),
        (RefusedReason::TokenPeer, &|a| token(a, |c| c.peer = None)),
        (RefusedReason::TokenRegion, &|a| token(a, |c| c.region = "us".parse().unwrap())),
        (RefusedReason::TokenSignature, &|a| issue(&signer(2), &claims(a))),
        // Of a key that names itself as the one that is taken.
        (RefusedReason::TokenSignature, &|a| {
            let good = issue(&signer(1), &claims(a));
            let mut forged = issue(&signer(2), &claims(a));
            forged[4..8].copy_from_slice(&good[4..8]);
            forged
        }),
        (RefusedReason::TokenSignature, &|a| changed(token(a, |_| ()), 2)),
        (RefusedReason::TokenSignature, &|a| changed(token(a, |_| ()), 97)),
        (RefusedReason::TokenSignature, &|a| changed(token(a, |_| ()), 167)),
    ];
    for (n, (reason, make)) in cases.iter().enumerate() {
        let mut a = Client::new(1);
        a.token = make(&a);
        assert_eq!(join(&mut a, &mut world), Some(*reason), "case {n}");
    }
    let counters = world.control.counters();
    assert_eq!((counters.refused, counters.sessions_begun), (12, 0));
    assert_eq!(counters.refusals.of(RefusedReason::TokenSignature), 5);
    assert_eq!(counters.refusals.iter().map(|(_, count)| count).sum::<u64>(), 12);
}

/// What the page's Python program signs for these claims with a seed of ones.
#[test]
fn a_token_is_what_others_sign() {
    let claims = Claims {
        key: KeyId::default(),
        expiry_unix_s: 1_800_000_000,
        peer: Some(PublicKey([2; 32])),
        subject: *b"account\0\0\0\0\0\0\0\0\0",
        region: "eu".parse().unwrap(),
        sessions: 2,
        packets_per_second: 3,
        bytes_per_second: 4,
    };
    let token = "AQECADR1D5gA0klrAAAAAAICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICYWNjb3VudAAAAAAAAA\
                 AAAGV1AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAwAAAAQAAABF_SBRI4OGwDDfI0ST7b5QjKOnO2\
                 r1blOLUULXF-lB-OeQrkO69n6qU-Zbq8K3gm1fjAuapK5Z8QQKZUm2R_gI";
    assert_eq!(signer(1).issue(&claims).to_string(), token);
    let key = "iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w".parse().unwrap();
    assert_eq!(signer(1).public(), key);
    let token: Token = token.parse().unwrap();
    assert!(token.is_signed_by::<Ring>(&key) && token.is_signed_by::<Pure<Seeded>>(&key));
    let mut bytes = *token.as_bytes();
    bytes[103] ^= 1;
    let forged = Token::from_bytes(&bytes).unwrap();
    assert!(!forged.is_signed_by::<Ring>(&key) && !forged.is_signed_by::<Pure<Seeded>>(&key));
}

#[test]
fn who_may_show_which_token_is_the_relays_choice() {
    let mut world = relay(|rules| {
        rules.bearer = true;
        rules.region = "us".parse().unwrap();
    });
    let mut a = Client::new(1);
    a.token = token(&a, |c| (c.peer, c.region) = (None, "us".parse().unwrap()));
    assert_eq!(join(&mut a, &mut world), None);
    let mut b = Client::new(2);
    b.token = a.token.clone();
    assert_eq!(join(&mut b, &mut world), None, "it serves whoever shows it");
    b.token = token(&b, |c| c.region = Region::NONE);
    assert_eq!(join(&mut b, &mut world), None, "good everywhere");
}

#[test]
fn a_copied_bind_with_a_token_serves_nobody_else() {
    let mut world = relay(|_| ());
    let mut a = Client::new(1);
    a.token = token(&a, |_| ());
    let cookie = a.cookie(&mut world);
    let (bind, _) = a.bind_datagram(world.relay_key(), cookie, false);
    let refused = world.answer(address(66), &bind);
    assert_eq!(Refused::parse(&refused).unwrap().reason, RefusedReason::Cookie);
    // The token itself, taken from its owner's machine, is of no use under another key.
    let mut thief = Client::new(2);
    thief.token = a.token.clone();
    assert_eq!(join(&mut thief, &mut world), Some(RefusedReason::TokenPeer));
    assert_eq!(world.live(), 0);
}

#[test]
fn a_session_ends_a_minute_after_its_token() {
    let mut world = relay(|_| ());
    let (mut a, mut b) = (Client::new(1), Client::new(2));
    a.token = token(&a, |c| c.expiry_unix_s = START + 100);
    b.token = token(&b, |_| ());
    assert_eq!((join(&mut a, &mut world), join(&mut b, &mut world)), (None, None));
    assert_eq!(a.token_left_s, Some(100));
    let mut told = None;
    while world.now < at(200) {
        for (to, datagram) in world.pass(Duration::from_secs(1)) {
            assert_eq!(to, a.address);
            assert_eq!(a.open(&datagram), Some(ControlMessage::Expired));
            assert_eq!(told.replace(world.now), None);
        }
        assert_eq!(a.keeps_alive(&mut world), told.is_none(), "{:?}", world.now);
        assert!(b.keeps_alive(&mut world));
    }
    assert!((at(160)..=at(162)).contains(&told.unwrap()), "{told:?}");
    let counters = world.control.counters();
    assert_eq!((counters.sessions_token_ended, counters.sessions_expired), (1, 0));
    let events = core::iter::from_fn(|| world.control.poll_event());
    let ended: Vec<_> = events.filter(|event| event.change != SessionChange::Begun).collect();
    let [SessionEvent { session, change: SessionChange::TokenExpired, .. }] = ended[..] else {
        panic!("{ended:?}")
    };
    assert_eq!(session, a.session);
    // Neither ticket nor token helps any more.
    let cookie = a.cookie(&mut world);
    assert_eq!(a.resume(&mut world, cookie), Err(RefusedReason::TokenExpired));
    assert_eq!(join(&mut a, &mut world), Some(RefusedReason::TokenExpired));
}

#[test]
fn another_token_renews_the_session_and_changes_nothing_else() {
    let mut world = relay(|_| ());
    let (mut a, mut b) = (Client::new(1), Client::new(2));
    a.token = token(&a, |c| c.expiry_unix_s = START + 100);
    b.token = token(&b, |_| ());
    assert_eq!((join(&mut a, &mut world), join(&mut b, &mut world)), (None, None));
    let session = a.session;
    for minute in 1..=5 {
        let until = world.now + Duration::from_secs(60);
        while world.now < until {
            world.pass(Duration::from_secs(15));
            assert!(a.keeps_alive(&mut world) && b.keeps_alive(&mut world));
            assert_eq!(world.send_data(b.address, session), Outcome::Forwarded(a.address));
        }
        a.token = token(&a, |c| c.expiry_unix_s = START + minute * 60 + 100);
        let cookie = a.cookie(&mut world);
        a.resume(&mut world, cookie).unwrap();
        assert_eq!(world.send_data(b.address, session), Outcome::Forwarded(a.address));
        a.prove(&mut world);
        assert_eq!(a.session, session);
    }
    // And the old one's end is none of its business.
    assert_eq!(world.control.counters().sessions_token_ended, 0);
    assert_eq!(world.live(), 2);
}

#[test]
fn a_token_shown_before_costs_no_signature() {
    let none = Rate { per_second: 0, burst: 0 };
    let mut world = relay(|_| ());
    let mut a = Client::new(1);
    a.token = token(&a, |_| ());
    assert_eq!(join(&mut a, &mut world), None);
    // Whatever costs public-key work is now refused.
    let binds = AnswerRates { total: none, per_prefix: none };
    world.control.reload(&RelayConfig { binds, ..config(rules(&[1])) }).unwrap();
    let cookie = a.cookie(&mut world);
    a.resume(&mut world, cookie).unwrap();
    a.prove(&mut world);
    a.token = token(&a, |c| c.expiry_unix_s += 1);
    let cookie = a.cookie(&mut world);
    let (resume, _) = a.resume_datagram(cookie, false);
    assert_eq!(world.send(a.address, &resume), Outcome::Nothing);
    assert_eq!(world.control.counters().dropped.rate_limited, 1);
}

#[test]
fn keys_are_rotated_under_traffic_without_a_refusal() {
    let mut world = relay(|_| ());
    let mut players: Vec<Client> = (1..=6).map(Client::new).collect();
    for player in &mut players {
        player.token = token(player, |_| ());
        assert_eq!(join(player, &mut world), None);
    }
    let sessions: Vec<_> = players.iter().map(|player| player.session).collect();
    let everybody_talks = |players: &mut [Client], world: &mut World| {
        for n in 0..players.len() {
            let to = (n + 1) % players.len();
            let outcome = world.send_data(players[n].address, sessions[to]);
            assert_eq!(outcome, Outcome::Forwarded(players[to].address));
            assert!(players[n].keeps_alive(world));
        }
    };
    world.control.reload(&config(rules(&[1, 2]))).unwrap();
    for n in 0..players.len() {
        everybody_talks(&mut players, &mut world);
        let player = &mut players[n];
        // Some come with the old key's token once more, before the new one's.
        if n % 2 == 0 {
            assert_eq!(join(player, &mut world), None);
        }
        player.token = issue(&signer(2), &claims(player));
        let cookie = player.cookie(&mut world);
        player.resume(&mut world, cookie).unwrap();
        player.prove(&mut world);
        world.pass(Duration::from_secs(1));
    }
    world.control.reload(&config(rules(&[2]))).unwrap();
    everybody_talks(&mut players, &mut world);
    for player in &mut players {
        assert_eq!(join(player, &mut world), None);
    }
    everybody_talks(&mut players, &mut world);
    assert_eq!(world.control.counters().refused, 0);
    // The old key's tokens are good for nothing any more, not even with a ticket.
    let mut late = Client::new(7);
    late.token = token(&late, |_| ());
    assert_eq!(join(&mut late, &mut world), Some(RefusedReason::TokenSignature));
}

#[test]
fn a_ticket_does_not_outlive_the_key_of_its_token() {
    let mut world = relay(|_| ());
    let mut a = Client::new(1);
    a.token = token(&a, |_| ());
    assert_eq!(join(&mut a, &mut world), None);
    world.control.reload(&config(rules(&[2]))).unwrap();
    let cookie = a.cookie(&mut world);
    assert_eq!(a.resume(&mut world, cookie), Err(RefusedReason::TokenSignature));
    assert!(a.keeps_alive(&mut world), "what it has it keeps");
}

#[test]
fn a_subject_has_as_many_sessions_as_its_token_says() {
    let mut world = relay(|_| ());
    let mut family: Vec<Client> = (1..=4).map(Client::new).collect();
    for (n, member) in family.iter_mut().enumerate() {
        member.token = token(member, |c| (c.subject, c.sessions) = ([7; 16], 3));
        let expected = if n < 3 { None } else { Some(RefusedReason::SubjectFull) };
        assert_eq!(join(member, &mut world), expected, "{n}");
    }
    // Others are none of its business, nor is who is in already.
    let mut other = Client::new(9);
    other.token = token(&other, |c| (c.subject, c.sessions) = ([8; 16], 1));
    assert_eq!(join(&mut other, &mut world), None);
    assert_eq!(join(&mut family[0], &mut world), None);
    family[1].bind(&mut world, true);
    family[1].prove(&mut world);
    assert_eq!(world.live(), 4, "one that takes another slot is still one");
    // When one leaves there is room.
    let unbind = family[2].control(ControlMessage::Unbind);
    world.send(family[2].address, &unbind);
    assert_eq!(join(&mut family[3], &mut world), None);
    assert_eq!(join(&mut family[2], &mut world), Some(RefusedReason::SubjectFull));
}

#[test]
fn the_relays_own_limit_holds_where_a_token_says_nothing() {
    let mut world = World::new(RelayConfig { sessions_per_subject: 2, ..config(rules(&[1])) });
    world.now += Duration::from_secs(31);
    for n in 1..=3 {
        let mut member = Client::new(n);
        member.token = token(&member, |c| c.subject = [7; 16]);
        let expected = if n < 3 { None } else { Some(RefusedReason::SubjectFull) };
        assert_eq!(join(&mut member, &mut world), expected);
    }
}

#[test]
fn what_a_subject_sends_is_counted_over_all_its_sessions() {
    let mut world = relay(|_| ());
    let mut players: Vec<Client> = (1..=4).map(Client::new).collect();
    for (n, player) in players.iter_mut().enumerate() {
        // Three of one subject with a low rate, one of another with a high one.
        player.token = token(player, |c| {
            c.subject = [if n < 3 { 7 } else { 8 }; 16];
            c.packets_per_second = if n < 3 { 300 } else { 20_000 };
            c.bytes_per_second = if n < 3 { 1_000_000 } else { 100_000_000 };
        });
        assert_eq!(join(player, &mut world), None);
    }
    let rates = [400, 400, 100, 15_000];
    let passed = run(&mut world, &players, &rates);
    assert_within(passed[..3].iter().sum(), 300 * SECONDS);
    assert_eq!(passed[3], 15_000 * SECONDS, "more than the relay's default");
    // Whoever of them leaves, and whoever moves: together they send no more.
    for leaver in 0..2 {
        let unbind = players[leaver].control(ControlMessage::Unbind);
        world.send(players[leaver].address, &unbind);
        let passed = run(&mut world, &players, &[0, 400, 400, 1000]);
        assert_within(passed[..3].iter().sum(), 300 * SECONDS);
        assert_eq!(passed[3], 1000 * SECONDS);
    }
    // A token with another rate counts from its proof on.
    let player = &mut players[2];
    player.token = token(player, |c| (c.subject, c.packets_per_second) = ([7; 16], 1000));
    let cookie = player.cookie(&mut world);
    player.resume(&mut world, cookie).unwrap();
    player.prove(&mut world);
    let passed = run(&mut world, &players, &[0, 0, 2000, 0]);
    assert_within(passed[2], 1000 * SECONDS);
}

#[test]
fn a_subjects_bytes_are_counted_too() {
    let mut world = relay(|_| ());
    let mut players: Vec<Client> = (1..=3).map(Client::new).collect();
    for (player, subject) in players.iter_mut().zip([7, 7, 8]) {
        player.token = token(player, |c| (c.subject, c.bytes_per_second) = ([subject; 16], 60_000));
        assert_eq!(join(player, &mut world), None);
    }
    let passed = run(&mut world, &players, &[1000, 1000, 990]);
    assert_within(passed[..2].iter().sum::<u64>() * 60, 60_000 * SECONDS);
    assert_eq!(passed[2], 990 * SECONDS, "nobody else");
}

#[test]
fn a_subjects_handshake_datagrams_are_counted_over_all_its_sessions() {
    let mut world = relay(|_| ());
    let mut players: Vec<Client> = (1..=4).map(Client::new).collect();
    for (player, subject) in players.iter_mut().zip([7, 7, 7, 8]) {
        player.token = token(player, |c| c.subject = [subject; 16]);
        assert_eq!(join(player, &mut world), None);
    }
    let begin = |world: &mut World, from: &Client, to: &Client| {
        let mut datagram = data(to.session);
        datagram[0] = 0x40;
        matches!(world.send(from.address, &datagram), Outcome::Forwarded(_))
    };
    let [a, b, c, other] = [0, 1, 2, 3].map(|n| &players[n]);
    // What was saved up is spent first.
    while begin(&mut world, a, other) {}
    let mut passed = [0; 4];
    for turn in 0..100 * SECONDS {
        for (passed, from) in passed.iter_mut().zip([a, b, c]) {
            *passed += u64::from(begin(&mut world, from, other));
        }
        passed[3] += u64::from(turn % 11 == 0 && begin(&mut world, other, a));
        world.now += Duration::from_millis(10);
    }
    assert_within(passed[..3].iter().sum(), 10 * SECONDS);
    assert_eq!(passed[3], (100 * SECONDS).div_ceil(11), "nobody else");
}

#[test]
fn a_subjects_budget_and_its_sources_both_bind() {
    let source = Budget { packets_per_second: 1000, bytes_per_second: 10_000_000, burst_ms: 100 };
    let mut world = World::new(RelayConfig { source, ..config(rules(&[1])) });
    let mut players: Vec<Client> = (1..=4).map(Client::new).collect();
    let places = ["192.0.2.7:1", "198.51.100.2:1", "192.0.2.7:2", "198.51.100.3:1"];
    for ((player, place), subject) in players.iter_mut().zip(places).zip([7, 7, 8, 9]) {
        player.address = place.parse().unwrap();
        player.token = token(player, |c| {
            c.subject = [subject; 16];
            c.packets_per_second = if subject == 7 { 600 } else { 20_000 };
        });
        assert_eq!(join(player, &mut world), None);
    }
    // The first pays for the second, so that both count to its source, where the third is, too.
    for _ in 0..2 {
        let passed = run(&mut world, &players, &[400, 400, 100, 100]);
        assert_within(passed[..2].iter().sum(), 600 * SECONDS);
        assert_eq!(passed[2..], [100 * SECONDS; 2]);
        let passed = run(&mut world, &players, &[400, 400, 900, 2000]);
        assert_within(passed[..3].iter().sum(), 1000 * SECONDS);
        assert_within(passed[3], 1000 * SECONDS);
        world.hand_over();
    }
    // When it leaves, what the second sends is of the second's source.
    let unbind = players[0].control(ControlMessage::Unbind);
    world.send(players[0].address, &unbind);
    let passed = run(&mut world, &players, &[0, 500, 900, 0]);
    assert_eq!(passed[1..3], [500 * SECONDS, 900 * SECONDS]);
}

#[test]
fn what_a_token_said_holds_in_the_next_relay() {
    let mut world = World::new(RelayConfig { sessions_per_source: 2, ..config(rules(&[1])) });
    world.now += Duration::from_secs(31);
    let mut players: Vec<Client> = (1..=4).map(Client::new).collect();
    let ends = START + 31 + 100;
    for (n, player) in players.iter_mut().enumerate() {
        // Two of one subject with a low rate, two of others with high ones at one source.
        player.token = token(player, |c| {
            c.subject = [if n < 2 { 7 } else { 8 + n as u8 }; 16];
            c.sessions = 2;
            c.packets_per_second = if n < 2 { 300 } else { 20_000 };
            c.bytes_per_second = if n < 2 { 1_000_000 } else { 100_000_000 };
            c.expiry_unix_s = if n < 3 { START + 600 } else { ends };
        });
        if n >= 2 {
            player.address = SocketAddr::from(([198, 51, 100, 1], n as u16));
        }
        assert_eq!(join(player, &mut world), None);
    }
    world.hand_over();

    // Prices, and who pays together.
    let passed = run(&mut world, &players, &[400, 400, 15_000, 0]);
    assert_within(passed[..2].iter().sum(), 300 * SECONDS);
    assert_eq!(passed[2], 15_000 * SECONDS, "more than the relay's default");
    // How many of a subject and of a source.
    let mut late = Client::new(9);
    late.token = token(&late, |c| (c.subject, c.sessions) = ([7; 16], 2));
    assert_eq!(join(&mut late, &mut world), Some(RefusedReason::SubjectFull));
    late.token = token(&late, |_| ());
    late.address = SocketAddr::from(([198, 51, 100, 1], 9));
    assert_eq!(join(&mut late, &mut world), Some(RefusedReason::SourceFull));
    // And until when: a minute after the token's end.
    let mut told = None;
    while world.now < at(31 + 180) {
        for (to, datagram) in world.pass(Duration::from_secs(1)) {
            assert_eq!(to, players[3].address);
            assert_eq!(players[3].open(&datagram), Some(ControlMessage::Expired));
            assert_eq!(told.replace(world.now), None);
        }
        for (n, player) in players.iter_mut().enumerate() {
            assert_eq!(player.keeps_alive(&mut world), n < 3 || told.is_none());
        }
    }
    assert!((at(191)..=at(193)).contains(&told.unwrap()), "{told:?}");
}

#[test]
fn one_source_has_so_many_sessions_and_no_other_pays_for_it() {
    let mut world = World::new(RelayConfig { sessions_per_source: 3, ..small() });
    world.now += Duration::from_secs(31);
    let homes = [
        ["192.0.2.1:1", "192.0.2.1:2", "192.0.2.1:3", "192.0.2.1:4"],
        ["[2001:db8::1]:1", "[2001:db8::2]:1", "[2001:db8::ffff:1]:2", "[2001:db8:0:0:9::]:1"],
    ];
    let mut n = 0;
    for home in homes {
        let mut clients = home.map(|at| {
            n += 1;
            let mut client = Client::new(n);
            client.address = at.parse().unwrap();
            client
        });
        for (n, client) in clients.iter_mut().enumerate() {
            let expected = if n < 3 { None } else { Some(RefusedReason::SourceFull) };
            assert_eq!(join(client, &mut world), expected);
        }
        assert_eq!(join(&mut clients[0], &mut world), None, "who is in stays in");
        let unbind = clients[0].control(ControlMessage::Unbind);
        world.send(clients[0].address, &unbind);
        assert_eq!(join(&mut clients[3], &mut world), None);
        assert_eq!(join(&mut clients[0], &mut world), Some(RefusedReason::SourceFull));
        // Who moves away makes room; who comes by moving is not turned away.
        clients[1].address = SocketAddr::from(([198, 51, 100, n], 5));
        assert_eq!(join(&mut clients[1], &mut world), None);
        assert_eq!(join(&mut clients[0], &mut world), None);
        clients[1].address = home[1].parse().unwrap();
        assert_eq!(join(&mut clients[1], &mut world), None);
    }
    for at in ["192.0.2.2:1", "[2001:db8:0:1::]:1"] {
        n += 1;
        let mut neighbour = Client::new(n);
        neighbour.address = at.parse().unwrap();
        assert_eq!(join(&mut neighbour, &mut world), None);
    }
}

#[test]
fn a_reload_holds_at_once_or_changes_nothing() {
    let mut world = World::settled();
    let (mut a, b) = (Client::bound(1, &mut world), Client::bound(2, &mut world));
    let budget = Budget { packets_per_second: 500, bytes_per_second: 1_000_000, burst_ms: 50 };
    let wanted = RelayConfig { budget, tokens: Some(rules(&[1])), ..small() };
    let mut wrong = wanted;
    wrong.limits.sessions += 1;
    assert_eq!(world.control.reload(&wrong), Err(RelayConfigError::Memory));
    wrong = RelayConfig { sessions_per_source: 0, ..wanted };
    assert_eq!(world.control.reload(&wrong), Err(RelayConfigError::Circles));
    wrong = RelayConfig { source: Budget { burst_ms: 0, ..budget }, ..wanted };
    assert_eq!(world.control.reload(&wrong), Err(RelayConfigError::Budget));
    assert_within(run_pair(&mut world, &a, &b, 2000), 2000 * SECONDS);
    world.control.reload(&wanted).unwrap();
    assert_within(run_pair(&mut world, &a, &b, 2000), 500 * SECONDS);
    let source = Budget { packets_per_second: 200, ..budget };
    world.control.reload(&RelayConfig { source, ..wanted }).unwrap();
    assert_within(run_pair(&mut world, &a, &b, 2000), 200 * SECONDS);
    assert!(a.keeps_alive(&mut world), "no session is lost");
    assert_eq!(join(&mut Client::new(3), &mut world), Some(RefusedReason::Token));
}

/// Each player sends to its neighbour, so many datagrams a second; how many were forwarded for each.
fn run(world: &mut World, players: &[Client], rates: &[u64]) -> Vec<u64> {
    // What was saved up is gone first.
    for turn in [true, false] {
        let mut passed = vec![0; players.len()];
        for millis in 0..SECONDS * 1000 {
            for (n, rate) in rates.iter().enumerate() {
                let due = |millis: u64| millis * rate / 1000;
                // The last but one stays whoever leaves.
                let to = if n + 1 < players.len() { n + 1 } else { n - 1 };
                let to = players[to].session;
                for _ in due(millis)..due(millis + 1) {
                    let outcome = world.send_data(players[n].address, to);
                    passed[n] += u64::from(matches!(outcome, Outcome::Forwarded(_)));
                }
            }
            world.now += Duration::from_millis(1);
        }
        if !turn {
            return passed;
        }
    }
    unreachable!("the second turn returns")
}

fn run_pair(world: &mut World, a: &Client, b: &Client, rate: u64) -> u64 {
    let mut passed = 0;
    for _ in 0..SECONDS * 1000 {
        for _ in 0..rate / 1000 {
            passed += u64::from(world.send_data(a.address, b.session) != Outcome::Nothing);
        }
        world.now += Duration::from_millis(1);
    }
    passed
}

#[track_caller]
fn assert_within(measured: u64, expected: u64) {
    assert!(measured.abs_diff(expected) <= expected / 10, "{measured} instead of {expected}");
}

/// Hello, Bind and the proof; or why not.
fn join(client: &mut Client, world: &mut World) -> Option<RefusedReason> {
    let cookie = client.cookie(world);
    let (bind, handshake) = client.bind_datagram(world.relay_key(), cookie, false);
    let answer = world.answer(client.address, &bind);
    if let Ok(refused) = Refused::parse(&answer) {
        return Some(refused.reason);
    }
    client.accept_bound(&handshake, answer).unwrap();
    client.prove(world);
    None
}

/// A relay of region "eu" that takes the first signer's tokens.
fn relay(change: impl FnOnce(&mut TokenRules)) -> World {
    let mut rules = rules(&[1]);
    change(&mut rules);
    World::new(config(rules))
}

fn config(rules: TokenRules) -> RelayConfig {
    RelayConfig { tokens: Some(rules), ..small() }
}

fn rules(signers: &[u8]) -> TokenRules {
    let keys: Vec<_> = signers.iter().map(|n| signer(*n).public()).collect();
    let keys = TokenKeys::new(&keys).unwrap();
    TokenRules { keys, bearer: false, region: "eu".parse().unwrap() }
}

fn signer(n: u8) -> TokenSigner {
    TokenSigner::from_secret(&Secret([n; 32]))
}

/// The first signer's token for `client`, with what `change` makes of its claims.
fn token(client: &Client, change: impl FnOnce(&mut Claims)) -> Vec<u8> {
    let mut claims = claims(client);
    change(&mut claims);
    issue(&signer(1), &claims)
}

fn claims(client: &Client) -> Claims {
    let peer = Some(PublicKey(client.key.public().0));
    Claims { peer, region: "eu".parse().unwrap(), ..Claims::until(START + 600) }
}

fn issue(signer: &TokenSigner, claims: &Claims) -> Vec<u8> {
    let token: Token = signer.issue(claims);
    token.as_bytes().to_vec()
}

/// Makes a client's token.
type Make<'a> = &'a dyn Fn(&Client) -> Vec<u8>;

fn changed(mut token: Vec<u8>, at: usize) -> Vec<u8> {
    token[at] ^= 1;
    token
}

fn at(seconds: u64) -> waylane_core::time::Instant {
    waylane_core::time::Instant::from_millis(seconds * 1000)
}

/// The wall clock when a world begins.
const START: u64 = 1_700_000_000;
const SECONDS: u64 = 5;
