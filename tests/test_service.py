"""The scanner's loop: what it says of itself while it works."""

from __future__ import annotations

import queue
import threading
from pathlib import Path

import pytest

from scanner import service
from scanner.board import Board
from scanner.config import Config, load_config
from scanner.index import Index
from scanner.rows import PollDone, PollFailed
from scanner.service import VERIFY_SECONDS, Service
from scanner.worker import Worker


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


def test_an_index_of_another_configuration_or_none_at_all_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()

    def configured(**environ: str) -> Config:
        return load_config(
            environ={"SIDECAR_DATA__ROOT": str(tmp_path / "data"), **environ}, cwd=str(tmp_path)
        )

    config = configured()
    path = tmp_path / "index-1.db"
    Index(str(path), config).close()
    assert service._index_file(tmp_path, config) == path
    assert service._index_file(tmp_path, configured(SIDECAR_WEB__PORT="9000")) == path, "it does not matter"
    fresh = service._index_file(tmp_path, configured(SIDECAR_LAYOUT__FRAMES__FPS="25"))
    assert (fresh.exists(), list(tmp_path.glob("index-*"))) == (False, [])
    path.write_bytes(b"no database at all" * 1000)
    assert service._index_file(tmp_path, config) not in (path, fresh)
    assert not path.exists()


def test_rows_go_before_verification_but_never_keep_it_away(tmp_path: Path) -> None:
    """A database that changes all the time would hold up every finding."""
    (tmp_path / "data").mkdir()
    config = load_config(environ={"SIDECAR_DATA__ROOT": str(tmp_path / "data")}, cwd=str(tmp_path))
    board = Board.create(tmp_path / "board")
    service = Service(config, tmp_path / "index.db", board)
    assert service._may_verify(100.0, busy=False)
    assert service._may_verify(100.1, busy=False)
    service.worker.rows.put(PollDone(full=True))
    assert not service._may_verify(100.2, busy=False)
    assert service._may_verify(100.1 + VERIFY_SECONDS, busy=False)
    assert not service._may_verify(100.2 + VERIFY_SECONDS, busy=False)
    service.worker.rows.get()
    assert service._may_verify(100.3 + VERIFY_SECONDS, busy=False)
    assert not service._may_verify(100.4 + VERIFY_SECONDS, busy=True)
    assert service._may_verify(100.3 + 2 * VERIFY_SECONDS, busy=True)
    service.index.close()
    board.close()


def test_what_the_poller_yields_waits_for_room_unless_it_is_to_stop(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    config = load_config(environ={"SIDECAR_DATA__ROOT": str(tmp_path / "data")}, cwd=str(tmp_path))
    worker = Worker(config, Index(str(tmp_path / "index.db"), config), queue.Queue(1))
    stopping = threading.Event()
    first, second, third = PollDone(full=True), PollFailed("second"), PollFailed("third")
    worker.put(first, stopping)
    waiting = threading.Thread(target=worker.put, args=(second, stopping))
    waiting.start()
    assert worker.rows.get(timeout=20.0) is first
    waiting.join(20.0)
    assert worker.rows.qsize() == 1
    waiting = threading.Thread(target=worker.put, args=(third, stopping))
    waiting.start()
    stopping.set()
    waiting.join(20.0)
    assert not waiting.is_alive()
    assert worker.rows.get_nowait() is second
    assert worker.rows.empty()
    worker.index.close()
