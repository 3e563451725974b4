//! Small reliable data leaves more than once, until it is acknowledged.

use super::*;
use crate::id::Reliability::{Reliable, ReliableUnordered, Unreliable};

#[test]
fn a_small_reliable_message_is_in_two_packets_and_arrives_once() {
    for kind in [Reliable, ReliableUnordered] {
        for lose_first in [true, false] {
            let mut pair = Pair::new(ample(), CLEAN, 0);
            pair.open_both(1, kind);
            pair.open_both(2, Unreliable);
            pair.settle();
            pair.sides[0].send(1, b"once").unwrap();
            pair.sides[0].flush();
            let (first, list, _) = pair.sides[0].write(Scope::Everything, 1200);
            assert_eq!(
                pair.sides[0].write(Scope::Everything, 1200).0,
                [],
                "no packet for it alone"
            );
            if !lose_first {
                pair.sides[1].handle(&first).unwrap();
            }
            pair.sides[0].send(2, b"tick").unwrap();
            pair.sides[0].flush();
            pair.settle();
            assert_eq!(pair.sides[1].messages(2), [b"tick"]);
            assert_eq!(pair.sides[1].messages(1), [b"once"]);
            let used = pair.sides[0].stats().counters.repeats_used;
            assert_eq!(used, 1, "the repeat was acknowledged first");
            pair.sides[0].acked(list);
            pair.sides[0].send(2, b"tock").unwrap();
            pair.sides[0].flush();
            pair.settle();
            assert_eq!(pair.sides[1].messages(1), [b""; 0]);
            pair.finish();
        }
    }
}

#[test]
fn a_repeat_stops_at_the_acknowledgement() {
    for kind in [Reliable, ReliableUnordered] {
        let mut pair = Pair::new(ample(), CLEAN, 0);
        pair.open_both(1, kind);
        pair.open_both(2, Unreliable);
        pair.settle();
        pair.sides[0].send(1, b"once").unwrap();
        pair.sides[0].flush();
        let (_, list, _) = pair.sides[0].write(Scope::Everything, 1200);
        pair.sides[0].acked(list);
        pair.sides[0].send(2, b"tick").unwrap();
        pair.sides[0].flush();
        let (packet, _, _) = pair.sides[0].write(Scope::Everything, 1200);
        assert!(!packet.windows(4).any(|bytes| bytes == b"once"));
    }
}
