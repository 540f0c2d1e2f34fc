"""Finds credentials in the addresses of indexes and packages, and masks them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote

import msgspec

from agents.checks.packages.subject import InstallSubject
from agents.checks.pipelines.secrets import find_secret, is_reference
from agents.domain.detection import Detection
from schemas.components import component_key
from schemas.findings import Indicator, IndicatorType
from schemas.severity import Disposition

MASK: Final = "****"
_LIMIT: Final = 100
_URL: Final = re.compile(
    r"\b(?P<scheme>[A-Za-z][A-Za-z0-9+.-]{1,20})://(?P<user>[^\s/?#\"'<>`]{1,400})@"
    r"(?P<host>[A-Za-z0-9_.\-\[\]]{1,255})"
)


class UrlCredential(msgspec.Struct, frozen=True, kw_only=True):
    """A credential in a URL, without its value."""

    host: str
    user: str | None
    """The user name; None if the credential takes its place."""
    start: int
    """Where its value starts in the text."""
    end: int


def url_credentials(text: str) -> Iterator[UrlCredential]:
    """Yield the credentials in the URLs of a text, in order.

    A reference to a secret (`${TOKEN}`) and a user without a password (`git@`) do not count.
    """
    for match in _URL.finditer(text):
        user, colon, password = match["user"].partition(":")
        value = unquote(password)
        start = match.start("user")
        host = match["host"].lower()
        if colon and password and not is_reference(value):
            yield UrlCredential(
                host=host, user=user, start=start + len(user) + 1, end=match.end("user")
            )
        elif not password and (user == MASK or find_secret("token", user) is not None):
            yield UrlCredential(host=host, user=None, start=start, end=start + len(user))


def mask_credentials(text: str) -> str:
    """Return a text with the credentials of its URLs masked."""
    if "@" not in text or "://" not in text:
        return text
    for credential in reversed(list(url_credentials(text))):
        text = f"{text[: credential.start]}{MASK}{text[credential.end :]}"
    return text


def detect_credential(credential: UrlCredential, place: str, **evidence: object) -> Detection:
    """Return the detection of a credential.

    Args:
        credential: The credential.
        place: The kind of its location: an option, a package's source, a comment.
        evidence: The location.
    """
    of_whom = f" of {credential.user[:60]}" if credential.user else ""
    return Detection(
        rule_id="TW-PKG-CREDENTIAL",
        description=f"A credential{of_whom} for {credential.host} is written into {place}",
        evidence={
            "host": credential.host,
            "user": credential.user,
            "secret": MASK,
            "place": place,
            **evidence,
        },
        locator=f"credential:{credential.host}:{credential.user or ''}",
        indicator=Indicator(
            key=component_key("domain", credential.host),
            type=IndicatorType.DOMAIN,
            value=credential.host,
            disposition=Disposition.CONTEXT,
        ),
    )


def check_credentials(subject: InstallSubject) -> list[Detection]:
    """Return the credentials in the sources of an install, each once."""
    data = subject.install
    found: dict[str, Detection] = {}

    def look(text: str | None, place: str) -> None:
        if text and "@" in text and len(found) < _LIMIT:
            for credential in url_credentials(text):
                detection = detect_credential(credential, place)
                found.setdefault(detection.locator, detection)

    look(data.index_url, "the address of the index")
    for url in data.extra_index_urls:
        look(url, "the address of a further index")
    for line in subject.lines:
        option = f"the option --{line.option}" if line.option else "a requirement"
        look(line.value if line.option else line.url and line.text, option)
    for package in data.packages:
        look(package.index_url, "the address of the index")
        look(package.url, f"the address of {package.name}")
        look(package.vcs.url if package.vcs else None, f"the address of {package.name}")
    return list(found.values())
