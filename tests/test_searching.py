"""Searches of a whole job: another thread answers them, and everything else meanwhile goes on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from webfake import FakeQueries, Web, serving

from web.searching import Searches

SEARCHES = (
    "/jobs/j_123/images?q=x",
    "/jobs/j_123/assets?q=x",
    "/jobs/j_123/assets?kind=corrupt",
    "/jobs/j_123/verification/findings?q=x",
    "/verification/findings?sort_by=path",
    "/overview?limit=100",
)
OTHERS = ("/jobs/j_123/images", "/jobs/j_123/assets", "/verification/findings", "/jobs?q=j", "/overview")


@dataclass
class HeldQueries(FakeQueries):
    """Every question waits until it is let go on."""

    asked: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    held: threading.Event = field(default_factory=threading.Event)
    closed: bool = False

    def _called(self, *call: Any) -> None:
        self.asked.release()
        assert self.held.wait(30)
        super()._called(*call)

    def follow(self, path: str) -> None:
        self.path = path

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def held() -> Iterator[HeldQueries]:
    queries = HeldQueries(path="another")
    yield queries
    queries.held.set()


@pytest.fixture
def web(held: HeldQueries) -> Iterator[Web]:
    searches: Any = Searches(held)
    with serving(searches=searches) as running:
        yield running
        held.held.set()
    searches.close()
    assert held.closed


@pytest.mark.parametrize("target", SEARCHES)
def test_others_are_answered_while_a_search_goes_on(web: Web, held: HeldQueries, target: str) -> None:
    with ThreadPoolExecutor(1) as client:
        answer = client.submit(web.get, target)
        assert held.asked.acquire(timeout=30)
        for other in OTHERS:
            assert web.get(other).status == 200
        assert not answer.done()
        held.held.set()
        found = answer.result(30)
    assert (found.status, found.json["total"], held.path) == (200, 1, web.queries.path)
    assert [call[0] for call in held.calls] == [held.calls[0][0]]
    before = len(held.calls)
    assert web.get(target, If_None_Match=found.headers["ETag"]).status == 304
    assert len(held.calls) == before, "to say that nothing changed, nothing is searched"
    assert web.get(target).body == found.body
    before += 1
    assert web.get(target).body == found.body
    assert len(held.calls) == before, "the answer is kept while the index is unchanged"
    web.queries.number += 1
    assert web.get(target).body == found.body
    assert len(held.calls) == before + 1


def test_others_are_answered_while_a_portion_of_a_stream_is_read(web: Web, held: HeldQueries) -> None:
    with ThreadPoolExecutor(1) as client:
        answer = client.submit(web.get, "/verification/findings?format=ndjson&sort_by=path")
        assert held.asked.acquire(timeout=30)
        for other in OTHERS:
            assert web.get(other).status == 200
        assert not answer.done()
        held.held.set()
        lines = answer.result(30).body.splitlines()
    assert (len(lines), held.path) == (len(held.finding_list), web.queries.path)


@pytest.mark.parametrize("ready", [False, True])
def test_a_job_that_is_not_known_is_looked_up(web: Web, held: HeldQueries, ready: bool) -> None:
    held.held.set()
    web.health.is_ready = ready
    assert web.get("/jobs/nope/assets?q=x").status == (404 if ready else 503)
    assert web.lookup.keys == ([("job", "nope")] if ready else [])
    if ready:
        job = held.jobs_list[0]
        web.lookup.found = lambda kind, id: held.jobs_list.append(replace(job, job_id=id)) or True
        assert web.get("/jobs/nope/assets?q=x").status == 200


def test_a_mistake_in_a_search_is_a_500(web: Web, held: HeldQueries) -> None:
    held.held.set()
    held.failure = ValueError("wrong")
    assert web.get("/jobs/j_123/images?q=x").status == 500


def test_a_search_nobody_waits_for_is_not_begun(held: HeldQueries) -> None:
    searches: Any = Searches(held)

    async def ask() -> None:
        first = asyncio.ensure_future(searches.ask("p", lambda queries: queries.status("j_123")))
        assert await asyncio.to_thread(held.asked.acquire, timeout=30)
        second = asyncio.ensure_future(searches.ask("p", lambda queries: queries.summary("j_123")))
        await asyncio.sleep(0)  # it is in the queue
        second.cancel()
        await asyncio.sleep(0)  # nor is it there any more
        held.held.set()
        assert (await first).job_id == "j_123"
        with pytest.raises(asyncio.CancelledError):
            await second
        await searches.ask("p", lambda queries: queries.status("j_123"))

    asyncio.run(ask())
    searches.close()
    assert [call[0] for call in held.calls] == ["status", "status"]
