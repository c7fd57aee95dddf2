"""No answer is ever older than the index: what is remembered is worth nothing once it has changed."""

from __future__ import annotations

import contextlib
import json
import random
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from comparison import Client, Reply
from running import Serving, make_database
from shuffle import Shuffle
from waiting import until
from webfake import Answer, Web, serving

from scanner import assetqueries, division
from scanner.queries import Queries

LISTS = (
    "/jobs",
    "/jobs?sort_by=job_id&order=desc",
    "/jobs/j/videos",
    "/jobs/j/videos?q=title&sort_by=title&include=urls",
    "/jobs/j/videos?platform=YouTube&min_frames=3&sort_by=frames_count",
    "/jobs/j/videos/v1/frames",
    "/jobs/j/videos/v1/frames?sort_by=frame_id&order=desc&include=urls&offset=3",
    "/jobs/j/images",
    "/jobs/j/images?q=title+1&sort_by=updated_at",
    "/jobs/j/images?q=img_01&offset=2",
    "/jobs/j/images?product_id=p1",
    "/jobs/j/features/product-images?has=any",
    "/jobs/j/features/product-images?sort_by=img_id&order=desc&offset=5",
    "/jobs/j/features/video-frames?offset=10",
    "/jobs/j/features/video-frames?has=segment&sort_by=ts",
    "/jobs/j/features/video-frames?has=none&sort_by=frame_id&offset=4",
    "/jobs/j/features/video-frames?video_id=v2&has=any",
    "/jobs/j/assets?asset_type=video_frame&offset=7",
    "/jobs/j/assets?asset_type=product_image&q=title",
    "/jobs/j/verification/findings",
    "/jobs/j/verification/findings?kind=orphan&sort_by=path",
    "/verification/findings?q=v1",
)
SINGLE = (
    "/status/j",
    "/status/k",
    "/jobs/j/features/summary",
    "/features/product-images/p1_img_001",
    "/features/video-frames/v1_frame_001",
    "/assets/video_frame/v1_frame_001",
    "/jobs/j/verification",
    "/verification",
)


class Forgetful:
    """Reads the index anew for every question, and never says that it is unchanged."""

    def __init__(self, shuffle: Shuffle) -> None:
        self._shuffle = shuffle
        self._asked = 0

    def revision(self) -> int:
        self._asked += 1
        return self._asked

    @property
    def moment(self) -> contextlib.AbstractContextManager[int]:
        return contextlib.nullcontext(self.revision())

    def __getattr__(self, name: str) -> Any:
        def ask(*args: Any) -> Any:
            with contextlib.closing(Queries(self._shuffle.path, self._shuffle.config)) as queries:
                return getattr(queries, name)(*args)

        return ask


class Tab:
    """Asks one server, and says what it has of each answer."""

    def __init__(self, web: Web) -> None:
        self._web = web
        self._etags: dict[str, str] = {}

    def ask(self, target: str, truth: Answer) -> str:
        """Hold the answer to the truth; returns "304" or "new"."""
        known = self._etags.get(target)
        headers = {} if known is None else {"If-None-Match": known}
        answer = self._web.get(target, **headers)
        assert answer.headers["ETag"] == truth.headers["ETag"], f"{target} is old"
        self._etags[target] = answer.headers["ETag"]
        if answer.status == 304:
            assert known == truth.headers["ETag"], f"{target} is not what the client has"
            return "304"
        assert (answer.status, answer.body) == (truth.status, truth.body), target
        assert known != answer.headers["ETag"], f"{target} is sent to a client that has it"
        return "new"


@pytest.fixture
def shuffle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shuffle]:
    monkeypatch.setattr(division, "BLOCK", 4)
    monkeypatch.setattr(assetqueries, "_LONG", 1)
    monkeypatch.setattr(assetqueries, "_NEAR", 1)
    monkeypatch.setattr(assetqueries, "_FAR", 2)
    made = Shuffle(tmp_path, 5)
    made.change(150)
    made.index.finish_crawl()
    yield made
    made.queries.close()
    made.index.close()


