//! Memory straight from the kernel: for buffers that it writes to, and for large tables.

use core::fmt;
use core::marker::PhantomData;
use core::ptr::{self, NonNull};
use std::io;
use std::os::fd::RawFd;
#[cfg(feature = "ebpf")]
use std::os::fd::{AsRawFd as _, BorrowedFd};

use waylane_core::relay::{HotEntry, IndexBucket, RelayLimits};
use waylane_relay::SharedTables;

/// Tables for a relay of these limits in the largest pages there are to be had.
///
/// # Errors
/// When there is no memory.
pub fn tables(limits: RelayLimits) -> io::Result<(SharedTables, Pages)> {
    let (hot, pages) = Table::<HotEntry>::new(limits.hot_entries())?;
    let (index, _) = Table::<IndexBucket>::new(limits.index_buckets())?;
    Ok((SharedTables::lent(hot, index), pages))
}

/// Tables in the kernel's own arrays, mapped: `hot` of 64 bytes for each entry, `index` of 64 for each
/// bucket.
///
/// # Errors
/// When the kernel refuses, or an array is too small.
#[cfg(feature = "ebpf")]
pub(crate) fn lent_tables(
    hot: BorrowedFd<'_>,
    index: BorrowedFd<'_>,
    limits: RelayLimits,
) -> io::Result<SharedTables> {
    let hot = Table::<HotEntry>::of(hot, limits.hot_entries())?;
    let index = Table::<IndexBucket>::of(index, limits.index_buckets())?;
    Ok(SharedTables::lent(hot, index))
}

/// What kind of pages memory has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pages {
    /// Set aside by the administrator (`vm.nr_hugepages`).
    Huge,
    /// Huge ones wherever the kernel can make them.
    TransparentHuge,
    /// Ordinary ones.
    Ordinary,
}

impl fmt::Display for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Huge => "huge",
            Self::TransparentHuge => "transparent huge",
            Self::Ordinary => "ordinary",
        })
    }
}

/// A mapping, zero until written to; its owner says who may touch which part when.
pub(crate) struct Region {
    start: NonNull<u8>,
    len: usize,
}

impl Region {
    /// `len` bytes in ordinary pages.
    pub(crate) fn new(len: usize) -> io::Result<Self> {
        Self::map(len, 0)
    }

    /// `len` bytes in huge pages if there are any.
    pub(crate) fn huge(len: usize) -> io::Result<(Self, Pages)> {
        let whole = len.next_multiple_of(HUGE_PAGE);
        if len >= HUGE_PAGE
            && let Ok(region) = Self::map(whole, libc::MAP_HUGETLB)
        {
            return Ok((region, Pages::Huge));
        }
        let region = Self::map(whole, 0)?;
        // SAFETY: advises about the mapping just made and changes nothing that can be seen.
        let advised =
            unsafe { libc::madvise(region.start.as_ptr().cast(), region.len, libc::MADV_HUGEPAGE) };
        let pages = if advised == 0 { Pages::TransparentHuge } else { Pages::Ordinary };
        Ok((region, pages))
    }

    /// The first `len` bytes of what `file` is; the kernel refuses more than it holds.
    #[cfg(feature = "ebpf")]
    fn of(file: BorrowedFd<'_>, len: usize) -> io::Result<Self> {
        Self::map_from(len, libc::MAP_SHARED, file.as_raw_fd())
    }

    pub(crate) const fn start(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// The place `offset` bytes in; `None` if `len` bytes from there are not all inside.
    pub(crate) fn place(&self, offset: usize, len: usize) -> Option<NonNull<u8>> {
        if offset.checked_add(len)? > self.len {
            return None;
        }
        // SAFETY: `offset` is within the mapping, as just tested.
        Some(unsafe { self.start.add(offset) })
    }

    fn map(len: usize, flags: libc::c_int) -> io::Result<Self> {
        Self::map_from(len, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | flags, -1)
    }

    fn map_from(len: usize, flags: libc::c_int, file: RawFd) -> io::Result<Self> {
        let len = len.max(1);
        // SAFETY: a fresh mapping at an address of the kernel's choice overlaps nothing.
        let start = unsafe {
            libc::mmap(ptr::null_mut(), len, libc::PROT_READ | libc::PROT_WRITE, flags, file, 0)
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, len })
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: this is the mapping made by `map`, and nothing borrowed from it is left.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

// SAFETY: a region is memory and nothing of the thread that made it.
unsafe impl Send for Region {}
// SAFETY: by `&self` it gives out nothing but its address.
unsafe impl Sync for Region {}

/// So many `T`, all zero.
struct Table<T> {
    region: Region,
    count: usize,
    of: PhantomData<T>,
}

impl<T: Zeroed> Table<T> {
    fn new(count: usize) -> io::Result<(Self, Pages)> {
        let len = count.checked_mul(size_of::<T>()).ok_or(io::ErrorKind::OutOfMemory)?;
        let (region, pages) = Region::huge(len)?;
        Ok((Self { region, count, of: PhantomData }, pages))
    }

    /// Of what the kernel writes too, as it does: word by word, each at once.
    #[cfg(feature = "ebpf")]
    fn of(file: BorrowedFd<'_>, count: usize) -> io::Result<Self> {
        let len = count.checked_mul(size_of::<T>()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { region: Region::of(file, len)?, count, of: PhantomData })
    }
}

impl<T: Zeroed> AsRef<[T]> for Table<T> {
    fn as_ref(&self) -> &[T] {
        // SAFETY: the region is `count` times the size of `T` or more, starts at a page and so is
        // aligned for it, was zero, which is a `T` (as is whatever a kernel's array holds), and
        // lives as long as the table. Whoever writes to it does so by the atomics that `T` is made
        // of, or, in the kernel, by whole words.
        unsafe { core::slice::from_raw_parts(self.region.start().cast(), self.count) }
    }
}

/// A type made of nothing but 32-bit atomics.
///
/// # Safety
/// Zero bytes must be a value of the type, and its alignment no more than a page's.
unsafe trait Zeroed: Sync + Send {}
// SAFETY: `repr(C)`, sixteen `AtomicU32`.
unsafe impl Zeroed for HotEntry {}
// SAFETY: `repr(C)`, sixteen `AtomicU32`.
unsafe impl Zeroed for IndexBucket {}

const HUGE_PAGE: usize = 2 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_have_their_sizes() {
        let limits = RelayLimits { sessions: 100_000, pending: 1 };
        let (shared, _) = tables(limits).unwrap();
        let tables = shared.tables();
        let sizes = (limits.hot_entries(), limits.index_buckets());
        assert_eq!((tables.hot.len(), tables.index.len()), sizes);
    }

    #[test]
    fn places_are_inside() {
        let region = Region::new(5000).unwrap();
        assert!(region.place(0, 5000).is_some() && region.place(4000, 1000).is_some());
        assert!(region.place(4000, 1001).is_none() && region.place(usize::MAX, 2).is_none());
    }
}
