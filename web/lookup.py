"""Asks the scanner to look unknown keys up in the database, for at most a second each."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from scanner.control import connect

LOG = logging.getLogger(__name__)
WAIT_SECONDS = 1.0
FORGET_SECONDS = 1.0
REMEMBERED = 10_000
AT_ONCE = 16

Key = tuple[str, ...]


class ScannerLookup:
    """One for each web process. Equal questions share an answer, and a "no" holds for a second."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="lookup")
        self._asked: dict[Key, asyncio.Future[bool]] = {}
        self._unknown: OrderedDict[Key, float] = OrderedDict()

    async def __call__(self, kind: str, *key: str) -> bool:
        """True if the database has it and the index is worth asking again."""
        question = (kind, *key)
        if self._unknown.get(question, 0.0) > time.monotonic() or len(self._asked) >= 4 * AT_ONCE:
            return False
        future = self._asked.get(question)
        if future is None:
            future = asyncio.get_running_loop().run_in_executor(self._pool, self._ask, question)
            self._asked[question] = future
            future.add_done_callback(lambda done: self._answered(question, done))
        try:
            return await asyncio.wait_for(asyncio.shield(future), WAIT_SECONDS)
        except TimeoutError:
            return False

    def close(self) -> None:
        """End the threads; questions under way are not waited for."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _answered(self, question: Key, done: asyncio.Future[bool]) -> None:
        self._asked.pop(question, None)
        if not done.cancelled() and not done.result():
            self._unknown[question] = time.monotonic() + FORGET_SECONDS
            while len(self._unknown) > REMEMBERED:
                self._unknown.popitem(last=False)

    def _ask(self, question: Key) -> bool:
        try:
            with connect(self._directory) as client, client.makefile("rwb") as stream:
                stream.write(json.dumps(question).encode() + b"\n")
                stream.flush()
                return bool(json.loads(stream.readline() or b"false"))
        except OSError as error:  # the scanner is away: what it has not found is not known
            LOG.debug("nobody looks up %s: %s", question[0], error)
            return False
        except ValueError as error:  # it ended in the middle of its answer
            LOG.debug("the lookup of %s broke off: %s", question[0], error)
            return False


async def no_lookup(kind: str, *key: str) -> bool:
    """Without a database there is nothing to ask."""
    return False
