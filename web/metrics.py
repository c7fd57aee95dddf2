"""What Prometheus scrapes: how the index, the watching and the database are, and what was answered.

Nothing is counted for a scrape: the scanner's figures lie on the board, those of requests in memory. Labels
have few values, and never an id.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from itertools import accumulate
from pathlib import Path
from time import time
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from scanner.board import Board
from scanner.records import ARTIFACTS, AssetType, Feature
from web.health import EMPTY
from web.requestcounts import BUCKETS, RequestCounts

UNKNOWN = "unknown"
"""The route of requests that fit none."""

_NO_COUNTS: dict[str, list[Any]] = {"files": [], "assets": []}
_CHECKS = ("pending", "checked", "unchecked")
_Samples = Iterable[tuple[tuple[str, ...], float]]


class BoardCollector(Collector):
    """The scanner's figures, read from the board at each scrape."""

    def __init__(self, board: Board) -> None:
        self._board = board

    def collect(self) -> Iterator[Metric]:
        """Every metric, whether or not the scanner has said anything yet."""
        snapshot = self._board.snapshot() or {**EMPTY, "degraded": False, "file": None}
        yield from self._state(snapshot)
        yield from _queues(snapshot["queues"])
        yield from _counts(snapshot.get("counts", _NO_COUNTS))
        yield from _index(snapshot)
        yield from _watching(snapshot)
        yield from _passes(snapshot)

    def _state(self, snapshot: dict[str, Any]) -> Iterator[Metric]:
        reading = self._board.read()
        yield _gauge("ready", "1 once the first full scan and database read are done", reading.ready)
        yield _gauge("degraded", "1 while answers may be incomplete or old", snapshot["degraded"])
        yield _gauge("problems", "Lines in problems of /healthz", len(snapshot["problems"]))
        yield _gauge("scanner_heartbeat_age_seconds", "Since the scanner's last sign", reading.beat_age)
        yield _gauge("pending_paths", "Paths known to need a look", reading.paths)
        yield _gauge("pending_validations", "Files whose content waits to be checked", reading.validations)


class RequestCollector(Collector):
    """What was answered."""

    def __init__(self, counts: RequestCounts) -> None:
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        """Answers by route and status, and their durations by route."""
        labels = ("route",)
        requests = CounterMetricFamily("sidecar_requests", "Answers", labels=(*labels, "status"))
        seconds = HistogramMetricFamily(
            "sidecar_request_seconds", "From the head of a request to the end of its answer", labels=labels
        )
        for name, figures in sorted(self._counts.total().items()):
            route = name or UNKNOWN
            for status, count in sorted(figures.statuses.items()):
                requests.add_metric((route, str(status)), count)
            steps = zip((*map(str, BUCKETS), "+Inf"), accumulate(figures.steps), strict=True)
            seconds.add_metric((route,), list(steps), figures.seconds)
        yield requests
        yield seconds


class Metrics:
    """``/metrics`` of one web process; :meth:`observe` is told of every answer.

    ``shared`` is the directory through which several web processes add up their figures, None for one alone;
    those of the process itself, such as its memory, are only shown by one alone.
    """

    def __init__(self, board: Board, version: str = "0", shared: Path | None = None) -> None:
        self.requests = RequestCounts(shared)
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(BoardCollector(board))
        self._registry.register(RequestCollector(self.requests))
        self._registry.register(_Build(version))
        if shared is None:
            ProcessCollector(registry=self._registry)

    @property
    def observe(self) -> Callable[[str, int, float], None]:
        """Counts an answer: its route's pattern, status and seconds."""
        return self.requests.observe

    def render(self) -> bytes:
        """The text of ``/metrics``."""
        return generate_latest(self._registry)


class _Build(Collector):
    def __init__(self, version: str) -> None:
        self._version = version

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily("sidecar_build", "The release that answers", value={"version": self._version})


# --- the scanner's figures -------------------------------------------------------------------------


def _queues(queues: dict[str, int]) -> Iterator[Metric]:
    text = "What waits for the scanner, by where it waits"
    yield _labelled("queue_length", text, ("queue",), (((name,), n) for name, n in queues.items()))


