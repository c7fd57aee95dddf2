"""How the sidecar is, from the board: what a request asks costs no more than reading a few words."""

from __future__ import annotations

from typing import Any

from scanner.board import Board, State
from web.supervisor import SILENT_SECONDS

_EMPTY: dict[str, Any] = {
    "problems": [],
    "index": {"files": 0, "assets": 0, "version": 0},
    "roots": [],
    "scan": {"last_completed_at": None, "seconds": None, "files": None},
    "database": {"configured": False, "reachable": False, "last_sync_at": None, "error": None},
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
        """The value of ``X-Index-State``; a scanner that is silent leaves answers that may be old."""
        reading = self._board.read()
        if reading.beat_age > SILENT_SECONDS:
            return "degraded"
        return reading.state

    def ready(self) -> bool:
        """Whether the first full scan, and the first read of the database, were done."""
        return self._board.read().ready

    def snapshot(self) -> dict[str, Any]:
        """The body of ``/healthz``."""
        reading = self._board.read()
        published = self._board.snapshot()
        body = dict(published or _EMPTY)
        body.pop("file", None)
        degraded = bool(body.pop("degraded", False))
        problems = list(body["problems"])
        if published is None:
            body["database"] = {**body["database"], "configured": self._configured}
        if reading.beat_age > SILENT_SECONDS:
            degraded = True
            silence = f"the scanner has been silent for {reading.beat_age:.0f} s: answers may be old"
            problems.insert(0, silence)
        status = "degraded" if degraded else "ok" if reading.ready else "starting"
        return {
            "status": status,
            "ready": reading.ready,
            "version": self._version,
            **body,
            "problems": problems,
            "pending": {"paths": reading.paths, "validations": reading.validations},
        }
