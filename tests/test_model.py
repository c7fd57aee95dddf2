"""The model that judges the product, held to examples that were worked out by hand."""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from model import Failure, Model, Unsettled, rows_of_sqlite
from model_content import Content
from model_diff import differences
from worlds import (
    LAYOUTS,
    Gardener,
    baseline,
    build_files,
    make_world,
    open_store,
    random_query,
    url_of,
    worlds,
)

MOMENT = 1_755_933_900  # 2025-08-23T14:25:00+07:00


def lay(root: Path, files: Mapping[str, int | bytes], seconds: int = MOMENT) -> Path:
    """Files of a size or with bytes below ``root``, all modified at the same time."""
    root.mkdir(exist_ok=True)
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else b"x" * content)
        os.utime(path, (seconds, seconds))
    return root


def tables(**given_tables: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """A database with one job, one product and one video unless others are given."""
    return {
        "jobs": [{"job_id": "j", "phase": "feature_extraction"}],
        "products": [{"product_id": "p", "job_id": "j", "title": "Pillow"}],
        "videos": [{"video_id": "v", "job_id": "j", "title": "Clip"}],
        "product_images": [],
        "video_frames": [],
        **given_tables,
    }


def frame(ident: str, path: str | None, **more: Any) -> dict[str, Any]:
    claims = {"seg_mask_path": None, "emb_rgb": None, "kp_blob_path": None}
    return {"frame_id": ident, "video_id": "v", "ts": 1.0, "local_path": path, **claims, **more}


def image(ident: str, path: str | None, **more: Any) -> dict[str, Any]:
    claims = {"seg_mask_path": None, "emb_rgb": None, "kp_blob_path": None}
    return {"img_id": ident, "product_id": "p", "local_path": path, **claims, **more}


def ids(body: Any) -> list[str]:
    return [item.get("frame_id") or item.get("img_id") or item.get("video_id") for item in body["items"]]


def kinds(model: Model) -> set[tuple[str, str, str]]:
    return {(f.asset_id, f.feature, f.kind) for f in model.findings() if f.sure}


# --- the figures of the endpoint specification ------------------------------------------------------


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """34 videos with 2,400 frames and 120 products with 600 images, artifacts for the first so many."""
    root = tmp_path_factory.mktemp("example") / "data"
    files: dict[str, int | bytes] = {}
    frames = [(f"v{number % 34:02}", f"{number // 34:06}") for number in range(2400)]
    images = [(f"p{number % 120:03}", str(number // 120)) for number in range(600)]
    for tree, assets, done in (("frames", frames, (900, 1320, 1180)), ("products", images, (380, 410, 395))):
        for number, (owner, name) in enumerate(assets):
            files[f"{tree}/{owner}/{name}.jpg"] = 1
            for artifact, most in zip(("seg.png", "emb.bin", "kp.bin"), done, strict=True):
                if number < most:
                    files[f"{tree}/{owner}/{name}/{artifact}"] = 1
    rows = tables(
        jobs=[{"job_id": "j_123", "phase": "feature_extraction", "percent": 62.5}],
        products=[{"product_id": f"p{number:03}", "job_id": "j_123"} for number in range(120)],
        videos=[{"video_id": f"v{number:02}", "job_id": "j_123"} for number in range(34)],
    )
    return Model({"data": {"root": "/data"}}, rows, lay(root, files))


def test_the_status_example_comes_out_key_for_key(example: Model) -> None:
    body = example.status("j_123")
    assert body == {
        "job_id": "j_123",
        "phase": "feature_extraction",
        "percent": 62.5,
        "counts": {"products": 120, "videos": 34, "images": 600, "frames": 2400},
        "updated_at": "2025-08-23T14:25:00+07:00",
    }


def test_the_summary_example_comes_out_key_for_key(example: Model) -> None:
    assert example.summary("j_123") == {
        "job_id": "j_123",
        "product_images": {
            "total": 600,
            "segment": {"done": 380, "percent": 63.33},
            "embedding": {"done": 410, "percent": 68.33},
            "keypoints": {"done": 395, "percent": 65.83},
        },
        "video_frames": {
            "total": 2400,
            "segment": {"done": 900, "percent": 37.5},
            "embedding": {"done": 1320, "percent": 55.0},
            "keypoints": {"done": 1180, "percent": 49.17},
        },
        "updated_at": "2025-08-23T14:25:00+07:00",
    }


def test_the_totals_and_the_default_page_are_those_of_the_example(example: Model) -> None:
    totals = {"videos": 34, "images": 600, "product_images": 600, "video_frames": 2400}
    for endpoint, total in totals.items():
        body = example.answer(endpoint, ("j_123",))
        assert (body["total"], body["limit"], body["offset"], len(body["items"])) == (total, 20, 0, 20)


# --- files and assets -------------------------------------------------------------------------------


def test_a_file_of_size_zero_is_not_listed_and_is_empty(tmp_path: Path) -> None:
    model = Model({}, None, lay(tmp_path / "d", {"frames/v/1.jpg": 0, "frames/v/2.jpg": 1}))
    assert ids(model.frames("local", "v")) == ["v_frame_2"]
    assert kinds(model) == {("v_frame_1", "image", "empty")}


def test_the_id_is_that_of_the_row_that_names_the_file(tmp_path: Path) -> None:
    root = lay(tmp_path / "d", {"frames/v/1.jpg": 1, "frames/v/2.jpg": 1})
    model = Model({}, tables(video_frames=[frame("x", "frames/v/1.jpg")]), root)
    assert ids(model.frames("j", "v")) == ["x", "v_frame_2"]


def test_a_row_whose_file_is_gone_owns_what_its_id_finds(tmp_path: Path) -> None:
    root = lay(tmp_path / "d", {"frames/v/1.jpg": 1})
    model = Model({}, tables(video_frames=[frame("v_frame_1", "old/1.jpg", ts=7.0)]), root)
    assert model.frames("j", "v")["items"][0]["ts"] == 7.0
    assert ("v_frame_1", "image", "misplaced") in kinds(model)


def test_of_two_rows_that_name_one_file_the_lower_id_owns_it(tmp_path: Path) -> None:
    root = lay(tmp_path / "d", {"frames/v/1.jpg": 1, "frames/v/2.jpg": 1})
    rows = [frame("v_frame_2", "frames/v/1.jpg", ts=2.0), frame("a", "frames/v/1.jpg")]
    model = Model({}, tables(video_frames=rows), root)
    assert ids(model.frames("j", "v")) == ["a", "v_frame_2"]
    assert model.video_frame("v_frame_2")["ts"] == 2.0
    assert {("a", "image", "suspect"), ("v_frame_2", "image", "suspect")} <= kinds(model)


def test_of_several_files_for_one_id_the_named_one_wins_then_extension_order(tmp_path: Path) -> None:
    root = lay(tmp_path / "d", {"frames/v/1.png": 1, "frames/v/1.JPG": 1, "frames/v/1.jpeg": 1})
    unnamed = Model({}, None, root)
    assert unnamed.frames("local", "v")["items"][0]["local_path"].endswith("1.JPG")
    assert ("v_frame_1", "image", "duplicate") in kinds(unnamed)
    named = Model({}, tables(video_frames=[frame("v_frame_1", "frames/v/1.png")]), root)
    assert ids(named.frames("j", "v")) == ["v_frame_1"]
    assert named.frames("j", "v")["items"][0]["local_path"].endswith("1.png")


def test_images_and_masks_lie_side_by_side(tmp_path: Path) -> None:
    root = lay(tmp_path / "d", {"frames/v/1.jpg": 1, "frames/v/1_mask.png": 1, "frames/v/2_mask.png": 1})
    layout = {"frames": {"segment": ["frames/{video_id}/{frame}_mask.png"]}}
    model = Model({"layout": layout}, None, root)
    assert ids(model.frames("local", "v")) == ["v_frame_1"]
    assert model.video_frame("v_frame_1")["has_segment"] is True
    assert ("v_frame_2", "segment", "orphan") in kinds(model)


def test_a_file_claimed_only_as_an_artifact_is_no_image(tmp_path: Path) -> None:
    root = lay(tmp_path / "d", {"frames/v/1.jpg": 1, "frames/v/m.png": 1})
    model = Model(
        {}, tables(video_frames=[frame("a", "frames/v/1.jpg", seg_mask_path="frames/v/m.png")]), root
    )
    assert ids(model.frames("j", "v")) == ["a"]
    assert model.video_frame("a")["paths"]["segment"].endswith("/frames/v/m.png")


def test_a_named_image_is_an_asset_where_no_pattern_matches_it(tmp_path: Path) -> None:
    root = lay(tmp_path / "d", {"other/deep/x.bmp": 1})
    model = Model({}, tables(product_images=[image("a", "other/deep/x.bmp")]), root)
    assert ids(model.images("j")) == ["a"]


def test_ignored_names_and_links_out_of_the_root_are_not_there(tmp_path: Path) -> None:
    root = lay(tmp_path / "d", {"frames/v/.1.jpg": 1, "frames/v/1.jpg.tmp": 1, "frames/.x/1.jpg": 1})
    lay(tmp_path / "out", {"1.jpg": 1})
    (root / "frames/v/2.jpg").symlink_to(tmp_path / "out/1.jpg")
    (root / "frames/w").symlink_to(tmp_path / "out")
    lay(root, {"frames/v/3.jpg": 1})
    (root / "frames/v/4.jpg").symlink_to(root / "frames/v/3.jpg")
    assert ids(Model({}, None, root).video_frames("local")) == ["v_frame_3", "v_frame_4"]


def test_names_that_are_not_utf8_are_skipped(tmp_path: Path) -> None:
    root = lay(tmp_path / "d", {"frames/v/1.jpg": 1})
    with open(os.fsencode(root) + b"/frames/v/\xff.jpg", "wb") as stream:
        stream.write(b"x")
    assert ids(Model({}, None, root).video_frames("local")) == ["v_frame_1"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("frames/v/1.jpg", True),
        ("@/frames/v/1.jpg", True),
        ("/app/data/frames/v/1.jpg", True),
        ("/app/data/x/../frames//v/1.jpg", True),
        ("/app/database/frames/v/1.jpg", False),
        ("/app/other/frames/v/1.jpg", False),
        ("", False),
    ],
)
def test_claims_are_mapped_by_whole_components_then_read_lexically(
    tmp_path: Path, text: str, found: bool
) -> None:
    root = lay(tmp_path / "d", {"frames/v/1.jpg": 1})
    mapped = {"database": {"path_map": {"/app": "/nowhere", "/app/data": str(root)}}}
    model = Model(mapped, tables(video_frames=[frame("a", text.replace("@", str(root)))]), root)
    assert ids(model.video_frames("j")) == (["a"] if found else ["v_frame_1"])


def test_an_artifact_is_the_claimed_file_else_the_first_that_a_pattern_finds(tmp_path: Path) -> None:
    root = lay(tmp_path / "d", {"frames/v/1.jpg": 1, "m/a.png": 1, "frames/v/1/seg.png": 1, "x/own.png": 1})
    layout = {"frames": {"segment": ["m/{id}.png", "frames/{video_id}/{frame}/seg.png"]}}
    for claim, file in (("x/own.png", "x/own.png"), ("x/gone.png", "m/a.png"), (None, "m/a.png")):
        rows = tables(video_frames=[frame("a", "frames/v/1.jpg", seg_mask_path=claim)])
        assert Model({"layout": layout}, rows, root).video_frame("a")["paths"]["segment"] == f"{root}/{file}"


def test_a_vector_in_the_database_is_an_embedding_without_a_file(tmp_path: Path) -> None:
    root = lay(tmp_path / "d", {"frames/v/1.jpg": 1})
    model = Model({}, tables(video_frames=[frame("a", "frames/v/1.jpg", emb_rgb=b"\0\0")]), root)
    assert model.video_frame("a")["has_embedding"] is True
    assert model.video_frame("a")["paths"]["embedding"] is None


def test_paths_are_below_the_root_as_configured(tmp_path: Path) -> None:
    root = lay(tmp_path / "d", {"frames/v/1.jpg": 1})
    model = Model({"data": {"root": "/data/"}}, None, root)
    assert model.frames("local", "v")["items"][0]["local_path"] == "/data/frames/v/1.jpg"


# --- jobs -------------------------------------------------------------------------------------------


def test_a_video_is_in_the_jobs_that_the_joining_table_says(tmp_path: Path) -> None:
    root = lay(tmp_path / "d", {"frames/v/1.jpg": 1})
    pairs = [{"job_id": "k", "video_id": "v"}, {"job_id": "l", "video_id": "v"}]
    jobs = [{"job_id": job, "phase": None} for job in "jkl"]
    model = Model({}, tables(jobs=jobs, job_videos=pairs), root)
    assert [model.status(job)["counts"]["frames"] for job in "jkl"] == [0, 1, 1]
    assert model.frames("j", "v") == Failure(404)


def test_what_belongs_to_no_job_has_only_its_detail(tmp_path: Path) -> None:
    root = lay(tmp_path / "d", {"frames/w/1.jpg": 1})
    model = Model({}, tables(), root)
    assert model.status("j")["counts"]["frames"] == 0
    assert model.video_frame("w_frame_1")["video_id"] == "w"


def test_without_a_database_the_phase_follows_the_files(tmp_path: Path) -> None:
    root = lay(tmp_path / "d", {})
    assert (Model({}, None, root).status("local")["phase"], Model({}, None, root).status("x")) == (
        "collection",
        Failure(404),
    )
    lay(root, {"frames/v/1.jpg": 1, "frames/v/1/seg.png": 1})
    status = Model({}, None, root).status("local")
    assert (status["phase"], status["percent"]) == ("feature_extraction", 40.0)
    lay(root, {"frames/v/1/emb.bin": 1, "frames/v/1/kp.bin": 1})
    status = Model({}, None, root).status("local")
    assert (status["phase"], status["percent"]) == ("completed", 100.0)


def test_a_frame_without_a_row_has_its_time_from_its_number(tmp_path: Path) -> None:
    root = lay(tmp_path / "d", {"frames/v/000123.jpg": 1, "frames/v/last.jpg": 1})
    model = Model({"layout": {"frames": {"fps": 4.1}}}, None, root)
    assert [item["ts"] for item in model.frames("local", "v")["items"]] == [123 / 4.1, None]


# --- queries ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["0", "1001", "1e3", "９", "9" * 40, "-1", "+1", " 1", "1_0"])
def test_bad_limits_are_named_before_an_unknown_job(tmp_path: Path, value: str) -> None:
    model = Model({}, tables(), lay(tmp_path / "d", {}))
    pairs = (("limit", value), ("order", "up"), ("sort_by", "TS"), ("has", "foo"))
    assert model.answer("video_frames", ("nope",), pairs) == Failure(
        400, frozenset({"limit", "order", "sort_by", "has"})
    )


def test_the_last_of_a_repeated_parameter_counts_and_an_empty_one_is_absent(tmp_path: Path) -> None:
    model = Model({}, tables(), lay(tmp_path / "d", {}))
    assert model.images("j", (("limit", "x"), ("limit", "007")))["limit"] == 7
    assert model.images("j", (("limit", "x"), ("limit", "")))["limit"] == 20


def test_titles_are_found_and_sorted_by_their_folded_text(tmp_path: Path) -> None:
    titles = {"a": "GỐI CỔ", "b": None, "c": "Zebra", "d": "apple", "e": "100%"}
    videos = [{"video_id": key, "job_id": "j", "title": title} for key, title in titles.items()]
    model = Model({}, tables(videos=videos), lay(tmp_path / "d", {}))
    assert ids(model.videos("j", (("q", "go\u0302\u0301i"),))) == ["a"]
    assert ids(model.videos("j", (("q", "%"),))) == ["e"]
    by_title = (("sort_by", "title"),)
    assert ids(model.videos("j", (*by_title, ("order", "asc")))) == ["e", "d", "a", "c", "b"]
    assert ids(model.videos("j", (*by_title, ("order", "DESC")))) == ["c", "a", "d", "e", "b"]


def test_ties_are_by_id_ascending_in_both_orders_and_pages_do_not_overlap(tmp_path: Path) -> None:
    root = lay(tmp_path / "d", {f"products/p/{number}.jpg": 1 for number in range(5)})
    model = Model({}, tables(), root)
    for order in ("asc", "desc"):
        pages = [
            ids(model.product_images("j", (("limit", "2"), ("offset", str(offset)), ("order", order))))
            for offset in (0, 2, 4, 6)
        ]
        assert [key[-1] for page in pages for key in page] == list("01234")


def test_seconds_are_rounded_down_but_times_are_sorted_unrounded(tmp_path: Path) -> None:
    root = lay(tmp_path / "d", {"products/p/0.jpg": 1, "products/p/1.jpg": 1})
    os.utime(root / "products/p/0.jpg", ns=(0, MOMENT * 10**9 + 900_000_000))
    os.utime(root / "products/p/1.jpg", ns=(0, MOMENT * 10**9 + 100_000_000))
    body = Model({}, tables(), root).images("j", (("sort_by", "updated_at"),))
    assert ids(body) == ["p_img_1", "p_img_0"]
    assert {item["updated_at"] for item in body["items"]} == {"2025-08-23T14:25:00+07:00"}


def test_urls_are_added_and_nothing_else_changes(tmp_path: Path) -> None:
    root = lay(tmp_path / "d", {"frames/a b/1.jpg": 1, "frames/a b/1/seg.png": 1})
    model = Model({}, None, root)
    plain, full = model.video_frame("a b_frame_1"), model.video_frame("a b_frame_1", (("include", "urls"),))
    assert full["original_url"] == "/files/frames/a%20b/1.jpg"
    assert full["urls"] == {"segment": "/files/frames/a%20b/1/seg.png", "embedding": None, "keypoints": None}
    assert {key: full[key] for key in plain} == plain
    video = model.videos("local", (("include", "urls"),))["items"][0]
    assert video["first_keyframe_url"] == "/files/frames/a%20b/1.jpg"
    assert isinstance(video["preview_frame"], Unsettled)


# --- findings ---------------------------------------------------------------------------------------


def test_each_kind_of_finding_from_files_and_rows(tmp_path: Path) -> None:
    root = lay(
        tmp_path / "d",
        {
            "frames/v/1.jpg": 1, "frames/v/1/seg.png": 0, "frames/v/1/kp.bin": 1,
            "frames/v/2.jpg": 1, "frames/v/2/seg.png": 1, "frames/v/2/emb.bin": 1, "x/kp.bin": 1,
            "frames/v/2/kp.bin": 1,
            "frames/v/3.jpg": 1, "frames/v/9/seg.png": 1, "frames/v/4.jpg": 1,
        },
    )  # fmt: skip
    os.utime(root / "frames/v/2/emb.bin", (MOMENT - 10, MOMENT - 10))
    rows = [
        frame("v_frame_1", "frames/v/1.jpg", emb_rgb="x/gone.bin", kp_blob_path="/etc/kp.bin"),
        frame("v_frame_2", "frames/v/2.jpg", seg_mask_path="x/s.png", kp_blob_path="x/kp.bin"),
        frame("v_frame_3", None),
        frame("v_frame_5", "frames/v/5.jpg"),
    ]
    assert kinds(Model({}, tables(video_frames=rows), root)) == {
        ("v_frame_1", "segment", "empty"),
        ("v_frame_1", "embedding", "missing"),
        ("v_frame_1", "keypoints", "outside"),
        ("v_frame_2", "segment", "misplaced"),
        ("v_frame_2", "embedding", "unrecorded"),
        ("v_frame_2", "embedding", "stale"),
        ("v_frame_2", "keypoints", "duplicate"),
        ("v_frame_3", "image", "unrecorded"),
        ("v_frame_4", "image", "unrecorded"),
        ("v_frame_5", "image", "missing"),
        ("v_frame_9", "segment", "orphan"),
    }


def test_a_corrupt_artifact_is_not_there_and_a_suspect_one_is(tmp_path: Path) -> None:
    root = lay(tmp_path / "d", {"frames/v/1.jpg": 1, "frames/v/1/seg.png": 1, "frames/v/1/kp.bin": 1})
    verdicts = {"frames/v/1/seg.png": ("corrupt", "size"), "frames/v/1/kp.bin": ("suspect", "rows")}
    model = Model({}, None, root, lambda feature, path, image: verdicts.get(path))
    item = model.video_frame("v_frame_1")
    assert (item["has_segment"], item["has_keypoints"], item["paths"]["segment"]) == (False, True, None)
    assert kinds(model) == {("v_frame_1", "segment", "corrupt"), ("v_frame_1", "keypoints", "suspect")}


def test_numbers_missing_in_the_middle_are_suspect(tmp_path: Path) -> None:
    root = lay(tmp_path / "d", {f"frames/v/{number}.jpg": 1 for number in (10, 20, 30, 50)})
    lay(root, {f"frames/w/{number}.jpg": 1 for number in (10, 20, 30, 40)})
    assert kinds(Model({}, None, root)) == {("v", "image", "suspect")}


def test_four_identical_embeddings_are_suspect_and_three_are_not(tmp_path: Path) -> None:
    files: dict[str, int | bytes] = {}
    for name, content in zip("abcdefg", (b"s", b"s", b"s", b"s", b"t", b"t", b"t"), strict=True):
        files |= {f"products/p/{name}.jpg": 1, f"products/p/{name}/emb.bin": content}
    model = Model({}, None, lay(tmp_path / "d", files), lambda feature, path, image: None)
    assert kinds(model) == {(f"p_img_{name}", "embedding", "suspect") for name in "abcd"}


def test_most_claims_below_a_prefix_that_is_not_mounted_are_withheld(tmp_path: Path) -> None:
    root = lay(tmp_path / "d", {f"products/p/{number}.jpg": 1 for number in range(20)})
    rows = [image(f"p_img_{number}", f"/srv/products/p/{number}.jpg") for number in range(20)]
    assert kinds(Model({}, tables(product_images=rows), root)) == set()
    assert len(kinds(Model({}, tables(product_images=rows[1:]), root))) == 20


def test_one_wrong_expectation_for_most_of_a_hundred_files_turns_nothing_off(tmp_path: Path) -> None:
    files = {f"products/p/{number}{end}": 1 for number in range(100) for end in (".jpg", "/emb.bin")}
    root = lay(tmp_path / "d", files)
    wrong = Model({}, None, root, lambda feature, path, i: ("corrupt", "dim") if "emb" in path else None)
    assert wrong.summary("local")["product_images"]["embedding"]["done"] == 100
    broken = Model({}, None, root, lambda feature, path, i: ("corrupt", "broken") if "emb" in path else None)
    assert broken.summary("local")["product_images"]["embedding"]["done"] == 0


# --- the comparison, and random worlds --------------------------------------------------------------


def test_a_difference_is_named_by_its_place() -> None:
    ours = {"items": [{"img_id": "a", "url": "/files/%C3%81", "ts": 1}], "total": 1}
    assert (
        list(differences(ours, {"items": [{"img_id": "a", "url": "/files/%c3%81", "ts": 1.0}], "total": 1}))
        == []
    )
    found = list(differences(ours, {"items": [{"img_id": "a", "url": "/files/Á", "ts": 2}], "total": True}))
    assert [line.split(":")[0] for line in found] == ["items[0", "items[0", "total"]
    assert "another order" in next(
        differences([{"img_id": 1}, {"img_id": 2}], [{"img_id": 2}, {"img_id": 1}])
    )


def test_one_of_two_neighbours_is_right_for_a_percentage_on_the_border(tmp_path: Path) -> None:
    files: dict[str, int | bytes] = {f"products/p/{number}.jpg": 1 for number in range(32)}
    body = Model({}, None, lay(tmp_path / "d", {**files, "products/p/0/seg.png": 1})).summary("local")
    percent = body["product_images"]["segment"]["percent"]
    assert [percent.same(value) for value in (3.12, 3.13, 3.125, 3.11, None)] == [
        True,
        True,
        False,
        False,
        False,
    ]


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(world=worlds("sqlite"), seed=st.integers(0, 999))
def test_a_world_reads_the_same_from_its_database_as_from_its_plan(
    tmp_path: Path, world: Any, seed: int
) -> None:
    place, rng = Path(tempfile.mkdtemp(dir=tmp_path)), random.Random(seed)
    root, place = place / "data", place / "pipeline.db"
    build_files(world, root)
    store = open_store(world, root, place)
    planned = world.model(root)
    read = Model(world.config(str(root)), rows_of_sqlite(place), root, world.verdict)
    store.close()
    queries = [*baseline(planned), *(random_query(rng, planned) for _ in range(20))]
    for query in queries:
        expected, actual = planned.answer(*query), read.answer(*query)
        assert (
            expected == actual if isinstance(expected, Failure) else not list(differences(expected, actual))
        )
        assert url_of(query).isascii()
    assert {finding.key for finding in planned.findings()} == {finding.key for finding in read.findings()}


@pytest.mark.parametrize("variant", sorted(LAYOUTS))
def test_pages_join_to_the_whole_list_and_counts_agree(tmp_path: Path, variant: str) -> None:
    world = make_world(random.Random(variant), variant)
    build_files(world, tmp_path / "data")
    model = world.model(tmp_path / "data")
    assert model.job_ids()
    for job in model.job_ids():
        status, summary = model.status(job), model.summary(job)
        assert summary["video_frames"]["total"] == status["counts"]["frames"]
        assert model.images(job)["total"] == status["counts"]["images"]
        whole = ids(model.video_frames(job, (("limit", "1000"),)))
        pages = [ids(model.video_frames(job, (("limit", "3"), ("offset", str(n))))) for n in range(0, 90, 3)]
        assert [key for page in pages for key in page] == whole
        split = [model.video_frames(job, (("has", has),))["total"] for has in ("any", "none")]
        assert sum(split) == len(whole)


def test_a_file_tree_follows_a_changing_world(tmp_path: Path) -> None:
    world = make_world(random.Random(5), "default", None)
    tree = build_files(world, tmp_path / "data")
    gardener = Gardener(world, random.Random(6))
    for _ in range(60):
        gardener.step()
        tree.sync(world)
    root = tmp_path / "data"
    there = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_symlink() or path.is_file()}
    assert there - {"store/picture.png"} == set(world.files)
    assert all(
        (root / path).stat().st_size == 0
        for path, spec in world.files.items()
        if spec.content == Content("empty")
    )
