"""A node's metrics for Prometheus, on this machine only: ``barnraise join URL --metrics PORT``.

They are a listener of the node's events (:mod:`contributor.tally`); training knows nothing of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.registry import Collector

from barnraise import __version__
from barnraise.errors import PortInUseError
from barnraise.metric import Readings
from barnraise.metrics import Family, families
from contributor.events import NodeEvent
from contributor.governor.sensors.gpu import GpuSensor
from contributor.tally import CATALOGUE, NodeTally

__all__ = ["exporting", "registry_of"]

HOST = "127.0.0.1"
Report = Callable[[NodeEvent], None]


@contextmanager
def exporting(port: int, report: Report) -> Iterator[Report]:
    """Serve ``/metrics`` while the block runs; what the block's node has to report to.

    Args:
        port: on 127.0.0.1.

    Raises:
        PortInUseError: another process listens there.
    """
    tally = NodeTally(time.monotonic())
    try:
        server, thread = start_http_server(port, addr=HOST, registry=registry_of(tally, time.monotonic))
    except OSError as error:
        raise PortInUseError(
            f"metrics: {HOST}:{port} cannot be listened on: {error.strerror}; another port?"
        ) from error

    def also(event: NodeEvent) -> None:
        tally.hear(event, time.monotonic())
        report(event)

    try:
        yield also
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def registry_of(tally: NodeTally, clock_s: Callable[[], float]) -> CollectorRegistry:
    """What a scrape collects: the tally, and the GPUs where a driver tells of them."""
    registry = CollectorRegistry()
    registry.register(_Reader(tally, clock_s))
    return registry


class _Reader(Collector):
    def __init__(self, tally: NodeTally, clock_s: Callable[[], float]) -> None:
        self._tally = tally
        self._clock_s = clock_s
        self._gpus = GpuSensor()

    def describe(self) -> Iterable[Family]:
        return ()

    def collect(self) -> Iterator[Family]:
        found = self._tally.readings(self._clock_s(), __version__)
        found.update(self._gpu_readings())
        yield from families(found, CATALOGUE)

    def _gpu_readings(self) -> Readings:
        found = Readings()
        for gpu in self._gpus.read().values.get("gpus", ()):
            if gpu.busy_share is not None:
                found.put("barnraise_node_gpu_busy_ratio", gpu.busy_share, str(gpu.index))
            if gpu.used_bytes is not None:
                found.put("barnraise_node_gpu_memory_used_bytes", gpu.used_bytes, str(gpu.index))
        return found
