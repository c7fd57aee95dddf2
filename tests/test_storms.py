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
MANY_DIRECTORIES = 20101
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


def make_directories(base: Path, count: int) -> None:
    """The directories that are there before a storm."""
    for number in range(count):
        (base / "data" / "frames" / f"v{number:05}").mkdir(parents=True)


def all_watched(server: Serving, directories: int) -> dict[str, int]:
    """What is said of the watcher once every directory is watched."""
    watching: dict[str, int] = until(
        lambda: about if (about := server.health()["watching"])["needed"] > directories else None, "all known"
    )
    if watching["polled"] and any("watch limit" in line for line in server.health()["problems"]):
        pytest.skip("other programs have used up this machine's watches")
    assert watching["watched"] > directories
    return watching


def storm(server: Serving, directories: int, first: int, last: int) -> subprocess.Popen[bytes]:
    """A process that writes these files into every directory, as fast as it can."""
    arguments = [str(server.root), str(directories), str(first), str(last)]
    return subprocess.Popen([sys.executable, "-c", WRITER, *arguments])


def settled(server: Serving) -> None:
    """Wait until nothing is pending and the index equals a walk."""

    def differences() -> list[str]:
        held, truth = indexed(server), walk(server.root)
        return sorted(path for path in held.keys() | truth.keys() if held.get(path) != truth.get(path))

    until(
        lambda: server.health()["pending"]["paths"] == 0 and not differences(), "the index equals a walk", 60
    )


def reconciled(server: Serving) -> dict[str, int]:
    """What is said of the watcher after two more full passes, of which one began after now."""
    for _ in range(2):
        before = server.health()["scan"]["last_completed_at"]
        until(lambda: server.health()["scan"]["last_completed_at"] != before, "a full pass")  # noqa: B023
    until(lambda: server.health()["pending"]["paths"] == 0, "nothing is pending")
    watching: dict[str, int] = server.health()["watching"]
    return watching


def storm_while_stopped(server: Serving, directories: int, first: int, last: int) -> None:
    """A storm whose writer has ended before the scanner, stopped for three seconds at least, goes on."""
    scanner = server.scanner()
    send(scanner, signal.SIGSTOP)
    stopped = time.monotonic()
    try:
        until(lambda: state_of(scanner) == "T", "stopped")
        assert storm(server, directories, first, last).wait(60) == 0
        until(lambda: time.monotonic() - stopped >= STOP_SECONDS, "stopped for 3 s")
        assert server.get("/jobs").status == 200
    finally:
        send(scanner, signal.SIGCONT)


def test_storms_over_watched_directories_also_with_the_scanner_stopped_lose_nothing(tmp_path: Path) -> None:
    """2,011 directories: first a storm that can be followed, then one in which events are dropped."""
    make_directories(tmp_path, DIRECTORIES)
    with Serving(tmp_path, {"SIDECAR_SCAN__RESCAN_SECONDS": 1.5}) as server:
        server.ready()
        all_watched(server, DIRECTORIES)
        assert storm(server, DIRECTORIES, 0, 1).wait(60) == 0
        settled(server)
        watching = reconciled(server)
        assert watching["watched"] > DIRECTORIES
        if not watching["overflows"]:  # on a busy machine the reader may not get a turn in time
            assert watching["missed"] == 0

        storm_while_stopped(server, DIRECTORIES, 1, 5)
        until(lambda: server.health()["watching"]["overflows"] > watching["overflows"], "an overflow")
        settled(server)
        assert server.health()["watching"]["last_overflow_at"] is not None
        assert server.health()["watching"]["watched"] == watching["watched"]
        assert len(indexed(server)) == 5 * DIRECTORIES
        (server.root / "frames" / "v02010" / "000009.jpg").write_bytes(b"still watched")
        settled(server)
        assert os.stat(server.root / "frames" / "v02010" / "000009.jpg").st_size == 13


def test_twenty_thousand_watched_directories_and_a_stopped_scanner_end_in_no_livelock(tmp_path: Path) -> None:
    """To take so many watches down and up again would fill the queue anew, for ever."""
    make_directories(tmp_path, MANY_DIRECTORIES)
    with Serving(tmp_path) as server:  # full passes are too far away to help
        server.ready()
        watching = all_watched(server, MANY_DIRECTORIES)
        storm_while_stopped(server, MANY_DIRECTORIES, 0, 1)
        until(lambda: server.health()["watching"]["overflows"] > watching["overflows"], "an overflow")
        settled(server)
        assert len(indexed(server)) == MANY_DIRECTORIES
        after = server.health()["watching"]
        assert after["watched"] == watching["watched"]
        last = server.root / "frames" / f"v{MANY_DIRECTORIES - 1:05}" / "000009.jpg"
        last.write_bytes(b"still watched")
        settled(server)
        assert server.health()["watching"]["overflows"] == after["overflows"]
        assert server.health()["watching"]["missed"] == 0
