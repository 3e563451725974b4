//! A short run of every fuzz target: its committed corpus, then a few seconds of new inputs.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::Failure;
use crate::bare::target_directory;
use crate::ci::cargo;

/// Builds all targets once with AddressSanitizer, runs each over its whole committed corpus and lets
/// it look for more.
///
/// The corpora are replayed by the ordinary tests of `waylane-fuzz` in any case; without nightly
/// and cargo-fuzz that is all, and nothing is sanitized.
///
/// # Errors
/// Names the targets that found something.
pub(crate) fn check(root: &Path) -> Result<(), Failure> {
    cargo(root, &["test", "--package", "waylane-fuzz"], &[])?;
    if !is_installed() {
        println!("no cargo-fuzz here: corpora replayed only (scripts/install-fuzz.sh installs it)");
        return Ok(());
    }
    let targets = targets(root)?;
    // All targets link the same crates: without link-time optimisation they are linked at once.
    fuzz(root, &["build", SANITIZER])?;
    let mut failed = Vec::new();
    for target in &targets {
        println!("{target}");
        // What is new is written to the first corpus, which is not the committed one. It begins
        // empty, so that the step does not take longer from run to run.
        let scratch = target_directory(root)?.join("fuzz-corpus").join(target);
        if scratch.exists() {
            std::fs::remove_dir_all(&scratch).map_err(|e| format!("{}: {e}", scratch.display()))?;
        }
        std::fs::create_dir_all(&scratch).map_err(|e| format!("{}: {e}", scratch.display()))?;
        let (scratch, committed) =
            (scratch.to_string_lossy().into_owned(), format!("fuzz/corpus/{target}"));
        let time = format!("-max_total_time={SECONDS_EACH}");
        // libFuzzer runs the whole corpus first, whatever the time.
        let run = ["run", SANITIZER, target, &scratch, &committed];
        let options = ["--", &time, "-timeout=20", "-verbosity=0"];
        if fuzz(root, &[&run[..], &options].concat()).is_err() {
            failed.push(target.as_str());
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("fuzzing found: {}", failed.join(", "))) }
}

fn is_installed() -> bool {
    let quietly = |program: &str, args: &[&str]| {
        let mut command = Command::new(program);
        command.args(args).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    quietly("cargo", &["+nightly", "fuzz", "--version"])
}

/// One corpus for each target.
fn targets(root: &Path) -> Result<Vec<String>, Failure> {
    let folder = root.join("fuzz/fuzz_targets");
    let entries = std::fs::read_dir(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut targets: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.path().file_stem()?.to_str().map(str::to_owned))
        .collect();
    targets.sort();
    if targets.is_empty() { Err("no fuzz target".to_owned()) } else { Ok(targets) }
}

fn fuzz(root: &Path, args: &[&str]) -> Result<(), Failure> {
    println!("$ cargo +nightly fuzz {}", args.join(" "));
    // Through rustup's cargo: the one that runs us belongs to another toolchain.
    let mut command = Command::new("cargo");
    command.current_dir(root).args(["+nightly", "fuzz"]).args(args);
    for name in ["RUSTUP_TOOLCHAIN", "CARGO", "RUSTC", "CARGO_MANIFEST_DIR"] {
        command.env_remove(name);
    }
    command.env("CARGO_PROFILE_RELEASE_LTO", "off");
    let status = command.status().map_err(|e| format!("cargo cannot be started: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("cargo fuzz {} failed", args.join(" "))) }
}

/// cargo-fuzz's default, said so that it stays.
const SANITIZER: &str = "--sanitizer=address";
const SECONDS_EACH: u32 = 10;
