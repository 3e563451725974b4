//! See [`waylane_fuzz::hostile_peer`].
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| waylane_fuzz::hostile_peer::run(data));

#[cfg(not(fuzzing))]
fn main() -> std::process::ExitCode {
    waylane_fuzz::replay::main(waylane_fuzz::hostile_peer::run)
}
