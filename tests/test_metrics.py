"""What a scrape says: the scanner's board as gauges, and the requests of all web processes."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from running import Serving
from waiting import until

from scanner.board import Board
from scanner.records import AssetType, Feature, Kind
from web.app import ROUTES
from web.health import EMPTY
from web.metrics import Metrics
from web.requestcounts import BUCKETS, RequestCounts

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]
SNAPSHOT: dict[str, Any] = {
    **EMPTY,
    "degraded": False,
    "problems": ["one"],
    "index": {"files": 12, "assets": 3, "version": 1},
    "unmatched_files": 2,
    "roots": [{"path": "/data/frames", "available": False, "watcher": "inotify", "directories": 2}],
    "watching": {
        "watched": 5,
        "polled": 1,
        "needed": 6,
        "allowed": 1000,
        "overflows": 2,
        "last_overflow_at": None,
        "missed": 4,
    },
    "counts": {
        "files": [["/data/frames", "image", 9], ["/data/frames", "other", 3]],
        "assets": [
            ["product_image", "finding:corrupt:1", 1],
            ["video_frame", "checked:segment", 4],
            ["video_frame", "finding:corrupt:1", 2],
            ["video_frame", "segment", 7],
            ["video_frame", "total", 9],
            ["video_frame", "withheld", 5],
        ],
    },
    "file": None,
}


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    """A new one."""
    with contextlib.closing(Board.create(tmp_path / "board")) as made:
        yield made


def samples(text: bytes | str) -> Samples:
    """Every sample of a scrape by its name and labels; a text that Prometheus could not read fails."""
    text = text.decode() if isinstance(text, bytes) else text
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in found, f"twice: {key}"
            found[key] = sample.value
    return found


def value(found: Samples, name: str, **labels: str) -> float:
    return found[f"sidecar_{name}", frozenset(labels.items())]


def test_a_scrape_has_the_boards_numbers(board: Board, tmp_path: Path) -> None:
    index = tmp_path / "index.db"
    index.write_bytes(b"x" * 700)
    Path(f"{index}-wal").write_bytes(b"x" * 50)
    board.set_pending(7, 9)
    board.publish({**SNAPSHOT, "file": str(index)})
    found = samples(Metrics(board, "1.2").render())
    for expected, name, labels in (
        (7, "pending_paths", {}),
        (9, "pending_validations", {}),
        (9, "indexed_files", {"root": "/data/frames", "kind": "image"}),
        (3, "indexed_files", {"root": "/data/frames", "kind": "other"}),
        (9, "indexed_assets", {"type": "video_frame"}),
        (0, "indexed_assets", {"type": "product_image"}),
        (7, "indexed_artifacts", {"type": "video_frame", "feature": "segment"}),
        (3, "findings", {"kind": "corrupt", "feature": "segment"}),
        (5, "findings_withheld", {}),
        (4, "content_checks", {"feature": "segment", "state": "checked"}),
        (1, "problems", {}),
        (5, "watches_used", {}),
        (1000, "watches_allowed", {}),
        (1, "directories", {"state": "polled"}),
        (6, "directories", {"state": "needed"}),
        (2, "watch_overflows_total", {}),
        (4, "missed_files_total", {}),
        (0, "root_available", {"root": "/data/frames"}),
        (0, "queue_length", {"queue": "dirty_directories"}),
        (750, "index_bytes", {}),
        (1, "build_info", {"version": "1.2"}),
    ):
        assert value(found, name, **labels) == expected, name
    assert value(found, "index_free_bytes") > 0


def test_times_are_ages_and_absent_where_nothing_has_happened(board: Board) -> None:
    before = datetime.now(UTC) - timedelta(seconds=90)
    database = {"configured": True, "reachable": True, "last_sync_at": before.isoformat(), "error": None}
    board.publish({**SNAPSHOT, "database": database})
    found = samples(Metrics(board).render())
    assert 90 <= value(found, "database_sync_age_seconds") < 120
    assert ("sidecar_full_pass_age_seconds", frozenset()) not in found


def test_a_scrape_works_before_the_scanner_has_said_anything(board: Board) -> None:
    found = samples(Metrics(board).render())
    assert value(found, "ready") == 0
    assert value(found, "watches_used") == 0


def test_requests_are_counted_by_route_status_and_duration(board: Board) -> None:
    metrics = Metrics(board)
    for status, seconds in ((200, 0.0005), (200, BUCKETS[0]), (304, 0.003), (404, 7.0)):
        metrics.observe("/status/{job_id}", status, seconds)
    metrics.observe("", 404, 0.001)
    found = samples(metrics.render())
    route = "/status/{job_id}"
    assert value(found, "requests_total", route=route, status="200") == 2
    assert value(found, "requests_total", route=route, status="404") == 1
    assert value(found, "requests_total", route="unknown", status="404") == 1
    steps = {"0.001": 2, "0.0025": 2, "0.005": 3, "1.0": 3, "+Inf": 4}
    for bound, count in steps.items():
        assert value(found, "request_seconds_bucket", route=route, le=bound) == count
    assert value(found, "request_seconds_count", route=route) == 4
    assert value(found, "request_seconds_sum", route=route) == pytest.approx(7.0045)


def test_web_processes_add_up_and_no_total_falls_when_one_ends(tmp_path: Path) -> None:
    one, other = RequestCounts(tmp_path), RequestCounts(tmp_path)
    one.observe("/jobs", 200, 0.1)
    other.observe("/jobs", 200, 0.2)
    other.observe("/", 200, 0.2)
    assert one.total()["/jobs"].statuses == {200: 1}
    other.flush()
    del other
    total = RequestCounts(tmp_path).total()
    assert {name: route.statuses for name, route in total.items()} == {"/jobs": {200: 1}, "/": {200: 1}}
    total = one.total()
    assert total["/jobs"].statuses == {200: 2}
    assert (sum(total["/jobs"].steps), total["/jobs"].seconds) == (2, pytest.approx(0.3))


def test_what_was_counted_reaches_the_others_also_at_the_end(tmp_path: Path) -> None:
    async def main() -> None:
        counts = RequestCounts(tmp_path)
        flushing = asyncio.ensure_future(counts.keep_flushing())
        await asyncio.sleep(0)
        counts.observe("/jobs", 200, 0.1)
        flushing.cancel()
        await asyncio.gather(flushing, return_exceptions=True)

    asyncio.run(main())
    assert RequestCounts(tmp_path).total()["/jobs"].statuses == {200: 1}


def test_a_full_file_system_costs_no_count(tmp_path: Path) -> None:
    away = tmp_path / "away"
    counts = RequestCounts(away)
    counts.observe("/jobs", 200, 0.1)
    counts._try_to_flush()
    away.mkdir()
    counts._try_to_flush()
    assert RequestCounts(away).total()["/jobs"].statuses == {200: 1}


def test_two_web_processes_answer_a_scrape_alike(tmp_path: Path) -> None:
    """Whichever is asked, the requests of both are in the answer."""
    (tmp_path / "data").mkdir()
    (tmp_path / "index").mkdir()
    with Serving(tmp_path, {"SIDECAR_WEB__PROCESSES": 2}) as serving:
        serving.ready()
        until(lambda: len(serving.children("web.serving")) == 1, "a second web process")

        def asked() -> float:
            serving.client.close()  # the next connection is accepted by either
            found = samples(serving.get("/metrics").raw)
            labels = frozenset({("route", "/jobs"), ("status", "200")})
            return found.get(("sidecar_requests_total", labels), 0)

        for _ in range(20):
            serving.client.close()
            serving.get("/jobs")
        until(lambda: all(asked() == 20 for _ in range(10)), "both know of all")


def test_a_scrape_of_everything_there_is_takes_less_than_5_ms(board: Board) -> None:
    """All routes were asked, all kinds were found, and there are several roots."""
    names = ["total", "withheld", *(feature.wire for feature in Feature)]
    names += [f"finding:{kind}:{int(feature)}" for kind in Kind for feature in Feature]
    names += [f"{state}:{feature.wire}" for state in ("checked", "pending") for feature in Feature]
    roots = [f"/data/{name}" for name in "abcdefgh"]
    counts = {
        "files": [[root, kind, 9] for root in roots for kind in ("image", "segment", "embedding", "other")],
        "assets": [[type.wire, name, 1] for type in AssetType for name in names],
    }
    about = {"available": True, "watcher": "inotify", "directories": 2}
    board.publish({**SNAPSHOT, "roots": [{"path": root, **about} for root in roots], "counts": counts})
    metrics = Metrics(board)
    for route in ROUTES:
        for status in (200, 304, 400, 404, 503):
            metrics.observe(route.pattern, status, 0.003)
    assert value(samples(metrics.render()), "findings", kind="corrupt", feature="segment") > 0

    def seconds() -> float:
        started = time.perf_counter()
        metrics.render()
        return time.perf_counter() - started

    assert min(seconds() for _ in range(50)) < 0.005  # at its best: others may be at work here
