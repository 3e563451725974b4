//! Packets sent and not yet known to be acknowledged or lost, in a pool that connections share.

use core::error::Error;
use core::fmt;

use super::received::AckMark;
use crate::id::PacketNumber;
use crate::time::Instant;

/// One of a connection's paths, below [`MAX_PATHS`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct PathIndex(u8);

/// How many paths a connection can have at once.
pub const MAX_PATHS: usize = 4;

impl PathIndex {
    /// Every path, in order.
    pub const ALL: [Self; MAX_PATHS] = [Self(0), Self(1), Self(2), Self(3)];

    /// The path with this index; `None` from [`MAX_PATHS`] on.
    #[must_use]
    pub const fn new(index: usize) -> Option<Self> {
        if index < MAX_PATHS { Some(Self(index as u8)) } else { None }
    }

    /// The index, below [`MAX_PATHS`].
    #[must_use]
    pub const fn get(self) -> usize {
        self.0 as usize % MAX_PATHS
    }
}

/// What a packet carried, for whoever must react to its fate: the head of an intrusive list owned
/// by the channel module. Recovery only keeps it and gives it back.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FrameList(pub u32);

impl FrameList {
    /// Nothing that anyone must react to.
    pub const EMPTY: Self = Self(u32::MAX);
}

impl Default for FrameList {
    fn default() -> Self {
        Self::EMPTY
    }
}

/// An ack-eliciting packet that was sent, as handed back when its fate is known.
///
/// Every packet remembered here counts as in flight: packets that are not ack-eliciting take a
/// number but are not remembered (a pure receiver would otherwise hold slots that nobody frees).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct SentPacket {
    /// The packet's number.
    pub number: PacketNumber,
    /// When it was sent.
    pub sent_at: Instant,
    /// What it carried.
    pub frames: FrameList,
    /// The acknowledgement it carried, for [`Received::on_ack_acknowledged`](super::Received::on_ack_acknowledged).
    pub ack: AckMark,
    /// Bytes of the whole datagram.
    pub size: u16,
    /// The path it was sent over.
    pub path: PathIndex,
    pub(crate) marks: Marks,
    /// Its place among the remembered packets of its path (wrapping).
    pub(super) sequence: u32,
    /// Bytes the path had delivered when it was sent (wrapping), for delivery rates.
    pub(super) delivered: u32,
    /// Microseconds between the path's latest delivery and the sending of this packet.
    pub(super) since_delivery: u32,
    /// Microseconds between the first packet of the flight and this one.
    pub(super) since_first_sent: u32,
    /// The next slot of the list that this packet is in.
    pub(super) next: u32,
}

/// Two answers and a time in one byte.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Marks(u8);

impl Marks {
    const APP_LIMITED: u8 = 1;
    const MTU_PROBE: u8 = 2;
    const MILLIS: u8 = 4;
    const MILLIS_MAX: u64 = (u8::MAX / Self::MILLIS) as u64;

    pub(crate) const fn new(app_limited: bool, mtu_probe: bool) -> Self {
        let limited = if app_limited { Self::APP_LIMITED } else { 0 };
        Self(limited | if mtu_probe { Self::MTU_PROBE } else { 0 })
    }

    /// The same for a packet that so many milliseconds' worth of others left with; at most as many
    /// as there are bits for.
    pub(super) const fn behind(self, millis: u64) -> Self {
        let millis = if millis > Self::MILLIS_MAX { Self::MILLIS_MAX } else { millis };
        Self((self.0 % Self::MILLIS) | (millis as u8 * Self::MILLIS))
    }

    /// How long the others that left with it keep the path busy, in milliseconds.
    pub(super) const fn millis_behind(self) -> u64 {
        (self.0 / Self::MILLIS) as u64
    }

    /// Whether there was too little to send to fill the path.
    pub(super) const fn app_limited(self) -> bool {
        self.0 & Self::APP_LIMITED != 0
    }
}

