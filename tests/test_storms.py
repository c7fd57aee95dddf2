"""Storms of files against a running sidecar, also with its scanner stopped: nothing is lost or invented."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from reconciling import walk
from running import Serving, send, state_of
from waiting import until

DIRECTORIES = 2011
STOP_SECONDS = 3.0
WRITER = """
import os, sys
root, directories, first, last = sys.argv[1], *map(int, sys.argv[2:])
for number in range(first, last):
    for directory in range(directories):
        place = f"{root}/frames/v{directory:05}"
        descriptor = os.open(f"{place}/{number:06}.jpg", os.O_CREAT | os.O_WRONLY)
        os.write(descriptor, b"x" * (1 + number))
        os.close(descriptor)
"""

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="inotify is Linux's")


def indexed(server: Serving) -> dict[str, tuple[int, int, int]]:
    """What the index of a running server holds."""
    path = max(server.directories()[0].glob("index-*.db"), key=lambda path: path.stat().st_mtime_ns)
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        rows = connection.execute(
            "SELECT path, name, f.inode, size, f.mtime FROM files f JOIN dirs USING(dir)"
        ).fetchall()
    return {f"{path}/{name}": (inode, size, mtime) for path, name, inode, size, mtime in rows}


def storm(server: Serving, first: int, last: int) -> subprocess.Popen[bytes]:
    """A process that writes these files into every directory, as fast as it can."""
    arguments = [str(server.root), str(DIRECTORIES), str(first), str(last)]
    return subprocess.Popen([sys.executable, "-c", WRITER, *arguments])


def settled(server: Serving) -> None:
    """Wait until nothing is pending and the index equals a walk."""

    def differences() -> list[str]:
        held, truth = indexed(server), walk(server.root)
        return sorted(path for path in held.keys() | truth.keys() if held.get(path) != truth.get(path))

    until(lambda: server.health()["pending"]["paths"] == 0 and not differences(), "the index equals a walk")


def reconciled(server: Serving) -> dict[str, int]:
    """What is said of the watcher after two more full passes, of which one began after now."""
    for _ in range(2):
        before = server.health()["scan"]["last_completed_at"]
        until(lambda: server.health()["scan"]["last_completed_at"] != before, "a full pass")  # noqa: B023
    until(lambda: server.health()["pending"]["paths"] == 0, "nothing is pending")
    watching: dict[str, int] = server.health()["watching"]
    return watching


def test_storms_over_watched_directories_also_with_the_scanner_stopped_lose_nothing(tmp_path: Path) -> None:
    """2,011 directories: first a storm that can be followed, then one in which events are dropped."""
    for number in range(DIRECTORIES):
        (tmp_path / "data" / "frames" / f"v{number:05}").mkdir(parents=True)
    with Serving(tmp_path, {"SIDECAR_SCAN__RESCAN_SECONDS": 1.5}) as server:
        server.ready()
        assert storm(server, 0, 1).wait(60) == 0
        settled(server)
        watching = reconciled(server)
        assert watching["watched"] > DIRECTORIES
        if not watching["overflows"]:  # on a busy machine the reader may not get a turn in time
            assert watching["missed"] == 0

        scanner = server.scanner()
        send(scanner, signal.SIGSTOP)
        stopped = time.monotonic()
        until(lambda: state_of(scanner) == "T", "stopped")
        writer = storm(server, 1, 5)
        try:
            writer.wait(60)
            until(lambda: time.monotonic() - stopped >= STOP_SECONDS, "stopped for 3 s")
            assert server.get("/jobs").status == 200
        finally:
            send(scanner, signal.SIGCONT)
        until(lambda: server.health()["watching"]["overflows"] > watching["overflows"], "an overflow")
        settled(server)
        assert server.health()["watching"]["last_overflow_at"] is not None
        assert server.health()["watching"]["watched"] == watching["watched"]
        assert len(indexed(server)) == 5 * DIRECTORIES
        (server.root / "frames" / "v02010" / "000009.jpg").write_bytes(b"still watched")
        settled(server)
        assert os.stat(server.root / "frames" / "v02010" / "000009.jpg").st_size == 13
