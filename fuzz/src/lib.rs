//! Fuzz targets as plain functions of bytes: `cargo +nightly fuzz run TARGET` calls them with bytes
//! that libFuzzer makes up, `cargo test --package waylane-fuzz` with the committed corpora.
//!
//! A target that returns has found nothing; one that panics has found a fault.
#![forbid(unsafe_code)]

pub mod badge;
pub mod endpoint_ops;
pub mod handshake;
pub mod hop;
pub mod hostile_peer;
pub mod mallory;
pub mod oracle;
pub mod packet_parse;
pub mod relay_ops;
pub mod replay;
pub mod roundtrip;
pub mod script;
pub mod seeds;
pub mod toy;
pub mod world;

/// A target: what to do with an input.
pub type Target = fn(&[u8]);

/// Every target and its name.
pub const TARGETS: [(&str, Target); 6] = [
    ("endpoint_ops", endpoint_ops::run),
    ("handshake", handshake::run),
    ("hostile_peer", hostile_peer::run),
    ("packet_parse", packet_parse::run),
    ("relay_ops", relay_ops::run),
    ("roundtrip", roundtrip::run),
];
