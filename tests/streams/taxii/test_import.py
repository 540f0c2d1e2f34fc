"""What one Tidewatch shares by TAXII another imports: digests arrive, revocations withdraw."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from streams.cli import main
from tests.streams.taxii.test_taxii import SECRETS, add, filled, served


def imported(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    capsys.readouterr()
    code = main(["intel", "import", *words, "--local", "--format", "json"])
    out, err = capsys.readouterr()
    assert code == 0, err
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    return found


def test_a_collection_is_imported_once_and_then_what_was_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TIDEWATCH_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("TRIAL_TOKEN", SECRETS["alice"])
    shelf = filled()
    with served(shelf) as server:
        words = ["--taxii", f"{server.url}/shared/collections/tlp-amber/"]
        words += ["--token", "env:TRIAL_TOKEN", "--allow-unsigned"]
        first = imported(capsys, *words)
        assert (first["published"], first["unchanged"]) == (5, 0)
        again = imported(capsys, *words, "--user", "alice")
        assert (again["published"], again["unchanged"]) == (0, 5)
        add(shelf, 50)
        add(shelf, 1, revoked=True)
        new = imported(capsys, *words, "--since", first["last_added"])
        assert (new["records"], new["published"], new["withdrawn"]) == (2, 1, 1)
        assert main(["intel", "import", *words[:4]]) == 2
        assert "unsigned" in capsys.readouterr().err
        assert main(["intel", "import", "file", *words]) == 2
        assert main(["intel", "import", "--allow-unsigned"]) == 2
