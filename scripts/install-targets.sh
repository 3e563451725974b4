#!/usr/bin/env bash
# Installs what the `machines` steps of `cargo xtask ci` need to build and run on other machines: a
# compiler that comes with the library's source, cross linkers, emulators and Wine. For Debian 12 and
# later, as root. What is already there is left alone; `cargo test` needs none of it.
#
#   scripts/install-targets.sh          installs what is missing
#   scripts/install-targets.sh --list   prints what is missing and installs nothing
set -euo pipefail

packages=(
    # The compiler and the library's source: -Z build-std for any target.
    rustc-web rust-web-src
    # Runs programs of other Linux machines; linkers and C libraries for them.
    qemu-user
    gcc-powerpc64-linux-gnu libc6-dev-ppc64-cross
    gcc-arm-linux-gnueabihf libc6-dev-armhf-cross
    gcc-aarch64-linux-gnu libc6-dev-arm64-cross
    # Cortex-M boards.
    qemu-system-arm
    # Windows programs: linker and runner.
    gcc-mingw-w64-x86-64-win32 wine64
)

missing=()
for package in "${packages[@]}"; do
    if [[ "$(dpkg-query --show --showformat '${db:Status-Status}' "$package" 2>/dev/null)" != installed ]]; then
        missing+=("$package")
    fi
done

if [[ ${#missing[@]} -eq 0 ]]; then
    echo "install-targets: everything is there"
    exit 0
fi
echo "install-targets: missing: ${missing[*]}"
if [[ "${1:-}" == --list ]]; then
    exit 0
fi
if [[ $EUID -ne 0 ]]; then
    echo "install-targets: needs root to install them: sudo $0" >&2
    exit 1
fi

export DEBIAN_FRONTEND=noninteractive
apt-get update --quiet --quiet
apt-get install --yes --quiet --quiet --no-install-recommends "${missing[@]}" >/dev/null
echo "install-targets: installed ${#missing[@]} packages"
