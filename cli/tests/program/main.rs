//! The real program, as people and scripts use it.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, too")]

mod chat;
mod demo;
#[cfg(target_os = "linux")]
mod modes;
mod relay;
mod running;
