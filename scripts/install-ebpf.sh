#!/usr/bin/env bash
# Installs clang, which compiles the relay's in-kernel fast path when the feature `ebpf` is on, and
# iproute2, by which its tests make network namespaces. For Debian, as root. If they are already
# there nothing is done; nothing else in the repository needs clang.
#
#   scripts/install-ebpf.sh          installs what is missing
#   scripts/install-ebpf.sh --list   says what is missing and installs nothing
set -euo pipefail

missing=()
compgen -c clang | grep --quiet --extended-regexp '^clang(-[0-9]+)?$' || missing+=(clang)
command -v ip >/dev/null || missing+=(iproute2)
if [[ ${#missing[@]} -eq 0 ]]; then
    echo "install-ebpf: everything is there"
    exit 0
fi
echo "install-ebpf: missing: ${missing[*]}"
if [[ "${1:-}" == --list ]]; then
    exit 0
fi
if [[ $EUID -ne 0 ]]; then
    echo "install-ebpf: needs root to install it: sudo $0" >&2
    exit 1
fi

export DEBIAN_FRONTEND=noninteractive
apt-get update --quiet --quiet
apt-get install --yes --quiet --quiet --no-install-recommends "${missing[@]}" >/dev/null
echo "install-ebpf: installed ${missing[*]}"
