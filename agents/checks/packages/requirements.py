"""Requirements text as pip reads it: lines, options, hashes, references, nested files.

A requirement itself is read by `packaging`, whose parser pip vendors. The lines around it are read
here rather than by pip-requirements-parser 32, for these reasons: it reads only
from files on disk (its `from_string` fails), and depends on files on that disk; it takes some
170 microseconds for a plain line, where an event may carry 15,000; one line of 60,000 spaces takes
it 13 s; and of 190 corner cases it reads 22 differently from pip 26, not counting those that
depend on the disk and the environment.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Final
from urllib.parse import unquote

import msgspec
from packaging.requirements import InvalidRequirement, Requirement

from agents.checks.packages.requirement_options import read_options, split_options
from agents.checks.packages.requirements_text import LINE_LIMIT, logical_lines
from agents.checks.packages.versions import canonical_name, release_of_file
from schemas.conversion import Converter

LINES_LIMIT: Final = 200_000
"""Logical lines read from one text; a longer text is reported as cut."""
DEPTH_LIMIT: Final = 16
"""Requirements files inside requirements files."""
_REMEMBERED_LENGTH: Final = 1024
_NESTING_LIMIT: Final = 64
"""Parentheses of one requirement: the parser of markers calls itself for each."""
_VCS: Final = ("git", "hg", "svn", "bzr")
_BY_HASH: Final = frozenset(("git", "hg"))
_SCHEMES: Final = ("http", "https", "file", "ftp")
_COMMIT: Final = re.compile(r"[0-9a-fA-F]{40}|[0-9a-fA-F]{64}")
_FRAGMENT_HASH: Final = re.compile(r"(md5|sha1|sha224|sha256|sha384|sha512)[=:]([0-9a-fA-F]+)")
_ALGORITHMS: Final = ("sha256", "sha384", "sha512")
_WEAK_ALGORITHMS: Final = ("md5", "sha1", "sha224")
_ARCHIVES: Final = (".whl", ".tar.gz", ".zip", ".tar.bz2", ".tgz", ".tar", ".tar.xz", ".tbz")
_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_NAME_PLACE: Final = re.compile(r"[^\s<>=!~;@\[\]#,()'\"/:$]*")
_NAME_LIMIT: Final = 200
_EXTRAS: Final = re.compile(r"^(.+?)\[([^\[\]]*)\]$")
_PLAIN: Final = re.compile(
    r"([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)"
    r"==([0-9]+(?:\.[0-9]+)*(?:(?:a|b|rc)[0-9]+)?(?:\.post[0-9]+)?(?:\.dev[0-9]+)?)"
)
"""The form of most lines, and of all lines of `pip freeze`."""
_EDITABLE_NAMED: Final = re.compile(r"[A-Za-z0-9._-]+(?:\[[^\]]*\])?\s*@\s*[A-Za-z+]+:")


class RequirementLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One requirement, or one option, of a requirements text."""

    text: str
    """The logical line without comments."""
    line: int = 1
    file: str | None = None
    option: str | None = None
    """The name of the option, for an option line (index-url, require-hashes ...)."""
    value: str | None = None
    """The option's value."""
    name: str | None = None
    """As written; None if it is only known once built (a URL or folder)."""
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
    """From a constraints file: limits what is installed, installs nothing."""
    hashes: tuple[str, ...] = ()
    """`algorithm:hex`, from --hash and from a URL's fragment."""
    error: str | None = None
    """Why pip would refuse the line."""

    @property
    def is_requirement(self) -> bool:
        """Whether it requires a package."""
        return self.option is None and self.error is None

    @property
    def pinned(self) -> bool:
        """Whether it is pinned to one version: ==, ===, a commit, or a digest."""
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


_LINE: Final = Converter(RequirementLine)


class Requirements(msgspec.Struct, frozen=True, kw_only=True):
    """A whole requirements text with the files it names, where they were given."""

    lines: tuple[RequirementLine, ...] = ()
    missing_files: tuple[str, ...] = ()
    """Nested files that were not given."""
    cut: bool = False
    """A limit was reached; the rest was not read."""

    def option_values(self, option: str) -> tuple[str, ...]:
        """Return the values of an option, in order."""
        return tuple(line.value for line in self.lines if line.option == option and line.value)


def names_commit(vcs: str, revision: str | None) -> bool:
    """Return whether a recorded revision can't move: the full id of a commit.

    Subversion and Bazaar number their revisions.

    Args:
        vcs: The version control system.
        revision: The revision, None if there is no record.
    """
    if revision is None:
        return False
    return vcs not in _BY_HASH or _COMMIT.fullmatch(revision) is not None


