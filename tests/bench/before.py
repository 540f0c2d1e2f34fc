"""Builds the revision that today's is compared with, into an environment of its own.

`python -m tests.bench.before`, which `make bench` calls: the source comes out of git, the packages
from the lock of that revision, by the installer that makes every other environment.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REVISION = os.environ.get("BENCH_BEFORE", "4ecfb993a6df962a5f3f494255e06aae8915bf52")
"""The last commit before the unreleased changes, which the README's figures were measured of."""
FOLDER = ROOT / ".venv" / "before" / REVISION
SOURCE = FOLDER / "source"
PYTHON = FOLDER / "environment" / "bin" / "python"
_STAMP = FOLDER / "built"


def built() -> bool:
    """Return whether the revision is there to be measured."""
    return _STAMP.exists()


def build() -> None:
    """Build the revision, unless it is there.

    Raises:
        subprocess.CalledProcessError: git does not have it, or its lock can't be installed.
    """
    if built():
        return
    shutil.rmtree(FOLDER, ignore_errors=True)
    SOURCE.mkdir(parents=True)
    with tempfile.TemporaryFile() as packed:
        archive = ["git", "-C", str(ROOT), "archive", REVISION]
        subprocess.run(archive, check=True, stdout=packed)
        packed.seek(0)
        with tarfile.open(fileobj=packed) as files:
            files.extractall(SOURCE, filter="data")
    installer = [sys.executable, "locks/installer.py", "--installer", ".venv/installer"]
    environment = str(FOLDER / "environment")
    project = ["--project", str(SOURCE), "--editable"]
    lock = str(SOURCE / "requirements.lock")
    subprocess.run([*installer, "install", environment, lock, *project], check=True, cwd=ROOT)
    _STAMP.touch()


if __name__ == "__main__":
    try:
        build()
    except subprocess.CalledProcessError as error:
        sys.exit(f"revision {REVISION[:12]} can't be built: {error}; a shallow clone lacks it")
