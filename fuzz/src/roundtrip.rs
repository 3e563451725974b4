//! Structured values: what is emitted parses to the same value, also where room is short.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use arbitrary::{Result, Unstructured};
use waylane_core::crypto::{Suite, Suites};
use waylane_core::directory::RelayEntry;
use waylane_core::id::{
    ApplicationId, ChannelId, ConnectionIndex, Incarnation, PacketNumber, PeerId, PublicKey,
    RelayId, Reliability, SessionId,
};
use waylane_core::invite::{Invite, InviteSecret};
use waylane_core::route::{Epoch, Route, RouteRelay};
use waylane_core::wire::cursor::{VARINT_MAX, varint_len};
use waylane_core::wire::data::DataHeader;
use waylane_core::wire::frame::{
    AckDelay, ChannelOpen, DisconnectReason, Fragment, Frame, PathIntent, RangeOrder,
    ReliableRange, UnreliableMessage, emit_ack,
};
use waylane_core::wire::handshake::{
    ChannelOpens, HandshakeParameters, Initiation, InitiationPayload, Instance, MacKeyedBy,
    Response, ResponsePayload, Stamp,
};
use waylane_core::wire::hop::{
    Alternatives, Bind, BindPayload, Bound, BoundPayload, Control, ControlMessage, CookieReply,
    DirectoryPage, Hello, NotBound, Probe, Refused, RefusedReason, Resume, Resumed, TICKET_LEN,
};
use waylane_core::wire::number::{self, Truncated};
use waylane_core::wire::{Full, Reader, Writer};

/// Makes values from `data` until it is used up.
///
/// # Panics
/// If a value does not come back.
pub fn run(data: &[u8]) {
    let mut data = Unstructured::new(data);
    while !data.is_empty() {
        if one(&mut data).is_err() {
            break;
        }
    }
}

fn one(u: &mut Unstructured<'_>) -> Result<()> {
    match u.int_in_range(0..=9_u8)? {
        0 => frames(u),
        1 => ranges_of_ack(u),
        2 => numbers(u),
        3 => headers(u),
        4 => hop_headers(u),
        5 => handshake_payloads(u),
        6 => hop_payloads(u),
        7 => routes_and_invites(u),
        8 => cursor(u),
        _ => data_room(u),
    }
}

/// A packet of frames, the last message without its length, in an output that may be too short.
fn frames(u: &mut Unstructured<'_>) -> Result<()> {
    let mut out = vec![0; u.int_in_range(0..=1472)?];
    let mut writer = Writer::new(&mut out);
    let mut written = Vec::new();
    for _ in 0..u.int_in_range(1..=8)? {
        let frame = frame(u)?;
        let last = u.ratio(1, 8)?;
        let before = writer.position();
        let emitted = match (&frame, last) {
            (Frame::Unreliable(message), true) => message.emit(&mut writer, true),
            (Frame::Reliable(range), true) => range.emit(&mut writer, true),
            (frame, _) => frame.emit(&mut writer),
        };
        if emitted.is_err() {
            assert_eq!(writer.position(), before, "what does not fit leaves nothing");
            continue;
        }
        let message = matches!(frame, Frame::Unreliable(_) | Frame::Reliable(_));
        let ends = if message { last } else { matches!(frame, Frame::Padding { .. }) };
        written.push(frame);
        if ends {
            break;
        }
    }
    let mut reader = Reader::new(writer.written());
    for frame in &written {
        assert_eq!(Frame::parse(&mut reader).as_ref(), Ok(frame));
    }
    assert!(reader.is_empty());
    Ok(())
}

