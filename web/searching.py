"""Questions that look through a whole list are put by a thread, so that no other request waits for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from scanner.queries import Queries

T = TypeVar("T")


class Searches:
    """One question after the other, on the connection of ``queries``, which nobody else uses.

    SQLite looks through an index without holding the interpreter up.
    """

    def __init__(self, queries: Queries) -> None:
        self._queries = queries
        self._thread = ThreadPoolExecutor(1, "search")

    async def ask(self, path: str, answer: Callable[[Queries], T]) -> T:
        """The answer from the index at ``path``; a caller that is cancelled in time leaves nothing to do."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._answer, path, answer)

    def _answer(self, path: str, answer: Callable[[Queries], T]) -> T:
        self._queries.follow(path)
        return answer(self._queries)

    def close(self) -> None:
        """Wait for the question that is being answered, and close the connection."""
        self._thread.shutdown(cancel_futures=True)
        self._queries.close()
