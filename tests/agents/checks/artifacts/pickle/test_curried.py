"""Functions bound and composed by toolz are judged as if imported."""

from __future__ import annotations

import pytest

from agents.checks.artifacts.dispatch import scan_source
from agents.checks.artifacts.scanning import BytesSource
from schemas.severity import Verdict
from tests.corpus.assembly import PROTO4, name, text
from tests.each import each

EMPTY = b")"
NONE = b"N"


def verdict(body):
    return scan_source("a.pkl", BytesSource(PROTO4 + body + b".")).verdict


def curried(function, module="toolz.functoolz", cls=None):
    """Return the call by which toolz binds a function, or what its own module calls by a name."""
    named = text(function) if isinstance(function, str) else function
    last = EMPTY + NONE if module == "toolz.functoolz" else NONE  # cytoolz has one fewer
    cls = cls or name(module, "curry")
    return name(module, "_restore_curry") + b"(" + cls + named + EMPTY + b"}" + last + b"tR"


def composed(*functions):
    return name("cytoolz.functoolz", "Compose") + b"(" + b"".join(functions) + b"tR"


HARMLESS = {
    "operator": curried(name("_operator", "add")),
    "own": curried("toolz.dicttoolz:valmap"),
    "own-function": curried("toolz.dicttoolz:valmap.func"),
    "cython": curried(name("cytoolz.itertoolz", "get"), "cytoolz.functoolz"),
    "of-curried": curried(curried(name("_operator", "add"))),
    "composed": composed(name("builtins", "len"), curried(name("_operator", "neg"))),
}
HOSTILE = {
    "named": curried("os:system"),
    "named-function": curried("os:system.func"),
    "named-method": curried("builtins:eval"),
    "through-a-module": curried("toolz.functoolz:operator.attrgetter"),
    "imported": curried(name("os", "system")),
    "cython": curried("posix:system", "cytoolz.functoolz"),
    "another-class": curried(name("_operator", "add"), cls=name("os", "system")),
    "computed-class": curried(name("_operator", "add"), cls=NONE),
    "no-text": curried(NONE),
    "composed": composed(name("builtins", "len"), curried("os:system")),
    "composed-of-names": composed(name("os", "system")),
}


@pytest.mark.parametrize("body", HARMLESS.values(), ids=HARMLESS)
def test_harmless_functions_that_are_bound_are_clean(body):
    assert verdict(body) is Verdict.CLEAN


@each("body", HOSTILE.values())
def test_a_function_that_runs_things_is_malicious_however_it_is_bound(body):
    assert verdict(body) is Verdict.MALICIOUS