fn frame<'a>(u: &mut Unstructured<'a>) -> Result<Frame<'a>> {
    Ok(match u.int_in_range(0..=10_u8)? {
        0 => Frame::Padding { len: u.int_in_range(1..=600)? },
        1 => Frame::Ping,
        2 => {
            let reliability = *u.choose(&[
                Reliability::Unreliable,
                Reliability::Reliable,
                Reliability::UnreliableSequenced,
                Reliability::ReliableUnordered,
            ])?;
            let credit = if reliability.is_reliable() { varint(u)? } else { 0 };
            Frame::ChannelOpen(ChannelOpen {
                channel: ChannelId(u.arbitrary()?),
                reliability,
                incarnation: Incarnation(u.arbitrary()?),
                credit,
            })
        }
        3 => Frame::ChannelClose {
            channel: ChannelId(u.arbitrary()?),
            incarnation: Incarnation(u.arbitrary()?),
        },
        4 => Frame::Credit {
            channel: ChannelId(u.arbitrary()?),
            incarnation: Incarnation(u.arbitrary()?),
            limit: varint(u)?,
        },
        5 => Frame::PathChallenge {
            relay: RelayId(u.arbitrary()?),
            session: session(u)?,
            nonce: u.arbitrary()?,
            intent: *u.choose(&[PathIntent::Probe, PathIntent::Move, PathIntent::Moved])?,
        },
        6 => Frame::PathResponse {
            relay: RelayId(u.arbitrary()?),
            nonce: u.arbitrary()?,
            delay: AckDelay::from_duration(Duration::from_micros(varint(u)?)),
        },
        7 => Frame::RouteUpdate { route: bytes(u, 0, 300)? },
        8 => Frame::Disconnect(*u.choose(&[
            DisconnectReason::Application,
            DisconnectReason::ShuttingDown,
            DisconnectReason::ProtocolError,
            DisconnectReason::TooManyForgeries,
        ])?),
        9 => Frame::Unreliable(unreliable(u)?),
        _ => Frame::Reliable(reliable(u)?),
    })
}

fn unreliable<'a>(u: &mut Unstructured<'a>) -> Result<UnreliableMessage<'a>> {
    let channel = ChannelId(u.arbitrary()?);
    let incarnation_low = u.int_in_range(0..=3)?;
    let sequence: Option<u16> = u.arbitrary()?;
    if u.arbitrary()? {
        let data = bytes(u, 0, 300)?;
        return Ok(UnreliableMessage { channel, incarnation_low, sequence, fragment: None, data });
    }
    let data = bytes(u, 1, 300)?;
    let total = u.int_in_range(data.len() as u64..=VARINT_MAX)?;
    let offset = u.int_in_range(0..=total - data.len() as u64)?;
    let number = sequence.map_or_else(|| u.arbitrary(), Ok)?;
    let fragment = Some(Fragment { number, total, offset });
    Ok(UnreliableMessage { channel, incarnation_low, sequence, fragment, data })
}

fn reliable<'a>(u: &mut Unstructured<'a>) -> Result<ReliableRange<'a>> {
    let channel = ChannelId(u.arbitrary()?);
    let incarnation_low = u.int_in_range(0..=3)?;
    let order =
        *u.choose(&[RangeOrder::Ordered, RangeOrder::AtMessage, RangeOrder::WithinMessage])?;
    let offset = truncated(u)?;
    let offset = Truncated::new(offset.value(), offset.len().max(order.offset_len_min()));
    Ok(ReliableRange { channel, incarnation_low, order, offset, data: bytes(u, 1, 300)? })
}

/// Ranges, from the highest down, as many as fit.
fn ranges_of_ack(u: &mut Unstructured<'_>) -> Result<()> {
    let next = PacketNumber(u.int_in_range(1..=VARINT_MAX)?);
    // Within half the window of the 16 bits that travel.
    let high = next.0 - 1 - u.int_in_range(0..=(next.0 - 1).min(0x7ffe))?;
    let mut ranges = Vec::new();
    let mut top = Some(high);
    for _ in 0..u.int_in_range(1..=40)? {
        let Some(high) = top else { break };
        let low = high - u.int_in_range(0..=high.min(1 << 20))?;
        ranges.push((PacketNumber(low), PacketNumber(high)));
        top = low.checked_sub(2 + u.int_in_range(0..=1 << 16)?);
    }
    let delay = AckDelay::from_duration(Duration::from_micros(u.arbitrary()?));
    let host_delay = AckDelay::from_duration(Duration::from_micros(u.arbitrary()?));
    let mut out = vec![0; u.int_in_range(0..=400)?];
    let mut writer = Writer::new(&mut out);
    let Ok(fitting) = emit_ack(&mut writer, delay, host_delay, ranges.iter().copied()) else {
        assert_eq!(writer.position(), 0);
        return Ok(());
    };
    let mut reader = Reader::new(writer.written());
    let Ok(Frame::Ack(ack)) = Frame::parse(&mut reader) else { panic!("no Ack came back") };
    assert!(reader.is_empty());
    assert_eq!((ack.delay, ack.host_delay, ack.largest(next).0), (delay, host_delay, high));
    let back: Vec<_> = ack.ranges(next).map_while(core::result::Result::ok).collect();
    assert_eq!(back, ranges[..fitting]);
    Ok(())
}

