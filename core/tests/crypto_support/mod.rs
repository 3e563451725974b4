//! What the tests of noise and protection share.

use std::path::PathBuf;

use serde_json::Value;
use waylane_core::crypto::Suite;

/// Makes a test of each of these functions over each provider.
macro_rules! over_every_provider {
    ($($test:ident),* $(,)?) => {
        mod ring {
            $(#[test] fn $test() { super::$test::<super::Ring<super::Seeded>>(); })*
        }
        mod pure {
            $(#[test] fn $test() { super::$test::<super::Pure<super::Seeded>>(); })*
        }
    };
}
pub(crate) use over_every_provider;

pub(crate) const SUITES: [Suite; 2] = [Suite::AesGcm, Suite::ChaChaPoly];

pub(crate) fn suite_named(name: &str) -> Suite {
    SUITES.into_iter().find(|suite| name.contains(&format!("{suite:?}"))).unwrap_or_else(|| {
        assert!(name.contains("AESGCM"), "no suite in {name}");
        Suite::AesGcm
    })
}

pub(crate) fn read_vectors(name: &str) -> Value {
    let text = std::fs::read_to_string(vectors_path(name)).unwrap();
    serde_json::from_str(&text).unwrap()
}

pub(crate) fn vectors_path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../vectors").join(name)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn from_hex(text: &Value) -> Vec<u8> {
    let text = text.as_str().unwrap();
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

pub(crate) fn key_from_hex(text: &Value) -> [u8; 32] {
    from_hex(text).try_into().unwrap()
}
