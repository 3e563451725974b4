#!/usr/bin/env bash
# Installs what the relay bench measures by: nftables, which counts what is forwarded, and coturn,
# beside which it measures (as a program; its service is not needed). For Debian, as root. If it is
# already there nothing is done; nothing else in the repository needs it.
#
#   scripts/install-relay-bench.sh          installs what is missing
#   scripts/install-relay-bench.sh --list   says what is missing and installs nothing
set -euo pipefail

missing=()
command -v nft >/dev/null || missing+=(nftables)
command -v ip >/dev/null || missing+=(iproute2)
command -v turnserver >/dev/null || missing+=(coturn)
if [[ ${#missing[@]} -eq 0 ]]; then
    echo "install-relay-bench: everything is there"
    exit 0
fi
echo "install-relay-bench: missing: ${missing[*]}"
if [[ "${1:-}" == --list ]]; then
    exit 0
fi
if [[ $EUID -ne 0 ]]; then
    echo "install-relay-bench: needs root to install it: sudo $0" >&2
    exit 1
fi

export DEBIAN_FRONTEND=noninteractive
apt-get update --quiet --quiet
apt-get install --yes --quiet --quiet --no-install-recommends "${missing[@]}" >/dev/null
echo "install-relay-bench: installed ${missing[*]}"
