"""Judges shell commands and file paths that code or a model names as text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from agents.domain.hosts import is_local
from agents.domain.late_pattern import late_pattern

PART: Final = 4096
"""Characters of a text that are searched at once."""
MAX_BEGINNING: Final = 65_536
"""Characters of a setting in which a command line may begin."""
MAX_KEY: Final = 64
_BLANKS: Final = late_pattern(r"[^\S\n]{2,}")


class Followed(NamedTuple):
    """One pattern followed by another, with no cut between them.

    A single expression for both would try each first match with each second one. The first match
    within a part suffices, so the time is linear in the length of the text.
    """

    first: re.Pattern[str]
    then: re.Pattern[str]
    cut: re.Pattern[str]

    def ends(self, text: str) -> Iterator[int]:
        """Yield where the first match of each part of a text ends."""
        found: re.Match[str] | None = None
        position = 0
        while (start := self.first.search(text, position)) is not None:
            if found is None or found.start() < start.end():
                found = self.then.search(text, start.end())
            if found is None:
                return
            end = self.cut.search(text, start.end())
            if end is None or found.start() <= end.start():
                yield found.end()
            if end is None:
                return
            position = end.end()

    def is_in(self, text: str) -> bool:
        """Return whether a text contains it."""
        return next(self.ends(text), None) is not None


def _within_line(first: str, then: str) -> Followed:
    return Followed(*(late_pattern(part, re.IGNORECASE) for part in (first, then, r"\n")))


_LISTENER: Final = Followed(
    *(late_pattern(part, re.IGNORECASE) for part in (r"\bnc(at)?\b", r"\s-[a-z]*[ec]\b", r"[|;]"))
)
"""Commands that give a shell to anyone who connects."""
_FOLLOWED: Final = (
    _LISTENER,
    _within_line(r"\b(curl|wget|fetch|aria2c|lwp-download)\b", r"https?:|ftp:|\||\$\(|\d+\.\d+\."),
    _within_line(r"\becho\b", r">+\s*[/~]"),
    _within_line(r"\btar\b", r"\|\s*(curl|nc)\b"),
)
_HOSTILE: Final = late_pattern(
    r"""
    /dev/(tcp|udp)/ | \bbash\s+-i\b | \b(ba|z|da|k)?sh\s+-i\b | \bmkfifo\b
    | \|\s*(ba|z|da)?sh\b | \|\s*python[\d.]*\b | \bpython[\d.]*\s+-c\b | \bperl\s+-e\b
    | \bruby\s+-e\b | \bphp\s+-r\b | \bpowershell\b | \bpwsh\b | \bcmd(\.exe)?\s+/[ck]\b
    | \bcertutil\b | \bmshta\b | \brundll32\b | \bregsvr32\b | \bbitsadmin\b | \bwmic\b
    | \bbase64\s+(-d|--decode|-D)\b | \brm\s+-[a-z]*[rf] | \bchmod\s+(\+x|[0-7]*[157]\b)
    | \bcrontab\b | \bsystemctl\s+(enable|start)\b | \buseradd\b | \bsudo\b | \bnohup\b | \bsetsid\b
    | \bsocat\b | \btelnet\b | \bnslookup\b | \bwhoami\b | \bid\s*$ | ^\s*id\b | \buname\s+-a\b
    | \btouch\s+/ | \bcalc(\.exe)?\b | \bxcalc\b | \bgnome-calculator\b | \bxmrig\b | \bmkfs\b
    | \bdd\s+if= | :\(\)\s*\{ | \beval\s | \bcat\s+/etc/ | \bscp\b
    | \benv\s*\| | \bprintenv\b | \bkill\s+-9\b | \bshutdown\b
    """,
    re.VERBOSE | re.IGNORECASE,
)
_HARMLESS: Final = frozenset(
    [
        "git",
        "nvidia-smi",
        "nvcc",
        "rocm-smi",
        "rocminfo",
        "ffmpeg",
        "ffprobe",
        "which",
        "where",
        "espeak",
        "espeak-ng",
        "hostname",
        "lscpu",
        "ldconfig",
        "ninja",
        "cmake",
        "make",
        "gcc",
        "g++",
        "clang",
        "cc",
        "c++",
        "nproc",
        "sox",
        "uname",
        "sysctl",
        "vcgencmd",
        "npu-smi",
        "hipconfig",
        "lspci",
        "free",
        "df",
        "ls",
        "pwd",
        "xcrun",
        "sw_vers",
        "mecab",
        "tar",
        "unzip",
        "gzip",
        "file",
        "tree",
        "tput",
        "stty",
        "clear",
        "cls",
        "conda",
        "docker",
    ]
)
_INSTALLERS: Final = late_pattern(r"^\s*\S*(pip\d?|python[\d.]*\s+-m\s+pip|conda|uv|apt-get|apt)\b")
_PRIVATE: Final = late_pattern(
    r"""
    \.ssh(/|\\) | authorized_keys | id_(rsa|ed25519|ecdsa) | \.aws(/|\\) | \.kube/config
    | \.netrc | \.pypirc | \.npmrc | \.docker/config | \.git-credentials | /etc/(passwd|shadow|cron)
    | /etc/sudoers | /etc/ld\.so\.preload | \.bashrc | \.bash_profile | \.zshrc | \.profile$
    | /var/spool/cron | /etc/init\.d | systemd/(system|user) | LaunchAgents | Startup\\
    | /proc/self/(environ|mem) | 169\.254\.169\.254 | \.gnupg | wallet\.dat | Login\s?Data
    | \.huggingface/token | \.cache/huggingface/token | sitecustomize | usercustomize
    """,
    re.VERBOSE | re.IGNORECASE,
)


_PYTHON: Final = late_pattern(r"\S*python[\d.]*\s+-c\b")
_RUNS: Final = late_pattern(
    r"\b(exec|eval|compile|__import__|urlopen|b64decode|unhexlify|system|popen|socket|requests)\b"
)
"""Words with which a short program hides or fetches another."""


_CONNECTED: Final = late_pattern(
    r"(?i)/dev/(tcp|udp)/(?!localhost|127\.|10\.|192\.168\.|172\.(1[6-9]|2\d|3[01])\.|[\w-]+/|\$|\{|<|[\"'])\w"
    r"|\bsh\s+-i\b[^\n]{0,80}/dev/(tcp|udp)/|/dev/(tcp|udp)/[^\n]{0,80}0>&1"
    r"|\bsh\s*<\s*/dev/(tcp|udp)/"
    r"|\bexec\s+\d+<>\s*/dev/(tcp|udp)/[^\n]{0,200}(while\s+read|sh\b)"
)
"""A connection with a shell at its end, or to a host that is written out.

Whether a port of a machine answers is asked in the same way, of a host that a variable names.
"""
_DEVICE: Final = "/dev/"
"""In every match of `_CONNECTED`, in letters of any case."""
_UNTRUSTED: Final = late_pattern(
    r"(?i)\b(?:ba|z|da|k)?sh\s+-i\b[^\n;]{0,40}?(?:[<>]&|&>|\|\s*(?:nc|ncat|socat|telnet|openssl)\b)"
    r"|\|\s*(?:/usr)?(?:/bin/)?(?:ba|z|da|k)?sh\s+-i\b"
)
"""An interactive shell whose input or output is a connection."""
_FETCHED: Final = Followed(
    *(
        late_pattern(part, re.IGNORECASE)
        for part in (
            r"\b(curl|wget)\b",
            (
                r"http://(?!localhost|127\.)|https?://(?!127\.|0\.)\d+\.\d+\."
                r"|(?<![\w./:@-])(?!127\.|0\.)\d{1,3}(\.\d{1,3}){3}[:/]"
            ),
            r"[\n|]",
        )
    )
)
_PROGRAMS: Final = (
    r"(?:sudo\s+(?:-\w+\s+)*)?(?:/usr)?(?:/bin/)?(?:env\s+)?"
    r"(?:(?:ba|z|da|k|a)?sh|python[\d.]*|perl|ruby|node|php|pwsh|source|eval|chmod)\b"
)
_RUN: Final = late_pattern(rf"(?i)(?:\|\s*{_PROGRAMS}(?!\s+-[mce]\b)|(?:&&|;)\s*{_PROGRAMS})")
"""Programs that run what a line fetched; with a program of their own they only read it."""
_SERVED: Final = late_pattern(r"[^\s\"';|]{1,300}/([^\s/\"';|?]{2,200})")
"""The rest of an address by name, and the name of its file."""
_SAVED: Final = late_pattern(
    r"\s(?:-[a-zA-Z]{0,6}[oO]|--output(?:-document)?)[\s=]*[\"']?([^\s\"';&|]+)"
)
_ARGUMENT: Final = late_pattern(r"\s+(?:[-+]\S+\s+|[0-7]{3,4}\s+){0,4}[\"']?([^\s;&|\"']+)")
_UNTRUSTED_PAIRS: Final = (
    _LISTENER,
    _within_line(
        r"\bsocat\b",
        r"\b(TCP|UDP|OPENSSL|SSL)\d?(-\w+)?:[^\n]{0,300}?\b(EXEC|SYSTEM|SHELL):"
        r"|\b(EXEC|SYSTEM|SHELL):[^\n]{0,300}?\b(TCP|UDP|OPENSSL|SSL)\d?(-\w+)?:",
    ),
    _within_line(r"\bmkfifo\b", r"\bnc\b"),
    _within_line(r"\bbase64\s+(-d|--decode)\b", r"\|\s*((ba|z|da)?sh|python|perl)\b"),
    _within_line(
        r"\b((ba|z|da)?sh|eval|source|python[\d.]*)\s+(-c\s+)?[\"']?(<\(|\$\(|`)\s*(curl|wget)\b",
        r"http://(?!localhost|127\.)",
    ),
)
_INTERPRETERS: Final = r"\b(python[\d.]*|perl|ruby|node|php)\s+(-\w+\s+){0,3}-[cer]\b"
_REPLACEABLE: Final = (
    r"(http://(?!localhost|127\.)|https?://\d{1,3}\.\d{1,3}\.|b64decode\(|decompress\(|fromhex\()"
)
_FETCHING: Final = (
    r"\b(urlopen|urlretrieve|requests\.get|httpx\.get|URI\.open|LWP::Simple)\b"
    r"(?!\s*\(\s*[\"']https?://(localhost|127\.))"
)
_ONE_LINERS: Final = (
    _within_line(_INTERPRETERS, rf"\b(exec|eval)\b[^\n]{{0,200}}?{_REPLACEABLE}"),
    _within_line(_INTERPRETERS, rf"{_REPLACEABLE}[^\n]{{0,400}}?\b(exec|eval)\s*\("),
    _within_line(_INTERPRETERS, rf"\b(exec|eval)\b[^\n]{{0,200}}?{_FETCHING}"),
    _within_line(
        _INTERPRETERS,
        r"(socket|fsockopen|TCPSocket|net\.connect|require\([\"']net[\"']\))[^\n]{0,600}?"
        r"(/bin/(ba|z|da)?sh|pty\.spawn|dup2|cmd\.exe|\bexec\s*\(|\bpopen\s*\()",
    ),
)
"""Programs of one line that run what they fetch or decode, or that give a shell to a host."""
_CREDENTIALS: Final = (
    r"(\.ssh\b(?!/(?:\w+\.pub|known_hosts|config|authorized_keys)\b)|\.aws\b|\.kube/config|\.netrc|\.pypirc|\.npmrc|\.docker/config|\.git-credentials"
    r"|\.gnupg|\bid_(rsa|ed25519|ecdsa)\b(?!\.pub)|/etc/(passwd|shadow)|huggingface/token"
    r"|/proc/(self|\d+)/environ|serviceaccount/token)"
)
_CREDENTIAL: Final = late_pattern(_CREDENTIALS)
_TAKES: Final = (
    r"((^|[;&|(\"'`]|\s)(env|printenv|export\s+-p|declare\s+-x|set)\s*(?=[|`)])"
    rf"|\b(cat|tar|zip|base64|gzip|head|tail|xxd)\b[^|\n]{{0,300}}?{_CREDENTIALS}"
    r"|\b(curl|wget)\b[^|\n]{0,300}?\b(169\.254\.(169\.254|170\.2)|metadata\.google\.internal)\b"
    r"|\bgh\s+auth\s+token\b|\bgcloud\s+auth\s+(application-default\s+)?print-\w+-token\b"
    r"|\baws\s+(sts\s+get-session-token|secretsmanager\s+get-secret|configure\s+get)\b"
    r"|\baz\s+account\s+get-access-token\b|\bkubectl\s+get\s+secrets?\b|\bvault\s+kv\s+get\b"
    r"|\bgit\s+credential\s+fill\b|\bsecurity\s+find-\w+-password\b"
    r"|\b(tar|zip)\b[^|\n]{0,300}?\s(~/?|\$HOME/?|/(?:root|home)/?|/content/drive\S{0,100})(?=[\s|]))"
)
"""Commands that print the environment, credentials and tokens, or all that a user has."""
_SENDS: Final = (
    r"(\|\s*(sudo\s+)?(curl|wget|https?)\b[^|\n]{0,300}?"
    r"(@-|<-|@/dev/stdin|\s-T\s*-|--(upload|post|body)-file[= ]-|\s<\s*/dev/stdin)"
    r"|\|\s*(nc|ncat|netcat|socat|openssl\s+s_client)\s+-?[\w.]"
    r"|\|\s*ssh\s+\S+@)"
)
_KEY_FILES: Final = r"\*?\.(pem|key|p12|pfx|kdbx|env|ppk)\b|id_rsa|id_ed25519|wallet|credentials"
_POSTS: Final = r"\b(curl|wget)\b"
_SENDING: Final = (
    _within_line(_TAKES, _SENDS),
    _within_line(
        _POSTS,
        rf"(\s(-d|-F|-T|--data[\w-]*|--form|--upload-file|--post-file|--body-file|--json)[= ]?"
        rf"[\"']?(\w+=)?@?\S{{0,100}}?{_CREDENTIALS})",
    ),
    _within_line(
        _POSTS,
        r"(-d|--data[\w-]*|-F|--form|--json|--post-data|\?\w+=)[= ]?\S{0,100}?(\$\(|`)\s*"
        rf"(env|printenv|(cat|base64|head)\s[^)`\n]{{0,200}}?{_CREDENTIALS})",
    ),
    _within_line(r"\b(nc|ncat|netcat)\b", rf"<\s*\S{{0,100}}?{_CREDENTIALS}"),
    _within_line(
        rf"\bfind\b[^\n]{{0,200}}?-i?name\s+[\"']?({_KEY_FILES})",
        r"\b(curl|wget)\b[^\n]{0,200}?(\s(-F|-T|-d|--data-binary|--form|--upload-file|--post-file)\b)",
    ),
)
"""Commands that post the environment or credentials to a host."""
_FOR_THEMSELVES: Final = (
    _within_line(r"\bxmrig\b", r"\s(-o|-u|-c|--url|--config|--donate-level|--coin)\b"),
    _within_line(r"\s(-o|--url|--pool)[= ]?", r"\bstratum\d?\+(tcp|ssl|tls)://"),
    _within_line(
        r"\bwhile\s+(:|true|\[?\s*1)\s*",
        r"\b(curl|wget)\b[^|\n]{0,200}?\|\s*((ba|z|da)?sh|python)\b",
    ),
    Followed(late_pattern(r"Runner\.Worker"), late_pattern(r"/mem\b|/maps\b"), late_pattern(r"\Z")),
)
"""Miners, programs that fetch their orders for ever, and readers of a build's memory."""
_SHELLS: Final = _UNTRUSTED_PAIRS[:4]
"""Programs that builds never need."""
_ADDRESS: Final = late_pattern(
    r"(?:(?:https?|ftp)://(?:[^\s/@]*@)?|(?<![\w./:@-]))(\d{1,3}(?:\.\d{1,3}){3})(?![\w.-])"
)
_PIPED: Final = late_pattern(r"\bbash\s+-i\b|\bpowershell(\.exe)?\s+-[eE]|\bnc\s+-e\b")
_PIPED_PAIR: Final = Followed(
    late_pattern(r"\b(curl|wget)\b"),
    late_pattern(r"\|\s*(sudo\s+)?(ba|z|da)?sh\b"),
    late_pattern(r"\n"),
)


_BEGINS: Final = late_pattern(
    r"(?m)^(?![A-Z][a-z']*\s)(?:|[^\n]*?(?:[;&(]|\b(?:then|do|else)\b))\s*(?:\w+=\S{0,200}\s+)*+"
    r"(?:(?:sudo|nohup|exec|time|env)\s+){0,4}(?:\.?/(?:[\w.-]+/)*+)?"
    r"(?:(?:ba|z|da|k)?sh|curl|wget|python[\d.]*|perl|ruby|php|node|nc|ncat|socat|tar|cat|printenv|env"
    r"|xmrig|rm|mkfifo|for|while|echo|find|gh|gcloud|aws|az|kubectl|vault|base64|openssl|zip|source|\d+<>"
    r"|powershell|pwsh|cmd|iwr|irm)(?=[\s|/.]|$)"
    r"|^\w+=[\"']?\$\("
)
"""How a command line begins, unlike a sentence about one."""
_PROSE: Final = late_pattern(
    r"(?i)(?:^|[._])(?:descr\w*|text|prompt|content|message|examples?|pattern|regex\w*|summary|help|title"
    r"|comments?|notes?|doc\w*|readme|question|answer|response|input|output|instruction|logs?"
    r"|key_?words?|phrases?|payloads?|block\w*|deny\w*|signatures?|samples?|match\w*|contains|quer(?:y|ies)|conditions?|search\w*|expressions?|filters?)(?:\[\d+\])*$"
)
"""Keys of texts that are for people, models or matching."""


def parts_of(text: str, length: int = PART) -> Iterator[str]:
    """Yield a text in parts, each of which overlaps the one before by half.

    Long blanks count as one: padding tears no command apart.

    Args:
        text: The text.
        length: Characters of a part.
    """
    if len(text) > length:
        text = _BLANKS.sub(" ", text)
    yield text[:length]
    for start in range(length // 2, len(text) - length // 2, length // 2):
        yield text[start : start + length]


def is_hostile_command(text: str) -> bool:
    """Return whether a shell command fetches and runs, opens a shell, persists or destroys."""
    return any(
        _HOSTILE.search(part) or any(pair.is_in(part) for pair in _FOLLOWED)
        for part in parts_of(text)
    )


def is_untrusted_fetch(text: str) -> bool:
    """Return whether a command runs code that others can replace, or opens a reverse shell."""
    return any(map(_is_untrusted_fetch, parts_of(text)))


def _is_untrusted_fetch(text: str) -> bool:
    return (
        bool(_UNTRUSTED.search(text) or _CONNECTED.search(text))
        or _sends_secrets(text)
        or any(pair.is_in(text) for pair in (*_UNTRUSTED_PAIRS, *_ONE_LINERS, *_FOR_THEMSELVES))
        or _runs_what_it_fetched(text)
    )


def is_command_line(path: str, value: str) -> bool:
    """Return whether a setting of any name is plainly a command line.

    Args:
        path: The keys that lead to it, with dots between them.
        value: Its text.
    """
    return (
        _BEGINS.search(value[:MAX_BEGINNING]) is not None and _PROSE.search(path[-MAX_KEY:]) is None
    )


def connects_a_shell(text: str) -> bool:
    """Return whether a command connects a shell to a host, or itself to a host by name."""
    if _DEVICE not in text.lower():
        return False  # as almost all texts
    return any(_CONNECTED.search(part) is not None for part in parts_of(text))


def holds_credentials(text: str) -> bool:
    """Return whether a path leads to the credentials of a user."""
    return _CREDENTIAL.search(text[:PART]) is not None


def sends_secrets(text: str) -> bool:
    """Return whether a command sends the environment or credentials to a host."""
    return any(map(_sends_secrets, parts_of(text)))


def _sends_secrets(text: str) -> bool:
    return any(pair.is_in(text) for pair in _SENDING)


def runs_decoded(text: str) -> bool:
    """Return whether a command starts a program of one line that decodes or fetches another."""
    return any(pair.is_in(part) for part in parts_of(text) for pair in _ONE_LINERS)


def opens_to_outside(text: str) -> bool:
    """Return whether a command opens a reverse shell, or runs code from a public IP address.

    No build fetches its tools this way; some still fetch them by host name without TLS.
    """
    return any(map(_opens_to_outside, parts_of(text)))


def _opens_to_outside(text: str) -> bool:
    if _UNTRUSTED.search(text) or _CONNECTED.search(text):
        return True
    if any(pair.is_in(text) for pair in (*_SHELLS, *_ONE_LINERS, *_FOR_THEMSELVES)):
        return True
    if _sends_secrets(text):
        return True
    bare = any(not is_local(host) for host in _ADDRESS.findall(text))
    return bare and _is_untrusted_fetch(text)


def _runs_what_it_fetched(text: str) -> bool:
    for end in _FETCHED.ends(text):
        line = text.find("\n", end)
        line = line if line >= 0 else len(text)
        names = _names(text, end, line)
        for run in _RUN.finditer(text, end, line):
            if run[0].startswith("|") or not names:
                return True
            argument = _ARGUMENT.match(text, run.end(), line)
            if argument is None or argument[1].rsplit("/", 1)[-1] in names:
                return True
    return False


def _names(text: str, start: int, end: int) -> set[str]:
    """Return the names of the file that a command fetches; none if any program may be it.

    Args:
        text: The command.
        start: Where the scheme of the address ends, or within a numeric address.
        end: Where the line ends.
    """
    served = _SERVED.match(text, start, end)
    if served is None or not text.endswith("://", 0, start):
        return set()
    saved = _SAVED.search(text, start, end)
    return {served[1]} | ({saved[1].rsplit("/", 1)[-1]} if saved else set())


def is_piped_to_a_shell(text: str) -> bool:
    """Return whether a text is a command that needs a shell."""
    return bool(_PIPED.search(text)) or connects_a_shell(text) or _PIPED_PAIR.is_in(text)


_REMOVES_OWN: Final = late_pattern(
    r"rm(?:\s+-\w+){0,3}(?:\s+(?!-|\S*\.\.)[\w.*-][\w./*-]{0,200}){1,20}\s*"
)
"""The removal of files below the current folder, as a build cleans up."""


def is_harmless_command(text: str) -> bool:
    """Return whether a command only queries the system or calls a known build tool."""
    words = text.split()
    first = words[0].rsplit("/", 1)[-1] if words else ""
    if _REMOVES_OWN.fullmatch(text):
        return True
    return first in _HARMLESS and not is_hostile_command(text)


def runs_python(text: str) -> bool:
    """Return whether a command starts Python on a short program, and does nothing else."""
    match = _PYTHON.match(text)
    if match is None:
        return False
    rest = text[match.end() :]
    return not is_hostile_command(rest) and not is_private_path(rest) and not _RUNS.search(rest)


def is_installer_command(text: str) -> bool:
    """Return whether a command installs packages."""
    return bool(_INSTALLERS.match(text)) and not re.search(r"https?:|--index-url|-i\s", text)


def is_private_path(text: str) -> bool:
    """Return whether a path leads to credentials, or to what runs at log-in or start-up."""
    return bool(_PRIVATE.search(text[:PART]))  # no path is longer
