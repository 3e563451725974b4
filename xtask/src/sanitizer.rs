//! The back ends' unsafe code under AddressSanitizer.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::Failure;
use crate::bare::target_directory;

/// Runs the tests of `waylane-runtime-linux` under it; nothing where there is no nightly compiler,
/// which alone has it.
///
/// # Errors
/// When it finds something, or a test fails.
pub(crate) fn check(root: &Path) -> Result<(), Failure> {
    let quietly =
        nightly(root).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !quietly.is_ok_and(|status| status.success()) {
        println!("no nightly compiler here: nothing is sanitized");
        return Ok(());
    }
    // A folder of its own: the flag changes every crate. With a target's name it does not concern
    // what runs while compiling.
    let folder = target_directory(root)?.join("sanitizer");
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let mut command = nightly(root);
    command
        .args(["test", "--package", "waylane-runtime-linux", "--target", &target])
        .args(["--lib", "--test", "io", "--test", "relay", "--target-dir"])
        .arg(folder)
        .env("RUSTFLAGS", "-Zsanitizer=address");
    println!("$ {command:?}");
    let status = command.status().map_err(|e| format!("cargo cannot be started: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("under AddressSanitizer: {status}")) }
}

/// Rustup's cargo: the one that runs us belongs to another toolchain.
fn nightly(root: &Path) -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(root).arg("+nightly");
    for name in ["RUSTUP_TOOLCHAIN", "CARGO", "RUSTC", "CARGO_MANIFEST_DIR"] {
        command.env_remove(name);
    }
    command
}
