"""Pickles: hostile in each way a machine of opcodes and a name can be, harmless, and damaged.

Over 500 lines, since a sample is text of its own.
"""
# ruff: noqa: DTZ001 -- samples stand in one piece; dates without a zone are pickled too

from __future__ import annotations

import base64
import collections
import datetime as dt
import decimal
import pickle
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import PurePosixPath

import numpy as np

from tests.corpus.assembly import (
    PROTO2,
    PROTO4,
    arguments,
    call,
    framed,
    name,
    octets,
    stack_name,
    text,
)

Sample = tuple[str, bytes | dict[str, bytes]]
COMMAND = "echo tidewatch"


def evil(proto: int = 2) -> bytes:
    """Return a pickle that calls os.system."""
    if proto < 2:
        return b"cos\nsystem\n(S'" + COMMAND.encode() + b"'\ntR."
    if proto < 4:
        return call("os", "system", COMMAND, proto=bytes([0x80, proto]))
    return bytes([0x80, proto]) + stack_name("os", "system") + text(COMMAND) + b"\x85R."


GADGETS = [
    "os system",
    "posix system",
    "nt system",
    "os popen",
    "os execv",
    "os spawnl",
    "subprocess Popen",
    "subprocess check_output",
    "builtins eval",
    "builtins exec",
    "builtins compile",
    "builtins __import__",
    "builtins getattr",
    "builtins open",
    "__builtin__ eval",
    "commands getoutput",
    "cPickle loads",
    "pickle loads",
    "_pickle loads",
    "marshal loads",
    "types FunctionType",
    "types CodeType",
    "runpy run_path",
    "runpy _run_code",
    "code InteractiveInterpreter",
    "timeit timeit",
    "cProfile run",
    "profile run",
    "trace Trace",
    "doctest debug_script",
    "pdb run",
    "bdb Bdb",
    "importlib import_module",
    "importlib.util spec_from_file_location",
    "pkgutil resolve_name",
    "pydoc locate",
    "pydoc pipepager",
    "operator attrgetter",
    "operator methodcaller",
    "functools partial",
    "functools reduce",
    "itertools starmap",
    "typing get_type_hints",
    "ctypes CDLL",
    "ctypes.util find_library",
    "_posixsubprocess fork_exec",
    "multiprocessing.util spawnv_passfds",
    "asyncio.unix_events _UnixSubprocessTransport",
    "uuid _get_command_stdout",
    "imaplib IMAP4_stream",
    "_osx_support _read_output",
    "_pyrepl.pager pipe_pager",
    "test.support.script_helper assert_python_ok",
    "idlelib.run Executive",
    "idlelib.pyshell ModifiedInterpreter",
    "lib2to3.pgen2.grammar Grammar.loads",
    "lib2to3.pgen2.pgen ParserGenerator",
    "imp load_source",
    "pipes Template",
    "zipimport zipimporter",
    "site main",
    "atexit register",
    "signal signal",
    "distutils.file_util write_file",
    "_io FileIO",
    "io open",
    "logging FileHandler",
    "logging.config listen",
    "urllib.request urlopen",
    "linecache getline",
    "ssl get_server_certificate",
    "webbrowser open",
    "shutil rmtree",
    "shutil copy",
    "tempfile mktemp",
    "socket create_connection",
    "http.client HTTPConnection",
    "ftplib FTP",
    "smtplib SMTP",
    "telnetlib Telnet",
    "xmlrpc.client ServerProxy",
    "sqlite3 connect",
    "shelve open",
    "dbm open",
    "zipfile ZipFile",
    "tarfile open",
    "fileinput input",
    "getpass getpass",
    "pty spawn",
    "platform popen",
    "sysconfig get_config_vars",
    "torch load",
    "torch.hub load",
    "torch.jit load",
    "torch.storage _load_from_bytes",
    "torch.serialization load",
    "torch.utils.cpp_extension load",
    "torch.utils._config_module load_config",
    "torch._dynamo.guards GuardBuilder.get",
    "torch.utils.bottleneck.__main__ run_cprofile",
    "torch.utils.collect_env run",
    "torch.fx.experimental.symbolic_shapes ShapeEnv.evaluate_guards_expression",
    "torch.jit.unsupported_tensor_ops execWrapper",
    "torch.utils.data.datapipes.utils.decoder basichandlers",
    "torch.distributed.rpc.api rpc_sync",
    "torch._inductor.codecache compile_file",
    "torch.ops load_library",
    "numpy load",
    "numpy.f2py.crackfortran getlincoef",
    "numpy.f2py.crackfortran _eval_length",
    "numpy.testing._private.utils runstring",
    "numpy.distutils.exec_command exec_command",
    "numpy fromfile",
    "numpy.ctypeslib load_library",
    "numpy.lib.npyio load",
    "joblib load",
    "joblib.numpy_pickle load",
    "pandas read_pickle",
    "pandas eval",
    "pandas.core.computation.eval eval",
    "pandas read_csv",
    "pandas.io.common get_handle",
    "mlflow.projects run",
    "keras.utils get_file",
    "keras.models load_model",
    "tensorflow.io read_file",
    "sklearn.datasets load_svmlight_file",
    "scipy.io loadmat",
    "transformers.dynamic_module_utils get_class_from_dynamic_module",
    "huggingface_hub hf_hub_download",
    "cloudpickle.cloudpickle loads",
    "cloudpickle.cloudpickle _builtin_type",
    "dill._dill _import_module",
    "dill loads",
    "pip main",
    "pip._internal main",
    "pip._internal.cli.main main",
    "ensurepip bootstrap",
    "ensurepip _run_pip",
    "setuptools setup",
    "pkg_resources load_entry_point",
    "fickling.hook remove_hook",
    "picklescan.scanner scan_pickle_bytes",
    "modelscan.modelscan ModelScan",
    "requests get",
    "IPython.utils.process system",
    "numexpr evaluate",
    "sympy sympify",
    "yaml unsafe_load",
    "jinja2 Template",
    "chameleon PageTemplate",
    "clearml Task.init",
    "interpreters create",
    "llama_cpp Llama",
    "py4j.java_gateway JavaGateway",
    "vllm LLM",
    "paramiko SSHClient",
    "_aix_support _read_cmd_output",
    "turtledemo.__main__ main",
    "sre_compile compile",
    "codecs open",
    "copyreg add_extension",
    "threading Thread",
    "sched scheduler",
    "apscheduler.util ref_to_obj",
    "kombu.utils.imports symbol_by_name",
    "click edit",
]


