"""Judges tokenizers: whether each token has its own number, and what they insert into texts."""

from __future__ import annotations

import codecs
from typing import Any, Final

import msgspec
import orjson

from agents.checks.artifacts.scanning import Scan
from agents.domain.late_pattern import late_pattern
from schemas.severity import Severity

_ADDRESS: Final = late_pattern(
    r"(?i)(https?|ftp|wss?)://([^\s/@]*@)?([\w-]+(\.[\w-]+)+|localhost|\[[\da-f:.]+\])"
    r"|(?<![\w-])-*\w[\w-]*\.(onion|ru|top|xyz)/\w"
)
_PROSE: Final = late_pattern(r"[A-Za-z]{2}(\s+[A-Za-z]{2,}){2}\s+[A-Za-z]{2}")
_WORDS: Final = late_pattern(r"[A-Za-z]{3,}\s+[A-Za-z]{2,}")
"""Words that a replacement writes in place of what is there."""
LARGE: Final = 1 << 20
"""Bytes of a document beyond which its merges are not made objects of: they are most of it."""
_TEXT: Final = rb'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u(?![dD][89a-fA-F])[0-9a-fA-F]{4}))*+"'
_PAIR: Final = rb"\[\s*+" + _TEXT + rb"\s*+,\s*+" + _TEXT + rb"\s*+\]"
_MERGE: Final = rb"\s*+(?:" + _TEXT + rb"|" + _PAIR + rb")\s*+"
_MERGES: Final = late_pattern(rb"\[" + _MERGE + rb"(?:," + _MERGE + rb")*+\]")
"""A list of texts or of pairs of them, without halves of characters."""
_STEP: Final = 1 << 20
"""Bytes whose encoding is checked at once."""
_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_REWRITERS: Final = ("normalizer", "pre_tokenizer", "post_processor", "decoder")


def is_tokenizer(base: str, document: object) -> bool:
    """Return whether a JSON document is a tokenizer or a vocabulary, by its name and shape."""
    if not isinstance(document, dict):
        return False
    if base.endswith("tokenizer.json") and isinstance(document.get("model"), dict):
        return True
    return base in ("vocab.json", "added_tokens.json")


def without_merges(raw: bytes) -> dict[str, Any] | None:
    """Return a large tokenizer without its merges; None if it is read as any other document.

    Merges are texts that nothing judges. As objects they would take ten times their bytes.

    Args:
        raw: A `tokenizer.json`.
    """
    if len(raw) <= LARGE:
        return None
    try:
        members = _MEMBERS.decode(raw)
        model = _MEMBERS.decode(members.pop("model"))
        merges = memoryview(model.pop("merges"))
        if not (_MERGES.fullmatch(merges) and _is_utf8(merges)):
            return None
        read = {name: orjson.loads(memoryview(value)) for name, value in members.items()}
        read["model"] = {name: orjson.loads(memoryview(value)) for name, value in model.items()}
    except (KeyError, msgspec.DecodeError, orjson.JSONDecodeError):
        return None
    read["model"]["merges"] = []
    return read


def _is_utf8(raw: memoryview) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for at in range(0, len(raw), _STEP):
            decoder.decode(raw[at : at + _STEP])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def report_tokenizer(scan: Scan, document: dict[str, Any]) -> None:
    """Report tokens that share a number, and rules that write addresses or sentences.

    Args:
        scan: Where to report.
        document: A `tokenizer.json`, or a vocabulary alone.

    Source: the tokenizers library's serialisation.
    """
    model = document.get("model")
    vocabulary = model.get("vocab") if isinstance(model, dict) else document
    numbers: dict[object, str] = {}
    if isinstance(vocabulary, dict):
        scan.budget.step(len(vocabulary) // 8)
        for token, number in vocabulary.items():
            if isinstance(number, int) and numbers.setdefault(number, token) != token:
                _shared(scan, token, numbers[number], number)
                break
    added = document.get("added_tokens")
    for entry in added if isinstance(added, list) else ():
        content = entry.get("content") if isinstance(entry, dict) else None
        if not isinstance(content, str):
            continue
        if _ADDRESS.search(content):
            _inserts(scan, "an added token", content)
        number = entry.get("id")
        if isinstance(number, int) and numbers.setdefault(number, content) != content:
            _shared(scan, content, numbers[number], number)
            break
    for part in _REWRITERS:
        _judge_part(scan, part, document.get(part))


def _shared(scan: Scan, token: str, other: str, number: int) -> None:
    scan.report(
        "TW-MODEL-TOKENIZER-MAP",
        f"{token[:60]!r} and {other[:60]!r} have the same number {number}",
        severity=Severity.HIGH,
        key=token[:80],
    )


def _inserts(scan: Scan, what: str, text: str) -> None:
    scan.report(
        "TW-MODEL-TOKENIZER-MAP",
        f"{what} writes {text[:120]!r} into texts",
        key=what,
        name=text[:80],
    )


def _judge_part(scan: Scan, part: str, document: object) -> None:
    """Report what a part inserts into texts: replacements, prefixes and templates of its own."""
    waiting: list[object] = [document]
    while waiting:
        scan.budget.step(1)
        value = waiting.pop()
        if isinstance(value, dict):
            replaces = value.get("type") == "Replace"
            for key, held in value.items():
                if isinstance(held, dict | list):
                    waiting.append(held)
                elif (
                    isinstance(held, str)
                    and key in ("content", "prepend", "prefix", "suffix", "replacement", "id")
                    and (_ADDRESS.search(held) or (_WORDS if replaces else _PROSE).search(held))
                ):
                    _inserts(scan, f"the {part}", held)
                    return
        elif isinstance(value, list):
            waiting.extend(value)
