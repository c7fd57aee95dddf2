"""What a scrape says: the scanner's board as gauges, and the requests of this process."""

from __future__ import annotations

from pathlib import Path

from scanner.board import Board
from web.metrics import Metrics

SNAPSHOT = {
    "degraded": False,
    "problems": ["one"],
    "index": {"files": 12, "assets": 3, "version": 1},
    "unmatched_files": 2,
    "scan": {"seconds": 0.5},
    "database": {"reachable": True},
}


def test_a_scrape_has_the_boards_numbers_and_the_requests_by_route(tmp_path: Path) -> None:
    board = Board.create(tmp_path / "board")
    board.set_pending(7, 9)
    board.publish(SNAPSHOT)
    metrics = Metrics(board)
    metrics.observe("/status/{job_id}", 200, 0.002)
    text = metrics.render().decode()
    for line in (
        "sidecar_pending_paths 7.0",
        "sidecar_pending_validations 9.0",
        "sidecar_indexed_files 12.0",
        "sidecar_indexed_assets 3.0",
        "sidecar_problems 1.0",
        'sidecar_requests_total{route="/status/{job_id}",status="200"} 1.0',
        'sidecar_request_seconds_count{route="/status/{job_id}"} 1.0',
    ):
        assert line in text.splitlines()
    board.close()


def test_a_scrape_works_before_the_scanner_has_said_anything(tmp_path: Path) -> None:
    board = Board.create(tmp_path / "board")
    assert "sidecar_ready 0.0" in Metrics(board).render().decode().splitlines()
    board.close()
