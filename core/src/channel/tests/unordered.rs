//! Reliable channels without order: nothing waits for what is missing before it.

use proptest::prelude::*;

use super::*;
use crate::id::Reliability::ReliableUnordered;
use crate::wire::frame::{Frame, RangeOrder, ReliableRange};
use crate::wire::number::Truncated;

/// What a packet holds of channel 1's stream: from where to where.
fn ranges_of(packet: &[u8]) -> Vec<(u64, u64, RangeOrder)> {
    let ranges = Frames::new(packet).filter_map(|frame| {
        let Frame::Reliable(range) = frame.unwrap() else { return None };
        let start = range.offset.value();
        Some((start, start + range.data.len() as u64, range.order))
    });
    ranges.collect()
}

/// A frame of channel 1 with these bytes of its stream.
fn range(start: u64, order: RangeOrder, data: &[u8]) -> Vec<u8> {
    let mut out = std::vec![0; data.len() + 16];
    let mut writer = Writer::new(&mut out);
    let offset = Truncated::new(start, 4);
    let range = ReliableRange { channel: ChannelId(1), incarnation_low: 0, order, offset, data };
    Frame::Reliable(range).emit(&mut writer).unwrap();
    writer.written().to_vec()
}

/// `message` behind its length.
fn framed(message: &[u8]) -> Vec<u8> {
    let mut out = std::vec![0; message.len() + 4];
    let mut writer = Writer::new(&mut out);
    writer.with_length(message).unwrap();
    writer.written().to_vec()
}

/// All of `messages` in packets of `room` bytes.
fn packets(side: &mut Side, messages: &[Vec<u8>], room: usize) -> Vec<Vec<u8>> {
    for message in messages {
        side.send(1, message).unwrap();
    }
    side.flush();
    let mut packets = Vec::new();
    loop {
        let (packet, list, _) = side.write(Scope::Everything, room);
        if packet.is_empty() {
            return packets;
        }
        side.sent.push_back(Sent { number: 0, list, acked_at: None, lost_at: 0 });
        packets.push(packet);
    }
}

fn open_pair(limits: ChannelLimits) -> Pair {
    let mut pair = Pair::new(limits, CLEAN, 0);
    pair.open_both(1, ReliableUnordered);
    pair.settle();
    for side in &mut pair.sides {
        side.take_told();
    }
    pair
}

fn numbers(side: &mut Side) -> Vec<u32> {
    side.listen();
    let messages = side.messages(1);
    for message in &messages {
        assert_eq!(*message, numbered(number_of(message), message.len()));
    }
    messages.iter().map(|message| number_of(message)).collect()
}

#[test]
fn what_comes_after_a_hole_is_delivered_before_the_hole_is_filled() {
    let mut pair = open_pair(ample());
    let messages: Vec<_> = (0..6).map(|number| numbered(number, 300)).collect();
    let [sender, receiver] = &mut pair.sides;
    let packets: Vec<_> =
        messages.iter().flat_map(|m| packets(sender, core::slice::from_ref(m), 1200)).collect();
    assert_eq!(packets.len(), 6);
    // Repeats are not owed: 300 bytes are too many.
    for (index, expected) in [(2, 2), (5, 5), (4, 4), (0, 0), (3, 3), (1, 1)] {
        for _ in 0..2 {
            receiver.handle(&packets[index]).unwrap();
        }
        assert_eq!(numbers(receiver), [expected]);
    }
    assert_eq!(receiver.stats().counters.duplicates, 6);
    pair.settle();
    pair.finish();
}

