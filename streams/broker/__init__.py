"""The embedded broker: a single node of Apache Kafka, used if no Kafka is configured."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streams.broker.embedded import (
        BrokerStatus,
        EmbeddedBroker,
        await_end,
        status,
        stop_background,
    )
    from streams.broker.paths import default_state_dir

__all__ = [
    "BrokerStatus",
    "EmbeddedBroker",
    "await_end",
    "default_state_dir",
    "status",
    "stop_background",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 -- whatever the module has of that name
    """Load the modules that run a broker on demand: most commands only need the paths."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "paths" if name == "default_state_dir" else "embedded"
    return getattr(import_module(f"{__name__}.{module}"), name)
