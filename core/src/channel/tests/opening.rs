//! Channels open, close, and open again, whatever is under way.

use super::*;
use crate::id::Reliability::{Reliable, ReliableUnordered, Unreliable};

#[test]
fn a_mismatch_is_told_on_both_sides_and_ends_with_a_close() {
    let mut pair = Pair::new(ample(), BAD, 5);
    pair.sides[0].open(9, Reliable).unwrap();
    pair.sides[1].open(9, Unreliable).unwrap();
    for side in &mut pair.sides {
        assert_eq!(side.open(9, Reliable).is_ok(), !matches!(side.open(9, Unreliable), Ok(())));
        side.send(9, b"never").unwrap();
        side.flush();
    }
    pair.run(100);
    for side in &mut pair.sides {
        assert_eq!(side.take_told(), [Told::Mismatch(9)]);
    }
    pair.sides[0].close(9).unwrap();
    pair.sides[0].open(9, Unreliable).unwrap();
    pair.run(100);
    assert_eq!(pair.sides[1].take_told(), [Told::Closed(9)]);
    pair.sides[1].open(9, Unreliable).unwrap();
    pair.settle();
    for side in &mut pair.sides {
        assert_eq!(side.take_told(), [Told::Opened(9)]);
    }
    pair.finish();
}

#[test]
fn what_was_sent_before_a_close_arrives_and_closed_comes_last() {
    for kind in [Reliable, ReliableUnordered] {
        for seed in 0..10 {
            let mut pair = Pair::new(ample(), BAD, seed);
            pair.open_both(4, kind);
            pair.run(60);
            pair.sides[0].take_told();
            let sent: Vec<_> = (0..40).map(|n| numbered(n, 3000)).collect();
            for message in &sent {
                pair.sides[0].send(4, message).unwrap();
            }
            pair.sides[0].flush();
            pair.sides[0].close(4).unwrap();
            assert_eq!(pair.sides[0].send(4, b"no"), Err(SendError::NotOpen));
            assert_eq!(pair.sides[0].close(4), Err(CloseChannelError::NotOpen));
            pair.settle();
            let mut told = pair.sides[1].take_told();
            assert_eq!(told.pop(), Some(Told::Closed(4)));
            assert_eq!(told.remove(0), Told::Opened(4));
            let mut expected: Vec<_> = sent.into_iter().map(|m| Told::Message(4, m)).collect();
            if kind == ReliableUnordered {
                expected.sort_by_key(|told| std::format!("{told:?}"));
                told.sort_by_key(|told| std::format!("{told:?}"));
            }
            assert!(told == expected);
            assert_eq!(pair.sides[0].take_told(), []);
            assert_eq!(pair.sides[1].send(4, b"no"), Err(SendError::NotOpen));
            pair.finish();
        }
    }
}

#[test]
fn reopening_never_mixes_old_data_into_new() {
    for seed in 0..20 {
        let mut pair = Pair::new(ample(), BAD, seed);
        let mut number = 0;
        for round in 0..12_u32 {
            let kinds = [Reliable, ReliableUnordered, Unreliable];
            let reliability = kinds[pair.random.below(3) as usize];
            let first = number;
            for side in &mut pair.sides {
                side.open(6, reliability).unwrap();
            }
            let ticks = pair.random.below(60);
            pair.run(ticks);
            for _ in 0..20 {
                let len = 4 + pair.random.below(4000) as usize;
                // Full while the close before is under way.
                pair.sides[0].send(6, &numbered(number, len)).ok();
                number += 1;
            }
            pair.sides[0].flush();
            let ticks = pair.random.below(60);
            pair.run(ticks);
            for message in pair.sides[1].messages(6) {
                assert!(message == numbered(number_of(&message), message.len()));
                assert!((first..number).contains(&number_of(&message)), "seed {seed} {round}");
            }
            let closer = pair.random.below(2) as usize;
            pair.sides[closer].close(6).unwrap();
            pair.settle();
            let late = pair.sides[1].messages(6);
            assert!(late.iter().all(|m| (first..number).contains(&number_of(m))));
        }
        pair.finish();
    }
}

#[test]
fn stragglers_of_a_closed_channel_never_reach_the_reopened_one() {
    let mut stale = 0;
    for seed in 0..20 {
        let mut pair = Pair::new(ample(), Faults { late: 40, ..BAD }, seed);
        pair.open_both(6, Unreliable);
        let (mut closes_sent, mut closes_told) = (0, 0);
        let mut ready = false;
        for step in 0..1500 {
            // A message says in how many closes it was preceded.
            let message = numbered(closes_sent, 4 + (step % 3000));
            pair.sides[0].send(6, &message).ok();
            pair.sides[0].flush();
            pair.tick();
            for told in pair.sides[1].take_told() {
                match told {
                    Told::Message(_, bytes) => assert_eq!(number_of(&bytes), closes_told),
                    Told::Closed(_) => {
                        closes_told += 1;
                        pair.sides[1].open(6, Unreliable).unwrap();
                    }
                    Told::Opened(_) | Told::Mismatch(_) | Told::Writable(_) => {}
                }
            }
            ready |= pair.sides[0].take_told().contains(&Told::Opened(6));
            if pair.random.chance(2) && ready {
                ready = false;
                pair.sides[0].close(6).unwrap();
                pair.sides[0].open(6, Unreliable).unwrap();
                closes_sent += 1;
            }
        }
        assert!(closes_told > 5, "{closes_told}");
        stale += pair.sides[1].stats().counters.stale;
        pair.settle();
        pair.finish();
    }
    assert!(stale > 20, "{stale}");
}

