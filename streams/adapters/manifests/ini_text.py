"""INI files as Python's own parser reads them, without interpolation."""

from __future__ import annotations

import configparser

from streams.adapters.payload import refuse


def read_ini(raw: bytes, name: str) -> dict[str, dict[str, str]]:
    """Return the settings of an INI file by section; of those given twice, the last.

    Args:
        raw: The file.
        name: Its usual name, for the error.

    Raises:
        UnreadableRecordError: it is no INI file.
    """
    # No section has this name: settings of DEFAULT would show up in each of the others.
    parser = configparser.ConfigParser(interpolation=None, strict=False, default_section="\0")
    try:
        parser.read_string(raw.decode("utf-8-sig"))
    except configparser.Error as error:
        raise refuse(f"not {name}: {error.message[:200]}") from error
    return {section: dict(parser.items(section)) for section in parser.sections()}
