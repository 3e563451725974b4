//! Ends a wait in the kernel from another thread.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _, RawFd};
use std::sync::Arc;

use waylane_relay::io::Waker;

/// An eventfd: readable once it was written to, until it is cleared.
#[derive(Debug)]
pub(crate) struct Wake(Arc<File>);

impl Wake {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: no pointers are involved; the result is checked.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` was just opened and belongs to nobody else.
        Ok(Self(Arc::new(unsafe { File::from_raw_fd(fd) })))
    }

    pub(crate) fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Forgets that it was woken; tells whether it was.
    pub(crate) fn clear(&self) -> bool {
        (&*self.0).read(&mut [0; 8]).is_ok()
    }

    pub(crate) fn waker(&self) -> Waker {
        let file = Arc::clone(&self.0);
        Waker::new(move || {
            // Only a counter that is full refuses, and then the wake is told already.
            drop((&*file).write(&1_u64.to_ne_bytes()));
        })
    }
}
