"""Judges a pickle's imports: by an exact allow-list with uses, and by known harm."""
# ruff: noqa: PLR2004 -- numbers of formats are what they are

from __future__ import annotations

import re
from enum import IntEnum
from functools import cache, cached_property, lru_cache
from itertools import chain
from pathlib import Path
from typing import Final

import msgspec

from agents.checks.artifacts.dangerous_names import modules, names, prefixes
from agents.checks.artifacts.formats.format import Trait, endings
from agents.checks.artifacts.pickle.declaration import FORMAT as PICKLE
from agents.checks.artifacts.pickle.look_alikes import SHORT, passes_for
from agents.domain.late_pattern import late_pattern


class Level(IntEnum):
    """The levels of a judgement of an import."""

    ALLOWED = 0
    UNKNOWN = 1
    DANGEROUS = 2


class ImportVerdict(msgspec.Struct, frozen=True):
    """The judgement of one import."""

    level: Level
    uses: frozenset[str] = frozenset()
    """call, new, ref; enum, type, bytes, pickled and others: calls with particular arguments."""
    reason: str = ""
    runner: bool = False
    """Words of its name that suggest that it runs, loads, fetches or looks up."""
    function: bool = False
    """Its name is not that of a class."""
    in_known: bool = False
    """It belongs to a package whose legitimate imports are on the allow-list."""
    evaluates: bool = False
    """Its instances evaluate the text of their arguments."""
    referable: bool = False
    """A method of a known class, which objects may refer to; a call is judged like any other."""


