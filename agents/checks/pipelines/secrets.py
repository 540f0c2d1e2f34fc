"""Finds secrets in a configuration by form or name, always masked."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from datetime import date
from typing import Any, Final

import msgspec

from agents.checks.artifacts.python.shell_commands import parts_of
from agents.checks.pipelines.names import plain_name

MAX_TEXT: Final = 65_536
"""Characters of a value that are searched at once."""
_SHOWN: Final = 4

_FORMS: Final[tuple[tuple[str, re.Pattern[str]], ...]] = tuple(
    (name, re.compile(pattern))
    for name, pattern in (
        ("private key", r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----"),
        # A presigned URL names the key it was signed with; the name is not secret.
        ("AWS access key", r"(?<!X-Amz-Credential=)\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
        ("Hugging Face token", r"\bhf_[A-Za-z0-9]{30,60}\b"),
        ("GitHub token", r"\b(?:gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{60,255})\b"),
        ("GitLab token", r"\bglpat-[A-Za-z0-9_-]{20,64}"),
        ("Anthropic key", r"\bsk-ant-[A-Za-z0-9_-]{20,200}"),
        ("OpenAI key", r"\bsk-(?:proj-|svcacct-|admin-)?[A-Za-z0-9_-]{32,200}"),
        ("Google API key", r"\bAIza[0-9A-Za-z_-]{35}"),
        ("Google OAuth secret", r"\bGOCSPX-[A-Za-z0-9_-]{28}"),
        ("Slack token", r"\bxox[abeoprs]-[0-9A-Za-z-]{10,250}"),
        ("Stripe key", r"\b[rs]k_live_[0-9A-Za-z]{20,120}"),
        ("package index token", r"\bpypi-AgE[A-Za-z0-9_-]{50,500}"),
        ("npm token", r"\bnpm_[A-Za-z0-9]{36}\b"),
        ("Databricks token", r"\bdapi[0-9a-f]{32}\b"),
        ("Azure storage key", r"AccountKey=[A-Za-z0-9+/]{60,100}={0,2}"),
        ("SendGrid key", r"\bSG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{32,64}"),
        ("JSON web token", (r"\beyJ[A-Za-z0-9_-]{10,2000}\.eyJ[A-Za-z0-9_-]{10,4000}"
            r"\.[A-Za-z0-9_-]{10,600}")),
    )
)  # fmt: skip
_IN_URL: Final = re.compile(
    r"\b[a-z][a-z0-9+.-]{1,20}://[^\s/@:]{0,200}:([^\s/@]{3,200})@([^\s/:?#\"']{1,200})"
)
_SIGNED: Final = re.compile(r"[?&;]sig=([A-Za-z0-9+/%]{42,80}(?:=|%3[Dd]))")
_SIGNED_TIME: Final = re.compile(r"[?&;](st|se)=(\d{4}-\d\d-\d\d)")
_SIGNED_DAYS: Final = 7
"""Maximum validity of a shared access signature, in days: issuers grant hours."""
_NAME: Final = re.compile(
    r"(?:^|_)(?:password|passwd|pwd|passphrase|secret|token|api_?key|apikey|access_key|secret_key|"
    r"private_key|account_key|auth_key|encryption_key|credentials?|connection_string|dsn)(?:_|$)"
)
_ABOUT: Final = re.compile(
    r"(?:_(?:file|path|name|ref|url|uri|env|var|id|type|length|len|limit|size|count|dir|arn|class|"
    r"field|key_id|column|header|scope|ttl|expiry|version|policy|strategy|mode|provider|format))$"
    r"|(?:^|_)(?:max|min|num|n|pad|eos|bos|unk|mask|sep|cls|special|stop|new|image|tokens?_per|"
    r"add|skip|use|enable|tokenizer)_"
)
_REFERENCE: Final = re.compile(
    r"^(?:\$\{?|\{\{|<|%\(?[A-Za-z_]+\)?[s%]|secret-ref:|secret:|vault:|env:|file:|ref:|op://|ssm:|"
    r"arn:|projects/|gcp-secret|aws-secret|azure-kv|keyring:|keyvault:|sops:|enc:|ENC\[|!|/|\./|~)",
    re.IGNORECASE,
)
_PLACEHOLDER: Final = re.compile(
    r"(?:example|changeme|change[-_ ]me|placeholder|redacted|dummy|sample|your[-_ ]|"
    r"my[-_ ]?(?:token|key|secret|password)|insert|todo|fixme|xxx|\*\*\*|\.\.\.|…|<|>|none|null|"
    r"fake|not[-_ ]a|"
    r"default|secret-ref|test[-_](?:key|token|secret|password))",
    re.IGNORECASE,
)
_STAND_IN: Final = re.compile(
    r"(?:<.*>|\[.*\]|your[-_ ].*|my[-_ ]?(?:token|key|secret|password)|changeme|placeholder|"
    r"redacted|x{3,}|\.{3,}|…|token|password|pass)",
    re.IGNORECASE,
)
_NAMED_LENGTH: Final = 8
_NAMED_ENTROPY: Final = 2.8
_FORM_ENTROPY: Final = 3.0


class Secret(msgspec.Struct, frozen=True, kw_only=True):
    """A detected secret, without its value."""

    kind: str
    shown: str
    """Its first characters and its length."""
    host: str = ""
    """The host that a password in a URL is for."""


def entropy(text: str) -> float:
    """Return the Shannon entropy of `text`, bits per character."""
    total = len(text)
    counts = Counter(text).values()
    return -sum(n / total * math.log2(n / total) for n in counts) if total else 0.0


def find_secret(name: str, value: str) -> Secret | None:
    """Return the secret that a setting holds, if it does.

    A reference (`${VAR}`, `vault:…`, a path) and a placeholder do not count; a provider's form
    must have the entropy of a random key; a suspicious name needs a value that is not a word.

    Args:
        name: The setting's name.
        value: Its value.
    """
    found = (_secret_in(name, part) for part in parts_of(value, MAX_TEXT))
    return next(filter(None, found), None)


def _secret_in(name: str, text: str) -> Secret | None:
    for kind, pattern in _FORMS:
        for match in pattern.finditer(text):
            found = match[0]
            if kind == "private key" or (
                entropy(found) >= _FORM_ENTROPY and not _PLACEHOLDER.search(found)
            ):
                return Secret(kind=kind, shown=_mask(found))
    for match in _IN_URL.finditer(text):
        if not _harmless(match[1]):
            return Secret(kind="password in a URL", shown=_mask(match[1], 0), host=match[2].lower())
    signed = _SIGNED.search(text)
    if signed is not None and not _short_lived(text) and not _PLACEHOLDER.search(signed[1]):
        return Secret(kind="shared access signature", shown=_mask(signed[1], 0))
    plain = plain_name(name)
    if _NAME.search(plain) and not _ABOUT.search(plain) and _random(text):
        return Secret(kind=f"value of {name[:60]}", shown=_mask(text, 0))
    return None


def tokens_in(text: str) -> Iterator[str]:
    """Yield what has the form of a provider's key or token in a text, such as a program's."""
    for part in parts_of(text, MAX_TEXT):
        for _, pattern in _FORMS:
            for match in pattern.finditer(part):
                yield match[0]


def is_reference(value: str) -> bool:
    """Return whether a value is a reference to a secret, or a placeholder for one."""
    return bool(_REFERENCE.match(value)) or bool(_STAND_IN.fullmatch(value))


def _short_lived(url: str) -> bool:
    """Return whether a shared access signature is valid for a few days only."""
    times: dict[str, date] = {}
    for name, day in _SIGNED_TIME.findall(url):
        try:
            times.setdefault(name, date.fromisoformat(day))
        except ValueError:
            return False
    begins, ends = times.get("st"), times.get("se")
    return begins is not None and ends is not None and (ends - begins).days <= _SIGNED_DAYS


def _harmless(value: str) -> bool:
    return bool(_REFERENCE.match(value) or _PLACEHOLDER.search(value))


def _random(value: str) -> bool:
    text = value.strip()
    if len(text) < _NAMED_LENGTH or " " in text or _harmless(text):
        return False
    classes = sum(
        any(test(ch) for ch in text)
        for test in (str.islower, str.isupper, str.isdigit, lambda ch: not ch.isalnum())
    )
    return classes > 1 and any(ch.isdigit() for ch in text) and entropy(text) >= _NAMED_ENTROPY


def _mask(value: str, shown: int = _SHOWN) -> str:
    return f"{value[:shown]}… ({len(value)} characters)"


def masked(name: str, value: Any) -> Any:  # noqa: ANN401 -- any JSON scalar
    """Return `value` for display: masked if its name or form indicates a secret."""
    if not isinstance(value, str):
        return value
    plain = plain_name(name)
    suspicious = bool(_NAME.search(plain)) and not _ABOUT.search(plain)
    if find_secret(name, value) is not None or (
        suspicious and value and not _REFERENCE.match(value)
    ):
        return _mask(value, 0)
    return value
