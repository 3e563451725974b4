//! The real program, as people and scripts use it.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, too")]

mod chat;
mod demo;
mod relay;
mod running;