impl SentPacket {
    /// Whether it only finds out if the path carries so long a datagram.
    #[must_use]
    pub const fn is_mtu_probe(&self) -> bool {
        self.marks.0 & Marks::MTU_PROBE != 0
    }
}

/// One place in the pool; only its size matters to the lender.
#[derive(Clone, Copy, Default, Debug)]
pub struct SentSlot(SentPacket);

/// Which slots of a pool are free. Starts as `default()` whatever the slots hold.
#[derive(Clone, Copy, Debug)]
pub struct SentFree {
    /// Slots given back, linked through `next`.
    head: u32,
    /// Slots from here on were never used.
    fresh: u32,
    /// How many slots are in use.
    used: u32,
}

impl Default for SentFree {
    fn default() -> Self {
        Self { head: NIL, fresh: 0, used: 0 }
    }
}

/// The pool of sent packets, put together from lent memory for the length of a call.
#[derive(Debug)]
pub struct SentPool<'a> {
    packets: &'a mut [SentSlot],
    free: &'a mut SentFree,
}

impl<'a> SentPool<'a> {
    /// The pool in `packets`, of which `free` must be the only account.
    #[must_use]
    pub fn new(packets: &'a mut [SentSlot], free: &'a mut SentFree) -> Self {
        Self { packets, free }
    }

    /// Whether one more packet can be remembered: to be asked before an ack-eliciting packet is built.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.free.head != NIL || self.is_slot(self.free.fresh)
    }

    /// How many packets are remembered, of all connections together.
    #[must_use]
    pub fn used(&self) -> usize {
        self.free.used as usize
    }

    fn is_slot(&self, at: u32) -> bool {
        at != NIL && (at as usize) < self.packets.len()
    }

    fn get(&self, at: u32) -> Option<&SentPacket> {
        self.packets.get(at as usize).map(|slot| &slot.0)
    }

    fn get_mut(&mut self, at: u32) -> Option<&mut SentPacket> {
        self.packets.get_mut(at as usize).map(|slot| &mut slot.0)
    }

    fn insert(&mut self, packet: SentPacket) -> Result<u32, Full> {
        let recycled = self.free.head;
        let at = if recycled == NIL { self.free.fresh } else { recycled };
        if !self.is_slot(at) {
            return Err(Full);
        }
        let slot = self.get_mut(at).ok_or(Full)?;
        let after = core::mem::replace(slot, SentPacket { next: NIL, ..packet }).next;
        if recycled == NIL {
            self.free.fresh += 1;
        } else {
            self.free.head = after;
        }
        self.free.used += 1;
        Ok(at)
    }

    fn release(&mut self, at: u32) {
        let head = self.free.head;
        if let Some(packet) = self.get_mut(at) {
            packet.next = head;
            self.free.head = at;
            self.free.used -= 1;
        }
    }
}

/// One connection's packets in the pool, ordered by number.
#[derive(Clone, Copy, Debug)]
pub(super) struct SentList {
    head: u32,
    tail: u32,
}

/// What to do with the packet just looked at.
pub(super) enum Visit {
    /// Leave it and go on.
    Keep,
    /// Free its slot and go on.
    Take,
    /// Leave it and all later ones.
    Stop,
}

impl SentList {
    pub(super) const EMPTY: Self = Self { head: NIL, tail: NIL };

    /// Appends `packet`, whose number must be above all others in the list.
    pub(super) fn push(&mut self, pool: &mut SentPool<'_>, packet: SentPacket) -> Result<(), Full> {
        let at = pool.insert(packet)?;
        match pool.get_mut(self.tail) {
            Some(last) => last.next = at,
            None => self.head = at,
        }
        self.tail = at;
        Ok(())
    }

