//! Inputs to begin with: one of each thing a parser reads, and scripts that reach deep states.

use waylane_core::crypto::{Suite, Suites};
use waylane_core::directory::RelayEntry;
use waylane_core::fleet::SignedDirectory;
use waylane_core::id::{
    ApplicationId, ChannelId, ConnectionIndex, Incarnation, PacketNumber, PeerId, PublicKey,
    RelayId, Reliability, SessionId,
};
use waylane_core::invite::{Invite, InviteSecret};
use waylane_core::route::{Epoch, Route, RouteRelay};
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
use waylane_core::wire::number::Truncated;
use waylane_core::wire::{Full, Writer};
use waylane_crypto::{Random as _, Seeded};

/// A name and an input.
pub type Seed = (String, Vec<u8>);

/// The seeds of every target.
#[must_use]
pub fn all() -> Vec<(&'static str, Vec<Seed>)> {
    vec![
        ("endpoint_ops", noise(24, 200)),
        ("handshake", handshake()),
        ("hostile_peer", noise(24, 300)),
        ("packet_parse", packet_parse()),
        ("relay_ops", relay_ops()),
        ("roundtrip", noise(24, 400)),
    ]
}

/// Somebody with an invite introduces himself to a player: in his own name, in that of the player's
/// friend, and in the player's.
fn handshake() -> Vec<Seed> {
    let mut seeds = noise(24, 300);
    for (name, sender) in [("knock", 0), ("knock-as-friend", 2), ("knock-as-oneself", 3)] {
        let (attacks, invited, introduction, index, stamp) = (1, 1, 6, 7, 1);
        let (own_route, epoch, session, parameters, relay) = (1, 1, 3, [1, 200, 200], 0);
        let first = [attacks, invited, introduction, sender, index, stamp];
        let payload = [own_route, epoch, session];
        let bytes = [&first[..], &payload, &parameters, &[relay]].concat();
        seeds.push((name.to_owned(), bytes));
    }
    seeds
}

/// Among them relays that ask for tokens, and each fault that a token can have.
fn relay_ops() -> Vec<Seed> {
    let mut seeds = noise(24, 300);
    for (name, mut bytes) in noise(12, 300) {
        bytes[0] = 4 | bytes[0] & 3;
        seeds.push((format!("tokens-{name}"), bytes));
    }
    let tokens = 6;
    let [show, join, resume, keep_alive, wait] = [15, 13, 5, 7, 23];
    let one = 32;
    for fault in 0..=7 {
        // Peer 0 has a good one throughout, and peer 1 another one.
        let bytes =
            [tokens, join, show | one, 1, fault, join | one, resume | one, 0, keep_alive | one, 1];
        seeds.push((format!("tokens-fault-{fault}"), bytes.to_vec()));
    }
    for (name, how) in [("600-s", 0), ("5-s", 1), ("70-s", 2), ("no-time", 3), ("low-rate", 64)] {
        let mut bytes = vec![tokens, join, show | one, how, 0, join | one];
        // Nine seconds, eight times, kept alive in between; then with its ticket.
        bytes.extend([wait, 3, keep_alive, 1, keep_alive | one, 1, 31].repeat(8));
        bytes.extend([resume | one, 0, keep_alive | one, 1]);
        seeds.push((format!("tokens-{name}"), bytes));
    }
    seeds
}

fn packet_parse() -> Vec<Seed> {
    let mut seeds = Vec::new();
    let mut add = |name: &str, bytes: Vec<u8>| seeds.push((name.to_owned(), bytes));
    datagrams(&mut add);
    packets(&mut add);
    payloads(&mut add);
    texts(&mut add);
    seeds
}

fn datagrams(add: &mut impl FnMut(&str, Vec<u8>)) {
    let (session, suite, cookie) = (SESSION, Suite::ChaChaPoly, [3; 16]);
    add("hello", emitted(40, |out| Hello { nonce: [1; 8] }.emit(out)));
    add("cookie", emitted(25, |out| CookieReply { nonce: [1; 8], cookie }.emit(out)));
    add("bind", emitted(280, |out| Bind { suite: Suite::AesGcm, cookie }.emit(out)));
    add("bound", emitted(Bound::LEN, |out| Bound { echo: [4; 8] }.emit(out)));
    let resume = Resume { suite, cookie, nonce: [5; 16], ticket: [6; TICKET_LEN] };
    add("resume", emitted(280, |out| resume.emit(out)));
    let resumed = Resumed { echo: [5; 8], nonce: [7; 16] };
    add("resumed", emitted(Resumed::LEN, |out| resumed.emit(out)));
    let refused = Refused { echo: [5; 8], reason: RefusedReason::Ticket };
    add("refused", emitted(Refused::LEN, |out| refused.emit(out)));
    add("control", emitted(33, |out| Control { session, counter: 9 }.emit(out)));
    add("not-bound", emitted(NotBound::LEN, |out| NotBound { echo: [8; 8], cookie }.emit(out)));
    add("probe", emitted(32, |out| Probe { reply: false, nonce: [9; 8] }.emit(out)));
    add("probe-reply", emitted(32, |out| Probe { reply: true, nonce: [9; 8] }.emit(out)));
    let mut initiation = Initiation {
        destination: session,
        keyed_by: MacKeyedBy::Pair,
        suite,
        sender_index: ConnectionIndex(4),
        sender: PeerId::new(77).expect("a peer's number"),
        stamp: Stamp(1_700_000_000_000_000),
        mac: [2; 8],
    };
    add("initiation", emitted(220, |out| initiation.emit(out)));
    initiation.keyed_by = MacKeyedBy::Invite;
    add("invite-initiation", emitted(220, |out| initiation.emit(out)));
    let (receiver_index, sender_index) = (ConnectionIndex(4), ConnectionIndex(5));
    let response = Response { destination: session, receiver_index, sender_index };
    add("response", emitted(100, |out| response.emit(out)));
    for len in 1..=Truncated::LEN_MAX {
        let number = Truncated::new(0x0102_0304, len);
        let header =
            DataHeader { destination: session, key_phase: len > 2, index: receiver_index, number };
        add(&format!("data-{len}"), emitted(80, |out| header.emit(out)));
    }
}

