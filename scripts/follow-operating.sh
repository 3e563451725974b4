#!/usr/bin/env bash
# Does what docs/operating.md says: runs its blocks marked `sh follow` one after the other, as they
# stand there, with the given program as `waylane` and a folder of its own in place of /etc/waylane,
# /var/lib/waylane and /run/waylane. Any command that fails is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."
program=$(realpath "${1:?usage: scripts/follow-operating.sh PROGRAM}")
work=$(mktemp -d)
mkdir -p "$work/bin" "$work/etc/waylane" "$work/var/lib/waylane" "$work/run/waylane"
ln -s "$program" "$work/bin/waylane"
end() {
    # Only what the page's own steps have left running.
    for file in "$work"/run/waylane/*.pid; do
        [ -e "$file" ] && kill -KILL "$(cat "$file")" 2>/dev/null || true
    done
    rm -rf "$work"
}
trap end EXIT

awk '/^```sh follow$/ { on = 1; next } /^```$/ { on = 0 } on' docs/operating.md |
    sed "s#/etc/waylane#$work/etc/waylane#g; s#/var/lib/waylane#$work/var/lib/waylane#g
         s#/run/waylane#$work/run/waylane#g" >"$work/steps.sh"
[ "$(wc -l <"$work/steps.sh")" -gt 10 ] || { echo "the page has no steps" >&2; exit 1; }
PATH="$work/bin:$PATH" bash -euxo pipefail "$work/steps.sh"
echo "followed: $(wc -l <"$work/steps.sh") lines"
