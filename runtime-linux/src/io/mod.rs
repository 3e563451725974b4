//! The back ends, and the sockets they are over.

mod messages;
mod mmsg;
mod name;
mod provided;
mod socket;
mod thread;
mod uring;
mod wake;

use core::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

pub use mmsg::Mmsg;
pub use socket::{open, open_shared};
pub use thread::pin;
pub use uring::Uring;

pub(crate) use socket::{can_merge, merge, segments};
#[cfg(feature = "ebpf")]
pub(crate) use wake::Wake;

/// Where a received datagram lies.
#[derive(Clone, Copy)]
struct Received {
    from: SocketAddr,
    offset: usize,
    len: usize,
}

/// Asks the processor to fetch a line that is about to be read.
fn prefetch(place: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch of any address at all has no effect that can be seen; SSE is part of
    // every x86-64.
    unsafe {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(place.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}

/// An address that nobody sends from.
const NOBODY: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));
