//! `io_uring`: datagrams arrive in provided buffers without being asked for one by one. What goes
//! on leaves by `sendmmsg`: a send in the ring costs more, and saves no call when a batch is one.

use core::mem;
use core::net::SocketAddr;
use core::time::Duration;
use std::collections::VecDeque;
use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsRawFd as _, RawFd};

use io_uring::types::{CancelBuilder, Fd, Fixed, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode};
use waylane_relay::Io;
use waylane_relay::io::{Outgoing, Sent, Waker};

use super::messages::Messages;
use super::name::NAME_LEN;
use super::provided::{Arrived, BUFFERS, Provided};
use super::wake::Wake;
use super::{Received, can_merge, prefetch, segments};

/// At most one IPv4 and one IPv6 socket, and a ring on the thread that started it.
pub struct Uring {
    sockets: Vec<(SocketAddr, UdpSocket)>,
    wake: Wake,
    messages: Messages,
    received: Vec<Received>,
    ring: Option<Ring>,
}

impl Uring {
    /// A back end over these sockets, as [`open`](super::open) makes them. Whether the system has
    /// an `io_uring` that serves, and gives it to this process, is told by the first start.
    ///
    /// # Errors
    /// The system's, when it has no more descriptors.
    pub fn new(sockets: Vec<UdpSocket>) -> io::Result<Self> {
        let local = |socket: UdpSocket| Ok((socket.local_addr()?, socket));
        let sockets: Vec<_> = sockets.into_iter().map(local).collect::<io::Result<_>>()?;
        // What came merged could not be told apart here.
        sockets.iter().for_each(|(_, socket)| _ = can_merge(socket));
        let segmenting = sockets.iter().all(|(_, socket)| segments(socket));
        Ok(Self {
            sockets,
            wake: Wake::new()?,
            messages: Messages::new(segmenting),
            received: Vec::with_capacity(BUFFERS),
            ring: None,
        })
    }
}

impl Io for Uring {
    fn start(&mut self) -> io::Result<()> {
        self.received.clear();
        self.ring = None;
        let fds: Vec<RawFd> = self.sockets.iter().map(|(_, socket)| socket.as_raw_fd()).collect();
        self.ring = Some(Ring::new(&fds, self.wake.fd())?);
        Ok(())
    }

    fn receive(&mut self, wait: Duration) -> io::Result<usize> {
        let ring = self.ring.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        ring.provided.give_back_taken();
        self.received.clear();
        let mut wait = Some(wait);
        loop {
            ring.complete()?;
            if mem::take(&mut ring.is_woken) {
                // Before it is watched again, which would tell the same wake once more.
                self.wake.clear();
                wait = None;
            }
            while self.received.len() < BATCH
                && let Some(arrived) = ring.arrived.pop_front()
            {
                if let Some(received) = ring.provided.take(arrived) {
                    self.received.push(received);
                }
            }
            if self.received.len() >= BATCH {
                break;
            }
            ring.arm()?;
            if ring.has_more_to_do() {
                ring.submit()?;
            } else if self.received.is_empty()
                && let Some(wait) = wait.take().filter(|wait| !wait.is_zero())
            {
                ring.wait(wait)?;
            } else {
                break;
            }
        }
        Ok(self.received.len())
    }

    fn finish(&mut self) -> io::Result<usize> {
        let Some(ring) = self.ring.as_mut() else { return Ok(0) };
        ring.provided.give_back_taken();
        self.received.clear();
        ring.cancel()?;
        ring.complete()?;
        while self.received.len() < BATCH
            && let Some(arrived) = ring.arrived.pop_front()
        {
            if let Some(received) = ring.provided.take(arrived) {
                self.received.push(received);
            }
        }
        Ok(self.received.len())
    }

    fn datagram(&self, index: usize) -> Option<(SocketAddr, &[u8])> {
        let received = self.received.get(index)?;
        Some((received.from, self.ring.as_ref()?.provided.bytes(received)))
    }

    fn send(&mut self, outgoing: &[Outgoing], sent: &mut Sent) {
        let Self { sockets, messages, received, ring: Some(ring), .. } = self else { return };
        let bytes = |index: usize| {
            received.get(index).map_or(&[][..], |received| ring.provided.bytes(received))
        };
        messages.send(sockets, outgoing, bytes, sent);
    }

    fn prefetch(&self, place: *const u8) {
        prefetch(place);
    }

    fn waker(&self) -> Waker {
        self.wake.waker()
    }
}

/// The kernel's side of it.
struct Ring {
    // Dropped first: what the others hold is the kernel's until the ring is gone.
    ring: IoUring,
    provided: Provided,
    /// What each receive is asked to tell: a name, and no control messages.
    header: Box<libc::msghdr>,
    arrived: VecDeque<Arrived>,
    /// The sockets that the ring receives from without being asked again.
    armed: Vec<bool>,
    wake: RawFd,
    wake_armed: bool,
    is_woken: bool,
    errors: u32,
}

// SAFETY: `header` points to nothing, and the ring's memory is the process's, not the thread's.
// The kernel itself refuses what another thread than the starting one asks of it.
unsafe impl Send for Ring {}

