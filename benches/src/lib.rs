//! What the benches, the allocation tests and the instruction counts share.

mod binding;
mod relay;
mod world;

pub use binding::Binding;
pub use relay::{Memory, Sessions, memory};
pub use world::{RELIABLE, UNRELIABLE, World};

use waylane_core::memory::Lender;

/// Lends from the heap.
#[derive(Clone, Copy, Default, Debug)]
pub struct Heap;

impl Lender for Heap {
    type Slice<T> = Box<[T]>;

    fn lend<T>(&mut self, len: usize, make: fn() -> T) -> Box<[T]> {
        (0..len).map(|_| make()).collect()
    }
}
