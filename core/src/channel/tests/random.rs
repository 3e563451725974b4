//! Random operations, and bytes from nowhere.

use proptest::prelude::*;

use super::*;
use crate::id::Reliability::{self, Reliable, ReliableUnordered, Unreliable, UnreliableSequenced};

#[derive(Clone, Debug)]
enum Step {
    Open(usize, u8, Reliability),
    Close(usize, u8),
    Send(usize, u8, u32),
    Flush(usize),
    Run(u64),
    Listen(usize, bool),
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let side = 0..2_usize;
    let channel = 0..3_u8;
    let step = prop_oneof![
        4 => (side.clone(), channel.clone(), reliability())
            .prop_map(|(s, c, r)| Step::Open(s, c, r)),
        1 => (side.clone(), channel.clone()).prop_map(|(s, c)| Step::Close(s, c)),
        8 => (side.clone(), channel, 4..20_000_u32).prop_map(|(s, c, n)| Step::Send(s, c, n)),
        4 => side.clone().prop_map(Step::Flush),
        6 => (1..40_u64).prop_map(Step::Run),
        1 => (side, any::<bool>()).prop_map(|(s, on)| Step::Listen(s, on)),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..80)
}

fn reliability() -> impl Strategy<Value = Reliability> {
    prop_oneof![
        7 => Just(Reliable),
        4 => Just(ReliableUnordered),
        2 => Just(Unreliable),
        2 => Just(UnreliableSequenced),
    ]
}

/// Little memory, so that everything runs out at some time.
fn scarce() -> ChannelLimits {
    let quota = |guaranteed, shared| crate::pool::Quota {
        guaranteed,
        shared,
        peer_max: guaranteed + shared,
    };
    ChannelLimits {
        message_reliable_max: 20_000,
        message_unreliable_max: 20_000,
        send_blocks: quota(50, 40),
        receive_blocks: quota(12, 50),
        sent_nodes: quota(8, 8),
        range_nodes: quota(0, 4),
        slots: quota(3, 0),
        window_initial: 10,
        window_max: 40,
        ..ChannelLimits::for_peers(1)
    }
}