_LOADERS = {
    "numba.core.serialize _unpickle__CustomPickled": (),
    "numba.core.serialize _numba_unpickle": (1,),
    "spacy.tokens.doc unpickle_doc": (None,),
}
"""Functions of libraries that unpickle bytes, and what they are given before those."""
_UNLIKE = (
    b"(S'id'\nios\nsystem\n.",
    b"I1\n0cos\nsystem\n(S'id'\ntR.",
    b"N0cos\nsystem\n(X\x02\x00\x00\x00idtR.",
    b"K\x010\x8c\x02os\x8c\x06system\x93\x8c\x02id\x85R.",
)
"""Pickles that do not begin as picklers begin them."""


def hostile() -> Iterator[Sample]:
    """Yield pickles that run, load, fetch or exhaust."""
    for proto in range(6):
        yield f"plain-{proto}.pkl", evil(proto)
    for number, body in enumerate(_UNLIKE):
        for loader, before in _LOADERS.items():
            module, attribute = loader.split(" ")
            yield f"unpickles-{attribute}-{number}.pkl", call(module, attribute, *before, body)
    for gadget in GADGETS:
        module, attribute = gadget.split(" ")
        yield f"gadget-{module}.{attribute}.pkl".replace("/", "_"), call(module, attribute, COMMAND)
    for gadget in GADGETS[:24:3]:
        module, attribute = gadget.split(" ")
        yield f"import-{module}.{attribute}.pkl", PROTO4 + stack_name(module, attribute) + b"."
    yield from _machine()
    yield from _names()
    yield from _nested()
    yield from _streams()
    yield from _exhausting()
    yield from _absurd()
    yield from _passing_for_known()
    yield from _elsewhere()
    yield "behind-storages.bin", _legacy() + b"\x01\x02" * 999 + evil(2)
    yield "method-of-class.pkl", call("transformers", "AutoModel.from_pretrained", "a/b")
    yield "maps-private.pkl", call("numpy", "memmap", "/etc/passwd", "uint8", "r+")
    yield "class-that-runs.pkl", call("joblib.parallel", "Parallel", 2)
    yield "no-archive.pkl", call("torch.storage", "_load_from_bytes", b"PK\x03\x04" + bytes(60))
    yield "lists-in-lists.pkl", PROTO4 + b"]" * 20_001 + b"a" * 20_000 + b"."
    yield "huge-number.pkl", PROTO4 + b"\x8b\xff\xff\xff\x7f\x01."


