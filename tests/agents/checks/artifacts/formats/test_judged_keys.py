"""Each key that a judgement looks up triggers it alone."""

from __future__ import annotations

import ast
import inspect

import orjson

from agents.checks.artifacts.dispatch import scan_source
from agents.checks.artifacts.formats import repository
from agents.checks.artifacts.scanning import BytesSource
from tests.each import each


@each(
    ("key", "value", "rule"),
    [
        ("trust_remote_code", True, "TW-MODEL-REMOTE-CODE"),
        ("allow_remote", True, "TW-MODEL-REMOTE-CODE"),
        ("auto_map", {"AutoModel": "model.Model"}, "TW-MODEL-REMOTE-CODE-UNSEEN"),
        ("custom_pipelines", {"task": {"impl": "model.Model"}}, "TW-MODEL-REMOTE-CODE-UNSEEN"),
        ("impl", "model.Model", "TW-MODEL-REMOTE-CODE-UNSEEN"),
        ("custom_generate", "someone/code", "TW-MODEL-REMOTE-CODE-ELSEWHERE"),
        ("vocab_file", "../../etc/passwd", "TW-MODEL-PATH-ESCAPES"),
        ("class_path", "os.system", "TW-MODEL-TARGET-DANGEROUS"),
        ("_target_", "os.system", "TW-MODEL-TARGET-DANGEROUS"),
        ("target", "os.system", "TW-MODEL-TARGET-DANGEROUS"),
        ("loader_module", "os.system", "TW-MODEL-TARGET-DANGEROUS"),
    ],
)
def test_each_judged_key_alone_causes_judgement(key: str, value: object, rule: str) -> None:
    report = scan_source("config.json", BytesSource(orjson.dumps({key: value})))
    assert rule in {found.rule_id for found in report.detections}


@each(
    ("name", "text", "found"),
    [
        ("main.yml", "- name: a\n  stat:\n    path: /etc/apt/apt.conf.d/50auto\n", False),
        ("main.yml", "- name: a\n  file:\n    path: ../../.ssh/authorized_keys\n", True),
        ("main.yml", "stat:\n  path: /etc/shadow\n", True),
        ("conf.yaml", "checkpoint:\n  filename: '${name}--{step}'\n", False),
        ("conf.yaml", "checkpoint:\n  filename: '${a.b}/../../x'\n", True),
        ("conf.yaml", "checkpoint:\n  filename: $HOME/x\n", True),
        ("Cargo.toml", "[dependencies.router]\npath = '../../router'\n", False),
        ("conf.toml", "[model]\npath = '../../router'\n", True),
    ],
)
def test_paths_of_tasks_and_interpolations_lead_nowhere(name: str, text: str, found: bool) -> None:
    """A list of tasks is run by a program that is asked to; no loader of models reads one."""
    report = scan_source(name, BytesSource(text.encode()))
    rules = {detection.rule_id for detection in report.detections}
    assert ("TW-MODEL-PATH-ESCAPES" in rules) is found


def test_every_key_that_is_looked_up_is_a_judged_key() -> None:
    """A key that is asked for beyond them would be passed over."""
    function = ast.parse(inspect.getsource(repository._judge_mapping))
    asked = {
        node.args[0].value
        for node in ast.walk(function)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and ast.unparse(node.func) == "mapping.get"
        and isinstance(node.args[0], ast.Constant)
    }
    assert "auto_map" in asked
    assert asked <= repository.JUDGED
