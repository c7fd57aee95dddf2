"""The gallery's filters, and everything about one asset, out of an index that its real writer filled."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_queries import FRAME, IMAGE, SECOND, World, ids, page

from scanner.querysql import MERGED
from scanner.records import AssetRow, Check, Feature, JobRow, Kind, MembershipRow, ProductRow, VideoRow
from scanner.resolve import Outcome
from scanner.rows import Table


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Two products and a video in the job ``j``; the frames 1 to 3 of the video, and two images."""
    world = World(tmp_path, database=True)
    world.rows(Table.JOBS, JobRow("j", "collection"), JobRow("k", "collection"))
    world.rows(Table.PRODUCTS, ProductRow("p", "j", "GỐI CỔ"), ProductRow("q", "j", "Bottle"))
    world.rows(Table.VIDEOS, VideoRow("v", "j", None, None, "A Review"), VideoRow("w", "k"))
    world.files("products/p/0.jpg", "products/p/0/seg.png", "products/q/0.jpg")
    world.files("frames/v/1.jpg", "frames/v/1/emb.bin", "frames/v/2.jpg", "frames/v/3.jpg", "frames/w/1.jpg")
    yield world
    world.close()


def publish(world: World, *findings: tuple[int, str, Feature, Kind]) -> None:
    """Findings as if they had held for long."""
    with world.index.transaction():
        for type, id, feature, kind in findings:
            world.index.db.execute(
                "INSERT OR REPLACE INTO findings VALUES(?,?,?,?,1,1,NULL,'c','d',NULL,5,6,7)",
                (int(type), id, int(feature), str(kind)),
            )


def gallery(world: World, type: Any, **filters: Any) -> list[str]:
    arguments = {"owner_id": None, "has": None, "q": None, "kinds": (), **filters}
    found = world.queries.gallery("j", type, page=page("asset_id"), **arguments)
    assert found is not None
    assert found[1] == len(found[0])
    return [item.asset.asset_id for item in found[0]]


def test_a_gallery_has_the_assets_of_its_job_and_type(world: World) -> None:
    assert gallery(world, IMAGE) == ["p_img_0", "q_img_0"]
    assert gallery(world, FRAME) == ["v_frame_1", "v_frame_2", "v_frame_3"]
    assert world.queries.gallery("x", IMAGE, None, None, None, (), page("ts")) is None


def test_its_filters_can_be_combined(world: World) -> None:
    publish(
        world,
        (FRAME, "v_frame_1", Feature.IMAGE, Kind.CORRUPT),
        (FRAME, "v_frame_2", Feature.SEGMENT, Kind.STALE),
    )
    assert gallery(world, IMAGE, q="gối") == ["p_img_0"]
    assert gallery(world, IMAGE, q="Q_IMG") == ["q_img_0"]
    assert gallery(world, FRAME, q="review") == ["v_frame_1", "v_frame_2", "v_frame_3"]
    assert gallery(world, FRAME, q="bottle") == []
    assert gallery(world, IMAGE, has="segment") == ["p_img_0"]
    assert gallery(world, IMAGE, has="none", owner_id="q") == ["q_img_0"]
    assert gallery(world, IMAGE, has="none", owner_id="p") == []
    assert gallery(world, FRAME, owner_id="w") == []
    assert gallery(world, FRAME, kinds=(Kind.CORRUPT,)) == ["v_frame_1"]
    assert gallery(world, FRAME, kinds=(Kind.CORRUPT, Kind.STALE)) == ["v_frame_1", "v_frame_2"]
    assert gallery(world, FRAME, kinds=(Kind.CORRUPT, Kind.STALE), has="none") == ["v_frame_2"]
    assert gallery(world, IMAGE, kinds=(Kind.CORRUPT,)) == []


def test_a_gap_in_a_video_is_no_finding_of_a_frame(world: World) -> None:
    with world.index.transaction():
        world.index.db.execute(
            "INSERT INTO findings VALUES(1,'v_frame_1',4,'suspect',1,1,NULL,NULL,'d',NULL,5,6,7)"
        )
    assert gallery(world, FRAME, kinds=(Kind.SUSPECT,)) == []
    found = world.queries.gallery("j", FRAME, None, None, None, (), page("asset_id"))
    assert found is not None
    assert found[0][0].findings == ()