def test_every_answer_is_of_the_index_as_it_is_now(shuffle: Shuffle) -> None:
    """With everything that is kept and remembered in use, in two processes' worth of it."""
    others = [Queries(shuffle.path, shuffle.config) for _ in range(2)]
    with contextlib.ExitStack() as stack:
        webs = [stack.enter_context(serving(queries=queries)) for queries in others]
        truth = stack.enter_context(serving(queries=Forgetful(shuffle)))
        tabs = [Tab(web) for web in webs]
        seen = {"304": 0, "new": 0}
        for round in range(25):
            for target in (*SINGLE, *LISTS):
                expected = truth.get(target)
                assert expected.status in (200, 404), (target, expected.body)
                for tab in tabs if expected.status == 200 else ():
                    seen[tab.ask(target, expected)] += 1
            if round % 4 == 3:
                continue  # the same again, of an index that is unchanged
            if round % 2:
                for queries in others:
                    while queries.prepare():
                        pass
            if round % 3 == 2:
                shuffle.change_row()
            else:
                shuffle.change(shuffle.random.choice([1, 5, 20]))
        assert seen["304"] > 200, seen
        assert seen["new"] > 200, seen
    for queries in others:
        queries.close()


def test_an_answer_made_while_the_index_changes_is_not_kept(shuffle: Shuffle) -> None:
    """Whatever a change meets in the middle of an answer, what is given afterwards has it."""

    class Interrupted:
        """Queries in the middle of which the index changes."""

        def __init__(self, queries: Queries) -> None:
            self._queries = queries
            self.interrupt = False

        def revision(self) -> int:
            return self._queries.revision()

        @property
        def moment(self) -> contextlib.AbstractContextManager[int]:
            return self._queries.moment

        def __getattr__(self, name: str) -> Any:
            def ask(*args: Any) -> Any:
                answer = getattr(self._queries, name)(*args)
                if self.interrupt:
                    writer = threading.Thread(target=shuffle.change, args=(15,))
                    writer.start()
                    writer.join()
                return answer

            return ask

    queries = Queries(shuffle.path, shuffle.config)
    interrupted = Interrupted(queries)
    with serving(queries=interrupted) as web, serving(queries=Forgetful(shuffle)) as truth:
        for target in ("/status/j", "/jobs/j/features/summary", *LISTS):
            interrupted.interrupt = True
            web.get(target)
            interrupted.interrupt = False
            assert web.get(target).body == truth.get(target).body, target
    queries.close()


MOVING = (
    "/status/j",
    "/jobs",
    "/jobs/j/features/summary",
    "/jobs/j/features/video-frames",
    "/jobs/j/assets?asset_type=video_frame",
    "/jobs/j/features/video-frames?has=segment",
    "/features/video-frames/v_frame_000001",
)


def test_two_web_processes_give_nothing_old_once_a_change_is_in_the_index(tmp_path: Path) -> None:
    """Every process, asked with the tag of the answer before: neither that answer nor a 304 comes back."""
    database = tmp_path / "pipeline.db"
    make_database(database)
    _insert_video(database)
    settings = {"SIDECAR_DATABASE__URL": f"sqlite:///{database}", "SIDECAR_WEB__PROCESSES": 2}
    with Serving(tmp_path, settings) as server:
        server.write(1)
        server.ready()
        until(lambda: len(server.children("web.serving")) == 1, "a second web process")
        until(lambda: server.get("/features/video-frames/v_frame_000001").status == 200, "the first frame")
        clients = [Client(f"http://127.0.0.1:{server.port}") for _ in range(10)]
        mask = server.root / "frames" / "v" / "000001" / "seg.png"
        for change in range(6):
            before = [{target: client.get(target) for target in MOVING} for client in clients]
            mask.parent.mkdir(exist_ok=True)
            there = change % 2 == 0
            _toggle(mask, there=there)
            until(lambda there=there: _has_segment(server.client) == there, "the change is in the index")
            for client, old in zip(clients, before, strict=True):
                for target in MOVING:
                    _assert_new(client.get(target, If_None_Match=old[target].headers["etag"]), old[target])
        for client in clients:
            client.close()


def _assert_new(now: Reply, old: Reply) -> None:
    assert now.status == 200
    assert now.raw != old.raw


def _toggle(path: Path, *, there: bool) -> None:
    if there:
        path.write_bytes(random.randbytes(20))
    else:
        path.unlink()


def _has_segment(client: Client) -> bool:
    return bool(json.loads(client.get("/features/video-frames/v_frame_000001").raw)["has_segment"])


def _insert_video(database: Path) -> None:
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("INSERT INTO jobs VALUES ('j', 'feature_extraction', NULL, '2026-01-01 00:00:00')")
        connection.execute(
            "INSERT INTO videos VALUES ('v', 'j', 'youtube', NULL, 'One', 3, '2026-01-01 00:00:00')"
        )
