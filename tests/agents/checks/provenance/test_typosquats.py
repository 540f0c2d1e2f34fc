"""Look-alikes of model names are found, derivatives are not."""

from __future__ import annotations

import string
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from agents.checks.provenance.typosquats import find_look_alike, popular_identifiers
from tests.each import each

HERE = Path(__file__).parent
LOOK_ALIKES = (HERE / "look_alikes.txt").read_text("utf-8").split()
DERIVATIVES = (HERE / "derivatives.txt").read_text("utf-8").split()


@each("name", LOOK_ALIKES)
def test_a_look_alike_is_found(name):
    assert find_look_alike(name) is not None


@each("name", DERIVATIVES)
def test_a_derivative_or_quantisation_is_left_alone(name):
    assert find_look_alike(name) is None


def test_no_popular_model_looks_like_another():
    assert [n for n in popular_identifiers() if find_look_alike(n)] == []
    assert len(popular_identifiers()) > 500


def test_mirrors_of_every_popular_model_are_left_alone():
    suffixes = ("", "-GGUF", "-AWQ", "-4bit", "-bnb-4bit", "-lora", "-finetuned-acme", "-onnx")
    alarms = [
        f"quiet-mirror/{name.rpartition('/')[2]}{suffix}"
        for name in popular_identifiers()
        for suffix in suffixes
        if find_look_alike(f"quiet-mirror/{name.rpartition('/')[2]}{suffix}")
    ]
    assert alarms == []


@given(st.text(alphabet=string.printable + "\u0430\u0435\u0456\u03bf", max_size=60))
def test_any_text_is_judged_without_error(text):
    find_look_alike(text)
