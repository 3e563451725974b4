//! What ships for operators, checked by the tools that it is for; and their page, followed.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Failure;
use crate::ci::programs;

/// Installs what [`check`] and [`image`] need.
///
/// # Errors
/// When something is missing and cannot be installed.
pub(crate) fn install(root: &Path) -> Result<(), Failure> {
    script(root, "scripts/install-packaging.sh", &[])
}

/// Unit, rules, compose and Kubernetes files, and the image's settings.
///
/// # Errors
/// When a tool is missing or does not take what ships.
pub(crate) fn check(root: &Path) -> Result<(), Failure> {
    script(root, "scripts/check-packaging.sh", &[program(root)?])
}

/// The image, built by the Dockerfile's own lines in a small Debian, and run. Needs root.
///
/// # Errors
/// When it does not build, or does not serve there.
pub(crate) fn image(root: &Path) -> Result<(), Failure> {
    script(root, "scripts/check-image.sh", &[])
}

/// `docs/operating.md`, done as it says.
///
/// # Errors
/// When a command on the page fails.
pub(crate) fn follow(root: &Path) -> Result<(), Failure> {
    script(root, "scripts/follow-operating.sh", &[program(root)?])
}

/// The unit, under a systemd that runs for it. Needs root.
///
/// # Errors
/// When the service does not start, reload, upgrade, drain or end as `docs/operating.md` says.
pub(crate) fn service(root: &Path) -> Result<(), Failure> {
    script(root, "scripts/check-service.sh", &[program(root)?])
}

fn program(root: &Path) -> Result<PathBuf, Failure> {
    Ok(programs(root)?.join("waylane"))
}

fn script(root: &Path, name: &str, arguments: &[PathBuf]) -> Result<(), Failure> {
    let status = Command::new(root.join(name)).args(arguments).current_dir(root).status();
    let status = status.map_err(|e| format!("{name}: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("{name}: {status}")) }
}
