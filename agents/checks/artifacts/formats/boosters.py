"""Recognises gradient-boosting models: XGBoost, LightGBM, CatBoost; bounds and embedded text."""
# ruff: noqa: PLR2004 -- sizes and offsets are given where the format is read

from __future__ import annotations

import re
from typing import Final

from agents.checks.artifacts.formats.format import SPACES, Format, Suffix, Trait, endings
from agents.checks.artifacts.readers.embedded import report_text
from agents.checks.artifacts.readers.torn_tails import is_unwritten
from agents.checks.artifacts.readers.trees import XGBOOST_KEYS, judge_tree, number
from agents.checks.artifacts.readers.window import Cursor, Window, decode_text, read_document
from agents.checks.artifacts.scanning import BudgetExceededError, CorruptFileError, Scan, Source

UBJ_SIZES: Final = {
    b"Z": 0, b"N": 0, b"T": 0, b"F": 0, b"i": 1, b"U": 1, b"C": 1, b"I": 2, b"l": 4, b"L": 8,
    b"d": 4, b"D": 8,
}  # fmt: skip
UBJ_INTEGERS: Final = {b"i": 1, b"U": 1, b"I": 2, b"l": 4, b"L": 8}
MAX_DEPTH: Final = 256
MAX_TEXT: Final = 1 << 20
MAX_RUN: Final = 256
"""Zeros at the end of a file that only a truncated one has."""
ABSURD: Final = 1 << 40
MAX_NODES: Final = 8_000_000
"""The most numbers, of all trees, kept at once."""


def matches_xgboost(name: str, head: bytes, source: Source) -> bool:
    """Return whether a file is XGBoost in UBJSON or in its own binary form."""
    del source
    if head[:1] == b"{" and head[1:2] in UBJ_INTEGERS and not head[1:2].isspace():
        width = UBJ_INTEGERS[head[1:2]]
        length = int.from_bytes(head[2 : 2 + width], "big")
        return 0 < length < 256 and head[2 + width : 2 + width + length].isascii()
    lower = name.lower()
    return head.startswith((b"binf", b"bs64")) or (
        lower.endswith(_XGBOOST_NAMED) and not head.startswith((b"\x80", b"PK", b"{"))
    )


def parse_xgboost(scan: Scan, name: str, source: Source) -> None:
    """Walk UBJSON within its bounds; the older binary form is opaque.

    Raises:
        CorruptFileError: damaged.
    """
    head = source.read(0, 2)
    if head[:1] != b"{":
        if head == b"bs" and source.read(0, 4) == b"bs64":
            raise CorruptFileError("XGBoost's base64 format, from before version 1")
        if not source.read(0, 4) == b"binf" and name.lower().endswith(".ubj"):
            raise CorruptFileError("no UBJSON object")
        _judge_opaque(scan, source)
        return
    cursor = Cursor(Window(source))
    _walk_ubj(scan, cursor)
    if cursor.left:
        scan.report(
            "TW-MODEL-BOOSTER-TRAILING",
            f"{cursor.left} bytes follow the model",
            offset=cursor.offset,
        )


def _judge_opaque(scan: Scan, source: Source) -> None:
    raw = source.read(0, MAX_TEXT)
    if not re.search(rb"gbtree|gblinear|dart", raw):
        raise CorruptFileError("no booster is named")
    if raw[:4] != b"binf" and len(raw) < 136:
        raise CorruptFileError("shorter than a model's parameters")
    report_text(scan, "model", raw.decode("latin-1"))


def _walk_ubj(scan: Scan, cursor: Cursor) -> None:
    """Walk one UBJSON object, without recursion."""
    stack: list[tuple[bytes, int, bytes]] = []  # kind, values left or -1, type of each
    trees = _Trees(scan)
    first = cursor.take(1)
    stack.append((first, *_container(cursor)))
    name = ""
    while stack:
        scan.budget.step(1)
        kind, left, each = stack.pop()
        if left == 0:
            continue
        marker = cursor.take(1) if left < 0 else b""
        while marker == b"N":
            marker = cursor.take(1)
        closes = b"}" if kind == b"{" else b"]"
        if left < 0 and marker == closes:
            continue
        if kind == b"{":
            if left > 0:
                marker = cursor.take(1)
            key = _text(cursor, marker)
            report_text(scan, "key", key)
            name, marker = key, b""
        stack.append((kind, left - 1 if left > 0 else left, each))
        if len(stack) > MAX_DEPTH:
            raise BudgetExceededError(f"values are nested deeper than {MAX_DEPTH}")
        value = each or marker or cursor.take(1)
        if value in UBJ_SIZES:
            raw = cursor.take(UBJ_SIZES[value])
            if kind == b"[":
                trees.item(name, value, raw)
        elif value in (b"S", b"H"):
            text = _text(cursor, cursor.take(1))
            report_text(scan, f"text@{cursor.offset}", text)
            if name == "num_feature":
                trees.features = max(trees.features, number(text))
        elif value in (b"{", b"["):
            count, inner = _container(cursor)
            if inner and inner in UBJ_SIZES and value == b"[":
                if count * UBJ_SIZES[inner] > cursor.left and count >= ABSURD:
                    scan.report(
                        "TW-MODEL-BOOSTER-BOUNDS",
                        f"an array of {count} values",
                        offset=cursor.offset,
                    )
                trees.array(name, inner, cursor, count)
            elif count > cursor.left:
                raise CorruptFileError(f"{count} values declared at offset {cursor.offset}")
            else:
                if value == b"[":
                    trees.begin(name)
                stack.append((value, count, inner))
        else:
            raise CorruptFileError(f"no value begins at offset {cursor.offset - 1}")
    trees.judge()


