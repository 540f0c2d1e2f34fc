"""Requirements text as pip reads it: lines, options, hashes, references, nested files."""

from __future__ import annotations

import codecs
import posixpath
import re
import shlex
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Final

import msgspec
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    parse_sdist_filename,
    parse_wheel_filename,
)

from agents.checks.packages.versions import canonical_name
from schemas.errors import TidewatchError

BYTES_LIMIT: Final = 64 * 1024 * 1024
LINES_LIMIT: Final = 200_000
"""Logical lines read from one text; what lies beyond is reported, not read."""
LINE_LIMIT: Final = 65_536
"""Characters of one logical line (continuations joined)."""
_REMEMBERED_LENGTH: Final = 1024
DEPTH_LIMIT: Final = 16
"""Requirements files inside requirements files."""
_VCS: Final = ("git", "hg", "svn", "bzr")
_COMMENT: Final = re.compile(r"(^|\s+)#.*$")
_ENCODING: Final = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")
_COMMIT: Final = re.compile(r"[0-9a-fA-F]{40}|[0-9a-fA-F]{64}")
_HASH: Final = re.compile(r"(md5|sha1|sha224|sha256|sha384|sha512)[=:]([0-9a-fA-F]+)")
_ARCHIVES: Final = (".whl", ".tar.gz", ".zip", ".tar.bz2", ".tgz", ".tar", ".tar.xz", ".tbz")
_EXTRAS: Final = re.compile(r"^(.+?)\[([^\[\]]*)\]$")
_PLAIN: Final = re.compile(
    r"([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)==([0-9][0-9A-Za-z.!+_-]*)"
)
_WITH_VALUE: Final = {
    "-r": "requirement",
    "--requirement": "requirement",
    "--requirements": "requirement",
    "-c": "constraint",
    "--constraint": "constraint",
    "--constraints": "constraint",
    "-e": "editable",
    "--editable": "editable",
    "-i": "index-url",
    "--index-url": "index-url",
    "--pypi-url": "index-url",
    "--extra-index-url": "extra-index-url",
    "-f": "find-links",
    "--find-links": "find-links",
    "--no-binary": "no-binary",
    "--only-binary": "only-binary",
    "--trusted-host": "trusted-host",
    "--use-feature": "use-feature",
    "--hash": "hash",
    "--config-setting": "config-settings",
    "--config-settings": "config-settings",
    "-C": "config-settings",
    "--global-option": "global-option",
    "--install-option": "install-option",
    "--build-option": "build-option",
}
_FLAGS: Final = frozenset(
    {"--no-index", "--require-hashes", "--pre", "--prefer-binary", "--always-unzip", "-Z"}
)
_PER_REQUIREMENT: Final = frozenset(
    {"config-settings", "global-option", "install-option", "build-option"}
)
_EDITABLE_NAMED: Final = re.compile(r"[A-Za-z0-9._-]+(?:\[[^\]]*\])?\s*@\s*[A-Za-z+]+:")
_BYTE_ORDER_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32, "utf-32"),
    (codecs.BOM_UTF16, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
)


class UnreadableRequirementsError(TidewatchError):
    """Requirements that are no text, or are beyond the limits."""


class RequirementLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One requirement, or one option, of a requirements text."""

    text: str
    """The logical line without comments."""
    line: int = 1
    file: str | None = None
    option: str | None = None
    """For a line that is an option (index-url, require-hashes ...): which."""
    value: str | None = None
    """The option's value."""
    name: str | None = None
    """As written; None where only building it would tell (a URL or folder)."""
    extras: tuple[str, ...] = ()
    specifier: str = ""
    version: str | None = None
    """The one version that an exact pin names."""
    marker: str | None = None
    url: str | None = None
    """Direct reference: a URL or a path, without the scheme's VCS prefix for `vcs`."""
    vcs: str | None = None
    commit: str | None = None
    """The full commit id that a VCS reference names."""
    editable: bool = False
    constraint: bool = False
    """It stands in a constraints file: limits what is installed, installs nothing."""
    hashes: tuple[str, ...] = ()
    """`algorithm:hex`, from --hash and from a URL's fragment."""
    error: str | None = None
    """Why pip would refuse the line."""

    @property
    def is_requirement(self) -> bool:
        """Whether it asks for a package."""
        return self.option is None and self.error is None

    @property
    def pinned(self) -> bool:
        """Whether it can only ever be one version: ==, ===, a commit, or a digest."""
        if self.vcs is not None:
            return self.commit is not None
        if self.url is not None:
            return any(not text.startswith("md5") for text in self.hashes) or self.is_local
        return self.version is not None

    @property
    def is_local(self) -> bool:
        """Whether it is a path on the host."""
        url = self.url
        return url is not None and self.vcs is None and ("://" not in url or url[:5] == "file:")


