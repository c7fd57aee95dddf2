"""What goes on beside the requests survives an error that nobody has thought of."""

from __future__ import annotations

import asyncio
import logging

import pytest

from web import keeping
from web.keeping import keep


def test_work_that_failed_is_begun_anew_and_says_so_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "PAUSE_SECONDS", 0.0)
    errors: list[Exception] = [ValueError("one"), ValueError("one"), KeyError("two"), ValueError("one")]

    async def work() -> None:
        if errors:
            raise errors.pop(0)

    async def run() -> None:
        await asyncio.wait_for(keep("the work", work), 30)

    asyncio.run(run())
    assert [record.getMessage() for record in caplog.records] == [
        f"the work failed and is begun anew from now on: {text}"
        for text in ("ValueError: one", "KeyError: 'two'", "ValueError: one")
    ]
    assert all(record.exc_info and record.levelno == logging.ERROR for record in caplog.records)


def test_what_fails_after_a_healthy_time_is_told_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(keeping, "HEALTHY_SECONDS", -1.0)
    errors = [ValueError("one"), ValueError("one")]

    async def work() -> None:
        if errors:
            raise errors.pop()

    async def run() -> None:
        await asyncio.wait_for(keep("the work", work), 30)

    asyncio.run(run())
    assert len(caplog.records) == 2


@pytest.mark.parametrize("failing", [False, True])
def test_it_ends_when_it_is_cancelled(failing: bool, caplog: pytest.LogCaptureFixture) -> None:
    """At work and in a pause."""
    begun: list[None] = []

    async def work() -> None:
        begun.append(None)
        if failing:
            raise ValueError("one")
        await asyncio.Event().wait()

    async def run() -> None:
        task = keep("the work", work)
        while not begun:
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task], timeout=30)
        assert task.cancelled()

    asyncio.run(run())
    assert len(caplog.records) == failing