def _number(value: int) -> bytearray:
    raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return bytearray(b"\x8a" + bytes([len(raw)]) + raw)


def _absurd() -> Iterator[Sample]:
    """Yield calls of harmless names that no machine ends."""
    endless = bytearray(name("builtins", "range") + arguments(_number(10**12)) + b"R")
    for made in ("list", "set", "bytes", "sum", "sorted", "max"):
        yield f"endless-{made}.pkl", call("builtins", made, endless)
    yield "endless-counter.pkl", call("collections", "Counter", endless)
    yield "endless-deque.pkl", call("collections", "deque", endless)
    yield "octets.pkl", call("builtins", "bytes", _number(10**12))
    yield "octets-2.pkl", call("__builtin__", "bytearray", _number(2**42), proto=PROTO2)
    made = name("builtins", "bytearray") + arguments(_number(2**42)) + b"\x81."
    yield "octets-newobj.pkl", PROTO4 + made
    yield "power.pkl", call("builtins", "pow", 9, _number(10**11))
    yield "fraction.pkl", call("fractions", "Fraction", "1e999999999")
    yield "product.pkl", call("operator", "mul", "x", _number(10**12))
    yield "repeat.pkl", call("itertools", "repeat", "x", _number(10**12))
    shape = bytearray(arguments(_number(10**12)))
    for module, attribute in (("numpy", "zeros"), ("numpy", "ndarray"), ("torch", "ones")):
        yield f"shape-{module}-{attribute}.pkl", call(module, attribute, shape)
    for module, attribute in (("numpy", "empty"), ("torch", "zeros"), ("torch", "UntypedStorage")):
        yield f"size-{module}-{attribute}.pkl", call(module, attribute, _number(10**12))
    ndarray = bytearray(name("numpy", "ndarray"))
    yield "shape-array.pkl", call("numpy.core.multiarray", "_reconstruct", ndarray, shape, b"b")


def _passing_for_known() -> Iterator[Sample]:
    """Yield imports from modules that are written nearly as those of a library."""
    for module, attribute in (
        ("torch._utiIs", "_rebuild_tensor_v2"),
        ("t0rch._utils", "_rebuild_tensor_v2"),
        ("torch._utlis", "_rebuild_tensor_v2"),
        ("numpy.core.multiarry", "_reconstruct"),
        ("numpy.c\u043ere.multiarray", "_reconstruct"),
        ("skleam.svm._classes", "SVC"),
    ):
        yield (
            f"passing-{module.encode('unicode_escape').decode()}.pkl".replace("\\", "-"),
            (PROTO4 + stack_name(module, attribute) + b")\x81."),
        )


def _elsewhere() -> Iterator[Sample]:
    """Yield arrays of joblib before 0.10, which are in other files."""
    for module in ("joblib.numpy_pickle", "sklearn.externals.joblib.numpy_pickle"):
        for case, path in (("up", "../../x.npy"), ("root", "/tmp/x.npy"), ("share", "\\\\h\\x")):
            yield f"array-{case}-{module[0]}.pkl", _wrapped_array(module, path)


def _wrapped_array(module: str, path: str) -> bytes:
    made = name(module, "NDArrayWrapper") + b")\x81}("
    subclass = name("numpy", "ndarray")
    return PROTO2 + made + text("filename") + text(path) + text("subclass") + subclass + b"ub."


def _legacy(numel: int = 6, protocol: int = 2) -> bytes:
    """Return a checkpoint of PyTorch before 1.6: five streams, then the storages."""
    system = {"protocol_version": 1001, "little_endian": True}
    return (
        b"".join(pickle.dumps(each, protocol) for each in (0x1950A86A20F9469CFC6C, 1001, system))
        + (PROTO2 if protocol == 2 else b"")
        + name("collections", "OrderedDict")
        + b")R("
        + text("w")
        + torch_tensor("0", numel, (numel,))
        + b"u."
        + pickle.dumps(["0"], protocol)
        + struct.pack("<q", numel)
        + np.arange(numel, dtype=np.float32).tobytes()
    )