#[test]
fn a_large_message_is_delivered_with_its_last_piece_whichever_that_is() {
    let mut pair = open_pair(ample());
    let messages = [10_000, 100, 9_000, 50].map(|len| numbered(len, len as usize));
    let [sender, receiver] = &mut pair.sides;
    let packets = packets(sender, &messages, 1200);
    // The ninth holds the end of the first message, the second, and the start of the third.
    for packet in packets.iter().skip(9).rev() {
        receiver.handle(packet).unwrap();
    }
    assert_eq!(numbers(receiver), [50]);
    for packet in packets.iter().take(8) {
        receiver.handle(packet).unwrap();
    }
    assert_eq!(numbers(receiver), []);
    receiver.handle(&packets[8]).unwrap();
    assert_eq!(numbers(receiver), [10_000, 100, 9_000]);
    pair.settle();
    pair.finish();
}

#[test]
fn what_begins_within_a_message_ends_with_it() {
    let mut pair = open_pair(ample());
    let messages: Vec<_> = (0..40).map(|number| numbered(number, 130)).collect();
    let packets = packets(&mut pair.sides[0], &messages, 500);
    let mut expected = 0;
    for (start, end, order) in packets.iter().flat_map(|packet| ranges_of(packet)) {
        assert!(start == expected || end <= expected, "only repeats go back");
        let at_message = start % 132 == 0;
        let within = if at_message { RangeOrder::AtMessage } else { RangeOrder::WithinMessage };
        assert_eq!(order, within);
        assert!(at_message || end <= start.next_multiple_of(132));
        expected = expected.max(end);
    }
    assert_eq!(expected, 40 * 132);
    pair.settle();
    pair.finish();
}

#[test]
fn messages_wait_in_their_place_while_nobody_listens_and_credit_ends_at_the_hole() {
    let mut pair = open_pair(ChannelLimits { window_initial: 131, ..ample() });
    let messages: Vec<_> = (0..60).map(|number| numbered(number, 500)).collect();
    let [sender, receiver] = &mut pair.sides;
    let packets: Vec<_> =
        messages.iter().flat_map(|m| packets(sender, core::slice::from_ref(m), 1200)).collect();
    for packet in packets.iter().rev().step_by(2) {
        receiver.handle(packet).unwrap();
    }
    let odd: Vec<_> = (0..60).rev().step_by(2).collect();
    assert_eq!(numbers(receiver), odd);
    // Nothing was given back: the first message is missing.
    assert_eq!(receiver.write(Scope::Everything, 1200).0, []);
    receiver.handle(&packets[0]).unwrap();
    for packet in packets.iter().skip(2) {
        receiver.handle(packet).unwrap();
    }
    receiver.handle(&packets[0]).unwrap();
    let even: Vec<_> = (0..60).step_by(2).collect();
    assert_eq!(numbers(receiver), even);
    let (packet, list, _) = receiver.write(Scope::Everything, 1200);
    let limit = 60 * 502 + 131 * BLOCK_DATA as u64;
    let credit = Frames::new(&packet).next().unwrap().unwrap();
    assert!(matches!(credit, Frame::Credit { limit: l, .. } if l > limit - 1024), "{credit}");
    receiver.lost_later(list);
    pair.settle();
    pair.finish();
}

#[test]
fn what_found_no_record_comes_when_the_others_were_read() {
    let range_nodes = crate::pool::Quota { guaranteed: 0, shared: 1, peer_max: 1 };
    let mut pair = open_pair(ChannelLimits { range_nodes, ..ample() });
    let receiver = &mut pair.sides[1];
    for number in [2, 0] {
        let message = framed(&numbered(number, 30));
        let start = u64::from(number) * message.len() as u64;
        assert_eq!(receiver.handle(&range(start, RangeOrder::AtMessage, &message)), Ok(true));
    }
    assert_eq!(numbers(receiver), [2, 0]);
    pair.finish();
}

