//! Classes, weights, redundancy.

use super::*;
use crate::id::Reliability::{Reliable, Unreliable};
use crate::wire::frame::{Frame, ReliableRange, UnreliableMessage};

fn open(pair: &mut Pair, channel: u8, options: ChannelOptions) {
    pair.open_both(channel, options);
}

/// The channels of a packet's message frames, in order.
fn channels_of(packet: &[u8]) -> Vec<u8> {
    let channel = |frame| {
        if let Frame::Unreliable(UnreliableMessage { channel, .. })
        | Frame::Reliable(ReliableRange { channel, .. }) = frame
        {
            Some(channel.0)
        } else {
            None
        }
    };
    Frames::new(packet).flatten().filter_map(channel).collect()
}

#[test]
fn options_that_cannot_be_are_refused_and_change_nothing() {
    let mut side = Side::new(ample());
    let fine = ChannelOptions { class: 0, weight: 255, ..Reliable.into() };
    let weightless = ChannelOptions { weight: 0, ..fine };
    let four = ChannelOptions { redundancy: Some(4), ..fine };
    assert_eq!(side.open(1, weightless), Err(OpenChannelError::Weight));
    assert_eq!(side.open(1, four), Err(OpenChannelError::Redundancy));
    assert_eq!(side.send(1, b"closed"), Err(SendError::NotOpen));
    side.open(1, ChannelOptions { redundancy: Some(3), ..fine }).unwrap();
    let other = ChannelOptions { class: 9, ..Unreliable.into() };
    assert_eq!(side.open(1, other), Err(OpenChannelError::AlreadyOpenOtherwise));
    let class = |side: &mut Side| {
        let slot = side.channels.slot_of(ChannelId(1)).unwrap();
        side.slots[usize::from(slot)].class
    };
    assert_eq!(class(&mut side), 0);
    side.open(1, ChannelOptions { class: 7, ..fine }).unwrap();
    assert_eq!(class(&mut side), 7);
    side.release_and_check();
}

#[test]
fn a_lower_class_is_first_whatever_its_kind() {
    let mut pair = Pair::new(ample(), CLEAN, 0);
    for (channel, class, reliability) in
        [(1, 2, Unreliable), (2, 1, Reliable), (3, 0, Reliable), (4, 1, Unreliable)]
    {
        open(&mut pair, channel, ChannelOptions { class, ..reliability.into() });
    }
    pair.settle();
    let side = &mut pair.sides[0];
    for channel in 1..=4 {
        side.send(channel, &[channel; 20]).unwrap();
    }
    side.flush();
    let (packet, list, _) = side.write(Scope::Everything, 1200);
    assert_eq!(channels_of(&packet), [3, 4, 2, 1]);

    // Repeats keep the order, too: that of channel 2 is behind new data of channel 3.
    side.send(3, &[3; 20]).unwrap();
    side.send(1, &[1; 20]).unwrap();
    side.flush();
    let (packet, second, _) = side.write(Scope::Everything, 1200);
    assert_eq!(channels_of(&packet), [3, 3, 2, 1]);
    side.lost(list);
    side.lost(second);
    pair.finish();
}

#[test]
fn bulk_of_a_lower_class_is_before_everything_of_a_higher_one() {
    let mut pair = Pair::new(ample(), CLEAN, 0);
    open(&mut pair, 1, ChannelOptions { class: 0, ..Reliable.into() });
    open(&mut pair, 2, Unreliable.into());
    open(&mut pair, 3, Reliable.into());
    pair.settle();
    let side = &mut pair.sides[0];
    side.send(1, &numbered(0, 20_000)).unwrap();
    side.send(2, b"tick").unwrap();
    side.send(3, b"order").unwrap();
    side.flush();
    let mut seen = Vec::new();
    for _ in 0..20 {
        let (packet, list, _) = side.write(Scope::Everything, 1200);
        seen.extend(channels_of(&packet));
        side.lost_later(list);
    }
    let last = seen.iter().rposition(|channel| *channel == 1).unwrap();
    assert!(seen[..16].iter().all(|channel| *channel == 1), "{seen:?}");
    assert!(seen[last..].contains(&2) && seen[last..].contains(&3), "{seen:?}");
    pair.settle();
    pair.finish();
}

