"""Hetzner's Ansible collection, unchanged, against the simulator."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import pytest
from conftest import TOKEN

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA me"


pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("ansible_collections") is None,
    reason="Hetzner's collection of today needs Python 3.12",
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
