//! What reading and writing datagrams and frames costs.

use core::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use waylane_core::crypto::TAG_LEN;
use waylane_core::id::{ChannelId, ConnectionIndex, SessionId};
use waylane_core::wire::data::DataHeader;
use waylane_core::wire::frame::{Frame, Frames, RangeOrder, ReliableRange, UnreliableMessage};
use waylane_core::wire::number::Truncated;
use waylane_core::wire::{Kind, Writer};

criterion_group!(benches, data_header, frames);
criterion_main!(benches);

fn data_header(criterion: &mut Criterion) {
    let header = DataHeader {
        destination: SessionId::new(0x03_0201, 0x0706_0504),
        key_phase: true,
        index: ConnectionIndex(0x0908),
        number: Truncated::new(0x0a0b, 2),
    };
    let mut datagram = [0; 12 + 1 + TAG_LEN];
    criterion.bench_function("wire/emit/data-header/12", |bencher| {
        bencher.iter(|| black_box(&header).emit(black_box(&mut datagram)));
    });
    criterion.bench_function("wire/parse/data-header/12", |bencher| {
        bencher.iter(|| DataHeader::parse(black_box(&datagram)));
    });
    criterion.bench_function("wire/parse/kind/1", |bencher| {
        bencher.iter(|| Kind::of(black_box(&datagram)));
    });
}

fn frames(criterion: &mut Criterion) {
    for (variant, len, count) in [("one", 100, 1), ("one", 1200, 1), ("bundle-of-12", 100, 12)] {
        let data = vec![7; len];
        let unreliable = Frame::Unreliable(UnreliableMessage {
            channel: ChannelId(0),
            incarnation_low: 1,
            sequence: None,
            fragment: None,
            data: &data,
        });
        let reliable = Frame::Reliable(ReliableRange {
            channel: ChannelId(1),
            incarnation_low: 1,
            order: RangeOrder::Ordered,
            offset: Truncated::new(0x0102, 2),
            data: &data,
        });
        for (kind, frame) in [("unreliable", unreliable), ("reliable", reliable)] {
            let mut packet = [0; 1472];
            let mut used = 0;
            criterion.bench_function(&format!("wire/emit/{kind}-{variant}/{len}"), |bencher| {
                bencher.iter(|| {
                    let mut writer = Writer::new(black_box(&mut packet));
                    for _ in 0..count {
                        black_box(&frame).emit(&mut writer).expect("the packet has room");
                    }
                    used = writer.position();
                });
            });
            let plaintext = &packet[..used];
            assert_eq!(Frames::new(plaintext).flatten().count(), count);
            criterion.bench_function(&format!("wire/parse/{kind}-{variant}/{len}"), |bencher| {
                bencher.iter(|| {
                    for frame in Frames::new(black_box(plaintext)) {
                        black_box(&frame);
                    }
                });
            });
        }
    }
}