class _Trees:
    """The children and features of the trees of a model, collected as they are read."""

    def __init__(self, scan: Scan) -> None:
        self.features = 0
        self._scan = scan
        self._held: dict[str, list[list[int]]] = {key: [] for key in XGBOOST_KEYS}
        self._room = MAX_NODES

    def begin(self, name: str) -> None:
        """Begin an array under a name."""
        if name in self._held and self._room > 0:
            self._held[name].append([])

    def item(self, name: str, kind: bytes, raw: bytes) -> None:
        """Take one value of an array that declares no type."""
        if kind in UBJ_INTEGERS and self._held.get(name) and self._room > 0:
            self._room -= 1
            self._held[name][-1].append(int.from_bytes(raw, "big", signed=kind != b"U"))

    def array(self, name: str, kind: bytes, cursor: Cursor, count: int) -> None:
        """Take or skip an array of one type."""
        width = UBJ_SIZES[kind]
        if name not in self._held or kind not in UBJ_INTEGERS or count > self._room:
            cursor.skip(count * width)
            return
        self._room -= count
        self._scan.budget.step(count)
        raw = cursor.take(count * width)
        self._held[name].append(
            [
                int.from_bytes(raw[at : at + width], "big", signed=kind != b"U")
                for at in range(0, count * width, width)
            ]
        )

    def judge(self) -> None:
        """Check the bounds of each tree."""
        arrays = (self._held[key] for key in ("left_children", "right_children", "split_indices"))
        for index, (left, right, split) in enumerate(zip(*arrays, strict=False)):
            judge_tree(self._scan, left, right, split, features=self.features, name=f"tree {index}")
        if self._room <= 0:
            self._scan.mark_incomplete(f"more than {MAX_NODES} nodes")


def _container(cursor: Cursor) -> tuple[int, bytes]:
    """Return the count and the type that a container declares; -1 and no type if none."""
    if not cursor.left:
        raise CorruptFileError("the file ends within a value")
    mark = cursor.window.read(cursor.offset, 1)
    inner = b""
    if mark == b"$":
        cursor.skip(1)
        inner = cursor.take(1)
        mark = cursor.window.read(cursor.offset, 1)
    if mark == b"#":
        cursor.skip(1)
        return _integer(cursor, cursor.take(1)), inner
    if inner:
        raise CorruptFileError(f"a type without a count at offset {cursor.offset}")
    return -1, b""


def _integer(cursor: Cursor, marker: bytes) -> int:
    if marker not in UBJ_INTEGERS:
        raise CorruptFileError(f"no length at offset {cursor.offset}")
    value = int.from_bytes(cursor.take(UBJ_INTEGERS[marker]), "big", signed=marker != b"U")
    if value < 0:
        raise CorruptFileError(f"a negative length at offset {cursor.offset}")
    return value


def _text(cursor: Cursor, marker: bytes) -> str:
    length = _integer(cursor, marker)
    kept = cursor.take(min(length, MAX_TEXT)) if length <= cursor.left else cursor.take(length)
    cursor.skip(length - len(kept))
    return kept.decode("utf-8", "replace")


def matches_lightgbm(name: str, head: bytes, source: Source) -> bool:
    """Return whether a file is a LightGBM model, which is text."""
    del source
    text = head.lstrip()
    return text.startswith((b"tree\n", b"tree\r\n")) or (
        name.lower().endswith(_LIGHTGBM_NAMED) and head[:1].isalpha()
    )


def parse_lightgbm(scan: Scan, name: str, source: Source) -> None:
    """Check a LightGBM model against the counts in its own lines.

    Raises:
        CorruptFileError: trees that it announces are missing.
    """
    del name
    text = decode_text(read_document(scan, source))
    report_text(scan, "model", text)
    if "end of trees" not in text:
        raise CorruptFileError("the trees do not end")
    if "\nleaf_value=" in text and not text.endswith("\n"):
        scan.mark_corrupt("the last line does not end")
    if "\nparameters:" in text and "end of parameters" not in text:
        raise CorruptFileError("the parameters do not end")
    if "\x00" in text:
        raise CorruptFileError("zero bytes in a text")
    announced = re.search(r"^tree_sizes=([\d ]*)$", text, re.MULTILINE)
    trees = text.count("\nTree=")
    if announced and len(announced.group(1).split()) != trees:
        scan.mark_corrupt(f"{len(announced.group(1).split())} trees announced, {trees} found")
    _judge_sizes(scan, text)
    _judge_lightgbm(scan, text)
    for line in re.finditer(
        r"^(num_leaves|num_cat|max_feature_idx|num_class)=(\S+)$", text, re.MULTILINE
    ):
        if not line.group(2).isdigit() or int(line.group(2)[:30]) >= 1 << 31:
            scan.report(
                "TW-MODEL-BOOSTER-BOUNDS",
                f"{line.group(1)} is {line.group(2)[:40]}",
                offset=line.start(),
            )


