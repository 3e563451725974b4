#!/usr/bin/env bash
# Checks what ships for operators, by what can be had without the network it is for: the unit by
# systemd-analyze, rules and the Prometheus file by promtool, Grafana's board by its own types, compose
# and Kubernetes files by their schemas, and the settings in all of them by the program itself, which
# is the first argument. scripts/install-packaging.sh installs what it needs.
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

echo "== Grafana"
# Behind a name of its type, the board is a program that only the right fields make a right one.
types=target/packaging-npm
{ cat scripts/grafana-board.ts packaging/grafana/waylane.json; echo "; export default board;"; } \
    >"$types/board.ts"
"$types/node_modules/.bin/tsc" --noEmit --strict --skipLibCheck --module esnext \
    --moduleResolution node10 "$types/board.ts"
# Its queries, with what Grafana would put in, as rules that nobody uses.
"$venv/bin/python" - <<'PYTHON' >"$work/board.yml"
import json, re, yaml

board = json.load(open("packaging/grafana/waylane.json"))
queries = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
queries += [note["expr"] for note in board["annotations"]["list"]]
assert len(queries) > 15
filled = [re.sub(r"\$\w+", ".*", query.replace("$__rate_interval", "1m")) for query in queries]
rules = [{"record": f"board:{n}", "expr": query} for n, query in enumerate(filled)]
print(yaml.safe_dump({"groups": [{"name": "board", "rules": rules}]}))
PYTHON
promtool check rules "$work/board.yml"

echo "== compose and Kubernetes"
"$venv/bin/kubernetes-validate" --strict packaging/kubernetes/relay.yaml
"$venv/bin/python" - "$program" <<'PYTHON'
import os, re, subprocess, sys, yaml
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
        # The operator's own; made where there is none.
        assert source == "./fleet" or not source.startswith(".") or os.path.exists(path), path

# How long a relay may drain, unless told otherwise.
default = subprocess.run([sys.argv[1], "relay", "--sample-config"], check=True, text=True,
                         capture_output=True).stdout
drain = int(re.search(r"^# drain_timeout_s = (\d+)$", default, re.M).group(1))
asked = yaml.safe_load(open("packaging/container/prometheus.yaml"))["scrape_configs"][0]
targets = asked["static_configs"][0]["targets"]
for name in ("relay-1", "relay-2"):
    service = compose["services"][name]
    assert int(service["stop_grace_period"].removesuffix("s")) > drain, "longer than it drains"
    assert service["restart"] == "unless-stopped" and "/udp" in service["ports"][0]
    assert f"{name}:" + service["environment"]["WAYLANE_ADMIN"].rsplit(":", 1)[1] in targets

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
        assert spec["terminationGracePeriodSeconds"] > drain, "longer than it drains"
        relay = spec["containers"][0]
        ports = {port["name"]: (port["containerPort"], port["protocol"]) for port in relay["ports"]}
        assert ports["game"] == (int(pairs["WAYLANE_LISTEN"].rsplit(":", 1)[1]), "UDP")
        assert ports["admin"] == (int(pairs["WAYLANE_ADMIN"].rsplit(":", 1)[1]), "TCP")
        for probe, path in (("readinessProbe", "/ready"), ("livenessProbe", "/live")):
            assert relay[probe]["httpGet"] == {"path": path, "port": "admin"}, probe

# The image's, too.
pairs = {}
for word in open("packaging/container/Dockerfile").read().split():
    if word.startswith("WAYLANE_"):
        name, value = word.split("=", 1)
        pairs[name] = value
settings({**pairs, "WAYLANE_ANNOUNCE": "203.0.113.5:4433"})
print("compose, Kubernetes and image settings serve")
PYTHON