impl Ring {
    fn new(sockets: &[RawFd], wake: RawFd) -> io::Result<Self> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_cqsize(COMPLETIONS)
            .build(REQUESTS)?;
        let submitter = ring.submitter();
        submitter.register_files(sockets)?;
        let provided = Provided::new(&submitter)?;
        // SAFETY: a plain C struct, for which zero is a value.
        let mut header: Box<libc::msghdr> = Box::new(unsafe { mem::zeroed() });
        header.msg_namelen = NAME_LEN as _;
        let mut ring = Self {
            ring,
            provided,
            header,
            arrived: VecDeque::with_capacity(BUFFERS),
            armed: vec![false; sockets.len()],
            wake,
            wake_armed: false,
            is_woken: false,
            errors: 0,
        };
        // So that what cannot be had is known at once.
        ring.arm()?;
        ring.submit()?;
        Ok(ring)
    }

    /// Asks for everything that has ended and should go on.
    fn arm(&mut self) -> io::Result<()> {
        let Self { ring, header, armed, .. } = self;
        for (number, armed) in armed.iter_mut().enumerate().filter(|(_, armed)| !**armed) {
            let socket = Fixed(number as u32);
            let receive = opcode::RecvMsgMulti::new(socket, &raw const **header, Provided::GROUP)
                .build()
                .user_data(RECEIVE | number as u64);
            // SAFETY: the header lives and stays as it is as long as the ring.
            unsafe { ring.submission().push(&receive) }.map_err(io::Error::other)?;
            *armed = true;
        }
        if !self.wake_armed {
            let poll = opcode::PollAdd::new(Fd(self.wake), libc::POLLIN as u32);
            // SAFETY: a poll has no memory.
            unsafe { ring.submission().push(&poll.build().user_data(WAKE)) }
                .map_err(io::Error::other)?;
            self.wake_armed = true;
        }
        Ok(())
    }

    /// Whether there is something for the kernel, or it has something to finish for us.
    fn has_more_to_do(&mut self) -> bool {
        let queue = self.ring.submission();
        !queue.is_empty() || queue.taskrun() || queue.cq_overflow()
    }

    fn submit(&self) -> io::Result<()> {
        tolerate(self.ring.submit())
    }

    /// Receives no more; what the kernel has received already is complete after this.
    fn cancel(&self) -> io::Result<()> {
        let all = CancelBuilder::any();
        match self.ring.submitter().register_sync_cancel(None, all) {
            Ok(()) => self.submit(),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => self.submit(),
            Err(error) => Err(error),
        }
    }

    /// Until something is complete, or for so long.
    fn wait(&self, wait: Duration) -> io::Result<()> {
        let limit = Timespec::from(wait.min(WAIT_MAX));
        let args = SubmitArgs::new().timespec(&limit);
        tolerate(self.ring.submitter().submit_with_args(1, &args))
    }

    /// Takes what is complete.
    fn complete(&mut self) -> io::Result<()> {
        for entry in self.ring.completion() {
            let number = (entry.user_data() & NUMBER) as usize;
            match entry.user_data() & !NUMBER {
                RECEIVE => {
                    if let Some(buffer) = cqueue::buffer_select(entry.flags()) {
                        let len = entry.result().try_into().unwrap_or(0);
                        self.arrived.push_back(Arrived { buffer, len });
                        self.errors = 0;
                    } else if entry.result() != -libc::ENOBUFS {
                        // What an earlier datagram met on its way (ICMP) concerns that one.
                        self.errors += 1;
                        if self.errors > ERRORS_IN_A_ROW {
                            return Err(io::Error::from_raw_os_error(-entry.result()));
                        }
                    }
                    if !cqueue::more(entry.flags())
                        && let Some(armed) = self.armed.get_mut(number)
                    {
                        *armed = false;
                    }
                }
                _ => (self.wake_armed, self.is_woken) = (false, true),
            }
        }
        Ok(())
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // What is under way is called back at once; where that is refused, as on another thread
        // than the ring's, the kernel does it when the descriptor closes, and runs none of it.
        drop(self.ring.submitter().register_sync_cancel(None, CancelBuilder::any()));
    }
}

/// What is no error of the ring's: a time-out, a signal, and completions that wait to be taken.
fn tolerate(result: io::Result<usize>) -> io::Result<()> {
    match result {
        Ok(_) => Ok(()),
        Err(error) => match error.raw_os_error() {
            Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN) => Ok(()),
            _ => Err(error),
        },
    }
}

/// What a completion is about: its kind above, a number below.
const NUMBER: u64 = 0xffff_ffff;
const RECEIVE: u64 = 1 << 32;
const WAKE: u64 = 2 << 32;
/// Datagrams taken in one turn.
const BATCH: usize = 256;
/// A receive for each socket, and the wake.
const REQUESTS: u32 = 8;
/// Completions of every buffer, and what else there may be.
const COMPLETIONS: u32 = 1024;
const WAIT_MAX: Duration = Duration::from_secs(3600);
/// More than that many errors without a datagram are the socket's own.
const ERRORS_IN_A_ROW: u32 = 1000;