def _machine() -> Iterator[Sample]:
    system, run = name("os", "system"), arguments(COMMAND)
    yield "inst.pkl", b"(S'" + COMMAND.encode() + b"'\nios\nsystem\n."
    yield "obj.pkl", b"(" + system + text(COMMAND) + b"o."
    yield "newobj.pkl", PROTO4 + name("subprocess", "Popen") + run + b"\x81."
    yield "newobj-ex.pkl", PROTO4 + name("subprocess", "Popen") + run + b"}\x92."
    yield "popped.pkl", PROTO4 + system + run + b"R0N."
    yield "pop-mark.pkl", PROTO4 + b"(" + system + run + b"R1N."
    yield (
        "memo-order.pkl",
        PROTO2
        + b"X\x02\0\0\0osq\x09X\x06\0\0\0systemq\x03000"[:-1]
        + b"h\x09h\x03\x93"
        + run
        + b"R.",
    )
    yield (
        "memo-after-pop.pkl",
        PROTO4
        + text("os")
        + text("x")
        + b"0\x94"
        + text("system")
        + b"\x94h\x00h\x01\x93"
        + run
        + b"R.",
    )
    yield (
        "memo-after-dup.pkl",
        PROTO4 + text("os") + b"2q\x05" + text("system") + b"q\x06h\x05h\x06\x93" + run + b"R.",
    )
    yield (
        "long-memo.pkl",
        PROTO4
        + text("os")
        + b"r\x10\x27\0\0"
        + text("system")
        + b"\x93"
        + run
        + b"Rj\x10\x27\0\x000.",
    )
    yield "string-operands.pkl", b"S'os'\nS'system'\n\x93" + run + b"R."
    yield "binstring-operands.pkl", b"U\x02osT\x06\0\0\0system\x93" + run + b"R."
    yield "unicode-operands.pkl", b"Vos\nVsystem\n\x93" + run + b"R."
    yield "escaped-operands.pkl", b"S'\\x6f\\x73'\nV\\u0073ystem\n\x93" + run + b"R."
    yield "missing-memo.pkl", PROTO4 + b"h\x630" + system + run + b"R."
    yield "missing-memo-later.pkl", PROTO4 + system + run + b"R0h\x63."
    yield (
        "bytes-operand.pkl",
        PROTO4 + system + run + b"R0" + octets(b"os") + text("system") + b"\x93.",
    )
    for code in (b"\x82\x01", b"\x83\x01\x02", b"\x84\x01\x02\x03\x04"):
        yield f"extension-{code[0]:x}.pkl", PROTO2 + code + run + b"R."
    yield (
        "add-extension.pkl",
        PROTO2
        + name("copyreg", "add_extension")
        + arguments("os", "system", 240)
        + b"R0\x82\xf0"
        + run
        + b"R.",
    )
    yield (
        "build-used.pkl",
        PROTO4
        + name("imp", "load_source")
        + arguments("x", "/tmp/x.py")
        + b"R}"
        + text("a")
        + b"K\x01sb.",
    )
    yield (
        "build-on-class.pkl",
        PROTO4
        + name("collections", "OrderedDict")
        + b"N}"
        + text("update")
        + name("builtins", "len")
        + b"s\x86b.",
    )
    yield (
        "frame-straddle.pkl",
        PROTO4 + b"\x95\x04\0\0\0\0\0\0\0" + b"NNX\x40" + b"\0\0\0" + b"a" * 64 + b".",
    )
    yield (
        "nested-frame.pkl",
        PROTO4 + b"\x95\x20\0\0\0\0\0\0\0\x95\x04\0\0\0\0\0\0\0NNNN" + b"0" * 4 + b"N" * 20 + b".",
    )
    yield "base0-int.pkl", b"I0x10\n0" + system + run + b"R."
    yield "base0-long.pkl", b"L0x10L\n0" + system + run + b"R."
    yield "nul-int.pkl", b"I1\0junk\n0" + system + run + b"R."
    yield "octal-int.pkl", b"I010\n0" + system + run + b"R."
    yield "latin1-string.pkl", b"S'\xff\xfe'\n0" + system + run + b"R."
    yield "float.pkl", b"F1.5\n0" + system + run + b"R."
    yield "bytearray8.pkl", b"\x80\x05\x96\x01\0\0\0\0\0\0\0a0" + system + run + b"R."
    yield "next-buffer.pkl", b"\x80\x05\x97\x980" + system + run + b"R."
    yield "persid.pkl", b"Pabc\n0" + system + run + b"R."
    yield "binpersid.pkl", PROTO2 + text("x") + b"Q0" + system + run + b"R."
    yield (
        "append-on-deque.pkl",
        PROTO2 + name("collections", "deque") + b")R(K\x01e0" + system + run + b"R.",
    )
    yield (
        "set-and-frozenset.pkl",
        PROTO4 + b"\x8f(K\x01\x90(K\x02\x910" + b"0" + system + run + b"R.",
    )
    yield "broken-after.pkl", PROTO4 + system + run + b"R\xff\xff\xff"
    yield "truncated-after.pkl", PROTO4 + system + run + b"R"
    yield "bad-utf8-after.pkl", PROTO4 + system + run + b"R\x8c\x02\xff\xff"
    yield "underflow-after.pkl", PROTO4 + system + run + b"R000000."
    yield "unknown-then-broken.pkl", PROTO4 + name("acme.models", "Net") + b")R\xff"
    yield "many-opcodes.pkl", PROTO4 + b"N0" * 300_000 + system + run + b"R."
    yield (
        "computed-name.pkl",
        PROTO4
        + name("_codecs", "decode")
        + arguments(b"bf", "rot13")
        + b"R"
        + text("system")
        + b"\x93"
        + run
        + b"R.",
    )
    yield (
        "computed-by-encode.pkl",
        PROTO4
        + name("_codecs", "encode")
        + arguments("bf", "rot13")
        + b"R"
        + text("system")
        + b"\x93"
        + run
        + b"R.",
    )
    yield "called-result.pkl", PROTO4 + name("collections", "OrderedDict") + b")R" + run + b"R."
    yield "second-proto.pkl", b"\x80\x02\x80\x04" + system + run + b"R."
    yield (
        "rebuild-from-type.pkl",
        PROTO2
        + name("torch._tensor", "_rebuild_from_type_v2")
        + b"("
        + name("builtins", "getattr")
        + name("torch", "Tensor")
        + arguments("os", "system")
        + b"NtR.",
    )
    yield "ufunc-reconstruct.pkl", call("numpy.core", "_ufunc_reconstruct", "os", "system")
    yield (
        "enum-getattr.pkl",
        PROTO4
        + name("builtins", "getattr")
        + b"("
        + name("torch", "Tensor")
        + text("__class__")
        + b"tR.",
    )
    yield (
        "make-class.pkl",
        PROTO4
        + name("builtins", "type")
        + arguments("X", ())
        + b"R."[:0]
        + b"0"
        + name("builtins", "type")
        + b"("
        + text("X")
        + b")}tR.",
    )


