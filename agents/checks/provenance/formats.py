"""Which file names are safe formats, and which can carry code."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Final

SAFE: Final = frozenset({".safetensors", ".onnx", ".gguf"})
"""Formats that hold tensors only, by the response procedure."""
PASSIVE: Final = frozenset(
    {
        ".cff",
        ".css",
        ".csv",
        ".gif",
        ".gitattributes",
        ".gitignore",
        ".jpeg",
        ".jpg",
        ".json",
        ".jsonl",
        ".license",
        ".md",
        ".merges",
        ".model",
        ".parquet",
        ".pdf",
        ".png",
        ".rst",
        ".sha256",
        ".sig",
        ".sigstore",
        ".spm",
        ".svg",
        ".toml",
        ".tsv",
        ".txt",
        ".vocab",
        ".webp",
        ".yaml",
        ".yml",
    }
)
"""Formats that describe a model: no loader runs code out of them by itself."""
EXECUTABLE: Final = frozenset(
    {
        ".7z",
        ".bat",
        ".bin",
        ".ckpt",
        ".cmd",
        ".dat",
        ".dill",
        ".dll",
        ".dylib",
        ".exe",
        ".gz",
        ".h5",
        ".hdf5",
        ".ipynb",
        ".jar",
        ".joblib",
        ".js",
        ".keras",
        ".llamafile",
        ".mar",
        ".mlmodel",
        ".mlpackage",
        ".nemo",
        ".npy",
        ".npz",
        ".pb",
        ".pickle",
        ".pkl",
        ".ps1",
        ".pt",
        ".pt2",
        ".pte",
        ".pth",
        ".py",
        ".pyc",
        ".pyd",
        ".pyo",
        ".rds",
        ".sh",
        ".skops",
        ".so",
        ".t7",
        ".tar",
        ".tflite",
        ".tgz",
        ".whl",
        ".zip",
    }
)
"""Formats that can hold code, or that a loader deserialises into objects."""
WEIGHTS: Final = frozenset(
    {".bin", ".ckpt", ".gguf", ".h5", ".msgpack", ".onnx", ".pt", ".pth", ".safetensors"}
)
"""Formats whose size tells the number of parameters."""
_UNSUFFIXED_PASSIVE: Final = frozenset(
    {"license", "licence", "notice", "readme", "copying", "authors", "changelog", "use_policy"}
)
CLAIMED_FORMATS: Final = {
    "safetensors": frozenset({".safetensors"}),
    "gguf": frozenset({".gguf"}),
    "onnx": frozenset({".onnx"}),
    "pytorch": frozenset({".bin", ".ckpt", ".pt", ".pth"}),
    "keras": frozenset({".h5", ".hdf5", ".keras"}),
    "tflite": frozenset({".tflite"}),
    "flax": frozenset({".msgpack"}),
}
"""What a card calls a format, and the file names that would show it."""


def suffix_of(path: str) -> str:
    """Return a file name's last suffix in lower case; `.gitattributes` is its own suffix."""
    name = PurePosixPath(path.replace("\\", "/")).name.lower()
    suffix = PurePosixPath(name).suffix
    return suffix or (name if name.startswith(".") else "")


def is_safe(path: str) -> bool:
    """Tell whether a file name is of a format that holds tensors only."""
    return suffix_of(path) in SAFE


def is_passive(path: str) -> bool:
    """Tell whether a file name only describes the model."""
    suffix = suffix_of(path)
    if suffix:
        return suffix in PASSIVE
    return PurePosixPath(path).name.lower() in _UNSUFFIXED_PASSIVE


def may_execute(path: str) -> bool:
    """Tell whether a file name is of a format that can hold code; unknown formats can."""
    return not is_safe(path) and not is_passive(path)


def is_weight(path: str) -> bool:
    """Tell whether a file name is one of weights."""
    return suffix_of(path) in WEIGHTS


HEAD_BYTES: Final = 16
"""Bytes by which a file's content is told from another's."""
_HEADER_LENGTH: Final = 8
_MAX_HEADER: Final = 100_000_000
"""Of a safetensors file, in bytes; `MAX_HEADER_SIZE` of its library."""
_CODE_HEADS: Final = (
    b"\x80", b"PK", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"\x7fELF", b"MZ", b"#!",
)  # fmt: skip


def is_content_of(path: str, head: bytes) -> bool:
    """Tell whether a file begins as its safe format must; other formats say nothing here.

    Args:
        path: The file's name.
        head: Its first `HEAD_BYTES`, fewer of a shorter file.
    """
    match suffix_of(path):
        case ".safetensors":
            length = int.from_bytes(head[:_HEADER_LENGTH], "little")
            return len(head) > _HEADER_LENGTH and length <= _MAX_HEADER and head[8:9] == b"{"
        case ".gguf":
            return head.startswith((b"GGUF", b"FUGG"))
        case ".onnx":
            # A protocol buffer has no magic; what begins as a loader's or shell's food is none.
            return bool(head) and not head.startswith(_CODE_HEADS)
        case _:
            return True
