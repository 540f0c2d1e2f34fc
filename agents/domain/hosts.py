"""Parses the hosts of URLs strictly: the real host, obfuscation, and imitation."""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Iterable
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Final

import msgspec

from agents.domain.late_pattern import late_pattern

if TYPE_CHECKING:
    from collections.abc import Callable

    from tldextract.tldextract import ExtractResult

INSECURE_SCHEMES: Final = frozenset(
    {"http", "ftp", "git", "rsync", "tftp", "telnet", "ws", "ldap", "gopher", "nfs", "smb"}
)
"""Schemes whose content can be changed in transit."""
DATABASE_SCHEMES: Final = frozenset(
    {"athena", "awsathena", "azurecosmos", "bigquery", "cassandra", "clickhouse", "crate",
     "databricks", "db2", "delta", "glue", "hive", "iceberg", "kafka", "mariadb", "mongodb",
     "mssql", "mysql", "nessie", "oracle", "postgres", "postgresql", "pubsub", "redshift",
     "snowflake", "spanner", "sqlite", "sqlserver", "synapse", "teradata", "trino", "unitycatalog"}
)  # fmt: skip
"""Schemes of databases, catalogues and brokers, which require credentials."""
STORE_SCHEMES: Final = DATABASE_SCHEMES | frozenset(
    {"s3", "s3a", "s3n", "gs", "gcs", "az", "abfs", "abfss", "wasbs", "hf", "mlflow", "oci",
     "dbfs", "hdfs", "r2", "minio"}
)  # fmt: skip
"""Schemes whose authority is a bucket or a store, not a host."""
USUAL_PORTS: Final[dict[str, frozenset[int]]] = {
    "http": frozenset({80, 8080}),
    "https": frozenset({443, 8443}),
    "ftp": frozenset({21}),
    "ftps": frozenset({990}),
    "sftp": frozenset({22}),
    "ssh": frozenset({22}),
    "git": frozenset({9418}),
}
KNOWN_HOSTS: Final = (
    "huggingface.co",
    "github.com",
    "raw.githubusercontent.com",
    "gitlab.com",
    "kaggle.com",
    "storage.googleapis.com",
    "s3.amazonaws.com",
    "commoncrawl.org",
    "data.commoncrawl.org",
    "zenodo.org",
    "modelscope.cn",
    "openml.org",
    "archive.org",
    "wikimedia.org",
)
"""Hosts that attackers imitate, in addition to those a tenant trusts."""

