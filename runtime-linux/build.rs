//! Compiles the fast path's C program where it is asked for, and does nothing otherwise.
#![allow(clippy::std_instead_of_core, reason = "a build script runs where std is")]

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed=build.rs");
    let wanted = env::var_os("CARGO_FEATURE_EBPF").is_some();
    if !wanted || env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system != "linux") {
        return ExitCode::SUCCESS;
    }
    for file in ["forward.c", "table.h", "kernel.h"] {
        println!("cargo::rerun-if-changed=ebpf/{file}");
    }
    println!("cargo::rerun-if-env-changed=CLANG");
    match compile() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            println!("cargo::error={why}");
            ExitCode::FAILURE
        }
    }
}

fn compile() -> Result<(), String> {
    let variable = |name: &str| env::var(name).map_err(|error| format!("{name}: {error}"));
    let object = PathBuf::from(variable("OUT_DIR")?).join("forward.o");
    let big_endian = variable("CARGO_CFG_TARGET_ENDIAN")? == "big";
    let mut arguments = vec![
        if big_endian { "--target=bpfeb" } else { "--target=bpfel" },
        // The oldest instructions that have 32-bit jumps: every kernel that maps arrays has them.
        "-mcpu=v3",
        "-O2",
        "-g",
        "-ffreestanding",
        // Checksums look at headers as words.
        "-fno-strict-aliasing",
        "-Wall",
        "-Wextra",
        "-Werror",
    ];
    if variable("CARGO_CFG_TARGET_ARCH")? == "x86_64" {
        arguments.push("-DLOADS_STAY_IN_ORDER");
    }
    let clang = clang()?;
    let mut command = Command::new(&clang);
    command.args(arguments).args(["-c", "ebpf/forward.c", "-o"]).arg(&object);
    let status = command.status().map_err(|error| format!("{clang}: {error}"))?;
    if !status.success() || !Path::new(&object).exists() {
        return Err(format!("{clang} does not compile ebpf/forward.c: {status}"));
    }
    Ok(())
}

/// `CLANG`, or the first of the names that distributions give it that can be run.
fn clang() -> Result<String, String> {
    if let Ok(named) = env::var("CLANG") {
        return Ok(named);
    }
    let numbered = (OLDEST..=NEWEST).rev().map(|version| format!("clang-{version}"));
    let mut names = std::iter::once("clang".to_owned()).chain(numbered);
    let runs = |name: &String| Command::new(name).arg("--version").output().is_ok();
    names.find(runs).ok_or_else(|| {
        "the feature ebpf needs clang: scripts/install-ebpf.sh installs it on Debian; or name one \
         by the variable CLANG"
            .to_owned()
    })
}

const OLDEST: u32 = 14;
const NEWEST: u32 = 30;