def _fragment_hashes(fragment: str) -> tuple[str, ...]:
    return tuple(f"{kind}:{digest.lower()}" for kind, digest in _FRAGMENT_HASH.findall(fragment))


def _pin(requirement: Requirement) -> str | None:
    exact = [clause for clause in requirement.specifier if clause.operator in {"==", "==="}]
    pins = [clause.version for clause in exact if not clause.version.endswith(".*")]
    return pins[0] if pins else None


def _from_url(reference: str, fields: dict[str, object]) -> dict[str, object]:
    """Fill in the parts of a URL or path: VCS, commit, egg, digest, wheel name."""
    target, _, fragment = reference.partition("#")
    parts = dict(pair.partition("=")[::2] for pair in fragment.split("&") if "=" in pair)
    hashes = _fragment_hashes(fragment)
    if hashes:
        fields["hashes"] = hashes
    egg = parts.get("egg")
    if egg and not _NAME.fullmatch(egg):
        raise ValueError("a fragment egg= that is not the name of a package")
    if egg and not fields.get("name"):
        fields["name"] = egg
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
    filename = unquote(posixpath.basename(target.partition("?")[0].replace("\\", "/")))
    if not fields.get("vcs"):
        named = release_of_file(filename)
        if named:
            fields.setdefault("name", named[0])
            fields["version"] = named[1]
        elif filename.endswith(".whl") and not fields.get("name"):
            raise ValueError("not the name of a wheel")
    return fields


def _looks_like_reference(text: str) -> bool:
    head = text.partition(";")[0].strip()
    bare = head.partition("[")[0]
    if "://" in head.partition("@")[0] or head.startswith((".", "/", "~", "file:")):
        return True
    if " @ " in head or "@" in head.partition("/")[0]:
        return False
    target = head.partition("#")[0]
    return "/" in bare or "\\" in bare.rstrip("\\") or target.lower().endswith(_ARCHIVES)


def _read_reference(text: str, fields: dict[str, object]) -> None:
    # For URLs pip accepts "; marker" only after white space, since a URL may contain ";".
    separator = "; " if "://" in text else ";"
    target, cut, marker = text.partition(separator)
    if cut and marker.strip():
        fields["marker"] = marker.strip()
    target = target.strip()
    scheme, remote, _ = target.partition("://")
    if remote and scheme.lower() not in _SCHEMES and scheme.partition("+")[0].lower() not in _VCS:
        raise ValueError(f"a URL of a scheme that pip does not know: {scheme[:40]}")
    if remote and scheme.lower() in _VCS:
        raise ValueError(f"a {scheme} URL, which is written {scheme}+{scheme}://")
    extras = None if remote or "#" in target else _EXTRAS.match(target)
    if extras:
        target = extras[1]
        fields["extras"] = tuple(sorted(extra.strip() for extra in extras[2].split(",") if extra))
    _from_url(target, fields)


def _read_requirement(text: str, fields: dict[str, object]) -> None:
    if _looks_like_reference(text):
        _read_reference(text, fields)
        return
    if text.count("(") > _NESTING_LIMIT:
        raise ValueError("too many parentheses")
    head, cut, marker = text.partition(";")
    if cut and ("@" in head or not marker.strip()):
        # pip removes the marker first, so that no URL includes it, and accepts an empty one.
        text = f"{head} ;{marker}" if marker.strip() else head
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
    # Longer lines are rare, and would let an attacker grow the cache.
    return (_remembered if len(text) <= _REMEMBERED_LENGTH else _read)(text, line, file)


def _read(text: str, line: int, file: str | None) -> RequirementLine:
    plain = _PLAIN.fullmatch(text)
    if plain:
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
    return _LINE({"text": shown, "line": line, "file": file, **fields})


_remembered = lru_cache(16_384)(_read)


def _read_fields(text: str) -> dict[str, object]:
    """Parse a line.

    Raises:
        ValueError: pip would refuse the line.
    """
    if len(text) > LINE_LIMIT:
        raise ValueError(f"a line of more than {LINE_LIMIT} characters")
    if text.startswith("-"):
        return _option_fields(text)
    head, behind = split_options(text)
    fields: dict[str, object] = {}
    hashes: list[str] = []
    for option, value in read_options(behind) if behind else ():
        if option == "global-option":
            fields["error"] = "an option that pip refuses from version 26 on"
        # Options of a whole file are skipped here, as pip does.
        if option != "hash":
            continue
        kind, colon, digest = (value or "").partition(":")
        if not colon or kind not in (*_ALGORITHMS, *_WEAK_ALGORITHMS):
            raise ValueError("a hash that is not algorithm:hex")
        if kind in _WEAK_ALGORITHMS:
            fields["error"] = f"a hash of {kind}, which proves nothing"
        hashes.append(f"{kind}:{digest.lower()}")
    _read_requirement(head, fields)
    if hashes:
        own = fields.get("hashes", ())
        fields["hashes"] = (*hashes, *(own if isinstance(own, tuple) else ()))
    return fields


