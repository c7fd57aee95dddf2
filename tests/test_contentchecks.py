"""Checks in the background: once for each file as it is, again where it or its image changes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import apsw
import pytest
from checking import View
from PIL import Image

from scanner import contentchecks
from scanner.config import load_config
from scanner.contentchecks import OUTCOMES, outcome_of
from scanner.inspection import Inspection
from scanner.queries import Queries
from scanner.records import Feature, Verification
from scanner.resolve import Outcome
from scanner.settling import Settling
from scanner.verdicts import Status, Verdict

DEADLINE = 60.0
OLD = 1_700_000_000


def picture(path: Path, size: tuple[int, int], mode: str = "RGB") -> None:
    """A picture with two values in it, written long ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made = Image.new(mode, size)
    made.putpixel((1, 1), 255 if mode == "L" else (255, 0, 0))
    made.save(path)
    os.utime(path, (OLD, OLD))


@pytest.fixture
def data(tmp_path: Path, one_pool: None) -> Path:
    """One frame with a mask of its size."""
    folder = tmp_path / "data"
    picture(folder / "frames/v/1.png", (8, 6))
    picture(folder / "frames/v/1/seg.png", (8, 6), "L")
    return folder


@contextmanager
def checking(data: Path) -> Iterator[tuple[Inspection, Queries]]:
    """A sidecar without a database that has checked all there is, no file being recent."""
    state = data.parent / "state"
    state.mkdir()
    config = load_config(environ={"SIDECAR_DATA__ROOT": str(data)}, cwd=str(data.parent))
    inspection = Inspection(config, state)
    inspection.start()
    try:
        drive(inspection)
        inspection.worker.looker.settling = Settling(0.0)
        with closing(Queries(str(inspection.path), inspection.config)) as queries:
            yield inspection, queries
    finally:
        inspection.close()


def drive(inspection: Inspection, done: Callable[[], bool] | None = None) -> None:
    """Work until a condition holds, or all is done."""
    end = time.monotonic() + DEADLINE
    while not (done() if done is not None else inspection.done):
        assert time.monotonic() < end, "it did not get there in time"
        inspection.step()


def touch(inspection: Inspection, path: str) -> None:
    """Tell of a change, as the watcher does, and wait for what comes of it."""
    inspection.worker.dirty.mark(*path.rsplit("/", 1))
    drive(inspection)


def report(queries: Queries) -> Verification:
    found = queries.verification(None)
    assert found is not None
    return found


def test_a_file_is_checked_once_for_as_long_as_it_is_the_same(data: Path) -> None:
    with checking(data) as (inspection, queries):
        assert inspection.verifier.checks.done == 2
        inspection.worker.begin_pass()
        drive(inspection)
        assert inspection.verifier.checks.done == 2
        assert report(queries).checked == {
            Feature.IMAGE: 1, Feature.SEGMENT: 1, Feature.EMBEDDING: 0, Feature.KEYPOINTS: 0,
        }  # fmt: skip


def test_a_mask_is_judged_again_when_its_image_changes(data: Path) -> None:
    with checking(data) as (inspection, queries):
        assert report(queries).total == 0
        picture(data / "frames/v/1.png", (10, 6))
        touch(inspection, "frames/v/1.png")
        assert inspection.verifier.checks.done == 4
        assert {str(kind) for kind in report(queries).findings} == {"corrupt"}
        picture(data / "frames/v/1.png", (8, 6))
        touch(inspection, "frames/v/1.png")
        assert report(queries).total == 0


def test_a_file_that_is_mended_is_judged_anew(data: Path) -> None:
    (data / "frames/v/1/seg.png").write_bytes(b"junk")
    with checking(data) as (inspection, queries):
        assert report(queries).findings == {kind: {Feature.SEGMENT: 1} for kind in report(queries).findings}
        assert report(queries).total == 1
        picture(data / "frames/v/1/seg.png", (8, 6), "L")
        touch(inspection, "frames/v/1/seg.png")
        assert report(queries).total == 0


def test_a_file_written_a_moment_ago_is_read_once_more(data: Path) -> None:
    with checking(data) as (inspection, queries):
        checks = inspection.verifier.checks
        contentchecks.RECENT_NS = 1 << 62
        picture(data / "frames/v/1/seg.png", (8, 6), "L")
        inspection.worker.dirty.mark("frames/v/1", "seg.png")
        drive(inspection, lambda: checks.done == 3)
        assert checks.pending == 1, "one more look is promised"
        contentchecks.RECENT_NS = 0
        drive(inspection, lambda: checks.done == 4 and inspection.done)
        assert report(queries).total == 0


def test_a_file_whose_verdict_did_not_fit_is_read_once_more_only_once(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with checking(data) as (inspection, _):
        checks = inspection.verifier.checks
        write, failures = checks._write, iter(range(3))

        def without_room(portion: Any, now: float) -> Any:
            result = write(portion, now)
            if next(failures, None) is not None:
                raise apsw.FullError("no room")
            return result

        monkeypatch.setattr(checks, "_write", without_room)
        monkeypatch.setattr(contentchecks, "RECENT_NS", 1 << 62)
        picture(data / "frames/v/1/seg.png", (8, 6), "L")
        inspection.worker.dirty.mark("frames/v/1", "seg.png")
        drive(inspection, lambda: checks.done == 3)
        assert next(failures, None) is None
        assert checks.pending == 1


def test_what_was_judged_without_its_image_is_judged_again_once_that_can_be_read(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An I/O error of the image is simulated; the mask is good by itself, but does not fit it."""
    picture(data / "frames/v/1.png", (10, 6))
    results, failing = View.results, True

    def with_errors(view: View) -> list[tuple[Any, Verdict]]:
        blind = {Feature.IMAGE: Verdict(Status.UNCHECKED, "EIO"), Feature.SEGMENT: Verdict(Status.OK)}
        return [(tag, blind[tag.feature] if failing else verdict) for tag, verdict in results(view)]

    monkeypatch.setattr(View, "results", with_errors)
    with checking(data) as (inspection, queries):
        assert (report(queries).unchecked[Feature.IMAGE], report(queries).total) == (1, 0)
        failing = False
        inspection.worker.begin_pass()
        drive(inspection, lambda: not report(queries).unchecked[Feature.IMAGE] and inspection.done)
        assert {str(kind) for kind in report(queries).findings} == {"corrupt"}


def test_a_failed_expectation_is_kept_apart_from_damage() -> None:
    assert outcome_of(Verdict(Status.OK)) is Outcome.OK
    assert outcome_of(Verdict(Status.UNCHECKED, "EIO")) is Outcome.UNCHECKED
    assert outcome_of(Verdict(Status.CORRUPT, "cut")) is Outcome.CORRUPT
    for key, outcome in OUTCOMES.items():
        assert outcome_of(Verdict(Status.CORRUPT, "other", key)) is outcome
