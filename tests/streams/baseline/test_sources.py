"""What is there already, read as events of a baseline whose ids are of their content."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from schemas.cloudevents import read_event, write_structured
from schemas.events import Event
from streams.baseline.environments import environment_unit, site_folders
from streams.baseline.files import file_units
from streams.baseline.folders import folder_units
from streams.baseline.journal import BaselineJournal
from streams.baseline.units import BaselineError, BaselineOrigin
from streams.cli import main

ORIGIN = BaselineOrigin(tenant="acme", system="build-7")
COMMIT = "9d1c3f0be0c1c2b0a9f1f8f9b0a7d6c5e4f3a2b1"


def events(*units: Any) -> list[Event[Any]]:
    """Return the events of units, each as it arrives."""
    found = [event for unit in units for event in unit.events()]
    for event in found:
        assert isinstance(event, Event), event
        again = read_event(write_structured(event), (), timestamp_ms=2**41, max_bytes=2**20)
        assert again.baseline
        assert (again.id, again.tenantid) == (event.id, "acme")
    return found


def install(site: Path, name: str, version: str, direct: Any = None) -> None:
    info = site / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    info.joinpath("METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nRequires-Dist: numpy>=1\n\ntext"
    )
    if direct is not None:
        info.joinpath("direct_url.json").write_text(
            direct if isinstance(direct, str) else json.dumps(direct)
        )


def test_an_environment_is_what_is_installed_in_it(tmp_path: Path) -> None:
    site = tmp_path / "lib" / "python3.12" / "site-packages"
    install(site, "demo", "1.0")
    git = {"url": "https://git.example/x", "vcs_info": {"vcs": "git", "commit_id": "a" * 40}}
    install(site, "from-git", "2.0", git)
    install(site, "broken-url", "3.0", "{")
    (site / "empty-1.0.dist-info").mkdir()
    (tmp_path / "pyvenv.cfg").write_text("version = 3.12.4\n")
    assert site_folders(tmp_path) == [site]
    unit = environment_unit(tmp_path, ORIGIN)
    (event,) = events(unit)
    assert event.subject == "host:build-7"
    assert event.data.environment.python_version == "3.12.4"
    packages = {package.name: package for package in event.data.packages}
    assert set(packages) == {"demo", "from-git", "broken-url"}
    assert packages["demo"].requires_dist == ("numpy>=1",)
    assert packages["from-git"].vcs.commit_id == "a" * 40
    assert packages["broken-url"].direct
    again = environment_unit(site, ORIGIN)
    assert [event.id for event in events(environment_unit(tmp_path, ORIGIN))] == [event.id]
    assert again.fingerprint == unit.fingerprint
    other = environment_unit(tmp_path, msgspec.structs.replace(ORIGIN, system="build-8"))
    assert other.fingerprint != unit.fingerprint


def test_a_folder_of_models_is_read_with_the_digest_of_each_file(tmp_path: Path) -> None:
    for name in ("a/weights.bin", "a/sub/config.json", "b/c/model.onnx"):
        file = tmp_path / "models" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(name.encode())
    units = list(folder_units(tmp_path / "models", ORIGIN))
    found = {event.data.repository: event for event in events(*units)}
    assert set(found) == {"models/a", "models/b/c"}
    files = {file.path: file.digests["sha256"] for file in found["models/a"].data.files}
    assert files["weights.bin"] == hashlib.sha256(b"a/weights.bin").hexdigest()
    assert set(files) == {"weights.bin", "sub/config.json"}
    assert found["models/a"].data.systems == ("build-7",)
    assert found["models/a"].data.action == "pull", "nobody brought it now"
    os.utime(tmp_path / "models/a/weights.bin", (1, 1))
    touched = list(folder_units(tmp_path / "models", ORIGIN))
    assert touched[0].fingerprint != units[0].fingerprint
    assert events(touched[0])[0].id == found["models/a"].id, "the same content is the same event"


def test_the_hubs_cache_says_repository_and_commit(tmp_path: Path) -> None:
    repository = tmp_path / "hub" / "models--acme-labs--base"
    blob = repository / "blobs" / "b1"
    snapshot = repository / "snapshots" / COMMIT
    for folder in (blob.parent, snapshot):
        folder.mkdir(parents=True)
    blob.write_bytes(b"weights")
    (snapshot / "model.safetensors").symlink_to(Path("../../blobs/b1"))
    (event,) = events(*folder_units(tmp_path / "hub", ORIGIN))
    push = event.data
    assert (push.registry, push.repository, push.revision) == (
        "huggingface",
        "acme-labs/base",
        COMMIT,
    )
    assert event.subject == "model:huggingface/acme-labs/base"
    assert [file.path for file in push.files] == ["model.safetensors"]


def test_no_link_leads_out_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights.bin").symlink_to(tmp_path / "secret")
    with pytest.raises(BaselineError, match="out of the folder"):
        list(folder_units(tmp_path / "model", ORIGIN))


RUN = {
    "eventType": "COMPLETE",
    "eventTime": "2025-03-01T10:00:00Z",
    "run": {"runId": "0190-a"},
    "job": {"namespace": "airflow", "name": "train"},
    "inputs": [],
    "outputs": [],
    "producer": "https://airflow.example",
}


def test_a_history_is_read_line_by_line_and_keeps_its_ids(tmp_path: Path) -> None:
    file = tmp_path / "lineage.jsonl"
    other = {**RUN, "run": {"runId": "0190-b"}}
    file.write_text(f"{json.dumps(RUN)}\n\nnot json\n{json.dumps(other)}\n")
    (unit,) = file_units(file, ORIGIN, None)
    read = list(unit.events())
    assert [isinstance(entry, Event) for entry in read] == [True, False, True]
    assert ":3" in str(read[1])
    first = read[0]
    assert isinstance(first, Event)
    assert (first.baseline, first.time.year, first.data.run_id) == (True, 2025, "0190-a")


def test_locks_and_listings_are_recognised_by_name_and_content(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.txt"
    lock.write_text("requests==2.32.3 --hash=sha256:" + "a" * 64 + "\n")
    (event,) = events(*file_units(lock, ORIGIN, None))
    assert event.data.packages[0].name == "requests"
    hub = tmp_path / "models.json"
    sibling = {"rfilename": "m.bin", "size": 3, "lfs": {"sha256": "b" * 64}}
    hub.write_text(json.dumps([{"id": "acme/base", "sha": COMMIT, "siblings": [sibling]}]))
    (event,) = events(*file_units(hub, ORIGIN, None))
    assert (event.data.repository, event.data.revision) == ("acme/base", COMMIT)
    assert event.data.files[0].digests == {"sha256": "b" * 64}
    flow = tmp_path / "versions.json"
    version = {"name": "sentiment", "version": "3", "creation_timestamp": "1740823200000"}
    flow.write_text(json.dumps({"model_versions": [version, {"name": 1}]}))
    origin = msgspec.structs.replace(ORIGIN, registry="mlflow.acme.example")
    (event,) = events(*file_units(flow, origin, None))
    assert event.subject == "model:mlflow.acme.example/sentiment"
    assert event.time.year == 2025


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("x.json", b'{"a": 1}', "its kind is not recognised"),
        ("x.bin", b"\x80\x04", "its kind is not recognised"),
        ("x.json", b'{"model_versions": []}', "lists no version"),
    ],
)
def test_unrecognised_files_are_reported(
    tmp_path: Path, name: str, content: bytes, what: str
) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(BaselineError, match=what):
        events(*file_units(file, ORIGIN, None))


def test_a_journal_outlives_a_line_that_was_cut(tmp_path: Path) -> None:
    first, second = "a" * 64, "b" * 64
    with BaselineJournal(tmp_path, "acme", "k:1", "p.") as journal:
        journal.add([first])
    (file,) = (tmp_path / "baseline").iterdir()
    with file.open("ab") as opened:
        opened.write(b"b" * 20)
    with BaselineJournal(tmp_path, "acme", "k:1", "p.") as journal:
        assert journal.has(first)
        assert not journal.has(second)
        journal.add([second])
    with BaselineJournal(tmp_path, "acme", "k:1", "p.") as journal:
        assert journal.has(second)
    with BaselineJournal(tmp_path, "acme", "k:2", "p.") as journal:
        assert not journal.has(first)


def test_check_reads_everything_and_names_what_it_can_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "requirements.txt").write_text("requests==2.32.3\n")
    model = tmp_path / "model"
    model.mkdir()
    (model / "m.bin").write_bytes(b"x")
    named = [str(tmp_path / path) for path in ("requirements.txt", "model", "absent")]
    assert main(["baseline", *named, "--tenant", "acme", "--check", "--format", "json"]) == 2
    reported = json.loads(capsys.readouterr().out)
    assert (reported["read"], reported["sent"]) == (2, 0)
    assert "absent" in reported["problems"][0]
