"""Every question to the index, put to one that its real writer filled from listings and rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import apsw
import pytest

from scanner import findingqueries, queries, videolists
from scanner.config import Config
from scanner.index import Index
from scanner.listing import Listing
from scanner.queries import Queries
from scanner.querysql import MERGED, Filter, Source, list_sql, order_of
from scanner.records import (
    AssetRow,
    AssetType,
    Entry,
    Feature,
    FindingRequest,
    JobOverview,
    JobRow,
    MembershipRow,
    Page,
    PipelineRow,
    ProductRow,
    VideoRow,
)
from scanner.resolve import Outcome
from scanner.rows import Rows, Table

IMAGE, FRAME = AssetType.PRODUCT_IMAGE, AssetType.VIDEO_FRAME
SECOND = 1_000_000_000


class World:
    """An index and how a test fills it; ``queries`` reads what was written."""

    def __init__(self, directory: Path, database: bool, fps: float = 0.0) -> None:
        config = Config()
        if database:
            config = dataclasses.replace(
                config, database=dataclasses.replace(config.database, url="sqlite:///x")
            )
        frames = dataclasses.replace(config.layout.frames, fps=fps)
        config = dataclasses.replace(config, layout=dataclasses.replace(config.layout, frames=frames))
        path = str(directory / "index.db")
        self.index = Index(path, config)
        self.queries = Queries(path, config)
        self._inode = 100

    def files(self, *paths: str, size: int = 5, seconds: float = 1) -> None:
        """Put files on disk, all written at the same second."""
        by_directory: dict[str, dict[str, Entry]] = {}
        for path in paths:
            directory, _, name = path.rpartition("/")
            self._inode += 1
            time = int(seconds * SECOND)
            by_directory.setdefault(directory, {})[name] = Entry(name, self._inode, size, time, time)
        with self.index.transaction():
            for directory, files in by_directory.items():
                listing = Listing(directory, 1, 2, 3, files, (), names=frozenset(files))
                self.index.apply(listing, lambda path, entry: False)

    def rows(self, table: Table, *rows: PipelineRow) -> None:
        """Rows of the pipeline database."""
        with self.index.transaction():
            self.index.put(Rows(table, rows))

    def corrupt(self, *paths: str) -> None:
        """The content check has failed these files, and found all others good."""
        with self.index.transaction():
            self.index.db.execute("UPDATE files SET verdict=?", (Outcome.OK,))
            for path in paths:
                directory, _, name = path.rpartition("/")
                self.index.db.execute(
                    "UPDATE files SET verdict=? WHERE name=? AND dir=(SELECT dir FROM dirs WHERE path=?)",
                    (Outcome.CORRUPT, name, directory),
                )
            self.index.assets.mark_files(paths)

    def close(self) -> None:
        self.queries.close()
        self.index.close()


@pytest.fixture
def local(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path, database=False)
    yield world
    world.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """With a database: job ``j`` has the products p and r, and the videos v, w and (shared with k) s."""
    world = World(tmp_path, database=True)
    world.rows(
        Table.JOBS, JobRow("j", "feature_extraction"), JobRow("k", None, 12.345), JobRow("Größe", "matching")
    )
    world.rows(Table.PRODUCTS, ProductRow("p", "j", "GỐI CỔ"), ProductRow("r", "j", "100% a_b*"))
    world.rows(
        Table.VIDEOS,
        VideoRow("v", "j", "YouTube", "u", "Été", 10.0, 5_000_000),
        VideoRow("w", "j", "STRASSE", None, "zebra"),
        VideoRow("s", "j", None, None, None, 3),
    )
    world.rows(Table.JOB_VIDEOS, MembershipRow("k", "s"))
    yield world
    world.close()


def page(sort_by: str, descending: bool = False, limit: int = 100, offset: int = 0) -> Page:
    return Page(limit, offset, sort_by, descending)


def ids(found: tuple[Iterable[Any], int] | None) -> list[str]:
    """The ids of what a list has, whatever it is a list of."""
    assert found is not None
    names = ("asset_id", "video_id", "job_id")
    return [next(getattr(item, name) for name in names if hasattr(item, name)) for item in found[0]]


# --- jobs ----------------------------------------------------------------------------------------------


def test_an_unknown_job_has_no_answers(world: World) -> None:
    queries, by_time = world.queries, page("updated_at")
    assert queries.status("x") is None
    assert queries.summary("x") is None
    assert queries.videos("x", None, None, None, by_time, False) is None
    assert queries.frames("x", "v", page("ts")) is None
    assert queries.images("x", None, None, by_time) is None
    assert queries.images("x", "p", None, by_time) is None
    assert queries.product_images("x", None, by_time) is None
    assert queries.video_frames("x", None, None, by_time) is None
    assert queries.verification("x") is None
    assert queries.findings(FindingRequest(by_time, "x")) is None


def test_the_local_job_is_in_collection_until_there_is_an_asset(local: World) -> None:
    status = local.queries.status("local")
    assert status is not None
    assert (status.phase, status.percent, status.updated_us) == ("collection", 0.0, None)
    assert (status.products, status.videos, status.images, status.frames) == (0, 0, 0, 0)


def test_the_local_job_extracts_features_and_then_is_completed(local: World) -> None:
    local.files("products/p/0.jpg", "products/p/0/seg.png", "frames/v/1.jpg")
    status = local.queries.status("local")
    assert status is not None
    assert (status.phase, status.percent) == ("feature_extraction", 30.0)
    assert (status.products, status.videos, status.images, status.frames) == (1, 1, 1, 1)
    local.files(
        *(
            f"{base}/{name}"
            for base in ("products/p/0", "frames/v/1")
            for name in ("seg.png", "emb.bin", "kp.bin")
        ),
        seconds=7,
    )
    status = local.queries.status("local")
    assert status is not None
    assert (status.phase, status.percent, status.updated_us) == ("completed", 100.0, 7_000_000)


def test_status_counts_what_the_database_has_and_what_is_on_disk(world: World) -> None:
    world.files("products/p/0.jpg", "frames/s/1.jpg", "frames/s/2.jpg", "frames/stranger/1.jpg")
    status = world.queries.status("j")
    assert status is not None
    assert (status.products, status.videos, status.images, status.frames) == (2, 3, 1, 2)
    shared = world.queries.status("k")
    assert shared is not None
    assert (shared.products, shared.videos, shared.images, shared.frames) == (0, 1, 0, 2)


def test_phase_and_percent_are_those_of_the_row_or_follow_from_it(world: World) -> None:
    found, total = world.queries.jobs(None, None, page("job_id"))
    assert total == 3
    assert [(job.job_id, job.phase, job.percent) for job in found] == [
        ("Größe", "matching", 80.0),
        ("j", "feature_extraction", 20.0),
        ("k", "unknown", 12.345),
    ]
    world.files("frames/v/1.jpg", "frames/v/1/seg.png", "frames/v/2.jpg", "frames/v/3.jpg")
    status = world.queries.status("j")
    assert status is not None
    assert status.percent == 26.67


def test_an_overview_is_of_one_moment_whatever_is_written_while_it_is_read(world: World) -> None:
    """The images that come once the jobs have been read are in no part of the answer."""
    names = ["products/p/0.png"]
    world.files(*names)

    def and_write(read: Callable[..., Any], *args: str) -> Any:
        found = read(*args)
        names.append(f"products/p/{len(names)}.png")
        world.files(*names)
        return found

    def one() -> JobOverview | None:
        return world.queries.overview("j")

    def all() -> JobOverview | None:
        jobs, total, report = world.queries.overviews("j", None, page("job_id"))
        assert (total, report.assets) == (1, len(names) - 1)
        return jobs[0]

    for first, ask in (("status", one), ("lines", all)):
        before = len(names)
        with pytest.MonkeyPatch.context() as patch:
            read = getattr(world.queries._jobs, first)
            patch.setattr(world.queries._jobs, first, partial(and_write, read))
            job = ask()
        assert job is not None
        assert job.status.images == before
        assert (job.summary.product_images.total, job.verification.assets) == (before, before)
        assert len(names) > before, "something was written meanwhile"
        assert (after := world.queries.overview("j")) is not None
        assert after.summary.product_images.total == len(names)


def test_an_overview_is_the_answers_that_it_is_made_of(world: World) -> None:
    world.files("products/p/0.jpg", "products/p/0/seg.png", "frames/s/1.jpg", "frames/s/2.jpg")
    queries = world.queries
    jobs, total, report = queries.overviews(None, None, page("job_id", limit=2, offset=1))
    assert (total, report) == (3, queries.verification(None))
    assert [job.status for job in jobs] == queries.jobs(None, None, page("job_id", limit=2, offset=1))[0]
    assert [job.status.job_id for job in jobs] == ["j", "k"]
    for job in jobs:
        job_id = job.status.job_id
        assert (job.summary, job.verification) == (queries.summary(job_id), queries.verification(job_id))
        assert queries.overview(job_id) == job
    assert queries.overviews("x", None, page("job_id"))[:2] == ([], 0)
    assert queries.overview("x") is None


def test_status_is_as_new_as_the_newest_row_or_file_of_the_job(world: World) -> None:
    assert world.queries.status("j").updated_us == 5_000_000  # type: ignore[union-attr]
    world.files("frames/s/1.jpg", seconds=9)
    world.files("frames/other/1.jpg", seconds=99)
    assert world.queries.status("j").updated_us == 9_000_000  # type: ignore[union-attr]
    assert world.queries.summary("k").updated_us == 9_000_000  # type: ignore[union-attr]
    world.rows(Table.PRODUCTS, ProductRow("p", "j", "GỐI CỔ", 11_000_000))
    assert world.queries.status("j").updated_us == 11_000_000  # type: ignore[union-attr]
    world.rows(Table.JOBS, JobRow("j", "matching", None, 12_000_001))
    assert world.queries.status("j").updated_us == 12_000_001  # type: ignore[union-attr]


def test_jobs_are_filtered_and_sorted_with_those_without_time_last(world: World) -> None:
    queries = world.queries
    world.rows(Table.JOBS, JobRow("k", None, None, 9_000_000))
    assert ids(queries.jobs(None, None, page("updated_at", True))) == ["k", "j", "Größe"]
    assert ids(queries.jobs(None, None, page("updated_at", False))) == ["j", "k", "Größe"]
    assert ids(queries.jobs(None, None, page("job_id", True))) == ["k", "j", "Größe"]
    assert ids(queries.jobs("GRÖSSE", None, page("job_id"))) == ["Größe"]
    assert ids(queries.jobs(None, "unknown", page("job_id"))) == ["k"]
    found, total = queries.jobs(None, None, page("job_id", limit=1, offset=1))
    assert (ids((found, total)), total) == (["j"], 3)


def test_summary_counts_each_feature_and_leaves_corrupt_files_out(world: World) -> None:
    world.files("products/p/0.jpg", "products/p/0/seg.png", "products/p/0/emb.bin", "frames/s/1.jpg")
    world.corrupt("products/p/0/seg.png")
    summary = world.queries.summary("j")
    assert summary is not None
    images, frames = summary.product_images, summary.video_frames
    assert (images.total, images.segment, images.embedding, images.keypoints) == (1, 0, 1, 0)
    assert (frames.total, frames.segment) == (1, 0)


# --- videos --------------------------------------------------------------------------------------------


def test_videos_are_all_that_the_database_has_in_the_job(world: World) -> None:
    world.files("frames/v/1.jpg", "frames/stranger/1.jpg", seconds=8)
    found = world.queries.videos("j", None, None, None, page("updated_at", True), False)
    assert ids(found) == ["v", "s", "w"]
    assert found is not None
    assert found[1] == 3
    video = found[0][0]
    assert (video.platform, video.url, video.title, video.duration_s) == ("YouTube", "u", "Été", 10.0)
    assert (video.frames_count, video.updated_us) == (1, 8_000_000)
    assert (found[0][1].updated_us, found[0][1].duration_s) == (None, 3)
    assert ids(world.queries.videos("k", None, None, None, page("title"), False)) == ["s"]


def test_videos_without_a_database_are_those_with_frames(local: World) -> None:
    local.files("frames/v/1.jpg", "frames/w/1.jpg")
    local.files("frames/w/1.jpg", size=0)
    found = local.queries.videos("local", None, None, None, page("updated_at", True), False)
    assert ids(found) == ["v"]


def test_videos_are_filtered_by_title_platform_and_frames(world: World) -> None:
    world.files("frames/v/1.jpg", "frames/s/1.jpg", "frames/s/2.jpg")

    def found(q: str | None = None, platform: str | None = None, fewest: int | None = None) -> list[str]:
        result = world.queries.videos("j", q, platform, fewest, page("title"), False)
        assert result is not None
        assert result[1] == len(result[0])
        return ids(result)

    assert found(q="ÉT") == ["v"]
    assert found(q="e\u0301t") == ["v"]
    assert found(platform="youtube") == ["v"]
    assert found(platform="straße") == ["w"]
    assert found(platform="you") == []
    assert found(fewest=0) == ["w", "v", "s"]
    assert found(fewest=2) == ["s"]
    assert found(q="%") == []


@pytest.mark.parametrize(
    ("sort", "ascending", "descending"),
    [
        ("title", ["w", "v", "s"], ["v", "w", "s"]),
        ("duration_s", ["s", "v", "w"], ["v", "s", "w"]),
        ("frames_count", ["s", "w", "v"], ["v", "s", "w"]),
        ("updated_at", ["v", "s", "w"], ["v", "s", "w"]),
    ],
)
def test_videos_sort_nulls_last_and_ties_by_id(
    world: World, sort: str, ascending: list[str], descending: list[str]
) -> None:
    world.files("frames/v/1.jpg")
    assert ids(world.queries.videos("j", None, None, None, page(sort), False)) == ascending
    assert ids(world.queries.videos("j", None, None, None, page(sort, True), False)) == descending


def preview(world: World, job: str, video: str) -> tuple[str | None, str | None, str | None]:
    found = world.queries.videos(job, None, None, None, page("title"), True)
    assert found is not None
    item = next(item for item in found[0] if item.video_id == video)
    if item.preview is None:
        return item.first_image_path, None, None
    return item.first_image_path, item.preview.image_path, item.preview.segment_path


def test_the_preview_is_the_masked_frame_nearest_to_the_middle(tmp_path: Path) -> None:
    world = World(tmp_path, database=True, fps=1.0)
    world.rows(Table.JOBS, JobRow("j"))
    world.rows(Table.VIDEOS, VideoRow("v", "j", duration_s=20), VideoRow("w", "j"), VideoRow("x", "j"))
    assert preview(world, "j", "v") == (None, None, None)
    world.files(*(f"frames/{video}/{number}.jpg" for video in "vw" for number in range(8, 16)))
    assert preview(world, "j", "v") == ("frames/v/8.jpg", "frames/v/10.jpg", None)
    assert preview(world, "j", "w") == ("frames/w/8.jpg", "frames/w/11.jpg", None)
    world.files("frames/v/8/seg.png", "frames/v/15/seg.png", "frames/v/9/seg.png")
    assert preview(world, "j", "v") == ("frames/v/8.jpg", "frames/v/9.jpg", "frames/v/9/seg.png")
    world.corrupt("frames/v/9/seg.png")
    assert preview(world, "j", "v") == ("frames/v/8.jpg", "frames/v/8.jpg", "frames/v/8/seg.png")
    world.close()


@pytest.mark.parametrize(
    ("count", "masked", "expected"),
    [
        (5, "", 2),
        (6, "", 2),
        (5, "03", 3),
        (5, "04", 0),
        (5, "13", 1),
        (5, "4", 4),
        (6, "14", 1),
        (6, "13", 3),
        (6, "04", 4),
        (6, "2345", 2),
        (1, "0", 0),
    ],
)
def test_the_middle_of_a_video_without_times_is_a_matter_of_position(
    local: World, count: int, masked: str, expected: int
) -> None:
    local.files(*(f"frames/v/{number}.jpg" for number in range(count)))
    local.files(*(f"frames/v/{number}/seg.png" for number in masked))
    mask = f"frames/v/{expected}/seg.png" if masked else None
    assert preview(local, "local", "v") == ("frames/v/0.jpg", f"frames/v/{expected}.jpg", mask)


def test_frames_with_a_time_come_before_those_without_in_a_preview(world: World) -> None:
    times = {"a": None, "b": 1.0, "c": 4.0, "d": 9.0}
    world.rows(
        Table.VIDEO_FRAMES,
        *(AssetRow(FRAME, id, "w", ts, f"frames/w/{id}.jpg") for id, ts in times.items()),
    )
    world.files(*(f"frames/w/{id}.jpg" for id in times))
    assert preview(world, "j", "w") == ("frames/w/b.jpg", "frames/w/c.jpg", None)
    world.files("frames/w/a/seg.png")
    assert preview(world, "j", "w") == ("frames/w/b.jpg", "frames/w/a.jpg", "frames/w/a/seg.png")
    world.files("frames/w/d/seg.png")
    assert preview(world, "j", "w") == ("frames/w/b.jpg", "frames/w/d.jpg", "frames/w/d/seg.png")


# --- lists of assets -----------------------------------------------------------------------------------


def test_frames_are_of_a_video_of_that_job(world: World) -> None:
    world.files("frames/s/1.jpg", "frames/stranger/1.jpg")
    by_ts = page("ts")
    assert ids(world.queries.frames("j", "s", by_ts)) == ["s_frame_1"]
    assert ids(world.queries.frames("k", "s", by_ts)) == ["s_frame_1"]
    assert world.queries.frames("k", "v", by_ts) is None
    assert world.queries.frames("j", "stranger", by_ts) is None
    assert world.queries.frames("j", "v", by_ts) == ([], 0)


def test_frames_sort_by_time_with_those_without_last(world: World) -> None:
    times = {"c": 1.0, "b": 1.0, "a": None, "d": 0.5, "e": None}
    world.rows(
        Table.VIDEO_FRAMES,
        *(AssetRow(FRAME, id, "v", ts, f"frames/v/{id}.jpg") for id, ts in times.items()),
    )
    world.files(*(f"frames/v/{id}.jpg" for id in times))
    queries = world.queries
    assert ids(queries.frames("j", "v", page("ts"))) == ["d", "b", "c", "a", "e"]
    assert ids(queries.frames("j", "v", page("ts", True))) == ["b", "c", "d", "a", "e"]
    assert ids(queries.frames("j", "v", page("frame_id", True))) == ["e", "d", "c", "b", "a"]
    part = queries.frames("j", "v", page("ts", limit=2, offset=3))
    assert part is not None
    assert (ids(part), part[1]) == (["a", "e"], 5)
    assert ids(queries.video_frames("j", None, None, page("ts", True))) == ["b", "c", "d", "a", "e"]


def test_an_unlisted_asset_is_in_no_list(world: World) -> None:
    world.rows(Table.VIDEO_FRAMES, AssetRow(FRAME, "gone", "v", 1.0, "frames/v/gone.jpg"))
    world.files("frames/v/gone/seg.png")
    assert world.queries.frames("j", "v", page("ts")) == ([], 0)
    assert world.queries.asset(FRAME, "gone") is None
    assert world.queries.file("frames/v/gone/seg.png") is None


def test_images_are_found_by_title_id_and_product(world: World) -> None:
    world.files("products/p/0.jpg", "products/r/0.jpg", "products/r/ÄB.jpg", "products/stranger/0.jpg")

    def found(product: str | None = None, q: str | None = None) -> list[str]:
        result = world.queries.images("j", product, q, page("img_id"))
        assert result is not None
        assert result[1] == len(result[0])
        return ids(result)

    assert found() == ["p_img_0", "r_img_0", "r_img_ÄB"]
    assert found(q="gối cổ") == ["p_img_0"]
    assert found(q="P_IMG") == ["p_img_0"]
    assert found(q="äb") == ["r_img_ÄB"]
    assert found(q="%") == ["r_img_0", "r_img_ÄB"]
    assert found(q="a_b*") == ["r_img_0", "r_img_ÄB"]
    assert found("r") == ["r_img_0", "r_img_ÄB"]
    assert found("r", "img_0") == ["r_img_0"]
    assert found("stranger") == []
    assert found("v") == []
    item = world.queries.asset(IMAGE, "p_img_0")
    assert item is not None
    assert (item.title, item.owner_id, item.image_path) == ("GỐI CỔ", "p", "products/p/0.jpg")


def test_images_sort_by_the_time_of_the_image_and_features_by_that_of_their_files(world: World) -> None:
    world.files("products/p/0.jpg", seconds=1)
    world.files("products/p/1.jpg", "products/p/2.jpg", seconds=2)
    world.files("products/p/0/seg.png", seconds=3)
    queries = world.queries
    assert ids(queries.images("j", None, None, page("updated_at", True))) == ["p_img_1", "p_img_2", "p_img_0"]
    assert ids(queries.images("j", None, None, page("updated_at"))) == ["p_img_0", "p_img_1", "p_img_2"]
    found = queries.product_images("j", None, page("updated_at", True))
    assert ids(found) == ["p_img_0", "p_img_1", "p_img_2"]
    assert ids(queries.product_images("j", None, page("updated_at"))) == ["p_img_1", "p_img_2", "p_img_0"]
    assert found is not None
    assert (found[0][0].updated_ns, found[0][0].image_updated_ns) == (3 * SECOND, SECOND)


@pytest.mark.parametrize("video", [None, "v"])
def test_has_filters_and_totals_agree(world: World, video: str | None) -> None:
    world.files(*(f"frames/v/{number}.jpg" for number in range(4)))
    world.files("frames/v/0/seg.png", "frames/v/1/emb.bin", "frames/v/1/seg.png", "frames/v/2/kp.bin")
    expected = {
        None: "0123",
        "segment": "01",
        "embedding": "1",
        "keypoints": "2",
        "any": "012",
        "none": "3",
    }
    for has, numbers in expected.items():
        found = world.queries.video_frames("j", video, has, page("frame_id", limit=2))
        assert found is not None
        assert ids(found) == [f"v_frame_{number}" for number in numbers][:2]
        assert found[1] == len(numbers)


def test_frames_of_a_video_that_is_not_in_the_job_match_nothing(world: World) -> None:
    world.files("frames/v/1.jpg")
    assert world.queries.video_frames("k", "v", None, page("updated_at")) == ([], 0)
    assert world.queries.video_frames("j", "nowhere", "any", page("updated_at")) == ([], 0)


def test_a_corrupt_artifact_has_no_path_and_one_in_the_database_needs_none(world: World) -> None:
    row = AssetRow(FRAME, "v_frame_1", "v", None, "frames/v/1.jpg", embedding_in_db=True)
    world.rows(Table.VIDEO_FRAMES, row)
    world.files("frames/v/1.jpg", "frames/v/1/seg.png", "frames/v/1/emb.bin", "frames/v/1/kp.bin")
    world.corrupt("frames/v/1/seg.png", "frames/v/1/emb.bin")
    item = world.queries.asset(FRAME, "v_frame_1")
    assert item is not None
    assert (item.has_segment, item.has_embedding, item.has_keypoints) == (False, True, True)
    assert (item.segment_path, item.embedding_path, item.keypoints_path) == (None, None, "frames/v/1/kp.bin")


@pytest.mark.parametrize("shared_with", [3, MERGED + 4])
def test_a_job_that_shares_videos_lists_its_frames_in_one_order(world: World, shared_with: int) -> None:
    world.rows(Table.JOBS, *(JobRow(f"n{number}") for number in range(shared_with)))
    names = [f"y{number:02}" for number in range(shared_with)]
    world.rows(Table.VIDEOS, *(VideoRow(name, "j") for name in names))
    world.rows(Table.JOB_VIDEOS, *(MembershipRow(f"n{i}", name) for i, name in enumerate(names)))
    for second, name in enumerate(names):
        world.files(f"frames/{name}/a.jpg", f"frames/{name}/b.jpg", seconds=10 + second % 2)
    everything = [f"{name}_frame_{x}" for name in names for x in "ab"]
    late = [f"{name}_frame_{x}" for name in names[1::2] for x in "ab"]
    early = [f"{name}_frame_{x}" for name in names[::2] for x in "ab"]
    found = world.queries.video_frames("j", None, None, page("frame_id"))
    assert ids(found) == everything
    assert found is not None
    assert found[1] == len(everything)
    assert ids(world.queries.video_frames("j", None, "none", page("updated_at", True))) == late + early
    assert ids(world.queries.video_frames("j", None, None, page("updated_at"))) == early + late
    part = world.queries.video_frames("j", None, "none", page("updated_at", True, limit=3, offset=1))
    assert part is not None
    assert (ids(part), part[1]) == ((late + early)[1:4], len(everything))


def test_an_offset_past_the_end_gives_nothing_and_the_total(world: World) -> None:
    world.files("frames/v/1.jpg")
    last = page("updated_at", limit=5, offset=2**63 - 1)
    assert world.queries.video_frames("j", None, None, last) == ([], 1)
    assert world.queries.videos("j", None, None, None, last, True) == ([], 3)


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("sort", ["updated_at", "frame_id", "ts"])
@pytest.mark.parametrize("has", [None, "segment", "none"])
def test_pages_put_together_are_the_list_sorted_by_hand(
    world: World, sort: str, descending: bool, has: str | None
) -> None:
    frames = [(video, f"{video}{number}") for number in range(4) for video in "vws"]
    world.rows(
        Table.VIDEO_FRAMES,
        *(
            AssetRow(FRAME, id, video, [None, 2.0, 1.0, 2.0, None][place % 5], f"frames/{video}/{id}.jpg")
            for place, (video, id) in enumerate(frames)
        ),
    )
    for place, (video, id) in enumerate(frames):
        world.files(f"frames/{video}/{id}.jpg", seconds=place % 3)
    world.files(*(f"frames/{video}/{id}/seg.png" for video, id in frames[::2]), seconds=1)

    keys = {"updated_at": "updated_ns", "frame_id": "asset_id", "ts": "ts"}
    items = [world.queries.asset(FRAME, id) for _, id in frames]
    wanted = sorted(
        (item for item in items if item and has in (None, "segment" if item.has_segment else "none")),
        key=lambda item: item.asset_id,
    )
    known = [item for item in wanted if getattr(item, keys[sort]) is not None]
    known.sort(key=lambda item: getattr(item, keys[sort]), reverse=descending)
    expected = [item.asset_id for item in (*known, *(item for item in wanted if item not in known))]

    pages = [
        world.queries.video_frames("j", None, has, page(sort, descending, limit=5, offset=offset))
        for offset in (0, 5, 10)
    ]
    assert [id for found in pages for id in ids(found)] == expected
    assert {found[1] for found in pages if found} == {len(expected)}


@pytest.mark.parametrize("q", ["a", "ối", "Ô"])
def test_a_search_in_a_job_without_images_finds_nothing(world: World, q: str) -> None:
    assert world.queries.images("Größe", None, q, page("img_id")) == ([], 0)
    assert world.queries.images("j", None, q, page("updated_at", True)) == ([], 0)
    assert world.queries.gallery("j", FRAME, None, None, q, (), page("ts")) == ([], 0)


def test_an_answer_is_of_one_moment(world: World) -> None:
    world.files("frames/v/0.jpg", "products/p/0.jpg")
    added = 0

    def write_in_between(*_: object) -> bool:
        nonlocal added
        added += 1
        world.files(f"frames/v/{added}.jpg", f"products/p/{added}.jpg")
        return True

    connection = world.queries._db
    connection.exec_trace = write_in_between
    answers = [
        world.queries.video_frames("j", None, None, page("updated_at")),
        world.queries.images("j", None, None, page("img_id")),
        world.queries.images("j", None, "IMG", page("img_id")),
        world.queries.frames("j", "v", page("ts")),
    ]
    status = world.queries.status("j")
    connection.exec_trace = None
    assert added > 10
    assert [found and found[1] for found in answers] == [len(ids(found)) for found in answers]
    assert status is not None
    assert status.images == status.frames


# --- files ---------------------------------------------------------------------------------------------


def test_files_of_assets_are_known_and_no_others(world: World) -> None:
    world.rows(
        Table.VIDEO_FRAMES,
        AssetRow(FRAME, "claimed", "v", None, "frames/odd place.x", "frames/odd mask.x"),
    )
    used = [
        "frames/v/1.jpg",
        "frames/v/1/seg.png",
        "frames/odd place.x",
        "frames/odd mask.x",
        "products/p/0.jpg",
    ]
    unused = ["frames/v/2/seg.png", "frames/v/1.png", "frames/notes.txt"]
    world.files(*used, *unused)
    world.files("frames/v/1/kp.bin", size=0)
    for path in used:
        assert world.queries.file(path) is not None, path
    for path in [*unused, "frames/v/1/kp.bin", "frames/v", "", "..", "frames/v/9.jpg"]:
        assert world.queries.file(path) is None, path
    world.corrupt("frames/v/1/seg.png")
    file = world.queries.file("frames/v/1/seg.png")
    assert file is not None
    assert (file.size, file.mtime_ns) == (5, SECOND)


# --- verification, revision, plans ---------------------------------------------------------------------


def test_verification_counts_by_feature_over_a_job_and_over_everything(world: World) -> None:
    world.files("frames/v/1.jpg", "frames/v/1/seg.png", "frames/stranger/1.jpg")
    world.corrupt("frames/v/1/seg.png")
    of_job, of_all = world.queries.verification("j"), world.queries.verification(None)
    assert of_job is not None
    assert of_all is not None
    assert (of_job.assets, of_all.assets) == (1, 2)
    assert (of_job.checked[Feature.SEGMENT], of_job.checked[Feature.IMAGE]) == (1, 1)
    assert (of_all.pending[Feature.IMAGE], of_all.unchecked[Feature.IMAGE]) == (1, 0)
    assert (of_all.findings, of_all.total) == ({}, 0), "nothing has looked at it again yet"


def test_the_revision_changes_with_the_index_alone(world: World) -> None:
    before = world.queries.revision()
    world.files("frames/v/1.jpg")
    after = world.queries.revision()
    assert after != before
    world.files("frames/v/1.jpg", seconds=2)
    assert world.queries.revision() != after
    assert world.queries.revision() == world.queries.revision()


def test_searches_that_find_nothing_are_not_remembered_without_end(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the index is unchanged, nothing else would forget them."""
    monkeypatch.setattr(queries, "_SEARCHES", 4)
    monkeypatch.setattr(videolists, "_MOST_FILTERS", 4)
    monkeypatch.setattr(findingqueries, "_MOST_ASKED", 4)
    world.files("products/p/0.jpg", "frames/v/1.jpg")
    asked = world.queries
    for n in range(11):
        assert asked.images("j", None, f"nothing {n}", page("img_id")) == ([], 0)
        assert asked.videos("j", f"nothing {n}", None, None, page("title"), False) == ([], 0)
        for _ in range(2):
            assert asked.findings(FindingRequest(page("asset_id"), "j", q=f"nothing {n}")) == ([], 0)
    (videos,) = (found for _, found in asked._videos._lists.values())
    assert 0 < len(asked._found) <= 4
    assert 0 < len(videos._found) <= 4
    assert 0 < len(asked._findings._orders) <= 4


