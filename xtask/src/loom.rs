//! The relay's shared tables in every order in which threads can run.

use std::path::Path;

use crate::Failure;
use crate::bare::target_directory;
use crate::ci::cargo;

/// Runs the models of `core/tests/loom.rs`.
///
/// # Errors
/// When one of them finds an order in which a promise breaks.
pub(crate) fn check(root: &Path) -> Result<(), Failure> {
    // A folder of its own: the flag changes every crate, and would rebuild them all in turn.
    let folder = target_directory(root)?.join("loom");
    let folder = folder.to_string_lossy();
    let args = [
        "test",
        "--release",
        "--package",
        "waylane-core",
        "--test",
        "loom",
        "--target-dir",
        folder.as_ref(),
    ];
    // Optimising across crates would take longer than it saves.
    let env = [("RUSTFLAGS", "--cfg loom"), ("CARGO_PROFILE_RELEASE_LTO", "off")];
    cargo(root, &args, &env)
}
