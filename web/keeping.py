"""Work that goes on beside the requests for as long as the program does, whatever happens in it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any

LOG = logging.getLogger(__name__)
PAUSE_SECONDS = 1.0
HEALTHY_SECONDS = 60.0


def keep(name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
    """Do ``work`` in a task of its own, which ends when that returns or when it is cancelled.

    A task that dies of an error nobody has thought of would not be noticed until what it did is missed: the
    error is logged, but not the same again and again, and the work begun anew after a pause.
    """
    return asyncio.ensure_future(_keep(name, work))


async def _keep(name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    told = ""
    while True:
        begun = time.monotonic()
        try:
            return await work()
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
            if text != told or time.monotonic() - begun > HEALTHY_SECONDS:
                LOG.error("%s failed and is begun anew from now on: %s", name, text, exc_info=error)
            told = text
        await asyncio.sleep(PAUSE_SECONDS)
