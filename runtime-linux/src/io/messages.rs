//! What is handed to the kernel for sending: one message for each run, and as many of them in a
//! call as there are.

use core::net::SocketAddr;
use core::{mem, ptr};
use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsRawFd as _, RawFd};
use std::sync::Once;

use waylane_relay::io::{Outgoing, Sent};
use waylane_relay::runs;

use super::name::Name;

/// The messages of one call, and all they point to.
pub(super) struct Messages {
    headers: Box<[libc::mmsghdr]>,
    names: Box<[Name]>,
    parts: Box<[libc::iovec]>,
    controls: Box<[Control]>,
    /// What the kernel may segment; longer datagrams leave one by one.
    segment_len_max: usize,
}

/// Room for one control message with the length of the segments.
#[derive(Clone, Copy)]
#[repr(C)]
struct Control {
    header: libc::cmsghdr,
    segment_len: u16,
    /// To the next multiple of a word, as `CMSG_SPACE` has it.
    rest: [u8; mem::size_of::<usize>() - 2],
}

// SAFETY: the pointers in `headers` and `parts` are written anew by `build` before each use, and
// lead into the other boxes or into what was lent for that call.
unsafe impl Send for Messages {}

impl Messages {
    pub(super) fn new(segments: bool) -> Self {
        // SAFETY: plain C structs, for which zero is a value.
        let (header, part, control) = unsafe { (mem::zeroed(), mem::zeroed(), mem::zeroed()) };
        Self {
            headers: vec![header; MESSAGES_MAX].into(),
            names: vec![Name::EMPTY; MESSAGES_MAX].into(),
            parts: vec![part; MESSAGES_MAX].into(),
            controls: vec![control; MESSAGES_MAX].into(),
            segment_len_max: if segments { usize::MAX } else { 0 },
        }
    }

