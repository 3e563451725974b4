//! The seam to a path that forwards below the sockets what workers would have forwarded.

use core::fmt;
use std::io;
use std::time::Instant;

use waylane_core::relay::{Counters, Forwarding};

/// Forwards data between live sessions by the relay's own tables before it reaches a socket; what
/// it does not take, the workers get.
pub trait FastPath: fmt::Debug + Send + Sync {
    /// Forwards from now on, by these rules, on the clock that was at its zero at `zero`.
    ///
    /// # Errors
    /// When it cannot; then the workers get everything.
    fn begin(&self, forwarding: Forwarding, zero: Instant) -> io::Result<()>;

    /// Leaves everything to the workers, and its place to another relay's, until it begins again.
    fn end(&self);

    /// What ended in it so far: what it forwarded and what it dropped.
    fn counters(&self) -> FastPathCounters;
}

/// What ended in a fast path: no worker received any of it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct FastPathCounters {
    /// UDP payload bytes of all that ended there, forwarded or dropped.
    pub received_bytes: u64,
    /// What became of it.
    pub forward: Counters,
}
