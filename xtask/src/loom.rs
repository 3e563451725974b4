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
    let args =
        ["test", "--package", "waylane-core", "--test", "loom", "--target-dir", folder.as_ref()];
    cargo(root, &args, &[("RUSTFLAGS", "--cfg loom"), ("CARGO_PROFILE_DEV_OPT_LEVEL", "2")])
}
