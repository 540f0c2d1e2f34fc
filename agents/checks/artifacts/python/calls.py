"""Knows by their names which calls of Python run, load, fetch, decode or tell of the host."""

from __future__ import annotations

import re
from typing import Final

EVAL: Final = re.compile(
    r"^(builtins\.)?(exec|eval|execfile)$|^code\.Interactive\w+(\.\w+)?$"
    r"|^(torch\.)?_dynamo\.eval|^pandas\.eval$|^numexpr\.evaluate$|^types\.(FunctionType|CodeType)$"
    r"|^imp\.load_\w+$|^importlib\.util\.module_from_spec$|^timeit\.(timeit|repeat)$"
    r"|^(cProfile|profile|pdb|bdb|trace)(\.\w+)?\.(run|runctx|runeval|Profile\.run)$|^doctest\.\w+$"
)
DECODE: Final = re.compile(
    r"^(base64\.\w*decode\w*|base64\.decodebytes|binascii\.(unhexlify|a2b_\w+)|codecs\.decode"
    r"|(builtins\.)?(bytes|bytearray)\.fromhex|zlib\.decompress\w*|bz2\.decompress|lzma\.decompress"
    r"|gzip\.decompress|marshal\.loads?|cryptography\.fernet\.Fernet.*|Crypto\..*|.*\.decrypt)$"
)
NETWORK: Final = re.compile(
    r"^(requests\.(get|post|put|request|Session.*|patch|head)|urllib\.request\.\w+|urllib2?\.\w*open"
    r"|http\.client\.\w+|httpx\.\w+|aiohttp\.\w+|socket\.(socket|create_connection|gethostbyname"
    r"|getaddrinfo)|ftplib\.\w+|smtplib\.\w+|paramiko\.\w+|telnetlib\.\w+|websockets?\.\w+"
    r"|webbrowser\.open\w*|urllib3\.\w+|pycurl\.\w+|xmlrpc\.client\.\w+|dns\.resolver\.\w+)$"
)
SENDS: Final = re.compile(r"(post|put|patch|sendall|sendto|send|urlopen|request)$|^webbrowser\.")
LOADERS: Final = re.compile(
    r"^(_?c?[Pp]ickle\.(loads?|Unpickler)|dill\.loads?|cloudpickle\.loads?|joblib\.load|shelve\.open"
    r"|pandas\.read_pickle|jsonpickle\.decode|yaml\.(unsafe_load|load|full_load)|torch\.load"
    r"|numpy\.load|keras\.models\.load_model|torch\.hub\.load)$"
)
NATIVE: Final = re.compile(
    r"^ctypes\.(CDLL|PyDLL|WinDLL|windll.*|cdll.*|util\.find_library|CFUNCTYPE|memmove|string_at"
    r"|pythonapi.*)$|^cffi\.FFI|^torch\.ops\.load_library$|^torch\.classes\.load_library$"
    r"|^tensorflow\.load_(op_)?library$|^mmap\.mmap$"
)
SECRETS: Final = re.compile(r"^os\.(environ(\.\w+)?|getenv|environb)$|^getpass\.\w+|^keyring\.\w+")
HOOKS: Final = re.compile(r"^(atexit\.register|sys\.(settrace|setprofile|addaudithook))$")
RAW: Final = re.compile(
    r"os\.system\s*\(|subprocess\.\w+\s*\(|\bexec\s*\(|\beval\s*\(|__import__\s*\(|b64decode|"
    r"marshal\.loads|socket\.socket|/dev/tcp/",
)
CODING: Final = re.compile(rb"(?:[ \t\f]*#[^\n]*\n)?[ \t\f]*#[^\n]*?coding[:=][ \t]*([-\w.]+)")
"""The declaration of PEP 263, in one of the first two lines."""
USUAL_CODINGS: Final = re.compile(
    rb"(?i)^(utf[-_]?8([-_]sig)?|(us[-_])?ascii|latin[-_]?1|iso[-_]?8859[-_]\d+|cp\d+|windows[-_]\d+"
    rb"|gbk|gb2312|gb18030|big5|euc[-_]\w+|shift[-_]?jis|koi8[-_]\w)(-(unix|dos|mac))?$"
)
RUNS_FILES: Final = re.compile(
    r"^runpy\.run_(path|module)$|^importlib\.machinery\.\w*Extension\w*"
    r"|^zipimport\.zipimporter$"
)
OPEN_FOLDER: Final = re.compile(r"(?i)^(/tmp|/var/tmp|/dev/shm|https?:|\\\\|c:\\temp)")
NATIVE_FILE: Final = re.compile(r"(?i)(^|[/\\])[^/\\]+\.(so|dll|dylib|pyd|pyc)(\.\d+)*$")
SYSTEM_LIBRARY: Final = re.compile(
    r"(?i)^(lib(c|m|dl|rt|cuda\w*|cudnn\w*|gomp|omp|iomp5|nvrtc|stdc\+\+|gcc_s|pthread|nccl|z)[.\w-]*"
    r"|kernel32|user32|ntdll|msvcrt|nvcuda)(\.(so|dll|dylib)[.\d]*)?$"
)
"""Libraries of the system, which many packages open by their bare name."""
PIPED: Final = re.compile(
    r"\b(curl|wget)\b[^\n]*\|\s*(sudo\s+)?(ba|z|da)?sh\b|/dev/(tcp|udp)/|\bbash\s+-i\b|"
    r"\bpowershell(\.exe)?\s+-[eE]|\bnc\s+-e\b"
)
"""Commands that nothing but a shell can be meant to take."""
HOST: Final = re.compile(
    r"^(socket\.(gethostname|getfqdn)|platform\.(node|uname)|os\.(uname|getlogin)|uuid\.getnode"
    r"|getpass\.getuser)$"
)
STARTUP: Final = re.compile(
    r"^(site\.get(user)?sitepackages|site\.USER_SITE|sysconfig\.get_paths?|distutils\.sysconfig\.\w+)$"
)
"""Folders from which Python runs files by itself."""
DANGEROUS_KEYS: Final = frozenset(
    ("system", "popen", "exec", "eval", "__builtins__", "__import__", "os", "sys", "open", "spawn")
)
VERSIONS: Final = re.compile(r"(version|about|_meta|__init__)\w*\.py$")
"""What a setup script evaluates to learn its version."""
