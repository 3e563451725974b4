//! The project's own chores.
//!
//! - `cargo xtask ci`: everything CI checks, with a table of what each step took at the end;
//!   `cargo xtask ci licences demo`: only the steps with these words in their names.
//! - `cargo xtask count`: instructions per message and packet, as callgrind counts them.
//! - `cargo xtask fuzz 600 endpoint_ops`: looks for inputs that break a target (without a name: each
//!   target in turn) for so many seconds.
//! - `cargo xtask tidy`: what lints cannot see (sizes of files, forgotten marks, machine paths).

mod bare;
mod benches;
mod ci;
mod demo;
mod ebpf;
mod fuzz;
mod loom;
mod metadata;
mod packaging;
mod paths;
mod sanitizer;
mod scenarios;
mod targets;
mod tidy;
mod watching;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// A step's failure: what to tell the reader.
type Failure = String;

fn main() -> ExitCode {
    let root = root();
    let mut arguments = std::env::args().skip(1);
    let done = match arguments.next().as_deref() {
        Some("ci") => ci::run(&root, &arguments.collect::<Vec<_>>()),
        Some("count") => benches::count(&root),
        Some("fuzz") => fuzz::search(&root, &arguments.collect::<Vec<_>>()),
        Some("tidy") => tidy::check(&root),
        _ => Err("usage: cargo xtask ci [STEP...] | count | fuzz SECONDS | tidy".to_owned()),
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
