//! What only some kinds of channels promise.

use super::*;
use crate::id::Reliability::{self, Reliable, ReliableUnordered, Unreliable, UnreliableSequenced};

/// Sends each of `messages` on channel 1 in packets of its own.
fn packets(pair: &mut Pair, messages: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let side = &mut pair.sides[0];
    let mut packets = Vec::new();
    for message in messages {
        side.send(1, message).unwrap();
        side.flush();
        loop {
            let (packet, list, _) = side.write(Scope::Everything, 1200);
            if packet.is_empty() {
                break;
            }
            side.lost(list);
            packets.push(packet);
        }
    }
    packets
}

fn deliver(pair: &mut Pair, packet: &[u8]) {
    pair.sides[1].handle(packet).unwrap();
    pair.sides[1].listen();
}

#[test]
fn a_sequenced_channel_drops_what_is_older_than_what_was_delivered() {
    let mut pair = Pair::new(ample(), CLEAN, 0);
    pair.open_both(1, UnreliableSequenced);
    pair.settle();
    let messages: Vec<_> = (0..5).map(|number| numbered(number, 50)).collect();
    let packets = packets(&mut pair, &messages);
    assert_eq!(packets.len(), 5);
    for index in [1, 0, 3, 2, 1, 4] {
        deliver(&mut pair, &packets[index]);
    }
    let expected = [1, 3, 4].map(|index| messages[index].clone());
    assert_eq!(pair.sides[1].messages(1), expected);
    assert_eq!(pair.sides[1].stats().counters.outdated, 3);
    pair.finish();
}

#[test]
fn what_waits_for_the_application_makes_older_messages_stale_too() {
    let mut pair = Pair::new(ample(), CLEAN, 0);
    pair.open_both(1, UnreliableSequenced);
    pair.settle();
    let messages = [numbered(0, 50), numbered(1, 50)];
    let packets = packets(&mut pair, &messages);
    pair.sides[1].handle(&packets[1]).unwrap();
    pair.sides[1].handle(&packets[0]).unwrap();
    pair.sides[1].listen();
    assert_eq!(pair.sides[1].messages(1), [messages[1].clone()]);
    pair.finish();
}

#[test]
fn fragments_of_a_sequenced_channel_give_way_to_newer_messages() {
    let mut pair = Pair::new(ample(), CLEAN, 0);
    pair.open_both(1, UnreliableSequenced);
    pair.settle();
    let messages = [numbered(0, 3000), numbered(1, 20), numbered(2, 3000), numbered(3, 20)];
    let packets = packets(&mut pair, &messages);
    assert_eq!(packets.len(), 8);
    // Of the first message two fragments come before, the last after the second message; the third
    // message is whole before the fourth comes.
    for index in [0, 1, 3, 2, 6, 5, 4, 7] {
        deliver(&mut pair, &packets[index]);
    }
    assert_eq!(pair.sides[1].messages(1), messages[1..]);
    assert_eq!(pair.sides[1].stats().counters.outdated, 1);
    pair.settle();
    pair.finish();
}

#[test]
fn numbers_of_a_sequenced_channel_wrap() {
    let mut pair = Pair::new(ample(), CLEAN, 0);
    pair.open_both(1, UnreliableSequenced);
    pair.settle();
    for number in 0..70_000 {
        let sent = packets(&mut pair, &[numbered(number, 4)]);
        deliver(&mut pair, &sent[0]);
        assert_eq!(pair.sides[1].messages(1), [numbered(number, 4)]);
    }
    pair.finish();
}

#[test]
fn every_two_kinds_are_a_mismatch() {
    for one in KINDS {
        for other in KINDS {
            let mut pair = Pair::new(ample(), CLEAN, 0);
            pair.sides[0].open(1, one).unwrap();
            pair.sides[1].open(1, other).unwrap();
            for side in &mut pair.sides {
                side.send(1, b"word").unwrap();
                side.flush();
            }
            pair.settle();
            let (told, word) = match one == other {
                true => (Told::Opened(1), Some(Told::Message(1, b"word".to_vec()))),
                false => (Told::Mismatch(1), None),
            };
            let expected: Vec<_> = [Some(told), word].into_iter().flatten().collect();
            for side in &mut pair.sides {
                assert_eq!(side.take_told(), expected, "{one:?} {other:?}");
            }
            // After a close the numbers begin anew, on both sides.
            pair.sides[0].close(1).unwrap();
            pair.settle();
            pair.open_both(1, UnreliableSequenced);
            pair.settle();
            pair.sides[1].send(1, b"again").unwrap();
            pair.sides[1].flush();
            pair.settle();
            assert_eq!(pair.sides[0].messages(1), [b"again"], "{one:?} {other:?}");
            pair.finish();
        }
    }
}

#[test]
fn opens_that_wait_for_the_application_keep_their_kind() {
    for kind in KINDS {
        for other in KINDS {
            let mut pair = Pair::new(ample(), CLEAN, 0);
            pair.sides[0].open(1, kind).unwrap();
            pair.settle();
            pair.sides[1].open(1, other).unwrap();
            pair.sides[1].listen();
            let told = if kind == other { Told::Opened(1) } else { Told::Mismatch(1) };
            assert_eq!(pair.sides[1].take_told(), [told]);
            pair.settle();
            pair.finish();
        }
    }
}

const KINDS: [Reliability; 4] = [Unreliable, UnreliableSequenced, Reliable, ReliableUnordered];

#[test]
fn what_is_sent_again_is_looked_for_where_the_last_was() {
    let mut pair = Pair::new(ample(), CLEAN, 0);
    pair.open_both(1, Reliable);
    pair.settle();
    let messages: Vec<_> = (0..20).map(|number| numbered(number, 500)).collect();
    let mut lists = Vec::new();
    for message in &messages {
        pair.sides[0].send(1, message).unwrap();
        pair.sides[0].flush();
        lists.push(pair.sides[0].write(Scope::Everything, 1200).1);
    }
    // All of it is lost, and leaves again.
    lists.into_iter().for_each(|list| pair.sides[0].lost(list));
    let mut place = 0;
    loop {
        let (packet, list, _) = pair.sides[0].write(Scope::Everything, 600);
        if packet.is_empty() {
            break;
        }
        deliver(&mut pair, &packet);
        pair.sides[0].acked(list);
        let again = pair.sides[0].slots.iter().map(|slot| slot.send.again.base()).max().unwrap();
        assert!(again >= place, "not from the head each time");
        place = again;
    }
    assert!(place > 9_000, "{place}");
    assert_eq!(pair.sides[1].messages(1), messages);
    pair.finish();
}
