//! The real program, as people and scripts use it.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, too")]

mod chat;
#[cfg(unix)]
#[path = "../../../core/tests/relay_support/client.rs"]
mod client;
mod demo;
mod directory;
#[cfg(target_os = "linux")]
mod logging;
#[cfg(target_os = "linux")]
mod modes;
#[cfg(unix)]
mod operating;
#[cfg(unix)]
mod players;
mod relay;
mod running;
mod sim;
#[cfg(unix)]
mod stopping;
mod tokens;
mod top;
#[cfg(unix)]
mod upgrade;
