//! Properties of every datagram and frame: what is emitted parses to the same value, what parses
//! is emitted as the same bytes, and no bytes do harm.

use std::vec;
use std::vec::Vec;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::Index;

use super::cursor::VARINT_MAX;
use super::data::DataHeader;
use super::frame::{
    AckDelay, ChannelOpen, DisconnectReason, Fragment, Frame, Frames, PathIntent, RangeOrder,
    ReliableRange, UnreliableMessage, emit_ack,
};
use super::handshake::{
    ChannelOpens, HandshakeParameters, Initiation, InitiationPayload, Instance, MacKeyedBy,
    Response, ResponsePayload, Stamp,
};
use super::hop::{
    Bind, BindPayload, Bound, BoundPayload, Control, ControlMessage, CookieReply, DirectoryPage,
    Hello, NotBound, Probe, Refused, Resume, Resumed, TICKET_LEN, echo_of,
};
use super::number::Truncated;
use super::{DATAGRAM_LEN_MAX, Kind, Reader, Writer};
use crate::crypto::Suite;
use crate::id::{
    ChannelId, ConnectionIndex, Incarnation, PacketNumber, PeerId, RelayId, Reliability, SessionId,
};

proptest! {
    #[test]
    fn frames_come_back(frame in frame(), last in any::<bool>()) {
        let mut out = [0; 4000];
        let mut writer = Writer::new(&mut out);
        frame.emit(&mut writer, last);
        let mut reader = Reader::new(writer.written());
        let parsed = Frame::parse(&mut reader).unwrap();
        prop_assert!(reader.is_empty());
        prop_assert_eq!(OwnedFrame::of(&parsed), frame);
    }

    #[test]
    fn frames_that_parse_are_emitted_as_the_same_bytes(
        frames in vec(frame(), 0..8),
        flips in vec((any::<Index>(), any::<u8>()), 0..4),
        noise in vec(any::<u8>(), 0..200),
    ) {
        let mut out = [0; 32_000];
        let mut writer = Writer::new(&mut out);
        for frame in &frames {
            frame.emit(&mut writer, false);
        }
        let mut packet = writer.written().to_vec();
        for (at, value) in flips {
            if !packet.is_empty() {
                *at.get_mut(&mut packet) = value;
            }
        }
        for packet in [&packet, &noise] {
            let mut reader = Reader::new(packet);
            let mut parsed = 0;
            while !reader.is_empty() {
                let before = packet.len() - reader.len();
                let Ok(frame) = Frame::parse(&mut reader) else { break };
                parsed += 1;
                prop_assert_eq!(emitted(frame, packet[before]), &packet[before..packet.len() - reader.len()]);
                if let Frame::Ack(ack) = frame {
                    let mut below = u64::MAX;
                    for (low, high) in ack.ranges(PacketNumber(1 << 40)).map_while(Result::ok) {
                        prop_assert!(low <= high && high.0 < below);
                        below = low.0;
                    }
                }
            }
            prop_assert_eq!(Frames::new(packet).filter(Result::is_ok).count(), parsed);
        }
    }

    #[test]
    fn headers_come_back(
        session in session(),
        index in any::<[u16; 2]>(),
        number in any::<u32>(),
        number_len in 1..=4_usize,
        bit in any::<bool>(),
        suite in suite(),
        peer in 1..1_u64 << 63,
        stamp in any::<u64>(),
        sixteen in any::<[u8; 16]>(),
        eight in any::<[u8; 8]>(),
        ticket in any::<[u8; 32]>(),
    ) {
        let index = index.map(ConnectionIndex);
        let data = DataHeader {
            destination: session,
            key_phase: bit,
            index: index[0],
            number: Truncated::new(u64::from(number), number_len),
        };
        let initiation = Initiation {
            destination: session,
            keyed_by: if bit { MacKeyedBy::Invite } else { MacKeyedBy::Pair },
            suite,
            sender_index: index[0],
            sender: PeerId::new(peer).unwrap(),
            stamp: Stamp(stamp),
            mac: eight,
        };
        let response =
            Response { destination: session, receiver_index: index[0], sender_index: index[1] };
        let resume = Resume {
            suite,
            cookie: sixteen,
            nonce: sixteen,
            ticket: core::array::from_fn(|n| ticket[n % ticket.len()]),
        };
        let mut out = [0; 600];
        prop_assert_eq!(data.emit(&mut out), Ok(data.sealed_offset()));
        prop_assert_eq!(DataHeader::parse(&out), Ok(data));
        prop_assert_eq!(initiation.emit(&mut out), Ok(Initiation::NOISE_OFFSET));
        prop_assert_eq!(Initiation::parse(&out), Ok(initiation));
        prop_assert_eq!(response.emit(&mut out), Ok(Response::NOISE_OFFSET));
        prop_assert_eq!(Response::parse(&out), Ok(response));
        prop_assert_eq!(resume.emit(&mut out), Ok(Resume::PAYLOAD_OFFSET));
        prop_assert_eq!(Resume::parse(&out), Ok(resume));
        prop_assert_eq!(echo_of(&out), sixteen.first_chunk().copied());
    }

    #[test]
    fn payloads_come_back(
        session in session(),
        instance in any::<u32>(),
        lens in [0..=VARINT_MAX, 0..=VARINT_MAX, 0..=VARINT_MAX],
        route in option::of(vec(any::<u8>(), 0..200)),
        opens in vec(any::<u8>(), 0..20),
        token in vec(any::<u8>(), 0..300),
        padding in 0..200_usize,
        bit in any::<bool>(),
        seconds in any::<[u16; 2]>(),
        address in any::<core::net::SocketAddr>(),
    ) {
        let parameters = HandshakeParameters {
            reliable_message_len_max: lens[0],
            unreliable_message_len_max: lens[1],
            idle_timeout_ms: lens[2],
        };
        let mut out = [0; 600];
        let instance = Instance(instance);
        let opens: std::vec::Vec<u8> =
            opens.iter().flat_map(|channel| [0x02, *channel, 1, 0, 32]).collect();
        let opens = ChannelOpens::parse(&opens).unwrap();
        let payload =
            InitiationPayload { session, instance, parameters, route: route.as_deref(), opens };
        let len = payload.emit(&mut out).unwrap();
        prop_assert_eq!(InitiationPayload::parse(&out[..len]), Ok(payload));

        let payload = ResponsePayload { instance, parameters, opens };
        let mut writer = Writer::new(&mut out);
        payload.emit(&mut writer).unwrap();
        prop_assert_eq!(ResponsePayload::parse(writer.written()), Ok(payload));

        let payload = BindPayload { wanted: session, another_slot: bit, token: &token };
        let mut padded = vec![0xff; payload.padded_len(600) + padding];
        payload.emit(&mut padded).unwrap();
        prop_assert_eq!(BindPayload::parse(&padded), Ok(payload));

        let payload = BoundPayload {
            session,
            lifetime_s: seconds[0],
            keep_alive_s: seconds[1],
            address: core::net::SocketAddr::new(address.ip(), address.port()),
            token_left_s: Some(u32::from(seconds[0])).filter(|_| bit),
            ticket: [7; TICKET_LEN],
        };
        let len = payload.emit(&mut out).unwrap();
        prop_assert_eq!(BoundPayload::parse(&out[..len]), Ok(payload));
    }

    #[test]
    fn datagrams_that_parse_are_emitted_as_the_same_bytes(
        datagram in prop_oneof![4 => datagram(), 1 => vec(any::<u8>(), 0..1500)],
    ) {
        let mut out = [0; DATAGRAM_LEN_MAX];
        let bytes = &datagram[..];
        let emitted = match Kind::of(bytes) {
            Err(_) => None,
            Ok(Kind::Hello) => Hello::parse(bytes).ok().map(|d| d.emit(&mut out)),
            Ok(Kind::Cookie) => CookieReply::parse(bytes).ok().map(|d| d.emit(&mut out)),
            Ok(Kind::Bind) => Bind::parse(bytes).ok().map(|d| d.emit(&mut out)),
            Ok(Kind::Bound) => Bound::parse(bytes).ok().map(|d| d.emit(&mut out)),
            Ok(Kind::Resume) => Resume::parse(bytes).ok().map(|d| d.emit(&mut out)),
            Ok(Kind::Resumed) => Resumed::parse(bytes).ok().map(|d| d.emit(&mut out)),
            Ok(Kind::Refused) => Refused::parse(bytes).ok().map(|d| d.emit(&mut out)),
            Ok(Kind::Control) => Control::parse(bytes).ok().map(|d| d.emit(&mut out)),
            Ok(Kind::NotBound) => NotBound::parse(bytes).ok().map(|d| d.emit(&mut out)),
            Ok(Kind::Probe | Kind::ProbeReply) => {
                Probe::parse(bytes).ok().map(|d| d.emit(&mut out))
            }
            Ok(Kind::Initiation | Kind::InviteInitiation) => {
                Initiation::parse(bytes).ok().map(|d| d.emit(&mut out))
            }
            Ok(Kind::Response) => Response::parse(bytes).ok().map(|d| d.emit(&mut out)),
            Ok(Kind::Data) => DataHeader::parse(bytes).ok().map(|d| d.emit(&mut out)),
        };
        if let Some(len) = emitted.transpose().unwrap() {
            prop_assert_eq!(&out[..len], &bytes[..len]);
        }
    }

    #[test]
    fn payloads_that_parse_are_emitted_as_the_same_bytes(
        mut bytes in vec(prop_oneof![0..12_u8, any::<u8>()], 0..200),
        zeros_from in any::<Index>(),
    ) {
        if !bytes.is_empty() {
            let from = zeros_from.index(bytes.len());
            bytes[from..].fill(0);
        }
        let mut out = [0; 300];
        if let Ok(payload) = InitiationPayload::parse(&bytes) {
            prop_assert_eq!(payload.emit(&mut out), Ok(bytes.len()));
            prop_assert_eq!(&out[..bytes.len()], &bytes);
            prop_assert!(payload.opens.iter().count() <= bytes.len() / 5);
        }
        if let Ok(payload) = ResponsePayload::parse(&bytes) {
            let mut writer = Writer::new(&mut out);
            payload.emit(&mut writer).unwrap();
            prop_assert_eq!(writer.written(), &bytes);
            prop_assert!(payload.opens.iter().count() <= bytes.len() / 5);
        }
        if let Ok(payload) = BindPayload::parse(&bytes) {
            let mut out = vec![0xff; bytes.len()];
            payload.emit(&mut out).unwrap();
            prop_assert_eq!(&out, &bytes);
        }
        bytes.truncate(BoundPayload::LEN);
        if let Ok(payload) = BoundPayload::parse(&bytes) {
            prop_assert_eq!(payload.emit(&mut out), Ok(bytes.len()));
            prop_assert_eq!(&out[..bytes.len()], &bytes);
        }
        if let Ok(page) = DirectoryPage::parse(&bytes) {
            prop_assert_eq!(page.emit(&mut out), Ok(bytes.len()));
            prop_assert_eq!(&out[..bytes.len()], &bytes);
        }
        bytes.truncate(20);
        if let Ok(message) = ControlMessage::parse(&bytes) {
            prop_assert_eq!(message.emit(&mut out), Ok(bytes.len()));
            prop_assert_eq!(&out[..bytes.len()], &bytes);
        }
    }
}

