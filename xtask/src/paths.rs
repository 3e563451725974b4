//! What a game notices of relays that die, drain and flap, over a thousand seeds.

use std::path::Path;

use crate::Failure;
use crate::ci::{WORKSPACE, cargo};

/// Runs the tests of `promises_paths` over a thousand seeds, in virtual time: about a minute.
///
/// # Errors
/// When a promise is broken: the output above names the seed.
pub(crate) fn check(root: &Path) -> Result<(), Failure> {
    cargo(root, &RUN, &[("WAYLANE_SEEDS", "1000")])
}

/// Without the two that take no seeds, or few.
const RUN: [&str; 11] = [
    "test",
    "--quiet",
    WORKSPACE,
    "--test",
    "promises_paths",
    "--",
    "--nocapture",
    "--skip",
    "two_hundred",
    "--skip",
    "without_a_session",
];
