"""Pickles of known libraries are distinguished from those that only use their names."""

from __future__ import annotations

import pytest

from agents.checks.artifacts.dispatch import scan_source
from agents.checks.artifacts.scanning import BytesSource
from schemas.severity import Verdict
from tests.corpus.assembly import PROTO4, arguments, call, name, text


def verdict(raw):
    return scan_source("a.pkl", BytesSource(raw)).verdict


def bound(attribute, module="somewhere.kernels", cls="Kernel"):
    """Return a method that is looked up on an instance."""
    instance = name(module, cls) + b")\x81"
    return PROTO4 + name("builtins", "getattr") + b"(" + instance + text(attribute) + b"tR."


@pytest.mark.parametrize(
    ("module", "function", "given"),
    [
        ("shapely.io", "from_wkb", b"\x01\x01"),
        ("shapely", "from_wkb", b"\x01\x01"),
        ("pyproj.crs.crs", "CRS", "EPSG:4326"),
        ("pint", "_unpickle_unit", None),
    ],
)
def test_constructors_of_library_data_are_clean(module, function, given):
    assert verdict(call(module, function, given)) is Verdict.CLEAN


def test_stored_module_hook_is_no_call():
    assert verdict(bound("_load_state_hook_ignore_shapes")) is Verdict.UNSUPPORTED
    assert verdict(bound("_load_state_dict_pre_hook")) is Verdict.UNSUPPORTED


@pytest.mark.parametrize("attribute", ["load", "_load_hook", "run_load_state_hook", "system"])
def test_a_method_that_runs_or_loads_is_malicious(attribute):
    assert verdict(bound(attribute)) is Verdict.MALICIOUS


@pytest.mark.parametrize(
    ("module", "function"),
    [("redis", "Redis"), ("sqlalchemy", "create_engine"), ("kazoo.client", "KazooClient")],
)
def test_a_client_of_a_network_is_malicious_in_a_pickle(module, function):
    assert verdict(PROTO4 + name(module, function) + arguments("a") + b"R.") is Verdict.MALICIOUS