/// What travels of a number is enough for a receiver that expects what the sender thinks it may.
fn numbers(u: &mut Unstructured<'_>) -> Result<()> {
    let number = u.int_in_range(0..=VARINT_MAX)?;
    let acked = number.checked_sub(u.int_in_range(1..=1 << 30)?);
    let len = number::encode_len(number, acked);
    let least = acked.map_or(0, |acked| acked + 1);
    if number - least < 1 << 31 {
        let expected = u.int_in_range(least..=number)?;
        assert_eq!(Truncated::new(number, len).expand(expected), number);
    }
    let low = number.saturating_sub(u.int_in_range(0..=1 << 30)?);
    let high = number.saturating_add(u.int_in_range(0..=1 << 30)?).min(VARINT_MAX);
    let len = number::encode_len_within(number, low, high);
    let expected = u.int_in_range(low..=high)?;
    assert_eq!(Truncated::new(number, len).expand(expected), number);
    for half in HALF_WINDOWS {
        (half - 1..=half + 1).for_each(|far| comes_back(number, far));
    }
    Ok(())
}

/// What is expected lies as far from the number as was said that it may.
fn comes_back(number: u64, far: u64) {
    let (low, high) = (number.saturating_sub(far), (number + far).min(VARINT_MAX));
    let ahead = Truncated::new(number, number::encode_len_within(number, low, number));
    assert_eq!(ahead.expand(low), number);
    let behind = Truncated::new(number, number::encode_len_within(number, number, high));
    assert_eq!(behind.expand(high), number);
    if let Some(acked) = number.checked_sub(far) {
        let sent = Truncated::new(number, number::encode_len(number, Some(acked)));
        assert_eq!(sent.expand(acked + 1), number);
    }
}

fn headers(u: &mut Unstructured<'_>) -> Result<()> {
    let mut out = [0; 160];
    let header = DataHeader {
        destination: session(u)?,
        key_phase: u.arbitrary()?,
        index: ConnectionIndex(u.arbitrary()?),
        number: truncated(u)?,
    };
    assert_eq!(header.emit(&mut out), Ok(header.sealed_offset()));
    assert_eq!(DataHeader::parse(&out), Ok(header));
    let header = Initiation {
        destination: session(u)?,
        keyed_by: *u.choose(&[MacKeyedBy::Pair, MacKeyedBy::Invite])?,
        suite: suite(u)?,
        sender_index: ConnectionIndex(u.arbitrary()?),
        sender: PeerId::new(u.int_in_range(1..=u64::MAX >> 1)?).expect("in the range of ids"),
        stamp: Stamp(u.arbitrary()?),
        mac: u.arbitrary()?,
    };
    assert_eq!(header.emit(&mut out), Ok(Initiation::NOISE_OFFSET));
    assert_eq!(Initiation::parse(&out), Ok(header));
    Initiation::put_mac(&mut out, [0xa5; 8]);
    assert_eq!(Initiation::parse(&out), Ok(Initiation { mac: [0xa5; 8], ..header }));
    let header = Response {
        destination: session(u)?,
        receiver_index: ConnectionIndex(u.arbitrary()?),
        sender_index: ConnectionIndex(u.arbitrary()?),
    };
    assert_eq!(header.emit(&mut out), Ok(Response::NOISE_OFFSET));
    assert_eq!(Response::parse(&out), Ok(header));
    Ok(())
}

