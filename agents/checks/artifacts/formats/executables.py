"""Recognises executables among a model's files: ELF, PE, Mach-O, scripts, llamafiles."""
# ruff: noqa: PLR2004 -- sizes and offsets are given where the format is read

from __future__ import annotations

from typing import Final

from agents.checks.artifacts.formats.format import FileName, Format, Suffix, Trait, endings
from agents.checks.artifacts.formats.plain_text import is_binary
from agents.checks.artifacts.formats.strings_with_commands import report_strings
from agents.checks.artifacts.program_files import is_of_program
from agents.checks.artifacts.python.shell_commands import (
    connects_a_shell,
    is_hostile_command,
    is_private_path,
    is_untrusted_fetch,
    parts_of,
    sends_secrets,
)
from agents.checks.artifacts.readers.embedded import descend_decoded
from agents.checks.artifacts.readers.window import decode_text, read_document
from agents.checks.artifacts.scanning import Scan, Source
from agents.checks.shell.command_risk import CommandRisk
from agents.checks.shell.risk import destroys, persists
from agents.checks.shell.script import ScriptCommand, commands_of
from agents.domain.late_pattern import late_pattern
from schemas.severity import Severity

MACH: Final = (
    b"\xfe\xed\xfa\xce", b"\xfe\xed\xfa\xcf", b"\xce\xfa\xed\xfe", b"\xcf\xfa\xed\xfe",
)  # fmt: skip
FAT: Final = (b"\xca\xfe\xba\xbe", b"\xca\xfe\xba\xbf")
SHORTCUT: Final = b"L\0\0\0\x01\x14\x02\0"
"""A shortcut of Windows, which runs the command that it names."""
APE: Final = (b"MZqFpD", b"jartsr", b"APEDBG")
MAX_LINE: Final = 1 << 16
"""Characters of a line that is searched for encoded content."""
_OBFUSCATED: Final = late_pattern(
    r"(?i)(?<![\w-])-e(?:nc|ncodedcommand)?\s+[A-Za-z0-9+/]{40,}|"
    r"\b(?:powershell|pwsh)\b[^\n]{0,80}?\s-e\w*\s+[A-Za-z0-9+/=]{16,}|"
    r"WScript\.Shell|ActiveXObject|CreateObject\(|eval\s*\(\s*(atob|unescape)|"
    r"\beval\s+[\"']?(?:\$\(|`)[^)`\n]{0,200}?\b(?:base64|xxd|rev|openssl|gunzip|zcat|printf\s+['\"]?\\)|"
    r"(?:\bxxd\s+-\w*r|\brev|\bopenssl\s+enc)\b[^\n]{0,200}?\|\s*(?:ba|z)?sh\b|"
    r"<\?php[^?]*\b(system|exec|shell_exec|passthru|eval|assert|popen|proc_open)\s*\(|"
    r"\bRuntime\.getRuntime\(\)\.exec|\bShell\s*\(\s*\"|-w(indowstyle)?\s+hidden\b"
)
"""Never in a legitimate script: encoded and hidden commands, web shells."""
_IN_ONE_LINE: Final = tuple(
    (late_pattern(first), late_pattern(then))
    for first, then in (
        (r"(?i)base64\s+(-d|--decode)", r"(?i)\|\s*(ba|z)?sh"),
        (
            r"(?i)(?:Buffer\.from|\batob)\(\s*[\"'`][A-Za-z0-9+/=]{24,}",
            r"(?i)\b(?:execSync|spawnSync|eval|new Function)\(",
        ),
        (
            r"(?i)\b(?:exec|execSync|spawn|spawnSync|eval|new Function)\(",
            r"(?i)(?:Buffer\.from|\batob)\(\s*[\"'`][A-Za-z0-9+/=]{24,}",
        ),
        (
            r"(?i)FromBase64String",
            r"(?i)[\"'][A-Za-z0-9+/=]{40,}|\bI(?:EX|nvoke-Expression)\b|::Load\(",
        ),
        (
            r"(?i)\bI(?:EX|nvoke-Expression)\b|::Load\(|[\"'][A-Za-z0-9+/=]{40,}",
            r"(?i)FromBase64String",
        ),
        (
            r"(?i)\b(certutil|bitsadmin|mshta|regsvr32|rundll32)\b",
            r"(?i)https?:|javascript:|-urlcache|/transfer",
        ),
    )
)
"""The same, in two parts of one line; searched in turn, so that each line is read once."""
_POWERSHELL: Final = late_pattern(
    r"(?i)\bIEX\b|\bInvoke-Expression\b|\.Download(?:String|File)\s*\(|\bNet\.WebClient\b"
    r"|\bStart-BitsTransfer\b|\bStart-Process\b"
)
_NODE: Final = late_pattern(
    r"(?:require\s*\(|\bfrom|\bimport\s*\()\s*[\"'`](?:node:)?child_process[\"'`]"
)
"""A program of Node that starts others, as builds and servers do."""
_SIGN: Final = late_pattern(r"(?i)\|\s*(?:sudo\s+)?(?:ba|z)?sh\b|\beval\s+\"?\$\(|\bxxd\s+-r")
"""What only scripts have, besides what is obfuscated."""
_TOUCHES: Final = late_pattern(r">|curl|nc |scp|base64|cat ")
_INSTALLS: Final = late_pattern(
    r"(sudo\s+)?(apt|apt-get|yum|dnf|apk|brew|microdnf|zypper|conda)\s[^;&|]{0,100}\binstall\b|apk\s+add\b"
)
_UNASKED: Final = late_pattern(
    r"(?:^|[/!])(?:binding\.gyp|build\.rs|(?:[\w.-]+-)?(?:post|pre)-(?:un)?link\.(?:sh|bat)"
    r"|(?:post|pre)(?:inst|rm)|profile\.d/[^/]+|\.git/hooks/[^/]+|[^/!]+\.data/(?:scripts|data)/\S+)$"
)
_BUILD: Final = late_pattern(
    r"^\s*(set -|export |python[\d.]*\s+-?\w|pip |accelerate |torchrun |deepspeed )"
)


