#!/usr/bin/env bash
# Does what packaging/container/Dockerfile does, without a container engine: builds the program as its
# first stage does (static, against musl; unoptimised, to be quick), and runs it as its last stage
# says: in a root that holds the image's files and nothing else, as the image's user, with the image's
# settings, in a network of its own. The image's health check must say yes while the relay runs and no
# before and after, and the relay's key must last. Needs root, rustup, and Debian's musl-tools, which
# scripts/install-packaging.sh installs.
#
#   scripts/check-image.sh            builds, and runs
#   scripts/check-image.sh PROGRAM    runs this program
set -euo pipefail
cd "$(dirname "$0")/.."
[ "$EUID" -eq 0 ] || { echo "check-image: needs root, for a root and a network of its own" >&2; exit 1; }
dockerfile=packaging/container/Dockerfile
target=x86_64-unknown-linux-musl

if [ $# -gt 0 ]; then
    program=$1
else
    command -v musl-gcc >/dev/null || { echo "check-image: run scripts/install-packaging.sh" >&2; exit 1; }
    rustup target list --installed | grep -qx "$target" || rustup target add "$target"
    quick=(--config profile.dev.opt-level=0 --config profile.dev.debug=0)
    quick+=(--config 'profile.dev.package."*".opt-level=0')
    cargo build --locked --package waylane-cli --target "$target" --target-dir target "${quick[@]}"
    program=target/$target/debug/waylane
fi

image=$(mktemp -d)
trap 'rm -rf "$image"' EXIT
# As a container engine makes it; a folder of mktemp's own is closed to others.
chmod 0755 "$image"
install -D "$program" "$image/usr/bin/waylane"
install -d -m 0700 "$image/var/lib/waylane" "$image/run/waylane"
chown -R 65532:65532 "$image/usr" "$image/var" "$image/run"

unshare --net python3 - "$dockerfile" "$image" <<'PYTHON'
import json, os, re, subprocess, sys, time

dockerfile, image = sys.argv[1:]
text = open(dockerfile).read().replace("\\\n", " ")
build, last = re.split(r"^FROM scratch$", text, flags=re.M)
# What was built and put together above is what the file says.
for words in ("--target x86_64-unknown-linux-musl", "--locked", "/image/usr/bin/waylane",
              "install -d -m 0700 /image/var/lib/waylane /image/run/waylane"):
    assert words in build, words
assert "COPY --from=build --chown=65532:65532 /image/ /" in last
user, group = map(int, re.search(r"^USER (\d+):(\d+)$", last, re.M).groups())
assert user != 0 and group != 0
settings = dict(re.findall(r"(WAYLANE_\w+)=(\S+)", last))
settings["WAYLANE_ANNOUNCE"] = "198.18.0.1:4433"
health = json.loads(re.search(r"HEALTHCHECK.*?CMD (\[.*\])", last).group(1))
start = json.loads(re.search(r"^ENTRYPOINT (\[.*\])", last, re.M).group(1))
start += json.loads(re.search(r"^CMD (\[.*\])", last, re.M).group(1))

def enter():
    os.chroot(image)
    os.chdir("/")
    os.setgroups([])
    os.setgid(group)
    os.setuid(user)

def inside(arguments, **more):
    return subprocess.Popen(arguments, env=settings, preexec_fn=enter, text=True, **more)

def healthy():
    return inside(health, stderr=subprocess.DEVNULL).wait() == 0

subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
assert not healthy(), "healthy before there is a relay"
entries = []
for _ in range(2):
    relay = inside(start, stdout=subprocess.PIPE)
    try:
        entries.append(relay.stdout.readline())
        for _ in range(100):
            if healthy():
                break
            assert relay.poll() is None, "the relay ended"
            time.sleep(0.1)
        else:
            raise AssertionError("not healthy")
        status = open(f"/proc/{relay.pid}/status").read()
        assert f"Uid:\t{user}\t{user}\t{user}\t{user}" in status, status
        # Static: only the program itself and the kernel's own pages are mapped from files.
        maps = open(f"/proc/{relay.pid}/maps").read()
        assert ".so" not in maps, maps
        relay.terminate()  # as STOPSIGNAL says
        assert relay.wait(timeout=60) == 0
    finally:
        relay.kill()
    assert not healthy(), "healthy without a relay"
assert entries[0] == entries[1] != "", "the key did not last"
key = os.stat(image + "/var/lib/waylane/relay.key")
assert (key.st_uid, key.st_mode & 0o077) == (user, 0), "the key is open to others"
assert re.search(r"^STOPSIGNAL SIGTERM$", last, re.M)
print("the image's program serves, in its root, as its user, and its health check tells")
PYTHON
