"""A library is imported without what it never uses here, and nobody else misses that."""

from __future__ import annotations

import sys
import threading
from importlib import import_module

import pytest

from agents.lean_imports import standing_in, without


@pytest.fixture(autouse=True)
def not_imported_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("xmlrpc", "xmlrpc.client"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def test_a_module_is_absent_within_the_block_alone() -> None:
    with without("xmlrpc"), pytest.raises(ModuleNotFoundError, match="xmlrpc is left out"):
        import_module("xmlrpc.client")
    assert import_module("xmlrpc.client").ServerProxy


def test_another_thread_imports_it_meanwhile() -> None:
    made: list[object] = []
    with without("xmlrpc"):
        other = threading.Thread(target=lambda: made.append(import_module("xmlrpc")))
        other.start()
        other.join()
    assert made == [sys.modules["xmlrpc"]]


def test_what_is_imported_already_stays() -> None:
    real = import_module("xmlrpc.client")
    with without("xmlrpc", "xmlrpc.client"), standing_in("xmlrpc.client", ServerProxy=object):
        assert import_module("xmlrpc.client") is real
    assert sys.modules["xmlrpc.client"] is real


def test_a_stand_in_is_gone_after_the_block() -> None:
    with standing_in("xmlrpc.client", ServerProxy=object):
        assert import_module("xmlrpc.client").ServerProxy is object
    assert import_module("xmlrpc.client").ServerProxy is not object
