//! Message frames: unreliable messages and ranges of reliable streams (wire.md §2).

use core::fmt;

use crate::id::ChannelId;
use crate::wire::cursor::{room_after_length, varint_len};
use crate::wire::number::Truncated;
use crate::wire::{Full, ParseError, Reader, Writer};

/// An unreliable message, or a fragment of one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnreliableMessage<'a> {
    /// Which channel.
    pub channel: ChannelId,
    /// Low two bits of the channel's incarnation.
    pub incarnation_low: u8,
    /// The message's number if its channel is sequenced; of a fragment, the same as
    /// [`Fragment::number`].
    pub sequence: Option<u16>,
    /// Which part of which message `data` is; `None` if it is a whole message.
    pub fragment: Option<Fragment>,
    /// The message or fragment; a fragment is never empty.
    pub data: &'a [u8],
}

/// Where a fragment belongs. It lies within the message: offset + data ≤ total.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fragment {
    /// Of the message, counted per channel by its sender (wrapping): fragmented messages only, or
    /// all if the channel is sequenced.
    pub number: u16,
    /// Length of the whole message.
    pub total: u64,
    /// Where in the message the fragment begins.
    pub offset: u64,
}

impl<'a> UnreliableMessage<'a> {
    #[inline(always)]
    pub(super) fn parse(kind: u8, reader: &mut Reader<'a>) -> Result<Self, ParseError> {
        let channel = parse_channel(kind, reader)?;
        let form = kind & LOW_BITS;
        let number = if form == 0 { None } else { Some(reader.u16()?) };
        let sequence = number.filter(|_| form & SEQUENCED != 0);
        let fragment = match number {
            Some(number) if form & FRAGMENT != 0 => {
                Some(Fragment { number, total: reader.varint()?, offset: reader.varint()? })
            }
            _ => None,
        };
        let data = parse_data(kind, reader)?;
        if let Some(fragment) = fragment {
            let end = fragment.offset.saturating_add(data.len() as u64);
            if data.is_empty() || end > fragment.total {
                return Err(ParseError::BadValue);
            }
        }
        let incarnation_low = parse_incarnation(kind);
        Ok(Self { channel, incarnation_low, sequence, fragment, data })
    }

    /// The frame at the front of `reader` if it is a whole message of no sequence.
    #[inline(always)]
    pub(super) fn parse_whole(reader: &mut Reader<'a>) -> Option<Self> {
        let kind = reader.u8().ok()?;
        if !(UNRELIABLE..RELIABLE).contains(&kind) || kind & LOW_BITS != 0 {
            return None;
        }
        let channel = parse_channel(kind, reader).ok()?;
        let data = parse_data(kind, reader).ok()?;
        let incarnation_low = parse_incarnation(kind);
        Some(Self { channel, incarnation_low, sequence: None, fragment: None, data })
    }

    /// Writes the frame; if it is the `last` of the packet, without its length. Nothing is written
    /// if it does not fit.
    ///
    /// # Errors
    /// [`Full`].
    ///
    /// # Panics
    /// If a number in it is above [`VARINT_MAX`](crate::wire::cursor::VARINT_MAX).
    pub fn emit(&self, writer: &mut Writer<'_>, last: bool) -> Result<(), Full> {
        let start = writer.position();
        self.emit_head(writer, self.data.len(), last)
            .and_then(|()| writer.bytes(self.data))
            .inspect_err(|_| writer.roll_back(start))
    }

    /// Writes the frame up to its data, of which `data_len` bytes must follow (`self.data` is not
    /// looked at): for data that lies in several pieces. Nothing is written if it does not fit.
    ///
    /// # Errors
    /// [`Full`] if the head does not fit; room for the data is not checked.
    ///
    /// # Panics
    /// If `data_len` or a number in it is above [`VARINT_MAX`](crate::wire::cursor::VARINT_MAX).
    #[inline]
    pub fn emit_head(
        &self,
        writer: &mut Writer<'_>,
        data_len: usize,
        last: bool,
    ) -> Result<(), Full> {
        let start = writer.position();
        self.emit_head_parts(writer, data_len, last).inspect_err(|_| writer.roll_back(start))
    }

    /// Bytes the frame takes besides `data_len` bytes of data.
    #[must_use]
    pub fn overhead(&self, data_len: usize, last: bool) -> usize {
        let number = if self.sequence.is_some() || self.fragment.is_some() { 2 } else { 0 };
        let place = self.fragment.map_or(0, |f| varint_len(f.total) + varint_len(f.offset));
        1 + channel_len(self.channel) + number + place + length_len(data_len, last)
    }

