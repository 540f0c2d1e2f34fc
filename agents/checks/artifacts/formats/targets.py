"""Judges the names of Python objects that a configuration makes its loader import or call.

Over 500 lines, since the walk of a document and its judgement share their limits.
"""
# ruff: noqa: E501 -- lists of names

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from functools import cache
from typing import Any, Final

import msgspec

from agents.checks.artifacts.dangerous_names import modules, names, prefixes
from agents.checks.artifacts.readers.long_lists import LongList
from agents.checks.artifacts.readers.paths import escapes
from agents.checks.artifacts.scanning import BudgetExceededError, Scan
from agents.domain.late_pattern import late_pattern
from schemas.severity import Severity

MAX_MAPPINGS: Final = 300_000
"""Mappings and lists of one document that are walked."""
MAX_TREE: Final = 2_000_000
"""Values of one document that are walked."""


class NameTrust(StrEnum):
    """How far a name is trusted."""

    DANGEROUS = "dangerous"
    UNKNOWN = "unknown"
    ALLOWED = "allowed"


HYDRA_PREFIXES: Final = (
    "nemo.", "torch.", "torchvision.", "torchaudio.", "torchmetrics.", "pytorch_lightning.",
    "lightning.", "lightning_fabric.", "transformers.", "omegaconf.", "megatron.", "apex.", "monai.",
    "diffusers.", "timm.", "modelopt.", "sentence_transformers.", "datasets.", "peft.", "optimum.",
    "accelerate.", "fairseq.", "fairseq2.", "espnet.", "espnet2.", "speechbrain.", "kornia.",
    "albumentations.", "einops.", "ldm.", "sgm.", "cldm.", "vocos.", "audiocraft.", "encodec.",
    "stable_audio_tools.", "hydra_plugins.", "hydra.experimental.callbacks.", "torchtune.", "litgpt.",
    "sklearn.", "numpy.", "nemo_text_processing.", "mmengine.", "detectron2.", "segment_anything.",
    "sam2.", "training.", "cosmos_", "x_transformers.", "rotary_embedding_torch.", "nemo_toolkit.",
    "sentencepiece.", "scipy.", "jax.", "flax.", "optax.", "keras.", "flash_attn.", "xformers.", "bitsandbytes.",
)  # fmt: skip
_HARMLESS: Final = frozenset(
    [
        "functools.partial",
        "pathlib.Path",
        "collections.OrderedDict",
        "collections.defaultdict",
        "builtins.dict",
        "builtins.list",
        "builtins.tuple",
        "builtins.str",
        "builtins.int",
        "builtins.float",
        "builtins.bool",
        "builtins.set",
        "datetime.timedelta",
        "random.Random",
        "random.seed",
        "os.path.join",
        "math.sqrt",
        "math.prod",
    ]
)
_OWN_PLUGINS: Final = late_pattern(
    r"^hydra\._internal\.core_plugins\.basic_(launcher\.BasicLauncher|sweeper\.BasicSweeper)$"
    r"|^hydra_plugins\.[\w.]+\.[A-Z]\w+$"
)
"""Targets that each run of Hydra writes into its own configuration."""
_TARGET: Final = late_pattern(
    r"""["']?(?:_target_|__target__|_partial_target_)["']?\s*[:=]\s*["']?([\w.:]+)"""
)
_INTERPOLATION: Final = re.compile(r"\$\{\s*([\w-]+(?:\.[\w-]+)*)\s*\}")
MAX_INTERPOLATED: Final = 5
"""The deepest nesting of interpolations that is followed."""
MAX_TARGET: Final = 1000
"""The most characters of a target assembled from parts."""
_CALLED: Final = frozenset(("_target_", "__target__", "_partial_target_"))
_IMPORTED: Final = frozenset(("target", "class_path", "factory", "_instantiator"))
MAX_DEPTH: Final = 12
"""Folders, and parts of a name, in which a target's code is searched."""
_MODULES: Final = frozenset(("loader_module", "parent_library", "megatron_core"))
"""Keys of MLflow and PEFT whose value their loader imports."""
_PARTS: Final = frozenset(("code", "data", "python_model", "model_path", "pickled_model"))
"""Keys of MLflow whose value its loader reads, from the folder of the model."""
_LIBRARIES: Final = ("mlflow.", "__main__", "transformers_modules", *(
    name.rstrip(".") for name in HYDRA_PREFIXES
))  # fmt: skip
_NAMED: Final = _IMPORTED | {"callable", "func", "function"}
_TARGETS: Final = _CALLED | _MODULES | _NAMED
_NAME: Final = late_pattern(r"^[A-Za-z_][\w]*(?:[.:][A-Za-z_]\w*)*$")


