"""The root of all Tidewatch errors: what was wrong, where, and what to do."""

from __future__ import annotations


class TidewatchError(Exception):
    """Base of all Tidewatch errors.

    Args:
        what: What was wrong, in one sentence.
        where: The place it was found: a file, topic-partition-offset, setting or field.
        remedy: What the reader can do about it.
    """

    exit_code = 2
    """The exit code of a command that ends with this error (2: could not do it)."""

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        """Keep the three parts; the message is all of them in one line."""
        self.what = what
        self.where = where
        self.remedy = remedy
        super().__init__(self.explain())

    def explain(self) -> str:
        """Return the error as one line for a person."""
        parts = [self.what]
        if self.where:
            parts.append(f"at {self.where}")
        text = " ".join(parts)
        return f"{text}: {self.remedy}" if self.remedy else text


def install_extra(extra: str) -> str:
    """Return the remedy for a missing dependency that an extra of the installation provides."""
    return f"install it with: pip install 'tidewatch[{extra}]'"


class UnreadableRecordError(TidewatchError):
    """A record that can't be read as what its topic carries; it goes to the dead letters.

    Args:
        reason: The reason code, one of the constants of `schemas.dead_letters`.
        error: The detail, without the record's content except what identifies the location.
    """

    def __init__(self, reason: str, error: str) -> None:
        """Keep the reason code beside the detail."""
        self.reason = reason
        self.error = error
        super().__init__(
            f"unreadable record ({reason})",
            where=error,
            remedy="see it with: tidewatch dead-letters show",
        )
