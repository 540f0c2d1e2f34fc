"""Judges shell commands and file paths that code or a model names as text."""

from __future__ import annotations

import re
from typing import Final

_HOSTILE: Final = re.compile(
    r"""
    /dev/(tcp|udp)/ | \bbash\s+-i\b | \b(ba|z|da|k)?sh\s+-i\b | \bnc(at)?\b[^|;]*\s-[a-z]*[ec]\b
    | \bmkfifo\b | \b(curl|wget|fetch|aria2c|lwp-download)\b[^\n]*(https?:|ftp:|\||\$\(|\d+\.\d+\.)
    | \|\s*(ba|z|da)?sh\b | \|\s*python[\d.]*\b | \bpython[\d.]*\s+-c\b | \bperl\s+-e\b
    | \bruby\s+-e\b | \bphp\s+-r\b | \bpowershell\b | \bpwsh\b | \bcmd(\.exe)?\s+/[ck]\b
    | \bcertutil\b | \bmshta\b | \brundll32\b | \bregsvr32\b | \bbitsadmin\b | \bwmic\b
    | \bbase64\s+(-d|--decode|-D)\b | \brm\s+-[a-z]*[rf] | \bchmod\s+(\+x|[0-7]*[157]\b)
    | \bcrontab\b | \bsystemctl\s+(enable|start)\b | \buseradd\b | \bsudo\b | \bnohup\b | \bsetsid\b
    | \bsocat\b | \btelnet\b | \bnslookup\b | \bwhoami\b | \bid\s*$ | ^\s*id\b | \buname\s+-a\b
    | \btouch\s+/ | \bcalc(\.exe)?\b | \bxcalc\b | \bgnome-calculator\b | \bxmrig\b | \bmkfs\b
    | \bdd\s+if= | :\(\)\s*\{ | \beval\s | \becho\b[^\n]*>+\s*[/~] | \bcat\s+/etc/ | \bscp\b
    | \benv\s*\| | \bprintenv\b | \btar\b[^\n]*\|\s*(curl|nc)\b | \bkill\s+-9\b | \bshutdown\b
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
_INSTALLERS: Final = re.compile(r"^\s*\S*(pip\d?|python[\d.]*\s+-m\s+pip|conda|uv|apt-get|apt)\b")
_PRIVATE: Final = re.compile(
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


_UNTRUSTED: Final = re.compile(
    r"""(?ix)
    /dev/(tcp|udp)/ | \bbash\s+-i\b | \bnc(at)?\b[^|;]*\s-[a-z]*[ec]\b | \bmkfifo\b[^\n]*\bnc\b
    | \b(curl|wget)\b[^\n|]*(http://(?!localhost|127\.)|https?://\d+\.\d+\.)[^\n]*(\||&&|;)\s*
      (sudo\s+)?((ba|z|da)?sh|python|perl|chmod)\b
    | \bbase64\s+(-d|--decode)\b[^\n]*\|\s*((ba|z|da)?sh|python|perl)\b
    | \b((ba|z|da)?sh)\s+(-c\s+)?["']?(<\(|\$\()\s*(curl|wget)\b[^\n]*http://
    """
)


def is_hostile_command(text: str) -> bool:
    """Return whether a shell command fetches and runs, opens a shell, persists or destroys."""
    return bool(_HOSTILE.search(text[:4096]))


def is_untrusted_fetch(text: str) -> bool:
    """Return whether a command runs what anyone on the way decides, or opens a shell to outside."""
    return bool(_UNTRUSTED.search(text[:4096]))


def is_harmless_command(text: str) -> bool:
    """Return whether a command only asks the machine about itself or calls a known build tool."""
    words = text.split()
    first = words[0].rsplit("/", 1)[-1] if words else ""
    return first in _HARMLESS and not is_hostile_command(text)


def is_installer_command(text: str) -> bool:
    """Return whether a command installs packages."""
    return bool(_INSTALLERS.match(text)) and not re.search(r"https?:|--index-url|-i\s", text)


def is_private_path(text: str) -> bool:
    """Return whether a path leads to credentials, or to what runs at log-in or start-up."""
    return bool(_PRIVATE.search(text[:4096]))