    /// The most bytes of data that fit if the whole frame may take `room` bytes; `None` if its head
    /// alone does not fit.
    #[must_use]
    pub fn data_room(&self, room: usize, last: bool) -> Option<usize> {
        data_room(room.checked_sub(self.overhead(0, true))?, last)
    }

    /// Writes the frame of a whole message of no sequence, with its length, but for its data, the place
    /// of which it answers. Nothing is written if it does not fit.
    ///
    /// # Errors
    /// [`Full`], for data that no datagram holds too.
    #[inline]
    pub(crate) fn emit_around<'w>(
        writer: &'w mut Writer<'_>,
        channel: ChannelId,
        incarnation_low: u8,
        data_len: usize,
    ) -> Result<&'w mut [u8], Full> {
        let first = first_byte(UNRELIABLE, channel, incarnation_low, false);
        let short = data_len <= 0x3f;
        let (high, low) = ((data_len >> 8) as u8 | 0x40, data_len as u8);
        if data_len > 0x3fff {
            return Err(Full);
        }
        let head = 1 + channel_len(channel) + if short { 1 } else { 2 };
        let frame = writer.reserve(head + data_len)?;
        match (channel.0, short, frame) {
            (0, true, [a, b, data @ ..]) => {
                (*a, *b) = (first, low);
                Ok(data)
            }
            (0, false, [a, b, c, data @ ..]) => {
                (*a, *b, *c) = (first, high, low);
                Ok(data)
            }
            (channel, true, [a, b, c, data @ ..]) => {
                (*a, *b, *c) = (first, channel, low);
                Ok(data)
            }
            (channel, false, [a, b, c, d, data @ ..]) => {
                (*a, *b, *c, *d) = (first, channel, high, low);
                Ok(data)
            }
            _ => Err(Full),
        }
    }

    /// As [`UnreliableMessage::emit_around`], but without its length: the last frame of a packet.
    ///
    /// # Errors
    /// [`Full`].
    #[inline]
    pub(crate) fn emit_around_last<'w>(
        writer: &'w mut Writer<'_>,
        channel: ChannelId,
        incarnation_low: u8,
        data_len: usize,
    ) -> Result<&'w mut [u8], Full> {
        let first = first_byte(UNRELIABLE, channel, incarnation_low, true);
        match (channel.0, writer.reserve(1 + channel_len(channel) + data_len)?) {
            (0, [a, data @ ..]) => {
                *a = first;
                Ok(data)
            }
            (channel, [a, b, data @ ..]) => {
                (*a, *b) = (first, channel);
                Ok(data)
            }
            (_, _) => Err(Full),
        }
    }

    fn emit_head_parts(
        &self,
        writer: &mut Writer<'_>,
        data_len: usize,
        last: bool,
    ) -> Result<(), Full> {
        let fragment = if self.fragment.is_some() { FRAGMENT } else { 0 };
        let form = fragment | if self.sequence.is_some() { SEQUENCED } else { 0 };
        emit_type(writer, UNRELIABLE | form, self.channel, self.incarnation_low, last)?;
        if let Some(number) = self.fragment.map(|f| f.number).or(self.sequence) {
            writer.u16(number)?;
        }
        if let Some(fragment) = self.fragment {
            writer.varint(fragment.total)?;
            writer.varint(fragment.offset)?;
        }
        emit_length(writer, data_len, last)
    }
}

impl fmt::Display for UnreliableMessage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unreliable {}.{}", self.channel, self.incarnation_low)?;
        if let Some(number) = self.sequence {
            write!(f, " sequence {number}")?;
        }
        if let Some(Fragment { number, total, offset }) = self.fragment {
            write!(f, " message {number} at {offset} of {total}")?;
        }
        write!(f, " {} B", self.data.len())
    }
}

/// A range of a reliable channel's stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReliableRange<'a> {
    /// Which channel.
    pub channel: ChannelId,
    /// Low two bits of the channel's incarnation.
    pub incarnation_low: u8,
    /// Whether the channel is ordered, and if not, what the range begins with.
    pub order: RangeOrder,
    /// Where in the stream the range begins, as it travels: in 3 or 4 bytes if the channel is
    /// unordered.
    pub offset: Truncated,
    /// Never empty.
    pub data: &'a [u8],
}

