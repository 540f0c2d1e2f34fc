"""Reads TensorFlow graphs off the wire: SavedModel, MetaGraph, frozen GraphDef, event of ops."""
# ruff: noqa: PLR2004 -- sizes and offsets are given where the format is read

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from agents.checks.artifacts.formats.format import Format, Suffix, Trait, endings
from agents.checks.artifacts.formats.plain_text import is_binary
from agents.checks.artifacts.formats.tensorflow_paths import READ_FILE, reads_only_given
from agents.checks.artifacts.readers.embedded import descend_decoded, report_text
from agents.checks.artifacts.readers.paths import escapes
from agents.checks.artifacts.readers.protobuf import (
    LENGTH,
    VARINT,
    ProtobufMessage,
    Schema,
    looks_like,
    walk,
)
from agents.checks.artifacts.readers.window import Window, decode_text, read_document
from agents.checks.artifacts.scanning import BytesSource, CorruptFileError, Scan, Source
from agents.domain.late_pattern import late_pattern
from schemas.severity import Severity

Kind = Literal[
    "Graph", "Library", "Function", "Signature", "Gradient", "Node", "AttrEntry", "Attr",
    "List", "Func", "Tensor", "SavedModel", "MetaGraph", "MetaInfo", "OpList",
    "CollectionEntry", "Collection", "BytesList", "Asset", "Objects", "Object", "UserObject",
    "AssetObject", "KerasMetadata", "KerasObject",
]  # fmt: skip
"""The messages that the schema names."""
SCHEMA: Final[Schema[Kind]] = {
    "Graph": {1: "Node", 2: "Library", 4: "range"},
    "Library": {1: "Function", 2: "Gradient"},
    "Function": {1: "Signature", 3: "Node", 5: "AttrEntry"},
    "Signature": {1: "text"},
    "Gradient": {1: "text", 2: "text"},
    "Node": {1: "text", 2: "text", 3: "text", 4: "text", 5: "AttrEntry"},
    "AttrEntry": {1: "text", 2: "Attr"},
    "Attr": {1: "List", 2: "range", 8: "Tensor", 10: "Func"},
    "List": {2: "range", 8: "Tensor", 9: "Func"},
    "Func": {1: "text", 2: "AttrEntry"},
    "Tensor": {1: "int", 4: "range", 8: "range"},
    "SavedModel": {1: "int", 2: "MetaGraph"},
    "MetaGraph": {1: "MetaInfo", 2: "Graph", 4: "CollectionEntry", 6: "Asset", 7: "Objects"},
    "MetaInfo": {1: "text", 2: "OpList", 4: "text", 5: "text"},
    "OpList": {1: "Signature"},
    "CollectionEntry": {1: "text", 2: "Collection"},
    "Collection": {2: "BytesList"},
    "BytesList": {1: "range"},
    "Asset": {2: "text"},
    "Objects": {1: "Object"},
    "Object": {4: "UserObject", 5: "AssetObject"},
    "UserObject": {1: "text", 3: "text"},
    "AssetObject": {1: "int"},
    "KerasMetadata": {1: "KerasObject"},
    "KerasObject": {4: "text", 5: "text"},
}
"""saved_model.proto, meta_graph.proto, graph.proto, function.proto, attr_value.proto."""
TOPS: Final[Mapping[Kind, Mapping[int, int]]] = {
    "SavedModel": {1: VARINT, 2: LENGTH},
    "MetaGraph": {1: LENGTH, 2: LENGTH, 3: LENGTH, 4: LENGTH, 5: LENGTH, 6: LENGTH, 7: LENGTH},
    "Graph": {1: LENGTH, 2: LENGTH, 3: VARINT, 4: LENGTH, 5: LENGTH},
}
_ROOTS: Final[tuple[Kind, ...]] = ("SavedModel", "Graph", "MetaGraph")
EXECUTES: Final = frozenset(
    [
        "PyFunc",
        "PyFuncStateless",
        "EagerPyFunc",
        "NumpyFunction",
        "_PyFunc",
        "ReadFile",
        "WriteFile",
        "MatchingFiles",
        "WholeFileReader",
        "WholeFileReaderV2",
        "LoadLibrary",
        "Unpickle",
        "RemoteCall",
        "ExecuteOp",
        "ShellExecute",
        "SystemCall",
        "ImmutableConst",
        "LoadDataset",
        "SaveDataset",
        "SaveDatasetV2",
        "SnapshotDataset",
        "SnapshotDatasetV2",
        "GeneratorDataset",
        "OpaquePyFunc",
        "DebugIdentity",
        "DebugIdentityV2",
        "DebugIdentityV3",
        "DebugNanCount",
        "DebugNumericSummary",
        "RegisterDataset",
        "DatasetToTFRecord",
        "ExperimentalDatasetToTFRecord",
        "DataServiceDataset",
        "DataServiceDatasetV2",
        "DataServiceDatasetV3",
        "DataServiceDatasetV4",
        "CompressElement",
        "TensorArrayRead_Exec",
    ]
) - {"TensorArrayRead_Exec", "CompressElement"}
"""Operators that run Python, or read and write files that the graph names."""
READERS: Final = frozenset(
    [
        "TextLineDataset",
        "TFRecordDataset",
        "FixedLengthRecordDataset",
        "TextLineReader",
        "TFRecordReader",
        "FixedLengthRecordReader",
        "LMDBReader",
        "LMDBDataset",
        "SqlDataset",
        "IdentityReader",
        "CSVDataset",
        "FixedLengthRecordDatasetV2",
        "TFRecordDatasetV2",
        "DirectedInterleaveDataset",
        "ExperimentalLMDBDataset",
        "PrintV2",
        "WriteSummary",
        "WriteScalarSummary",
        "CreateSummaryFileWriter",
        "WriteGraphSummary",
        "WriteAudioSummary",
        "WriteImageSummary",
        "WriteHistogramSummary",
        "WriteRawProtoSummary",
        "SendTPUEmbedding",
        "CreateSummaryDbWriter",
        "ImportEvent",
        "DecodeProtoV2",
        "EncodeProto",
        "RpcCall",
        "Rpc",
        "TryRpc",
        "RpcClient",
        "RpcServer",
        "RpcServerStart",
        "MapAndBatchDataset",
        "BigQueryReader",
        "CloudBigtable",
    ]
) - {"DirectedInterleaveDataset", "MapAndBatchDataset", "DecodeProtoV2", "EncodeProto"}
"""Operators that read from or write to files and services; input pipelines have them."""
_VERSION: Final = late_pattern(r"V\d+\Z")
"""The suffix of later versions of an operator."""
SUSPECT: Final = late_pattern(
    r"(?i)(py_?func|exec|shell|system|popen|eval|pickle|command|payload|backdoor|readfile|writefile"
    r"|custom_?op|load_?library)"
)
_NOT_SUSPECT: Final = late_pattern(
    r"(?i)(executor|execution|systemtime|XlaCompile|evaluate|interval|retrieval|Eval(uation)?Metric)"
)
MAX_STRING: Final = 16 << 20
"""Bytes of a text; the largest that models hold are vocabularies."""
PRIVATE: Final = late_pattern(r"(/etc/(passwd|shadow|cron)|\.ssh/|\.bashrc|/proc/self|\.aws/)")
_PATH: Final = late_pattern(
    r"(?:/|~/|[A-Za-z]:\\|\.\./|(?:file|https?|ftp|hdfs|gs|s3)://)[^\s\0]+\Z"
)
"""A file outside the model's folder."""
MAX_PATHS: Final = 100
"""Paths counted in one graph; one of them is shown."""
SHORT: Final = 8
"""Bytes of a text too short to name anything outside."""
_FIELD: Final = late_pattern(r"(?m)^\s*\w+\s*[:{<\[]")
_OPERATOR: Final = late_pattern(r"""\bop\s*:\s*["']([\w>]{1,200})["']""")
_UPWARDS: Final = late_pattern(
    r"""["'](?:\$\$TRITON_MODEL_DIRECTORY/\.\./(?=\.\.))?((?:[\w.-]+/){0,8}\.\.[/\\][^"'\n]{1,500})["']"""
)
"""A path that leads up, such as that of the environment of Triton's Python backend, which models
may share beside their folders.
"""
STRING_TENSOR: Final = 7


