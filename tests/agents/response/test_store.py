"""Quarantine, rollback and their reversals on real folders."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from msgspec import structs

from agents.response.durable import move, undo_move
from agents.response.inventory import inventory
from agents.response.paths import component_of
from agents.triage.containment import command_id
from schemas.incidents.commands import CommandSpec
from tests.agents.response.bench import MODEL, Bench, spec_of

BAD = {"config.json": b"{}", "pytorch_model.bin": b"\x80\x04evil"}
GOOD = {"config.json": b"{}", "model.safetensors": b"good"}


def reversal(spec: CommandSpec, action: str) -> CommandSpec:
    return spec_of(
        action, spec.target, undoes=spec.command_id, version=spec.version, digest=spec.digest
    )


def test_a_quarantined_version_is_moved_whole_with_a_manifest(bench: Bench) -> None:
    digest = bench.version("r2", BAD, current=True)
    spec = spec_of("quarantine", f"{MODEL}@r2", version="r2", digest=digest)
    outcome = bench.run(spec).outcome
    assert outcome.status == 200
    assert not (bench.model / "versions/r2").exists()
    folder = Path(outcome.results["moved_to"])
    assert folder == bench.quarantine / "20261120" / spec.command_id
    manifest = orjson.loads((folder / "manifest.json").read_bytes())
    assert manifest["command_id"] == spec.command_id
    assert manifest["incident"] == "inc-1"
    (item,) = manifest["items"]
    assert item["original"] == str(bench.model / "versions/r2")
    assert item["digest"] == digest
    assert {entry["path"]: entry["size"] for entry in item["files"]} == {
        "config.json": 2,
        "pytorch_model.bin": 6,
    }
    assert (folder / item["kept"] / "pytorch_model.bin").read_bytes() == BAD["pytorch_model.bin"]


def test_the_digest_of_one_file_finds_its_version(bench: Bench) -> None:
    bench.version("r1", GOOD)
    bench.version("r2", BAD)
    (file,) = (file for file in inventory(bench.model / "versions/r2") if "torch" in file.path)
    assert bench.status(spec_of("quarantine", f"{MODEL}#{file.sha256}", digest=file.sha256)) == 200
    assert sorted(path.name for path in (bench.model / "versions").iterdir()) == ["r1"]


def test_a_version_that_holds_other_content_by_now_is_left(bench: Bench) -> None:
    bench.version("main", GOOD)
    spec = spec_of("quarantine", f"{MODEL}@main", version="main", digest="ab" * 32)
    before = bench.tree()
    assert bench.status(spec) == 404
    assert bench.tree() == before


def test_a_quarantine_is_taken_back_after_verification(bench: Bench) -> None:
    digest = bench.version("r2", BAD)
    before = bench.tree()
    spec = spec_of("quarantine", f"{MODEL}@r2", version="r2", digest=digest)
    bench.run(spec)
    assert bench.status(reversal(spec, "restore")) == 200
    after = bench.tree()
    assert {path: after[path] for path in before} == before


def test_version_changed_in_quarantine_is_not_restored(bench: Bench) -> None:
    digest = bench.version("r2", BAD)
    spec = spec_of("quarantine", f"{MODEL}@r2", version="r2", digest=digest)
    folder = Path(bench.run(spec).outcome.results["moved_to"])
    (folder / "0/r2/config.json").write_bytes(b"changed")
    outcome = bench.run(reversal(spec, "restore")).outcome
    assert outcome.status == 500
    assert "differ from the manifest" in outcome.status_text
    assert not (bench.model / "versions/r2").exists()


def test_a_restore_replaces_nothing_that_came_meanwhile(bench: Bench) -> None:
    spec = spec_of("quarantine", f"{MODEL}@r2", version="r2", digest=bench.version("r2", BAD))
    bench.run(spec)
    bench.version("r2", GOOD)
    assert bench.status(reversal(spec, "restore")) == 400
    assert (bench.model / "versions/r2/model.safetensors").read_bytes() == b"good"


def test_a_rollback_switches_the_link_to_the_verified_version(bench: Bench) -> None:
    good = bench.version("r1", GOOD)
    bench.version("r2", BAD, current=True)
    spec = spec_of("rollback", rollback_version="r1", rollback_digest=good)
    outcome = bench.run(spec).outcome
    assert (outcome.status, outcome.results["previous"]) == (200, "versions/r2")
    assert str((bench.model / "current").readlink()) == "versions/r1"
    undo = reversal(spec, "roll-forward")
    assert bench.status(undo) == 200
    assert str((bench.model / "current").readlink()) == "versions/r2"


def test_a_rollback_finds_the_good_digest_under_another_name(bench: Bench) -> None:
    good = bench.version("v1.2.3", GOOD)
    bench.version("r2", BAD, current=True)
    assert bench.status(spec_of("rollback", rollback_digest=good)) == 200
    assert str((bench.model / "current").readlink()) == "versions/v1.2.3"


@pytest.mark.parametrize(
    ("version", "digest", "status", "said"),
    [
        (None, None, 403, "no known-good digest"),
        ("r1", "ab" * 32, 403, "does not have the known-good digest"),
        ("r9", "ab" * 32, 404, "not here"),
        ("../../../../etc", "ab" * 32, 403, "link is on the way|not here|leads out"),
    ],
)
def test_a_rollback_without_a_verified_target_is_refused(
    bench: Bench, version: str | None, digest: str | None, status: int, said: str
) -> None:
    bench.version("r1", GOOD)
    bench.version("r2", BAD, current=True)
    outcome = bench.run(
        spec_of("rollback", rollback_version=version, rollback_digest=digest)
    ).outcome
    assert outcome.status in {status, 404}
    assert any(part in outcome.status_text for part in said.split("|"))
    assert str((bench.model / "current").readlink()) == "versions/r2"


def test_a_rollback_target_with_a_link_in_it_is_no_known_good(bench: Bench) -> None:
    good = bench.version("r1", GOOD)
    (bench.model / "versions/r1/extra.bin").symlink_to("/etc/passwd")
    assert bench.status(spec_of("rollback", rollback_version="r1", rollback_digest=good)) == 403


def test_a_switch_by_someone_else_is_not_undone(bench: Bench) -> None:
    good = bench.version("r1", GOOD)
    bench.version("r2", BAD, current=True)
    spec = spec_of("rollback", rollback_version="r1", rollback_digest=good)
    bench.run(spec)
    bench.version("r3", {"model.safetensors": b"newer"}, current=True)
    assert bench.status(reversal(spec, "roll-forward")) == 400
    assert str((bench.model / "current").readlink()) == "versions/r3"


@pytest.mark.parametrize(
    "target",
    [
        "model:huggingface/acme-labs/sentiment/versions/r1",
        "model:../../etc",
        "model:huggingface/../../../etc",
        "model:huggingface//x",
        "model:huggingface/a\x00b",
        "model:@other/huggingface/acme-labs/sentiment",
        "model:linked/secret",
    ],
)
def test_no_name_and_no_link_leads_out_of_the_store(bench: Bench, target: str) -> None:
    outside = bench.folder / "outside/secret"
    outside.mkdir(parents=True)
    (outside / "file").write_bytes(b"x")
    (bench.folder / "models/linked").symlink_to(bench.folder / "outside")
    before = bench.tree()
    assert bench.status(spec_of("quarantine", target)) == 403
    assert bench.tree() == before


def test_a_mapped_file_and_a_loose_one_are_found(bench: Bench) -> None:
    mapped, loose = bench.folder / "data/reviews.csv", bench.folder / "production"
    mapped.parent.mkdir()
    loose.mkdir()
    mapped.write_bytes(b"text")
    (loose / "stray.bin").write_bytes(b"stray")
    bench.limit(store={"components": {"dataset:acme/reviews": mapped}, "loose": (loose,)})
    assert bench.status(spec_of("quarantine", "dataset:acme/reviews")) == 200
    assert not mapped.exists()
    digest = inventory(loose / "stray.bin")[0].sha256
    spec = spec_of("quarantine", f"model:x/y#{digest}", digest=digest)
    assert bench.status(spec) == 200
    assert not list(loose.iterdir())
    assert bench.status(reversal(spec, "restore")) == 200
    assert (loose / "stray.bin").read_bytes() == b"stray"


def test_a_link_among_loose_files_is_not_followed(bench: Bench) -> None:
    loose, elsewhere = bench.folder / "production", bench.folder / "elsewhere"
    for folder in (loose, elsewhere):
        folder.mkdir()
    (elsewhere / "stray").mkdir()
    (elsewhere / "stray/m.bin").write_bytes(b"stray")
    (loose / "stray").symlink_to(elsewhere / "stray")
    bench.limit(store={"loose": (loose,)})
    digest = inventory(elsewhere / "stray/m.bin")[0].sha256
    before = bench.tree()
    assert bench.status(spec_of("quarantine", f"sha256:{digest}", digest=digest)) == 404
    assert bench.tree() == before


@pytest.mark.parametrize(
    ("target", "component"),
    [(f"{MODEL}@r2", MODEL), (f"{MODEL}@r22", f"{MODEL}@r22"), (f"{MODEL}@r2@x", f"{MODEL}@r2@x")],
)
def test_a_version_is_the_end_of_a_target_alone(target: str, component: str) -> None:
    assert component_of(spec_of("quarantine", target, version="r2")) == component


def test_a_publishers_folder_is_no_component(bench: Bench) -> None:
    bench.version("r1", GOOD, current=True)
    before = bench.tree()
    assert bench.status(spec_of("quarantine", "model:huggingface/acme-labs")) == 404
    assert bench.status(spec_of("rollback", "model:huggingface", rollback_digest="ab" * 32)) == 404
    assert bench.tree() == before


def test_ambiguous_version_is_left(bench: Bench) -> None:
    plain = bench.folder / "plain"
    plain.mkdir()
    (plain / "model.bin").write_bytes(b"x")
    bench.limit(store={"components": {"model:hub/plain": plain}})
    assert bench.status(spec_of("quarantine", "model:hub/plain@r1", version="r1")) == 400
    assert (plain / "model.bin").exists()


def test_a_move_across_file_systems_is_verified_and_resumed(
    tmp_path: Path, other_disk: Path
) -> None:
    source, target = tmp_path / "r2", other_disk / "r2"
    source.mkdir()
    (source / "a").write_bytes(b"a")
    kept = inventory(source)
    with pytest.raises(Exception, match="differs"):
        move(source, target, lambda _: False)
    assert not source.exists()
    assert not target.exists()
    undo_move(source, target)
    assert inventory(source) == kept
    assert list(other_disk.iterdir()) == []
    with pytest.raises(Exception, match="differs"):
        move(source, target, lambda _: False)
    move(source, target, lambda copy: inventory(copy) == kept)
    assert inventory(target) == kept
    assert list(tmp_path.iterdir()) == []
    move(source, target, lambda _: False)
    assert inventory(target) == kept


def follower_of(spec: CommandSpec, digest: str) -> CommandSpec:
    """A rollback to r0, which takes the place of `spec`."""
    return spec_of(
        "rollback",
        command_id="follower",
        replaces=spec.command_id,
        rollback_version="r0",
        rollback_digest=digest,
    )


def test_a_rollback_that_takes_anothers_place_is_taken_back_to_what_was_before_both(
    bench: Bench,
) -> None:
    first, second = bench.version("r1", GOOD), bench.version("r0", {"model.safetensors": b"older"})
    bench.version("r2", BAD, current=True)
    spec = spec_of("rollback", rollback_version="r1", rollback_digest=first)
    bench.run(spec)
    follower = follower_of(spec, second)
    assert bench.status(follower) == 200
    assert str((bench.model / "current").readlink()) == "versions/r0"
    assert bench.status(reversal(follower, "roll-forward")) == 200
    assert str((bench.model / "current").readlink()) == "versions/r2"


def test_a_rollback_whose_place_was_taken_while_it_waited_is_not_carried_out(
    bench: Bench,
) -> None:
    first, second = bench.version("r1", GOOD), bench.version("r0", {"model.safetensors": b"older"})
    bench.version("r2", BAD, current=True)
    spec = spec_of(
        "rollback", rollback_version="r1", rollback_digest=first, after=("evidence-to-come",)
    )
    assert bench.status(spec) == 102
    follower = follower_of(spec, second)
    assert bench.status(follower) == 200
    assert bench.status(spec) == 403
    assert str((bench.model / "current").readlink()) == "versions/r0"


# -- holds -----------------------------------------------------------------------------------------


def other(name: str) -> str:
    """Return the id of a further command about the same thing."""
    return command_id("", "acme", name, MODEL)


def undo_of(spec: CommandSpec) -> CommandSpec:
    """Return what takes a command back, under an id of its own."""
    undo = reversal(spec, "restore")
    return structs.replace(undo, command_id=other(f"restore {spec.command_id}"))


def test_quarantine_of_a_quarantined_version_succeeds_unchanged(bench: Bench) -> None:
    digest = bench.version("r2", BAD)
    first = spec_of("quarantine", f"{MODEL}@r2", version="r2", digest=digest)
    assert bench.run(first).outcome.results["changed"] is True
    before = bench.tree()
    second = spec_of(
        "quarantine", f"{MODEL}@r2", version="r2", digest=digest, command_id=other("second")
    )
    outcome = bench.run(second).outcome
    assert (outcome.status, outcome.results["changed"]) == (200, False)
    assert first.command_id in outcome.status_text
    assert bench.status(undo_of(second)) == 200
    assert bench.tree() == before, "its release moves back nothing that the other moved"
    assert bench.status(undo_of(first)) == 200
    assert (bench.model / "versions/r2").is_dir()


def test_a_quarantine_that_replaces_another_is_released_with_what_that_moved(bench: Bench) -> None:
    digest = bench.version("r2", BAD)
    first = spec_of("quarantine", f"{MODEL}@r2", version="r2", digest=digest)
    bench.run(first)
    second = spec_of(
        "quarantine",
        f"{MODEL}@r2",
        version="r2",
        digest=digest,
        command_id=other("second"),
        replaces=first.command_id,
    )
    assert bench.run(second).outcome.results["changed"] is True
    assert bench.status(undo_of(second)) == 200
    assert (bench.model / "versions/r2").is_dir()


def test_other_content_under_a_version_that_was_quarantined_is_no_success(bench: Bench) -> None:
    digest = bench.version("r2", BAD)
    bench.run(spec_of("quarantine", f"{MODEL}@r2", version="r2", digest=digest))
    bench.version("r2", GOOD)
    again = spec_of(
        "quarantine", f"{MODEL}@r2", version="r2", digest=digest, command_id=other("again")
    )
    assert bench.status(again) == 404


def test_a_command_of_an_older_generation_is_refused(bench: Bench) -> None:
    digest = bench.version("r2", BAD)
    more = {"version": "r2", "digest": digest, "hold": MODEL}
    old = spec_of("quarantine", f"{MODEL}@r2", generation=0, **more)
    new = spec_of("quarantine", f"{MODEL}@r2", generation=1, command_id=other("new"), **more)
    assert bench.status(new) == 200
    before = bench.tree()
    outcome = bench.run(old).outcome
    assert outcome.status == 403
    assert "older generation" in outcome.status_text
    late = spec_of("restore", f"{MODEL}@r2", undoes=old.command_id, generation=0, **more)
    assert bench.status(late) == 403
    assert bench.tree() == before