def name_trust(name: str, allowed: tuple[str, ...] = HYDRA_PREFIXES) -> NameTrust:
    """Return how far the full name of a Python object is trusted.

    Args:
        name: Dotted, as `module.attribute`.
        allowed: Prefixes of the modules that a format's loader has reason to import.
    """
    flat = name.replace(":", ".").strip().strip(".")
    parts = flat.split(".")
    if flat in _HARMLESS or _OWN_PLUGINS.match(flat):
        return NameTrust.ALLOWED
    if parts[0] in modules("config") or flat.startswith(prefixes("config")):
        return NameTrust.DANGEROUS
    if parts[-1] in names("config") or any(part.startswith("__") for part in parts):
        return NameTrust.DANGEROUS
    if not modules("config-path").isdisjoint(parts[1:]):
        return NameTrust.DANGEROUS  # another module's own import, reached through it
    return NameTrust.ALLOWED if flat.startswith(allowed) else NameTrust.UNKNOWN


def about(name: str) -> dict[str, Any]:
    """Return the evidence of a finding on a Python object: its full name under `global`."""
    return {"global": name[:200]}


def report_target(scan: Scan, key: str, name: str) -> None:
    """Report what a configuration's target imports, unless models need it."""
    found = name_trust(name)
    if found is NameTrust.DANGEROUS:
        scan.report(
            "TW-MODEL-TARGET-DANGEROUS",
            f"{key} makes its loader call {name[:120]}",
            key=key,
            **about(name[:200]),
        )
    elif found is NameTrust.UNKNOWN:
        here = _is_beside(scan, name)
        scan.report(
            "TW-MODEL-TARGET-UNKNOWN",
            f"{key} makes its loader call {name[:120]}, "
            f"{'of the code beside it' if here else 'which no known framework defines'}",
            severity=Severity.LOW if here else None,
            key=key,
            **about(name[:200]),
        )


def report_loaded_code(scan: Scan, key: str, what: str, name: str, *, here: bool) -> None:
    """Report code of the repository's own that a loader runs.

    Args:
        scan: Where to report.
        key: Where it is named.
        what: A sentence that says how it is loaded.
        name: The code's name or path.
        here: Whether it is among the files.
    """
    scan.report(
        "TW-MODEL-REMOTE-CODE" if here else "TW-MODEL-REMOTE-CODE-UNSEEN",
        what if here else f"{what}, which is not among the files",
        key=key,
        name=name[:200],
    )


def _is_beside(scan: Scan, name: str) -> bool:
    """Return whether the code of a target is among the files that are scanned with this one.

    A project's configurations name its own classes; their code is judged in its own file.
    """
    if not scan.siblings:
        return False
    parts = name.replace(":", ".").split(".")[:MAX_DEPTH]
    # a class of a module, or one within a class
    counts = (1, 2) if parts[-2:-1] and parts[-2][:1].isupper() else (1,)
    modules_of = ["/".join(parts[:-count]) for count in counts if len(parts) > count]
    folders = scan.path.split("/")[:-1][:MAX_DEPTH]
    roots = ["".join(f"{folder}/" for folder in folders[:size]) for size in range(len(folders) + 1)]
    return any(
        f"{root}{source}{module}{end}" in scan.siblings
        for root in roots
        for source in ("", "src/")
        for module in modules_of
        for end in (".py", "/__init__.py")
    )


