"""What Prometheus scrapes: readings of ledger, folder and conductor as text, and how the door is used.

Whatever the ledger knows is folded from it, so nothing is counted twice and nothing is lost with a
restart. Only the door's own numbers begin at 0 with its process. A ledger that cannot be read, or
that is too long to be taken in at once, is said so; what comes from it is then left out, because a
counter that is too low would look like a restart.
"""

from __future__ import annotations

import contextlib
import platform
import time
from collections.abc import Callable, Iterable, Iterator
from threading import Lock

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from barnraise import __version__
from barnraise.clock import now_ms
from barnraise.errors import StorageError
from barnraise.metric import Readings
from barnraise.metrics import Family, families
from barnraise.run_folder import RunFolder
from coordinator.ledger import Ledger
from coordinator.metrics.catalogue import CATALOGUE, ROUTES_MAX
from coordinator.metrics.fold import RunFold
from coordinator.metrics.folder import FolderGauges

__all__ = ["CONTENT_TYPE", "GatewayMetrics", "LedgerReader"]

CONTENT_TYPE = CONTENT_TYPE_LATEST
BATCH = 500
FOLD_FOR_S = 3.0
"""So long a scrape takes events in; Prometheus waits 10 s for an answer."""

BY_NAME = {metric.name: metric for metric in CATALOGUE}


class GatewayMetrics:
    """The metrics of one gateway."""

    def __init__(self, ledger: Ledger, folder: RunFolder, now_ms: Callable[[], int] = now_ms) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library gives it no type
        self._registry = CollectorRegistry()
        self._readers = _Readers(LedgerReader(ledger), FolderGauges(folder), now_ms)
        self._registry.register(self._readers)
        self._requests = Counter(*_head("barnraise_http_requests_total"), registry=self._registry)
        self._sent = Counter(*_head("barnraise_http_sent_bytes_total"), registry=self._registry)
        self._refusals = Counter(*_head("barnraise_http_refusals_total"), registry=self._registry)
        self._under_way = Gauge(*_head("barnraise_http_requests_in_progress"), registry=self._registry)
        seconds = BY_NAME["barnraise_http_request_seconds"]
        self._seconds = Histogram(*_head(seconds.name), buckets=seconds.bounds, registry=self._registry)
        build = Gauge(*_head("barnraise_build_info"), registry=self._registry)
        build.labels(__version__, platform.python_version()).set(1)
        self._routes: set[str] = set()

    @contextlib.contextmanager
    def under_way(self) -> Iterator[None]:
        """Count a request for as long as it is being answered."""
        with self._under_way.track_inprogress():
            yield

    def answered(self, method: str, route: str, status: int, took_s: float, sent_bytes: int) -> None:
        """Count a request; ``route`` is the path's pattern, never what a stranger typed."""
        self._routes.add(route if len(self._routes) < ROUTES_MAX else "other")
        route = route if route in self._routes else "other"
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(took_s)
        self._sent.labels(route).inc(sent_bytes)

    def refused(self, code: str) -> None:
        """Count an error that was answered, by its class's code."""
        self._refusals.labels(code).inc()

    def readings(self) -> Readings:
        """What ledger, folder and conductor say at this moment, without the door's own numbers."""
        return self._readers.read()

    def render(self) -> bytes:
        """The Prometheus text of this moment."""
        return generate_latest(self._registry)


class LedgerReader:
    """Takes in what is new in a ledger. One at a time: the fold is no place for two threads."""

    def __init__(self, ledger: Ledger, tick_s: Callable[[], float] = time.monotonic) -> None:
        self._ledger = ledger
        self._tick_s = tick_s
        self._fold = RunFold()
        self._lock = Lock()

    def read(self, now_ms: int) -> tuple[Readings, float]:
        """What the ledger adds up to, and by how many bytes a second its run grows."""
        found = Readings()
        with self._lock:
            try:
                unread = self._take_in()
            except StorageError:
                found.put("barnraise_ledger_readable", 0)
                return found, 0.0
            found.put("barnraise_ledger_readable", 1)
            found.put("barnraise_ledger_unread_events", unread)
            if not unread:
                found.update(self._fold.readings(now_ms))
            return found, self._fold.growth_bytes_per_s(now_ms)

    def _take_in(self) -> int:
        """Fold what is new for :data:`FOLD_FOR_S`; how many events are left for the next time."""
        last, until_s = self._ledger.last_seq(), self._tick_s() + FOLD_FOR_S
        while self._fold.seq < last and self._tick_s() < until_s:
            for recorded in self._ledger.events_after(self._fold.seq, BATCH):
                self._fold.take(recorded)
        return max(0, last - self._fold.seq)


class _Readers(Collector):
    def __init__(self, ledger: LedgerReader, folder: FolderGauges, now_ms: Callable[[], int]) -> None:
        self._ledger = ledger
        self._folder = folder
        self._now_ms = now_ms

    def describe(self) -> Iterable[Family]:
        return ()  # so that registering does not read the ledger

    def read(self) -> Readings:
        readings, growth = self._ledger.read(self._now_ms())
        readings.update(self._folder.readings(growth))
        return readings

    def collect(self) -> Iterator[Family]:
        yield from families(self.read(), CATALOGUE)


def _head(name: str) -> tuple[str, str, tuple[str, ...]]:
    metric = BY_NAME[name]
    return metric.name, metric.meaning, metric.labels
