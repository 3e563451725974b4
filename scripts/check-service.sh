#!/usr/bin/env bash
# Runs the relay as a service of a systemd that runs for it: a small Debian is booted in namespaces of
# its own (systemd-nspawn, loopback only), and there docs/operating.md's blocks marked `sh service` are
# done as they stand, with the given program as target/release/waylane and loopback in place of the
# announced address. Between them it is checked what systemd makes of the unit: ready when told so,
# under an account of its own with one capability, watched, reloaded, upgraded and drained under
# traffic, started again when it hangs and not when its settings are wrong. Needs root, and what
# scripts/install-packaging.sh installs.
set -euo pipefail
cd "$(dirname "$0")/.."
program=$(realpath "${1:?usage: scripts/check-service.sh PROGRAM}")
[ "$EUID" -eq 0 ] || { echo "check-service: needs root" >&2; exit 1; }
command -v systemd-nspawn >/dev/null || { echo "check-service: run scripts/install-packaging.sh" >&2; exit 1; }

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
chmod 0755 "$root"
scripts/debian-root.sh "$root"

source=$root/srv/waylane
install -D "$program" "$source/target/release/waylane"
cp -r packaging "$source/"
awk '/^```sh service$/ { on = 1; n++; next } /^```$/ { on = 0 }
     on { print >(folder "/block-" n) }' folder="$source" docs/operating.md
[ "$(ls "$source"/block-* | wc -l)" -eq 4 ] || { echo "the page has other blocks" >&2; exit 1; }
sed -i 's/203\.0\.113\.5/127.0.0.1/' "$source"/block-*

cat >"$source/check" <<'INSIDE'
set -euo pipefail
cd /srv/waylane
unit=waylane-relay
follow() { echo "== block $1"; bash -euxo pipefail "block-$1"; }
get() { systemctl show --value --property "$1" "$unit"; }
fail() { echo "check-service: $*"; systemctl status --no-pager "$unit" || true; exit 1; }
is() { local value; value=$(get "$1"); [ "$value" = "$2" ] || fail "$1 is $value, not $2"; }
log() { journalctl --unit "$unit" --output cat; }
logged() { grep -q -- "$1" <<<"$(log)"; }
# Until it is so; what takes longer than this does not come.
until_so() { for _ in {1..200}; do "$@" && return; sleep 0.1; done; fail "never: $*"; }
players() {
    exec 3<>/dev/tcp/127.0.0.1/9433
    printf 'GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' >&3
    grep -q '^waylane_sessions 2' <&3
}
play() {
    waylane demo --seconds "$1" --json --relay "$entry" >demo.json & demo=$!
    until_so players
}

# As a relay that was tried by hand leaves it.
install -d /var/lib/waylane
touch /var/lib/waylane/before
follow 1
[ "$(systemctl is-active "$unit")" = active ] || fail "not active"
is Type notify
entry=$(log | grep --only-matching '[A-Za-z0-9_-]\{43\}@.*')
[ "$(wc -l <<<"$entry")" -eq 1 ] || fail "there is another entry: $entry"
pid=$(get MainPID)
user=$(get UID)
# The range that systemd takes such accounts from.
[ "$user" -ge 61184 ] && [ "$user" -le 65519 ] || fail "the account is $user"
[ "$(stat --format %u /var/lib/waylane/before)" = "$user" ] || fail "what was there is not its own"
[ "$(stat --format %u:%a /var/lib/waylane/relay.key)" = "$user:600" ] || fail "the key is open to others"
for set in CapInh CapPrm CapEff CapBnd CapAmb; do
    grep -qx "$set:[[:space:]]*0000000000001000" "/proc/$pid/status" || fail "$set is not CAP_NET_ADMIN alone"
done
grep -qx 'NoNewPrivs:[[:space:]]*1' "/proc/$pid/status" || fail "may get new privileges"
grep -qx 'Seccomp:[[:space:]]*2' "/proc/$pid/status" || fail "no system call is kept from it"

# The same with short times, so that a watchdog not fed and a stop not waited for show.
mkdir -p "/run/systemd/system/$unit.service.d"
printf '[Service]\nWatchdogSec=2\nTimeoutStopSec=1\n' >"/run/systemd/system/$unit.service.d/short.conf"
systemctl daemon-reload
systemctl restart "$unit"
logged ' stopped received=' || fail "the first did not stop by itself"
[ "$(log | grep --only-matching '[A-Za-z0-9_-]\{43\}@.*' | sort -u)" = "$entry" ] || fail "the key did not last"
pid=$(get MainPID)

follow 2
until_so logged 'are in force'
is MainPID "$pid"

play 8
next() { [ "$(get MainPID)" != "$pid" ]; }
# More than once: whether the next one is systemd's own child could be a matter of luck.
for n in 1 2 3; do
    follow 3
    until_so next
    pid=$(get MainPID)
    places() { [ "$(log | grep -c 'another relay has taken the place')" -eq "$n" ]; }
    until_so places
done
logged 'not our child' && fail "the next relay's end would not be seen"
is NRestarts 0
fed=$(get WatchdogTimestampMonotonic)
later() { local now; now=$(get WatchdogTimestampMonotonic); [ "$now" != "$fed" ] && fed=$now; }
until_so later
until_so later
is ActiveState active

before=$(cut -d' ' -f1 /proc/uptime)
follow 4
took=$(awk -v before="$before" '{ print $1 - before }' /proc/uptime)
is Result success
is ExecMainStatus 0
wait "$demo" || fail "players lost something: $(cat demo.json)"
awk -v took="$took" 'BEGIN { exit !(took > 1) }' || fail "stopped after $took s, with players there"
echo "drained for $took s, past TimeoutStopSec"

systemctl start "$unit"
pid=$(get MainPID)
kill -STOP "$pid"
hung() { [ "$(get NRestarts)" = 1 ] && [ "$(get ActiveState)" = active ]; }
until_so hung
systemctl stop "$unit"

systemctl reset-failed "$unit"
echo 'sesions = 1' >>/etc/waylane/relay.toml
systemctl start "$unit" && fail "started by wrong settings"
is ActiveState failed
is NRestarts 0
logged 'did you mean sessions?' || fail "the log does not tell what is wrong"
systemd-analyze security --no-pager "$unit" | tail -n 1
INSIDE

cat >"$root/etc/systemd/system/check.service" <<'UNIT'
[Unit]
SuccessAction=exit
FailureAction=exit
[Service]
Type=oneshot
ExecStart=/bin/bash /srv/waylane/check
StandardOutput=file:/srv/waylane/out
StandardError=inherit
TimeoutStartSec=300
UNIT
code=0
systemd-nspawn --quiet --directory "$root" --machine "waylane-$$" --keep-unit --register=no \
    --private-network --console=pipe --boot systemd.unit=check.service \
    </dev/null >"$source/console" 2>&1 || code=$?
if [ "$code" -ne 0 ] || ! grep -q 'Overall exposure' "$source/out"; then
    cat "$source/console" "$source/out" 2>/dev/null
    echo "check-service: failed ($code)" >&2
    exit 1
fi
grep -v '^+' "$source/out"
echo "the unit serves under systemd $(chroot "$root" systemctl --version | awk 'NR == 1 { print $2 }')"
