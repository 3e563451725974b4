#!/usr/bin/env bash
# Installs what watches a relay in tests as people and their tools do: Chromium with its driver, tmux,
# promtool (as a program; the service of its package is not needed), and the parser of OpenMetrics by
# Prometheus's own client. For Debian 12 and later, as root. What is already there is left alone;
# plain `cargo test` needs none of it.
#
#   scripts/install-watching.sh          installs what is missing
#   scripts/install-watching.sh --list   prints what is missing and installs nothing
set -euo pipefail

missing=()
command -v chromium >/dev/null || missing+=(chromium)
command -v chromedriver >/dev/null || missing+=(chromium-driver)
command -v tmux >/dev/null || missing+=(tmux)
command -v promtool >/dev/null || missing+=(prometheus)
/usr/bin/python3 -c 'import prometheus_client' 2>/dev/null || missing+=(python3-prometheus-client)
if [[ ${#missing[@]} -eq 0 ]]; then
    echo "install-watching: everything is there"
    exit 0
fi
echo "install-watching: missing: ${missing[*]}"
if [[ "${1:-}" == --list ]]; then
    exit 0
fi
if [[ $EUID -ne 0 ]]; then
    echo "install-watching: needs root to install them: sudo $0" >&2
    exit 1
fi

export DEBIAN_FRONTEND=noninteractive
apt-get update --quiet --quiet
apt-get install --yes --quiet --quiet --no-install-recommends "${missing[@]}" >/dev/null
echo "install-watching: installed ${missing[*]}"