ML_PACKAGES: Final = frozenset(
    [
        "torch",
        "torchvision",
        "torchaudio",
        "torchtext",
        "numpy",
        "scipy",
        "sklearn",
        "joblib",
        "pandas",
        "transformers",
        "sentence_transformers",
        "accelerate",
        "peft",
        "trl",
        "diffusers",
        "lightning",
        "pytorch_lightning",
        "lightning_fabric",
        "xgboost",
        "lightgbm",
        "catboost",
        "keras",
        "tensorflow",
        "jax",
        "flax",
        "omegaconf",
        "datasets",
        "tokenizers",
        "safetensors",
        "onnx",
        "onnxruntime",
        "mlflow",
        "nltk",
        "spacy",
        "gensim",
        "statsmodels",
        "timm",
        "huggingface_hub",
        "polars",
        "pyarrow",
        "dask",
        "ray",
        "numba",
        "cupy",
        "matplotlib",
        "tensorflow_hub",
        "skl2onnx",
        "fairseq",
        "espnet",
        "detectron2",
        "ultralytics",
        "fastai",
        "nemo",
        "deepspeed",
        "bitsandbytes",
        "vllm",
        "wandb",
        "cv2",
        "h5py",
    ]
)
"""Packages whose legitimate imports are on the allow-list: anything else in them is a gadget."""
DATA_PACKAGES: Final = frozenset(
    ["numpy", "scipy", "pandas", "pyarrow", "polars", "statsmodels", "h5py"]
)
"""Of these, packages whose releases add functions that rebuild arrays, columns and types.

In the others, classes make all objects: an unknown function that is called is a gadget.
"""
RUNNER: Final = late_pattern(
    r"(?i)(?:(?:^|_|\.|(?<=[a-z]))(exec\w*|eval\w*|system|popen\w*|spawn\w*|shell\w*|run|runs|runner|call"
    r"|cmd|command|import\w*|load|loads|loader|load\w+|unpickle|download\w*|fetch\w*|urlopen|get_file"
    r"|open|opener|compile\w*|resolve\w*|locate|getattr\w*|attrgetter|methodcaller|apply|install\w*"
    r"|invoke|launch|dynamic_module|start|write\w*|remove|unlink|delete|rmtree|connect|read_pickle|from_file"
    r"|read_csv|read_\w+|save|source|script|hook|inject|pwn|payload|evil|backdoor|trigger|reverse"
    r"|subproc\w*|interpreter\w*|parallel|make_(?:function|code)|rebuild_(?:function|code)|from_pretrained|from_hub|from_url|exploit|getoutput|fork\w*|kill|chmod|decode\w*|render|parse_expr|sympify|lambdify|query"
    r"|edit|by_name|to_(?:obj|object|func|function|callable|class|module))"
    r"|(?<=[0-9])make_(?:function|code))(?=$|_|[A-Z0-9])"
)
_STARTS: Final = frozenset(("main", "_main", "cli", "init", "serve", "bootstrap"))
"""Functions that start a program or a server; none restores an object."""
_WRITES: Final = frozenset(
    ("tofile", "dump", "dumps", "to_pickle", "format", "format_map", "pipe", "map", "tostring")
)
"""Methods that write files, unpickle, access attributes or call their arguments."""
_RUNS: Final = late_pattern(
    r"(?i)(?:^|_)(exec\w*|eval\w*|system|popen\w*|spawn\w*|shell\w*|run|call|cmd|command|import\w*"
    r"|load\w*|unpickle|download\w*|fetch\w*|urlopen|open|compile\w*|getattr\w*|apply|invoke|launch"
    r"|write\w*|unlink|rmtree|connect|read_\w+|from_file|save\w*|source|script|subproc\w*|query)"
    r"(?=$|_|[A-Z0-9])"
)
"""Methods of known classes that run, read or write; those of unknown classes may have any name."""
_HOOKS: Final = frozenset(("_lazy_load_hook", "_load_state_dict_post_hook"))
"""Methods of PyTorch's modules that a saved module keeps and calls with its own state."""
_COMPARING: Final = frozenset(
    (
        "__hash__", "__len__", "__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__",
        "__contains__", "__iter__",
    )
)  # fmt: skip
"""Methods of Python's protocols that only inspect the object."""
_KERAS_SAVED: Final = late_pattern(r"[A-Z]\w*\._unpickle_model")
"""Restores any saved Keras object from an archive, in safe mode.

The archive is scanned as a file. Source: `KerasSaveable`.
"""
RESTORER: Final = late_pattern(
    r"^_*(pyx_)?(rebuild|reconstruct|unpickle|restore|new|make|from|create|recreate|build)\w*$"
)
CYTHON: Final = late_pattern(r"^__pyx_unpickle_[A-Z]\w*$")
"""Functions that Cython generates to restore an object: they create it and set its attributes."""
_COMPILES: Final = late_pattern(
    r"\.(parsing|utilities|codegen|printing|plotting|interactive|testing|external|crypto|unify|rubi"
    r"|strategies|multipledispatch|sandbox|benchmarks|tests|deprecated|sphinxext|core\.sympify)\b"
    r"|(?i:sympify|(?<!s)parse|lambdify|autowrap|ufuncify|preview|plot|print|test|import|exec|compile|load"
    r"|system|open|source|__)"
)
"""Modules of SymPy, and names in others, that parse, print, compile or run."""
_LAZY: Final = frozenset(
    (
        "chain", "combinations", "combinations_with_replacement", "compress", "count", "cycle",
        "islice", "izip_longest", "pairwise", "permutations", "product", "repeat", "zip_longest",
    )
)  # fmt: skip
"""Iterators that call nothing."""
_IDENTIFIER: Final = late_pattern(r"^[A-Za-z_][\w]*$")
_CLASS: Final = late_pattern(r"^_*[A-Z]\w*$")


