"""What Prometheus scrapes, computed from the ledger at the moment of the scrape.

Nothing is counted twice and nothing is lost with a restart, because nothing is counted here:
the ledger remembers. Only how often the door was used lives in this process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from barnraise.clock import now_ms
from coordinator.ledger import Ledger, RoundRow, Tally

__all__ = ["CONTENT_TYPE", "GatewayMetrics"]

CONTENT_TYPE = CONTENT_TYPE_LATEST
PHASES = ("collecting", "merging", "testing", "released", "rejected", "abandoned")
STATES = ("received", "checked", "rejected", "merged", "unmerged", "reverted")


class GatewayMetrics:
    """The registry of one gateway."""

    def __init__(self, ledger: Ledger, now_ms: Callable[[], int] = now_ms) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_LedgerCollector(ledger, now_ms))
        self._requests = Counter(
            "barnraise_http_requests_total",
            "Requests answered by this process.",
            ("method", "route", "status"),
            registry=self._registry,
        )

    def answered(self, method: str, route: str, status: int) -> None:
        """Count a request; ``route`` is the path's pattern, never what a stranger typed."""
        self._requests.labels(method, route, str(status)).inc()

    def render(self) -> bytes:
        """The Prometheus text of this moment."""
        return generate_latest(self._registry)


class _LedgerCollector(Collector):
    def __init__(self, ledger: Ledger, now_ms: Callable[[], int]) -> None:
        self._ledger = ledger
        self._now_ms = now_ms

    def describe(self) -> Iterable[Metric]:
        return ()  # so that registering does not read the ledger

    def collect(self) -> Iterator[Metric]:
        yield from _totals(self._ledger.tally())
        current, now_ms = self._ledger.current_round(), self._now_ms()
        if current is not None:
            yield from _round(current, len(self._ledger.open_leases(current.number, now_ms)), now_ms)
        newest = self._ledger.newest_release()
        if newest is not None:
            created = GaugeMetricFamily(
                "barnraise_release_created_timestamp_seconds", "When the newest release was made.", labels=("version",)
            )
            created.add_metric((newest.version,), newest.created_at_ms / 1000)
            yield created
            mean = GaugeMetricFamily(
                "barnraise_acceptance_mean",
                "Mean of each acceptance test at the newest release.",
                labels=("test", "unit"),
            )
            for test, numbers in sorted(newest.summary.items()):
                mean.add_metric((test, str(numbers.get("unit", ""))), float(numbers["mean"]))
            yield mean


def _totals(tally: Tally) -> Iterator[Metric]:
    for name, words, value in (
        ("barnraise_ledger_events", "Events in the ledger.", tally.events),
        ("barnraise_leases", "Leases given.", tally.leases),
        ("barnraise_releases", "Releases tagged.", tally.releases),
        ("barnraise_update_received_bytes", "Bytes of all updates received.", tally.received_bytes),
        ("barnraise_update_tokens", "Tokens that contributors state to have trained on.", tally.tokens),
    ):
        yield CounterMetricFamily(name, words, value=value)
    yield GaugeMetricFamily("barnraise_contributors", "Keys that ever asked for work.", value=tally.contributors)
    yield _by_label("barnraise_updates", "Updates by what became of them.", "state", STATES, tally.updates)
    yield _by_label("barnraise_rounds", "Rounds by phase.", "phase", PHASES, tally.rounds)


def _by_label(name: str, words: str, label: str, values: Iterable[str], counts: dict[str, int]) -> Metric:
    """One gauge a value, also where there is none of it: states change, so these go down too."""
    family = GaugeMetricFamily(name, words, labels=(label,))
    for value in values:
        family.add_metric((value,), counts.get(value, 0))
    return family


def _round(current: RoundRow, open_leases: int, now_ms: int) -> Iterator[Metric]:
    yield GaugeMetricFamily("barnraise_round_number", "Number of the newest round.", value=current.number)
    phase = GaugeMetricFamily("barnraise_round_phase", "1 for the newest round's phase.", labels=("phase",))
    for name in PHASES:
        phase.add_metric((name,), float(name == current.phase))
    yield phase
    age_s = max(0, now_ms - current.moved_at_ms) / 1000
    yield GaugeMetricFamily("barnraise_round_phase_age_seconds", "Since the newest round last moved.", value=age_s)
    yield GaugeMetricFamily("barnraise_leases_open", "Leases that may still bring an update.", value=open_leases)