_SCHEME: Final = late_pattern(r"([A-Za-z][A-Za-z0-9+.\-]*):(?:[/\\]{2})")
_LABEL: Final = late_pattern(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER: Final = late_pattern(r"0x[0-9a-f]*|[0-9]+")
_FOLD: Final = str.maketrans(
    "аɑαеёорсухіїјѕԁһոմցӏιλντκмнвтгοερωυχɡıłøđħ013457",  # noqa: RUF001 -- the look-alikes themselves
    "aaaeeopcyxiijsdhnugliavtkmhbtroepwuxgilodholeast",
)
"""Look-alike letters and digits, each with the Latin character it imitates."""
_PAIRS: Final = (("rn", "m"), ("vv", "w"), ("cl", "d"), ("nn", "m"))
_FLOOR: Final = 8
"""Shorter hosts are within one edit of too many legitimate ones."""
CACHE_SIZE: Final = 4_096
"""Entries of the caches: the same few hosts and addresses recur in every run."""
_LOCAL_NAMES: Final = ("localhost", "local", "svc", "internal", "home.arpa", "lan")
_PRIVATE: Final = tuple(
    ipaddress.ip_network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
)
MAX_HOST: Final = 253
MAX_PORT: Final = 65_535


class UrlParts(msgspec.Struct, frozen=True, kw_only=True):
    """The target of a URL."""

    scheme: str = ""
    """Lower case; empty for a path without one."""
    host: str = ""
    """Lower case, without trailing dots, punycode decoded; empty where there is none."""
    port: int | None = None
    path: str = ""
    userinfo: str = ""
    """The part before the last @ of the authority; may hold a password."""
    oddities: tuple[str, ...] = ()
    """userinfo, trailing-dot, ip-literal, odd-port, idn, mixed-script, malformed."""

    @property
    def insecure(self) -> bool:
        """Return whether the content can be changed in transit."""
        return self.scheme in INSECURE_SCHEMES

    @property
    def local(self) -> bool:
        """Return whether it is on the local machine or inside a private network.

        Only plainly written addresses count: a hexadecimal one is obfuscated.
        """
        return self.scheme not in STORE_SCHEMES and is_local(self.host)

    @property
    def store(self) -> bool:
        """Return whether the authority is a bucket or a database rather than a host."""
        return self.scheme in STORE_SCHEMES

    @property
    def database(self) -> bool:
        """Return whether it is in a database, a catalogue or a broker."""
        return self.scheme in DATABASE_SCHEMES


@lru_cache(CACHE_SIZE)
def read_address(url: str) -> UrlParts:
    """Return the target of `url`, as the most lenient client would read it.

    Backslashes count as slashes, the host follows the last `@`, control characters and
    surrounding blanks are dropped. `oddities` lists what is unusual; the host is always the one
    that would be connected to (WHATWG URL, RFC 3986).
    """
    oddities: list[str] = []
    text = "".join(ch for ch in url if ch > " " and ch != "\x7f")
    if text != url.strip():
        oddities.append("malformed")
    match = _SCHEME.match(text)
    if match is None:
        return UrlParts(path=text, oddities=tuple(oddities))
    scheme = match[1].lower()
    rest = text[match.end() :]
    end = next((i for i, ch in enumerate(rest) if ch in "/\\?#"), len(rest))
    authority, path = rest[:end], rest[end:]
    if "\\" in text:
        oddities.append("malformed")
    userinfo, at, hostport = authority.rpartition("@")
    if at and scheme not in STORE_SCHEMES:
        oddities.append("userinfo")
    host, port, malformed = _split_port(hostport)
    if malformed:
        oddities.append("malformed")
    if scheme in STORE_SCHEMES or scheme == "file":
        return UrlParts(scheme=scheme, host=host.lower(), port=port, path=path, userinfo=userinfo,
                     oddities=tuple(dict.fromkeys(oddities)))  # fmt: skip
    name, odd = _read_host(host)
    oddities.extend(odd)
    usual = USUAL_PORTS.get(scheme)
    if port is not None and usual is not None and port not in usual:
        oddities.append("odd-port")
    return UrlParts(
        scheme=scheme,
        host=name,
        port=port,
        path=path,
        userinfo=userinfo,
        oddities=tuple(dict.fromkeys(oddities)),
    )


def _split_port(hostport: str) -> tuple[str, int | None, bool]:
    if hostport.startswith("["):
        host, bracket, tail = hostport.partition("]")
        host += bracket
        digits = tail.removeprefix(":")
        malformed = not bracket or (bool(tail) and not tail.startswith(":"))
    else:
        host, _, digits = hostport.partition(":")
        malformed = False
    if not digits:
        return host, None, malformed
    if not (digits.isascii() and digits.isdigit()) or len(digits) > len(str(MAX_PORT)):
        return host, None, True
    port = int(digits)
    return host, port, malformed or port > MAX_PORT


def _read_host(host: str) -> tuple[str, list[str]]:
    odd: list[str] = []
    if "%" in host:
        odd.append("malformed")
        host = re.sub(r"%([0-9A-Fa-f]{2})", lambda m: chr(int(m[1], 16)), host)
    if host.startswith("["):
        return host.lower(), [*odd, "ip-literal"]
    # Fetchers map these dots to the ASCII one (UTS 46), so they separate labels here as well.
    name = unicodedata.normalize("NFKC", host).lower()
    name = name.replace("\u3002", ".").replace("\uff0e", ".").replace("\uff61", ".")
    if name != host.lower():
        odd.append("idn")
    visible = "".join(ch for ch in name if ch.isprintable() and not ch.isspace())
    if visible != name:
        odd.append("malformed")
        name = visible
    if name.endswith("."):
        odd.append("trailing-dot")
        name = name.rstrip(".")
    labels = [_decode_label(label) for label in name.split(".")]
    decoded = ".".join(labels)
    if decoded != name or not decoded.isascii():
        odd.append("idn")
        if any(_mixed(label) for label in labels):
            odd.append("mixed-script")
    elif decoded and _NUMBER.fullmatch(labels[-1]):
        odd.append("ip-literal")
    elif len(decoded) > MAX_HOST or not all(_LABEL.fullmatch(label) for label in labels):
        odd.append("malformed")
    return decoded, odd


def _decode_label(label: str) -> str:
    if not label.startswith("xn--"):
        return label
    try:
        return label[4:].encode("ascii").decode("punycode").lower()
    except (UnicodeError, OverflowError, ValueError):
        return label


def _mixed(label: str) -> bool:
    scripts = {unicodedata.name(ch, "?").partition(" ")[0] for ch in label if ch.isalpha()}
    return len(scripts) > 1


@lru_cache(CACHE_SIZE)
def skeleton(host: str) -> str:
    """Return `host` with look-alike letters folded: equal skeletons read alike.

    After the confusables of Unicode TR 39, for the letters that hosts are imitated with.
    """
    text = unicodedata.normalize("NFKD", host.lower()).translate(_FOLD)
    text = "".join(ch for ch in text if not unicodedata.combining(ch))
    for pair, letter_pair in _PAIRS:
        text = text.replace(pair, letter_pair)
    return text


def within(host: str, names: Iterable[str]) -> bool:
    """Return whether `host` is one of `names`, or below a name written `*.name` or `.name`."""
    for name in names:
        plain = name.strip().lower().rstrip(".")
        if plain.startswith(("*.", ".")):
            if host.endswith("." + plain.lstrip("*.")):
                return True
        elif host == plain:
            return True
    return False


def below(host: str, name: str) -> bool:
    """Return whether `host` is `name` or one of its subdomains."""
    return host == name or host.endswith("." + name)


@lru_cache(CACHE_SIZE)
def is_local(host: str) -> bool:
    """Return whether `host` is the local machine, a cluster's service or a private address.

    Source: RFC 6761 and 6762 (localhost, .local), RFC 8375 (home.arpa), RFC 1918 and 4193 (private
    addresses), Kubernetes DNS (`.svc`, `.cluster.local`). A name of one label is a service beside
    the caller: public names have two. Link-local addresses do not count: they serve credentials.
    """
    if not host:
        return False
    text = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        last = host.rpartition(".")[2]
        plain = _LABEL.fullmatch(last) is not None and _NUMBER.fullmatch(last) is None
        return plain and ("." not in host or any(below(host, name) for name in _LOCAL_NAMES))
    if str(address) != text:
        return False
    return address.is_loopback or any(
        address.version == net.version and address in net for net in _PRIVATE
    )


@lru_cache(CACHE_SIZE)
def imitates(host: str, trusted: tuple[str, ...]) -> str | None:
    """Return the trusted host that `host` imitates; none if it is itself trusted.

    A host imitates by an equal skeleton, by one edit (hosts of 8 characters or more), or by the
    trusted name as a prefix or with its dots as hyphens.
    """
    names = [name.strip().lower().lstrip("*.").rstrip(".") for name in trusted]
    names = [name for name in names if "." in name]
    if not host or any(below(host, name) for name in names):
        return None
    folded = skeleton(host)
    for name in names:
        if folded == skeleton(name):
            return name
    if any(registered(host) == registered(name) for name in names):
        return None
    for name in names:
        if below(folded, skeleton(name)):
            return name
        if host.startswith(name + ".") or name.replace(".", "-") in host.split("."):
            return name
        if len(name) >= _FLOOR and one_edit(host, name):
            return name
        owner, imitator = registered(name), registered(host)
        if len(owner) >= _FLOOR and (
            one_edit(imitator, owner) or skeleton(imitator) == skeleton(owner)
        ):
            return name
    return None


@cache
def _suffixes() -> Callable[[str], ExtractResult]:
    """Return the reader of the public suffix list that tldextract ships; nothing is fetched."""
    # Imported on first use: it brings its own HTTP client.
    from tldextract import TLDExtract  # noqa: PLC0415

    return TLDExtract(suffix_list_urls=(), cache_dir=None, include_psl_private_domains=True)


@lru_cache(CACHE_SIZE)
def registered(host: str) -> str:
    """Return the registered domain of a host: `example.co.uk` of `data.example.co.uk`.

    A host without a public suffix, or that is one, is returned as it is.

    Source: the public suffix list, private section included (`acme.github.io` is Acme's).
    """
    found = _suffixes()(host)
    if not found.suffix:  # the list's own default rule: a last label that it lacks is a suffix
        return ".".join(host.split(".")[-2:])
    return f"{found.domain}.{found.suffix}" if found.domain else host


def one_edit(left: str, right: str) -> bool:
    """Return whether one insertion, deletion, change or swap of neighbours makes them equal."""
    if left == right or abs(len(left) - len(right)) > 1:
        return False
    start = 0
    shorter = min(len(left), len(right))
    while start < shorter and left[start] == right[start]:
        start += 1
    a, b = left[start:], right[start:]
    return (
        a[1:] == b[1:]
        or a[1:] == b
        or a == b[1:]
        or (len(a) > 1 and len(b) > 1 and a[0] == b[1] and a[1] == b[0] and a[2:] == b[2:])
    )


def without_credentials(url: str) -> str:
    """Return `url` for evidence: no user information, no query, at most 300 characters."""
    match = _SCHEME.match(url.strip())
    text = url.strip()
    if match is not None:
        rest = text[match.end() :]
        end = next((i for i, ch in enumerate(rest) if ch in "/\\?#"), len(rest))
        host = rest[:end].rpartition("@")
        text = text[: match.end()] + ("…@" if host[1] else "") + host[2] + rest[end:]
    text, mark, _ = text.partition("?")
    text = f"{text}?…" if mark else text
    return text if len(text) <= _EVIDENCE else text[: _EVIDENCE - 1] + "…"


_EVIDENCE: Final = 300