def _text(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


_Table = dict[str, dict[str, list[str]]]
"""Names by module, then by their permitted use."""


@cache
def _tables() -> tuple[_Table, ...]:
    """Return the names that tests/corpus found in libraries, and those added by hand.

    They stay as decoded: indexing every name would take longer than a scan's lookups.
    """
    files = ("library_globals.json", "standard_globals.json", "allowed_globals.json")
    return tuple(msgspec.json.decode(_text(file), type=_Table) for file in files)


@lru_cache(maxsize=16384)
def _allowed(module: str, name: str) -> frozenset[str]:
    """Return the permitted uses of a name, none if it is not listed."""
    return frozenset(
        use for table in _tables() for use, names in table.get(module, {}).items() if name in names
    )


@cache
def _stdlib() -> frozenset[str]:
    return frozenset(_text("stdlib_modules.txt").split())


@cache
def _renames() -> tuple[dict[str, str], dict[tuple[str, str], tuple[str, str]]]:
    table = msgspec.json.decode(_text("renamed_globals.json"))
    names = {(a, b): (c, d) for a, b, c, d in table["names"]}
    return table["modules"], names


def renamed(module: str, name: str, protocol: int) -> tuple[str, str]:
    """Return the name that is looked up: below protocol 3, Python 2's names are mapped."""
    if protocol >= 3:
        return module, name
    modules, names = _renames()
    return names.get((module, name)) or (modules.get(module, module), name)


@lru_cache(maxsize=65536)
def judge(module: str, name: str, protocol: int, *, script: bool = False) -> ImportVerdict:
    """Judge an import.

    Args:
        module: As the stream names it.
        name: As the stream names it; may be dotted.
        protocol: The protocol declared so far.
        script: Whether the stream belongs to a TorchScript archive, whose own classes
            (`__torch__.…`) only its C++ reader resolves.
    """
    effective = renamed(module, name, protocol)
    import_verdict = _judge(*effective, script=script)
    if effective == (module, name):
        return import_verdict
    original = _judge(module, name, script=script)
    if import_verdict.level is Level.ALLOWED and (
        module in _renames()[0] or (module, name) in _renames()[1]
    ):
        return import_verdict
    return max(import_verdict, original, key=lambda verdict: verdict.level)


def _judge(module: str, name: str, *, script: bool) -> ImportVerdict:
    if uses := _allowed(module, name):
        return ImportVerdict(Level.ALLOWED, uses)
    top, _, rest = name.partition(".")
    if rest and top == module.partition(".")[0] and (uses := _allowed(top, rest)):
        # reached by its full name through the first module that imports its package
        return ImportVerdict(Level.ALLOWED, uses)
    if module.startswith("keras.src.") and _KERAS_SAVED.fullmatch(name):
        return ImportVerdict(Level.ALLOWED, frozenset({"call"}))
    if script and (module == "__torch__" or module.startswith("__torch__.")):
        if module.startswith("__torch__.torch.classes") and not (
            module == "__torch__.torch.classes.quantized" and name.endswith("PackedParamsBase")
        ):
            return ImportVerdict(Level.UNKNOWN, reason="a custom C++ class")
        return ImportVerdict(Level.ALLOWED, frozenset({"new", "ref", "call"}))
    return judge_unlisted(module, name)


def compiles(module: str, name: str) -> bool:
    """Return whether a name of SymPy parses, prints, compiles or runs, and is no expression.

    Args:
        module: Of SymPy.
        name: In it; may be dotted.
    """
    return _COMPILES.search(f".{module}.{name}") is not None


def judge_unlisted(module: str, name: str) -> ImportVerdict:
    """Judge an import by its names alone, regardless of the allow-list.

    Args:
        module: As it is looked up.
        name: As it is looked up; may be dotted.
    """
    # Over 60 lines: one chain of cases, of which the first that applies decides.
    if f"{module}.{name}" in prefixes("pickle-class"):
        return ImportVerdict(Level.DANGEROUS, reason="opens and reads a file")
    if f"{module}.{name}" in prefixes("pickle-compiler"):
        return ImportVerdict(Level.DANGEROUS, reason="compiles text to code that runs")
    function = not _CLASS.match(name.rsplit(".", 1)[-1])
    starts = function and name in _STARTS
    runner = (starts or bool(RUNNER.search(name))) and not CYTHON.match(name)
    parts = module.split(".")
    top = parts[0]
    if module == "itertools" and name in _LAZY:
        return ImportVerdict(
            Level.UNKNOWN, reason="an iterator, which may be without end", function=True
        )
    if top in _stdlib():
        return ImportVerdict(Level.DANGEROUS, reason="the standard library, outside the allow-list")
    if top == "sympy" and len(parts) > 1 and not function and not compiles(module, name):
        return ImportVerdict(
            Level.UNKNOWN, reason="an expression outside the allow-list", evaluates=True
        )
    if top in modules("pickle"):
        return ImportVerdict(Level.DANGEROUS, reason="a package that runs, fetches or loads")
    if near := impersonated(module, name):
        return ImportVerdict(Level.DANGEROUS, reason=f"imitates {near}")
    if name == "__dict__" and not _core().intersection(parts):
        # dill names the globals of a function carried by value; items set on them are reported
        return ImportVerdict(
            Level.UNKNOWN, reason="the names of a module", function=True, in_known=True
        )
    core = _core()
    own = frozenset() if function and runner else own_modules()
    inner = [*(part for part in parts[1:] if part.lstrip("_") not in own), *name.split(".")]
    for part in inner[:-1] if len(inner) > 1 else ():
        if part in core:
            return ImportVerdict(Level.DANGEROUS, reason=f"reaches {part!r} through another module")
    last = inner[-1]
    if last in core or (last in _stdlib() and (last.islower() and _in_known(top))):
        return ImportVerdict(Level.DANGEROUS, reason=f"names {last!r} through another module")
    if not all(_IDENTIFIER.match(part) for part in (*parts, *name.split("."))):
        return ImportVerdict(Level.DANGEROUS, reason="not a name that Python can define")
    of_class = bool(_allowed(module, name.split(".", 1)[0]))
    if "." in name and not of_class and not all(map(_CLASS.match, name.split(".")[:-1])):
        return ImportVerdict(Level.DANGEROUS, reason="reaches through a module, not a class")
    if _in_known(top):
        if _CLASS.match(last) or last.endswith("_gen"):
            return ImportVerdict(
                Level.UNKNOWN, reason="a class outside the allow-list", runner=runner, in_known=True
            )
        if of_class and "." in name and not binding_fault(last, known=top in DATA_PACKAGES):
            return ImportVerdict(
                Level.UNKNOWN,
                reason="a method outside the allow-list",
                runner=runner or top not in DATA_PACKAGES,
                function=True,
                in_known=True,
                referable=True,
            )
        if CYTHON.match(name) or (
            not runner and (RESTORER.match(last) or _private_reference(last))
        ):
            return ImportVerdict(
                Level.UNKNOWN, reason="outside the allow-list", function=True, in_known=True
            )
        reason = f"a function of {top} that no saved model needs"
        return ImportVerdict(
            Level.DANGEROUS if runner else Level.UNKNOWN,
            reason=reason,
            runner=runner or top not in DATA_PACKAGES,
            function=True,
            in_known=True,
        )
    return ImportVerdict(
        Level.UNKNOWN, reason="outside the allow-list", runner=runner, function=function
    )


def binding_fault(name: object, *, known: bool = True) -> str:
    """Return why a method of a harmless class may not even be referred to, or an empty string.

    Args:
        name: The attribute that is looked up.
        known: Whether the package of its class is known.
    """
    if not isinstance(name, str) or not name.isidentifier():
        return "the name is not that of a method"
    if name.startswith("__"):
        return "" if name in _COMPARING else "the name is not that of a method"
    if (known and name in _HOOKS) or _STATE_HOOK.fullmatch(name):
        return ""
    if name in _WRITES or name.startswith("to_") or (_RUNS if known else RUNNER).search(name):
        return "the method's name suggests that it runs, reads or writes"
    return ""


_STATE_HOOK: Final = late_pattern(r"_?(?:load|save)_state(?:_dict)?(?:_pre|_post)?_hook\w*")
"""Methods that a PyTorch module keeps of itself, to adapt the weights that it loads."""


@cache
def _modules() -> frozenset[str]:
    return frozenset().union(*_tables())


FEW: Final = 8
"""Names that are searched one by one; building an index takes as long."""


class _ModulesByName:
    """The modules of the allow-list that have a name."""

    def __init__(self) -> None:
        """Index nothing yet: most processes look up few names or none."""
        self._asked = 0

    def having(self, name: str) -> list[str]:
        """Return them, sorted."""
        self._asked += 1
        if self._asked > FEW:
            return sorted(set(self._index.get(name, ())))
        return sorted(
            {
                module
                for table in _tables()
                for module, uses in table.items()
                for names in uses.values()
                if name in names
            }
        )

    @cached_property
    def _index(self) -> dict[str, list[str]]:
        index: dict[str, list[str]] = {}
        for table in _tables():
            for module, uses in table.items():
                for name in chain.from_iterable(uses.values()):
                    index.setdefault(name, []).append(module)
        return index


_by_name: Final = _ModulesByName()


def impersonated(module: str, name: str) -> str:
    """Return the listed module that another imitates, or an empty string.

    The listed module has the same name, and its spelling differs in look-alike letters or in one
    letter only. A leading underscore, a digit or a plural do not count: packages rename their
    modules so.
    """
    if len(module) < SHORT or module in _modules():
        return ""
    return next((known for known in _by_name.having(name) if passes_for(module, known)), "")


@cache
def _core() -> frozenset[str]:
    """Return the part of a dotted path that leads out of its package."""
    return modules("pickle-path") | names("pickle-path")


@cache
def own_modules() -> frozenset[str]:
    """Return the names that a package's own modules may have too."""
    return modules("own-module") | names("own-module")


def _in_known(top: str) -> bool:
    return top in ML_PACKAGES


def _private_reference(name: str) -> bool:
    return name.startswith("__pyx_")


_CODE: Final = (
    r"__import__|\bimport\s+\w|\bexec\s*\(|\beval\s*\(|\bos\.\w+\(|\bsubprocess\b|\bsystem\s*\(|"
    r"lambda\b.*:|/bin/\w+|/dev/tcp|\bcurl\s|\bwget\s|\bnc\s+-|\bbash\s|\bsh\s+-c|powershell|cmd\.exe|"
    r"^\s*(whoami|touch|rm|cat|echo|ping|nslookup|python3?|uname|sleep|ls|id|open)\s+\S|^\s*whoami|"
    r"https?://|ftp://|\\\\[\w.]+\\|\.\./|^/(etc|tmp|root|home|proc|var|usr|dev)/|"
    r"__class__|__globals__|__builtins__|\|\s*sh\b|>\s*/|\bopen\s*\(|b64decode"
)
CODE: Final = late_pattern(_CODE, re.IGNORECASE)
"""Matches an argument that is code, a command, a path or an address."""
MAX_ARGUMENTS: Final = 5_000
"""Values of a call that are searched; only unknown functions have more, and these are reported."""
MAX_SEARCHED: Final = 4096
"""Characters at either end of such a value."""
COMMAND: Final = late_pattern(
    _CODE
    + r"|^\s*(id|ls|calc|calc\.exe|xcalc|sh|bash|env|ps|pwd|true|os|sys|subprocess|builtins|posix|"
    r"system|eval|exec|popen)\s*$|\.(so|dll|py|sh|exe)$|"
    rf"({'|'.join(map(re.escape, endings(PICKLE.suffixes, Trait.PICKLED | Trait.WEIGHTS)))})$",
    re.IGNORECASE,
)
"""Matches an argument of a function: also single words and file names."""


def code_in(value: object, *, function: bool) -> str:
    """Return the first text among arguments that is code, a command, a path or an address.

    Args:
        value: The arguments.
        function: Whether a function is given them; single words and file names count then.
    """
    pattern = COMMAND if function else CODE
    waiting, seen = [value], 0
    while waiting and seen < MAX_ARGUMENTS:
        item = waiting.pop()
        seen += 1
        if isinstance(item, bytes):
            item = (item[:MAX_SEARCHED] + item[MAX_SEARCHED:][-MAX_SEARCHED:]).decode("latin-1")
        if isinstance(item, str):
            if pattern.search(item[:MAX_SEARCHED]) or pattern.search(item[-MAX_SEARCHED:]):
                return item[:120]
        elif isinstance(item, tuple | list):
            waiting.extend(item[:MAX_ARGUMENTS])
    return ""
