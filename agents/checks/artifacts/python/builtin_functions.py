"""Evaluates Python's built-in functions on constants: codecs, numbers, sequences, all bounded."""
# ruff: noqa: PLR2004 -- bounds are given where they are used

from __future__ import annotations

import base64
import bz2
import codecs
import itertools
import lzma
import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

MAX_LENGTH: Final = 1 << 20
"""Characters, bytes or items of one value."""
MAX_BITS: Final = 1 << 16
"""Bits of one number."""
_LONG: Final = (str, bytes, bytearray, list, tuple, dict)
_ORDERED: Final = (str, bytes, bytearray, list, tuple)


class UnfoldableError(Exception):
    """The value is not known, or too costly to compute."""


def bounded(value: Any) -> Any:  # noqa: ANN401
    """Return a value, unless it is too large.

    Raises:
        UnfoldableError: it is too large.
    """
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        raise UnfoldableError
    if isinstance(value, _LONG) and len(value) > MAX_LENGTH:
        raise UnfoldableError
    return value


def sequence(value: Any) -> Sequence[Any]:  # noqa: ANN401
    """Return the items of a value that has some.

    Raises:
        UnfoldableError: it has none.
    """
    if isinstance(value, _ORDERED):
        return value
    if isinstance(value, dict):
        return list(value)
    raise UnfoldableError


def recode(value: Any, codec: str) -> str | bytes:  # noqa: ANN401
    """Return a text in another encoding; those that expand are bounded."""
    flat = codec.lower().replace("-", "_")
    if flat.startswith("rot"):
        return codecs.encode(value if isinstance(value, str) else value.decode("ascii"), "rot13")
    if flat in ("hex", "hex_codec", "base64", "base64_codec", "uu", "quopri"):
        found = codecs.decode(value if isinstance(value, bytes) else value.encode(), flat)
        return found if isinstance(found, str | bytes) else b""
    if flat in ("zlib", "zip", "zlib_codec", "bz2", "bz2_codec"):
        return _inflated("zlib" if flat.startswith("z") else "bz2", value)
    if isinstance(value, str):
        return value.encode(codec)
    if isinstance(value, bytes | bytearray):
        return value.decode(codec)
    raise UnfoldableError


def _inflated(method: str, value: Any) -> bytes:  # noqa: ANN401
    raw = bytes(value) if not isinstance(value, str) else value.encode("latin-1")
    if method == "zlib":
        return zlib.decompressobj(32 + 15).decompress(raw, MAX_LENGTH)
    if method == "bz2":
        return bz2.BZ2Decompressor().decompress(raw, MAX_LENGTH)
    return lzma.LZMADecompressor().decompress(raw, MAX_LENGTH)


def _raw(value: Any) -> bytes:  # noqa: ANN401
    return value.encode("utf-8", "replace") if isinstance(value, str) else bytes(value)


def _padded(value: Any) -> bytes:  # noqa: ANN401
    raw = _raw(value).rstrip(b"=")
    return raw + b"=" * (-len(raw) % 4)


def _counted(*bounds: int) -> list[int]:
    numbers = range(*bounds)
    if len(numbers) > 100_000:
        raise UnfoldableError
    return list(numbers)


def _paired(*columns: Iterable[Any]) -> list[list[Any]]:
    return [list(row) for row in zip(*columns, strict=False)]


def _repeated(items: Any) -> list[Any]:  # noqa: ANN401
    """Return the items of `itertools.cycle`, as many as the largest constant has."""
    return list(itertools.islice(itertools.cycle(sequence(items)), 1 << 16))


def _made_bytes(value: Any = b"", encoding: str = "utf-8") -> bytes:  # noqa: ANN401
    if isinstance(value, int):
        if value > MAX_LENGTH:
            raise UnfoldableError
        return bytes(value)
    return value.encode(encoding) if isinstance(value, str) else bytes(value)


def _made_text(value: Any = "", encoding: str = "utf-8", _errors: str = "") -> str:  # noqa: ANN401
    return value.decode(encoding) if isinstance(value, bytes) and encoding else str(value)


def _first(value: Any, *_rest: Any) -> Any:  # noqa: ANN401
    return value


FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {
    "chr": chr,
    "ord": ord,
    "int": lambda value=0, base=10: int(value, base) if isinstance(value, str) else int(value),
    "int.from_bytes": lambda raw, order="big": int.from_bytes(raw, order),
    "len": len,
    "abs": abs,
    "min": min,
    "max": max,
    "sum": sum,
    "str": _made_text,
    "bytes": _made_bytes,
    "bytearray": _made_bytes,
    "memoryview": _first,
    "list": lambda value=(): list(sequence(value)),
    "tuple": lambda value=(): list(sequence(value)),
    "dict": lambda value=(): dict(value),
    "sorted": lambda value: sorted(sequence(value)),
    "reversed": lambda value: list(sequence(value))[::-1],
    "range": _counted,
    "zip": _paired,
    "enumerate": lambda items, start=0: [[i, x] for i, x in enumerate(sequence(items), start)],
    "itertools.cycle": _repeated,
    "hex": hex,
    "str.maketrans": str.maketrans,
    "bytes.maketrans": bytes.maketrans,
    "str.__add__": lambda left, right: left + right if isinstance(left, str) else "",
    "operator.add": lambda left, right: left + right if isinstance(left, str | bytes) else "",
    "operator.concat": lambda left, right: left + right if isinstance(left, str | bytes) else "",
    "operator.xor": lambda left, right: left ^ right,
    "str.join": lambda joint, items: joint.join(sequence(items)),
    "bytes.fromhex": bytes.fromhex,
    "bytearray.fromhex": bytes.fromhex,
    "binascii.unhexlify": lambda raw: bytes.fromhex(_raw(raw).decode("ascii")),
    "binascii.a2b_hex": lambda raw: bytes.fromhex(_raw(raw).decode("ascii")),
    "binascii.a2b_base64": lambda raw: base64.b64decode(_padded(raw)),
    "base64.b64decode": lambda raw, *_: base64.b64decode(_padded(raw)),
    "base64.standard_b64decode": lambda raw: base64.b64decode(_padded(raw)),
    "base64.decodebytes": lambda raw: base64.b64decode(_padded(raw)),
    "base64.decodestring": lambda raw: base64.b64decode(_padded(raw)),
    "base64.urlsafe_b64decode": lambda raw: base64.urlsafe_b64decode(_padded(raw)),
    "base64.b32decode": lambda raw, *_: base64.b32decode(_raw(raw)),
    "base64.b16decode": lambda raw, *_: base64.b16decode(_raw(raw), casefold=True),
    "base64.b85decode": lambda raw: base64.b85decode(_raw(raw)),
    "base64.a85decode": lambda raw, *_: base64.a85decode(_raw(raw)),
    "codecs.decode": lambda raw, codec="utf-8", *_: recode(raw, codec),
    "codecs.encode": lambda raw, codec="utf-8", *_: recode(raw, codec),
    "zlib.decompress": lambda raw, *_: _inflated("zlib", raw),
    "gzip.decompress": lambda raw: _inflated("zlib", raw),
    "bz2.decompress": lambda raw: _inflated("bz2", raw),
    "lzma.decompress": lambda raw, *_: _inflated("lzma", raw),
    "ast.parse": _first,
    "compile": _first,
    "textwrap.dedent": _first,
    "inspect.cleandoc": _first,
}
"""Built-in functions whose value follows from their arguments."""
