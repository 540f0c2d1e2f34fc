"""Write the configuration of the embedded broker, and build the command that runs it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from streams.broker.java import Java

BASE_PROPERTIES: Mapping[str, str] = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
    "auto.create.topics.enable": "false",
    "group.initial.rebalance.delay.ms": "0",
    # let clients choose session timeouts from 1 s, so that a killed worker is replaced soon
    "group.min.session.timeout.ms": "1000",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "2",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    # a value of 1 MiB, with room for headers and framing
    "message.max.bytes": str(1024 * 1024 + 64 * 1024),
    # after a crash, the node can register again only when its old session has ended
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    # how often the controller writes an empty record, which only quorum measurements need
    "metadata.max.idle.interval.ms": "0",
    "num.network.threads": "2",
    "num.io.threads": "4",
    # the default of 128 MB is taken from the heap at start
    "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),
}

JVM_OPTIONS = (
    # start small and return unused memory: the default start size is 1/64 of all memory
    "-Xms48m",
    "-Xmx512m",
    "-XX:MinHeapFreeRatio=10",
    "-XX:MaxHeapFreeRatio=30",
    "-XX:+UseSerialGC",
    # C1 alone halves the start-up time and leaves the cores to the workers
    "-XX:TieredStopAtLevel=1",
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.awt.headless=true",
    "-Dlog4j2.disableJmx=true",
)


class Ports(msgspec.Struct, frozen=True):
    """The two ports of a node."""

    client: int
    controller: int


def render_properties(data: Path, ports: Ports, extra: Mapping[str, str]) -> str:
    """Return the text of `server.properties`.

    Args:
        data: Kafka's log directory.
        ports: The ports to listen on, on 127.0.0.1.
        extra: Properties that extend or replace the defaults.
    """
    client = f"PLAINTEXT://127.0.0.1:{ports.client}"
    properties = {
        **BASE_PROPERTIES,
        "log.dirs": str(data),
        "listeners": f"{client},CONTROLLER://127.0.0.1:{ports.controller}",
        "advertised.listeners": client,
        "controller.quorum.voters": f"1@127.0.0.1:{ports.controller}",
        **extra,
    }
    # a backslash begins an escape in a properties file
    lines = (f"{key}={value}".replace("\\", "\\\\") for key, value in sorted(properties.items()))
    return "\n".join(lines) + "\n"


def java_command(
    java: Java,
    jars: Sequence[Path],
    arguments: Sequence[str],
    *,
    options: Sequence[str] = (),
) -> list[str]:
    """Return the command that runs a class with only `jars` on the class path."""
    class_path = os.pathsep.join(map(str, jars))
    return [str(java.program), *JVM_OPTIONS, *options, "-cp", class_path, *arguments]
