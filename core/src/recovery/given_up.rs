//! Packets given up for lost, in case they arrive after all.

use super::AckRanges;
use super::sent::{PathIndex, SentPacket};
use crate::id::PacketNumber;

/// The latest few.
#[derive(Clone, Debug)]
pub(super) struct GivenUp {
    packets: [LostPacket; REMEMBERED],
    next: u8,
    /// How many places are in use.
    used: u8,
}

/// What is remembered of one.
#[derive(Clone, Copy, Debug)]
pub(super) struct LostPacket {
    /// Low bits of the number after it; 0 for none (one in 2³² is not remembered).
    mark: u32,
    pub(super) sequence: u32,
    pub(super) size: u16,
    pub(super) path: PathIndex,
}

impl GivenUp {
    pub(super) const fn new() -> Self {
        Self { packets: [LostPacket::NONE; REMEMBERED], next: 0, used: 0 }
    }

    /// `packet` counts as lost from now; the oldest is forgotten for it.
    pub(super) fn remember(&mut self, packet: &SentPacket) {
        let place = &mut self.packets[usize::from(self.next) % REMEMBERED];
        self.used += u8::from(place.mark == 0);
        *place = LostPacket {
            mark: mark(packet.number),
            sequence: packet.sequence,
            size: packet.size,
            path: packet.path,
        };
        self.next = (self.next + 1) % REMEMBERED as u8;
    }

    /// Hands out and forgets those that `ranges` (descending) acknowledge.
    pub(super) fn take_arrived(&mut self, ranges: &AckRanges, mut found: impl FnMut(LostPacket)) {
        if self.used == 0 {
            return;
        }
        for packet in &mut self.packets {
            let within = |&(low, high): &(PacketNumber, PacketNumber)| {
                let above_low = packet.mark.wrapping_sub(mark(low));
                u64::from(above_low) <= high.0 - low.0
            };
            if packet.mark != 0 && ranges.iter().any(within) {
                found(core::mem::replace(packet, LostPacket::NONE));
                self.used -= 1;
            }
        }
    }
}

impl LostPacket {
    const NONE: Self = Self { mark: 0, sequence: 0, size: 0, path: PathIndex::ALL[0] };
}

const fn mark(number: PacketNumber) -> u32 {
    (number.0 as u32).wrapping_add(1)
}

const REMEMBERED: usize = 8;
