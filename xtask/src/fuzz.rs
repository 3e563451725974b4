//! The fuzz targets under AddressSanitizer: over their committed corpora, or in search of more.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::Failure;
use crate::bare::target_directory;
use crate::ci::{WORKSPACE, cargo};

/// Builds all targets once with AddressSanitizer and runs each over its whole committed corpus and
/// over nothing else, so that it depends on no luck.
///
/// The corpora are replayed by an ordinary test in any case; without nightly and cargo-fuzz that is
/// all, and nothing is sanitized.
///
/// # Errors
/// Names the targets that an input breaks.
pub(crate) fn check(root: &Path) -> Result<(), Failure> {
    cargo(root, &["test", WORKSPACE, "--test", "corpus"], &[])?;
    if !is_installed() {
        println!("no cargo-fuzz here: corpora replayed only (scripts/install-fuzz.sh installs it)");
        return Ok(());
    }
    // As little optimised as tests are: to build is dearer than to run that once.
    each(root, "--dev", &targets(root)?, |target, build| {
        let run = ["run", SANITIZER, build, target, &committed(target)];
        fuzz(root, &[&run[..], &["--", "-runs=0", "-verbosity=0"]].concat())
    })
}

/// Looks for new inputs for so many seconds a target, in these targets or in all, one after another.
/// What is found is kept in `target/fuzz-corpus`, from where the next run goes on.
///
/// # Errors
/// What of `arguments` is wrong; the targets that something was found in.
pub(crate) fn search(root: &Path, arguments: &[String]) -> Result<(), Failure> {
    let all = targets(root)?;
    let (seconds, named) = parse(&all, arguments)?;
    let time = format!("-max_total_time={seconds}");
    each(root, "--release", if named.is_empty() { &all } else { named }, |target, build| {
        let found = target_directory(root)?.join("fuzz-corpus").join(target);
        std::fs::create_dir_all(&found).map_err(|e| format!("{}: {e}", found.display()))?;
        let (found, committed) = (found.to_string_lossy(), committed(target));
        let run = ["run", SANITIZER, build, target, &found, &committed];
        fuzz(root, &[&run[..], &["--", &time, "-max_len=1500", "-timeout=60"]].concat())
    })
}

/// Seconds and names of targets.
fn parse<'a>(all: &[String], arguments: &'a [String]) -> Result<(u32, &'a [String]), Failure> {
    let usage = "usage: cargo xtask fuzz SECONDS [TARGET...]";
    let (seconds, named) = arguments.split_first().ok_or(usage)?;
    let seconds = seconds.parse().map_err(|_| format!("{seconds} is no number; {usage}"))?;
    match named.iter().find(|name| !all.contains(name)) {
        Some(unknown) => Err(format!("no target {unknown}; there are {}", all.join(", "))),
        None => Ok((seconds, named)),
    }
}

/// Builds all targets so and runs these, the later ones even if an earlier one failed.
fn each(
    root: &Path,
    build: &str,
    targets: &[String],
    run: impl Fn(&str, &str) -> Result<(), Failure>,
) -> Result<(), Failure> {
    // All targets link the same crates: without link-time optimisation they are linked at once.
    fuzz(root, &["build", SANITIZER, build])?;
    let mut failed = Vec::new();
    for target in targets {
        println!("{target}");
        if let Err(why) = run(target, build) {
            println!("{why}");
            failed.push(target.as_str());
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("fuzzing found: {}", failed.join(", "))) }
}

fn committed(target: &str) -> String {
    format!("fuzz/corpus/{target}")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_names_its_seconds_and_targets() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let all = words("handshake relay_ops");
        assert_eq!(parse(&all, &words("60")), Ok((60, &[][..])));
        let one = words("5 relay_ops");
        assert_eq!(parse(&all, &one), Ok((5, &one[1..])));
        assert!(parse(&all, &[]).is_err_and(|why| why.contains("usage")));
        assert!(parse(&all, &words("soon")).is_err_and(|why| why.contains("soon")));
        assert!(parse(&all, &words("5 hand")).is_err_and(|why| why.contains("handshake")));
    }
}
