//! Every parser on bytes of every kind, and what parses written into buffers of every length.

use core::fmt::{Debug, Display};

use waylane_core::directory::RelayEntry;
use waylane_core::id::{ApplicationId, ConnectionIndex, PacketNumber, PeerId, SessionId};
use waylane_core::invite::Invite;
use waylane_core::noise::MESSAGE_1_OVERHEAD;
use waylane_core::route::Route;
use waylane_core::wire::cursor::{Full, Reader, VARINT_MAX, Writer, room_after_length, varint_len};
use waylane_core::wire::data::DataHeader;
use waylane_core::wire::frame::{AckDelay, Frame, Frames, ReliableRange, emit_ack};
use waylane_core::wire::handshake::{Initiation, InitiationPayload, Response, ResponsePayload};
use waylane_core::wire::number::{self, Truncated};
use waylane_core::wire::{DATAGRAM_LEN_MAX, Kind, base64url, hop};

use super::{Dice, ignore};

/// What became of a storm's bytes.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Read {
    pub(crate) taken: u64,
    pub(crate) refused: u64,
}

/// One datagram, one plaintext and one handed-over word, each read as everything it could be.
pub(crate) fn read_anything(dice: &Dice, read: &mut Read) {
    let bytes = datagram(dice);
    datagrams(dice, read, &bytes);
    let bytes = plaintext(dice);
    plaintexts(dice, read, &bytes);
    words(dice, read);
    cursors(dice);
    numbers(dice);
}

fn datagrams(dice: &Dice, read: &mut Read, bytes: &[u8]) {
    let _ = (Kind::of(bytes), Kind::destination_of(bytes), hop::echo_of(bytes));
    let _ = Initiation::mac_input(bytes);
    Initiation::put_mac(&mut bytes.to_vec(), [7; 8]);
    each(dice, read, DataHeader::parse(bytes), DataHeader::emit);
    each(dice, read, Initiation::parse(bytes), Initiation::emit);
    each(dice, read, Response::parse(bytes), Response::emit);
    each(dice, read, hop::Hello::parse(bytes), hop::Hello::emit);
    each(dice, read, hop::CookieReply::parse(bytes), hop::CookieReply::emit);
    each(dice, read, hop::Refused::parse(bytes), hop::Refused::emit);
    each(dice, read, hop::NotBound::parse(bytes), hop::NotBound::emit);
    each(dice, read, hop::Probe::parse(bytes), hop::Probe::emit);
    each(dice, read, hop::Control::parse(bytes), hop::Control::emit);
    each(dice, read, hop::Bind::parse(bytes), hop::Bind::emit);
    each(dice, read, hop::Bound::parse(bytes), hop::Bound::emit);
    each(dice, read, hop::Resume::parse(bytes), hop::Resume::emit);
    each(dice, read, hop::Resumed::parse(bytes), hop::Resumed::emit);
    if let Ok(header) = DataHeader::parse(bytes) {
        assert!(header.sealed_offset() < bytes.len() && header.associated_data().len() <= 7);
    }
    if let Ok(header) = Initiation::parse(bytes) {
        ignore(header.prologue(ApplicationId(dice.extreme())));
    }
}

fn plaintexts(dice: &Dice, read: &mut Read, bytes: &[u8]) {
    each(dice, read, hop::ControlMessage::parse(bytes), hop::ControlMessage::emit);
    each(dice, read, hop::DirectoryPage::parse(bytes), hop::DirectoryPage::emit);
    each(dice, read, InitiationPayload::parse(bytes).map(Shown), |payload, out| {
        payload.0.emit(out)
    });
    each(dice, read, hop::BoundPayload::parse(bytes).map(Shown), |payload, out| {
        payload.0.emit(out)
    });
    each(dice, read, ResponsePayload::parse(bytes).map(Shown), |payload, out| {
        let mut writer = Writer::new(out);
        payload.0.emit(&mut writer).map(|()| writer.position())
    });
    if let Ok(payload) = hop::BindPayload::parse(bytes) {
        let len = payload.padded_len(dice.extreme() as usize);
        assert!(len >= 8 + payload.token.len());
        for len in [0, len - 1, len] {
            ignore(payload.emit(&mut vec![1; len]));
        }
    }
    for frame in Frames::new(bytes) {
        each(dice, read, frame, |frame, out| {
            let mut writer = Writer::new(out);
            let emitted = frame.emit(&mut writer);
            assert!(emitted.is_ok() || writer.position() == 0, "half a frame");
            emitted.map(|()| writer.position())
        });
        if let Ok(frame) = frame {
            ask(dice, &frame);
        }
    }
    let ranges: Vec<_> = (0..dice.below(40))
        .map(|_| (PacketNumber(dice.extreme() >> 2), PacketNumber(dice.extreme() >> 2)))
        .collect();
    let delay = AckDelay::from_duration(core::time::Duration::from_micros(dice.extreme()));
    let mut out = vec![0; dice.below(200) as usize];
    if let Ok(told) = emit_ack(&mut Writer::new(&mut out), delay, delay, ranges.iter().copied()) {
        assert!(told <= ranges.len());
    }
}

