"""A responder that was written from docs/contract.md alone, on a real topic and real folders.

It verifies and answers with the programs that the contract ships. Of Tidewatch it uses only the
client that reads and writes records.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import shutil
import tarfile
import threading
from collections.abc import Callable
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from schemas.channels import Channel
from streams.kafka.publisher import delivering
from streams.kafka.reader import read_topic
from streams.kafka.topics import topic_name
from streams.settings import Settings
from tests.docs.reading import ROOT

CONTRACT = ROOT / "docs" / "contract"
KEY_ID = "foreign"


def program(path: Path) -> ModuleType:
    """Return a program of the contract."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


verify = program(CONTRACT / "signatures" / "verify.py").verify
answers = program(CONTRACT / "answers" / "answer.py")

Act = Callable[[dict[str, Any]], tuple[int, str]]


class Site:
    """The folders of one tenant."""

    def __init__(self, folder: Path, model: Path) -> None:
        self.folder = folder
        self.model = model
        self.actions: dict[str, Act] = {
            "capture-evidence": self.capture,
            "quarantine": self.quarantine,
            "rollback": self.rollback,
            "block": self.block,
        }

    def capture(self, command: dict[str, Any]) -> tuple[int, str]:
        evidence = self.folder / "evidence"
        evidence.mkdir(exist_ok=True)
        name = f"{command['target'].replace('/', '_').replace(':', '_')}.tar.gz"
        with tarfile.open(evidence / name, "w:gz") as archive:
            archive.add(self.folder / "logs", "logs")
        return 200, "logs captured"

    def quarantine(self, command: dict[str, Any]) -> tuple[int, str]:
        version = command["version"]
        source = self.model / "versions" / version
        if source.is_dir():
            target = self.folder / "quarantine" / "foreign" / version
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(source, target)
        return 200, f"{version} is in quarantine"

    def rollback(self, command: dict[str, Any]) -> tuple[int, str]:
        version = command["rollback_version"]
        if not (self.model / "versions" / version).is_dir():
            return 404, f"{version} is not here"
        link = self.model / "next"
        link.symlink_to(f"versions/{version}")
        link.replace(self.model / "current")
        return 200, f"{version} is in use"

    def block(self, command: dict[str, Any]) -> tuple[int, str]:
        with (self.folder / "etc" / "blocked.txt").open("a") as listed:
            listed.write(f"{command['target']}\n")
        return 200, "it is on the list"


class ForeignResponder:
    """Serves one tenant in a thread, until it is stopped."""

    def __init__(self, settings: Settings, tenant: str, site: Site, commands: Path) -> None:
        """Make its key and have it trusted.

        Args:
            settings: The broker, the topics, and where workers look for trusted keys.
            tenant: Whom it serves.
            site: What it acts on.
            commands: The folder of the keys that sign commands.
        """
        self.answered: list[tuple[str, str, int]] = []
        """Action, target and status of each answer."""
        self._settings = settings
        self._tenant = tenant
        self._site = site
        self._commands = commands
        self._key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
        self._done: set[str] = set()
        self._waiting: list[Any] = []
        self._loop = asyncio.new_event_loop()
        self._task: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._run)
        trusted = Path(settings.state_dir) / "keys/trusted/responder" / f"{KEY_ID}.pem"
        trusted.parent.mkdir(parents=True, exist_ok=True)
        trusted.write_bytes(
            self._key.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        if self._task is not None:
            self._loop.call_soon_threadsafe(self._task.cancel)
        if self._thread.ident is not None:
            self._thread.join(30)

    def _run(self) -> None:
        self._task = self._loop.create_task(self._serve())
        with contextlib.suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._task)
        self._loop.close()

    async def _serve(self) -> None:
        topic = topic_name(self._settings, Channel.CONTAINMENT_COMMANDS)
        records = read_topic(self._settings, topic, from_start=True, follow=True)
        async with delivering(self._settings) as publisher, aclosing(records):
            async for record in records:
                headers = dict(record.headers)
                if headers["ce_tenantid"].decode() != self._tenant:
                    continue
                ring = {path.stem: path.read_bytes() for path in self._commands.glob("*.pem")}
                verify(headers, record.value, ring, record.timestamp)
                self._waiting.append(record)
                # what waits for another command is carried out once that has succeeded
                while ready := [command for command in self._waiting if self._may_run(command)]:
                    for command in ready:
                        self._waiting.remove(command)
                        key, value, answer = self._answer(command)
                        await publisher.put(
                            topic_name(self._settings, Channel.CONTAINMENT_RESULTS),
                            key,
                            value,
                            answer,
                        )

    def _may_run(self, record: Any) -> bool:
        after = json.loads(record.value)["args"]["x-tidewatch"].get("after", [])
        return self._done.issuperset(after)

    def _answer(self, record: Any) -> Any:
        headers = dict(record.headers)
        command = json.loads(record.value)
        ours = command["args"]["x-tidewatch"]
        why = answers.refusal(headers, record.value, datetime.now(UTC))
        act = self._site.actions.get(ours["action"])
        if why:
            status, text = 403, why
        elif act is None:
            status, text = 501, "not supported"
        elif command["command_id"] in self._done:
            status, text = 200, "done before"
        else:
            status, text = act(ours)
        if status == 200:
            self._done.add(command["command_id"])
        self.answered.append((ours["action"], ours["target"], status))
        return answers.answer(
            headers, record.value, status, text, self._key, KEY_ID, changed=status == 200
        )
