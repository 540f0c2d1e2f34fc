"""A baseline on a real broker: it goes on where it was, and delivered again it is the same."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from schemas.channels import Channel
from streams.cli import main
from streams.kafka.reader import read_topic
from streams.kafka.topics import topic_name
from streams.settings import load_settings
from tests.installed import TIDEWATCH
from tests.waiting import wait_for

pytestmark = [pytest.mark.kafka]

MODELS = 1600
"""Enough for four deliveries."""


def written() -> list[tuple[bytes | None, bytes]]:
    """Return keys and values of the topic that the environment's settings name."""

    async def read() -> list[tuple[bytes | None, bytes]]:
        settings = load_settings()
        topic = topic_name(settings, Channel.REGISTRY_PUSH)
        records = read_topic(settings, topic, from_start=True, follow=False)
        return [(record.key, record.value) async for record in records]

    return asyncio.run(read())


def test_delivered_units_are_skipped_and_ids_are_stable(
    kafka: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TIDEWATCH_KAFKA", kafka)
    monkeypatch.setenv("TIDEWATCH_TOPIC_PREFIX", f"{uuid4().hex[:12]}.")
    monkeypatch.setenv("TIDEWATCH_STATE_DIR", str(tmp_path / "state"))
    for name in ("one", "two"):
        folder = tmp_path / "models" / name
        folder.mkdir(parents=True)
        (folder / "m.bin").write_text(name)

    def run(*more: str) -> dict[str, Any]:
        words = [str(tmp_path / "models"), "--tenant", "acme", "--system", "b", "--format", "json"]
        assert main(["baseline", *words, *more]) == 0
        summary: dict[str, Any] = json.loads(capsys.readouterr().out)
        return summary

    assert (run()["sent"], run()["known"]) == (2, 2)
    (tmp_path / "models" / "two" / "m.bin").write_text("changed")
    third = run()
    assert (third["sent"], third["known"]) == (1, 1)
    assert run("--again")["sent"] == 2

    found = [json.loads(value) for _, value in written()]
    assert len(found) == 5
    assert all(event["baseline"] is True for event in found)
    assert len({event["id"] for event in found}) == 3


def test_a_baseline_killed_twice_delivers_what_an_undisturbed_one_does(
    kafka: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    models = tmp_path / "models"
    for number in range(MODELS):
        (models / f"m{number}").mkdir(parents=True)
        (models / f"m{number}" / "m.bin").write_text(str(number))
    command = ["baseline", str(models), "--tenant", "acme", "--system", "b", "--format", "json"]
    monkeypatch.setenv("TIDEWATCH_KAFKA", kafka)

    def begin(name: str) -> None:
        monkeypatch.setenv("TIDEWATCH_TOPIC_PREFIX", f"{uuid4().hex[:12]}.")
        monkeypatch.setenv("TIDEWATCH_STATE_DIR", str(tmp_path / name))

    def end() -> dict[str, Any]:
        assert main(command) == 0
        summary: dict[str, Any] = json.loads(capsys.readouterr().out)
        return summary

    begin("undisturbed")
    assert end()["sent"] == MODELS
    undisturbed = written()
    assert len(set(undisturbed)) == len(undisturbed) == MODELS

    begin("killed")

    def noted() -> int:
        files = (tmp_path / "killed").glob("baseline/*.journal")
        return sum(len(file.read_bytes().split()) for file in files)

    for least in (1, 501):
        with subprocess.Popen([TIDEWATCH, *command], env=os.environ) as process:
            try:
                wait_for(lambda least=least: noted() >= least, f"{least} units were noted")
            finally:
                process.kill()
        assert process.returncode == -signal.SIGKILL
    summary = end()
    assert summary["known"] >= 1000
    assert summary["known"] + summary["sent"] == MODELS
    # what was on its way when a process died is delivered twice, and is the same event
    assert set(written()) == set(undisturbed)
    assert end()["sent"] == 0
