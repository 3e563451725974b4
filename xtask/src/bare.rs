//! Core needs neither std nor an allocator, shown on the host's own target: a program without
//! either links it. If anything below core linked std, the panic handler would be there twice; if
//! anything linked alloc, the allocator would be missing.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::ci::cargo;
use crate::{Failure, metadata};

/// Links core into a freestanding library.
///
/// # Errors
/// When that does not compile.
pub(crate) fn check(root: &Path) -> Result<(), Failure> {
    let folder = target_directory(root)?.join("bare");
    let folder_name = folder.to_string_lossy().into_owned();
    // Without unwinding, as on targets that have none.
    cargo(
        root,
        &[
            "build",
            "--package",
            "waylane-core",
            "--lib",
            "--target-dir",
            &folder_name,
            "--config",
            "profile.dev.panic='abort'",
        ],
        &[],
    )?;
    let source = folder.join("program.rs");
    std::fs::write(&source, PROGRAM).map_err(|e| format!("{}: {e}", source.display()))?;
    let built = folder.join("debug");
    let status = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .args(["--edition=2024", "--crate-type=staticlib", "-Cpanic=abort", "--extern"])
        .arg(format!("waylane_core={}", built.join("libwaylane_core.rlib").display()))
        .arg(format!("-Ldependency={}", built.join("deps").display()))
        .arg("-o")
        .arg(folder.join("libprogram.a"))
        .arg(&source)
        .status()
        .map_err(|e| format!("rustc cannot be started: {e}"))?;
    if status.success() { Ok(()) } else { Err("core does not link without std and alloc".into()) }
}

/// Where cargo builds, as cargo itself says (so `CARGO_TARGET_DIR` is honoured).
///
/// # Errors
/// When cargo cannot say.
pub(crate) fn target_directory(root: &Path) -> Result<PathBuf, Failure> {
    let metadata = metadata::read(root)?;
    let folder = metadata["target_directory"].as_str().ok_or("cargo metadata: no target folder")?;
    Ok(PathBuf::from(folder))
}

const PROGRAM: &str = "\
#![no_std]
use core::panic::PanicInfo;

#[panic_handler]
fn stop(_: &PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(no_mangle)]
pub extern \"C\" fn id(value: u64) -> bool {
    waylane_core::id::PeerId::new(value).is_some()
}
";
