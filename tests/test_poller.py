"""The poller keeps a sink up to date through outages, restarts and hangs, and stops at once."""

from __future__ import annotations

import logging
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from mirror import SCHEMA, Mirror
from postgres import Cluster
from waiting import until

from scanner.pipeline import Pipeline
from scanner.poller import FULL_SHARE, Poller
from scanner.rows import BeginFull, FullPass, PollDone, Table
from scanner.settings import DatabaseConfig

FRAMES = Table.VIDEO_FRAMES
DEADLINE = 30.0


@contextmanager
def polling(url: str, sink: Any, **changes: Any) -> Iterator[Poller]:
    config = replace(DatabaseConfig(url=url, poll_seconds=0.05), **changes)
    poller = Poller(Pipeline(config), config, sink)
    poller.start()
    try:
        yield poller
    finally:
        poller.stop()
        poller.join(DEADLINE)
        assert not poller.is_alive()


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[tuple[str, sqlite3.Connection]]:
    with closing(sqlite3.connect(tmp_path / "pipeline.db")) as conn:
        conn.executescript("PRAGMA journal_mode = WAL;" + SCHEMA.format(time="TEXT"))
        yield f"sqlite:///{tmp_path / 'pipeline.db'}", conn


@pytest.fixture
def filled(postgres: str) -> str:
    """A PostgreSQL database with one frame."""
    with psycopg.connect(postgres, autocommit=True) as conn:
        conn.execute(SCHEMA.format(time="TIMESTAMPTZ"))
    add_frame(postgres, "f")
    return postgres


def add_frame(url: str, frame_id: str) -> None:
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("INSERT INTO video_frames (frame_id, updated_at) VALUES (%s, now())", [frame_id])


# --- the usual course ----------------------------------------------------------------------------------


def test_changes_and_deletions_of_a_small_database_arrive_within_a_few_polls(sqlite: Any) -> None:
    url, conn = sqlite
    mirror = Mirror()
    with polling(url, mirror) as poller:
        until(lambda: poller.status().first_sync_done, "the first poll")
        with conn:
            conn.execute("INSERT INTO video_frames (frame_id) VALUES ('f')")
        until(lambda: "f" in mirror.tables[FRAMES], "the new frame")
        with conn:
            conn.execute("DELETE FROM video_frames")
        until(lambda: not mirror.tables[FRAMES], "the deletion")
        status = poller.status()
    assert (status.configured, status.reachable, status.error) == (True, True, None)
    assert status.last_sync_us is not None
    assert abs(status.last_sync_us / 1e6 - time.time()) < DEADLINE


def test_nothing_is_read_while_a_file_does_not_change(sqlite: Any) -> None:
    mirror = Mirror()
    with polling(sqlite[0], mirror, poll_seconds=0.01) as poller:
        until(lambda: poller.status().first_sync_done, "the first poll")
        synced = poller.status().last_sync_us
        for _ in range(5):
            synced = poller.status().last_sync_us
            until(lambda before=synced: poller.status().last_sync_us != before, "another look")
    assert mirror.done == [PollDone(full=True)]


def test_wake_polls_before_it_is_due(sqlite: Any) -> None:
    url, conn = sqlite
    mirror = Mirror()
    with polling(url, mirror, poll_seconds=3600.0) as poller:
        until(lambda: poller.status().first_sync_done, "the first poll")
        with conn:
            conn.execute("INSERT INTO video_frames (frame_id) VALUES ('f')")
        poller.wake()
        until(lambda: "f" in mirror.tables[FRAMES], "the new frame")


class Costly:
    """A sink that makes a full comparison cost 10 seconds a table, by a clock that otherwise stands still."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.mirror = Mirror()
        self.now = 0.0
        clock = SimpleNamespace(monotonic=lambda: self.now, time_ns=time.time_ns)
        monkeypatch.setattr("scanner.poller.time", clock)

    def __call__(self, item: Any) -> None:
        self.mirror(item)
        if isinstance(item, BeginFull):
            self.now += 10.0

    @property
    def full(self) -> list[bool]:
        """Of each poll, whether it was a full comparison."""
        return [done.full for done in self.mirror.done]


def test_full_comparisons_of_a_costly_database_wait_for_their_time(
    sqlite: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, conn = sqlite
    sink = Costly(monkeypatch)
    with polling(url, sink, full_sync_seconds=1e9) as poller:
        until(lambda: poller.status().first_sync_done, "the first poll")
        cost = sink.now
        for number in range(3):
            with conn:
                conn.execute("INSERT INTO video_frames (frame_id) VALUES (?)", [f"f{number}"])
            until(lambda n=number: f"f{n}" in sink.mirror.tables[FRAMES], "the new frame")
            sink.now += 0.3 * cost / FULL_SHARE
        until(lambda: len(sink.full) >= 4, "the end of that poll")
        assert sink.full == [True, *[False] * (len(sink.full) - 1)]
        sink.now += 0.3 * cost / FULL_SHARE
        until(lambda: sink.full[-1], "the next full comparison")


def test_full_sync_seconds_brings_the_next_full_comparison(
    sqlite: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long before its cost would allow it."""
    url, conn = sqlite
    sink = Costly(monkeypatch)
    with polling(url, sink, full_sync_seconds=5.0):
        until(lambda: sink.full, "the first poll")
        with conn:
            conn.execute("INSERT INTO video_frames (frame_id) VALUES ('f')")
        until(lambda: "f" in sink.mirror.tables[FRAMES], "the new frame")
        with conn:
            conn.execute("DELETE FROM video_frames")
        sink.now += 5.0
        until(lambda: not sink.mirror.tables[FRAMES], "the deletion")