fn hop_headers(u: &mut Unstructured<'_>) -> Result<()> {
    let mut out = [0; 300];
    let hello = Hello { nonce: u.arbitrary()? };
    whole(&mut out, |out| hello.emit(out), |bytes| assert_eq!(Hello::parse(bytes), Ok(hello)));
    let reply = CookieReply { nonce: u.arbitrary()?, cookie: u.arbitrary()? };
    whole(
        &mut out,
        |out| reply.emit(out),
        |bytes| {
            assert_eq!(CookieReply::parse(bytes), Ok(reply));
        },
    );
    let reason = *u.choose(&[
        RefusedReason::Version,
        RefusedReason::Suite,
        RefusedReason::Cookie,
        RefusedReason::Full,
        RefusedReason::Token,
        RefusedReason::Draining,
        RefusedReason::Ticket,
        RefusedReason::Malformed,
    ])?;
    let refused = Refused { echo: u.arbitrary()?, reason };
    whole(
        &mut out,
        |out| refused.emit(out),
        |bytes| {
            assert_eq!(Refused::parse(bytes), Ok(refused));
        },
    );
    let hint = NotBound { echo: u.arbitrary()?, cookie: u.arbitrary()? };
    whole(&mut out, |out| hint.emit(out), |bytes| assert_eq!(NotBound::parse(bytes), Ok(hint)));
    let probe = Probe { reply: u.arbitrary()?, nonce: u.arbitrary()? };
    whole(&mut out, |out| probe.emit(out), |bytes| assert_eq!(Probe::parse(bytes), Ok(probe)));

    let bind = Bind { suite: suite(u)?, cookie: u.arbitrary()? };
    assert_eq!(bind.emit(&mut out), Ok(Bind::NOISE_OFFSET));
    assert_eq!(Bind::parse(&out), Ok(bind));
    let nonce = u.arbitrary()?;
    let ticket = [u.arbitrary()?; TICKET_LEN];
    let resume = Resume { suite: suite(u)?, cookie: u.arbitrary()?, nonce, ticket };
    assert_eq!(resume.emit(&mut out), Ok(Resume::PAYLOAD_OFFSET));
    assert_eq!(Resume::parse(&out), Ok(resume));
    let bound = Bound { echo: u.arbitrary()? };
    assert_eq!(bound.emit(&mut out), Ok(Bound::NOISE_OFFSET));
    assert_eq!(Bound::parse(&out[..Bound::LEN]), Ok(bound));
    let resumed = Resumed { echo: u.arbitrary()?, nonce };
    assert_eq!(resumed.emit(&mut out), Ok(Resumed::PAYLOAD_OFFSET));
    assert_eq!(Resumed::parse(&out[..Resumed::LEN]), Ok(resumed));
    let control = Control { session: session(u)?, counter: u.arbitrary()? };
    assert_eq!(control.emit(&mut out), Ok(Control::PAYLOAD_OFFSET));
    assert_eq!(Control::parse(&out), Ok(control));
    Ok(())
}

fn handshake_payloads(u: &mut Unstructured<'_>) -> Result<()> {
    let instance = Instance(u.arbitrary()?);
    let parameters = HandshakeParameters {
        reliable_message_len_max: varint(u)?,
        unreliable_message_len_max: varint(u)?,
        idle_timeout_ms: varint(u)?,
    };
    let mut out = [0; 500];
    let session = session(u)?;
    let route = if u.arbitrary()? { Some(bytes(u, 0, 300)?) } else { None };
    let mut frames = [0; 100];
    let mut writer = Writer::new(&mut frames);
    let mut listed = Vec::new();
    for _ in 0..u.int_in_range(0..=8)? {
        let open = ChannelOpen {
            channel: ChannelId(u.arbitrary()?),
            reliability: Reliability::Reliable,
            incarnation: Incarnation(u.arbitrary()?),
            credit: varint(u)?,
        };
        Frame::ChannelOpen(open).emit(&mut writer).expect("room");
        listed.push(open);
    }
    let opens = ChannelOpens::parse(writer.written()).expect("nothing else");
    assert_eq!(opens.iter().collect::<Vec<_>>(), listed);
    let payload = InitiationPayload { session, instance, parameters, route, opens };
    whole(
        &mut out,
        |out| payload.emit(out),
        |bytes| {
            assert_eq!(InitiationPayload::parse(bytes), Ok(payload));
        },
    );
    let payload = ResponsePayload { instance, parameters, opens };
    let mut writer = Writer::new(&mut out);
    payload.emit(&mut writer).expect("room");
    assert_eq!(ResponsePayload::parse(writer.written()), Ok(payload));
    Ok(())
}

