//! What the relay promises, one test a promise, in virtual time.
#![allow(clippy::unwrap_used, reason = "a test may stop at what should not happen")]

mod relay_support;

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::HashSet;

use proptest::prelude::*;
use relay_support::{Client, Hop as _, Outcome, Provider, World, address, data, small};
use waylane_core::crypto::Crypto;
use waylane_core::directory::RelayEntry;
use waylane_core::fleet::SignedDirectory;
use waylane_core::id::{PublicKey, SessionId};
use waylane_core::relay::{AnswerRates, Rate, RelayConfig, RelayLimits, SessionChange};
use waylane_core::wire::hop::{
    ControlMessage, DirectoryPage, NotBound, Probe, Refused, RefusedReason, Resumed, TICKET_LEN,
};
use waylane_crypto::{Random, Seeded};

#[test]
fn forwards_only_between_live_sessions() {
    let mut world = World::settled();
    let a = Client::bound(1, &mut world);
    let mut b = Client::new(2);
    b.bind(&mut world, false);
    assert_eq!(a.seen_as, Some(a.address));

    // b is answered but not proven: nothing comes to it and nothing goes out from it.
    assert_eq!(world.send_data(a.address, b.session), Outcome::Nothing);
    assert_eq!(world.counters.no_destination, 1);
    assert!(matches!(world.send_data(b.address, a.session), Outcome::Answered(_)));
    assert_eq!(world.counters.unbound, 1);

    b.prove(&mut world);
    assert_eq!(world.send_data(a.address, b.session), Outcome::Forwarded(b.address));
    assert_eq!(world.send_data(b.address, a.session), Outcome::Forwarded(a.address));

    // A wrong tag, a slot that does not exist, oneself: nowhere.
    let wrong_tag = SessionId::new(b.session.slot(), b.session.tag() ^ 1);
    assert_eq!(world.send_data(a.address, wrong_tag), Outcome::Nothing);
    let no_slot = SessionId::new(SessionId::SLOTS - 1, b.session.tag());
    assert_eq!(world.send_data(a.address, no_slot), Outcome::Nothing);
    assert_eq!(world.counters.no_destination, 3);
    assert_eq!(world.send_data(a.address, a.session), Outcome::Nothing);
    assert_eq!(world.counters.to_itself, 1);

    let unbind = b.control(ControlMessage::Unbind);
    assert_eq!(world.send(b.address, &unbind), Outcome::Nothing);
    assert_eq!(world.send_data(a.address, b.session), Outcome::Nothing);
    assert_eq!(world.live(), 1);

    // Whoever keeps a log is told of all three, in order, and once.
    let events = core::iter::from_fn(|| world.control.poll_event());
    let events: Vec<_> = events.map(|event| (event.session, event.address, event.change)).collect();
    let expected = [
        (a.session, a.address, SessionChange::Begun),
        (b.session, b.address, SessionChange::Begun),
        (b.session, b.address, SessionChange::Left),
    ];
    assert_eq!(events, expected);
}

#[test]
fn every_forwarded_kind_and_no_other_passes() {
    let mut world = World::settled();
    let (a, b) = (Client::bound(1, &mut world), Client::bound(2, &mut world));
    for first in 0..=255u8 {
        let mut datagram = data(b.session);
        datagram[0] = first;
        let passes = matches!(first, 0x40..=0x42 | 0x80..=0x87);
        let outcome = world.send(a.address, &datagram);
        assert_eq!(outcome == Outcome::Forwarded(b.address), passes, "{first:#x}");
    }
    assert_eq!(world.send(a.address, &data(b.session)[..27]), Outcome::Nothing, "too short");
    assert!(matches!(world.send(a.address, &data(b.session)[..28]), Outcome::Forwarded(_)));
    let mut long = data(b.session);
    long.resize(1473, 0);
    assert_eq!(world.send(a.address, &long), Outcome::Nothing, "too long");
    assert!(matches!(world.send(a.address, &long[..1472]), Outcome::Forwarded(_)));
}

