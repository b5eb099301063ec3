"""The conductor's sign of life: the watchdog is told, and every few seconds the status files are written anew.

Beside ``conductor.json`` (:mod:`coordinator.vitals`) that is ``ray-targets.json``: where Ray's own metrics
are, in the form in which Prometheus discovers targets from files. Their ports change with every start.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from barnraise.run_folder import RunFolder
from coordinator.conductor import watchdog
from coordinator.vitals import RayNode, Resource, Vitals, write_status, write_vitals

__all__ = ["Heartbeat", "nodes_of", "resources_of"]

EVERY_MS = 5_000
RESOURCES = ("CPU", "GPU", "memory", "object_store_memory")


class Heartbeat:
    """Tells of one conductor.

    Args:
        clock: now, in milliseconds since the epoch.
    """

    def __init__(self, folder: RunFolder, clock: Callable[[], int]) -> None:
        self._folder = folder
        self._clock = clock
        self._started_at_ms = clock()
        self._told_at_ms = 0

    def beat(self, running: int, held: int) -> None:
        """Be heard from. A disk that is full does not stop a conductor here, where nothing that counts is written.

        Args:
            running, held: tasks, as in :class:`coordinator.vitals.Vitals`.
        """
        watchdog.promise(watchdog.TURN_S)
        now_ms = self._clock()
        if now_ms - self._told_at_ms < EVERY_MS:
            return
        self._told_at_ms = now_ms
        nodes, resources = _ray_now()
        targets = [{"targets": [node.metrics], "labels": {"node": node.address}} for node in nodes if node.metrics]
        with contextlib.suppress(OSError):
            write_vitals(self._folder, Vitals(now_ms, self._started_at_ms, running, held, nodes, resources))
            write_status(self._folder.status / "ray-targets.json", targets)


def _ray_now() -> tuple[tuple[RayNode, ...], tuple[Resource, ...]]:
    import ray as _ray

    ray: Any = _ray  # its functions have no types
    return nodes_of(ray.nodes()), resources_of(ray.cluster_resources(), ray.available_resources())


def nodes_of(nodes: list[dict[str, Any]]) -> tuple[RayNode, ...]:
    """Ray's nodes, by address; of those that are gone only that they are."""
    found = []
    for node in nodes:
        address, port = str(node["NodeManagerAddress"]), int(node.get("MetricsExportPort") or 0)
        alive = bool(node["Alive"])
        found.append(RayNode(address, alive, f"{address}:{port}" if alive and port else ""))
    return tuple(sorted(found, key=lambda node: (node.address, node.metrics)))


def resources_of(total: dict[str, float], free: dict[str, float]) -> tuple[Resource, ...]:
    """Of what the cluster has, the kinds that anybody watches; Ray leaves out what is all taken."""
    return tuple(Resource(name, total[name], free.get(name, 0.0)) for name in RESOURCES if name in total)
