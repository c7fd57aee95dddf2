"""How the sidecar is, from the board: what a request asks costs no more than reading a few words."""

from __future__ import annotations

from typing import Any

from scanner.board import Board, Reading, State

_PRIVATE = ("file", "counts")
EMPTY: dict[str, Any] = {  # before the scanner has said anything
    "problems": [],
    "index": {"files": 0, "assets": 0, "version": 0},
    "roots": [],
    "scan": {"last_completed_at": None, "seconds": None, "files": None},
    "database": {"configured": False, "reachable": False, "last_sync_at": None, "error": None},
    "watching": {
        "watched": 0,
        "polled": 0,
        "needed": 0,
        "allowed": None,
        "overflows": 0,
        "last_overflow_at": None,
        "missed": 0,
    },
    "queues": {
        "dirty_directories": 0,
        "directories_to_list": 0,
        "settling_files": 0,
        "database_batches": 0,
    },
    "skipped_names": 0,
    "unmatched_files": 0,
    "volume": {"free_bytes": None, "free_inodes": None},
}


class Health:
    """Reads the board; ``configured`` says whether there is a pipeline database."""

    def __init__(self, board: Board, version: str, *, configured: bool) -> None:
        self._board = board
        self._version = version
        self._configured = configured

    def state(self) -> State:
        """The value of ``X-Index-State``; without a scanner that beats, answers may be old."""
        reading = self._board.read()
        return "degraded" if self._absence(reading) else reading.state

    def ready(self) -> bool:
        """Whether the first full scan, and the first read of the database, were done."""
        return self._board.read().ready

    def snapshot(self) -> dict[str, Any]:
        """The body of ``/healthz``."""
        reading = self._board.read()
        body = self._published()
        absence = self._absence(reading)
        degraded = bool(body.pop("degraded", False)) or absence is not None
        problems = [absence, *body["problems"]] if absence else body["problems"]
        status = "degraded" if degraded else "ok" if reading.ready else "starting"
        return {
            "status": status,
            "ready": reading.ready,
            "version": self._version,
            **body,
            "problems": problems,
            "pending": {"paths": reading.paths, "validations": reading.validations},
        }

    def _published(self) -> dict[str, Any]:
        """What the scanner said last, without what is for the web process alone."""
        published = self._board.snapshot()
        if published is None:
            return {**EMPTY, "database": {**EMPTY["database"], "configured": self._configured}}
        return {key: value for key, value in published.items() if key not in _PRIVATE}

    def _absence(self, reading: Reading) -> str | None:
        """The problem of a scanner that is not heard, or None."""
        if reading.ended:
            return "the scanner has ended and is started again: answers may be old"
        if reading.silent:
            return f"the scanner has been silent for {reading.beat_age:.0f} s: answers may be old"
        return None
