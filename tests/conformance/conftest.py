"""A simulator for each test, and Hetzner's own client for it."""

import json
import os
import pathlib
import subprocess
import tempfile
import urllib.request

import pytest
import shapes
from hcloud import Client

TOKEN = "conformance-token"


class Simulator:
    """A running `hetzner-sim`; `control` speaks to its control API. When it stops, every reply
    that it gave to whatever client is held against the shapes of the API."""

    def __init__(self, *arguments):
        self.folder = tempfile.TemporaryDirectory()
        self.replies = pathlib.Path(self.folder.name) / "replies.jsonl"
        self.process = subprocess.Popen(
            [os.environ["HETZNER_SIM"], "--listen", "127.0.0.1:0", "--token", TOKEN]
            + ["--create-ms", "50", "--boot-ms", "50", "--power-ms", "50"]
            + ["--delete-ms", "50", "--firewall-lag-ms", "100"]
            + ["--record-replies", self.replies]
            + list(arguments),
            stdout=subprocess.PIPE,
            text=True,
        )
        line = self.process.stdout.readline()
        assert line.startswith("listening on "), line
        self.url = line.removeprefix("listening on ").strip()

    def client(self, token=TOKEN):
        return Client(
            token=token,
            api_endpoint=self.url,
            poll_interval=0.02,
            application_name="conformance",
        )

    def control(self, method, path, body=None):
        request = urllib.request.Request(
            self.url.removesuffix("/v1") + "/_sim" + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
        )
        with urllib.request.urlopen(request) as reply:
            text = reply.read()
            return json.loads(text) if text else None

    def stop(self):
        self.process.terminate()
        assert self.process.wait(timeout=10) == 0
        with self.folder:
            self.checked = shapes.check_recording(self.replies)


@pytest.fixture
def start():
    running = []

    def starter(*arguments):
        running.append(Simulator(*arguments))
        return running[-1]

    yield starter
    for simulator in running:
        if simulator.process.poll() is None:
            simulator.stop()


@pytest.fixture
def sim(start):
    return start()


@pytest.fixture
def client(sim):
    return sim.client()