#[test]
fn without_any_records_it_works_like_a_stream() {
    const MESSAGES: u32 = 200;
    for (seed, shared) in (0..8).zip([0, 1, 2, 5].into_iter().cycle()) {
        let range_nodes = crate::pool::Quota { guaranteed: 0, shared, peer_max: shared };
        let mut pair = Pair::new(ChannelLimits { range_nodes, ..ample() }, BAD, seed);
        pair.open_both(1, ReliableUnordered);
        for number in 0..MESSAGES {
            let message = pair.random.message(number, 10);
            while pair.sides[0].send(1, &message).is_err() {
                pair.tick();
            }
            pair.sides[0].flush();
            pair.sides[1].listening = pair.random.chance(30);
            pair.tick();
        }
        pair.sides[1].listening = true;
        pair.settle();
        let mut got = numbers(&mut pair.sides[1]);
        got.sort_unstable();
        assert_eq!(got, (0..MESSAGES).collect::<Vec<_>>(), "seed {seed}");
        pair.finish();
    }
}

#[test]
fn what_lies_is_named_or_dropped() {
    let alpha = framed(&[b'a'; 50]);
    let lost = |violation| Err(violation);
    let long = [0x80, 0xff, 0xff, 0xff];
    for (frames, result) in [
        // A message in front whose length reaches into one taken before.
        (
            std::vec![
                (100, RangeOrder::AtMessage, &alpha[..]),
                (0, RangeOrder::AtMessage, &[70; 100])
            ],
            lost(ProtocolViolation::Overlap),
        ),
        // The same beyond a hole.
        (
            std::vec![
                (100, RangeOrder::AtMessage, &alpha[..]),
                (20, RangeOrder::AtMessage, &[70; 80])
            ],
            lost(ProtocolViolation::Overlap),
        ),
        // A second range that says that it begins with a message, within the first one.
        (
            std::vec![(10, RangeOrder::AtMessage, &[60; 30]), (40, RangeOrder::AtMessage, &alpha)],
            Ok(0),
        ),
        // Longer than any may be.
        (
            std::vec![(100, RangeOrder::AtMessage, &long[..])],
            lost(ProtocolViolation::MessageTooLarge),
        ),
        // Not in the shortest form.
        (
            std::vec![(100, RangeOrder::AtMessage, &[0x40, 1, 7][..])],
            lost(ProtocolViolation::Length),
        ),
        // What is there already stays as it is.
        (
            std::vec![
                (100, RangeOrder::AtMessage, &alpha[..]),
                (100, RangeOrder::AtMessage, &[1; 60][..]),
                (90, RangeOrder::WithinMessage, &[2; 80][..]),
            ],
            Ok(1),
        ),
    ] {
        let mut pair = open_pair(ample());
        let receiver = &mut pair.sides[1];
        let mut told = Ok(());
        for (start, order, data) in &frames {
            told = told.and(receiver.handle(&range(*start, *order, data)).map(|_| ()));
        }
        receiver.listen();
        let messages = receiver.messages(1);
        match result {
            Ok(count) => {
                assert_eq!(told, Ok(()), "{frames:?}");
                assert!(messages.len() >= count, "{frames:?}");
                assert!(messages.iter().take(count).all(|message| *message == alpha[1..]));
            }
            Err(violation) => assert_eq!(told, Err(violation), "{frames:?}"),
        }
        pair.finish();
    }
}

/// A sender and a receiver, and packets that come whenever they like, or not.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The sender fills a packet of so much room.
    Write(usize),
    /// A packet arrives, and may arrive again.
    Arrive(prop::sample::Index),
    /// A packet, which may have arrived, counts as lost.
    Lose(prop::sample::Index),
    /// The receiver's application looks.
    Listen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (40..600_usize).prop_map(Step::Write),
        4 => any::<prop::sample::Index>().prop_map(Step::Arrive),
        2 => any::<prop::sample::Index>().prop_map(Step::Lose),
        3 => Just(Step::Listen),
    ];
    prop::collection::vec(step, 0..150)
}

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(
        prop_oneof![6 => 4..70_usize, 2 => 60..700_usize, 1 => 700..3000_usize],
        1..40,
    )
}

