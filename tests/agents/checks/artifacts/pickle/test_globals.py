"""Pickle imports are judged by their names."""

from __future__ import annotations

from agents.checks.artifacts.dispatch import scan_source
from agents.checks.artifacts.pickle.globals import (
    FEW,
    ML_PACKAGES,
    Level,
    _ModulesByName,
    impersonated,
    judge,
)
from agents.checks.artifacts.pickle.look_alikes import SHORT, one_letter
from agents.checks.artifacts.pickle.unlisted import imitates_package
from agents.checks.artifacts.scanning import BytesSource
from schemas.severity import Verdict
from tests.corpus.assembly import call, stack_name
from tests.each import each


@each(
    ("module", "name", "known"),
    [
        ("torch._utiIs", "_rebuild_tensor_v2", "torch._utils"),
        ("numpy.core.multiarry", "_reconstruct", "numpy.core.multiarray"),
        ("joblib.numpy_pickel", "NumpyArrayWrapper", "joblib.numpy_pickle"),
        ("c\u043ellections", "OrderedDict", "collections"),
    ],
)
def test_module_one_letter_off_a_known_one_imitates_it(module, name, known):
    assert impersonated(module, name) == known
    assert judge(module, name, 4).level is Level.DANGEROUS


@each("package", sorted(ML_PACKAGES))
def test_a_package_spelt_almost_like_a_known_one_imitates_it(package):
    """Whatever letter is left out, put in, changed or swapped; compared with each known one."""
    places = range(len(package))
    near = {
        *(package[:at] + package[at + 1 :] for at in places),
        *(package[:at] + "q" + package[at:] for at in places),
        *(package[:at] + "q" + package[at + 1 :] for at in places),
        *(package[:at] + package[at : at + 2][::-1] + package[at + 2 :] for at in places),
    }
    for name in near:
        alike = name not in ML_PACKAGES and any(
            len(known) > SHORT and one_letter(name, known) for known in ML_PACKAGES
        )
        assert imitates_package(f"{name}.core") == alike
    assert len(package) <= SHORT or any(map(imitates_package, near))


@each(
    ("module", "name"),
    [
        ("torch._utils", "_rebuild_tensor_v2"),
        ("sklearn.svm.classes_", "SVC"),
        ("sklearn.svm._class", "OtherName"),
        ("torch.optim.adams", "Adam"),
        ("acme.collections", "OrderedDict"),
    ],
)
def test_renamed_and_unrelated_modules_imitate_none(module, name):
    assert impersonated(module, name) == ""


@each("part", ["types", "modules", "code", "io"])
def test_a_class_in_a_packages_own_module_is_unknown_not_dangerous(part):
    assert judge(f"acme.{part}.net", "Net", 4).level is Level.UNKNOWN
    assert judge(f"acme.{part}", "run", 4).level is Level.DANGEROUS
    assert judge("acme.models", f"{part}.Net", 4).level is Level.DANGEROUS


@each(
    ("values", "verdict"),
    [
        ((1, 2), Verdict.SUSPICIOUS),
        (("mean", None), Verdict.SUSPICIOUS),
        (("echo x | sh",), Verdict.MALICIOUS),
        (("https://a.example/x",), Verdict.MALICIOUS),
    ],
)
def test_call_of_an_unknown_function_is_judged_by_its_arguments(values, verdict):
    raw = call("pyarrow.lib", "some_new_type", *values)
    assert scan_source("a.pkl", BytesSource(raw), frozenset()).verdict is verdict


@each(
    ("module", "name"),
    [
        ("torch.utils._import_utils", "_check_module_exists"),
        ("transformers", "pipeline"),
        ("dask", "compute"),
    ],
)
def test_framework_function_that_no_saved_model_calls_is_malicious(module, name):
    raw = call(module, name, "os")
    assert scan_source("a.pkl", BytesSource(raw), frozenset()).verdict is Verdict.MALICIOUS


def test_one_cause_is_one_finding_that_lists_its_occurrences():
    names = ["lower", "upper", "title"]
    raw = b"\x80\x04(" + b"".join(stack_name("acme.text.forms", name) for name in names) + b"t."
    findings = scan_source("a.pkl", BytesSource(raw), frozenset()).detections
    (found,) = [finding for finding in findings if finding.rule_id == "TW-PICKLE-UNLISTED-CLASS"]
    assert found.description == (
        "the pickle imports acme.text.forms.lower and 2 more of acme: outside the allow-list"
    )
    assert found.evidence["names"] == [f"acme.text.forms.{name}" for name in names]


@each(
    ("module", "name", "level"),
    [
        ("spacy.pipeline.pipe", "__pyx_unpickle_Pipe", Level.ALLOWED),
        ("spacy.pipeline.pipe", "__pyx_unpickle_Other", Level.UNKNOWN),
        ("spacy.pipeline.pipe", "__pyx_unpickle_system", Level.DANGEROUS),
        ("spacy.pipeline.pipe", "unpickle_other", Level.DANGEROUS),
        ("os", "__pyx_unpickle_Pipe", Level.DANGEROUS),
    ],
)
def test_cython_restore_function_is_no_loader(module, name, level):
    assert judge(module, name, 4).level is level


@each("module", ["pre_tokenizers", "normalizers", "decoders", "processors"])
def test_the_parts_of_a_tokenizer_are_known(module):
    raw = call(f"tokenizers.{module}", "ByteLevel")
    assert scan_source("a.pkl", BytesSource(raw), frozenset()).verdict is Verdict.CLEAN


@each("ending", ["j2", "jinja", "template", "tmpl"])
def test_templates_are_judged_under_each_ending(ending):
    escape = b"{{ config.__class__.__base__.__subclasses__() }}"
    hostile = scan_source(f"chat.{ending}", BytesSource(escape), frozenset())
    harmless = scan_source(f"mail.{ending}", BytesSource(b"Hello {{ name }}"), frozenset())
    assert (hostile.verdict, harmless.verdict) == (Verdict.MALICIOUS, Verdict.CLEAN)


@each(
    ("module", "name"),
    [
        ("spacy.pipeline._edit_tree_internals.edit_trees", "unpickle_edittrees"),
        ("spacy.pipeline.ner", "__pyx_unpickle_EntityRecognizer"),
        ("spacy.pipeline.tagger", "Tagger"),
        ("spacy.pipeline.senter", "senter_score"),
        ("spacy.ml.models.textcat", "init_ensemble_textcat"),
        ("spacy.pipeline.textcat", "textcat_score"),
        ("thinc.layers.chain", "forward"),
        ("thinc.backends.numpy_ops", "NumpyOps"),
        ("confection._config", "Config"),
    ],
)
def test_spacy_pipeline_classes_are_known(module, name):
    assert judge(module, name, 4).level is Level.ALLOWED


def test_spacy_and_thinc_loaders_are_not_known():
    for module, name in (
        ("spacy.util", "load_model_from_init_py"),
        ("spacy.util", "import_file"),
        ("thinc.backends", "use_ops"),
        ("spacy.cli.download", "download"),
    ):
        assert judge(module, name, 4).level is not Level.ALLOWED


def test_module_index_agrees_with_single_look_ups() -> None:
    names = ("Pipeline", "Model", "Linear", "main", "no_such_name_anywhere")
    one_by_one = {name: _ModulesByName().having(name) for name in names}
    assert len(one_by_one["Pipeline"]) > 1
    indexed = _ModulesByName()
    for _ in range(FEW):
        indexed.having("Model")
    assert {name: indexed.having(name) for name in names} == one_by_one