/// A frame with its own data, so that proptest can make it.
#[derive(Clone, PartialEq, Debug)]
enum OwnedFrame {
    Plain(Frame<'static>),
    RouteUpdate(Vec<u8>),
    Ack { delay: AckDelay, host_delay: AckDelay, ranges: Vec<(PacketNumber, PacketNumber)> },
    Unreliable(ChannelId, u8, Option<u16>, Option<Fragment>, Vec<u8>),
    Reliable(ChannelId, u8, RangeOrder, Truncated, Vec<u8>),
}

impl OwnedFrame {
    fn emit(&self, writer: &mut Writer<'_>, last: bool) {
        match self {
            Self::Plain(frame) => frame.emit(writer).unwrap(),
            Self::RouteUpdate(route) => Frame::RouteUpdate { route }.emit(writer).unwrap(),
            Self::Ack { delay, host_delay, ranges } => {
                let written = emit_ack(writer, *delay, *host_delay, ranges.iter().copied());
                assert_eq!(written, Ok(ranges.len()));
            }
            Self::Unreliable(channel, incarnation_low, sequence, fragment, data) => {
                UnreliableMessage {
                    channel: *channel,
                    incarnation_low: *incarnation_low,
                    sequence: *sequence,
                    fragment: *fragment,
                    data,
                }
                .emit(writer, last)
                .unwrap();
            }
            Self::Reliable(channel, incarnation_low, order, offset, data) => ReliableRange {
                channel: *channel,
                incarnation_low: *incarnation_low,
                order: *order,
                offset: *offset,
                data,
            }
            .emit(writer, last)
            .unwrap(),
        }
    }

