"""What ``/healthz`` claims while the scanner is stopped: never that nothing is pending where something is."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import sys
import threading
import time
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from comparison import Client
from running import Serving, send, state_of
from waiting import until

from scanner.board import ZERO_SECONDS

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="inotify is Linux's")


class Claim(NamedTuple):
    """When nothing pending was claimed (the question's time), and how many files the index had by then."""

    asked: float
    files: int


class Written:
    """How many files there were at which time (monotonic seconds)."""

    def __init__(self) -> None:
        self._times: list[float] = [0.0]
        self._counts: list[int] = [0]

    @property
    def count(self) -> int:
        """How many there are now."""
        return self._counts[-1]

    def write(self, directory: Path, count: int) -> None:
        """So many more."""
        for number in range(self.count, self.count + count):
            descriptor = os.open(f"{directory}/{number:06}.jpg", os.O_CREAT | os.O_WRONLY)
            os.write(descriptor, b"x")
            os.close(descriptor)
            if number % 50 == 49:
                self._counts.append(number + 1)
                self._times.append(time.monotonic())

    def at(self, moment: float) -> int:
        """How many there were at least."""
        return self._counts[bisect_right(self._times, moment) - 1]


class Watchman(threading.Thread):
    """Asks without a pause, and keeps every claim that all is well and nothing is pending."""

    def __init__(self, server: Serving) -> None:
        super().__init__(name="watchman")
        self.claims: list[Claim] = []
        self.asked = 0
        self.ended = threading.Event()
        self._client = Client(f"http://127.0.0.1:{server.port}", timeout=10.0)
        self._index = next(server.directories()[0].glob("index-*.db"))

    def run(self) -> None:
        """Ask until ended."""
        with contextlib.closing(sqlite3.connect(f"file:{self._index}?mode=ro", uri=True)) as index:
            while not self.ended.is_set():
                asked = time.monotonic()
                body = self._client.get("/healthz").json()
                self.asked += 1
                if body["status"] == "ok" and body["pending"]["paths"] == 0:
                    self.claims.append(Claim(asked, self._files(index)))
        self._client.close()

    def _files(self, index: sqlite3.Connection) -> int:
        return int(index.execute("SELECT count(*) FROM files").fetchone()[0])


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Stopped for three seconds at least."""
    send(pid, signal.SIGSTOP)
    since = time.monotonic()
    try:
        until(lambda: state_of(pid) == "T", "stopped")
        yield
        until(lambda: time.monotonic() - since >= 3.0, "stopped for 3 s")
    finally:
        send(pid, signal.SIGCONT)


def test_nothing_pending_is_never_claimed_while_a_file_is_not_indexed(tmp_path: Path) -> None:
    """First the kernel holds what happens while the scanner is stopped, then its queue overflows; a claim
    always covers what had been written by half a second before."""
    place = tmp_path / "data" / "frames" / "v"
    place.mkdir(parents=True)
    written = Written()
    with Serving(tmp_path) as server:
        server.ready()
        until(lambda: server.health()["pending"]["paths"] == 0, "nothing is pending")
        watchman = Watchman(server)
        watchman.start()
        try:
            for count in (1000, 20_000):
                with stopped(server.scanner()):
                    written.write(place, count)
                server.files(written.count)
                until(lambda: server.health()["pending"]["paths"] == 0, "nothing is pending")
        finally:
            watchman.ended.set()
            watchman.join()
        assert server.health()["watching"]["overflows"] > 0
    assert watchman.asked > 1000
    assert watchman.claims[-1].files == written.count == 21_000
    wrong = [claim for claim in watchman.claims if claim.files < written.at(claim.asked - ZERO_SECONDS)]
    assert not wrong
