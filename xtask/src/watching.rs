//! A relay watched as people and their tools watch it: by a browser, a terminal, Prometheus.

use std::path::Path;
use std::process::Command;

use crate::Failure;
use crate::ci::{WORKSPACE, cargo};

/// Installs what [`check`] needs.
///
/// # Errors
/// When something is missing and cannot be installed.
pub(crate) fn install(root: &Path) -> Result<(), Failure> {
    let script = root.join("scripts/install-watching.sh");
    let status = Command::new(&script).status();
    let status = status.map_err(|e| format!("{}: {e}", script.display()))?;
    if status.success() { Ok(()) } else { Err(format!("install-watching.sh: {status}")) }
}

/// The page in Chromium, `waylane top` under tmux, metrics and alerts by Prometheus's own programs.
///
/// # Errors
/// When a test fails.
pub(crate) fn check(root: &Path) -> Result<(), Failure> {
    cargo(root, &["test", WORKSPACE, "--test", "watching"], &[])
}