#[test]
fn unreliable_floods_of_a_lower_class_keep_a_higher_one_waiting() {
    let mut pair = Pair::new(ample(), CLEAN, 0);
    open(&mut pair, 1, ChannelOptions { class: 0, ..Unreliable.into() });
    open(&mut pair, 2, Reliable.into());
    pair.settle();
    let side = &mut pair.sides[0];
    side.send(2, b"waits").unwrap();
    for number in 0..20 {
        side.send(1, &numbered(number, 1150)).unwrap();
    }
    side.flush();
    for number in 0..20 {
        let (packet, ..) = side.write(Scope::Everything, 1160);
        assert_eq!(channels_of(&packet), [1], "{number}");
    }
    pair.settle();
    assert_eq!(pair.sides[1].messages(2), [b"waits"]);
    pair.finish();
}

#[test]
fn weights_are_shares_of_a_class() {
    for reliability in [Reliable, Unreliable] {
        let mut pair = Pair::new(ample(), CLEAN, 0);
        let weights = [(1, 1_u8), (2, 2), (3, 5)];
        for (channel, weight) in weights {
            open(&mut pair, channel, ChannelOptions { weight, ..reliability.into() });
        }
        pair.settle();
        let side = &mut pair.sides[0];
        for (channel, _) in weights {
            for number in 0..2 {
                side.send(channel, &numbered(number, 60_000)).unwrap();
            }
        }
        side.flush();
        let mut count = [0_usize; 4];
        for _ in 0..80 {
            let (packet, list, _) = side.write(Scope::Everything, 1200);
            side.lost_later(list);
            for frame in Frames::new(&packet).flatten() {
                if let Frame::Unreliable(UnreliableMessage { channel, data, .. })
                | Frame::Reliable(ReliableRange { channel, data, .. }) = frame
                {
                    count[usize::from(channel.0)] += data.len();
                }
            }
        }
        let unit = count[1];
        for (channel, weight) in weights {
            let share = count[usize::from(channel)] as f64 / unit as f64;
            assert!((share - f64::from(weight)).abs() < 0.2 * f64::from(weight), "{count:?}");
        }
        pair.settle();
        pair.finish();
    }
}

#[test]
fn redundancy_says_how_many_copies_leave() {
    for asked in [Some(0), Some(1), Some(2), Some(3), None] {
        let mut pair = Pair::new(ample(), CLEAN, 0);
        open(&mut pair, 1, ChannelOptions { redundancy: asked, ..Reliable.into() });
        open(&mut pair, 2, Unreliable.into());
        pair.settle();
        // More than the share that repeats have by default.
        for round in 0..40_u8 {
            let message = [b'a' + round % 26; 200];
            let side = &mut pair.sides[0];
            side.send(1, &message).unwrap();
            let mut copies = 0;
            let mut packets = Vec::new();
            for _ in 0..8 {
                side.send(2, b"t").unwrap();
                side.flush();
                let (packet, list, _) = side.write(Scope::Everything, 1200);
                copies += channels_of(&packet).iter().filter(|channel| **channel == 1).count();
                packets.push((packet, list));
            }
            let wanted = 1 + usize::from(asked.unwrap_or(1));
            assert!(copies == wanted || asked.is_none() && copies <= wanted, "{asked:?} {round}");
            for (packet, list) in packets {
                pair.sides[1].handle(&packet).unwrap();
                pair.sides[0].acked(list);
            }
            pair.sides[1].listen();
            assert_eq!(pair.sides[1].messages(1), [message], "{asked:?} {round}");
        }
        pair.settle();
        pair.finish();
    }
}

#[test]
fn a_largest_message_delays_other_channels_by_one_packet_at_most() {
    for reliability in [Reliable, Unreliable] {
        let mut pair = Pair::new(ample(), CLEAN, 0);
        open(&mut pair, 1, Reliable.into());
        open(&mut pair, 2, reliability.into());
        pair.settle();
        pair.sides[0].send(1, &numbered(0, 256 * 1024)).unwrap();
        pair.sides[0].flush();
        let side = &mut pair.sides[0];
        // So many that the first window is not used up: there is bulk data throughout.
        for number in 0..20 {
            let (packet, list, _) = side.write(Scope::Everything, 1200);
            assert_eq!(channels_of(&packet).last(), Some(&1));
            side.lost_later(list);
            let message = numbered(number, 100);
            side.send(2, &message).unwrap();
            side.flush();
            let (packet, list, _) = side.write(Scope::Everything, 1200);
            let found = packet.windows(100).any(|bytes| bytes == message);
            assert!(found && channels_of(&packet).contains(&2), "{number}");
            side.lost_later(list);
        }
        pair.settle();
        pair.finish();
    }
}