def test_another_index_can_be_followed(world: World, tmp_path: Path) -> None:
    """Nothing of the first is remembered; one that is not there changes nothing."""
    world.files("frames/v/1.jpg")
    assert ids(world.queries.frames("j", "v", page("ts"))) == ["v_frame_1"]
    with pytest.raises(apsw.CantOpenError):
        world.queries.follow(str(tmp_path / "missing.db"))
    assert ids(world.queries.frames("j", "v", page("ts"))) == ["v_frame_1"]
    (tmp_path / "other").mkdir()
    other = World(tmp_path / "other", database=True)
    other.rows(Table.JOBS, JobRow("j", None))
    world.queries.follow(other.index.path)
    assert world.queries.frames("j", "v", page("ts")) is None
    assert world.queries.revision() == other.queries.revision()
    other.close()


@pytest.mark.parametrize(
    ("source", "sort", "descending"),
    [
        (Source(IMAGE, [1]), "img_id", False),
        (Source(IMAGE, [1]), "updated_at", True),
        (Source(FRAME, [1]), "updated_at", True),
        (Source(FRAME, [1, 2, 3]), "updated_at", True),
        (Source(FRAME, owner="v"), "ts", False),
        (Source(FRAME, owner="v"), "frame_id", True),
    ],
)
def test_default_orders_are_read_from_an_index(
    world: World, source: Source, sort: str, descending: bool
) -> None:
    filters = Filter()
    filters.add("has & 1")
    sql, values = list_sql(source, order_of(sort, descending)[0], filters, keys=False)
    plan = [row[3] for row in world.index.db.execute("EXPLAIN QUERY PLAN " + sql, [*values, 20, 0])]
    searches = [step for step in plan if step.startswith("SEARCH")]
    assert searches
    assert all("COVERING INDEX" in step for step in searches), plan
    assert not [step for step in plan if "TEMP B-TREE" in step], plan
