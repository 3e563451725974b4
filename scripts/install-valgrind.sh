#!/usr/bin/env bash
# Installs valgrind, by which `cargo xtask count` counts instructions. For Debian, as root. If it is
# already there nothing is done; nothing else in the repository needs it.
#
#   scripts/install-valgrind.sh          installs it if it is missing
#   scripts/install-valgrind.sh --list   says whether it is missing and installs nothing
set -euo pipefail

if command -v valgrind >/dev/null; then
    echo "install-valgrind: $(valgrind --version) is there"
    exit 0
fi
echo "install-valgrind: missing: valgrind"
if [[ "${1:-}" == --list ]]; then
    exit 0
fi
if [[ $EUID -ne 0 ]]; then
    echo "install-valgrind: needs root to install it: sudo $0" >&2
    exit 1
fi

export DEBIAN_FRONTEND=noninteractive
apt-get update --quiet --quiet
apt-get install --yes --quiet --quiet --no-install-recommends valgrind >/dev/null
echo "install-valgrind: installed $(valgrind --version)"