def obfuscated(text: str) -> str:
    """Return what a script does that only a hostile one does; empty if nothing."""
    if match := _OBFUSCATED.search(text):
        return match.group()
    if connects_a_shell(text):
        return "/dev/tcp/"
    for first, then in _IN_ONE_LINE:
        end = 0
        while start := first.search(text, end):
            line = text.find("\n", start.end())
            end = len(text) if line < 0 else line
            if match := then.search(text, start.end(), end):
                return text[start.start() : match.end()]
    return ""


def has_commands(text: str) -> bool:
    """Return whether a text has what only a script of a shell or of PowerShell has."""
    return bool(obfuscated(text) or _POWERSHELL.search(text) or _SIGN.search(text))


def matches_binary(name: str, head: bytes, source: Source) -> bool:
    """Return whether a file is a native executable, a library or other machine code."""
    if head.startswith((b"\x7fELF", *APE, *MACH)):
        return True
    if head.startswith(FAT):
        return len(head) > 8
    if head.startswith(b"MZ"):
        lower = name.lower()
        at = int.from_bytes(head[60:64], "little")
        return (
            lower.endswith(_NAMED)
            or (0 < at < source.size and source.read(at, 2) in (b"PE", b"NE", b"LE", b"LX"))
            or b"This program" in head
        )
    return head.startswith((b"\x00asm\x01", b"dex\n03", SHORTCUT))


def parse_binary(scan: Scan, name: FileName, source: Source) -> None:
    """Report a native executable; its behaviour is not analysed."""
    head = source.read(0, 4096)
    lower = name.lower()
    if head.startswith(APE) or lower.endswith(".llamafile"):
        _judge_llamafile(scan, source)
        scan.report(
            "TW-MODEL-EXECUTABLE-LLAMAFILE", "a llamafile: weights and a program in one", offset=0
        )
        scan.mark_incomplete("the program of a llamafile is not analysed")
        return
    own = is_of_program(scan, name)
    kind = "ELF" if head.startswith(b"\x7fELF") else "PE" if head.startswith(b"MZ") else "native"
    scan.report(
        "TW-MODEL-EXECUTABLE",
        f"a {kind} executable or library",
        severity=Severity.LOW if own else None,
        offset=0,
        name=kind,
    )
    if own:
        scan.mark_unsupported("native code of a program is not analysed")


