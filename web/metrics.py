"""What Prometheus scrapes: how the index, the watcher's work and the requests of this process are."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from scanner.board import Board

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)


class BoardCollector(Collector):
    """Reads the board at each scrape; nothing is counted for it in between."""

    def __init__(self, board: Board) -> None:
        self._board = board

    def collect(self) -> Iterator[Metric]:
        """The gauges of the scanner."""
        reading = self._board.read()
        yield _gauge("ready", "1 once the first full scan and database read are done", reading.ready)
        yield _gauge(
            "sidecar_scanner_heartbeat_age_seconds", "since the scanner's last sign", reading.beat_age
        )
        yield _gauge("pending_paths", "paths known to need a look", reading.paths)
        yield _gauge("pending_validations", "files whose content waits", reading.validations)
        snapshot = self._board.snapshot()
        if snapshot is None:
            return
        yield _gauge("degraded", "1 while answers may be incomplete or old", snapshot["degraded"])
        yield _gauge("problems", "lines in /healthz problems", len(snapshot["problems"]))
        yield _gauge("indexed_files", "files in the index", snapshot["index"]["files"])
        yield _gauge("indexed_assets", "images and frames in the index", snapshot["index"]["assets"])
        yield _gauge("unmatched_files", "files no pattern or row knows", snapshot["unmatched_files"])
        if snapshot["scan"]["seconds"] is not None:
            yield _gauge("sidecar_scan_seconds", "length of the last full scan", snapshot["scan"]["seconds"])
        yield _gauge(
            "sidecar_database_reachable", "1 if the last poll worked", snapshot["database"]["reachable"]
        )


class Metrics:
    """The registry of one web process; :meth:`observe` is told of every answer."""

    def __init__(self, board: Board) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(BoardCollector(board))
        labels = ("route", "status")
        self._requests = Counter("sidecar_requests", "answers", labels, registry=self._registry)
        self._seconds = Histogram(
            "sidecar_request_seconds",
            "time to answer",
            ("route",),
            buckets=BUCKETS,
            registry=self._registry,
        )

    def observe(self, route: str, status: int, seconds: float) -> None:
        """Count an answer of a route, never of an id."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def render(self) -> bytes:
        """The text of ``/metrics``."""
        return generate_latest(self._registry)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"sidecar_{name}", text, value=float(value))
