//! Compiles the relay bench's programs for the kernel where the feature `ebpf` asks for them.
#![allow(clippy::std_instead_of_core, reason = "a build script runs where std is")]

use std::env;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed=build.rs");
    if env::var_os("CARGO_FEATURE_EBPF").is_none() {
        return ExitCode::SUCCESS;
    }
    println!("cargo::rerun-if-changed={SOURCE}");
    println!("cargo::rerun-if-env-changed=CLANG");
    let object = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("frames.o");
    let named = env::var("CLANG").ok();
    let names = named.into_iter().chain(["clang", "clang-14"].map(str::to_owned));
    for clang in names {
        let mut command = Command::new(&clang);
        command.args(["--target=bpfel", "-mcpu=v3", "-O2", "-g", "-ffreestanding"]);
        command.args(["-Wall", "-Wextra", "-Werror", "-c", SOURCE, "-o"]).arg(&object);
        match command.status() {
            Ok(status) if status.success() => return ExitCode::SUCCESS,
            Ok(status) => {
                println!("cargo::error={clang} does not compile {SOURCE}: {status}");
                return ExitCode::FAILURE;
            }
            Err(_) => {}
        }
    }
    println!("cargo::error=the feature ebpf needs clang; or name one by the variable CLANG");
    ExitCode::FAILURE
}

const SOURCE: &str = "relay/whole/frames.c";
