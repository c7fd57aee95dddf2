"""Waiting for a condition, never for a time; a deadline that a busy machine keeps."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

SECONDS = 30.0
T = TypeVar("T")


def until(ask: Callable[[], T], what: str, seconds: float = SECONDS) -> T:
    """The first true value of ``ask``; a server that does not answer yet is asked again."""
    deadline = time.monotonic() + seconds
    seen: object = None
    while time.monotonic() < deadline:
        try:
            value = ask()
        except OSError as error:
            seen = error
        else:
            if value:
                return value
            seen = value
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds:.0f} s: {what}; last: {seen!r}")
