#!/usr/bin/env bash
# Installs what checks the files that ship for operators: systemd-analyze (as a program: nothing is
# started), promtool, what makes a small Debian and boots it, what builds images, the schemas of compose
# and Kubernetes files as Python packages, which go into target/packaging-venv, and Grafana's types by
# npm, which go into target/packaging-npm. For Debian 12 and later, as root where one of its packages
# is missing. What is already there is left alone; plain `cargo test` needs none of it.
#
#   scripts/install-packaging.sh          installs what is missing
#   scripts/install-packaging.sh --list   installs nothing, and fails if something is missing
set -euo pipefail
cd "$(dirname "$0")/.."
venv=target/packaging-venv
schemas=(kubernetes-validate==1.37.0 compose-spec==0.2.1)

missing=()
command -v systemd-analyze >/dev/null || missing+=(systemd)
command -v promtool >/dev/null || missing+=(prometheus)
command -v buildah >/dev/null || missing+=(buildah)
command -v mmdebstrap >/dev/null || missing+=(mmdebstrap)
command -v systemd-nspawn >/dev/null || missing+=(systemd-container)
command -v ip >/dev/null || missing+=(iproute2)
python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
has_schemas() { "$venv/bin/python" -c 'import compose_spec, kubernetes_validate, yaml' 2>/dev/null; }
has_schemas || missing+=("${schemas[@]}")
# Grafana's types are of the version that the compose file runs.
grafana=$(sed -n 's#.*image: grafana/grafana:##p' packaging/container/compose.yaml)
types=("@grafana/schema@$grafana" typescript@5.9.3)
modules=target/packaging-npm/node_modules
command -v npm >/dev/null || missing+=(npm)
has_types() { grep -q "\"version\": \"$grafana\"" "$modules/@grafana/schema/package.json" 2>/dev/null; }
has_types || missing+=("${types[@]}")
if [[ ${#missing[@]} -eq 0 ]]; then
    echo "install-packaging: everything is there"
    exit 0
fi
echo "install-packaging: missing: ${missing[*]}"
if [[ "${1:-}" == --list ]]; then
    echo "install-packaging: run scripts/install-packaging.sh" >&2
    exit 1
fi

debian=()
for package in "${missing[@]}"; do
    [[ $package == *==* || $package == *@* ]] || debian+=("$package")
done
if [[ ${#debian[@]} -ne 0 ]]; then
    if [[ $EUID -ne 0 ]]; then
        echo "install-packaging: needs root to install ${debian[*]}: sudo $0" >&2
        exit 1
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get update --quiet --quiet
    apt-get install --yes --quiet --quiet --no-install-recommends "${debian[@]}" >/dev/null
fi
if ! has_schemas; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet "${schemas[@]}"
fi
if ! has_types; then
    npm install --silent --no-audit --no-fund --ignore-scripts --no-save \
        --prefix target/packaging-npm "${types[@]}"
fi
echo "install-packaging: installed ${missing[*]}"
