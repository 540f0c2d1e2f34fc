"""Which agents each app runs: names the factories of bindings, imported when an app starts."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from schemas.errors import TidewatchError

if TYPE_CHECKING:
    from streams.engine.reference_topics import ReferenceTopic
    from streams.engine.runner import Binding
    from streams.settings import Settings


@dataclass(frozen=True, kw_only=True)
class AppParts:
    """What one app is made of."""

    bindings: Sequence[Binding]
    references: Sequence[ReferenceTopic] = field(default=())


APPS: dict[str, str] = {
    "checks": "streams.apps.applications:checks_app",
    "incidents": "streams.apps.applications:incidents_app",
    "ledger": "streams.apps.applications:ledger_app",
    "scan": "streams.apps.applications:scan_app",
}
"""App name to `module:function`; the function takes the settings and returns `AppParts`."""


def load_app(name: str, settings: Settings) -> AppParts:
    """Return the parts of app `name`, importing only what it needs.

    Raises:
        TidewatchError: There is no such app.
    """
    path = APPS.get(name)
    if path is None:
        raise TidewatchError(
            f"no app is called {name}",
            where="--agents",
            remedy=f"choose from: {', '.join(sorted(APPS)) or 'none'}",
        )
    module, _, function = path.partition(":")
    make: Callable[[Settings], AppParts] = getattr(importlib.import_module(module), function)
    return make(settings)


def preload(names: Sequence[str]) -> None:
    """Import what the apps need, so that processes forked from this one have it at once."""
    for name in names:
        path = APPS.get(name)
        if path is not None:
            importlib.import_module(path.partition(":")[0])
