"""Imitations are found, harmless names are not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.checks.packages.name_index import name_index
from agents.checks.packages.names import judge_name, judge_unknown
from agents.checks.packages.popularity import name_table, read_names
from agents.checks.packages.versions import canonical_name
from schemas.severity import Severity
from tests.agents.checks.packages.alone_names import alone
from tests.agents.checks.packages.installed_names import written
from tests.agents.checks.packages.name_cases import measure
from tests.each import each
from tests.samples import sample


def test_imitations_are_distinguished_from_harmless_names():
    figures = measure()
    assert figures["precision"] >= 0.97
    assert figures["recall of typosquats"] >= 0.90
    assert figures["recall"] >= 0.80
    assert figures["harmless above low"] == 0


@each("name", ["sympy", "httpx2", "httpcore2", "numba", "torchao", "torch"])
def test_dependencies_of_common_ml_packages_are_no_imitation(name):
    assert judge_name(name) is None


@each(
    ("name", "target"),
    [
        ("vlmm", "vllm"),
        ("v11m", "vllm"),
        ("skicit-learn", "scikit-learn"),
        ("huggingface-hb", "huggingface-hub"),
        ("pytorch-lightening", "pytorch-lightning"),
        ("tensorflow-gpu-nightly2", "tensorflow-gpu"),
        ("python3-dateutil", "python-dateutil"),
        ("sentence-transformer", "sentence-transformers"),
        ("streamlit-official", "streamlit"),
        ("torchs-visions", "torchvision"),
        ("detectron4", "detectron2"),
        ("huggingface-hubs", "huggingface-hub"),
        ("faiss-gp", "faiss-gpu"),
        ("bitsandbytess2", "bitsandbytes"),
        ("tensorflow2-gpu", "tensorflow-gpu"),
        ("spacy-modles", "spacy"),
        ("pytorch-pandas", "pandas"),
        ("huggingface-transformers", "transformers"),
        ("django-core", "django"),
    ],
)
def test_typosquats_of_every_kind_are_reported_with_the_name_they_imitate(name, target):
    verdict = judge_name(name)
    assert verdict is not None
    assert verdict.target == target


@each(
    ("name", "target"),
    [
        ("ptyest3-async", "pytest"),
        ("scikit-learngpu", "scikit-learn"),
        ("sagemakre-sdk", "sagemaker"),
        ("langcahins-core", "langchain-core"),
        ("grcpio-statsu", "grpcio-status"),
        ("weaviae-cliennt", "weaviate-client"),
        ("asyncscikit-learn", "scikit-learn"),
        ("detectron2-wheels", "detectron2"),
        ("llama-index-cuda", "llama-index"),
        ("client-pinecone", "pinecone-client"),
        ("kloudpickle", "cloudpickle"),
    ],
)
def test_several_mechanisms_in_one_name_are_seen_through(name, target):
    verdict = judge_name(name)
    assert verdict is not None
    assert verdict.target == target


@each(
    ("name", "target"),
    [
        ("py-dantic", "pydantic"),
        ("scikitlearn", "scikit-learn"),
        ("langhcain", "langchain"),
        ("biopythonn", "biopython"),
        ("transformerss", "transformers"),
        ("tokenizer-s", "tokenizers"),
        ("pinecone-cliemt", "pinecone-client"),
        ("opencv-pythons", "opencv-python"),
        ("torchmettics", "torchmetrics"),
        ("sagemeker", "sagemaker"),
        ("ransformers", "transformers"),
        ("fastapis", "fastapi"),
        ("bitsandbyte", "bitsandbytes"),
        ("hugginface-hubs", "huggingface-hub"),
        ("torchmetrcis", "torchmetrics"),
        ("albumentatoins", "albumentations"),
        ("sentence-transformer-s", "sentence-transformers"),
        ("requests-upgrade", "requests"),
        ("install-cryptography", "cryptography"),
        ("huggingface-hub-latest", "huggingface-hub"),
    ],
)
def test_rare_slip_is_above_low(name, target):
    verdict = judge_unknown(name, name_index())
    assert verdict is not None
    assert verdict.target == target
    assert verdict.severity.rank >= Severity.MEDIUM.rank


@each("name", ["mtpy", "parsy", "steptools", "platformers", "nvidia-cudnn-cu112", "reagex"])
def test_common_slip_is_at_most_low(name):
    verdict = judge_unknown(name, name_index())
    assert verdict is None or verdict.severity is Severity.LOW


@each("name", ["pyrest", "pytext", "django-fitter", "google-cloud-fivestore"])
def test_an_edit_that_yields_another_word_or_plug_in_is_at_most_low(name):
    """`py` and a word beside `pytest`, a plug-in beside a plug-in: other names, not slips."""
    verdict = judge_name(name)
    assert verdict is None or verdict.severity is Severity.LOW


@each(
    ("name", "target"),
    [
        ("r\u0435quests", "requests"),
        ("num\u200bpy", "numpy"),
        ("\uff4eumpy", "numpy"),
        ("reque\u0301sts", "requests"),
        ("d\u0456ffusers", "diffusers"),
    ],
)
def test_letters_that_look_alike_or_are_invisible_are_found(name, target):
    verdict = judge_name(canonical_name(name))
    assert verdict is not None
    assert (verdict.target, verdict.severity) == (target, Severity.HIGH)


@each(("name", "target"), [("vlllm", "vllm"), ("peffft", "peft"), ("ssspacy", "spacy")])
def test_three_of_one_letter_are_above_low(name, target):
    verdict = judge_name(name)
    assert verdict is not None
    assert verdict.target == target
    assert verdict.severity.rank >= Severity.MEDIUM.rank


def test_no_known_name_imitates_another():
    assert [name for name in name_table().known if judge_name(name) is not None] == []


def test_installed_names_are_judged_alike_if_they_were_unknown():
    """Leave-one-out: at most one in a thousand is above low, most draw no verdict at all."""
    names = name_table().known - name_table().curated
    verdicts = [judge_unknown(name, name_index()) for name in names]
    found = [verdict.severity for verdict in verdicts if verdict is not None]
    assert len(names) > 9000
    assert sum(severity is not Severity.LOW for severity in found) <= len(names) / 1000
    assert len(found) <= len(names) / 30


@pytest.mark.slow
def test_of_all_known_names_one_in_a_thousand_is_above_low_if_it_were_unknown():
    names = name_table().known
    verdicts = [judge_unknown(name, name_index()) for name in names]
    above = [
        verdict
        for verdict in verdicts
        if verdict is not None and verdict.severity is not Severity.LOW
    ]
    assert len(above) <= len(names) / 1000


@each("name", ["tensorboard", "pycryptodome", "lml", "jsons", "kr8s"])
def test_near_name_that_does_not_imitate_is_at_most_low(name):
    verdict = judge_unknown(name, name_index())
    assert verdict is None or verdict.severity is Severity.LOW


def test_downloads_exempt_no_name_that_is_mistaken_for_another():
    disputed = ("tdqm", "pyyml", "panda", "git-python")
    assert [name for name in disputed if judge_name(name) is None] == []


def test_names_that_others_hardly_extend_are_counted():
    found = ["requests-latest", "torch-utils", "torch-tools", "certifi-utils", "certifi-tools"]
    names = alone(found, ["requests-upgrade"])
    assert {"requests", "certifi", "torch"} & set(names) == {"requests"}
    assert "certifi" in alone(
        ["certifi-utils", "certifi-tools"],
        [f"certifi-{word}" for word in ("new", "upgrade", "fix")],
    )


def test_list_of_installed_names_is_written_in_order_without_what_is_left_out():
    text = written("1.0", "2026-01-02", ["b", "bad", "a"], ["bad"])
    assert "1.0 lists them (2026-01-02)" in text
    assert read_names(text) == ["b", "a"]


@given(st.text(max_size=200))
def test_any_text_is_judged_without_error(text):
    verdict = judge_name(canonical_name(text))
    assert verdict is None or verdict.target in name_table().known


@given(
    st.sampled_from(["transformers", "tensorflow", "requests", "pandas", "matplotlib"]),
    st.data(),
)
def test_swapped_inner_letters_of_a_popular_name_are_found(name, data):
    place = data.draw(st.integers(1, len(name) - 3))
    swapped = name[:place] + name[place + 1] + name[place] + name[place + 2 :]
    if swapped != name:
        verdict = judge_name(swapped)
        assert verdict is not None
        assert verdict.target == name


def test_no_malicious_name_is_exempt():
    """Downloads alone do not make a name honest: a table of popular names may hold bad ones."""
    lines = sample("intel", "malicious_names.txt").decode().splitlines()
    bad = {canonical_name(line) for line in lines if not line.startswith("#")}
    assert len(bad) == 70
    assert bad & name_table().known == set()
