"""Hetzner's Ansible collection, unchanged, against the simulator."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest
from conftest import TOKEN

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA me"


PLAYBOOK = shutil.which("ansible-playbook", path=pathlib.Path(sys.executable).parent)

pytestmark = pytest.mark.skipif(
    PLAYBOOK is None, reason="an ansible-core for Hetzner's collection needs Python 3.11"
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
            PLAYBOOK,
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
