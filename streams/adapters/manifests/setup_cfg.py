"""setup.cfg, and distutils' settings of a user: what setuptools reads of them."""

from __future__ import annotations

from schemas.events import Installer
from streams.adapters.manifests.found import Found, InstallOptions
from streams.adapters.manifests.ini_text import read_ini
from streams.adapters.manifests.installer_settings import add_options, option_lines
from streams.adapters.manifests.requirements import declare, declare_files


def read(raw: bytes, options: InstallOptions) -> Found:
    """Return the requirements of a setup.cfg, and where they are looked for."""
    sections = read_ini(raw, "setup.cfg")
    found = Found(installer=Installer(name="setuptools"))
    place = "setup.cfg"
    plain = sections.get("options", {})
    for name in ("install_requires", "setup_requires", "tests_require"):
        _declare(found, plain.get(name, ""), options, place)
    for listed in sections.get("options.extras_require", {}).values():
        _declare(found, listed, options, place)
    settings = list(sections.get("easy_install", {}).items())
    # What setuptools searched once, and some installers still do.
    settings.append(("find_links", plain.get("dependency_links", "")))
    add_options(found, option_lines(settings), options, place)
    return found


def _declare(found: Found, listed: str, options: InstallOptions, place: str) -> None:
    if listed.strip().startswith("file:"):
        paths = (path.strip() for path in listed.strip()[5:].split(","))
        declare_files(found, paths, options, place)
        return
    lines = [line.strip() for line in listed.splitlines()]
    declare(found, [line for line in lines if line and not line.startswith("#")], place)
