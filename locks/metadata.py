"""Writes what each locked package asks for, so that a test tells offline whether a lock is closed.

    python locks/metadata.py locks/metadata.json requirements.lock locks/*.lock

Run by `make lock`. The index is pip's; a file's metadata is taken only where the lock lists the
file's hash.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import sys
import tarfile
import urllib.parse
import urllib.request
import zipfile
from concurrent.futures import ThreadPoolExecutor
from email.parser import BytesHeaderParser
from pathlib import Path

from installer import pip_options

TIMEOUT_SECONDS = 60
PARALLEL = 8


def locked(lock: Path) -> dict[str, set[str]]:
    """Return the SHA-256 of the files of each `name==version` of a lock."""
    found: dict[str, set[str]] = {}
    for entry in lock.read_text().replace("\\\n", " ").splitlines():
        match = re.match(r"([\w.-]+)(?:\[[^\]]*\])?==([^\s;]+)", entry)
        if match:
            hashes = re.findall(r"--hash=sha256:([0-9a-f]{64})", entry)
            found.setdefault(f"{match[1]}=={match[2]}", set()).update(hashes)
    return found


def read(url: str, accept: str = "*/*") -> bytes:
    """Return what an address answers."""
    request = urllib.request.Request(url, headers={"Accept": accept})  # noqa: S310 -- pip's index
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
        return bytes(answer.read())


def metadata_in(name: str, archive: bytes) -> bytes:
    """Return the metadata inside a wheel or a source distribution."""
    if name.endswith(".whl"):
        with zipfile.ZipFile(io.BytesIO(archive)) as wheel:
            names = [path for path in wheel.namelist() if path.endswith(".dist-info/METADATA")]
            return wheel.read(min(names, key=len))  # what is vendored lies deeper
    with tarfile.open(fileobj=io.BytesIO(archive)) as source:
        inside = min(
            (path for path in source.getnames() if path.endswith("/PKG-INFO")),
            key=len,
            default="",
        )
        file = source.extractfile(inside)
        if file is None:
            raise ValueError(f"{name} has no metadata")
        raw = file.read()
        old = [path for path in source.getnames() if path.endswith(".egg-info/requires.txt")]
        listed = source.extractfile(old[0]) if old and b"\nRequires-Dist:" not in raw else None
        if listed is not None:
            # setuptools of old named elsewhere what a package asks for; extras come behind
            plain = listed.read().decode().partition("\n[")[0].split("\n")
            raw = (
                "".join(
                    f"Requires-Dist: {requirement}\n" for requirement in plain if requirement
                ).encode()
                + raw
            )
        return raw


def describe(index: str, release: str, hashes: set[str]) -> dict[str, list[str]]:
    """Return what a release asks for, from one of its locked files; wheels are read first."""
    name = release.partition("==")[0]
    page = f"{index.rstrip('/')}/{name}/"
    files = json.loads(read(page, "application/vnd.pypi.simple.v1+json"))["files"]
    held = [file for file in files if file["hashes"].get("sha256") in hashes]
    file = max(
        held, key=lambda one: (one["filename"].endswith(".whl"), bool(one.get("core-metadata")))
    )
    url = urllib.parse.urljoin(page, file["url"])
    if file.get("core-metadata"):
        raw = read(f"{url}.metadata")
        if hashlib.sha256(raw).hexdigest() != file["core-metadata"]["sha256"]:
            raise ValueError(f"{file['filename']}: the index serves other metadata than it says")
    else:
        archive = read(url)
        if hashlib.sha256(archive).hexdigest() not in hashes:
            raise ValueError(f"{file['filename']} is not the file that is locked")
        raw = metadata_in(file["filename"], archive)
    message = BytesHeaderParser().parsebytes(raw)
    return {
        "requires": sorted(
            {str(requirement) for requirement in message.get_all("Requires-Dist", [])}
        ),
        "extras": sorted({str(extra) for extra in message.get_all("Provides-Extra", [])}),
    }


def main(output: Path, locks: list[Path]) -> None:
    """Write the metadata of all releases that the locks name."""
    releases: dict[str, set[str]] = {}
    for lock in locks:
        for release, hashes in locked(lock).items():
            releases.setdefault(release, set()).update(hashes)
    environment = Path(sys.prefix)
    index = pip_options(environment).get("index-url")
    if index is None:
        from pip._internal.models.index import PyPI  # noqa: PLC0415 -- pip's own default

        index = PyPI.simple_url
    names = sorted(releases)
    with ThreadPoolExecutor(PARALLEL) as pool:
        found = pool.map(lambda release: describe(index, release, releases[release]), names)
        text = json.dumps(dict(zip(names, found, strict=True)), indent=1)
    output.write_text(f"{text}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