/// [`World::send`] asserts for every datagram of every test that at most one answer goes out, to
/// where it came from, not longer than it. Here they come in all shapes.
#[test]
fn garbage_is_counted_and_harms_nobody() {
    let mut world = World::settled();
    let mut a = Client::bound(1, &mut world);
    let mut b = Client::bound(2, &mut world);
    let mut random = Seeded::new(5);
    let mut draw = |bound: usize| {
        let mut bytes = [0; 8];
        random.fill(&mut bytes);
        u64::from_le_bytes(bytes) as usize % bound
    };

    // Genuine datagrams of every kind, to be bent.
    let mut stranger = Client::new(3);
    let cookie = stranger.cookie(&mut world);
    let relay = world.relay_key();
    let mut genuine = vec![data(b.session), a.control(ControlMessage::KeepAlive { time: 1 })];
    genuine.push(stranger.bind_datagram(relay, cookie, false).0);
    genuine.push(a.resume_datagram(cookie, false).0);
    let mut probe = vec![0; Probe::LEN];
    Probe { reply: false, nonce: [1; 8] }.emit(&mut probe).unwrap();
    genuine.push(probe);

    let sources = [a.address, b.address, stranger.address, address(200)];
    for round in 0..60_000 {
        let mut datagram = genuine[draw(genuine.len())].clone();
        match draw(4) {
            0 => datagram.truncate(draw(datagram.len() + 1)),
            1 => {
                let at = draw(datagram.len() * 8);
                datagram[at / 8] ^= 1 << (at % 8);
            }
            2 => {
                let from = draw(datagram.len());
                datagram[from..].iter_mut().for_each(|byte| *byte = draw(256) as u8);
            }
            _ => {
                datagram.resize(draw(1600), 0);
                datagram.iter_mut().skip(1).for_each(|byte| *byte = draw(256) as u8);
            }
        }
        // The keep-alive that was kept back must stay unused.
        if datagram == genuine[1] {
            continue;
        }
        world.send(sources[draw(sources.len())], &datagram);
        if round % 100 == 0 {
            world.pass(Duration::from_millis(50));
        }
        if round % 10_000 == 0 {
            assert!(a.keeps_alive(&mut world) && b.keeps_alive(&mut world));
        }
    }
    assert!(a.keeps_alive(&mut world) && b.keeps_alive(&mut world));
    assert_eq!(world.send_data(a.address, b.session), Outcome::Forwarded(b.address));
    let drops = world.control.counters().dropped;
    assert!(drops.malformed > 0 && drops.forged > 0 && drops.unknown_source > 0, "{drops:?}");
}

#[test]
fn a_hint_answers_the_shortest_datagram_and_no_relay() {
    let mut world = World::settled();
    let nowhere = SessionId::new(3, 4);
    let long_enough = data(nowhere);
    let hint = world.answer(address(9), &long_enough[..28]);
    let hint = NotBound::parse(&hint).unwrap();
    assert_eq!(hint.echo, long_enough[20..28]);
    assert_eq!(world.send(address(9), &long_enough[..27]), Outcome::Nothing);
    // A relay never answers what only relays say, itself among them.
    for kind in [0x02, 0x04, 0x06, 0x07, 0x09, 0x0b, 0x0c, 0x3f] {
        let mut datagram = long_enough.clone();
        datagram[0] = kind;
        assert_eq!(world.send(address(9), &datagram), Outcome::Nothing, "{kind:#x}");
    }
}

#[test]
fn hints_to_one_neighbourhood_are_limited() {
    let rate = |n| Rate { per_second: n, burst: n };
    let answers = AnswerRates { total: rate(1000), per_prefix: rate(20) };
    let mut world = World::new(RelayConfig { answers, ..small() });
    let hinted = |world: &mut World, count: u32| {
        (0..count)
            .filter(|_| world.send_data(address(7), SessionId::new(1, 1)) != Outcome::Nothing)
            .count()
    };
    assert_eq!(hinted(&mut world, 500), 20);
    world.pass(Duration::from_millis(500));
    assert_eq!(hinted(&mut world, 500), 10);
    assert_eq!(world.counters.unbound, 1000);
}

#[test]
fn a_probe_is_answered_with_as_many_bytes() {
    let mut world = World::settled();
    let mut probe = vec![0; Probe::LEN];
    Probe { reply: false, nonce: *b"12345678" }.emit(&mut probe).unwrap();
    let reply = world.answer(address(1), &probe);
    assert_eq!(reply.len(), probe.len());
    assert_eq!(Probe::parse(&reply), Ok(Probe { reply: true, nonce: *b"12345678" }));
}