def _judge_llamafile(scan: Scan, source: Source) -> None:
    """Report a llamafile without weights, and what its leading script fetches."""
    end = source.read(max(source.size - MAX_LINE, 0), MAX_LINE)
    if b"PK\x05\x06" not in end:  # its weights are members of an archive at its end
        scan.report("TW-MODEL-EXECUTABLE", "a llamafile's program without weights", offset=0)
    script = source.read(0, MAX_LINE).decode("latin-1")
    for number, line in enumerate(script.split("\n"), 1):
        if is_untrusted_fetch(line) or is_private_path(line):
            scan.report(
                "TW-MODEL-SCRIPT-HOSTILE",
                f"the program's script runs {line.strip()[:80]!r}",
                line=number,
            )


def matches_script(name: str, head: bytes, source: Source) -> bool:
    """Return whether a file is a script of a shell or of an interpreter other than Python."""
    del source
    if head.startswith(b"#!") and b"python" not in head.split(b"\n", 1)[0]:
        return True
    return name.lower().endswith(_SCRIPTS) and b"\0" not in head[:64]


def parse_script(scan: Scan, name: FileName, source: Source) -> None:
    """Report a script, and what it fetches and runs."""
    if is_binary(source.read(0, 4096)):
        scan.mark_corrupt("its name implies text, which it is not")
    shell = not name.lower().endswith((".js", ".lua"))
    own = is_of_program(scan, name)
    text = decode_text(read_document(scan, source))
    report_script(scan, text, shell=shell, in_program=own, unasked=runs_unasked(name))
    if name.lower().endswith(_LANGUAGES):
        report_strings(scan, text)
    usual = own or name.lower().endswith(_USUAL_SCRIPTS)
    scan.report(
        "TW-MODEL-SCRIPT" if usual else "TW-MODEL-SCRIPT-UNUSUAL",
        "a script is among the model's files",
        key="script",
    )


def runs_unasked(name: FileName) -> bool:
    """Return whether a program runs once its package is installed, or is named as what it is not.

    Sources: conda-build, "Link scripts"; node-gyp; Cargo, "Build scripts"; the wheel format's data
    folders; Debian Policy, "Package maintainer scripts"; githooks(5).
    """
    return _UNASKED.search(name.lower()) is not None or name.has(Trait.WEIGHTS)


