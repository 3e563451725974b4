//! One test per promise.

use super::*;
use crate::id::Reliability::{Reliable, ReliableUnordered, Unreliable};
use crate::wire::frame::Frame;

/// Queues `message`, waiting as long as the queue is full.
fn send_when_possible(pair: &mut Pair, side: usize, channel: u8, message: &[u8]) {
    for _ in 0..5000 {
        match pair.sides[side].send(channel, message) {
            Ok(()) => return pair.sides[side].flush(),
            Err(SendError::Full { room }) => {
                assert!(room < message.len());
                pair.tick();
            }
            Err(error) => panic!("{error}"),
        }
    }
    panic!("stays full");
}

#[test]
fn reliable_messages_arrive_once_whole_and_in_order() {
    for seed in 0..6 {
        let mut pair = Pair::new(ample(), BAD, seed);
        pair.open_both(3, Reliable);
        let mut sent = [Vec::new(), Vec::new()];
        for number in 0..250 {
            for (side, sent) in sent.iter_mut().enumerate() {
                let mut message = pair.random.message(number, 16);
                if number == 100 {
                    message = numbered(number, 256 * 1024);
                }
                send_when_possible(&mut pair, side, 3, &message);
                sent.push(message);
            }
            if number % 3 == 0 {
                pair.tick();
            }
        }
        pair.settle();
        for side in 0..2 {
            assert!(pair.sides[side].messages(3) == sent[1 - side], "seed {seed}");
            let stats = pair.sides[side].stats();
            assert_eq!(stats.queued_bytes, 0);
            assert!(stats.counters.duplicates > 0);
        }
        pair.finish();
    }
}

#[test]
fn small_reliable_messages_survive_packets_that_arrive_very_late() {
    for kind in [Reliable, ReliableUnordered] {
        for seed in 0..20 {
            let faults = Faults { late: 30, ..BAD };
            let mut pair = Pair::new(ample(), faults, seed);
            pair.open_both(0, kind);
            for number in 0..600 {
                send_when_possible(&mut pair, 0, 0, &numbered(number, 4 + (number % 40) as usize));
                pair.tick();
            }
            pair.settle();
            let mut got: Vec<u32> =
                pair.sides[1].messages(0).iter().map(|m| number_of(m)).collect();
            if kind == ReliableUnordered {
                got.sort_unstable();
            }
            assert_eq!(got, (0..600).collect::<Vec<_>>(), "seed {seed}");
        }
    }
}

#[test]
fn unreliable_messages_arrive_whole_and_at_most_once() {
    for seed in 0..6 {
        let mut pair = Pair::new(ample(), BAD, seed);
        pair.open_both(7, Unreliable);
        let mut count = 0;
        for number in 0..800 {
            let message = pair.random.message(number, 16);
            if pair.sides[0].send(7, &message).is_ok() {
                count += 1;
            }
            pair.sides[0].flush();
            pair.run(2);
        }
        pair.settle();
        let mut seen = BTreeSet::new();
        for message in pair.sides[1].messages(7) {
            assert!(message == numbered(number_of(&message), message.len()));
            assert!(seen.insert(number_of(&message)), "twice");
        }
        assert!(seen.len() > count / 2 && seen.len() < count, "{} of {count}", seen.len());
        pair.finish();
    }
}

#[test]
fn an_empty_message_is_a_message() {
    for reliability in [Reliable, ReliableUnordered, Unreliable] {
        let mut pair = Pair::new(ample(), CLEAN, 0);
        pair.open_both(0, reliability);
        for message in [&b""[..], b"a", b"", b""] {
            pair.sides[0].send(0, message).unwrap();
        }
        pair.sides[0].flush();
        pair.settle();
        assert_eq!(pair.sides[1].messages(0), [&b""[..], b"a", b"", b""]);
        pair.finish();
    }
}

#[test]
fn nothing_leaves_before_flush_and_one_datagram_holds_several_messages() {
    let mut side = Side::new(ample());
    side.open(1, Unreliable).unwrap();
    let (open, list, written) = side.write(Scope::Everything, 1200);
    assert_eq!(open, [0x02, 1, 0, 0, 0]);
    assert_eq!(written, Written { ack_eliciting: true, application: false, reliable: true });
    side.acked(list);
    side.send(1, b"one").unwrap();
    side.send(1, b"two").unwrap();
    assert!(!side.channels.wants_to_send(Scope::Everything));
    side.flush();
    side.send(1, b"later").unwrap();
    assert!(side.channels.wants_to_send(Scope::Everything));
    assert!(!side.channels.wants_to_send(Scope::Protocol));
    assert!(side.write(Scope::Protocol, 1200).0.is_empty());
    let (bytes, list, written) = side.write(Scope::Everything, 1200);
    // The last frame goes without its length.
    assert_eq!(bytes, b"\xb0\x01\x03one\x90\x01two");
    assert_eq!(written, Written { ack_eliciting: true, application: true, reliable: false });
    assert_eq!(list, FrameList::EMPTY);
    assert!(!side.channels.wants_to_send(Scope::Everything));
}

