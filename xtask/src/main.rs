//! The project's own chores.
//!
//! - `cargo xtask ci`: everything CI checks, with a table of steps and seconds at the end.
//! - `cargo xtask tidy`: what lints cannot see (sizes of files, forgotten marks, machine paths).

mod bare;
mod ci;
mod demo;
mod metadata;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// A step's failure: what to tell the reader.
type Failure = String;

fn main() -> ExitCode {
    let root = root();
    let done = match std::env::args().nth(1).as_deref() {
        Some("ci") => ci::run(&root),
        Some("tidy") => tidy::check(&root),
        _ => Err("usage: cargo xtask ci | tidy".to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

/// The workspace's folder: the parent of this crate's.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}
