"""The scanner's loop: what it says of itself while it works."""

from __future__ import annotations

from pathlib import Path

import pytest

from scanner.board import Board
from scanner.config import load_config
from scanner.service import Service


def test_what_comes_while_it_rests_is_pending_before_it_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or nothing would be said to be pending for as long as the first look after a rest takes."""
    (tmp_path / "data" / "frames").mkdir(parents=True)
    environ = {"SIDECAR_DATA__ROOT": str(tmp_path / "data"), "SIDECAR_VERIFY__CONTENT": "false"}
    board = Board.create(tmp_path / "board")
    service = Service(load_config(environ=environ, cwd=str(tmp_path)), tmp_path / "index.db", board)
    worker, rests, told = service.worker, 0, []
    step, wait = worker.step, worker.dirty.wait

    def rest(seconds: float) -> bool:
        nonlocal rests
        if worker.ready and not worker.pending and not rests:
            rests += 1
            worker.dirty.mark("frames")
            return True
        return wait(seconds)

    def look() -> float:
        if rests:
            told.append(board.read().paths)
            service.stop()
        return step()

    monkeypatch.setattr(worker.dirty, "wait", rest)
    monkeypatch.setattr(worker, "step", look)
    service.run()
    board.close()
    assert told == [1]
