//! How a worker gets datagrams and sends them.

mod batch;
mod outlet;
mod sent;
mod udp;

use core::net::SocketAddr;
use core::time::Duration;
use std::io;
use std::sync::Arc;

pub use batch::{BUFFER_LEN, Batch};
pub use outlet::{Outlet, Sockets};
pub(crate) use sent::RUN_BUCKETS;
pub use sent::{SendFailures, Sent};
pub use udp::{BindError, Udp, open};

/// A way to receive and send datagrams in batches. The back end keeps the memory they lie in, so
/// that what is forwarded leaves from where it arrived.
pub trait Io {
    /// Makes ready to be used on this thread, and on no other until the next start.
    ///
    /// # Errors
    /// What makes it impossible.
    fn start(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Forgets what was received before, waits at most `wait` for datagrams, and returns how many
    /// there are now. Returns early with none when it is woken.
    ///
    /// # Errors
    /// Only what makes receiving impossible for good.
    fn receive(&mut self, wait: Duration) -> io::Result<usize>;

    /// As [`receive`](Self::receive), but takes nothing more from the sockets: what is left of what
    /// the system gave ahead of being asked. After it the back end is to be started again.
    ///
    /// # Errors
    /// As of [`receive`](Self::receive).
    fn finish(&mut self) -> io::Result<usize> {
        Ok(0)
    }

    /// A datagram received by the latest [`receive`](Self::receive), and where it came from. One
    /// that is longer than any may be is cut, but not to a legal length.
    fn datagram(&self, index: usize) -> Option<(SocketAddr, &[u8])>;

    /// Sends received datagrams on, in the order given, and counts in `sent` what became of each.
    /// What the system does not take at once is lost, as anything on the way may be.
    fn send(&mut self, outgoing: &[Outgoing], sent: &mut Sent);

    /// Asks for memory that is about to be read. No more than a hint, whatever the pointer.
    fn prefetch(&self, _: *const u8) {}

    /// Ends the wait of [`receive`](Self::receive) from another thread: the present one, or else
    /// the next.
    fn waker(&self) -> Waker;
}

/// A received datagram that is to be sent on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outgoing {
    /// Which of the received ones.
    pub index: usize,
    /// Its length.
    pub len: usize,
    /// Where to.
    pub to: SocketAddr,
}

/// Wakes a back end from another thread.
#[derive(Clone)]
pub struct Waker(Arc<dyn Fn() + Send + Sync>);

impl Waker {
    /// A waker that does this.
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(wake))
    }

    /// Wakes it.
    pub fn wake(&self) {
        (self.0)();
    }
}

impl core::fmt::Debug for Waker {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Waker")
    }
}

/// A back end chosen when the relay starts.
impl<I: Io + ?Sized> Io for Box<I> {
    fn start(&mut self) -> io::Result<()> {
        (**self).start()
    }

    fn receive(&mut self, wait: Duration) -> io::Result<usize> {
        (**self).receive(wait)
    }

    fn finish(&mut self) -> io::Result<usize> {
        (**self).finish()
    }

    fn datagram(&self, index: usize) -> Option<(SocketAddr, &[u8])> {
        (**self).datagram(index)
    }

    fn send(&mut self, outgoing: &[Outgoing], sent: &mut Sent) {
        (**self).send(outgoing, sent);
    }

    fn prefetch(&self, place: *const u8) {
        (**self).prefetch(place);
    }

    fn waker(&self) -> Waker {
        (**self).waker()
    }
}