/// The order of a reliable channel's messages, and what a range says of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RangeOrder {
    /// The channel is ordered.
    Ordered,
    /// The channel is unordered; the range begins with a message.
    AtMessage,
    /// The channel is unordered; the range begins within a message, and all of it belongs to that.
    WithinMessage,
}

impl RangeOrder {
    /// The fewest bytes that an offset takes.
    #[must_use]
    pub const fn offset_len_min(self) -> usize {
        match self {
            Self::Ordered => 1,
            Self::AtMessage | Self::WithinMessage => UNORDERED_OFFSET_MIN,
        }
    }
}

impl<'a> ReliableRange<'a> {
    pub(super) fn parse(kind: u8, reader: &mut Reader<'a>) -> Result<Self, ParseError> {
        let channel = parse_channel(kind, reader)?;
        let (order, len) = if kind >= RELIABLE {
            (RangeOrder::Ordered, usize::from(kind & LOW_BITS) + 1)
        } else {
            let begins = kind & AT_MESSAGE != 0;
            let order = if begins { RangeOrder::AtMessage } else { RangeOrder::WithinMessage };
            (order, usize::from(kind & LONG_OFFSET) + UNORDERED_OFFSET_MIN)
        };
        let offset = Truncated::new(reader.big_endian(len)?, len);
        let data = parse_data(kind, reader)?;
        if data.is_empty() {
            return Err(ParseError::BadValue);
        }
        Ok(Self { channel, incarnation_low: parse_incarnation(kind), order, offset, data })
    }

    /// Writes the frame; if it is the `last` of the packet, without its length. Nothing is written
    /// if it does not fit.
    ///
    /// # Errors
    /// [`Full`].
    ///
    /// # Panics
    /// If the offset has fewer bytes than [`RangeOrder::offset_len_min`].
    pub fn emit(&self, writer: &mut Writer<'_>, last: bool) -> Result<(), Full> {
        let start = writer.position();
        self.emit_head(writer, self.data.len(), last)
            .and_then(|()| writer.bytes(self.data))
            .inspect_err(|_| writer.roll_back(start))
    }

    /// Writes the frame up to its data, of which `data_len` bytes must follow (`self.data` is not
    /// looked at): for data that lies in several pieces. Nothing is written if it does not fit.
    ///
    /// # Errors
    /// [`Full`] if the head does not fit; room for the data is not checked.
    ///
    /// # Panics
    /// If `data_len` is above [`VARINT_MAX`](crate::wire::cursor::VARINT_MAX), or as
    /// [`ReliableRange::emit`].
    pub fn emit_head(
        &self,
        writer: &mut Writer<'_>,
        data_len: usize,
        last: bool,
    ) -> Result<(), Full> {
        let start = writer.position();
        self.emit_head_parts(writer, data_len, last).inspect_err(|_| writer.roll_back(start))
    }

    /// Bytes the frame takes besides `data_len` bytes of data.
    #[must_use]
    pub fn overhead(&self, data_len: usize, last: bool) -> usize {
        1 + channel_len(self.channel) + self.offset.len() + length_len(data_len, last)
    }

    /// The most bytes of data that fit if the whole frame may take `room` bytes; `None` if its head
    /// alone does not fit.
    #[must_use]
    pub fn data_room(&self, room: usize, last: bool) -> Option<usize> {
        data_room(room.checked_sub(self.overhead(0, true))?, last)
    }

    fn emit_head_parts(
        &self,
        writer: &mut Writer<'_>,
        data_len: usize,
        last: bool,
    ) -> Result<(), Full> {
        emit_type(writer, self.kind(), self.channel, self.incarnation_low, last)?;
        writer.big_endian(self.offset.value(), self.offset.len())?;
        emit_length(writer, data_len, last)
    }

    /// The first byte, without what other messages have in theirs as well.
    fn kind(&self) -> u8 {
        let len = self.offset.len();
        let begins = match self.order {
            RangeOrder::Ordered => return RELIABLE | (len - 1) as u8,
            RangeOrder::AtMessage => AT_MESSAGE,
            RangeOrder::WithinMessage => 0,
        };
        assert!(len >= self.order.offset_len_min(), "there is no shorter form");
        UNORDERED | begins | (len - UNORDERED_OFFSET_MIN) as u8
    }
}

impl fmt::Display for ReliableRange<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { channel, incarnation_low, order, offset, data } = self;
        let order = match order {
            RangeOrder::Ordered => "",
            RangeOrder::AtMessage => " unordered",
            RangeOrder::WithinMessage => " unordered, within a message",
        };
        write!(f, "reliable {channel}.{incarnation_low}{order} at {offset} {} B", data.len())
    }
}

