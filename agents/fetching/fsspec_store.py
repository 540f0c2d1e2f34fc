"""Read further stores through fsspec (an extra), for schemes that the operator names.

HTTP, S3, OCI and the hub are not read this way: fsspec's clients resolve names and follow redirects
themselves, which can't be checked. The remaining stores have an endpoint that the implementation
fixes.
"""

from __future__ import annotations

from typing import Any

from agents.fetching.errors import FetchError
from agents.fetching.fetch_scope import Location, Reach
from agents.fetching.sources import BlockSource, OpenSource
from schemas.errors import install_extra


class _Ranges:
    def __init__(self, filesystem: Any, path: str, where: str) -> None:  # noqa: ANN401 -- untyped
        self._filesystem = filesystem
        self._path = path
        self._where = where

    def read_range(self, offset: int, length: int) -> bytes:
        try:
            return bytes(self._filesystem.cat_file(self._path, start=offset, end=offset + length))
        except Exception as error:
            raise FetchError(
                f"the store did not answer ({type(error).__name__})", where=self._where
            ) from error


def open_store(reach: Reach, location: Location) -> OpenSource:
    """Return an object of a store as a source.

    Args:
        reach: The fetch scope; the options of its credentials go to the implementation.
        location: A location that the fetch scope admitted.

    Raises:
        FetchError: the implementation is not installed, or the fetch failed.
    """
    where = location.uri[:200]
    try:
        import fsspec  # type: ignore[import-untyped]  # noqa: PLC0415 -- an extra; it ships no types
    except ModuleNotFoundError as error:
        raise FetchError(
            "fsspec, which reads such stores, is not installed",
            where=where,
            remedy=install_extra("stores"),
        ) from error
    options = dict(reach.credentials.options) if reach.credentials else {}
    try:
        filesystem = fsspec.filesystem(location.scheme, skip_instance_cache=True, **options)
    except (ImportError, ValueError) as error:
        raise FetchError(
            f"no fsspec implementation of {location.scheme!r} is installed",
            where=where,
            remedy=f"install the package that reads {location.scheme!r} with fsspec",
        ) from error
    path = f"{location.host}{location.path}"
    try:
        size = int(filesystem.info(path)["size"])
    except Exception as error:
        raise FetchError(
            f"the store did not answer ({type(error).__name__})", where=where
        ) from error
    return BlockSource(_Ranges(filesystem, path, where), size)
