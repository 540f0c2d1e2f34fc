"""The protocol that the runners of an app need from their host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from faust.types import TP

    from schemas.errors import TidewatchError
    from streams.engine.tables import RowTable
    from streams.engine.transport import Consumer, Producer
    from streams.kafka.topics import TopicOrigin
    from streams.settings import Settings


class Host(Protocol):
    """The app as its engine, ticks and gaps see it."""

    tidewatch_name: str
    tidewatch_settings: Settings
    flowing: set[TP]
    """The partitions records flow from."""

    @property
    def group(self) -> str:
        """The consumer group."""

    @property
    def origins(self) -> Mapping[str, TopicOrigin]:
        """The channel and tenant of each input topic."""

    @property
    def consumer(self) -> Any:  # noqa: ANN401 -- Faust's, as acknowledgement takes it
        """The consumer, as Faust's."""

    @property
    def tidewatch_consumer(self) -> Consumer:
        """The consumer, by its concrete type."""

    @property
    def tidewatch_producer(self) -> Producer:
        """The producer, by its concrete type."""

    @property
    def consumer_generation_id(self) -> int:
        """The number of the current assignment."""

    def row_table(self, name: str) -> RowTable:
        """Return the table of binding `name`."""

    def stop_with(self, error: TidewatchError) -> None:
        """Stop gracefully; `error` is the reason."""
