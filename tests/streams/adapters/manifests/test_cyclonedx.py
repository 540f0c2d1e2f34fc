"""BOMs as cyclonedx-python-lib writes them, of each version and in both forms."""

from __future__ import annotations

import itertools

import pytest
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL

from schemas.errors import UnreadableRecordError
from streams.adapters import adapt

NOW = {"tenant": "t", "system": "h1", "received_ms": 1_795_000_000_000}
DIGEST = "a" * 64
VERSIONS = [version for version in SchemaVersion if version.to_version() >= "1.4"]


def bom():
    root = Component(name="serve", type=ComponentType.APPLICATION, bom_ref="root")
    outer = Component(
        name="Outer.Name",
        version="0",
        purl=PackageURL("pypi", None, "outer-name", "1.2"),
        bom_ref="outer",
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=DIGEST)],
    )
    inner = Component(name="inner", purl=PackageURL("pypi", None, "inner", "3"), bom_ref="inner")
    outer.components.add(inner)
    other = Component(name="left-pad", purl=PackageURL("npm", None, "left-pad", "1"), bom_ref="n")
    made = Bom(components=[outer, other])
    made.metadata.component = root
    made.register_dependency(root, [outer])
    made.register_dependency(outer, [inner])
    return made


@pytest.mark.parametrize(
    ("form", "version"), list(itertools.product((OutputFormat.JSON, OutputFormat.XML), VERSIONS)),
    ids=str,
)  # fmt: skip
def test_each_version_in_each_form(form, version):
    text = make_outputter(bom(), form, version).output_as_string()
    (event,) = adapt("cyclonedx", text.encode(), **NOW)
    packages = {entry.name: entry for entry in event.data.packages}
    assert packages.keys() == {"outer-name", "inner"}
    outer = packages["outer-name"]
    # What the purl says counts: it names the package.
    assert (outer.version, outer.requested) == ("1.2", True)
    assert outer.hashes == {"sha256": DIGEST}
    assert outer.requires_dist == ("inner",)
    assert event.data.lock == {"outer-name==1.2": (f"sha256:{DIGEST}",)}


def test_xml_of_another_kind_is_refused():
    with pytest.raises(UnreadableRecordError, match="namespace"):
        adapt("cyclonedx", b"<html/>", **NOW)


def test_components_that_nest_without_end_are_refused():
    document = (
        '{"bomFormat": "CycloneDX", "components": ' + '[{"components": ' * 90 + "[]" + "}]" * 90
    )
    with pytest.raises(UnreadableRecordError):
        adapt("cyclonedx", (document + "}").encode(), **NOW)
