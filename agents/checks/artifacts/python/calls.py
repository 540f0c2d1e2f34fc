"""The patterns by which calls, commands and texts of Python source are judged."""

from __future__ import annotations

from typing import Final

from agents.checks.artifacts.dangerous_names import functions
from agents.domain.late_pattern import late_pattern

EVAL: Final = functions("evaluate")
DECODE: Final = functions("decode")
NETWORK: Final = functions("network")
LOADERS: Final = functions("load")
NATIVE: Final = functions("native")
SECRETS: Final = functions("secret")
HOOKS: Final = functions("hook")
RUNS_FILES: Final = functions("run-file")
HOST: Final = functions("host")
STARTUP: Final = functions("startup")
"""Folders from which Python runs files automatically."""
SENDS: Final = late_pattern(r"(post|put|patch|sendall|sendto|send|urlopen|request)$|^webbrowser\.")
RAW: Final = late_pattern(
    r"os\.system\s*\(|subprocess\.\w+\s*\(|\bexec\s*\(|\beval\s*\(|__import__\s*\(|b64decode|"
    r"marshal\.loads|socket\.socket|/dev/tcp/",
)
CODING: Final = late_pattern(rb"(?:[ \t\f]*#[^\n]*\n)?[ \t\f]*#[^\n]*?coding[:=][ \t]*([-\w.]+)")
"""The declaration of PEP 263, in one of the first two lines."""
USUAL_CODINGS: Final = late_pattern(
    rb"(?i)^(utf[-_]?8([-_]sig)?|(us[-_])?ascii|latin[-_]?1|iso[-_]?8859[-_]\d+|cp\d+|windows[-_]\d+"
    rb"|gbk|gb2312|gb18030|big5|euc[-_]\w+|shift[-_]?jis|koi8[-_]\w)(-(unix|dos|mac))?$"
)
OPEN_FOLDER: Final = late_pattern(r"(?i)^(/tmp|/var/tmp|/dev/shm|https?:|\\\\|c:\\temp)")
NATIVE_FILE: Final = late_pattern(r"(?i)(^|[/\\])[^/\\]+\.(so|dll|dylib|pyd|pyc)(\.\d+)*$")
SYSTEM_LIBRARY: Final = late_pattern(
    r"(?i)^(lib(c|m|dl|rt|cuda|cudnn|gomp|omp|iomp5|nvrtc|stdc\+\+|gcc_s|pthread|nccl|z)[.\w-]*"
    r"|kernel32|kernelbase|user32|gdi32|ntdll|msvcrt|ucrtbase|crypt32|bcrypt|ncrypt|advapi32|shell32"
    r"|ole32|oleaut32|ws2_32|iphlpapi|psapi|dbghelp|winmm|shlwapi|secur32|userenv|version|nvml"
    r"|nvcuda)(\.(so|dll|dylib)[.\d]*)?$"
)
"""Libraries of the system, which many packages open by their bare name."""
