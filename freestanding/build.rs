//! Tells the linker where the board's memory is.

use std::path::PathBuf;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=mps2-an386.x");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("none") {
        let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it"));
        std::fs::copy("mps2-an386.x", out.join("memory.x")).expect("the layout is copied");
        println!("cargo::rustc-link-search={}", out.display());
    }
}
