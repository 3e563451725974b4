//! The log of `waylane relay`.

use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};
use std::io::IsTerminal as _;

use waylane_relay::LogFormat;

/// Begins to write it, to standard error.
pub(super) fn begin(format: LogFormat) {
    IS_JSON.store(format == LogFormat::Json, Ordering::Relaxed);
    let is_terminal = std::io::stderr().is_terminal();
    let log = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(is_terminal)
        .with_target(false);
    match format {
        LogFormat::Json => log.json().flatten_event(true).init(),
        LogFormat::Text | _ => log.init(),
    }
}

/// Tells whoever has started the program; in a line of the log, where what reads it takes no others.
pub(super) fn say(text: fmt::Arguments<'_>) {
    if IS_JSON.load(Ordering::Relaxed) {
        tracing::info!("{text}");
    } else {
        eprintln!("* {text}");
    }
}

static IS_JSON: AtomicBool = AtomicBool::new(false);
