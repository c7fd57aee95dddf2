"""One pool of checking processes for all tests of a module: to start one takes most of a test's time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from scanner import contentchecks
from scanner.checkpool import CheckPool
from scanner.config import load_config
from scanner.inspection import for_one_look
from scanner.records import Feature
from scanner.settings import VerifyConfig
from scanner.verdicts import Identity, Task, Verdict

DEADLINE = 60.0
SETTINGS = for_one_look(load_config(environ={}, cwd="/")).verify
Tagged = tuple[object, Any]


class View:
    """A pool to whoever has it: the shared one, of which it sees its own tasks alone."""

    def __init__(self, shared: CheckPool[Tagged]) -> None:
        self._shared = shared
        self.pending = 0

    def submit(self, task: Task, tag: Any) -> None:
        """See :class:`scanner.checkpool.CheckPool`, as for the others."""
        self.pending += 1
        self._shared.submit(task, (self, tag))

    def results(self) -> list[tuple[Any, Verdict]]:
        mine = [(tag[1], verdict) for tag, verdict in self._shared.results() if tag[0] is self]
        self.pending -= len(mine)
        return mine

    @property
    def room(self) -> int:
        return self._shared.room

    def close(self) -> None:
        """The shared one goes on."""


@pytest.fixture(scope="module")
def shared_pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CheckPool[Tagged]]:
    """A pool whose process runs already."""
    path = tmp_path_factory.mktemp("warm") / "emb.bin"
    path.write_bytes(b"\1")
    with CheckPool[Tagged](SETTINGS) as pool:
        identity = Identity.of(path.stat())
        pool.submit(Task(str(path), path.name, Feature.EMBEDDING, identity), (None, None))
        end = time.monotonic() + DEADLINE
        while not pool.results():
            assert time.monotonic() < end, "no process was started"
            time.sleep(0.01)
        yield pool


@pytest.fixture
def one_pool(shared_pool: CheckPool[Tagged], monkeypatch: pytest.MonkeyPatch) -> None:
    """Content checks with the usual settings use the shared pool; files are not read a second time."""

    def pool_of(settings: VerifyConfig, roots: Any = ()) -> Any:
        return View(shared_pool) if settings == SETTINGS else CheckPool(settings, roots)

    monkeypatch.setattr(contentchecks, "CheckPool", pool_of)
    monkeypatch.setattr(contentchecks, "RECENT_NS", 0)


__all__ = ["one_pool", "shared_pool"]
