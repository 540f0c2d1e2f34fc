"""Reads requests: what they fetch, what they send, and where they keep what they get."""

from __future__ import annotations

import re
from typing import Final

from agents.checks.shell.addresses import risk_of_fetch
from agents.checks.shell.data import NOTHING, Data, Secrecy
from agents.checks.shell.host import KEYS_OF_USERS, MAX_SHOWN, ShellHost
from agents.checks.shell.words import constant
from agents.domain.late_pattern import late_pattern

_METADATA: Final = late_pattern(
    r"(?:169\.254\.(?:169\.254|170\.2)|metadata\.google\.internal|fd00:ec2::254)"
    r"\S{0,200}(?:credential|token|identity|user-?data|\$AWS_CONTAINER)"
)
_BODY: Final = late_pattern(
    r"--(?:data[\w-]*|form(?:-string)?|json|upload-file|post-(?:data|file)|body-(?:data|file)|url-query)"
)
_SHORT_BODY: Final = late_pattern(r"-[a-zA-Z]{0,8}?([dFT])(.*)", re.DOTALL)
_HEADER: Final = late_pattern(r"--(?:header|user-agent|referer|cookie|user)|-[HAebu]")
_FILE_BODY: Final = frozenset(("--upload-file", "--post-file", "--body-file", "-T"))


def fetch(host: ShellHost, name: str, arguments: list[Data], stdin: Data) -> Data:
    """Judge what a request sends, and return what it prints."""
    sent, addresses, target = _options(name, arguments)
    shown = " ".join(word.text for word in addresses)[:MAX_SHOWN]
    for data, in_header in sent:
        data_sent = _attached(host, data, stdin)
        host.send(data_sent, shown, in_header=in_header)
    for word in addresses:
        host.send(word, word.text, in_address=True)
    if _METADATA.search(shown):
        return Data(secrecy=Secrecy.ISSUED)
    fetched = Data(text=shown if KEYS_OF_USERS.match(shown) else "", fetched=risk_of_fetch(shown))
    if sent or target is None or target.text in {"-", "/dev/stdout"}:
        return fetched
    host.write(target, fetched)
    return NOTHING


def _attached(host: ShellHost, data: Data, stdin: Data) -> Data:
    """Return what an option of a request sends: itself, a file, or what the command reads."""
    text = data.text
    at = re.match(r"(?:[\w\[\]-]{1,64}=)?[@<](?P<path>[^;\s]{1,300})", text)
    if at is None:
        if data.secrecy is Secrecy.NONE and text.startswith("\0"):
            return host.content(Data(text[1:])) if text != "\0-" else stdin
        return data
    if at["path"] in {"-", "/dev/stdin"}:
        return stdin
    return host.content(Data(at["path"]))


def _options(
    name: str, arguments: list[Data]
) -> tuple[list[tuple[Data, bool]], list[Data], Data | None]:
    """Return what a request sends, each with whether a header does; its addresses; and its file."""
    sent: list[tuple[Data, bool]] = []
    addresses: list[Data] = []
    target: Data | None = None
    index = 0
    while index < len(arguments):
        word = arguments[index]
        text = word.text
        value = arguments[index + 1] if index + 1 < len(arguments) else NOTHING
        index += 1
        if not text.startswith("-") or text == "-":
            if name in {"http", "https", "xh", "httpie"} and re.match(r"[\w.-]+:?[=@]", text):
                sent.append((word._replace(text=text.replace("@", "=@", 1)), False))
            else:
                addresses.append(word)
            continue
        option, equals, rest = text.partition("=")
        if _BODY.fullmatch(option):
            data = word._replace(text=rest) if equals else value
            index += not equals
            is_file = option in _FILE_BODY
            sent.append(
                (
                    data._replace(text="\0" + data.text) if is_file and not data.secrecy else data,
                    False,
                )
            )
        elif _HEADER.fullmatch(option):
            sent.append((word._replace(text=rest) if equals else value, True))
            index += not equals
        elif option in {"--output", "--output-document", "-o", "-O"} and not (
            name == "curl" and option == "-O"
        ):
            target = word._replace(text=rest) if equals else value
            index += not equals
        elif name.startswith("curl") and not text.startswith("--"):
            if match := _SHORT_BODY.fullmatch(text):
                data = word._replace(text=match[2]) if match[2] else value
                index += not match[2]
                if match[1] == "T" and not data.secrecy:
                    data = data._replace(text="\0" + data.text)
                sent.append((data, False))
            elif text.endswith("o"):
                target = value
                index += 1
            elif "O" in text:
                target = constant("")
            elif text.endswith(("H", "A", "e", "b", "u", "X", "m", "x")) and len(text) > 1:
                if text[-1] in "HAebu":
                    sent.append((value, True))
                index += 1
        elif name == "wget" and re.fullmatch(r"-\w{0,6}O", text):
            target = value
            index += 1
        elif match := re.fullmatch(r"-\w{0,6}O(.+)", text):
            target = word._replace(text=match[1])
    shown = " ".join(word.text for word in addresses)[:MAX_SHOWN]
    if target is None and name in {"wget", "aria2c", "axel", "lwp-download"}:
        target = constant("")
    if target is not None and not target.text:
        served = re.search(r"://[^\s?#]{1,300}/([^\s/?#]{2,200})", shown)
        target = constant(served[1] if served else "")
    return sent, addresses, target