#[test]
fn a_copied_keep_alive_takes_over_nothing() {
    let mut world = World::settled();
    let mut a = Client::bound(1, &mut world);
    let b = Client::bound(2, &mut world);
    let thief = address(66);

    // Copied before the relay saw the original.
    let keep_alive = a.control(ControlMessage::KeepAlive { time: 9 });
    let answer = world.answer(thief, &keep_alive);
    assert!(NotBound::parse(&answer).is_ok(), "at most a hint");
    assert_eq!(world.send_data(b.address, a.session), Outcome::Forwarded(a.address));

    // It was not used up, and works once.
    let ack = world.answer(a.address, &keep_alive);
    assert_eq!(a.open(&ack), Some(ControlMessage::KeepAliveAck { time: 9 }));
    assert_eq!(world.send(a.address, &keep_alive), Outcome::Nothing);
    assert_eq!(world.control.counters().dropped.replayed, 1);

    // A copy extends no lifetime either: only b's own do.
    for _ in 0..5 {
        world.pass(Duration::from_secs(15));
        world.send(a.address, &keep_alive);
        world.send(thief, &keep_alive);
    }
    assert_eq!(world.live(), 0);
}

#[test]
fn a_signed_list_is_given_to_who_has_a_session_and_never_at_greater_length() {
    let mut world = World::settled();
    let mut a = Client::bound(1, &mut world);
    let ask = |sequence, offset, room| ControlMessage::DirectoryAsk { sequence, offset, room };
    let mut asked = |world: &mut World, sequence, offset, room| {
        let question = a.control(ask(sequence, offset, room));
        let answer = world.answer(a.address, &question);
        assert!(answer.len() <= question.len(), "{} to {}", answer.len(), question.len());
        // Neither a copy nor a question from elsewhere is answered; at most by a hint.
        assert_eq!(world.send(a.address, &question), Outcome::Nothing);
        let elsewhere = a.control(ask(sequence, offset, room));
        assert!(NotBound::parse(&world.answer(address(66), &elsewhere)).is_ok());
        let plain = a.plain(&a.keys, &answer).unwrap();
        let page = DirectoryPage::parse(&plain).unwrap();
        (page.sequence, page.list_len, page.offset, page.bytes.to_vec())
    };
    assert_eq!(asked(&mut world, 0, 0, 0), (0, 0, 0, vec![]), "there is none");

    let entry = RelayEntry::new(PublicKey([7; 32]), &[address(9)], "eu").unwrap();
    let mut out = [0; 512];
    let list = SignedDirectory::sign(5, &[entry], &mut out, |_| [9; 64]).unwrap();
    let (bytes, len) = (list.as_bytes(), list.as_bytes().len() as u16);
    world.control.set_directory(Some(&list));
    let nothing = (5, len, 0, vec![]);
    assert_eq!(asked(&mut world, 0, 0, 0), nothing);
    assert_eq!(asked(&mut world, 0, 0, 1000), nothing, "not before it is named");
    assert_eq!(asked(&mut world, 4, 0, 1000), nothing, "as it is another one");
    assert_eq!(asked(&mut world, 5, 0, 20), (5, len, 0, bytes[..20].to_vec()));
    assert_eq!(asked(&mut world, 5, 20, 1000), (5, len, 20, bytes[20..].to_vec()));
    for beyond in [len, len + 1, u16::MAX] {
        assert_eq!(asked(&mut world, 5, beyond, 1000), nothing);
    }
    world.control.set_directory(None);
    assert_eq!(asked(&mut world, 5, 0, 1000), (0, 0, 0, vec![]));
    assert_eq!(world.control.counters().directory_asks, 10);

    // So often as a neighbourhood is answered at all, and no oftener.
    let answers = (0..2000)
        .filter(|_| {
            let question = a.control(ask(0, 0, 0));
            world.send(a.address, &question) != Outcome::Nothing
        })
        .count();
    assert!((900..1000).contains(&answers), "{answers}");
    assert_eq!(world.control.counters().dropped.rate_limited, 2000 - answers as u64);
}

