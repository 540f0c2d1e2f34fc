"""One snapshot: the hashed bytes are the scanned bytes, else nothing is bound."""

from __future__ import annotations

import asyncio
import hashlib

import pytest

from agents.checks.provenance import sightings
from agents.checks.provenance.planning import plan_scan
from agents.checks.provenance.scan_push import scan_push
from agents.fetching.errors import FetchError
from agents.fetching.snapshot import BLOCK, Snapshot
from schemas.basis import BasisKind
from schemas.components import digest_of_files
from schemas.severity import Status
from tests.agents.checks.provenance.pushes import knowing, push_event
from tests.agents.checks.provenance.scanning import MemoryFetch, MemorySource, by_content

ROOTS = {"roots": ["file:///m"]}


def sha(raw):
    return hashlib.sha256(raw).hexdigest()


class Turncoat(MemoryFetch):
    """Gives other bytes from the second time on that a file is opened."""

    def __init__(self, first, then):
        super().__init__(first)
        self.then = then

    def open(self, uri):
        source = super().open(uri)
        self.files = self.then
        return source


def scanned(fetch, names, **data):
    files = [{"path": name, "uri": f"file:///m/{name}", **data} for name in names]
    knowledge = knowing(ROOTS)
    request = plan_scan(push_event(files=files), knowledge.policy("tenant-a"))
    return asyncio.run(scan_push(request, knowledge, fetch, by_content, now_ms=1000))


def found(outcome):
    (one,) = [detection for detection in outcome.detections if detection.description == "evil"]
    return one


@pytest.mark.parametrize("then", [b"good", b"longer and good"])
def test_a_file_that_is_other_bytes_when_it_is_hashed_is_bound_to_no_digest(then):
    uri = "file:///m/b.bin"
    outcome = scanned(Turncoat({uri: b"evil"}, {uri: then}), ["b.bin"])
    one = found(outcome)
    assert one.basis is None
    assert one.indicator is None
    assert sha(then) not in str(outcome.sightings)
    assert outcome.retry is not None
    checks = {check.name: check for check in outcome.checks}
    assert checks["scan"].status is Status.FAIL


def test_a_file_that_stays_is_verified_in_the_role_that_its_name_gives_to_text():
    contents = {"file:///m/notes.md": b"fine", "file:///m/chat_template.jinja": b"evil"}
    outcome = scanned(MemoryFetch(contents), ["notes.md", "chat_template.jinja"])
    one = found(outcome)
    assert one.indicator.key == f"sha256:{sha(b'evil')}"
    assert (one.basis.kind, one.basis.role) == (BasisKind.VERIFIED, ".jinja")


def test_the_digest_that_an_event_declares_is_no_verified_one():
    contents = {"file:///m/b.bin": b"evil"}
    genuine = "a" * 64
    outcome = scanned(MemoryFetch(contents), ["b.bin"], digests={"sha256": genuine})
    assert found(outcome).indicator.key == f"sha256:{sha(b'evil')}"
    assert not [sighting for sighting in outcome.sightings if sighting.digest == genuine]


def test_the_files_of_a_tree_say_which_tree_names_them():
    contents = {"file:///m/a.bin": b"evil", "file:///m/b.bin": b"fine"}
    outcome = scanned(MemoryFetch(contents), ["a.bin", "b.bin"])
    tree = f"tree:{digest_of_files({'a.bin': sha(b'evil'), 'b.bin': sha(b'fine')})}"
    files = [sighting for sighting in outcome.sightings if sighting.component.startswith("sha256:")]
    assert {(file.tree, file.verified) for file in files} == {(tree, True)}
    (held,) = [sighting for sighting in outcome.sightings if sighting.component == tree]
    assert held.verified


def test_bytes_that_are_under_several_names_have_each_of_their_roles():
    contents = dict.fromkeys(
        ("file:///m/a.log", "file:///m/b.log", "file:///m/chat_template.jinja"), b"evil"
    )
    outcome = scanned(MemoryFetch(contents), [uri.rpartition("/")[2] for uri in contents])
    files = [sighting for sighting in outcome.sightings if sighting.component.startswith("sha256:")]
    assert sorted(file.filename for file in files) == ["a.log", "chat_template.jinja"]
    assert {file.tree for file in files} == {
        f"tree:{digest_of_files({uri[10:]: sha(b'evil') for uri in contents})}"
    }
    assert len({file.id for file in files}) == 2


def test_files_with_findings_are_reported_however_many_others_there_are(monkeypatch):
    monkeypatch.setattr(sightings, "MAX_SIGHTINGS", 8)
    contents = {f"file:///m/{number}.json": b"%d" % number for number in range(20)}
    contents["file:///m/zzz.txt"] = b"evil"
    outcome = scanned(MemoryFetch(contents), [uri.rpartition("/")[2] for uri in contents])
    assert len(outcome.sightings) == 8
    assert "zzz.txt" in {sighting.filename for sighting in outcome.sightings if sighting.tree}


def test_oci_revision_makes_no_tree_of_other_files():
    contents = {"file:///m/a.bin": b"evil", "file:///m/b.bin": b"fine"}
    files = [{"path": name, "uri": f"file:///m/{name}"} for name in ("a.bin", "b.bin")]
    knowledge = knowing(ROOTS)
    event = push_event(files=files, revision=f"sha256:{'e' * 64}", kind="image")
    request = plan_scan(event, knowledge.policy("tenant-a"))
    fetch = MemoryFetch(contents)
    outcome = asyncio.run(scan_push(request, knowledge, fetch, by_content, now_ms=1000))
    assert not [
        sighting
        for sighting in outcome.sightings
        if sighting.tree or sighting.component.startswith("tree:")
    ]
    named = [sighting for sighting in outcome.sightings if sighting.digest == "e" * 64]
    assert named
    assert not any(entry.verified for entry in named)


def test_every_read_must_meet_what_was_read_before():
    raw = bytes(range(256)) * 1024
    snapshot = Snapshot()
    source = MemorySource(raw)
    assert snapshot.read(source, BLOCK - 3, 6) == raw[BLOCK - 3 : BLOCK + 3]
    assert snapshot.read(source, len(raw) - 5, 100) == raw[-5:]
    assert snapshot.read(source, len(raw), 1) == b""
    assert snapshot.sha256(MemorySource(raw)) == sha(raw)
    for offset in (0, BLOCK, len(raw) - 1):
        other = raw[:offset] + bytes([raw[offset] ^ 1]) + raw[offset + 1 :]
        with pytest.raises(FetchError, match="changed"):
            snapshot.read(MemorySource(other), offset, 1)
    unread = Snapshot()
    unread.read(source, 0, 1)
    beyond = raw[:-1] + b"x"
    assert unread.sha256(MemorySource(beyond)) == sha(beyond)