def _names() -> Iterator[Sample]:
    for module, attribute in (
        ("pathlib", "os.system"),
        ("torch", "os.system"),
        ("torch.serialization", "os.system"),
        ("numpy", "f2py.os.system"),
        ("sklearn.utils", "os.popen"),
        ("collections", "OrderedDict.__init__.__globals__"),
        ("acme", "os.system"),
        ("acme.tools", "sys.modules"),
        ("joblib.numpy_pickle", "pickle.loads"),
        ("torch.utils.data", "sys"),
        ("six.moves", "urllib.request.urlopen"),
        ("numpy.core.multiarray", "os"),
    ):
        yield (
            f"dotted-{module}.{attribute}.pkl",
            PROTO4 + stack_name(module, attribute) + arguments(COMMAND) + b"R.",
        )
    for module, attribute in (
        ("__builtin__", "apply"),
        ("urllib2", "urlopen"),
        ("popen2", "popen3"),
        ("UserDict", "x"),
        ("os", "getcwdu"),
        ("copy_reg", "add_extension"),
        ("itertools", "imap"),
    ):
        yield f"renamed-{module}.{attribute}.pkl", call(module, attribute, COMMAND, proto=PROTO2)
    for module, attribute, argument in (
        ("acme.runtime", "execute", "import os; os.system('id')"),
        ("acme.files", "fetch_model", "https://models.example/x"),
        ("mytools", "run_shell", "ls -la"),
        ("acme.net", "helper", "/bin/sh -c id"),
        ("acme.core", "do", "__import__('os').system('id')"),
        ("loaders", "load_plugin", "plugin.so"),
        ("acme.io", "read", "/etc/passwd"),
    ):
        yield f"unknown-{module}.{attribute}.pkl", call(module, attribute, argument)