#[test]
fn opening_while_a_close_is_under_way_happens_after_it() {
    let mut pair = Pair::new(ample(), CLEAN, 0);
    pair.open_both(2, Reliable);
    pair.settle();
    pair.sides[0].send(2, b"old").unwrap();
    pair.sides[0].flush();
    pair.sides[0].close(2).unwrap();
    pair.sides[0].open(2, Unreliable).unwrap();
    assert_eq!(pair.sides[0].open(2, Reliable), Err(OpenChannelError::AlreadyOpenOtherwise));
    assert_eq!(pair.sides[0].send(2, b"new"), Err(SendError::Full { room: 0 }));
    pair.sides[0].take_told();
    pair.sides[1].take_told();
    pair.settle();
    assert_eq!(pair.sides[0].take_told(), [Told::Writable(2)]);
    assert_eq!(pair.sides[1].take_told(), [Told::Message(2, b"old".to_vec()), Told::Closed(2)]);
    pair.sides[1].open(2, Unreliable).unwrap();
    pair.sides[0].send(2, b"new").unwrap();
    pair.sides[0].flush();
    pair.settle();
    assert_eq!(pair.sides[0].take_told(), [Told::Opened(2)]);
    assert_eq!(pair.sides[1].take_told(), [Told::Opened(2), Told::Message(2, b"new".to_vec())]);
    pair.finish();
}

#[test]
fn both_sides_closing_at_once_do_not_wait_for_each_other() {
    for kind in [Reliable, ReliableUnordered] {
        for seed in 0..10 {
            let mut pair = Pair::new(ample(), BAD, seed);
            pair.open_both(1, kind);
            pair.run(60);
            for side in &mut pair.sides {
                for number in 0..20 {
                    side.send(1, &numbered(number, 20_000)).unwrap();
                }
                side.flush();
                side.close(1).unwrap();
            }
            pair.settle();
            pair.open_both(1, kind);
            pair.sides.iter_mut().for_each(|side| drop(side.take_told()));
            pair.settle();
            for side in &mut pair.sides {
                assert_eq!(side.take_told(), [Told::Opened(1)]);
            }
            pair.finish();
        }
    }
}

#[test]
fn a_channel_the_peer_never_opened_closes_at_once() {
    let mut pair = Pair::new(ample(), CLEAN, 0);
    pair.sides[0].open(1, Reliable).unwrap();
    pair.sides[0].close(1).unwrap();
    assert!(!pair.sides[0].channels.wants_to_send(Scope::Everything));
    pair.sides[0].open(1, Reliable).unwrap();
    pair.sides[0].send(1, b"lost").unwrap();
    pair.sides[0].flush();
    pair.settle();
    pair.sides[0].close(1).unwrap();
    assert_eq!(pair.sides[0].stats().queued_bytes, 0);
    pair.settle();
    assert_eq!(pair.sides[0].state.slots.taken(), 0);
    pair.open_both(1, Reliable);
    pair.settle();
    assert_eq!(pair.sides[1].take_told(), [Told::Opened(1)]);
    pair.finish();
}

#[test]
fn a_restarted_peer_begins_afresh_and_opens_stay() {
    for kind in [Reliable, ReliableUnordered] {
        let mut pair = Pair::new(ample(), BAD, 2);
        pair.open_both(1, kind);
        pair.open_both(2, Unreliable);
        pair.sides[0].open(3, kind).unwrap();
        pair.run(40);
        pair.sides[0].close(3).unwrap();
        pair.sides[0].send(1, &numbered(0, 100_000)).unwrap();
        pair.sides[0].send(2, &numbered(0, 50_000)).unwrap();
        pair.sides[0].flush();
        pair.run(3);
        pair.flying.clear();
        let restarted = core::mem::replace(&mut pair.sides[1], Side::new(ample()));
        restarted.release_and_check();
        let side = &mut pair.sides[0];
        while let Some(sent) = side.sent.pop_front() {
            side.lost(sent.list);
        }
        let (channels, mut pools) = side.parts();
        channels.reset_streams(&mut pools);
        side.seen.clear();
        side.take_told();
        pair.sides[1].open(1, kind).unwrap();
        pair.sides[1].open(2, Unreliable).unwrap();
        pair.sides[0].send(1, b"fresh").unwrap();
        pair.sides[0].flush();
        // Packet numbers begin again with the new connection.
        pair.sides[0].next_packet = 0;
        pair.settle();
        let mut told = pair.sides[0].take_told();
        told.sort_by_key(|t| std::format!("{t:?}"));
        assert_eq!(told, [Told::Opened(1), Told::Opened(2)]);
        assert_eq!(pair.sides[1].messages(1), [b"fresh"]);
        pair.finish();
    }
}

#[test]
fn opens_in_the_handshake_are_hints_that_save_a_round_trip() {
    let mut pair = Pair::new(ample(), CLEAN, 0);
    pair.open_both(1, Reliable);
    let mut out = [0; 100];
    let mut writer = Writer::new(&mut out);
    let (channels, mut pools) = pair.sides[1].parts();
    channels.write_opens(&mut pools, &mut writer);
    let opens = writer.written().to_vec();
    assert_eq!(pair.sides[0].handle(&opens), Ok(true));
    pair.sides[0].send(1, b"early").unwrap();
    pair.sides[0].flush();
    let (packet, list, written) = pair.sides[0].write(Scope::Everything, 1200);
    assert!(written.application);
    assert_eq!(pair.sides[1].handle(&packet), Ok(true));
    pair.sides[0].acked(list);
    assert_eq!(pair.sides[1].poll(), Some(Told::Opened(1)));
    assert_eq!(pair.sides[1].poll(), Some(Told::Message(1, b"early".to_vec())));
    pair.settle();
    pair.finish();
}