def report_targets(scan: Scan, key: str, text: str) -> None:
    """Report the targets that a text of metadata names, written as JSON or as YAML."""
    for match in _TARGET.finditer(text.replace('\\"', '"')):
        report_target(scan, key, match.group(1))


def report_tree_targets(scan: Scan, document: object) -> None:
    """Report the targets of a document: `_target_` of Hydra, `target` where it is dangerous."""
    for path, mapping in mappings(scan, document):
        if _TARGETS.isdisjoint(mapping):
            continue
        prefix = f"{path}." if path else ""
        for key in _CALLED & mapping.keys():
            for value in texts(mapping[key]):
                report_target(scan, f"{prefix}{key}", _interpolated(scan, document, value))
        if _CALLED & mapping.keys():
            _judge_arguments(scan, prefix, mapping)
        for key in _MODULES & mapping.keys():
            for value in texts(mapping[key]):
                trusted = (
                    value.startswith(_LIBRARIES) and name_trust(value) is not NameTrust.DANGEROUS
                )
                if not trusted and not value.startswith("mlflow."):
                    report_target(scan, f"{prefix}{key}", value)
        if _MODULES & mapping.keys():
            _judge_parts(scan, prefix, mapping)
        for key in _NAMED & mapping.keys():
            for value in texts(mapping[key]):
                if "." in value and _NAME.match(value) and name_trust(value) is NameTrust.DANGEROUS:
                    scan.report(
                        "TW-MODEL-TARGET-DANGEROUS",
                        f"{prefix}{key} names {value[:120]}",
                        severity=None if key in _IMPORTED else Severity.HIGH,
                        key=f"{prefix}{key}",
                        **about(value),
                    )


def _interpolated(scan: Scan, document: object, value: str) -> str:
    """Return a text with its interpolations replaced by the texts they name.

    OmegaConf does so when a value is read, so that a target may be assembled from parts.
    """
    for _ in range(MAX_INTERPOLATED):
        replaced = _INTERPOLATION.sub(lambda match: _written_at(document, match), value)
        if replaced == value:
            return value
        if len(replaced) > MAX_TARGET:
            break
        value = replaced
    scan.mark_incomplete(f"a target of endless interpolations: {value[:80]!r}")
    return value


def _written_at(document: object, match: re.Match[str]) -> str:
    value = document
    for part in match[1].split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value if isinstance(value, str) else match[0]


def _judge_parts(scan: Scan, prefix: str, mapping: dict[Any, Any]) -> None:
    """Report the parts of an MLflow model that are outside its folder."""
    for key in sorted(_PARTS & mapping.keys()):
        for value in texts(mapping[key]):
            if escapes(value):
                scan.report(
                    "TW-MODEL-PATH-ESCAPES",
                    f"{prefix}{key} is loaded from {value[:120]!r}",
                    key=f"{prefix}{key}",
                    name=value[:200],
                )


def _judge_arguments(scan: Scan, prefix: str, mapping: dict[Any, Any]) -> None:
    """Report functions that a call is given by their names, which its target looks up."""
    for key, held in mapping.items():
        if key in _CALLED or isinstance(held, dict):
            continue
        for value in held if isinstance(held, list) else [held]:
            if isinstance(value, str) and handed_on().match(value):
                scan.report(
                    "TW-MODEL-TARGET-DANGEROUS",
                    f"{prefix}{key} hands on {value[:120]}",
                    key=f"{prefix}{key}"[:200],
                    **about(value),
                )


@cache
def handed_on() -> re.Pattern[str]:
    """Return the pattern of Python's own functions that models never pass on by name."""
    return re.compile(
        rf"^({'|'.join(sorted(modules('argument')))})"
        r"[.:](?!(json|yaml|py|txt|pt|bin)$)[A-Za-z_]\w*([.:]\w+)*$"
    )


def texts(value: object) -> list[str]:
    """Return the texts of a value: itself, or those that it holds, the first thousand of them."""
    found: list[str] = []
    stack = [value]
    while stack and len(found) < 1000:  # noqa: PLR2004 -- a reference has a handful
        inner = stack.pop()
        if isinstance(inner, str):
            found.append(inner)
        elif isinstance(inner, list | tuple):
            stack.extend(reversed(inner[:1000]))
        elif isinstance(inner, dict):
            stack.extend(list(inner.values())[:1000])
    return found