#[test]
fn a_copied_bind_takes_over_nothing() {
    let mut world = World::settled();
    let mut a = Client::new(1);
    let cookie = a.cookie(&mut world);
    let (bind, handshake) = a.bind_datagram(world.relay_key(), cookie, false);
    let thief = address(66);

    let refused = world.answer(thief, &bind);
    assert_eq!(Refused::parse(&refused).unwrap().reason, RefusedReason::Cookie);
    let bound = world.answer(a.address, &bind);
    a.accept_bound(&handshake, bound).unwrap();

    // The proof copied, too.
    let proof = a.control(ControlMessage::KeepAlive { time: 1 });
    assert!(NotBound::parse(&world.answer(thief, &proof)).is_ok());
    assert_eq!(world.live(), 0);
    let ack = world.answer(a.address, &proof);
    assert!(a.open(&ack).is_some());
    assert_eq!(world.live(), 1);

    // Replayed from the victim's own address while the cookie lasts: answered, and that is all.
    let again = world.answer(a.address, &bind);
    assert!(again.len() <= bind.len());
    assert!(a.keeps_alive(&mut world));
    world.pass(Duration::from_secs(11));
    assert!(a.keeps_alive(&mut world));
    assert_eq!(world.control.counters().unproven, 1);
}

#[test]
fn a_copied_resume_takes_over_nothing() {
    let mut world = World::settled();
    let mut a = Client::bound(1, &mut world);
    let b = Client::bound(2, &mut world);
    let cookie = a.cookie(&mut world);
    let (resume, _) = a.resume_datagram(cookie, false);
    let thief = address(66);
    let refused = world.answer(thief, &resume);
    assert_eq!(Refused::parse(&refused).unwrap().reason, RefusedReason::Cookie);

    // With a cookie of its own in place of the victim's: the seal covers it.
    let mut other = Client::new(3);
    other.address = thief;
    let mut forged = resume;
    forged[3..19].copy_from_slice(&other.cookie(&mut world));
    let refused = world.answer(thief, &forged);
    assert_eq!(Refused::parse(&refused).unwrap().reason, RefusedReason::Ticket);
    assert!(a.keeps_alive(&mut world));
    assert_eq!(world.send_data(b.address, a.session), Outcome::Forwarded(a.address));
}

#[test]
fn a_rebinding_resumes_under_the_same_session_within_three_round_trips() {
    let mut world = World::settled();
    let mut a = Client::bound(1, &mut world);
    let b = Client::bound(2, &mut world);
    let (session, old_keys, old_address) = (a.session, a.keys.clone(), a.address);

    a.address = address(101);
    assert!(a.recover(&mut world, b.session) <= 3);
    assert_eq!(a.session, session);
    assert_eq!(a.seen_as, Some(a.address));
    assert_eq!(world.send_data(a.address, b.session), Outcome::Forwarded(b.address));
    assert_eq!(world.send_data(b.address, session), Outcome::Forwarded(a.address));
    assert!(matches!(world.send_data(old_address, b.session), Outcome::Answered(_)), "no more");
    assert_eq!(world.live(), 2);

    // Whoever is at the old address is told, under the old keys.
    let told = world.poll();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].0, old_address);
    assert_eq!(a.open_with(&old_keys, &told[0].1), Some(ControlMessage::SessionReplaced));
    assert_eq!(a.open(&told[0].1), None);
}

#[test]
fn moving_on_and_on_leaves_nothing_behind() {
    let mut world = World::settled();
    let (mut a, b) = (Client::bound(1, &mut world), Client::bound(2, &mut world));
    // Several times more addresses than the index has places.
    for n in 0..500u16 {
        a.address = SocketAddr::from(([198, 51, 100, 1], 1000 + n));
        a.recover(&mut world, b.session);
        world.pass(Duration::from_millis(100));
    }
    assert_eq!(world.send_data(b.address, a.session), Outcome::Forwarded(a.address));
    assert_eq!(world.live(), 2);
}

#[test]
fn a_restart_resumes_under_the_same_sessions_within_three_round_trips() {
    for newcomers_first in [false, true] {
        let mut world = World::settled();
        let mut clients: Vec<Client> = (1..=8).map(|n| Client::bound(n, &mut world)).collect();
        let sessions: Vec<SessionId> = clients.iter().map(|c| c.session).collect();
        world.restart();
        if newcomers_first {
            // As many as the reserved part holds; they get nobody's slot.
            for n in 20..28 {
                let newcomer = Client::bound(n, &mut world);
                assert!(newcomer.session.slot() >= 56, "{:?}", newcomer.session);
            }
            assert_eq!(refusal_of(&mut Client::new(30), &mut world), Some(RefusedReason::Full));
        }
        for client in &mut clients {
            assert!(client.recover(&mut world, sessions[0]) <= 3);
        }
        let resumed: Vec<SessionId> = clients.iter().map(|c| c.session).collect();
        assert_eq!(resumed, sessions);
        let outcome = world.send_data(clients[0].address, sessions[7]);
        assert_eq!(outcome, Outcome::Forwarded(clients[7].address));
        if !newcomers_first {
            world.pass(Duration::from_secs(31));
            let newcomer = Client::bound(20, &mut world);
            assert!(newcomer.session.slot() < 56, "two keep-alives after the start");
        }
    }
}

