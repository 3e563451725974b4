#!/usr/bin/env bash
# Installs what `cargo +nightly fuzz run TARGET` needs, and says what it does: the nightly toolchain
# (AddressSanitizer and coverage are nightly features) and cargo-fuzz from crates.io. libFuzzer
# itself is built with the targets and needs a C++ compiler.
set -euo pipefail

if rustup toolchain list | grep -q '^nightly'; then
    echo "nightly toolchain: there"
else
    echo "nightly toolchain: rustup toolchain install nightly --profile minimal"
    rustup toolchain install nightly --profile minimal
fi

if cargo fuzz --version >/dev/null 2>&1; then
    echo "cargo-fuzz: there ($(cargo fuzz --version))"
else
    echo "cargo-fuzz: cargo install cargo-fuzz --locked"
    cargo install cargo-fuzz --locked
fi

if command -v c++ >/dev/null || command -v clang++ >/dev/null; then
    echo "C++ compiler: there"
else
    echo "C++ compiler: missing; install g++ or clang (Debian and Ubuntu: apt-get install g++)" >&2
    exit 1
fi
echo "ready: cargo +nightly fuzz run packet_parse"
