//! Threads that stay where they are.

use core::mem;
use std::io;

/// Keeps this thread on one of the processors that it may run on: the `number`th, counted round.
///
/// # Errors
/// The system's, when it refuses.
pub fn pin(number: usize) -> io::Result<()> {
    // SAFETY: a plain C struct, for which zero is a value.
    let mut allowed: libc::cpu_set_t = unsafe { mem::zeroed() };
    let len = mem::size_of::<libc::cpu_set_t>();
    // SAFETY: the set is as long as told.
    if unsafe { libc::sched_getaffinity(0, len, &raw mut allowed) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: each number is below the size of the set.
    let is_allowed = |n: &usize| unsafe { libc::CPU_ISSET(*n, &allowed) };
    let count = (0..libc::CPU_SETSIZE as usize).filter(is_allowed).count().max(1);
    let mine = (0..libc::CPU_SETSIZE as usize).filter(is_allowed).nth(number % count);
    // SAFETY: a plain C struct, for which zero is a value.
    let mut only: libc::cpu_set_t = unsafe { mem::zeroed() };
    // SAFETY: the number is below the size of the set.
    unsafe { libc::CPU_SET(mine.unwrap_or_default(), &mut only) };
    // SAFETY: the set is as long as told.
    if unsafe { libc::sched_setaffinity(0, len, &raw const only) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
