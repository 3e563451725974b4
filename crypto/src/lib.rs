//! Cryptography providers for waylane-core.
//!
//! | provider | feature | needs | for |
//! | --- | --- | --- | --- |
//! | `ring::Ring` | `ring` (default) | an allocator | every program with an operating system |
//! | `pure::Pure` | `pure` | nothing: `no_std`, no allocator | freestanding targets |
//!
//! Both implement [`Crypto`](waylane_core::crypto::Crypto), agree byte for byte and pass the same
//! tests. Randomness is an argument of both: anything that is [`Random`].
//!
//! Feature `std` (default) finds the CPU's AES instructions at run time; without it they count
//! only if the program is compiled for them, and [`Suites`](waylane_core::crypto::Suites) is
//! ChaCha20-Poly1305 alone otherwise.
//!
//! # What is wiped
//! Raw keys are [`Secret`](waylane_core::crypto::Secret)s, overwritten on drop. `Pure` wipes its
//! prepared keys too, and X25519 its scalars, as far as the crates know of them: copies in
//! registers, on the stack, and those a move leaves behind stay. ring's prepared AEAD and HMAC
//! keys are not wiped when dropped: ring has no way to do so.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "std")]
extern crate std;

#[cfg(any(feature = "ring", feature = "pure"))]
mod cpu;
#[cfg(any(feature = "ring", feature = "pure"))]
mod curve;
#[cfg(any(feature = "ring", feature = "pure"))]
mod nonce;
#[cfg(feature = "pure")]
pub mod pure;
mod random;
#[cfg(feature = "ring")]
pub mod ring;
#[cfg(feature = "ring")]
mod signer;

pub use random::{Random, Seeded};
#[cfg(feature = "ring")]
pub use signer::{FleetSigner, TokenSigner};
