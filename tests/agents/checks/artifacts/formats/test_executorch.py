"""ExecuTorch programs: operators, backends and their data."""

from __future__ import annotations

import pytest

from agents.checks.artifacts.dispatch import scan_source
from agents.checks.artifacts.scanning import BytesSource
from schemas.severity import Verdict
from tests.corpus.flatbuffers import executorch

GRAPH = bytes(4) + b"XN01" + bytes(40)


def verdict(raw, name="m.pte"):
    return scan_source(name, BytesSource(raw), frozenset()).verdict


@pytest.mark.parametrize("name", ["m.pte", "m.bin"])
def test_ordinary_operators_are_clean(name):
    assert (
        verdict(executorch("aten::add", "dim_order_ops::_empty_dim_order"), name) is Verdict.CLEAN
    )


def test_a_graph_of_xnnpack_is_clean():
    assert verdict(executorch("aten::add", backend="XnnpackBackend", data=GRAPH)) is Verdict.CLEAN


def test_a_graph_of_xnnpack_in_a_segment_is_clean():
    size = len(executorch("aten::add", backend="XnnpackBackend", segment=(0, 0)))
    raw = executorch("aten::add", backend="XnnpackBackend", segment=(size - 32, len(GRAPH)))
    assert verdict(raw + GRAPH) is Verdict.CLEAN


@pytest.mark.parametrize("backend", ["QnnBackend", "XnnpackBackend"])
def test_device_specific_backend_is_unsupported(backend):
    assert verdict(executorch(backend=backend, data=bytes(40))) is Verdict.UNSUPPORTED


@pytest.mark.parametrize(
    "raw",
    [
        executorch("acme::conv"),
        executorch("conv"),
        executorch(backend="AcmeBackend", data=GRAPH),
        executorch(backend="CudaBackend", data=GRAPH),
    ],
    ids=["namespace", "none", "backend", "library"],
)
def test_operator_of_an_unknown_library_is_suspicious(raw):
    assert verdict(raw) is Verdict.SUSPICIOUS


@pytest.mark.parametrize("name", ["acme::shell_exec", "aten::system", "/tmp/libevil.so"])
def test_operator_that_runs_a_named_function_is_malicious(name):
    assert verdict(executorch(name)) is Verdict.MALICIOUS


@pytest.mark.parametrize(
    "raw",
    [
        b"\x1c\0\0\0ET12" + bytes(100),
        bytes(200),
        executorch("aten::add")[:-60],
        executorch("aten::add", calls=7),
        executorch(backend="XnnpackBackend", segment=(0, 1 << 40)),
    ],
    ids=["no tables", "no identifier", "cut", "index", "segment"],
)
def test_unreadable_program_is_not_clean(raw):
    assert verdict(raw) is Verdict.CORRUPT


def test_another_format_version_is_unsupported():
    assert verdict(executorch("aten::add").replace(b"ET12", b"ET13")) is Verdict.UNSUPPORTED
