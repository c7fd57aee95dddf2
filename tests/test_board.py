"""The board: what the scanner writes is what web processes read, whole, whenever they look."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from scanner.board import FIRST_SECONDS, SILENT_SECONDS, SIZE, ZERO_SECONDS, Board

SECONDS = 30.0
SEQUENCE = 40  # where the number that guards the snapshot is
REPOSITORY = Path(__file__).parent.parent


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    """A new board at ``tmp_path / "board"``."""
    with contextlib.closing(Board.create(tmp_path / "board")) as made:
        yield made


def test_a_new_board_scans_and_has_no_snapshot(board: Board) -> None:
    """Its beat is that of its creation."""
    reading = board.read()
    assert (reading.state, reading.ready, reading.validations) == ("scanning", False, 0)
    assert reading.paths > 0  # nothing has looked at the data root
    assert 0 <= reading.beat_age < SECONDS
    assert board.snapshot() is None


def test_what_is_written_is_read_through_another_mapping(tmp_path: Path, board: Board) -> None:
    """All of it."""
    with contextlib.closing(Board.open(tmp_path / "board")) as other:
        board.set_state("degraded", True)
        board.set_pending(2**40, 7)
        board.publish({"problems": ["số không"], "file": "a"})
        assert other.read()[:2] == ("degraded", True)
        assert (other.read().paths, other.read().validations) == (2**40, 7)
        assert other.snapshot() == {"problems": ["số không"], "file": "a"}
        board.publish({})
        assert other.snapshot() == {}


def test_that_nothing_is_pending_is_believed_for_a_moment_only(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said of a time, whatever beats afterwards; a number of paths holds until the next."""
    now = time.monotonic_ns()
    clock = types.SimpleNamespace(monotonic_ns=lambda: now)
    monkeypatch.setattr("scanner.board.time", clock)
    board.set_pending(0, 0)
    assert board.read().paths == 0
    now += int(ZERO_SECONDS * 1e9)
    assert board.read().paths == 0
    now += 1
    board.beat()
    assert board.read().paths == 1
    board.set_pending(0, 0, as_of=now - int(3e9))  # stopped while it counted
    assert board.read().paths == 1
    board.set_pending(0, 0)
    assert board.read().paths == 0
    board.set_pending(7, 0)
    now += int(3e9)
    assert board.read().paths == 7


def test_nothing_is_known_to_be_done_after_the_scanners_end(board: Board) -> None:
    """Until the next one says so."""
    board.set_pending(0, 0)
    board.note_end()
    assert board.read().paths == 1
    board.beat()
    assert board.read().paths == 1
    board.set_pending(0, 0)
    assert board.read().paths == 0


@pytest.mark.parametrize(("published", "seconds"), [(False, FIRST_SECONDS), (True, SILENT_SECONDS)])
def test_one_that_has_not_beaten_for_too_long_is_silent(
    board: Board, monkeypatch: pytest.MonkeyPatch, published: bool, seconds: float
) -> None:
    """The first one has more time until it says anything; one that has ended is not silent."""
    if published:
        board.publish({})
    now = time.monotonic_ns()
    monkeypatch.setattr("scanner.board.time", types.SimpleNamespace(monotonic_ns=lambda: now))
    board.beat()
    now += int(seconds * 1e9)
    assert not board.read().silent
    now += 1000
    assert board.read().silent
    board.note_end()
    assert not board.read().silent
    assert board.read().ended


def test_the_beat_ages(board: Board) -> None:
    """Until the next one."""
    deadline = time.monotonic() + SECONDS
    while board.read().beat_age < 0.05:
        assert time.monotonic() < deadline
    old = board.read().beat_age
    board.beat()
    assert board.read().beat_age < old


def test_all_blocks_are_there_from_the_start(tmp_path: Path, board: Board) -> None:
    """A file system that is full later on cannot end a process by SIGBUS."""
    about = os.stat(tmp_path / "board")
    assert about.st_size == SIZE
    assert about.st_blocks * 512 >= SIZE


def test_a_snapshot_that_does_not_fit_leaves_the_last(board: Board) -> None:
    """And says so."""
    board.publish({"a": 1})
    with pytest.raises(ValueError, match="does not fit"):
        board.publish({"a": "x" * SIZE})
    assert board.snapshot() == {"a": 1}


def test_a_board_that_is_not_there(tmp_path: Path) -> None:
    """It is an error."""
    with pytest.raises(FileNotFoundError):
        Board.open(tmp_path / "none")


def test_a_writer_that_dies_in_the_middle_is_followed_by_another(tmp_path: Path, board: Board) -> None:
    """Meanwhile the last whole snapshot holds, for those who know it, and there is none for others."""
    board.publish({"a": 1})
    assert board.snapshot() == {"a": 1}
    with (tmp_path / "board").open("r+b") as file:
        file.seek(SEQUENCE)
        sequence = int.from_bytes(file.read(8), sys.byteorder)
        assert sequence % 2 == 0
        file.seek(SEQUENCE)
        file.write((sequence + 1).to_bytes(8, sys.byteorder))
        file.flush()
        assert board.snapshot() == {"a": 1}
        with contextlib.closing(Board.open(tmp_path / "board")) as fresh:
            assert fresh.snapshot() is None
            fresh.publish({"a": 2})
    assert board.snapshot() == {"a": 2}


def test_the_end_of_the_scanner_is_noted_until_the_next_beat(board: Board) -> None:
    """Of whichever scanner that is."""
    assert not board.read().ended
    board.note_end()
    assert board.read().ended
    board.beat()
    assert not board.read().ended


WRITER = """
import contextlib, sys, time
from pathlib import Path
from scanner.board import Board
with contextlib.closing(Board.open(Path(sys.argv[1]))) as writer:
    deadline, number = time.monotonic() + 1.0, 0
    while time.monotonic() < deadline:
        number += 1
        writer.publish({"number": number, "again": [number] * (number % 500)})
"""


def test_no_reader_sees_half_a_snapshot(tmp_path: Path, board: Board) -> None:
    """Another process writes all the time."""
    seen = set()
    with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path / "board")], cwd=REPOSITORY) as writer:
        while writer.poll() is None:
            snapshot = board.snapshot()
            if snapshot is not None:
                number = snapshot["number"]
                assert snapshot["again"] == [number] * (number % 500)
                seen.add(number)
    assert writer.returncode == 0
    assert len(seen) > 10


def test_a_snapshot_while_another_thread_publishes(board: Board) -> None:
    """The same within one process, where the writer may be interrupted between its steps."""
    board.publish({"number": -1, "again": []})
    done = threading.Event()

    def write() -> None:
        for number in range(2000):
            board.publish({"number": number, "again": [number] * (number % 50)})
        done.set()

    thread = threading.Thread(target=write)
    thread.start()
    while not done.is_set():
        snapshot = board.snapshot()
        assert snapshot is None or set(snapshot["again"]) <= {snapshot["number"]}
    thread.join()
    assert board.snapshot() == {"number": 1999, "again": [1999] * 49}
