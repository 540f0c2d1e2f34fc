"""The embedded broker: a single node of Apache Kafka, used if no Kafka is configured."""

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
