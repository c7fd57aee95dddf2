"""The scanner is started again whenever it ends or falls silent, and ends with its supervisor."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import pickle
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from running import alive

from scanner.board import Board
from scanner.config import Config, load_config
from web import keeping, supervisor
from web.health import Health
from web.supervisor import Child, Supervisor, child_environment

SECONDS = 30.0
# Stands for the scanner: it receives what it is sent, notes that in a file of its pid, and beats as told.
STAND_IN = """
import os, pickle, signal, sys, time
from pathlib import Path
from scanner.board import Board
how, place = sys.argv[1], Path(sys.argv[2])
message = pickle.load(sys.stdin.buffer)
if how == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
board = Board.open(place / "board") if how != "blind" else None
if board is not None:
    board.beat()
(place / "new").write_bytes(pickle.dumps(message))
(place / "new").rename(place / f"started-{os.getpid()}")
if how == "brief":
    sys.exit(3)
if how == "beating":
    import threading
    def beat():
        while True:
            board.beat()
            time.sleep(0.02)
    threading.Thread(target=beat, daemon=True).start()
sys.stdin.buffer.read()
"""


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    """The board in the directory that stands for the index's."""
    with contextlib.closing(Board.create(tmp_path / "board")) as made:
        yield made


def command(how: str, place: Path) -> tuple[str, ...]:
    """That of a stand-in."""
    return (sys.executable, "-P", "-c", STAND_IN, how, str(place))


def started(place: Path) -> list[int]:
    """The pids of all that have begun."""
    return [int(path.name.partition("-")[2]) for path in place.glob("started-*")]


async def until(ask: Callable[[], object], what: str) -> None:
    """Wait while the loop goes on."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + SECONDS
    while not ask():
        assert loop.time() < deadline, f"not within {SECONDS:.0f} s: {what}"
        await asyncio.sleep(0.01)


def supervise(place: Path, board: Board, how: str, check: Callable[[Supervisor], Awaitable[None]]) -> None:
    """Run a check on a supervisor of stand-ins; afterwards none of them is left."""

    async def run() -> None:
        watched = Supervisor(configuration(), place, board, command(how, place))
        watched.start()
        try:
            await check(watched)
        finally:
            await watched.stop()

    asyncio.run(run())
    assert not [pid for pid in started(place) if alive(pid)]


def configuration() -> Config:
    """One with a password in it."""
    return load_config(None, environ={"SIDECAR_DATABASE__URL": "postgresql://u:secret@h/x"})


def test_it_is_sent_configuration_and_directory(tmp_path: Path, board: Board) -> None:
    """Through its input: what is on a command line or in the environment, others can read."""

    async def check(watched: Supervisor) -> None:
        await until(lambda: started(tmp_path), "it has begun")
        (pid,) = started(tmp_path)
        sent = pickle.loads((tmp_path / f"started-{pid}").read_bytes())
        assert sent == (configuration(), str(tmp_path))
        for public in ("cmdline", "environ"):
            assert b"secret" not in Path(f"/proc/{pid}/{public}").read_bytes()
        assert os.getpgid(pid) == pid  # a terminal's Ctrl-C does not reach it
        assert os.getsid(pid) == os.getsid(0)  # a scheduler that groups by session weighs both together
        assert watched.scanner.alive

    supervise(tmp_path, board, "beating", check)


def test_one_that_is_killed_shows_at_once_and_another_is_started(
    tmp_path: Path, board: Board, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long before its silence would; the log has the reason."""
    monkeypatch.setattr(supervisor, "FIRST_PAUSE", 1.0)
    health = Health(board, "1", configured=False)

    async def check(watched: Supervisor) -> None:
        await until(lambda: started(tmp_path), "the first has begun")
        (first,) = started(tmp_path)
        board.set_state("complete", True)
        board.set_pending(0, 0)
        await until(lambda: health.state() == "complete", "it beats")
        os.kill(first, signal.SIGKILL)
        await until(lambda: health.state() == "degraded", "its end shows")
        body = health.snapshot()
        assert body["status"] == "degraded"
        assert "has ended" in body["problems"][0]
        assert body["pending"]["paths"] > 0
        await until(lambda: len(started(tmp_path)) == 2, "the second has begun")
        await until(lambda: health.state() == "complete", "it beats, too")
        assert health.snapshot()["status"] == "ok"

    with caplog.at_level(logging.ERROR):
        supervise(tmp_path, board, "beating", check)
    (line,) = [record.getMessage() for record in caplog.records if record.name == "web.supervisor"]
    assert line == "the scanner ended (killed by SIGKILL); it is started again in 1.0 s"


def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that a child makes, none of which takes time any more."""
    made: list[float] = []
    sleep = asyncio.sleep

    async def pause(seconds: float) -> None:
        made.append(seconds)
        await sleep(0)

    class Quick:
        """asyncio, but for its sleep."""

        def __getattr__(self, name: str) -> object:
            return pause if name == "sleep" else getattr(asyncio, name)

    monkeypatch.setattr(supervisor, "asyncio", Quick())
    return made


def test_the_pause_grows_to_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that cannot run does not take the machine's time."""
    made = pauses(monkeypatch)

    async def run() -> None:
        child = Child("it", ("/bin/true",), ())
        child.start()
        await until(lambda: len(made) >= 10, "ten pauses")
        await child.stop()

    asyncio.run(run())
    assert made[:10] == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10, 10])


