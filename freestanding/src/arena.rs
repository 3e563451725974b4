//! A lender over one block of bytes: each slice is cut off the front of what is left.

use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

use waylane_core::memory::Lender;

/// Static memory, handed out piece by piece and never taken back.
pub(crate) struct Arena {
    rest: &'static mut [MaybeUninit<u8>],
}

impl Arena {
    /// All of `memory` to be lent.
    pub(crate) const fn new(memory: &'static mut [MaybeUninit<u8>]) -> Self {
        Self { rest: memory }
    }

    /// Bytes not yet lent.
    pub(crate) const fn left(&self) -> usize {
        self.rest.len()
    }
}

impl Lender for Arena {
    type Slice<T> = Lent<T>;

    /// # Panics
    /// If the memory is used up: all lending happens at start, so this is found at once.
    fn lend<T>(&mut self, len: usize, make: fn() -> T) -> Lent<T> {
        let rest = core::mem::take(&mut self.rest);
        let padding = rest.as_ptr().align_offset(align_of::<T>());
        let bytes = len.checked_mul(size_of::<T>()).and_then(|size| size.checked_add(padding));
        let (taken, rest) = bytes
            .and_then(|bytes| rest.split_at_mut_checked(bytes))
            .expect("MEMORY is large enough");
        self.rest = rest;
        let items = NonNull::from(&mut taken[padding..]).cast::<T>();
        for index in 0..len {
            // SAFETY: `items` is aligned for T behind the padding, and `len` items fit into the
            // bytes taken, which are 'static and nobody else's. Nothing is read or dropped here.
            unsafe { items.add(index).write(make()) };
        }
        Lent { items: NonNull::slice_from_raw_parts(items, len), owns: PhantomData }
    }
}

/// A slice in static memory that owns its items.
pub(crate) struct Lent<T> {
    /// Aligned, initialised, and reachable through nothing else.
    items: NonNull<[T]>,
    owns: PhantomData<T>,
}

impl<T> AsRef<[T]> for Lent<T> {
    fn as_ref(&self) -> &[T] {
        // SAFETY: the items are initialised and 'static; only through `self`, borrowed here, can
        // they be reached.
        unsafe { self.items.as_ref() }
    }
}

impl<T> AsMut<[T]> for Lent<T> {
    fn as_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and `self` is borrowed exclusively.
        unsafe { self.items.as_mut() }
    }
}

impl<T> Drop for Lent<T> {
    /// Drops the items, so that keys are wiped. The memory stays taken.
    fn drop(&mut self) {
        // SAFETY: the items are initialised, owned by `self`, and not used after this.
        unsafe { self.items.drop_in_place() };
    }
}
