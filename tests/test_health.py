"""``/healthz`` and ``X-Index-State`` from what is on the board."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from scanner.board import Board
from web import healthwire
from web.health import EMPTY, Health

KEYS = {
    "status",
    "ready",
    "version",
    "problems",
    "index",
    "pending",
    "roots",
    "scan",
    "database",
    "watching",
    "queues",
    "skipped_names",
    "unmatched_files",
    "volume",
}
SNAPSHOT: dict[str, Any] = {
    **EMPTY,
    "degraded": False,
    "file": "/index/index-0.db",
    "problems": ["a remark"],
    "index": {"files": 3, "assets": 2, "version": 9},
    "database": {"configured": True, "reachable": True, "last_sync_at": None, "error": None},
}


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    """A new one."""
    with contextlib.closing(Board.create(tmp_path / "board")) as made:
        yield made


class Later:
    """A clock that is ahead by some seconds."""

    seconds = 0.0

    def monotonic_ns(self) -> int:
        return time.monotonic_ns() + int(self.seconds * 1e9)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


@pytest.mark.parametrize("configured", [False, True])
def test_before_the_scanner_has_said_anything(board: Board, configured: bool) -> None:
    """Everything is there, and nothing is claimed."""
    health = Health(board, "1.2.3", configured=configured)
    body = health.snapshot()
    assert body.keys() == KEYS
    assert (body["status"], body["ready"], body["version"], body["problems"]) == (
        "starting",
        False,
        "1.2.3",
        [],
    )
    assert body["database"]["configured"] is configured
    msgspec.convert(body, healthwire.Health)
    assert (health.state(), health.ready()) == ("scanning", False)


def test_a_scanner_that_is_done(board: Board) -> None:
    """Its snapshot, without what is for the server only."""
    health = Health(board, "1", configured=True)
    board.publish(SNAPSHOT)
    board.set_state("complete", True)
    board.set_pending(4, 5)
    board.beat()
    body = health.snapshot()
    assert body.keys() == KEYS
    assert (body["status"], body["ready"], body["problems"]) == ("ok", True, ["a remark"])
    assert body["pending"] == {"paths": 4, "validations": 5}
    assert body["index"] == SNAPSHOT["index"]
    assert (health.state(), health.ready()) == ("complete", True)


@pytest.mark.parametrize("ready", [False, True])
def test_faults_come_before_readiness(board: Board, ready: bool) -> None:
    """An index that is not ready and has faults is degraded, not starting."""
    health = Health(board, "1", configured=True)
    board.publish({**SNAPSHOT, "degraded": True, "problems": ["root away"]})
    board.set_state("degraded", ready)
    board.beat()
    body = health.snapshot()
    assert (body["status"], body["ready"], body["problems"]) == ("degraded", ready, ["root away"])
    assert health.state() == "degraded"


def test_a_scanner_that_has_yet_to_speak_is_starting(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine its modules take longer to load than one that works may be silent."""
    health = Health(board, "1", configured=False)
    clock = Later()
    monkeypatch.setattr("scanner.board.time", clock)
    clock.seconds = 6.0
    body = health.snapshot()
    assert (body["status"], body["problems"], health.state()) == ("starting", [], "scanning")


@pytest.mark.parametrize("published", [False, True])
def test_silence_shows_first(board: Board, published: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """And ends with the next beat; what the scanner has published is not changed by it."""
    health = Health(board, "1", configured=True)
    if published:
        board.publish(SNAPSHOT)
    board.set_state("complete", True)
    clock = Later()
    monkeypatch.setattr("scanner.board.time", clock)
    board.beat()
    clock.seconds = 7.2 if published else 11.2
    body = health.snapshot()
    assert body["status"] == "degraded"
    assert f"silent for {clock.seconds:.0f} s" in body["problems"][0]
    assert body["problems"][1:] == (["a remark"] if published else [])
    assert health.state() == "degraded"
    assert health.ready()
    board.beat()
    assert health.snapshot()["status"] == "ok"
    assert len(health.snapshot()["problems"]) == published
    assert health.state() == "complete"
