"""Component keys as package URLs (purl-spec), where they have one."""

from __future__ import annotations

from typing import Final

from packageurl import PackageURL

from schemas.components import ComponentKind, split_key

HUB: Final = "huggingface"


def component_purl(key: str, version: str | None = None) -> str:
    """Return the purl of a package or public model, the component key itself of anything else.

    Args:
        key: A component key.
        version: Its version or revision.
    """
    kind, name = split_key(key)
    if kind == ComponentKind.PYPI and not name.startswith("@"):
        return PackageURL(type="pypi", name=name, version=version).to_string()
    registry, _, rest = name.partition("/")
    if kind == ComponentKind.MODEL and registry == HUB and rest:
        namespace, _, bare = rest.rpartition("/")
        return PackageURL(type=HUB, namespace=namespace, name=bare, version=version).to_string()
    return f"{key}@{version}" if version else key
