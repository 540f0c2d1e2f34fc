"""Reads XML models as events, entities refused: PMML, OpenVINO, and what they embed."""
# ruff: noqa: PLR2004 -- sizes and offsets are given where the format is read

from __future__ import annotations

import re
from typing import Final
from xml.parsers import expat

from agents.checks.artifacts.python.shell_commands import is_hostile_command
from agents.checks.artifacts.readers.embedded import report_text
from agents.checks.artifacts.readers.paths import escapes
from agents.checks.artifacts.readers.window import CHUNK, MAX_DOCUMENT
from agents.checks.artifacts.scanning import BudgetExceededError, CorruptFileError, Scan, Source

MAX_DEPTH: Final = 500
MAX_ELEMENTS: Final = 5_000_000
MAX_TEXT: Final = 16 << 20
MAX_ENTITY: Final = 1 << 16
_SCRIPT: Final = re.compile(
    r"(?i)<script|javascript:|java\.lang\.|Runtime\.getRuntime|ProcessBuilder|eval\s*\(|"
    r"\bexec\s*\(|\bos\.system|\bsubprocess\b|__import__|ActiveXObject|WScript|powershell|"
    r"System\.Diagnostics|new\s+Function\s*\("
)
_SCRIPT_TAGS: Final = frozenset(
    ["script", "scriptblock", "javascript", "jscript", "python", "rscript", "groovy"]
)
_INTEGER: Final = re.compile(r"^-?\d+$")
BEYOND: Final = 1 << 62
"""More bytes or elements than any tensor has."""
_WIDTHS: Final = {
    **dict.fromkeys(("f64", "i64", "u64"), 8), **dict.fromkeys(("f32", "i32", "u32"), 4),
    **dict.fromkeys(("f16", "bf16", "i16", "u16"), 2),
    **dict.fromkeys(("i8", "u8", "boolean", "f8e4m3", "f8e5m2", "f8e8m0"), 1),
}  # fmt: skip
"""Bytes of an element; those of other types are smaller than a byte, or texts."""
_PLUGIN: Final = re.compile(r"(?i)\.(so|dll|dylib|exe|sh|bat|py|jar)(\.\d+)*$")


def parse(scan: Scan, name: str, source: Source) -> None:
    """Report entities, scripts, and operators or files from elsewhere.

    Raises:
        CorruptFileError: not well-formed.
        BudgetExceededError: too large or too deep.

    Source: PMML 4.4; OpenVINO IR; CWE-611, CWE-776.
    """
    del name
    _Reader(scan).read(source)


