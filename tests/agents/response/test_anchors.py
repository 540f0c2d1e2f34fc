"""A writer of the store can't redirect an action between its check and its use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agents.response import durable, store
from agents.response.anchors import anchored, opened
from agents.response.inventory import inventory
from agents.response.outcome import FAILED, REFUSED, NotCarriedOutError
from tests.agents.response.bench import MODEL, Bench, spec_of

QUARANTINE = spec_of("quarantine", f"{MODEL}@r2", version="r2")


@pytest.fixture
def good(bench: Bench) -> str:
    """The digest of a version that is fine; the one in use is to be contained."""
    bench.version("r2", {"w.bin": b"hostile"}, current=True)
    return bench.version("r1", {"w.bin": b"fine"})


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder of the operator's that looks like the store's, with a file that nobody may move."""
    folder = tmp_path / "outside"
    (folder / "r2").mkdir(parents=True)
    (folder / "r2" / "secret").write_bytes(b"secret")
    return folder


def swap(folder: Path, outside: Path) -> None:
    """Put a link in a folder's place, as who writes in the store can at any time."""
    folder.rename(folder.with_name("aside"))
    folder.symlink_to(outside)


def test_open_folder_stays_the_same_when_its_name_is_replaced(
    tmp_path: Path, outside: Path
) -> None:
    (tmp_path / "store").mkdir()
    with opened(tmp_path / "store") as held:
        swap(tmp_path / "store", outside)
        (held / "file").write_bytes(b"x")
    assert (tmp_path / "aside" / "file").exists()
    assert not (outside / "file").exists()


@pytest.mark.parametrize("name", ["link", "link/below", "file/below"])
def test_a_link_or_file_on_the_way_is_refused(tmp_path: Path, outside: Path, name: str) -> None:
    (tmp_path / "link").symlink_to(outside)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotCarriedOutError) as refused, anchored(tmp_path / name / "x"):
        pass
    assert refused.value.status == REFUSED


def test_folders_are_not_created_through_a_link(tmp_path: Path, outside: Path) -> None:
    (tmp_path / "link").symlink_to(outside)
    with pytest.raises(NotCarriedOutError), anchored(tmp_path / "link" / "a" / "b", make=True):
        pass
    assert sorted(path.name for path in outside.iterdir()) == ["r2"]
    with anchored(tmp_path / "new" / "a" / "b", make=True) as held:
        held.write_bytes(b"")
    assert (tmp_path / "new" / "a" / "b").exists()


def test_an_inventory_follows_no_link_that_takes_a_folders_place(
    tmp_path: Path, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sub = tmp_path / "model" / "sub"
    sub.mkdir(parents=True)
    (sub / "w.bin").write_bytes(b"weights")
    opens = os.open

    def swapping(path: object, flags: int, *args: object, **kwargs: object) -> int:
        if path == "sub" and not sub.is_symlink():
            swap(sub, outside)
        return opens(path, flags, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", swapping)
    found = inventory(tmp_path / "model")
    monkeypatch.undo()
    assert not [entry for entry in found if "secret" in entry.path]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.usefixtures("good")
def test_a_quarantine_moves_nothing_from_outside(
    bench: Bench, outside: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    versions = bench.model / "versions"

    def swapping_before(folder: Path) -> None:
        if not versions.is_symlink():
            swap(versions, outside)
        durable.make_folder(folder)

    def swapping_after(*args: object) -> None:
        swap(versions, outside)
        durable.move(*args)  # type: ignore[arg-type]

    if when == "before":
        monkeypatch.setattr(store, "make_folder", swapping_before)
    else:
        monkeypatch.setattr(store, "move", swapping_after)
    outcome = bench.run(QUARANTINE).outcome
    assert outcome.status == (REFUSED if when == "before" else 200)
    assert (outside / "r2" / "secret").read_bytes() == b"secret"
    if when == "after":
        aside = versions.with_name("aside")
        assert not (aside / "r2").exists(), "what was found is what was moved"


@pytest.mark.usefixtures("good")
def test_version_swapped_in_is_not_quarantined(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = bench.model / "versions" / "r2"

    def renaming(*args: object) -> None:
        if not place.with_name("hidden").exists():
            place.rename(place.with_name("hidden"))
            place.mkdir()
            (place / "harmless").write_bytes(b"")
        durable.move(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "move", renaming)
    outcome = bench.run(QUARANTINE).outcome
    assert outcome.status == FAILED
    assert "changed while it was moved" in outcome.status_text
    assert (place / "harmless").exists(), "it is where it was"
    again = spec_of("quarantine", QUARANTINE.target, version="r2", attempt=2)
    assert bench.status(again) == 200, "the next attempt takes what is there by then"
    assert not place.exists()


@pytest.mark.usefixtures("good")
def test_a_restore_puts_nothing_outside(
    bench: Bench, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert bench.status(QUARANTINE) == 200
    versions = bench.model / "versions"

    def swapping(*args: object) -> None:
        swap(versions, outside)
        durable.undo_move(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "undo_move", swapping)
    bench.run(spec_of("restore", undoes=QUARANTINE.command_id))
    assert sorted(path.name for path in (outside / "r2").iterdir()) == ["secret"]
    assert (versions.with_name("aside") / "r2").exists()


def test_a_rollback_switches_no_link_outside(
    bench: Bench, good: str, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def swapping(link: Path, target: str) -> None:
        swap(bench.model, outside)
        durable.switch_link(link, target)

    monkeypatch.setattr(store, "switch_link", swapping)
    bench.run(spec_of("rollback", rollback_version="r1", rollback_digest=good))
    assert not os.path.lexists(outside / "current")