def matches(name: str, head: bytes, source: Source) -> bool:
    """Return whether a file holds a TensorFlow graph, by its first fields and its name."""
    return bool(_root(name, head)) and source.size > 0


def _root(name: str, head: bytes) -> Kind | None:
    base = name.lower().rsplit("/", 1)[-1].rsplit("!", 1)[-1]
    if base.endswith(".meta") and looks_like(head, TOPS["MetaGraph"]):
        return "MetaGraph"  # without its description it begins as the others do
    if base.endswith(_NAMED) or base == "saved_model.pb":
        if base == "keras_metadata.pb":
            return "KerasMetadata"
        if base == "fingerprint.pb":
            return None
        if head[:1] == b"\x08" and len(head) > 2 and 3 <= head[1] <= 20:
            return None  # ONNX: a SavedModel's schema is 1
        for root in _ROOTS:
            if looks_like(head, TOPS[root]):
                if root == "Graph" and not _is_graph(head):
                    continue
                return root
        return "SavedModel"
    if head[:1] == b"\x08" and len(head) > 6 and head[1] <= 2 and head[2] == 0x12:
        return "SavedModel" if b"serve" in head or b"\n" in head[3:16] else None
    return "Graph" if _is_graph(head) and looks_like(head, TOPS["Graph"], 2) else None


