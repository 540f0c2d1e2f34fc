"""Reads JSON: model configurations, index files, schemas of serialisers, notebooks, boosters."""

from __future__ import annotations

import contextlib
import json
from typing import Any, Final

import msgspec
import orjson

from agents.checks.artifacts.formats.json_comments import without_comments
from agents.checks.artifacts.formats.keras import is_keras, report_keras
from agents.checks.artifacts.formats.named_calls import report_named_calls, report_stray_template
from agents.checks.artifacts.formats.notebooks import is_notebook, report_notebook
from agents.checks.artifacts.formats.repository import report_repository
from agents.checks.artifacts.formats.skops import is_skops, report_skops
from agents.checks.artifacts.formats.targets import leaves, report_tree_targets
from agents.checks.artifacts.formats.tokenizer_maps import (
    is_tokenizer,
    report_tokenizer,
    without_merges,
)
from agents.checks.artifacts.python.shell_commands import (
    is_piped_to_a_shell,
)
from agents.checks.artifacts.readers.embedded import report_command, report_text
from agents.checks.artifacts.readers.long_lists import LARGE, read_large
from agents.checks.artifacts.readers.trees import report_xgboost
from agents.checks.artifacts.readers.window import decode_text, read_document
from agents.checks.artifacts.scanning import BudgetExceededError, CorruptFileError, Scan, Source
from agents.checks.shell.command_risk import CommandRisk
from agents.checks.shell.risk import risk_of_setting
from agents.domain.late_pattern import late_pattern
from schemas.severity import Severity

SHORT: Final = 8
"""Characters of a text too short to hold code or a file."""
CONFIGURATION: Final = late_pattern(
    r"(^|[._-])(config|configs|configuration|index|metadata|schema|params|hparams|hyperparameters|"
    r"args|model|signature|processor|settings|pipeline|state|card)([._-]|$)"
)
"""Names of documents that a loader reads; others are data, which may mention code."""
_RUN_BY_TOOLS: Final = late_pattern(
    r"(^|/)package\.json$|devcontainer\.json$|(^|/)composer\.json$|(^|/)\.?mcp\.json$"
    r"|(^|/)\.(vscode|cursor|claude|gemini)/[\w.]+\.json$"
)
"""Documents whose commands editors and package managers run automatically."""
_HOOKS: Final = frozenset(
    f"scripts.{hook}" for hook in ("preinstall", "install", "postinstall", "prepare")
)
"""Scripts that installing a package of npm runs."""
MAX_NAME: Final = 300
"""The most characters of a name to look at; names within archives may be very long."""
QUIET: Final = late_pattern(
    r"(tokenizer|vocab|merges|added_tokens|special_tokens_map)[\w.-]*\.json$"
)


def parse(scan: Scan, name: str, source: Source) -> None:
    """Report what a document makes its loader import, fetch, render or run.

    Raises:
        CorruptFileError: not JSON.
    """
    base = name.lower().rsplit("/", 1)[-1].rsplit("!", 1)[-1]
    if base.endswith(".jsonl"):
        _lines(scan, source)
        return
    raw = read_document(scan, source)
    document = without_merges(raw) if base.endswith("tokenizer.json") else None
    if document is None:
        document = load(scan, raw)
    else:
        scan.budget.step(len(raw) // 32)
    if is_notebook(document):
        report_notebook(scan, document)
        return
    if is_skops(document):
        report_skops(scan, document)
    if is_keras(document):
        report_keras(scan, document)
    if isinstance(document, dict) and "learner" in document:
        report_xgboost(scan, document)
    if is_tokenizer(base, document):
        report_tokenizer(scan, document)
    report_repository(scan, base, document)
    report_tree_targets(scan, document)
    report_named_calls(scan, document)
    if not QUIET.search(base[-MAX_NAME:]):
        read_by_loader = CONFIGURATION.search(base) or (
            isinstance(document, dict) and "learner" in document
        )
        runs = _RUN_BY_TOOLS.search(name.lower()) is not None
        severity = None if read_by_loader else Severity.LOW
        for path, _, value in leaves(scan, document, texts_alone=True):
            if isinstance(value, str) and len(value) > SHORT and "template" not in path:
                risk = risk_of_setting(path, value, run=runs)
                if runs and path in _HOOKS and is_piped_to_a_shell(value):
                    risk = CommandRisk.HOSTILE
                if not report_command(scan, path, value, risk):
                    report_text(scan, path, value, severity)
                report_stray_template(scan, base, path, value)


def load(scan: Scan, raw: bytes) -> Any:  # noqa: ANN401 -- JSON
    """Return a JSON document as Python's reader would see it.

    Raises:
        CorruptFileError: not JSON.
        BudgetExceededError: nested too deeply.
    """
    scan.budget.step(len(raw) // 32)
    if len(raw) > LARGE:
        with contextlib.suppress(ValueError, msgspec.DecodeError, RecursionError):
            return read_large(raw)
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        pass
    try:
        raw.decode(json.detect_encoding(raw), "surrogatepass")
    except UnicodeDecodeError as error:
        scan.mark_corrupt(f"bytes at offset {error.start} that are not text")
    try:
        # NaN, byte order marks and control characters, which orjson refuses, and Python reads
        return json.loads(decode_text(raw), strict=False)
    except RecursionError as error:
        raise BudgetExceededError("JSON nested too deep") from error
    except ValueError as error:
        relaxed = _relaxed(raw)
        if relaxed is None:
            raise CorruptFileError(f"not JSON: {error}") from error
        return relaxed


def _relaxed(raw: bytes) -> Any:  # noqa: ANN401 -- JSON
    """Return the value of JSON with comments, as editors read it, or of JSON lines."""
    try:
        if b"/" in raw or b"," in raw:
            return orjson.loads(without_comments(raw))
    except orjson.JSONDecodeError:
        pass
    try:
        return [orjson.loads(line) for line in raw.splitlines() if line.strip()] or None
    except orjson.JSONDecodeError:
        return None


def _lines(scan: Scan, source: Source) -> None:
    for number, line in enumerate(read_document(scan, source).splitlines(), 1):
        if line.strip():
            try:
                orjson.loads(line)
            except orjson.JSONDecodeError as error:
                raise CorruptFileError(f"line {number} is not JSON") from error