    /// Looks at packets in ascending order, taking out those that `judge` says.
    pub(super) fn visit(
        &mut self,
        pool: &mut SentPool<'_>,
        mut judge: impl FnMut(&SentPacket) -> Visit,
    ) {
        let mut before = NIL;
        let mut at = self.head;
        while let Some(packet) = pool.get(at) {
            let next = packet.next;
            match judge(packet) {
                Visit::Keep => before = at,
                Visit::Take => {
                    match pool.get_mut(before) {
                        Some(kept) => kept.next = next,
                        None => self.head = next,
                    }
                    if self.tail == at {
                        self.tail = before;
                    }
                    pool.release(at);
                }
                Visit::Stop => return,
            }
            at = next;
        }
    }

    /// The first packet, in ascending order, for which `wanted` holds.
    pub(super) fn find_mut<'p>(
        &self,
        pool: &'p mut SentPool<'_>,
        wanted: impl Fn(&SentPacket) -> bool,
    ) -> Option<&'p mut SentPacket> {
        let mut at = self.head;
        while let Some(packet) = pool.get(at) {
            if wanted(packet) {
                return pool.get_mut(at);
            }
            at = packet.next;
        }
        None
    }

    /// The packets in ascending order.
    pub(super) fn iter<'p>(&self, pool: &'p SentPool<'_>) -> impl Iterator<Item = &'p SentPacket> {
        core::iter::successors(pool.get(self.head), |packet| pool.get(packet.next))
    }
}

/// The pool has no slot left: nothing more can be sent that wants an acknowledgement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no room to remember another sent packet")
    }
}

impl Error for Full {}

/// The index of no slot.
const NIL: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn packet(number: u64) -> SentPacket {
        SentPacket { number: PacketNumber(number), ..SentPacket::default() }
    }

    fn numbers(list: SentList, pool: &SentPool<'_>) -> Vec<u64> {
        list.iter(pool).map(|p| p.number.0).collect()
    }

    #[test]
    fn a_slot_is_48_bytes() {
        assert_eq!(size_of::<SentSlot>(), 48);
        assert_eq!(size_of::<SentPacket>(), 48);
    }

    #[test]
    fn lists_share_the_pool_and_give_slots_back() {
        let mut slots = [SentSlot::default(); 4];
        let mut free = SentFree::default();
        let mut pool = SentPool::new(&mut slots, &mut free);
        let (mut a, mut b) = (SentList::EMPTY, SentList::EMPTY);
        a.push(&mut pool, packet(0)).unwrap();
        b.push(&mut pool, packet(10)).unwrap();
        a.push(&mut pool, packet(1)).unwrap();
        a.push(&mut pool, packet(2)).unwrap();
        assert!(!pool.has_room());
        assert_eq!(b.push(&mut pool, packet(11)), Err(Full));
        assert_eq!(pool.used(), 4);

        a.visit(&mut pool, |p| if p.number.0 == 1 { Visit::Take } else { Visit::Keep });
        assert_eq!(numbers(a, &pool), [0, 2]);
        b.push(&mut pool, packet(11)).unwrap();
        assert_eq!(numbers(b, &pool), [10, 11]);

        a.visit(&mut pool, |p| if p.number.0 == 2 { Visit::Take } else { Visit::Keep });
        a.push(&mut pool, packet(3)).unwrap();
        assert_eq!(numbers(a, &pool), [0, 3], "the tail moves back when the last is taken");
        a.visit(&mut pool, |p| if p.number.0 == 0 { Visit::Take } else { Visit::Stop });
        assert_eq!(numbers(a, &pool), [3]);
        a.visit(&mut pool, |_| Visit::Take);
        a.push(&mut pool, packet(4)).unwrap();
        assert_eq!(numbers(a, &pool), [4], "an emptied list starts anew");
        assert_eq!(pool.used(), 3);
    }

    #[test]
    fn an_empty_pool_has_no_room() {
        let mut free = SentFree::default();
        let mut pool = SentPool::new(&mut [], &mut free);
        assert!(!pool.has_room());
        let mut list = SentList::EMPTY;
        assert_eq!(list.push(&mut pool, packet(0)), Err(Full));
    }
}