#[test]
fn a_slot_taken_all_the_same_gives_a_new_session() {
    let mut world = World::settled();
    let mut a = Client::bound(1, &mut world);
    let session = a.session;
    world.restart();
    world.pass(Duration::from_secs(31));
    // Newcomers fill the whole table.
    for n in 0..64u8 {
        let key = PublicKey([n; 32]);
        world.control.insert(world.now, &key, address(100 + n)).unwrap();
    }
    let cookie = a.cookie(&mut world);
    assert_eq!(a.resume(&mut world, cookie), Err(RefusedReason::Full));
    world.pass(Duration::from_secs(61));
    assert_eq!(world.live(), 0);
    world.control.insert(world.now, &PublicKey([77; 32]), address(177)).unwrap();
    while a.session == session {
        // Newcomers take slots, longest free first, until a's is among them.
        let n = world.live() as u8;
        world.control.insert(world.now, &PublicKey([200 - n; 32]), address(100 + n)).unwrap();
        let cookie = a.cookie(&mut world);
        a.resume(&mut world, cookie).unwrap();
        world.pass(Duration::from_secs(11));
    }
    let cookie = a.cookie(&mut world);
    a.resume(&mut world, cookie).unwrap();
    a.prove(&mut world);
    assert_ne!(a.session.slot(), session.slot());
}

#[test]
fn silent_sessions_expire_and_are_told() {
    let mut world = World::settled();
    let a = Client::bound(1, &mut world);
    let mut b = Client::bound(2, &mut world);
    let mut told = Vec::new();
    for _ in 0..4 {
        told.extend(world.pass(Duration::from_millis(15_500)));
        // Data does not keep a session alive, keep-alives do.
        world.send_data(a.address, b.session);
        assert!(b.keeps_alive(&mut world));
    }
    assert_eq!(world.live(), 1);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].0, a.address);
    assert_eq!(a.open(&told[0].1), Some(ControlMessage::Expired));
    assert_eq!(world.send_data(b.address, a.session), Outcome::Nothing);
    assert_eq!(world.control.counters().sessions_expired, 1);
}

#[test]
fn an_unproven_bind_changes_nothing_and_is_given_up() {
    let mut world = World::settled();
    let mut a = Client::bound(1, &mut world);
    let mut twin = Client::new(1);
    twin.address = address(55);
    twin.bind(&mut world, false);
    assert_eq!(twin.session, a.session, "a key has one session");
    assert!(a.keeps_alive(&mut world));
    world.pass(Duration::from_secs(11));
    assert!(!twin.keeps_alive(&mut world), "too late");
    assert!(a.keeps_alive(&mut world));
    assert_eq!(world.control.counters().unproven, 1);
}

#[test]
fn the_last_proven_bind_of_a_key_wins_and_the_loser_is_told() {
    let mut world = World::settled();
    let mut a = Client::bound(1, &mut world);
    let mut twin = Client::new(1);
    twin.address = address(55);
    twin.bind(&mut world, false);
    twin.prove(&mut world);
    let told = world.poll();
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].0, a.open(&told[0].1)), (a.address, Some(ControlMessage::SessionReplaced)));
    assert!(!a.keeps_alive(&mut world));
    assert!(twin.keeps_alive(&mut world));
    assert_eq!(world.live(), 1);
}

#[test]
fn another_slot_rotates_the_session() {
    let mut world = World::settled();
    let mut a = Client::bound(1, &mut world);
    let b = Client::bound(2, &mut world);
    let old = a.session;
    a.bind(&mut world, true);
    assert_ne!(a.session.slot(), old.slot());
    assert_eq!(world.send_data(b.address, old), Outcome::Forwarded(a.address), "make before break");
    a.prove(&mut world);
    assert_eq!(world.send_data(b.address, old), Outcome::Nothing);
    assert_eq!(world.send_data(b.address, a.session), Outcome::Forwarded(a.address));
    assert_eq!((world.live(), world.poll()), (2, vec![]), "who rotates is not told so");

    // Asking again and again without a proof holds one slot, not all, and costs nobody else the
    // bind it is about to prove.
    let mut other = Client::new(60);
    other.bind(&mut world, false);
    for _ in 0..200 {
        a.bind(&mut world, true);
        world.pass(Duration::from_millis(20));
    }
    other.prove(&mut world);
    for n in 10..50 {
        Client::bound(n, &mut world);
    }
    assert_eq!(world.live(), 43);
}

