//! A Cortex-M board under an emulator or debugger: output and exit through semihosting.

use core::panic::PanicInfo;

// Linked for its critical section.
use cortex_m as _;
use cortex_m_rt::entry;
use cortex_m_semihosting::debug;
pub(crate) use cortex_m_semihosting::hprintln as println;

#[entry]
fn main() -> ! {
    let good = crate::run();
    println!("stack: {} bytes at most", stack_used());
    debug::exit(if good { debug::EXIT_SUCCESS } else { debug::EXIT_FAILURE });
    wait_for_ever()
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    println!("{info}");
    debug::exit(debug::EXIT_FAILURE);
    wait_for_ever()
}

/// The deepest the stack has been: its memory was painted before `main`, and use takes paint off.
fn stack_used() -> usize {
    unsafe extern "C" {
        static _stack_start: u32;
        static _stack_end: u32;
    }
    let (top, bottom) = (&raw const _stack_start, &raw const _stack_end);
    let mut place = bottom;
    // SAFETY: the linker script puts the stack's memory from `bottom` up to `top`, in words; it
    // was painted before `main`, and volatile reads of RAM that the compiler uses are harmless.
    while place < top && unsafe { place.read_volatile() } == PAINT {
        place = place.wrapping_add(1);
    }
    top.addr() - place.addr()
}

/// Nobody listens to the exit: there is no debugger.
fn wait_for_ever() -> ! {
    loop {
        core::hint::spin_loop();
    }
}

/// What `cortex-m-rt` paints the stack with.
const PAINT: u32 = 0xcccc_cccc;