#[test]
fn a_message_that_fills_the_packet_has_no_length() {
    let mut side = Side::new(ample());
    side.open(0, Unreliable).unwrap();
    side.write(Scope::Everything, 1200);
    for len in [1197, 1198, 1199] {
        side.send(0, &numbered(0, len)).unwrap();
        side.send(0, b"next").unwrap();
        side.flush();
        let (bytes, ..) = side.write(Scope::Everything, 1200);
        let length = if len == 1197 { 2 } else { 0 };
        assert_eq!(bytes.len(), 1 + length + len);
        let (bytes, ..) = side.write(Scope::Everything, 1200);
        assert_eq!(bytes, b"\x80next");
    }
}

#[test]
fn reliable_data_waits_for_the_other_side_and_unreliable_data_does_not() {
    for kind in [Reliable, ReliableUnordered] {
        let mut pair = Pair::new(ample(), CLEAN, 0);
        pair.sides[0].open(1, kind).unwrap();
        pair.sides[0].open(2, Unreliable).unwrap();
        pair.sides[0].send(1, b"waits").unwrap();
        pair.sides[0].send(2, b"dropped").unwrap();
        pair.sides[0].flush();
        pair.settle();
        assert_eq!(pair.sides[1].stats().counters.not_open, 1);
        assert_eq!(pair.sides[0].stats().queued_bytes, 6);
        pair.sides[1].open(1, kind).unwrap();
        pair.sides[1].open(2, Unreliable).unwrap();
        pair.settle();
        let told = pair.sides[1].take_told();
        assert_eq!(told, [Told::Opened(1), Told::Opened(2), Told::Message(1, b"waits".to_vec())]);
        assert_eq!(pair.sides[0].take_told(), [Told::Opened(1), Told::Opened(2)]);
        pair.finish();
    }
}

#[test]
fn a_reader_that_does_not_read_fills_only_its_own_queue() {
    for kind in [Reliable, ReliableUnordered] {
        let mut pair = Pair::new(ample(), CLEAN, 0);
        pair.open_both(1, kind);
        pair.open_both(2, kind);
        pair.settle();
        pair.sides[1].listening = false;
        let message = numbered(0, 10_000);
        let mut count = 0;
        for _ in 0..200 {
            while pair.sides[0].send(1, &message).is_ok() {
                count += 1;
            }
            pair.sides[0].flush();
            pair.tick();
        }
        assert!(count > 50, "{count}");
        // The other channel still has room, on both sides.
        pair.sides[0].send(2, b"through").unwrap();
        pair.sides[0].flush();
        pair.settle();
        pair.sides[0].take_told();
        pair.sides[1].listening = true;
        pair.tick();
        assert_eq!(pair.sides[1].messages(2), [b"through"]);
        pair.settle();
        assert_eq!(pair.sides[1].messages(1).len(), count);
        assert_eq!(pair.sides[0].take_told(), [Told::Writable(1)]);
        pair.finish();
    }
}

