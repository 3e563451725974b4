//! Two players and a relay in static memory, without std, allocator or operating system.
//!
//! They bind, connect, exchange reliable and unreliable messages over a link that loses every
//! seventh datagram, and say goodbye; the exit status is 0 if everything arrived as promised.
//! `docs/embedding.md` walks through this program.
#![no_std]
#![no_main]

mod arena;
mod game;
#[cfg_attr(target_os = "none", path = "board.rs")]
#[cfg_attr(target_arch = "wasm32", path = "web.rs")]
#[cfg_attr(not(any(target_os = "none", target_arch = "wasm32")), path = "host.rs")]
mod platform;
mod world;

use core::mem::MaybeUninit;

use arena::Arena;
use platform::println;

/// Everything the endpoints and the relay are made of.
static mut MEMORY: [MaybeUninit<u8>; MEMORY_LEN] = [MaybeUninit::uninit(); MEMORY_LEN];

/// What the limits of [`world`] ask for on a 64-bit machine, rounded up.
const MEMORY_LEN: usize = 168 * 1024;

/// Plays, and answers whether everything arrived.
fn run() -> bool {
    let memory = &raw mut MEMORY;
    // SAFETY: this is the only place that names MEMORY, and `run` is called once, by the entry
    // point of the platform: nobody else ever has a reference to it.
    let mut arena = Arena::new(unsafe { &mut *memory });
    let outcome = game::play(&mut arena);
    println!("static memory: {} of {MEMORY_LEN} bytes", MEMORY_LEN - arena.left());
    match outcome {
        Ok(score) => println!("{score}"),
        Err(why) => println!("failed: {why}"),
    }
    outcome.is_ok()
}
