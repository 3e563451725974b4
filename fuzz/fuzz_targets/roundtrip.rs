//! See [`waylane_fuzz::roundtrip`].
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| waylane_fuzz::roundtrip::run(data));

#[cfg(not(fuzzing))]
fn main() -> std::process::ExitCode {
    waylane_fuzz::replay::main(waylane_fuzz::roundtrip::run)
}
