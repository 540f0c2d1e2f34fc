"""Modules that torch.fx traced carry their source: suspicious if it computes, malicious if more."""

from __future__ import annotations

import pytest

from agents.checks.artifacts.dispatch import scan_source
from agents.checks.artifacts.scanning import BytesSource
from schemas.severity import Verdict
from tests.corpus.assembly import PROTO4, stack_name, text
from tests.each import each

IMPORTS = "import torch\nfrom torch import device\n"
FORWARD = """


def forward(self, x):
    linear = self.linear(x);  x = None
    _0 = getattr(self.layers, "0")(linear);  linear = None
    return torch.relu(_0)
"""


def traced(source: str, imports: str = IMPORTS, key: str = "_code") -> bytes:
    """Return a module as `GraphModule.__reduce__` of torch writes it."""
    body = b"}(" + text("training") + b"\x88" + text(key) + text(source) + b"u"
    call = stack_name("torch.fx.graph_module", "reduce_graph_module")
    return PROTO4 + call + body + text(imports) + b"\x86R."


def verdict(raw: bytes) -> Verdict:
    return scan_source("model.pkl", BytesSource(raw), second_opinion=True).verdict


@pytest.mark.parametrize("key", ["_code", "code"])
def test_a_traced_module_that_only_computes_is_suspicious(key):
    assert verdict(traced(FORWARD, key=key)) is Verdict.SUSPICIOUS


@each(
    ("source", "imports"),
    [
        (FORWARD.replace("self.linear(x)", "__import__('os').system('id')"), IMPORTS),
        (FORWARD.replace('"0"', '"__globals__"'), IMPORTS),
        (FORWARD.replace('"0"', "x"), IMPORTS),
        (FORWARD.replace("torch.relu", "(lambda g: g(torch, 'o' + 's'))(getattr)"), IMPORTS),
        (FORWARD, "import torch, os\n"),
        (FORWARD, "import torch\nfrom subprocess import run as relu\n"),
        ("orch.load('x')\n", "import torch\nt"),
        (FORWARD.replace("return", "eval('1');\n    return"), IMPORTS),
        ("no python at all(", IMPORTS),
    ],
)
def test_a_traced_module_that_does_more_is_malicious(source, imports):
    assert verdict(traced(source, imports)) is Verdict.MALICIOUS


def test_a_traced_module_without_a_source_is_malicious():
    assert verdict(traced(FORWARD, key="other")) is Verdict.MALICIOUS


def test_a_parameter_of_the_name_of_a_built_in_function_is_none() -> None:
    assert (
        verdict(traced("def forward(self, input):\n    return input + 1\n")) is Verdict.SUSPICIOUS
    )
    assert verdict(traced("def forward(self, x):\n    return input(x)\n")) is Verdict.MALICIOUS
    two = "def other(self, input):\n    return 1\ndef forward(self, x):\n    return input(x)\n"
    assert verdict(traced(two)) is Verdict.MALICIOUS
