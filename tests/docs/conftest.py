"""The machine of a reader: our command, a scratch folder, and a package index on 127.0.0.1."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from streams.broker.paths import jars_dir
from tests.agents.fetching.servers import Server, running
from tests.installed import BESIDE_OTHERS, TIDEWATCH
from tests.wheels import write_wheel

Reader = Callable[..., dict[str, str]]

PACKAGES = {"requests": "2.32.3", "torch": "2.9.0"}
"""What the index of the reader holds: next to empty distributions of these names."""


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a package index at `/simple/`."""
    folder = tmp_path_factory.mktemp("wheels")
    with running() as server:
        for name, version in PACKAGES.items():
            digest = write_wheel(folder, name, version)
            wheel = folder / f"{name}-{version}-py3-none-any.whl"
            with zipfile.ZipFile(wheel) as opened:
                metadata = opened.read(f"{name}-{version}.dist-info/METADATA")
            link = (
                f'<a href="/files/{wheel.name}#sha256={digest}" '
                f'data-core-metadata="sha256={hashlib.sha256(metadata).hexdigest()}">'
                f"{wheel.name}</a>"
            )
            server.answer(f"/simple/{name}/", 200, {"Content-Type": "text/html"}, link.encode())
            server.answer(f"/files/{wheel.name}", 200, {}, wheel.read_bytes())
            server.answer(f"/files/{wheel.name}.metadata", 200, {}, metadata)
        yield server


@pytest.fixture(scope="module")
def reader(web: Server, tmp_path_factory: pytest.TempPathFactory) -> Reader:
    """Make the environment of a reader: `reader(kafka="host:port")`, without one the embedded."""

    def environment(kafka: str | None = None, **settings: str) -> dict[str, str]:
        home = tmp_path_factory.mktemp("home")
        state = home / "state"
        (state / "kafka").mkdir(parents=True)
        jars_dir().mkdir(parents=True, exist_ok=True)
        jars_dir(state).symlink_to(jars_dir())
        simple = f"http://{web.host}/simple/"
        return {
            "PATH": f"{Path(TIDEWATCH).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_INDEX_URL": simple,
            # what a page installs does not land among what the tests run with
            "PIP_TARGET": str(home / "installed"),
            "UV_DEFAULT_INDEX": simple,
            "TIDEWATCH_STATE_DIR": str(state),
            **({"TIDEWATCH_KAFKA": kafka} if kafka else BESIDE_OTHERS),
            **{f"TIDEWATCH_{name.upper()}": value for name, value in settings.items()},
        }

    return environment