def test_items_have_their_published_findings(world: World) -> None:
    publish(
        world,
        (FRAME, "v_frame_1", Feature.EMBEDDING, Kind.STALE),
        (FRAME, "v_frame_1", Feature.IMAGE, Kind.CORRUPT),
    )
    publish(world, (IMAGE, "v_frame_1", Feature.IMAGE, Kind.EMPTY))
    world.index.db.execute("UPDATE findings SET state=0 WHERE kind='stale'")
    found = world.queries.gallery("j", FRAME, None, None, None, (), page("asset_id", limit=2))
    assert found is not None
    assert [item.findings for item in found[0]] == [((Feature.IMAGE, Kind.CORRUPT),), ()]
    assert found[1] == 3


def test_a_gallery_is_sorted_and_paged(world: World) -> None:
    found = world.queries.gallery("j", FRAME, None, None, None, (), page("asset_id", True, 2, 1))
    assert found is not None
    assert ([item.asset.asset_id for item in found[0]], found[1]) == (["v_frame_2", "v_frame_1"], 3)


@pytest.mark.parametrize("shared", [0, 2, MERGED + 1])
@pytest.mark.parametrize(("sort", "descending"), [("updated_at", True), ("asset_id", True), ("ts", False)])
def test_a_search_keeps_the_order_of_the_whole_list(
    world: World, shared: int, sort: str, descending: bool
) -> None:
    """Whatever number of other jobs share videos of this one."""
    for n in range(shared):
        world.rows(Table.JOBS, JobRow(f"x{n}", None))
        world.rows(Table.VIDEOS, VideoRow(f"s{n}", "j", None, None, "A Review" if n % 2 else "Other"))
        world.rows(Table.JOB_VIDEOS, MembershipRow(f"x{n}", f"s{n}"))
        world.files(f"frames/s{n}/1.jpg", f"frames/s{n}/2.jpg", seconds=n + 2)
    world.rows(Table.VIDEO_FRAMES, AssetRow(FRAME, "v_frame_2", "v", 1.5, None))

    def found(q: str | None, limit: int = 100, offset: int = 0) -> tuple[list[str], int]:
        asked = world.queries.gallery("j", FRAME, None, None, q, (), page(sort, descending, limit, offset))
        assert asked is not None
        return [item.asset.asset_id for item in asked[0]], asked[1]

    everything, count = found(None)
    assert count == len(everything) == 3 + 2 * shared
    reviews = [id for id in everything if id[0] == "v" or int(id[1 : id.index("_")]) % 2]
    assert found("review") == (reviews, len(reviews))
    assert found("review", 2, 1) == (reviews[1:3], len(reviews))
    assert found("frame") == (everything, count)
    assert found("S1_")[0] == [id for id in everything if id.startswith("s1_")]


def test_what_a_search_has_found_is_as_new_as_the_index(world: World) -> None:
    assert gallery(world, FRAME, q="v_frame") == ["v_frame_1", "v_frame_2", "v_frame_3"]
    world.files("frames/v/4.jpg")
    assert gallery(world, FRAME, q="v_frame")[-1] == "v_frame_4"
    assert gallery(world, IMAGE, q="v_frame") == []
    assert gallery(world, FRAME, q="v_frame", has="embedding") == ["v_frame_1"]
    assert gallery(world, FRAME, q="v_frame", owner_id="v")[-1] == "v_frame_4"
    assert gallery(world, FRAME, q="v_frame", owner_id="w") == []


def test_a_record_puts_the_claims_beside_the_files(world: World) -> None:
    world.rows(
        Table.PRODUCT_IMAGES,
        AssetRow(
            IMAGE, "p_img_0", "p", None, "/data/products/p/0.jpg", "/elsewhere/seg.png", None,
            "products/p/kp.bin", embedding_in_db=True, time_us=9_000_000,
        ),
    )  # fmt: skip
    record = world.queries.record(IMAGE, "p_img_0")
    assert record is not None
    assert (record.listed, record.recorded, record.embedding_in_db, record.row_us) == (
        True,
        True,
        True,
        9_000_000,
    )
    assert (record.owner_id, record.title, record.jobs) == ("p", "GỐI CỔ", ("j",))
    image, segment, embedding, keypoints = record.files
    assert (image.path, image.size, image.mtime_ns) == ("products/p/0.jpg", 5, SECOND)
    assert (image.claimed, image.claimed_path) == ("/data/products/p/0.jpg", "products/p/0.jpg")
    assert (segment.path, segment.claimed, segment.claimed_path) == (
        "products/p/0/seg.png",
        "/elsewhere/seg.png",
        None,
    )
    assert (embedding.path, embedding.claimed, embedding.check) == (None, None, Check.NONE)
    assert (keypoints.path, keypoints.claimed_path) == (None, "products/p/kp.bin")


