"""A baseline on a real broker: it goes on where it was, and delivered again it is the same."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from schemas.channels import Channel
from streams.cli import main
from streams.kafka.reader import read_topic
from streams.kafka.topics import topic_name
from streams.settings import load_settings

pytestmark = [pytest.mark.kafka]


def test_what_was_delivered_is_left_out_and_again_is_the_same_event(
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

    async def written() -> list[dict[str, Any]]:
        settings = load_settings()
        topic = topic_name(settings, Channel.REGISTRY_PUSH)
        records = read_topic(settings, topic, from_start=True, follow=False)
        return [json.loads(record.value) async for record in records]

    found = asyncio.run(written())
    assert len(found) == 5
    assert all(event["baseline"] is True for event in found)
    assert len({event["id"] for event in found}) == 3