def _is_graph(head: bytes) -> bool:
    """Return whether the first field is a node: a name, then an operator."""
    if head[:1] == b"\x12":
        return True
    offset = 1
    while offset < min(len(head), 11) and head[offset] >= 0x80:
        offset += 1
    offset += 1
    if head[:1] != b"\n" or head[offset : offset + 1] != b"\n":
        return False
    offset += 2 + (head[offset + 1] if offset + 1 < len(head) else 0)
    return head[offset : offset + 1] == b"\x12"


def parse(scan: Scan, name: str, source: Source) -> None:
    """Report the operators of a graph and its function library that leave the graph.

    Raises:
        CorruptFileError: not such a protobuf.

    Source: TensorFlow's SECURITY.md ("models are programs"); op lists of `tensorflow/core/ops`.
    """
    window = Window(source)
    root = _root(name, source.read(0, 4096)) or "SavedModel"
    operators: dict[str, str] = {}
    reader = ""
    defined: set[str] = set()
    used: dict[str, str] = {}
    nodes = 0
    outside: list[str] = []
    for message in walk(scan, window, SCHEMA, root):
        if message.kind == "Node":
            nodes += 1
            for operator in message.texts(2):
                if operator == READ_FILE:  # which files it reads is known at the end
                    reader = reader or message.text(1) or READ_FILE
                else:
                    _judge_operator(scan, operator, message.text(1), operators)
        elif message.kind == "Signature":
            defined.update(message.texts(1))
        elif message.kind == "Func":
            used.setdefault(message.text(1), "")
        elif message.kind in ("Attr", "List", "Tensor", "BytesList"):
            _judge_strings(scan, window, message, outside)
        elif message.kind == "Asset":
            if escapes(message.text(2)):
                scan.report(
                    "TW-MODEL-PATH-ESCAPES",
                    f"an asset is at {message.text(2)[:120]!r}",
                    key="asset_file_def",
                    name=message.text(2)[:200],
                )
        elif message.kind in ("UserObject", "KerasObject"):
            text = message.text(3) or message.text(5)
            if '"class_name"' in text:
                scan.descend("object_graph.metadata.json", BytesSource(text.encode()))
    if reader:
        _judge_reader(scan, window, root, reader)
    if outside and READERS.intersection(_VERSION.sub("", name) for name in operators):
        scan.report(
            "TW-MODEL-TF-PATH",
            f"the graph reads files, and names {outside[0][:80]!r}",
            key="attr",
            name=outside[0][:80],
        )
    if not nodes and root != "KerasMetadata":
        if root == "Graph":
            raise CorruptFileError("no node in the graph")
        scan.report("TW-MODEL-TF-EMPTY", "no node of a graph could be read", key="graph_def")


def _judge_reader(scan: Scan, window: Window, root: Kind, node: str) -> None:
    """Report that a graph reads whole files, which its caller or the graph itself names."""
    if reads_only_given(scan, window, SCHEMA, root):
        scan.report(
            "TW-MODEL-TF-READS",
            f"the graph reads files that its caller names, by ReadFile as {node[:120]!r}",
            severity=Severity.LOW,
            key=READ_FILE,
            name=node[:200],
        )
    else:
        _judge_operator(scan, READ_FILE, node, {})


