//! The waylane command.
fn main() {}
