//! Other machines: the freestanding program, core's tests under emulators, Windows under Wine.
//!
//! Everything here is built with `-Z build-std` by the compiler that `scripts/install-targets.sh`
//! installs; the first step runs that script.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::ci::{cargo, cargo_command, execute};
use crate::{Failure, bare, demo};

/// Installs what the steps below need.
///
/// # Errors
/// When something is missing and cannot be installed.
pub(crate) fn install(root: &Path) -> Result<(), Failure> {
    execute(root, Path::new("scripts/install-targets.sh"), &[])
}

/// The freestanding program on this machine, with the ordinary toolchain, formatted and linted.
///
/// # Errors
/// When it does not build, does not say that all arrived, or links an allocator.
pub(crate) fn freestanding_host(root: &Path) -> Result<(), Failure> {
    let folder = folder(root)?;
    let folder_name = folder.to_string_lossy();
    let place = root.join("freestanding");
    // Not a member: the steps for the workspace do not see it.
    cargo(&place, &["fmt", "--check"], &[])?;
    let args = ["--locked", "--release", "--target-dir", &folder_name];
    cargo(&place, &[&["clippy"][..], &args, &["--", "-D", "warnings"]].concat(), &[])?;
    cargo(&place, &[&["run"][..], &args].concat(), &[])?;
    check_symbols("nm", &folder.join("release").join(PROGRAM))
}

/// The freestanding program on an emulated Cortex-M4.
///
/// # Errors
/// As [`freestanding_host`].
pub(crate) fn freestanding_board(root: &Path) -> Result<(), Failure> {
    let linker = [("CARGO_TARGET_THUMBV7EM_NONE_EABIHF_LINKER", "arm-linux-gnueabihf-ld")];
    build_std(&root.join("freestanding"), root, "core", BOARD, &["run", "--release"], &linker)?;
    let program = folder(root)?.join(BOARD).join("release").join(PROGRAM);
    print!("{}", text_of(Command::new("arm-linux-gnueabihf-size").arg(&program))?);
    check_symbols("arm-linux-gnueabihf-nm", &program)
}

