"""Readings as Prometheus has them. Needs prometheus_client, which comes with the extras that export metrics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family

from barnraise.metric import Metric, Readings, Spread

__all__ = ["Family", "families"]


def families(readings: Readings, catalogue: Iterable[Metric]) -> Iterator[Family]:
    """What was read, in the order of the catalogue; what is not in it is not shown."""
    for metric in catalogue:
        series = readings.of(metric.name)
        if series:
            yield _family(metric, series)


def _family(metric: Metric, series: dict[tuple[str, ...], float | Spread]) -> Family:
    if metric.kind == "histogram":
        spreads = HistogramMetricFamily(metric.name, metric.meaning, labels=metric.labels)
        for labels, spread in sorted(series.items()):
            assert isinstance(spread, Spread), metric.name
            spreads.add_metric(labels, spread.cumulative(), spread.total)
        return spreads
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    numbers = kind(metric.name, metric.meaning, labels=metric.labels)
    for labels, value in sorted(series.items()):
        assert not isinstance(value, Spread), metric.name
        numbers.add_metric(labels, value)
    return numbers
