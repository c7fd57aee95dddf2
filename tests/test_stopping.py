"""A process that is asked to end cleans up, whenever it is asked, and its children end by themselves."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest
from running import Serving, send
from waiting import until

from web.stopping import StopSignals


def test_a_signal_before_anybody_waits_is_not_lost() -> None:
    """The wait ends at once."""
    before = signal.getsignal(signal.SIGUSR1)
    try:
        with StopSignals(signal.SIGUSR1) as stop:
            signal.raise_signal(signal.SIGUSR1)
            asyncio.run(asyncio.wait_for(stop.wait(), 30))
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_signal_ends_the_wait() -> None:
    """Of a loop that has nothing else to do, and so sleeps."""
    before = signal.getsignal(signal.SIGUSR1)

    async def run(stop: StopSignals) -> None:
        asyncio.get_running_loop().call_later(0.05, os.kill, os.getpid(), signal.SIGUSR1)
        await asyncio.wait_for(stop.wait(), 30)

    try:
        with StopSignals(signal.SIGUSR1) as stop:
            asyncio.run(run(stop))
            signal.raise_signal(signal.SIGUSR1)  # the loop is closed, and this is nothing
        signal.raise_signal(signal.SIGUSR1)  # nor is this: what cleans up after it goes on
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_without_a_signal_all_is_as_before() -> None:
    """For the next who asks for signals."""
    before = signal.getsignal(signal.SIGUSR1)
    with StopSignals(signal.SIGUSR1):
        assert signal.getsignal(signal.SIGUSR1) != before
    assert signal.getsignal(signal.SIGUSR1) == before


@pytest.mark.parametrize("moment", ["directory", "board", "index"])
def test_a_signal_while_it_starts_leaves_nothing(tmp_path: Path, moment: str) -> None:
    """Neither a directory nor a process; the exit code is that of any other end."""
    wanted = {"directory": "*", "board": "*/board", "index": "*/index-*.db"}[moment]
    with Serving(tmp_path) as server:
        until(lambda: list(server.indexes.glob(wanted)), f"its {moment} is there")
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(30) == 0
        assert list(server.indexes.iterdir()) == []
        assert "Traceback" not in server.log


def test_impatience_does_not_keep_it_from_cleaning_up(tmp_path: Path) -> None:
    """Whoever presses Ctrl-C again and again gets the same end."""
    with Serving(tmp_path) as server:
        server.ready()
        while server.process.poll() is None:
            server.process.send_signal(signal.SIGINT)
            time.sleep(0.005)
        assert server.process.returncode == 0
        assert list(server.indexes.iterdir()) == []
        assert "Traceback" not in server.log


def test_children_end_by_themselves(tmp_path: Path) -> None:
    """A web process that waits for its parent can end before it."""
    with Serving(tmp_path, {"SIDECAR_WEB__PROCESSES": 2}) as server:
        server.ready()
        (second,) = until(lambda: server.children("web.serving"), "a second process")
        # Once it serves, it no longer has the default action of the signal.
        until(lambda: _handles(second, signal.SIGTERM), "the second process serves")
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(30) == 0
        assert "did not stop" not in server.log


def test_a_scanner_that_hangs_is_killed_in_the_end(tmp_path: Path) -> None:
    """Within the time that a service manager gives."""
    with Serving(tmp_path) as server:
        server.ready()
        send(server.scanner(), signal.SIGSTOP)
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(30) == 0
        assert time.monotonic() - began < 5
        assert "did not stop" in server.log
        assert list(server.indexes.iterdir()) == []


def _handles(pid: int, number: signal.Signals) -> bool:
    """Whether the process has a handler for the signal."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    caught = next(line.split()[1] for line in lines if line.startswith("SigCgt:"))
    return bool(int(caught, 16) >> (number - 1) & 1)
