"""The rows of a statement of PostgreSQL as the server sends them, by whole batches, each wait bounded."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
from psycopg import generators, pq
from psycopg.adapt import Transformer

from scanner.rows import BATCH, Raw

_CHUNKED = psycopg.capabilities.has_stream_chunked()
_ROWS = (pq.ExecStatus.TUPLES_CHUNK, pq.ExecStatus.SINGLE_TUPLE, pq.ExecStatus.TUPLES_OK)
_SLICE = 0.1  # how often the server is given up that has been already


class Patience:
    """Calls ``give_up`` when one of many waits takes longer than ``seconds``: one thread for all of them."""

    def __init__(self, seconds: float, give_up: Callable[[], None]) -> None:
        self._seconds = seconds
        self._give_up = give_up
        self._due = math.inf
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="pipeline-patience", daemon=True)
        self._thread.start()

    def bound(self, batches: Iterator[Raw]) -> Raw:
        """The next batch, empty where there is none, which is waited for so long at most."""
        self._due = time.monotonic() + self._seconds
        try:
            return next(batches, ())
        finally:
            self._due = math.inf

    def end(self) -> None:
        """No further wait follows."""
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        pause = self._seconds
        while not self._ended.wait(pause):
            left = self._due - time.monotonic()
            if left <= 0:
                self._give_up()
            pause = min(self._seconds, max(left, _SLICE))  # what begins meanwhile is due later than that


def batches_of(conn: psycopg.Connection[Any], sql: str) -> Iterator[Raw]:
    """The rows of a statement by whole batches: a cursor that streams hands them on one by one."""
    transformer, pgconn = Transformer(conn), conn.pgconn
    pgconn.send_query_params(sql.encode(conn.info.encoding), None)
    if _CHUNKED:
        pgconn.set_chunked_rows_mode(BATCH)
    else:
        pgconn.set_single_row_mode()
    conn.wait(generators.send(pgconn))
    held: list[tuple[Any, ...]] = []
    first = True
    while (result := conn.wait(generators.fetch(pgconn))) is not None:
        if result.status not in _ROWS:
            raise psycopg.errors.error_from_result(result, encoding=conn.info.encoding)
        transformer.set_pgresult(result, set_loaders=first)
        held += transformer.load_rows(0, result.ntuples, tuple)
        first = False
        if len(held) >= BATCH:
            yield held
            held = []
    if held:
        yield held