class Requirements(msgspec.Struct, frozen=True, kw_only=True):
    """A whole requirements text with the files it names, where they were given."""

    lines: tuple[RequirementLine, ...] = ()
    missing_files: tuple[str, ...] = ()
    """Nested files that were not given."""
    cut: bool = False
    """A limit was reached; what lies beyond it was not read."""

    @property
    def require_hashes(self) -> bool:
        """Whether pip would demand hashes of every requirement."""
        return any(
            line.option == "require-hashes" or (line.is_requirement and line.hashes)
            for line in self.lines
        )

    def option_values(self, option: str) -> tuple[str, ...]:
        """Return the values of an option, in order."""
        return tuple(line.value for line in self.lines if line.option == option and line.value)


def decode_requirements(raw: bytes) -> str:
    """Return the text of a requirements file: byte order mark, then PEP 263, then UTF-8.

    Raises:
        UnreadableRequirementsError: too long, or not text.
    """
    if len(raw) > BYTES_LIMIT:
        raise UnreadableRequirementsError(
            f"requirements of {len(raw):,} bytes exceed {BYTES_LIMIT:,}", remedy="split the file"
        )
    try:
        for mark, encoding in _BYTE_ORDER_MARKS:
            if raw.startswith(mark):
                return raw[len(mark) :].decode(encoding if encoding[-2:] != "16" else "utf-16-le")
        for line in raw.split(b"\n", 2)[:2]:
            named = _ENCODING.match(line)
            if named:
                return raw.decode(named[1].decode("ascii"))
        return raw.decode("utf-8")
    except (UnicodeDecodeError, LookupError):
        # pip falls back to the locale; every byte is a character in Latin-1.
        return raw.decode("latin-1")


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield lines with continuations joined, as pip's `join_lines` and `ignore_comments`."""
    pending: list[str] = []
    start = 1
    size = 0
    for number, line in enumerate(text.splitlines(), 1):
        continues = line.endswith("\\") and not line.lstrip().startswith("#")
        if not continues:
            if line.lstrip().startswith("#"):
                # A comment ends a continuation and keeps its distance from it.
                line = " " + line  # noqa: PLW2901 -- the line as pip sees it
            if pending:
                pending.append(line)
                joined, number_of = "".join(pending), start
                pending, size = [], 0
            else:
                joined, number_of = line, number
            cleaned = _COMMENT.sub("", joined).strip() if "#" in joined else joined.strip()
            if cleaned:
                yield number_of, cleaned
            continue
        if not pending:
            start = number
        if size <= LINE_LIMIT:
            pending.append(line.strip("\\") if not pending else line.rstrip("\\"))
            size += len(line)
    if pending:
        cleaned = _COMMENT.sub("", "".join(pending)).strip()
        if cleaned:
            yield start, cleaned


