"""Takes Hetzner's Ansible collection, at its newest, out of the package `ansible`.

The package asks for the newest Python because of the newest ansible-core, but the collection
itself is content with older ones (`requires_ansible: ">=2.18.0"`). What the package's older
releases hold, up to collection 5.4, reads a server's `datacenter`, which Hetzner removed on
2026-07-01, and fails on the real API no less than here. One collection of a hundred is taken:
the rest would be 300 MB.
"""

import pathlib
import subprocess
import sys
import tempfile
import zipfile

WANTED = "ansible_collections/hetzner/hcloud/"


def main(target):
    with tempfile.TemporaryDirectory() as downloads:
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
            + ["--no-deps", "--ignore-requires-python", "--only-binary", ":all:"]
            + ["--dest", downloads, "ansible>=13"],
            check=True,
        )
        (wheel,) = pathlib.Path(downloads).glob("ansible-*.whl")
        with zipfile.ZipFile(wheel) as package:
            names = [name for name in package.namelist() if name.startswith(WANTED)]
            assert names, f"no {WANTED} in {wheel.name}"
            package.extractall(target, names)


main(sys.argv[1])
