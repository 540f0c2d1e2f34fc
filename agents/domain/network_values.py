"""Network addresses and wallets in the text of a payload, and how they are written for people."""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from agents.domain.hosts import KNOWN_HOSTS, below, is_local, read_address
from schemas.findings import IndicatorType

CARRIERS: Final = ("arguments", "code", "line", "string", "text")
"""Values of a finding's evidence that hold text of the payload itself."""
TEXT_LIMIT: Final = 16_384
VALUES: Final = 16
"""Values of one payload; the first ones by kind and name are kept."""
_URL: Final = re.compile(
    r"\b(?:https?|ftps?|wss?|tcp|udp)://[^\s'\"<>\\^`{|}\[\]]{3,2048}", re.IGNORECASE
)
_HOST: Final = r"(?P<host>(?:[a-z0-9_-]{1,63}\.){1,8}[a-z0-9-]{1,63})"
_BARE: Final = (
    re.compile(rf"(?<![\w.@/-]){_HOST}:\d{{2,5}}\b", re.IGNORECASE),
    re.compile(rf"['\"]{_HOST}['\"],\s{{0,4}}\d{{2,5}}\b", re.IGNORECASE),
    re.compile(
        r"\b(?:curl|wget|nc|ncat|telnet|ping|nslookup|dig|ssh)\s{1,4}(?:[^\s|;&]{1,40}\s{1,4}){0,4}?"
        rf"{_HOST}(?![\w.-])",
        re.IGNORECASE,
    ),
)
"""Hosts without a scheme count only where a port or a program says that they are hosts."""
_FILES: Final = frozenset(
    {
        *("bin", "csv", "dll", "exe", "gz", "h5", "log", "md", "onnx", "pkl", "pt", "pth", "py"),
        *("cfg", "conf", "ini", "json", "sh", "so", "toml", "txt", "yaml", "yml", "zip"),
    }
)
"""Last labels that are more likely a file's suffix, as in `setup.py:12`."""
_BITCOIN: Final = re.compile(r"\b(?:bc1[ac-hj-np-z02-9]{11,71}|[13][1-9A-HJ-NP-Za-km-z]{25,34})\b")
_ETHEREUM: Final = re.compile(r"\b0x[0-9a-fA-F]{40}\b")
_MONERO: Final = re.compile(r"\b[48][1-9A-HJ-NP-Za-km-z]{94}\b")
_BECH32: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_BASE58: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_GENERATORS: Final = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_BECH32_SUMS: Final = frozenset({1, 0x2BC830A3})
"""The checksum constants of bech32 (BIP 173) and bech32m (BIP 350)."""
_TRAILING: Final = ".,;:!?)}>"


class NetworkValue(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """A network peer or wallet in a payload."""

    kind: IndicatorType
    value: str
    well_known: bool = False
    """Whether the host has many legitimate users, so that a finding does not condemn it."""

    @property
    def key(self) -> str:
        """The key of its indicator."""
        return f"{self.kind.removesuffix('-addr')}:{self.value}"


def network_values(evidence: Mapping[str, Any]) -> tuple[NetworkValue, ...]:
    """Return the public addresses and the wallets in a finding's evidence, each once.

    Args:
        evidence: The evidence of a finding about a payload; only values with its text are read.
    """
    found: set[NetworkValue] = set()
    for name in CARRIERS:
        text = evidence.get(name)
        if isinstance(text, str):
            found.update(_in_text(text[:TEXT_LIMIT]))
    return tuple(sorted(found)[:VALUES])


def defanged(text: str) -> str:
    """Return a value in readable form without anything clickable.

    Args:
        text: A URL, host or address.
    """
    scheme, mark, rest = text.partition("://")
    if not mark:
        return text.replace(".", "[.]")
    host, slash, path = rest.partition("/")
    lower = scheme.lower()
    start = f"{lower.replace('tt', 'xx')}://" if lower.startswith("http") else f"{lower}[:]//"
    return f"{start}{host.replace('.', '[.]')}{slash}{path}"


def _in_text(text: str) -> Iterator[NetworkValue]:
    for match in _URL.finditer(text):
        url = match.group().rstrip(_TRAILING)
        host = read_address(url).host
        named = list(_of_host(host))
        if named:
            yield NetworkValue(kind=IndicatorType.URL, value=_without_user(url))
            yield from named
    for pattern in _BARE:
        for match in pattern.finditer(text):
            host = match["host"].lower()
            if host.rpartition(".")[2] not in _FILES:
                yield from _of_host(host)
    yield from _wallets(text)


def _without_user(url: str) -> str:
    scheme, mark, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme.lower()}{mark}{authority.rpartition('@')[2]}{slash}{path}"


def _of_host(host: str) -> Iterator[NetworkValue]:
    """Yield the indicator of a public host or address, nothing for a local one."""
    if not host or is_local(host):
        return
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        if "." in host and not host.rpartition(".")[2].isdigit():
            known = any(below(host, name) for name in KNOWN_HOSTS)
            yield NetworkValue(kind=IndicatorType.DOMAIN, value=host, well_known=known)
        return
    if address.is_unspecified or address.is_multicast or address.is_link_local:
        return
    kind = IndicatorType.IPV4 if address.version == 4 else IndicatorType.IPV6  # noqa: PLR2004 -- the protocol
    yield NetworkValue(kind=kind, value=str(address))


def _wallets(text: str) -> Iterator[NetworkValue]:
    for match in _BITCOIN.finditer(text):
        if _is_bech32(match.group()) or _is_base58(match.group()):
            yield NetworkValue(kind=IndicatorType.WALLET, value=match.group())
    for pattern in (_ETHEREUM, _MONERO):
        for match in pattern.finditer(text):
            yield NetworkValue(kind=IndicatorType.WALLET, value=match.group())


def _is_bech32(text: str) -> bool:
    """Return whether the checksum of a segregated-witness address is right (BIP 173, BIP 350)."""
    if not text.startswith("bc1"):
        return False
    values = [3, 3, 0, 2, 3, *(_BECH32.find(char) for char in text[3:])]
    if -1 in values:
        return False
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(_GENERATORS):
            check ^= generator if top >> bit & 1 else 0
    return check in _BECH32_SUMS


def _is_base58(text: str) -> bool:
    """Return whether the checksum of a base58 address is right."""
    number = 0
    for char in text:
        digit = _BASE58.find(char)
        if digit < 0:
            return False
        number = number * 58 + digit
    try:
        raw = number.to_bytes(25, "big")
    except OverflowError:
        return False
    return hashlib.sha256(hashlib.sha256(raw[:21]).digest()).digest()[:4] == raw[21:]
