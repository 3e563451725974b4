//! `recvmmsg` and `sendmmsg`: a batch a call; what one sender sent at once comes merged where the
//! system merges, and what goes to one destination leaves as one.

use core::mem;
use core::net::SocketAddr;
use core::time::Duration;
use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd as _;

use waylane_relay::Io;
use waylane_relay::io::{Outgoing, Sent, Waker};

use super::messages::Messages;
use super::name::{NAME_LEN, Name};
use super::wake::Wake;
use super::{NOBODY, Received, can_merge, merge, prefetch, segments};
use crate::memory::Region;

/// At most one IPv4 and one IPv6 socket, each with all the calls of the one or the other family.
pub struct Mmsg {
    sockets: Vec<(SocketAddr, UdpSocket)>,
    merging: bool,
    /// Which socket is asked first, so that a busy one does not starve the other.
    first: usize,
    wake: Wake,
    polls: Box<[libc::pollfd]>,
    slots: Slots,
    received: Vec<Received>,
    messages: Messages,
}

impl Mmsg {
    /// A back end over these sockets, as [`open`](super::open) makes them, that takes merged what
    /// the system merges.
    ///
    /// # Errors
    /// The system's, when there is no memory.
    pub fn new(sockets: Vec<UdpSocket>) -> io::Result<Self> {
        // All are asked, so that none merges that another program had merging.
        let merging = sockets.iter().filter(|socket| !can_merge(socket)).count() == 0;
        Self::over(sockets, merging)
    }

    /// As [`new`](Self::new), but each datagram comes by itself: an in-kernel path on the same
    /// interface would see merged ones, whose parts may go to different places.
    ///
    /// # Errors
    /// The system's, when there is no memory.
    pub fn unmerged(sockets: Vec<UdpSocket>) -> io::Result<Self> {
        Self::over(sockets, false)
    }

    fn over(sockets: Vec<UdpSocket>, merging: bool) -> io::Result<Self> {
        let local = |socket: UdpSocket| Ok((socket.local_addr()?, socket));
        let sockets: Vec<_> = sockets.into_iter().map(local).collect::<io::Result<_>>()?;
        let wake = Wake::new()?;
        let readable = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        let fds = sockets.iter().map(|(_, socket)| socket.as_raw_fd()).chain([wake.fd()]);
        let polls = fds.map(readable).collect();
        let segmenting = sockets.iter().all(|(_, socket)| segments(socket));
        Ok(Self {
            sockets,
            merging,
            first: 0,
            wake,
            polls,
            slots: Slots::new(if merging { MERGED_LEN } else { SINGLE_LEN })?,
            received: Vec::with_capacity(if merging { SLOTS * MERGED_MAX } else { SLOTS }),
            messages: Messages::new(segmenting),
        })
    }

    fn receive_now(&mut self) -> io::Result<()> {
        let count = self.sockets.len();
        let mut slot = 0;
        for turn in 0..count {
            let Some((_, socket)) = self.sockets.get((self.first + turn) % count) else { break };
            let end = self.slots.receive(socket, slot)?;
            for filled in slot..end {
                self.slots.split(filled, &mut self.received);
            }
            slot = end;
        }
        self.first = if count == 0 { 0 } else { (self.first + 1) % count };
        self.slots.reset(slot);
        Ok(())
    }

    /// Waits for a datagram or a wake.
    fn wait(&mut self, wait: Duration) -> io::Result<()> {
        let wait = libc::timespec {
            tv_sec: wait.as_secs().try_into().unwrap_or(libc::time_t::MAX),
            tv_nsec: wait.subsec_nanos().into(),
        };
        let polls = &mut self.polls;
        // SAFETY: the array is as long as told, and no signal mask is given.
        let result = unsafe {
            libc::ppoll(polls.as_mut_ptr(), polls.len() as _, &raw const wait, core::ptr::null())
        };
        if result < 0 {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::Interrupted { Ok(()) } else { Err(error) };
        }
        if self.polls.last().is_some_and(|poll| poll.revents != 0) {
            self.wake.clear();
        }
        Ok(())
    }
}

impl Io for Mmsg {
    /// Only now: till then another relay may still receive by these sockets, one at a time.
    fn start(&mut self) -> io::Result<()> {
        if self.merging {
            self.sockets.iter().try_for_each(|(_, socket)| merge(socket))
        } else {
            Ok(())
        }
    }

    fn receive(&mut self, wait: Duration) -> io::Result<usize> {
        self.received.clear();
        self.receive_now()?;
        if self.received.is_empty() && !wait.is_zero() {
            self.wait(wait)?;
            self.receive_now()?;
        }
        Ok(self.received.len())
    }

    fn datagram(&self, index: usize) -> Option<(SocketAddr, &[u8])> {
        let received = self.received.get(index)?;
        Some((received.from, self.slots.bytes(received)))
    }

    fn send(&mut self, outgoing: &[Outgoing], sent: &mut Sent) {
        let Self { sockets, slots, received, messages, .. } = self;
        let bytes = |index| received.get(index).map_or(&[][..], |received| slots.bytes(received));
        messages.send(sockets, outgoing, bytes, sent);
    }

    fn prefetch(&self, place: *const u8) {
        prefetch(place);
    }

    fn waker(&self) -> Waker {
        self.wake.waker()
    }
}

/// What `recvmmsg` writes to: a message, a name and a piece of memory for each slot.
struct Slots {
    headers: Box<[libc::mmsghdr]>,
    names: Box<[Name]>,
    _parts: Box<[libc::iovec]>,
    controls: Box<[Control]>,
    memory: Region,
    /// Bytes of one slot.
    len: usize,
}

/// Room for one control message with the length of what was merged.
#[derive(Clone, Copy)]
#[repr(C)]
struct Control {
    header: libc::cmsghdr,
    segment_len: libc::c_int,
    rest: [u8; 4],
}

