//! Every parser over arbitrary bytes: none panics, and what parses is emitted as the same bytes.

use waylane_core::crypto::{Suites, TAG_LEN};
use waylane_core::directory::RelayEntry;
use waylane_core::fleet::SignedDirectory;
use waylane_core::id::{ApplicationId, PacketNumber, PeerId};
use waylane_core::invite::Invite;
use waylane_core::route::Route;
use waylane_core::wire::base64url::{self, Base64};
use waylane_core::wire::data::DataHeader;
use waylane_core::wire::frame::{Ack, Frame, Frames};
use waylane_core::wire::handshake::{Initiation, InitiationPayload, Response, ResponsePayload};
use waylane_core::wire::hop::{
    BIND_DATAGRAM_LEN_MIN, Bind, BindPayload, Bound, BoundPayload, Control, ControlMessage,
    CookieReply, DirectoryPage, Hello, NotBound, Probe, Refused, Resume, Resumed, echo_of,
};
use waylane_core::wire::{DATAGRAM_LEN_MAX, Full, Kind, Reader, Writer};

/// Gives `data` to every parser.
///
/// # Panics
/// If something that parses is not emitted as the bytes it was parsed from.
pub fn run(data: &[u8]) {
    datagram(data);
    frames(data);
    payloads(data);
    routes(data);
    entries(data);
    invites(data);
    signed_lists(data);
    base64(data);
}

fn datagram(data: &[u8]) {
    let kind = Kind::of(data);
    let parsed = [
        check_header(data, Hello::parse(data).ok(), Hello::emit),
        check_header(data, CookieReply::parse(data).ok(), CookieReply::emit),
        check_header(data, Bind::parse(data).ok(), Bind::emit),
        check_header(data, Bound::parse(data).ok(), Bound::emit),
        check_header(data, Resume::parse(data).ok(), Resume::emit),
        check_header(data, Resumed::parse(data).ok(), Resumed::emit),
        check_header(data, Refused::parse(data).ok(), Refused::emit),
        check_header(data, Control::parse(data).ok(), Control::emit),
        check_header(data, NotBound::parse(data).ok(), NotBound::emit),
        check_header(data, Probe::parse(data).ok(), Probe::emit),
        check_header(data, Initiation::parse(data).ok(), Initiation::emit),
        check_header(data, Response::parse(data).ok(), Response::emit),
        check_header(data, DataHeader::parse(data).ok(), DataHeader::emit),
    ];
    let readings = parsed.iter().filter(|parsed| **parsed).count();
    assert!(readings <= 1, "a datagram is of one kind");
    if readings == 1 {
        let kind = kind.expect("what parses has a kind");
        assert!(data.len() <= DATAGRAM_LEN_MAX);
        let _ = kind.to_string();
        assert_eq!(kind.is_forwarded(), Kind::destination_of(data).is_ok());
    }
    sealed_parts(data);
    let _ = echo_of(data);
}

/// What the parsers promise about the sealed part: there is one, of at least its least length.
fn sealed_parts(data: &[u8]) {
    if let Ok(header) = DataHeader::parse(data) {
        assert!(data.len() > header.sealed_offset() + TAG_LEN);
        assert_eq!(header.associated_data().len(), 3 + header.number.len());
        let _ = header.to_string();
    }
    if let Ok(header) = Initiation::parse(data) {
        assert!(data.len() >= Initiation::PAYLOAD_OFFSET + TAG_LEN);
        let [before, after] = Initiation::mac_input(data).expect("long enough for a MAC");
        assert_eq!(before.len() + after.len() + 8 + 8, data.len());
        let _ = (header.prologue(ApplicationId(7)), header.to_string());
    }
    if let Ok(header) = Response::parse(data) {
        assert!(data.len() >= Response::PAYLOAD_OFFSET + TAG_LEN);
        let _ = header.to_string();
    }
    if Bind::parse(data).is_ok() || Resume::parse(data).is_ok() {
        assert!(data.len() >= BIND_DATAGRAM_LEN_MIN);
        assert!(echo_of(data).is_some());
    }
    if Bound::parse(data).is_ok() {
        assert_eq!(data.len(), Bound::LEN);
    }
    if Resumed::parse(data).is_ok() {
        assert_eq!(data.len(), Resumed::LEN);
    }
    if Control::parse(data).is_ok() {
        assert!(data.len() > Control::PAYLOAD_OFFSET + TAG_LEN);
    }
}

/// `data` as an opened packet.
fn frames(data: &[u8]) {
    let mut reader = Reader::new(data);
    let mut parsed = 0;
    while let Some(kind) = data.get(data.len() - reader.len()).copied() {
        let start = data.len() - reader.len();
        let Ok(frame) = Frame::parse(&mut reader) else { break };
        parsed += 1;
        let mut out = vec![0; data.len() + 8];
        let mut writer = Writer::new(&mut out);
        emit_as(&frame, kind, &mut writer).expect("room for what was there");
        assert_eq!(writer.written(), &data[start..data.len() - reader.len()], "{frame}");
        if let Frame::Ack(ack) = frame {
            acked(&ack, PacketNumber(parsed << 14));
            acked(&ack, PacketNumber(0));
            acked(&ack, PacketNumber(u64::MAX >> 2));
        }
        if let Frame::RouteUpdate { route } = frame {
            routes(route);
        }
        let _ = frame.is_ack_eliciting();
    }
    let walked = Frames::new(data).filter(Result::is_ok).count();
    assert_eq!(walked as u64, parsed, "the iterator sees the same frames");
}

