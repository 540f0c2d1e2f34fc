"""Facts from the headers of a model's files: parameters, types, architecture, quantisation."""

from __future__ import annotations

import math
from typing import Final, Protocol

import msgspec

from agents.checks.artifacts.formats import gguf, safetensors
from agents.checks.artifacts.formats.names import promised_formats, suffix_of
from agents.checks.provenance.card_claims import ArtifactFacts

HEADER_BYTES: Final = 8 << 20
"""Largest safetensors header that is counted; the format allows 100 MB."""
CONFIG_BYTES: Final = 1 << 20
MAX_TENSORS: Final = 200_000
_LENGTH: Final = 8
_GGUF_STRING, _GGUF_ARRAY, _GGUF_U32 = 8, 9, 4
_GGUF_SIZES: Final = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_GGUF_FILE_TYPES: Final = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K",
    11: "Q3_K_S", 12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S",
    17: "Q5_K_M", 18: "Q6_K", 32: "BF16",
}  # fmt: skip
"""`general.file_type` of llama.cpp (llama_ftype)."""


class _Readable(Protocol):
    @property
    def size(self) -> int: ...

    def read(self, offset: int, length: int) -> bytes: ...


class _Tensor(msgspec.Struct, frozen=True):
    dtype: str = ""
    shape: tuple[int, ...] = ()


_TENSORS: Final = msgspec.json.Decoder(_Tensor)


class _Quantisation(msgspec.Struct, frozen=True):
    quant_method: str | None = None
    bits: int | None = None
    load_in_4bit: bool | None = None
    load_in_8bit: bool | None = None


class _Config(msgspec.Struct, frozen=True):
    architectures: tuple[str, ...] = ()
    quantization_config: _Quantisation | None = None


_CONFIGS: Final = msgspec.json.Decoder(_Config)


class FactCounter:
    """Gathers the facts of a model file by file."""

    def __init__(self) -> None:
        """Start without facts."""
        self._parameters = 0
        self._counted = 0
        self._uncounted = False
        self._dtypes: set[str] = set()
        self._architectures: tuple[str, ...] = ()
        self._formats: set[str] = set()
        self._quantization: str | None = None

    def add(self, path: str, source: _Readable) -> None:
        """Read the header of a file; one that can't be read leaves the count unknown."""
        promised = promised_formats(suffix_of(path)) or frozenset()
        try:
            if safetensors.FORMAT.name in promised:
                self._safetensors(source)
            elif gguf.FORMAT.name in promised:
                self._gguf(source)
            elif path == "config.json" and source.size <= CONFIG_BYTES:
                self._config(source.read(0, source.size))
        except (ValueError, IndexError, msgspec.DecodeError, RecursionError, OverflowError):
            # The scanner reports the damage; here the file just can't be counted.
            self._uncounted = True

    def facts(self) -> ArtifactFacts:
        """Return the facts gathered so far."""
        known = self._counted and not self._uncounted
        return ArtifactFacts(
            parameters=self._parameters if known else None,
            dtypes=tuple(sorted(self._dtypes)),
            architectures=self._architectures,
            formats=tuple(sorted(self._formats)),
            quantization=self._quantization,
        )

    def _safetensors(self, source: _Readable) -> None:
        length = int.from_bytes(source.read(0, _LENGTH), "little")
        if not 0 < length <= HEADER_BYTES:
            raise ValueError("a header too large to count")
        header = msgspec.json.decode(source.read(_LENGTH, length), type=dict[str, msgspec.Raw])
        for name, raw in header.items():
            if name != "__metadata__":
                tensor = _TENSORS.decode(raw)
                self._parameters += math.prod(tensor.shape)
                self._dtypes.add(tensor.dtype[:16])
        self._counted += 1
        self._formats.add(safetensors.FORMAT.name)

    def _config(self, raw: bytes) -> None:
        config = _CONFIGS.decode(raw)
        self._architectures = config.architectures[:16]
        quantisation = config.quantization_config
        if quantisation is not None:
            bits = quantisation.bits or (4 if quantisation.load_in_4bit else None)
            bits = bits or (8 if quantisation.load_in_8bit else None)
            parts = (quantisation.quant_method, f"{bits}bit" if bits else None)
            self._quantization = "-".join(filter(None, parts)) or None

    def _gguf(self, source: _Readable) -> None:
        reader = _Gguf(source)
        if reader.take(4) != b"GGUF" or reader.number(4) not in {2, 3}:
            raise ValueError("not a GGUF version that is supported")
        tensors, keys = reader.number(8), reader.number(8)
        if max(tensors, keys) > MAX_TENSORS:
            raise ValueError("too many tensors")
        self._formats.add(gguf.FORMAT.name)
        for _ in range(keys):
            key = reader.string()
            kind = reader.number(4)
            if key == b"general.architecture" and kind == _GGUF_STRING:
                self._architectures = self._architectures or (reader.string().decode(),)
            elif key == b"general.file_type" and kind == _GGUF_U32:
                self._quantization = _GGUF_FILE_TYPES.get(reader.number(4))
            else:
                reader.skip(kind)
        for _ in range(tensors):
            reader.string()
            dimensions = reader.number(4)
            if dimensions > 4:  # noqa: PLR2004 -- GGML_MAX_DIMS
                raise ValueError("too many dimensions")
            self._parameters += math.prod(reader.number(8) for _ in range(dimensions))
            reader.take(12)
        self._counted += 1


class _Gguf:
    """Steps through GGUF metadata within `HEADER_BYTES`."""

    def __init__(self, source: _Readable) -> None:
        self._raw = source.read(0, min(source.size, HEADER_BYTES))
        self._at = 0

    def take(self, count: int) -> bytes:
        if count < 0 or self._at + count > len(self._raw):
            raise ValueError("the metadata ends early, or is too large to count")
        self._at += count
        return self._raw[self._at - count : self._at]

    def number(self, width: int) -> int:
        return int.from_bytes(self.take(width), "little")

    def string(self) -> bytes:
        return self.take(self.number(8))

    def skip(self, kind: int) -> None:
        if kind == _GGUF_STRING:
            self.string()
        elif kind == _GGUF_ARRAY:
            inner, count = self.number(4), self.number(8)
            if inner == _GGUF_STRING:
                for _ in range(count):
                    self.string()
            else:
                self.take(_GGUF_SIZES[inner] * count if inner in _GGUF_SIZES else -1)
        else:
            self.take(_GGUF_SIZES.get(kind, -1))
