//! The benches compile and run, and instruction counts.

use std::path::Path;
use std::process::Command;

use crate::ci::{WORKSPACE, cargo, execute};
use crate::{Failure, bare, ebpf};

/// Runs every bench once without measuring, as quickly compiled as tests are.
///
/// # Errors
/// When one fails.
pub(crate) fn check(root: &Path) -> Result<(), Failure> {
    cargo(root, &["test", WORKSPACE, "--bench", "*"], &[])
}

/// Runs the relay's bench with all it has once and short, after installing what it needs: to see
/// that it works. It makes network namespaces and loads programs into the kernel, so
/// who runs this must be root.
///
/// # Errors
/// When it fails, be it for want of a privilege.
pub(crate) fn relay(root: &Path) -> Result<(), Failure> {
    for script in ["scripts/install-relay-bench.sh", "scripts/install-ebpf.sh"] {
        execute(root, Path::new(script), &[])?;
    }
    cargo(
        root,
        &[&["build"], &ebpf::ALL[..], &["--bin", "relay", "--test", "fast_path*"]].concat(),
        &[],
    )?;
    execute(root, &bare::target_directory(root)?.join("debug/relay"), &["once"])
}

/// Prints the instructions of each scenario, per repetition, as callgrind counts them: the
/// difference between few and many repetitions, so that preparing does not count.
///
/// # Errors
/// When valgrind is missing (`scripts/install-valgrind.sh`) or a scenario fails.
pub(crate) fn count(root: &Path) -> Result<(), Failure> {
    cargo(root, &["build", "--release", "--package", PACKAGE, "--bin", "count"], &[])?;
    let program = bare::target_directory(root)?.join("release/count");
    println!("{:<46} {:>12}", "scenario", "instructions");
    for scenario in scenarios(&program)? {
        let [few, many] = [FEW, MANY].map(|times| instructions(&program, &scenario, times));
        let each = many?.saturating_sub(few?) / u64::from(MANY - FEW);
        println!("{scenario:<46} {each:>12}");
    }
    Ok(())
}

fn scenarios(program: &Path) -> Result<Vec<String>, Failure> {
    let output = Command::new(program).arg("list").output();
    let output = output.map_err(|e| format!("{}: {e}", program.display()))?;
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

fn instructions(program: &Path, scenario: &str, times: u32) -> Result<u64, Failure> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args([scenario, &times.to_string()])
        .output()
        .map_err(|e| format!("valgrind: {e}; see scripts/install-valgrind.sh"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("{scenario} failed: {text}"));
    }
    let collected = text.split_once("Collected : ").and_then(|(_, rest)| rest.lines().next());
    let collected = collected.and_then(|number| number.trim().parse().ok());
    collected.ok_or_else(|| format!("callgrind says no number: {text}"))
}

const PACKAGE: &str = "waylane-benches";
const FEW: u32 = 100;
const MANY: u32 = 1100;
