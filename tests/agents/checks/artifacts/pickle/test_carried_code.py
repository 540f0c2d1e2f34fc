"""Source carried by torch.fx modules: suspicious if it only computes, else malicious."""

from __future__ import annotations

import pytest

from agents.checks.artifacts.dispatch import scan_source
from agents.checks.artifacts.scanning import BytesSource
from schemas.severity import Verdict
from tests.corpus.assembly import PROTO4, arguments, call, stack_name, text
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
def test_traced_module_that_does_more_than_compute_is_malicious(source, imports):
    assert verdict(traced(source, imports)) is Verdict.MALICIOUS


def test_a_traced_module_without_a_source_is_malicious():
    assert verdict(traced(FORWARD, key="other")) is Verdict.MALICIOUS


def test_parameter_named_like_a_builtin_is_not_the_builtin() -> None:
    assert (
        verdict(traced("def forward(self, input):\n    return input + 1\n")) is Verdict.SUSPICIOUS
    )
    assert verdict(traced("def forward(self, x):\n    return input(x)\n")) is Verdict.MALICIOUS
    two = "def other(self, input):\n    return 1\ndef forward(self, x):\n    return input(x)\n"
    assert verdict(traced(two)) is Verdict.MALICIOUS


def made(module, name, *values):
    """Return the opcodes of a call."""
    return bytearray(stack_name(module, name) + arguments(*values) + b"R")


def shown(method):
    return made(
        "dill._dill", "_getattr", made("dill._dill", "_load_type", "list"), method,
        f"<slot wrapper {method!r} of 'list' objects>",
    )  # fmt: skip


def bound(method, of="dill._dill", by="_load_type"):
    kind = made(of, by, "MethodType")
    return PROTO4 + bytes(kind) + arguments(method, (1, 2)) + b"R."


@pytest.mark.parametrize(
    "raw",
    [
        bound(shown("__iter__")),
        bound(
            made("builtins", "getattr", bytearray(stack_name("builtins", "list")), "__len__"),
            "cloudpickle.cloudpickle",
            "_builtin_type",
        ),
        bound(
            made("builtins", "getattr", bytearray(stack_name("builtins", "list")), "append"),
            "cloudpickle.cloudpickle",
            "_builtin_type",
        ),
    ],
)
def test_a_method_of_a_plain_type_is_bound(raw):
    assert verdict(raw) is Verdict.SUSPICIOUS


@pytest.mark.parametrize(
    "raw",
    [
        bound(shown("__class__")),
        bound(shown("__getattribute__")),
        bound(made("builtins", "getattr", bytearray(stack_name("builtins", "list")), "__init__")),
        bound(bytearray(stack_name("os", "system"))),
    ],
)
def test_method_beyond_plain_types_is_not_bound(raw):
    assert verdict(raw) is Verdict.MALICIOUS


@pytest.mark.parametrize("kind", ["GeneratorType", "LambdaType", "MemberDescriptorType"])
def test_reference_to_a_type_runs_nothing(kind):
    assert verdict(call("dill._dill", "_load_type", kind)) is not Verdict.MALICIOUS
    assert verdict(call("cloudpickle.cloudpickle", "_builtin_type", kind)) is Verdict.SUSPICIOUS


def test_the_names_of_the_main_module_are_referred_to_in_older_protocols():
    raw = b"\x80\x02c__builtin__\n__main__\n."
    assert verdict(raw) is Verdict.CLEAN
    assert verdict(raw[:-1] + b"X\x01\0\0\0aK\x01s.") is Verdict.MALICIOUS
