//! Runs a target over files, without a fuzzer.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs, io};

use crate::Target;

/// A program that runs `target` over the files named by its arguments and in the folders among
/// them. A panic of the target ends it.
pub fn main(target: Target) -> ExitCode {
    let places: Vec<PathBuf> = env::args_os().skip(1).map(PathBuf::from).collect();
    if places.is_empty() {
        eprintln!("give the inputs to replay; to fuzz, use: cargo +nightly fuzz run TARGET");
        return ExitCode::FAILURE;
    }
    for place in &places {
        match inputs(place) {
            Ok(files) => {
                for (name, input) in files {
                    eprintln!("{}: {} bytes", name.display(), input.len());
                    target(&input);
                }
            }
            Err(error) => {
                eprintln!("{}: {error}", place.display());
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

/// The file at `place`, or all files in that folder, in the order of their names.
///
/// # Errors
/// As the file system says.
pub fn inputs(place: &Path) -> io::Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut files = vec![place.to_owned()];
    if place.is_dir() {
        files = fs::read_dir(place)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<io::Result<_>>()?;
        files.sort();
    }
    files.into_iter().map(|file| fs::read(&file).map(|input| (file, input))).collect()
}
