"""Hetzner's Ansible collection, unchanged, against the simulator."""

import json
import os
import pathlib
import subprocess
import sys

import pytest
from conftest import TOKEN

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA me"


def collection_version():
    import ansible_collections

    root = pathlib.Path(next(iter(ansible_collections.__path__)))
    manifest = json.loads((root / "hetzner/hcloud/MANIFEST.json").read_text())
    return manifest["collection_info"]["version"]


@pytest.mark.skipif(
    int(collection_version().split(".")[0]) < 6,
    reason="the collection is from before datacenters were removed from the API",
)
def test_a_playbook_makes_changes_and_removes_a_server(sim, tmp_path):
    here = pathlib.Path(__file__).parent
    extra = {
        "endpoint": sim.url,
        "token": TOKEN,
        "public_key": KEY,
        "ansible_python_interpreter": sys.executable,
    }
    run = subprocess.run(
        [
            str(pathlib.Path(sys.executable).parent / "ansible-playbook"),
            "--inventory",
            "localhost,",
            "--extra-vars",
            json.dumps(extra),
            str(here / "playbook.yml"),
        ],
        env=os.environ | {"ANSIBLE_HOME": str(tmp_path), "ANSIBLE_NOCOLOR": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    state = sim.control("GET", "/state")
    assert state["servers"] == []
    assert [server["name"] for server in state["deletedServers"]] == ["a"]
    assert state["deletedServers"][0]["labels"] == {"team": "z"}
