"""A progress line on a terminal while the tree is read for the first time."""

from __future__ import annotations

import asyncio
import sys
from types import TracebackType

from rich.console import Console

from scanner.board import Board


class Progress:
    """Inside, a terminal shows how many files are indexed until the first scan is done."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._task: asyncio.Task[None] | None = None

    def __enter__(self) -> None:
        if sys.stderr.isatty():
            self._task = asyncio.ensure_future(self._show())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _show(self) -> None:
        console = Console(stderr=True)
        with console.status("reading the data root") as status:
            while not self._board.read().ready:
                await asyncio.sleep(0.2)
                snapshot = self._board.snapshot()
                if snapshot is not None:
                    files, pending = snapshot["index"]["files"], self._board.read().paths
                    status.update(f"reading the data root: {files} files indexed, {pending} paths waiting")
