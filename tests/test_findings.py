"""Each kind of finding from real files and a real database, through the worker and the checks."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import apsw
import pytest
from PIL import Image

from scanner.config import Config, load_config
from scanner.framegaps import missing
from scanner.inspection import Inspection
from scanner.queries import Queries
from scanner.records import AssetType, Feature, FindingItem, FindingRequest, Kind, Page, Verification
from scanner.settling import Settling
from web.demoworld import World

DEADLINE = 30.0
ORDER = Page(1000, 0, "asset_id", descending=False)


class Site:
    """A data root and a database that agree, and the sidecar's one look at them."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.world = World(base / "data", base / "pipeline.db")
        self.world.insert("jobs", job_id="j", phase="feature_extraction")
        self.world.insert("products", product_id="p", job_id="j", title="A pillow")
        self.world.insert("videos", video_id="v", title="A review")
        self.world.insert("job_videos", job_id="j", video_id="v")
        self.environ: dict[str, str] = {}
        self.old = time.time() - 3600

    @property
    def root(self) -> Path:
        """The data root."""
        return self.world.root

    def write(self, path: str, content: bytes, age: float = 3600) -> Path:
        """A file that was written a while ago."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        os.utime(file, (time.time() - age, time.time() - age))
        return file

    def image(self, path: str, size: tuple[int, int] = (8, 6)) -> Path:
        """A picture."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, (200, 30, 30)).save(file)
        os.utime(file, (self.old, self.old))
        return file

    def mask(self, path: str, size: tuple[int, int] = (8, 6), *, plain: bool = False) -> Path:
        """A mask of two values, or of one."""
        file = self.image(path, size)
        picture = Image.new("L", size, 0)
        if not plain:
            picture.putpixel((1, 1), 255)
        picture.save(file)
        os.utime(file, (self.old, self.old))
        return file

    def product_image(self, name: str, **columns: object) -> None:
        """An image on disk with its row, ``columns`` beside."""
        path = self.image(f"products/p/{name}.png")
        values = {"img_id": f"p_img_{name}", "product_id": "p", "local_path": str(path)}
        self.world.insert("product_images", **(values | columns))

    def claim(self, name: str, **columns: object) -> None:
        """What the row of an image says from now on."""
        with closing(sqlite3.connect(self.world.path)) as connection, connection:
            for column, value in (columns | {"updated_at": datetime.now(UTC).isoformat()}).items():
                statement = f"UPDATE product_images SET {column}=? WHERE img_id=?"
                connection.execute(statement, (value, f"p_img_{name}"))

    @property
    def config(self) -> Config:
        """The sidecar's configuration."""
        variables = {"SIDECAR_DATA__ROOT": str(self.root), "SIDECAR_DATABASE__URL": self.world.url}
        return load_config(environ=variables | self.environ, cwd=str(self.base))

    @contextmanager
    def looked(self) -> Iterator[tuple[Inspection, Queries]]:
        """What one look at everything has found."""
        directory = self.base / f"index{time.monotonic_ns()}"
        directory.mkdir()
        inspection = Inspection(self.config, directory)
        inspection.start()
        try:
            drive(inspection, lambda: inspection.done)
            with closing(Queries(str(inspection.path), inspection.config)) as queries:
                yield inspection, queries
        finally:
            inspection.close()

    def findings(self) -> list[FindingItem]:
        """The findings of one look at everything."""
        with self.looked() as (_, queries):
            return published(queries)


def drive(inspection: Inspection, done: Callable[[], bool]) -> None:
    """Let it work until a condition holds."""
    end = time.monotonic() + DEADLINE
    while not done():
        assert time.monotonic() < end, f"it did not get there in time: {inspection.verifier.waiting=}"
        inspection.step()


def reach(
    inspection: Inspection, queries: Queries, expected: set[tuple[str, str, str]], job: str | None = None
) -> None:
    """Let it work until exactly these findings are published."""
    end = time.monotonic() + DEADLINE
    while not inspection.done or report(queries, job).total != len(expected):
        assert time.monotonic() < end, kinds(published(queries)) ^ expected
        inspection.step()
    assert kinds(published(queries, job)) == expected


