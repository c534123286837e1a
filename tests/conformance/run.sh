#!/bin/sh
# Runs Hetzner's own clients against the simulator: the Python client and the Ansible collection
# always, the hcloud CLI where it is installed. Every reply is held against hetzner-sim/schemas.
# Needs PyPI the first time, and Python 3.11 or newer for Ansible. PYTHON names an interpreter.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
workspace=$(cd "$here/../.." && pwd)
target=${CARGO_TARGET_DIR:-$workspace/target}
venv=$target/conformance

cargo build --quiet --manifest-path "$workspace/Cargo.toml" -p hetzner-sim
if ! [ -x "$venv/bin/pip" ]; then
    for python in ${PYTHON:-python3.14 python3.13 python3.12 python3}; do
        # A name on the PATH may be a mere stand-in for an interpreter that is not there.
        if "$python" -c 'import venv, ensurepip' >/dev/null 2>&1; then break; fi
    done
    "$python" -m venv "$venv"
fi
"$venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"
collections=$venv/collections
if [ -x "$venv/bin/ansible-playbook" ] && ! [ -d "$collections/ansible_collections" ]; then
    "$venv/bin/python" "$here/collection.py" "$collections.new"
    mv "$collections.new" "$collections"
fi
HETZNER_SIM=$target/debug/hetzner-sim PYTHONDONTWRITEBYTECODE=1 \
    ANSIBLE_COLLECTIONS_PATH=$collections ANSIBLE_COLLECTIONS_SCAN_SYS_PATH=false \
    exec "$venv/bin/python" -m pytest -p no:cacheprovider "$here" "$@"