_NO_TEXTS: Final = frozenset((int, float, bool, bytes, type(None)))
_SCALARS: Final = _NO_TEXTS | {str}
_COLLECTIONS: Final = (dict, list, tuple, set, frozenset)
_OPENED: Final = (dict, list)


def _same(_path: str, _key: str) -> object:
    """Give every location the same meaning."""
    return None


def leaves(
    scan: Scan,
    document: object,
    place: Callable[[str, str], object] = _same,
    *,
    texts_alone: bool = False,
) -> Iterator[tuple[str, str, Any]]:
    """Yield every scalar value of a document, with its path and its key.

    A value that aliases name again is walked once for each meaning of its location.

    Args:
        scan: Its budget is charged.
        document: The document.
        place: Returns the meaning of a path and a key to the reader.
        texts_alone: Count numbers, but don't yield them: most leaves of a large document are
            numbers, and their paths would take more memory than the document.

    Raises:
        BudgetExceededError: the document, written out without aliases, has more than `MAX_TREE`
            values or `MAX_MAPPINGS` collections.
    """
    stack: list[tuple[str, str, Any]] = [("", "", document)]
    seen: set[tuple[int, object]] | None = set()
    passed = _NO_TEXTS if texts_alone else frozenset[type]()
    count = 0
    while stack:
        path, key, value = stack.pop()
        if type(value) is _Items:
            if (item := next(value.left, _ENDED)) is _ENDED:
                continue
            stack.append((path, key, value))
            stack.append((path, key, _Passed(1) if type(item) in passed else item))
            continue
        amount = value.amount if type(value) is _Passed else 1
        count += amount
        scan.budget.step(amount)
        if count > MAX_TREE:
            raise BudgetExceededError(f"the document has more than {MAX_TREE} values")
        if type(value) in _SCALARS or not isinstance(value, _COLLECTIONS):
            if type(value) is not _Passed:
                yield path, key, value
            continue
        if type(value) is LongList:
            # JSON has no aliases, and objects that are made anew have the identity of earlier ones
            seen = None
            stack.append((path, key, _Items(iter(value))))
            continue
        if seen is not None:
            mark = (id(value), place(path, key))
            if mark in seen:
                continue
            seen.add(mark)
        before = len(stack)
        stack.append(("", "", _Passed(0)))
        if isinstance(value, dict):
            prefix = f"{path}." if path else ""
            stack += [
                (f"{prefix}{name}"[:400], str(name), inner)
                for name, inner in reversed(value.items())
                if type(inner) not in passed
            ]
        else:
            stack += [
                (path, key, inner) for inner in reversed(list(value)) if type(inner) not in passed
            ]
        if left := len(value) + 1 + before - len(stack):
            stack[before] = ("", "", _Passed(left))


class _Passed(msgspec.Struct, frozen=True):
    """The number of skipped values of a collection; they are counted after the others."""

    amount: int


class _Items(msgspec.Struct, frozen=True):
    """The items of a long list that are left."""

    left: Iterator[Any]


_ENDED: Final = object()


def judge_size(scan: Scan, document: object) -> None:
    """Refuse a document that is too large with its aliases written out.

    Each collection is counted once, and counts again wherever an alias names it.

    Raises:
        BudgetExceededError: it has more than `MAX_TREE` values, or `MAX_MAPPINGS` collections.
    """
    sizes: dict[int, tuple[int, int]] = {}
    opened: set[int] = set()
    stack = [document]
    while stack:
        value = stack[-1]
        if id(value) in sizes:
            stack.pop()
            continue
        held = _held(value)
        inner = [
            child for child in held if type(child) not in _SCALARS and isinstance(child, _OPENED)
        ]
        if id(value) not in opened:
            opened.add(id(value))
            scan.budget.step(1)
            stack.extend(child for child in inner if id(child) not in opened)
            continue
        stack.pop()
        known = [sizes.get(id(child), (1, 1)) for child in inner]
        sizes[id(value)] = (
            min(1 + len(held) + sum(values for values, _ in known), 2 * MAX_TREE),
            min(1 + sum(collections for _, collections in known), 2 * MAX_MAPPINGS),
        )
    values, collections = sizes[id(document)]
    if values > MAX_TREE:
        raise BudgetExceededError(f"the document has more than {MAX_TREE} values")
    if collections > MAX_MAPPINGS:
        raise BudgetExceededError(f"the document has more than {MAX_MAPPINGS} collections")