fn parse_channel(kind: u8, reader: &mut Reader<'_>) -> Result<ChannelId, ParseError> {
    if kind & CHANNEL == 0 {
        return Ok(ChannelId(0));
    }
    match reader.u8()? {
        0 => Err(ParseError::NonMinimal),
        channel => Ok(ChannelId(channel)),
    }
}

fn parse_data<'a>(kind: u8, reader: &mut Reader<'a>) -> Result<&'a [u8], ParseError> {
    if kind & LENGTH == 0 { Ok(reader.rest()) } else { reader.with_length() }
}

const fn parse_incarnation(kind: u8) -> u8 {
    kind >> INCARNATION_SHIFT & LOW_BITS
}

fn emit_type(
    writer: &mut Writer<'_>,
    kind: u8,
    channel: ChannelId,
    incarnation_low: u8,
    last: bool,
) -> Result<(), Full> {
    writer.u8(first_byte(kind, channel, incarnation_low, last))?;
    if channel.0 == 0 { Ok(()) } else { writer.u8(channel.0) }
}

const fn first_byte(kind: u8, channel: ChannelId, incarnation_low: u8, last: bool) -> u8 {
    let length = if last { 0 } else { LENGTH };
    let has_channel = if channel.0 == 0 { 0 } else { CHANNEL };
    let incarnation = (incarnation_low & LOW_BITS) << INCARNATION_SHIFT;
    kind | length | has_channel | incarnation
}

fn emit_length(writer: &mut Writer<'_>, data_len: usize, last: bool) -> Result<(), Full> {
    if last { Ok(()) } else { writer.varint(data_len as u64) }
}

fn channel_len(channel: ChannelId) -> usize {
    usize::from(channel.0 != 0)
}

const fn length_len(data_len: usize, last: bool) -> usize {
    if last { 0 } else { varint_len(data_len as u64) }
}

fn data_room(room: usize, last: bool) -> Option<usize> {
    if last { Some(room) } else { room_after_length(room) }
}