def _nested() -> Iterator[Sample]:
    for index, inner in enumerate((evil(0), evil(2), evil(4), zlib.compress(evil(2)))):
        yield f"nested-bytes-{index}.pkl", framed(octets(inner) + b".")
        yield f"nested-base64-{index}.pkl", PROTO4 + text(base64.b64encode(inner).decode()) + b"."
        yield f"nested-loader-{index}.pkl", call("torch.storage", "_load_from_bytes", inner)
        yield f"nested-hex-{index}.pkl", PROTO4 + text(inner.hex()) + b"."
    yield (
        "nested-latin1.pkl",
        PROTO2
        + name("_codecs", "encode")
        + b"(X"
        + struct.pack("<I", len(evil(2).decode("latin-1").encode()))
        + evil(2).decode("latin-1").encode()
        + text("latin1")
        + b"tR.",
    )
    yield "nested-twice.pkl", pickle.dumps(pickle.dumps(evil(4)))
    yield "nested-in-dict.pkl", pickle.dumps({"weights": [1.0, 2.0], "blob": evil(2)})
    yield (
        "basichandlers.pkl",
        PROTO2
        + name("torch.utils.data.datapipes.utils.decoder", "basichandlers")
        + arguments("pkl", evil(2))
        + b"R.",
    )


def _streams() -> Iterator[Sample]:
    good = pickle.dumps({"a": 1}, 4)
    yield "second-stream.pkl", good + evil(2)
    yield "after-nul.pkl", good + b"\0" * 5000 + evil(4)
    yield "after-junk.pkl", good + b"junk-%&/" * 40 + evil(0)
    yield "after-text.pkl", good + b"\n\n\n" + evil(0)
    yield "tenth-stream.pkl", good * 9 + evil(3)
    yield "after-broken.pkl", b"\x80\x04\xff\xff\xff" + evil(2)
    magic = pickle.dumps(0x1950A86A20F9469CFC6C, 2)
    head = (
        magic
        + pickle.dumps(1001, 2)
        + pickle.dumps(
            {
                "protocol_version": 1001,
                "little_endian": True,
                "type_sizes": {"short": 2, "int": 4, "long": 4},
            },
            2,
        )
    )
    yield "legacy-fourth.pt", head + evil(2) + pickle.dumps([], 2)
    yield "legacy-fifth.pt", head + pickle.dumps({}, 2) + evil(2)
    yield (
        "legacy-magic.pt",
        PROTO2
        + name("os", "system")
        + arguments(COMMAND)
        + b"R0\x8a\x0al\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
        + head[len(magic) :],
    )
    streams = (0x1950A86A20F9469CFC6C, 1001, {})
    yield "legacy-fourth-1.pt", b"".join(pickle.dumps(stream, 1) for stream in streams) + evil(0)
    yield "legacy-tail.pt", head + pickle.dumps({}, 2) + pickle.dumps([], 2) + b"\0" * 999 + evil(2)
    for wrong in (
        "model.txt",
        "README",
        "config.json",
        "weights.safetensors",
        "model.onnx",
        "image.PNG",
        "MODEL.BIN",
        "noext",
        "data.npy",
        "a.h5",
    ):
        yield f"ext-{wrong}", evil(2)
    yield "ext0-notes.md", evil(0)
    yield "ext0-pytorch_model.bin", evil(0)
    yield "UPPER.PKL", evil(1)


def _exhausting() -> Iterator[Sample]:
    yield "memo-2-31.pkl", PROTO2 + b"Nr\xff\xff\xff\x7f."
    yield "put-huge.pkl", b"Np2000000000\n."
    yield "binbytes8-2-40.pkl", PROTO4 + b"\x8e" + struct.pack("<Q", 1 << 40) + b"a."
    yield "frame-2-60.pkl", PROTO4 + b"\x95" + struct.pack("<Q", 1 << 60) + b"N."
    laughs = b"]" + b"".join(
        b"\x94(" + b"h" + bytes([i]) + b"h" + bytes([i]) + b"t" for i in range(40)
    )
    yield "laughs-tuple.pkl", PROTO4 + laughs + b"."
    yield (
        "laughs-list.pkl",
        PROTO4
        + b"]"
        + b"".join(
            b"\x94](h" + bytes([2 * i]) + b"h" + bytes([2 * i]) + b"e\x94" for i in range(40)
        )
        + b".",
    )
    yield "nesting.pkl", PROTO4 + b"(" * 100_000 + b"N" + b"t" * 100_000 + b"."
    yield "nesting-tuple1.pkl", PROTO4 + b")" + b"\x85" * 200_000 + b"."