    /// Sends `outgoing`, of which `bytes` tells the bytes by index, and counts what became of each.
    pub(super) fn send<'b>(
        &mut self,
        sockets: &[(SocketAddr, UdpSocket)],
        outgoing: &[Outgoing],
        bytes: impl Fn(usize) -> &'b [u8],
        sent: &mut Sent,
    ) {
        let mut rest = outgoing;
        while let Some(first) = rest.first() {
            // A family's datagrams stand together only by chance; each stretch is one call.
            let is_v4 = first.to.is_ipv4();
            let len = rest.iter().take_while(|next| next.to.is_ipv4() == is_v4).count();
            let (stretch, after) = rest.split_at(len);
            rest = after;
            match sockets.iter().find(|(local, _)| local.is_ipv4() == is_v4) {
                Some((_, socket)) => self.send_stretch(socket.as_raw_fd(), stretch, &bytes, sent),
                None => count(sent, stretch, Err(libc::ENETUNREACH)),
            }
        }
    }

    /// Sends what is for one socket, call after call until each was taken or refused.
    fn send_stretch<'b>(
        &mut self,
        socket: RawFd,
        stretch: &[Outgoing],
        bytes: impl Fn(usize) -> &'b [u8],
        sent: &mut Sent,
    ) {
        let mut rest = stretch;
        while !rest.is_empty() {
            let batch = self.build(rest, &bytes);
            // SAFETY: `build` gave messages that point to live memory, and what lent it to `bytes`
            // stays borrowed until the call has returned.
            let result = unsafe {
                let len = batch.len() as libc::c_uint;
                libc::sendmmsg(socket, batch.as_mut_ptr(), len, libc::MSG_DONTWAIT as _)
            };
            let error = io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
            let taken = usize::try_from(result).unwrap_or(0);
            let mut done = 0;
            let mut planned = runs(rest, self.segment_len_max);
            for run in planned.by_ref().take(taken) {
                count(sent, run, Ok(()));
                done += run.len();
            }
            // The call ends before a message that is refused; why is told only if it is the first.
            if taken == 0
                && let Some(run) = planned.next()
                && error != libc::EINTR
                && !self.learn(run, error)
            {
                count(sent, run, Err(error));
                done += run.len();
            }
            rest = rest.get(done..).unwrap_or_default();
        }
    }

    /// The messages for as much of `outgoing` as there is room for. They may be used until what
    /// `bytes` gave may change.
    fn build<'b>(
        &mut self,
        outgoing: &[Outgoing],
        bytes: impl Fn(usize) -> &'b [u8],
    ) -> &mut [libc::mmsghdr] {
        let (names, parts) = (self.names.as_mut_ptr(), self.parts.as_mut_ptr());
        let controls = self.controls.as_mut_ptr();
        let (mut part, mut count) = (0, 0);
        for run in runs(outgoing, self.segment_len_max) {
            let (Some(first), Some(header)) = (run.first(), self.headers.get_mut(count)) else {
                break;
            };
            if part + run.len() > MESSAGES_MAX {
                break;
            }
            let (name, name_len) = Name::of(first.to);
            // SAFETY: `count` is below the length of every box, and `part + run.len()` no more
            // than that of `parts`, as tested above; the boxes live as long as `self`, and
            // nothing else refers to their elements here. `iov_base` is only read from: by sends.
            unsafe {
                *names.add(count) = name;
                header.msg_hdr.msg_name = (*names.add(count)).as_mut_ptr();
                header.msg_hdr.msg_iov = parts.add(part);
                for datagram in run {
                    let bytes = bytes(datagram.index);
                    (*parts.add(part)).iov_base = bytes.as_ptr().cast_mut().cast();
                    (*parts.add(part)).iov_len = bytes.len();
                    part += 1;
                }
                *controls.add(count) = Control::of(first.len);
                header.msg_hdr.msg_control = controls.add(count).cast();
            }
            header.msg_hdr.msg_namelen = name_len;
            header.msg_hdr.msg_iovlen = run.len() as _;
            if run.len() == 1 {
                header.msg_hdr.msg_control = ptr::null_mut();
            }
            header.msg_hdr.msg_controllen =
                if run.len() == 1 { 0 } else { mem::size_of::<Control>() as _ };
            count += 1;
        }
        self.headers.get_mut(..count).unwrap_or_default()
    }

    /// Whether a run that was refused for this reason may leave datagram by datagram; such runs
    /// are not built again.
    fn learn(&mut self, run: &[Outgoing], error: i32) -> bool {
        let Some(first) = run.first().filter(|_| run.len() > 1) else { return false };
        match error {
            // The way out has no checksums by the device, or none of this length.
            libc::EIO | libc::EOPNOTSUPP | libc::ENOPROTOOPT => {
                static SAID: Once = Once::new();
                SAID.call_once(|| {
                    tracing::warn!(
                        "there is a way out on which the system does not segment: \
                                    each datagram is sent by itself"
                    );
                });
                self.segment_len_max = 0;
                true
            }
            libc::EINVAL | libc::EMSGSIZE => {
                self.segment_len_max = self.segment_len_max.min(first.len.saturating_sub(1));
                true
            }
            _ => false,
        }
    }
}

/// Counts a run that the kernel took, or did not for the reason `error`.
fn count(sent: &mut Sent, run: &[Outgoing], result: Result<(), i32>) {
    match result {
        Ok(()) => sent.took(run.len(), run.iter().map(|datagram| datagram.len).sum()),
        Err(error) => {
            let error = io::Error::from_raw_os_error(error);
            run.iter().for_each(|_| sent.refused(&error));
        }
    }
}

impl Control {
    fn of(segment_len: usize) -> Self {
        // SAFETY: it is made of integers. By name it cannot be made: musl's has padding of its own.
        let mut header: libc::cmsghdr = unsafe { mem::zeroed() };
        header.cmsg_len = (mem::size_of::<libc::cmsghdr>() + 2) as _;
        header.cmsg_level = libc::SOL_UDP;
        header.cmsg_type = libc::UDP_SEGMENT;
        Self { header, segment_len: segment_len as u16, rest: [0; _] }
    }
}

/// Datagrams in one call.
const MESSAGES_MAX: usize = 256;
