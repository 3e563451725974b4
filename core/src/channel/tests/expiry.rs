//! Deadlines of unreliable messages, and the ages of what is queued.

use super::*;
use crate::id::Reliability::{Reliable, Unreliable, UnreliableSequenced};

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

#[test]
fn what_has_not_left_by_its_deadline_is_dropped_and_delays_nothing() {
    for reliability in [Unreliable, UnreliableSequenced] {
        let mut pair = Pair::new(ample(), CLEAN, 0);
        pair.open_both(1, reliability);
        pair.settle();
        let side = &mut pair.sides[0];
        side.now = at(100);
        side.send_by(1, b"dropped", Some(at(120))).unwrap();
        side.send_by(1, &[b'd'; 5000], Some(at(120))).unwrap();
        side.send_by(1, b"in time", Some(at(121))).unwrap();
        side.send_by(1, b"dropped behind", Some(at(110))).unwrap();
        side.send(1, b"for ever").unwrap();
        side.flush();
        side.now = at(121);
        let (packet, list, _) = side.write(Scope::Everything, 1200);
        side.lost(list);
        assert!(!side.channels.wants_to_send(Scope::Everything));
        assert_eq!(side.stats().counters.expired, 3);
        assert_eq!(side.stats().queued_bytes, 0);
        pair.sides[1].handle(&packet).unwrap();
        pair.sides[1].listen();
        assert_eq!(pair.sides[1].messages(1), [&b"in time"[..], b"for ever"]);
        pair.finish();
    }
}

#[test]
fn the_rest_of_a_message_is_dropped_and_the_next_is_whole() {
    for reliability in [Unreliable, UnreliableSequenced] {
        let mut pair = Pair::new(ample(), CLEAN, 0);
        pair.open_both(1, reliability);
        pair.settle();
        let side = &mut pair.sides[0];
        let next = numbered(1, 3000);
        side.send_by(1, &numbered(0, 3000), Some(at(20))).unwrap();
        side.send(1, &next).unwrap();
        side.flush();
        let (first, list, _) = side.write(Scope::Everything, 1200);
        side.lost(list);
        side.now = at(21);
        let rest: Vec<_> = (0..3).map(|_| side.write(Scope::Everything, 1200)).collect();
        for (_, list, _) in &rest {
            side.lost(*list);
        }
        assert_eq!(side.stats().counters.expired, 1);
        pair.sides[1].handle(&first).unwrap();
        for (packet, ..) in rest {
            pair.sides[1].handle(&packet).unwrap();
        }
        pair.sides[1].listen();
        assert_eq!(pair.sides[1].messages(1), [next]);
        pair.settle();
        pair.finish();
    }
}

#[test]
fn what_has_expired_makes_room_for_what_is_sent() {
    let mut side = Side::new(ample());
    side.open(1, Unreliable).unwrap();
    let mut count = 0;
    while side.send_by(1, &[7; 60_000], Some(at(20))).is_ok() {
        count += 1;
    }
    // Not even flushed, and no packet in between.
    side.now = at(21);
    side.send(1, &[8; 60_000]).unwrap();
    side.flush();
    assert_eq!(side.stats().counters.expired, count);
    assert_eq!(side.stats().queued_bytes, 60_008);
    side.release_and_check();
}

#[test]
fn reliable_messages_and_those_due_in_a_month_do_not_expire() {
    let mut side = Side::new(ample());
    side.open(1, Reliable).unwrap();
    assert_eq!(side.send_by(1, b"x", Some(at(20))), Err(SendError::CannotExpire));
    side.open(2, Unreliable).unwrap();
    let day = 24 * 3600 * 1000;
    side.send_by(2, b"month", Some(at(30 * day))).unwrap();
    side.flush();
    // The milliseconds of the deadline come round before that.
    side.now = at(29 * day);
    let (packet, list, _) = side.write(Scope::Everything, 1200);
    assert!(packet.ends_with(b"month"));
    side.lost(list);
    side.release_and_check();
}

#[test]
fn a_channel_says_how_old_its_oldest_data_is() {
    for reliability in [Unreliable, Reliable] {
        let mut pair = Pair::new(ample(), CLEAN, 0);
        pair.open_both(1, reliability);
        pair.settle();
        let side = &mut pair.sides[0];
        assert_eq!(side.queue(9), None);
        assert_eq!(side.queue(1), Some(ChannelQueue::default()));
        let oldest = |side: &mut Side| side.queue(1).unwrap().oldest.map(|age| age.as_millis());
        side.now = at(1000);
        side.send(1, &[1; 1000]).unwrap();
        side.flush();
        side.now = at(1100);
        side.send(1, &[2; 1000]).unwrap();
        side.flush();
        side.now = at(1150);
        assert_eq!(oldest(side), Some(150));
        assert_eq!(side.stats().oldest, Some(Duration::from_millis(150)));
        // A packet with the first message only.
        let (_, first, _) = side.write(Scope::Everything, 1010);
        side.now = at(1200);
        let (_, second, _) = side.write(Scope::Everything, 1200);
        let left = if reliability == Reliable { Some(200) } else { None };
        assert_eq!(oldest(side), left);
        side.acked(first);
        let left = if reliability == Reliable { Some(100) } else { None };
        assert_eq!(oldest(side), left);
        side.acked(second);
        if let Some(repeat) = Some(side.write(Scope::Everything, 1200).1) {
            side.acked(repeat);
        }
        assert_eq!(side.queue(1), Some(ChannelQueue::default()));
        assert_eq!(side.stats().oldest, None);
        pair.finish();
    }
}