def test_a_record_says_what_the_content_check_found(world: World) -> None:
    assert [file.check for file in checked(world)] == [Check.PENDING, Check.PENDING]
    world.corrupt("products/p/0/seg.png")
    assert [file.check for file in checked(world)] == [Check.OK, Check.CORRUPT]
    for outcome, check in ((Outcome.UNCHECKED, Check.UNCHECKED), (Outcome.SEGMENT_SIZE, Check.CORRUPT)):
        with world.index.transaction():
            world.index.db.execute("UPDATE files SET verdict=? WHERE name='seg.png'", (outcome,))
            world.index.assets.mark_files(["products/p/0/seg.png"])
        assert checked(world)[1].check is check


def checked(world: World) -> list[Any]:
    record = world.queries.record(IMAGE, "p_img_0")
    assert record is not None
    return list(record.files[:2])


def test_a_row_without_a_file_and_files_without_an_image_have_records(world: World) -> None:
    world.rows(Table.VIDEO_FRAMES, AssetRow(FRAME, "lost", "v", 2.5, "/data/frames/v/9.jpg"))
    lost = world.queries.record(FRAME, "lost")
    assert lost is not None
    assert (lost.listed, lost.recorded, lost.ts) == (False, True, 2.5)
    assert lost.files[0].claimed_path == "frames/v/9.jpg"
    world.files("frames/v/7/seg.png")
    orphan = world.queries.record(FRAME, "v_frame_7")
    assert orphan is not None
    assert (orphan.listed, orphan.recorded, orphan.files[1].path) == (False, False, "frames/v/7/seg.png")
    assert world.queries.record(FRAME, "nobody") is None
    assert world.queries.record(IMAGE, "lost") is None


def test_a_record_has_its_own_findings_and_no_others(world: World) -> None:
    publish(
        world,
        (FRAME, "v_frame_1", Feature.IMAGE, Kind.CORRUPT),
        (FRAME, "v_frame_10", Feature.IMAGE, Kind.EMPTY),
    )
    publish(world, (IMAGE, "v_frame_1", Feature.IMAGE, Kind.STALE))
    record = world.queries.record(FRAME, "v_frame_1")
    assert record is not None
    assert [(found.asset_id, found.kind) for found in record.findings] == [("v_frame_1", Kind.CORRUPT)]


def test_without_a_database_the_one_job_has_it(tmp_path: Path) -> None:
    world = World(tmp_path, database=False)
    try:
        world.files("products/p/0.jpg")
        record = world.queries.record(IMAGE, "p_img_0")
        assert record is not None
        assert (record.jobs, record.recorded, record.listed) == (("local",), False, True)
        found = world.queries.gallery("local", IMAGE, None, None, None, (), page("updated_at"))
        assert found is not None
        assert ids(([item.asset for item in found[0]], found[1])) == ["p_img_0"]
    finally:
        world.close()


def test_a_file_is_known_as_what_its_asset_uses_it_for(world: World) -> None:
    world.rows(
        Table.VIDEO_FRAMES, AssetRow(FRAME, "far", "v", None, "/data/frames/odd.x", "/data/frames/odd.y")
    )
    world.files("frames/odd.x", "frames/odd.y")
    expected = {
        "products/p/0.jpg": Feature.IMAGE,
        "products/p/0/seg.png": Feature.SEGMENT,
        "frames/v/1/emb.bin": Feature.EMBEDDING,
        "frames/odd.x": Feature.IMAGE,
        "frames/odd.y": Feature.SEGMENT,
    }
    for path, feature in expected.items():
        file = world.queries.file(path)
        assert file is not None, path
        assert file.feature is feature