#[test]
fn another_key_at_the_same_address_ends_the_one_before() {
    let mut world = World::settled();
    let mut a = Client::bound(1, &mut world);
    let mut b = Client::new(2);
    b.address = a.address;
    b.bind(&mut world, false);
    assert!(a.keeps_alive(&mut world));
    b.prove(&mut world);
    assert!(!a.keeps_alive(&mut world));
    assert_eq!((world.live(), world.poll()), (1, vec![]));
}

#[test]
fn a_repeated_request_gets_the_same_answer() {
    let mut world = World::settled();
    let mut a = Client::new(1);
    let cookie = a.cookie(&mut world);
    let (bind, handshake) = a.bind_datagram(world.relay_key(), cookie, false);
    let first = world.answer(a.address, &bind);
    assert_eq!(world.answer(a.address, &bind), first);
    a.accept_bound(&handshake, first).unwrap();
    a.prove(&mut world);

    let (resume, nonce) = a.resume_datagram(cookie, false);
    let first = world.answer(a.address, &resume);
    assert_eq!(world.answer(a.address, &resume), first);
    assert!(Resumed::parse(&first).is_ok());
    a.accept_resumed(nonce, first);
    a.prove(&mut world);
    let counters = world.control.counters();
    assert_eq!((counters.binds, counters.resumes, counters.repeated), (1, 1, 2));
}

#[test]
fn what_cannot_be_served_is_refused_with_its_reason() {
    let mut world = World::settled();
    let mut a = Client::new(1);
    let cookie = a.cookie(&mut world);
    let (bind, _) = a.bind_datagram(world.relay_key(), cookie, false);
    let mut refusal = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut datagram = bind.clone();
        change(&mut datagram);
        Refused::parse(&world.answer(a.address, &datagram)).unwrap().reason
    };
    assert_eq!(refusal(&|d| d[1] = 2), RefusedReason::Version);
    assert_eq!(refusal(&|d| d[2] = 9), RefusedReason::Suite);
    assert_eq!(refusal(&|d| d[5] ^= 1), RefusedReason::Cookie);
    assert_eq!(refusal(&|d| d[100] ^= 1), RefusedReason::Malformed);

    // A cookie lasts about a minute, a ticket as long as it says.
    world.pass(Duration::from_secs(80));
    assert_eq!(refusal_with(&mut a, &mut world, cookie), Some(RefusedReason::Cookie));
    a.bind(&mut world, false);
    a.prove(&mut world);
    world.pass(Duration::from_secs(24 * 60 * 60));
    let cookie = a.cookie(&mut world);
    assert_eq!(a.resume(&mut world, cookie), Err(RefusedReason::Ticket));
    let mut no_ticket = Client::new(2);
    let cookie = no_ticket.cookie(&mut world);
    assert_eq!(no_ticket.resume(&mut world, cookie), Err(RefusedReason::Ticket));
    assert_eq!(TICKET_LEN, 134);
}

#[test]
fn unproven_binds_give_way_to_newer_ones() {
    let mut world = World::settled();
    let mut first = Client::new(1);
    first.bind(&mut world, false);
    let mut others: Vec<Client> = (10..18).map(Client::new).collect();
    for other in &mut others {
        other.bind(&mut world, false);
    }
    assert!(!first.keeps_alive(&mut world), "the pool holds eight");
    for other in &mut others {
        assert!(other.keeps_alive(&mut world));
    }
}

