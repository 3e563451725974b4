//! What the shared tables are made of: core's atomics, or loom's, under which a test tries every
//! order in which threads can run and every value that memory can show them.

#[cfg(not(loom))]
pub(super) use core::hint::spin_loop;
#[cfg(not(loom))]
pub(super) use core::sync::atomic::{AtomicU32, Ordering, fence};
#[cfg(loom)]
pub(super) use loom::hint::spin_loop;
#[cfg(loom)]
pub(super) use loom::sync::atomic::{AtomicU32, Ordering, fence};