fn hop_payloads(u: &mut Unstructured<'_>) -> Result<()> {
    let mut out = [0; ControlMessage::LEN_MAX];
    let (wanted, another_slot) = (session(u)?, u.arbitrary()?);
    let payload = BindPayload { wanted, another_slot, token: bytes(u, 0, 300)? };
    let mut padded = vec![0xff; payload.padded_len(Bind::PAYLOAD_OFFSET)];
    payload.emit(&mut padded).expect("as long as it says");
    assert_eq!(BindPayload::parse(&padded), Ok(payload));
    let ip: IpAddr = if u.arbitrary()? {
        u.arbitrary::<[u8; 4]>()?.into()
    } else {
        u.arbitrary::<[u8; 16]>()?.into()
    };
    let payload = BoundPayload {
        session: session(u)?,
        lifetime_s: u.arbitrary()?,
        keep_alive_s: u.arbitrary()?,
        address: SocketAddr::new(ip, u.arbitrary()?),
        token_left_s: Some(u.arbitrary()?).filter(|left| *left != u32::MAX),
        ticket: [u.arbitrary()?; TICKET_LEN],
    };
    whole(
        &mut out,
        |out| payload.emit(out),
        |bytes| {
            assert_eq!(BoundPayload::parse(bytes), Ok(payload));
        },
    );
    let message = match u.int_in_range(0..=6_u8)? {
        0 => ControlMessage::KeepAlive { time: u.arbitrary()? },
        1 => ControlMessage::KeepAliveAck { time: u.arbitrary()? },
        2 => {
            let mut alternatives = Alternatives::NONE;
            for _ in 0..u.int_in_range(0..=Alternatives::MAX)? {
                assert_eq!(alternatives.push(RelayId(u.arbitrary()?)), Ok(()));
            }
            ControlMessage::Drain { left_s: u.arbitrary()?, alternatives }
        }
        3 => ControlMessage::Unbind,
        4 => ControlMessage::SessionReplaced,
        5 => ControlMessage::Expired,
        _ => ControlMessage::DirectoryAsk {
            sequence: u.arbitrary()?,
            offset: u.arbitrary()?,
            room: u.int_in_range(0..=DirectoryPage::BYTES_MAX as u16)?,
        },
    };
    whole(
        &mut out,
        |out| message.emit(out),
        |bytes| {
            assert_eq!(ControlMessage::parse(bytes), Ok(message));
        },
    );
    let bytes = &[7; DirectoryPage::BYTES_MAX][..u.int_in_range(1..=DirectoryPage::BYTES_MAX)?];
    let list_len = u.int_in_range(bytes.len() as u16..=u16::MAX)?;
    let page = DirectoryPage {
        sequence: u.int_in_range(1..=u64::MAX)?,
        list_len,
        offset: u.int_in_range(0..=list_len - bytes.len() as u16)?,
        bytes,
    };
    whole(
        &mut out,
        |out| page.emit(out),
        |bytes| {
            assert_eq!(DirectoryPage::parse(bytes), Ok(page));
        },
    );
    Ok(())
}

fn routes_and_invites(u: &mut Unstructured<'_>) -> Result<()> {
    let mut route = Route::new(
        PublicKey(u.arbitrary()?),
        ApplicationId(u.arbitrary()?),
        Suites(u.arbitrary()?),
        Epoch::new(u.int_in_range(0..=Epoch::MAX.get())?).expect("in the range of epochs"),
    );
    for _ in 0..u.int_in_range(0..=Route::RELAYS_MAX)? {
        let relay = RouteRelay { relay: RelayId(u.arbitrary()?), session: session(u)? };
        let known = route.relays().iter().any(|known| known.relay == relay.relay);
        assert_eq!(route.push_relay(relay).is_ok(), !known && !relay.session.is_none());
    }
    let mut out = [0; Invite::LEN_MAX];
    whole(
        &mut out,
        |out| route.encode(out),
        |bytes| {
            assert_eq!(Route::decode(bytes).as_ref(), Ok(&route));
        },
    );
    assert_eq!(route.to_string().parse().as_ref(), Ok(&route));

    let mut entries = Vec::new();
    for _ in 0..u.int_in_range(1..=Invite::ENTRIES_MAX)? {
        if let Some(entry) = entry(u)? {
            whole(
                &mut out,
                |out| entry.encode(out),
                |bytes| {
                    assert_eq!(RelayEntry::decode(bytes).as_ref(), Ok(&entry));
                },
            );
            assert_eq!(entry.to_string().parse().as_ref(), Ok(&entry));
            entries.push(entry);
        }
    }
    let Ok(invite) = Invite::new(&entries, InviteSecret(u.arbitrary()?), route) else {
        return Ok(());
    };
    let same = |back: Invite| {
        assert_eq!(back.entries(), invite.entries());
        assert_eq!(back.secret().0, invite.secret().0);
        assert_eq!(back.route(), invite.route());
    };
    whole(
        &mut out,
        |out| invite.encode(out),
        |bytes| {
            same(Invite::decode(bytes).expect("comes back"));
        },
    );
    same(invite.to_string().parse().expect("comes back"));
    Ok(())
}