def _judge_sizes(scan: Scan, text: str) -> None:
    """Check the declared lengths of a LightGBM model's trees against their positions."""
    sizes = re.search(r"^tree_sizes=([\d ]+)$", text, re.MULTILINE)
    at = text.find("Tree=0\n")
    if sizes is None or at < 0 or "\nleaf_value=" not in text or not text.isascii():
        return
    for index, size in enumerate(sizes.group(1).split()):
        if not text.startswith(f"Tree={index}\n", at):
            scan.mark_corrupt(f"tree {index} does not begin where the sizes say")
            return
        at += int(size[:20])
    if not text.startswith("end of trees", at):
        scan.mark_corrupt("the trees do not end where the sizes say")


def _judge_lightgbm(scan: Scan, text: str) -> None:
    highest = re.search(r"^max_feature_idx=(\d{1,9})$", text, re.MULTILINE)
    features = int(highest.group(1)) + 1 if highest else 0
    for index, block in enumerate(text.split("\nTree=")[1:]):
        fields = dict(
            line.partition("=")[::2] for line in block.split("\n\n", 1)[0].splitlines()[1:]
        )
        leaves = number(fields.get("num_leaves"))
        rows = [
            fields.get(key, "").split() for key in ("left_child", "right_child", "split_feature")
        ]
        if leaves < 2 or leaves > MAX_NODES or "left_child" not in fields:
            continue
        if not all(re.fullmatch(r"-?\d{1,12}", item) for row in rows for item in row):
            scan.mark_corrupt(f"tree {index} has a child that is not a number")
            continue
        left, right, split = ([int(item) for item in row] for row in rows)
        if len(left) != leaves - 1:
            scan.mark_corrupt(f"tree {index} has {len(left)} nodes for {leaves} leaves")
            continue
        judge_tree(scan, left, right, split, features=features, leaves=leaves, name=f"tree {index}")


def matches_catboost(name: str, head: bytes, source: Source) -> bool:
    """Return whether a file is a CatBoost model."""
    return head.startswith(b"CBM1") or (name.lower().endswith(_CATBOOST_NAMED) and source.size > 0)


def parse_catboost(scan: Scan, name: str, source: Source) -> None:
    """Check a CatBoost model's flatbuffer against the file's size.

    Raises:
        CorruptFileError: it is shorter than declared.
    """
    del name
    window = Window(source)
    if window.read(0, 4) != b"CBM1":
        raise CorruptFileError("no CatBoost magic")
    size = window.number(4, 4)
    if 8 + size > source.size:
        raise CorruptFileError(f"a core of {size} bytes in a file of {source.size}")
    root = window.number(8, 4)
    if not 4 <= root <= size:
        raise CorruptFileError("the core's table is outside it")
    if is_unwritten(source, max(MAX_RUN, source.size // 8)):
        raise CorruptFileError("the file's end was never written")
    core = window.read(8, min(size, MAX_TEXT * 16))
    report_text(scan, "core", core.decode("latin-1"))


XGBOOST: Final = Format(
    name="xgboost",
    suffixes=(
        Suffix(
            ".ubj",
            Trait.NAMED | Trait.WEIGHTS | Trait.NONEMPTY | Trait.MAGIC | Trait.MIXED,
        ),
        Suffix(".xgb", Trait.NAMED),
        Suffix(".xgboost", Trait.NAMED),
    ),
    firsts=b"{b",
    matches=matches_xgboost,
    parse=parse_xgboost,
    numeric=True,
    rules=(
        "TW-MODEL-BOOSTER-BOUNDS",
        "TW-MODEL-BOOSTER-TRAILING",
    ),
)
LIGHTGBM: Final = Format(
    name="lightgbm",
    suffixes=(Suffix(".lgb", Trait.NAMED), Suffix(".lightgbm", Trait.NAMED)),
    firsts=b"t" + SPACES,
    matches=matches_lightgbm,
    parse=parse_lightgbm,
    numeric=True,
    rules=("TW-MODEL-BOOSTER-BOUNDS",),
)
CATBOOST: Final = Format(
    name="catboost",
    suffixes=(Suffix(".cbm", Trait.NAMED | Trait.WEIGHTS | Trait.NONEMPTY | Trait.BINARY),),
    firsts=b"C",
    magic=re.compile(rb"CBM1"),
    matches=matches_catboost,
    parse=parse_catboost,
    numeric=True,
)
_XGBOOST_NAMED: Final = endings(XGBOOST.suffixes, Trait.NAMED)
_LIGHTGBM_NAMED: Final = endings(LIGHTGBM.suffixes, Trait.NAMED)
_CATBOOST_NAMED: Final = endings(CATBOOST.suffixes, Trait.NAMED)
