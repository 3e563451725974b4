//! A hosted machine, of which only libc's `write` and `_exit` are used.

use core::ffi::{c_int, c_void};
use core::fmt;
use core::panic::PanicInfo;

/// Prints a line, like the board's.
macro_rules! println {
    ($($part:tt)*) => {
        $crate::platform::print_line(format_args!($($part)*))
    };
}
pub(crate) use println;

/// Prints a line to standard output.
pub(crate) fn print_line(line: fmt::Arguments<'_>) {
    // A full disk or a closed pipe is nothing a demonstration need care about.
    let _ = fmt::write(&mut Output, format_args!("{line}\n"));
}

struct Output;

impl fmt::Write for Output {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // SAFETY: the pointer and length are those of a live string; `write` only reads it.
        let written = unsafe { write(1, text.as_ptr().cast(), text.len()) };
        if written < 0 { Err(fmt::Error) } else { Ok(()) }
    }
}

#[unsafe(no_mangle)]
extern "C" fn main() -> c_int {
    c_int::from(!crate::run())
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    println!("{info}");
    // SAFETY: `_exit` has no preconditions.
    unsafe { _exit(2) }
}

#[link(name = "c")]
unsafe extern "C" {
    fn write(file: c_int, bytes: *const c_void, len: usize) -> isize;
    fn _exit(status: c_int) -> !;
}