fn packets(add: &mut impl FnMut(&str, Vec<u8>)) {
    let (channel, incarnation) = (ChannelId(1), Incarnation(2));
    let open =
        ChannelOpen { channel, reliability: Reliability::Reliable, incarnation, credit: 1 << 16 };
    let relay = RelayId(0x0807_0605_0403_0201);
    let mut route = [0; Route::LEN_MAX];
    let route_len = self::route(2).encode(&mut route).expect("room");
    let frames = [
        Frame::Ping,
        Frame::ChannelOpen(open),
        Frame::ChannelClose { channel, incarnation },
        Frame::Credit { channel, incarnation, limit: 70_000 },
        Frame::PathChallenge { relay, session: SESSION, nonce: [1; 8], intent: PathIntent::Move },
        Frame::PathResponse { relay, nonce: [1; 8], delay: AckDelay::default() },
        Frame::RouteUpdate { route: &route[..route_len] },
        Frame::Disconnect(DisconnectReason::ShuttingDown),
    ];
    add("packet-protocol", packet(|writer| frames.iter().try_for_each(|frame| frame.emit(writer))));
    let ranges = [(90, 99), (70, 80), (3, 60)].map(|(a, b)| (PacketNumber(a), PacketNumber(b)));
    let acks = |writer: &mut Writer<'_>| {
        emit_ack(writer, AckDelay::default(), AckDelay::default(), ranges)?;
        emit_ack(writer, AckDelay::default(), AckDelay::default(), [ranges[2]])?;
        Frame::Padding { len: 9 }.emit(writer)
    };
    add("packet-acks", packet(acks));
    let (sequence, fragment) = (None, None);
    let whole =
        UnreliableMessage { channel, incarnation_low: 2, sequence, fragment, data: b"whole" };
    let fragment = Some(Fragment { number: 7, total: 3000, offset: 1400 });
    let part = UnreliableMessage { channel: ChannelId(0), fragment, data: b"part", ..whole };
    let sequence = Some(7);
    let newest = UnreliableMessage { sequence, ..whole };
    let newest_part = UnreliableMessage { sequence, ..part };
    let range = ReliableRange {
        channel: ChannelId(9),
        incarnation_low: 1,
        order: RangeOrder::Ordered,
        offset: Truncated::new(70_000, 3),
        data: b"\x05range",
    };
    let unordered = ReliableRange { order: RangeOrder::AtMessage, ..range };
    let rest = ReliableRange { order: RangeOrder::WithinMessage, data: b"rest", ..range };
    let messages = |last: bool| {
        packet(|writer| {
            whole.emit(writer, false)?;
            newest.emit(writer, false)?;
            newest_part.emit(writer, false)?;
            range.emit(writer, false)?;
            part.emit(writer, last)
        })
    };
    add("packet-messages", messages(false));
    add("packet-messages-last", messages(true));
    let unordered = |writer: &mut Writer<'_>| {
        let open = ChannelOpen { reliability: Reliability::ReliableUnordered, ..open };
        Frame::ChannelOpen(open).emit(writer)?;
        unordered.emit(writer, false)?;
        rest.emit(writer, true)
    };
    add("packet-unordered", packet(unordered));
}

