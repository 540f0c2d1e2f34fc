"""Decodes package installs; a package that was decoded before is the same object again."""

from __future__ import annotations

from collections import OrderedDict
from typing import Annotated, Any, Final

import msgspec

from schemas.events import Package, PackageInstall

REMEMBERED_BYTES: Final = 8 << 20
"""JSON text of packages that is remembered, per decoder."""
ITEM_LIMIT: Final = 4096
"""Bytes of the JSON text of a package that is remembered; longer ones are rare."""


def _shallow_field(field: msgspec.structs.FieldInfo) -> tuple[str, Any, Any]:
    if field.name == "packages":
        # the same bounds, of texts that are not read yet
        return field.name, Annotated[tuple[msgspec.Raw, ...], *field.type.__metadata__], ()
    if field.default_factory is not msgspec.NODEFAULT:
        return field.name, field.type, msgspec.field(default_factory=field.default_factory)
    return field.name, field.type, field.default


_Shallow: Final[Any] = msgspec.defstruct(
    "_Shallow",
    list(map(_shallow_field, msgspec.structs.fields(PackageInstall))),
    frozen=True,
    kw_only=True,
)


class InstallDecoder:
    """Decodes the data of package installs, as a decoder of `PackageInstall` does.

    The same packages are installed again and again. Equal JSON texts give the same object, so that
    conclusions about a package can be looked up by it.
    """

    def __init__(self, limit: int = REMEMBERED_BYTES) -> None:
        """Start with nothing remembered.

        Args:
            limit: Bytes of JSON text that are remembered; 0 for none.
        """
        self._limit = limit
        self._bytes = 0
        self._packages: OrderedDict[bytes, Package] = OrderedDict()
        self._whole = msgspec.json.Decoder(PackageInstall)
        self._shallow = msgspec.json.Decoder(_Shallow)
        self._item = msgspec.json.Decoder(Package)

    def decode(self, raw: bytes | msgspec.Raw) -> PackageInstall:
        """Return an install.

        Args:
            raw: Its JSON text.

        Raises:
            msgspec.DecodeError: It is not valid, or has another shape.
        """
        try:
            parts = self._shallow.decode(raw)
            packages = tuple(map(self._package, map(bytes, parts.packages)))
        except (msgspec.DecodeError, UnicodeDecodeError):
            # It says where in the whole install the fault is.
            return self._whole.decode(raw)
        return PackageInstall(
            ecosystem=parts.ecosystem,
            installer=parts.installer,
            system=parts.system,
            image=parts.image,
            environment=parts.environment,
            index_url=parts.index_url,
            extra_index_urls=parts.extra_index_urls,
            batch=parts.batch,
            packages=packages,
            requirements=parts.requirements,
            lock=parts.lock,
            identities=parts.identities,
        )

    def _package(self, raw: bytes) -> Package:
        known = self._packages.get(raw)
        if known is not None:
            self._packages.move_to_end(raw)
            return known
        package = self._item.decode(raw)
        if len(raw) <= min(ITEM_LIMIT, self._limit):
            self._packages[raw] = package
            self._bytes += len(raw)
            while self._bytes > self._limit:
                self._bytes -= len(self._packages.popitem(last=False)[0])
        return package