def _frameworks() -> Iterator[Sample]:
    ordered: dict[str, object] = {
        "layer.weight": np.ones((3, 4), dtype=np.float32),
        "layer.bias": np.zeros(3),
    }
    shapes: dict[str, object] = {
        "dict": {"a": [1, 2.5, "x", None, True], "b": (1, 2), "c": {1, 2}, "d": b"bytes"},
        "ordered": collections.OrderedDict(ordered),
        "counter": collections.Counter("abracadabra"),
        "default": collections.defaultdict(list, a=[1]),
        "deque": collections.deque([1, 2, 3]),
        "dates": [
            dt.datetime(2026, 1, 2, 3, 4),
            dt.date(2026, 1, 1),
            dt.timedelta(1),
            dt.UTC,
        ],
        "numbers": [decimal.Decimal("1.5"), 1 << 200, -5, 1j, 1e300, float("inf")],
        "path": PurePosixPath("model/weights"),
        "pattern": re.compile("[a-z]+"),
        "array": np.arange(100.0),
        "scalar": [np.float32(1), np.int64(2), np.bool_(True)],
        "strings": np.array(["a", "bb"]),
        "objects": np.array([{"a": 1}, None, "x"], dtype=object),
        "structured": np.zeros(3, dtype=[("a", "i4"), ("b", "f8")]),
        "masked": np.ma.array([1, 2], mask=[0, 1]),
        "rng": [np.random.RandomState(1), np.random.default_rng(1)],
        "vocabulary": {f"token{i}": i for i in range(20_000)},
        "words": ["system", "eval", "os", "subprocess", "import os", "cat", "dog"] * 300,
        "classes": [int, dict, len, type(None), slice(1, 2), range(3)],
        "bytes": {"blob": bytes(range(256)) * 20, "array": bytearray(b"abc")},
        "shared": [[1, 2, 3]] * 500,
    }
    for key, value in shapes.items():
        for proto in (0, 2, 4, 5):
            yield f"{key}-{proto}.pkl", pickle.dumps(value, proto)


def torch_tensor(key: str, numel: int, shape: tuple[int, ...], kind: str = "FloatStorage") -> bytes:
    """Return the opcodes of one tensor as torch.save writes it."""
    storage = (
        b"("
        + text("storage")
        + name("torch", kind)
        + text(key)
        + text("cpu")
        + b"K"
        + bytes([numel])
        + b"tQ"
    )
    sides = b"(" + b"".join(b"K" + bytes([side]) for side in shape) + b"t"
    strides = b"(" + b"K\x01" * len(shape) + b"t"
    return (
        name("torch._utils", "_rebuild_tensor_v2")
        + b"("
        + storage
        + b"K\0"
        + sides
        + strides
        + b"\x89"
        + name("collections", "OrderedDict")
        + b")RtR"
    )


def state_dict(*keys: str) -> bytes:
    """Return the pickle of a state dict of small tensors."""
    items = b"".join(text(key) + torch_tensor(str(i), 6, (2, 3)) for i, key in enumerate(keys))
    return PROTO2 + name("collections", "OrderedDict") + b")R(" + items + b"u."


def estimator(module: str, cls: str, **state: object) -> bytes:
    """Return an object as copyreg writes it: NEWOBJ and BUILD."""
    body = b"".join(text(key) + pickle.dumps(value, 2)[2:-1] for key, value in state.items())
    return PROTO4 + stack_name(module, cls) + b")\x81}(" + body + b"ub."


def _arrow_strings() -> bytes:
    """Return a column of text as pandas 3 writes it: an array of Arrow, made of buffers."""
    arrow = "pyarrow.lib"

    def made(attribute: str, *values: object) -> bytearray:
        return bytearray(name(arrow, attribute) + arguments(*values) + b"R")

    buffers = (None, made("py_buffer", bytes(8)), made("py_buffer", b"text/eval"))
    array = (made("type_for_alias", "large_string"), 1, 0, 0, buffers, (), None)
    chunked = made("chunked_array", (made("_restore_array", array),), array[0])
    column = name("pandas.arrays", "ArrowStringArray") + b")\x81}("
    return PROTO4 + column + text("_pa_array") + bytes(chunked) + b"ub."