fn payloads(add: &mut impl FnMut(&str, Vec<u8>)) {
    let parameters = HandshakeParameters {
        reliable_message_len_max: 1 << 18,
        unreliable_message_len_max: 1 << 16,
        idle_timeout_ms: 30_000,
    };
    let mut route = [0; Route::LEN_MAX];
    let len = self::route(1).encode(&mut route).expect("room");
    let instance = Instance(0x1234_5678);
    let route = Some(&route[..len]);
    let open = |reliability, channel, credit| {
        Frame::ChannelOpen(ChannelOpen {
            channel: ChannelId(channel),
            reliability,
            incarnation: Incarnation(0),
            credit,
        })
    };
    let opens = packet(|writer| {
        open(Reliability::Reliable, 0, 65_536).emit(writer)?;
        open(Reliability::Unreliable, 1, 0).emit(writer)
    });
    let opens = ChannelOpens::parse(&opens).expect("nothing else");
    let payload = InitiationPayload { session: SESSION, instance, parameters, route, opens };
    let payload = packet(|writer| {
        let mut out = [0; 300];
        let len = payload.emit(&mut out)?;
        writer.bytes(&out[..len])
    });
    add("payload-initiation", payload);
    add(
        "payload-response",
        packet(|writer| ResponsePayload { instance, parameters, opens }.emit(writer)),
    );
    let bind = BindPayload { wanted: SESSION, another_slot: true, token: b"token" };
    add("payload-bind", packet(|writer| bind.emit(writer.reserve(60)?)));
    let bound = BoundPayload {
        session: SESSION,
        lifetime_s: 60,
        keep_alive_s: 15,
        address: ([192, 0, 2, 1], 4000).into(),
        token_left_s: Some(600),
        ticket: [6; TICKET_LEN],
    };
    add("payload-bound", packet(|writer| bound.emit(writer.reserve(BoundPayload::LEN)?).map(drop)));
    let mut alternatives = Alternatives::NONE;
    let named = alternatives.push(RelayId(7));
    debug_assert_eq!(named, Ok(()));
    let message = ControlMessage::Drain { left_s: 30, alternatives };
    add("payload-control", packet(|writer| message.emit(writer.reserve(11)?).map(drop)));
    let ask = ControlMessage::DirectoryAsk { sequence: 5, offset: 9, room: 20 };
    add("payload-directory-ask", packet(|writer| ask.emit(writer.reserve(33)?).map(drop)));
    let page = DirectoryPage { sequence: 5, list_len: 300, offset: 9, bytes: &[1; 20] };
    add("payload-directory-page", packet(|writer| page.emit(writer.reserve(33)?).map(drop)));
}

fn texts(add: &mut impl FnMut(&str, Vec<u8>)) {
    let addresses =
        ["192.0.2.1:4433", "[2001:db8::1]:4433"].map(|a| a.parse().expect("an address"));
    let entry =
        |n| RelayEntry::new(PublicKey([n; 32]), &addresses, "eu-west").expect("a good entry");
    add("entry", packet(|writer| entry(1).encode(writer.reserve(67)?).map(drop)));
    add("entry-text", entry(1).to_string().into_bytes());
    add("route", packet(|writer| route(3).encode(writer.reserve(96)?).map(drop)));
    add("route-text", route(3).to_string().into_bytes());
    let invite = Invite::new(&[entry(1), entry(2)], InviteSecret([7; 16]), route(1)).expect("good");
    let mut binary = [0; Invite::LEN_MAX];
    let len = invite.encode(&mut binary).expect("room");
    add("invite", binary[..len].to_vec());
    add("invite-text", format!(" {invite}\n").into_bytes());
    let mut binary = [0; 512];
    let list = SignedDirectory::sign(5, &[entry(1), entry(2)], &mut binary, |_| [8; 64]);
    let list = list.expect("a good list");
    add("signed-list", list.as_bytes().to_vec());
    add("signed-list-text", format!("{list}\n").into_bytes());
}

/// `count` inputs of random bytes, up to `len_max` long.
fn noise(count: usize, len_max: usize) -> Vec<Seed> {
    let random = |n: usize| {
        let mut bytes = vec![0; len_max * (n + 1) / count];
        Seeded::new(n as u64).fill(&mut bytes);
        (format!("noise-{n:02}"), bytes)
    };
    (0..count).map(random).collect()
}

/// A datagram of `len` bytes that begins with a header.
fn emitted(len: usize, emit: impl FnOnce(&mut [u8]) -> Result<usize, Full>) -> Vec<u8> {
    let mut out = [0; 300];
    let written = emit(&mut out).expect("room");
    assert!(written <= len, "the header is no longer than the datagram");
    out[..len].to_vec()
}

fn packet(write: impl FnOnce(&mut Writer<'_>) -> Result<(), Full>) -> Vec<u8> {
    let mut out = [0; 1472];
    let mut writer = Writer::new(&mut out);
    write(&mut writer).expect("room");
    writer.written().to_vec()
}

fn route(relays: u32) -> Route {
    let epoch = Epoch::new(1_700_000_000_000).expect("48 bits");
    let mut route = Route::new(PublicKey([0xab; 32]), ApplicationId(1), Suites::ALL, epoch);
    for n in 1..=relays {
        let (relay, session) = (RelayId(u64::from(n)), SessionId::new(n, n));
        route.push_relay(RouteRelay { relay, session }).expect("each once");
    }
    route
}

const SESSION: SessionId = SessionId::new(0x0003_0201, 0x0706_0504);