/// What can be asked of a frame besides its bytes.
fn ask(dice: &Dice, frame: &Frame<'_>) {
    let (len, last) = (dice.extreme() as usize, dice.below(2) == 0);
    let mut out = [0; 64];
    if let Frame::Ack(ack) = frame {
        let next = PacketNumber(dice.extreme());
        let _ = (ack.largest(next), ack.delay.duration());
        assert!(ack.ranges(next).count() <= 32);
    }
    let data_len = len.min(VARINT_MAX as usize);
    if let Frame::Unreliable(message) = frame {
        let _ = (message.overhead(len, last), message.data_room(len, last));
        ignore(message.emit_head(&mut Writer::new(&mut out), data_len, last));
    }
    if let Frame::Reliable(range) = frame {
        let offset = Truncated::new(dice.extreme(), len.max(range.order.offset_len_min()));
        let range = ReliableRange { offset, ..*range };
        let _ = (range.overhead(len, last), range.data_room(len, last));
        ignore(range.emit_head(&mut Writer::new(&mut out), data_len, last));
    }
}

/// Routes, invites and directory entries, as bytes and as text.
fn words(dice: &Dice, read: &mut Read) {
    let longest = dice.pick([0, 16, 64, 400]);
    let mut bytes = dice.bytes(longest);
    match dice.below(4) {
        // A route's format, versions, suites and number of relays.
        0 => {
            bytes.resize(63 + 15 * dice.below(9) as usize, 5);
            bytes[..3].copy_from_slice(&[1, 1, 1]);
            bytes[58] = dice.below(10) as u8;
        }
        // An invite's format, and a number of entries.
        1 if bytes.len() > 40 => {
            bytes[..2].copy_from_slice(&[1, dice.below(3) as u8]);
            bytes[34..36].copy_from_slice(&[1, 4]);
        }
        // An entry of a few addresses.
        2 if bytes.len() > 40 => bytes[32..34].copy_from_slice(&[dice.below(5) as u8, 4]),
        _ => {}
    }
    each(dice, read, Route::decode(&bytes), Route::encode);
    each(dice, read, Invite::decode(&bytes).map(Shown), |invite, out| invite.0.encode(out));
    each(dice, read, RelayEntry::decode(&bytes), RelayEntry::encode);
    let text = base64url::Base64(&bytes).to_string();
    assert_eq!(base64url::encoded_len(bytes.len()), text.len());
    ignore(base64url::encoded_len(dice.extreme() as usize));
    let mut out = vec![0; dice.below(200) as usize];
    assert_eq!(base64url::decode(text.as_bytes(), &mut out).is_ok(), bytes.len() <= out.len());
    ignore(base64url::decode(&bytes, &mut out));
    let mut text: String = text.chars().collect();
    if dice.below(2) == 0 {
        let at = dice.below(text.len() as u64 + 1) as usize;
        text.insert(at, dice.pick(['=', ' ', '\n', '@', '#', ',', '\u{fffd}', 'é', '0']));
    }
    for text in [text, String::from_utf8_lossy(&bytes).into_owned()] {
        each(dice, read, text.parse(), Route::encode);
        each(dice, read, text.parse::<Invite>().map(Shown), |invite, out| invite.0.encode(out));
        each(dice, read, text.parse(), RelayEntry::encode);
    }
}

/// Readers and writers beyond their ends.
fn cursors(dice: &Dice) {
    let bytes = dice.bytes(20);
    let mut reader = Reader::new(&bytes);
    let mut out = vec![0; dice.below(20) as usize];
    let mut writer = Writer::new(&mut out);
    for _ in 0..8 {
        let (len, value) = (dice.extreme() as usize, dice.extreme());
        match dice.below(8) {
            0 => ignore((reader.take(len), writer.reserve(len).is_ok())),
            1 => ignore((reader.big_endian(len), writer.big_endian(value, len))),
            2 => ignore((reader.varint(), writer.varint(value.min(VARINT_MAX)))),
            3 => ignore((reader.with_length(), writer.with_length(&bytes))),
            4 => ignore((reader.peer_id(), writer.u64(value))),
            5 => ignore((reader.session_id(), writer.session_id(SessionId::new(len as u32, 1)))),
            6 => ignore((reader.clone().zeros_to_end(), writer.zeros(len))),
            _ => ignore((reader.suite(), writer.roll_back(len))),
        }
        assert_eq!(writer.written().len(), writer.position());
        assert!(reader.len() <= bytes.len() && writer.remaining() <= 20);
        let _ = (varint_len(value), room_after_length(len));
    }
}

