"""How many requests were answered, by route, with which status and how fast: of one web process or of all.

Several web processes share a port, and a scrape reaches any one of them. Each therefore keeps its figures in
a file of its own beside the index, and whoever is asked adds up all files. A file outlives its process, so
that no total ever falls.
"""

from __future__ import annotations

import asyncio
import os
from bisect import bisect_left
from collections.abc import Iterable
from pathlib import Path
from uuid import uuid4

import msgspec

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
"""Upper bounds, in seconds, of the steps in which durations are counted; one more step has none."""

FLUSH_SECONDS = 0.5
_PATTERN = "requests-*.json"


class Route(msgspec.Struct):
    """The answers of one route; ``steps`` belongs to ``BUCKETS``, with one more for what is slower."""

    statuses: dict[int, int] = msgspec.field(default_factory=dict)
    steps: list[int] = msgspec.field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    seconds: float = 0.0

    def add(self, other: Route) -> None:
        """Add another's figures."""
        for status, count in other.statuses.items():
            self.statuses[status] = self.statuses.get(status, 0) + count
        self.steps = [mine + theirs for mine, theirs in zip(self.steps, other.steps, strict=True)]
        self.seconds += other.seconds


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Route]).decode


class RequestCounts:
    """Counts the answers of this process; with a ``directory``, those of all who share it are added."""

    def __init__(self, directory: Path | None = None) -> None:
        self._routes: dict[str, Route] = {}
        self._file = None if directory is None else directory / f"requests-{uuid4().hex}.json"
        self._changed = False

    def observe(self, route: str, status: int, seconds: float) -> None:
        """Count an answer."""
        figures = self._routes.get(route)
        if figures is None:
            figures = self._routes[route] = Route()
        figures.statuses[status] = figures.statuses.get(status, 0) + 1
        figures.steps[bisect_left(BUCKETS, seconds)] += 1
        figures.seconds += seconds
        self._changed = True

    def total(self) -> dict[str, Route]:
        """The figures by route: of this process as they are, of others as of at most half a second ago."""
        result: dict[str, Route] = {}
        for routes in (self._routes, *self._others()):
            for name, figures in routes.items():
                result.setdefault(name, Route()).add(figures)
        return result

    def flush(self) -> None:
        """Let the others know; raises ``OSError`` where there is no room."""
        if self._file is None or not self._changed:
            return
        self._changed = False
        part = self._file.with_suffix(".part")
        part.write_bytes(_encode(self._routes))
        os.replace(part, self._file)

    async def keep_flushing(self) -> None:
        """Let the others know, again and again, until it is cancelled."""
        try:
            while self._file is not None:
                await asyncio.sleep(FLUSH_SECONDS)
                self._try_to_flush()
        finally:
            self._try_to_flush()

    def _try_to_flush(self) -> None:
        try:
            self.flush()
        except OSError:  # the index's memory is full, which /healthz says; what is counted is kept
            self._changed = True

    def _others(self) -> Iterable[dict[str, Route]]:
        if self._file is None:
            return
        for path in self._file.parent.glob(_PATTERN):
            if path != self._file:
                yield _decode(path.read_bytes())