fn entry(u: &mut Unstructured<'_>) -> Result<Option<RelayEntry>> {
    let key = PublicKey(u.arbitrary()?);
    let mut addresses = Vec::new();
    for _ in 0..u.int_in_range(1..=RelayEntry::ADDRESSES_MAX)? {
        let ip: IpAddr = if u.arbitrary()? {
            u.arbitrary::<[u8; 4]>()?.into()
        } else {
            u.arbitrary::<[u8; 16]>()?.into()
        };
        addresses.push(SocketAddr::new(ip, u.arbitrary()?));
    }
    let region = core::str::from_utf8(bytes(u, 0, 40)?).unwrap_or("eu-west_1.a");
    Ok(RelayEntry::new(key, &addresses, region).ok())
}

/// Plain values behind each other; what does not fit leaves the writer where it was.
fn cursor(u: &mut Unstructured<'_>) -> Result<()> {
    let mut out = vec![0; u.int_in_range(0..=64)?];
    let mut writer = Writer::new(&mut out);
    let mut written = Vec::new();
    for _ in 0..u.int_in_range(1..=12)? {
        let value = varint(u)?;
        let before = writer.position();
        match writer.varint(value) {
            Ok(()) => {
                assert_eq!(writer.position(), before + varint_len(value));
                written.push(value);
            }
            Err(Full) => assert_eq!(writer.position(), before),
        }
    }
    let mut reader = Reader::new(writer.written());
    for value in written {
        assert_eq!(reader.varint(), Ok(value));
    }
    assert_eq!(reader.finish(), Ok(()));
    Ok(())
}

/// `data_room` is exact: that much fits and no more.
fn data_room(u: &mut Unstructured<'_>) -> Result<()> {
    let mut out = vec![0; u.int_in_range(0..=1472_usize)?];
    let (room, last) = (out.len(), u.arbitrary()?);
    let data = vec![7; room + 1];
    let message = unreliable(u)?;
    exact(message.data_room(room, last), |len| {
        let message = UnreliableMessage { data: &data[..len], ..message };
        message.emit(&mut Writer::new(&mut out), last).is_ok()
    });
    let range = reliable(u)?;
    exact(range.data_room(room, last), |len| {
        let range = ReliableRange { data: &data[..len], ..range };
        range.emit(&mut Writer::new(&mut out), last).is_ok()
    });
    Ok(())
}

fn exact(most: Option<usize>, mut emits: impl FnMut(usize) -> bool) {
    assert!(most.is_none_or(&mut emits));
    assert!(!emits(most.map_or(0, |most| most + 1)));
}

/// What `emit` writes is given to `check`; in any less room it does not fit.
fn whole(
    out: &mut [u8],
    emit: impl Fn(&mut [u8]) -> core::result::Result<usize, Full>,
    check: impl Fn(&[u8]),
) {
    let len = emit(out).expect("room");
    check(&out[..len]);
    let mut short = vec![0; len - 1];
    assert_eq!(emit(&mut short), Err(Full));
}

fn session(u: &mut Unstructured<'_>) -> Result<SessionId> {
    Ok(SessionId::new(u.arbitrary()?, u.arbitrary()?))
}

fn suite(u: &mut Unstructured<'_>) -> Result<Suite> {
    Ok(*u.choose(&[Suite::AesGcm, Suite::ChaChaPoly])?)
}

fn truncated(u: &mut Unstructured<'_>) -> Result<Truncated> {
    Ok(Truncated::new(u.arbitrary()?, u.int_in_range(1..=4)?))
}

/// Of every length alike.
fn varint(u: &mut Unstructured<'_>) -> Result<u64> {
    let bits = u.int_in_range(0..=62_u32)?;
    Ok(u.arbitrary::<u64>()? & ((1 << bits) - 1))
}

fn bytes<'a>(u: &mut Unstructured<'a>, least: usize, most: usize) -> Result<&'a [u8]> {
    let len = u.int_in_range(least..=most)?;
    // An input that ends early gives fewer bytes, but no empty ones where there must be some.
    u.bytes(len.min(u.len()).max(least))
}

/// Half of what one, two and three bytes can tell apart.
const HALF_WINDOWS: [u64; 3] = [1 << 7, 1 << 15, 1 << 23];