fn numbers(dice: &Dice) {
    let [number, low, high] = [(); 3].map(|()| dice.extreme());
    let truncated = Truncated::new(number, dice.extreme() as usize);
    let _ = (truncated.expand(low), truncated.to_string());
    ignore(number::decode(low, 1 + dice.below(7) as usize, high));
    assert!((1..=4).contains(&number::encode_len(number, dice.pick([None, Some(low)]))));
    assert!((1..=4).contains(&number::encode_len_within(number, low, high)));
    let (id, hash) = (PeerId::new(number), dice.bytes32());
    assert!(id.is_none_or(|id| id.get() == number) && PeerId::from_key_hash(&hash).get() > 0);
    let _ = (PacketNumber(number).next(), ConnectionIndex(number as u16));
}

/// Counts; and writes what was read into buffers of every kind of length.
fn each<T: Display, E: Debug + Display>(
    dice: &Dice,
    read: &mut Read,
    parsed: Result<T, E>,
    emit: impl Fn(&T, &mut [u8]) -> Result<usize, Full>,
) {
    let value = match parsed {
        Ok(value) => value,
        Err(error) => {
            read.refused += 1;
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    read.taken += 1;
    assert!(!value.to_string().is_empty());
    let len = emit(&value, &mut [0; 4000]).unwrap();
    for short in [0, 1, dice.below(len as u64) as usize, len - 1] {
        if short < len {
            assert_eq!(emit(&value, &mut vec![0; short]), Err(Full), "{value} in {short} bytes");
        }
    }
    assert_eq!(emit(&value, &mut vec![0; len]), Ok(len));
}

/// For what has no text form of its own.
struct Shown<T>(T);

impl<T: Debug> Display for Shown<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.fmt(f)
    }
}

/// Mostly of some kind, and of a length that this kind may have.
fn datagram(dice: &Dice) -> Vec<u8> {
    const HEAD: usize = Initiation::NOISE_OFFSET + MESSAGE_1_OVERHEAD;
    let kind =
        dice.pick([0x40, 0x41, 0x42, 0x80, 0x85, dice.below(12) as u8, dice.below(256) as u8]);
    let lengths = [
        hop::Hello::LEN,
        hop::CookieReply::LEN,
        hop::Refused::LEN,
        hop::Probe::LEN,
        hop::BIND_DATAGRAM_LEN_MIN,
        hop::Bound::LEN,
        hop::Resumed::LEN,
        HEAD,
        DATAGRAM_LEN_MAX,
        DATAGRAM_LEN_MAX + 1,
        dice.below(1600) as usize,
        dice.below(60) as usize,
    ];
    let mut bytes = vec![dice.pick([0, 1, dice.below(256) as u8]); dice.pick(lengths)];
    for _ in 0..dice.below(12) {
        if let Some(at) = dice.place(&bytes) {
            bytes[at] = dice.below(256) as u8;
        }
    }
    // Version and suite, where some kinds have them.
    for (at, value) in [(0, kind), (1, 1), (2, 1), (8, 1), (9, 1)] {
        if let Some(byte) = bytes.get_mut(at).filter(|_| at == 0 || dice.below(2) == 0) {
            *byte = value;
        }
    }
    bytes
}

/// Mostly small numbers behind a frame's type, or nothing but them.
fn plaintext(dice: &Dice) -> Vec<u8> {
    let longest = dice.pick([4, 40, 200, 1472]);
    let mut bytes = dice.bytes(longest);
    for byte in &mut bytes {
        *byte = dice.pick([*byte % 4, *byte % 64, 0, 0]);
    }
    if let Some(first) = bytes.first_mut() {
        *first = dice.pick([
            *first,
            dice.below(16) as u8,
            0x10 + dice.below(32) as u8,
            0x80 | dice.below(128) as u8,
        ]);
    }
    if dice.below(8) == 0 {
        bytes.resize(hop::BoundPayload::LEN, 0);
        bytes[11] = dice.pick([4, 6]);
    }
    bytes
}
