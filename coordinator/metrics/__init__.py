"""What is measured of a run, for Prometheus.

``catalogue`` lists every metric. ``fold`` (with ``rounds``, ``updates``, ``reasons``) adds the ledger's events up
without knowing Prometheus, ``folder`` reads sizes and files, ``exporter`` turns all of it into text.
"""

from coordinator.metrics.exporter import CONTENT_TYPE, GatewayMetrics

__all__ = ["CONTENT_TYPE", "GatewayMetrics"]
