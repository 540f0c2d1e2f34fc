"""What a folder holds is scanned, or said not to be: nothing in it is passed over silently."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agents.fetching.errors import FetchError
from streams.scanning.targets import Target, local_targets


def targets(folder: Path) -> dict[str, Target]:
    return {target.name: target for target in local_targets(folder)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "model"
    (made / "sub").mkdir(parents=True)
    (made / "sub" / "weights.bin").write_bytes(b"x")
    return made


def test_a_link_out_of_the_folder_is_judged_by_where_it_leads(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    found = targets(folder)
    assert set(found) == {"link", "sub/weights.bin"}
    with found["link"].open() as opened:
        assert opened.read(0, opened.size) == b"../elsewhere"


def test_a_link_within_the_folder_is_no_target(folder: Path) -> None:
    (folder / "again").symlink_to("sub")
    (folder / "sub" / "circle").symlink_to("..")
    assert set(targets(folder)) == {"sub/weights.bin"}


def test_a_link_to_itself_is_a_target_that_can_not_be_opened(folder: Path) -> None:
    (folder / "self").symlink_to("self")
    with pytest.raises(FetchError):
        targets(folder)["self"].open()


def test_a_folder_that_can_not_be_read_is_a_target_that_says_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = os.scandir

    def scandir(path: str) -> object:
        # as for another user: root may read everything
        if str(path).endswith("sub"):
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    found = targets(folder)
    assert set(found) == {"sub"}
    with pytest.raises(FetchError, match="Permission denied"):
        found["sub"].open()