proptest! {
    /// The model: per side and channel, the numbers sent. What arrives is one of them, whole and
    /// once; in order if the channel is ordered or sequenced, and all of a reliable one if nothing was
    /// closed.
    #[test]
    fn any_use_keeps_the_promises(steps in steps(), seed: u64) {
        let mut pair = Pair::new(scarce(), BAD, seed);
        let mut next = 1;
        // Per receiving side and channel: what was sent, and how.
        let mut sent: [[Vec<(u32, Reliability)>; 3]; 2] = Default::default();
        let mut got: [[Vec<u32>; 3]; 2] = Default::default();
        let mut interrupted = [false; 3];
        for step in steps {
            match step {
                Step::Open(side, channel, reliability) => {
                    pair.sides[side].open(channel, reliability).ok();
                }
                Step::Close(side, channel) => {
                    pair.sides[side].close(channel).ok();
                    interrupted[usize::from(channel)] = true;
                }
                Step::Send(side, channel, len) => {
                    if pair.sides[side].send(channel, &numbered(next, len as usize)).is_ok() {
                        let slot = pair.sides[side].channels.slot_of(ChannelId(channel)).unwrap();
                        let slot = &pair.sides[side].slots[usize::from(slot)];
                        sent[1 - side][usize::from(channel)]
                            .push((next, slot.reliability));
                        next += 1;
                    }
                }
                Step::Flush(side) => pair.sides[side].flush(),
                Step::Run(ticks) => pair.run(ticks),
                Step::Listen(side, on) => pair.sides[side].listening = on,
                Step::Restart => {
                    pair.flying.clear();
                    interrupted = [true; 3];
                    for side in &mut pair.sides {
                        while let Some(sent) = side.sent.pop_front() {
                            side.lost(sent.list);
                        }
                        let (channels, mut pools) = side.parts();
                        channels.reset_streams(&mut pools);
                        side.seen.clear();
                        side.next_packet = 0;
                    }
                }
            }
        }
        for side in &mut pair.sides {
            side.listening = true;
            side.flush();
        }
        pair.settle();
        for side in 0..2 {
            for told in pair.sides[side].take_told() {
                if let Told::Message(channel, bytes) = told {
                    let number = number_of(&bytes);
                    prop_assert!(bytes == numbered(number, bytes.len()));
                    got[side][usize::from(channel)].push(number);
                }
            }
            for channel in 0..3 {
                let (sent, got) = (&sent[side][channel], &got[side][channel]);
                let is_ordered =
                    |number: &u32| {
                    let in_order = [Reliable, UnreliableSequenced];
                    sent.iter().any(|(n, r)| n == number && in_order.contains(r))
                };
                let unique: BTreeSet<_> = got.iter().collect();
                prop_assert_eq!(unique.len(), got.len());
                prop_assert!(got.iter().all(|n| sent.iter().any(|(s, _)| s == n)));
                let ordered: Vec<_> = got.iter().copied().filter(is_ordered).collect();
                prop_assert!(ordered.is_sorted(), "{:?}", ordered);
                let slot = pair.sides[side].channels.slot_of(ChannelId(channel as u8));
                let agreed = slot.map(|s| pair.sides[side].slots[usize::from(s)]);
                if agreed.is_some_and(|s| s.agreed() && s.reliability.is_reliable())
                    && !interrupted[channel]
                {
                    let sent: BTreeSet<_> = sent.iter().map(|(number, _)| number).collect();
                    prop_assert_eq!(sent, unique);
                }
            }
        }
        pair.finish();
    }

    /// Whether a message takes a short way through memory, nobody can tell.
    #[test]
    fn short_ways_lead_to_the_same_place(
        kinds in prop::collection::vec(reliability(), 3),
        steps in prop::collection::vec((0..10_u8, 0..3_u8, 0..700_usize), 1..120),
        seed: u64,
    ) {
        let mut pairs = [true, false].map(|short| {
            let mut pair = Pair::new(scarce(), BAD, seed);
            pair.sides.iter_mut().for_each(|side| side.short = short);
            for (channel, kind) in kinds.iter().enumerate() {
                pair.open_both(channel as u8, *kind);
            }
            pair
        });
        for (number, (what, channel, len)) in steps.into_iter().enumerate() {
            let outcomes = pairs.each_mut().map(|pair| {
                let message = std::vec![number as u8; len];
                let refused = match what {
                    0..=5 => pair.sides[0].send(channel, &message).err(),
                    6 => pair.sides[1].send(channel, &message).err(),
                    7 => { pair.sides[0].flush(); None }
                    8 => { pair.run(len as u64 / 100); None }
                    _ => { pair.sides[1].listening = len > 200; None }
                };
                (refused, pair.sides.each_mut().map(|side| (side.take_told(), side.stats())))
            });
            prop_assert_eq!(&outcomes[0], &outcomes[1]);
            prop_assert_eq!(&pairs[0].flying, &pairs[1].flying);
            prop_assert_eq!(pairs[0].sides[1].state, pairs[1].sides[1].state);
        }
        pairs.into_iter().for_each(Pair::finish);
    }

    /// Any frames in any order: no panic, and everything comes back.
    #[test]
    fn arbitrary_frames_do_no_harm(
        packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..80), 1..60),
        kinds in prop::collection::vec(
            prop::sample::select(&KINDS[..]),
            60,
        ),
        seed: u64,
    ) {
        let mut side = Side::new(scarce());
        side.open(0, Reliable).unwrap();
        side.open(1, Unreliable).unwrap();
        let third = if seed & 1 == 0 { UnreliableSequenced } else { ReliableUnordered };
        side.open(2, third).unwrap();
        let mut random = Random(seed);
        let mut lists = Vec::new();
        for (mut packet, kind) in packets.into_iter().zip(kinds) {
            packet[0] = kind;
            // Mostly channels that are open, and small numbers, which get further.
            for byte in packet.iter_mut().skip(1).take(6) {
                if random.chance(70) {
                    *byte %= 4;
                }
            }
            let (channels, mut pools) = side.parts();
            for frame in Frames::new(&packet).map_while(Result::ok) {
                channels.handle_frame(&mut pools, &frame).ok();
            }
            match random.below(8) {
                0 => { side.open(random.below(4) as u8, Unreliable).ok(); }
                1 => { side.close(random.below(4) as u8).ok(); }
                2 => { side.send(random.below(4) as u8, &[1; 3000]).ok(); }
                3 => side.flush(),
                4 => { side.poll(); }
                5 => lists.push(side.write(Scope::Everything, 1200).1),
                6 => { if let Some(list) = lists.pop() { side.acked(list); } }
                _ => { if let Some(list) = lists.pop() { side.lost(list); } }
            }
        }
        for list in lists {
            side.lost(list);
        }
        side.release_and_check();
    }
}

/// First bytes of frames about channels.
const KINDS: [u8; 18] = [
    2, 3, 4, 0x80, 0x90, 0xa1, 0x81, 0xb1, 0x92, 0xa2, 0xb3, 0xc0, 0xd3, 0xf2, 0x50, 0x52, 0x72,
    0x53,
];
