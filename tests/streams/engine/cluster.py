"""Three real brokers of one cluster, each to be stopped, killed and started by a test."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

from streams.broker import EmbeddedBroker
from streams.broker.ports import free_ports

REPLICATED: Final[Mapping[str, str]] = {
    "offsets.topic.replication.factor": "3",
    "default.replication.factor": "3",
    # what is acknowledged outlives any one node
    "min.insync.replicas": "2",
}


class Cluster:
    """Node 1 is the controller too; nodes 2 and 3 come and go."""

    def __init__(self, folder: Path, *, session_ms: int = 3000) -> None:
        """Plan the nodes.

        Args:
            folder: For their data.
            session_ms: How long the cluster goes on naming a broker that was killed.
        """
        self.ports = free_ports(4)
        controller = self.ports.pop()
        common = {
            **REPLICATED,
            "broker.session.timeout.ms": str(session_ms),
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
        }
        self.nodes: dict[int, EmbeddedBroker] = {}
        self._up: set[int] = set()
        for node, port in enumerate(self.ports, 1):
            own = f"PLAINTEXT://127.0.0.1:{port}"
            if node == 1:
                roles = {"listeners": f"{own},CONTROLLER://127.0.0.1:{controller}"}
            else:
                roles = {"process.roles": "broker", "node.id": str(node), "listeners": own}
            self.nodes[node] = EmbeddedBroker(
                folder / f"node-{node}", port=port, properties={**common, **roles}
            )

    @property
    def bootstrap(self) -> str:
        """The addresses of all nodes."""
        return ",".join(f"127.0.0.1:{port}" for port in self.ports)

    def start(self, *nodes: int) -> None:
        """Start nodes, all by default, as members of one cluster."""
        for node in nodes or tuple(self.nodes):
            data = self.nodes[node].places.data
            if node != 1 and not data.exists():
                meta = (self.nodes[1].places.data / "meta.properties").read_text()
                own = re.sub(r"(?m)^node\.id=.*$", f"node.id={node}", meta)
                own = re.sub(r"(?m)^directory\.id=.*\n", "", own)
                data.mkdir(parents=True)
                (data / "meta.properties").write_text(own)
            self.nodes[node].start()
            self._up.add(node)

    def complete(self) -> None:
        """Start the nodes that were ended."""
        if ended := sorted(self.nodes.keys() - self._up):
            self.start(*ended)

    def stop(self, node: int) -> None:
        """Let a node leave the cluster."""
        self.nodes[node].stop()
        self._up.discard(node)

    def kill(self, *nodes: int) -> None:
        """End nodes, all by default, as a crash does."""
        for node in nodes or sorted(self._up, reverse=True):
            self.nodes[node].kill()
            self._up.discard(node)

    def __enter__(self) -> Self:
        """Start it."""
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End it: nobody reads its data again."""
        self.kill()