#[test]
fn a_full_unreliable_queue_is_writable_again_when_it_has_left() {
    let mut pair = Pair::new(ample(), CLEAN, 0);
    pair.open_both(1, Unreliable);
    pair.settle();
    pair.sides[0].take_told();
    let message = numbered(0, 30_000);
    let mut count = 0;
    let full = loop {
        match pair.sides[0].send(1, &message) {
            Ok(()) => count += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(full, SendError::Full { room } if room < 30_000));
    pair.sides[0].flush();
    pair.settle();
    assert_eq!(pair.sides[0].take_told(), [Told::Writable(1)]);
    assert_eq!(pair.sides[1].messages(1).len(), count);
    let too_large = std::vec![0; 64 * 1024 + 1];
    assert_eq!(pair.sides[0].send(1, &too_large), Err(SendError::TooLarge { max: 64 * 1024 }));
    pair.sides[0].channels.set_peer_limits(1000, 2000);
    assert_eq!(pair.sides[0].send(1, &message), Err(SendError::TooLarge { max: 2000 }));
    pair.finish();
}

#[test]
fn all_channels_at_once_work() {
    let mut pair = Pair::new(ample(), BAD, 1);
    for channel in 0..=255 {
        pair.open_both(channel, if channel % 2 == 0 { Reliable } else { Unreliable });
    }
    for number in 0..20 {
        for channel in 0..=255 {
            pair.sides[0].send(channel, &numbered(number, 200)).unwrap();
        }
        pair.sides[0].flush();
        pair.run(10);
    }
    pair.settle();
    for channel in (0..=255).step_by(2) {
        let got: Vec<u32> = pair.sides[1].messages(channel).iter().map(|m| number_of(m)).collect();
        assert_eq!(got, (0..20).collect::<Vec<_>>());
        assert!(pair.sides[1].messages(channel + 1).len() > 10);
    }
    pair.finish();
}

#[test]
fn a_lost_packet_delays_only_the_channels_in_it() {
    let mut pair = Pair::new(ample(), CLEAN, 0);
    pair.open_both(1, Reliable);
    pair.open_both(2, Reliable);
    pair.settle();
    let lost = [7; 300];
    pair.sides[0].send(1, &lost).unwrap();
    pair.sides[0].flush();
    let (_, list, _) = pair.sides[0].write(Scope::Everything, 1200);
    pair.sides[0].send(1, b"behind").unwrap();
    pair.sides[0].send(2, b"other").unwrap();
    pair.sides[0].flush();
    pair.settle();
    assert_eq!(pair.sides[1].messages(2), [b"other"]);
    assert_eq!(pair.sides[1].messages(1), [b""; 0]);
    pair.sides[0].lost(list);
    pair.settle();
    assert_eq!(pair.sides[1].messages(1), [&lost[..], b"behind"]);
    pair.finish();
}

#[test]
fn bulk_and_unreliable_data_take_turns() {
    let mut pair = Pair::new(ample(), CLEAN, 0);
    for (channel, reliability) in [(1, Reliable), (2, Reliable), (3, Unreliable)] {
        pair.open_both(channel, reliability);
    }
    pair.settle();
    let side = &mut pair.sides[0];
    side.send(1, &numbered(0, 60_000)).unwrap();
    side.send(2, b"small").unwrap();
    side.send(3, &numbered(0, 60_000)).unwrap();
    side.flush();
    let has_small = |bytes: &[u8]| {
        Frames::new(bytes).flatten().any(|f| matches!(f, Frame::Reliable(r) if r.channel.0 == 2))
    };
    let packets: Vec<_> = (0..9).map(|_| side.write(Scope::Everything, 1200)).collect();
    let position = packets.iter().position(|(bytes, ..)| has_small(bytes));
    assert!(position.is_some_and(|p| p <= 8), "{position:?}");
    for (_, list, _) in packets {
        side.lost(list);
    }
    pair.finish();
}

#[test]
fn a_largest_message_completes_on_every_channel_when_memory_is_short() {
    for kind in [Reliable, ReliableUnordered] {
        let limits = ChannelLimits {
            message_reliable_max: 40_000,
            message_unreliable_max: 1000,
            receive_blocks: crate::pool::Quota { guaranteed: 40, shared: 0, peer_max: 40 },
            slots: crate::pool::Quota { guaranteed: 8, shared: 0, peer_max: 8 },
            ..ChannelLimits::for_peers(1)
        };
        let mut pair = Pair::new(limits, BAD, 3);
        for channel in 0..8 {
            pair.open_both(channel, kind);
        }
        assert_eq!(pair.sides[0].open(8, kind), Err(OpenChannelError::Full));
        for channel in 0..8 {
            for side in 0..2 {
                send_when_possible(&mut pair, side, channel, &numbered(channel.into(), 40_000));
            }
        }
        pair.settle();
        for channel in 0..8 {
            for side in &mut pair.sides {
                assert!(side.messages(channel) == [numbered(channel.into(), 40_000)]);
            }
        }
        pair.finish();
    }
}

#[test]
fn a_busy_window_grows() {
    for kind in [Reliable, ReliableUnordered] {
        let mut pair = Pair::new(ample(), CLEAN, 0);
        pair.open_both(0, kind);
        for number in 0..40 {
            send_when_possible(&mut pair, 0, 0, &numbered(number, 60_000));
            pair.tick();
        }
        pair.settle();
        assert_eq!(pair.sides[1].messages(0).len(), 40);
        let window = pair.sides[1].slots[0].receive.window;
        assert!(window >= 2 * pair.sides[1].limits.window_initial, "{window}");
        pair.finish();
    }
}

#[test]
fn what_the_protocol_forbids_is_named() {
    let open = |side: &mut Side| side.open(1, Reliable).unwrap();
    let cases: [(&[u8], ProtocolViolation); 6] = [
        (b"\x02\x01\x01\x01\x00", ProtocolViolation::Incarnation),
        (b"\x03\x05\x07", ProtocolViolation::Incarnation),
        (b"\x02\x01\x01\x00\x00\x02\x01\x00\x00\x00", ProtocolViolation::Reliability),
        // Beyond any credit.
        (b"\xd3\x01\x40\x00\x00\x00x", ProtocolViolation::Credit),
        // A length of 2³⁰ − 1, and 1 in two bytes.
        (b"\xd3\x01\x00\x00\x00\x00\xbf\xff\xff\xff", ProtocolViolation::MessageTooLarge),
        (b"\xd3\x01\x00\x00\x00\x00\x40\x01", ProtocolViolation::Length),
    ];
    for (packet, violation) in cases {
        let mut side = Side::new(ample());
        open(&mut side);
        assert_eq!(side.handle(packet), Err(violation), "{packet:02x?}");
        side.release_and_check();
    }
    let mut side = Side::new(ample());
    side.open(1, Unreliable).unwrap();
    assert_eq!(side.handle(b"\x91\x01\x00\x00\x0a\x00abc"), Ok(true));
    assert_eq!(side.handle(b"\x91\x01\x00\x00\x0b\x03abc"), Err(ProtocolViolation::Fragment));
    side.release_and_check();
}

#[test]
fn late_fragments_bring_nothing_back() {
    let mut side = Side::new(ample());
    side.open(1, Unreliable).unwrap();
    let fragment = |number: u8, offset: u8| {
        let mut bytes = b"\x91\x01".to_vec();
        bytes.extend([number, 0, 4, offset, b'a' + number, b'b']);
        bytes
    };
    let second = std::vec![b'b', b'b', b'b', b'b'];
    for packet in [fragment(1, 0), fragment(1, 2)] {
        side.handle(&packet).unwrap();
    }
    side.listen();
    assert_eq!(side.messages(1), [second]);
    for packet in [fragment(1, 2), fragment(1, 0)] {
        side.handle(&packet).unwrap();
    }
    assert_eq!(side.stats().counters.abandoned, 2);
    // The one before may be late; two newer ones end it.
    side.handle(&fragment(0, 0)).unwrap();
    side.handle(&fragment(2, 0)).unwrap();
    side.handle(&fragment(3, 0)).unwrap();
    side.handle(&fragment(0, 2)).unwrap();
    side.handle(&fragment(2, 2)).unwrap();
    side.handle(&fragment(3, 2)).unwrap();
    side.listen();
    assert_eq!(side.messages(1), [b"cbcb", b"dbdb"]);
    side.release_and_check();
}

#[test]
fn a_peers_part_is_small() {
    assert!(size_of::<Channels>() <= 1696, "{}", size_of::<Channels>());
    assert!(size_of::<ChannelSlot>() <= 352, "{}", size_of::<ChannelSlot>());
}

#[test]
fn channels_that_keep_a_block_for_what_comes_next_leave_room_for_one_largest_message() {
    let largest = 20_000;
    let blocks = limits::blocks_for(largest);
    let limits = ChannelLimits {
        message_reliable_max: largest,
        message_unreliable_max: largest,
        send_blocks: crate::pool::Quota { guaranteed: blocks, shared: 0, peer_max: blocks },
        receive_blocks: crate::pool::Quota { guaranteed: 48, shared: 0, peer_max: 48 },
        slots: crate::pool::Quota { guaranteed: 12, shared: 0, peer_max: 12 },
        ..ChannelLimits::for_peers(1)
    };
    let mut pair = Pair::new(limits, CLEAN, 5);
    for channel in 0..12 {
        pair.open_both(channel, Unreliable);
    }
    pair.settle();
    for round in 0..3 {
        for channel in 0..12 {
            pair.sides[0].send(channel, b"small").unwrap();
            pair.sides[0].flush();
            pair.settle();
            assert_eq!(pair.sides[1].messages(channel), [b"small".to_vec()]);
        }
        assert_eq!(pair.sides[0].state.send.taken(), 12, "each keeps one");
        assert_eq!(pair.sides[1].state.receive.taken(), 12);
        let message = numbered(round, largest as usize);
        pair.sides[0].send(round as u8, &message).unwrap();
        pair.sides[0].flush();
        pair.settle();
        assert_eq!(pair.sides[1].messages(round as u8), [message], "round {round}");
    }
    pair.finish();
}
