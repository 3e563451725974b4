//! The in-kernel fast path: what only a build with the feature `ebpf` has.

use std::path::Path;

use crate::Failure;
use crate::ci::{WORKSPACE, cargo, execute};

/// Lints and tests what the feature adds, after installing what it needs. The tests load programs
/// into the kernel and make network namespaces, so who runs this must be root.
///
/// # Errors
/// When a lint or a test fails, be it for want of a privilege.
pub(crate) fn check(root: &Path) -> Result<(), Failure> {
    execute(root, Path::new("scripts/install-ebpf.sh"), &[])?;
    let clippy = [&["clippy"], &ALL[..], &["--all-targets", "--", "-D", "warnings"]].concat();
    cargo(root, &clippy, &[])?;
    // Of waylane-cli, too: real clients through it, as an operator would try it.
    cargo(root, &[&["test"], &ALL[..], &["--test", "fast_path*"]].concat(), &[])?;
    cargo(root, &[&["test"], &ALL[..], &["--lib", "--", "ebpf::"]].concat(), &[])
}

/// Selects all packages, with the feature in those that have it.
pub(crate) const ALL: [&str; 3] =
    [WORKSPACE, "--features", "waylane-cli/ebpf,waylane-benches/ebpf,waylane-runtime-linux/ebpf"];
