//! A relay watched as people and their tools watch it: by a browser, a terminal, Prometheus.

use std::path::Path;

use crate::Failure;
use crate::ci::{WORKSPACE, cargo, execute};

/// Installs what [`check`] needs.
///
/// # Errors
/// When something is missing and cannot be installed.
pub(crate) fn install(root: &Path) -> Result<(), Failure> {
    execute(root, Path::new("scripts/install-watching.sh"), &[])
}

/// The page in Chromium, `waylane top` under tmux, metrics and alerts by Prometheus's own programs.
///
/// # Errors
/// When a test fails.
pub(crate) fn check(root: &Path) -> Result<(), Failure> {
    cargo(root, &["test", WORKSPACE, "--test", "watching"], &[])
}
