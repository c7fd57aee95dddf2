"""Hostile clients cost those who poll little, and the server no memory: what shows it, in small."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import timeit
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from running import Serving
from tornado.iostream import IOStream
from waiting import until
from webfake import serving

from benchmarks import hostile_clients as hostile
from web.connection import _HEAD_END, _TORNADO_HEAD_END

POLL_SECONDS = 1.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A real one, over some frames."""
    base = tmp_path_factory.mktemp("hostile")
    (base / "data").mkdir()
    (base / "index").mkdir()
    with Serving(base) as running:
        for number in range(200):
            running.write(number)
        until(lambda: running.get("/readyz").status == 200 and running.frames() == 200, "200 frames")
        yield running


@pytest.mark.parametrize(
    "kind",
    [
        partial(hostile.idle, count=300),
        partial(hostile.slow, count=50),
        partial(hostile.unread, count=10),
        partial(hostile.malformed, count=4),
    ],
    ids=["idle", "slow", "unread", "malformed"],
)
def test_polls_are_answered_beside_them(server: Serving, kind: hostile.Hostile) -> None:
    """Every one, and most of them quickly; how quickly at worst, a busy machine cannot say."""
    before = hostile.memory_of(server.process.pid)
    child = hostile.hostile_apart(kind, server.port)
    try:
        polls = hostile.poll_apart(server.port, POLL_SECONDS, 4)
        held = hostile.memory_of(server.process.pid)
    finally:
        os.kill(child, signal.SIGTERM)
        os.waitpid(child, 0)
    assert polls.failures == []
    assert len(polls.seconds) >= 4
    assert polls.percentile(0.5) < hostile.P99_MS
    assert held - before < 40
    assert "Traceback" not in server.log
    assert server.log.count("\n") < 20  # no line a request, however bad


def test_the_end_of_a_head_is_searched_for_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is searched for at every piece that comes; Tornado's search is slow where there is none yet."""
    asked: list[bytes] = []
    inherited = IOStream.read_until_regex

    def spy(self: IOStream, regex: bytes, max_bytes: int | None = None) -> Any:
        asked.append(regex)
        return inherited(self, regex, max_bytes)

    monkeypatch.setattr(IOStream, "read_until_regex", spy)
    with serving() as web:
        assert web.get("/status/j_123").status == 200
    assert set(asked) == {_HEAD_END}

    def seconds(pattern: bytes) -> float:
        head = b"GET /" + b"a" * 60_000
        return min(timeit.repeat(lambda: re.search(pattern, head), number=20, repeat=5))

    assert seconds(_HEAD_END) * 5 < seconds(_TORNADO_HEAD_END)


@pytest.mark.parametrize("end", [b"\r\n\r\n", b"\n\n", b"\r\n\n", b"\n\r\n"])
def test_a_head_ends_with_an_empty_line_however_lines_end(end: bytes) -> None:
    async def main(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write((b"GET /status/j_123 HTTP/1.1\r\nHost: x" + end) * 2)
        for _ in range(2):
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
            assert head.startswith(b"HTTP/1.1 200")
            await asyncio.wait_for(reader.readuntil(b'+07:00"}'), 30)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    with serving() as web:
        asyncio.run(main(web.port))
