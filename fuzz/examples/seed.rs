//! Writes the seeds of the committed corpora: `cargo run --package waylane-fuzz --example seed`.
//!
//! What a fuzzer found later stands beside them under names of its own and stays.

use std::path::Path;
use std::{fs, io};

use waylane_fuzz::seeds;

fn main() -> io::Result<()> {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for (target, seeds) in seeds::all() {
        let folder = corpora.join(target);
        fs::create_dir_all(&folder)?;
        for (name, bytes) in &seeds {
            fs::write(folder.join(name), bytes)?;
        }
        println!("{target}: {} seeds", seeds.len());
    }
    Ok(())
}
