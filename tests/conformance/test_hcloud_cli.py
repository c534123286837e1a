"""The hcloud CLI, where there is one, unchanged, against the simulator."""

import json
import os
import shutil
import subprocess

import pytest
from conftest import TOKEN

pytestmark = pytest.mark.skipif(
    shutil.which("hcloud") is None, reason="no hcloud CLI on this machine"
)


@pytest.fixture
def hcloud(start):
    # The CLI insists on a token of 64 characters.
    token = (TOKEN + "x" * 64)[:64]
    sim = start("--token", token)

    def run(*arguments):
        ran = subprocess.run(
            ["hcloud", *arguments],
            env=os.environ | {"HCLOUD_ENDPOINT": sim.url, "HCLOUD_TOKEN": token},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    return run


def test_a_server_from_create_to_delete(hcloud):
    hcloud("firewall", "create", "--name", "fw")
    hcloud(
        *["server", "create", "--name", "a", "--type", "cx23", "--image", "debian-12"],
        *["--location", "nbg1", "--label", "team=x", "--firewall", "fw"],
    )
    found = json.loads(hcloud("server", "list", "--selector", "team=x", "-o", "json"))
    assert [server["name"] for server in found] == ["a"]
    hcloud("server", "add-label", "a", "more=y")
    hcloud("server", "poweroff", "a")
    described = json.loads(hcloud("server", "describe", "a", "-o", "json"))
    assert described["status"] == "off"
    assert described["labels"] == {"team": "x", "more": "y"}
    hcloud("server", "delete", "a")
    assert json.loads(hcloud("firewall", "describe", "fw", "-o", "json"))["name"] == "fw"


@pytest.mark.parametrize(
    "kind", ["server", "image", "server-type", "location", "ssh-key", "firewall", "network"]
)
def test_lists(hcloud, kind):
    hcloud(kind, "list")