    fn of(frame: &Frame<'_>) -> Self {
        match *frame {
            Frame::RouteUpdate { route } => Self::RouteUpdate(route.to_vec()),
            Frame::Ack(ack) => Self::Ack {
                delay: ack.delay,
                host_delay: ack.host_delay,
                // Ranges are made from 40,000 down, within reach of 16 bits.
                ranges: ack.ranges(PacketNumber(40_000)).map(Result::unwrap).collect(),
            },
            Frame::Unreliable(m) => {
                let data = m.data.to_vec();
                Self::Unreliable(m.channel, m.incarnation_low, m.sequence, m.fragment, data)
            }
            Frame::Reliable(r) => {
                Self::Reliable(r.channel, r.incarnation_low, r.order, r.offset, r.data.to_vec())
            }
            Frame::Padding { len } => Self::Plain(Frame::Padding { len }),
            Frame::Ping => Self::Plain(Frame::Ping),
            Frame::ChannelOpen(open) => Self::Plain(Frame::ChannelOpen(open)),
            Frame::ChannelClose { channel, incarnation } => {
                Self::Plain(Frame::ChannelClose { channel, incarnation })
            }
            Frame::Credit { channel, incarnation, limit } => {
                Self::Plain(Frame::Credit { channel, incarnation, limit })
            }
            Frame::PathChallenge { relay, session, nonce, intent } => {
                Self::Plain(Frame::PathChallenge { relay, session, nonce, intent })
            }
            Frame::PathResponse { relay, nonce, delay } => {
                Self::Plain(Frame::PathResponse { relay, nonce, delay })
            }
            Frame::Disconnect(reason) => Self::Plain(Frame::Disconnect(reason)),
        }
    }
}

/// `frame` as bytes, with or without its length as its first byte says.
fn emitted(frame: Frame<'_>, first: u8) -> Vec<u8> {
    let last = first & 0b0010_0000 == 0;
    let mut out = vec![0; 32_000];
    let mut writer = Writer::new(&mut out);
    if let Frame::Unreliable(message) = frame {
        message.emit(&mut writer, last).unwrap();
    } else if let Frame::Reliable(range) = frame {
        range.emit(&mut writer, last).unwrap();
    } else {
        frame.emit(&mut writer).unwrap();
    }
    writer.written().to_vec()
}

fn frame() -> impl Strategy<Value = OwnedFrame> {
    let channel = || any::<u8>().prop_map(ChannelId);
    let incarnation = || any::<u8>().prop_map(Incarnation);
    let number = || prop_oneof![0..200_u64, 0..=VARINT_MAX];
    let relay = || any::<u64>().prop_map(RelayId);
    let reliability = prop_oneof![
        Just(Reliability::Reliable),
        Just(Reliability::ReliableUnordered),
        Just(Reliability::Unreliable),
        Just(Reliability::UnreliableSequenced),
    ];
    let open = (channel(), reliability, incarnation(), number()).prop_map(
        |(channel, reliability, incarnation, credit)| {
            let credit = if reliability.is_reliable() { credit } else { 0 };
            Frame::ChannelOpen(ChannelOpen { channel, reliability, incarnation, credit })
        },
    );
    let challenge = (
        relay(),
        session(),
        any::<[u8; 8]>(),
        prop_oneof![Just(PathIntent::Probe), Just(PathIntent::Move), Just(PathIntent::Moved)],
    )
        .prop_map(|(relay, session, nonce, intent)| Frame::PathChallenge {
            relay,
            session,
            nonce,
            intent,
        });
    let plain = prop_oneof![
        Just(Frame::Ping),
        open,
        (channel(), incarnation())
            .prop_map(|(channel, incarnation)| Frame::ChannelClose { channel, incarnation }),
        (channel(), incarnation(), number()).prop_map(|(channel, incarnation, limit)| {
            Frame::Credit { channel, incarnation, limit }
        }),
        challenge,
        (relay(), any::<[u8; 8]>(), 0..1_u64 << 40).prop_map(|(relay, nonce, micros)| {
            let delay = AckDelay::from_duration(core::time::Duration::from_micros(micros));
            Frame::PathResponse { relay, nonce, delay }
        }),
        prop_oneof![Just(DisconnectReason::Application), Just(DisconnectReason::TooManyForgeries)]
            .prop_map(Frame::Disconnect),
        (1..40_usize).prop_map(|len| Frame::Padding { len }),
    ];
    let fragment = (any::<u16>(), 0..1_u64 << 40, 0..1_u64 << 40);
    let number = option::of(any::<u16>());
    let unreliable = (channel(), 0..4_u8, number, option::of(fragment), vec(any::<u8>(), 1..300));
    let unreliable = unreliable.prop_map(|(channel, incarnation_low, sequence, fragment, data)| {
        let fragment = fragment.map(|(number, offset, more)| {
            let total = offset + data.len() as u64 + more;
            Fragment { number, total, offset }
        });
        let sequence = sequence.map(|number| fragment.map_or(number, |f| f.number));
        OwnedFrame::Unreliable(channel, incarnation_low, sequence, fragment, data)
    });
    let order = prop_oneof![
        Just(RangeOrder::Ordered),
        Just(RangeOrder::AtMessage),
        Just(RangeOrder::WithinMessage),
    ];
    let offset = (order, any::<u32>(), 1..=4_usize).prop_map(|(order, offset, len)| {
        (order, Truncated::new(u64::from(offset), len.max(order.offset_len_min())))
    });
    let reliable = (channel(), 0..4_u8, offset, vec(any::<u8>(), 1..300)).prop_map(
        |(channel, incarnation_low, (order, offset), data)| {
            OwnedFrame::Reliable(channel, incarnation_low, order, offset, data)
        },
    );
    prop_oneof![
        plain.prop_map(OwnedFrame::Plain),
        vec(any::<u8>(), 0..200).prop_map(OwnedFrame::RouteUpdate),
        ack(),
        unreliable,
        reliable,
    ]
}

fn ack() -> impl Strategy<Value = OwnedFrame> {
    let delay = || any::<core::time::Duration>().prop_map(AckDelay::from_duration);
    (delay(), delay(), vec((0..500_u64, 2..500_u64), 1..=32)).prop_map(
        |(delay, host_delay, steps)| {
            let mut high = 39_999;
            let ranges = steps.into_iter().map(|(len, gap)| {
                let range = (PacketNumber(high - len), PacketNumber(high));
                high -= len + gap;
                range
            });
            OwnedFrame::Ack { delay, host_delay, ranges: ranges.collect() }
        },
    )
}

/// Bytes that are often a datagram.
fn datagram() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![1..=0x0b_u8, 0x40..=0x42_u8, 0x80..=0x87_u8];
    let flips = vec((any::<Index>(), any::<u8>()), 0..3);
    (first, vec(any::<u8>(), 280..500), any::<[bool; 3]>(), flips).prop_map(
        |(first, mut datagram, [whole, valid, zeros], flips)| {
            // What has one length only.
            let len = match first {
                0x01 => Hello::LEN,
                0x02 => CookieReply::LEN,
                0x04 => Bound::LEN,
                0x06 => Resumed::LEN,
                0x07 => Refused::LEN,
                0x09 => NotBound::LEN,
                0x0a | 0x0b => Probe::LEN,
                _ => datagram.len(),
            };
            let cut = usize::from(datagram[1]);
            datagram.truncate(if whole { len } else { cut });
            // Versions, suites and reasons stand there.
            for at in [1, 2, 8, 9].into_iter().filter(|_| valid) {
                if let Some(byte) = datagram.get_mut(at) {
                    *byte = 1;
                }
            }
            // The top bit of a PeerId.
            if let Some(byte) = datagram.get_mut(19) {
                *byte &= 0x7f;
            }
            // Some datagrams must be zero from there on.
            for byte in datagram.iter_mut().skip(if first == 1 { 10 } else { 9 }).filter(|_| zeros)
            {
                *byte = 0;
            }
            for (at, value) in flips.into_iter().filter(|_| !valid) {
                if !datagram.is_empty() {
                    *at.get_mut(&mut datagram) = value;
                }
            }
            if let Some(byte) = datagram.first_mut() {
                *byte = first;
            }
            datagram
        },
    )
}

fn session() -> impl Strategy<Value = SessionId> {
    any::<[u8; 7]>().prop_map(SessionId::from_bytes)
}

fn suite() -> impl Strategy<Value = Suite> {
    prop_oneof![Just(Suite::AesGcm), Just(Suite::ChaChaPoly)]
}
