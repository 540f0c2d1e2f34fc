"""Layers of PyTorch Geometric render the signatures that a pickle gives them into a module."""

from __future__ import annotations

import pytest

from agents.checks.artifacts.dispatch import scan_source
from agents.checks.artifacts.scanning import BytesSource
from schemas.severity import Verdict
from tests.corpus.assembly import PROTO4, name, text

SOURCE = """class Layer(MessagePassing):
    def forward(self, x, edge_index):
        # propagate_type: (x: Tensor, edge_attr: Optional[Tensor])
        return self.propagate(edge_index, x=self.lin(x, 2), edge_attr=None)
"""
BATCH = name("torch_geometric.data.batch", "DynamicInheritanceGetter")


def mapping(**items):
    pairs = b"".join(
        text(key) + (text(value) if isinstance(value, str) else value)
        for key, value in items.items()
    )
    return b"}(" + pairs + b"u"


def instance(module, cls, state):
    return name(module, cls) + b")\x81" + state + b"b"


def layer(kind="Tensor", parameter="x", source=SOURCE, inspector=None):
    given = name("torch_geometric.inspector", "Parameter") + b"("
    given += text(parameter) + b"N" + text(kind) + b"Nt\x81"
    signature = name("torch_geometric.inspector", "Signature") + b"(" + mapping(x=given)
    signature += b"N" + text("Tensor") + b"t\x81"
    state = mapping(_signature_dict=mapping(message=signature), _source_dict=mapping(Layer=source))
    held = inspector or instance("torch_geometric.inspector", "Inspector", state)
    return instance("torch_geometric.nn.conv.gcn_conv", "GCNConv", mapping(inspector=held))


def verdict(body):
    return scan_source("a.pkl", BytesSource(PROTO4 + body + b".")).verdict


def test_a_layer_of_names_and_types_is_clean():
    assert verdict(layer()) is Verdict.CLEAN
    assert verdict(layer("Optional[Union[Tensor, torch.Tensor]]")) is Verdict.CLEAN


HOSTILE = {
    "type": layer("Tensor = __import__('os').system('true')"),
    "name": layer(parameter="x=print(1), y"),
    "said-type": layer(source="# propagate_type: (x: Tensor = exit())"),
    "passed-on": layer(source="self.propagate(edge_index, x: exit()=1)"),
    "computed": layer(inspector=text("a")),
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_rendered_text_beyond_names_and_types_is_malicious(body):
    assert verdict(body) is Verdict.MALICIOUS


def joined(base, cls=b""):
    cls = cls or name("torch_geometric.data.batch", "Batch")
    return BATCH + b")\x81(" + cls + base + b"tR"


def test_a_batch_joins_two_classes_of_data_and_nothing_else():
    assert verdict(joined(name("torch_geometric.data.data", "Data"))) is Verdict.CLEAN
    assert verdict(joined(name("os", "system"))) is Verdict.MALICIOUS
    assert verdict(joined(text("x"))) is Verdict.MALICIOUS