def test_the_pause_is_short_again_after_a_healthy_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash a day is no series."""
    made = pauses(monkeypatch)
    monkeypatch.setattr(supervisor, "HEALTHY_SECONDS", -1.0)

    async def run() -> None:
        child = Child("it", ("/bin/true",), ())
        child.start()
        await until(lambda: len(made) >= 4, "four pauses")
        await child.stop()

    asyncio.run(run())
    assert made[:4] == [0.1, 0.1, 0.1, 0.1]


def test_one_that_cannot_be_started_is_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No process to be had is no reason to give up."""
    made = pauses(monkeypatch)
    program = tmp_path / "program"

    async def run() -> None:
        child = Child("it", (str(program),), ())
        child.start()
        await until(lambda: len(made) >= 3, "three pauses")
        assert not child.alive
        program.write_text("#!/bin/sh\nexec cat\n")
        program.chmod(0o755)
        await until(lambda: child.alive, "it runs")
        await child.stop()
        assert not child.alive

    asyncio.run(run())
    assert "could not be started (No such file or directory)" in caplog.text


def test_an_error_beside_it_keeps_no_child_from_being_started(
    tmp_path: Path, board: Board, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither one about its end nor one about its beats leaves a scanner without a supervisor."""
    monkeypatch.setattr(keeping, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(supervisor, "WATCH_SECONDS", 0.01)
    monkeypatch.setattr(supervisor, "HUNG_SECONDS", 1.0)
    read, failures = board.read, [ValueError("no beat")]

    def failing() -> object:
        if failures:
            raise failures.pop()
        return read()

    def refuse() -> None:
        raise ValueError("no end")

    monkeypatch.setattr(board, "read", failing)
    monkeypatch.setattr(board, "note_end", refuse)

    async def check(watched: Supervisor) -> None:
        await until(lambda: len(started(tmp_path)) >= 2, "a second has begun, and the first was silent")

    supervise(tmp_path, board, "silent", check)
    told = [record.getMessage() for record in caplog.records if record.name == "web.keeping"]
    assert sorted(set(told)) == [
        "running the scanner failed and is begun anew from now on: ValueError: no end",
        "watching the scanner failed and is begun anew from now on: ValueError: no beat",
    ]


def test_one_that_is_silent_is_killed_and_another_is_started(
    tmp_path: Path, board: Board, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a while, which begins anew with each."""
    monkeypatch.setattr("scanner.board.SILENT_SECONDS", 0.2)
    monkeypatch.setattr(supervisor, "HUNG_SECONDS", 3.0)
    monkeypatch.setattr(supervisor, "WATCH_SECONDS", 0.05)

    async def check(watched: Supervisor) -> None:
        await until(lambda: started(tmp_path), "the first has begun")
        board.publish({})  # until then it has more time
        await until(lambda: len(started(tmp_path)) >= 2, "a second has begun")

    with caplog.at_level(logging.INFO):
        supervise(tmp_path, board, "silent", check)
    lines = [record.getMessage() for record in caplog.records if record.name == "web.supervisor"]
    assert lines[0] == "the scanner is silent: the last index goes on answering"
    assert "is killed" in lines[1]
    assert "killed by SIGKILL" in lines[2]


def test_one_that_beats_is_left_alone(tmp_path: Path, board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it has been running."""
    monkeypatch.setattr(supervisor, "HUNG_SECONDS", 5.0)
    monkeypatch.setattr(supervisor, "WATCH_SECONDS", 0.01)

    async def check(watched: Supervisor) -> None:
        await until(lambda: started(tmp_path), "it has begun")
        watched.scanner.started_at -= 3600
        looks = 0
        read = board.read

        def counted() -> object:
            nonlocal looks
            looks += 1
            return read()

        monkeypatch.setattr(board, "read", counted)
        await until(lambda: looks > 20, "it was looked at")
        assert watched.scanner.alive
        assert len(started(tmp_path)) == 1

    supervise(tmp_path, board, "beating", check)


def test_one_that_does_not_follow_is_killed(
    tmp_path: Path, board: Board, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After it was asked."""
    monkeypatch.setattr(supervisor, "STOP_SECONDS", 0.2)

    async def check(watched: Supervisor) -> None:
        await until(lambda: started(tmp_path), "it has begun")

    supervise(tmp_path, board, "stubborn", check)
    assert "did not stop" in caplog.text


def test_it_can_be_stopped_at_any_moment(tmp_path: Path, board: Board) -> None:
    """Before it has begun, while it begins, and twice."""

    async def check(watched: Supervisor) -> None:
        await watched.stop()

    supervise(tmp_path, board, "beating", check)

    async def at_once(watched: Supervisor) -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    supervise(tmp_path, board, "beating", at_once)


def test_children_find_the_packages_from_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those that were found by way of a relative path."""
    monkeypatch.setattr(sys, "path", ["", "here", "/there"])
    assert child_environment()["PYTHONPATH"].split(os.pathsep) == [os.path.abspath("here"), "/there"]
