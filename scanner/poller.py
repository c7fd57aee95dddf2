"""The thread that polls the pipeline database, and what it knows of how that goes."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from scanner.exceptions import PipelineUnavailable
from scanner.pipeline import Pipeline
from scanner.rows import PollDone, PollFailed, SinkItem

if TYPE_CHECKING:
    from scanner.config import DatabaseConfig

log = logging.getLogger(__name__)

FULL_SHARE = 0.05  # the part of the time that full comparisons may take where they need not be rare
FIRST_RETRY_SECONDS = 0.5
LAST_RETRY_SECONDS = 30.0
PROMPT_RETRY_SECONDS = 5.0  # the longest pause while the outage is young
YOUNG_SECONDS = 300.0
STOP_SECONDS = 1.0

Sink = Callable[[SinkItem], None]


@dataclass(frozen=True, slots=True)
class PollerStatus:
    """How polling goes; ``error`` is one line without a password, ``last_sync_us`` the last good poll.

    ``lacking`` are those of the ``notices`` that say which tables are not there.
    """

    configured: bool = True
    reachable: bool = False
    last_sync_us: int | None = None
    error: str | None = None
    notices: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()
    first_sync_done: bool = False


class _StoppedError(Exception):
    """The thread has been told to stop in the middle of a poll."""


class Poller(threading.Thread):
    """Polls ``pipeline`` and hands every item to ``sink``, which may block.

    Each poll ends with ``PollDone`` or ``PollFailed``. Nothing that goes wrong ends the thread: it is
    logged, shown in ``status()`` and tried again with backoff.
    """

    def __init__(self, pipeline: Pipeline, config: DatabaseConfig, sink: Sink) -> None:
        super().__init__(name="pipeline-poller", daemon=True)
        self._pipeline = pipeline
        self._sink = sink
        self._poll_seconds = config.poll_seconds
        self._full_sync_seconds = config.full_sync_seconds
        self._wanted = threading.Event()
        self._stopping = threading.Event()
        self._status = PollerStatus()
        self._last_full: tuple[float, float] | None = None  # when it ended, and what it took
        self._owes_full = False  # the last poll was partial: what it saw change may have been a deletion
        self._failures = 0
        self._failing_since = 0.0

    # --- for other threads --------------------------------------------------------------------------

    def status(self) -> PollerStatus:
        """What is known now."""
        return replace(self._status, notices=self._pipeline.notices, lacking=self._pipeline.lacking)

    def wake(self) -> None:
        """Poll now rather than when it is due."""
        self._wanted.set()

    def stop(self) -> None:
        """End the thread, within a second even where the server hangs or the sink blocks."""
        self._stopping.set()
        self._wanted.set()
        self._pipeline.abort()
        if self.is_alive():
            self.join(STOP_SECONDS)

    # --- the thread -----------------------------------------------------------------------------------

    def run(self) -> None:
        """Poll until told to stop."""
        try:
            while not self._stopping.is_set():
                pause = self._attempt()
                self._wanted.wait(pause)
                self._wanted.clear()
        finally:
            self._pipeline.close()

    def _attempt(self) -> float:
        """One poll; answers how long to wait for the next."""
        try:
            full = self._full_is_due()
            if self._failures or not self._pipeline.unchanged() or (full and self._owes_full):
                self._poll(full=full)
            self._succeeded()
        except _StoppedError:
            return 0.0
        except PipelineUnavailable as exc:
            return self._failed(str(exc), unexpected=False)
        except Exception as exc:  # noqa: BLE001 - a thread that ends would be silent; logged with its traceback
            return self._failed(f"{type(exc).__name__}: {exc}", unexpected=True)
        return self._poll_seconds

    def _poll(self, *, full: bool) -> None:
        started = time.monotonic()
        with closing(self._pipeline.poll(full=full)) as items:  # type: ignore[type-var]
            for item in items:
                self._hand_on(item)
        self._hand_on(PollDone(full))
        self._owes_full = not full
        if full:
            ended = time.monotonic()
            self._last_full = (ended, ended - started)

    def _hand_on(self, item: SinkItem) -> None:
        if self._stopping.is_set():
            raise _StoppedError
        self._sink(item)

    def _full_is_due(self) -> bool:
        """True at first, after an outage, in time, and wherever it costs next to nothing."""
        if self._last_full is None or self._failures:
            return True
        ended, cost = self._last_full
        since = time.monotonic() - ended
        return since >= self._full_sync_seconds or cost <= FULL_SHARE * since

    def _succeeded(self) -> None:
        if self._failures:
            outage = time.monotonic() - self._failing_since
            log.info("pipeline database: reachable again after %.1f s", outage)
        self._failures = 0
        self._status = replace(
            self._status,
            reachable=True,
            error=None,
            last_sync_us=time.time_ns() // 1000,
            first_sync_done=True,
        )

    def _failed(self, error: str, *, unexpected: bool) -> float:
        """Say so once an outage, tell the sink, and answer the pause before the next attempt."""
        if self._stopping.is_set():
            return 0.0
        if not self._failures:
            self._failing_since = time.monotonic()
        if unexpected:
            log.exception("pipeline database: a poll failed unexpectedly")
        elif not self._failures:
            log.warning("pipeline database: %s; what is known stays in force, trying again", error)
        self._failures += 1
        self._status = replace(self._status, reachable=False, error=error)
        self._announce(PollFailed(error))
        return self._backoff()

    def _announce(self, item: PollFailed) -> None:
        try:
            self._sink(item)
        except Exception:
            log.exception("pipeline database: the sink failed")

    def _backoff(self) -> float:
        """Doubling pauses with jitter; short ones at first, so that a restarted server is noticed soon."""
        young = time.monotonic() - self._failing_since < YOUNG_SECONDS
        longest = PROMPT_RETRY_SECONDS if young else LAST_RETRY_SECONDS
        pause = min(FIRST_RETRY_SECONDS * 2.0 ** min(self._failures - 1, 10), longest)
        return float(pause * random.uniform(0.75, 1.25))
