#!/usr/bin/env bash
# Unpacks a small Debian into the given folder: what the Dockerfile's first stage and the service are
# tried in. Debian's packages are put together once, into target/debian-root.tar. Needs root, mmdebstrap
# (which does what debootstrap does, in less time), and a way to Debian.
#
#   scripts/debian-root.sh FOLDER
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1:?usage: scripts/debian-root.sh FOLDER}
[ "$EUID" -eq 0 ] || { echo "debian-root: needs root" >&2; exit 1; }
command -v mmdebstrap >/dev/null || { echo "debian-root: run scripts/install-packaging.sh" >&2; exit 1; }

# The one that the Dockerfile begins with, and what the image of that name has.
suite=$(sed -n 's/^FROM rust:[0-9.]*-slim-\([a-z]*\) AS build$/\1/p' packaging/container/Dockerfile)
packages=ca-certificates,gcc,libc6-dev,systemd-sysv,dbus
archive=target/debian-root.tar
if [ ! -e "$archive" ]; then
    mkdir -p target
    # Under a name of its own until it is whole.
    trap 'rm -f "$archive.$$"' EXIT
    mmdebstrap --quiet --mode=root --variant=minbase --format=tar --include="$packages" \
        "$suite" "$archive.$$"
    mv "$archive.$$" "$archive"
fi
tar --extract --file "$archive" --directory "$folder" --same-owner --numeric-owner
