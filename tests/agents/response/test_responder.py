"""Order, refusal and idempotence of commands."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agents.response import durable, store
from agents.response.journal import ResponseJournal
from agents.response.responder import carry_out, preview
from schemas.documents.openc2 import ACTIONS
from schemas.incidents.commands import CommandSpec
from tests.agents.response.bench import MODEL, NOW, Bench, spec_of

BAD = {"config.json": b"{}", "pytorch_model.bin": b"\x80\x04evil", "a/b": b"c"}
GOOD = {"config.json": b"{}", "model.safetensors": b"good"}


def quarantine(bench: Bench, **more: Any) -> CommandSpec:
    return spec_of(
        "quarantine", f"{MODEL}@r2", version="r2", digest=bench.version("r2", BAD), **more
    )


def test_repeating_a_command_changes_nothing_and_answers_the_same(bench: Bench) -> None:
    spec = quarantine(bench)
    first = bench.run(spec)
    after = bench.tree()
    bench.now = NOW + timedelta(hours=2)
    assert bench.run(spec) == first
    again = bench.run(msgspec.structs.replace(spec, attempt=2))
    assert again.outcome == first.outcome
    assert bench.tree() == after


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ({"tenant": "other"}, 403, "does not serve"),
        ({"expires": NOW}, 400, "expired"),
        ({"mode": "proposal"}, 403, "not approved"),
        ({"mode": "advised"}, 403, "not approved"),
        ({"command_id": "../../etc"}, 400, "ids are malformed"),
        ({"action": "launch"}, 501, "no hook"),
        ({"action": "revoke", "target_type": "identity", "target": "sa-1"}, 501, "no hook"),
    ],
)
def test_disallowed_command_is_refused_with_a_reason(
    bench: Bench, change: dict[str, object], status: int, said: str
) -> None:
    spec = msgspec.structs.replace(quarantine(bench), **change)
    before = bench.tree()
    outcome = bench.run(spec).outcome
    assert outcome.status == status
    assert said in outcome.status_text
    assert bench.tree() == before


def test_started_command_is_finished_after_its_expiry(bench: Bench) -> None:
    spec = quarantine(bench)
    versions = bench.model / "versions"

    def refuse(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(store, "move", refuse)
        with pytest.raises(KeyboardInterrupt):
            bench.run(spec)
    assert (versions / "r2").exists()
    bench.now = NOW + timedelta(days=2)
    assert bench.status(spec) == 200
    assert not (versions / "r2").exists()
    late = msgspec.structs.replace(spec, command_id="another", attempt=1)
    assert bench.status(late) == 400


def test_a_dry_run_reports_and_does_nothing(bench: Bench) -> None:
    good = bench.version("r1", GOOD)
    spec = quarantine(bench, dry_run=True)
    before = bench.tree()
    for command in (
        spec,
        spec_of("rollback", rollback_version="r1", rollback_digest=good, dry_run=True),
        spec_of("block", dry_run=True),
        spec_of("capture-evidence", "s", dry_run=True),
    ):
        outcome = bench.run(command).outcome
        assert (outcome.status, outcome.results["dry_run"]) == (200, True), command.action
        assert "would" in outcome.status_text
    assert bench.tree() == before


def test_a_preview_leaves_no_trace(bench: Bench) -> None:
    spec = quarantine(bench)
    before = bench.tree()
    outcome = preview(spec, bench.config, bench.journal, NOW)
    assert "would be moved" in outcome.status_text
    assert bench.tree() == before
    assert bench.journal.answer(spec.command_id, 1) is None


def test_a_command_waits_for_those_it_comes_after(bench: Bench) -> None:
    evidence = spec_of("capture-evidence", "s", system="s")
    spec = quarantine(bench, after=(evidence.command_id,))
    waiting = bench.run(spec).outcome
    assert (waiting.status, waiting.results["waits_for"]) == (102, [evidence.command_id])
    assert (bench.model / "versions/r2").exists()
    assert bench.status(evidence) == 200
    assert bench.status(spec) == 200


def test_it_waits_for_a_bounded_time(bench: Bench) -> None:
    spec = quarantine(bench, after=("never-sent",))
    assert bench.status(spec) == 102
    bench.now = NOW + timedelta(hours=7)
    outcome = bench.run(spec).outcome
    assert outcome.status == 403
    assert "waited" in outcome.status_text


def test_command_after_a_failure_is_refused_until_a_retry_succeeds(bench: Bench) -> None:
    evidence = spec_of("capture-evidence", "s", paths=("/etc/passwd",))
    spec = quarantine(bench, after=(evidence.command_id,))
    assert bench.status(evidence) == 403
    assert bench.status(spec) == 403
    second = msgspec.structs.replace(spec, attempt=2)
    assert bench.status(second) == 102
    assert bench.status(msgspec.structs.replace(evidence, attempt=2, paths=())) == 200
    assert bench.status(second) == 200


def test_dry_run_does_not_satisfy_a_real_dependency(bench: Bench) -> None:
    evidence = spec_of("capture-evidence", "s", dry_run=True)
    bench.run(evidence)
    assert bench.status(quarantine(bench, after=(evidence.command_id,))) == 403


def test_a_command_taken_back_while_it_waits_is_not_carried_out(bench: Bench) -> None:
    spec = quarantine(bench, after=("to-come",))
    bench.run(spec)
    undo = spec_of("restore", spec.target, undoes=spec.command_id, version="r2")
    outcome = bench.run(undo).outcome
    assert (outcome.status, outcome.status_text.split(":")[0]) == (200, "nothing was moved")
    taken_back = bench.run(spec).outcome
    assert taken_back.status == 403
    assert "reversed" in taken_back.status_text
    assert (bench.model / "versions/r2").exists()


def test_what_comes_after_a_command_that_was_taken_back_is_refused(bench: Bench) -> None:
    spec = quarantine(bench, after=("to-come",))
    bench.run(spec)
    bench.run(spec_of("restore", spec.target, undoes=spec.command_id, version="r2"))
    block = spec_of("block", "pypi:bad", after=(spec.command_id,))
    outcome = bench.run(block).outcome
    assert (outcome.status, "was reversed" in outcome.status_text) == (403, True)


def test_a_dry_run_of_a_reversal_takes_nothing_back(bench: Bench) -> None:
    spec = quarantine(bench)
    bench.run(spec_of("restore", spec.target, undoes=spec.command_id, version="r2", dry_run=True))
    assert bench.status(spec) == 200
    assert not (bench.model / "versions/r2").exists()


def test_one_tenants_command_reaches_nothing_of_another(bench: Bench) -> None:
    spec = quarantine(bench)
    bench.run(spec)
    sites = bench.config.tenants
    bench.config = msgspec.structs.replace(bench.config, tenants={**sites, "other": sites["acme"]})
    undo = spec_of("restore", spec.target, undoes=spec.command_id, tenant="other")
    assert bench.status(undo) == 403


def test_every_action_of_the_contract_is_answered(bench: Bench) -> None:
    for action in ACTIONS:
        target = "domain:evil.example" if "block" in action else MODEL
        spec = spec_of(action, target, undoes="x" if action in {"restore", "unblock"} else None)
        assert bench.status(spec) in {200, 403, 404, 501}, action


def _killed_at(bench: Bench, specs: list[CommandSpec], step: int) -> None:
    """In a child process: carry out `specs`, and die before the n-th change to the file system."""
    left = step

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                os._exit(9)
            return call(*args, **kwargs)

        return wrapped

    for module, name in (
        (os, "rename"),
        (os, "replace"),
        (os, "mkdir"),
        (os, "symlink"),
        (os, "fsync"),
        (os, "unlink"),
        (store, "write_whole"),
        (store, "move"),
        (durable, "write_whole"),
    ):
        setattr(module, name, counted(getattr(module, name)))
    journal = ResponseJournal(bench.folder / "state/journal.db", NOW)
    for spec in specs:
        carry_out(spec, bench.config, journal, NOW)
    os._exit(0)


@pytest.mark.fault
@pytest.mark.parametrize("across", [False, True], ids=["one file system", "two"])
def test_killed_at_each_step_the_next_run_ends_in_the_same_state(
    across: bool, tmp_path: Path, other_disk: Path
) -> None:
    def made(name: str) -> tuple[Bench, list[CommandSpec]]:
        folder = tmp_path / name
        folder.mkdir()
        bench = Bench(folder)
        bench.journal.close()
        if across:
            bench.limit(store={"quarantine": other_disk / name})
        (folder / "logs/a").write_bytes(b"a")
        os.utime(folder / "logs/a", (0, 0))
        good = bench.version("r1", GOOD)
        bad = bench.version("r2", BAD, current=True)
        evidence = spec_of("capture-evidence", "s", system="s")
        moved = spec_of(
            "quarantine", f"{MODEL}@r2", version="r2", digest=bad, after=(evidence.command_id,)
        )
        back = spec_of("rollback", rollback_version="r1", rollback_digest=good)
        specs = [
            evidence,
            moved,
            back,
            spec_of("block", "model:huggingface/evil/m"),
            spec_of("restore", moved.target, undoes=moved.command_id, version="r2"),
            spec_of("roll-forward", MODEL, undoes=back.command_id),
        ]
        return bench, specs

    def in_child(bench: Bench, specs: list[CommandSpec], step: int) -> int | None:
        child = multiprocessing.get_context("fork").Process(
            target=_killed_at, args=(bench, specs, step)
        )
        child.start()
        child.join()
        return child.exitcode

    def state(bench: Bench, specs: list[CommandSpec]) -> tuple[list[int], dict[str, str]]:
        journal = ResponseJournal(bench.folder / "state/journal.db", NOW)
        answers = [journal.answer(spec.command_id, 1) for spec in specs]
        journal.close()
        # manifests name their own folder
        tree = {path: what for path, what in bench.tree().items() if "manifest" not in path}
        kept = other_disk / bench.folder.name
        assert not [path for path in kept.rglob("*") if path.name.startswith(".tidewatch-")]
        assert not [path for path in tree if ".tidewatch-" in path and ".lock" not in path]
        return [answer.outcome.status if answer else 0 for answer in answers], tree

    bench, specs = made("undisturbed")
    assert in_child(bench, specs, 0) == 0
    expected = state(bench, specs)
    assert expected[0] == [200] * 6
    for step in range(1, 1000):
        bench, specs = made(f"step-{step}")
        died = in_child(bench, specs, step)
        assert in_child(bench, specs, 0) == 0
        got = state(bench, specs)
        assert got[0] == expected[0], step
        assert dict(sorted(got[1].items() ^ expected[1].items())) == {}, step
        if died == 0:
            break
    assert step > 20