def _option_fields(text: str) -> dict[str, object]:
    options = read_options(text)
    option, value = next(
        (entry for entry in options if entry[0] == "editable"),
        options[0] if options else ("", None),
    )
    if not option:
        raise ValueError("an option without a name")
    if option == "global-option":
        raise ValueError("an option that pip refuses from version 26 on")
    if option != "editable" or not value:
        return {"option": option, "value": value}
    fields: dict[str, object] = {"editable": True}
    if " @ " in value or _EDITABLE_NAMED.match(value):
        _read_requirement(value, fields)
    else:
        _read_reference(value, fields)
    if fields.get("vcs"):
        if not fields.get("name"):
            raise ValueError("an editable reference without a name")
    elif "://" in str(fields.get("url")) and not str(fields["url"]).lower().startswith("file:"):
        raise ValueError("an editable requirement that is neither a folder nor under VCS")
    return fields


def _separate(lines: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Yield the lines, each of the options of a line as a line of its own."""
    for number, logical in lines:
        if logical.startswith("-"):
            for line in _option_lines(logical):
                yield number, line
        else:
            yield number, logical


def _option_lines(text: str) -> list[str]:
    try:
        found = read_options(text)
    except ValueError:
        return [text]
    if len(found) <= 1 or any(name == "editable" for name, _ in found):
        return [text]
    # Of the files that one line names, pip reads one: requirements before constraints.
    nested = [
        followed_file
        for followed_file in found
        if followed_file[0] in {"requirement", "constraint"}
    ]
    followed = min(nested, key=lambda entry: entry[0] == "constraint", default=None)
    return [
        f"--{name}" if value is None else f"--{name} {shlex.quote(value)}"
        for name, value in found
        if (name, value) == followed or (name, value) not in nested
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
    given = files or {}

    def read(content: str, path: tuple[str, ...], constraint: bool) -> bool:
        name = path[-1]
        for number, logical in _separate(logical_lines(content)):
            if len(lines) >= LINES_LIMIT:
                return False
            line = read_line(logical, number, name or None)
            if constraint and line.is_requirement:
                refused = "a constraint that is editable" if line.editable else None
                line = msgspec.structs.replace(line, constraint=True, error=refused)
            lines.append(line)
            if line.option not in {"requirement", "constraint"} or not line.value:
                continue
            inner = line.value
            if "://" not in inner and name:
                inner = posixpath.normpath(posixpath.join(posixpath.dirname(name), inner))
            nested = given.get(inner)
            if inner in path:
                lines[-1] = msgspec.structs.replace(line, error="a file that names itself")
            elif nested is None or len(path) > DEPTH_LIMIT:
                missing.append(inner)
            elif not read(nested, (*path, inner), line.option == "constraint"):
                return False
        return True

    complete = read(text, (posixpath.normpath(file) if file else "",), constraint=False)
    return Requirements(lines=tuple(lines), missing_files=tuple(missing), cut=not complete)


def read_lines(texts: Sequence[str]) -> list[RequirementLine]:
    """Return the requirement lines of an event as pip reads them.

    Producers may send whole texts: with comments, continuations, several lines or options in one.
    """
    found: list[RequirementLine] = []
    for text in texts:
        if text.startswith("-") or any(sign in text for sign in "#\\\n\r"):
            found.extend(read_requirements(text).lines)
        elif text.strip():
            found.append(read_line(text.strip()))
    return found


def name_at_start(line: RequirementLine) -> str:
    """Return what a line that pip refuses begins with in place of a name, "" for nothing."""
    found = _NAME_PLACE.match(line.text[:_NAME_LIMIT])
    return found[0] if found else ""


def requirement_name(text: str) -> str:
    """Return the canonical name that a `requires_dist` entry starts with, "" for none."""
    end = 0
    for char in text:
        if not (char.isalnum() or char in "-_."):
            break
        end += 1
    return canonical_name(text[:end]) if end else ""
