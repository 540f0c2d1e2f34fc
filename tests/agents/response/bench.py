"""A responder's bench: a store, evidence, blocklists and a journal in a folder of its own."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from agents.response.config import ResponderConfig, read_config
from agents.response.journal import Answered, ResponseJournal
from agents.response.responder import carry_out
from agents.triage.containment import command_id
from schemas.components import digest_of_files
from schemas.incidents.commands import CommandSpec

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
MODEL = "model:huggingface/acme-labs/sentiment"
TARGET_TYPES = {
    "capture-evidence": "system",
    "revoke": "identity",
    "hold-pipeline": "pipeline",
    "release-pipeline": "pipeline",
    "block": "source",
    "unblock": "source",
}


def spec_of(action: str, target: str = MODEL, **more: Any) -> CommandSpec:
    """A command of tenant acme, approved and real."""
    fields = {
        "command_id": command_id("inc-1", "acme", action, target),
        "incident": "inc-1",
        "tenant": "acme",
        "action": action,
        "target": target,
        "target_type": TARGET_TYPES.get(action, "component"),
        "reason": "a pickle that runs os.system",
        "expires": NOW + timedelta(days=1),
        "mode": "approved",
        "dry_run": False,
    }
    return msgspec.convert({**fields, **more}, CommandSpec)


class Bench:
    """Folders, configuration and journal."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model = folder / "models/huggingface/acme-labs/sentiment"
        self.quarantine = folder / "quarantine"
        (folder / "models").mkdir()
        (folder / "etc").mkdir()
        (folder / "logs").mkdir()
        self.now = NOW
        self.config = self.configured()
        self.journal = ResponseJournal(folder / "state/journal.db", NOW)

    def configured(self, more: str = "") -> ResponderConfig:
        at = self.folder
        return read_config(
            f"""
            state_dir = "{at}/state"
            [tenants.acme.store]
            root = "{at}/models"
            quarantine = "{at}/quarantine"
            [tenants.acme.evidence]
            folder = "{at}/evidence"
            roots = ["{at}/logs"]
            [tenants.acme.blocklist]
            sources = "{at}/etc/model-blocklist.txt"
            constraints = "{at}/etc/constraints.txt"
            {more}
            """
        )

    def version(self, name: str, files: dict[str, bytes], current: bool = False) -> str:
        """Put a version of the model into the store; return its digest."""
        folder = self.model / "versions" / name
        for path, raw in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(raw)
        if current:
            (self.model / "current").unlink(missing_ok=True)
            (self.model / "current").symlink_to(f"versions/{name}")
        return digest_of_files(
            {path: hashlib.sha256(raw).hexdigest() for path, raw in files.items()}
        )

    def run(self, spec: CommandSpec) -> Answered:
        return carry_out(spec, self.config, self.journal, self.now)

    def limit(self, **sections: dict[str, Any]) -> None:
        """Change settings of tenant acme: section to its fields."""
        site = self.config.tenants["acme"]
        for section, fields in sections.items():
            changed = msgspec.structs.replace(getattr(site, section), **fields)
            site = msgspec.structs.replace(site, **{section: changed})
        self.config = msgspec.structs.replace(self.config, tenants={"acme": site})

    def status(self, spec: CommandSpec) -> int:
        return self.run(spec).outcome.status

    def tree(self) -> dict[str, str]:
        """Every file and link, except the journal's: what it holds or points to."""
        return {
            str(path.relative_to(self.folder)): (
                f"-> {path.readlink()}"
                if path.is_symlink()
                else hashlib.sha256(path.read_bytes()).hexdigest()
            )
            for path in sorted(self.folder.rglob("*"))
            if (path.is_symlink() or path.is_file()) and "state" not in path.parts
        }
