"""Recognises formats of other platforms that can run code and are not analysed: R, Java, Torch7."""

from __future__ import annotations

from typing import Final

from agents.checks.artifacts.formats.format import Format, Suffix, Trait, endings
from agents.checks.artifacts.scanning import Scan, Source
from agents.domain.late_pattern import late_pattern

# R, Java's and .NET's serialised objects, Lua's bytecode, compound documents with macros
HEADS: Final = (
    b"RDX2\n",
    b"RDX3\n",
    b"RDA2\n",
    b"RDA3\n",
    b"X\n\x00\x00\x00",
    b"A\n2\n",
    b"A\n3\n",
    b"\xac\xed\x00\x05",
    b"\x00\x01\x00\x00\x00\xff\xff\xff\xff\x01\x00\x00\x00",
    b"\x1bLua",
    b"\x1bLJ",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
)
SUFFIXES: Final = (
    Suffix(".rds", Trait.NAMED | Trait.WEIGHTS),
    Suffix(".rdata", Trait.NAMED),
    Suffix(".rda", Trait.NAMED),
    Suffix(".t7", Trait.NAMED | Trait.WEIGHTS),
    Suffix(".pdmodel", Trait.NAMED),
    Suffix(".rknn", Trait.NAMED),
    Suffix(".mnn", Trait.NAMED),
    Suffix(".dnn", Trait.NAMED),
    Suffix(".jl", Trait.NAMED),
    Suffix(".jlso", Trait.NAMED),
    Suffix(".pdparams", Trait.WEIGHTS | Trait.BINARY),
    Suffix(".pdopt", Trait.WEIGHTS),
    Suffix(".caffemodel", Trait.WEIGHTS | Trait.BINARY),
    Suffix(".ot", Trait.WEIGHTS | Trait.BINARY),
    Suffix(".params", Trait.WEIGHTS | Trait.MIXED),
    Suffix(".weights", Trait.WEIGHTS | Trait.MIXED),
    Suffix(".dat", Trait.MIXED),
)
_NAMED: Final = endings(SUFFIXES, Trait.NAMED)
PIECE: Final = 1 << 20
_CALLS: Final = late_pattern(
    rb"py_func\b|\bsystem2?\b|\bshell\.exec\b|os\.execute|io\.popen|loadstring|\bcurl\b|/bin/(ba)?sh"
    rb"|download\.file|InvokerTransformer|ConstantTransformer|InstantiateTransformer|TemplatesImpl"
    rb"|getRuntime|ProcessBuilder|JdbcRowSet|BeanComparator|ScriptEngineManager|JRMPClient"
    rb"|AnnotationInvocationHandler|BadAttributeValueExp|commons\.collections|rmi://|ldap://"
    rb"|ObjectDataProvider|System\.Diagnostics|TypeConfuseDelegate|WindowsIdentity|AxHostState"
)


def matches(name: str, head: bytes, source: Source) -> bool:
    """Return whether a file is in one of these formats, by its first bytes or its name."""
    return source.size > 0 and (
        head.startswith(HEADS)
        or (name.lower().endswith(_NAMED) and not head.startswith((b"\x1f\x8b", b"PK", b"\x80")))
    )


def parse(scan: Scan, name: str, source: Source) -> None:
    """Report names of functions that run commands; the rest is not read."""
    del name
    raw = source.read(0, PIECE)
    scan.budget.step(len(raw) // 16)
    if match := _CALLS.search(raw):
        scan.report(
            "TW-MODEL-FOREIGN-CALLS",
            f"the file names {match.group().decode()!r}",
            offset=match.start(),
        )
    scan.mark_unsupported("a format that is recognised but not analysed")


FORMAT: Final = Format(
    name="foreign",
    suffixes=SUFFIXES,
    firsts=bytes({head[0] for head in HEADS}),
    matches=matches,
    parse=parse,
    numeric=True,
    rules=("TW-MODEL-FOREIGN-CALLS",),
)
