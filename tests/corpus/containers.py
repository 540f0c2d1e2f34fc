"""Containers: archives that hide hostile members, archives as frameworks write them, and damaged ones."""
# ruff: noqa: E501 -- samples stand in one piece

from __future__ import annotations

import base64
import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator

import lz4.frame
import numpy as np
import zstandard

from tests.corpus.pickles import Sample, estimator, evil, state_dict
from tests.corpus.structures import lightgbm
from tests.corpus.wire import gguf, gguf_tensor, message, onnx, onnx_node, safetensors, tensor

WHEN = (2020, 1, 1, 0, 0, 0)


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """Return a zip archive that is the same each time."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for key, raw in members.items():
            info = zipfile.ZipInfo(key, WHEN)
            info.compress_type = method
            archive.writestr(info, raw)
    return out.getvalue()


def tarred(members: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    """Return a tar archive."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for key, raw in members.items():
            info = tarfile.TarInfo(key)
            info.size = len(raw)
            archive.addfile(info, io.BytesIO(raw))
        for key, target in (links or {}).items():
            info = tarfile.TarInfo(key)
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)
    return out.getvalue()


def nested(content: bytes, depth: int) -> bytes:
    """Return archives within one another."""
    for level in range(depth):
        content = zipped({f"{level}.zip" if level else "a.pkl": content})
    return content


