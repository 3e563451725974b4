//! Buffers that the kernel picks from for what arrives.

use core::sync::atomic::{AtomicU16, Ordering};
use std::io;

use io_uring::Submitter;
use io_uring::types::BufRingEntry;

use super::Received;
use super::name::{NAME_LEN, Name};
use crate::memory::Region;

/// Each buffer is in one of three places: in the kernel's ring, among the completions, or taken
/// by `receive`; only in the first does the kernel write to it.
pub(super) struct Provided {
    entries: Region,
    memory: Region,
    tail: u16,
    taken: Vec<u16>,
}

/// A buffer that something has arrived in.
#[derive(Clone, Copy)]
pub(super) struct Arrived {
    pub(super) buffer: u16,
    pub(super) len: usize,
}

impl Provided {
    pub(super) const GROUP: u16 = 0;

    /// Buffers, all with the kernel. The ring must be closed before they are dropped.
    pub(super) fn new(submitter: &Submitter<'_>) -> io::Result<Self> {
        let entries = Region::new(BUFFERS * size_of::<BufRingEntry>())?;
        let memory = Region::new(BUFFERS * BUFFER_LEN)?;
        // SAFETY: the region starts at a page, holds as many entries as told, and outlives the
        // ring, as this function's callers promise.
        unsafe {
            submitter.register_buf_ring_with_flags(
                entries.start() as u64,
                BUFFERS as u16,
                Self::GROUP,
                0,
            )?;
        }
        let taken = (0..BUFFERS as u16).collect();
        let mut provided = Self { entries, memory, tail: 0, taken };
        provided.give_back_taken();
        Ok(provided)
    }

    /// Gives what was taken back to the kernel.
    pub(super) fn give_back_taken(&mut self) {
        let base: *mut BufRingEntry = self.entries.start().cast();
        for buffer in self.taken.drain(..) {
            let Some(place) = self.memory.place(usize::from(buffer) * BUFFER_LEN, BUFFER_LEN)
            else {
                continue;
            };
            let slot = usize::from(self.tail) % BUFFERS;
            // SAFETY: `slot` is within the region. The kernel does not read the entry before the
            // tail has passed it, and never has more than `BUFFERS` unread, since each buffer is
            // in one place. Fields are written one by one, so that the tail, which lies in the
            // first entry, is not touched.
            let entry = unsafe { &mut *base.add(slot) };
            entry.set_addr(place.as_ptr() as u64);
            entry.set_len(BUFFER_LEN as u32);
            entry.set_bid(buffer);
            self.tail = self.tail.wrapping_add(1);
        }
        // SAFETY: the tail is a u16 in the first entry, read by the kernel as an atomic and
        // written by nobody else.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(base).cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }

    /// The datagram that has arrived; its buffer is taken.
    pub(super) fn take(&mut self, arrived: Arrived) -> Option<Received> {
        self.taken.push(arrived.buffer);
        let start = usize::from(arrived.buffer) * BUFFER_LEN;
        let filled = Received { from: super::NOBODY, offset: start, len: arrived.len };
        let name_len = u32::from_ne_bytes(*self.bytes(&filled).first_chunk()?) as usize;
        let name = self.bytes(&filled).get(HEADER_LEN..HEADER_LEN + name_len.min(NAME_LEN))?;
        // An address of no family that there is cannot be answered: nobody.
        let from = Name::parse(name).unwrap_or(super::NOBODY);
        let front = HEADER_LEN + NAME_LEN;
        Some(Received { from, offset: start + front, len: arrived.len.checked_sub(front)? })
    }

    /// The bytes of a datagram that was taken, or of a buffer that has arrived.
    pub(super) fn bytes(&self, received: &Received) -> &[u8] {
        match self.memory.place(received.offset, received.len) {
            // SAFETY: the bytes are inside the region, in a buffer that is not the kernel's until
            // it is given back, which takes `&mut self`.
            Some(place) => unsafe { core::slice::from_raw_parts(place.as_ptr(), received.len) },
            None => &[],
        }
    }
}

/// How many there are; a power of two.
pub(super) const BUFFERS: usize = 512;
/// `struct io_uring_recvmsg_out`: four words, of which the first is the name's length.
const HEADER_LEN: usize = 16;
/// Header, name, and more than the longest datagram, so that a longer one shows.
const BUFFER_LEN: usize = 1600;
