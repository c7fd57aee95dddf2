"""How a process of the server learns that it is to end: by a signal, or because its parent has gone."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from types import FrameType, TracebackType


class StopSignals:
    """Signals that ask for the end, noted from when it is entered, so that each step until then is undone.

    Once one was noted, further ones are nothing, until the process ends: cleaning up goes on undisturbed.
    """

    def __init__(self, *numbers: signal.Signals) -> None:
        self._numbers = numbers
        self._noted = False
        self._wake: Callable[[], object] | None = None

    def __enter__(self) -> StopSignals:
        self._before = {number: signal.signal(number, self._note) for number in self._numbers}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_IGN if self._noted else handler)

    async def wait(self) -> None:
        """Return once a signal has come, be it before this was asked."""
        stopped, loop = asyncio.Event(), asyncio.get_running_loop()
        self._wake = lambda: loop.call_soon_threadsafe(stopped.set)
        try:
            if not self._noted:
                await stopped.wait()
        finally:
            self._wake = None

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._noted = True
        if self._wake is not None:
            self._wake()


async def end_of_input() -> None:
    """Return once the parent has gone. No thread may wait for that: it would outlast all else."""
    ended, loop = asyncio.Event(), asyncio.get_running_loop()

    def look() -> None:
        if not os.read(0, 1024):
            loop.remove_reader(0)
            ended.set()

    loop.add_reader(0, look)
    await ended.wait()