proptest! {
    /// At each look, exactly those messages are there of which all bytes have arrived.
    #[test]
    fn a_message_is_delivered_with_its_last_byte(sizes in sizes(), steps in steps()) {
        let mut pair = open_pair(ample());
        let [sender, receiver] = &mut pair.sides;
        let mut places = Vec::new();
        let mut end = 0;
        for (number, len) in sizes.iter().enumerate() {
            let message = numbered(number as u32, *len);
            sender.send(1, &message).unwrap();
            let start = end;
            end += framed(&message).len();
            places.push(start..end);
        }
        sender.flush();
        let mut arrived = std::vec![false; end];
        let mut flying: Vec<(Vec<u8>, Option<FrameList>)> = Vec::new();
        let mut told = BTreeSet::new();
        // Whatever is left undone comes at the end.
        let rest = (0..10_000).flat_map(|_| [Step::Write(700), Step::Listen]);
        for (step, at_last) in
            steps.into_iter().map(|step| (step, false)).chain(rest.map(|step| (step, true)))
        {
            match step {
                Step::Write(room) => {
                    let (packet, list, _) = sender.write(Scope::Everything, room);
                    flying.push((packet, Some(list)));
                }
                Step::Arrive(index) if !flying.is_empty() => {
                    let (packet, _) = &flying[index.index(flying.len())];
                    prop_assert_eq!(receiver.handle(packet), Ok(true));
                    for (start, end, _) in ranges_of(packet) {
                        arrived[start as usize..end as usize].fill(true);
                    }
                }
                Step::Lose(index) if !flying.is_empty() => {
                    let index = index.index(flying.len());
                    if let Some(list) = flying[index].1.take() {
                        sender.lost(list);
                    }
                }
                Step::Listen => {
                    for number in numbers(receiver) {
                        prop_assert!(told.insert(number as usize), "{} twice", number);
                    }
                    for (number, place) in places.iter().enumerate() {
                        let whole = arrived[place.clone()].iter().all(|byte| *byte);
                        prop_assert_eq!(told.contains(&number), whole, "{}", number);
                    }
                }
                Step::Arrive(_) | Step::Lose(_) => {}
            }
            if at_last {
                for (packet, list) in flying.drain(..) {
                    prop_assert_eq!(receiver.handle(&packet), Ok(true));
                    for (start, end, _) in ranges_of(&packet) {
                        arrived[start as usize..end as usize].fill(true);
                    }
                    if let Some(list) = list {
                        sender.acked(list);
                    }
                }
                if told.len() == sizes.len() {
                    break;
                }
            }
        }
        prop_assert_eq!(told.len(), sizes.len());
        pair.settle();
        pair.finish();
    }

    /// Ranges that contradict each other do no harm, and no byte is delivered twice.
    #[test]
    fn no_byte_is_delivered_twice_whatever_ranges_say(
        ranges in prop::collection::vec(
            (0..400_u64, any::<bool>(), prop::collection::vec(prop_oneof![0..20_u8, any::<u8>()], 1..60), any::<bool>()),
            1..60,
        ),
        records in 0..30_u32,
    ) {
        let range_nodes = crate::pool::Quota { guaranteed: 0, shared: records, peer_max: records };
        let mut pair = open_pair(ChannelLimits { range_nodes, ..ample() });
        let receiver = &mut pair.sides[1];
        let mut arrived = [false; 460];
        let mut delivered = 0;
        let mut honest = true;
        for (start, at_message, data, listens) in ranges {
            let order = if at_message { RangeOrder::AtMessage } else { RangeOrder::WithinMessage };
            match receiver.handle(&range(start, order, &data)) {
                Ok(true) => arrived[start as usize..start as usize + data.len()].fill(true),
                Ok(false) => {}
                Err(_) => honest = false,
            }
            if listens {
                receiver.listen();
                delivered += receiver.messages(1).iter().map(|m| framed(m).len()).sum::<usize>();
                let there = arrived.iter().filter(|byte| **byte).count();
                prop_assert!(!honest || delivered <= there, "{} of {}", delivered, there);
            }
        }
        // What nobody looked at is given back as well.
        pair.finish();
    }
}
