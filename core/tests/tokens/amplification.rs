//! What a relay that asks for tokens says to whom it does not know.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeSet;

use waylane_core::relay::{AnswerRates, Rate, RelayConfig};
use waylane_core::wire::hop::{Alternatives, ControlMessage, Hello, Probe, Refused, RefusedReason};

use crate::relay_support::{Client, Hop as _, Outcome, World, address, data};
use crate::{Make, START, changed, claims, config, issue, join, rules, signer, token};

/// [`World::send`] asserts it for each datagram; here all kinds of them come, with tokens good and
/// bad, whole, cut off anywhere, with any byte changed and under every name.
#[test]
fn no_answer_is_longer_than_its_question_whatever_is_shown() {
    let many = Rate { per_second: 1_000_000, burst: 1_000_000 };
    let rates = AnswerRates { total: many, per_prefix: many };
    let mut world = World::new(RelayConfig { answers: rates, binds: rates, ..config(rules(&[1])) });
    world.now += Duration::from_secs(31);
    let mut a = Client::new(1);
    a.token = token(&a, |_| ());
    assert_eq!(join(&mut a, &mut world), None);

    let mut hello = vec![0; Hello::LEN];
    Hello { nonce: [5; 8] }.emit(&mut hello).unwrap();
    let mut probe = vec![0; Probe::LEN];
    Probe { reply: false, nonce: [1; 8] }.emit(&mut probe).unwrap();
    let mut asked = vec![(a.address, hello), (a.address, probe), (a.address, data(a.session))];
    let tokens: [Make<'_>; 6] = [
        &|a| token(a, |_| ()),
        &|_| Vec::new(),
        &|a| token(a, |c| c.expiry_unix_s = START),
        &|a| token(a, |c| c.peer = None),
        &|a| token(a, |c| c.region = "us".parse().unwrap()),
        &|a| issue(&signer(2), &claims(a)),
    ];
    let cookie = a.cookie(&mut world);
    for (n, make) in (20..).zip(tokens) {
        let mut newcomer = Client::new(n);
        newcomer.token = make(&newcomer);
        let cookie_of_its_own = newcomer.cookie(&mut world);
        let relay = world.relay_key();
        let (bind, _) = newcomer.bind_datagram(relay, cookie_of_its_own, false);
        asked.push((newcomer.address, bind));
        a.token = make(&a);
        asked.push((a.address, a.resume_datagram(cookie, false).0));
    }
    for message in [
        ControlMessage::KeepAlive { time: 1 },
        ControlMessage::KeepAliveAck { time: 1 },
        ControlMessage::Drain { left_s: 1, alternatives: Alternatives::NONE },
        ControlMessage::SessionReplaced,
        ControlMessage::Expired,
        ControlMessage::Unbind,
    ] {
        asked.push((a.address, a.control(message)));
    }

    let (mut kinds, mut reasons) = (BTreeSet::new(), Vec::new());
    let mut answers = Vec::new();
    let mut ask = |world: &mut World, from, datagram: &[u8]| {
        if let Outcome::Answered(answer) = world.send(from, datagram) {
            reasons.extend(Refused::parse(&answer).map(|refused| refused.reason));
            if kinds.insert(answer[0]) {
                answers.push((from, answer));
            }
        }
    };
    let bend = |world: &mut World,
                ask: &mut dyn FnMut(&mut World, SocketAddr, &[u8]),
                from,
                all: &[u8]| {
        for cut in 0..=all.len() {
            ask(world, from, &all[..cut]);
        }
        for at in 0..all.len() {
            ask(world, from, &changed(all.to_vec(), at));
        }
        for kind in 0..=255 {
            let mut named = all.to_vec();
            named[0] = kind;
            for from in [from, address(66)] {
                ask(world, from, &named);
            }
        }
    };
    for (from, datagram) in &asked {
        bend(&mut world, &mut ask, *from, datagram);
    }
    // What relays say, said to one.
    for (from, answer) in answers.clone() {
        bend(&mut world, &mut |world, from, bytes| drop(world.send(from, bytes)), from, &answer);
    }
    // Cookie, Bound, Resumed, Refused, Control, NotBound, ProbeReply.
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), [2, 4, 6, 7, 8, 9, 11]);
    for reason in [
        RefusedReason::Cookie,
        RefusedReason::Ticket,
        RefusedReason::Version,
        RefusedReason::Malformed,
        RefusedReason::Token,
        RefusedReason::TokenExpired,
        RefusedReason::TokenPeer,
        RefusedReason::TokenRegion,
        RefusedReason::TokenSignature,
    ] {
        assert!(reasons.contains(&reason), "nothing was refused by {reason:?}");
    }
}
