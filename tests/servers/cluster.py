"""A Redis Cluster for the tests: three nodes, a third of the slots each, no replicas."""

import time
from contextlib import ExitStack
from typing import Any, Final, Self

import redis

from servers.redis import OURS, QUICK, Redis, empty, remove, with_options
from servers.shared import free_port

__all__ = ["Cluster", "ClusterKeys"]

NODES: Final = 3
SLOTS: Final = 16_384
PATIENCE: Final = 60.0


class Node(Redis):
    """One of the servers of a cluster."""

    def __init__(self, owner: int, *options: str, name: str) -> None:
        super().__init__(owner, *options, name=name)
        self.bus = free_port()

    def command(self) -> list[str]:
        return [
            *super().command(),
            *("--cluster-enabled", "yes", "--cluster-port", str(self.bus)),
            *("--cluster-node-timeout", "5000", "--cluster-require-full-coverage", "no"),
        ]


class Cluster:
    """Three nodes that know each other.

    Args:
        owner: The process with which they end.
        options: Of each node's command line.
        name: ``redis`` or ``valkey``.
    """

    def __init__(self, owner: int, *options: str, name: str = "redis") -> None:
        self.nodes = [Node(owner, *(options or QUICK), name=name) for _ in range(NODES)]

    @property
    def url(self) -> str:
        """Of the first node; a client finds the others."""
        return self.nodes[0].url

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def start(self) -> None:
        """Start the nodes, give each its slots, and wait until they agree."""
        for node in self.nodes:
            node.start()
        with ExitStack() as stack:
            clients = [stack.enter_context(node.client()) for node in self.nodes]
            for place, client in enumerate(clients):
                first, last = SLOTS * place // NODES, SLOTS * (place + 1) // NODES - 1
                client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
                client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", place + 1)
            for node in self.nodes[1:]:
                clients[0].execute_command("CLUSTER", "MEET", "127.0.0.1", node.port, node.bus)
            deadline = time.monotonic() + PATIENCE
            while not all(agrees(client) for client in clients):
                assert time.monotonic() < deadline, "the nodes do not agree"
                time.sleep(0.02)

    def remove(self) -> None:
        for node in self.nodes:
            node.remove()


def agrees(client: redis.Redis) -> bool:
    """Whether a node knows the whole cluster and who has which slot."""
    info: Any = client.execute_command("CLUSTER", "INFO")
    if not isinstance(info, dict):  # it depends on the driver's version
        info = dict(line.split(":", 1) for line in info.decode().split())
    wanted = {"cluster_state": "ok", "cluster_known_nodes": "3", "cluster_slots_ok": str(SLOTS)}
    return {name: str(info[name]) for name in wanted} == wanted


class ClusterKeys:
    """Places for the tests' keys in a cluster, as `servers.redis.Keys` has them in a server."""

    def __init__(self, url: str, *, ours: bool) -> None:
        self.url = url
        self.ours = ours
        self._cluster = redis.RedisCluster.from_url(url, client_name=OURS)

    def borrow(self) -> str:
        if self.ours:
            return self.url
        return with_options(self.url, key_prefix=f"pystator-test-{time.time_ns():x}")

    def give_back(self, url: str) -> None:
        for node in self._cluster.get_primaries():
            with redis.Redis(connection_pool=node.redis_connection.connection_pool) as client:
                if self.ours:
                    empty(client)
                else:
                    remove(client, url.rpartition("key_prefix=")[2])

    def close(self) -> None:
        self._cluster.close()
