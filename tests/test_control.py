"""The control socket, and the lookups that a web process makes through it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scanner.control import ControlServer, connect
from web import lookup
from web.lookup import ScannerLookup, no_lookup

SECONDS = 30.0


@contextlib.contextmanager
def answering(directory: Path, handler: Callable[[str, tuple[str, ...]], bool]) -> Iterator[None]:
    """A control server for a while."""
    server = ControlServer(directory, handler)
    server.start()
    try:
        yield
    finally:
        server.stop()


def test_questions_of_one_connection_are_answered_in_turn(tmp_path: Path) -> None:
    """With the kind and every part of the key, of whatever letters."""
    asked: list[tuple[str, tuple[str, ...]]] = []

    def handler(kind: str, keys: tuple[str, ...]) -> bool:
        asked.append((kind, keys))
        return kind == "job"

    with answering(tmp_path, handler), connect(tmp_path) as client, client.makefile("rwb") as stream:
        for question, answer in ((["job", "số\n1"], True), (["video", "j", "v"], False)):
            stream.write(json.dumps(question).encode() + b"\n")
            stream.flush()
            assert json.loads(stream.readline()) is answer
    assert asked == [("job", ("số\n1",)), ("video", ("j", "v"))]


def test_a_long_path_is_no_obstacle(tmp_path: Path) -> None:
    """The name of a socket has a limit that directories do not have."""
    deep = tmp_path / ("d" * 120) / ("e" * 120)
    deep.mkdir(parents=True)
    with answering(deep, lambda kind, keys: True), connect(deep) as client:
        client.sendall(b'["job", "a"]\n')
        assert client.recv(100) == b"true\n"


def test_a_handler_that_fails_ends_its_connection_alone(tmp_path: Path) -> None:
    """The next question is answered."""

    def handler(kind: str, keys: tuple[str, ...]) -> bool:
        if kind == "bad":
            raise OSError("the index is away")
        return True

    with answering(tmp_path, handler):
        for text in (b'["bad", "a"]\n', b"no json\n"):
            with connect(tmp_path) as client:
                client.sendall(text)
                assert client.recv(100) == b""
        with connect(tmp_path) as client:
            client.sendall(b'["job", "a"]\n')
            assert client.recv(100) == b"true\n"


def test_a_scanner_that_is_away(tmp_path: Path) -> None:
    """There is nobody to connect to: never, and no longer."""
    with pytest.raises(OSError, match=r"."):
        connect(tmp_path)
    with answering(tmp_path, lambda kind, keys: True):
        connect(tmp_path).close()
    with pytest.raises(OSError, match=r"."):
        connect(tmp_path)


def test_the_next_scanner_takes_the_name_over(tmp_path: Path) -> None:
    """One that was killed has left it behind."""
    with answering(tmp_path, lambda kind, keys: False):
        pass
    with answering(tmp_path, lambda kind, keys: True), connect(tmp_path) as client:
        client.sendall(b'["job", "a"]\n')
        assert client.recv(100) == b"true\n"


# --- the side of the web process ------------------------------------------------------------------------


def asked(directory: Path, *questions: tuple[str, ...]) -> list[bool]:
    """The answers to questions that are asked at once."""

    async def run() -> list[bool]:
        with contextlib.closing(ScannerLookup(directory)) as ask:
            return list(await asyncio.gather(*(ask(*question) for question in questions)))

    return asyncio.run(run())


def test_equal_questions_are_asked_once(tmp_path: Path) -> None:
    """And all get the answer."""
    calls: list[tuple[str, ...]] = []

    def handler(kind: str, keys: tuple[str, ...]) -> bool:
        calls.append((kind, *keys))
        return keys == ("a",)

    with answering(tmp_path, handler):
        assert asked(tmp_path, *[("job", "a")] * 20, ("job", "b")) == [True] * 20 + [False]
    assert sorted(calls) == [("job", "a"), ("job", "b")]


def test_a_no_holds_for_a_second_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A yes is no longer remembered than its question lasts."""
    calls: list[str] = []
    now = [100.0]
    monkeypatch.setattr(lookup, "time", _Clock(now))

    def handler(kind: str, keys: tuple[str, ...]) -> bool:
        calls.append(keys[0])
        return False

    answers = []

    async def run() -> None:
        with contextlib.closing(ScannerLookup(tmp_path)) as ask:
            for moment in (100.0, 100.5, 101.5):
                now[0] = moment
                answers.append(await ask("job", "a"))

    with answering(tmp_path, handler):
        asyncio.run(run())
    assert answers == [False] * 3
    assert len(calls) == 2


class _Clock:
    def __init__(self, now: list[float]) -> None:
        self._now = now

    def monotonic(self) -> float:
        return self._now[0]


def test_a_scanner_that_is_away_knows_nothing(tmp_path: Path) -> None:
    """That is no error of the request."""
    assert asked(tmp_path, ("job", "a")) == [False]


def test_nobody_waits_longer_than_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the scanner takes."""
    monkeypatch.setattr(lookup, "WAIT_SECONDS", 0.05)
    go_on = threading.Event()

    def handler(kind: str, keys: tuple[str, ...]) -> bool:
        return go_on.wait(SECONDS)

    async def run() -> None:
        with contextlib.closing(ScannerLookup(tmp_path)) as ask:
            assert await ask("job", "a") is False
            go_on.set()

    with answering(tmp_path, handler):
        asyncio.run(run())


def test_without_a_database_nothing_is_found() -> None:
    """At once."""
    assert asyncio.run(no_lookup("job", "a")) is False
