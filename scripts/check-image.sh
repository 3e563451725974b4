#!/usr/bin/env bash
# Builds the image by packaging/container/Dockerfile, line by line as it stands, and runs it as its last
# stage says. buildah reads the file; it needs no service and no other image: in place of the one that
# the file starts from stands a small Debian with gcc and this machine's Rust toolchain, which must be
# of the same version. From this machine come its trusted certificates, its proxy's variables, and
# cargo's settings and downloads, so that crates come from wherever they come from here; what is built
# stays in target/image. Then the image's program runs in the image's files and nothing else, as the
# image's user, with the image's settings, in a network of its own: its health check must say yes while
# the relay runs and no before and after, and the relay's key must last. Needs root, rustup, what
# scripts/install-packaging.sh installs, and a way to Debian.
#
#   scripts/check-image.sh                  unoptimised, to be quick
#   scripts/check-image.sh --as-it-ships    optimised, which takes minutes
set -euo pipefail
cd "$(dirname "$0")/.."
[ "$EUID" -eq 0 ] || { echo "check-image: needs root, for a root and a network of its own" >&2; exit 1; }
command -v buildah >/dev/null || { echo "check-image: run scripts/install-packaging.sh" >&2; exit 1; }
dockerfile=packaging/container/Dockerfile
target=x86_64-unknown-linux-musl
base=$(sed -n 's/^FROM \(.*\) AS build$/\1/p' "$dockerfile")
version=${base#rust:}
version=${version%%-*}
sysroot=$(rustc --print sysroot)
toolchain=$(basename "$sysroot")
rustc --version | grep -q "^rustc $version\." || { echo "check-image: needs Rust $version" >&2; exit 1; }
# A toolchain that is shared is not written to, so the file's own line finds it there.
rustup target list --installed | grep -qx "$target" || rustup target add "$target"

case "${1:-}" in
--as-it-ships) profile=() kept=$PWD/target/image-as-it-ships ;;
"")
    profile=(OPT_LEVEL=0 LTO=off CODEGEN_UNITS=16 DEBUG=0)
    profile=("${profile[@]/#/--env=CARGO_PROFILE_RELEASE_}")
    kept=$PWD/target/image
    ;;
*) echo "check-image: unknown: $1" >&2; exit 2 ;;
esac

work=$(mktemp -d)
tool() { buildah --root "$work/storage" --runroot "$work/run" "$@"; }
end() {
    tool umount --all >/dev/null 2>&1 || true
    # Of an overlay, what is mounted is not to be removed with the rest.
    umount --lazy "$work/storage/overlay" 2>/dev/null || true
    rm -rf "$work"
}
trap end EXIT

# What the image of that name has: /usr/local/rustup and /usr/local/cargo.
bench=$(tool from scratch)
folder=$(tool mount "$bench")
scripts/debian-root.sh "$folder"
install -D "$(command -v rustup)" "$folder/usr/local/cargo/bin/rustup"
mkdir -p "$folder/usr/local/rustup/toolchains/$toolchain" "$folder/usr/local/cargo/registry"
for proxy in cargo rustc; do ln -s rustup "$folder/usr/local/cargo/bin/$proxy"; done
tool config --env RUSTUP_HOME=/usr/local/rustup --env CARGO_HOME=/usr/local/cargo \
    --env PATH=/usr/local/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    --env "RUSTUP_TOOLCHAIN=$toolchain" --env DEBIAN_FRONTEND=noninteractive "${profile[@]}" "$bench"
tool commit --quiet --disable-compression --rm "$bench" "localhost/$base" >/dev/null

cargo_home=${CARGO_HOME:-$HOME/.cargo}
mkdir -p "$kept" "$cargo_home/registry"
mounts=("$sysroot:/usr/local/rustup/toolchains/$toolchain:ro" "$kept:/source/target"
    "$cargo_home/registry:/usr/local/cargo/registry")
[ -e "$cargo_home/config.toml" ] && mounts+=("$cargo_home/config.toml:/usr/local/cargo/config.toml:ro")
certificates=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}
[ -e "$certificates" ] && mounts+=("$certificates:/etc/ssl/certs/ca-certificates.crt:ro")
tool build --isolation chroot --layers=false --format docker --pull-never "${mounts[@]/#/--volume=}" \
    --file "$dockerfile" --tag waylane .

container=$(tool from --pull-never localhost/waylane)
image=$(tool mount "$container")
tool inspect --type image localhost/waylane >"$work/settings.json"

unshare --net python3 - "$image" "$work/settings.json" <<'PYTHON'
import json, os, subprocess, sys, time

image, told = sys.argv[1:]
told = json.load(open(told))["Docker"]["config"]
found = sorted(os.path.join(folder, name).removeprefix(image)
               for folder, folders, files in os.walk(image) for name in files)
assert found == ["/usr/bin/waylane"], found
user, group = map(int, told["User"].split(":"))
assert user != 0 and group != 0
settings = dict(pair.split("=", 1) for pair in told["Env"])
settings["WAYLANE_ANNOUNCE"] = "198.18.0.1:4433"
assert told["Healthcheck"]["Test"][0] == "CMD", told
health = told["Healthcheck"]["Test"][1:]
start = told["Entrypoint"] + told["Cmd"]
assert list(told["ExposedPorts"]) == ["4433/udp"] and list(told["Volumes"]) == ["/var/lib/waylane"]
assert told["StopSignal"] == "SIGTERM"

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
print("the image's program serves, in its root, as its user, and its health check tells")
PYTHON
