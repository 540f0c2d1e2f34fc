"""Properties of every format parser, for any bytes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import TemplateSyntaxError

from agents.checks.artifacts.formats.jinja_templates import template_faults
from agents.checks.artifacts.formats.registry import FORMATS
from agents.checks.artifacts.formats.targets import NameTrust, name_trust
from agents.checks.artifacts.readers.paths import escapes
from tests.corpus.hub_templates import HARMLESS, HOSTILE
from tests.depth import examples
from tests.fuzz.formats import SEEDS, TARGETS, target


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=examples(20), deadline=None)
@given(raw=st.binary(max_size=300))
def test_any_bytes_give_a_result_or_a_known_error(name, raw):
    TARGETS[name](raw)


@settings(max_examples=examples(100), deadline=None)
@given(
    seed=st.sampled_from(SEEDS),
    at=st.integers(1, 2000),
    new=st.binary(max_size=8),
    cut=st.booleans(),
)
def test_mutated_file_gives_a_result_or_a_known_error(seed, at, new, cut):
    changed = seed[:at] + new + (b"" if cut else seed[at + len(new) :])
    target(changed)


def test_every_format_is_named_once():
    names = [known.name for known in FORMATS]
    assert len(names) == len(set(names))


@given(st.sampled_from(sorted(HARMLESS.values())), st.sampled_from(sorted(HOSTILE.values())))
def test_a_hostile_template_is_found_behind_a_harmless_one(harmless, hostile):
    assert template_faults(harmless + "{% if x %}" + hostile + "{% endif %}")


@given(st.text(max_size=200))
def test_any_text_is_judged_as_template_or_does_not_parse(text):
    try:
        template_faults(text)
    except TemplateSyntaxError:
        return


@given(st.lists(st.sampled_from(["a", "b.bin", "c d", "."]), min_size=1, max_size=5))
def test_a_path_below_its_folder_stays_and_one_step_up_does_not(parts):
    path = "/".join(parts)
    assert not escapes(path)
    assert escapes(f"{path}/../../{path}")
    assert escapes(f"{path}\\..\\x")
    assert escapes(f"/{path}")


@given(st.sampled_from(["os", "subprocess", "builtins", "pickle"]), st.text("abc_", min_size=1))
def test_an_attribute_of_a_dangerous_module_is_dangerous(module, name):
    assert name_trust(f"{module}.{name}") is NameTrust.DANGEROUS
    assert name_trust(f"nemo.core.{module}.{name}x") is not NameTrust.UNKNOWN
