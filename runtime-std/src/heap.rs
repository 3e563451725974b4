//! Core's memory, from the heap: made once, at start.

use waylane_core::memory::Lender;

/// Lends boxed slices.
#[derive(Debug)]
pub(crate) struct Heap;

impl Lender for Heap {
    type Slice<T> = Box<[T]>;

    fn lend<T>(&mut self, len: usize, make: fn() -> T) -> Box<[T]> {
        (0..len).map(|_| make()).collect()
    }
}
