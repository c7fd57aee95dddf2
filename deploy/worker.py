"""A worker for trying the sidecar with PostgreSQL: the demo's world and its worker, over a database of yours.

    WORKER_DATABASE_URL=postgresql://pipeline:pipeline@db/pipeline python deploy/worker.py --root /data

It makes the tables if they are not there, fills them and the data root, and then changes both all the time
as a pipeline would, until SIGTERM. A database that is away is waited for.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg

from web import demoworld
from web.demoworker import Worker
from web.demoworld import World

RETRY_SECONDS = 0.5


class PostgresWorld(World):
    """The demo's world over PostgreSQL; every statement is tried again until the database takes it."""

    def __init__(self, root: Path, url: str, stopping: Callable[[], bool] = lambda: False) -> None:
        self._url = url
        self._stopping = stopping
        super().__init__(root, root)

    @property
    def url(self) -> str:
        """The database's address."""
        return self._url

    def _open(self) -> Any:
        self._connection: psycopg.Connection[Any] | None = None
        self._prepared = self._away = False
        self._run("SELECT 1", ())
        return None

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()

    def _run(self, sql: str, values: Sequence[object]) -> None:
        # A statement may have taken effect although its answer was lost: doing it again must change nothing.
        again = " ON CONFLICT DO NOTHING" if sql.startswith("INSERT") else ""
        while not self._stopping():
            try:
                self._connected().execute((sql + again).replace("?", "%s").encode(), values)
            except psycopg.OperationalError as error:
                self._wait_after(error)
            else:
                self._away = False
                return

    def _wait_after(self, error: Exception) -> None:
        if not self._away:
            print(f"the database does not answer: {str(error).splitlines()[0]}", file=sys.stderr)
        self._away = True
        self.close()
        self._connection = None
        time.sleep(RETRY_SECONDS)

    def _connected(self) -> psycopg.Connection[Any]:
        if self._connection is None:
            self._connection = psycopg.connect(self._url, autocommit=True, connect_timeout=5)
        if not self._prepared:
            self._connection.execute(schema().encode())
            self._prepared = True
        return self._connection


def schema() -> str:
    """The demo's tables with PostgreSQL's types, made only where they are not there yet."""
    text = re.sub(r"(updated_at|created_at) TEXT", r"\1 TIMESTAMPTZ", demoworld.SCHEMA)
    text = re.sub(r"(duration_s|ts) REAL", r"\1 DOUBLE PRECISION", text)
    return text.replace("CREATE TABLE", "CREATE TABLE IF NOT EXISTS")


def main(arguments: Sequence[str] | None = None) -> int:
    """Fill the world, then work until a signal comes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path, default=Path("/data"), help="where the files go")
    parser.add_argument("--pause", type=float, default=0.75, help="mean seconds between two changes")
    options = parser.parse_args(arguments)
    url = os.environ.get("WORKER_DATABASE_URL")
    if not url:
        parser.error("WORKER_DATABASE_URL is not set")
    stopping = threading.Event()
    with _signals(stopping), contextlib.closing(PostgresWorld(options.root, url, stopping.is_set)) as world:
        demoworld.fill(world)
        worker = Worker(world)
        worker.break_each_way()
        chance = random.Random()
        while not stopping.wait(chance.uniform(0.7, 1.3) * options.pause):
            print(worker.step(), flush=True)
    return 0


@contextlib.contextmanager
def _signals(stopping: threading.Event) -> Iterator[None]:
    before = {
        number: signal.signal(number, lambda *_: stopping.set()) for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    sys.exit(main())