/// As in the packet: whether a message frame has its length is not part of the frame.
fn emit_as(frame: &Frame<'_>, kind: u8, writer: &mut Writer<'_>) -> Result<(), Full> {
    let last = kind & 0b10_0000 == 0;
    if let Frame::Unreliable(message) = frame {
        message.emit(writer, last)
    } else if let Frame::Reliable(range) = frame {
        range.emit(writer, last)
    } else {
        frame.emit(writer)
    }
}

fn acked(ack: &Ack<'_>, next: PacketNumber) {
    let mut below = u64::MAX;
    let mut ranges = 0;
    for (low, high) in ack.ranges(next).map_while(Result::ok) {
        assert!(low <= high && high.0 < below, "ranges descend");
        below = low.0;
        ranges += 1;
    }
    assert!(ranges <= Ack::RANGES_MAX);
}

/// `data` as the opened part of each datagram that has one.
fn payloads(data: &[u8]) {
    let mut out = vec![0xff; data.len() + 8];
    if let Ok(payload) = InitiationPayload::parse(data) {
        check_whole(data, payload.emit(&mut out), &out);
        let _ = payload.opens.iter().count();
    }
    if let Ok(payload) = ResponsePayload::parse(data) {
        let mut writer = Writer::new(&mut out);
        payload.emit(&mut writer).expect("room for what was there");
        assert_eq!(writer.written(), data);
        let _ = payload.opens.iter().count();
    }
    if let Ok(payload) = BindPayload::parse(data) {
        let mut out = vec![0xff; data.len()];
        payload.emit(&mut out).expect("room for what was there");
        assert_eq!(out, data);
    }
    if let Ok(payload) = BoundPayload::parse(data) {
        check_whole(data, payload.emit(&mut out), &out);
    }
    if let Ok(message) = ControlMessage::parse(data) {
        check_whole(data, message.emit(&mut out), &out);
        let _ = message.to_string();
    }
    if let Ok(page) = DirectoryPage::parse(data) {
        check_whole(data, page.emit(&mut out), &out);
        let _ = page.to_string();
    }
}

fn routes(data: &[u8]) {
    match Route::decode(data) {
        Ok(route) => {
            let mut out = [0; Route::LEN_MAX];
            let len = route.encode(&mut out).expect("no route is longer");
            assert_eq!(len, route.encoded_len());
            check_forms(data, &out[..len], &route.to_string());
            assert_eq!(Route::decode(&out[..len]), Ok(route.clone()));
            let peer = PeerId::new(1).expect("a peer's number");
            let _ = route.check(peer, &[0; 32], ApplicationId(0), Suites::ALL);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn entries(data: &[u8]) {
    if let Ok(entry) = RelayEntry::decode(data) {
        let mut out = [0; RelayEntry::LEN_MAX];
        check_whole(data, entry.encode(&mut out), &out);
        assert_eq!(entry.to_string().parse(), Ok(entry));
    }
    let Ok(text) = core::str::from_utf8(data) else { return };
    match text.parse::<RelayEntry>() {
        // An address may be written in several ways; the entry's own text is one of them.
        Ok(entry) => {
            let mut out = [0; RelayEntry::LEN_MAX];
            let len = entry.encode(&mut out).expect("no entry is longer");
            assert_eq!(RelayEntry::decode(&out[..len]).as_ref(), Ok(&entry));
            assert_eq!(entry.to_string().parse(), Ok(entry));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn signed_lists(data: &[u8]) {
    let mut binary = vec![0; SignedDirectory::LEN_MAX];
    match SignedDirectory::parse(data) {
        Ok(list) => {
            let entries: Vec<_> = list.entries().collect();
            assert_eq!(entries.len(), list.len());
            let signature = *data.last_chunk().expect("a list ends with its signature");
            let again = SignedDirectory::sign(list.sequence(), &entries, &mut binary, |message| {
                assert_eq!(message, &data[..data.len() - 64]);
                signature
            });
            assert_eq!(again.map(|list| list.as_bytes().to_vec()).as_deref(), Ok(data));
            let text = list.to_string();
            assert!(SignedDirectory::is_text(&text));
            let len = SignedDirectory::to_binary(text.as_bytes(), &mut binary);
            assert_eq!(len.map(|len| &binary[..len]), Ok(data));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    let _ = SignedDirectory::to_binary(data, &mut binary);
}

fn invites(data: &[u8]) {
    match Invite::decode(data) {
        Ok(invite) => {
            let mut out = [0; Invite::LEN_MAX];
            let len = invite.encode(&mut out).expect("no invite is longer");
            check_forms(data, &out[..len], &invite.to_string());
            assert!(!invite.entries().is_empty());
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn base64(data: &[u8]) {
    let mut out = vec![0; data.len()];
    if let Ok(len) = base64url::decode(data, &mut out) {
        assert_eq!(Base64(&out[..len]).to_string().as_bytes(), data);
        assert_eq!(base64url::encoded_len(len), data.len());
    }
}

/// Whether the header parsed; if so it is emitted as the datagram's first bytes.
fn check_header<T>(
    data: &[u8],
    header: Option<T>,
    emit: fn(&T, &mut [u8]) -> Result<usize, Full>,
) -> bool {
    let Some(header) = header else { return false };
    let mut out = [0; DATAGRAM_LEN_MAX];
    let len = emit(&header, &mut out).expect("no header is longer");
    assert_eq!(out[..len], data[..len]);
    true
}

fn check_whole(data: &[u8], emitted: Result<usize, Full>, out: &[u8]) {
    let len = emitted.expect("room for what was there");
    assert_eq!(&out[..len], data);
}

/// `data` was one of the two forms: it is emitted as that.
fn check_forms(data: &[u8], binary: &[u8], text: &str) {
    if data.first() == binary.first() {
        assert_eq!(data, binary);
    } else {
        assert_eq!(data.trim_ascii(), text.as_bytes());
    }
}