class _Reader:
    """The content of one document, as expat reads it."""

    def __init__(self, scan: Scan) -> None:
        self._scan = scan
        self._count = 0
        self._path: list[str] = []
        self._text: list[str] = []
        self._length = 0
        parser = expat.ParserCreate()
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._data
        parser.EntityDeclHandler = self._entity
        parser.StartDoctypeDeclHandler = self._begin_doctype
        parser.ProcessingInstructionHandler = self._instruction
        parser.CommentHandler = self._comment
        parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
        self._parser = parser

    def read(self, source: Source) -> None:
        if source.size > MAX_DOCUMENT * 4:
            raise BudgetExceededError("the XML document is too large")
        offset = 0
        try:
            while offset < source.size:
                raw = source.read(offset, CHUNK)
                if not raw:
                    raise CorruptFileError("the file ends before its declared size")
                offset += len(raw)
                self._parser.Parse(raw, offset >= source.size)
            if not source.size:
                raise CorruptFileError("empty")
            self._find_numbers()
        except expat.ExpatError as error:
            if self._refused:
                return
            raise CorruptFileError(f"not well-formed XML: {error}") from error
        except (ValueError, LookupError) as error:
            raise CorruptFileError(f"an encoding that XML can't have: {error}") from error

    _refused = False
    _stored = False
    """Whether a graph of OpenVINO has constants, which a file beside it holds."""

    def _find_numbers(self) -> None:
        """Mark a graph of OpenVINO incomplete whose numbers are not among the files."""
        siblings, stem = self._scan.siblings, self._scan.path.rpartition(".")[0]
        if self._stored and siblings and not self._scan.member and f"{stem}.bin" not in siblings:
            self._scan.mark_incomplete("the numbers of its graph (.bin) are not among the files")

    def _begin_doctype(
        self, name: str, system: str | None, public: str | None, internal: int
    ) -> None:
        del name, public
        if system and re.match(r"(?i)\s*(https?|ftp|file|jar|gopher|php|expect|\\\\|/)", system):
            dmg = re.search(r"dmg\.org|w3\.org", system)
            if not dmg:
                self._report("TW-MODEL-XML-ENTITY", f"the document type is at {system[:120]!r}")
        del internal

    def _entity(
        self,
        name: str,
        parameter: int,
        value: str | None,
        base: str | None,
        system: str | None,
        public: str | None,
        notation: str | None,
    ) -> None:
        del base, public, notation, parameter
        if system:
            self._report("TW-MODEL-XML-ENTITY", f"the entity {name[:80]} is at {system[:120]!r}")
        elif value and ("&" in value or "%" in value or len(value) > MAX_ENTITY):
            self._report("TW-MODEL-XML-EXPANSION", f"the entity {name[:80]} is made of others")
            self._refused = True
            self._scan.mark_incomplete("entities made of entities are not expanded")
            raise expat.ExpatError("refused")
        else:
            self._report("TW-MODEL-XML-INTERNAL", f"the entity {name[:80]} is declared")

    def _instruction(self, target: str, data: str) -> None:
        if target.lower().startswith(("php", "python", "script", "xml-stylesheet")):
            self._report("TW-MODEL-XML-SCRIPT", f"an instruction for {target[:40]}: {data[:80]!r}")

    def _comment(self, data: str) -> None:
        self._scan.budget.step(1 + len(data) // 64)

    def _report(self, rule_id: str, what: str) -> None:
        self._scan.report(rule_id, what, line=self._parser.CurrentLineNumber, name=what[:80])

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self._count += 1
        self._scan.budget.step(1)
        self._path.append(tag)
        if len(self._path) > MAX_DEPTH or self._count > MAX_ELEMENTS:
            raise BudgetExceededError("XML with too many elements, or nested too deep")
        local = tag.rsplit(":", 1)[-1]
        if local.lower() in _SCRIPT_TAGS:
            self._report("TW-MODEL-XML-SCRIPT", f"an element {tag[:80]}")
        if local.lower() == "include" and (
            "XInclude" in " ".join(attributes.values()) + tag or "href" in attributes
        ):
            self._report("TW-MODEL-XML-ENTITY", "another document is included")
        for name, value in attributes.items():
            self._judge_value(f"{tag}@{name}", value)
        root = self._path[0].rsplit(":", 1)[-1]
        if root == "PMML":
            self._judge_pmml(local, attributes)
        elif root == "net":
            self._judge_openvino(local, attributes)
        self._text, self._length = [], 0

    def _data(self, data: str) -> None:
        self._length += len(data)
        if self._length <= MAX_TEXT:
            self._text.append(data)
        elif self._length - len(data) <= MAX_TEXT:
            self._scan.mark_incomplete(f"an element of more than {MAX_TEXT} characters")

    def _end(self, tag: str) -> None:
        if self._path:
            self._path.pop()
        text = "".join(self._text).strip()
        self._text, self._length = [], 0
        if text:
            self._judge_value(tag, text)

    def _judge_value(self, path: str, value: str) -> None:
        if len(value) < 8:
            return
        if match := _SCRIPT.search(value):
            self._report("TW-MODEL-XML-SCRIPT", f"{path[:80]} holds {match.group()[:60]!r}")
        elif "Extension" in path and is_hostile_command(value):
            self._report("TW-MODEL-XML-SCRIPT", f"{path[:80]} holds the command {value[:60]!r}")
        report_text(self._scan, path[:200], value)

    def _judge_pmml(self, tag: str, attributes: dict[str, str]) -> None:
        if tag in ("Apply", "DefineFunction"):
            function = attributes.get("function") or attributes.get("name") or ""
            if re.search(
                r"\w+\.\w+\.\w+|(?i:exec|runtime|eval|system|script|process)", function
            ) and (not function.startswith(("net.sf.jpmml", "x-"))):
                self._report("TW-MODEL-PMML-FUNCTION", f"the function {function[:120]!r} is called")
        if tag in ("TableLocator", "Extension"):
            for value in attributes.values():
                if value.startswith(("jdbc:", "file:", "ldap:", "rmi:", "jndi:", "ftp:")):
                    self._report("TW-MODEL-PMML-FUNCTION", f"{tag} names {value[:120]!r}")

    def _judge_constant(self, attributes: dict[str, str]) -> None:
        """Report a constant at an offset or of a shape that no file can have."""
        span = [attributes.get(name, "0").strip()[:40] for name in ("offset", "size")]
        sides = [side.strip()[:40] for side in attributes.get("shape", "").split(",")[:64]]
        numbers = [int(number) for number in span if _INTEGER.match(number)]
        elements = 1
        for side in sides:
            elements *= int(side) if _INTEGER.match(side) else 1
        if (
            len(numbers) < len(span)
            or min(numbers) < 0
            or sum(numbers) >= BEYOND
            or abs(elements) >= BEYOND
        ):
            self._report("TW-MODEL-OPENVINO-BOUNDS", f"data at {span}, of the shape {sides[:8]}")
            return
        self._stored = self._stored or numbers[1] > 0
        width = _WIDTHS.get(attributes.get("element_type", "").lower())
        if width and "shape" in attributes and 0 < numbers[1] < elements * width:
            self._report(
                "TW-MODEL-OPENVINO-BOUNDS",
                f"{numbers[1]} bytes of data, of the shape {sides[:8]}, which needs more",
            )

    def _judge_openvino(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == "layer":
            version = attributes.get("version", "")
            kind = attributes.get("type", "")
            if version and not re.match(
                r"^(opset\d+|extension|experimental|ts_ops|ie_\w+|internal|"
                r"util|ie_internal_opset)$",
                version,
            ):
                self._report(
                    "TW-MODEL-OPENVINO-CUSTOM", f"the layer type {kind[:80]!r} of {version[:80]!r}"
                )
            if re.search(r"(?i)^(python|py_?op|custom_?exec|exec\w*|shell|system|eval)", kind):
                self._report("TW-MODEL-OPENVINO-EXECUTES", f"the layer type {kind[:80]!r}")
        if tag == "data":
            self._judge_constant(attributes)
        for name, value in attributes.items():
            flat = name.lower()
            # names of tensors may begin with a slash; a library or a file is named by its ending
            if (_PLUGIN.search(value) and tag != "layer") or (
                _PLUGIN.search(value) and flat != "name"
            ):
                self._report("TW-MODEL-OPENVINO-EXECUTES", f"{tag}@{name[:40]} is {value[:120]!r}")
            elif flat in (
                "path",
                "bin",
                "weights",
                "file",
                "library",
                "filename",
                "source",
                "url",
                "weights_path",
                "bin_path",
                "location",
            ) and escapes(value):
                self._report("TW-MODEL-PATH-ESCAPES", f"{tag}@{name[:40]} is {value[:120]!r}")
