//! How a worker gets datagrams and sends them.

mod batch;
mod udp;

use core::time::Duration;
use std::io;

pub use batch::{BUFFER_LEN, Batch, Outgoing};
pub use udp::{BindError, Udp};

/// A way to receive and send datagrams in batches, with buffers that are used again and again.
pub trait Io {
    /// Waits at most `wait` for datagrams and puts what is there into the empty `batch`, each with
    /// the address it came from. Returns early with an empty batch when there is nothing.
    ///
    /// # Errors
    /// Only what makes receiving impossible for good.
    fn receive(&mut self, wait: Duration, batch: &mut Batch) -> io::Result<()>;

    /// Sends `outgoing` from the batch's buffers, and returns how many of them could not be sent:
    /// they are lost, as anything on the way may be. Datagrams to one destination leave in the
    /// order given.
    fn send(&mut self, batch: &Batch, outgoing: &[Outgoing]) -> usize;
}