def report_script(
    scan: Scan,
    text: str,
    *,
    shell: bool = True,
    in_program: bool = False,
    unasked: bool = False,
) -> None:
    """Report what a script's text fetches and runs, encoded text included.

    Args:
        scan: Where to report.
        text: Of any interpreter.
        shell: Whether its lines may be commands of a shell.
        in_program: Whether it is a program's own, which nothing starts by loading a model.
        unasked: Whether it runs without anybody's asking, so that no host may choose what it runs.
    """
    least = CommandRisk.UNKNOWN_SCRIPT if unasked else CommandRisk.REPLACEABLE_SCRIPT
    risky = False
    for command in commands_of(text):
        scan.budget.step(1 + len(command.text) // 16)
        hostile, what, severity = _judge_command(command, least, shell=shell, in_program=in_program)
        if hostile:
            scan.report("TW-MODEL-SCRIPT-HOSTILE", what, line=command.line)
        elif what and (not risky or severity is not None):
            # one finding of merely risky lines is enough
            scan.report("TW-MODEL-SCRIPT-RISKY", what, severity=severity, line=command.line)
            risky = risky or severity is None
        if len(command.text) < MAX_LINE:
            descend_decoded(scan, f"line {command.line}", command.text)
        else:
            length = len(command.text)
            scan.mark_incomplete(f"what line {command.line} encodes, of {length} characters")


def _judge_command(
    command: ScriptCommand, least: CommandRisk, *, shell: bool, in_program: bool
) -> tuple[bool, str, Severity | None]:
    """Return whether a command is hostile, what it does, and how severe it is if only risky.

    A risk of at least `least` is hostile.
    What it does is empty if it does nothing of note; a severity of None is the rule's.
    """
    text = command.text.strip()
    if shell and command.risk >= least:
        return True, f"the script {'sends' if sends_secrets(text) else 'runs'} {text[:80]!r}", None
    if found := next(filter(None, map(obfuscated, parts_of(text, 20_000))), ""):
        return not in_program, f"the script runs {found[:80]!r}", None
    if not shell:
        if _NODE.search(text) is None:
            return False, "", None
        severity = None if in_program else Severity.MEDIUM
        return False, f"the script starts programs: {text[:80]!r}", severity
    if persists(text) or (destroys(text) and not _INSTALLS.match(text)):
        return not in_program, f"the script runs {text[:80]!r}", None
    if command.risk is CommandRisk.UNKNOWN_SCRIPT:
        return False, f"the script runs what it fetches by {text[:80]!r}", Severity.MEDIUM
    touches = is_private_path(text) and _TOUCHES.search(text)
    risky = touches or _POWERSHELL.search(text) or is_hostile_command(text)
    if command.risk is CommandRisk.INSTALLER or (risky and not _BUILD.match(text)):
        return False, f"the script {'touches' if touches else 'runs'} {text[:80]!r}", None
    return False, "", None


EXECUTABLE: Final = Format(
    name="executable",
    suffixes=(
        Suffix(".exe", Trait.NAMED),
        Suffix(".dll", Trait.NAMED),
        Suffix(".pyd", Trait.NAMED),
        Suffix(".sys", Trait.NAMED),
        Suffix(".scr", Trait.NAMED),
        Suffix(".com", Trait.NAMED),
        Suffix(".llamafile", Trait.NAMED | Trait.WEIGHTS | Trait.NONEMPTY | Trait.MIXED),
    ),
    firsts=bytes(
        {magic[0] for magic in (b"\x7fELF", b"\0asm", b"dex", SHORTCUT, b"MZ", *APE, *MACH, *FAT)}
    ),
    matches=matches_binary,
    parse=parse_binary,
    rules=(
        "TW-MODEL-EXECUTABLE",
        "TW-MODEL-EXECUTABLE-LLAMAFILE",
        "TW-MODEL-SCRIPT-HOSTILE",
    ),
)
_USUAL: Final = (".sh", ".bash", ".zsh", ".bat", ".cmd", ".js", ".lua", ".pl", ".rb")
_LANGUAGES: Final = (".js", ".lua", ".pl", ".rb", ".vbs", ".fish")
_UNUSUAL: Final = (
    ".ps1", ".psm1", ".vbs", ".vbe", ".jse", ".wsf", ".hta", ".scr", ".command", ".fish", ".csh",
    ".lnk", ".desktop", ".reg", ".url", ".scf",
)  # fmt: skip
SCRIPT: Final = Format(
    name="script",
    suffixes=(
        *(Suffix(ending, Trait.NAMED | Trait.USUAL) for ending in _USUAL),
        *(Suffix(ending, Trait.NAMED) for ending in _UNUSUAL),
    ),
    firsts=b"#",
    matches=matches_script,
    parse=parse_script,
    rules=(
        "TW-MODEL-SCRIPT",
        "TW-MODEL-SCRIPT-HOSTILE",
        "TW-MODEL-SCRIPT-RISKY",
        "TW-MODEL-SCRIPT-UNUSUAL",
    ),
)
_NAMED: Final = endings(EXECUTABLE.suffixes, Trait.NAMED)
_SCRIPTS: Final = endings(SCRIPT.suffixes, Trait.NAMED)
_USUAL_SCRIPTS: Final = endings(SCRIPT.suffixes, Trait.USUAL)
