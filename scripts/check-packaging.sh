#!/usr/bin/env bash
# Checks what ships for operators, by what can be had without the network it is for: the unit by
# systemd-analyze, rules and the Prometheus file by promtool, compose and Kubernetes files by their
# schemas, and the settings in all of them by the program itself, which is the first argument.
# scripts/install-packaging.sh installs what it needs.
set -euo pipefail
cd "$(dirname "$0")/.."
program=$(realpath "${1:?usage: scripts/check-packaging.sh PROGRAM}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

scripts/install-packaging.sh --list
venv=target/packaging-venv

echo "== systemd"
sed "s#/usr/bin/waylane#$program#" packaging/systemd/waylane-relay.service >"$work/waylane-relay.service"
systemd-analyze verify --recursive-errors=no "$work/waylane-relay.service"
mkdir "$work/waylane-relay.service.d"
cp packaging/systemd/fast-path.conf "$work/waylane-relay.service.d/"
systemd-analyze verify --recursive-errors=no "$work/waylane-relay.service"
# Of 10; what a relay needs keeps it from 0.
systemd-analyze security --offline=true --threshold=25 packaging/systemd/waylane-relay.service |
    tail -n 1

echo "== Prometheus"
cp packaging/container/prometheus.yaml packaging/prometheus/rules.yml "$work/"
promtool check config "$work/prometheus.yaml"

echo "== compose and Kubernetes"
"$venv/bin/kubernetes-validate" --strict packaging/kubernetes/relay.yaml
"$venv/bin/python" - "$program" <<'PYTHON'
import os, subprocess, sys, yaml
from compose_spec import PyCompose

# Merged as compose merges it, and then by the schema.
text = open("packaging/container/compose.yaml").read()
compose = yaml.safe_load(text)
compose.pop("x-relay")
parsed = PyCompose.from_yaml(yaml.safe_dump(compose))
parsed.validate()
assert sorted(compose["services"]) == ["grafana", "prometheus", "relay-1", "relay-2"]
assert text.count("relay-1:9433") == 0, "the admin port is not published"
for service in compose["services"].values():
    for mount in service.get("volumes", []):
        source = mount.split(":")[0]
        path = os.path.join("packaging/container", source)
        assert not source.startswith(".") or os.path.exists(path), path

# The settings that the files give are settings.
def settings(pairs):
    env = {"PATH": os.environ["PATH"], **pairs}
    run = subprocess.run([sys.argv[1], "relay", "--check-config"], env=env)
    assert run.returncode == 0, pairs

for name in ("relay-1", "relay-2"):
    pairs = compose["services"][name]["environment"]
    announce = "203.0.113.5:" + pairs["WAYLANE_ANNOUNCE"].rsplit(":", 1)[1]
    settings({**pairs, "WAYLANE_ANNOUNCE": announce})
for document in yaml.safe_load_all(open("packaging/kubernetes/relay.yaml")):
    if document["kind"] == "DaemonSet":
        spec = document["spec"]["template"]["spec"]
        pairs = {v["name"]: v["value"] for v in spec["containers"][0]["env"] if "value" in v}
        settings({name: value.replace("$(NODE_ADDRESS)", "203.0.113.5") for name, value in pairs.items()})
        assert spec["terminationGracePeriodSeconds"] > 300, "longer than drain_timeout_s"

# The image's, too.
pairs = {}
for word in open("packaging/container/Dockerfile").read().split():
    if word.startswith("WAYLANE_"):
        name, value = word.split("=", 1)
        pairs[name] = value
settings({**pairs, "WAYLANE_ANNOUNCE": "203.0.113.5:4433"})
print("compose, Kubernetes and image settings serve")
PYTHON
