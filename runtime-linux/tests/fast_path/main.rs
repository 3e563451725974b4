//! The fast path in the kernel: whole relays in network namespaces, and the programs beside
//! `core::relay`. Needs root, for namespaces and for eBPF; without it these tests fail.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may stop at what should not happen")]

#[path = "../logged/mod.rs"]
mod logged;
#[path = "../../../relay/tests/running/mod.rs"]
mod running;

mod differential;
mod end_to_end;
mod frames;
mod net;
mod serving;