def _separate(lines: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    for number, logical in lines:
        if logical.startswith("-"):
            for one in _option_lines(logical):
                yield number, one
        else:
            yield number, logical


def _split_options(text: str) -> tuple[str, list[str]]:
    """Return the requirement and its options: the first token that starts with a dash on."""
    if " -" not in text and "\t-" not in text:
        return text, []
    tokens = text.split()
    for index, token in enumerate(tokens):
        if index and token.startswith("-"):
            return " ".join(tokens[:index]), tokens[index:]
    return text, []


def _options(tokens: list[str]) -> Iterator[tuple[str, str | None]]:
    """Yield options and their values.

    Raises:
        ValueError: an option pip does not know in a requirements file.
    """
    index = 0
    while index < len(tokens):
        token = tokens[index]
        index += 1
        name, equals, value = token.partition("=")
        value = value.strip("\"'")
        short = token[:2]
        if token in _FLAGS:
            yield token.lstrip("-"), None
        elif name in _WITH_VALUE and (equals or not token.startswith("--")) and equals:
            yield _WITH_VALUE[name], value
        elif token in _WITH_VALUE:
            if index >= len(tokens):
                raise ValueError(f"{token} needs a value")
            yield _WITH_VALUE[token], tokens[index].strip("\"'")
            index += 1
        elif short in _WITH_VALUE and not token.startswith("--") and len(token) > len(short):
            yield _WITH_VALUE[short], token[2:].strip("\"'")
        else:
            raise ValueError(f"unknown option {name[:40]}")


def _fragment_hashes(fragment: str) -> tuple[str, ...]:
    return tuple(f"{kind}:{digest.lower()}" for kind, digest in _HASH.findall(fragment))


def _pin(requirement: Requirement) -> str | None:
    exact = [one for one in requirement.specifier if one.operator in {"==", "==="}]
    pins = [one.version for one in exact if not one.version.endswith(".*")]
    return pins[0] if pins else None


def _from_url(reference: str, fields: dict[str, object]) -> dict[str, object]:
    """Fill in what a URL or path says by itself: VCS, commit, egg, digest, wheel name."""
    target, _, fragment = reference.partition("#")
    parts = dict(pair.partition("=")[::2] for pair in fragment.split("&") if "=" in pair)
    hashes = _fragment_hashes(fragment)
    if hashes:
        fields["hashes"] = hashes
    egg = parts.get("egg")
    if egg and not fields.get("name"):
        bare = _EXTRAS.match(egg)
        fields["name"] = bare[1] if bare else egg
        if bare:
            fields["extras"] = tuple(sorted(one.strip() for one in bare[2].split(",") if one))
    scheme, plus, _ = target.partition("+")
    if plus and scheme.lower() in _VCS and "://" in target:
        fields["vcs"] = scheme.lower()
        target = target[len(scheme) + 1 :]
        head, at, revision = target.rpartition("@")
        # An "@" before the path is the user's, not the revision's.
        if at and "/" in head.partition("://")[2]:
            target = head
            if _COMMIT.fullmatch(revision):
                fields["commit"] = revision.lower()
    fields["url"] = target
    filename = posixpath.basename(target.partition("?")[0].replace("\\", "/"))
    if not fields.get("vcs"):
        named = _from_filename(filename)
        if named:
            fields.setdefault("name", named[0])
            fields["version"] = named[1]
    return fields


@lru_cache(4096)
def _from_filename(filename: str) -> tuple[str, str] | None:
    try:
        if filename.endswith(".whl"):
            name, version, _, _ = parse_wheel_filename(filename)
            return str(name), str(version)
        if filename.endswith((".tar.gz", ".zip")):
            sdist, release = parse_sdist_filename(filename)
            return str(sdist), str(release)
    except (InvalidWheelFilename, InvalidSdistFilename):
        return None
    return None


def _looks_like_reference(text: str) -> bool:
    head = text.partition(";")[0].strip()
    bare = head.partition("[")[0]
    if "://" in head.partition("@")[0] or head.startswith((".", "/", "~", "file:")):
        return True
    if " @ " in head or "@" in head.partition("/")[0]:
        return False
    target = head.partition("#")[0]
    return "/" in bare or "\\" in bare or target.lower().endswith(_ARCHIVES)


def _read_reference(text: str, fields: dict[str, object]) -> None:
    # For URLs pip takes "; marker" only after white space, since a URL may hold ";".
    separator = "; " if "://" in text else ";"
    target, cut, marker = text.partition(separator)
    if cut and marker.strip():
        fields["marker"] = marker.strip()
    target = target.strip()
    extras = _EXTRAS.match(target) if "#" not in target else None
    if extras:
        target = extras[1]
        fields["extras"] = tuple(sorted(one.strip() for one in extras[2].split(",") if one))
    _from_url(target, fields)


def _read_requirement(text: str, fields: dict[str, object]) -> None:
    if _looks_like_reference(text):
        _read_reference(text, fields)
        return
    requirement = Requirement(text)
    fields["name"] = requirement.name
    if requirement.extras:
        fields["extras"] = tuple(sorted(requirement.extras))
    if requirement.marker is not None:
        fields["marker"] = str(requirement.marker)
    if requirement.url:
        _from_url(requirement.url, fields)
    else:
        fields["specifier"] = str(requirement.specifier)
        fields["version"] = _pin(requirement)


def read_line(text: str, line: int = 1, file: str | None = None) -> RequirementLine:
    """Return one logical line (continuations joined, no comment) as pip reads it.

    Args:
        text: The line.
        line: Its number in its file, from 1.
        file: The file's name.

    Returns:
        The requirement or option; `error` says why pip would refuse it.

    Source: pip's requirements file format; PEP 508; PEP 440.
    """
    # Longer lines are rare, and would make the cache as large as an attacker likes.
    return (_remembered if len(text) <= _REMEMBERED_LENGTH else _read)(text, line, file)


def _read(text: str, line: int, file: str | None) -> RequirementLine:
    plain = _PLAIN.fullmatch(text)
    if plain and "*" not in text:
        return RequirementLine(
            text=text,
            line=line,
            file=file,
            name=plain[1],
            specifier=f"=={plain[2]}",
            version=plain[2],
        )
    shown = text[:LINE_LIMIT]
    try:
        fields = _read_fields(text)
    except (InvalidRequirement, ValueError) as error:
        reason = str(error).partition("\n")[0][:200]
        return RequirementLine(text=shown, line=line, file=file, error=reason)
    return msgspec.convert({"text": shown, "line": line, "file": file, **fields}, RequirementLine)


_remembered = lru_cache(16_384)(_read)


def _read_fields(text: str) -> dict[str, object]:
    """Return what a line says.

    Raises:
        ValueError: pip would refuse the line.
    """
    if len(text) > LINE_LIMIT:
        raise ValueError(f"a line of more than {LINE_LIMIT} characters")
    if text.startswith("-"):
        return _option_fields(text)
    head, tokens = _split_options(text)
    hashes: list[str] = []
    for option, value in _options(tokens):
        if option == "hash":
            found = _HASH.fullmatch(value or "")
            if not found:
                raise ValueError("a hash that is not algorithm:hex")
            hashes.append(f"{found[1]}:{found[2].lower()}")
        elif option not in _PER_REQUIREMENT:
            raise ValueError(f"--{option} can't stand behind a requirement")
    fields: dict[str, object] = {}
    _read_requirement(head, fields)
    if hashes:
        own = fields.get("hashes", ())
        fields["hashes"] = (*hashes, *(own if isinstance(own, tuple) else ()))
    return fields


def _option_fields(text: str) -> dict[str, object]:
    option, value = next(_options(shlex.split(text)))
    if option == "hash":
        raise ValueError("a hash without a requirement")
    if option != "editable" or not value:
        return {"option": option, "value": value}
    fields: dict[str, object] = {"editable": True}
    if " @ " in value or _EDITABLE_NAMED.match(value):
        _read_requirement(value, fields)
    else:
        _read_reference(value, fields)
    return fields


def _option_lines(text: str) -> list[str]:
    """Return the options of a line, each as a line of its own."""
    try:
        found = list(_options(shlex.split(text)))
    except ValueError:
        return [text]
    if len(found) == 1 or found[0][0] == "editable":
        return [text]
    return [
        f"--{name}" if value is None else f"--{name} {shlex.quote(value)}" for name, value in found
    ]


def read_requirements(
    text: str,
    *,
    file: str | None = None,
    files: Mapping[str, str] | None = None,
) -> Requirements:
    """Return a requirements text as pip reads it, with the nested files that are given.

    Args:
        text: The text (see `decode_requirements` for bytes).
        file: Its name, against which `-r` and `-c` are resolved.
        files: Texts of files it may name, by path.

    Returns:
        Lines in reading order; `cut` where the limit on lines was reached.
    """
    lines: list[RequirementLine] = []
    missing: list[str] = []
    seen: set[str] = set()

    def read(content: str, name: str | None, depth: int, constraint: bool) -> bool:
        for number, logical in _separate(_logical_lines(content)):
            if len(lines) >= LINES_LIMIT:
                return False
            line = read_line(logical, number, name)
            if constraint and line.is_requirement:
                line = msgspec.structs.replace(line, constraint=True)
            lines.append(line)
            if line.option in {"requirement", "constraint"} and line.value:
                path = line.value
                if "://" not in path and name:
                    path = posixpath.normpath(posixpath.join(posixpath.dirname(name), path))
                nested = (files or {}).get(path)
                if nested is None or depth >= DEPTH_LIMIT:
                    missing.append(path)
                elif path not in seen:
                    seen.add(path)
                    inner = constraint or line.option == "constraint"
                    if not read(nested, path, depth + 1, inner):
                        return False
        return True

    if file:
        seen.add(posixpath.normpath(file))
    complete = read(text, file, 0, constraint=False)
    return Requirements(lines=tuple(lines), missing_files=tuple(missing), cut=not complete)


def requirement_name(text: str) -> str:
    """Return the canonical name that a `requires_dist` entry starts with, "" for none."""
    end = 0
    for char in text:
        if not (char.isalnum() or char in "-_."):
            break
        end += 1
    return canonical_name(text[:end]) if end else ""