/// The freestanding program as a WebAssembly module: all of core, and no import.
///
/// # Errors
/// When it does not build, or imports anything.
pub(crate) fn freestanding_web(root: &Path) -> Result<(), Failure> {
    // rustup's toolchains bring this linker along; Debian's does not.
    let sysroot = text_of(Command::new("rustc").args(["--print", "sysroot"]))?;
    let linker = Path::new(sysroot.trim())
        .join("lib/rustlib/x86_64-unknown-linux-gnu/bin/rust-lld")
        .to_string_lossy()
        .into_owned();
    let linker = [("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker.as_str())];
    build_std(&root.join("freestanding"), root, "core", WEB, &["build", "--release"], &linker)?;
    let module = folder(root)?.join(WEB).join("release").join(format!("{PROGRAM}.wasm"));
    let bytes = std::fs::read(&module).map_err(|e| format!("{}: {e}", module.display()))?;
    let sections = sections(&bytes).ok_or("not a WebAssembly module")?;
    println!("{} bytes in sections {sections:?}", bytes.len());
    if sections.contains(&IMPORTS) {
        return Err("the module imports something".to_owned());
    }
    // A module that exports nothing would have been stripped of everything it should prove.
    if sections.contains(&EXPORTS) { Ok(()) } else { Err("the module exports nothing".to_owned()) }
}

/// Core's and crypto's tests on a big-endian machine of 64 bits.
///
/// # Errors
/// When one fails.
pub(crate) fn tests_big_endian(root: &Path) -> Result<(), Failure> {
    tests(root, "powerpc64-unknown-linux-gnu", "powerpc64-linux-gnu", "qemu-ppc64", &ALL)
}

/// Core's and crypto's tests on a machine of 32 bits.
///
/// # Errors
/// When one fails.
pub(crate) fn tests_32_bit(root: &Path) -> Result<(), Failure> {
    tests(root, "armv7-unknown-linux-gnueabihf", "arm-linux-gnueabihf", "qemu-arm", &ALL)
}

/// Core's and crypto's unit tests, the promises of players and relays, and whatever seals and opens,
/// on ARM of 64 bits: to all the rest of core that is a machine like the one this runs on.
///
/// # Errors
/// When one fails.
pub(crate) fn tests_arm_64(root: &Path) -> Result<(), Failure> {
    let which = ["--lib", "--test", "pair", "--test", "relay"];
    let crypto = ["--test", "noise", "--test", "protection", "--test", "providers"];
    let which = [&which[..], &crypto].concat();
    tests(root, "aarch64-unknown-linux-gnu", "aarch64-linux-gnu", "qemu-aarch64", &which)
}

/// The client's tests as Windows programs.
///
/// # Errors
/// When one fails.
pub(crate) fn tests_windows(root: &Path) -> Result<(), Failure> {
    let env = windows(root)?;
    let env: Vec<_> = env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let args = ["test", "--package", "waylane", "--lib", "--tests"];
    build_std(root, root, "std,panic_unwind,test", WINDOWS, &args, &env)
}

/// The demo as a Windows program.
///
/// # Errors
/// As the demo's own step.
pub(crate) fn demo_windows(root: &Path) -> Result<(), Failure> {
    let env = windows(root)?;
    let mut command = cargo_command(root);
    let args = build_std_args(root, "std,panic_unwind,test", WINDOWS, &["run", "--"])?;
    command.args(args).envs(COMPILER).envs(LIGHT).envs(env);
    demo::check_output(command)
}

fn tests(
    root: &Path,
    target: &str,
    gnu: &str,
    emulator: &str,
    which: &[&str],
) -> Result<(), Failure> {
    let variable = target.to_uppercase().replace('-', "_");
    let linker = (format!("CARGO_TARGET_{variable}_LINKER"), format!("{gnu}-gcc"));
    let runner = (format!("CARGO_TARGET_{variable}_RUNNER"), format!("{emulator} -L /usr/{gnu}"));
    let env = [&linker, &runner].map(|(name, value)| (name.as_str(), value.as_str()));
    let packages = ["--package", "waylane-core", "--package", "waylane-crypto"];
    let args = [&["test", "--no-fail-fast"][..], which, &packages, &FEW].concat();
    build_std(root, root, "std,panic_unwind,test", target, &args, &env)
}

/// Documentation's examples would be compiled by the other compiler's rustdoc.
const ALL: [&str; 2] = ["--lib", "--tests"];

/// Without what takes minutes on an emulator and shows nothing there that its smaller neighbours do
/// not: ten thousand real handshakes, and minutes of bulk data.
const FEW: [&str; 7] = [
    "--",
    "--skip",
    "ten_thousand_come_back",
    "--skip",
    "bulk_data_goes_in_the_longest_datagrams",
    "--skip",
    "a_black_hole_is_remembered",
];

/// What makes cargo link and run Windows programs.
fn windows(root: &Path) -> Result<[(String, String); 4], Failure> {
    let places = ["/usr/bin/wine64", "/usr/lib/wine/wine64"];
    let wine = places.into_iter().find(|place| Path::new(place).exists());
    let prefix = folder(root)?.join("wine").to_string_lossy().into_owned();
    let variable = format!("CARGO_TARGET_{}", WINDOWS.to_uppercase().replace('-', "_"));
    Ok([
        (format!("{variable}_LINKER"), "x86_64-w64-mingw32-gcc".to_owned()),
        (format!("{variable}_RUNNER"), wine.ok_or("no wine64")?.to_owned()),
        ("WINEPREFIX".to_owned(), prefix),
        ("WINEDEBUG".to_owned(), "-all".to_owned()),
    ])
}

/// Runs cargo in `place` for another target, the language's library built along with the program.
fn build_std(
    place: &Path,
    root: &Path,
    crates: &str,
    target: &str,
    args: &[&str],
    env: &[(&str, &str)],
) -> Result<(), Failure> {
    let args = build_std_args(root, crates, target, args)?;
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    cargo(place, &args, &[&COMPILER, &LIGHT, env].concat())
}

fn build_std_args(
    root: &Path,
    crates: &str,
    target: &str,
    args: &[&str],
) -> Result<Vec<String>, Failure> {
    let folder = folder(root)?.to_string_lossy().into_owned();
    let library = format!("build-std={crates}");
    let places = ["--locked", "--target-dir", &folder, "--target", target, "-Z", &library];
    // What is behind `--` is the programs' own.
    let ours = args.iter().position(|arg| *arg == "--").unwrap_or(args.len());
    let (args, programs) = args.split_at(ours);
    Ok([args, &places, programs].concat().into_iter().map(str::to_owned).collect())
}

/// Where all of this is built, apart from what the ordinary toolchain builds.
fn folder(root: &Path) -> Result<PathBuf, Failure> {
    Ok(bare::target_directory(root)?.join("machines"))
}

/// Nothing that allocates is linked, or asked of the system.
fn check_symbols(nm: &str, program: &Path) -> Result<(), Failure> {
    let listing = text_of(Command::new(nm).arg(program))?;
    let names: Vec<&str> = listing
        .lines()
        .filter_map(|line| line.split_whitespace().last())
        .map(|name| name.split('@').next().unwrap_or(name))
        .collect();
    // A stripped program would pass any search.
    if !names.contains(&"main") || names.len() < 100 {
        return Err(format!("{nm} shows only {} symbols", names.len()));
    }
    let allocates =
        |name: &&&str| name.to_lowercase().contains("alloc") || ALLOCATORS.contains(*name);
    let found: Vec<&&str> = names.iter().filter(allocates).collect();
    println!("{} symbols, of allocators: {}", names.len(), found.len());
    if found.is_empty() { Ok(()) } else { Err(format!("linked: {found:?}")) }
}

/// The ids of a WebAssembly module's sections.
fn sections(module: &[u8]) -> Option<Vec<u8>> {
    let mut rest = module.strip_prefix(b"\0asm\x01\0\0\0")?;
    let mut ids = Vec::new();
    while let Some((id, after)) = rest.split_first() {
        ids.push(*id);
        let (mut len, mut shift) = (0usize, 0);
        rest = after;
        loop {
            let (byte, after) = rest.split_first()?;
            rest = after;
            len |= usize::from(byte & 0x7f).checked_shl(shift)?;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        rest = rest.get(len..)?;
    }
    Some(ids)
}

fn text_of(command: &mut Command) -> Result<String, Failure> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|e| format!("{name} cannot be started: {e}"))?;
    if !output.status.success() {
        return Err(format!("{name}: {}", String::from_utf8_lossy(&output.stderr)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

const PROGRAM: &str = "waylane-freestanding";
const BOARD: &str = "thumbv7em-none-eabihf";
const WEB: &str = "wasm32-unknown-unknown";
/// Newer Windows needs a newer Wine than Debian 12's.
const WINDOWS: &str = "x86_64-win7-windows-gnu";

/// The compiler that has the library's source. Building that needs what is otherwise nightly's.
const COMPILER: [(&str, &str); 2] = [("RUSTC", "/usr/bin/rustc"), ("RUSTC_BOOTSTRAP", "1")];
/// Emulators are slow and so is building the library: fewer cases, and nothing for debuggers.
const LIGHT: [(&str, &str); 2] = [("PROPTEST_CASES", "16"), ("CARGO_PROFILE_DEV_DEBUG", "0")];

/// What asks a system for memory and has no "alloc" in its name.
const ALLOCATORS: [&str; 5] = ["free", "brk", "sbrk", "mmap", "posix_memalign"];
const IMPORTS: u8 = 2;
const EXPORTS: u8 = 7;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_of_a_module() {
        let module = b"\0asm\x01\0\0\0\x01\x02ab\x02\x80\x00\x07\x01c";
        assert_eq!(sections(module), Some(vec![1, 2, 7]));
        assert_eq!(sections(b"\0asm\x01\0\0\0\x01\x02a"), None, "cut");
        assert_eq!(sections(b"\0elf\x01\0\0\0"), None);
    }
}
