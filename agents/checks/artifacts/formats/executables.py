"""Recognises executables among a model's files: ELF, PE, Mach-O, scripts, llamafiles."""
# ruff: noqa: PLR2004 -- sizes and offsets are given where the format is read

from __future__ import annotations

import re
from typing import Final

from agents.checks.artifacts.formats.format import FileName, Format, Suffix, Trait, endings
from agents.checks.artifacts.formats.plain_text import is_binary
from agents.checks.artifacts.program_files import is_of_program
from agents.checks.artifacts.python.shell_commands import (
    connects_a_shell,
    is_hostile_command,
    is_known_installer,
    is_piped_to_a_shell,
    is_private_path,
    is_untrusted_fetch,
    parts_of,
    sends_secrets,
)
from agents.checks.artifacts.readers.embedded import descend_decoded
from agents.checks.artifacts.readers.window import decode_text, read_document
from agents.checks.artifacts.scanning import Scan, Source
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
    r"(?i)-enc(odedcommand)?\s+[A-Za-z0-9+/=]{16,}|FromBase64String|IEX\b|Invoke-Expression|"
    r"WScript\.Shell|ActiveXObject|CreateObject\(|child_process|eval\s*\(\s*(atob|unescape)|"
    r"\beval\s+\"?\$\(|\|\s*(sudo\s+)?(ba|z)?sh\b|"
    r"\.Download(String|File)\s*\(\s*['\"$]|Net\.WebClient|Start-BitsTransfer|\bxxd\s+-r|"
    r"<\?php[^?]*\b(system|exec|shell_exec|passthru|eval|assert|popen|proc_open)\s*\(|"
    r"\bRuntime\.getRuntime\(\)\.exec|\bShell\s*\(\s*\"|Start-Process|-w(indowstyle)?\s+hidden\b"
)
"""Never in a legitimate script: encoded commands, fetching and running, web shells."""
_IN_ONE_LINE: Final = tuple(
    (late_pattern(first), late_pattern(then))
    for first, then in (
        (r"(?i)base64\s+(-d|--decode)", r"(?i)\|\s*(ba|z)?sh"),
        (
            r"(?i)\b(certutil|bitsadmin|mshta|regsvr32|rundll32)\b",
            r"(?i)https?:|javascript:|-urlcache|/transfer",
        ),
    )
)
"""The same, in two parts of one line; searched in turn, so that each line is read once."""
_GRAVE: Final = late_pattern(
    r"(?i)\b(nc|ncat|socat|bash\s+-i|mkfifo|xmrig|crontab)\b"
    r"|rm\s+-\w*[rf]\w*\s+(-\w+\s+)*"
    r"(~/?|\$HOME/?|/|\*|/(bin|boot|etc|home|lib\w*|root|sbin|usr|var|opt)/?)\*?(?=[\s;&|\"']|$)"
)
"""Commands that listen, persist or destroy what is not the script's own."""
_INSTALLS: Final = late_pattern(
    r"(sudo\s+)?(apt|apt-get|yum|dnf|apk|brew|microdnf|zypper|conda)\s[^;&|]{0,100}\binstall\b|apk\s+add\b"
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
    report_script(scan, decode_text(read_document(scan, source)), shell=shell, in_program=own)
    usual = own or name.lower().endswith(_USUAL_SCRIPTS)
    scan.report(
        "TW-MODEL-SCRIPT" if usual else "TW-MODEL-SCRIPT-UNUSUAL",
        "a script is among the model's files",
        key="script",
    )


def report_script(scan: Scan, text: str, *, shell: bool = True, in_program: bool = False) -> None:
    """Report what a script's text fetches and runs, encoded text included.

    Args:
        scan: Where to report.
        text: Of any interpreter.
        shell: Whether its lines may be commands of a shell.
        in_program: Whether it is a program's own, which nothing starts by loading a model.
    """
    reported: set[str] = set()
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if stripped.startswith(("#", "::", "//", "rem ", "REM ")):
            continue
        scan.budget.step(1 + len(line) // 16)
        if found := next(filter(None, map(obfuscated, parts_of(line, 20_000))), ""):
            calm = is_known_installer(line) or (
                in_program and not (shell and is_piped_to_a_shell(line))
            )
            hostile = (shell and is_untrusted_fetch(line)) or not calm
            rule = "TW-MODEL-SCRIPT-HOSTILE" if hostile else "TW-MODEL-SCRIPT-RISKY"
            _report_line(scan, reported, rule, f"the script runs {found[:80]!r}", number)
        elif not shell:
            continue
        elif is_private_path(line) and re.search(r">|curl|nc |scp|base64|cat ", line):
            rule = "TW-MODEL-SCRIPT-RISKY" if in_program else "TW-MODEL-SCRIPT-HOSTILE"
            _report_line(scan, reported, rule, f"the script touches {stripped[:80]!r}", number)
        elif is_untrusted_fetch(line):
            rule = "TW-MODEL-SCRIPT-HOSTILE"
            what = "sends" if sends_secrets(line) else "runs"
            _report_line(scan, reported, rule, f"the script {what} {stripped[:80]!r}", number)
        elif is_hostile_command(stripped) and not _BUILD.match(stripped):
            grave = _GRAVE.search(stripped) and not _INSTALLS.match(stripped) and not in_program
            rule = "TW-MODEL-SCRIPT-HOSTILE" if grave else "TW-MODEL-SCRIPT-RISKY"
            _report_line(scan, reported, rule, f"the script runs {stripped[:80]!r}", number)
        if len(line) < MAX_LINE:
            descend_decoded(scan, f"line {number}", line)
        else:
            scan.mark_incomplete(f"what line {number} encodes, of {len(line)} characters")


def _report_line(scan: Scan, reported: set[str], rule: str, what: str, number: int) -> None:
    """Report a line; one finding of merely risky lines is enough."""
    if rule in reported:
        return
    scan.report(rule, what, line=number)
    if rule == "TW-MODEL-SCRIPT-RISKY":
        reported.add(rule)


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
