"""The options of a requirements line, as pip's option parser accepts them."""

from __future__ import annotations

from typing import Final

from agents.checks.packages.shell_words import shell_words

_SHORT: Final = {
    "-r": "requirement",
    "-c": "constraint",
    "-e": "editable",
    "-i": "index-url",
    "-f": "find-links",
    "-C": "config-settings",
}
_WITH_VALUE: Final = {
    "--requirement": "requirement",
    "--requirements": "requirement",
    "--constraint": "constraint",
    "--constraints": "constraint",
    "--editable": "editable",
    "--index-url": "index-url",
    "--pypi-url": "index-url",
    "--extra-index-url": "extra-index-url",
    "--find-links": "find-links",
    "--no-binary": "no-binary",
    "--only-binary": "only-binary",
    "--trusted-host": "trusted-host",
    "--use-feature": "use-feature",
    "--all-releases": "all-releases",
    "--only-final": "only-final",
    "--hash": "hash",
    "--config-setting": "config-settings",
    "--config-settings": "config-settings",
    # Accepted only by pip before version 26.
    "--global-option": "global-option",
}
_FLAGS: Final = frozenset(
    {"--no-index", "--require-hashes", "--no-require-hashes", "--pre", "--prefer-binary"}
)
Option = tuple[str, str | None]


def split_options(line: str) -> tuple[str, str]:
    """Return the requirement, and its options: all from the first word with a dash."""
    if line.startswith("-"):
        return "", line
    at = line.find(" -")
    return (line, "") if at < 0 else (line[:at], line[at + 1 :])


def _by_prefix(written: str) -> str:
    """Return the long option that a prefix abbreviates.

    Raises:
        ValueError: no option starts with it, or several do.
    """
    found = {name for name in (*_WITH_VALUE, *_FLAGS) if name.startswith(written)}
    if len({_WITH_VALUE.get(name, name) for name in found}) != 1:
        raise ValueError(f"unknown or ambiguous option {written[:40]}")
    return min(found)


def read_options(text: str) -> list[Option]:
    """Return the options of a text and their values, in order; other words are skipped.

    Raises:
        ValueError: an option that pip does not know in a requirements file, a value that is
            missing, or a quotation that does not end.
    """
    # Only quotes and backslashes need more than `str.split`, which is faster.
    quoted = any(sign in text for sign in "\"'\\")
    words = iter(shell_words(text) if quoted else text.split())
    found: list[Option] = []
    for word in words:
        if word == "--":
            break
        if not word.startswith("-") or word == "-":
            continue
        if word.startswith("--"):
            written, equals, value = word.partition("=")
            known = written in _WITH_VALUE or written in _FLAGS
            name = written if known else _by_prefix(written)
            option = _WITH_VALUE.get(name)
            if option is None:
                if equals:
                    raise ValueError(f"{name} takes no value")
                found.append((name.lstrip("-"), None))
                continue
        else:
            name, value = word[:2], word[2:]
            equals = value
            short = _SHORT.get(name)
            if short is None:
                raise ValueError(f"unknown option {name}")
            option = short
        given = value if equals else next(words, None)
        if given is None:
            raise ValueError(f"{name} needs a value")
        found.append((option, given))
    return found