def _counts(counts: dict[str, list[Any]]) -> Iterator[Metric]:
    files = (((root, kind), n) for root, kind, n in counts["files"])
    yield _labelled("indexed_files", "Files by root and by what the patterns say", ("root", "kind"), files)
    assets = {(type, name): n for type, name, n in counts["assets"]}
    types = [type.wire for type in AssetType]
    text = "Product images and video frames on disk"
    yield _labelled("indexed_assets", text, ("type",), (((t,), assets.get((t, "total"), 0)) for t in types))
    done = (((t, f.wire), assets.get((t, f.wire), 0)) for t in types for f in ARTIFACTS)
    yield _labelled("indexed_artifacts", "Assets that have an artifact", ("type", "feature"), done)
    yield _labelled("findings", "Published disagreements", ("kind", "feature"), _findings(assets))
    withheld = sum(assets.get((type, "withheld"), 0) for type in types)
    yield _gauge("findings_withheld", "Disagreements held back: all for one reason", withheld)
    checks = (
        ((f.wire, state), sum(assets.get((t, f"{state}:{f.wire}"), 0) for t in types))
        for f in Feature
        for state in _CHECKS
    )
    yield _labelled("content_checks", "Files of assets by their check", ("feature", "state"), checks)


def _findings(assets: dict[tuple[str, str], int]) -> _Samples:
    found: dict[tuple[str, ...], int] = {}
    for (_, name), n in assets.items():
        if name.startswith("finding:"):
            _, kind, feature = name.split(":")
            key = (kind, Feature(int(feature)).wire)
            found[key] = found.get(key, 0) + n
    return sorted(found.items())


def _index(snapshot: dict[str, Any]) -> Iterator[Metric]:
    yield _gauge("index_version", "Changes with every change of the index", snapshot["index"]["version"])
    yield _gauge("unmatched_files", "Files that no pattern and no row knows", snapshot["unmatched_files"])
    yield _gauge("skipped_names", "Names that are not UTF-8", snapshot["skipped_names"])
    used, free = _index_space(snapshot["file"])
    yield _gauge("index_bytes", "Size of the index", used)
    yield _gauge("index_free_bytes", "What its file system has left", free)
    for name in ("free_bytes", "free_inodes"):
        value = snapshot["volume"][name]
        text = f"{name.replace('_', ' ').capitalize()} where the data lies"
        yield _labelled(f"volume_{name}", text, (), () if value is None else (((), value),))


def _index_space(path: str | None) -> tuple[int, int]:
    if path is None:
        return 0, 0
    used = 0
    for part in ("", "-wal", "-shm"):
        try:
            used += os.path.getsize(path + part)
        except FileNotFoundError:  # between one index and the next
            continue
    about = os.statvfs(os.path.dirname(path))
    return used, about.f_bavail * about.f_frsize


def _watching(snapshot: dict[str, Any]) -> Iterator[Metric]:
    watching = snapshot["watching"]
    states = (((state,), watching[state]) for state in ("needed", "watched", "polled"))
    yield _labelled("directories", "Needed, and how changes in them are noticed", ("state",), states)
    yield _gauge("watches_used", "Watches in use", watching["watched"])
    allowed = () if watching["allowed"] is None else (((), watching["allowed"]),)
    yield _labelled("watches_allowed", "Watches that the system allows a user", (), allowed)
    yield CounterMetricFamily("sidecar_watch_overflows", "Lost events", value=watching["overflows"])
    yield _age("watch_overflow", "Since events were lost", watching["last_overflow_at"])
    yield CounterMetricFamily("sidecar_missed_files", "Files that no event told of", value=watching["missed"])
    roots = (((root["path"],), root["available"]) for root in snapshot["roots"])
    yield _labelled("root_available", "1 while a root can be read", ("root",), roots)


def _passes(snapshot: dict[str, Any]) -> Iterator[Metric]:
    scan, database = snapshot["scan"], snapshot["database"]
    seconds = () if scan["seconds"] is None else (((), scan["seconds"]),)
    yield _labelled("full_pass_seconds", "How long the last full reconciliation took", (), seconds)
    yield _age("full_pass", "Since the last full reconciliation ended", scan["last_completed_at"])
    yield _gauge("database_configured", "1 where there is a pipeline database", database["configured"])
    yield _gauge("database_reachable", "1 if the last read worked", database["reachable"])
    yield _age("database_sync", "Since the database was last read", database["last_sync_at"])


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"sidecar_{name}", text, value=float(value))


def _labelled(name: str, text: str, labels: tuple[str, ...], samples: _Samples) -> GaugeMetricFamily:
    """A gauge with labels, or one that may have no value now."""
    family = GaugeMetricFamily(f"sidecar_{name}", text, labels=labels)
    for values, value in samples:
        family.add_metric(values, float(value))
    return family


def _age(name: str, text: str, moment: str | None) -> GaugeMetricFamily:
    """Seconds since a moment; without a value where there was none."""
    seconds = () if moment is None else (((), max(0.0, time() - datetime.fromisoformat(moment).timestamp())),)
    return _labelled(f"{name}_age_seconds", text, (), seconds)
