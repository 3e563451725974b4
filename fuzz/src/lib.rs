//! Fuzz targets as plain functions of bytes: `cargo +nightly fuzz run TARGET` calls them with bytes
//! that libFuzzer makes up, `cargo test --package waylane-fuzz` with the committed corpora.
//!
//! A target that returns has found nothing; one that panics has found a fault.
#![forbid(unsafe_code)]

pub mod packet_parse;
pub mod replay;
pub mod roundtrip;
pub mod seeds;

/// A target: what to do with an input.
pub type Target = fn(&[u8]);

/// Every target and its name.
pub const TARGETS: [(&str, Target); 2] =
    [("packet_parse", packet_parse::run), ("roundtrip", roundtrip::run)];