#[test]
fn draining_tells_everybody_and_refuses_newcomers() {
    let limits = RelayLimits { sessions: 20_000, pending: 8 };
    let mut world = World::new(RelayConfig { limits, ..small() });
    world.now += Duration::from_secs(31);
    let mut a = Client::bound(1, &mut world);
    for n in 0..300u16 {
        let mut key = [0; 32];
        key[..2].copy_from_slice(&n.to_le_bytes());
        let home = SocketAddr::from(([10, 0, 0, 1], 1000 + n));
        world.control.insert(world.now, &PublicKey(key), home).unwrap();
    }
    world.control.drain(world.now, Duration::from_secs(20));
    let told = world.pass(Duration::from_secs(1));
    let everybody: HashSet<_> = told.iter().map(|(to, _)| *to).collect();
    assert_eq!((told.len(), everybody.len()), (301, 301));
    let (_, mine) = told.iter().find(|(to, _)| *to == a.address).unwrap();
    assert!(matches!(a.open(mine), Some(ControlMessage::Drain { left_s: 19 | 20, .. })));
    assert!(a.keeps_alive(&mut world));
    assert_eq!(refusal_of(&mut Client::new(2), &mut world), Some(RefusedReason::Draining));
    assert_eq!(world.pass(Duration::from_secs(5)), vec![], "once is enough");
}

#[test]
fn a_full_relay_refuses_and_goes_on() {
    let mut world = World::settled();
    for n in 0..64u8 {
        world.control.insert(world.now, &PublicKey([n; 32]), address(n)).unwrap();
    }
    let mut late = Client::new(200);
    assert_eq!(refusal_of(&mut late, &mut world), Some(RefusedReason::Full));
    world.pass(Duration::from_secs(61));
    late.bind(&mut world, false);
    late.prove(&mut world);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Clients bind, move, rotate, leave and fall silent in any order: whoever last proved itself
    /// is reachable under its session, from its address and nowhere else.
    #[test]
    fn the_tables_stay_in_step(steps in prop::collection::vec((0u8..7, 0usize..6, 0u8..12), 1..80)) {
        let mut world = World::settled();
        let mut clients: Vec<Client> = (1..=6).map(Client::new).collect();
        let mut live = [false; 6];
        for (step, who, place) in steps {
            match step {
                0 => {
                    clients[who].address = address(100 + place);
                    clients[who].bind(&mut world, false);
                    clients[who].prove(&mut world);
                    take_place(&clients, &mut live, who);
                }
                1 => clients[who].bind(&mut world, place % 2 == 0),
                2 => {
                    clients[who].bind(&mut world, true);
                    clients[who].prove(&mut world);
                    take_place(&clients, &mut live, who);
                }
                3 if live[who] => {
                    let unbind = clients[who].control(ControlMessage::Unbind);
                    world.send(clients[who].address, &unbind);
                    live[who] = !matches!(world.send_data(clients[who].address, SessionId::new(9, 9)), Outcome::Answered(_));
                }
                4 => {
                    world.pass(Duration::from_secs(61));
                    live = [false; 6];
                }
                5 => {
                    clients[who].address = address(100 + place);
                    let mut cookie = [0; 16];
                    Provider::with_random(Seeded::new(1)).random(&mut cookie);
                    prop_assert!(clients[who].resume(&mut world, cookie).is_err());
                    live[who] = false;
                    clients[who].bind(&mut world, false);
                    clients[who].prove(&mut world);
                    take_place(&clients, &mut live, who);
                }
                _ => {
                    world.poll();
                }
            }
            prop_assert_eq!(world.live(), live.iter().filter(|&&l| l).count() as u64);
        }
        // Everybody comes back, and reaches everybody.
        for (n, client) in clients.iter_mut().enumerate() {
            client.address = address(1 + n as u8);
            client.bind(&mut world, false);
            client.prove(&mut world);
        }
        prop_assert_eq!(world.live(), 6);
        for from in &clients {
            for to in clients.iter().filter(|to| to.session != from.session) {
                let outcome = world.send_data(from.address, to.session);
                prop_assert_eq!(outcome, Outcome::Forwarded(to.address));
            }
        }
    }
}

/// `who` has just proven a bind: it is live, and whoever was at its address before is not.
fn take_place(clients: &[Client], live: &mut [bool], who: usize) {
    for (other, client) in clients.iter().enumerate() {
        if client.address == clients[who].address {
            live[other] = other == who;
        }
    }
}

fn refusal_of(client: &mut Client, world: &mut World) -> Option<RefusedReason> {
    let cookie = client.cookie(world);
    refusal_with(client, world, cookie)
}

fn refusal_with(client: &mut Client, world: &mut World, cookie: [u8; 16]) -> Option<RefusedReason> {
    let (bind, _) = client.bind_datagram(world.relay_key(), cookie, false);
    Refused::parse(&world.answer(client.address, &bind)).ok().map(|refused| refused.reason)
}