pub(super) const UNORDERED: u8 = 0b0100_0000;
pub(super) const UNRELIABLE: u8 = 0b1000_0000;
pub(super) const RELIABLE: u8 = 0b1100_0000;
const LENGTH: u8 = 0b0010_0000;
const CHANNEL: u8 = 0b0001_0000;
const INCARNATION_SHIFT: u8 = 2;
const LOW_BITS: u8 = 0b11;
const FRAGMENT: u8 = 1;
const SEQUENCED: u8 = 2;
const AT_MESSAGE: u8 = 2;
const LONG_OFFSET: u8 = 1;
const UNORDERED_OFFSET_MIN: usize = 3;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::frame::{Frame, Frames};

    #[test]
    fn unreliable_literal_bytes() {
        let whole = UnreliableMessage {
            channel: ChannelId(0),
            incarnation_low: 0,
            sequence: None,
            fragment: None,
            data: b"hi",
        };
        check(Frame::Unreliable(whole), true, b"\x80hi");
        check(Frame::Unreliable(whole), false, b"\xa0\x02hi");
        let other = UnreliableMessage { channel: ChannelId(7), incarnation_low: 2, ..whole };
        check(Frame::Unreliable(other), true, b"\x98\x07hi");
        check(Frame::Unreliable(other), false, b"\xb8\x07\x02hi");
        let empty = UnreliableMessage { data: b"", ..whole };
        check(Frame::Unreliable(empty), true, b"\x80");
        check(Frame::Unreliable(empty), false, b"\xa0\x00");
        let fragment = Some(Fragment { number: 0x0201, total: 100, offset: 98 });
        let part = UnreliableMessage { fragment, ..other };
        check(Frame::Unreliable(part), true, b"\x99\x07\x01\x02\x40\x64\x40\x62hi");
        check(Frame::Unreliable(part), false, b"\xb9\x07\x01\x02\x40\x64\x40\x62\x02hi");
        let sequence = Some(0x0201);
        let newest = UnreliableMessage { sequence, ..whole };
        check(Frame::Unreliable(newest), true, b"\x82\x01\x02hi");
        let newest = UnreliableMessage { sequence, ..other };
        check(Frame::Unreliable(newest), false, b"\xba\x07\x01\x02\x02hi");
        let part = UnreliableMessage { sequence, ..part };
        check(Frame::Unreliable(part), true, b"\x9b\x07\x01\x02\x40\x64\x40\x62hi");
    }

    #[test]
    fn reliable_literal_bytes() {
        let range = ReliableRange {
            channel: ChannelId(0),
            incarnation_low: 0,
            order: RangeOrder::Ordered,
            offset: Truncated::new(9, 1),
            data: b"hi",
        };
        check(Frame::Reliable(range), true, b"\xc0\x09hi");
        check(Frame::Reliable(range), false, b"\xe0\x09\x02hi");
        let other = ReliableRange {
            channel: ChannelId(1),
            incarnation_low: 3,
            offset: Truncated::new(0x0102_0304, 4),
            ..range
        };
        check(Frame::Reliable(other), true, b"\xdf\x01\x01\x02\x03\x04hi");
        check(Frame::Reliable(other), false, b"\xff\x01\x01\x02\x03\x04\x02hi");
    }

    #[test]
    fn unordered_literal_bytes() {
        let range = ReliableRange {
            channel: ChannelId(0),
            incarnation_low: 0,
            order: RangeOrder::AtMessage,
            offset: Truncated::new(0x0001_0203, 3),
            data: b"hi",
        };
        check(Frame::Reliable(range), true, b"\x42\x01\x02\x03hi");
        check(Frame::Reliable(range), false, b"\x62\x01\x02\x03\x02hi");
        let other = ReliableRange {
            channel: ChannelId(1),
            incarnation_low: 3,
            order: RangeOrder::WithinMessage,
            offset: Truncated::new(0x0102_0304, 4),
            ..range
        };
        check(Frame::Reliable(other), true, b"\x5d\x01\x01\x02\x03\x04hi");
        check(Frame::Reliable(other), false, b"\x7d\x01\x01\x02\x03\x04\x02hi");
    }

    #[test]
    fn messages_that_may_not_be_are_refused() {
        let refused: [(&[u8], ParseError); 11] = [
            (b"\x90\x00hi", ParseError::NonMinimal),
            (b"\x82h", ParseError::Truncated),
            (b"\x83\x01\x02\x05\x05", ParseError::BadValue),
            (b"\x81\x01\x02\x05\x05", ParseError::BadValue),
            (b"\x81\x01\x02\x05\x04hi", ParseError::BadValue),
            (b"\xa0\x03hi", ParseError::Truncated),
            (b"\xc0\x09", ParseError::BadValue),
            (b"\xe0\x09\x00", ParseError::BadValue),
            (b"\xc1\x09", ParseError::Truncated),
            (b"\x42\x01\x02\x03", ParseError::BadValue),
            (b"\x43\x01\x02\x03", ParseError::Truncated),
        ];
        for (bytes, error) in refused {
            assert_eq!(Frame::parse(&mut Reader::new(bytes)), Err(error), "{bytes:?}");
        }
    }

    #[test]
    fn data_may_follow_its_head_in_pieces() {
        let mut out = [0; 16];
        let mut writer = Writer::new(&mut out);
        let head = UnreliableMessage {
            channel: ChannelId(3),
            incarnation_low: 0,
            sequence: None,
            fragment: None,
            data: &[],
        };
        head.emit_head(&mut writer, 5, false).unwrap();
        writer.bytes(b"he").unwrap();
        writer.bytes(b"llo").unwrap();
        assert_eq!(writer.written(), b"\xb0\x03\x05hello");
        let mut writer = Writer::new(&mut out[..2]);
        assert_eq!(head.emit_head(&mut writer, 5, false), Err(Full));
        assert_eq!(writer.position(), 0);
    }

    #[test]
    fn whole_messages_are_written_and_read_the_short_way_alike() {
        let data = [7; 0x4000];
        for channel in [0, 3].map(ChannelId) {
            for len in [0, 1, 0x3f, 0x40, 1400, 0x3fff] {
                let data = &data[..len];
                let message = UnreliableMessage {
                    channel,
                    incarnation_low: 2,
                    sequence: None,
                    fragment: None,
                    data,
                };
                let (mut long, mut short) = ([0; 0x4010], [0; 0x4010]);
                let mut writer = Writer::new(&mut long);
                message.emit(&mut writer, false).unwrap();
                let mut around = Writer::new(&mut short);
                let place = UnreliableMessage::emit_around(&mut around, channel, 2, len).unwrap();
                place.copy_from_slice(data);
                assert_eq!(around.written(), writer.written());
                let mut frames = Frames::new(around.written());
                assert_eq!(frames.next_message(), Some(message));
                assert!(frames.next().is_none());
                let len_all = writer.position();
                let mut tight = Writer::new(&mut long[..len_all - 1]);
                assert!(UnreliableMessage::emit_around(&mut tight, channel, 2, len).is_err());
                assert_eq!(tight.position(), 0, "nothing was written");
            }
            let mut out = Writer::new(&mut []);
            assert!(UnreliableMessage::emit_around(&mut out, channel, 2, 0x4000).is_err());
        }
        for other in [
            &b""[..],
            b"\x01",
            b"\xc0\x09a",
            b"\x81\x01\x02\x05\x01a",
            b"\x90\x00hi",
            b"\xa0\x03hi",
        ] {
            let mut frames = Frames::new(other);
            assert_eq!(frames.next_message(), None);
            assert_eq!(frames.next(), Frames::new(other).next(), "nothing of it was read");
        }
    }

    #[test]
    fn a_short_message_costs_at_most_four_bytes() {
        let message = UnreliableMessage {
            channel: ChannelId(0),
            incarnation_low: 0,
            sequence: None,
            fragment: None,
            data: &[],
        };
        assert_eq!((message.overhead(100, true), message.overhead(100, false)), (1, 3));
        let message = UnreliableMessage { channel: ChannelId(1), ..message };
        assert_eq!((message.overhead(100, true), message.overhead(100, false)), (2, 4));
    }

    proptest! {
        #[test]
        fn overhead_and_room_are_what_emit_needs(
            channel in 0..3_u8,
            fragment in prop::option::of((any::<u16>(), 0..1_u64 << 20, 0..1_u64 << 20)),
            sequenced in any::<bool>(),
            offset in any::<u32>(),
            (order, offset_len) in prop_oneof![
                (Just(RangeOrder::Ordered), 1..=4_usize),
                (Just(RangeOrder::WithinMessage), 3..=4_usize),
            ],
            room in 0..400_usize,
            last in any::<bool>(),
        ) {
            let data = [0; 400];
            let channel = ChannelId(channel);
            let fragment =
                fragment.map(|(number, total, offset)| Fragment { number, total, offset });
            let sequence = sequenced.then_some(fragment.map_or(7, |f| f.number));
            let mut message =
                UnreliableMessage { channel, incarnation_low: 1, sequence, fragment, data: &[] };
            let offset = Truncated::new(u64::from(offset), offset_len);
            let mut range = ReliableRange { channel, incarnation_low: 1, order, offset, data: &[] };
            let mut out = [0; 400];

            let fits = message.data_room(room, last);
            message.data = &data[..fits.unwrap_or(0)];
            let mut writer = Writer::new(&mut out[..room]);
            prop_assert_eq!(message.emit(&mut writer, last).is_ok(), fits.is_some());
            if let Some(len) = fits {
                prop_assert_eq!(writer.position(), message.overhead(len, last) + len);
                message.data = &data[..len + 1];
                let mut writer = Writer::new(&mut out[..room]);
                prop_assert_eq!(message.emit(&mut writer, last), Err(Full));
                prop_assert_eq!(writer.position(), 0);
            }

            let fits = range.data_room(room, last);
            range.data = &data[..fits.unwrap_or(0)];
            let mut writer = Writer::new(&mut out[..room]);
            prop_assert_eq!(range.emit(&mut writer, last).is_ok(), fits.is_some());
            if let Some(len) = fits {
                prop_assert_eq!(writer.position(), range.overhead(len, last) + len);
                range.data = &data[..len + 1];
                let mut writer = Writer::new(&mut out[..room]);
                prop_assert_eq!(range.emit(&mut writer, last), Err(Full));
                prop_assert_eq!(writer.position(), 0);
            }
        }
    }

    fn check(frame: Frame<'_>, last: bool, bytes: &[u8]) {
        let mut out = [0; 64];
        let mut writer = Writer::new(&mut out);
        if let Frame::Unreliable(message) = frame {
            message.emit(&mut writer, last).unwrap();
        } else if let Frame::Reliable(range) = frame {
            range.emit(&mut writer, last).unwrap();
        } else {
            panic!("{frame} is no message");
        }
        assert_eq!(writer.written(), bytes, "{frame}");
        let mut reader = Reader::new(bytes);
        assert_eq!(Frame::parse(&mut reader), Ok(frame));
        assert!(reader.is_empty());
    }
}
