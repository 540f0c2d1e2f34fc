"""setup.cfg: what setuptools reads of it."""

from __future__ import annotations

import configparser

from schemas.events import Installer
from streams.adapters.manifests.found import Found, InstallOptions
from streams.adapters.manifests.requirements import declare, declare_files
from streams.adapters.payload import refuse


def read(raw: bytes, options: InstallOptions) -> Found:
    """Return the requirements of a setup.cfg."""
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(raw.decode("utf-8-sig"))
    except configparser.Error as error:
        raise refuse(f"not setup.cfg: {error.message[:200]}") from error
    found = Found(installer=Installer(name="setuptools"))
    place = "setup.cfg"
    for name in ("install_requires", "setup_requires", "tests_require"):
        _declare(found, parser.get("options", name, fallback=""), options, place)
    if parser.has_section("options.extras_require"):
        for _, listed in parser.items("options.extras_require"):
            _declare(found, listed, options, place)
    return found


def _declare(found: Found, listed: str, options: InstallOptions, place: str) -> None:
    if listed.strip().startswith("file:"):
        paths = (path.strip() for path in listed.strip()[5:].split(","))
        declare_files(found, paths, options, place)
        return
    lines = [line.strip() for line in listed.splitlines()]
    declare(found, [line for line in lines if line and not line.startswith("#")], place)