def test_notices_of_the_pipeline_are_in_the_status(tmp_path: Path) -> None:
    path = tmp_path / "empty.db"
    with closing(sqlite3.connect(path)) as conn:
        conn.execute("CREATE TABLE other (x)")
    with polling(f"sqlite:///{path}", Mirror()) as poller:
        until(lambda: poller.status().first_sync_done, "the first poll")
        assert "none of the tables" in poller.status().notices[0]


# --- outages --------------------------------------------------------------------------------------------


def test_a_server_that_is_killed_and_restarted_is_noticed_both_times(
    filled: str, postgres_cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    mirror = Mirror()
    caplog.set_level(logging.INFO, "scanner.poller")
    with polling(filled, mirror) as poller:
        until(lambda: poller.status().first_sync_done, "the first poll")
        assert "f" in mirror.tables[FRAMES]
        postgres_cluster.kill()
        until(lambda: not poller.status().reachable, "the outage")
        until(lambda: len(mirror.failed) >= 2, "a second attempt")
        status = poller.status()
        assert status.error
        assert "\n" not in status.error
        assert status.first_sync_done
        assert "f" in mirror.tables[FRAMES]
        postgres_cluster.start()
        add_frame(filled, "g")
        until(lambda: "g" in mirror.tables[FRAMES], "the frame after the restart")
        until(lambda: poller.status().reachable, "the recovery")
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert any("reachable again" in record.getMessage() for record in caplog.records)


def test_a_server_that_is_down_at_the_start_is_waited_for(filled: str, postgres_cluster: Cluster) -> None:
    postgres_cluster.stop()
    mirror = Mirror()
    with polling(filled, mirror) as poller:
        until(lambda: mirror.failed, "the first failure")
        assert not poller.status().first_sync_done
        assert poller.status().last_sync_us is None
        postgres_cluster.start()
        until(lambda: "f" in mirror.tables[FRAMES], "the frame")


def test_a_database_file_that_comes_later_is_waited_for(tmp_path: Path) -> None:
    mirror = Mirror()
    path = tmp_path / "later.db"
    with polling(f"sqlite:///{path}", mirror) as poller:
        until(lambda: mirror.failed, "the first failure")
        assert "does not exist" in (poller.status().error or "")
        assert not path.exists()
        with closing(sqlite3.connect(tmp_path / "made.db")) as conn:
            conn.executescript(SCHEMA.format(time="TEXT"))
            conn.execute("INSERT INTO video_frames (frame_id) VALUES ('f')")
            conn.commit()
        (tmp_path / "made.db").rename(path)
        until(lambda: "f" in mirror.tables[FRAMES], "the frame")


def test_a_sink_that_fails_is_an_outage_with_a_traceback_and_then_everything_comes_again(
    sqlite: Any, caplog: pytest.LogCaptureFixture
) -> None:
    url, conn = sqlite
    with conn:
        conn.execute("INSERT INTO video_frames (frame_id) VALUES ('f')")
    mirror = Mirror()
    failures = iter([True])

    def fails_once(item: Any) -> None:
        if isinstance(item, FullPass) and next(failures, False):
            raise RuntimeError("no room")
        mirror(item)

    with polling(url, fails_once) as poller:
        until(lambda: "f" in mirror.tables[FRAMES], "the frame")
        until(lambda: poller.status().reachable, "the recovery")
    assert [failed.error for failed in mirror.failed] == ["RuntimeError: no room"]
    assert any(record.exc_info for record in caplog.records)


def test_pauses_grow_to_five_seconds_while_the_outage_is_young_and_to_thirty_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = DatabaseConfig(url=f"sqlite:///{tmp_path / 'x.db'}")
    poller = Poller(Pipeline(config), config, Mirror())
    monkeypatch.setattr("scanner.poller.random.uniform", lambda _low, _high: 1.0)
    young = [poller._failed("x", unexpected=False) for _ in range(6)]
    assert young == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
    poller._failing_since -= 3600
    assert poller._failed("x", unexpected=False) == 30.0


# --- stopping -------------------------------------------------------------------------------------------


def stops_soon(poller: Poller) -> None:
    started = time.monotonic()
    poller.stop()
    assert time.monotonic() - started < 5  # a second, and what a loaded machine adds
    until(lambda: not poller.is_alive(), "the end of the thread")


def test_stop_ends_a_thread_whose_server_hangs(filled: str, postgres_cluster: Cluster) -> None:
    mirror = Mirror()
    with polling(filled, mirror) as poller:
        until(lambda: mirror.done, "the first poll")
        with postgres_cluster.frozen():
            poller.wake()
            stops_soon(poller)


def test_stop_ends_a_thread_that_is_connecting() -> None:
    """A listener that never says a word is a server that hangs before the connection is made."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"postgresql://u@127.0.0.1:{listener.getsockname()[1]}/d"
        with polling(url, Mirror()) as poller:
            listener.settimeout(DEADLINE)
            accepted, _ = listener.accept()
            with accepted:
                stops_soon(poller)


def test_stop_before_the_first_poll_and_twice_is_harmless(sqlite: Any) -> None:
    config = DatabaseConfig(url=sqlite[0])
    poller = Poller(Pipeline(config), config, Mirror())
    poller.stop()
    poller.start()
    poller.join(DEADLINE)
    assert not poller.is_alive()
    poller.stop()


def test_stop_returns_while_a_sink_blocks(sqlite: Any) -> None:
    blocked, release = threading.Event(), threading.Event()

    def sink(_item: Any) -> None:
        blocked.set()
        assert release.wait(DEADLINE)

    with polling(sqlite[0], sink) as poller:
        assert blocked.wait(DEADLINE)
        started = time.monotonic()
        poller.stop()
        assert time.monotonic() - started < 5
        release.set()