def _held(value: object) -> list[object]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


class _Walk(msgspec.Struct):
    """The mappings of a document, which several readers go through."""

    document: object
    """Kept alive: a walk is found by its identity."""
    found: list[tuple[str, dict[Any, Any]]]
    whole: bool = True
    anew: bool = False
    """Whether the document has a `LongList`: it is walked for each reader, and nothing is kept."""
    charged: bool = False
    """Whether such a walk was charged to the budget."""


def mappings(scan: Scan, document: object) -> Iterator[tuple[str, dict[Any, Any]]]:
    """Yield every mapping of a document with its path, outer before inner.

    Raises:
        BudgetExceededError: the document has more than `MAX_MAPPINGS` collections.
    """
    walk = scan.walks.get(id(document))
    if walk is None:
        walk = scan.walks[id(document)] = _walk(scan, document)
    if walk.anew:
        charged, walk.charged = walk.charged, True
        yield from _walked_anew(scan, document, charge=not charged)
        return
    yield from walk.found
    if not walk.whole:
        raise BudgetExceededError(f"the document has more than {MAX_MAPPINGS} collections")


def _walk(scan: Scan, document: object) -> _Walk:
    found: list[tuple[str, dict[Any, Any]]] = []
    stack: list[tuple[str, Any]] = [("", document)]
    seen: set[int] = set()
    count = 0
    while stack:
        path, value = stack.pop()
        if id(value) in seen:
            continue  # an alias names it again
        if type(value) is LongList:
            scan.budget.steps += count
            return _Walk(document, [], anew=True)
        seen.add(id(value))
        count += 1
        if count > MAX_MAPPINGS or scan.budget.steps <= 0:
            return _Walk(document, found, whole=False)
        scan.budget.step(1)
        if isinstance(value, dict):
            found.append((path, value))
            stack += reversed(list(_opened_members(path, value)))
        elif isinstance(value, list | tuple):
            stack += reversed(list(_opened_items(path, value)))
    return _Walk(document, found)


def _walked_anew(
    scan: Scan, document: object, *, charge: bool
) -> Iterator[tuple[str, dict[Any, Any]]]:
    """Yield what `mappings` does, of JSON with long lists, item by item."""
    waiting = [iter((("", document),))]
    count = 0
    while waiting:
        following = next(waiting[-1], None)
        if following is None:
            waiting.pop()
            continue
        path, value = following
        count += 1
        if count > MAX_MAPPINGS or scan.budget.steps <= 0:
            raise BudgetExceededError(f"the document has more than {MAX_MAPPINGS} collections")
        if charge:
            scan.budget.step(1)
        if isinstance(value, dict):
            yield path, value
            waiting.append(_opened_members(path, value))
        elif isinstance(value, list):
            waiting.append(_opened_items(path, value))


def _opened_members(path: str, value: dict[Any, Any]) -> Iterator[tuple[str, Any]]:
    prefix = f"{path}." if path else ""
    for name, inner in value.items():
        if type(inner) not in _SCALARS and isinstance(inner, _OPENED):
            yield f"{prefix}{name}"[:400], inner


def _opened_items(path: str, value: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    # pairs of a tokenizer's merges are hundreds of thousands, and hold no mapping
    if _SCALARS.issuperset(map(type, value)):
        return
    for index, inner in enumerate(value):
        if isinstance(inner, dict) or (
            isinstance(inner, list) and not _SCALARS.issuperset(map(type, inner))
        ):
            yield f"{path}[{index}]"[:400], inner
