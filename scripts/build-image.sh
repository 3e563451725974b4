#!/usr/bin/env bash
# Runs the first stage of packaging/container/Dockerfile, as its lines stand, in a Debian root made by
# debootstrap, without a container engine: for the image that it starts from, that root gets gcc and
# this machine's Rust toolchain, which must be of the same version; of this folder it gets what
# Dockerfile.dockerignore lets through. Then scripts/check-image.sh runs the last stage with the
# program that came of it. Optimised as it ships, which takes minutes, so CI builds it in another way
# (check-image.sh alone). Needs root, debootstrap, rustup, and a way to Debian and crates.io.
set -euo pipefail
cd "$(dirname "$0")/.."
[ "$EUID" -eq 0 ] || { echo "build-image: needs root" >&2; exit 1; }
for tool in debootstrap rustup; do
    command -v "$tool" >/dev/null || { echo "build-image: needs $tool" >&2; exit 1; }
done

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
chmod 0755 "$root"
python3 - "$root" <<'PYTHON'
import os, re, shutil, subprocess, sys

root = sys.argv[1]
text = open("packaging/container/Dockerfile").read().replace("\\\n", " ")
build, last = re.split(r"^FROM scratch$", text, flags=re.M)
version, suite = re.search(r"^FROM rust:([\d.]+)-slim-(\w+) AS build$", build, re.M).groups()

def run(*arguments, **more):
    print("+", *arguments, flush=True)
    subprocess.run(arguments, check=True, **more)

run("debootstrap", "--variant=minbase", "--include=ca-certificates,gcc,libc6-dev", suite, root)
shutil.copy("/etc/resolv.conf", root + "/etc/resolv.conf")

# Where that image has them, and as it does without anything that was added.
sysroot = subprocess.check_output(["rustc", "--print", "sysroot"], text=True).strip()
told = subprocess.check_output([sysroot + "/bin/rustc", "--version"], text=True)
assert told.startswith(f"rustc {version}."), f"{told} here, {version} there"
rustup, cargo = root + "/usr/local/rustup", root + "/usr/local/cargo"
name = os.path.basename(sysroot)
os.makedirs(f"{rustup}/toolchains")
os.makedirs(f"{cargo}/bin")
run("cp", "-a", sysroot, f"{rustup}/toolchains/{name}")
shutil.copy(shutil.which("rustup"), f"{cargo}/bin/rustup")
for proxy in ("cargo", "rustc"):
    os.symlink("rustup", f"{cargo}/bin/{proxy}")

env = {"PATH": "/usr/local/cargo/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root",
       "RUSTUP_HOME": "/usr/local/rustup", "CARGO_HOME": "/usr/local/cargo",
       "RUSTUP_TOOLCHAIN": name, "DEBIAN_FRONTEND": "noninteractive"}
folder = "/"
for line in build.splitlines():
    word, _, rest = line.partition(" ")
    if word == "WORKDIR":
        folder = rest
        os.makedirs(root + folder, exist_ok=True)
    elif line == "COPY . .":
        lines = open("packaging/container/Dockerfile.dockerignore").read().splitlines()
        wanted = [line[1:] for line in lines if line.startswith("!")]
        assert "*" in lines and "**/target" in lines, lines
        pack = subprocess.Popen(["tar", "-c", "--exclude=target", *wanted], stdout=subprocess.PIPE)
        run("tar", "-x", "-C", root + folder, stdin=pack.stdout)
        assert pack.wait() == 0
    elif word == "RUN":
        run("chroot", root, "sh", "-euc", f"cd {folder}; {rest}", env=env)
    else:
        assert word in ("", "#", "FROM"), line
PYTHON
scripts/check-image.sh "$root/image/usr/bin/waylane"
