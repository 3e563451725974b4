//! The log of `waylane relay`.

use std::io::IsTerminal as _;

use waylane_relay::LogFormat;

/// Begins to write it, to standard error.
pub(super) fn begin(format: LogFormat) {
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