def hurry(inspection: Inspection, done: Callable[[], bool]) -> None:
    """Publish as if hours had gone by, until a condition holds."""
    hours = 0

    def is_done() -> bool:
        nonlocal hours
        hours += 2
        inspection.verifier.publish_due(time.time_ns() // 1000 + hours * 3_600_000_000)
        return done()

    drive(inspection, is_done)


def published(queries: Queries, job: str | None = None) -> list[FindingItem]:
    """Every finding, by way of the pages and of the stream, which agree with the report."""
    page = queries.findings(FindingRequest(ORDER, job))
    assert page is not None
    items, total = page
    assert items == list(queries.all_findings(FindingRequest(ORDER, job)))
    assert total == len(items) == report(queries, job).total
    return items


def report(queries: Queries, job: str | None = None) -> Verification:
    found = queries.verification(job)
    assert found is not None
    return found


def kinds(items: list[FindingItem]) -> set[tuple[str, str, str]]:
    return {(item.asset_id, item.feature.wire, str(item.kind)) for item in items}


@pytest.fixture
def site(tmp_path: Path, one_pool: None) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.world.close()


def test_what_agrees_is_no_finding(site: Site) -> None:
    mask = site.mask("products/p/0/seg.png")
    site.product_image("0", seg_mask_path=str(mask))
    with site.looked() as (_, queries):
        assert published(queries) == []
        assert report(queries).checked[Feature.SEGMENT] == 1


def test_each_kind_is_found_and_no_other(site: Site) -> None:
    gone = str(site.root / "products/p/missing/seg.png")
    site.product_image("missing", seg_mask_path=gone)
    site.mask("products/p/misplaced/seg.png")
    site.product_image("misplaced", seg_mask_path=str(site.root / "products/p/other.bin"))
    site.mask("products/p/unrecorded/seg.png")
    site.product_image("unrecorded")
    site.image("products/p/stranger.png")
    empty = site.write("products/p/empty/seg.png", b"")
    site.product_image("empty", seg_mask_path=str(empty))
    corrupt = site.write("products/p/corrupt/seg.png", b"junk")
    site.product_image("corrupt", seg_mask_path=str(corrupt))
    stale = site.mask("products/p/stale/seg.png")
    os.utime(stale, (site.old - 60, site.old - 60))
    site.product_image("stale", seg_mask_path=str(stale))
    site.mask("products/p/orphan/seg.png")
    site.product_image("outside", seg_mask_path="/elsewhere/seg.png")
    site.product_image("double")
    site.image("products/p/double.jpg")
    single = site.mask("products/p/single/seg.png", plain=True)
    site.product_image("single", seg_mask_path=str(single))
    found = site.findings()
    assert kinds(found) == {
        ("p_img_missing", "segment", "missing"),
        ("p_img_misplaced", "segment", "misplaced"),
        ("p_img_unrecorded", "segment", "unrecorded"),
        ("p_img_stranger", "image", "unrecorded"),
        ("p_img_empty", "segment", "empty"),
        ("p_img_corrupt", "segment", "corrupt"),
        ("p_img_stale", "segment", "stale"),
        ("p_img_orphan", "segment", "orphan"),
        ("p_img_outside", "segment", "outside"),
        ("p_img_double", "image", "duplicate"),
        ("p_img_single", "segment", "suspect"),
    }
    by_id = {item.asset_id: item for item in found}
    assert by_id["p_img_missing"].claimed_path == gone
    assert by_id["p_img_missing"].path is None
    assert by_id["p_img_missing"].job_id == "j"
    assert "picture" in by_id["p_img_corrupt"].detail
    assert by_id["p_img_misplaced"].path == "products/p/misplaced/seg.png"


def test_a_mask_that_two_rows_claim_is_held_against_the_image_of_each(site: Site) -> None:
    shared = str(site.mask("products/p/shared.png"))
    site.product_image("fits", seg_mask_path=shared)
    site.product_image("larger", seg_mask_path=shared)
    site.image("products/p/larger.png", (16, 12))
    suspects = {("p_img_fits", "segment", "suspect"), ("p_img_larger", "segment", "suspect")}
    wrong = {("p_img_larger", "segment", "corrupt")}
    with site.looked() as (inspection, queries):
        inspection.worker.looker.settling = Settling(0.0)
        found = published(queries)
        assert kinds(found) == suspects | wrong
        assert {item.detail for item in found if item.kind is Kind.CORRUPT} == {"mask is 8x6, image is 16x12"}
        summary = queries.summary("j")
        assert summary is not None
        assert summary.product_images.segment == 1
        site.image("products/p/larger.png")
        inspection.worker.dirty.mark("products/p", "larger.png")
        reach(inspection, queries, suspects)
        site.image("products/p/fits.png", (16, 12))
        inspection.worker.dirty.mark("products/p", "fits.png")
        wrong = {("p_img_fits", "segment", "corrupt")}
        reach(inspection, queries, suspects | wrong)


def test_a_file_is_judged_anew_when_another_row_claims_it_too(site: Site) -> None:
    """A mask that has been found good for one image says nothing of another one."""
    mask = str(site.mask("products/p/first/seg.png"))
    site.product_image("first", seg_mask_path=mask)
    site.product_image("second")
    site.image("products/p/second.png", (16, 12))
    with site.looked() as (inspection, queries):
        assert published(queries) == []
        site.claim("second", seg_mask_path=mask)
        drive(inspection, lambda: report(queries).total == 3 and inspection.done)
        assert kinds(published(queries)) == {
            ("p_img_first", "segment", "suspect"),
            ("p_img_second", "segment", "suspect"),
            ("p_img_second", "segment", "corrupt"),
        }


def test_a_file_that_is_claimed_as_two_features_is_judged_as_each(site: Site) -> None:
    mask = str(site.mask("products/p/0/seg.png"))
    site.product_image("0", seg_mask_path=mask)
    site.product_image("1", kp_blob_path=mask)
    assert kinds(site.findings()) == {
        ("p_img_0", "segment", "suspect"),
        ("p_img_1", "keypoints", "suspect"),
        ("p_img_1", "keypoints", "corrupt"),
    }


def test_an_artifact_whose_image_has_another_id_by_its_row_is_no_orphan(site: Site) -> None:
    """Its image is on disk; to remove the artifact as an orphan would be a mistake."""
    (site.base / "config.toml").write_text('[layout.products]\nsegment = ["masks/{id}.png"]\n')
    row = {"product_id": "p", "local_path": str(site.image("products/p/0.png"))}
    site.mask("masks/p_img_0.png")
    site.mask("masks/p_img_1.png")
    site.world.insert("product_images", img_id="own", **row)
    with site.looked() as (inspection, queries):
        orphans = {("p_img_1", "segment", "orphan")}
        assert kinds(published(queries)) == orphans
        (site.root / "products/p/0.png").unlink()
        inspection.worker.dirty.mark("products/p", "0.png")
        missing = {("own", "image", "missing"), ("p_img_0", "segment", "orphan")}
        reach(inspection, queries, orphans | missing)
        site.image("products/p/0.png")
        inspection.worker.looker.settling = Settling(0.0)
        inspection.worker.dirty.mark("products/p", "0.png")
        reach(inspection, queries, orphans)


def test_what_was_not_the_assets_own_is_an_orphan_once_its_image_is_gone(site: Site) -> None:
    """A row that gives an asset an image elsewhere takes the place of the one that the artifact is for."""
    row = {"product_id": "p", "local_path": str(site.image("products/q/9.png"))}
    site.world.insert("product_images", img_id="p_img_0", **row)
    site.mask("products/p/0/seg.png")
    with site.looked() as (inspection, queries):
        assert published(queries) == []
        with closing(sqlite3.connect(site.world.path)) as connection, connection:
            connection.execute("DELETE FROM product_images")
        rest = {("q_img_9", "image", "unrecorded"), ("p_img_0", "segment", "orphan")}
        reach(inspection, queries, rest)


def test_what_a_row_looked_for_before_its_image_was_found_is_no_longer_its_own(site: Site) -> None:
    """The row names an image that is not there, beside artifacts that are; its id finds it another one."""
    gone = str(site.root / "products/q/9.png")
    site.world.insert("product_images", img_id="p_img_0", product_id="p", local_path=gone)
    site.mask("products/q/9/seg.png")
    with site.looked() as (inspection, queries):
        inspection.worker.looker.settling = Settling(0.0)
        assert kinds(published(queries)) == {
            ("p_img_0", "image", "missing"),
            ("p_img_0", "segment", "orphan"),
            ("p_img_0", "segment", "unrecorded"),
        }
        site.image("products/p/0.png")
        inspection.worker.dirty.mark("products", "p")
        rest = {("p_img_0", "image", "misplaced"), ("q_img_9", "segment", "orphan")}
        reach(inspection, queries, rest)


def test_an_artifact_that_an_image_has_is_no_orphan_of_another_row(site: Site) -> None:
    """A row whose image is gone may claim what is another one's: that one would be harmed."""
    site.product_image("0")
    mask = str(site.mask("products/p/0/seg.png"))
    site.claim("0", seg_mask_path=mask)
    gone = {"product_id": "p", "local_path": str(site.root / "products/p/gone.png"), "seg_mask_path": mask}
    site.world.insert("product_images", img_id="gone", **gone)
    rest = {("gone", "image", "missing"), ("gone", "segment", "suspect")}
    with site.looked() as (inspection, queries):
        assert kinds(published(queries)) == rest | {("p_img_0", "segment", "suspect")}
        (site.root / "products/p/0.png").unlink()
        inspection.worker.dirty.mark("products/p", "0.png")
        drive(inspection, lambda: report(queries).total == 6 and inspection.done)
        assert {found for found in kinds(published(queries)) if found[2] == "orphan"} == {
            ("p_img_0", "segment", "orphan"),
            ("gone", "segment", "orphan"),
        }


def test_identical_embeddings_of_four_images_are_suspect(site: Site) -> None:
    for count in (3, 4):
        for place in range(count):
            file = site.write(f"products/p/{count}{place}/emb.bin", bytes([0, 0, count, 63]) * 512)
            site.product_image(f"{count}{place}", emb_rgb=str(file))
    assert kinds(site.findings()) == {(f"p_img_4{place}", "embedding", "suspect") for place in range(4)}


def test_a_number_that_is_missing_among_frames_is_told_of_the_video(site: Site) -> None:
    for number in (1, 2, 3, 5, 6):
        path = site.image(f"frames/v/{number:06}.jpg")
        site.world.insert("video_frames", frame_id=f"v_frame_{number:06}", video_id="v", local_path=str(path))
    (found,) = site.findings()
    assert (found.asset_id, found.type, found.feature, found.kind) == (
        "v", AssetType.VIDEO_FRAME, Feature.IMAGE, Kind.SUSPECT,
    )  # fmt: skip
    assert (found.job_id, "4 to 4" in found.detail) == ("j", True)


def test_steps_as_large_as_most_are_no_gap() -> None:
    assert missing([]) is None
    assert missing([7]) is None
    assert missing([0, 5, 10, 15]) is None
    assert missing([0, 5, 6, 10, 15]) is None
    assert "20 to 25" in (missing([0, 5, 10, 15, 30]) or "")
    assert "between 10 and 17" in (missing([0, 5, 10, 17]) or "")


def test_a_frame_that_goes_to_another_video_leaves_a_gap_in_the_first(site: Site) -> None:
    for number in range(1, 7):
        path = site.image(f"frames/v/{number:06}.jpg")
        row = {"frame_id": f"v_frame_{number:06}", "video_id": "v", "local_path": str(path)}
        site.world.insert("video_frames", **row)
    site.world.insert("videos", video_id="w", title="Another")
    with site.looked() as (inspection, queries):
        assert published(queries) == []
        with closing(sqlite3.connect(site.world.path)) as connection, connection:
            connection.execute(
                "UPDATE video_frames SET video_id='w', updated_at=? WHERE frame_id='v_frame_000004'",
                (datetime.now(UTC).isoformat(),),
            )
        reach(inspection, queries, {("v", "image", "suspect")})


def test_a_prefix_that_is_not_mounted_is_one_problem(site: Site) -> None:
    for number in range(25):
        site.product_image(f"{number}", seg_mask_path=f"/app/media/products/p/{number}/seg.png")
    site.product_image("gone", kp_blob_path=str(site.root / "products/p/gone/kp.bin"))
    with site.looked() as (inspection, queries):
        assert kinds(published(queries)) == {("p_img_gone", "keypoints", "missing")}
        assert report(queries).withheld == report(queries, "j").withheld == 25
        (problem,) = inspection.verifier.problems
        assert f'"/app/media" = "{site.root}"' in problem
        assert problem in inspection.reporter.snapshot(None)["problems"]


def test_a_root_that_is_away_is_no_wrong_prefix(site: Site) -> None:
    """Its claims all begin with the data root, to which no entry of ``path_map`` leads."""
    for number in range(25):
        site.product_image(f"{number}", seg_mask_path=str(site.root / f"products/p/{number}/seg.png"))
    os.rename(site.root / "products", site.base / "away")
    with site.looked() as (inspection, queries):
        assert published(queries) == []
        assert inspection.verifier.problems == []
        assert report(queries).withheld == 0
        assert inspection.verifier.waiting == 50
        (fault,) = inspection.faults
        assert f"root {site.root}/products is not there" in fault


def test_a_prefix_that_several_columns_have_is_still_one_problem(site: Site) -> None:
    for number in range(25):
        claims = {"seg_mask_path": "seg.png", "kp_blob_path": "kp.bin"}
        paths = {column: f"/app/media/products/p/{number}/{file}" for column, file in claims.items()}
        site.product_image(f"{number}", **paths)
    with site.looked() as (inspection, queries):
        assert report(queries).withheld == 50
        (problem,) = inspection.verifier.problems
        assert problem == (
            "50 of 50 claimed paths of product_image segment, product_image keypoints begin with /app/media,"
            f' which is not mounted here: add "/app/media" = "{site.root}" to [database.path_map]'
        )


def test_a_problem_that_is_none_any_more_gives_its_findings_back(site: Site) -> None:
    for number in range(25):
        site.product_image(f"{number}", seg_mask_path=f"/app/media/products/p/{number}/seg.png")
    with site.looked() as (inspection, queries):
        assert (report(queries).total, report(queries).withheld) == (0, 25)
        for number in range(6):
            site.claim(f"{number}", seg_mask_path=None)
        drive(inspection, lambda: report(queries).total == 19 and inspection.done)
        assert report(queries).withheld == 0
        assert inspection.verifier.problems == []
        site.claim("0", seg_mask_path="/app/media/products/p/0/seg.png")
        drive(inspection, lambda: report(queries).withheld == 20 and inspection.done)
        assert published(queries) == []


def test_nineteen_claims_with_a_strange_prefix_are_findings(site: Site) -> None:
    for number in range(19):
        site.product_image(f"{number}", seg_mask_path=f"/app/media/products/p/{number}/seg.png")
    with site.looked() as (inspection, queries):
        assert len(published(queries)) == 19
        assert inspection.verifier.problems == []


def embeddings(site: Site, values: int) -> None:
    """Embeddings of this many float32 values each, more than are single faults."""
    for number in range(101):
        file = site.write(f"products/p/{number}/emb.bin", bytes([number, 1, 1, 63]) * values)
        site.product_image(f"{number}", emb_rgb=str(file))


def test_an_expectation_that_most_files_fail_is_one_problem(site: Site) -> None:
    embeddings(site, 300)
    with site.looked() as (inspection, queries):
        assert published(queries) == []
        assert report(queries).withheld == 101
        (problem,) = inspection.verifier.problems
        assert "verify.embedding.dim" in problem
        summary = queries.summary("j")
        assert summary is not None
        assert summary.product_images.embedding == 101


def test_twice_as_many_bytes_name_the_length_and_the_type(site: Site) -> None:
    embeddings(site, 1024)
    with site.looked() as (inspection, queries):
        assert published(queries) == []
        (line,) = inspection.verifier.problems
        assert "verify.embedding.dtype" in line
        assert "verify.embedding.dim" in line


def test_a_finding_goes_with_its_cause_and_waits_for_its_time(site: Site) -> None:
    """The same index goes on: what is mended is gone at once, what is new waits for the grace period."""
    path = str(site.root / "products/p/0/seg.png")
    site.product_image("0", seg_mask_path=path)
    with site.looked() as (inspection, queries):
        inspection.worker.looker.settling = Settling(0.0)
        (found,) = published(queries)
        assert found.kind is Kind.MISSING
        site.mask("products/p/0/seg.png")
        inspection.worker.dirty.mark("products/p", "0")
        drive(inspection, lambda: report(queries).total == 0 and inspection.done)
        shutil.rmtree(site.root / "products/p/0")
        inspection.verifier._at_once = False
        inspection.index.findings._grace_us = 3_600_000_000
        inspection.worker.dirty.mark("products/p", "0")
        drive(inspection, lambda: inspection.verifier.waiting == 1 and not inspection.worker.pending)
        assert published(queries) == []
        inspection.verifier.publish_due(time.time_ns() // 1000)
        assert published(queries) == [], "it has not held for the grace period"
        hurry(inspection, lambda: report(queries).total == 1)
        assert kinds(published(queries)) == {("p_img_0", "segment", "missing")}


def test_what_was_mended_unseen_is_found_by_the_second_look(site: Site) -> None:
    path = str(site.root / "products/p/0/seg.png")
    site.product_image("0", seg_mask_path=path)
    site.mask("products/p/0/seg.png")
    with site.looked() as (inspection, queries):
        inspection.verifier._at_once = False
        inspection.worker.looker.settling = Settling(0.0)
        inspection.index.findings._grace_us = 3_600_000_000
        (site.root / "products/p/0/seg.png").unlink()
        inspection.worker.dirty.mark("products/p/0", "seg.png")
        drive(inspection, lambda: inspection.verifier.waiting == 1 and not inspection.worker.pending)
        site.mask("products/p/0/seg.png")
        hurry(inspection, lambda: inspection.verifier.waiting == 0)
        assert published(queries) == []


@pytest.mark.parametrize("row", [True, False])
def test_an_image_that_came_unseen_is_found_before_its_artifact_is_called_an_orphan(
    site: Site, row: bool
) -> None:
    """By what the row says of it, and where the pattern looks for an image of that id."""
    orphan = ("p_img_0", "segment", "orphan")
    if row:
        claims = {"local_path": "products/p/elsewhere.png", "seg_mask_path": "products/p/0/seg.png"}
        site.product_image("0", **{column: str(site.root / path) for column, path in claims.items()})
        (site.root / "products/p/0.png").unlink()
    with site.looked() as (inspection, queries):
        inspection.verifier._at_once = False
        inspection.worker.looker.settling = Settling(0.0)
        inspection.index.findings._grace_us = 3_600_000_000
        for came in (False, True):
            site.mask("products/p/0/seg.png")
            inspection.worker.dirty.mark("products/p", "0")
            drive(inspection, lambda: inspection.verifier.waiting == 1 and not inspection.worker.pending)
            if came:
                site.image("products/p/elsewhere.png" if row else "products/p/0.png")
            hurry(inspection, lambda: inspection.verifier.waiting == 0)
            assert (orphan in kinds(published(queries))) is not came
            shutil.rmtree(site.root / "products/p/0")
            inspection.worker.dirty.mark("products/p", "0")
            drive(inspection, lambda: not inspection.worker.pending)


def test_findings_below_a_root_that_is_gone_stay_as_they_were(site: Site) -> None:
    site.product_image("0", seg_mask_path=str(site.root / "products/p/0/seg.png"))
    with site.looked() as (inspection, queries):
        before = published(queries)
        os.rename(site.root / "products", site.base / "away")
        drive(inspection, lambda: bool(inspection.worker.roots.unavailable()))
        inspection.worker.begin_pass()
        drive(inspection, lambda: not inspection.worker.pending)
        assert kinds(published(queries)) == kinds(before)
        assert inspection.faults


def test_a_pass_that_sees_everything_confirms_what_is_published(site: Site) -> None:
    site.product_image("0", seg_mask_path=str(site.root / "products/p/0/seg.png"))
    with site.looked() as (inspection, queries):

        def after_a_pass() -> FindingItem:
            last = report(queries).last_pass_us
            inspection.worker.begin_pass()
            drive(inspection, lambda: report(queries).last_pass_us != last and inspection.done)
            (found,) = published(queries)
            return found

        (first,) = published(queries)
        again = after_a_pass()
        assert again.seen_us > first.seen_us
        assert replace(again, seen_us=first.seen_us) == first
        assert again.seen_us == report(queries).last_pass_us
        inspection.worker.unreadable["frames/w"] = errno.EACCES
        assert after_a_pass().seen_us == again.seen_us, "not everything could be read"
        inspection.worker.unreadable.clear()
        assert after_a_pass().seen_us > again.seen_us


def test_nothing_is_claimed_missing_where_the_database_was_never_read(site: Site) -> None:
    site.product_image("0")
    site.environ["SIDECAR_DATABASE__URL"] = f"sqlite:///{site.base}/nowhere.db"
    with site.looked() as (inspection, queries):
        assert published(queries) == []
        assert inspection.faults


def test_findings_are_filtered_sorted_and_paged(site: Site) -> None:
    for name in ("a", "b", "c"):
        site.write(f"products/p/{name}/seg.png", b"junk")
        site.product_image(name, seg_mask_path=str(site.root / f"products/p/{name}/seg.png"))
    site.product_image("d", kp_blob_path="/elsewhere/kp.bin")
    with site.looked() as (_, queries):

        def ids(page: Page, **given: object) -> tuple[list[str], int]:
            asked = FindingRequest(page, "j", **given)  # type: ignore[arg-type]
            found = queries.findings(asked)
            assert found is not None
            streamed = queries.all_findings(asked)
            everything = [item.asset_id[-1] for item in streamed]
            names = [item.asset_id[-1] for item in found[0]]
            assert everything[page.offset : page.offset + page.limit] == names
            return names, found[1]

        assert ids(ORDER) == (["a", "b", "c", "d"], 4)
        assert ids(replace(ORDER, descending=True)) == (["d", "c", "b", "a"], 4)
        assert ids(replace(ORDER, limit=2, offset=1)) == (["b", "c"], 4)
        assert ids(replace(ORDER, sort_by="path", descending=True)) == (["c", "b", "a", "d"], 4)
        assert ids(replace(ORDER, sort_by="kind", descending=True)) == (["d", "a", "b", "c"], 4)
        assert ids(ORDER, kinds=(Kind.OUTSIDE,)) == (["d"], 1)
        assert ids(ORDER, features=(Feature.SEGMENT,)) == (["a", "b", "c"], 3)
        assert ids(ORDER, asset_type=AssetType.VIDEO_FRAME) == ([], 0)
        assert ids(ORDER, q="P/B/SEG") == (["b"], 1)
        assert ids(ORDER, q="img_d") == (["d"], 1)


# --- where there is no room -----------------------------------------------------------------------------


def test_what_could_not_be_noted_for_want_of_room_is_noted_later(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A column that has come or gone, and a pass that has ended: else either would be known to nobody."""
    with site.looked() as (inspection, _):
        index, worker, verifier = inspection.index, inspection.worker, inspection.verifier
        write, full = index.set_meta, [True]

        def set_meta(key: str, value: int | str) -> None:
            if full[0]:
                raise apsw.FullError("no room")
            write(key, value)

        monkeypatch.setattr(index, "set_meta", set_meta)
        for lost, change in (
            (index.recorded, lambda: index.assets.recorded.update({AssetType.VIDEO_FRAME: frozenset()})),
            (lambda: index.meta("last_pass"), lambda: setattr(worker, "last_pass_ns", 7_000)),
        ):
            before, full[0] = lost(), True
            change()
            verifier._at = 0.0
            verifier.step()
            assert (worker.full, lost()) == ("no room", before)
            worker.full, full[0], verifier._at = None, False, 0.0
            verifier.step()
            assert worker.full is None
            assert lost() != before
        assert index.recorded() == index.assets.recorded
        assert index.meta("last_pass") == 7
