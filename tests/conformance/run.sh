#!/bin/sh
# Runs Hetzner's own clients against the simulator. Needs PyPI once, and Python 3.12 or newer
# (PYTHON names another): on older ones pip finds only an Ansible collection from before
# Hetzner removed datacenters, and its test is skipped.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
workspace=$(cd "$here/../.." && pwd)
target=${CARGO_TARGET_DIR:-$workspace/target}
venv=$target/conformance

cargo build --quiet --manifest-path "$workspace/Cargo.toml" -p hetzner-sim
[ -x "$venv/bin/python" ] || "${PYTHON:-python3}" -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"
HETZNER_SIM=$target/debug/hetzner-sim PYTHONDONTWRITEBYTECODE=1 \
    exec "$venv/bin/python" -m pytest -p no:cacheprovider "$here" "$@"