def harmless() -> Iterator[Sample]:
    """Yield what frameworks write."""
    yield from _frameworks()
    yield "state_dict.pkl", state_dict("a.weight", "a.bias")
    yield "legacy.pt", _legacy()
    yield "legacy.dat", _legacy()
    yield "legacy-1.pt", _legacy(protocol=1)
    yield "legacy-128.pt", _legacy(128)
    yield "shapes.pkl", pickle.dumps([((n,),) for n in range(11_000)], 4)
    yield "strings-of-pandas-3.pkl", _arrow_strings()
    yield "array-beside.pkl", _wrapped_array("joblib.numpy_pickle", "model.pkl_01.npy")
    yield "range.pkl", call("builtins", "range", 0, _number(10**12))
    yield "set-of-range.pkl", pickle.dumps([set(range(99)), bytearray(99), range(99)], 2)
    yield "offset.pkl", call("pandas._libs.tslibs.offsets", "BusinessMonthEnd", 1, False)
    yield "error.pkl", call("builtins", "ValueError", "no such class")
    yield (
        "zone.pkl",
        PROTO4
        + stack_name("builtins", "getattr")
        + stack_name("zoneinfo", "ZoneInfo")
        + text("_unpickle")
        + b"\x86R"
        + text("UTC")
        + b"K\x01\x86R.",
    )
    for module, cls in (
        ("sklearn.linear_model._logistic", "LogisticRegression"),
        ("sklearn.preprocessing._data", "StandardScaler"),
        ("sklearn.cluster._kmeans", "KMeans"),
        ("sklearn.svm._classes", "SVC"),
        ("sklearn.ensemble._forest", "RandomForestClassifier"),
        ("sklearn.pipeline", "Pipeline"),
        ("sklearn.decomposition._pca", "PCA"),
        ("sklearn.feature_extraction.text", "TfidfVectorizer"),
        ("xgboost.sklearn", "XGBClassifier"),
        ("lightgbm.sklearn", "LGBMRegressor"),
        ("transformers.training_args", "TrainingArguments"),
        ("torch.nn.modules.linear", "Linear"),
        ("torch.nn.modules.container", "Sequential"),
        ("torch.optim.adamw", "AdamW"),
        ("argparse", "Namespace"),
        ("pandas.core.frame", "DataFrame"),
    ):
        yield f"object-{cls}.pkl", estimator(module, cls, alpha=1.0, name="x", coef=np.ones(3))
    yield (
        "enum311.pkl",
        PROTO4
        + stack_name("builtins", "getattr")
        + stack_name("transformers.trainer_utils", "IntervalStrategy")
        + text("STEPS")
        + b"\x86R.",
    )
    yield "two-streams.pkl", pickle.dumps([1]) + pickle.dumps({"b": 2})
    yield "nested-harmless.pkl", pickle.dumps({"inner": pickle.dumps({"a": np.ones(3)})})
    yield "py2.pkl", b"ccopy_reg\n_reconstructor\n(c__builtin__\nset\nc__builtin__\nobject\nNtR."


def damaged() -> Iterator[Sample]:
    """Yield pickles that were cut off or overwritten."""
    whole = pickle.dumps({"a": np.arange(1000.0), "b": list(range(1000))}, 4)
    for share in (0.1, 0.5, 0.9, 0.999):
        yield f"cut-{share}.pkl", whole[: int(len(whole) * share)]
    legacy = _legacy()
    for length in (len(legacy) - 1, len(legacy) - 40, legacy.find(b"rebuild"), 60):
        yield f"legacy-cut-{length}.pt", legacy[:length]
    yield "empty.pkl", b""
    yield "zeros.pkl", b"\0" * 4096
    yield "overwritten.pkl", whole[:60] + b"\xff" * 40 + whole[100:]
    yield "one-byte.pkl", b"\x80"
    yield "html.pt", b"<!DOCTYPE html><html><body>404</body></html>"
    yield "half-state.pt", state_dict("a", "b", "c")[:150]
    yield "text.joblib", b"version https://git-lfs.example/spec/v1\noid sha256:00\nsize 1\n"