def special(kind: bytes) -> bytes:
    """Return a tar archive that holds a device or a pipe."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        info = tarfile.TarInfo("weights")
        info.type = kind
        archive.addfile(info)
    return out.getvalue()


def torch_zip(data: bytes, **extra: bytes) -> bytes:
    """Return a PyTorch archive around a pickle."""
    members = {
        "archive/data.pkl": data,
        "archive/byteorder": b"little",
        "archive/data/0": np.arange(6, dtype=np.float32).tobytes(),
        "archive/version": b"3\n",
    }
    return zipped({**members, **{key.replace("__", "/"): raw for key, raw in extra.items()}})


def npy(body: bytes, descr: str, shape: str) -> bytes:
    """Return an .npy file."""
    header = (
        f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117).encode()
        + b"\n"
    )
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(header)) + header + body


def patched(raw: bytes, signature: bytes, offset: int, value: bytes) -> bytes:
    """Return an archive with bytes of each header of a kind overwritten."""
    out, at = bytearray(raw), raw.find(signature)
    while at >= 0:
        out[at + offset : at + offset + len(value)] = value
        at = raw.find(signature, at + 4)
    return bytes(out)


LOCAL, CENTRAL = b"PK\x03\x04", b"PK\x01\x02"


def zeros(size: int) -> tuple[bytes, bytes]:
    """Return as many zeros deflated, and their check sum.

    One part, compressed once and repeated: to compress all of a bomb takes a second.
    """
    part = 1 << 20
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    packed = packer.compress(bytes(part)) + packer.flush(zlib.Z_FULL_FLUSH)
    return packed * (size // part) + packer.flush(), struct.pack("<I", zlib.crc32(bytes(size)))


def bombs(size: int = 200 << 20) -> Iterator[Sample]:
    """Yield small files that expand to a large one: a member of an archive, and a stream."""
    packed, check = zeros(size)
    expanded = struct.pack("<I", size)
    raw = zipped({"a.bin": packed})
    for header, method, sizes in ((LOCAL, 8, 14), (CENTRAL, 10, 16)):
        raw = patched(raw, header, method, struct.pack("<H", zipfile.ZIP_DEFLATED))
        raw = patched(raw, header, sizes, check)
        raw = patched(raw, header, sizes + 8, expanded)
    yield "zip-bomb.zip", raw
    yield "gz-bomb.bin.gz", gzip.compress(b"", mtime=0)[:10] + packed + check + expanded


COMPRESSORS = {
    "gz": lambda raw: gzip.compress(raw, mtime=0), "bz2": bz2.compress, "xz": lzma.compress,
    "lzma": lambda raw: lzma.compress(raw, lzma.FORMAT_ALONE), "zlib": zlib.compress,
    "zst": zstandard.ZstdCompressor().compress, "lz4": lz4.frame.compress,
}  # fmt: skip


def hidden_in_data() -> Iterator[Sample]:
    """Yield models with a file hidden among their numbers."""
    pickle = evil(2)
    old = b"cposix\nsystem\n(S'id'\ntR."
    for name, payload in {
        "pickle": bytes(16) + pickle,
        "old_pickle": bytes(16) + old,
        "text": base64.b64encode(pickle),
        "program": bytes(16) + b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\x3e\x00" + bytes(40),
    }.items():
        header: dict[str, object] = {"a": tensor(0, len(payload))}
        yield f"data_{name}.safetensors", safetensors(header, payload)
    stored = message((1, len(pickle)), (2, 2), (8, "w"), (9, pickle))
    yield "data_pickle.onnx", onnx(onnx_node("Add"), initializers=[stored])
    yield "data_behind.onnx", onnx(onnx_node("Add")) + pickle
    whole = -(-len(pickle) // 4)
    data = pickle + bytes(whole * 4 - len(pickle))
    yield "data_pickle.gguf", gguf([], [gguf_tensor("t", [whole])], data)


def hostile() -> Iterator[Sample]:
    """Yield containers with a hostile member, or that are hostile themselves."""
    yield from hidden_in_data()
    bad = torch_zip(evil(2))
    yield "torch.pt", bad
    yield "torch0.bin", torch_zip(evil(0))
    for flag in (0x1, 0x20, 0x40, 0x61):
        both = patched(
            patched(bad, LOCAL, 6, struct.pack("<H", flag)), CENTRAL, 8, struct.pack("<H", flag)
        )
        yield f"flags-{flag:x}.pt", both
        yield f"flags-central-{flag:x}.pt", patched(bad, CENTRAL, 8, struct.pack("<H", flag))
    yield "crc.pt", patched(patched(bad, LOCAL, 14, b"\1\2\3\4"), CENTRAL, 16, b"\1\2\3\4")
    yield "name-differs.pt", bad.replace(b"archive/data.pkl", b"archive/data.txt", 1)
    yield "size-differs.pt", patched(bad, LOCAL, 22, b"\1\0\0\0")
    yield "method-differs.pt", patched(bad, LOCAL, 8, b"\x63\0")
    yield (
        "method-unknown.pt",
        zipped({"a/data.pkl": evil(2)}).replace(b"data.pkl", b"data.pkl") + b"",
    )
    for extension in ("txt", "bin", "dat", "json", "PKL", "", "png"):
        for proto in (0, 2, 4):
            yield (
                f"member-{extension}-{proto}.pt",
                torch_zip(state_dict("a"), **{f"archive__extra.{extension}": evil(proto)}),
            )
    yield "method-listed-otherwise.pt", patched(bad, CENTRAL, 10, b"\x08\0")
    yield "size-listed-otherwise.pt", patched(bad, CENTRAL, 20, struct.pack("<II", 5, 5))
    yield "nested-9.zip", nested(evil(2), 9)
    for proto in (2, 4):
        yield f"behind-lightgbm-{proto}.txt", lightgbm() + evil(proto)
    yield "device.nemo", special(tarfile.CHRTYPE)
    yield "pipe.tar", special(tarfile.FIFOTYPE)
    yield "old-joblib.joblib", b"ZF" + hex(99).ljust(19).encode() + zlib.compress(evil(2))
    yield "rar-as-weights.pt", b"Rar!\x1a\x07\x01\0" + bytes(200)
    yield "deflated.pt", zipped({"archive/data.pkl": evil(2)}, zipfile.ZIP_DEFLATED)
    yield "bzip2.zip", zipped({"archive/data.pkl": evil(2)}, zipfile.ZIP_BZIP2)
    yield "lzma.zip", zipped({"archive/data.pkl": evil(2)}, zipfile.ZIP_LZMA)
    clean = torch_zip(state_dict("a"))
    yield "polyglot-pickle-first.pt", evil(2) + clean
    yield "polyglot-pickle-last.pkl", clean + evil(2)
    yield "prepended.pt", b"\x89PNG\r\n" + b"x" * 500 + bad
    yield "concatenated-first.pt", bad + clean
    yield "concatenated-last.pt", clean + bad
    hidden = zipped({"x/data.pkl": evil(2)})
    at = hidden.find(CENTRAL)
    yield "hidden-local.pt", hidden[:at] + clean
    middle = clean.find(CENTRAL)
    yield "hidden-before-directory.pt", clean[:middle] + hidden[:at] + clean[middle:]
    two = io.BytesIO()
    with zipfile.ZipFile(two, "w") as archive:
        for key, raw in (
            ("archive/data.pkl", state_dict("a")),
            ("archive/DATA.PKL", evil(2)),
            ("archive/version", b"3"),
        ):
            archive.writestr(zipfile.ZipInfo(key, WHEN), raw)
    yield "case-collision.pt", two.getvalue()
    yield "duplicate.pt", two.getvalue().replace(b"DATA.PKL", b"data.pkl")
    yield "no-directory.pt", bad[: bad.find(CENTRAL)]
    yield "no-end.pt", bad[: bad.find(b"PK\x05\x06")]
    for suffix, compress in COMPRESSORS.items():
        yield f"compressed.pkl.{suffix}", compress(evil(2))
        yield f"compressed-{suffix}.joblib", compress(evil(4))
        yield f"compressed-zip-{suffix}.bin", compress(bad)
    yield "twice.pkl.gz", gzip.compress(bz2.compress(evil(2)), mtime=0)
    yield "nested.zip", zipped({"a.zip": zipped({"b.zip": bad})})
    yield "tar.pt", tarred({"pickle": evil(2), "storages": b""})
    yield "tar.tar.gz", gzip.compress(tarred({"m/weights.pkl": evil(0)}), mtime=0)
    yield "tar-long.tar", tarred({"a" * 150 + "/x.pkl": evil(2)})
    yield (
        "tar-duplicate.nemo",
        tarred({"model_weights.ckpt": state_dict("a")})[:-8192]
        + tarred({"model_weights.ckpt": evil(2)}),
    )
    yield "tar-after-end.tar", tarred({"a.txt": b"x"}) + tarred({"b.pkl": evil(2)})
    yield "tar-traversal.tar", tarred({"../../etc/cron.d/x": b"* * * * * root id"})
    yield "tar-absolute.tar", tarred({"/etc/passwd": b"x"})
    yield "tar-link.tar", tarred({}, {"weights": "/etc/passwd"})
    yield "tar-link-up.tar", tarred({}, {"weights": "../../../etc/passwd"})
    yield "zip-traversal.zip", zipped({"../../evil.py": b"print()"})
    yield "zip-absolute.zip", zipped({"/tmp/x": b"1"})
    yield "zip-backslash.zip", zipped({"..\\..\\x": b"1"})
    link = zipfile.ZipInfo("weights", WHEN)
    link.external_attr, link.create_system = 0o120777 << 16, 3
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(link, "../../../etc/passwd")
    yield "zip-link.zip", out.getvalue()
    yield from bombs()
    yield "objects.npy", npy(evil(2), "'|O'", "(1,)")
    yield "objects-structured.npy", npy(evil(4), "[('a', '|O')]", "(1,)")
    yield "objects.npz", zipped({"arr_0.npy": npy(evil(2), "'|O'", "(1,)")})
    yield "numeric-with-tail.npy", npy(np.zeros(2).tobytes() + evil(2), "'<f8'", "(2,)")
    yield "objects.txt", npy(evil(2), "'|O'", "()")
    for loop in (
        b"_0 = True\n    while _0:",
        b"while True:",
        b"_0 = 9223372036854775807\n    for i in range(_0):",
    ):
        endless = (
            b"class Net(Module):\n  def forward(self, x):\n    "
            + loop
            + b"\n      y = torch.add(x, 1)\n    return y\n"
        )
        yield (
            f"endless-{len(loop)}.pt",
            torch_zip(
                state_dict("a"),
                **{"archive__code____torch__.py": endless, "archive__constants.pkl": b"\x80\x02)."},
            ),
        )
    code = b"class Net(Module):\n  def forward(self, x):\n    return ops.aten.from_file('/etc/passwd', False, 10)\n"
    for index, line in enumerate(
        (
            code,
            b"import os\nos.system('id')\n",
            b"def f(self):\n  torch.save(self, '/tmp/x')\n",
            b"def f(self, x):\n  y = ops.acme.decode(x)\n  torch.save(y, 'x')\n",
        )
    ):
        yield (
            f"torchscript-{index}.pt",
            torch_zip(
                state_dict("a"),
                archive__constants__pkl=b"",
                **{"archive__code____torch__.py": line, "archive__constants.pkl": b"\x80\x02)."},
            ),
        )
    shared = zipped({"a.pkl": evil(2), "b.pkl": evil(2)})
    second = struct.pack("<I", shared.find(LOCAL, 4))
    yield "overlap.zip", shared.replace(second, struct.pack("<I", 0))
    yield "joblib-object-array.joblib", _joblib_array("O8", evil(2))
    yield (
        "joblib-after-array.joblib",
        _joblib_array("f8", b"\x01a" + bytes(16), tail=b"0cos\nsystem\nX\x02\0\0\0id\x85R."),
    )


def _joblib_array(kind: str, raw: bytes, tail: bytes = b".") -> bytes:
    import pickle  # noqa: PLC0415

    from tests.corpus.assembly import stack_name, text  # noqa: PLC0415

    dtype = stack_name("numpy", "dtype") + text(kind) + b"\x89\x88\x87R"
    fields = (
        text("shape")
        + b"K\x02\x85"
        + text("order")
        + text("C")
        + text("dtype")
        + dtype
        + text("allow_mmap")
        + b"\x88"
    )
    if kind != "O8":
        fields += text("numpy_array_alignment_bytes") + b"K\x10"
    del pickle
    return (
        b"\x80\x04"
        + stack_name("joblib.numpy_pickle", "NumpyArrayWrapper")
        + b")\x81}("
        + fields
        + b"ub"
        + raw
        + tail
    )


def harmless() -> Iterator[Sample]:
    """Yield containers as frameworks write them."""
    loop = (
        b"class Net(Module):\n  def forward(self, x, k: int):\n    _0 = torch.lt(0, k)\n    while _0:\n"
        b"      _0, x = torch.lt(1, k), x\n    _1 = True\n    while _1:\n      _2 = False\n"
        b"      _1, x = _2, x\n    for i in range(3):\n      x = torch.mul(x, 2)\n    return x\n"
    )
    yield (
        "loops.pt",
        torch_zip(
            state_dict("a"),
            **{"archive__code____torch__.py": loop, "archive__constants.pkl": b"\x80\x02)."},
        ),
    )
    good = torch_zip(state_dict("a.weight", "a.bias"))
    yield "torch.pt", good
    yield "pytorch_model.bin", good
    # of a network, whose numbers begin as a map of MessagePack does
    numbers = b"\x85\xa2Y<\xa4\x80\xda;\xeb\x17h<)\xae\t=H\x89i\xbc" * 3
    held = numbers[:24]
    yield "numbers.pt", torch_zip(state_dict("a.weight", "a.bias"), archive__data__1=held)
    yield "numbers.bin", numbers * 9
    yield (
        "deflated.zip",
        zipped({"a.txt": b"hello" * 99, "data.json": b'{"a": 1}'}, zipfile.ZIP_DEFLATED),
    )
    for suffix, compress in COMPRESSORS.items():
        yield f"model.pkl.{suffix}", compress(state_dict("a"))
        yield f"est-{suffix}.joblib", compress(estimator("sklearn.svm._classes", "SVC", C=1.0))
    yield "arrays.npy", npy(np.arange(6.0).tobytes(), "'<f8'", "(2, 3)")
    yield "zeros.npz", zipped({"a.npy": npy(bytes(8000), "'<f8'", "(1000,)")}, zipfile.ZIP_DEFLATED)
    yield "structured.npy", npy(bytes(24), "[('a', '<i4'), ('b', '<f8')]", "(2,)")
    yield "nested-2.zip", nested(state_dict("a"), 2)
    yield "files.tar", tarred({"a.txt": b"hello", "m/w.pkl": state_dict("w")})
    yield "files.tar.gz", gzip.compress(tarred({"a.txt": b"hello"}), mtime=0)
    yield "joblib-array.joblib", _joblib_array("f8", b"\x02\xff\xff" + np.arange(2.0).tobytes())
    yield "random.bin", np.random.RandomState(7).bytes(200_000)
    yield (
        "tensors.dat",
        np.random.RandomState(8).standard_normal(50_000).astype(np.float32).tobytes(),
    )
    yield "notes.txt", b"collections of models\nfor os and system\n(see os.system)\n"
    yield "vocabulary.txt", b"ios\nsystem\n"
    yield "functions.txt", b"cos\nsin\ntan\n"
    yield "columns.csv", b"cos\nsystem\n1,2\n"
    yield "zlib.gz", zlib.compress(estimator("sklearn.svm._classes", "SVC", C=1.0))
    yield "idl.sav", b"SR\0\x04\0\0\0\x0a" + bytes(60)
    yield (
        "raises.pt",
        zipped(
            {
                "m/data.pkl": b"\x80\x02c__torch__\nNet\nq\0)\x81}b.",
                "m/constants.pkl": b"\x80\x02).",
                "m/code/__torch__.py": b"class Net(Module):\n  def forward(self: __torch__.Net,\n"
                b"    x: Tensor) -> Tensor:\n    if bool(x):\n"
                b'      ops.prim.RaiseException("", "builtins.ValueError")\n'
                b"    y = __torch__.torchvision.ops.misc.Conv2d(x, )\n    return y\n",
            }
        ),
    )
    yield "class.txt", b"class Net(Module):\n  __parameters__ = []\n"


def damaged() -> Iterator[Sample]:
    """Yield containers that were cut off or overwritten."""
    good = torch_zip(state_dict("a.weight", "a.bias"))
    for share in (0.2, 0.6, 0.95):
        yield f"cut-{share}.pt", good[: int(len(good) * share)]
    yield "no-magic.pt", b"\0\0\0\0" + good[4:]
    yield "bit-rot.pt", good.replace(b"_rebuild_tensor_v2", b"_rebuild\xfftensor_v2", 1)
    yield "cut.pkl.gz", gzip.compress(state_dict("a") * 50, mtime=0)[:-40]
    yield "cut.joblib", zlib.compress(state_dict("a") * 50)[:-40]
    yield "cut.npy", npy(bytes(8), "'<f8'", "(1000,)")
    yield "header.npy", b"\x93NUMPY\x01\0\xff\xff{'descr'"
    yield "cut.tar", tarred({"a.bin": bytes(99_999)})[:5000]
    yield "zeroed.npy", bytes(512)
    yield "zeroed.keras", bytes(4096)
    yield "zeroed.onnx", bytes(4096)
    whole = tarred({"a.txt": b"hello"})
    yield "checksum.tar", b"A" + whole[1:]
    yield "no-end.tar", whole[:1024]
    yield "cut.xz", lzma.compress(bytes(99_999))[:-30]
    yield "archive.rar", b"Rar!\x1a\x07\x01\0" + bytes(200)