def matches_text(name: str, head: bytes, source: Source) -> bool:
    """Return whether a file is a TensorFlow graph written as text."""
    return source.size > 0 and name.lower().endswith(_TEXT_NAMED) and b"\0" not in head


def parse_text(scan: Scan, name: str, source: Source) -> None:
    """Report the operators of a graph in text form that leave the graph.

    Raises:
        CorruptFileError: no message of protocol buffers.
    """
    del name
    raw = read_document(scan, source)
    text = decode_text(raw)
    if is_binary(raw[:4096]) or (text.strip() and not _FIELD.search(text)):
        raise CorruptFileError("no message in text form")
    operators: dict[str, str] = {}
    for match in _OPERATOR.finditer(text):
        scan.budget.step(1)
        _judge_operator(scan, match.group(1), "a node", operators)
    for path in sorted(set(_UPWARDS.findall(text))):
        scan.report(
            "TW-MODEL-PATH-ESCAPES",
            f"the configuration names {path[:120]!r}",
            key="text",
            name=path[:200],
        )


def _judge_operator(scan: Scan, operator: str, node: str, seen: dict[str, str]) -> None:
    if operator in seen:
        return
    seen[operator] = node
    known = _VERSION.sub("", operator)
    if operator in EXECUTES or known in EXECUTES:
        rule = "TW-MODEL-TF-EXECUTES"
    elif operator in READERS or known in READERS:
        rule = "TW-MODEL-TF-READS"
    elif SUSPECT.search(operator) and not _NOT_SUSPECT.search(operator):
        rule = "TW-MODEL-TF-EXECUTES"
    else:
        return
    scan.report(
        rule,
        f"the graph runs {operator[:80]} as {node[:120]!r}",
        key=operator[:100],
        name=node[:200],
    )


def _judge_strings(
    scan: Scan, window: Window, message: ProtobufMessage[Kind], outside: list[str]
) -> None:
    for number in (1, 2, 4, 8):
        if message.kind == "Tensor" and number == 4 and message.number(1) != STRING_TENSOR:
            continue  # numbers
        for start, end in message.ranges.get(number, []):
            if end - start < SHORT:
                continue
            if end - start > MAX_STRING:
                scan.mark_incomplete(f"a text of {end - start} bytes")
                continue
            scan.budget.step(1 + (end - start) // 16)
            raw = window.read(start, end - start)
            text = raw.decode("utf-8", "replace")
            if message.kind == "Tensor" and _PATH.match(text) and len(outside) < MAX_PATHS:
                outside.append(text)
            report_text(scan, "attr", text)
            descend_decoded(scan, "attr:decoded", text)
            if PRIVATE.search(text) or text.startswith("file://"):
                scan.report(
                    "TW-MODEL-TF-PATH",
                    f"the graph names the file {text[:80]!r}",
                    key="attr",
                    name=text[:80],
                )


FORMAT: Final = Format(
    name="tensorflow",
    suffixes=(
        Suffix(
            ".pb",
            Trait.NAMED | Trait.WEIGHTS | Trait.NONEMPTY | Trait.MIXED,
            promises=("savedmodel", "savedmodel-fingerprint", "tensorflow", "onnx"),
        ),
        Suffix(".graphdef", Trait.NAMED),
        Suffix(".meta", Trait.NAMED),
        Suffix(traits=Trait.BINARY, pattern=r"\.data-\d{5}-of-\d{5}$|(^|/)variables\.index$"),
    ),
    firsts=b"\x08\x12\n",
    matches=matches,
    parse=parse,
    numeric=True,
    rules=(
        "TW-MODEL-PATH-ESCAPES",
        "TW-MODEL-TF-EMPTY",
        "TW-MODEL-TF-EXECUTES",
        "TW-MODEL-TF-PATH",
        "TW-MODEL-TF-READS",
    ),
)
TEXT: Final = Format(
    name="tensorflow-text",
    suffixes=(Suffix(".pbtxt", Trait.NAMED),),
    firsts=b"",
    matches=matches_text,
    parse=parse_text,
    rules=(
        "TW-MODEL-PATH-ESCAPES",
        "TW-MODEL-TF-EXECUTES",
        "TW-MODEL-TF-READS",
    ),
)
_NAMED: Final = endings(FORMAT.suffixes, Trait.NAMED)
_TEXT_NAMED: Final = endings(TEXT.suffixes, Trait.NAMED)