// SAFETY: the pointers in `headers` and `_parts` lead into the other boxes and the region, which
// move with them; nobody else has them.
unsafe impl Send for Slots {}

impl Slots {
    fn new(len: usize) -> io::Result<Self> {
        let memory = Region::new(SLOTS * len)?;
        // SAFETY: plain C structs, for which zero is a value.
        let (header, part, control) = unsafe { (mem::zeroed(), mem::zeroed(), mem::zeroed()) };
        let mut headers: Box<[libc::mmsghdr]> = vec![header; SLOTS].into();
        let mut names: Box<[Name]> = vec![Name::EMPTY; SLOTS].into();
        let mut parts: Box<[libc::iovec]> = vec![part; SLOTS].into();
        let mut controls: Box<[Control]> = vec![control; SLOTS].into();
        let (name, part, control) = (names.as_mut_ptr(), parts.as_mut_ptr(), controls.as_mut_ptr());
        for (slot, header) in headers.iter_mut().enumerate() {
            let place = memory.place(slot * len, len).ok_or(io::ErrorKind::OutOfMemory)?;
            // SAFETY: `slot` is below the length of every box, and the boxes' memory stays where
            // it is when they move.
            unsafe {
                (*part.add(slot)).iov_base = place.as_ptr().cast();
                (*part.add(slot)).iov_len = len;
                header.msg_hdr.msg_name = (*name.add(slot)).as_mut_ptr();
                header.msg_hdr.msg_iov = part.add(slot);
                header.msg_hdr.msg_control = control.add(slot).cast();
            }
            header.msg_hdr.msg_iovlen = 1;
        }
        let mut slots = Self { headers, names, _parts: parts, controls, memory, len };
        slots.reset(SLOTS);
        Ok(slots)
    }

    /// Makes the first `count` slots fit to be received into again.
    fn reset(&mut self, count: usize) {
        for header in self.headers.iter_mut().take(count) {
            header.msg_hdr.msg_namelen = NAME_LEN as _;
            header.msg_hdr.msg_controllen = mem::size_of::<Control>() as _;
        }
    }

    /// Receives into the slots from `first` on, without waiting; returns where they end.
    fn receive(&mut self, socket: &UdpSocket, first: usize) -> io::Result<usize> {
        let Some(free) = self.headers.get_mut(first..).filter(|free| !free.is_empty()) else {
            return Ok(first);
        };
        for _ in 0..ERRORS_IN_A_ROW {
            // SAFETY: each header points to a name, a control message and a piece of memory that
            // are this slot's own, of the lengths that it tells; no reference to any is alive.
            let result = unsafe {
                libc::recvmmsg(
                    socket.as_raw_fd(),
                    free.as_mut_ptr(),
                    free.len() as _,
                    libc::MSG_DONTWAIT as _,
                    core::ptr::null_mut(),
                )
            };
            if let Ok(count) = usize::try_from(result) {
                return Ok(first + count);
            }
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                Some(libc::EAGAIN) => return Ok(first),
                Some(libc::ENOSYS | libc::EBADF | libc::EPERM | libc::EFAULT) => {
                    return Err(error);
                }
                // What an earlier datagram met on its way (ICMP) concerns that one.
                _ => {}
            }
        }
        Err(io::Error::other("the socket gives errors and no datagrams"))
    }

    /// Appends the datagrams of a slot that was received into.
    fn split(&self, slot: usize, received: &mut Vec<Received>) {
        let (Some(header), Some(name)) = (self.headers.get(slot), self.names.get(slot)) else {
            return;
        };
        let name_len = header.msg_hdr.msg_namelen as usize;
        // An address of no family that there is cannot be answered: nobody.
        let from = name.bytes().get(..name_len).and_then(Name::parse).unwrap_or(NOBODY);
        let len = (header.msg_len as usize).min(self.len);
        let segment = self.segment_len(slot, header).unwrap_or(len).max(1);
        let start = slot * self.len;
        let mut offset = 0;
        loop {
            let next = segment.min(len - offset);
            received.push(Received { from, offset: start + offset, len: next });
            offset += next;
            if offset >= len {
                break;
            }
        }
    }

    /// The length of the datagrams that this slot holds merged, if it does.
    fn segment_len(&self, slot: usize, header: &libc::mmsghdr) -> Option<usize> {
        let told = header.msg_hdr.msg_controllen;
        if told < (mem::size_of::<libc::cmsghdr>() + mem::size_of::<libc::c_int>()) as _ {
            return None;
        }
        let control = self.controls.get(slot)?;
        let is_merged =
            control.header.cmsg_level == libc::SOL_UDP && control.header.cmsg_type == libc::UDP_GRO;
        if is_merged { usize::try_from(control.segment_len).ok() } else { None }
    }

    fn bytes(&self, received: &Received) -> &[u8] {
        match self.memory.place(received.offset, received.len) {
            // SAFETY: the bytes are inside the region, and the kernel writes there only during
            // `receive`, which takes `&mut self`.
            Some(place) => unsafe { core::slice::from_raw_parts(place.as_ptr(), received.len) },
            None => &[],
        }
    }
}

/// Messages taken in one call.
const SLOTS: usize = 256;
/// More than the longest datagram, so that a longer one shows.
const SINGLE_LEN: usize = waylane_relay::io::BUFFER_LEN;
/// More than a merged message, and no multiple of a page, so that not all slots begin in the same
/// lines of the caches.
const MERGED_LEN: usize = (64 << 10) + 192;
/// Datagrams merged into one message.
const MERGED_MAX: usize = 128;
/// More than that many errors without a datagram are the socket's own.
const ERRORS_IN_A_ROW: u32 = 1000;
